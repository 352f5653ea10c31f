-- Converge: what Stripe says of a payment is the truth. Totals are read again from Stripe, compared under the lock with what is
-- recorded here, and the difference is inserted; what an event says is never added.

-- Takes credits by force: the purchase's own grants first, then others in spend order, the rest is a debt. The ledger is open.
create function credits._claw_back(
  a credits.accounts, p credits.purchases, p_kind text, p_credits_micros bigint, p_bonus_micros bigint, p_reason text
) returns credits.accounts language plpgsql set search_path = '' as $$
declare
  v_draws credits.draw[];
  v_row   credits.transactions;
  v_rest  bigint := p_credits_micros + p_bonus_micros;
begin
  v_draws := credits._draw_purchase(p.id, true, p_bonus_micros) || credits._draw_purchase(p.id, false, p_credits_micros);
  v_draws := v_draws || credits._draw(a.id, v_rest - credits._drawn(v_draws), null);
  v_rest := v_rest - credits._drawn(v_draws);
  if v_rest > 0 then
    a.debt_micros := a.debt_micros + v_rest;
    v_draws := v_draws || row(null, -v_rest)::credits.draw;
  end if;
  v_row.purchase_id := p.id;
  v_row.actor := 'service';
  v_row.reason := p_reason;
  return credits._record(a, p_kind, -(p_credits_micros + p_bonus_micros), credits._merge_draws(v_draws), v_row);
end $$;

-- The credits and bonus that belong to an amount of a purchase's money, at most what has not been taken back already.
create function credits._share_of_purchase(p credits.purchases, p_amount_cents bigint, out credits_micros bigint, out bonus_micros bigint)
language plpgsql stable set search_path = '' as $$
declare
  v_part  numeric := least(p_amount_cents / nullif(credits._paid_cents(p) + coalesce(p.tax_cents, 0), 0)::numeric, 1);
  v_gone  bigint := (select coalesce(-sum(t.amount_micros), 0) from credits.transactions as t
                      where t.purchase_id = p.id and (t.kind in ('refund', 'dispute') or t.kind = 'reversal'));
begin
  credits_micros := ceil(coalesce(v_part, 1) * p.credits_micros);
  bonus_micros := ceil(coalesce(v_part, 1) * p.bonus_micros);
  bonus_micros := least(bonus_micros, greatest(p.credits_micros + p.bonus_micros - v_gone - credits_micros, 0));
  credits_micros := least(credits_micros, greatest(p.credits_micros + p.bonus_micros - v_gone, 0));
end $$;

-- Whether a dispute took less than its share although credits of the purchase have come back since.
create function credits._dispute_is_short(p credits.purchases, p_amount_cents bigint, t credits.transactions) returns boolean
language sql stable set search_path = '' as $$
  select s.credits_micros + s.bonus_micros > 0
     and -t.amount_micros < ceil(least(p_amount_cents / nullif(credits._paid_cents(p) + coalesce(p.tax_cents, 0), 0)::numeric, 1)
                                 * (p.credits_micros + p.bonus_micros))
    from credits._share_of_purchase(p, p_amount_cents) as s
$$;

-- Brings a purchase to Stripe's totals: {refunded_cents, refunds: [{id, amount_cents, status, reason, refund_id}],
-- disputes: [{id, amount_cents, status, reason}]}. Any number of times, in any order. Security definer: writes the ledger.
create function credits.converge_purchase(p_purchase_id uuid, p_totals jsonb) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  p     credits.purchases;
  v_one jsonb;
  v_n   int := 0;
begin
  perform credits._require('service');
  select * into p from credits.purchases where id = p_purchase_id for update;
  if p.id is null then perform credits._raise('LC404', 'There is no such purchase.'); end if;
  if p.status = 'credited' or p.review_decision = 'refund' then
    perform credits._lock_with_referrer(p.account_id);
    for v_one in select e from jsonb_array_elements(coalesce(p_totals -> 'refunds', '[]')) as e loop
      v_n := v_n + credits._converge_refund(p, v_one);
    end loop;
    for v_one in select e from jsonb_array_elements(coalesce(p_totals -> 'disputes', '[]')) as e where p.status = 'credited' loop
      v_n := v_n + credits._converge_dispute(p, v_one);
    end loop;
    perform credits._follow_referral(p);
  end if;
  return jsonb_build_object('purchase_id', p.id, 'account_id', p.account_id, 'changes', v_n, 'debt_micros',
                            (select debt_micros from credits.accounts where id = p.account_id));
end $$;

-- One refund of Stripe's. Ours is found by its id (or ours in its metadata); an unknown one was made at Stripe: forced.
create function credits._converge_refund(p credits.purchases, p_refund jsonb) returns int
language plpgsql set search_path = '' as $$
declare
  r       credits.refunds;
  v_share record;
  v_old   text;
  a       credits.accounts;
  v_cents bigint := (p_refund ->> 'amount_cents')::bigint;
  v_back  record;
  v_tax   bigint;
begin
  select * into r from credits.refunds
   where stripe_refund_id = p_refund ->> 'id' or id = credits._uuid(p_refund ->> 'refund_id') limit 1 for update;
  if r.id is not null then
    v_old := r.status;
    perform credits.record_refund(r.id, p_refund ->> 'status', p_refund ->> 'id', p_refund ->> 'reason');
    return (v_old <> (select status from credits.refunds where id = r.id))::int;
  elsif p_refund ->> 'status' in ('failed', 'canceled') or p.status <> 'credited' then
    return 0;
  end if;
  v_share := credits._share_of_purchase(p, v_cents);
  v_back := credits._refunded(p.id);  -- Stripe's amount is price and tax together: so the tax in it is its part of both
  v_tax := least(greatest(round((v_back.amount_cents + v_back.tax_cents + v_cents) * coalesce(p.tax_cents, 0)::numeric
    / nullif(credits._paid_cents(p) + coalesce(p.tax_cents, 0), 0)) - v_back.tax_cents, 0), v_cents - 1);
  a := credits._claw_back(credits._open_ledger(p.account_id), p, 'refund', v_share.credits_micros, v_share.bonus_micros,
                          'Refunded at Stripe');
  insert into credits.refunds (account_id, purchase_id, amount_cents, tax_cents, credits_micros, bonus_micros, reason, status, requested_by,
                               stripe_refund_id, transaction_seq, created_at, finished_at)
  values (p.account_id, p.id, v_cents - v_tax, v_tax, v_share.credits_micros, v_share.bonus_micros,
          'Refunded at Stripe', case p_refund ->> 'status' when 'succeeded' then 'succeeded' else 'sent' end, 'stripe',
          p_refund ->> 'id', a.seq, credits._now(), case p_refund ->> 'status' when 'succeeded' then credits._now() end)
  returning * into r;
  perform credits._close_ledger(a);
  perform credits._pause_refunded(p);
  if r.status = 'succeeded' then perform credits._tell_refund(r); end if;
  return 1;
end $$;

-- One dispute: while it is open or lost its credits are taken, when it is won they come back to the very grants. Warnings and
-- inquiries take nothing. A refund that failed since leaves more for the dispute: it is taken anew, whole.
create function credits._converge_dispute(p credits.purchases, p_dispute jsonb) returns int
language plpgsql set search_path = '' as $$
declare
  x       credits.disputes;
  v_share record;
  a       credits.accounts;
  t       credits.transactions;
  v_take  boolean := p_dispute ->> 'status' in ('needs_response', 'under_review', 'lost');
begin
  insert into credits.disputes (id, account_id, purchase_id, amount_cents, status, reason, created_at, updated_at)
  values (p_dispute ->> 'id', p.account_id, p.id, (p_dispute ->> 'amount_cents')::bigint, p_dispute ->> 'status',
          p_dispute ->> 'reason', credits._now(), credits._now())
  on conflict (id) do update set status = excluded.status, updated_at = excluded.updated_at
    -- the bank has decided: a look from before that arrives late
    where disputes.status not in ('won', 'lost') or excluded.status in ('won', 'lost') returning * into x;
  if x.id is null then return 0; end if;
  select * into t from credits.transactions where account_id = p.account_id and seq = x.transaction_seq;
  if t.seq is null and not v_take or t.seq is not null and v_take and not credits._dispute_is_short(p, x.amount_cents, t) then
    return 0;
  end if;
  a := credits._open_ledger(p.account_id);
  if t.seq is not null then
    a := credits._undo(a, t, null, case when v_take then 'Dispute taken anew' else 'Dispute won' end);
    a := credits._book_expired(a, true);
    update credits.disputes set transaction_seq = null where id = x.id;
  end if;
  if v_take then
    v_share := credits._share_of_purchase(p, x.amount_cents);
    a := credits._claw_back(a, p, 'dispute', v_share.credits_micros, v_share.bonus_micros, 'Disputed: ' || coalesce(x.reason, 'no reason given'));
    update credits.disputes set transaction_seq = a.seq where id = x.id;
    perform credits._pause_after(p.account_id, 'disputed', 'A payment of this account is disputed at the bank.');
  end if;
  perform credits._close_ledger(a);
  perform credits._audit('dispute', p.account_id, jsonb_build_object('dispute_id', x.id, 'status', x.status));
  return 1;
end $$;

-- The purchase of a Stripe payment, for events about charges, refunds and disputes.
create function credits.purchase_of_payment(p_payment_intent_id text) returns jsonb
language plpgsql stable set search_path = '' as $$
begin
  perform credits._require('service');
  return (select credits._purchase_json(p) from credits.purchases as p where p.payment_intent_id = p_payment_intent_id);
end $$;

revoke execute on all functions in schema credits from public;
grant execute on function credits.converge_purchase(uuid, jsonb), credits.purchase_of_payment(text) to service_role;
