-- Subscriptions: plans that are paid each month or year and grant credits for that time. Here: what is offered, the rows, and
-- what people read and ask for; what Stripe says is taken in by the next file.
--
-- Each paid invoice is a purchase of its own (purchases.invoice_id, unique): so refunds, disputes, receipts and statements treat
-- it like any other. Its credits last until the end of the period and, while the renewal is being collected, a few days more.

create table credits.subscription_plans (
  catalog             text not null references credits.catalogs (code),
  code                text not null check (code ~ '^[a-z0-9_]{1,40}$'),
  name                text not null,
  billing_interval    text not null check (billing_interval in ('month', 'year')),
  price_cents         bigint not null check (price_cents > 0),
  credits_micros      bigint not null check (credits_micros > 0),   -- granted for each period
  rollover_cap_micros bigint check (rollover_cap_micros > 0),       -- unused credits that stay at most; null: none
  plan                text,                                         -- the allowances that go with it; null: none
  position            int not null,
  is_offered          boolean not null default true,
  primary key (catalog, code),
  foreign key (catalog, plan) references credits.plans (catalog, code)
);
create unique index subscription_plans_by_plan on credits.subscription_plans (catalog, plan, code);

-- The terms behind each Stripe price, as they were when it was made. They never change: who subscribed at a price keeps its terms.
create table credits.subscription_prices (
  price_id            text primary key,
  product_id          text not null,
  livemode            boolean not null,
  catalog             text not null,
  code                text not null,
  name                text not null,
  currency            text not null,
  billing_interval    text not null,
  price_cents         bigint not null,
  credits_micros      bigint not null,
  rollover_cap_micros bigint,
  plan                text,
  is_current          boolean not null,     -- sold now
  created_at          timestamptz not null,
  foreign key (catalog, code) references credits.subscription_plans (catalog, code)
);
create unique index subscription_prices_current on credits.subscription_prices (catalog, code, livemode) where is_current;
create unique index subscription_prices_by_plan on credits.subscription_prices (catalog, code, price_id);

create table credits.subscriptions (
  id                   uuid primary key default gen_random_uuid(),
  account_id           bigint not null references credits.accounts (id),
  idempotency_key      text not null,
  livemode             boolean not null,
  status               text not null default 'created' check (status in (
    'created', 'open', 'incomplete', 'active', 'past_due', 'ended', 'expired', 'failed')),
  price_id             text not null references credits.subscription_prices (price_id),  -- of the period that runs
  next_price_id        text references credits.subscription_prices (price_id),           -- from the next period on; null: the same
  price_cents          bigint not null,
  currency             text not null,
  billing_interval     text not null,
  base_url             text not null,        -- where the person came from and returns to
  session_id           text unique,
  url                  text,
  stripe_id            text unique,          -- Stripe's subscription
  customer_id          text,
  period_start         timestamptz,          -- as Stripe has it, paid or not
  period_end           timestamptz,
  paid_until           timestamptz,          -- the end of the last paid period
  cancel_at_period_end boolean not null default false,
  invoice_id           text,                 -- an invoice that waits to be paid, and where
  pay_url              text,
  amount_due_cents     bigint,
  attempts             int not null default 0,
  next_attempt_at      timestamptz,
  catalog_before       text,                 -- the allowances to go back to
  plan_before          text,
  review_reason        text,
  ended_reason         text check (ended_reason in ('canceled', 'payment_failed')),
  created_at           timestamptz not null,
  started_at           timestamptz,
  ended_at             timestamptz,
  closed_at            timestamptz,          -- its credits and allowances are over, too
  polled_at            timestamptz,
  unique (account_id, idempotency_key)
);
-- One at a time: also the page somebody may still pay on counts.
create unique index subscriptions_one_per_account on credits.subscriptions (account_id, livemode)
  where status in ('created', 'open', 'incomplete', 'active', 'past_due');
create unique index subscriptions_by_account on credits.subscriptions (account_id, created_at, id);
create unique index subscriptions_by_price on credits.subscriptions (price_id, id);
create unique index subscriptions_by_next_price on credits.subscriptions (next_price_id, id);
create unique index subscriptions_to_ask on credits.subscriptions (polled_at, id)
  where status not in ('expired', 'failed') and (closed_at is null or invoice_id is not null);
alter table credits.purchases add foreign key (subscription_id) references credits.subscriptions (id);
create unique index purchases_by_subscription on credits.purchases (subscription_id, period_start, id);

-- Everything that happened to a subscription, with what it cost from then on. Append-only; the base of recurring revenue.
create table credits.subscription_changes (
  id               bigint generated always as identity primary key,
  subscription_id  uuid not null references credits.subscriptions (id),
  account_id       bigint not null references credits.accounts (id),
  at               timestamptz not null,
  what             text not null check (what in (
    'created', 'started', 'paid', 'upgraded', 'downgraded', 'change_planned', 'change_withdrawn', 'payment_failed', 'past_due',
    'recovered', 'cancel_planned', 'kept', 'ended', 'closed', 'expired', 'failed', 'review')),
  status           text not null,
  code             text not null,
  price_cents      bigint not null,
  currency         text not null,
  billing_interval text not null,
  livemode         boolean not null,
  actor            text not null,
  detail           jsonb not null
);
create unique index subscription_changes_by_subscription on credits.subscription_changes (subscription_id, id);
create unique index subscription_changes_by_account on credits.subscription_changes (account_id, id);
create trigger subscription_changes_append_only before update or delete or truncate on credits.subscription_changes
  for each statement execute function credits._append_only();

-- What an owner asked for, committed before Stripe is called; one at a time. Its id is the idempotency key at Stripe.
create table credits.subscription_requests (
  id              uuid primary key default gen_random_uuid(),
  subscription_id uuid not null references credits.subscriptions (id),
  account_id      bigint not null references credits.accounts (id),
  idempotency_key text not null,
  action          text not null check (action in ('change', 'cancel', 'keep')),
  price_id        text references credits.subscription_prices (price_id),
  is_now          boolean not null,          -- a new period begins and is paid at once
  status          text not null default 'asked' check (status in ('asked', 'done', 'declined', 'failed')),
  detail          text,
  created_at      timestamptz not null,
  finished_at     timestamptz,
  unique (account_id, idempotency_key)
);
create unique index subscription_requests_one_at_a_time on credits.subscription_requests (subscription_id) where status = 'asked';
create unique index subscription_requests_by_subscription on credits.subscription_requests (subscription_id, created_at, id);
create unique index subscription_requests_by_price on credits.subscription_requests (price_id, id);

alter table credits.subscription_plans enable row level security;
alter table credits.subscription_prices enable row level security;
alter table credits.subscriptions enable row level security;
alter table credits.subscription_changes enable row level security;
alter table credits.subscription_requests enable row level security;
create policy subscription_plans_read on credits.subscription_plans for select to anon, authenticated using (true);
create policy subscription_prices_read on credits.subscription_prices for select to anon, authenticated using (true);
create policy subscriptions_read on credits.subscriptions for select to authenticated
  using (account_id = (select credits._own_account()) or (select credits._is_staff()));
create policy subscription_changes_read on credits.subscription_changes for select to authenticated
  using (account_id = (select credits._own_account()) or (select credits._is_staff()));
create policy subscription_requests_read on credits.subscription_requests for select to authenticated
  using (account_id = (select credits._own_account()) or (select credits._is_staff()));
grant select on credits.subscription_plans, credits.subscription_prices to anon, authenticated, service_role;
grant select on credits.subscriptions, credits.subscription_changes, credits.subscription_requests to authenticated, service_role;

-- The subscription plans of a catalog file. One that is no longer in the file is no longer sold; who has it keeps it.
create function credits._load_subscription_plans(p_catalog text, p_plans jsonb) returns void
language plpgsql set search_path = '' as $$
begin
  update credits.subscription_plans set is_offered = false where catalog = p_catalog and is_offered
     and code not in (select e ->> 'code' from jsonb_array_elements(p_plans) as e);
  insert into credits.subscription_plans (catalog, code, name, billing_interval, price_cents, credits_micros, rollover_cap_micros,
                                          plan, position)
  select p_catalog, e.value ->> 'code', e.value ->> 'name', coalesce(e.value ->> 'interval', 'month'),
         (e.value ->> 'price_cents')::bigint, (e.value ->> 'credits_micros')::bigint, (e.value ->> 'rollover_cap_micros')::bigint,
         e.value ->> 'plan', e.ordinality
    from jsonb_array_elements(p_plans) with ordinality as e
  on conflict (catalog, code) do update set name = excluded.name, billing_interval = excluded.billing_interval,
    price_cents = excluded.price_cents, credits_micros = excluded.credits_micros,
    rollover_cap_micros = excluded.rollover_cap_micros, plan = excluded.plan, position = excluded.position, is_offered = true;
end $$;

-- Remembers the Stripe price of a plan, with the plan's terms as they are now; from now on it is the one that is sold.
-- Security definer: only functions write what Stripe called our plans.
create function credits.set_subscription_price(
  p_catalog text, p_code text, p_product_id text, p_price_id text, p_livemode boolean
) returns jsonb language plpgsql security definer set search_path = '' as $$
begin
  perform credits._require('service');
  update credits.subscription_prices set is_current = false
   where catalog = p_catalog and code = p_code and livemode = p_livemode and is_current and price_id <> p_price_id;
  insert into credits.subscription_prices
    (price_id, product_id, livemode, catalog, code, name, currency, billing_interval, price_cents, credits_micros,
     rollover_cap_micros, plan, is_current, created_at)
  select p_price_id, p_product_id, p_livemode, p.catalog, p.code, p.name, c.currency, p.billing_interval, p.price_cents,
         p.credits_micros, p.rollover_cap_micros, p.plan, true, credits._now()
    from credits.subscription_plans as p join credits.catalogs as c on c.code = p.catalog
   where p.catalog = p_catalog and p.code = p_code
  on conflict (price_id) do update set is_current = true, name = excluded.name;
  if not exists (select from credits.subscription_prices where price_id = p_price_id and catalog = p_catalog and code = p_code) then
    perform credits._raise('LC404', format('There is no subscription plan “%s” in the catalog “%s”.', p_code, p_catalog));
  end if;
  return '{}';
end $$;

-- The Stripe price that is sold for a plan; null when there is none yet or the plan's terms have changed since.
create function credits._price_of_plan(p credits.subscription_plans, p_livemode boolean) returns text
language sql stable set search_path = '' as $$
  select k.price_id from credits.subscription_prices as k join credits.catalogs as c on c.code = p.catalog
   where k.catalog = p.catalog and k.code = p.code and k.livemode = p_livemode and k.is_current and k.currency = c.currency
     and (k.billing_interval, k.price_cents, k.credits_micros) = (p.billing_interval, p.price_cents, p.credits_micros)
     and k.rollover_cap_micros is not distinct from p.rollover_cap_micros and k.plan is not distinct from p.plan
$$;

create function credits._allowances_of(p_catalog text, p_plan text) returns jsonb
language sql stable set search_path = '' as $$
  select coalesce(jsonb_agg(jsonb_build_object('operation', o.code, 'name', o.name, 'monthly_quantity', w.monthly_quantity)
                            order by o.id), '[]')
    from credits.plan_allowances as w join credits.operations as o on o.id = w.operation_id
   where w.catalog = p_catalog and w.plan = p_plan
$$;

-- What can be subscribed to: the plans of the active catalog. stripe_price_id is null until stripe-sync has made the price.
create function credits.subscription_plans(p_livemode boolean default false) returns jsonb
language sql stable set search_path = '' as $$
  select jsonb_build_object('catalog', c.code, 'currency', c.currency, 'plans', coalesce((
    select jsonb_agg(jsonb_build_object(
             'code', p.code, 'name', p.name, 'interval', p.billing_interval, 'price_cents', p.price_cents, 'currency', c.currency,
             'credits_micros', p.credits_micros, 'rollover_cap_micros', p.rollover_cap_micros, 'plan', p.plan,
             'allowances', credits._allowances_of(p.catalog, p.plan),
             'cents_per_credit', round(p.price_cents * 1000000 / p.credits_micros::numeric, 4)::text,
             'stripe_price_id', credits._price_of_plan(p, p_livemode)) order by p.position)
      from credits.subscription_plans as p where p.catalog = c.code and p.is_offered), '[]'))
    from credits.catalogs as c where c.is_active
$$;

revoke execute on all functions in schema credits from public;
grant execute on function
  credits.subscription_plans(boolean), credits._price_of_plan(credits.subscription_plans, boolean), credits._allowances_of(text, text)
to anon, authenticated, service_role;
grant execute on function credits.set_subscription_price(text, text, text, text, boolean) to service_role;
