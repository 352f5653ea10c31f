-- The comparison: what Stripe said in a run against our rows, set by set. Each function finds differences of one part.
-- expected is what our books (or the sum of the parts) say, found is what Stripe says.

create type credits.finding as (
  kind text, object_id text, purchase_id uuid, payment_intent_id text, currency text, expected_cents bigint, found_cents bigint,
  expected text, found text, explanation text, repairable boolean, occurred_at timestamptz
);

-- Charges that succeeded, with the purchase each belongs to. is_own: it is the payment this purchase was credited for.
create function credits._paid_charges(r credits.reconciliations) returns table (
  id text, payment_intent_id text, amount_cents bigint, refunded_cents bigint, currency text, created_at timestamptz, entry_id text,
  our_mark boolean, right_mode boolean, purchase_id uuid, names_another boolean, is_own boolean, status text, due_cents bigint,
  due_currency text, review_reason text, customer_id text
) language sql stable set search_path = '' as $$
  select c.id, c.payment_intent_id, c.amount_cents, c.refunded_cents, c.currency, c.created_at, c.entry_id, c.our_mark,
         c.livemode = r.livemode and coalesce(p.livemode = c.livemode, true), p.id,
         c.by_payment and coalesce(credits._uuid(c.purchase_ref) <> p.id, false), c.by_payment or p.payment_intent_id is null,
         p.status, coalesce(p.amount_total_cents, p.price_cents), p.currency, p.review_reason, c.customer_id
    from credits.reconciliation_items as c left join credits.purchases as p on p.id = c.purchase_id
   where c.reconciliation_id = r.id and c.kind = 'charge' and c.status = 'succeeded'
$$;

create function credits._find_charges(r credits.reconciliations) returns setof credits.finding
language sql stable set search_path = '' as $$
  with c as (select * from credits._paid_charges(r))
  select 'wrong_mode', c.id, c.purchase_id, c.payment_intent_id, c.currency, null::bigint, null::bigint,
         case when r.livemode then 'live' else 'test' end, case when r.livemode then 'test' else 'live' end,
         'This charge and its purchase are not both in the mode we run in. Test payments must never give real credits: check which '
         || 'keys the server that took it used, and adjust the account if credits were given.', false, c.created_at
    from c where (c.purchase_id is not null or c.our_mark) and not c.right_mode
  union all
  select 'unknown_charge', c.id, null, c.payment_intent_id, c.currency, 0, c.amount_cents, null, null,
         'Stripe took this payment with our marks, but there is no such purchase here. Look whether another installation uses this '
         || 'Stripe account; if it was ours, give the credits by an adjustment or refund the payment at Stripe.', false, c.created_at
    from c where c.purchase_id is null and c.our_mark and c.right_mode and c.refunded_cents < c.amount_cents
  union all
  select 'payment_not_taken', c.id, null, c.payment_intent_id, c.currency, 0, c.amount_cents, null, null,
         'A customer of ours paid this, and no purchase here knows of it. Repair looks whether it pays a period of a subscription and '
         || 'gives its credits; if it stays, refund the payment at Stripe.', true, c.created_at
    from c
   where c.purchase_id is null and not c.our_mark and c.right_mode and c.refunded_cents < c.amount_cents
     and (exists (select from credits.customers as x where x.customer_id = c.customer_id)
          or exists (select from credits.subscriptions as x where x.customer_id = c.customer_id))
  union all
  select 'two_purchases', c.id, c.purchase_id, c.payment_intent_id, c.currency, null, null, c.purchase_id::text, i.purchase_ref,
         'This charge pays one purchase here, and its marks at Stripe name another one. Only one of the two was paid: check both, and '
         || 'take back what was credited without payment.', false, c.created_at
    from c join credits.reconciliation_items as i on i.reconciliation_id = r.id and i.kind = 'charge' and i.id = c.id
   where c.names_another and c.right_mode
  union all
  select 'charged_twice', c.id, c.purchase_id, c.payment_intent_id, c.currency, 0, c.amount_cents, null, null,
         'This purchase was paid and credited by another charge already: the buyer paid twice. Refund this charge at Stripe.',
         false, c.created_at
    from c where c.status = 'credited' and not c.is_own and c.right_mode and c.refunded_cents < c.amount_cents
  union all
  select 'currency_differs', c.id, c.purchase_id, c.payment_intent_id, c.currency, c.due_cents, c.amount_cents, c.due_currency,
         c.currency, 'The charge was made in another currency than the purchase. Compare both, then refund the charge, or accept it '
         || 'with the reason.', false, c.created_at
    from c where c.status = 'credited' and c.is_own and c.right_mode and c.currency <> c.due_currency
  union all
  select 'amount_differs', c.id, c.purchase_id, c.payment_intent_id, c.currency, c.due_cents, c.amount_cents, null, null,
         'The charge is not the amount of the purchase. Compare the receipt with the purchase, then refund what is too much or adjust '
         || 'the credits.', false, c.created_at
    from c where c.status = 'credited' and c.is_own and c.right_mode and c.currency = c.due_currency and c.amount_cents <> c.due_cents
$$;

create function credits._find_uncredited(r credits.reconciliations) returns setof credits.finding
language sql stable set search_path = '' as $$
  with paid as (
    select purchase_id, payment_intent_id, amount_cents, refunded_cents, currency, created_at from credits._paid_charges(r) where right_mode
    union all
    select s.purchase_id, s.payment_intent_id, s.amount_cents, coalesce(c.refunded_cents, 0), s.currency, s.created_at
      from credits.reconciliation_items as s
      left join credits.reconciliation_items as c on c.reconciliation_id = r.id and c.kind = 'charge' and c.status = 'succeeded'
                                                 and c.payment_intent_id = s.payment_intent_id
     where s.reconciliation_id = r.id and s.kind = 'session' and s.status = 'paid' and s.livemode = r.livemode)
  select distinct on (p.id) 'paid_not_credited', p.id::text, p.id, paid.payment_intent_id, paid.currency, 0::bigint, paid.amount_cents,
         p.status, 'paid', case p.status
           when 'review' then 'Paid, but held for review: ' || coalesce(p.review_reason, 'no reason stored') || ' A person decides in '
             || 'the review queue whether it is credited or refunded.'
           else 'Stripe has the money, but the credits were never given. Repair reads the payment again and credits it once.' end,
         p.status <> 'review', paid.created_at
    from paid join credits.purchases as p on p.id = paid.purchase_id
   where p.status <> 'credited' and p.livemode = r.livemode and paid.refunded_cents < paid.amount_cents
     -- what a person decided in the review queue is no difference: closed as it is, or its refund under way
     and p.review_decision is distinct from 'close'
     and not (p.review_decision is not distinct from 'refund' and exists (
           select from credits.refunds as f where f.purchase_id = p.id and f.status in ('requested', 'approved', 'sent', 'succeeded')))
   order by p.id, paid.created_at
$$;

create function credits._find_unpaid(r credits.reconciliations) returns setof credits.finding
language sql stable set search_path = '' as $$
  select 'charge_missing', p.id::text, p.id, p.payment_intent_id, p.currency, coalesce(p.amount_total_cents, p.price_cents), 0::bigint,
         null, null, 'These credits were given for a payment that Stripe does not know. Look for it in Stripe''s dashboard; if there is '
         || 'none, take the credits back by an adjustment.', false, p.credited_at
    from credits.purchases as p
   where p.livemode = r.livemode and p.status = 'credited' and p.credited_at >= r.from_at and p.credited_at < r.to_at
     and not exists (select from credits._paid_charges(r) as c where c.purchase_id = p.id and c.is_own)
$$;

-- Refunds of our purchases at Stripe beside ours. One of ours is known by its id, or by ours in Stripe's metadata.
create function credits._find_refunds(r credits.reconciliations) returns setof credits.finding
language sql stable set search_path = '' as $$
  with s as (
    select i.*, f.id as our_id, f.status as our_status, f.amount_cents + f.tax_cents as our_cents, i.status in ('failed', 'canceled') as is_off,
           p.status = 'credited' as is_credited
      from credits.reconciliation_items as i join credits.purchases as p on p.id = i.purchase_id
      left join credits.refunds as f on f.id = coalesce((select id from credits.refunds where stripe_refund_id = i.id),
                                                        credits._uuid(i.refund_ref))
     where i.reconciliation_id = r.id and i.kind = 'refund')
  select 'refund_missing', s.id, s.purchase_id, s.payment_intent_id, s.currency, 0::bigint, s.amount_cents, null, s.status,
         'Money went back at Stripe, and the credits were not taken. Repair takes them from this purchase; what is spent becomes a debt.',
         true, s.created_at
    from s where s.our_id is null and not s.is_off and s.is_credited
  union all
  select 'refund_differs', s.id, s.purchase_id, s.payment_intent_id, s.currency, s.our_cents, s.amount_cents, s.our_status, s.status,
         case when s.our_cents <> s.amount_cents then 'The refund at Stripe is of another amount than ours. Compare both, and adjust '
                || 'the credits by the difference.'
              when s.our_status in ('failed', 'rejected', 'requested') then 'We hold this refund for not made, but Stripe made it. Take '
                || 'the credits back by an adjustment.'
              when s.is_off then 'This refund did not go through at Stripe. Repair gives the credits back to the account.'
              else 'Stripe has finished this refund. Repair records it.' end,
         s.our_cents = s.amount_cents and s.our_status in ('approved', 'sent', 'succeeded'), s.created_at
    from s where s.our_id is not null and (
      s.our_cents <> s.amount_cents and not s.is_off or s.is_off and s.our_status in ('approved', 'sent', 'succeeded')
      or s.status = 'succeeded' and s.our_status <> 'succeeded' or s.status = 'pending' and s.our_status in ('failed', 'rejected'))
  union all
  select 'refund_unknown', f.id::text, p.id, p.payment_intent_id, p.currency, f.amount_cents + f.tax_cents, 0, f.status, null,
         'We took back credits for this refund, but Stripe does not know it: the buyer did not get the money. Refund the payment at '
         || 'Stripe, or give the credits back by an adjustment.', false, f.created_at
    from credits.refunds as f join credits.purchases as p on p.id = f.purchase_id
   where p.livemode = r.livemode and f.status in ('approved', 'sent', 'succeeded') and f.created_at >= r.from_at and f.created_at < r.to_at
     and (f.stripe_refund_id is not null or f.status = 'succeeded' or f.created_at < credits._now() - interval '1 hour')
     and not exists (select from s where s.our_id = f.id)
$$;

create function credits._find_disputes(r credits.reconciliations) returns setof credits.finding
language sql stable set search_path = '' as $$
  select case when d.id is null then 'dispute_missing' else 'dispute_differs' end, i.id, p.id, i.payment_intent_id, i.currency,
         coalesce(d.amount_cents, 0), i.amount_cents, d.status, i.status,
         case when d.id is null then 'The bank disputes this payment, and we do not know it. Repair takes the disputed credits.'
              when d.status <> i.status then 'The dispute has moved at Stripe. Repair takes or gives back the credits accordingly.'
              else 'The dispute is about another amount than we recorded. Adjust the credits by the difference.' end,
         d.id is null or d.status <> i.status, i.created_at
    from credits.reconciliation_items as i join credits.purchases as p on p.id = i.purchase_id and p.status = 'credited'
    left join credits.disputes as d on d.id = i.id
   where i.reconciliation_id = r.id and i.kind = 'dispute'
     and (d.id is null or d.status <> i.status or d.amount_cents <> i.amount_cents)
  union all
  select 'dispute_unknown', d.id, p.id, p.payment_intent_id, p.currency, d.amount_cents, 0, d.status, null,
         'We recorded a dispute that Stripe does not know. Look at the payment in Stripe''s dashboard; if it is not disputed, give the '
         || 'credits back by an adjustment.', false, d.created_at
    from credits.disputes as d join credits.purchases as p on p.id = d.purchase_id
   where p.livemode = r.livemode and d.created_at >= r.from_at and d.created_at < r.to_at
     and not exists (select from credits.reconciliation_items as i where i.reconciliation_id = r.id and i.kind = 'dispute' and i.id = d.id)
$$;

create function credits._find_fees(r credits.reconciliations) returns setof credits.finding
language sql stable set search_path = '' as $$
  select 'fee_missing', c.id, c.purchase_id, c.payment_intent_id, c.currency, c.amount_cents, null::bigint, null, null,
         'Stripe has no balance transaction for this charge: its fee and what is left of it are not known. Look at the charge in '
         || 'Stripe''s dashboard; if the money is there, ask Stripe.', false, c.created_at
    from credits._paid_charges(r) as c
   where c.purchase_id is not null and c.right_mode and c.created_at >= r.from_at and c.created_at < r.to_at
     and not exists (select from credits.stripe_entries as e where e.id = c.entry_id)
  union all
  select 'fee_differs', e.id, e.purchase_id, c.payment_intent_id, e.currency,
         case when e.net_cents <> e.amount_cents - e.fee_cents then e.amount_cents - e.fee_cents else c.amount_cents end,
         case when e.net_cents <> e.amount_cents - e.fee_cents then e.net_cents else e.amount_cents end, null, null,
         case when e.net_cents <> e.amount_cents - e.fee_cents then 'What is left of this movement is not its amount less the fee. '
              else 'The movement is of another amount than its charge. ' end || 'Ask Stripe about balance transaction ' || e.id || '.',
         false, e.created_at
    from credits.stripe_entries as e left join credits._paid_charges(r) as c on c.entry_id = e.id
   where e.livemode = r.livemode and e.created_at >= r.from_at and e.created_at < r.to_at
     and (e.net_cents <> e.amount_cents - e.fee_cents or c.currency = e.currency and c.amount_cents <> e.amount_cents)
$$;

create function credits._find_payouts(r credits.reconciliations) returns setof credits.finding
language sql stable set search_path = '' as $$
  select 'payout_differs', o.id, null::uuid, null, o.currency, e.net_cents, o.amount_cents, null, null,
         case when e.n = 0 then 'Stripe does not say which movements are in this payout, as it does for payouts made by hand. Compare it '
                || 'with the bank statement, then accept it with the reason.'
              else 'The payout is not the sum of its movements. Ask Stripe about payout ' || o.id || '.' end, false, o.created_at
    from credits.stripe_payouts as o,
         lateral (select coalesce(sum(x.net_cents), 0)::bigint as net_cents, count(*) as n from credits.stripe_entries as x
                   where x.payout_id = o.id and not (x.category = 'payout' and x.source_id = o.id)) as e
   where o.livemode = r.livemode and o.created_at >= r.from_at and o.created_at < r.to_at and o.amount_cents <> e.net_cents
$$;

-- Writes what was found: what is open already is only seen again, what was accepted as it is stays accepted, and what is no longer
-- found in the range counts as repaired. Answers how many differences are open.
create function credits._record_findings(r credits.reconciliations) returns int
language plpgsql set search_path = '' as $$
declare v_n int;
begin
  with f as materialized (
    select * from credits._find_charges(r) union all select * from credits._find_uncredited(r)
    union all select * from credits._find_unpaid(r) union all select * from credits._find_refunds(r)
    union all select * from credits._find_disputes(r) union all select * from credits._find_fees(r)
    union all select * from credits._find_payouts(r)),
  seen as (
    update credits.reconciliation_differences as d set last_seen_in = r.id, expected_cents = f.expected_cents,
           found_cents = f.found_cents, expected = f.expected, found = f.found, explanation = f.explanation, repairable = f.repairable
      from f where d.status = 'open' and d.livemode = r.livemode and (d.kind, d.object_id) = (f.kind, f.object_id)
    returning d.kind, d.object_id)
  insert into credits.reconciliation_differences (
    reconciliation_id, last_seen_in, livemode, kind, object_id, purchase_id, payment_intent_id, currency, expected_cents, found_cents,
    expected, found, explanation, repairable, occurred_at)
  select r.id, r.id, r.livemode, f.kind, f.object_id, f.purchase_id, f.payment_intent_id, f.currency, f.expected_cents, f.found_cents,
         f.expected, f.found, f.explanation, f.repairable, f.occurred_at
    from f
   where (f.kind, f.object_id) not in (select kind, object_id from seen)
     and not exists (
       select from credits.reconciliation_differences as d
        where (d.kind, d.object_id) = (f.kind, f.object_id) and d.livemode = r.livemode and d.status = 'accepted'
          and (d.expected_cents, d.found_cents, d.expected, d.found)
              is not distinct from (f.expected_cents, f.found_cents, f.expected, f.found));
  update credits.reconciliation_differences set status = 'repaired', decided_by = 'reconciliation', decided_at = credits._now(),
         reason = format('In order again: run %s no longer finds it.', r.id)
   where status = 'open' and livemode = r.livemode and occurred_at >= r.from_at and occurred_at < r.to_at and last_seen_in <> r.id;
  select count(*) into v_n from credits.reconciliation_differences where last_seen_in = r.id and status = 'open';
  return v_n;
end $$;

revoke execute on all functions in schema credits from public;
