-- Spending: use and use_batch. The common case is three statements (price, balance, ledger row); everything rare goes
-- the careful way under the same row lock.

create type credits.charge_result as (
  status                 text,  -- charged, replayed; else refused: key_reused, insufficient, unknown_operation, bad_...
  seq                    bigint,
  charged_micros         bigint,
  posted_after_micros    bigint,
  available_after_micros bigint,
  price_id               int,
  created_at             timestamptz,
  needed_micros          bigint
);

-- Where a key was used before: the first result if the arguments are the same. Charges compare what was asked for
-- (operation, quantity, time, metadata), not a hash of it: the row keeps them anyway.
create function credits._replay(p_account_id bigint, p_row credits.transactions) returns credits.charge_result
language plpgsql stable set search_path = '' as $$
declare
  t credits.transactions;
  r credits.charge_result;
begin
  select * into t from credits.transactions where account_id = p_account_id and idempotency_key = p_row.idempotency_key;
  if not found then return r; end if;
  r.status := case when t.kind = 'use' and t.operation_id is not distinct from p_row.operation_id
                    and t.quantity is not distinct from p_row.quantity and t.call_id is not distinct from p_row.call_id
                    and t.occurred_at is not distinct from p_row.occurred_at
                    and t.metadata is not distinct from p_row.metadata then 'replayed' else 'key_reused' end;
  r.seq := t.seq;
  r.charged_micros := -t.amount_micros;
  r.posted_after_micros := t.posted_after_micros;
  r.available_after_micros := t.available_after_micros;
  r.price_id := t.price_id;
  r.created_at := t.created_at;
  return r;
end $$;

-- The careful way: replays, expiry, several grants, overdraft, unlimited accounts, not enough.
-- p_force: charge what is there and record the rest as debt (work already done, such as an ended call).
create function credits._charge_carefully(
  p_account_id bigint, p_operation text, p_cost_micros bigint, p_row credits.transactions, p_force boolean default false
) returns credits.charge_result language plpgsql set search_path = '' as $$
declare
  a       credits.accounts;
  r       credits.charge_result;
  v_draws credits.draw[];
  v_rest  bigint;
begin
  perform from credits.accounts where id = p_account_id for no key update;
  r := credits._replay(p_account_id, p_row);
  if r.status is not null then return r; end if;
  a := credits._open_ledger(p_account_id);
  if a.is_unlimited then
    p_row.rated_micros := p_cost_micros;
    p_cost_micros := 0;
  end if;
  v_draws := credits._draw(a.id, p_cost_micros, p_operation);
  v_rest := p_cost_micros - credits._drawn(v_draws);
  if v_rest > 0 then
    if not p_force and v_rest > a.overdraft_micros - a.debt_micros then
      r.status := 'insufficient';
      r.needed_micros := p_cost_micros;
      r.available_after_micros := credits._drawn(v_draws) + greatest(a.overdraft_micros - a.debt_micros, 0);
      r.posted_after_micros := a.posted_micros;
      perform credits._undraw(v_draws);  -- what was drawn goes back; what has expired stays booked
      perform credits._close_ledger(a);
      return r;
    end if;
    a.debt_micros := a.debt_micros + v_rest;
    v_draws := v_draws || row(null, -v_rest)::credits.draw;
  end if;
  a.used_micros := a.used_micros + p_cost_micros;
  a := credits._record(a, 'use', -p_cost_micros, v_draws, p_row);
  perform credits._close_ledger(a);
  r := row('charged', a.seq, p_cost_micros, a.posted_micros, a.posted_micros - a.held_micros, p_row.price_id, a.last_at, null);
  return r;
end $$;

-- One charge. Never raises for what a caller can cause, so that a batch goes on; use() turns the status into an error.
create function credits._charge(
  p_account_id bigint, p_operation text, p_quantity numeric, p_key text, p_metadata jsonb, p_occurred_at timestamptz,
  p_actor text, p_call_id bigint default null
) returns credits.charge_result language plpgsql set search_path = '' as $$
declare
  v_now   timestamptz := credits._now();
  v_price credits.prices;
  v_cost  bigint;
  v_row   credits.transactions;
  r       credits.charge_result;
begin
  if not credits._quantity_ok(p_quantity) then r.status := 'bad_quantity'; return r; end if;
  if p_occurred_at > v_now + interval '5 minutes' then r.status := 'bad_time'; return r; end if;
  -- a call's charge has no key of its own: the row of the call makes it once
  if p_call_id is null and (p_key is null or length(p_key) not between 1 and 255) then
    r.status := 'bad_key';
    return r;
  end if;
  v_price := credits._price_at(p_operation, coalesce(p_occurred_at, v_now));
  if v_price.id is null then r.status := 'unknown_operation'; return r; end if;
  v_cost := (credits._rate_price(v_price, p_quantity)).cost_micros;

  update credits.accounts set
    posted_micros = posted_micros - v_cost, grant_left_micros = grant_left_micros - v_cost,
    used_micros = used_micros + v_cost, seq = seq + 1, last_at = greatest(last_at, v_now)
   where id = p_account_id and grant_left_micros >= v_cost and grant_id is not null and settle_at > v_now and not is_unlimited
  returning seq, posted_micros, posted_micros - held_micros, last_at, grant_id
       into r.seq, r.posted_after_micros, r.available_after_micros, r.created_at, v_row.grant_id;
  if found then
    insert into credits.transactions (account_id, seq, created_at, occurred_at, kind, amount_micros, posted_after_micros,
      available_after_micros, grant_id, operation_id, price_id, quantity, idempotency_key, call_id, actor, metadata)
    values (p_account_id, r.seq, r.created_at, p_occurred_at, 'use', -v_cost, r.posted_after_micros, r.available_after_micros,
      v_row.grant_id, v_price.operation_id, v_price.id, p_quantity, p_key, p_call_id, p_actor, p_metadata)
    on conflict (account_id, idempotency_key) where idempotency_key is not null do nothing;
    if found then
      r.status := 'charged';
      r.charged_micros := v_cost;
      r.price_id := v_price.id;
      return r;
    end if;
    -- the key was used before: take the deduction back (same transaction, same lock) and answer as then
    update credits.accounts set
      posted_micros = posted_micros + v_cost, grant_left_micros = grant_left_micros + v_cost,
      used_micros = used_micros - v_cost, seq = seq - 1 where id = p_account_id;
  end if;
  v_row.operation_id := v_price.operation_id;
  v_row.price_id := v_price.id;
  v_row.quantity := p_quantity;
  v_row.idempotency_key := p_key;
  v_row.occurred_at := p_occurred_at;
  v_row.metadata := p_metadata;
  v_row.actor := p_actor;
  v_row.call_id := p_call_id;
  return credits._charge_carefully(p_account_id, p_operation, v_cost, v_row);
end $$;

-- The error of a refused charge: {code, message, detail}; null when it was not refused.
create function credits._charge_error(r credits.charge_result, p_operation text) returns jsonb
language sql immutable set search_path = '' as $$
  select case r.status
    when 'charged' then null when 'replayed' then null
    when 'insufficient' then jsonb_build_object('sqlstate', 'LC402', 'code', 'insufficient_credits', 'message',
      'There are not enough credits for this; buy credits and try again.', 'detail',
      jsonb_build_object('needed_micros', r.needed_micros, 'available_micros', r.available_after_micros))
    when 'unknown_operation' then jsonb_build_object('sqlstate', 'LC404', 'code', 'not_found', 'message',
      format('There is no price for “%s”; GET /api/credits/pricing lists the operations.', left(p_operation, 80)), 'detail',
      jsonb_build_object('operation', left(p_operation, 80)))
    when 'key_reused' then jsonb_build_object('sqlstate', 'LC410', 'code', 'idempotency_key_reused', 'message',
      'This idempotency key was used for another request; use a new key for a new request.', 'detail', '{}'::jsonb)
    when 'bad_time' then jsonb_build_object('sqlstate', 'LC400', 'code', 'invalid_request', 'message',
      'occurred_at must be a time that has passed, such as 2026-11-20T17:30:00Z.', 'detail', '{}'::jsonb)
    when 'bad_key' then jsonb_build_object('sqlstate', 'LC400', 'code', 'invalid_request', 'message',
      'Give an idempotency key of 1 to 255 characters, and the same one when you retry.', 'detail', '{}'::jsonb)
    when 'not_allowed' then jsonb_build_object('sqlstate', 'LC403', 'code', 'not_allowed', 'message',
      'This belongs to another account; leave the account out to use your own.', 'detail', '{}'::jsonb)
    when 'unknown_account' then jsonb_build_object('sqlstate', 'LC404', 'code', 'not_found', 'message',
      'There is no such account; find its number in the list of accounts.', 'detail', '{}'::jsonb)
    else jsonb_build_object('sqlstate', 'LC400', 'code', 'invalid_request', 'message',
      'quantity must be a number from 0 to 1,000,000,000,000 with at most 6 decimals.', 'detail', '{}'::jsonb)
  end
$$;

create function credits._raise_charge_error(r credits.charge_result, p_operation text) returns void
language plpgsql set search_path = '' as $$
declare v_error jsonb := credits._charge_error(r, p_operation);
begin
  if v_error is null then return; end if;
  perform credits._raise(v_error ->> 'sqlstate', v_error ->> 'message', v_error -> 'detail');
end $$;

-- Charges an operation. Security definer: only functions write the ledger.
create function credits.use(
  p_operation text, p_quantity numeric, p_idempotency_key text, p_account_id bigint default null,
  p_metadata jsonb default null, p_occurred_at timestamptz default null
) returns jsonb language plpgsql security definer set search_path = '' as $$
declare
  v_account bigint := credits._account(p_account_id, 'write');
  r         credits.charge_result;
begin
  if pg_column_size(p_metadata) > 8192 then perform credits._raise('LC400', 'metadata may have at most 8 KB.'); end if;
  r := credits._charge(v_account, p_operation, p_quantity, p_idempotency_key, p_metadata, p_occurred_at,
                       case when p_account_id is not null then credits._actor() end);
  if r.status not in ('charged', 'replayed') then perform credits._raise_charge_error(r, p_operation); end if;
  return jsonb_build_object(
    'transaction_id', v_account || '-' || r.seq, 'account_id', v_account, 'charged_micros', r.charged_micros,
    'available_micros', r.available_after_micros, 'posted_micros', r.posted_after_micros, 'price_id', r.price_id,
    'created_at', credits._iso(r.created_at), 'replayed', r.status = 'replayed');
end $$;

-- Charges up to 10,000 events in one call, in order, each with its own key and result; one bad event never spoils the
-- others. Accounts are locked in id order first, so two batches never wait for each other in a circle.
-- Security definer: only functions write the ledger.
create function credits.use_batch(p_events jsonb) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  v_role    text := credits._role();
  v_own     bigint := credits._own_account();
  v_event   record;
  v_known   bigint[];
  v_account bigint;
  r         credits.charge_result;
  v_results jsonb[] := '{}';
begin
  perform credits._require('service', 'super_admin', 'admin', 'finance', 'holder');
  if jsonb_typeof(p_events) is distinct from 'array' or jsonb_array_length(p_events) > 10000 then
    perform credits._raise('LC400', 'events must be a list of at most 10,000 events.');
  end if;
  select coalesce(array_agg(id), '{}') into v_known from (
    select a.id from credits.accounts as a
     where a.id in (select coalesce(credits._bigint(e ->> 'account_id'), v_own) from jsonb_array_elements(p_events) as e)
     order by a.id for no key update) as locked;
  for v_event in
    select credits._bigint(e ->> 'account_id') as account_id, e ? 'account_id' and e ->> 'account_id' is not null as is_named,
           e ->> 'operation' as operation, credits._numeric(e ->> 'quantity') as quantity,
           e ->> 'idempotency_key' as key, nullif(e -> 'metadata', 'null') as metadata,
           credits._timestamptz(e ->> 'occurred_at') as occurred_at, e ->> 'occurred_at' as occurred_text
      from jsonb_array_elements(p_events) with ordinality as x (e, n) order by n
  loop
    r := null;
    v_account := case when v_event.is_named then v_event.account_id else v_own end;
    if v_account is null or not v_account = any (v_known) then
      r.status := case when v_event.is_named and v_role in ('holder', 'finance') then 'not_allowed' else 'unknown_account' end;
    elsif v_account is distinct from v_own and v_role in ('holder', 'finance') then
      r.status := 'not_allowed';
    elsif pg_column_size(v_event.metadata) > 8192 then
      r.status := 'bad_metadata';
    elsif v_event.occurred_text is not null and v_event.occurred_at is null then
      r.status := 'bad_time';
    else
      r := credits._charge(v_account, v_event.operation, v_event.quantity, v_event.key, v_event.metadata, v_event.occurred_at,
                           case when v_role <> 'service' and v_account = v_own then null else credits._actor() end);
    end if;
    v_results := v_results || jsonb_build_object(
      'status', case when r.status in ('charged', 'replayed') then r.status else 'error' end,
      'transaction_id', case when r.status <> 'key_reused' then v_account || '-' || r.seq end,
      'charged_micros', case when r.status in ('charged', 'replayed') then r.charged_micros else 0 end, 'available_micros', r.available_after_micros, 'error', credits._charge_error(r, v_event.operation) - 'sqlstate');
  end loop;
  return jsonb_build_object('results', to_jsonb(v_results));
end $$;

-- Text to a value, or null where it is none: a batch answers for a bad event instead of failing as a whole.
create function credits._numeric(p_text text) returns numeric language plpgsql immutable set search_path = '' as $$
begin
  return p_text::numeric;
exception when others then
  return null;
end $$;
create function credits._bigint(p_text text) returns bigint language plpgsql immutable set search_path = '' as $$
begin
  return p_text::bigint;
exception when others then
  return null;
end $$;
create function credits._uuid(p_text text) returns uuid language plpgsql immutable set search_path = '' as $$
begin
  return p_text::uuid;
exception when others then
  return null;
end $$;
create function credits._timestamptz(p_text text) returns timestamptz language plpgsql stable set search_path = '' as $$
begin
  return p_text::timestamptz;
exception when others then
  return null;
end $$;

-- A quote before running: cost, whether it is affordable and why not, and what would pay.
create function credits.check_use(p_operation text, p_quantity numeric, p_account_id bigint default null) returns jsonb
language plpgsql stable set search_path = '' as $$
declare
  v_account   bigint := credits._account(p_account_id, 'read');
  v_price     credits.prices := credits._price_at(p_operation, credits._now());
  v_unlimited boolean := (select is_unlimited from credits.accounts where id = v_account);
  v_available bigint := (credits.balance(v_account) ->> 'available_micros')::bigint;
  v_cost      bigint;
  r           credits.charge_result;
begin
  r.status := case when not credits._quantity_ok(p_quantity) then 'bad_quantity' when v_price.id is null then 'unknown_operation' end;
  if r.status is not null then perform credits._raise_charge_error(r, p_operation); end if;
  v_cost := (credits._rate(v_price.id, p_quantity)).cost_micros;
  return jsonb_build_object(
    'allowed', v_unlimited or v_cost <= v_available, 'cost_micros', v_cost, 'available_micros', v_available,
    'reason', case when v_unlimited then 'unlimited' when v_cost <= v_available then 'enough_credits' else 'insufficient_credits' end,
    'pays_from', case when v_unlimited then 'unlimited' when v_cost <= v_available then 'credits' end, 'price_id', v_price.id,
    'covers_quantity', case when not v_unlimited then credits._affordable(v_price.id, v_available, 1000000000) end);
end $$;

create function credits.balance(p_account_id bigint default null) returns jsonb
language plpgsql stable set search_path = '' as $$
declare
  a         credits.accounts;
  v_now     timestamptz := credits._now();
  v_expired bigint := 0;
begin
  select * into a from credits.accounts where id = credits._account(p_account_id, 'read');
  if a.settle_at <= v_now then  -- expired but not booked yet: gone for the reader at once
    select coalesce(sum(remaining_micros), 0) into v_expired from credits.grants_now
     where account_id = a.id and remaining_micros > 0 and expires_at <= v_now;
  end if;
  return jsonb_build_object(
    'account_id', a.id, 'posted_micros', a.posted_micros - v_expired, 'held_micros', a.held_micros,
    'available_micros', a.posted_micros - v_expired - a.held_micros + a.overdraft_micros, 'debt_micros', a.debt_micros,
    'overdraft_micros', a.overdraft_micros, 'total_purchased_micros', a.purchased_micros,
    'total_used_micros', a.used_micros, 'unlimited', a.is_unlimited, 'as_of', credits._iso(v_now));
end $$;

revoke execute on all functions in schema credits from public;
grant execute on function
  credits._bigint(text), credits._uuid(text), credits._charge_error(credits.charge_result, text),
  credits._raise_charge_error(credits.charge_result, text), credits.balance(bigint),
  credits.use(text, numeric, text, bigint, jsonb, timestamptz), credits.use_batch(jsonb),
  credits.check_use(text, numeric, bigint)
to authenticated, service_role;
