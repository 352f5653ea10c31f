-- What the ledger is measured against. The same accounts, the same server; run as the owner before a measurement.
create schema bench;

-- The limit: one UPDATE and one INSERT a transaction.
create table bench.bare_accounts (id bigint primary key, balance bigint not null) with (fillfactor = 50);
create table bench.bare_ledger (
  id bigint generated always as identity primary key, account_id bigint not null, amount bigint not null, balance_after bigint not null,
  created_at timestamptz not null default now());
create function bench.bare(p_account bigint, p_amount bigint) returns bigint language plpgsql as $$
declare v_balance bigint;
begin
  update bench.bare_accounts set balance = balance - p_amount where id = p_account returning balance into v_balance;
  insert into bench.bare_ledger (account_id, amount, balance_after) values (p_account, -p_amount, v_balance);
  return v_balance;
end $$;

-- The usual function written by hand: price, lock, check, update, a ledger row and a usage row, three indexes each.
create table bench.naive_prices (operation text primary key, price numeric not null);
insert into bench.naive_prices values ('call', 0.0025);
create table bench.naive_accounts (id bigint primary key, balance numeric(20, 6) not null, updated_at timestamptz not null default now());
create table bench.naive_transactions (
  id bigint generated always as identity primary key, account_id bigint not null, amount numeric(20, 6) not null,
  balance_after numeric(20, 6) not null, kind text not null, key text, created_at timestamptz not null default now());
create index on bench.naive_transactions (account_id, created_at);
create index on bench.naive_transactions (kind, created_at);
create table bench.naive_usage (
  id bigint generated always as identity primary key, account_id bigint not null, operation text not null,
  quantity numeric not null, cost numeric(20, 6) not null, created_at timestamptz not null default now());
create index on bench.naive_usage (account_id, created_at);
create index on bench.naive_usage (operation, created_at);
create function bench.naive(p_operation text, p_quantity numeric, p_key text, p_account bigint) returns jsonb language plpgsql as $$
declare
  v_cost    numeric;
  v_balance numeric;
  v_id      bigint;
begin
  select price * p_quantity into v_cost from bench.naive_prices where operation = p_operation;
  select balance into v_balance from bench.naive_accounts where id = p_account for update;
  if v_balance < v_cost then raise exception 'insufficient'; end if;
  update bench.naive_accounts set balance = balance - v_cost, updated_at = now() where id = p_account returning balance into v_balance;
  insert into bench.naive_transactions (account_id, amount, balance_after, kind, key)
  values (p_account, -v_cost, v_balance, 'use', p_key) returning id into v_id;
  insert into bench.naive_usage (account_id, operation, quantity, cost) values (p_account, p_operation, p_quantity, v_cost);
  return jsonb_build_object('transaction_id', v_id, 'balance', v_balance);
end $$;

-- The same with an idempotency key. Keys of one account never meet those of another.
create table bench.keyed_transactions (like bench.naive_transactions including all);
create unique index on bench.keyed_transactions (account_id, key);
create function bench.naive_key(p_operation text, p_quantity numeric, p_key text, p_account bigint) returns jsonb language plpgsql as $$
declare
  v_cost    numeric;
  v_balance numeric;
  v_id      bigint;
begin
  select id, balance_after into v_id, v_balance from bench.keyed_transactions where account_id = p_account and key = p_key;
  if found then return jsonb_build_object('transaction_id', v_id, 'balance', v_balance); end if;
  select price * p_quantity into v_cost from bench.naive_prices where operation = p_operation;
  select balance into v_balance from bench.naive_accounts where id = p_account for update;
  if v_balance < v_cost then raise exception 'insufficient'; end if;
  update bench.naive_accounts set balance = balance - v_cost, updated_at = now() where id = p_account returning balance into v_balance;
  insert into bench.keyed_transactions (account_id, amount, balance_after, kind, key)
  values (p_account, -v_cost, v_balance, 'use', p_key) returning id into v_id;
  insert into bench.naive_usage (account_id, operation, quantity, cost) values (p_account, p_operation, p_quantity, v_cost);
  return jsonb_build_object('transaction_id', v_id, 'balance', v_balance);
end $$;

-- The rows of the ledger once more, for COPY.
create table bench.copied (like credits.transactions including indexes including constraints);

insert into bench.bare_accounts select id, 1000000000000 from credits.accounts;
insert into bench.naive_accounts select id, 1000000 from credits.accounts;
grant usage on schema bench to service_role;
grant execute on all functions in schema bench to service_role;
grant select, insert, update on all tables in schema bench to service_role;
