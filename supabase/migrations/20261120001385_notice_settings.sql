-- What is sent where: e-mail by kind, chat rooms, and the customer's own systems (webhooks).
--
-- Addresses are checked by the program before they are stored, and again at every delivery: what stands here is never trusted.

create function credits._target_json(t credits.notice_targets) returns jsonb
language sql stable set search_path = '' as $$
  select jsonb_build_object(
    'target_id', t.id, 'account_id', t.account_id, 'channel', t.channel, 'name', t.name, 'address', t.address,
    'kinds', coalesce(to_jsonb(t.kinds), '[]'), 'is_on', t.is_on, 'failures', t.failures,
    'failing_since', credits._iso(t.failing_since), 'off_reason', t.off_reason, 'created_at', credits._iso(t.created_at),
    'old_secret_until', case when t.old_until > credits._now() then credits._iso(t.old_until) end)
$$;

-- Everything a person can choose, and what is chosen. Security definer: a row type needs all columns of the targets.
create function credits.notice_settings(p_account_id bigint default null) returns jsonb
language plpgsql stable security definer set search_path = '' as $$
declare v_account bigint := credits._account(p_account_id, 'read');
begin
  return jsonb_build_object(
    'account_id', v_account, 'email', (select email from credits.profiles where account_id = v_account),
    'low_balance_micros', to_jsonb((credits._settings(v_account)).low_balance_micros),
    'kinds', (select jsonb_agg(jsonb_build_object('kind', k.kind, 'name', k.name, 'email', credits._email_on(v_account, k.kind))
                               order by k.position) from credits.notice_kinds as k where k.kind <> 'test'),
    'targets', (select coalesce(jsonb_agg(credits._target_json(t) order by t.id), '[]') from credits.notice_targets as t
                 where t.account_id = v_account and t.removed_at is null));
end $$;

-- {"low_balance": true, "purchase_credited": false}: the kinds that change. Security definer, as all below: only functions write.
create function credits.set_email_choices(p_choices jsonb, p_account_id bigint default null) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare v_account bigint := credits._account(p_account_id, 'manage');
begin
  if p_choices is null or jsonb_typeof(p_choices) <> 'object' or exists (
       select from jsonb_each(p_choices) as c
        where jsonb_typeof(c.value) <> 'boolean' or not exists (select from credits.notice_kinds where kind = c.key and kind <> 'test')) then
    perform credits._raise('LC400', 'Name kinds of notices that there are, each with true or false.');
  end if;
  insert into credits.email_choices (account_id, kind, is_on)
  select v_account, c.key, c.value::boolean from jsonb_each_text(p_choices) as c
  on conflict (account_id, kind) do update set is_on = excluded.is_on;
  perform credits._audit('set_email_choices', v_account, p_choices);
  return credits.notice_settings(v_account);
end $$;

-- The kinds of a list, each once and in order; null for an empty one: everything.
create function credits._check_kinds(p_kinds jsonb) returns text[]
language plpgsql stable set search_path = '' as $$
declare v_kinds text[];
begin
  if p_kinds is null or p_kinds = '[]' then return null; end if;
  if jsonb_typeof(p_kinds) = 'array' then
    select array_agg(k.kind order by k.position) into v_kinds from credits.notice_kinds as k where p_kinds ? k.kind and k.kind <> 'test';
  end if;
  if v_kinds is null or not to_jsonb(v_kinds) @> p_kinds then
    perform credits._raise('LC400', 'Name kinds of notices that there are, or none for all of them.');
  end if;
  return v_kinds;
end $$;

create function credits._check_target_name(p_name text) returns text
language plpgsql immutable set search_path = '' as $$
begin
  if length(trim(coalesce(p_name, ''))) between 1 and 80 then return trim(p_name); end if;
  perform credits._raise('LC400', 'Give it a name of 1 to 80 characters, so that you know it later.');
  return null;
end $$;

-- p_sealed: the chat address or the signing secret, sealed by the program. The same idempotency key again answers the target that
-- was made then (replayed): its secret was shown already.
create function credits.add_notice_target(
  p_channel text, p_name text, p_address text, p_sealed text, p_kinds jsonb default null, p_idempotency_key text default null,
  p_account_id bigint default null
) returns jsonb language plpgsql security definer set search_path = '' as $$
declare
  v_account bigint := credits._account(p_account_id, 'manage');
  v_kinds   text[] := credits._check_kinds(p_kinds);
  t         credits.notice_targets;
begin
  if p_idempotency_key is not null then perform credits._check_key(p_idempotency_key); end if;
  if p_channel is null or p_channel not in ('chat', 'webhook') then perform credits._raise('LC400', 'channel must be chat or webhook.'); end if;
  if length(coalesce(p_address, '')) not between 1 and 2000 or length(coalesce(p_sealed, '')) not between 1 and 8000 then
    perform credits._raise('LC400', 'The address is missing or too long.');
  end if;
  perform from credits.accounts where id = v_account for no key update;
  select * into t from credits.notice_targets where account_id = v_account and idempotency_key = p_idempotency_key;
  if found then
    if t.channel <> p_channel or t.address <> p_address or t.name <> trim(p_name) or t.kinds is distinct from v_kinds then
      perform credits._raise('LC410', 'This idempotency key was used for another request; use a new key for a new request.');
    end if;
    return credits._target_json(t) || '{"replayed": true}';
  elsif (select count(*) from credits.notice_targets where account_id = v_account and channel = p_channel and removed_at is null) >= 10 then
    perform credits._raise('LC429', 'An account has at most 10 of these; remove one that is not used any more.');
  end if;
  insert into credits.notice_targets (account_id, channel, name, address, sealed, kinds, created_at, idempotency_key)
  values (v_account, p_channel, credits._check_target_name(p_name), p_address, p_sealed, v_kinds, credits._now(), p_idempotency_key)
  returning * into t;
  perform credits._audit('add_notice_target', v_account, credits._target_json(t) - 'account_id');
  return credits._target_json(t) || '{"replayed": false}';
end $$;

-- Locks a target of the caller's. Unknown ones and other people's get the same answer.
create function credits._lock_target(p_target_id bigint) returns credits.notice_targets
language plpgsql set search_path = '' as $$
declare t credits.notice_targets;
begin
  perform credits._require('service', 'super_admin', 'admin', 'finance', 'holder');
  select * into t from credits.notice_targets where id = p_target_id and removed_at is null for update;
  if t.id is null or (credits._role() in ('holder', 'finance') and t.account_id is distinct from credits._own_account()) then
    perform credits._raise('LC404', 'There is no such webhook or chat of yours.');
  end if;
  perform credits._account(t.account_id, 'manage');
  return t;
end $$;

-- What was still to be sent to a target that is gone or off is not sent; it can be sent again by hand.
create function credits._hold_back(p_target_id bigint, p_reason text) returns void
language sql set search_path = '' as $$
  update credits.messages set status = 'not_sent', reason = p_reason, finished_at = credits._now()
   where target_id = p_target_id and status = 'waiting'
$$;

-- Null leaves as it is; an empty list of kinds: everything. Switching on begins with a clean record.
create function credits.change_notice_target(
  p_target_id bigint, p_is_on boolean default null, p_kinds jsonb default null, p_name text default null
) returns jsonb language plpgsql security definer set search_path = '' as $$
declare t credits.notice_targets := credits._lock_target(p_target_id);
begin
  if p_is_on then
    t.failures := 0;
    t.failing_since := null;
    t.off_reason := null;
  elsif not p_is_on and t.is_on then
    perform credits._hold_back(t.id, 'It was switched off.');
  end if;
  update credits.notice_targets set
    is_on = coalesce(p_is_on, t.is_on), failures = t.failures, failing_since = t.failing_since, off_reason = t.off_reason,
    kinds = case when p_kinds is null then t.kinds else credits._check_kinds(p_kinds) end,
    name = case when p_name is null then t.name else credits._check_target_name(p_name) end
   where id = t.id returning * into t;
  perform credits._audit('change_notice_target', t.account_id, credits._target_json(t) - 'account_id');
  return credits._target_json(t);
end $$;

-- A new signing secret. For the hours of the overlap both sign, so that the receiver can change over in between.
create function credits.rotate_target_secret(p_target_id bigint, p_sealed text, p_overlap_hours int default 24) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare t credits.notice_targets := credits._lock_target(p_target_id);
begin
  if t.channel <> 'webhook' then perform credits._raise('LC400', 'Only webhooks have a signing secret.'); end if;
  if p_overlap_hours is null or p_overlap_hours not between 0 and 168 then
    perform credits._raise('LC400', 'The old secret may stay valid for 0 to 168 hours.');
  elsif length(coalesce(p_sealed, '')) not between 1 and 8000 then
    perform credits._raise('LC400', 'The secret is missing or too long.');
  end if;
  update credits.notice_targets set
    old_sealed = case when p_overlap_hours > 0 then sealed end,
    old_until = case when p_overlap_hours > 0 then credits._now() + make_interval(hours => p_overlap_hours) end, sealed = p_sealed
   where id = t.id returning * into t;
  perform credits._audit('rotate_target_secret', t.account_id, jsonb_build_object('target_id', t.id, 'overlap_hours', p_overlap_hours));
  return credits._target_json(t);
end $$;

-- Its deliveries stay listed; its secrets are forgotten.
create function credits.remove_notice_target(p_target_id bigint) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare t credits.notice_targets := credits._lock_target(p_target_id);
begin
  update credits.notice_targets set removed_at = credits._now(), is_on = false, sealed = '', old_sealed = null, old_until = null
   where id = t.id;
  perform credits._hold_back(t.id, 'It was removed.');
  perform credits._audit('remove_notice_target', t.account_id, credits._target_json(t) - 'account_id');
  return jsonb_build_object('target_id', t.id, 'removed', true);
end $$;

revoke execute on all functions in schema credits from public;
grant execute on function
  credits.notice_settings(bigint), credits.set_email_choices(jsonb, bigint),
  credits.add_notice_target(text, text, text, text, jsonb, text, bigint),
  credits.change_notice_target(bigint, boolean, jsonb, text), credits.rotate_target_secret(bigint, text, int),
  credits.remove_notice_target(bigint)
to authenticated, service_role;
