-- Auto-reload: buys credits by itself when the balance is low, within what its owner agreed to. It must never run away:
-- stored consent, caps, one attempt in flight (a unique index), back-off, a pause that only the owner ends.

-- Every consent ever given, and every withdrawal. Append-only.
create table credits.auto_reload_consents (
  id              bigint generated always as identity primary key,
  account_id      bigint not null references credits.accounts (id),
  at              timestamptz not null,
  actor           text not null,
  is_given        boolean not null,
  text_version    text,
  consent_text    text,                -- the very words the owner agreed to
  terms           jsonb not null       -- threshold, target, caps as agreed
);
create unique index auto_reload_consents_by_account on credits.auto_reload_consents (account_id, id);
create trigger auto_reload_consents_append_only before update or delete or truncate on credits.auto_reload_consents
  for each statement execute function credits._append_only();

create table credits.auto_reload (
  account_id        bigint primary key references credits.accounts (id),
  is_on             boolean not null,
  threshold_micros  bigint not null check (threshold_micros >= 0),
  target_micros     bigint not null,
  cap_day_cents     bigint not null check (cap_day_cents > 0),
  cap_month_cents   bigint not null check (cap_month_cents >= cap_day_cents),
  customer_id       text not null,
  payment_method_id text not null,
  failures          int not null default 0,     -- in a row
  next_attempt_at   timestamptz not null default '-infinity',
  paused_reason     text,                       -- not null: paused until the owner resumes it
  paused_at         timestamptz,
  pay_url           text,                       -- where the owner can pay what was not allowed without them
  constraint target_above_threshold check (target_micros > threshold_micros)
);
create unique index auto_reload_due on credits.auto_reload (next_attempt_at, account_id) where is_on and paused_reason is null;

create table credits.auto_reload_attempts (
  id           uuid primary key default gen_random_uuid(),
  account_id   bigint not null references credits.accounts (id),
  purchase_id  uuid not null references credits.purchases (id),
  amount_cents bigint not null,
  why          text not null,          -- the sentence for the page: balance, threshold, target
  status       text not null check (status in ('in_flight', 'succeeded', 'declined', 'authentication_required', 'gave_up')),
  decline_code text,
  detail       text,
  outages      int not null default 0, -- Stripe did not answer: asked again with the same key, not a decline
  lease_until  timestamptz not null,
  created_at   timestamptz not null,
  finished_at  timestamptz
);
create unique index auto_reload_one_in_flight on credits.auto_reload_attempts (account_id) where status = 'in_flight';
create unique index auto_reload_attempts_by_account on credits.auto_reload_attempts (account_id, created_at, id);
create unique index auto_reload_attempts_by_purchase on credits.auto_reload_attempts (purchase_id, id);

alter table credits.auto_reload_consents enable row level security;
alter table credits.auto_reload enable row level security;
alter table credits.auto_reload_attempts enable row level security;
create policy auto_reload_consents_read on credits.auto_reload_consents for select to authenticated
  using (account_id = (select credits._own_account()) or (select credits._is_staff()));
create policy auto_reload_read on credits.auto_reload for select to authenticated
  using (account_id = (select credits._own_account()) or (select credits._is_staff()));
create policy auto_reload_attempts_read on credits.auto_reload_attempts for select to authenticated
  using (account_id = (select credits._own_account()) or (select credits._is_staff()));
grant select on credits.auto_reload_consents, credits.auto_reload, credits.auto_reload_attempts to authenticated, service_role;

-- Switches auto-reload on with these terms: a consent, in the owner's own name. Security definer, as all below that write:
-- only functions write these tables.
create function credits.set_auto_reload(
  p_threshold_micros bigint, p_target_micros bigint, p_cap_day_cents bigint, p_cap_month_cents bigint, p_customer_id text,
  p_payment_method_id text, p_consent_text text, p_text_version text
) returns jsonb language plpgsql security definer set search_path = '' as $$
declare
  v_account bigint := credits._owner_only();
  v_gap     bigint := credits._reload_price(p_target_micros - p_threshold_micros);
begin
  if p_target_micros is null or p_threshold_micros is null or p_threshold_micros < 0 or p_target_micros <= p_threshold_micros then
    perform credits._raise('LC400', 'The target must be above the threshold, and neither below 0.');
  elsif length(trim(coalesce(p_consent_text, ''))) < 20 or p_text_version is null then
    perform credits._raise('LC400', 'Agree to the words shown first: automatic payments need a consent.');
  elsif p_cap_day_cents is null or p_cap_month_cents is null or p_cap_day_cents < v_gap or p_cap_month_cents < p_cap_day_cents then
    perform credits._raise('LC400', 'The cap for a day must allow at least one reload, and the cap for a month at least one day.',
                           jsonb_build_object('one_reload_cents', v_gap));
  end if;
  insert into credits.auto_reload_consents (account_id, at, actor, is_given, text_version, consent_text, terms)
  values (v_account, credits._now(), credits._actor(), true, p_text_version, trim(p_consent_text), jsonb_build_object(
    'threshold_micros', p_threshold_micros, 'target_micros', p_target_micros, 'cap_day_cents', p_cap_day_cents,
    'cap_month_cents', p_cap_month_cents, 'payment_method_id', p_payment_method_id));
  insert into credits.auto_reload as r (account_id, is_on, threshold_micros, target_micros, cap_day_cents, cap_month_cents,
                                        customer_id, payment_method_id)
  values (v_account, true, p_threshold_micros, p_target_micros, p_cap_day_cents, p_cap_month_cents, p_customer_id, p_payment_method_id)
  on conflict (account_id) do update set is_on = true, threshold_micros = excluded.threshold_micros,
    target_micros = excluded.target_micros, cap_day_cents = excluded.cap_day_cents, cap_month_cents = excluded.cap_month_cents,
    customer_id = excluded.customer_id, payment_method_id = excluded.payment_method_id, failures = 0,
    next_attempt_at = '-infinity', paused_reason = null, paused_at = null, pay_url = null;
  return credits.auto_reload(v_account);
end $$;

-- Consent belongs to a person: no program, no key and no administrator gives it for them.
create function credits._owner_only() returns bigint
language plpgsql stable security definer set search_path = '' as $$ -- security definer: reads the caller's account
declare v_account bigint := credits._own_account();
begin
  perform credits._require('super_admin', 'admin', 'finance', 'holder');
  if v_account is null or credits._api_key_id() is not null then
    perform credits._raise('LC403', 'Only the owner of the account may do this, signed in.');
  end if;
  return v_account;
end $$;

create function credits.switch_auto_reload(p_action text) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare v_account bigint := credits._owner_only();
begin
  if p_action = 'off' then
    update credits.auto_reload set is_on = false where account_id = v_account and is_on;
    if found then
      insert into credits.auto_reload_consents (account_id, at, actor, is_given, terms)
      values (v_account, credits._now(), credits._actor(), false, '{}');
    end if;
  elsif p_action = 'resume' then
    update credits.auto_reload set paused_reason = null, paused_at = null, pay_url = null, failures = 0, next_attempt_at = '-infinity'
     where account_id = v_account and is_on;
  else
    perform credits._raise('LC400', 'action must be off or resume.');
  end if;
  return credits.auto_reload(v_account);
end $$;

-- What so many credits cost at the custom amount's rate, at least its minimum: the size of one reload.
create function credits._reload_price(p_micros bigint) returns bigint
language sql stable set search_path = '' as $$
  select least(greatest(ceil(p_micros / custom_micros_per_cent::numeric)::bigint, custom_min_cents), custom_max_cents)
    from credits.catalogs where is_active and custom_micros_per_cent is not null
$$;

-- Money that reloads took (or are taking) since a moment.
create function credits._reloaded_cents(p_account_id bigint, p_since timestamptz) returns bigint
language sql stable set search_path = '' as $$
  select coalesce(sum(amount_cents), 0)::bigint from credits.auto_reload_attempts
   where account_id = p_account_id and created_at >= p_since and status in ('in_flight', 'succeeded')
$$;

-- Finds accounts that need a reload and may have one, and opens one attempt each: the purchase is recorded before Stripe is
-- called. Attempts whose worker died are handed out again after their lease, with the same purchase (the same Stripe key).
create function credits.claim_auto_reloads(p_livemode boolean, p_limit int default 20, p_lease_seconds int default 120) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  v_now   timestamptz := credits._now();
  v_id    bigint;
  v_item  jsonb;
  v_items jsonb := '[]';
begin
  perform credits._require('service');
  for v_id in
    select r.account_id from credits.auto_reload as r join credits.accounts as a on a.id = r.account_id
     where r.is_on and r.paused_reason is null and r.next_attempt_at <= v_now
       and (a.posted_micros - a.held_micros < r.threshold_micros
            or exists (select from credits.auto_reload_attempts as t where t.account_id = r.account_id and t.status = 'in_flight'))
     order by r.next_attempt_at, r.account_id limit least(p_limit, 500) for update of r skip locked
  loop
    v_item := credits._open_attempt(v_id, p_livemode, v_now, make_interval(secs => p_lease_seconds));
    if v_item is not null then v_items := v_items || v_item; end if;
  end loop;
  return jsonb_build_object('items', v_items);
end $$;

create function credits._open_attempt(p_account_id bigint, p_livemode boolean, p_now timestamptz, p_lease interval) returns jsonb
language plpgsql set search_path = '' as $$
declare
  s          credits.auto_reload;
  t          credits.auto_reload_attempts;
  c          credits.account_settings := credits._settings(p_account_id);
  v_purchase jsonb;
  v_balance  bigint := (credits.balance(p_account_id) ->> 'available_micros')::bigint;
  v_cents    bigint;
begin
  select * into s from credits.auto_reload where account_id = p_account_id for update;
  select * into t from credits.auto_reload_attempts where account_id = p_account_id and status = 'in_flight';
  if t.id is not null then
    if t.lease_until > p_now then return null; end if;
    update credits.auto_reload_attempts set lease_until = p_now + p_lease where id = t.id returning * into t;
    return credits._attempt_json(t, s);
  end if;
  v_cents := credits._reload_price(s.target_micros - v_balance);
  if v_balance >= s.threshold_micros or v_cents is null then return null; end if;
  if credits._reloaded_cents(p_account_id, (credits._period(c, 'day', p_now)).starts_at) + v_cents > s.cap_day_cents then
    update credits.auto_reload set next_attempt_at = (credits._period(c, 'day', p_now)).ends_at where account_id = p_account_id;
    return null;
  elsif credits._reloaded_cents(p_account_id, (credits._period(c, 'month', p_now)).starts_at) + v_cents > s.cap_month_cents then
    update credits.auto_reload set next_attempt_at = (credits._period(c, 'month', p_now)).ends_at where account_id = p_account_id;
    return null;
  end if;
  v_purchase := credits.create_purchase('auto-reload:' || gen_random_uuid(), p_livemode, null, v_cents, 'payment_intent', p_account_id);
  insert into credits.auto_reload_attempts (account_id, purchase_id, amount_cents, why, status, lease_until, created_at)
  values (p_account_id, (v_purchase ->> 'purchase_id')::uuid, v_cents, format(
    'The balance was %s credits, below %s; this buys up to %s.', round(v_balance / 1e6, 2), round(s.threshold_micros / 1e6, 2),
    round(s.target_micros / 1e6, 2)), 'in_flight', p_now + p_lease, p_now) returning * into t;
  return credits._attempt_json(t, s);
end $$;

create function credits._attempt_json(t credits.auto_reload_attempts, s credits.auto_reload) returns jsonb
language sql stable set search_path = '' as $$
  select jsonb_build_object(
    'attempt_id', t.id, 'account_id', t.account_id, 'purchase_id', t.purchase_id, 'amount_cents', t.amount_cents, 'why', t.why,
    'status', t.status, 'decline_code', t.decline_code, 'detail', t.detail, 'created_at', credits._iso(t.created_at),
    'finished_at', credits._iso(t.finished_at), 'customer_id', s.customer_id, 'payment_method_id', s.payment_method_id,
    'currency', (select currency from credits.purchases where id = t.purchase_id))
$$;

-- What became of an attempt. succeeded: the purchase is credited by fulfill. declined: back-off, after a hard decline or three
-- in a row a pause. authentication_required: a pause with a link to pay. outage: the attempt stays in flight and is asked again.
create function credits.finish_auto_reload(
  p_attempt_id uuid, p_outcome text, p_decline_code text default null, p_is_hard boolean default false, p_detail text default null,
  p_pay_url text default null
) returns jsonb language plpgsql security definer set search_path = '' as $$
declare
  v_now timestamptz := credits._now();
  t     credits.auto_reload_attempts;
  s     credits.auto_reload;
begin
  perform credits._require('service');
  select * into t from credits.auto_reload_attempts where id = p_attempt_id;
  if t.id is null then perform credits._raise('LC404', 'There is no such attempt.'); end if;
  select * into s from credits.auto_reload where account_id = t.account_id for update;
  select * into t from credits.auto_reload_attempts where id = p_attempt_id for update;
  if t.status <> 'in_flight' then return credits._attempt_json(t, s); end if;
  if p_outcome = 'outage' then  -- not a decline: the same attempt again, a little later each time
    update credits.auto_reload_attempts set outages = outages + 1, detail = p_detail,
           lease_until = v_now + least(interval '1 minute' * power(2, least(outages, 6)), interval '1 hour')
     where id = t.id returning * into t;
    return credits._attempt_json(t, s);
  elsif p_outcome not in ('succeeded', 'declined', 'authentication_required', 'gave_up') then
    perform credits._raise('LC400', 'outcome must be succeeded, declined, authentication_required, gave_up or outage.');
  end if;
  update credits.auto_reload_attempts set status = p_outcome, decline_code = p_decline_code, detail = p_detail, finished_at = v_now
   where id = t.id returning * into t;
  if p_outcome = 'succeeded' then
    s.failures := 0;
    s.next_attempt_at := v_now;
  else
    s.failures := s.failures + 1;
    s.next_attempt_at := v_now + interval '1 hour' * power(2, least(s.failures - 1, 5));
    perform credits.fail_purchase(t.purchase_id, 'failed', coalesce(p_detail, 'The card was not charged.'));
    if p_outcome = 'authentication_required' or p_is_hard or s.failures >= 3 then
      s.paused_reason := case when p_outcome = 'authentication_required' then 'The bank wants you to confirm the payment yourself.'
        when p_is_hard then 'The bank refused the card; use another one.' else 'The card was refused three times in a row.' end;
      s.paused_at := v_now;
      s.pay_url := p_pay_url;
    end if;
  end if;
  update credits.auto_reload set failures = s.failures, next_attempt_at = s.next_attempt_at, paused_reason = s.paused_reason,
         paused_at = s.paused_at, pay_url = s.pay_url where account_id = s.account_id;
  if p_outcome <> 'succeeded' then
    perform credits._tell(t.account_id, case when s.paused_reason is null then 'payment_failed' else 'auto_reload_paused' end,
      jsonb_strip_nulls(jsonb_build_object(
        'attempt_id', t.id, 'purchase_id', t.purchase_id, 'amount_cents', t.amount_cents, 'is_auto_reload', true,
        'currency', (select currency from credits.purchases where id = t.purchase_id),
        'reason', coalesce(s.paused_reason, p_detail), 'decline_code', p_decline_code, 'pay_url', s.pay_url,
        'next_attempt_at', case when s.paused_reason is null then credits._iso(s.next_attempt_at) end)), t.id::text);
  end if;
  return credits._attempt_json(t, s);
end $$;

-- What is agreed, what will happen next, and why the last attempts did what they did.
create function credits.auto_reload(p_account_id bigint default null) returns jsonb
language plpgsql stable set search_path = '' as $$
declare
  v_account bigint := credits._account(p_account_id, 'read');
  s         credits.auto_reload;
  c         credits.account_settings := credits._settings(v_account);
  v_now     timestamptz := credits._now();
  v_balance bigint := (credits.balance(v_account) ->> 'available_micros')::bigint;
begin
  select * into s from credits.auto_reload where account_id = v_account;
  return jsonb_build_object(
    'account_id', v_account, 'state', case when s.account_id is null or not s.is_on then 'off' when s.paused_reason is not null then 'paused' else 'on' end,
    'threshold_micros', s.threshold_micros, 'target_micros', s.target_micros, 'cap_day_cents', s.cap_day_cents,
    'cap_month_cents', s.cap_month_cents, 'payment_method_id', s.payment_method_id, 'paused_reason', s.paused_reason,
    'paused_at', credits._iso(s.paused_at), 'pay_url', s.pay_url, 'available_micros', v_balance,
    'reloaded_today_cents', credits._reloaded_cents(v_account, (credits._period(c, 'day', v_now)).starts_at),
    'reloaded_this_month_cents', credits._reloaded_cents(v_account, (credits._period(c, 'month', v_now)).starts_at),
    'next', case
      when s.account_id is null or not s.is_on then 'Nothing happens by itself: auto-reload is off.'
      when s.paused_reason is not null then 'Paused. ' || s.paused_reason || ' Nothing is charged until you resume.'
      when s.next_attempt_at > v_now then format('Waits until %s UTC before the next attempt.', to_char(s.next_attempt_at at time zone 'UTC', 'YYYY-MM-DD HH24:MI'))
      when v_balance < s.threshold_micros then 'The balance is below the threshold: a reload is due now.'
      else format('Reloads when the balance falls below %s credits.', round(s.threshold_micros / 1e6, 2)) end,
    'consent', (select jsonb_build_object('at', credits._iso(x.at), 'by', x.actor, 'text_version', x.text_version, 'text', x.consent_text)
                  from credits.auto_reload_consents as x where x.account_id = v_account and x.is_given order by x.id desc limit 1),
    'attempts', (select coalesce(jsonb_agg(credits._attempt_json(t::credits.auto_reload_attempts, s) order by t.created_at desc), '[]')
                   from (select * from credits.auto_reload_attempts as x where x.account_id = v_account
                          order by x.created_at desc, x.id limit 20) as t));
end $$;

revoke execute on all functions in schema credits from public;
grant execute on function
  credits._owner_only(), credits._reload_price(bigint), credits._reloaded_cents(bigint, timestamptz),
  credits._attempt_json(credits.auto_reload_attempts, credits.auto_reload), credits.auto_reload(bigint),
  credits.set_auto_reload(bigint, bigint, bigint, bigint, text, text, text, text), credits.switch_auto_reload(text)
to authenticated, service_role;
grant execute on function
  credits.claim_auto_reloads(boolean, int, int), credits.finish_auto_reload(uuid, text, text, boolean, text, text)
to service_role;
