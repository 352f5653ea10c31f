-- API keys for programs. The key itself is made and shown once outside; here are its prefix and its sha256.

create table credits.api_keys (
  id           bigint generated always as identity primary key,
  account_id   bigint not null references credits.accounts (id),
  name         text not null,
  prefix       text not null,
  key_hash     text not null unique check (key_hash ~ '^[0-9a-f]{64}$'),
  scopes       text[] not null check (scopes <@ array['read', 'use', 'hold', 'purchase', 'admin'] and cardinality(scopes) > 0),
  created_by   text not null,
  created_at   timestamptz not null,
  expires_at   timestamptz not null default 'infinity',
  revoked_at   timestamptz,
  last_used_at timestamptz,
  idempotency_key text,
  unique (account_id, idempotency_key)
) with (fillfactor = 80);
create unique index api_keys_by_account on credits.api_keys (account_id, id);

alter table credits.api_keys enable row level security;
create policy api_keys_read on credits.api_keys for select to authenticated
  using (account_id = (select credits._own_account()) or (select credits._is_staff()));
-- Everything but the hash.
grant select (id, account_id, name, prefix, scopes, created_by, created_at, expires_at, revoked_at, last_used_at)
  on credits.api_keys to authenticated, service_role;

create function credits._api_key_json(k credits.api_keys) returns jsonb
language sql stable set search_path = '' as $$
  select jsonb_build_object(
    'api_key_id', k.id, 'account_id', k.account_id, 'name', k.name, 'prefix', k.prefix, 'scopes', k.scopes,
    'created_at', credits._iso(k.created_at), 'expires_at', credits._iso(k.expires_at),
    'revoked_at', credits._iso(k.revoked_at), 'last_used_at', credits._iso(k.last_used_at),
    'status', case when k.revoked_at is not null then 'revoked' when k.expires_at <= credits._now() then 'expired'
                   else 'active' end)
$$;

-- The same idempotency key again answers the key that was made then (replayed): the one sent now is not stored, and that one
-- was shown already. Security definer, as all below: only functions write keys, and nobody reads their hashes.
create function credits.create_api_key(
  p_name text, p_scopes text[], p_prefix text, p_key_hash text, p_expires_at timestamptz default null,
  p_account_id bigint default null, p_idempotency_key text default null
) returns jsonb language plpgsql security definer set search_path = '' as $$
declare
  v_account bigint := credits._account(p_account_id, 'manage');
  k         credits.api_keys;
begin
  if p_idempotency_key is not null then perform credits._check_key(p_idempotency_key); end if;
  perform from credits.accounts where id = v_account for no key update;
  select * into k from credits.api_keys where account_id = v_account and idempotency_key = p_idempotency_key;
  if found then
    if k.name <> trim(p_name) or k.scopes <> p_scopes or k.expires_at <> coalesce(p_expires_at, 'infinity') then
      perform credits._raise('LC410', 'This idempotency key was used for another request; use a new key for a new request.');
    end if;
    return credits._api_key_json(k) || '{"replayed": true}';
  end if;
  if length(trim(coalesce(p_name, ''))) not between 1 and 80 then
    perform credits._raise('LC400', 'Give the key a name of 1 to 80 characters, so that you know it later.');
  elsif coalesce(cardinality(p_scopes), 0) = 0 or not p_scopes <@ array['read', 'use', 'hold', 'purchase', 'admin'] then
    perform credits._raise('LC400', 'Scopes are read, use, hold, purchase and admin; choose at least one.');
  elsif 'admin' = any (p_scopes) and credits._role() not in ('service', 'admin', 'super_admin') then
    perform credits._raise('LC403', 'Only an administrator makes keys with the scope admin.');
  elsif p_expires_at <= credits._now() then
    perform credits._raise('LC400', 'The key would be expired at once; choose a later day.');
  elsif (select count(*) from credits.api_keys where account_id = v_account and revoked_at is null) >= 100 then
    perform credits._raise('LC429', 'An account has at most 100 keys; revoke one that is not used any more.');
  end if;
  insert into credits.api_keys (account_id, name, prefix, key_hash, scopes, created_by, created_at, expires_at, idempotency_key)
  values (v_account, trim(p_name), p_prefix, p_key_hash, p_scopes, credits._actor(), credits._now(),
          coalesce(p_expires_at, 'infinity'), p_idempotency_key)
  returning * into k;
  perform credits._audit('create_api_key', v_account, jsonb_build_object('api_key_id', k.id, 'scopes', p_scopes));
  return credits._api_key_json(k) || '{"replayed": false}';
end $$;

create function credits.revoke_api_key(p_api_key_id bigint) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare k credits.api_keys;
begin
  perform credits._require('service', 'super_admin', 'admin', 'finance', 'holder');
  select * into k from credits.api_keys where id = p_api_key_id;
  if k.id is null or (credits._role() in ('holder', 'finance') and k.account_id is distinct from credits._own_account()) then
    perform credits._raise('LC404', 'There is no such API key of yours.');
  end if;
  perform credits._account(k.account_id, 'manage');
  update credits.api_keys set revoked_at = coalesce(revoked_at, credits._now()) where id = k.id returning * into k;
  perform credits._audit('revoke_api_key', k.account_id, jsonb_build_object('api_key_id', k.id));
  return credits._api_key_json(k);
end $$;

-- The claims a key acts with, or null for an unknown, expired or revoked one. It acts as its account's owner, with its scopes;
-- a key with the scope admin as an administrator.
create function credits.authenticate_api_key(p_key_hash text) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  k credits.api_keys;
  v_owner uuid;
begin
  perform credits._require('service');
  select * into k from credits.api_keys where key_hash = p_key_hash and revoked_at is null and expires_at > credits._now();
  if k.id is null then return null; end if;
  update credits.api_keys set last_used_at = credits._now()  -- to the minute: not one more write for every request
   where id = k.id and (last_used_at is null or last_used_at < credits._now() - interval '1 minute');
  select owner_id into v_owner from credits.accounts where id = k.account_id;
  return jsonb_build_object('sub', v_owner, 'role', 'authenticated', 'api_key_id', k.id, 'scopes', k.scopes,
    'app_metadata', jsonb_build_object('role', case when 'admin' = any (k.scopes) then 'admin' else 'holder' end));
end $$;

create function credits.api_keys(p_account_id bigint default null) returns jsonb
language plpgsql stable security definer set search_path = '' as $$ -- security definer: a row type needs all columns
declare v_account bigint := credits._account(p_account_id, 'manage');
begin
  return jsonb_build_object('items', (select coalesce(jsonb_agg(credits._api_key_json(k) order by k.id desc), '[]')
                                        from credits.api_keys as k where k.account_id = v_account));
end $$;

revoke execute on all functions in schema credits from public;
grant execute on function
  credits.create_api_key(text, text[], text, text, timestamptz, bigint, text), credits.revoke_api_key(bigint), credits.api_keys(bigint)
to authenticated, service_role;
grant execute on function credits.authenticate_api_key(text) to service_role;
