-- Feature flags: what is new reaches some accounts first. A flag is off, or on for a per cent of all accounts, and for named accounts
-- whatever their per cent says. Which accounts a per cent means is decided by a hash of flag and account: raising it only adds some.

create table credits.flags (
  key         text primary key check (key ~ '^[a-z][a-z0-9_]{1,39}$'),
  description text not null check (length(description) between 3 and 300),
  is_on       boolean not null default false,   -- off: for nobody, named or not
  percent     int not null default 0 check (percent between 0 and 100),
  changed_at  timestamptz not null default credits._now()
);
create table credits.flag_accounts (
  key        text not null references credits.flags (key),
  account_id bigint not null references credits.accounts (id),
  is_on      boolean not null,
  primary key (key, account_id)
);
create unique index flag_accounts_by_account on credits.flag_accounts (account_id, key);
alter table credits.flags enable row level security;
alter table credits.flag_accounts enable row level security;
create policy flags_staff_reads on credits.flags for select to authenticated using ((select credits._is_staff()));
create policy flag_accounts_staff_reads on credits.flag_accounts for select to authenticated using ((select credits._is_staff()));
grant select on credits.flags, credits.flag_accounts to authenticated, service_role;

insert into credits.flags (key, description, is_on, percent) values
  ('invitations', 'The page Invite: a code of one''s own, who joined, and entering a code.', true, 100);

-- 0 to 99, for ever the same for a flag and an account.
create function credits._flag_bucket(p_key text, p_account_id bigint) returns int
language sql immutable set search_path = '' as $$
  select (('x' || substr(encode(sha256(convert_to(p_key || ':' || p_account_id, 'UTF8')), 'hex'), 1, 8))::bit(32)::bigint % 100)::int
$$;

create function credits._flag_is_on(f credits.flags, p_account_id bigint) returns boolean
language sql stable set search_path = '' as $$
  select f.is_on and coalesce((select is_on from credits.flag_accounts where key = f.key and account_id = p_account_id),
                              credits._flag_bucket(f.key, p_account_id) < f.percent)
$$;

-- What is switched on for an account: {"flags": {key: true or false}}. Security definer: people may not read the rows.
create function credits.flags(p_account_id bigint default null) returns jsonb
language plpgsql stable security definer set search_path = '' as $$
declare v_account bigint := credits._account(p_account_id, 'read');
begin
  return jsonb_build_object('account_id', v_account, 'flags', (
    select coalesce(jsonb_object_agg(f.key, credits._flag_is_on(f, v_account)), '{}') from credits.flags as f));
end $$;

create function credits._flag_json(f credits.flags) returns jsonb
language sql stable set search_path = '' as $$
  select jsonb_build_object(
    'key', f.key, 'description', f.description, 'on', f.is_on, 'percent', f.percent, 'changed_at', credits._iso(f.changed_at),
    'named', (select coalesce(jsonb_agg(jsonb_build_object('account_id', n.account_id, 'email', p.email, 'on', n.is_on) order by n.account_id), '[]')
                from credits.flag_accounts as n join credits.profiles as p on p.account_id = n.account_id where n.key = f.key))
$$;

-- How many accounts a flag reaches, now and with another per cent: what a change would mean, before it is made.
create function credits.flag_reach(p_key text, p_percent int default null, p_on boolean default null) returns jsonb
language plpgsql stable set search_path = '' as $$
declare
  f credits.flags;
  g credits.flags;
begin
  perform credits._require('service', 'super_admin', 'admin', 'finance');
  select * into f from credits.flags where key = p_key;
  if f.key is null then perform credits._raise('LC404', 'There is no such flag; see the list of flags.'); end if;
  g := f;
  g.percent := coalesce(p_percent, f.percent);
  g.is_on := coalesce(p_on, f.is_on);
  return (select jsonb_build_object('key', f.key, 'accounts', count(*), 'now', count(*) filter (where credits._flag_is_on(f, a.id)),
                                    'then', count(*) filter (where credits._flag_is_on(g, a.id))) from credits.accounts as a);
end $$;

create function credits.flag_list() returns jsonb
language plpgsql stable set search_path = '' as $$
begin
  perform credits._require('service', 'super_admin', 'admin', 'finance');
  return jsonb_build_object('items', (select coalesce(jsonb_agg(credits._flag_json(f) order by f.key), '[]') from credits.flags as f));
end $$;

-- Makes a flag, or changes what is given of it. Security definer, as the next: only functions write flags.
create function credits.set_flag(p_key text, p_on boolean default null, p_percent int default null, p_description text default null)
returns jsonb language plpgsql security definer set search_path = '' as $$
declare
  f        credits.flags;
  v_before jsonb;
begin
  perform credits._require('service', 'super_admin', 'admin');
  select * into f from credits.flags where key = p_key for update;
  v_before := case when f.key is not null then jsonb_build_object('on', f.is_on, 'percent', f.percent, 'description', f.description) end;
  insert into credits.flags (key, description, is_on, percent, changed_at)
  values (p_key, coalesce(trim(p_description), f.description), coalesce(p_on, f.is_on, false), coalesce(p_percent, f.percent, 0), credits._now())
  on conflict (key) do update set
    description = excluded.description, is_on = excluded.is_on, percent = excluded.percent, changed_at = excluded.changed_at
  returning * into f;
  perform credits._audit('set_flag', null, jsonb_build_object('key', f.key, 'before', v_before, 'after',
    jsonb_build_object('on', f.is_on, 'percent', f.percent, 'description', f.description)));
  return credits._flag_json(f);
exception when check_violation or not_null_violation then
  perform credits._raise('LC400', 'A flag has a key of 2 to 40 small letters, digits or _, a description of 3 to 300 characters, and a per '
                                  'cent of 0 to 100.');
end $$;

-- Switches a flag on or off for one account whatever the per cent; null: the per cent decides again.
create function credits.set_flag_account(p_key text, p_account_id bigint, p_on boolean default null) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare f credits.flags;
begin
  perform credits._require('service', 'super_admin', 'admin');
  select * into f from credits.flags where key = p_key for update;
  if f.key is null then perform credits._raise('LC404', 'There is no such flag; see the list of flags.'); end if;
  p_account_id := credits._account(p_account_id, 'admin');
  if p_on is null then
    delete from credits.flag_accounts where key = f.key and account_id = p_account_id;
  else
    insert into credits.flag_accounts (key, account_id, is_on) values (f.key, p_account_id, p_on)
    on conflict (key, account_id) do update set is_on = excluded.is_on;
  end if;
  update credits.flags set changed_at = credits._now() where key = f.key returning * into f;
  perform credits._audit('set_flag_account', p_account_id, jsonb_build_object('key', f.key, 'on', p_on));
  return credits._flag_json(f);
end $$;

revoke execute on all functions in schema credits from public;
grant execute on function
  credits.flags(bigint), credits.flag_list(), credits.flag_reach(text, int, boolean), credits.set_flag(text, boolean, int, text),
  credits.set_flag_account(text, bigint, boolean), credits._flag_bucket(text, bigint), credits._flag_is_on(credits.flags, bigint),
  credits._flag_json(credits.flags)
to authenticated, service_role;
