-- Catalog drafts: new prices, packages and plans are collected in a draft, rehearsed on past usage, and released together by a second
-- person from a date on. Prices have dates of their own; packages and plans change when the date has come (a job sees to it).

create table credits.catalog_drafts (
  id             bigint generated always as identity primary key,
  catalog        text not null references credits.catalogs (code),
  status         text not null default 'open' check (status in ('open', 'released', 'discarded')),
  version        int not null default 0,              -- counts its changes: what was asked for is what is released
  prices         jsonb not null default '{}',         -- by operation: {operation, components, rounding, minimum_charge_micros}
  packages       jsonb not null default '{}',         -- by code: {code, name, credits_micros, bonus_micros, price_cents, popular, is_offered}
  plans          jsonb not null default '{}',         -- by code: {code, name, allowances: {operation: quantity}}
  effective_from timestamptz,
  created_by     text not null,
  created_at     timestamptz not null,
  closed_by      text,
  closed_at      timestamptz,
  applied_at     timestamptz                          -- packages and plans are changed
);
create unique index catalog_drafts_one_open on credits.catalog_drafts (catalog) where status = 'open';
create unique index catalog_drafts_by_catalog on credits.catalog_drafts (catalog, id);
create unique index catalog_drafts_due on credits.catalog_drafts (effective_from, id) where status = 'released' and applied_at is null;
alter table credits.catalog_drafts enable row level security;
create policy catalog_drafts_staff_reads on credits.catalog_drafts for select to authenticated using ((select credits._is_staff()));
grant select on credits.catalog_drafts to authenticated, service_role;
insert into credits.approval_limits (kind, unit, amount, valid_days) values ('catalog_release', 'always', 1, 7);

-- A package with another price is another thing to Stripe: the old Stripe price is forgotten, so that checkout takes ours until
-- stripe-sync has made the new one.
create function credits._forget_stripe_price() returns trigger
language plpgsql set search_path = '' as $$
begin
  delete from credits.package_stripe where catalog = new.catalog and package = new.code;
  return null;
end $$;
create trigger packages_price_changed after update of price_cents on credits.packages
  for each row when (old.price_cents <> new.price_cents) execute function credits._forget_stripe_price();

create function credits._draft_json(d credits.catalog_drafts) returns jsonb
language sql stable set search_path = '' as $$
  select jsonb_build_object(
    'draft_id', d.id, 'catalog', d.catalog, 'status', d.status, 'version', d.version, 'prices', d.prices, 'packages', d.packages,
    'plans', d.plans, 'effective_from', credits._iso(d.effective_from), 'created_by_name', credits._person_name(d.created_by),
    'created_at', credits._iso(d.created_at), 'closed_by_name', credits._person_name(d.closed_by),
    'closed_at', credits._iso(d.closed_at), 'applied_at', credits._iso(d.applied_at),
    'waits', exists (select from credits.approvals as a where a.kind = 'catalog_release' and a.status = 'waiting'
                        and a.expires_at > credits._now() and a.payload -> 'draft_id' = to_jsonb(d.id) and a.payload -> 'version' = to_jsonb(d.version)))
$$;

-- The open draft of the active catalog, and what was released or discarded before, newest first.
create function credits.catalog_draft() returns jsonb
language plpgsql stable set search_path = '' as $$
declare v_catalog text := (select code from credits.catalogs where is_active);
begin
  perform credits._require('service', 'super_admin', 'admin', 'finance');
  return jsonb_build_object(
    'catalog', v_catalog,
    'draft', (select credits._draft_json(d) from credits.catalog_drafts as d where d.catalog = v_catalog and d.status = 'open'),
    'before', (select coalesce(jsonb_agg(credits._draft_json(d) order by d.id desc), '[]') from (
       select * from credits.catalog_drafts where catalog = v_catalog and status <> 'open' order by id desc limit 20) as d),
    'coming', (select coalesce(jsonb_agg(jsonb_build_object('operation', o.code, 'name', o.name, 'price_id', p.id,
         'effective_from', credits._iso(p.effective_from), 'components', credits._components(p.id)) order by p.effective_from, o.id), '[]')
       from credits.prices as p join credits.operations as o on o.id = p.operation_id
      where p.catalog = v_catalog and p.effective_from > credits._now()));
end $$;

-- Puts a change into the open draft, or begins one; p_item null takes the change of this code out. Only its shape is checked here
-- that its own table would check: a price is made and undone. Security definer, as all below that write: only functions write drafts.
create function credits.draft_change(p_kind text, p_code text, p_item jsonb default null) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  v_catalog text := (select code from credits.catalogs where is_active);
  d         credits.catalog_drafts;
  v_item    jsonb;
  v_change  jsonb;
begin
  perform credits._require('service', 'super_admin', 'admin');
  if p_kind is null or p_kind not in ('price', 'package', 'plan') or p_code is null or p_code !~ '^[a-z0-9_]{1,40}$' then
    perform credits._raise('LC400', 'Name a price, package or plan by its code: small letters, digits and _ only.');
  end if;
  if p_item is not null then v_item := credits._check_draft_item(p_kind, p_code, p_item); end if;
  insert into credits.catalog_drafts (catalog, created_by, created_at) values (v_catalog, credits._actor(), credits._now())
  on conflict (catalog) where status = 'open' do nothing;
  v_change := case when v_item is not null then jsonb_build_object(p_code, v_item) else '{}' end;
  update credits.catalog_drafts set version = version + 1,
    prices = case when p_kind = 'price' then prices - p_code || v_change else prices end,
    packages = case when p_kind = 'package' then packages - p_code || v_change else packages end,
    plans = case when p_kind = 'plan' then plans - p_code || v_change else plans end
   where catalog = v_catalog and status = 'open' returning * into d;
  perform credits._audit('draft_change', null, jsonb_build_object('draft_id', d.id, 'kind', p_kind, 'code', p_code, 'item', v_item));
  return credits._draft_json(d);
end $$;

-- The item as it will be stored; refuses what could not be released. A price is tried in a catalog of its own that is undone.
create function credits._check_draft_item(p_kind text, p_code text, p_item jsonb) returns jsonb
language plpgsql set search_path = '' as $$
declare v_unknown text;
begin
  if p_kind = 'price' then
    p_item := jsonb_build_object('operation', p_code, 'components', p_item -> 'components', 'rounding', coalesce(p_item ->> 'rounding', 'half_up'),
                                 'minimum_charge_micros', coalesce((p_item ->> 'minimum_charge_micros')::bigint, 0));
    begin
      perform credits._rehearse_draft(jsonb_build_array(p_item));
      raise exception using errcode = 'LC001';
    exception when sqlstate 'LC001' then return p_item;
    end;
  elsif p_kind = 'package' then
    p_item := jsonb_build_object(
      'code', p_code, 'name', trim(p_item ->> 'name'), 'credits_micros', (p_item ->> 'credits_micros')::bigint,
      'bonus_micros', coalesce((p_item ->> 'bonus_micros')::bigint, 0), 'price_cents', (p_item ->> 'price_cents')::bigint,
      'popular', coalesce((p_item ->> 'popular')::boolean, false), 'is_offered', coalesce((p_item ->> 'is_offered')::boolean, true));
    if coalesce(p_item ->> 'name', '') = '' or coalesce((p_item ->> 'credits_micros')::bigint, 0) <= 0
       or (p_item ->> 'bonus_micros')::bigint < 0 or coalesce((p_item ->> 'price_cents')::bigint, 0) < 50 then
      perform credits._raise('LC400', 'A package has a name, credits above 0, a bonus that is not below 0, and a price of at least 50 cents.');
    end if;
    return p_item;
  end if;
  select k into v_unknown from jsonb_object_keys(coalesce(nullif(p_item -> 'allowances', 'null'), '{}')) as k
   where not exists (select from credits.operations where code = k) limit 1;
  if v_unknown is not null then
    perform credits._raise('LC404', format('There is no operation “%s”; see the price list for the codes.', left(v_unknown, 80)));
  elsif coalesce(trim(p_item ->> 'name'), '') = '' or exists (
      select from jsonb_each_text(p_item -> 'allowances') as w where w.value::numeric is null or w.value::numeric < 0) then
    perform credits._raise('LC400', 'A plan has a name, and for each operation a quantity a month that is not below 0.');
  end if;
  return jsonb_build_object('code', p_code, 'name', trim(p_item ->> 'name'), 'allowances', coalesce(p_item -> 'allowances', '{}'));
exception when invalid_text_representation or not_null_violation or check_violation or numeric_value_out_of_range then
  perform credits._raise('LC400', 'Amounts are numbers that are not below 0; units and rounding are those of the price list.');
end $$;

create function credits._open_draft() returns credits.catalog_drafts
language plpgsql set search_path = '' as $$
declare d credits.catalog_drafts;
begin
  select * into d from credits.catalog_drafts
   where status = 'open' and catalog = (select code from credits.catalogs where is_active) for update;
  if d.id is null or d.prices = '{}' and d.packages = '{}' and d.plans = '{}' then
    perform credits._raise('LC404', 'There is nothing in the draft; put a price, package or plan into it first.');
  end if;
  return d;
end $$;

create function credits.discard_catalog_draft() returns jsonb
language plpgsql security definer set search_path = '' as $$
declare d credits.catalog_drafts;
begin
  perform credits._require('service', 'super_admin', 'admin');
  d := credits._open_draft();
  update credits.catalog_drafts set status = 'discarded', closed_by = credits._actor(), closed_at = credits._now() where id = d.id returning * into d;
  perform credits._audit('discard_catalog_draft', null, jsonb_build_object('draft_id', d.id));
  return credits._draft_json(d);
end $$;

-- Past usage under the draft's prices; see rehearse_prices. Changes nothing.
create function credits.rehearse_catalog_draft(p_from timestamptz, p_to timestamptz) returns jsonb
language plpgsql security definer set search_path = '' as $$ -- security definer: as rehearse_prices
declare d credits.catalog_drafts;
begin
  perform credits._require('service', 'super_admin', 'admin', 'finance');
  d := credits._open_draft();
  return credits.rehearse_prices((select coalesce(jsonb_agg(value), '[]') from jsonb_each(d.prices)), p_from, p_to);
end $$;

-- Asks for the release of the draft as it is now, at once (null) or from a later moment on; a second person decides.
create function credits.request_catalog_release(p_reason text, p_idempotency_key text, p_effective_from timestamptz default null) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  d credits.catalog_drafts;
  r credits.approvals;
begin
  perform credits._require('service', 'super_admin', 'admin');
  perform credits._check_key(p_idempotency_key);
  perform credits._check_adjustment(1, p_reason);
  if p_effective_from < credits._now() - interval '1 minute' or p_effective_from > credits._now() + interval '2 years' then
    perform credits._raise('LC400', 'A release counts from now or a later moment on, within two years; the past never changes.');
  end if;
  d := credits._open_draft();
  r.kind := 'catalog_release';
  r.idempotency_key := p_idempotency_key;
  r.reason := p_reason;
  r.payload := jsonb_build_object('draft_id', d.id, 'version', d.version, 'effective_from', credits._iso(p_effective_from));
  r.preview := jsonb_build_object('catalog', d.catalog, 'prices', d.prices, 'packages', d.packages, 'plans', d.plans);
  return credits._approval_json(credits._ask(r, true));
end $$;

-- Releases what was asked for; a draft that was changed since is a refusal. A moment that has passed meanwhile means now.
create function credits._do_catalog_release(a credits.approvals) returns credits.approvals
language plpgsql set search_path = '' as $$
declare
  d       credits.catalog_drafts;
  v_price jsonb;
  v_from  timestamptz := greatest((a.payload ->> 'effective_from')::timestamptz, credits._now());
begin
  select * into d from credits.catalog_drafts where id = (a.payload ->> 'draft_id')::bigint for update;
  if d.status <> 'open' or d.version <> (a.payload ->> 'version')::int then
    perform credits._raise('LC409', 'The draft has changed since its release was asked for; reject it, and ask anew.');
  elsif not exists (select from credits.catalogs where code = d.catalog and is_active) then
    perform credits._raise('LC409', 'Another catalog is active now; reject this, or make the catalog active again.');
  end if;
  for v_price in select value from jsonb_each(d.prices) loop
    perform credits._change_price(v_price ->> 'operation', v_price -> 'components', v_price ->> 'rounding', v_from,
                              (v_price ->> 'minimum_charge_micros')::bigint);
  end loop;
  update credits.catalog_drafts set status = 'released', effective_from = v_from, closed_by = credits._actor(), closed_at = credits._now(),
         applied_at = case when packages = '{}' and plans = '{}' then credits._now() end
   where id = d.id returning * into d;
  if d.applied_at is null and v_from <= credits._now() then perform credits._apply_release(d); end if;
  a.result := jsonb_build_object('draft_id', d.id, 'effective_from', credits._iso(v_from));
  a.status := 'done';
  return a;
end $$;

-- Packages and plans of a release take the place of those before.
create function credits._apply_release(d credits.catalog_drafts) returns void
language plpgsql set search_path = '' as $$
begin
  insert into credits.packages (catalog, code, name, credits_micros, bonus_micros, price_cents, popular, position, is_offered)
  select d.catalog, e ->> 'code', e ->> 'name', (e ->> 'credits_micros')::bigint, (e ->> 'bonus_micros')::bigint, (e ->> 'price_cents')::bigint,
         (e ->> 'popular')::boolean, (select coalesce(max(position), 0) + 1 from credits.packages where catalog = d.catalog),
         (e ->> 'is_offered')::boolean
    from jsonb_each(d.packages) as x (code, e)
  on conflict (catalog, code) do update set name = excluded.name, credits_micros = excluded.credits_micros, bonus_micros = excluded.bonus_micros,
    price_cents = excluded.price_cents, popular = excluded.popular, is_offered = excluded.is_offered;
  if d.plans <> '{}' then
    perform credits._load_plans(d.catalog, (
      select jsonb_agg(coalesce(d.plans -> (p ->> 'code'), p) order by n) from jsonb_array_elements(
        (credits.plans() -> 'plans') || (select coalesce(jsonb_agg(value), '[]') from jsonb_each(d.plans)
                                          where not credits.plans() -> 'plans' @> jsonb_build_array(jsonb_build_object('code', key))))
        with ordinality as x (p, n)));
  end if;
  update credits.catalog_drafts set applied_at = credits._now() where id = d.id;
  perform credits._audit('catalog_release', null, jsonb_build_object('draft_id', d.id, 'packages', d.packages, 'plans', d.plans));
end $$;

-- Applies releases whose moment has come; those of a catalog that is not active wait for it.
create function credits.apply_catalog_releases() returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  d credits.catalog_drafts;
  v_n int := 0;
begin
  perform credits._require('service');
  for d in select x.* from credits.catalog_drafts as x join credits.catalogs as c on c.code = x.catalog and c.is_active
            where x.status = 'released' and x.applied_at is null and x.effective_from <= credits._now()
            order by x.effective_from, x.id for update of x skip locked loop
    perform credits._apply_release(d);
    v_n := v_n + 1;
  end loop;
  return jsonb_build_object('released', v_n);
end $$;

revoke execute on all functions in schema credits from public;
grant execute on function
  credits._draft_json(credits.catalog_drafts), credits.catalog_draft(), credits.draft_change(text, text, jsonb),
  credits.discard_catalog_draft(), credits.rehearse_catalog_draft(timestamptz, timestamptz),
  credits.request_catalog_release(text, text, timestamptz)
to authenticated, service_role;
grant execute on function credits.apply_catalog_releases() to service_role;
