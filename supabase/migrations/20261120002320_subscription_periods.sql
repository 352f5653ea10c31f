-- What Stripe says of subscriptions and their invoices: read again from Stripe each time, taken in under the row's lock. Any
-- number of times, in any order; each paid invoice is credited once.

create function credits._subscription_of(p_stripe_id text, p_metadata jsonb, p_livemode boolean) returns credits.subscriptions
language plpgsql set search_path = '' as $$
declare s credits.subscriptions;
begin
  select * into s from credits.subscriptions
   where livemode = p_livemode
     and (stripe_id = p_stripe_id or stripe_id is null and id = credits._uuid(p_metadata ->> 'subscription_id'))
   order by (stripe_id = p_stripe_id) desc nulls last limit 1 for update;
  if s.id is null then perform credits._raise('LC404', 'This Stripe subscription is none of ours.'); end if;
  return s;
end $$;

-- Brings a subscription to where Stripe says it is. p_state: subscription_id, customer_id, status, price_id, quantity,
-- unit_amount_cents, currency, current_period_start and _end (seconds), cancel_at_period_end, ended_at, metadata, livemode, created.
-- One that has ended stays ended. Security definer, as the next: only functions write subscriptions and the ledger.
create function credits.sync_subscription(p_state jsonb) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  s   credits.subscriptions;
  o   credits.subscriptions;  -- as it was
  k   credits.subscription_prices;
begin
  perform credits._require('service');
  s := credits._subscription_of(p_state ->> 'subscription_id', p_state -> 'metadata', (p_state ->> 'livemode')::boolean);
  o := s;
  if o.status <> 'ended' then
    select * into k from credits.subscription_prices where price_id = p_state ->> 'price_id' and livemode = s.livemode;
    s.review_reason := credits._subscription_mismatch(s, k, p_state);
    s.status := case when s.review_reason like 'The account has another%' then s.status else case p_state ->> 'status'
      when 'incomplete' then 'incomplete' when 'incomplete_expired' then 'expired' when 'canceled' then 'ended'
      when 'active' then 'active' when 'trialing' then 'active' else 'past_due' end end;
    s.next_price_id := case when k.price_id <> s.price_id then k.price_id end;
    s.cancel_at_period_end := (p_state ->> 'cancel_at_period_end')::boolean and s.status <> 'ended';
    s.period_start := to_timestamp((p_state ->> 'current_period_start')::bigint);
    s.period_end := to_timestamp((p_state ->> 'current_period_end')::bigint);
    if s.status in ('active', 'past_due', 'ended') then
      s.started_at := coalesce(s.started_at, to_timestamp((p_state ->> 'created')::bigint));
    end if;
    if s.status = 'ended' then
      s.next_price_id := null;
      s.ended_at := coalesce(to_timestamp((p_state ->> 'ended_at')::bigint), credits._now());
      s.ended_reason := case when not o.cancel_at_period_end and coalesce(s.paid_until, '-infinity') < s.period_end
                             then 'payment_failed' else 'canceled' end;
    end if;
    update credits.subscriptions set
      status = s.status, review_reason = s.review_reason, stripe_id = p_state ->> 'subscription_id',
      customer_id = coalesce(customer_id, p_state ->> 'customer_id'), next_price_id = s.next_price_id,
      cancel_at_period_end = s.cancel_at_period_end, period_start = s.period_start, period_end = s.period_end,
      started_at = s.started_at, ended_at = s.ended_at, ended_reason = s.ended_reason
     where id = s.id returning * into s;
    perform credits._tell_changes(o, s);
  end if;
  return credits._subscription_json(credits._close_subscription(s));
end $$;

create function credits._subscription_mismatch(s credits.subscriptions, k credits.subscription_prices, p_state jsonb) returns text
language sql stable set search_path = '' as $$
  select case
    when k.price_id is null then 'The Stripe price of this subscription is none of ours.'
    when p_state ->> 'customer_id' <> s.customer_id then 'Another Stripe customer pays for this subscription.'
    when (p_state ->> 'currency', (p_state ->> 'unit_amount_cents')::bigint, (p_state ->> 'quantity')::int)
         is distinct from (k.currency, k.price_cents, 1) then 'Currency, price or quantity are not those of the plan.'
    when s.status in ('expired', 'failed') and exists (
      select from credits.subscriptions as x where x.account_id = s.account_id and x.livemode = s.livemode and x.id <> s.id
         and x.status in ('created', 'open', 'incomplete', 'active', 'past_due'))
      then 'The account has another subscription; end one of the two at Stripe.'
  end
$$;

-- A row for everything that moved, and a notice for what its owner should know.
create function credits._tell_changes(o credits.subscriptions, s credits.subscriptions) returns void
language plpgsql set search_path = '' as $$
declare v_name text := (select name from credits.subscription_prices where price_id = s.price_id);
begin
  if s.review_reason is distinct from o.review_reason and s.review_reason is not null then
    perform credits._subscription_changed(s, 'review', jsonb_build_object('reason', s.review_reason));
  end if;
  if o.started_at is null and s.started_at is not null then perform credits._subscription_changed(s, 'started'); end if;
  if s.status = 'past_due' and o.status <> 'past_due' then perform credits._subscription_changed(s, 'past_due');
  elsif s.status = 'active' and o.status = 'past_due' then perform credits._subscription_changed(s, 'recovered');
  elsif s.status = 'expired' and o.status <> 'expired' then perform credits._subscription_changed(s, 'expired');
  end if;
  if s.status = 'ended' then
    perform credits._subscription_changed(s, 'ended', jsonb_build_object('reason', s.ended_reason));
    perform credits._tell(s.account_id, 'subscription_ended', jsonb_build_object(
      'plan', v_name, 'reason', s.ended_reason, 'ended_at', credits._iso(s.ended_at)), s.id::text);
    return;
  end if;
  if s.cancel_at_period_end and not o.cancel_at_period_end then
    perform credits._subscription_changed(s, 'cancel_planned', jsonb_build_object('at', credits._iso(s.period_end)));
  elsif o.cancel_at_period_end and not s.cancel_at_period_end then perform credits._subscription_changed(s, 'kept');
  end if;
  if s.next_price_id is not null and s.next_price_id is distinct from o.next_price_id then
    perform credits._subscription_changed(s, 'change_planned', (
      select jsonb_build_object('code', code, 'name', name, 'price_cents', price_cents, 'at', credits._iso(s.period_end))
        from credits.subscription_prices where price_id = s.next_price_id));
  elsif s.next_price_id is null and o.next_price_id is not null then perform credits._subscription_changed(s, 'change_withdrawn');
  end if;
end $$;

-- One function for return page, webhook and poll: takes in an invoice. p_invoice: invoice_id, subscription_id, status, customer_id,
-- currency, subtotal_cents, tax_cents, discount_cents, total_cents, amount_paid_cents, amount_due_cents, price_id, quantity,
-- period_start and _end (seconds), billing_reason, url, receipt_url, attempt_count, next_attempt, payment_intent_id,
-- card_fingerprint, metadata, livemode, created.
create function credits.settle_invoice(p_invoice jsonb) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  s        credits.subscriptions;
  k        credits.subscription_prices;
  p        credits.purchases;
  v_why    text;
  v_latest timestamptz;
begin
  perform credits._require('service');
  s := credits._subscription_of(p_invoice ->> 'subscription_id', p_invoice -> 'metadata', (p_invoice ->> 'livemode')::boolean);
  if p_invoice ->> 'status' is distinct from 'paid' then return credits._invoice_waits(s, p_invoice); end if;
  select * into p from credits.purchases where invoice_id = p_invoice ->> 'invoice_id' for update;
  if p.id is not null and p.status <> 'review' then return credits._purchase_answer(p, false); end if;
  select * into k from credits.subscription_prices where price_id = p_invoice ->> 'price_id' and livemode = s.livemode;
  v_why := credits._invoice_mismatch(s, k, p_invoice);
  if k.price_id is null then select * into k from credits.subscription_prices where price_id = s.price_id; end if;
  select max(period_end) into v_latest from credits.purchases where subscription_id = s.id and status = 'credited';
  insert into credits.purchases as x
    (account_id, idempotency_key, catalog, name, credits_micros, bonus_micros, list_price_cents, price_cents, currency, flow, livemode,
     status, stripe_price_id, payment_intent_id, customer_id, card_fingerprint, receipt_url, amount_total_cents, tax_cents, discount_cents,
     review_reason, review_session, created_at, opened_at, credited_at, subscription_id, invoice_id, period_start, period_end, credits_expire_at)
  select s.account_id, 'invoice-' || gen_random_uuid(), k.catalog, k.name || ' plan', k.credits_micros, 0, k.price_cents, k.price_cents,
         k.currency, 'subscription', s.livemode, case when v_why is null then 'credited' else 'review' end, k.price_id,
         p_invoice ->> 'payment_intent_id', p_invoice ->> 'customer_id', p_invoice ->> 'card_fingerprint', coalesce(p_invoice ->> 'receipt_url', p_invoice ->> 'url'),
         (p_invoice ->> 'total_cents')::bigint, (p_invoice ->> 'tax_cents')::bigint, (p_invoice ->> 'discount_cents')::bigint,
         v_why, case when v_why is not null then credits._invoice_as_session(p_invoice) end, v.now, v.now, case when v_why is null then v.now end, s.id, p_invoice ->> 'invoice_id', v.starts_at, v.ends_at,
         -- an invoice taken in late gives credits that can still be used
         greatest(v.ends_at, v_latest, v.now) + credits._renewal_grace()
    from (select credits._now() as now, to_timestamp((p_invoice ->> 'period_start')::bigint) as starts_at,
                 to_timestamp((p_invoice ->> 'period_end')::bigint) as ends_at) as v
  on conflict (invoice_id) do update set
    status = excluded.status, review_reason = excluded.review_reason, review_session = excluded.review_session, credited_at = excluded.credited_at, name = excluded.name,
    credits_micros = excluded.credits_micros, list_price_cents = excluded.list_price_cents, price_cents = excluded.price_cents,
    stripe_price_id = excluded.stripe_price_id, credits_expire_at = excluded.credits_expire_at
   returning * into p;
  if p.status = 'credited' then
    perform credits._lock_with_referrer(p.account_id);
    update credits.purchases set transaction_seq = credits._credit_purchase(p) where id = p.id returning * into p;
    perform credits._period_paid(s, k, p, p_invoice);
    perform credits._follow_referral(p);
  end if;
  if p.status = 'review' or s.paid_until is null then perform credits._tell_purchase(p, 'open'); end if;
  return credits._purchase_answer(p, p.status = 'credited');
end $$;

-- An invoice in the words of a session, for those who decide about it: it can be given back, not credited as a one-time payment.
create function credits._invoice_as_session(i jsonb) returns jsonb
language sql immutable set search_path = '' as $$
  select jsonb_build_object(
    'session_id', i -> 'invoice_id', 'mode', 'subscription', 'status', 'complete', 'payment_status', 'paid', 'currency', i -> 'currency',
    'amount_subtotal', i -> 'subtotal_cents', 'amount_total', i -> 'amount_paid_cents', 'amount_tax', i -> 'tax_cents',
    'amount_discount', i -> 'discount_cents', 'payment_intent_id', i -> 'payment_intent_id', 'livemode', i -> 'livemode')
$$;

-- Why a paid invoice must not be credited by itself; null when everything agrees.
create function credits._invoice_mismatch(s credits.subscriptions, k credits.subscription_prices, i jsonb) returns text
language sql immutable set search_path = '' as $$
  select case
    when k.price_id is null then 'The Stripe price of the invoice is none of ours.'
    when i ->> 'customer_id' <> s.customer_id then 'Another Stripe customer paid this invoice.'
    when i ->> 'currency' is distinct from k.currency then 'The currency is not the one of the plan.'
    when (i ->> 'subtotal_cents')::bigint is distinct from k.price_cents or (i ->> 'quantity')::int is distinct from 1
      then 'The amount is not the price of the plan.'
    when coalesce((i ->> 'amount_paid_cents')::bigint, 0) <= 0 then 'Stripe says that nothing was to be paid.'
  end
$$;

-- A period is paid: terms, allowances and what was owed follow, when it is the newest one.
create function credits._period_paid(s credits.subscriptions, k credits.subscription_prices, p credits.purchases, p_invoice jsonb)
returns void language plpgsql set search_path = '' as $$
declare
  o       credits.subscriptions := s;
  v_first boolean := s.paid_until is null;
  v_what  text := case when v_first or k.price_id = s.price_id then 'paid' when k.price_cents >= s.price_cents then 'upgraded'
                       else 'downgraded' end;
begin
  if s.invoice_id = p.invoice_id then
    update credits.subscriptions set invoice_id = null, pay_url = null, amount_due_cents = null, attempts = 0, next_attempt_at = null
     where id = s.id;
  end if;
  if not exists (select from credits.purchases where subscription_id = s.id and status = 'credited' and period_start > p.period_start) then
    update credits.subscriptions set
      price_id = k.price_id, price_cents = k.price_cents, currency = k.currency, billing_interval = k.billing_interval,
      next_price_id = nullif(next_price_id, k.price_id), paid_until = p.period_end, stripe_id = coalesce(stripe_id, p_invoice ->> 'subscription_id'),
      customer_id = coalesce(customer_id, p_invoice ->> 'customer_id')
     where id = s.id returning * into s;
    if s.closed_at is null then
      perform credits._switch_allowances(o, k, p.period_start);
      if k.plan is not null and p_invoice ->> 'billing_reason' <> 'subscription_cycle' then
        perform credits._begin_month(s.account_id, p.period_start);
      end if;
    end if;
  end if;
  perform credits._subscription_changed(s, v_what, jsonb_build_object(
    'purchase_id', p.id, 'invoice_id', p.invoice_id, 'period_start', credits._iso(p.period_start), 'period_end', credits._iso(p.period_end)));
  if v_first then return; end if;  -- told as a purchase
  perform credits._tell(s.account_id, 'subscription_renewed', jsonb_build_object(
    'purchase_id', p.id, 'plan', k.name, 'credits_micros', p.credits_micros, 'amount_cents', p.amount_total_cents,
    'currency', p.currency, 'period_end', credits._iso(p.period_end), 'receipt_url', p.receipt_url), p.id::text);
end $$;

-- An invoice that is not paid (any more). Told once for every attempt that failed.
create function credits._invoice_waits(s credits.subscriptions, i jsonb) returns jsonb
language plpgsql set search_path = '' as $$
declare
  v_failed boolean := i ->> 'status' = 'open' and (
    (i ->> 'attempt_count')::int > 0
    -- without an attempt that counts: it waits for the cardholder (the card asks for authentication)
    or to_timestamp((i ->> 'created')::bigint) < credits._now() - interval '65 minutes');
begin
  if exists (select from credits.purchases where invoice_id = i ->> 'invoice_id') then
    return credits._purchase_answer(p, false) from credits.purchases as p where invoice_id = i ->> 'invoice_id';  -- an older look
  end if;
  if v_failed then
    if s.invoice_id is distinct from i ->> 'invoice_id' or s.attempts < (i ->> 'attempt_count')::int then
      perform credits._subscription_changed(s, 'payment_failed', jsonb_build_object(
        'invoice_id', i ->> 'invoice_id', 'attempt', (i ->> 'attempt_count')::int));
      perform credits._tell(s.account_id, 'subscription_payment_failed', jsonb_build_object(
        'plan', (select name from credits.subscription_prices where price_id = s.price_id), 'pay_url', i ->> 'url',
        'amount_cents', (i ->> 'amount_due_cents')::bigint, 'currency', s.currency,
        'next_attempt_at', credits._iso(to_timestamp((i ->> 'next_attempt')::bigint))),
        (i ->> 'invoice_id') || '-' || (i ->> 'attempt_count'));
    end if;
    update credits.subscriptions set invoice_id = i ->> 'invoice_id', pay_url = i ->> 'url', attempts = (i ->> 'attempt_count')::int,
           amount_due_cents = (i ->> 'amount_due_cents')::bigint, next_attempt_at = to_timestamp((i ->> 'next_attempt')::bigint)
     where id = s.id returning * into s;
  elsif s.invoice_id = i ->> 'invoice_id' and i ->> 'status' in ('void', 'uncollectible') then
    update credits.subscriptions set invoice_id = null, pay_url = null, amount_due_cents = null, attempts = 0, next_attempt_at = null
     where id = s.id returning * into s;
  end if;
  return jsonb_build_object('purchase_id', null, 'account_id', s.account_id, 'status', i ->> 'status', 'newly_credited', false);
end $$;

revoke execute on all functions in schema credits from public;
grant execute on function credits.sync_subscription(jsonb), credits.settle_invoice(jsonb) to service_role;
