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
  currency          text not null,              -- of the caps
  customer_id       text not null,
  payment_method_id text not null,
  failures          int not null default 0,     -- in a row
  next_attempt_at   timestamptz not null default '-infinity',
  waits_for         text check (waits_for in ('declined', 'cap_day', 'cap_month')),  -- why next_attempt_at is later
  paused_reason     text,                       -- not null: paused until the owner resumes it
  paused_for        text check (paused_for in (
    'authentication_required', 'refused_card', 'declines', 'terms', 'review', 'disputed', 'refunded')),
  paused_at         timestamptz,
  pay_url           text,                       -- where the owner can pay what was not allowed without them
  constraint target_above_threshold check (target_micros > threshold_micros),
  constraint paused_says_why check ((paused_reason is null) = (paused_for is null))
);
create unique index auto_reload_due on credits.auto_reload (next_attempt_at, account_id) where is_on and paused_reason is null;

create table credits.auto_reload_attempts (
  id           uuid primary key default gen_random_uuid(),
  account_id   bigint not null references credits.accounts (id),
  purchase_id  uuid not null references credits.purchases (id),
  amount_cents bigint not null,
  why          text not null,          -- the sentence for the page: balance, threshold, target
  status       text not null check (status in (
    'in_flight', 'succeeded', 'declined', 'authentication_required', 'gave_up', 'not_needed')),
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

-- What so many credits cost at the custom amount's rate, at least its minimum: the size of one reload. Null: not for sale.
create function credits._reload_price(p_micros bigint) returns bigint
language sql stable set search_path = '' as $$
  select least(greatest(ceil(p_micros / custom_micros_per_cent::numeric), custom_min_cents), custom_max_cents)::bigint
    from credits.catalogs where is_active and custom_micros_per_cent is not null and p_micros is not null
$$;

-- Why these terms make no sense; null when they do.
create function credits._reload_refusal(
  p_threshold_micros bigint, p_target_micros bigint, p_cap_day_cents bigint, p_cap_month_cents bigint
) returns text language plpgsql stable set search_path = '' as $$
declare
  c      credits.catalogs;
  v_gap  numeric := p_target_micros::numeric - p_threshold_micros;
begin
  select * into c from credits.catalogs where is_active and custom_micros_per_cent is not null;
  if c.code is null then
    return 'No amounts of your own choice are for sale just now, so there is nothing that auto-reload could buy.';
  elsif v_gap is null or p_threshold_micros < 0 or v_gap <= 0 then
    return 'The target must be above the threshold, and neither below 0.';
  elsif v_gap > c.custom_max_cents::numeric * c.custom_micros_per_cent then
    return 'One reload cannot buy that much at once; choose a lower target.';
  elsif p_cap_day_cents is null or p_cap_month_cents is null or p_cap_day_cents < credits._reload_price(v_gap::bigint)
        or p_cap_month_cents < p_cap_day_cents then
    return 'The cap for a day must allow at least one reload, and the cap for a month at least one day.';
  end if;
  return null;
end $$;

-- Switches auto-reload on with these terms: a consent, in the owner's own name. Security definer, as all below that write:
-- only functions write these tables.
create function credits.set_auto_reload(
  p_threshold_micros bigint, p_target_micros bigint, p_cap_day_cents bigint, p_cap_month_cents bigint, p_customer_id text,
  p_payment_method_id text, p_consent_text text, p_text_version text
) returns jsonb language plpgsql security definer set search_path = '' as $$
declare
  v_account  bigint := credits._owner_only();
  v_why      text := credits._reload_refusal(p_threshold_micros, p_target_micros, p_cap_day_cents, p_cap_month_cents);
  v_currency text := (select currency from credits.catalogs where is_active);
  v_terms    jsonb;
begin
  if v_why is not null then
    perform credits._raise('LC400', v_why, jsonb_build_object('currency', v_currency, 'one_reload_cents',
      case when p_target_micros > p_threshold_micros then credits._reload_price(p_target_micros - p_threshold_micros) end));
  elsif length(trim(coalesce(p_consent_text, ''))) < 20 or p_text_version is null then
    perform credits._raise('LC400', 'Agree to the words shown first: automatic payments need a consent.');
  elsif not exists (select from credits.customers where account_id = v_account and customer_id = p_customer_id) then
    perform credits._raise('LC404', 'There is no such saved card of yours; save a card first.');  -- nobody else's card is charged
  end if;
  v_terms := jsonb_build_object(
    'threshold_micros', p_threshold_micros, 'target_micros', p_target_micros, 'cap_day_cents', p_cap_day_cents,
    'cap_month_cents', p_cap_month_cents, 'currency', v_currency, 'payment_method_id', p_payment_method_id);
  perform from credits.accounts where id = v_account for no key update;
  -- the same click twice is one consent
  insert into credits.auto_reload_consents (account_id, at, actor, is_given, text_version, consent_text, terms)
  select v_account, credits._now(), credits._actor(), true, p_text_version, trim(p_consent_text), v_terms
   where (trim(p_consent_text), v_terms) is distinct from (
     select (x.consent_text, x.terms) from credits.auto_reload_consents as x where x.account_id = v_account order by x.id desc limit 1);
  insert into credits.auto_reload as r (account_id, is_on, threshold_micros, target_micros, cap_day_cents, cap_month_cents, currency,
                                        customer_id, payment_method_id)
  values (v_account, true, p_threshold_micros, p_target_micros, p_cap_day_cents, p_cap_month_cents, v_currency, p_customer_id,
          p_payment_method_id)
  on conflict (account_id) do update set is_on = true, threshold_micros = excluded.threshold_micros,
    target_micros = excluded.target_micros, cap_day_cents = excluded.cap_day_cents, cap_month_cents = excluded.cap_month_cents,
    currency = excluded.currency, customer_id = excluded.customer_id, payment_method_id = excluded.payment_method_id, failures = 0,
    next_attempt_at = '-infinity', waits_for = null, paused_reason = null, paused_for = null, paused_at = null, pay_url = null;
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
    update credits.auto_reload set is_on = false, paused_reason = null, paused_for = null, paused_at = null, pay_url = null
     where account_id = v_account and is_on;
    if found then
      insert into credits.auto_reload_consents (account_id, at, actor, is_given, terms)
      values (v_account, credits._now(), credits._actor(), false, '{}');
    end if;
  elsif p_action = 'resume' then
    update credits.auto_reload set paused_reason = null, paused_for = null, paused_at = null, pay_url = null, failures = 0,
           next_attempt_at = '-infinity', waits_for = null
     where account_id = v_account and is_on and paused_reason is not null;
  else
    perform credits._raise('LC400', 'action must be off or resume.');
  end if;
  return credits.auto_reload(v_account);
end $$;

revoke execute on all functions in schema credits from public;
grant execute on function
  credits._owner_only(), credits._reload_price(bigint), credits._reload_refusal(bigint, bigint, bigint, bigint),
  credits.set_auto_reload(bigint, bigint, bigint, bigint, text, text, text, text), credits.switch_auto_reload(text)
to authenticated, service_role;
