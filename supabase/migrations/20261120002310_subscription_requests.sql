-- What an owner asks of a subscription, and what people read of it. Each wish is a row before Stripe is called.

create function credits._subscription_changed(s credits.subscriptions, p_what text, p_detail jsonb default '{}') returns void
language sql set search_path = '' as $$
  insert into credits.subscription_changes
    (subscription_id, account_id, at, what, status, code, price_cents, currency, billing_interval, livemode, actor, detail)
  select s.id, s.account_id, credits._now(), p_what, s.status, k.code, s.price_cents, s.currency, s.billing_interval, s.livemode,
         credits._actor(), p_detail
    from credits.subscription_prices as k where k.price_id = s.price_id
$$;

-- How long credits outlive their period while its renewal is being collected: Stripe charges an hour after the period's end, and a
-- card that fails at first must not stop calls at once. Paid later, what expired meanwhile comes back.
create function credits._renewal_grace() returns interval
language sql immutable set search_path = '' as $$ select interval '3 days' $$;

-- What is left now of the credits that a subscription granted.
create function credits._left_of_subscription(p_subscription_id uuid) returns bigint
language sql stable set search_path = '' as $$
  select coalesce(sum(g.remaining_micros), 0)::bigint from credits.purchases as p join credits.grants_now as g on g.purchase_id = p.id
   where p.subscription_id = p_subscription_id and g.expires_at > credits._now()
$$;

create function credits._subscription_json(s credits.subscriptions) returns jsonb
language sql stable set search_path = '' as $$
  select jsonb_build_object(
    'subscription_id', s.id, 'account_id', s.account_id, 'status', s.status, 'livemode', s.livemode, 'code', k.code, 'name', k.name,
    'price_cents', s.price_cents, 'currency', s.currency, 'interval', s.billing_interval, 'credits_micros', k.credits_micros,
    'rollover_cap_micros', k.rollover_cap_micros, 'plan', k.plan, 'allowances', credits._allowances_of(k.catalog, k.plan),
    'next', case when n.price_id is not null then jsonb_build_object(
      'code', n.code, 'name', n.name, 'price_cents', n.price_cents, 'credits_micros', n.credits_micros) end,
    'renewal_cents', case when s.status in ('active', 'past_due') and not s.cancel_at_period_end
                          then coalesce(n.price_cents, s.price_cents) end,
    'period_start', credits._iso(s.period_start), 'period_end', credits._iso(s.period_end),
    'paid_until', credits._iso(s.paid_until), 'usable_until', credits._iso(s.paid_until + credits._renewal_grace()),
    'cancel_at_period_end', s.cancel_at_period_end,
    'left_micros', l.left_micros,
    'stays_micros', least(l.left_micros, coalesce(case when n.price_id is null then k.rollover_cap_micros
                                                       else n.rollover_cap_micros end, 0)),
    'pay_url', s.pay_url, 'amount_due_cents', s.amount_due_cents, 'attempts', s.attempts,
    'next_attempt_at', credits._iso(s.next_attempt_at), 'review_reason', s.review_reason, 'ended_reason', s.ended_reason,
    'stripe_price_id', s.price_id, 'session_id', s.session_id, 'url', case when s.status in ('created', 'open') then s.url end,
    'base_url', s.base_url, 'stripe_id', s.stripe_id, 'customer_id', s.customer_id, 'created_at', credits._iso(s.created_at),
    'started_at', credits._iso(s.started_at), 'ended_at', credits._iso(s.ended_at), 'closed_at', credits._iso(s.closed_at))
    from credits.subscription_prices as k
    left join credits.subscription_prices as n on n.price_id = s.next_price_id
   cross join lateral (select credits._left_of_subscription(s.id) as left_micros) as l
   where k.price_id = s.price_id
$$;

-- Records the wish to subscribe. Only the owner, signed in: it agrees to payments that repeat.
-- Security definer, as all below that write: only functions write subscriptions.
create function credits.create_subscription(p_plan text, p_livemode boolean, p_base_url text, p_idempotency_key text) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  v_account bigint := credits._owner_only();
  p         credits.subscription_plans;
  s         credits.subscriptions;
  v_price   text;
begin
  perform credits._check_key(p_idempotency_key);
  perform from credits.accounts where id = v_account for no key update;
  select * into p from credits.subscription_plans as x join credits.catalogs as c on c.code = x.catalog and c.is_active
   where x.code = p_plan and x.is_offered;
  select * into s from credits.subscriptions where account_id = v_account and idempotency_key = p_idempotency_key;
  if s.id is not null then
    if s.livemode <> p_livemode or not exists (select from credits.subscription_prices where price_id = s.price_id and code = p_plan) then
      perform credits._raise('LC410', 'This idempotency key was used for another request; use a new key for a new request.');
    end if;
    return credits._subscription_json(s) || '{"replayed": true}';
  elsif p.code is null then
    perform credits._raise('LC404', format('There is no plan “%s” to subscribe to; choose one from the list.', left(p_plan, 80)));
  end if;
  select * into s from credits.subscriptions where account_id = v_account and livemode = p_livemode
     and status in ('created', 'open', 'incomplete', 'active', 'past_due');
  if s.status in ('active', 'past_due') then
    perform credits._raise('LC409', 'You have a subscription already; change its plan instead.');
  elsif s.id is not null then
    perform credits._raise('LC409', 'A page to subscribe is open already; finish it, or try again.', jsonb_build_object('pending', s.id));
  end if;
  v_price := credits._price_of_plan(p, p_livemode);
  if v_price is null then
    perform credits._raise('LC409', 'This plan cannot be sold yet; an administrator runs “python -m credits_core stripe-sync” first.');
  end if;
  insert into credits.subscriptions (account_id, idempotency_key, livemode, price_id, price_cents, currency, billing_interval, base_url,
                                     created_at)
  select v_account, p_idempotency_key, p_livemode, v_price, k.price_cents, k.currency, k.billing_interval, p_base_url, credits._now()
    from credits.subscription_prices as k where k.price_id = v_price returning * into s;
  perform credits._subscription_changed(s, 'created');
  return credits._subscription_json(s) || '{"replayed": false}';
end $$;

-- Records the page that Stripe made for it.
create function credits.open_subscription(
  p_subscription_id uuid, p_session_id text, p_url text default null, p_customer_id text default null
) returns jsonb language plpgsql security definer set search_path = '' as $$
declare s credits.subscriptions;
begin
  perform credits._require('service');
  update credits.subscriptions set
    status = case when status = 'created' then 'open' else status end, session_id = coalesce(session_id, p_session_id),
    url = coalesce(p_url, url), customer_id = coalesce(customer_id, p_customer_id)
   where id = p_subscription_id returning * into s;
  if s.id is null then perform credits._raise('LC404', 'There is no such subscription.'); end if;
  return credits._subscription_json(s);
end $$;

-- Gives up a page that nobody paid on. Never ends a subscription that Stripe has.
create function credits.fail_subscription(p_subscription_id uuid, p_status text, p_reason text default null) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare s credits.subscriptions;
begin
  perform credits._require('service');
  if p_status is null or p_status not in ('expired', 'failed') then
    perform credits._raise('LC400', 'A page to subscribe ends as expired or failed.');
  end if;
  update credits.subscriptions set status = p_status
   where id = p_subscription_id and stripe_id is null and status in ('created', 'open') returning * into s;
  if s.id is not null then perform credits._subscription_changed(s, p_status, jsonb_build_object('reason', p_reason)); end if;
  select * into s from credits.subscriptions where id = p_subscription_id;
  if s.id is null then perform credits._raise('LC404', 'There is no such subscription.'); end if;
  return credits._subscription_json(s);
end $$;

-- What a change of plan means: now (a new period begins and is paid in full), or from the next period on. blocked: why not.
create function credits._change_terms(s credits.subscriptions, k credits.subscription_prices, out is_now boolean, out blocked text)
language plpgsql immutable set search_path = '' as $$
begin
  is_now := k.price_cents > s.price_cents;
  blocked := case
    when k.price_id = coalesce(s.next_price_id, s.price_id) then 'This is your plan already.'
    when s.cancel_at_period_end then 'Your subscription is set to end; keep it first, then change its plan.'
    when s.status <> 'active' or s.invoice_id is not null then 'An invoice waits to be paid; pay it first, then change the plan.'
    when (k.billing_interval, k.currency) is distinct from (s.billing_interval, s.currency)
      then 'This plan is paid at another interval; cancel the present one and subscribe to it when that has ended.' end;
end $$;

-- Records what the owner asks for: change (to a plan), cancel (with the period), keep (take back the cancellation).
-- The same wish again while it is under way is the same row: Stripe is asked with the same key and charges once.
create function credits.request_subscription_change(
  p_action text, p_livemode boolean, p_idempotency_key text, p_plan text default null
) returns jsonb language plpgsql security definer set search_path = '' as $$
declare
  v_account bigint := credits._owner_only();
  s         credits.subscriptions;
  k         credits.subscription_prices;
  r         credits.subscription_requests;
  t         record;
begin
  perform credits._check_key(p_idempotency_key);
  if p_action is null or p_action not in ('change', 'cancel', 'keep') or (p_action = 'change') <> (p_plan is not null) then
    perform credits._raise('LC400', 'action must be change (with a plan), cancel or keep.');
  end if;
  -- the subscription, then the account: in the order in which invoices are taken in
  perform from credits.subscriptions where account_id = v_account and livemode = p_livemode and status in ('active', 'past_due') for update;
  perform from credits.accounts where id = v_account for no key update;
  select * into r from credits.subscription_requests where account_id = v_account and idempotency_key = p_idempotency_key;
  if r.id is not null then
    select * into s from credits.subscriptions where id = r.subscription_id;
    select * into k from credits.subscription_prices where price_id = r.price_id;
    if r.action <> p_action or k.code is distinct from p_plan or s.livemode <> p_livemode then
      perform credits._raise('LC410', 'This idempotency key was used for another request; use a new key for a new request.');
    end if;
    return credits._request_json(r, s, true);
  end if;
  select * into s from credits.subscriptions where account_id = v_account and livemode = p_livemode and status in ('active', 'past_due')
     for update;
  if s.id is null then perform credits._raise('LC404', 'You have no subscription; choose a plan first.'); end if;
  if p_action = 'change' then
    select x.* into k from credits.subscription_plans as p join credits.catalogs as c on c.code = p.catalog and c.is_active
      join credits.subscription_prices as x on x.price_id = credits._price_of_plan(p, p_livemode)
     where p.code = p_plan and p.is_offered;
    if k.price_id is null then
      perform credits._raise('LC404', format('There is no plan “%s” to change to; choose one from the list.', left(p_plan, 80)));
    end if;
  end if;
  select * into r from credits.subscription_requests where subscription_id = s.id and status = 'asked';
  if r.action = p_action and r.price_id is not distinct from k.price_id then return credits._request_json(r, s, true); end if;
  if r.created_at > credits._now() - interval '2 minutes' then
    perform credits._raise('LC409', 'Another change of your subscription is under way; try again in two minutes.');
  end if;
  update credits.subscription_requests set status = 'failed', detail = 'Given up', finished_at = credits._now() where id = r.id;
  t := credits._change_terms(s, k);
  if p_action = 'change' and t.blocked is not null then perform credits._raise('LC409', t.blocked);
  elsif p_action = 'cancel' and s.cancel_at_period_end then
    perform credits._raise('LC409', 'Your subscription is set to end with this period already.');
  elsif p_action = 'keep' and not s.cancel_at_period_end then
    perform credits._raise('LC409', 'Your subscription is not set to end; there is nothing to keep.');
  end if;
  insert into credits.subscription_requests (subscription_id, account_id, idempotency_key, action, price_id, is_now, created_at)
  values (s.id, v_account, p_idempotency_key, p_action, k.price_id, coalesce(t.is_now, false), credits._now()) returning * into r;
  return credits._request_json(r, s, false);
end $$;

create function credits._request_json(r credits.subscription_requests, s credits.subscriptions, p_replayed boolean) returns jsonb
language sql stable set search_path = '' as $$
  select jsonb_build_object('request_id', r.id, 'action', r.action, 'price_id', r.price_id, 'is_now', r.is_now, 'request_status', r.status,
                            'detail', r.detail, 'replayed', p_replayed, 'subscription', credits._subscription_json(s))
$$;

-- What became of it: done, declined (the card did not pay, nothing changed) or failed.
create function credits.finish_subscription_change(p_request_id uuid, p_status text, p_detail text default null) returns jsonb
language plpgsql security definer set search_path = '' as $$
begin
  perform credits._require('service');
  update credits.subscription_requests set status = p_status, detail = p_detail, finished_at = credits._now()
   where id = p_request_id and status = 'asked';
  return '{}';
end $$;

revoke execute on all functions in schema credits from public;
grant execute on function
  credits._renewal_grace(), credits._left_of_subscription(uuid), credits._subscription_json(credits.subscriptions),
  credits._change_terms(credits.subscriptions, credits.subscription_prices),
  credits.create_subscription(text, boolean, text, text), credits.request_subscription_change(text, boolean, text, text)
to authenticated, service_role;
grant execute on function
  credits.open_subscription(uuid, text, text, text), credits.fail_subscription(uuid, text, text),
  credits.finish_subscription_change(uuid, text, text)
to service_role;
