-- The end of a run: fees of purchases, totals that add up, and what people do about differences.

-- Which purchase each movement of money belongs to, and what Stripe kept of every purchase they touch.
create function credits._keep_fees(r credits.reconciliations) returns void
language sql set search_path = '' as $$
  update credits.stripe_entries as e set purchase_id = x.purchase_id
    from (select n.id, coalesce(
            (select i.purchase_id from credits.reconciliation_items as i where i.reconciliation_id = r.id and i.kind = 'charge' and i.id = n.source_id),
            (select i.purchase_id from credits.reconciliation_items as i where i.reconciliation_id = r.id and i.kind = 'refund' and i.id = n.source_id),
            (select i.purchase_id from credits.reconciliation_items as i where i.reconciliation_id = r.id and i.kind = 'dispute' and i.id = n.source_id),
            (select f.purchase_id from credits.refunds as f where f.stripe_refund_id = n.source_id),
            (select d.purchase_id from credits.disputes as d where d.id = n.source_id)) as purchase_id
            from credits.stripe_entries as n
           where n.livemode = r.livemode and n.purchase_id is null and n.created_at >= r.from_at and n.source_id is not null) as x
   where e.id = x.id and x.purchase_id is not null;
  update credits.purchases as p set fee_cents = s.fee_cents, net_cents = s.net_cents
    from (select e.purchase_id, sum(e.fee_cents)::bigint as fee_cents, sum(e.net_cents)::bigint as net_cents from credits.stripe_entries as e
           where e.purchase_id in (select purchase_id from credits.stripe_entries where created_at >= r.from_at)
           group by e.purchase_id) as s
   where p.id = s.purchase_id and (p.fee_cents, p.net_cents) is distinct from (s.fee_cents, s.net_cents);
$$;

-- Movements of a range by currency: gross - refunds - disputes - fees + other = net = paid_out + to_pay_out; difference_cents is
-- what does not add up. others_cents: charges of the same Stripe account that are no purchases of credits. A movement is paid out
-- when its payout did not fail, or when what came back from a failed one is in a payout that did not.
create function credits._reconciliation_totals(r credits.reconciliations) returns jsonb
language sql stable set search_path = '' as $$
  with good as (select id from credits.stripe_payouts where livemode = r.livemode and status not in ('failed', 'canceled')),
  paid_again as (
    select e.source_id from credits.stripe_entries as e join good on good.id = e.payout_id
     where e.livemode = r.livemode and e.category in ('payout_failure', 'payout_reversal')),
  entries as (
    select e.*, e.payout_id in (select id from good) or e.payout_id in (select source_id from paid_again) as is_paid_out
      from credits.stripe_entries as e
     where e.livemode = r.livemode and e.created_at >= r.from_at and e.created_at < r.to_at
       and e.category not in ('payout', 'payout_failure', 'payout_reversal', 'payout_cancel')),
  sums as (
    select currency,
           coalesce(sum(amount_cents) filter (where category = 'charge'), 0)::bigint as gross_cents,
           coalesce(sum(amount_cents) filter (where category = 'charge' and purchase_id is null), 0)::bigint as others_cents,
           coalesce(-sum(amount_cents) filter (where category in ('refund', 'refund_failure')), 0)::bigint as refunds_cents,
           coalesce(-sum(amount_cents) filter (where category in ('dispute', 'dispute_reversal')), 0)::bigint as disputes_cents,
           (sum(fee_cents) - coalesce(sum(amount_cents) filter (where category = 'fee'), 0))::bigint as fees_cents,
           coalesce(sum(amount_cents) filter (where category not in ('charge', 'refund', 'refund_failure', 'dispute', 'dispute_reversal', 'fee')), 0)::bigint as other_cents,
           sum(net_cents)::bigint as net_cents,
           coalesce(sum(net_cents) filter (where is_paid_out), 0)::bigint as paid_out_cents,
           coalesce(sum(net_cents) filter (where not coalesce(is_paid_out, false)), 0)::bigint as to_pay_out_cents,
           count(*) filter (where category = 'charge') as charges
      from entries group by currency)
  select coalesce(jsonb_agg(to_jsonb(s) || jsonb_build_object('difference_cents',
           gross_cents - refunds_cents - disputes_cents - fees_cents + other_cents - net_cents) order by currency), '[]')
    from sums as s
$$;

-- Compares, writes differences, fees and totals; what was read for the run alone is removed. Security definer: writes runs.
create function credits.finish_reconciliation(p_reconciliation_id bigint) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare r credits.reconciliations;
begin
  perform credits._require('service');
  r := credits._running_reconciliation(p_reconciliation_id, 'comparing');
  perform credits._match_items(r);
  perform credits._keep_fees(r);
  r.found := credits._record_findings(r);
  update credits.reconciliations set status = 'finished', stage = null, finished_at = credits._now(), found = r.found,
         totals = credits._reconciliation_totals(r), lease_until = null where id = r.id returning * into r;
  delete from credits.reconciliation_items where reconciliation_id = r.id;
  return credits._reconciliation_json(r);
end $$;

create function credits.fail_reconciliation(p_reconciliation_id bigint, p_error text) returns jsonb
language plpgsql security definer set search_path = '' as $$
begin
  perform credits._require('service');
  update credits.reconciliations set status = 'failed', stage = null, finished_at = credits._now(), error = p_error, lease_until = null
   where id = p_reconciliation_id and status in ('waiting', 'running');
  delete from credits.reconciliation_items where reconciliation_id = p_reconciliation_id;
  return '{}';
end $$;

-- Newest first; the cursor is the number of the last one.
create function credits.reconciliations(p_limit int default 50, p_cursor text default null) returns jsonb
language plpgsql stable set search_path = '' as $$
declare
  v_size  int := credits._page_size(p_limit);
  v_items jsonb;
  v_last  bigint;
begin
  perform credits._require('service', 'super_admin', 'admin', 'finance');
  with page as (
    select r, r.id, row_number() over (order by r.id desc) as n from credits.reconciliations as r
     where r.id < credits._cursor(p_cursor) order by r.id desc limit v_size + 1)
  select coalesce(jsonb_agg(credits._reconciliation_json(r) order by n) filter (where n <= v_size), '[]'),
         case when count(*) > v_size then min(id) filter (where n <= v_size) end into v_items, v_last from page;
  return jsonb_build_object('items', v_items, 'next_cursor', v_last::text);
end $$;

create function credits._difference_json(d credits.reconciliation_differences) returns jsonb
language sql stable set search_path = '' as $$
  select to_jsonb(d) - 'id' || jsonb_build_object(
    'difference_id', d.id, 'account_id', (select account_id from credits.purchases where id = d.purchase_id),
    'occurred_at', credits._iso(d.occurred_at), 'decided_at', credits._iso(d.decided_at))
$$;

-- Differences for staff, newest first: of a status, a kind, or as one run saw them.
create function credits.reconciliation_differences(
  p_status text default null, p_kind text default null, p_reconciliation_id bigint default null, p_limit int default 50,
  p_cursor text default null
) returns jsonb language plpgsql stable set search_path = '' as $$
declare
  v_size  int := credits._page_size(p_limit);
  v_items jsonb;
  v_last  bigint;
begin
  perform credits._require('service', 'super_admin', 'admin', 'finance');
  with page as (
    select d, d.id, row_number() over (order by d.id desc) as n from credits.reconciliation_differences as d
     where d.id < credits._cursor(p_cursor) and (p_status is null or d.status = p_status) and (p_kind is null or d.kind = p_kind)
       and (p_reconciliation_id is null or d.last_seen_in = p_reconciliation_id)
     order by d.id desc limit v_size + 1)
  select coalesce(jsonb_agg(credits._difference_json(d) order by n) filter (where n <= v_size), '[]'),
         case when count(*) > v_size then min(id) filter (where n <= v_size) end into v_items, v_last from page;
  return jsonb_build_object('items', v_items, 'next_cursor', v_last::text);
end $$;

create function credits._open_difference(p_difference_id bigint) returns credits.reconciliation_differences
language plpgsql set search_path = '' as $$
declare d credits.reconciliation_differences;
begin
  select * into d from credits.reconciliation_differences where id = p_difference_id for update;
  if d.id is null then perform credits._raise('LC404', 'There is no such difference.'); end if;
  return d;
end $$;

-- A person (or a program) asks for the repair; the program then reads Stripe again and works through the existing functions.
create function credits.begin_repair(p_difference_id bigint) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare d credits.reconciliation_differences;
begin
  perform credits._require('service', 'super_admin', 'admin');
  d := credits._open_difference(p_difference_id);
  if d.status = 'open' and not d.repairable then
    perform credits._raise('LC409', 'This difference cannot be repaired by itself: ' || d.explanation);
  elsif d.status = 'open' then
    update credits.reconciliation_differences set decided_by = credits._actor(), decided_at = credits._now() where id = d.id
    returning * into d;
    perform credits._audit('repair_difference', (select account_id from credits.purchases where id = d.purchase_id),
                           jsonb_build_object('difference_id', d.id, 'kind', d.kind, 'object_id', d.object_id));
  end if;
  return credits._difference_json(d);
end $$;

create function credits._is_repaired(d credits.reconciliation_differences) returns boolean
language sql stable set search_path = '' as $$
  select coalesce(case d.kind
    when 'paid_not_credited' then (select status = 'credited' from credits.purchases where id = d.purchase_id)
    when 'payment_not_taken' then (select status = 'credited' from credits.purchases where payment_intent_id = d.payment_intent_id)
    when 'refund_missing' then (select true from credits.refunds where stripe_refund_id = d.object_id)
    when 'refund_differs' then (select status <> d.expected from credits.refunds where stripe_refund_id = d.object_id)
    when 'dispute_missing' then (select true from credits.disputes where id = d.object_id)
    when 'dispute_differs' then (select status <> d.expected from credits.disputes where id = d.object_id)
  end, false)
$$;

-- Closes a repair when our rows really agree now; else the difference stays open.
create function credits.finish_repair(p_difference_id bigint) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare d credits.reconciliation_differences;
begin
  perform credits._require('service');
  d := credits._open_difference(p_difference_id);
  if d.status = 'open' and credits._is_repaired(d) then
    update credits.reconciliation_differences set status = 'repaired', decided_at = credits._now(), reason = 'Repaired from what Stripe says.'
     where id = d.id returning * into d;
  end if;
  return credits._difference_json(d);
end $$;

-- Leaves a difference as it is, with the reason. It comes back when it changes.
create function credits.accept_difference(p_difference_id bigint, p_reason text) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  d        credits.reconciliation_differences;
  v_reason text := nullif(trim(p_reason), '');
begin
  perform credits._require('service', 'super_admin', 'admin', 'finance');
  if v_reason is null or length(v_reason) > 500 then
    perform credits._raise('LC400', 'Say in up to 500 characters why this difference is all right.');
  end if;
  d := credits._open_difference(p_difference_id);
  if d.status = 'accepted' and d.reason = v_reason then return credits._difference_json(d); end if;
  if d.status <> 'open' then
    perform credits._raise('LC409', format('This difference is %s already.', d.status), jsonb_build_object('status', d.status));
  end if;
  update credits.reconciliation_differences set status = 'accepted', decided_by = credits._actor(), decided_at = credits._now(),
         reason = v_reason where id = d.id returning * into d;
  perform credits._audit('accept_difference', (select account_id from credits.purchases where id = d.purchase_id),
                         jsonb_build_object('difference_id', d.id, 'kind', d.kind, 'object_id', d.object_id, 'reason', v_reason));
  return credits._difference_json(d);
end $$;

revoke execute on all functions in schema credits from public;
grant execute on function
  credits._difference_json(credits.reconciliation_differences), credits.reconciliations(int, text),
  credits.reconciliation_differences(text, text, bigint, int, text), credits.begin_repair(bigint),
  credits.accept_difference(bigint, text)
to authenticated, service_role;
grant execute on function
  credits.finish_reconciliation(bigint), credits.fail_reconciliation(bigint, text), credits.finish_repair(bigint)
to service_role;
