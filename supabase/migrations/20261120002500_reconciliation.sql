-- Reconciliation with Stripe: runs, what a run read, and what does not agree.
--
-- The program pages through Stripe's objects of a range and hands them over in batches. Sessions, charges, refunds and disputes
-- are kept for the time of the run; balance transactions and payouts stay, for fees and payouts of every later figure.

create table credits.reconciliations (
  id              bigint generated always as identity primary key,
  idempotency_key text not null unique,
  livemode        boolean not null,
  from_at         timestamptz not null,
  to_at           timestamptz not null check (to_at > from_at),
  status          text not null check (status in ('waiting', 'running', 'finished', 'failed')),
  requested_by    text not null,
  stage           text,                             -- what is being read now
  read            jsonb not null default '{}',      -- how many of each kind were read
  found           int,                              -- differences this run saw
  totals          jsonb not null default '[]',      -- by currency
  error           text,
  lease_until     timestamptz,
  requested_at    timestamptz not null,
  started_at      timestamptz,
  finished_at     timestamptz
);
create unique index reconciliations_one_at_a_time on credits.reconciliations (livemode) where status in ('waiting', 'running');

create table credits.reconciliation_items (
  reconciliation_id bigint not null references credits.reconciliations (id),
  kind              text not null check (kind in ('session', 'charge', 'refund', 'dispute')),
  id                text not null,                  -- Stripe's
  payment_intent_id text,
  customer_id       text,
  purchase_ref      text,                           -- what Stripe's metadata names
  our_mark          boolean not null,
  refund_ref        text,
  amount_cents      bigint not null,
  refunded_cents    bigint not null,
  currency          text not null,
  status            text not null,
  entry_id          text,                           -- the balance transaction of a charge
  livemode          boolean,
  created_at        timestamptz not null,
  purchase_id       uuid,                           -- ours
  by_payment        boolean not null default false, -- found by its payment, not only by what the metadata says
  primary key (reconciliation_id, kind, id)
);
create unique index reconciliation_items_by_payment on credits.reconciliation_items (reconciliation_id, kind, payment_intent_id, id);
create unique index reconciliation_items_by_purchase on credits.reconciliation_items (reconciliation_id, kind, purchase_id, id);

create table credits.stripe_entries (
  id           text primary key,
  livemode     boolean not null,
  category     text not null,
  amount_cents bigint not null,
  fee_cents    bigint not null,
  net_cents    bigint not null,
  currency     text not null,
  source_id    text,
  payout_id    text,
  purchase_id  uuid references credits.purchases (id),
  created_at   timestamptz not null,
  available_on timestamptz not null
);
comment on table credits.stripe_entries is 'Balance transactions as Stripe has them: what came in, went out and was kept.';
create unique index stripe_entries_by_time on credits.stripe_entries (created_at, id);
create unique index stripe_entries_by_purchase on credits.stripe_entries (purchase_id, id);
create unique index stripe_entries_by_payout on credits.stripe_entries (payout_id, id);

create table credits.stripe_payouts (
  id           text primary key,
  livemode     boolean not null,
  amount_cents bigint not null,
  currency     text not null,
  status       text not null,
  created_at   timestamptz not null,
  arrives_at   timestamptz not null
);
create unique index stripe_payouts_by_time on credits.stripe_payouts (created_at, id);

create table credits.reconciliation_differences (
  id                bigint generated always as identity primary key,
  reconciliation_id bigint not null references credits.reconciliations (id),  -- that saw it first
  last_seen_in      bigint not null references credits.reconciliations (id),
  livemode          boolean not null,
  kind              text not null,
  object_id         text not null,                  -- Stripe's, or ours where Stripe has none: with the kind, which one it is
  purchase_id       uuid references credits.purchases (id),
  payment_intent_id text,
  currency          text,
  expected_cents    bigint,
  found_cents       bigint,
  expected          text,                           -- statuses, currencies: what is no amount
  found             text,
  explanation       text not null,
  repairable        boolean not null,
  occurred_at       timestamptz not null,
  status            text not null default 'open' check (status in ('open', 'repaired', 'accepted')),
  decided_by        text,
  decided_at        timestamptz,
  reason            text
);
create unique index reconciliation_differences_open on credits.reconciliation_differences (livemode, kind, object_id)
  where status = 'open';
create unique index reconciliation_differences_by_object on credits.reconciliation_differences (kind, object_id, id);
create unique index reconciliation_differences_by_run on credits.reconciliation_differences (reconciliation_id, id);
create unique index reconciliation_differences_last_seen on credits.reconciliation_differences (last_seen_in, id);
create unique index reconciliation_differences_by_purchase on credits.reconciliation_differences (purchase_id, id);

-- What Stripe kept of a purchase's payment (processing and disputes), and what is left of it after fees, refunds and disputes.
alter table credits.purchases add column fee_cents bigint, add column net_cents bigint;

alter table credits.reconciliations enable row level security;
alter table credits.reconciliation_items enable row level security;
alter table credits.stripe_entries enable row level security;
alter table credits.stripe_payouts enable row level security;
alter table credits.reconciliation_differences enable row level security;
create policy reconciliations_staff_reads on credits.reconciliations for select to authenticated using ((select credits._is_staff()));
create policy reconciliation_items_nobody on credits.reconciliation_items for select to authenticated using (false);
create policy stripe_entries_staff_reads on credits.stripe_entries for select to authenticated using ((select credits._is_staff()));
create policy stripe_payouts_staff_reads on credits.stripe_payouts for select to authenticated using ((select credits._is_staff()));
create policy reconciliation_differences_staff_reads on credits.reconciliation_differences for select to authenticated
  using ((select credits._is_staff()));
grant select on
  credits.reconciliations, credits.stripe_entries, credits.stripe_payouts, credits.reconciliation_differences
to authenticated, service_role;

create function credits._reconciliation_json(r credits.reconciliations) returns jsonb
language sql stable set search_path = '' as $$
  select jsonb_build_object(
    'reconciliation_id', r.id, 'livemode', r.livemode, 'from', credits._iso(r.from_at), 'to', credits._iso(r.to_at),
    'status', r.status, 'stage', r.stage, 'read', r.read, 'found', r.found, 'totals', r.totals, 'error', r.error,
    'requested_by', r.requested_by, 'requested_at', credits._iso(r.requested_at), 'started_at', credits._iso(r.started_at),
    'finished_at', credits._iso(r.finished_at),
    'open', (select count(*) from credits.reconciliation_differences as d where d.last_seen_in = r.id and d.status = 'open'))
$$;

-- Asks for a run over a range of at most 400 days; one at a time. Staff and programs. Security definer: only functions write runs.
create function credits.start_reconciliation(
  p_from timestamptz, p_to timestamptz, p_livemode boolean, p_idempotency_key text
) returns jsonb language plpgsql security definer set search_path = '' as $$
declare
  v_to timestamptz := date_trunc('second', least(p_to, credits._now())) + interval '1 second';  -- Stripe's times are whole seconds
  r    credits.reconciliations;
begin
  perform credits._require('service', 'super_admin', 'admin', 'finance');
  perform credits._check_key(p_idempotency_key);
  select * into r from credits.reconciliations where idempotency_key = p_idempotency_key;
  if r.id is not null then
    if (r.from_at, r.livemode) is distinct from (p_from, p_livemode) then
      perform credits._raise('LC410', 'This idempotency key was used for another request; use a new key for a new request.');
    end if;
    return credits._reconciliation_json(r) || '{"replayed": true}';
  elsif p_from is null or v_to is null or not p_from < least(p_to, credits._now()) or v_to - p_from > interval '400 days' then
    perform credits._raise('LC400', 'Reconcile a range that has begun, with its start before its end, of at most 400 days.');
  end if;
  insert into credits.reconciliations (idempotency_key, livemode, from_at, to_at, status, requested_by, requested_at)
  values (p_idempotency_key, p_livemode, p_from, v_to, 'waiting', credits._actor(), credits._now())
  on conflict do nothing returning * into r;
  if r.id is null then
    perform credits._raise('LC409', 'A reconciliation is running already; wait until it has finished.');
  end if;
  perform credits._audit('start_reconciliation', null, jsonb_build_object('reconciliation_id', r.id, 'from', p_from, 'to', v_to));
  return credits._reconciliation_json(r) || '{"replayed": false}';
end $$;

-- Makes the daily run when the last one of the program is a day old: the last days, and back to the oldest open difference.
create function credits._daily_reconciliation(p_livemode boolean, p_days int) returns void
language plpgsql set search_path = '' as $$
declare
  v_now    timestamptz := credits._now();
  v_to     timestamptz := date_trunc('second', v_now - interval '10 minutes');  -- what is under way settles first
  v_oldest timestamptz := (select min(occurred_at) from credits.reconciliation_differences
                            where status = 'open' and livemode = p_livemode);
begin
  if exists (select from credits.reconciliations
              where livemode = p_livemode and (requested_at > v_now - interval '1 day' and requested_by = 'daily'
                                               or status in ('waiting', 'running'))) then
    return;
  end if;
  insert into credits.reconciliations (idempotency_key, livemode, from_at, to_at, status, requested_by, requested_at)
  values ('daily-' || p_livemode || '-' || credits._iso(v_now), p_livemode,
          greatest(least(v_to - make_interval(days => p_days), v_oldest), v_to - interval '400 days'), v_to, 'waiting',
          'daily', v_now)
  on conflict do nothing;
end $$;

-- Hands out the run that is to be worked on, to one worker; one that died leaves it to the next, who reads everything again.
-- p_daily_days: make the daily run first when it is due. Null: nothing to do. Security definer, as all that write runs.
create function credits.claim_reconciliation(
  p_livemode boolean, p_reconciliation_id bigint default null, p_daily_days int default null
) returns jsonb language plpgsql security definer set search_path = '' as $$
declare
  v_now timestamptz := credits._now();
  r     credits.reconciliations;
begin
  perform credits._require('service');
  if p_daily_days is not null then perform credits._daily_reconciliation(p_livemode, p_daily_days); end if;
  select * into r from credits.reconciliations
   where livemode = p_livemode and (p_reconciliation_id is null or id = p_reconciliation_id)
     and (status = 'waiting' or status = 'running' and lease_until < v_now)
   order by id limit 1 for update skip locked;
  if r.id is null then return null; end if;
  delete from credits.reconciliation_items where reconciliation_id = r.id;
  update credits.reconciliations set status = 'running', started_at = v_now, stage = 'starting', read = '{}',
         lease_until = v_now + interval '5 minutes' where id = r.id returning * into r;
  return credits._reconciliation_json(r);
end $$;

create function credits._running_reconciliation(p_reconciliation_id bigint, p_stage text) returns credits.reconciliations
language plpgsql set search_path = '' as $$
declare r credits.reconciliations;
begin
  update credits.reconciliations set lease_until = credits._now() + interval '5 minutes', stage = p_stage
   where id = p_reconciliation_id and status = 'running' returning * into r;
  if r.id is null then perform credits._raise('LC409', 'This reconciliation is not running; start a new one.'); end if;
  return r;
end $$;

-- Takes a batch of what Stripe answered. p_kind: session, charge, refund, dispute, entry or payout.
create function credits.stage_reconciliation(p_reconciliation_id bigint, p_kind text, p_items jsonb) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare r credits.reconciliations;
begin
  perform credits._require('service');
  r := credits._running_reconciliation(p_reconciliation_id, p_kind);
  if p_kind = 'entry' then
    perform credits._keep_entries(r.livemode, p_items);
  elsif p_kind = 'payout' then
    insert into credits.stripe_payouts (id, livemode, amount_cents, currency, status, created_at, arrives_at)
    select x.id, r.livemode, x.amount_cents, x.currency, x.status, to_timestamp(x.created), to_timestamp(x.arrival_date)
      from jsonb_to_recordset(p_items) as x(id text, amount_cents bigint, currency text, status text, created bigint, arrival_date bigint)
    on conflict (id) do update set amount_cents = excluded.amount_cents, status = excluded.status, arrives_at = excluded.arrives_at;
  else
    insert into credits.reconciliation_items (reconciliation_id, kind, id, payment_intent_id, customer_id, purchase_ref, our_mark, refund_ref,
                                              amount_cents, refunded_cents, currency, status, entry_id, livemode, created_at)
    select r.id, p_kind, x.id, x.payment_intent_id, x.customer_id, x.purchase_ref, coalesce(x.our_mark, false), x.refund_ref, x.amount_cents,
           coalesce(x.refunded_cents, 0), x.currency, x.status, x.entry_id, x.livemode, to_timestamp(x.created)
      from jsonb_to_recordset(p_items) as x(id text, payment_intent_id text, customer_id text, purchase_ref text, our_mark boolean, refund_ref text,
           amount_cents bigint, refunded_cents bigint, currency text, status text, entry_id text, livemode boolean, created bigint)
    on conflict (reconciliation_id, kind, id) do nothing;
  end if;
  update credits.reconciliations set read = read || jsonb_build_object(
    p_kind, coalesce((read ->> p_kind)::int, 0) + jsonb_array_length(p_items)) where id = r.id;
  return '{}';
end $$;

create function credits._keep_entries(p_livemode boolean, p_items jsonb) returns void
language sql set search_path = '' as $$
  insert into credits.stripe_entries (id, livemode, category, amount_cents, fee_cents, net_cents, currency, source_id, payout_id,
                                      created_at, available_on)
  select x.id, p_livemode, x.category, x.amount_cents, x.fee_cents, x.net_cents, x.currency, x.source_id, x.payout_id,
         to_timestamp(x.created), to_timestamp(x.available_on)
    from jsonb_to_recordset(p_items) as x(id text, category text, amount_cents bigint, fee_cents bigint, net_cents bigint,
         currency text, source_id text, payout_id text, created bigint, available_on bigint)
  on conflict (id) do update set amount_cents = excluded.amount_cents, fee_cents = excluded.fee_cents,
    net_cents = excluded.net_cents, payout_id = coalesce(excluded.payout_id, credits.stripe_entries.payout_id)
$$;

-- What the range alone did not show, to be read one by one: payments, refunds and disputes of ours that Stripe listed outside of
-- it, and movements whose charge is older. Items: {kind: payment|refund|dispute|charge, id}.
create function credits.reconciliation_lookups(p_reconciliation_id bigint) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare r credits.reconciliations;
begin
  perform credits._require('service');
  r := credits._running_reconciliation(p_reconciliation_id, 'lookup');
  perform credits._match_items(r);
  return jsonb_build_object('items', (select coalesce(jsonb_agg(distinct x), '[]') from (
    select jsonb_build_object('kind', 'payment', 'id', p.payment_intent_id) as x from credits.purchases as p
     where p.livemode = r.livemode and p.status = 'credited' and p.credited_at >= r.from_at and p.credited_at < r.to_at
       and p.payment_intent_id is not null and not exists (
         select from credits.reconciliation_items as i where i.reconciliation_id = r.id and i.kind = 'charge'
            and i.payment_intent_id = p.payment_intent_id and i.status = 'succeeded')
    union all
    select jsonb_build_object('kind', 'refund', 'id', f.stripe_refund_id)
      from credits.refunds as f join credits.purchases as p on p.id = f.purchase_id
     where p.livemode = r.livemode and f.stripe_refund_id is not null
       and (f.created_at >= r.from_at and f.created_at < r.to_at or f.status = 'sent')
       and not exists (select from credits.reconciliation_items as i
                        where i.reconciliation_id = r.id and i.kind = 'refund' and i.id = f.stripe_refund_id)
    union all
    select jsonb_build_object('kind', 'dispute', 'id', d.id)
      from credits.disputes as d join credits.purchases as p on p.id = d.purchase_id
     where p.livemode = r.livemode
       and (d.created_at >= r.from_at and d.created_at < r.to_at or d.status not in ('won', 'lost', 'warning_closed'))
       and not exists (select from credits.reconciliation_items as i
                        where i.reconciliation_id = r.id and i.kind = 'dispute' and i.id = d.id)
    union all
    select jsonb_build_object('kind', 'charge', 'id', e.source_id) from credits.stripe_entries as e
     where e.livemode = r.livemode and e.category = 'charge' and e.source_id is not null and e.purchase_id is null
       and e.created_at >= r.from_at and e.created_at < r.to_at and not exists (
         select from credits.reconciliation_items as i where i.reconciliation_id = r.id and i.kind = 'charge' and i.id = e.source_id)
  ) as wanted));
end $$;

-- Which purchase each object belongs to: by its payment, else by what its metadata says. The planner has to know how much was read:
-- minutes become seconds.
create function credits._match_items(r credits.reconciliations) returns void
language plpgsql set search_path = '' as $$
begin
  analyze credits.reconciliation_items;
  update credits.reconciliation_items as i set purchase_id = p.id, by_payment = true
    from credits.purchases as p
   where i.reconciliation_id = r.id and i.purchase_id is null and p.payment_intent_id = i.payment_intent_id;
  update credits.reconciliation_items as i set purchase_id = p.id
    from (select x.kind, x.id, credits._uuid(x.purchase_ref) as ref from credits.reconciliation_items as x
           where x.reconciliation_id = r.id and x.purchase_id is null and x.purchase_ref is not null) as x
    join credits.purchases as p on p.id = x.ref
   where i.reconciliation_id = r.id and (i.kind, i.id) = (x.kind, x.id);
end $$;

revoke execute on all functions in schema credits from public;
grant execute on function credits._reconciliation_json(credits.reconciliations) to authenticated, service_role;
grant execute on function credits.start_reconciliation(timestamptz, timestamptz, boolean, text) to authenticated, service_role;
grant execute on function
  credits.claim_reconciliation(boolean, bigint, int), credits.stage_reconciliation(bigint, text, jsonb),
  credits.reconciliation_lookups(bigint)
to service_role;
