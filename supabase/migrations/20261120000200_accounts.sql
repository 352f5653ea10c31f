-- Accounts: one row that changes with every charge (narrow, no secondary index on what changes), and a profile.

create table credits.accounts (
  id                bigint generated always as identity primary key,
  owner_id          uuid unique references auth.users (id) on delete set null,
  posted_micros     bigint not null default 0,  -- all credits: left in grants + reserved by holds - debt
  held_micros       bigint not null default 0,  -- reserved by open holds (already taken out of the grants)
  debt_micros       bigint not null default 0,  -- spent or clawed back beyond the grants; recovered first from new ones
  overdraft_micros  bigint not null default 0,  -- how far available may go below zero; 0 for nearly everybody
  grant_id          bigint,                     -- the grant being spent now; what is left of it stands here, and
  grant_left_micros bigint not null default 0,  -- grants.remaining_micros is stale for that one grant
  settle_at         timestamptz not null default 'infinity',  -- earliest expiry of any grant: fast charges stop here
  seq               bigint not null default 0,  -- number of the account's last transaction, without gaps
  last_at           timestamptz not null default '-infinity', -- its time; never goes back within an account
  purchased_micros  bigint not null default 0,
  used_micros       bigint not null default 0,
  is_unlimited      boolean not null default false,           -- super admins: metered at full price, charged 0
  has_limits        boolean not null default false,           -- a plan or caps apply: see limits
  created_at        timestamptz not null default credits._now(),
  constraint grants_never_overspent check (
    posted_micros + debt_micros - held_micros >= grant_left_micros and grant_left_micros >= 0
    and held_micros >= 0 and debt_micros >= 0 and overdraft_micros >= 0)
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02);
comment on table credits.accounts is 'One row per account: balance, the grant being spent, the last transaction number.';

create table credits.profiles (
  account_id bigint primary key references credits.accounts (id),
  email      text,
  name       text,
  role       text not null default 'holder' check (role in ('holder', 'finance', 'admin', 'super_admin')),
  is_demo    boolean not null default false,
  constraint email_is_lower_case check (email = lower(email))
);
comment on table credits.profiles is 'What people call an account. Personal data lives here and in auth.users, not in the ledger.';
create unique index profiles_by_email on credits.profiles (email, account_id);

alter table credits.accounts enable row level security;
alter table credits.profiles enable row level security;

-- The caller's own account id, or null. Security definer: row policies ask it, and they must not call themselves.
create function credits._own_account() returns bigint
language sql stable security definer set search_path = '' as $$
  select id from credits.accounts where owner_id = credits._user_id()
$$;

-- Who acts, for a ledger row: null when it is the owner of the account.
create function credits._acting_for(p_account_id bigint) returns text
language sql stable set search_path = '' as $$
  select case when credits._role() = 'service' or credits._claims() ? 'api_key_id'
                   or p_account_id is distinct from credits._own_account() then credits._actor() end
$$;

create policy accounts_read on credits.accounts for select to authenticated
  using (owner_id = (select auth.uid()) or (select credits._is_staff()));
create policy profiles_read on credits.profiles for select to authenticated
  using (account_id = (select credits._own_account()) or (select credits._is_staff()));
grant select on credits.accounts, credits.profiles to authenticated, service_role;

-- Refuses an API key that lacks a scope. p_right: read, check, use, hold, purchase, manage or admin. A key that may read,
-- use or hold may also ask what something would cost; settings and keys are for people and for keys with the scope admin.
create function credits._require_scope(p_right text) returns void
language plpgsql stable set search_path = '' as $$
declare
  v_scopes jsonb := credits._claims() -> 'scopes';
  v_lacks  text := case p_right when 'check' then 'read' when 'manage' then 'admin' else p_right end;
begin
  if v_scopes is null or v_scopes ? 'admin' or v_scopes ? p_right
     or (p_right = 'check' and v_scopes ?| array['read', 'use', 'hold']) then return; end if;
  perform credits._raise('LC403', format('This API key lacks the scope “%s”; use a key that has it.', v_lacks),
                         jsonb_build_object('scope', v_lacks));
end $$;

-- The account a call is about. Nobody but staff and programs may name another one: finance to read (or check), admin and
-- super_admin for everything. Answers before telling whether it exists.
-- Security definer: it must see whether an account exists to say "not yours" for both cases alike.
create function credits._account(p_account_id bigint, p_right text) returns bigint
language plpgsql stable security definer set search_path = '' as $$
declare
  v_role text := credits._role();
  v_own  bigint;
begin
  if v_role = 'anon' then perform credits._raise('LC401', 'Sign in first, then try again.'); end if;
  perform credits._require_scope(p_right);
  if v_role <> 'service' then
    select id into v_own from credits.accounts where owner_id = credits._user_id();
    if p_account_id is null and v_own is null then
      perform credits._raise('LC404', 'This sign-in has no account yet; sign out, sign in again, or ask an administrator.');
    end if;
    if p_account_id is null or p_account_id = v_own then return v_own; end if;
    if not (v_role in ('admin', 'super_admin') or (v_role = 'finance' and p_right in ('read', 'check'))) then
      perform credits._raise('LC403', 'This belongs to another account; leave the account out to use your own.');
    end if;
  elsif p_account_id is null then
    perform credits._raise('LC400', 'A program acts for somebody: name the account (account_id).');
  end if;
  perform from credits.accounts where id = p_account_id;
  if not found then
    perform credits._raise('LC404', format('There is no account %s; find its number in the list of accounts.', p_account_id));
  end if;
  return p_account_id;
end $$;

-- Every person of Supabase Auth has exactly one account, from sign-up on.
-- Security definer: Auth's own role inserts into auth.users and has no right on our tables.
create function credits._sync_user() returns trigger
language plpgsql security definer set search_path = '' as $$
declare
  v_account bigint;
  v_role    text := coalesce(new.raw_app_meta_data ->> 'role', 'holder');
begin
  if v_role not in ('finance', 'admin', 'super_admin') then v_role := 'holder'; end if;
  insert into credits.accounts (owner_id) values (new.id) on conflict (owner_id) do nothing;
  update credits.accounts set is_unlimited = (v_role = 'super_admin') where owner_id = new.id returning id into v_account;
  insert into credits.profiles (account_id, email, name, role, is_demo)
  values (v_account, lower(new.email), coalesce(new.raw_user_meta_data ->> 'name', split_part(new.email, '@', 1)), v_role,
          coalesce((new.raw_app_meta_data ->> 'is_demo')::boolean, false))
  on conflict (account_id) do update
    set email = excluded.email, name = excluded.name, role = excluded.role, is_demo = excluded.is_demo;
  return null;
end $$;
create trigger credits_sync_user after insert or update of email, raw_app_meta_data, raw_user_meta_data on auth.users
  for each row execute function credits._sync_user();

-- People who signed up before this migration.
insert into credits.accounts (owner_id, is_unlimited)
select id, coalesce(raw_app_meta_data ->> 'role' = 'super_admin', false) from auth.users order by created_at, id;
insert into credits.profiles (account_id, email, name, role)
select a.id, lower(u.email), coalesce(u.raw_user_meta_data ->> 'name', split_part(u.email, '@', 1)),
       case when u.raw_app_meta_data ->> 'role' in ('finance', 'admin', 'super_admin')
            then u.raw_app_meta_data ->> 'role' else 'holder' end
  from auth.users as u join credits.accounts as a on a.owner_id = u.id;

create function credits.me() returns jsonb
language plpgsql stable set search_path = '' as $$
declare v jsonb;
begin
  perform credits._require('service', 'super_admin', 'admin', 'finance', 'holder');
  perform credits._require_scope('read');
  select jsonb_build_object('user_id', credits._user_id(), 'email', p.email, 'name', p.name, 'role', credits._role(),
                            'account_id', a.id, 'unlimited', a.is_unlimited, 'is_demo', p.is_demo)
    into v from credits.accounts as a join credits.profiles as p on p.account_id = a.id
   where a.owner_id = credits._user_id();
  return coalesce(v, jsonb_build_object('user_id', credits._user_id(), 'role', credits._role(), 'account_id', null));
end $$;

-- An account by its number, e-mail or the uuid of its person. For staff and programs.
create function credits.find_account(p_account text) returns jsonb
language plpgsql stable set search_path = '' as $$
declare v jsonb;
begin
  perform credits._require('service', 'super_admin', 'admin', 'finance');
  select jsonb_build_object('account_id', a.id, 'email', p.email, 'name', p.name, 'role', p.role)
    into v from credits.accounts as a join credits.profiles as p on p.account_id = a.id
   where case when p_account ~ '^\d{1,18}$' then a.id = p_account::bigint
              when p_account ~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' then a.owner_id = p_account::uuid
              else p.email = lower(trim(p_account)) end
   order by a.id limit 1;
  if v is null then
    perform credits._raise('LC404', format('There is no account “%s”; search by number, e-mail or user id.', left(p_account, 80)));
  end if;
  return v;
end $$;

-- For sign-in with the demo people of the embedded mode, where no Supabase Auth answers.
create function credits.user_by_email(p_email text) returns jsonb
language plpgsql stable security definer set search_path = '' as $$ -- security definer: reads auth.users
declare v jsonb;
begin
  perform credits._require('service');
  select jsonb_build_object('user_id', u.id, 'email', u.email, 'name', u.raw_user_meta_data ->> 'name',
                            'role', coalesce(u.raw_app_meta_data ->> 'role', 'holder'), 'app_metadata', u.raw_app_meta_data)
    into v from auth.users as u where lower(u.email) = lower(trim(p_email)) order by u.created_at limit 1;
  return v;
end $$;

revoke execute on all functions in schema credits from public;
grant execute on function
  credits._own_account(), credits._require_scope(text), credits._account(bigint, text), credits.me()
to authenticated, service_role;
grant execute on function credits.find_account(text) to authenticated, service_role;
grant execute on function credits.user_by_email(text) to service_role;
