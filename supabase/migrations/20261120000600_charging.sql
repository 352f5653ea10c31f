-- Charging one operation. The common case is three statements (price, balance, ledger row); everything rare goes
-- the careful way under the same row lock.

create type credits.charge_result as (
  status                 text,  -- charged, replayed; else refused: key_reused, insufficient, unknown_operation, bad_...
  seq                    bigint,
  charged_micros         bigint,
  posted_after_micros    bigint,
  available_after_micros bigint,
  price_id               int,
  created_at             timestamptz,
  needed_micros          bigint,
  cap                    jsonb     -- of a capped charge: cap_micros, spent_micros, period, resets_at
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

-- The careful way: replays, expiry, several grants, allowances, caps, overdraft, unlimited accounts, not enough.
create function credits._charge_carefully(
  p_account_id bigint, p_operation text, p_price credits.prices, p_row credits.transactions
) returns credits.charge_result language plpgsql set search_path = '' as $$
declare
  a       credits.accounts;
  r       credits.charge_result;
  v_cost  bigint := (credits._rate_price(p_price, p_row.quantity)).cost_micros;
  v_cap   jsonb;
  v_gates record;
  v_rest  bigint;
  v_draws credits.draw[];
begin
  perform from credits.accounts where id = p_account_id for no key update;
  r := credits._replay(p_account_id, p_row);
  if r.status is not null then return r; end if;
  a := credits._open_ledger(p_account_id);
  begin  -- a refusal undoes all of this block; what has expired stays booked
    v_gates := credits._apply_gates(a, p_price, p_row, v_cost);
    p_row := v_gates.tx;
    v_cost := v_gates.cost_micros;
    if a.has_limits and v_cost > 0 then
      v_cap := credits._count_spend(a.id, credits._api_key_id(), coalesce(p_row.occurred_at, a.last_at), v_cost);
      if v_cap is not null then
        r.status := 'capped';
        raise exception using errcode = 'LC001';
      end if;
    end if;
    v_draws := credits._draw(a.id, v_cost, p_operation);
    v_rest := v_cost - credits._drawn(v_draws);
    if v_rest > 0 then
      r.needed_micros := v_cost;
      r.available_after_micros := credits._drawn(v_draws) + greatest(a.overdraft_micros - a.debt_micros, 0);
      if v_rest > a.overdraft_micros - a.debt_micros then
        r.status := 'insufficient';
        raise exception using errcode = 'LC001';
      end if;
      a.debt_micros := a.debt_micros + v_rest;
      v_draws := v_draws || row(null, -v_rest)::credits.draw;
    end if;
  exception when sqlstate 'LC001' then
    r.posted_after_micros := a.posted_micros;
    r.cap := v_cap;
    perform credits._close_ledger(a);
    return r;
  end;
  a.used_micros := a.used_micros + v_cost;
  a := credits._record(a, 'use', -v_cost, v_draws, p_row);
  perform credits._close_ledger(a);
  return row('charged', a.seq, v_cost, a.posted_micros, a.posted_micros - a.held_micros, p_row.price_id, a.last_at, null,
             null)::credits.charge_result;
end $$;

-- What pays before credits do: unlimited accounts pay nothing, an allowance pays its part of the quantity.
create function credits._apply_gates(
  a credits.accounts, p_price credits.prices, p_row credits.transactions, p_cost_micros bigint,
  out tx credits.transactions, out cost_micros bigint
) language plpgsql set search_path = '' as $$
begin
  tx := p_row;
  cost_micros := p_cost_micros;
  if a.is_unlimited then
    tx.paid_by := 'unlimited';
    tx.rated_micros := p_cost_micros;
    cost_micros := 0;
  elsif a.has_limits then
    tx.allowance_quantity := nullif(credits._take_allowance(a.id, p_row.operation_id, coalesce(p_row.occurred_at, a.last_at),
                                                            p_row.quantity - coalesce(p_row.allowance_quantity, 0))
                                    + coalesce(p_row.allowance_quantity, 0), 0);
    if tx.allowance_quantity > 0 then
      tx.rated_micros := p_cost_micros;
      tx.paid_by := case when tx.allowance_quantity >= p_row.quantity then 'allowance' else 'mixed' end;
      cost_micros := case when tx.paid_by = 'mixed'
                          then (credits._rate_price(p_price, p_row.quantity - tx.allowance_quantity)).cost_micros else 0 end;
    end if;
  end if;
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
  v_price := credits._price_at(p_operation, coalesce(p_occurred_at, v_now), p_account_id);
  if v_price.id is null then r.status := 'unknown_operation'; return r; end if;
  v_cost := (credits._rate_price(v_price, p_quantity)).cost_micros;

  update credits.accounts set
    posted_micros = posted_micros - v_cost, grant_left_micros = grant_left_micros - v_cost,
    used_micros = used_micros + v_cost, seq = seq + 1, last_at = greatest(last_at, v_now)
   where id = p_account_id and grant_left_micros >= v_cost and grant_id is not null and settle_at > v_now
     and not is_unlimited and not has_limits
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
  return credits._charge_carefully(p_account_id, p_operation, v_price, v_row);
end $$;

-- The error of a refused charge: {code, message, detail}; null when it was not refused.
create function credits._charge_error(r credits.charge_result, p_operation text) returns jsonb
language sql immutable set search_path = '' as $$
  select case r.status
    when 'charged' then null when 'replayed' then null
    when 'insufficient' then jsonb_build_object('sqlstate', 'LC402', 'code', 'insufficient_credits', 'message',
      'There are not enough credits for this; buy credits and try again.', 'detail',
      jsonb_build_object('needed_micros', r.needed_micros, 'available_micros', r.available_after_micros))
    when 'capped' then jsonb_build_object('sqlstate', 'LC429', 'code', 'limit_reached', 'message',
      format('The spending cap of this %s is reached; raise the cap or wait until it resets.', r.cap ->> 'period'),
      'detail', r.cap)
    when 'unknown_operation' then jsonb_build_object('sqlstate', 'LC404', 'code', 'not_found', 'message',
      format('There is no price for “%s”; GET /api/credits/pricing lists the operations.', left(p_operation, 80)), 'detail',
      jsonb_build_object('operation', left(p_operation, 80)))
    when 'key_reused' then jsonb_build_object('sqlstate', 'LC410', 'code', 'idempotency_key_reused', 'message',
      'This idempotency key was used for another request; use a new key for a new request.', 'detail', '{}'::jsonb)
    when 'bad_time' then jsonb_build_object('sqlstate', 'LC400', 'code', 'invalid_request', 'message',
      'occurred_at must be a time that has passed, such as 2026-11-20T17:30:00Z.', 'detail', '{}'::jsonb)
    when 'bad_metadata' then jsonb_build_object('sqlstate', 'LC400', 'code', 'invalid_request', 'message',
      'metadata may have at most 8 KB.', 'detail', '{}'::jsonb)
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

revoke execute on all functions in schema credits from public;
grant execute on function
  credits._charge_error(credits.charge_result, text), credits._raise_charge_error(credits.charge_result, text)
to authenticated, service_role;
