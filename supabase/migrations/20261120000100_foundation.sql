-- The ground everything stands on: the schema, who is calling, how errors are raised, what time it is.
--
-- Rules of every migration here:
--   * functions without a leading underscore are the API (one call = one transaction); with one they are internal
--   * execute is revoked from everybody first and granted function by function
--   * `security definer` only where a comment says why; always `set search_path = ''`
--   * every secondary index is unique (a listing index ends with the id), so that pages by key are exact

create schema credits;
comment on schema credits is 'Prepaid credits: accounts, grants, transactions, prices, purchases. Functions are the API.';
grant usage on schema credits to anon, authenticated, service_role;

-- What time it is, for every rule about money. The single seam for a clock: only the owner of this schema can
-- replace the function (demo data and tests do, inside their own transaction or database); no setting moves it.
create function credits._now() returns timestamptz
language sql volatile set search_path = '' as $$ select clock_timestamp() $$;

create function credits._claims() returns jsonb
language sql stable set search_path = '' as $$
  select coalesce(nullif(current_setting('request.jwt.claims', true), ''), '{}')::jsonb
$$;

-- service, super_admin, admin, finance, holder or anon. Only app_metadata counts: people can edit user_metadata.
create function credits._role() returns text
language plpgsql stable set search_path = '' as $$
declare
  c     jsonb := nullif(current_setting('request.jwt.claims', true), '');
  v_app text;
begin
  if c ->> 'role' = 'service_role' then return 'service'; end if;
  if c ->> 'role' is distinct from 'authenticated' then return 'anon'; end if;
  v_app := c -> 'app_metadata' ->> 'role';
  if v_app in ('finance', 'admin', 'super_admin') then return v_app; end if;
  return 'holder';
end $$;

create function credits._user_id() returns uuid
language sql stable set search_path = '' as $$ select nullif(credits._claims() ->> 'sub', '')::uuid $$;

-- Who did it, for the ledger and the audit trail: a person's uuid, 'key:' and the number of an API key, or 'service' (with
-- the program's name if it gave one).
create function credits._actor() returns text
language sql stable set search_path = '' as $$
  select case when credits._role() = 'service' then coalesce('service:' || (credits._claims() ->> 'actor'), 'service')
              else coalesce('key:' || (credits._claims() ->> 'api_key_id'), credits._user_id()::text, 'anon') end
$$;

create function credits._is_staff() returns boolean
language sql stable set search_path = '' as $$
  select credits._role() in ('finance', 'admin', 'super_admin', 'service')
$$;

-- Codes and their meaning: credits_core/errors.py. The message is a sentence for a person, the detail is JSON.
create function credits._raise(p_code text, p_message text, p_detail jsonb default '{}') returns void
language plpgsql set search_path = '' as $$
begin
  raise exception using errcode = p_code, message = p_message, detail = p_detail::text;
end $$;

-- Refuses callers whose role is not listed. Roles: service, super_admin, admin, finance, holder.
create function credits._require(variadic p_roles text[]) returns void
language plpgsql stable set search_path = '' as $$
declare v_role text := credits._role();
begin
  if v_role = any (p_roles) then return; end if;
  if v_role = 'anon' then perform credits._raise('LC401', 'Sign in first, then try again.'); end if;
  perform credits._raise('LC403', 'Your role may not do this; ask an administrator.', jsonb_build_object('role', v_role));
end $$;

-- Corrections are new rows: a change or removal is refused even for the owner of the table.
create function credits._append_only() returns trigger
language plpgsql set search_path = '' as $$
begin
  raise exception 'Rows of % are never changed or removed; write a correcting row instead.', tg_table_name
    using errcode = 'LC403';
end $$;

-- ISO 8601 in UTC for JSON answers; infinity and null both mean "no moment".
create function credits._iso(p_at timestamptz) returns text
language sql immutable set search_path = '' as $$
  select case when isfinite(p_at) then to_char(p_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') end
$$;

-- How many rows a list may answer: 1 to 500. Server-side PostgREST cuts at 1,000 and nothing may depend on more.
create function credits._page_size(p_limit int) returns int
language plpgsql immutable set search_path = '' as $$
begin
  if p_limit is null or p_limit between 1 and 500 then return coalesce(p_limit, 50); end if;
  perform credits._raise('LC400', 'limit must be between 1 and 500.', jsonb_build_object('limit', p_limit));
  return null;
end $$;

-- Keys of writes: remembered for ever, so short and printable.
create function credits._check_key(p_key text) returns void
language plpgsql immutable set search_path = '' as $$
begin
  if p_key is null or length(p_key) not between 1 and 255 then
    perform credits._raise('LC400', 'Give an idempotency key of 1 to 255 characters, and the same one when you retry.');
  end if;
end $$;

create table credits.audit_log (
  id         bigint generated always as identity primary key,
  at         timestamptz not null default credits._now(),
  actor      text not null,
  action     text not null,
  account_id bigint,
  detail     jsonb not null default '{}'
);
comment on table credits.audit_log is 'Who did what and why. Append-only.';
create trigger audit_log_append_only before update or delete or truncate on credits.audit_log
  for each statement execute function credits._append_only();

create function credits._audit(p_action text, p_account_id bigint, p_detail jsonb) returns void
language sql set search_path = '' as $$
  insert into credits.audit_log (at, actor, action, account_id, detail)
  values (credits._now(), credits._actor(), p_action, p_account_id, p_detail)
$$;

alter table credits.audit_log enable row level security;
create policy audit_log_staff_reads on credits.audit_log for select to authenticated using ((select credits._is_staff()));
grant select on credits.audit_log to authenticated, service_role;

revoke execute on all functions in schema credits from public;
-- Helpers that row policies and reading functions call as the person themselves; they tell people only about themselves.
grant execute on function
  credits._now(), credits._claims(), credits._role(), credits._user_id(), credits._is_staff(), credits._actor(),
  credits._raise(text, text, jsonb), credits._require(text[]), credits._iso(timestamptz), credits._page_size(int)
to anon, authenticated, service_role;
