-- Holds: credits reserved for work that has begun. Placing takes them out of the very grants they come from, so nobody else
-- can spend them and they cannot expire; capture charges what was really used, the rest goes back to the same grants.
-- One terminal state: captured, released or expired. A hold that is forgotten frees itself.

create table credits.holds (
  id              bigint generated always as identity primary key,
  account_id      bigint not null references credits.accounts (id),
  operation_id    smallint not null,
  price_id        int not null,
  quantity        numeric not null,
  amount_micros   bigint not null check (amount_micros >= 0),   -- reserved now (0 once closed)
  status          text not null default 'open' check (status in ('open', 'captured', 'released', 'expired')),
  idempotency_key text,                  -- null: the hold of a call, which has a key itself
  expires_at      timestamptz not null,
  call_id         bigint,
  captured_quantity numeric,
  allowance_quantity numeric not null default 0,  -- kept of the month's allowance
  api_key_id      bigint,                          -- whose caps it counts against
  transaction_seq bigint,                -- the charge; also of a capture that came after the expiry
  created_at      timestamptz not null,
  closed_at       timestamptz,
  unique (account_id, idempotency_key)
) with (fillfactor = 70);
create unique index holds_by_account on credits.holds (account_id, id);
create unique index holds_due on credits.holds (expires_at, id) where status = 'open';

-- What an open hold keeps of which grant, in the order it will be charged. grant_id null: on the account's overdraft.
create table credits.hold_grants (
  hold_id       bigint not null references credits.holds (id),
  position      smallint not null,
  grant_id      bigint,
  amount_micros bigint not null check (amount_micros > 0),
  primary key (hold_id, position)
) with (fillfactor = 70);

alter table credits.holds enable row level security;
alter table credits.hold_grants enable row level security;
create policy holds_read on credits.holds for select to authenticated
  using (account_id = (select credits._own_account()) or (select credits._is_staff()));
create policy hold_grants_read on credits.hold_grants for select to authenticated
  using (exists (select from credits.holds as h where h.id = hold_id));
grant select on credits.holds, credits.hold_grants to authenticated, service_role;

-- Makes an open hold cover a quantity (the ledger must be open): first by the month's allowance, the rest by credits, within
-- all caps. Answers the account; raises LC402 or LC429 when it cannot be covered.
create function credits._grow_hold(a credits.accounts, p_hold_id bigint, p_quantity numeric, p_operation text)
returns credits.accounts language plpgsql set search_path = '' as $$
declare
  h       credits.holds;
  v_draws credits.draw[];
  v_more  bigint;
  v_rest  bigint;
  r       credits.charge_result;
begin
  select * into h from credits.holds where id = p_hold_id;
  h.quantity := greatest(h.quantity, p_quantity);
  if a.has_limits then
    h.allowance_quantity := h.allowance_quantity
      + credits._take_allowance(a.id, h.operation_id, h.created_at, h.quantity - h.allowance_quantity);
  end if;
  v_more := case when a.is_unlimited or h.allowance_quantity >= h.quantity and h.quantity > 0 then 0
                 else (credits._rate(h.price_id, h.quantity - h.allowance_quantity)).cost_micros - h.amount_micros end;
  v_more := greatest(v_more, 0);
  if a.has_limits and v_more > 0 then
    r.cap := credits._count_spend(a.id, h.api_key_id, h.created_at, v_more);
    if r.cap is not null then
      r.status := 'capped';
      perform credits._raise_charge_error(r, p_operation);
    end if;
  end if;
  v_draws := credits._draw(a.id, v_more, p_operation);
  v_rest := v_more - credits._drawn(v_draws);
  if v_rest > greatest(a.overdraft_micros - a.debt_micros, 0) then
    r.status := 'insufficient';
    r.needed_micros := v_more;
    r.available_after_micros := credits._drawn(v_draws) + greatest(a.overdraft_micros - a.debt_micros, 0);
    perform credits._raise_charge_error(r, p_operation);
  end if;
  if v_rest > 0 then  -- kept on the overdraft: a debt from now on, given back with the hold
    v_draws := v_draws || row(null, -v_rest)::credits.draw;
    a.debt_micros := a.debt_micros + v_rest;
  end if;
  insert into credits.hold_grants (hold_id, position, grant_id, amount_micros)
  select p_hold_id, d.n + (select coalesce(max(position), 0) from credits.hold_grants where hold_id = p_hold_id),
         d.grant_id, -d.amount_micros
    from unnest(v_draws) with ordinality as d (grant_id, amount_micros, n);
  update credits.holds set amount_micros = amount_micros + v_more, quantity = h.quantity, allowance_quantity = h.allowance_quantity
   where id = p_hold_id;
  a.held_micros := a.held_micros + v_more;
  return a;
end $$;

-- Empties a hold: everything it keeps goes back to its grants (into memory of the open ledger and the grants' rows); what
-- comes back to a grant that has expired meanwhile expires now.
create function credits._empty_hold(a credits.accounts, p_hold_id bigint) returns credits.accounts
language plpgsql set search_path = '' as $$
declare
  v_sum  bigint;
  v_owed bigint;
begin
  update credits.grants as g set remaining_micros = g.remaining_micros + k.amount_micros
    from (select grant_id, sum(amount_micros) as amount_micros from credits.hold_grants
           where hold_id = p_hold_id and grant_id is not null group by grant_id) as k
   where g.id = k.grant_id;
  with gone as (delete from credits.hold_grants where hold_id = p_hold_id returning grant_id, amount_micros)
  select coalesce(sum(amount_micros), 0), coalesce(sum(amount_micros) filter (where grant_id is null), 0)
    into v_sum, v_owed from gone;
  update credits.holds set amount_micros = 0 where id = p_hold_id;
  a.held_micros := a.held_micros - v_sum;
  a.debt_micros := a.debt_micros - v_owed;
  return credits._book_expired(a, true);
end $$;

-- Closes a hold with the quantity of p_row really used: first what its allowance and its grants keep, then the account; what
-- nobody covers is recorded as debt, because the work was done. The rest of the hold goes back. Answers the account.
create function credits._settle_hold(a credits.accounts, h credits.holds, p_operation text, p_row credits.transactions)
returns credits.accounts language plpgsql set search_path = '' as $$
declare
  v_price credits.prices;
  v_gates record;
  v_keep  record;
  v_need  bigint;
  v_take  bigint;
  v_draws credits.draw[] := '{}';
begin
  select * into v_price from credits.prices where id = h.price_id;
  perform credits._give_allowance(a.id, h.operation_id, h.created_at, h.allowance_quantity - p_row.quantity);
  p_row.allowance_quantity := least(h.allowance_quantity, p_row.quantity);
  v_gates := credits._apply_gates(a, v_price, p_row, (credits._rate_price(v_price, p_row.quantity)).cost_micros);
  if a.has_limits then
    perform credits._count_spend(a.id, h.api_key_id, h.created_at, v_gates.cost_micros - h.amount_micros);
  end if;
  v_need := v_gates.cost_micros;
  for v_keep in select * from credits.hold_grants where hold_id = h.id order by position loop
    exit when v_need = 0;
    v_take := least(v_keep.amount_micros, v_need);
    v_need := v_need - v_take;
    a.held_micros := a.held_micros - v_take;
    v_draws := v_draws || row(v_keep.grant_id, -v_take)::credits.draw;
    if v_take = v_keep.amount_micros then
      delete from credits.hold_grants where hold_id = h.id and position = v_keep.position;
    else
      update credits.hold_grants set amount_micros = amount_micros - v_take where hold_id = h.id and position = v_keep.position;
    end if;
  end loop;
  a := credits._empty_hold(a, h.id);
  if v_need > 0 then
    v_draws := v_draws || credits._draw(a.id, v_need, p_operation);
    v_need := v_gates.cost_micros - credits._drawn(v_draws);
    if v_need > 0 then
      a.debt_micros := a.debt_micros + v_need;
      v_draws := v_draws || row(null, -v_need)::credits.draw;
    end if;
  end if;
  a.used_micros := a.used_micros + v_gates.cost_micros;
  return credits._record(a, 'use', -v_gates.cost_micros, credits._merge_draws(v_draws), v_gates.tx);
end $$;

-- One entry a grant: a hold that was extended slice by slice keeps many small parts of the same grant.
create function credits._merge_draws(p_draws credits.draw[]) returns credits.draw[]
language sql immutable set search_path = '' as $$
  select coalesce(array_agg(row(grant_id, amount)::credits.draw order by n), '{}')
    from (select d.grant_id, sum(d.amount_micros)::bigint as amount, min(d.n) as n
            from unnest(p_draws) with ordinality as d (grant_id, amount_micros, n) group by d.grant_id) as merged
$$;

create function credits._hold_json(h credits.holds, p_available_micros bigint) returns jsonb
language sql stable set search_path = '' as $$
  select jsonb_build_object(
    'hold_id', h.id, 'account_id', h.account_id, 'status', h.status, 'quantity', h.quantity,
    'operation', (select code from credits.operations where id = h.operation_id), 'price_id', h.price_id,
    'held_micros', h.amount_micros, 'expires_at', credits._iso(h.expires_at), 'created_at', credits._iso(h.created_at),
    'closed_at', credits._iso(h.closed_at), 'captured_quantity', h.captured_quantity,
    'transaction_id', h.account_id || '-' || h.transaction_seq, 'available_micros', p_available_micros)
$$;

create function credits._check_hold_time(p_seconds int) returns void
language plpgsql immutable set search_path = '' as $$
begin
  if p_seconds is null or p_seconds not between 1 and 86400 then
    perform credits._raise('LC400', 'A hold lasts 1 second to 24 hours (expires_in_seconds 1 to 86400); extend it when work goes on.');
  end if;
end $$;

-- Reserves what an operation will cost. Security definer, as all below: only functions write holds and the ledger.
create function credits.place_hold(
  p_operation text, p_quantity numeric, p_idempotency_key text, p_expires_in_seconds int default 3600,
  p_account_id bigint default null
) returns jsonb language plpgsql security definer set search_path = '' as $$
declare
  v_account bigint := credits._account(p_account_id, 'hold');
  v_price   credits.prices := credits._price_at(p_operation, credits._now(), v_account);
  a         credits.accounts;
  h         credits.holds;
  r         credits.charge_result;
begin
  perform credits._check_key(p_idempotency_key);
  perform credits._check_hold_time(p_expires_in_seconds);
  r.status := case when not credits._quantity_ok(p_quantity) then 'bad_quantity' when v_price.id is null then 'unknown_operation' end;
  if r.status is not null then perform credits._raise_charge_error(r, p_operation); end if;
  a := credits._open_ledger(v_account);
  select * into h from credits.holds where account_id = v_account and idempotency_key = p_idempotency_key;
  if found then
    if h.operation_id <> v_price.operation_id or h.call_id is not null
       or (select coalesce(min(e.quantity), h.quantity) from credits.hold_events as e
            where e.hold_id = h.id and e.action = 'place') <> p_quantity then
      perform credits._raise('LC410', 'This idempotency key was used for another request; use a new key for a new request.');
    end if;
    perform credits._close_ledger(a);
    return credits._hold_json(h, a.posted_micros - a.held_micros) || '{"replayed": true}';
  end if;
  insert into credits.holds (account_id, operation_id, price_id, quantity, amount_micros, idempotency_key, api_key_id, expires_at, created_at)
  values (v_account, v_price.operation_id, v_price.id, p_quantity, 0, p_idempotency_key, credits._api_key_id(),
          a.last_at + make_interval(secs => p_expires_in_seconds), a.last_at) returning * into h;
  a := credits._grow_hold(a, h.id, p_quantity, p_operation);
  perform credits._close_ledger(a);
  select * into h from credits.holds where id = h.id;
  perform credits._hold_event(h.id, 'place', p_quantity, h.amount_micros, p_idempotency_key);
  return credits._hold_json(h, a.posted_micros - a.held_micros) || '{"replayed": false}';
end $$;

-- What happened to a hold, and when: append-only, one row a step.
create table credits.hold_events (
  hold_id         bigint not null references credits.holds (id),
  position        int not null,
  at              timestamptz not null,
  action          text not null check (action in ('place', 'extend', 'capture', 'release', 'expire', 'late_capture')),
  quantity        numeric,
  amount_micros   bigint not null,
  actor           text not null,
  idempotency_key text,
  primary key (hold_id, position)
);
create trigger hold_events_append_only before update or delete or truncate on credits.hold_events
  for each statement execute function credits._append_only();
alter table credits.hold_events enable row level security;
create policy hold_events_read on credits.hold_events for select to authenticated
  using (exists (select from credits.holds as h where h.id = hold_id));
grant select on credits.hold_events to authenticated, service_role;

create function credits._hold_event(p_hold_id bigint, p_action text, p_quantity numeric, p_amount_micros bigint, p_key text)
returns void language sql set search_path = '' as $$
  insert into credits.hold_events (hold_id, position, at, action, quantity, amount_micros, actor, idempotency_key)
  select p_hold_id, coalesce(max(position), 0) + 1, credits._now(), p_action, p_quantity, p_amount_micros, credits._actor(), p_key
    from credits.hold_events where hold_id = p_hold_id
$$;

-- Locks the account of a hold (always before the hold) and answers the hold; refuses other people's.
create function credits._lock_hold(p_hold_id bigint) returns credits.holds
language plpgsql set search_path = '' as $$
declare h credits.holds;
begin
  select * into h from credits.holds where id = p_hold_id;
  if h.id is null or credits._role() in ('holder', 'finance') and h.account_id is distinct from credits._own_account() then
    perform credits._raise('LC404', 'There is no such hold of yours; use the hold_id that placing it answered.');
  end if;
  perform from credits.accounts where id = credits._account(h.account_id, 'hold') for no key update;
  select * into h from credits.holds where id = p_hold_id for update;
  return h;
end $$;

-- Makes an open hold cover p_quantity in all and last longer. Shorter or smaller than now changes nothing.
create function credits.extend_hold(p_hold_id bigint, p_quantity numeric default null, p_expires_in_seconds int default 3600)
returns jsonb language plpgsql security definer set search_path = '' as $$
declare
  h      credits.holds := credits._lock_hold(p_hold_id);
  v_op   text := (select code from credits.operations where id = h.operation_id);
  v_held bigint;
  a      credits.accounts;
  r      credits.charge_result;
begin
  perform credits._check_hold_time(p_expires_in_seconds);
  if p_quantity is not null and not credits._quantity_ok(p_quantity) then
    r.status := 'bad_quantity';
    perform credits._raise_charge_error(r, v_op);
  end if;
  if h.call_id is not null then
    perform credits._raise('LC409', 'This hold belongs to a call; send a heartbeat instead.', jsonb_build_object('call_id', h.call_id));
  end if;
  if h.status <> 'open' then perform credits._raise_hold_closed(h); end if;
  a := credits._open_ledger(h.account_id);
  v_held := h.amount_micros;
  a := credits._grow_hold(a, h.id, greatest(p_quantity, h.quantity), v_op);
  update credits.holds set expires_at = greatest(expires_at, a.last_at + make_interval(secs => p_expires_in_seconds))
   where id = h.id returning * into h;
  perform credits._close_ledger(a);
  perform credits._hold_event(h.id, 'extend', h.quantity, h.amount_micros - v_held, null);
  return credits._hold_json(h, a.posted_micros - a.held_micros);
end $$;

create function credits._raise_hold_closed(h credits.holds) returns void
language plpgsql set search_path = '' as $$
begin
  perform credits._raise('LC409', format('This hold is %s already; place a new one for new work.', h.status),
                         jsonb_build_object('status', h.status, 'hold_id', h.id));
end $$;

-- Charges what was really used (default: the whole hold). After the expiry it still charges, once: what is there, and the
-- rest as debt. The same capture again answers as the first time.
create function credits.capture_hold(p_hold_id bigint, p_quantity numeric default null, p_idempotency_key text default null)
returns jsonb language plpgsql security definer set search_path = '' as $$
declare
  h          credits.holds := credits._lock_hold(p_hold_id);
  v_op       text := (select code from credits.operations where id = h.operation_id);
  v_held     bigint := h.amount_micros;
  v_quantity numeric := coalesce(p_quantity, h.quantity);
  a          credits.accounts;
  v_row      credits.transactions;
  r          credits.charge_result;
begin
  if not credits._quantity_ok(v_quantity) then
    r.status := 'bad_quantity';
    perform credits._raise_charge_error(r, v_op);
  end if;
  if h.call_id is not null then
    perform credits._raise('LC409', 'This hold belongs to a call; end the call instead.', jsonb_build_object('call_id', h.call_id));
  end if;
  if h.transaction_seq is not null and h.captured_quantity = v_quantity then
    return credits._capture_answer(h, true);
  elsif h.transaction_seq is not null or h.status = 'released' then
    perform credits._raise_hold_closed(h);
  end if;
  a := credits._open_ledger(h.account_id);
  v_row.operation_id := h.operation_id;
  v_row.price_id := h.price_id;
  v_row.quantity := v_quantity;
  v_row.actor := credits._acting_for(h.account_id);
  v_row.metadata := jsonb_build_object('hold_id', h.id);
  a := credits._settle_hold(a, h, v_op, v_row);
  perform credits._hold_event(h.id, case h.status when 'open' then 'capture' else 'late_capture' end, v_quantity, v_held, p_idempotency_key);
  update credits.holds set status = case status when 'open' then 'captured' else status end, captured_quantity = v_quantity,
         transaction_seq = a.seq, closed_at = coalesce(closed_at, a.last_at) where id = h.id returning * into h;
  perform credits._close_ledger(a);
  return credits._capture_answer(h, false);
end $$;

create function credits._capture_answer(h credits.holds, p_replayed boolean) returns jsonb
language sql stable set search_path = '' as $$
  select credits._hold_json(h, t.available_after_micros) || jsonb_build_object(
           'charged_micros', -t.amount_micros, 'replayed', p_replayed,
           'released_micros', greatest(e.amount_micros + t.amount_micros, 0),
           'debt_micros', (select coalesce(-sum(x.amount_micros), 0) from credits.entries as x
                            where x.account_id = t.account_id and x.seq = t.seq and x.grant_id is null))
    from credits.transactions as t
    cross join lateral (select amount_micros from credits.hold_events
                         where hold_id = h.id and action in ('capture', 'late_capture')) as e
   where t.account_id = h.account_id and t.seq = h.transaction_seq
$$;

-- Gives back everything a hold keeps. A second release answers the same; a captured hold cannot be released.
create function credits.release_hold(p_hold_id bigint, p_idempotency_key text default null) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare h credits.holds := credits._lock_hold(p_hold_id);
begin
  if h.call_id is not null then
    perform credits._raise('LC409', 'This hold belongs to a call; end the call instead.', jsonb_build_object('call_id', h.call_id));
  end if;
  if h.status = 'captured' or h.transaction_seq is not null then perform credits._raise_hold_closed(h); end if;
  return credits._release(h, 'released', p_idempotency_key);
end $$;

create function credits._release(h credits.holds, p_status text, p_key text) returns jsonb
language plpgsql set search_path = '' as $$
declare
  a      credits.accounts := credits._open_ledger(h.account_id);
  v_held bigint := h.amount_micros;
begin
  if h.status = 'open' then
    perform credits._give_allowance(a.id, h.operation_id, h.created_at, h.allowance_quantity);
    if a.has_limits then perform credits._count_spend(a.id, h.api_key_id, h.created_at, -h.amount_micros); end if;
    a := credits._empty_hold(a, h.id);
    update credits.holds set allowance_quantity = 0, status = p_status, closed_at = a.last_at where id = h.id returning * into h;
    perform credits._hold_event(h.id, case p_status when 'expired' then 'expire' else 'release' end, null, v_held, p_key);
  else
    v_held := (select amount_micros from credits.hold_events where hold_id = h.id and action in ('release', 'expire'));
  end if;
  perform credits._close_ledger(a);
  return credits._hold_json(h, a.posted_micros - a.held_micros)
      || jsonb_build_object('released_micros', v_held, 'charged_micros', 0);
end $$;

-- Frees holds nobody closed in time. Holds of running calls are settled with their calls (settle_abandoned_calls).
create function credits.expire_holds(p_limit int default 500) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  v_id bigint;
  h    credits.holds;
  v_n  int := 0;
begin
  perform credits._require('service');
  for v_id in select due.id from (select id, account_id from credits.holds
                                   where status = 'open' and expires_at <= credits._now() and call_id is null
                                   order by expires_at, id limit least(p_limit, 10000)) as due
               order by due.account_id, due.id loop  -- accounts are locked in id order, as everywhere
    h := credits._lock_hold(v_id);
    if h.status = 'open' and h.expires_at <= credits._now() then
      perform credits._release(h, 'expired', null);
      v_n := v_n + 1;
    end if;
  end loop;
  return jsonb_build_object('expired', v_n);
end $$;

create function credits.hold(p_hold_id bigint) returns jsonb
language plpgsql stable set search_path = '' as $$
declare h credits.holds;
begin
  perform credits._require('service', 'super_admin', 'admin', 'finance', 'holder');
  perform credits._require_scope('read');
  select * into h from credits.holds where id = p_hold_id;
  if h.id is null then
    perform credits._raise('LC404', 'There is no such hold of yours; use the hold_id that placing it answered.');
  end if;
  return credits._hold_json(h, (credits.balance(h.account_id) ->> 'available_micros')::bigint);
end $$;

revoke execute on all functions in schema credits from public;
grant execute on function
  credits._hold_json(credits.holds, bigint), credits.hold(bigint), credits.place_hold(text, numeric, text, int, bigint),
  credits.extend_hold(bigint, numeric, int), credits.capture_hold(bigint, numeric, text), credits.release_hold(bigint, text)
to authenticated, service_role;
grant execute on function credits.expire_holds(int) to service_role;
