-- Promotions: codes that add a bonus or take something off the price, and the terms of every purchase.

create table credits.campaigns (
  id                  bigint generated always as identity primary key,
  code                text not null unique check (code ~ '^[A-Z0-9_-]{3,40}$'),
  name                text not null,
  kind                text not null check (kind in ('bonus_percent', 'bonus_credits', 'discount_percent', 'discount_cents')),
  amount              numeric not null check (amount > 0 and amount < 1e9),  -- per cent, credits, or the smallest coin
  starts_at           timestamptz not null,
  ends_at             timestamptz not null default 'infinity',
  max_redemptions     int check (max_redemptions > 0),
  max_per_account     int not null default 1 check (max_per_account > 0),
  first_purchase_only boolean not null default false,
  account_id          bigint references credits.accounts (id),   -- only for this account; null: for all
  packages            text[],                                     -- only for these; null: for all and custom amounts
  is_on               boolean not null default true,
  created_by          text not null,
  created_at          timestamptz not null,
  constraint percent_up_to_100 check (kind not like '%percent' or amount <= 100)
);
create unique index campaigns_by_account on credits.campaigns (account_id, id);

-- Reserved with the purchase, redeemed when it is credited, released when it ends unpaid.
create table credits.redemptions (
  purchase_id uuid primary key,
  campaign_id bigint not null references credits.campaigns (id),
  account_id  bigint not null references credits.accounts (id),
  status      text not null check (status in ('reserved', 'redeemed', 'released')),
  at          timestamptz not null
);
create unique index redemptions_by_campaign on credits.redemptions (campaign_id, account_id, purchase_id);
create unique index redemptions_by_account on credits.redemptions (account_id, purchase_id);

alter table credits.campaigns enable row level security;
alter table credits.redemptions enable row level security;
create policy campaigns_staff_reads on credits.campaigns for select to authenticated using ((select credits._is_staff()));
create policy redemptions_read on credits.redemptions for select to authenticated
  using (account_id = (select credits._own_account()) or (select credits._is_staff()));
grant select on credits.campaigns, credits.redemptions to authenticated, service_role;

create type credits.purchase_terms as (
  catalog text, package text, name text, currency text, credits_micros bigint, bonus_micros bigint, promo_bonus_micros bigint,
  list_price_cents bigint, price_cents bigint, campaign_id bigint, promo_code text
);

-- What a package or an amount costs and gives, with a code if there is one. The price is always ours.
create function credits._purchase_terms(
  p_account_id bigint, p_package text, p_amount_cents bigint, p_promo_code text, p_is_quote boolean default false
) returns credits.purchase_terms language plpgsql stable set search_path = '' as $$
declare
  c credits.catalogs;
  k credits.packages;
  t credits.purchase_terms;
begin
  if (p_package is null) = (p_amount_cents is null) then
    perform credits._raise('LC400', 'Name either a package or an amount_cents; GET /api/credits/packages lists both.');
  end if;
  select * into c from credits.catalogs where is_active;
  if p_package is not null then
    select * into k from credits.packages where catalog = c.code and code = p_package and is_offered;
    if k.code is null then
      perform credits._raise('LC404', format('There is no package “%s”; GET /api/credits/packages lists them.', left(p_package, 80)));
    end if;
    t := row(c.code, k.code, k.name, c.currency, k.credits_micros, k.bonus_micros, 0, k.price_cents, k.price_cents, null, null)::credits.purchase_terms;
  elsif c.custom_min_cents is null or p_amount_cents not between c.custom_min_cents and c.custom_max_cents then
    perform credits._raise('LC400', 'This amount cannot be bought; choose one between the smallest and the largest.',
      jsonb_build_object('min_cents', c.custom_min_cents, 'max_cents', c.custom_max_cents));
  else
    t := row(c.code, null, 'Custom amount', c.currency, p_amount_cents * c.custom_micros_per_cent, 0, 0, p_amount_cents, p_amount_cents,
             null, null)::credits.purchase_terms;
    -- volume steps: the highest one that the amount reaches
    t.bonus_micros := floor(t.credits_micros * coalesce((
      select max((s ->> 'bonus_percent')::numeric) from jsonb_array_elements(c.volume_steps) as s
       where (s ->> 'min_cents')::bigint <= p_amount_cents), 0) / 100);
  end if;
  if p_promo_code is null or trim(p_promo_code) = '' then return t; end if;
  return credits._apply_code(t, p_account_id, upper(trim(p_promo_code)), p_is_quote);
end $$;

-- How often a code is used or reserved: by the account, by all, and codes for a first purchase by the account. p_but_open leaves out
-- the account's own payment pages that nobody paid on yet; open_id is one of those.
create function credits._code_uses(
  m credits.campaigns, p_account_id bigint, p_but_open boolean, out by_account bigint, out by_all bigint, out firsts bigint, out open_id uuid
) language plpgsql stable set search_path = '' as $$
begin
  with uses as (
    select r.purchase_id, r.campaign_id = m.id as same, r.account_id = p_account_id as own, c.first_purchase_only as first,
           r.account_id = p_account_id and r.status = 'reserved' and p.status in ('created', 'open') as is_open
      from credits.redemptions as r join credits.campaigns as c on c.id = r.campaign_id join credits.purchases as p on p.id = r.purchase_id
     where r.status <> 'released' and (r.campaign_id = m.id or r.account_id = p_account_id)),
  counted as (select * from uses where not (p_but_open and is_open))
  select (select count(*) from counted where same and own), (select count(*) from counted where same),
         (select count(*) from counted where own and first),
         (select purchase_id from uses where is_open and (same or first and m.first_purchase_only) order by purchase_id limit 1)
    into by_account, by_all, firsts, open_id;
end $$;

-- A refusal that an open payment page of the account's own is the reason for names it as pending: closed, it gives the code back.
create function credits._apply_code(t credits.purchase_terms, p_account_id bigint, p_code text, p_is_quote boolean)
returns credits.purchase_terms language plpgsql stable set search_path = '' as $$
declare
  m     credits.campaigns;
  u     record;
  v_now timestamptz := credits._now();
begin
  select * into m from credits.campaigns where code = p_code and (account_id is null or account_id = p_account_id);
  u := credits._code_uses(m, p_account_id, p_is_quote);
  if m.id is null or not m.is_on then
    perform credits._raise('LC404', 'This code is not known; check its spelling, or buy without it.');
  elsif credits._belongs_to(p_account_id, m.created_by) then
    perform credits._raise('LC409', 'You made this code yourself; it is for others.');
  elsif v_now < m.starts_at or v_now >= m.ends_at then
    perform credits._raise('LC409', 'This code is not valid today; buy without it.',
      jsonb_build_object('starts_at', credits._iso(m.starts_at), 'ends_at', credits._iso(m.ends_at)));
  elsif m.packages is not null and not coalesce(t.package = any (m.packages), false) then
    perform credits._raise('LC409', 'This code is for other packages.', jsonb_build_object('packages', m.packages));
  elsif m.first_purchase_only and exists (
      select from credits.purchases where account_id = p_account_id and status in ('processing', 'credited', 'review')) then
    perform credits._raise('LC409', 'This code is for a first purchase.');
  elsif u.by_account >= m.max_per_account then
    perform credits._raise('LC409', 'You have used this code already.', jsonb_strip_nulls(jsonb_build_object('pending', u.open_id)));
  elsif m.first_purchase_only and u.firsts > 0 then
    perform credits._raise('LC409', 'A payment page with a code for a first purchase is open already; pay there, or buy without it.',
                           jsonb_strip_nulls(jsonb_build_object('pending', u.open_id)));
  elsif m.max_redemptions <= u.by_all then
    perform credits._raise('LC409', 'This code has been used up.', jsonb_strip_nulls(jsonb_build_object('pending', u.open_id)));
  end if;
  t.campaign_id := m.id;
  t.promo_code := m.code;
  case m.kind
    when 'bonus_percent' then t.promo_bonus_micros := floor(t.credits_micros * m.amount / 100);
    when 'bonus_credits' then t.promo_bonus_micros := floor(m.amount * 1000000);
    when 'discount_percent' then t.price_cents := t.price_cents - floor(t.price_cents * m.amount / 100);
    else t.price_cents := t.price_cents - floor(m.amount);
  end case;
  if t.price_cents < 50 then  -- what Stripe takes at least, in most currencies
    perform credits._raise('LC409', 'With this code the price is too small to be paid by card; choose a larger package.');
  end if;
  t.bonus_micros := t.bonus_micros + t.promo_bonus_micros;
  return t;
end $$;

-- What a package or an amount would cost and give, before anything is recorded.
-- Security definer: people may use a code without being allowed to read the campaigns.
create function credits.purchase_quote(p_amount_cents bigint default null, p_package text default null, p_promo_code text default null)
returns jsonb language plpgsql stable security definer set search_path = '' as $$
declare t credits.purchase_terms;
begin
  perform credits._require('service', 'super_admin', 'admin', 'finance', 'holder');
  if p_promo_code is not null then perform credits._require_scope('purchase'); end if;  -- without a code: public prices
  t := credits._purchase_terms(credits._own_account(), p_package, p_amount_cents, p_promo_code, true);
  return jsonb_build_object(
    'package', t.package, 'name', t.name, 'currency', t.currency, 'list_price_cents', t.list_price_cents,
    'price_cents', t.price_cents, 'credits_micros', t.credits_micros, 'bonus_micros', t.bonus_micros,
    'promo_bonus_micros', t.promo_bonus_micros, 'promo_code', t.promo_code,
    'cents_per_credit', round(t.price_cents * 1000000 / (t.credits_micros + t.bonus_micros)::numeric, 4)::text);
end $$;

-- Where a campaign stands: what keeps its code from working now, or on.
create function credits._campaign_state(m credits.campaigns) returns text
language sql stable set search_path = '' as $$
  select case when m.ends_at <= credits._now() then 'expired'
    when m.max_redemptions <= (select count(*) from credits.redemptions where campaign_id = m.id and status = 'redeemed') then 'used_up'
    when not m.is_on then 'off' when m.starts_at > credits._now() then 'scheduled' else 'on' end
$$;

-- With what it did: bonus and discount given, and the price of the purchases it was used for.
create function credits._campaign_json(m credits.campaigns) returns jsonb
language plpgsql stable set search_path = '' as $$
begin
  return jsonb_build_object(
    'campaign_id', m.id, 'code', m.code, 'name', m.name, 'kind', m.kind, 'amount', m.amount, 'starts_at', credits._iso(m.starts_at),
    'ends_at', credits._iso(m.ends_at), 'max_redemptions', m.max_redemptions, 'max_per_account', m.max_per_account,
    'first_purchase_only', m.first_purchase_only, 'account_id', m.account_id, 'packages', m.packages, 'on', m.is_on,
    'state', credits._campaign_state(m), 'created_by', m.created_by, 'created_at', credits._iso(m.created_at),
    'currency', (select currency from credits.catalogs where is_active))
    || (select jsonb_build_object(
          'redeemed', count(*) filter (where r.status = 'redeemed'), 'reserved', count(*) filter (where r.status = 'reserved'),
          'bonus_micros', coalesce(sum(p.promo_bonus_micros) filter (where r.status = 'redeemed'), 0),
          'discount_cents', coalesce(sum(p.list_price_cents - p.price_cents) filter (where r.status = 'redeemed'), 0),
          'sales_cents', coalesce(sum(p.price_cents) filter (where r.status = 'redeemed'), 0))
          from credits.redemptions as r join credits.purchases as p on p.id = r.purchase_id where r.campaign_id = m.id);
end $$;

-- Security definer, as the next: only functions write campaigns.
create function credits.create_campaign(
  p_code text, p_name text, p_kind text, p_amount numeric, p_starts_at timestamptz default null, p_ends_at timestamptz default null,
  p_max_redemptions int default null, p_max_per_account int default 1, p_first_purchase_only boolean default false,
  p_account_id bigint default null, p_packages jsonb default null
) returns jsonb language plpgsql security definer set search_path = '' as $$
declare m credits.campaigns;
begin
  perform credits._require('service', 'super_admin', 'admin');
  insert into credits.campaigns (code, name, kind, amount, starts_at, ends_at, max_redemptions, max_per_account, first_purchase_only,
                                 account_id, packages, created_by, created_at)
  values (upper(trim(p_code)), trim(p_name), p_kind, p_amount, coalesce(p_starts_at, credits._now()), coalesce(p_ends_at, 'infinity'),
          p_max_redemptions, p_max_per_account, p_first_purchase_only, p_account_id,
          case when p_packages is not null then array(select jsonb_array_elements_text(p_packages)) end, credits._actor(), credits._now())
  returning * into m;
  if m.kind = 'bonus_credits' then perform credits._check_promise((m.amount * 1000000)::bigint); end if;
  perform credits._audit('create_campaign', p_account_id, jsonb_build_object('code', m.code, 'kind', m.kind, 'amount', m.amount));
  return credits._campaign_json(m);
exception
  when unique_violation then
    perform credits._raise('LC409', 'There is a campaign with this code; choose another code.');
  when check_violation or not_null_violation then
    perform credits._raise('LC400', 'A code has 3 to 40 letters, digits, - or _; amounts are above 0, per cent at most 100.');
  when foreign_key_violation then
    perform credits._raise('LC404', 'There is no such account; find its number in the list of accounts.');
end $$;

create function credits.switch_campaign(p_code text, p_on boolean) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare m credits.campaigns;
begin
  perform credits._require('service', 'super_admin', 'admin');
  update credits.campaigns set is_on = p_on where code = upper(trim(p_code)) returning * into m;
  if m.id is null then perform credits._raise('LC404', 'There is no campaign with this code.'); end if;
  perform credits._audit('switch_campaign', m.account_id, jsonb_build_object('code', m.code, 'on', p_on));
  return credits._campaign_json(m);
end $$;

-- Newest first: all, those in one state (on, off, scheduled, used_up, expired), or those whose code or name has a text in it.
create function credits.campaigns(
  p_state text default null, p_search text default null, p_limit int default 50, p_cursor text default null
) returns jsonb language plpgsql stable set search_path = '' as $$
declare
  v_size   int := credits._page_size(p_limit);
  v_before bigint := credits._cursor(p_cursor);
  v_search text := lower(trim(coalesce(p_search, '')));
  v_page   jsonb;
begin
  perform credits._require('service', 'super_admin', 'admin', 'finance');
  with page as (
    select m.id, row_number() over (order by m.id desc) as n, credits._campaign_json(m) as item from credits.campaigns as m
     where m.id < v_before and (p_state is null or credits._campaign_state(m) = p_state)
       and (v_search = '' or strpos(lower(m.code || ' ' || m.name), v_search) > 0)
     order by m.id desc limit v_size + 1)
  select jsonb_build_object('items', coalesce(jsonb_agg(item order by n) filter (where n <= v_size), '[]'),
           'next_cursor', case when count(*) > v_size then (min(id) filter (where n <= v_size))::text end) into v_page from page;
  return v_page;
end $$;

revoke execute on all functions in schema credits from public;
grant execute on function
  credits._campaign_json(credits.campaigns), credits._campaign_state(credits.campaigns), credits.campaigns(text, text, int, text),
  credits.purchase_quote(bigint, text, text), credits.switch_campaign(text, boolean),
  credits.create_campaign(text, text, text, numeric, timestamptz, timestamptz, int, int, boolean, bigint, jsonb)
to authenticated, service_role;
