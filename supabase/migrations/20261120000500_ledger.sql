-- The ledger: grants (what was received), transactions (what happened), entries (which grants it drew on).
--
-- Always: posted = sum of what is left in grants + held - debt. A hold takes its micros out of the grants when it is
-- placed, so what is held can neither be spent by others nor expire. Whoever changes an account locks its row first.

create table credits.grants (
  id               bigint generated always as identity primary key,
  account_id       bigint not null references credits.accounts (id),
  source           text not null check (source in ('purchase', 'bonus', 'promotion', 'referral', 'subscription', 'adjustment')),
  is_promotional   boolean not null,
  granted_micros   bigint not null check (granted_micros > 0),
  remaining_micros bigint not null check (remaining_micros between 0 and granted_micros),  -- stale for accounts.grant_id
  cost_cents       bigint not null default 0 check (cost_cents >= 0),   -- what was paid for it, tax apart
  currency         text,
  priority         smallint not null default 0,                        -- lower is spent first
  expires_at       timestamptz not null default 'infinity',
  operations       text[],                                              -- only for these; null: for all
  purchase_id      uuid,
  reason           text,
  created_at       timestamptz not null
) with (fillfactor = 80);
create unique index grants_by_account on credits.grants (account_id, id);
-- Spend order: priority, expiring soonest, promotional before paid, oldest.
create unique index grants_spend_order on credits.grants (account_id, priority, expires_at, (not is_promotional), created_at, id)
  where remaining_micros > 0;
create unique index grants_by_purchase on credits.grants (purchase_id, id) where purchase_id is not null;

-- Append-only. The key is the account and its gapless number, so pages by key, as-of balances and rollups are exact.
create table credits.transactions (
  account_id             bigint not null,
  seq                    bigint not null,
  created_at             timestamptz not null,
  occurred_at            timestamptz,           -- when it really happened, if not at created_at
  kind                   text not null check (kind in ('purchase', 'bonus', 'grant', 'use', 'adjustment', 'reversal', 'expiry',
                                                       'refund', 'dispute', 'debt_recovery', 'extension')),
  amount_micros          bigint not null,       -- effect on posted; negative when spent
  posted_after_micros    bigint not null,
  available_after_micros bigint not null,
  grant_id               bigint,                -- the one grant it touched; null: see entries
  operation_id           smallint,
  price_id               int,
  quantity               numeric,
  rated_micros           bigint,                -- the full price, where less was charged
  paid_by                text check (paid_by in ('allowance', 'mixed', 'unlimited')),  -- the gate; null: credits
  allowance_quantity     numeric,               -- how much of the quantity the month's allowance paid
  idempotency_key        text collate "C",
  call_id                bigint,
  purchase_id            uuid,
  reverses_seq           bigint,
  actor                  text,                  -- null: the account's owner
  reason                 text,
  metadata               jsonb,
  primary key (account_id, seq)
);
create unique index transactions_by_key on credits.transactions (account_id, idempotency_key) where idempotency_key is not null;
create unique index transactions_reversed_once on credits.transactions (account_id, reverses_seq) where reverses_seq is not null;
create unique index transactions_by_hand on credits.transactions (account_id, created_at, seq)
  where kind in ('adjustment', 'reversal', 'extension');
create unique index transactions_by_purchase on credits.transactions (purchase_id, kind, seq) where purchase_id is not null;
create unique index transactions_expired on credits.transactions (account_id, occurred_at, seq) where kind = 'expiry';

-- Effects on grants of transactions that touched more than one (or the debt: grant_id null).
create table credits.entries (
  account_id    bigint not null,
  seq           bigint not null,
  position      smallint not null,
  grant_id      bigint,
  amount_micros bigint not null,
  primary key (account_id, seq, position)
);
create trigger transactions_append_only before update or delete or truncate on credits.transactions
  for each statement execute function credits._append_only();
create trigger entries_append_only before update or delete or truncate on credits.entries
  for each statement execute function credits._append_only();

alter table credits.grants enable row level security;
alter table credits.transactions enable row level security;
alter table credits.entries enable row level security;
create policy grants_read on credits.grants for select to authenticated
  using (account_id = (select credits._own_account()) or (select credits._is_staff()));
create policy transactions_read on credits.transactions for select to authenticated
  using (account_id = (select credits._own_account()) or (select credits._is_staff()));
create policy entries_read on credits.entries for select to authenticated
  using (account_id = (select credits._own_account()) or (select credits._is_staff()));
grant select on credits.grants, credits.transactions, credits.entries to authenticated, service_role;

-- Every transaction's effect on every grant, wherever it is kept.
create view credits.all_entries with (security_invoker = true) as
  select account_id, seq, 1::smallint as position, grant_id, amount_micros from credits.transactions where grant_id is not null
  union all
  select account_id, seq, position, grant_id, amount_micros from credits.entries;
-- Grants with what is really left in them.
create view credits.grants_now with (security_invoker = true) as
  select g.id, g.account_id, g.source, g.is_promotional, g.granted_micros,
         case when g.id = a.grant_id then a.grant_left_micros else g.remaining_micros end as remaining_micros,
         g.cost_cents, g.currency, g.priority, g.expires_at, g.operations, g.purchase_id, g.reason, g.created_at
    from credits.grants as g join credits.accounts as a on a.id = g.account_id;
grant select on credits.all_entries, credits.grants_now to authenticated, service_role;

create type credits.draw as (grant_id bigint, amount_micros bigint);

-- Writes one transaction and its entries, and moves the account's numbers (in memory; _close_ledger stores them).
create function credits._record(
  p_account credits.accounts, p_kind text, p_amount_micros bigint, p_draws credits.draw[], p_row credits.transactions
) returns credits.accounts language plpgsql set search_path = '' as $$
declare
  v_single boolean := cardinality(p_draws) = 1 and p_draws[1].grant_id is not null
                      and p_draws[1].amount_micros = p_amount_micros;
begin
  p_account.posted_micros := p_account.posted_micros + p_amount_micros;
  p_account.seq := p_account.seq + 1;
  insert into credits.transactions values (
    p_account.id, p_account.seq, p_account.last_at, p_row.occurred_at, p_kind, p_amount_micros, p_account.posted_micros,
    p_account.posted_micros - p_account.held_micros, case when v_single then p_draws[1].grant_id end, p_row.operation_id,
    p_row.price_id, p_row.quantity, p_row.rated_micros, p_row.paid_by, p_row.allowance_quantity, p_row.idempotency_key, p_row.call_id, p_row.purchase_id,
    p_row.reverses_seq, p_row.actor, p_row.reason, p_row.metadata);
  if not v_single then
    insert into credits.entries (account_id, seq, position, grant_id, amount_micros)
    select p_account.id, p_account.seq, d.ordinality, d.grant_id, d.amount_micros
      from unnest(p_draws) with ordinality as d (grant_id, amount_micros, ordinality);
  end if;
  return p_account;
end $$;

-- Locks an account for anything but the fastest charge: stores what is left of its current grant, stamps the time and
-- books grants that have expired.
create function credits._open_ledger(p_account_id bigint) returns credits.accounts
language plpgsql set search_path = '' as $$
declare a credits.accounts;
begin
  select * into a from credits.accounts where id = p_account_id for no key update;
  a.last_at := greatest(a.last_at, credits._now());
  if a.grant_id is not null then
    update credits.grants set remaining_micros = a.grant_left_micros where id = a.grant_id;
  end if;
  if a.settle_at <= a.last_at then a := credits._book_expired(a, false); end if;
  return a;
end $$;

-- Books what is left in expired grants. Credits that came back to a grant after its expiry (from a hold, by a reversal) expire
-- when they come back, not before: until then they were part of the balance, or of none.
create function credits._book_expired(a credits.accounts, p_came_back boolean) returns credits.accounts
language plpgsql set search_path = '' as $$
declare
  v_grant credits.grants;
  v_row   credits.transactions;
begin
  for v_grant in select * from credits.grants
                  where account_id = a.id and remaining_micros > 0 and expires_at <= a.last_at order by expires_at, id loop
    update credits.grants set remaining_micros = 0 where id = v_grant.id;
    v_row.occurred_at := case when not p_came_back then v_grant.expires_at end;
    v_row.actor := 'service';
    a := credits._record(a, 'expiry', -v_grant.remaining_micros,
                         array[row(v_grant.id, -v_grant.remaining_micros)::credits.draw], v_row);
  end loop;
  return a;
end $$;

-- Chooses the grant to spend next and stores the account row, last of all in every careful write. A debt is recovered here as
-- soon as there are credits, wherever they came from: so while something is owed, no grant open to all operations has anything
-- left, and the fast charge need not look. While any grant is limited to some operations there is no current grant: every
-- charge then takes the careful way, which looks at them one by one.
create function credits._close_ledger(a credits.accounts) returns void
language plpgsql set search_path = '' as $$
declare
  v_next    credits.grants;
  v_limited boolean;
begin
  if a.debt_micros > 0 then a := credits._recover_debt(a); end if;
  select coalesce(bool_or(operations is not null), false), coalesce(min(expires_at), 'infinity')
    into v_limited, a.settle_at from credits.grants where account_id = a.id and remaining_micros > 0;
  if not v_limited then
    select * into v_next from credits.grants where account_id = a.id and remaining_micros > 0
     order by priority, expires_at, (not is_promotional), created_at, id limit 1;
  end if;
  update credits.accounts set
    posted_micros = a.posted_micros, held_micros = a.held_micros, debt_micros = a.debt_micros, seq = a.seq, last_at = a.last_at,
    purchased_micros = a.purchased_micros, used_micros = a.used_micros, grant_id = v_next.id,
    grant_left_micros = coalesce(v_next.remaining_micros, 0), settle_at = a.settle_at
   where id = a.id;
end $$;

create function credits._recover_debt(a credits.accounts) returns credits.accounts
language plpgsql set search_path = '' as $$
declare
  v_draws credits.draw[] := credits._draw(a.id, a.debt_micros - credits._debt_of_holds(a), null);
  v_found bigint := credits._drawn(v_draws);
  v_row   credits.transactions;
begin
  if v_found = 0 then return a; end if;
  a.debt_micros := a.debt_micros - v_found;
  v_row.actor := 'service';
  v_row.reason := 'Debt recovered';
  return credits._record(a, 'debt_recovery', 0, v_draws || row(null, v_found)::credits.draw, v_row);
end $$;

-- The part of the debt that open holds keep on the overdraft: it may still be given back, so it is not recovered.
create function credits._debt_of_holds(a credits.accounts) returns bigint
language plpgsql stable set search_path = '' as $$
begin
  if a.held_micros = 0 or a.debt_micros = 0 then return 0; end if;
  return (select coalesce(sum(k.amount_micros), 0) from credits.holds as h join credits.hold_grants as k on k.hold_id = h.id
           where h.account_id = a.id and h.status = 'open' and k.grant_id is null);
end $$;

-- Takes an amount out of the grants in spend order, as draws with negative amounts. What the grants do not cover stays
-- undrawn; callers decide whether it may become debt.
create function credits._draw(p_account_id bigint, p_amount_micros bigint, p_operation text) returns credits.draw[]
language plpgsql set search_path = '' as $$
declare
  v_grant credits.grants;
  v_need  bigint := p_amount_micros;
  v_take  bigint;
  v_draws credits.draw[] := '{}';
begin
  if v_need <= 0 then return v_draws; end if;
  for v_grant in select * from credits.grants
                  where account_id = p_account_id and remaining_micros > 0
                    and (operations is null or p_operation = any (operations))
                  order by priority, expires_at, (not is_promotional), created_at, id loop
    v_take := least(v_grant.remaining_micros, v_need);
    update credits.grants set remaining_micros = remaining_micros - v_take where id = v_grant.id;
    v_draws := v_draws || row(v_grant.id, -v_take)::credits.draw;
    v_need := v_need - v_take;
    exit when v_need = 0;
  end loop;
  return v_draws;
end $$;

-- Puts draws back into the grants they came from.
create function credits._undraw(p_draws credits.draw[]) returns void
language sql set search_path = '' as $$
  update credits.grants as g set remaining_micros = g.remaining_micros - d.amount_micros
    from unnest(p_draws) as d where g.id = d.grant_id
$$;

create function credits._drawn(p_draws credits.draw[]) returns bigint
language sql immutable set search_path = '' as $$
  select coalesce(-sum(d.amount_micros), 0)::bigint from unnest(p_draws) as d
$$;

-- Gives credits: a grant and its transaction. The ledger must be open; closing it recovers a debt.
create function credits._grant(
  a credits.accounts, p_kind text, p_grant credits.grants, p_row credits.transactions
) returns credits.accounts language plpgsql set search_path = '' as $$
declare v_id bigint;
begin
  insert into credits.grants (account_id, source, is_promotional, granted_micros, remaining_micros, cost_cents, currency,
                              priority, expires_at, operations, purchase_id, reason, created_at)
  values (a.id, p_grant.source, p_grant.is_promotional, p_grant.granted_micros, p_grant.granted_micros,
          coalesce(p_grant.cost_cents, 0), p_grant.currency, coalesce(p_grant.priority, 0::smallint),
          coalesce(p_grant.expires_at, 'infinity'), p_grant.operations, p_grant.purchase_id, p_grant.reason, a.last_at)
  returning id into v_id;
  return credits._record(a, p_kind, p_grant.granted_micros, array[row(v_id, p_grant.granted_micros)::credits.draw], p_row);
end $$;

revoke execute on all functions in schema credits from public;
