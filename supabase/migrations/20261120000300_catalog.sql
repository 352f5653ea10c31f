-- Catalogs: packages to buy and prices to pay, as data. One catalog is active; prices have dates and never change.

create table credits.catalogs (
  code                   text primary key check (code ~ '^[a-z0-9_]{1,40}$'),
  name                   text not null,
  currency               text not null check (currency ~ '^[a-z]{3}$'),
  custom_min_cents       bigint check (custom_min_cents > 0),  -- a custom amount may be bought between these two
  custom_max_cents       bigint check (custom_max_cents >= custom_min_cents),
  custom_micros_per_cent bigint check (custom_micros_per_cent > 0),
  volume_steps           jsonb not null default '[]',  -- of custom amounts: [{min_cents, bonus_percent}]
  is_active              boolean not null default false,
  loaded_at              timestamptz not null default credits._now()
);
create unique index one_active_catalog on credits.catalogs (is_active) where is_active;

create table credits.packages (
  catalog        text not null references credits.catalogs (code),
  code           text not null check (code ~ '^[a-z0-9_]{1,40}$'),
  name           text not null,
  credits_micros bigint not null check (credits_micros > 0),
  bonus_micros   bigint not null default 0 check (bonus_micros >= 0),
  price_cents    bigint not null check (price_cents > 0),  -- in the currency's smallest unit
  popular        boolean not null default false,
  position       int not null,
  is_offered     boolean not null default true,
  primary key (catalog, code)
);

-- The Stripe product and price of a package, for test and live mode apart.
create table credits.package_stripe (
  catalog    text not null,
  package    text not null,
  livemode   boolean not null,
  product_id text not null,
  price_id   text not null,
  primary key (catalog, package, livemode),
  foreign key (catalog, package) references credits.packages (catalog, code)
);

create table credits.operations (
  id      smallint generated always as identity primary key,
  code    text not null unique check (code ~ '^[a-z0-9_]{1,40}$'),
  name    text not null,
  measure text not null check (measure in ('seconds', 'tokens', 'bytes', 'count'))  -- what a quantity of it counts
);

-- A version of an operation's price, valid from its date until the next one's. Append-only.
create table credits.prices (
  id                    int generated always as identity primary key,
  catalog               text not null references credits.catalogs (code),
  operation_id          smallint not null references credits.operations (id),
  effective_from        timestamptz not null,
  rounding              text not null default 'half_up' check (rounding in ('half_up', 'half_even', 'up', 'down')),
  minimum_charge_micros bigint not null default 0 check (minimum_charge_micros >= 0),
  created_at            timestamptz not null default credits._now(),
  created_by            text not null,
  unique (catalog, operation_id, effective_from),
  unique (operation_id, id)
);

create table credits.price_components (
  price_id      int not null references credits.prices (id),
  position      smallint not null,
  unit          text not null check (unit in ('call', 'minute', 'second', 'message', 'token', '1k_tokens', 'mb', 'item')),
  is_flat       boolean not null,               -- once per charge, whatever the quantity (a set-up fee)
  price_micros  bigint not null check (price_micros >= 0),
  unit_size     numeric not null default 1 check (unit_size > 0 and unit_size < 1e12),     -- quantity in one unit
  initial       numeric not null default 0 check (initial >= 0 and initial < 1e12),        -- billing increments "60/60":
  following     numeric not null default 0 check (following >= 0 and following < 1e12),    -- the first step, then steps
  free_quantity numeric not null default 0 check (free_quantity >= 0 and free_quantity < 1e12),
  primary key (price_id, position)
);
create trigger prices_append_only before update or delete or truncate on credits.prices
  for each statement execute function credits._append_only();
create trigger price_components_append_only before update or delete or truncate on credits.price_components
  for each statement execute function credits._append_only();

-- What is for sale and what it costs is public: pages show it before anybody signs in.
alter table credits.catalogs enable row level security;
alter table credits.packages enable row level security;
alter table credits.package_stripe enable row level security;
alter table credits.operations enable row level security;
alter table credits.prices enable row level security;
alter table credits.price_components enable row level security;
create policy catalogs_read on credits.catalogs for select to anon, authenticated using (true);
create policy packages_read on credits.packages for select to anon, authenticated using (true);
create policy package_stripe_read on credits.package_stripe for select to authenticated using ((select credits._is_staff()));
create policy operations_read on credits.operations for select to anon, authenticated using (true);
create policy prices_read on credits.prices for select to anon, authenticated using (true);
create policy price_components_read on credits.price_components for select to anon, authenticated using (true);
grant select on credits.catalogs, credits.packages, credits.operations, credits.prices, credits.price_components
  to anon, authenticated, service_role;
grant select on credits.package_stripe to authenticated, service_role;

create function credits.packages() returns jsonb
language sql stable set search_path = '' as $$
  select jsonb_build_object(
    'catalog', c.code, 'name', c.name, 'currency', c.currency,
    'custom', case when c.custom_min_cents is not null then jsonb_build_object(
      'min_cents', c.custom_min_cents, 'max_cents', c.custom_max_cents, 'micros_per_cent', c.custom_micros_per_cent,
      'volume_steps', c.volume_steps) end,
    'packages', coalesce((
      select jsonb_agg(jsonb_build_object(
               'code', p.code, 'name', p.name, 'credits_micros', p.credits_micros, 'bonus_micros', p.bonus_micros,
               'price_cents', p.price_cents, 'currency', c.currency, 'popular', p.popular,
               -- money for one credit of all that is received, in the currency's smallest unit, 4 decimals
               'cents_per_credit', round(p.price_cents * 1000000 / (p.credits_micros + p.bonus_micros)::numeric, 4)::text)
             order by p.position)
        from credits.packages as p where p.catalog = c.code and p.is_offered), '[]'))
    from credits.catalogs as c where c.is_active
$$;

create function credits._components(p_price_id int) returns jsonb
language sql stable set search_path = '' as $$
  select coalesce(jsonb_agg(jsonb_build_object(
           'unit', c.unit, 'flat', c.is_flat, 'price_micros', c.price_micros, 'unit_size', c.unit_size,
           'initial', c.initial, 'following', c.following, 'free_quantity', c.free_quantity) order by c.position), '[]')
    from credits.price_components as c where c.price_id = p_price_id
$$;

create function credits.pricing() returns jsonb
language sql stable set search_path = '' as $$
  select jsonb_build_object('catalog', c.code, 'operations', coalesce((
    select jsonb_agg(jsonb_build_object(
             'operation', o.code, 'name', o.name, 'measure', o.measure, 'price_id', p.id,
             'effective_from', credits._iso(p.effective_from), 'rounding', p.rounding,
             'minimum_charge_micros', p.minimum_charge_micros, 'components', credits._components(p.id)) order by o.id)
      from credits.operations as o
      join lateral (select * from credits.prices as x
                     where x.catalog = c.code and x.operation_id = o.id and x.effective_from <= credits._now()
                     order by x.effective_from desc limit 1) as p on true), '[]'))
    from credits.catalogs as c where c.is_active
$$;

-- Adds a price version; answers its id. Same components and rules as the version valid then: answers that one.
create function credits._add_price(
  p_catalog text, p_operation_id smallint, p_components jsonb, p_rounding text, p_minimum_micros bigint, p_from timestamptz
) returns int language plpgsql set search_path = '' as $$
declare
  v_current credits.prices;
  v_id      int;
begin
  if jsonb_typeof(p_components) is distinct from 'array' or jsonb_array_length(p_components) not between 1 and 10 then
    perform credits._raise('LC400', 'A price has 1 to 10 components, each with unit and price_micros.');
  end if;
  insert into credits.prices (catalog, operation_id, effective_from, rounding, minimum_charge_micros, created_by)
  values (p_catalog, p_operation_id, p_from, p_rounding, p_minimum_micros, credits._actor()) returning id into v_id;
  insert into credits.price_components
    (price_id, position, unit, is_flat, price_micros, unit_size, initial, following, free_quantity)
  select v_id, c.ordinality, e.unit, coalesce(e.flat, e.unit = 'call'), e.price_micros,
         coalesce(e.unit_size, case e.unit when 'minute' then 60 when '1k_tokens' then 1000 when 'mb' then 1000000 else 1 end),
         coalesce(e.initial, 0), coalesce(e.following, 0), coalesce(e.free_quantity, 0)
    from jsonb_array_elements(p_components) with ordinality as c,
         jsonb_to_record(c.value) as e (unit text, flat boolean, price_micros bigint, unit_size numeric, initial numeric,
                                        following numeric, free_quantity numeric);
  select * into v_current from credits.prices
   where catalog = p_catalog and operation_id = p_operation_id and effective_from < p_from
   order by effective_from desc limit 1;
  if v_current.rounding = p_rounding and v_current.minimum_charge_micros = p_minimum_micros
     and credits._components(v_current.id) = credits._components(v_id) then
    raise exception using errcode = 'LC001', message = v_current.id::text;  -- nothing new: undone by the handler
  end if;
  return v_id;
exception when sqlstate 'LC001' then  -- not LC000: a handler for a code that ends in 000 catches its whole class
  return v_current.id;
end $$;

-- A new price for an operation of the active catalog, from now or a later date on. What was charged before never changes. Nobody
-- changes alone what customers pay: people ask for a price change, or release a draft of the catalog; this is for programs and for
-- what was approved. Security definer: only functions write prices.
create function credits.set_price(
  p_operation text, p_components jsonb, p_rounding text default 'half_up',
  p_effective_from timestamptz default null, p_minimum_charge_micros bigint default 0
) returns jsonb language plpgsql security definer set search_path = '' as $$
begin
  perform credits._require('service', 'super_admin', 'admin');
  if credits._needs_approval('price_change', 1) then
    perform credits._raise('LC403', 'A second person approves a new price: put it into the draft of the catalog, or ask for a price change.');
  end if;
  return credits._change_price(p_operation, p_components, p_rounding, p_effective_from, p_minimum_charge_micros);
end $$;

create function credits._change_price(
  p_operation text, p_components jsonb, p_rounding text, p_effective_from timestamptz, p_minimum_charge_micros bigint
) returns jsonb language plpgsql set search_path = '' as $$
declare
  v_catalog text;
  v_op      smallint;
  v_id      int;
  v_from    timestamptz := coalesce(p_effective_from, credits._now());
begin
  select code into v_catalog from credits.catalogs where is_active;
  select id into v_op from credits.operations where code = p_operation;
  if v_op is null then
    perform credits._raise('LC404', format('There is no operation “%s”; see the price list for the codes.', left(p_operation, 80)));
  end if;
  if v_from < credits._now() - interval '1 minute' then
    perform credits._raise('LC400', 'A price can start now or later; what was charged in the past never changes.');
  end if;
  v_id := credits._add_price(v_catalog, v_op, p_components, p_rounding, p_minimum_charge_micros, v_from);
  perform credits._audit('set_price', null, jsonb_build_object('operation', p_operation, 'price_id', v_id));
  return jsonb_build_object('price_id', v_id, 'operation', p_operation, 'components', credits._components(v_id));
exception when unique_violation then
  perform credits._raise('LC409', 'This operation has a price from that very moment on; choose another moment.');
end $$;

-- Loads a catalog file (supabase/catalogs/) and makes it the active one. The same file again changes nothing; a changed
-- price starts now; packages no longer in the file are no longer offered. Security definer: only functions write catalogs.
create function credits.load_catalog(p_catalog jsonb) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  v_code  text := p_catalog ->> 'code';
  v_first boolean;
  v_row   jsonb;
  v_op    smallint;
  v_from  timestamptz;
begin
  perform credits._require('service');
  perform pg_advisory_xact_lock(hashtext('credits.load_catalog'));
  v_first := not exists (select from credits.catalogs where code = v_code);
  update credits.catalogs set is_active = false where is_active and code <> v_code;
  insert into credits.catalogs (code, name, currency, custom_min_cents, custom_max_cents, custom_micros_per_cent, volume_steps,
                                is_active)
  values (v_code, p_catalog ->> 'name', p_catalog ->> 'currency', (p_catalog -> 'custom' ->> 'min_cents')::bigint,
          (p_catalog -> 'custom' ->> 'max_cents')::bigint, (p_catalog -> 'custom' ->> 'micros_per_cent')::bigint,
          coalesce(p_catalog -> 'custom' -> 'volume_steps', '[]'), true)
  on conflict (code) do update set name = excluded.name, currency = excluded.currency, is_active = true,
    custom_min_cents = excluded.custom_min_cents, custom_max_cents = excluded.custom_max_cents,
    custom_micros_per_cent = excluded.custom_micros_per_cent, volume_steps = excluded.volume_steps;
  update credits.packages set is_offered = false where catalog = v_code and is_offered
     and code not in (select e ->> 'code' from jsonb_array_elements(p_catalog -> 'packages') as e);
  insert into credits.packages (catalog, code, name, credits_micros, bonus_micros, price_cents, popular, position)
  select v_code, e.value ->> 'code', e.value ->> 'name', (e.value ->> 'credits_micros')::bigint,
         coalesce((e.value ->> 'bonus_micros')::bigint, 0), (e.value ->> 'price_cents')::bigint,
         coalesce((e.value ->> 'popular')::boolean, false), e.ordinality
    from jsonb_array_elements(p_catalog -> 'packages') with ordinality as e
  on conflict (catalog, code) do update set name = excluded.name, credits_micros = excluded.credits_micros,
    bonus_micros = excluded.bonus_micros, price_cents = excluded.price_cents, popular = excluded.popular,
    position = excluded.position, is_offered = true;
  v_from := case when v_first then '-infinity' else credits._now() end;  -- the first prices also rate late, older usage
  for v_row in select e from jsonb_array_elements(p_catalog -> 'operations') as e loop
    insert into credits.operations (code, name, measure) values (v_row ->> 'code', v_row ->> 'name', v_row ->> 'measure')
    on conflict (code) do update set name = excluded.name returning id into v_op;
    perform credits._add_price(v_code, v_op, v_row -> 'components', coalesce(v_row ->> 'rounding', 'half_up'),
                               coalesce((v_row ->> 'minimum_charge_micros')::bigint, 0), v_from);
  end loop;
  perform credits._load_plans(v_code, p_catalog -> 'plans');
  perform credits._load_subscription_plans(v_code, p_catalog -> 'subscriptions');
  if v_first then perform credits._audit('load_catalog', null, jsonb_build_object('catalog', v_code)); end if;
  return jsonb_build_object('catalog', v_code, 'first_load', v_first);
end $$;

-- Security definer: only functions write what Stripe called our packages.
create function credits.set_stripe_price(p_catalog text, p_package text, p_product_id text, p_price_id text, p_livemode boolean)
returns jsonb language plpgsql security definer set search_path = '' as $$
begin
  perform credits._require('service');
  insert into credits.package_stripe (catalog, package, livemode, product_id, price_id)
  values (p_catalog, p_package, p_livemode, p_product_id, p_price_id)
  on conflict (catalog, package, livemode) do update set product_id = excluded.product_id, price_id = excluded.price_id;
  return '{}';
exception when foreign_key_violation then
  perform credits._raise('LC404', format('There is no package “%s” in the catalog “%s”.', p_package, p_catalog));
end $$;

revoke execute on all functions in schema credits from public;
grant execute on function credits.packages(), credits.pricing(), credits._components(int) to anon, authenticated, service_role;
grant execute on function credits.set_price(text, jsonb, text, timestamptz, bigint) to authenticated, service_role;
grant execute on function credits.load_catalog(jsonb) to service_role;
grant execute on function credits.set_stripe_price(text, text, text, text, boolean) to service_role;
