-- Limits: what a plan includes each month, and caps on spending per account and per API key.
--
-- Accounts with any of these carry has_limits: their charges take the careful way, under the account's row lock, which
-- also guards every row here. Months begin on the account's anchor day in its time zone (on the last day of short months).
-- What is used is kept by the date on which a day or month begins there: people choose their time zone themselves, and another
-- one must not begin the month anew.

create table credits.account_settings (
  account_id         bigint primary key references credits.accounts (id),
  time_zone          text not null default 'UTC',
  anchor_day         smallint not null default 1 check (anchor_day between 1 and 31),
  catalog            text references credits.catalogs (code),  -- prices of its own; null: the active catalog
  low_balance_micros bigint[] not null default '{10000000,5000000,1000000}'
);
create unique index account_settings_by_catalog on credits.account_settings (catalog, account_id);

create table credits.plans (
  catalog  text not null references credits.catalogs (code),
  code     text not null check (code ~ '^[a-z0-9_]{1,40}$'),
  name     text not null,
  position int not null,
  is_offered boolean not null default true,
  primary key (catalog, code)
);
create table credits.plan_allowances (
  catalog          text not null,
  plan             text not null,
  operation_id     smallint not null references credits.operations (id),
  monthly_quantity numeric not null check (monthly_quantity >= 0 and monthly_quantity <= 1e12),
  primary key (catalog, plan, operation_id),
  foreign key (catalog, plan) references credits.plans (catalog, code)
);
create unique index plan_allowances_by_operation on credits.plan_allowances (operation_id, catalog, plan);

-- Which plan an account has from when on. Append-only; plan null: none any more.
create table credits.account_plans (
  account_id bigint not null references credits.accounts (id),
  starts_at  timestamptz not null,
  catalog    text not null,
  plan       text,
  actor      text not null,
  primary key (account_id, starts_at),
  foreign key (catalog, plan) references credits.plans (catalog, code)
);
create unique index account_plans_by_plan on credits.account_plans (catalog, plan, account_id, starts_at);
create trigger account_plans_append_only before update or delete or truncate on credits.account_plans
  for each statement execute function credits._append_only();

-- Units of an allowance that are used (or kept by open holds) in a month.
create table credits.allowance_usage (
  account_id   bigint not null,
  operation_id smallint not null,
  starts_on    date not null,
  used         numeric not null check (used >= 0),
  primary key (account_id, operation_id, starts_on)
) with (fillfactor = 70);

create table credits.spending_caps (
  account_id bigint not null references credits.accounts (id),
  api_key_id bigint not null default 0,  -- 0: the whole account
  period     text not null check (period in ('day', 'month')),
  cap_micros bigint not null check (cap_micros >= 0),
  primary key (account_id, api_key_id, period)
);
create table credits.spend_counters (
  account_id   bigint not null,
  api_key_id   bigint not null,
  period       text not null,
  starts_on    date not null,
  spent_micros bigint not null,
  primary key (account_id, api_key_id, period, starts_on)
) with (fillfactor = 70);

alter table credits.account_settings enable row level security;
alter table credits.plans enable row level security;
alter table credits.plan_allowances enable row level security;
alter table credits.account_plans enable row level security;
alter table credits.allowance_usage enable row level security;
alter table credits.spending_caps enable row level security;
alter table credits.spend_counters enable row level security;
create policy plans_read on credits.plans for select to anon, authenticated using (true);
create policy plan_allowances_read on credits.plan_allowances for select to anon, authenticated using (true);
create policy account_settings_read on credits.account_settings for select to authenticated
  using (account_id = (select credits._own_account()) or (select credits._is_staff()));
create policy account_plans_read on credits.account_plans for select to authenticated
  using (account_id = (select credits._own_account()) or (select credits._is_staff()));
create policy allowance_usage_read on credits.allowance_usage for select to authenticated
  using (account_id = (select credits._own_account()) or (select credits._is_staff()));
create policy spending_caps_read on credits.spending_caps for select to authenticated
  using (account_id = (select credits._own_account()) or (select credits._is_staff()));
create policy spend_counters_read on credits.spend_counters for select to authenticated
  using (account_id = (select credits._own_account()) or (select credits._is_staff()));
grant select on credits.plans, credits.plan_allowances to anon, authenticated, service_role;
grant select on credits.account_settings, credits.account_plans, credits.allowance_usage, credits.spending_caps,
  credits.spend_counters to authenticated, service_role;

create function credits._settings(p_account_id bigint) returns credits.account_settings
language plpgsql stable set search_path = '' as $$
declare s credits.account_settings;
begin
  select * into s from credits.account_settings where account_id = p_account_id;
  if s.account_id is null then
    s.account_id := p_account_id;
    s.time_zone := 'UTC';
    s.anchor_day := 1;
    s.low_balance_micros := '{10000000,5000000,1000000}';
  end if;
  return s;
end $$;

-- The day or the month (from the anchor day on) around a moment, in the account's time zone; starts_on is its first date there.
create function credits._period(
  s credits.account_settings, p_period text, p_at timestamptz, out starts_at timestamptz, out ends_at timestamptz, out starts_on date
) language plpgsql stable set search_path = '' as $$
declare
  v_local timestamp := p_at at time zone s.time_zone;
  v_month timestamp := date_trunc('month', v_local);
begin
  if p_period = 'day' then
    starts_at := date_trunc('day', v_local) at time zone s.time_zone;
    ends_at := (date_trunc('day', v_local) + interval '1 day') at time zone s.time_zone;
    starts_on := v_local;
    return;
  end if;
  if v_local < credits._anchored(v_month, s.anchor_day) then v_month := v_month - interval '1 month'; end if;
  starts_on := credits._anchored(v_month, s.anchor_day);
  starts_at := credits._anchored(v_month, s.anchor_day) at time zone s.time_zone;
  ends_at := credits._anchored(v_month + interval '1 month', s.anchor_day) at time zone s.time_zone;
end $$;

create function credits._anchored(p_month timestamp, p_day smallint) returns timestamp
language sql immutable set search_path = '' as $$
  select p_month + make_interval(days => least(p_day, extract(day from p_month + interval '1 month - 1 day')::int) - 1)
$$;

-- What an account's plan includes of an operation in the month around a moment; null when nothing.
create function credits._allowance(p_account_id bigint, p_operation_id smallint, p_at timestamptz) returns numeric
language plpgsql stable set search_path = '' as $$
begin
  return (select w.monthly_quantity
            from (select catalog, plan from credits.account_plans
                   where account_id = p_account_id and starts_at <= p_at order by starts_at desc limit 1) as x
            join credits.plan_allowances as w on w.catalog = x.catalog and w.plan = x.plan and w.operation_id = p_operation_id);
end $$;

-- Takes up to p_quantity units of the allowance; answers how many. The account row must be locked.
create function credits._take_allowance(p_account_id bigint, p_operation_id smallint, p_at timestamptz, p_quantity numeric)
returns numeric language plpgsql set search_path = '' as $$
declare
  v_limit  numeric := credits._allowance(p_account_id, p_operation_id, p_at);
  v_month  date;
  v_used   numeric;
  v_take   numeric;
begin
  if v_limit is null or p_quantity <= 0 then return 0; end if;
  v_month := (credits._period(credits._settings(p_account_id), 'month', p_at)).starts_on;
  select used into v_used from credits.allowance_usage
   where account_id = p_account_id and operation_id = p_operation_id and starts_on = v_month;
  v_take := least(p_quantity, greatest(v_limit - coalesce(v_used, 0), 0));
  if v_take > 0 then
    insert into credits.allowance_usage as u (account_id, operation_id, starts_on, used)
    values (p_account_id, p_operation_id, v_month, v_take)
    on conflict (account_id, operation_id, starts_on) do update set used = u.used + excluded.used;
  end if;
  return v_take;
end $$;

create function credits._give_allowance(p_account_id bigint, p_operation_id smallint, p_at timestamptz, p_quantity numeric)
returns void language plpgsql set search_path = '' as $$
begin
  if p_quantity is null or p_quantity <= 0 then return; end if;
  update credits.allowance_usage set used = greatest(used - p_quantity, 0)
   where account_id = p_account_id and operation_id = p_operation_id
     and starts_on = (credits._period(credits._settings(p_account_id), 'month', p_at)).starts_on;
end $$;

-- Counts an amount against all caps that apply; a negative one is given back. Answers null, or the first cap that is
-- passed: {cap_micros, spent_micros (before), period, resets_at, api_key_id}. The account row must be locked.
create function credits._count_spend(p_account_id bigint, p_api_key_id bigint, p_at timestamptz, p_amount_micros bigint)
returns jsonb language plpgsql set search_path = '' as $$
declare
  s        credits.account_settings := credits._settings(p_account_id);
  v_cap    credits.spending_caps;
  v_spent  bigint;
  v_around record;
  v_passed jsonb;
begin
  for v_cap in select * from credits.spending_caps
                where account_id = p_account_id and api_key_id in (0, p_api_key_id) order by api_key_id, period loop
    v_around := credits._period(s, v_cap.period, p_at);
    insert into credits.spend_counters as n (account_id, api_key_id, period, starts_on, spent_micros)
    values (p_account_id, v_cap.api_key_id, v_cap.period, v_around.starts_on, greatest(p_amount_micros, 0))
    on conflict (account_id, api_key_id, period, starts_on)
      do update set spent_micros = greatest(n.spent_micros + p_amount_micros, 0) returning spent_micros into v_spent;
    if v_spent > v_cap.cap_micros and p_amount_micros > 0 and v_passed is null then
      v_passed := jsonb_build_object(
        'cap_micros', v_cap.cap_micros, 'spent_micros', v_spent - p_amount_micros, 'period', v_cap.period,
        'resets_at', credits._iso(v_around.ends_at), 'api_key_id', nullif(v_cap.api_key_id, 0));
    end if;
  end loop;
  return v_passed;
end $$;

-- When, and against which API key's caps, a use counts: what was held counts since it is held, for the key that held it.
create function credits._counted(t credits.transactions, out at timestamptz, out api_key_id bigint)
language plpgsql stable set search_path = '' as $$
begin
  if t.call_id is not null or t.metadata ? 'hold_id' then
    select h.created_at, h.api_key_id into at, api_key_id from credits.holds as h
     where h.id = coalesce((select c.hold_id from credits.calls as c where c.id = t.call_id), credits._bigint(t.metadata ->> 'hold_id'))
       and h.account_id = t.account_id and h.transaction_seq = t.seq;
    if found then return; end if;
  end if;
  at := coalesce(t.occurred_at, t.created_at);
  api_key_id := credits._bigint(substring(t.actor from '^key:(\d+)$'));
end $$;

-- What counts against a cap in a period, from the ledger and the open holds. p_api_key_id 0: of the whole account. Usage may
-- be dated five minutes ahead, so the first of it may be booked as much earlier.
create function credits._spent_between(p_account_id bigint, p_api_key_id bigint, p_from timestamptz, p_to timestamptz) returns bigint
language plpgsql stable set search_path = '' as $$
declare
  v_last  bigint := (select seq from credits.accounts where id = p_account_id);
  v_first bigint := credits._seq_before(p_account_id, p_from - interval '5 minutes', 0, v_last);
begin
  return (select coalesce(sum(-t.amount_micros), 0)
            from credits.transactions as t cross join lateral credits._counted(t) as c
           where t.account_id = p_account_id and t.seq > v_first and t.kind = 'use' and c.at >= p_from and c.at < p_to
             and (p_api_key_id = 0 or c.api_key_id = p_api_key_id)
             and not exists (select from credits.transactions as r where r.account_id = t.account_id and r.reverses_seq = t.seq))
       + (select coalesce(sum(h.amount_micros), 0) from credits.holds as h
           where h.account_id = p_account_id and h.status = 'open' and h.created_at >= p_from and h.created_at < p_to
             and (p_api_key_id = 0 or h.api_key_id = p_api_key_id));
end $$;

create function credits._api_key_id() returns bigint
language sql stable set search_path = '' as $$ select (credits._claims() ->> 'api_key_id')::bigint $$;

-- Stores on the account row whether its charges must look at limits. Who was on a plan once stays marked: usage of that time may
-- come late.
create function credits._refresh_limits(p_account_id bigint) returns void
language sql set search_path = '' as $$
  update credits.accounts as a set has_limits =
    exists (select from credits.spending_caps where account_id = a.id)
    or exists (select from credits.account_plans where account_id = a.id)
   where a.id = p_account_id
$$;

-- Puts an account on a plan of the active catalog from now on (null: off any). Security definer: only functions write limits.
create function credits.set_plan(p_account_id bigint, p_plan text default null) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  v_account bigint;
  v_catalog text := (select code from credits.catalogs where is_active);
begin
  perform credits._require('service', 'super_admin', 'admin');
  v_account := credits._account(p_account_id, 'admin');
  perform from credits.accounts where id = v_account for no key update;
  if p_plan is not null and not exists (select from credits.plans where catalog = v_catalog and code = p_plan and is_offered) then
    perform credits._raise('LC404', format('There is no plan “%s” in the catalog “%s”.', left(p_plan, 80), v_catalog));
  end if;
  insert into credits.account_plans (account_id, starts_at, catalog, plan, actor)
  values (v_account, greatest(credits._now(), (select max(starts_at) + interval '1 microsecond' from credits.account_plans
                                                where account_id = v_account)), v_catalog, p_plan, credits._actor());
  perform credits._refresh_limits(v_account);
  perform credits._audit('set_plan', v_account, jsonb_build_object('plan', p_plan));
  return credits.limits(v_account);
end $$;

-- Sets or removes (null) a cap for the day or the month, of the account or one of its API keys. What was spent in the
-- running period counts. The owner may cap the own account. Security definer: only functions write limits.
create function credits.set_cap(
  p_period text, p_cap_micros bigint default null, p_api_key_id bigint default null, p_account_id bigint default null
) returns jsonb language plpgsql security definer set search_path = '' as $$
declare
  v_account bigint := credits._account(p_account_id, 'manage');
  v_key     bigint := coalesce(p_api_key_id, 0);
  v_around  record;
begin
  if p_period is null or p_period not in ('day', 'month') or p_cap_micros < 0 then
    perform credits._raise('LC400', 'A cap is for the day or the month, and 0 or more credits (nothing: no cap).');
  end if;
  if v_key <> 0 and not exists (select from credits.api_keys where id = v_key and account_id = v_account) then
    perform credits._raise('LC404', 'There is no such API key of this account.');
  end if;
  perform from credits.accounts where id = v_account for no key update;
  delete from credits.spending_caps where account_id = v_account and api_key_id = v_key and period = p_period;
  if p_cap_micros is not null then
    v_around := credits._period(credits._settings(v_account), p_period, credits._now());
    insert into credits.spending_caps (account_id, api_key_id, period, cap_micros) values (v_account, v_key, p_period, p_cap_micros);
    insert into credits.spend_counters (account_id, api_key_id, period, starts_on, spent_micros)
    values (v_account, v_key, p_period, v_around.starts_on,
            credits._spent_between(v_account, v_key, v_around.starts_at, v_around.ends_at))
    on conflict (account_id, api_key_id, period, starts_on) do update set spent_micros = excluded.spent_micros;
  end if;
  perform credits._refresh_limits(v_account);
  perform credits._audit('set_cap', v_account, jsonb_build_object('period', p_period, 'cap_micros', p_cap_micros,
                                                                'api_key_id', p_api_key_id));
  return credits.limits(v_account);
end $$;

-- Time zone, first day of the month, levels of the low-balance warning, and (staff) a catalog of its own.
-- Security definer: only functions write settings.
create function credits.set_account_settings(
  p_account_id bigint default null, p_time_zone text default null, p_anchor_day int default null,
  p_low_balance_micros bigint[] default null, p_catalog text default null
) returns jsonb language plpgsql security definer set search_path = '' as $$
declare v_account bigint := credits._account(p_account_id, 'manage');
begin
  if p_time_zone is not null and not exists (select from pg_timezone_names where name = p_time_zone) then
    perform credits._raise('LC400', 'time_zone must be an IANA name such as Europe/Berlin.');
  elsif p_anchor_day not between 1 and 31 then
    perform credits._raise('LC400', 'anchor_day must be 1 to 31.');
  elsif cardinality(p_low_balance_micros) > 10 or exists (select from unnest(p_low_balance_micros) as l where l > 0 is not true) then
    perform credits._raise('LC400', 'At most 10 levels of warning, each above 0; being out of credits is told always.');
  elsif (p_anchor_day is not null or p_catalog is not null) and credits._role() not in ('service', 'admin', 'super_admin') then
    perform credits._raise('LC403', 'Only an administrator changes the billing day or the prices of an account.');
  elsif p_catalog is not null and credits._needs_approval('price_change', 1) then
    perform credits._raise('LC403', 'A second person approves other prices for an account: ask for a price change with its catalog.');
  elsif p_catalog is not null and not exists (select from credits.catalogs where code = p_catalog) then
    perform credits._raise('LC404', format('There is no catalog “%s”.', left(p_catalog, 80)));
  end if;
  insert into credits.account_settings (account_id) values (v_account) on conflict (account_id) do nothing;
  update credits.account_settings set
    time_zone = coalesce(p_time_zone, time_zone), anchor_day = coalesce(p_anchor_day, anchor_day),
    low_balance_micros = coalesce(p_low_balance_micros, low_balance_micros), catalog = coalesce(p_catalog, catalog)
   where account_id = v_account;
  perform credits._audit('set_account_settings', v_account, jsonb_strip_nulls(jsonb_build_object(
    'time_zone', p_time_zone, 'anchor_day', p_anchor_day, 'catalog', p_catalog, 'low_balance_micros', p_low_balance_micros)));
  return (select to_jsonb(s) from credits.account_settings as s where account_id = v_account);
end $$;

-- An account's time zone, billing day, levels of warning and own catalog; the defaults where nothing was set.
create function credits.account_settings(p_account_id bigint default null) returns jsonb
language plpgsql stable set search_path = '' as $$
begin
  return to_jsonb(credits._settings(credits._account(p_account_id, 'read')));
end $$;

-- The plans of a catalog file. A changed allowance counts at once: what was used this month stays used. A plan that is no longer
-- in the file is no longer given to anybody; who has it keeps it.
create function credits._load_plans(p_catalog text, p_plans jsonb) returns void
language plpgsql set search_path = '' as $$
begin
  update credits.plans set is_offered = false where catalog = p_catalog and is_offered
     and code not in (select e ->> 'code' from jsonb_array_elements(p_plans) as e);
  insert into credits.plans (catalog, code, name, position)
  select p_catalog, e.value ->> 'code', e.value ->> 'name', e.ordinality
    from jsonb_array_elements(p_plans) with ordinality as e
  on conflict (catalog, code) do update set name = excluded.name, position = excluded.position, is_offered = true;
  delete from credits.plan_allowances as w using jsonb_array_elements(p_plans) as e, credits.operations as o
   where w.catalog = p_catalog and w.plan = e ->> 'code' and o.id = w.operation_id and not e -> 'allowances' ? o.code;
  insert into credits.plan_allowances (catalog, plan, operation_id, monthly_quantity)
  select p_catalog, e ->> 'code', o.id, w.value::numeric
    from jsonb_array_elements(p_plans) as e cross join lateral jsonb_each_text(e -> 'allowances') as w
    join credits.operations as o on o.code = w.key
  on conflict (catalog, plan, operation_id) do update set monthly_quantity = excluded.monthly_quantity;
end $$;

create function credits.plans() returns jsonb
language sql stable set search_path = '' as $$
  select jsonb_build_object('catalog', c.code, 'plans', coalesce((
    select jsonb_agg(jsonb_build_object('code', p.code, 'name', p.name, 'allowances', (
             select coalesce(jsonb_object_agg(o.code, w.monthly_quantity), '{}') from credits.plan_allowances as w
               join credits.operations as o on o.id = w.operation_id where w.catalog = p.catalog and w.plan = p.code))
           order by p.position) from credits.plans as p where p.catalog = c.code and p.is_offered), '[]'))
    from credits.catalogs as c where c.is_active
$$;

-- Usage against every limit, for progress bars. level: ok, warning (from 80 %), reached (from 100 %).
create function credits.limits(p_account_id bigint default null) returns jsonb
language plpgsql stable set search_path = '' as $$
declare
  v_account bigint := credits._account(p_account_id, 'read');
  s         credits.account_settings := credits._settings(v_account);
  v_now     timestamptz := credits._now();
  v_plan    credits.account_plans;
begin
  select * into v_plan from credits.account_plans where account_id = v_account and starts_at <= v_now order by starts_at desc limit 1;
  return jsonb_build_object(
    'plan', v_plan.plan, 'time_zone', s.time_zone, 'anchor_day', s.anchor_day,
    'allowances', (
      select coalesce(jsonb_agg(jsonb_build_object(
        'operation', o.code, 'name', o.name, 'included', w.monthly_quantity, 'used', coalesce(u.used, 0),
        'remaining', greatest(w.monthly_quantity - coalesce(u.used, 0), 0), 'resets_at', credits._iso(p.ends_at),
        'level', credits._level(coalesce(u.used, 0), w.monthly_quantity)) order by o.id), '[]')
        from credits.plan_allowances as w join credits.operations as o on o.id = w.operation_id
       cross join lateral credits._period(s, 'month', v_now) as p
        left join credits.allowance_usage as u
          on u.account_id = v_account and u.operation_id = w.operation_id and u.starts_on = p.starts_on
       where w.catalog = v_plan.catalog and w.plan = v_plan.plan),
    'caps', (
      select coalesce(jsonb_agg(jsonb_build_object(
        'api_key_id', nullif(c.api_key_id, 0), 'period', c.period, 'cap_micros', c.cap_micros,
        'spent_micros', coalesce(n.spent_micros, 0), 'resets_at', credits._iso(p.ends_at),
        'level', credits._level(coalesce(n.spent_micros, 0), c.cap_micros)) order by c.api_key_id, c.period), '[]')
        from credits.spending_caps as c
       cross join lateral credits._period(s, c.period, v_now) as p
        left join credits.spend_counters as n on n.account_id = c.account_id and n.api_key_id = c.api_key_id
             and n.period = c.period and n.starts_on = p.starts_on
       where c.account_id = v_account));
end $$;

create function credits._level(p_used numeric, p_limit numeric) returns text
language sql immutable set search_path = '' as $$
  select case when p_used >= p_limit then 'reached' when p_used >= 0.8 * p_limit then 'warning' else 'ok' end
$$;

revoke execute on all functions in schema credits from public;
grant execute on function credits.plans() to anon, authenticated, service_role;
grant execute on function
  credits._settings(bigint), credits._period(credits.account_settings, text, timestamptz), credits._anchored(timestamp, smallint),
  credits._allowance(bigint, smallint, timestamptz), credits._api_key_id(), credits._level(numeric, numeric),
  credits.limits(bigint), credits.set_plan(bigint, text), credits.set_cap(text, bigint, bigint, bigint),
  credits.account_settings(bigint), credits.set_account_settings(bigint, text, int, bigint[], text)
to authenticated, service_role;
