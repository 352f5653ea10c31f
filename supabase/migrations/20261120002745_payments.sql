-- The payments desk: every payment for staff, one payment with all that happened to it, and the review queue (paid, but not
-- matching: nothing is credited until a person decides).

create unique index purchases_newest on credits.purchases (created_at, id);
create unique index purchases_in_review on credits.purchases (created_at, id) where status = 'review';
create unique index stripe_events_by_object on credits.stripe_events (object_id, id);
create unique index stripe_events_by_payment on credits.stripe_events ((payload -> 'data' -> 'object' ->> 'payment_intent'), id);

-- A purchase as staff see it in a list. state: its status, or what became of the money since.
create function credits._payment_json(p credits.purchases) returns jsonb
language sql stable set search_path = '' as $$
  select credits._purchase_json(p) - array['url', 'client_secret'] || jsonb_build_object(
    'name', f.name, 'paid_cents', case when p.status in ('credited', 'review') or p.review_decision is not null
                                       then coalesce(p.amount_total_cents, credits._paid_cents(p)) end,
    'customer_id', p.customer_id, 'opened_at', credits._iso(p.opened_at),
    'expires_at', credits._iso(p.expires_at), 'refunded_cents', m.refunded, 'disputed_cents', m.disputed,
    'state', case when m.disputed > 0 then 'disputed' when m.refunded > 0 and p.review_decision = 'refund' then 'refunded'
                  when m.refunded >= credits._paid_cents(p) + coalesce(p.tax_cents, 0) and m.refunded > 0 then 'refunded'
                  when m.refunded > 0 then 'partly_refunded' else p.status end)
    from (select (select coalesce(sum(amount_cents + tax_cents), 0)::bigint from credits.refunds
                   where purchase_id = p.id and status in ('approved', 'sent', 'succeeded')) as refunded,
                 (select coalesce(sum(amount_cents), 0)::bigint from credits.disputes
                   where purchase_id = p.id and status in ('needs_response', 'under_review', 'lost')) as disputed) as m
    left join credits.profiles as f on f.account_id = p.account_id
$$;

-- Payments of everybody for staff, newest first. p_status: a status, refunded (wholly or in part) or disputed. p_search: a part
-- of name or e-mail (not of digits alone: an account's number), or the whole id of a purchase, session, payment, refund or dispute.
create function credits.payments(
  p_status text default null, p_search text default null, p_from timestamptz default null, p_to timestamptz default null,
  p_currency text default null, p_livemode boolean default null, p_limit int default 50, p_cursor text default null
) returns jsonb language plpgsql stable set search_path = '' as $$
declare
  v_size   int := credits._page_size(p_limit);
  v_search text := nullif(lower(trim(p_search)), '');
  v_after  credits.purchases;
  v_items  jsonb;
  v_next   text;
begin
  perform credits._require('service', 'super_admin', 'admin', 'finance');
  select * into v_after from credits.purchases where id = credits._uuid(p_cursor);
  if p_cursor <> '' and v_after.id is null then
    perform credits._raise('LC400', 'cursor is not one that a list answered with; start again without it.');
  end if;
  with page as (
    select p, row_number() over (order by p.created_at desc, p.id desc) as n from credits.purchases as p
     where (v_after.id is null or (p.created_at, p.id) < (v_after.created_at, v_after.id))
       and (p_status is null or p.status = p_status
            or p_status = 'refunded' and exists (select from credits.refunds as r
                                                  where r.purchase_id = p.id and r.status in ('approved', 'sent', 'succeeded'))
            or p_status = 'disputed' and exists (select from credits.disputes as d where d.purchase_id = p.id))
       and (p_from is null or p.created_at >= p_from) and (p_to is null or p.created_at < p_to)
       and (p_currency is null or p.currency = p_currency) and (p_livemode is null or p.livemode = p_livemode)
       and (v_search is null or p.account_id::text = v_search or p.id::text = v_search
            or v_search in (lower(p.session_id), lower(p.payment_intent_id))
            or v_search !~ '^\d+$' and exists (select from credits.profiles as f where f.account_id = p.account_id
                                                          and strpos(lower(concat_ws(' ', f.name, f.email)), v_search) > 0)
            or exists (select from credits.refunds as r where r.purchase_id = p.id
                                                         and v_search in (r.id::text, lower(r.stripe_refund_id)))
            or exists (select from credits.disputes as d where d.purchase_id = p.id and lower(d.id) = v_search))
     order by p.created_at desc, p.id desc limit v_size + 1)
  select coalesce(jsonb_agg(credits._payment_json(p) order by n) filter (where n <= v_size), '[]'),
         case when count(*) > v_size then (array_agg((p).id::text order by n))[v_size] end
    into v_items, v_next from page;
  return jsonb_build_object('items', v_items, 'next_cursor', v_next);
end $$;

-- In which currencies there are payments, or could be, for the filter.
create function credits.payment_currencies() returns jsonb
language plpgsql stable set search_path = '' as $$
begin
  perform credits._require('service', 'super_admin', 'admin', 'finance');
  return jsonb_build_object('items', (
    select coalesce(jsonb_agg(x.currency order by x.currency), '[]') from (
      select currency from credits.catalogs where is_active union select currency from credits.purchases) as x));
end $$;

-- What happened to a payment, oldest first: {at, what, detail, amount_cents, status}.
create function credits._payment_timeline(p credits.purchases) returns jsonb
language sql stable set search_path = '' as $$
  select jsonb_agg(jsonb_strip_nulls(jsonb_build_object('at', credits._iso(x.at), 'what', x.what, 'detail', x.detail,
                                                        'amount_cents', x.amount, 'who', credits._person_name(x.who))) order by x.at, x.position, x.what)
    from (
      select p.created_at as at, 1 as position, 'created' as what, p.name as detail, p.price_cents as amount, null as who
      union all select p.opened_at, 2, 'opened', p.session_id, null, null
      union all select p.credited_at, 4, 'credited', null, p.amount_total_cents, null
      union all select r.created_at, 5, 'refund_requested', r.reason, r.amount_cents + r.tax_cents, r.requested_by
                  from credits.refunds as r where r.purchase_id = p.id
      union all select r.decided_at, 6, case when r.status = 'rejected' then 'refund_rejected' else 'refund_approved' end,
                       r.decision_reason, null, r.decided_by from credits.refunds as r where r.purchase_id = p.id
      union all select r.sent_at, 7, 'refund_sent', r.stripe_refund_id, null, null from credits.refunds as r where r.purchase_id = p.id
      union all select r.finished_at, 8, 'refund_' || r.status, r.failure_reason, null, null
                  from credits.refunds as r where r.purchase_id = p.id and r.status in ('succeeded', 'failed')
      union all select d.created_at, 5, 'dispute_opened', d.reason, d.amount_cents, null from credits.disputes as d where d.purchase_id = p.id
      union all select d.updated_at, 6, 'dispute_' || d.status, null, null, null
                  from credits.disputes as d where d.purchase_id = p.id and d.updated_at > d.created_at
      union all select a.requested_at, 5, 'review_' || (a.payload ->> 'decision') || '_asked', a.reason, a.amount, a.requested_by
                  from credits.approvals as a where a.purchase_id = p.id
      union all select coalesce(a.finished_at, a.decided_at), 6, 'review_' || a.status, coalesce(a.failure_reason, a.decision_reason), null,
                       a.decided_by
                  from credits.approvals as a where a.purchase_id = p.id and a.status <> 'waiting'
      union all select t.created_at, 3, 'attempt_' || t.status, coalesce(t.detail, t.why), t.amount_cents, null
                  from credits.auto_reload_attempts as t where t.purchase_id = p.id
    ) as x where x.at is not null
$$;

-- Everything about one payment, for staff: the purchase, what is left of its grants, refunds, disputes, attempts of auto-reload,
-- Stripe's events about it, the timeline, and for a payment in review what can be decided.
create function credits.payment(p_purchase_id uuid) returns jsonb
language plpgsql stable security definer set search_path = '' as $$ -- security definer: names of who asked rest on closed tables
declare
  p credits.purchases;
begin
  perform credits._require('service', 'super_admin', 'admin', 'finance');
  select * into p from credits.purchases where id = p_purchase_id;
  if p.id is null then perform credits._raise('LC404', 'There is no such payment; search by its Stripe id, or by the account.'); end if;
  return credits._payment_json(p) || jsonb_build_object(
    'grants', (select coalesce(jsonb_agg(jsonb_build_object('grant_id', g.id, 'source', g.source, 'promotional', g.is_promotional,
                 'granted_micros', g.granted_micros, 'remaining_micros', g.remaining_micros, 'cost_cents', g.cost_cents,
                 'expires_at', credits._iso(g.expires_at)) order by g.id), '[]') from credits.grants_now as g where g.purchase_id = p.id),
    'refunds', (select coalesce(jsonb_agg(credits._refund_json(r) || jsonb_build_object(
                 'requested_by_name', credits._person_name(r.requested_by), 'decided_by_name', credits._person_name(r.decided_by),
                 'is_own', credits._own_request(r.requested_by), 'decided_at', credits._iso(r.decided_at), 'sent_at', credits._iso(r.sent_at))
                 order by r.created_at, r.id), '[]') from credits.refunds as r where r.purchase_id = p.id),
    'disputes', (select coalesce(jsonb_agg(jsonb_build_object('dispute_id', d.id, 'amount_cents', d.amount_cents, 'status', d.status,
                 'reason', d.reason, 'currency', p.currency, 'created_at', credits._iso(d.created_at), 'updated_at', credits._iso(d.updated_at))
                 order by d.created_at, d.id), '[]') from credits.disputes as d where d.purchase_id = p.id),
    'attempts', (select coalesce(jsonb_agg(jsonb_build_object('attempt_id', t.id, 'status', t.status, 'amount_cents', t.amount_cents,
                 'decline_code', t.decline_code, 'why', t.why, 'detail', t.detail, 'created_at', credits._iso(t.created_at))
                 order by t.created_at, t.id), '[]') from credits.auto_reload_attempts as t where t.purchase_id = p.id),
    'events', (select coalesce(jsonb_agg(jsonb_build_object('event_id', e.id, 'type', e.type, 'outcome', coalesce(e.outcome, 'received'),
                 'error', e.error, 'deliveries', e.deliveries, 'received_at', credits._iso(e.received_at)) order by e.received_at, e.id), '[]')
                 from (select * from credits.stripe_events where object_id in (p.session_id, p.payment_intent_id)
                       union select * from credits.stripe_events
                              where payload -> 'data' -> 'object' ->> 'payment_intent' = p.payment_intent_id
                       order by received_at desc limit 100) as e),
    'timeline', credits._payment_timeline(p),
    'review', case when p.review_session is not null then credits._review_json(p) end);
end $$;

-- What was paid, and what crediting or refunding it would mean. The credits follow what was paid for them, not the package.
create function credits._review_terms(
  p credits.purchases, s jsonb, out paid_cents bigint, out tax_cents bigint, out credits_micros bigint, out bonus_micros bigint,
  out price_cents bigint, out no_credit text, out no_refund text
) language plpgsql immutable set search_path = '' as $$
declare
  v_other_mode boolean := (s ->> 'livemode')::boolean is distinct from p.livemode;
begin
  tax_cents := coalesce((s ->> 'amount_tax')::bigint, 0);
  paid_cents := greatest((s ->> 'amount_total')::bigint - tax_cents, 0);
  price_cents := coalesce((s ->> 'amount_subtotal')::bigint, paid_cents);
  credits_micros := floor(p.credits_micros * paid_cents::numeric / p.price_cents);
  bonus_micros := floor(p.bonus_micros * paid_cents::numeric / p.price_cents);
  no_credit := case when v_other_mode then 'It was paid in Stripe''s other mode: test and live money are never mixed.'
    when s ->> 'mode' is distinct from 'payment' then 'It is not a one-time payment.'
    when s ->> 'currency' is distinct from p.currency then 'It was paid in another currency than its price is in.'
    when coalesce(credits_micros, 0) = 0 or s ->> 'payment_intent_id' is null then 'Nothing was paid for credits.' end;
  no_refund := case when v_other_mode then 'It was paid in Stripe''s other mode; refund it there.'
    when s ->> 'payment_intent_id' is null then 'Stripe names no payment that could be given back.'
    when coalesce(paid_cents, 0) = 0 then 'Nothing was paid.' end;
end $$;

create function credits._review_json(p credits.purchases) returns jsonb
language sql stable set search_path = '' as $$
  select jsonb_build_object(
    'reason', p.review_reason, 'decision', p.review_decision, 'paid_cents', t.paid_cents, 'tax_cents', t.tax_cents,
    'total_cents', t.paid_cents + t.tax_cents, 'currency', p.review_session -> 'currency', 'expected_cents', p.price_cents,
    'expected_currency', p.currency, 'credits_micros', t.credits_micros, 'bonus_micros', t.bonus_micros, 'no_credit', t.no_credit,
    'no_refund', t.no_refund, 'session_id', p.review_session -> 'session_id',
    'payment_intent_id', p.review_session -> 'payment_intent_id', 'needs_approval', credits._needs_approval('review', t.paid_cents),
    'request', (select credits._approval_json(a) from credits.approvals as a where a.purchase_id = p.id and a.status in ('waiting', 'approved')))
    from credits._review_terms(p, p.review_session) as t
$$;

-- Decides about a payment in review: credit what was paid, refund it at Stripe, or close it (nothing to do). From a limit on a
-- second person approves. Crediting is carried out by the program, which asks Stripe once more. Security definer, as all below.
create function credits.decide_review(p_purchase_id uuid, p_decision text, p_reason text, p_idempotency_key text) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  p credits.purchases;
  a credits.approvals;
  t record;
begin
  perform credits._require('service', 'super_admin', 'admin');
  perform credits._check_key(p_idempotency_key);
  perform credits._check_adjustment(1, p_reason);
  select * into p from credits.purchases where id = p_purchase_id for update;
  if p.id is null then perform credits._raise('LC404', 'There is no such payment.'); end if;
  if p_decision is null or p_decision not in ('credit', 'refund', 'close') then
    perform credits._raise('LC400', 'Decide to credit, refund or close.');
  end if;
  t := credits._review_terms(p, p.review_session);
  a.kind := 'review';
  a.account_id := p.account_id;
  a.purchase_id := p.id;
  a.idempotency_key := p_idempotency_key;
  a.amount := t.paid_cents;
  a.currency := coalesce(p.review_session ->> 'currency', p.currency);
  a.payload := jsonb_build_object('purchase_id', p.id, 'decision', p_decision);
  a.preview := jsonb_build_object('paid_cents', t.paid_cents, 'tax_cents', t.tax_cents, 'session_id', p.review_session -> 'session_id',
    'credits_micros', case when p_decision = 'credit' then t.credits_micros else 0 end,
    'bonus_micros', case when p_decision = 'credit' then t.bonus_micros else 0 end);
  a.reason := p_reason;
  if not exists (select from credits.approvals where account_id = p.account_id and idempotency_key = p_idempotency_key) then
    perform credits._check_review(p, p_decision);
    update credits.approvals set status = 'expired', finished_at = credits._now()
     where purchase_id = p.id and status = 'waiting' and expires_at <= credits._now();
    if exists (select from credits.approvals where purchase_id = p.id and status in ('waiting', 'approved')) then
      perform credits._raise('LC409', 'Somebody has decided about this payment already; see the approvals.');
    end if;
  end if;
  a := credits._ask(a, credits._needs_approval('review', t.paid_cents));
  if a.status = 'approved' and a.lease_until is null then a := credits._keep(credits._do_review(a)); end if;
  return credits._approval_json(a);
end $$;

-- Whether a payment in review can be decided this way now. The caller holds its lock.
create function credits._check_review(p credits.purchases, p_decision text) returns void
language plpgsql stable set search_path = '' as $$
declare
  t record := credits._review_terms(p, p.review_session);
begin
  if p.status <> 'review' or p.review_decision is not null then
    perform credits._raise('LC409', format('This payment is not in review any more: it is %s.', p.status), jsonb_build_object('status', p.status));
  elsif p_decision = 'credit' and t.no_credit is not null then
    perform credits._raise('LC409', 'This payment cannot be credited. ' || t.no_credit);
  elsif p_decision = 'refund' and t.no_refund is not null then
    perform credits._raise('LC409', 'This payment cannot be refunded. ' || t.no_refund);
  end if;
end $$;

-- Carries out what was decided about a payment in review; a credit waits for the program, which asks Stripe first.
create function credits._do_review(a credits.approvals) returns credits.approvals
language plpgsql set search_path = '' as $$
declare
  p         credits.purchases;
  r         credits.refunds;
  v_what    text := a.payload ->> 'decision';
begin
  select * into p from credits.purchases where id = a.purchase_id for update;
  if p.review_decision = 'credit' and v_what = 'credit' and p.status = 'review' then return a; end if;
  perform credits._check_review(p, v_what);
  if p.review_session ->> 'session_id' is distinct from a.preview ->> 'session_id'
     or (credits._review_terms(p, p.review_session)).paid_cents is distinct from (a.preview ->> 'paid_cents')::bigint then
    perform credits._raise('LC409', 'What Stripe says of this payment has changed since this was asked for; reject it, and decide anew.');
  end if;
  update credits.purchases set review_decision = v_what, status = case v_what when 'credit' then status else 'failed' end,
         payment_intent_id = coalesce(p.review_session ->> 'payment_intent_id', payment_intent_id),
         failure_reason = case v_what when 'refund' then 'Given back after review.' when 'close' then 'Closed after review.' end
   where id = p.id returning * into p;
  if v_what <> 'credit' then
    a.status := 'done';
    perform credits._follow_redemption(p);
  end if;
  if v_what = 'refund' then
    insert into credits.refunds (account_id, purchase_id, idempotency_key, amount_cents, tax_cents, credits_micros, bonus_micros, reason,
                                 status, requested_by, created_at)
    values (p.account_id, p.id, 'review-' || a.id, a.amount, (a.preview ->> 'tax_cents')::bigint, 0, 0, a.reason, 'approved', a.requested_by,
            credits._now()) returning * into r;
    a.result := jsonb_build_object('refund_id', r.id);
  end if;
  return a;
end $$;

-- A payment whose refund did not go through waits for a decision again.
create function credits._back_to_review(p_purchase_id uuid) returns void
language sql set search_path = '' as $$
  update credits.purchases set status = 'review', review_decision = null, failure_reason = null
   where id = p_purchase_id and review_decision = 'refund'
$$;

-- Hands out payments to be credited after a review, each to one worker; one that died leaves it to the next after a minute.
create function credits.claim_reviews(p_limit int default 20, p_approval_id uuid default null) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  v_now   timestamptz := credits._now();
  v_items jsonb;
begin
  perform credits._require('service');
  with chosen as (
    select id from credits.approvals where kind = 'review' and status = 'approved' and coalesce(lease_until, '-infinity') <= v_now
       and (p_approval_id is null or id = p_approval_id)
     order by requested_at, id limit credits._page_size(p_limit) for update skip locked),
  claimed as (
    update credits.approvals as a set lease_until = v_now + interval '1 minute' from chosen, credits.purchases as p
     where a.id = chosen.id and p.id = a.purchase_id
    returning a.requested_at, jsonb_build_object('approval_id', a.id, 'purchase_id', p.id, 'livemode', p.livemode,
              'session_id', a.preview -> 'session_id', 'payment_intent_id', p.payment_intent_id) as item)
  select coalesce(jsonb_agg(item order by requested_at), '[]') into v_items from claimed;
  return jsonb_build_object('items', v_items);
end $$;

-- Credits what was paid, once, unless Stripe's state has changed since: p_session as for fulfill_purchase, with refunded_cents
-- and disputed; null when Stripe does not know it. Not possible any more: back to the queue, with the reason.
create function credits.settle_review(p_approval_id uuid, p_session jsonb) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  a     credits.approvals;
  p     credits.purchases;
  t     record;
  v_why text;
begin
  perform credits._require('service');
  select * into a from credits.approvals where id = p_approval_id;
  select * into p from credits.purchases where id = a.purchase_id for update;
  select * into a from credits.approvals where id = p_approval_id for update;
  if a.id is null then perform credits._raise('LC404', 'There is no such request.'); end if;
  if a.status <> 'approved' or a.result is not null then return credits._approval_json(a); end if;
  t := credits._review_terms(p, p_session);
  v_why := case when p.status <> 'review' then format('It was %s meanwhile.', p.status)
    when p_session is null then 'Stripe knows no such payment.'
    when p_session ->> 'payment_status' <> 'paid' then 'Stripe does not call it paid.'
    when (p_session ->> 'refunded_cents')::bigint > 0 then 'Money of it went back at Stripe meanwhile.'
    when (p_session ->> 'disputed')::boolean then 'It is disputed meanwhile.'
    when t.paid_cents is distinct from a.amount then 'Stripe names another amount now.' else t.no_credit end;
  if v_why is null then
    p.credits_micros := t.credits_micros;
    p.promo_bonus_micros := floor(p.promo_bonus_micros * t.paid_cents::numeric / p.price_cents);
    p.bonus_micros := t.bonus_micros;
    p.price_cents := t.price_cents;
    p.discount_cents := (p_session ->> 'amount_discount')::bigint;
    a.result := jsonb_build_object('transaction_id', p.account_id || '-' || credits._credit_reviewed(p, p_session));
  else
    a.status := 'failed';
    a.failure_reason := v_why;
    update credits.purchases set review_decision = null, review_session = coalesce(p_session, review_session)
     where id = p.id and status = 'review';
  end if;
  return credits._approval_json(credits._keep(a));
end $$;

-- Books a reviewed purchase with the credits and the price that were worked out from what was paid.
create function credits._credit_reviewed(p credits.purchases, s jsonb) returns bigint
language plpgsql set search_path = '' as $$
declare
  v_seq bigint;
begin
  perform credits._lock_with_referrer(p.account_id);
  v_seq := credits._credit_purchase(p);
  update credits.purchases set
    status = 'credited', credited_at = credits._now(), transaction_seq = v_seq, credits_micros = p.credits_micros,
    bonus_micros = p.bonus_micros, promo_bonus_micros = p.promo_bonus_micros, price_cents = p.price_cents,
    list_price_cents = greatest(p.list_price_cents, p.price_cents), session_id = coalesce(s ->> 'session_id', session_id),
    amount_total_cents = (s ->> 'amount_total')::bigint, tax_cents = (s ->> 'amount_tax')::bigint,
    discount_cents = (s ->> 'amount_discount')::bigint, receipt_url = coalesce(s ->> 'receipt_url', receipt_url)
   where id = p.id returning * into p;
  perform credits._follow_redemption(p);
  perform credits._follow_referral(p);
  perform credits._tell_purchase(p, 'review');
  return v_seq;
end $$;

-- The last step, after refunds and disputes of the credited payment were followed too.
create function credits.finish_review(p_approval_id uuid) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  a credits.approvals;
begin
  perform credits._require('service');
  select * into a from credits.approvals where id = p_approval_id for update;
  if a.status = 'approved' and a.result is not null then
    a.status := 'done';
    a := credits._keep(a);
  end if;
  return credits._approval_json(a);
end $$;

revoke execute on all functions in schema credits from public;
grant execute on function credits._payment_json(credits.purchases),
  credits.payments(text, text, timestamptz, timestamptz, text, boolean, int, text), credits.payment(uuid),
  credits.payment_currencies(),
  credits.decide_review(uuid, text, text, text)
to authenticated, service_role;
grant execute on function credits.claim_reviews(int, uuid), credits.settle_review(uuid, jsonb), credits.finish_review(uuid)
to service_role;
