-- What a period brings and what stays of it: roll-over, allowances, the end; and what the poll and the page ask.

-- What stays of a subscription's credits when its next period is paid. With roll-over, what is left of the period before (also what
-- expired of it while the renewal was late) goes to the new period's end, up to the cap, the newest first. The rest expires now if
-- its period is over; a period that an upgrade cut short keeps the rest until its own end. Without roll-over the cap is 0.
-- A period paid out of order, or after the end, changes nothing for the others. The ledger is open; called before the new credits are granted.
create function credits._roll_over(a credits.accounts, p credits.purchases) returns credits.accounts
language plpgsql set search_path = '' as $$
declare
  v_last  credits.purchases;
  v_room  bigint := coalesce((select rollover_cap_micros from credits.subscription_prices where price_id = p.stripe_price_id), 0);
  v_grant credits.grants;
  v_left  bigint;
  v_keep  bigint;
begin
  select * into v_last from credits.purchases where subscription_id = p.subscription_id and status = 'credited' and id <> p.id
   order by period_start desc, credited_at desc limit 1;
  if v_last.id is null or v_last.period_start > p.period_start
     or exists (select from credits.subscriptions where id = p.subscription_id and closed_at is not null) then return a; end if;
  for v_grant in select g.* from credits.purchases as x join credits.grants as g on g.purchase_id = x.id
                  where x.subscription_id = p.subscription_id and x.id <> p.id
                    and (g.remaining_micros > 0 or g.expires_at <= a.last_at and g.expires_at = v_last.credits_expire_at)
                  order by g.id desc loop
    v_left := case when v_grant.expires_at <= a.last_at then credits._expired_of(v_grant) else v_grant.remaining_micros end;
    v_keep := least(v_left, v_room);
    v_room := v_room - v_keep;
    if v_keep > 0 then a := credits._keep_of_grant(a, v_grant, v_keep, p); end if;
    if v_last.period_end <= p.period_start and v_grant.expires_at > a.last_at then
      a := credits._end_of_grant(a, v_grant, v_left - v_keep);
    end if;
  end loop;
  return a;
end $$;

-- Part of a grant goes to a new one like it, at the same cost, that ends with the new period; as extend_grant does it.
create function credits._keep_of_grant(a credits.accounts, g credits.grants, p_keep bigint, p credits.purchases)
returns credits.accounts language plpgsql set search_path = '' as $$
declare
  v_id      bigint;
  v_row     credits.transactions;
  v_expired boolean := g.expires_at <= a.last_at;
begin
  insert into credits.grants (account_id, source, is_promotional, granted_micros, remaining_micros, cost_cents, currency, priority,
                              expires_at, operations, purchase_id, reason, created_at)
  values (a.id, g.source, g.is_promotional, p_keep, p_keep, round(g.cost_cents * p_keep::numeric / g.granted_micros), g.currency,
          g.priority, p.credits_expire_at, g.operations, g.purchase_id, 'Rolled over', a.last_at) returning id into v_id;
  if not v_expired then
    update credits.grants set remaining_micros = remaining_micros - p_keep where id = g.id;
  end if;
  v_row.actor := 'service';
  v_row.reason := 'Unused credits rolled over';
  v_row.purchase_id := g.purchase_id;
  return credits._record(a, 'extension', case when v_expired then p_keep else 0 end, array[
    row(g.id, case when v_expired then 0 else -p_keep end)::credits.draw, row(v_id, p_keep)::credits.draw], v_row);
end $$;

-- What is left of a grant expires before its time.
create function credits._end_of_grant(a credits.accounts, g credits.grants, p_left bigint) returns credits.accounts
language plpgsql set search_path = '' as $$
declare v_row credits.transactions;
begin
  if p_left <= 0 then return a; end if;
  update credits.grants set remaining_micros = remaining_micros - p_left where id = g.id;
  v_row.actor := 'service';
  v_row.reason := 'The period of the subscription is over';
  return credits._record(a, 'expiry', -p_left, array[row(g.id, -p_left)::credits.draw], v_row);
end $$;

-- The end of a subscription's credits and allowances: when it has ended and the last paid period is over.
create function credits._close_subscription(s credits.subscriptions) returns credits.subscriptions
language plpgsql set search_path = '' as $$
declare
  a       credits.accounts;
  v_grant credits.grants;
begin
  if s.status <> 'ended' or s.closed_at is not null or coalesce(s.paid_until, s.ended_at) > credits._now() then return s; end if;
  a := credits._open_ledger(s.account_id);
  for v_grant in select g.* from credits.purchases as p join credits.grants as g on g.purchase_id = p.id
                  where p.subscription_id = s.id and g.remaining_micros > 0 order by g.id loop
    a := credits._end_of_grant(a, v_grant, v_grant.remaining_micros);
  end loop;
  perform credits._close_ledger(a);
  perform credits._switch_allowances(s, null, credits._now());
  update credits.subscriptions set closed_at = credits._now() where id = s.id returning * into s;
  perform credits._subscription_changed(s, 'closed');
  return s;
end $$;

-- Puts the account on the allowances of the terms that were paid, or (none) back on those it had before the subscription. What an
-- administrator set meanwhile stays. s: the subscription before the change. The account row must be locked.
create function credits._switch_allowances(s credits.subscriptions, k credits.subscription_prices, p_from timestamptz) returns void
language plpgsql set search_path = '' as $$
declare
  v_had  credits.account_plans;
  v_mine credits.subscription_prices;
  v_cat  text;
  v_plan text;
begin
  select * into v_had from credits.account_plans where account_id = s.account_id order by starts_at desc limit 1;
  if s.paid_until is null then
    s.catalog_before := v_had.catalog;
    s.plan_before := v_had.plan;
    update credits.subscriptions set catalog_before = v_had.catalog, plan_before = v_had.plan where id = s.id;
  else
    select * into v_mine from credits.subscription_prices where price_id = s.price_id;
    if v_had.plan is distinct from (case when v_mine.plan is null then s.plan_before else v_mine.plan end) then return; end if;
  end if;
  v_cat := case when k.plan is null then s.catalog_before else k.catalog end;
  v_plan := case when k.plan is null then s.plan_before else k.plan end;
  if (v_cat, v_plan) is not distinct from (v_had.catalog, v_had.plan) then return; end if;
  insert into credits.account_plans (account_id, starts_at, catalog, plan, actor)
  values (s.account_id, greatest(least(p_from, credits._now()), v_had.starts_at + interval '1 microsecond'),
          coalesce(v_cat, v_had.catalog), v_plan, 'service');
  perform credits._refresh_limits(s.account_id);
end $$;

-- Lets the account's months begin on the day a subscription began, so that allowances and payments have the same rhythm; what was
-- spent since then counts against the caps of the month.
create function credits._begin_month(p_account_id bigint, p_at timestamptz) returns void
language plpgsql set search_path = '' as $$
declare
  v_day    int := extract(day from p_at at time zone (credits._settings(p_account_id)).time_zone);
  v_around record;
begin
  insert into credits.account_settings as x (account_id, anchor_day) values (p_account_id, v_day)
  on conflict (account_id) do update set anchor_day = excluded.anchor_day where x.anchor_day <> excluded.anchor_day;
  if not found then return; end if;
  v_around := credits._period(credits._settings(p_account_id), 'month', credits._now());
  insert into credits.spend_counters (account_id, api_key_id, period, starts_on, spent_micros)
  select p_account_id, c.api_key_id, 'month', v_around.starts_on,
         credits._spent_between(p_account_id, c.api_key_id, v_around.starts_at, v_around.ends_at)
    from credits.spending_caps as c where c.account_id = p_account_id and c.period = 'month'
  on conflict (account_id, api_key_id, period, starts_on) do update set spent_micros = excluded.spent_micros;
end $$;

-- Which of these invoices are credited (or in review) already: those need not be read from Stripe again.
create function credits.invoices_credited(p_invoices jsonb) returns jsonb
language plpgsql stable set search_path = '' as $$
begin
  perform credits._require('service');
  return (select coalesce(jsonb_agg(invoice_id), '[]') from credits.purchases
           where invoice_id in (select jsonb_array_elements_text(p_invoices)) and status <> 'review');
end $$;

-- Hands out subscriptions to ask Stripe about, each to one poll: pages that are open (ever less often), renewals that are due or
-- not paid, ends; the rest now and then, for what was changed at Stripe. Security definer: only functions write subscriptions.
create function credits.subscriptions_to_poll(p_livemode boolean, p_limit int default 50) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  v_now   timestamptz := credits._now();
  v_items jsonb;
begin
  perform credits._require('service');
  with chosen as (
    select id from credits.subscriptions
     where status not in ('expired', 'failed') and (closed_at is null or invoice_id is not null) and livemode = p_livemode
       and (polled_at is null or polled_at <= v_now - case
              when status in ('created', 'open', 'incomplete') then (v_now - created_at) / 20
              when closed_at is not null then interval '1 day'
              when status = 'ended' then interval '0' + greatest(coalesce(paid_until, v_now) - v_now, interval '0')
              when status = 'past_due' or invoice_id is not null or period_end <= v_now then interval '10 minutes'
              else interval '6 hours' end)
     order by polled_at nulls first, id limit credits._page_size(p_limit) for update skip locked),
  claimed as (
    update credits.subscriptions as s set polled_at = v_now from chosen where s.id = chosen.id
    returning s.created_at, credits._subscription_json(s) as item)
  select coalesce(jsonb_agg(item order by created_at), '[]') into v_items from claimed;
  return jsonb_build_object('items', v_items);
end $$;

-- An account's subscription (the present or the last one), its last changes and payments, and what can be chosen from here.
create function credits.subscription(p_account_id bigint default null, p_livemode boolean default false) returns jsonb
language plpgsql stable set search_path = '' as $$
declare
  v_account bigint := credits._account(p_account_id, 'read');
  s         credits.subscriptions;
begin
  select * into s from credits.subscriptions where account_id = v_account and livemode = p_livemode and status not in ('expired', 'failed')
   order by (status <> 'ended') desc, created_at desc, id desc limit 1;
  return jsonb_build_object(
    'account_id', v_account, 'subscription', case when s.id is not null then credits._subscription_json(s) end,
    'plans', (select coalesce(jsonb_agg(x.value || credits._choice(s, x.value) order by x.ordinality), '[]')
                from jsonb_array_elements(credits.subscription_plans(p_livemode) -> 'plans') with ordinality as x),
    'changes', (select coalesce(jsonb_agg(jsonb_build_object(
                         'at', credits._iso(c.at), 'what', c.what, 'status', c.status, 'code', c.code, 'price_cents', c.price_cents,
                         'currency', c.currency, 'interval', c.billing_interval, 'detail', c.detail) order by c.id desc), '[]')
                  from (select * from credits.subscription_changes where subscription_id = s.id order by id desc limit 50) as c),
    'payments', (select coalesce(jsonb_agg(credits._purchase_json(p::credits.purchases) || jsonb_build_object(
                          'period_start', credits._iso(p.period_start), 'period_end', credits._iso(p.period_end)) order by p.period_start desc), '[]')
                   from (select * from credits.purchases where subscription_id = s.id order by period_start desc, id limit 24) as p));
end $$;

-- What choosing a plan means from here: choice is current, planned, subscribe, upgrade (paid in full now), downgrade (from the next
-- period on), stay (takes back a planned change) or none, with why.
create function credits._choice(s credits.subscriptions, p_plan jsonb) returns jsonb
language plpgsql stable set search_path = '' as $$
declare
  k credits.subscription_prices;
  t record;
begin
  if s.id is null or s.status not in ('active', 'past_due') then
    return jsonb_build_object('choice', 'subscribe', 'pays_now_cents', (p_plan ->> 'price_cents')::bigint, 'from', null, 'why', null);
  end if;
  k.price_id := coalesce(p_plan ->> 'stripe_price_id', '');  -- made when the first one chooses it
  k.price_cents := (p_plan ->> 'price_cents')::bigint;
  k.billing_interval := p_plan ->> 'interval';
  k.currency := p_plan ->> 'currency';
  t := credits._change_terms(s, k);
  return jsonb_build_object(
    'choice', case when k.price_id = s.price_id and s.next_price_id is null then 'current'
                   when k.price_id = s.next_price_id then 'planned' when t.blocked is not null then 'none'
                   when k.price_id = s.price_id then 'stay' when t.is_now then 'upgrade' else 'downgrade' end,
    'pays_now_cents', case when t.blocked is null then case when t.is_now then k.price_cents else 0 end end,
    'from', case when t.blocked is null and not t.is_now then credits._iso(s.period_end) end, 'why', t.blocked);
end $$;

revoke execute on all functions in schema credits from public;
grant execute on function credits.subscription(bigint, boolean), credits._choice(credits.subscriptions, jsonb)
to authenticated, service_role;
grant execute on function credits.invoices_credited(jsonb), credits.subscriptions_to_poll(boolean, int) to service_role;
