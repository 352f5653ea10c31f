-- The outbox at work: messages are handed out under a lease, tried again later and later, and given up in the open.
--
-- Receivers get a message at least once: who dies between sending and saying so leaves it to the next, under the same uid.

create table credits.delivery_attempts (
  id          bigint generated always as identity primary key,
  account_id  bigint not null,
  message_id  bigint not null references credits.messages (id),
  at          timestamptz not null,
  finished_at timestamptz,
  outcome     text check (outcome in ('delivered', 'failed', 'rejected', 'not_sent', 'abandoned')),  -- null: under way
  status_code int,
  duration_ms int,
  response    text,                    -- the beginning of what the receiver said
  error       text
);
create unique index delivery_attempts_by_message on credits.delivery_attempts (message_id, id);
alter table credits.delivery_attempts enable row level security;
create policy delivery_attempts_read on credits.delivery_attempts for select to authenticated
  using (account_id = (select credits._own_account()) or (select credits._is_staff()));
grant select on credits.delivery_attempts to authenticated, service_role;

-- How long a message is tried: up to ten times in two days (an outage of the sender itself may take two more), then it is given up.
create function credits._retry_rules(
  out delays interval[], out max_attempts int, out longest interval, out off_after_failures int, out off_after interval
) language sql immutable set search_path = '' as $$
  select array['5 seconds', '1 minute', '5 minutes', '30 minutes', '2 hours', '5 hours', '10 hours', '14 hours', '20 hours']::interval[], 10,
         interval '4 days', 20, interval '1 day'
$$;

create function credits._give_up(p_message_id bigint, p_reason text) returns void
language sql set search_path = '' as $$
  update credits.messages set status = 'gave_up', reason = p_reason, finished_at = credits._now() where id = p_message_id
$$;

-- What a sender needs to know of a message. Sealed secrets go to programs alone.
create function credits._sending_json(m credits.messages, p_attempt_id bigint) returns jsonb
language sql stable set search_path = '' as $$
  select jsonb_build_object(
    'attempt_id', p_attempt_id, 'message_id', m.uid, 'account_id', m.account_id, 'kind', m.kind, 'detail', m.detail,
    'channel', m.channel, 'attempt', m.attempts, 'created_at', credits._iso(m.created_at), 'email', p.email, 'name', p.name,
    'time_zone', (credits._settings(m.account_id)).time_zone, 'target_id', t.id, 'address', t.address, 'sealed', t.sealed,
    'old_sealed', case when t.old_until > credits._now() then t.old_sealed end)
    from credits.profiles as p left join credits.notice_targets as t on t.id = m.target_id where p.account_id = m.account_id
$$;

-- Hands out messages that are due, each to one sender until its lease ends; at most five in one go for the same receiver, so that
-- a slow one keeps nobody waiting. Security definer, as all below: only functions write the outbox.
create function credits.claim_deliveries(p_limit int default 50, p_lease_seconds int default 120) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  v_now   timestamptz := credits._now();
  v_rules record := credits._retry_rules();
  v_items jsonb := '[]';
  v_id    bigint;
  m       credits.messages;
begin
  perform credits._require('service');
  for m in
    with due as (
      select x.id, row_number() over (partition by x.account_id, x.channel, x.target_id order by x.next_at, x.id) as n
        from (select * from credits.messages where status = 'waiting' and next_at <= v_now order by next_at, id limit 1000) as x)
    select y.* from credits.messages as y join due on due.id = y.id
     where due.n <= 5 and y.status = 'waiting' and y.next_at <= v_now
     order by y.next_at, y.id limit credits._page_size(p_limit) for update of y skip locked
  loop
    update credits.delivery_attempts set outcome = 'abandoned', finished_at = v_now, error = 'The sender did not say what became of it.'
     where message_id = m.id and outcome is null;
    if m.queued_at < v_now - v_rules.longest then
      perform credits._give_up(m.id, 'It could not be sent in time.');
      continue;
    elsif m.attempts >= v_rules.max_attempts then
      perform credits._give_up(m.id, 'The last attempt did not come to an end.');
      continue;
    end if;
    update credits.messages set attempts = attempts + 1, next_at = v_now + make_interval(secs => p_lease_seconds)
     where id = m.id returning * into m;
    insert into credits.delivery_attempts (account_id, message_id, at) values (m.account_id, m.id, v_now) returning id into v_id;
    v_items := v_items || credits._sending_json(m, v_id);
  end loop;
  return jsonb_build_object('items', v_items);
end $$;

-- What became of an attempt. delivered; failed: again later; rejected: never to be had, given up at once; not_sent: nothing is there
-- to send with. An attempt counts once, but one that was given up for dead and did arrive is believed.
create function credits.finish_delivery(
  p_attempt_id bigint, p_outcome text, p_status_code int default null, p_duration_ms int default null, p_response text default null,
  p_error text default null
) returns jsonb language plpgsql security definer set search_path = '' as $$
declare
  v_now   timestamptz := credits._now();
  v_rules record := credits._retry_rules();
  x       credits.delivery_attempts;
  t       credits.notice_targets;
  m       credits.messages;
begin
  perform credits._require('service');
  if p_outcome is null or p_outcome not in ('delivered', 'failed', 'rejected', 'not_sent') then
    perform credits._raise('LC400', 'outcome must be delivered, failed, rejected or not_sent.');
  end if;
  select * into x from credits.delivery_attempts where id = p_attempt_id;
  select * into t from credits.notice_targets
   where id = (select target_id from credits.messages where id = x.message_id) for update;  -- before the message, as everywhere
  select * into m from credits.messages where id = x.message_id for update;
  if m.id is null then perform credits._raise('LC404', 'There is no such attempt.'); end if;
  select * into x from credits.delivery_attempts where id = p_attempt_id;
  if x.outcome is not null and not (x.outcome = 'abandoned' and p_outcome = 'delivered') then return jsonb_build_object('status', m.status); end if;
  update credits.delivery_attempts set outcome = p_outcome, finished_at = v_now, status_code = p_status_code, duration_ms = p_duration_ms,
         response = left(p_response, 1000), error = left(p_error, 500) where id = x.id;
  if m.status = 'waiting' or p_outcome = 'delivered' then
    update credits.messages set
      status = case when p_outcome = 'delivered' then 'sent' when p_outcome = 'not_sent' then 'not_sent'
                    when p_outcome = 'rejected' or m.attempts >= v_rules.max_attempts then 'gave_up' else 'waiting' end,
      reason = case when p_outcome <> 'delivered' then left(p_error, 500) end,
      next_at = v_now + coalesce((v_rules.delays)[m.attempts], interval '0')
     where id = m.id returning * into m;
    update credits.messages set finished_at = case when m.status <> 'waiting' then v_now end where id = m.id;
  end if;
  if t.id is not null then perform credits._judge_target(t, p_outcome, p_status_code, left(p_error, 500)); end if;
  return jsonb_build_object('status', m.status, 'next_at', case when m.status = 'waiting' then credits._iso(m.next_at) end);
end $$;

-- A receiver that fails for a day and twenty times in a row is switched off, and its owner told; one that says it is gone (410) at once.
create function credits._judge_target(t credits.notice_targets, p_outcome text, p_status_code int, p_error text) returns void
language plpgsql set search_path = '' as $$
declare
  v_now   timestamptz := credits._now();
  v_rules record := credits._retry_rules();
begin
  if p_outcome = 'delivered' then
    update credits.notice_targets set failures = 0, failing_since = null where id = t.id and failures > 0;
    return;
  end if;
  update credits.notice_targets set failures = failures + 1, failing_since = coalesce(failing_since, v_now) where id = t.id returning * into t;
  if not t.is_on or t.removed_at is not null
     or not (coalesce(p_status_code, 0) = 410 or t.failures >= v_rules.off_after_failures and t.failing_since <= v_now - v_rules.off_after) then
    return;
  end if;
  update credits.notice_targets set is_on = false, off_reason = case
      when p_status_code = 410 then 'The receiver said that it is gone (410).'
      else format('It failed %s times in a row.', t.failures) end where id = t.id returning * into t;
  perform credits._hold_back(t.id, 'It was switched off: ' || t.off_reason);
  perform credits._tell(t.account_id, 'webhook_disabled', jsonb_build_object(
    'target_id', t.id, 'channel', t.channel, 'name', t.name, 'address', t.address, 'reason', t.off_reason, 'last_error', p_error));
end $$;

create function credits._attempt_of_message_json(x credits.delivery_attempts) returns jsonb
language sql stable set search_path = '' as $$
  select jsonb_build_object('at', credits._iso(x.at), 'finished_at', credits._iso(x.finished_at), 'outcome', x.outcome,
                            'status_code', x.status_code, 'duration_ms', x.duration_ms, 'response', x.response, 'error', x.error)
$$;

create function credits._message_json(m credits.messages) returns jsonb
language sql stable set search_path = '' as $$
  select jsonb_build_object(
    'message_id', m.uid, 'account_id', m.account_id, 'kind', m.kind, 'detail', m.detail, 'channel', m.channel, 'target_id', m.target_id,
    'target', case when m.channel = 'email' then (select email from credits.profiles where account_id = m.account_id)
                   else (select name from credits.notice_targets where id = m.target_id) end,
    'status', m.status, 'attempts', m.attempts, 'reason', m.reason, 'created_at', credits._iso(m.created_at),
    'next_at', case when m.status = 'waiting' then credits._iso(m.next_at) end, 'finished_at', credits._iso(m.finished_at),
    'last', (select credits._attempt_of_message_json(x) from credits.delivery_attempts as x where x.message_id = m.id order by x.id desc limit 1))
$$;

create function credits.deliveries(
  p_account_id bigint default null, p_channel text default null, p_target_id bigint default null, p_status text default null,
  p_limit int default 50, p_cursor text default null
) returns jsonb language plpgsql stable set search_path = '' as $$
declare
  v_account bigint := credits._account(p_account_id, 'read');
  v_size    int := credits._page_size(p_limit);
  v_items   jsonb;
  v_last    bigint;
begin
  with page as (
    select m, row_number() over (order by m.id desc) as n from credits.messages as m
     where m.account_id = v_account and m.id < credits._cursor(p_cursor) and (p_channel is null or m.channel = p_channel)
       and (p_target_id is null or m.target_id = p_target_id) and (p_status is null or m.status = p_status)
     order by m.id desc limit v_size + 1)
  select coalesce(jsonb_agg(credits._message_json(m) order by n) filter (where n <= v_size), '[]'),
         case when count(*) > v_size then min((m).id) filter (where n <= v_size) end
    into v_items, v_last from page;
  return jsonb_build_object('items', v_items, 'next_cursor', v_last::text);
end $$;

-- One message with all its attempts, newest first.
create function credits.delivery(p_message_id text) returns jsonb
language plpgsql stable set search_path = '' as $$
declare m credits.messages;
begin
  perform credits._require('service', 'super_admin', 'admin', 'finance', 'holder');
  perform credits._require_scope('read');
  select * into m from credits.messages where uid = p_message_id;
  if m.id is null then perform credits._raise('LC404', 'There is no such message of yours.'); end if;
  return credits._message_json(m) || jsonb_build_object('tries', (
    select coalesce(jsonb_agg(credits._attempt_of_message_json(x) order by x.id desc), '[]')
      from credits.delivery_attempts as x where x.message_id = m.id));
end $$;

-- Sends a message again now, under the same uid, with all its attempts ahead of it. What waits is only hurried.
create function credits.resend_delivery(p_message_id text) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  v_now timestamptz := credits._now();
  m     credits.messages;
begin
  perform credits._require('service', 'super_admin', 'admin', 'finance', 'holder');
  select * into m from credits.messages where uid = p_message_id for update;
  if m.id is null or (credits._role() in ('holder', 'finance') and m.account_id is distinct from credits._own_account()) then
    perform credits._raise('LC404', 'There is no such message of yours.');
  end if;
  perform credits._account(m.account_id, 'manage');
  if m.target_id is not null and not (select is_on from credits.notice_targets where id = m.target_id) then
    perform credits._raise('LC409', 'Its receiver is switched off or removed; switch it on first.');
  elsif m.status = 'waiting' and m.next_at > v_now and exists (
      select from credits.delivery_attempts where message_id = m.id and outcome is null) then
    perform credits._raise('LC409', 'It is being sent right now.');
  end if;
  update credits.messages set status = 'waiting', attempts = case when m.status = 'waiting' then attempts else 0 end, next_at = v_now,
         queued_at = v_now, reason = null, finished_at = null where id = m.id returning * into m;
  perform credits._audit('resend_delivery', m.account_id, jsonb_build_object('message_id', m.uid));
  return credits._message_json(m);
end $$;

-- A message to see that it arrives: to a chat or webhook, or by e-mail without one. Ten an hour, so that nobody is pestered.
create function credits.send_test_notice(p_target_id bigint default null, p_account_id bigint default null) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  v_account bigint;
  v_now     timestamptz := credits._now();
  t         credits.notice_targets;
  m         credits.messages;
begin
  if p_target_id is not null then
    t := credits._lock_target(p_target_id);
    if not t.is_on then perform credits._raise('LC409', 'It is switched off; switch it on first.'); end if;
  end if;
  v_account := credits._account(coalesce(t.account_id, p_account_id), 'manage');
  perform from credits.accounts where id = v_account for no key update;
  if (select count(*) from credits.messages where account_id = v_account and alert_id is null and created_at > v_now - interval '1 hour') >= 10 then
    perform credits._raise('LC429', 'Ten test messages an hour are enough; try again later.');
  end if;
  insert into credits.messages (account_id, kind, detail, channel, target_id, next_at, created_at, queued_at)
  values (v_account, 'test', jsonb_build_object('account_id', v_account), coalesce(t.channel, 'email'), t.id, v_now, v_now, v_now) returning * into m;
  return credits._message_json(m);
end $$;

revoke execute on all functions in schema credits from public;
grant execute on function
  credits._message_json(credits.messages), credits._attempt_of_message_json(credits.delivery_attempts),
  credits.deliveries(bigint, text, bigint, text, int, text), credits.delivery(text), credits.resend_delivery(text),
  credits.send_test_notice(bigint, bigint)
to authenticated, service_role;
grant execute on function
  credits.claim_deliveries(int, int), credits.finish_delivery(bigint, text, int, int, text, text)
to service_role;
