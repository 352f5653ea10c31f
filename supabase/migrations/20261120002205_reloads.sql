-- Reloads: the work that buys what was agreed to. Each attempt is recorded before Stripe is called, and ends once.

-- Money that reloads took since a moment, or are taking; also what their owner confirmed, or the bank took, afterwards. It counts
-- when it was taken: an attempt that outlasts midnight is a charge of the new day.
create function credits._reloaded_cents(p_account_id bigint, p_since timestamptz) returns bigint
language sql stable set search_path = '' as $$
  select coalesce(sum(t.amount_cents), 0)::bigint
    from credits.auto_reload_attempts as t join credits.purchases as p on p.id = t.purchase_id
   where t.account_id = p_account_id and (
     t.status = 'in_flight' or p.status = 'processing' or p.status = 'credited' and p.credited_at >= p_since
     or (t.status = 'succeeded' or p.status = 'review') and greatest(t.created_at, t.finished_at) >= p_since)
$$;

-- What these terms do now. status: off, paused, in_flight, waiting (until), idle, cap_day or cap_month (until), due. amount_cents:
-- of the next reload, which closes the gap at once (a debt, a balance below 0, is part of it) and never passes the day's cap.
create function credits._next_reload(s credits.auto_reload, p_now timestamptz) returns jsonb
language plpgsql stable set search_path = '' as $$
declare
  c        credits.account_settings := credits._settings(s.account_id);
  b        jsonb := credits.balance(s.account_id);
  v_left   bigint := (b ->> 'available_micros')::bigint;
  v_needed boolean := v_left < s.threshold_micros and not (b ->> 'unlimited')::boolean;
  v_day    record := credits._period(c, 'day', p_now);
  v_month  record := credits._period(c, 'month', p_now);
  v_today  bigint := credits._reloaded_cents(s.account_id, v_day.starts_at);
  v_so_far bigint := credits._reloaded_cents(s.account_id, v_month.starts_at);
  v_cents  bigint := least(s.cap_day_cents, credits._reload_price(s.target_micros - least(v_left, s.threshold_micros)));
  v_status text;
begin
  v_status := case
    when s.is_on is not true then 'off'
    when s.paused_reason is not null then 'paused'
    when exists (select from credits.auto_reload_attempts as t where t.account_id = s.account_id and t.status = 'in_flight') then 'in_flight'
    when s.next_attempt_at > p_now then coalesce(nullif(s.waits_for, 'declined'), 'waiting')
    when not v_needed then 'idle'
    when v_today + v_cents > s.cap_day_cents then 'cap_day'
    when v_so_far + v_cents > s.cap_month_cents then 'cap_month'
    else 'due' end;
  return jsonb_build_object(
    'status', v_status, 'needed', v_needed, 'available_micros', v_left, 'debt_micros', b -> 'debt_micros', 'amount_cents', v_cents,
    'currency', (select currency from credits.catalogs where is_active), 'reloaded_today_cents', v_today,
    'reloaded_this_month_cents', v_so_far, 'until', credits._iso(case
      when s.next_attempt_at > p_now then s.next_attempt_at when v_status = 'cap_day' then v_day.ends_at
      when v_status = 'cap_month' then v_month.ends_at end));
end $$;

-- Finds accounts that need a reload and may have one, and opens one attempt each: the purchase is recorded before Stripe is
-- called. Attempts whose worker died are handed out again after their lease, with the same purchase (the same Stripe key), also
-- when it was switched off since: is_needed tells whether the card may still be charged for it.
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
       and a.posted_micros - a.held_micros < r.threshold_micros
       and not exists (select from credits.auto_reload_attempts as t where t.account_id = r.account_id and t.status = 'in_flight')
        or exists (select from credits.auto_reload_attempts as t
                    where t.account_id = r.account_id and t.status = 'in_flight' and t.lease_until <= v_now)
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
  n          jsonb;
  v_purchase jsonb;
begin
  select * into s from credits.auto_reload where account_id = p_account_id for update;
  n := credits._next_reload(s, p_now);
  if n ->> 'status' in ('cap_day', 'cap_month') then
    update credits.auto_reload set next_attempt_at = credits._timestamptz(n ->> 'until'), waits_for = n ->> 'status'
     where account_id = p_account_id;
  elsif n ->> 'status' = 'due' then
    if n ->> 'currency' <> s.currency then
      perform credits._raise('LC409', 'Prices are in another currency now.');
    end if;
    v_purchase := credits.create_purchase('auto-reload:' || gen_random_uuid(), p_livemode, null, (n ->> 'amount_cents')::bigint,
                                          'payment_intent', p_account_id);
    update credits.purchases set name = 'Auto-reload' where id = (v_purchase ->> 'purchase_id')::uuid;
    insert into credits.auto_reload_attempts (account_id, purchase_id, amount_cents, why, status, lease_until, created_at)
    values (p_account_id, (v_purchase ->> 'purchase_id')::uuid, (n ->> 'amount_cents')::bigint, format(
      'The balance was %s credits, below %s; this buys up to %s.', round((n ->> 'available_micros')::bigint / 1e6, 2),
      round(s.threshold_micros / 1e6, 2), round(s.target_micros / 1e6, 2)), 'in_flight', p_now + p_lease, p_now) returning * into t;
    return credits._attempt_json(t, s) || '{"is_needed": true}';
  else
    update credits.auto_reload_attempts set lease_until = p_now + p_lease
     where account_id = p_account_id and status = 'in_flight' and lease_until <= p_now returning * into t;
    if t.id is not null then
      return credits._attempt_json(t, s) || jsonb_build_object('is_needed', (n ->> 'needed')::boolean and n ->> 'status' = 'in_flight');
    end if;
  end if;
  return null;
exception when sqlstate 'LC400' or sqlstate 'LC404' or sqlstate 'LC409' then  -- one account's trouble must not keep the others waiting
  perform credits._pause_reload(p_account_id, 'terms', 'What is agreed cannot be bought any more: ' || sqlerrm || ' Agree to new terms.');
  perform credits._tell(p_account_id, 'auto_reload_paused', jsonb_build_object('is_auto_reload', true, 'reason', sqlerrm));
  return null;
end $$;

-- Only its owner ends a pause; they are told of it, or of the one attempt that failed.
create function credits._pause_reload(p_account_id bigint, p_for text, p_reason text, p_pay_url text default null) returns void
language sql set search_path = '' as $$
  update credits.auto_reload set paused_for = p_for, paused_reason = p_reason, paused_at = credits._now(), pay_url = p_pay_url
   where account_id = p_account_id and is_on and paused_reason is null
$$;

-- Money of this account went back, or does not arrive: charging the same card again by itself is for its owner to decide.
create function credits._pause_after(p_account_id bigint, p_for text, p_reason text) returns void
language plpgsql set search_path = '' as $$
begin
  if not exists (select from credits.auto_reload where account_id = p_account_id and is_on and paused_reason is null) then return; end if;
  perform credits._pause_reload(p_account_id, p_for, p_reason);
  perform credits._tell(p_account_id, 'auto_reload_paused', jsonb_build_object('is_auto_reload', true, 'reason', p_reason));
end $$;

-- A reload that was refunded is not bought again at once.
create function credits._pause_refunded(p credits.purchases) returns void
language plpgsql set search_path = '' as $$
begin
  if p.idempotency_key not like 'auto-reload:%' then return; end if;
  perform credits._pause_after(p.account_id, 'refunded', 'A payment that auto-reload made was refunded.');
end $$;

create function credits._tell_reload(t credits.auto_reload_attempts) returns void
language plpgsql set search_path = '' as $$
declare s credits.auto_reload;
begin
  select * into s from credits.auto_reload where account_id = t.account_id;
  perform credits._tell(t.account_id, case when s.paused_reason is null then 'payment_failed' else 'auto_reload_paused' end,
    jsonb_strip_nulls(jsonb_build_object(
      'attempt_id', t.id, 'purchase_id', t.purchase_id, 'amount_cents', t.amount_cents, 'is_auto_reload', true,
      'currency', (select currency from credits.purchases where id = t.purchase_id),
      'reason', coalesce(s.paused_reason, t.detail), 'decline_code', t.decline_code, 'pay_url', s.pay_url,
      'next_attempt_at', case when s.paused_reason is null then credits._iso(s.next_attempt_at) end)), t.id::text);
end $$;

create function credits._attempt_json(t credits.auto_reload_attempts, s credits.auto_reload) returns jsonb
language sql stable set search_path = '' as $$
  select jsonb_build_object(
    'attempt_id', t.id, 'account_id', t.account_id, 'purchase_id', t.purchase_id, 'amount_cents', t.amount_cents, 'why', t.why,
    'status', t.status, 'decline_code', t.decline_code, 'detail', t.detail, 'created_at', credits._iso(t.created_at),
    'finished_at', credits._iso(t.finished_at), 'customer_id', s.customer_id, 'payment_method_id', s.payment_method_id,
    'currency', p.currency, 'purchase_status', p.status, 'outcome', case
      when t.status <> 'succeeded' and p.status = 'credited' then 'It was paid afterwards, and the credits were added.'
      when p.status = 'review' then 'The card was charged; a person looks at the payment before its credits are added.'
      when t.status = 'succeeded' then 'The card was charged and the credits were added.'
      when t.status = 'in_flight' and t.outages = 0 then 'The card is being charged.'
      when t.status = 'in_flight' then 'Stripe did not answer; it is asked again with the same key. That is no decline.'
      when t.status = 'not_needed' then 'Nothing was charged: it was not needed any more.'
      when t.status = 'authentication_required' then 'Nothing was charged: the bank wants the owner to confirm it.'
      else 'Nothing was charged. ' || coalesce(t.detail, 'The card was declined.') end)
    from credits.purchases as p where p.id = t.purchase_id
$$;

-- What became of an attempt. succeeded: the purchase is credited by fulfill. declined: back-off, after a hard decline or three
-- in a row a pause. authentication_required: a pause with a link to pay. not_needed: nothing was asked of the card. outage: the
-- attempt stays in flight and is asked again.
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
  elsif p_outcome is null or p_outcome not in ('succeeded', 'declined', 'authentication_required', 'gave_up', 'not_needed') then
    perform credits._raise('LC400', 'outcome must be succeeded, declined, authentication_required, gave_up, not_needed or outage.');
  end if;
  update credits.auto_reload_attempts set status = p_outcome, decline_code = p_decline_code, detail = p_detail, finished_at = v_now
   where id = t.id returning * into t;
  if p_outcome in ('declined', 'gave_up', 'not_needed') then  -- what waits for its owner stays open: the poll sees it paid
    perform credits.fail_purchase(t.purchase_id, 'failed', coalesce(p_detail, 'The card was not charged.'));
  end if;
  if p_outcome in ('succeeded', 'not_needed') then
    update credits.auto_reload set failures = 0, next_attempt_at = v_now, waits_for = null where account_id = s.account_id;
    if (select status from credits.purchases where id = t.purchase_id) = 'review' then
      perform credits._pause_after(s.account_id, 'review', 'The last payment is being looked at before its credits are added.');
    end if;
  else
    update credits.auto_reload set failures = failures + 1, waits_for = 'declined',
           next_attempt_at = v_now + interval '1 hour' * power(2, least(failures, 5))
     where account_id = s.account_id returning * into s;
    if p_outcome = 'authentication_required' then
      perform credits._pause_reload(s.account_id, p_outcome, 'The bank wants you to confirm the payment yourself.', p_pay_url);
    elsif p_is_hard then
      perform credits._pause_reload(s.account_id, 'refused_card', 'The bank refused the card; use another one.');
    elsif s.failures >= 3 then
      perform credits._pause_reload(s.account_id, 'declines', 'The card was refused three times in a row.');
    end if;
    perform credits._tell_reload(t);
  end if;
  return credits._attempt_json(t, s);
end $$;

revoke execute on all functions in schema credits from public;
grant execute on function
  credits._reloaded_cents(bigint, timestamptz), credits._next_reload(credits.auto_reload, timestamptz),
  credits._attempt_json(credits.auto_reload_attempts, credits.auto_reload)
to authenticated, service_role;
grant execute on function
  credits.claim_auto_reloads(boolean, int, int), credits.finish_auto_reload(uuid, text, text, boolean, text, text)
to service_role;
