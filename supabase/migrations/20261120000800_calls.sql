-- Calls: the call log, and calls that are running. A call holds credits slice by slice; its end charges what it really took.

create table credits.calls (
  id               bigint generated always as identity primary key,
  account_id       bigint not null references credits.accounts (id),
  operation_id     smallint not null,
  price_id         int not null,
  to_number        text,
  from_number      text,
  status           text not null check (status in ('running', 'completed', 'canceled', 'failed', 'abandoned')),
  started_at       timestamptz not null,
  last_seen_at     timestamptz not null,        -- the latest heartbeat
  ended_at         timestamptz,
  duration_seconds numeric check (duration_seconds >= 0),
  billed_seconds   numeric,
  charged_micros   bigint not null default 0,
  ended_reason     text,
  transaction_seq  bigint,
  hold_id          bigint,
  idempotency_key  text not null,
  metadata         jsonb,
  unique (account_id, idempotency_key)
) with (fillfactor = 70);
create unique index calls_by_account on credits.calls (account_id, started_at, id);
create unique index calls_running on credits.calls (account_id, id) where status = 'running';
create unique index calls_last_seen on credits.calls (last_seen_at, id) where status = 'running';

alter table credits.calls enable row level security;
create policy calls_read on credits.calls for select to authenticated
  using (account_id = (select credits._own_account()) or (select credits._is_staff()));
grant select on credits.calls to authenticated, service_role;

-- How long calls may be and how they are watched. A call longer than a day is a mistake; who is silent for
-- abandoned_after is gone; a heartbeat makes the hold cover slice more than the time used.
create function credits._call_limits(out longest interval, out abandoned_after interval, out slice_seconds int, out low_seconds int)
language sql immutable set search_path = '' as $$ select interval '24 hours', interval '5 minutes', 60, 120 $$;

-- Whole seconds that a call can last in all: what its hold keeps and, if p_with_share, its fair share of the allowance and
-- the credits that are free, within the caps.
create function credits._call_covers_seconds(c credits.calls, a credits.accounts, p_with_share boolean) returns bigint
language plpgsql stable set search_path = '' as $$
declare
  h         credits.holds;
  v_longest bigint := extract(epoch from (credits._call_limits()).longest);
  v_running int := greatest((select count(*) from credits.calls where account_id = a.id and status = 'running'), 1);
  v_free    bigint := greatest(a.posted_micros - a.held_micros + a.overdraft_micros, 0);
  v_units   numeric := 0;
begin
  if a.is_unlimited then return v_longest; end if;
  select * into h from credits.holds where id = c.hold_id;
  if not p_with_share then
    return least(v_longest, floor(h.allowance_quantity) + credits._affordable(c.price_id, h.amount_micros, v_longest));
  end if;
  if a.has_limits then
    v_units := coalesce(h.allowance_quantity, 0)
             + coalesce(credits._allowance_left(a.id, c.operation_id, c.started_at), 0) / v_running;
    v_free := least(v_free, coalesce(credits._cap_left(a.id, h.api_key_id, c.started_at), v_free));
  end if;
  return least(v_longest, floor(v_units)
    + credits._affordable(c.price_id, coalesce(h.amount_micros, 0) + v_free / v_running, v_longest));
end $$;

create function credits._call_json(c credits.calls) returns jsonb
language sql stable set search_path = '' as $$
  select jsonb_build_object(
    'call_id', c.id, 'account_id', c.account_id, 'operation', (select code from credits.operations where id = c.operation_id),
    'to', c.to_number, 'from', c.from_number, 'status', c.status, 'started_at', credits._iso(c.started_at),
    'ended_at', credits._iso(c.ended_at), 'duration_seconds', c.duration_seconds, 'billed_seconds', c.billed_seconds,
    'charged_micros', c.charged_micros, 'price_id', c.price_id, 'ended_reason', c.ended_reason, 'hold_id', c.hold_id,
    'transaction_id', c.account_id || '-' || c.transaction_seq, 'metadata', c.metadata)
$$;

-- The answer of start, heartbeat and end. status: ok, low (2 minutes or less), ending (the last slice), end (hang up), ended.
-- A call whose hold does not reach a slice ahead is told what the hold covers: what is free may be gone at the next heartbeat.
create function credits._call_answer(c credits.calls, a credits.accounts) returns jsonb
language plpgsql stable set search_path = '' as $$
declare
  v_elapsed numeric := extract(epoch from greatest(c.last_seen_at - c.started_at, interval '0'));
  v_covers  bigint;
  v_left    numeric;
  v_limits  record := credits._call_limits();
begin
  if c.status <> 'running' then
    return credits._call_json(c) || jsonb_build_object('call_status', c.status, 'status', 'ended', 'remaining_seconds', 0,
      'cost_so_far_micros', c.charged_micros, 'available_micros', a.posted_micros - a.held_micros + a.overdraft_micros);
  end if;
  v_covers := credits._call_covers_seconds(c, a, false);
  if v_covers >= v_elapsed + v_limits.slice_seconds then v_covers := credits._call_covers_seconds(c, a, true); end if;
  v_left := greatest(v_covers - v_elapsed, 0);
  return credits._call_json(c) || jsonb_build_object(
    'call_status', 'running', 'max_duration_seconds', v_covers, 'remaining_seconds', floor(v_left),
    'status', case when v_left <= 0 then 'end' when v_left <= v_limits.slice_seconds then 'ending'
                   when v_left <= v_limits.low_seconds then 'low' else 'ok' end,
    'warn_at_seconds', jsonb_build_array(greatest(v_covers - v_limits.low_seconds, 0), greatest(v_covers - v_limits.slice_seconds, 0)),
    'cost_so_far_micros', (credits._rate(c.price_id, v_elapsed)).cost_micros,
    'available_micros', a.posted_micros - a.held_micros + a.overdraft_micros);
end $$;

create function credits._raise_bad_call(p_started_at timestamptz, p_ended_at timestamptz) returns void
language plpgsql set search_path = '' as $$
begin
  if p_started_at > credits._now() + interval '5 minutes' or p_ended_at > credits._now() + interval '5 minutes' then
    perform credits._raise('LC400', 'The call lies in the future; send the times at which it began and ended.');
  elsif p_ended_at < p_started_at then
    perform credits._raise('LC400', 'The call ends before it begins; check started_at and ended_at.');
  elsif p_ended_at - p_started_at > (credits._call_limits()).longest then
    perform credits._raise('LC400', 'A call lasts at most 24 hours; check started_at and ended_at.');
  end if;
end $$;

-- Starts a call: refused unless the set-up fee and one full increment are covered. With p_ended_at: a call that is over,
-- charged at once, refused when not covered. Security definer, as all below: only functions write calls and the ledger.
create function credits.start_call(
  p_operation text, p_idempotency_key text, p_started_at timestamptz default null, p_ended_at timestamptz default null,
  p_to text default null, p_from text default null, p_reason text default null, p_metadata jsonb default null,
  p_account_id bigint default null
) returns jsonb language plpgsql security definer set search_path = '' as $$
declare
  v_account bigint := credits._account(p_account_id, 'use');
  v_now     timestamptz := credits._now();
  v_price   credits.prices;
  a         credits.accounts;
  c         credits.calls;
  r         credits.charge_result;
begin
  perform credits._check_key(p_idempotency_key);
  if p_ended_at is not null and p_started_at is null then
    perform credits._raise('LC400', 'Send started_at together with ended_at.');
  end if;
  -- without an end the call is running: it cannot have begun longer ago than a call may last
  perform credits._raise_bad_call(p_started_at, coalesce(p_ended_at, greatest(v_now, p_started_at)));
  perform credits._check_call_text(p_to, p_from, p_reason, p_metadata);
  select * into a from credits.accounts where id = v_account for no key update;
  select * into c from credits.calls where account_id = v_account and idempotency_key = p_idempotency_key;
  v_price := credits._price_at(p_operation, coalesce(p_started_at, v_now), v_account);
  if found then
    if c.operation_id is distinct from v_price.operation_id or c.to_number is distinct from p_to
       or c.from_number is distinct from p_from or c.metadata is distinct from p_metadata
       or c.started_at <> coalesce(p_started_at, c.started_at) or (c.hold_id is null) <> (p_ended_at is not null)
       or (c.hold_id is null and c.ended_at is distinct from p_ended_at) then
      perform credits._raise('LC410', 'This idempotency key was used for another request; use a new key for a new request.');
    end if;
    return credits._call_answer(c, a) || '{"replayed": true}';
  end if;
  if v_price.id is null or (select measure from credits.operations where id = v_price.operation_id) <> 'seconds' then
    perform credits._raise('LC404', format('“%s” is not an operation priced by time; GET /api/credits/pricing lists them.',
                                           left(p_operation, 80)));
  end if;
  insert into credits.calls (account_id, operation_id, price_id, to_number, from_number, status, started_at, last_seen_at,
                             idempotency_key, metadata)
  values (v_account, v_price.operation_id, v_price.id, p_to, p_from, 'running', coalesce(p_started_at, v_now),
          coalesce(p_started_at, v_now), p_idempotency_key, p_metadata) returning * into c;
  if p_ended_at is null then
    c := credits._hold_first_slice(c, p_operation);
  else
    c.duration_seconds := round(extract(epoch from p_ended_at - p_started_at), 6);
    r := credits._charge(v_account, p_operation, c.duration_seconds, null, null, p_started_at,
                         credits._acting_for(v_account), c.id);
    if r.status <> 'charged' then perform credits._raise_charge_error(r, p_operation); end if;
    c := credits._close_call(c, p_ended_at, p_reason, r.seq, r.charged_micros);
  end if;
  select * into a from credits.accounts where id = v_account;
  return credits._call_answer(c, a) || '{"replayed": false}';
end $$;

create function credits._check_call_text(p_to text, p_from text, p_reason text, p_metadata jsonb) returns void
language plpgsql immutable set search_path = '' as $$
begin
  if length(p_to) > 100 or length(p_from) > 100 or length(p_reason) > 200 then
    perform credits._raise('LC400', 'Numbers may have 100 characters and a reason 200.');
  elsif pg_column_size(p_metadata) > 8192 then
    perform credits._raise('LC400', 'metadata may have at most 8 KB.');
  end if;
end $$;

-- The set-up fee and one full increment are what the smallest quantity costs; a call that began earlier is covered up to now.
create function credits._hold_first_slice(c credits.calls, p_operation text) returns credits.calls
language plpgsql set search_path = '' as $$
declare
  a        credits.accounts := credits._open_ledger(c.account_id);
  v_needed numeric := 1 + greatest(ceil(extract(epoch from a.last_at - c.started_at)), 0);
begin
  insert into credits.holds (account_id, operation_id, price_id, quantity, amount_micros, api_key_id, expires_at, call_id, created_at)
  values (a.id, c.operation_id, c.price_id, 1, 0, credits._api_key_id(), a.last_at + (credits._call_limits()).longest, c.id, a.last_at)
  returning id into c.hold_id;
  a := credits._grow_hold(a, c.hold_id, v_needed, p_operation);
  a := credits._hold_next_slice(c, a, p_operation);
  perform credits._close_ledger(a);
  perform credits._hold_event(c.hold_id, 'place', h.quantity, h.amount_micros, null) from credits.holds as h where h.id = c.hold_id;
  update credits.calls set hold_id = c.hold_id where id = c.id;
  return c;
end $$;

-- Makes the hold of a call reach a slice beyond its last heartbeat. When credits run short: as far as its fair share, but
-- one more increment while there is one, so that nothing is left over.
create function credits._hold_next_slice(c credits.calls, a credits.accounts, p_operation text) returns credits.accounts
language plpgsql set search_path = '' as $$
declare
  v_ahead bigint := ceil(extract(epoch from c.last_seen_at - c.started_at)) + (credits._call_limits()).slice_seconds;
  v_kept  bigint := credits._call_covers_seconds(c, a, false);
begin
  if v_kept >= v_ahead then return a; end if;
  return credits._grow_hold(a, c.hold_id, least(v_ahead, greatest(credits._call_covers_seconds(c, a, true), v_kept + 1)), p_operation);
exception when sqlstate 'LC402' or sqlstate 'LC429' then
  return a;  -- it goes as far as the hold does; the answer says how far
end $$;

create function credits._close_call(c credits.calls, p_ended_at timestamptz, p_reason text, p_seq bigint, p_charged_micros bigint)
returns credits.calls language plpgsql set search_path = '' as $$
begin
  update credits.calls set
    ended_at = p_ended_at, last_seen_at = greatest(last_seen_at, p_ended_at), ended_reason = p_reason, transaction_seq = p_seq,
    status = case when p_reason in ('canceled', 'failed', 'abandoned') then p_reason else 'completed' end,
    duration_seconds = round(extract(epoch from p_ended_at - started_at), 6), charged_micros = p_charged_micros,
    billed_seconds = (credits._rate(price_id, round(extract(epoch from p_ended_at - started_at), 6))).billed
   where id = c.id returning * into c;
  return c;
end $$;

-- Locks the account of a call, then the call. Unknown calls and other people's get the same answer.
create function credits._lock_call(p_call_id bigint) returns credits.calls
language plpgsql set search_path = '' as $$
declare c credits.calls;
begin
  select * into c from credits.calls where id = p_call_id;
  if c.id is null or credits._role() in ('holder', 'finance') and c.account_id is distinct from credits._own_account() then
    perform credits._raise('LC404', 'There is no such call of yours; use the call_id that starting it answered.');
  end if;
  perform from credits.accounts where id = credits._account(c.account_id, 'use') for no key update;
  select * into c from credits.calls where id = p_call_id for update;
  return c;
end $$;

-- Says that a call goes on, and makes its hold cover the next slice as far as the credits go. Late and repeated ones are
-- harmless: time never goes back, and an ended call answers "ended".
create function credits.heartbeat(p_call_id bigint, p_at timestamptz default null) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  c       credits.calls := credits._lock_call(p_call_id);
  a       credits.accounts;
  v_held  bigint;
  v_answer jsonb;
begin
  perform credits._raise_bad_call(c.started_at, p_at);
  if c.status = 'running' then
    update credits.calls set last_seen_at = greatest(last_seen_at, coalesce(p_at, credits._now())) where id = c.id returning * into c;
    a := credits._open_ledger(c.account_id);
    v_held := (select amount_micros from credits.holds where id = c.hold_id);
    a := credits._hold_next_slice(c, a, (select code from credits.operations where id = c.operation_id));
    perform credits._hold_event(c.hold_id, 'extend', h.quantity, h.amount_micros - v_held, null)
       from credits.holds as h where h.id = c.hold_id and h.amount_micros > v_held;
    perform credits._close_ledger(a);
  end if;
  select * into a from credits.accounts where id = c.account_id;
  v_answer := credits._call_answer(c, a);
  if v_answer ->> 'status' in ('ending', 'end') then  -- its system is told over the webhook, too; once more after new credits came
    perform credits._tell(c.account_id, 'call_ending', jsonb_strip_nulls(jsonb_build_object(
      'call_id', c.id, 'status', v_answer ->> 'status', 'remaining_seconds', v_answer -> 'remaining_seconds',
      'max_duration_seconds', v_answer -> 'max_duration_seconds', 'to', c.to_number, 'from', c.from_number,
      'cost_so_far_micros', v_answer -> 'cost_so_far_micros', 'metadata', c.metadata)), concat_ws(' ', c.id, v_answer ->> 'status',
        (select max(id) from credits.grants where account_id = c.account_id)));
  end if;
  return v_answer;
end $$;

-- Ends a call and charges its duration. A second end answers as the first; one that was given up without a charge, never having
-- been heard of, is charged after all. What the hold and the account do not cover is recorded as debt: the call did happen.
create function credits.end_call(p_call_id bigint, p_ended_at timestamptz default null, p_reason text default null)
returns jsonb language plpgsql security definer set search_path = '' as $$
declare
  c credits.calls := credits._lock_call(p_call_id);
  a credits.accounts;
begin
  perform credits._raise_bad_call(c.started_at, p_ended_at);
  perform credits._check_call_text(null, null, p_reason, null);
  if c.status = 'abandoned' and c.transaction_seq is null then c := credits._reopen_call(c); end if;
  if c.status = 'running' then
    c := credits._settle_call(c, coalesce(p_ended_at, least(greatest(credits._now(), c.started_at),
                                                            c.started_at + (credits._call_limits()).longest)), p_reason);
  end if;
  select * into a from credits.accounts where id = c.account_id;
  return credits._call_answer(c, a);
end $$;

create function credits._settle_call(c credits.calls, p_ended_at timestamptz, p_reason text) returns credits.calls
language plpgsql set search_path = '' as $$
declare
  a     credits.accounts := credits._open_ledger(c.account_id);
  h     credits.holds;
  t     credits.transactions;
  v_row credits.transactions;
begin
  select * into h from credits.holds where id = c.hold_id;
  v_row.operation_id := c.operation_id;
  v_row.price_id := c.price_id;
  v_row.quantity := round(extract(epoch from p_ended_at - c.started_at), 6);
  v_row.occurred_at := c.started_at;
  v_row.call_id := c.id;
  v_row.actor := credits._acting_for(c.account_id);
  a := credits._settle_hold(a, h, (select code from credits.operations where id = c.operation_id), v_row);
  update credits.holds set status = 'captured', captured_quantity = v_row.quantity, transaction_seq = a.seq, closed_at = a.last_at
   where id = h.id;
  perform credits._hold_event(h.id, 'capture', v_row.quantity, h.amount_micros, null);
  perform credits._close_ledger(a);
  select * into t from credits.transactions where account_id = a.id and seq = a.seq;
  return credits._close_call(c, p_ended_at, p_reason, a.seq, -t.amount_micros);
end $$;

-- Ends a call that never connected: its hold is given back, and it costs nothing, not even a set-up fee.
create function credits._close_unconnected(c credits.calls, p_status text, p_reason text) returns credits.calls
language plpgsql set search_path = '' as $$
declare h credits.holds;
begin
  select * into h from credits.holds where id = c.hold_id;
  perform credits._release(h, 'released', null);
  update credits.calls set status = p_status, ended_at = started_at, ended_reason = p_reason, duration_seconds = 0,
         billed_seconds = 0, charged_micros = 0, transaction_seq = null where id = c.id returning * into c;
  return c;
end $$;

-- Ends calls nobody has heard of for a while, at their last heartbeat. Without any, a call did not connect.
create function credits.settle_abandoned_calls(p_limit int default 500) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  v_id     bigint;
  c        credits.calls;
  v_silent timestamptz := credits._now() - (credits._call_limits()).abandoned_after;
  v_n      int := 0;
begin
  perform credits._require('service');
  for v_id in select silent.id from (select id, account_id from credits.calls where status = 'running' and last_seen_at <= v_silent
                                      order by last_seen_at, id limit least(p_limit, 10000)) as silent
               order by silent.account_id, silent.id loop  -- accounts are locked in id order, as everywhere
    c := credits._lock_call(v_id);
    if c.status = 'running' and c.last_seen_at <= v_silent then
      if c.last_seen_at > c.started_at then
        perform credits._settle_call(c, c.last_seen_at, 'abandoned');
      else
        perform credits._close_unconnected(c, 'abandoned', 'abandoned');
      end if;
      v_n := v_n + 1;
    end if;
  end loop;
  return jsonb_build_object('settled', v_n);
end $$;

create function credits.call(p_call_id bigint) returns jsonb
language plpgsql stable set search_path = '' as $$
declare
  c credits.calls;
  a credits.accounts;
begin
  perform credits._require('service', 'super_admin', 'admin', 'finance', 'holder');
  perform credits._require_scope('read');
  select * into c from credits.calls where id = p_call_id;
  if c.id is null then
    perform credits._raise('LC404', 'There is no such call of yours; use the call_id that starting it answered.');
  end if;
  select * into a from credits.accounts where id = c.account_id;
  return credits._call_answer(c, a);
end $$;

-- Newest first. p_number finds a part of either number. The cursor is "started_at,id" of the last one.
create function credits.calls(
  p_account_id bigint default null, p_status text default null, p_number text default null, p_from timestamptz default null,
  p_to timestamptz default null, p_limit int default 50, p_cursor text default null
) returns jsonb language plpgsql stable set search_path = '' as $$
declare
  v_account bigint := credits._account(p_account_id, 'read');
  v_size    int := credits._page_size(p_limit);
  v_at      timestamptz := coalesce(credits._timestamptz(nullif(split_part(p_cursor, ',', 1), '')), 'infinity');
  v_id      bigint := credits._cursor(split_part(p_cursor, ',', 2));
  v_items   jsonb;
  v_next    text;
begin
  with page as (
    select c, row_number() over (order by c.started_at desc, c.id desc) as n from credits.calls as c
     where c.account_id = v_account and (c.started_at, c.id) < (v_at, v_id)
       and (p_status is null or c.status = p_status)
       and (p_number is null or p_number = '' or strpos(concat_ws(' ', c.to_number, c.from_number), p_number) > 0)
       and (p_from is null or c.started_at >= p_from) and (p_to is null or c.started_at < p_to)
     order by c.started_at desc, c.id desc limit v_size + 1)
  select coalesce(jsonb_agg(credits._call_json(c) order by n) filter (where n <= v_size), '[]'),
         case when count(*) > v_size then
           (array_agg(credits._iso((c).started_at) || ',' || (c).id order by n))[v_size] end
    into v_items, v_next from page;
  return jsonb_build_object('items', v_items, 'next_cursor', v_next);
end $$;

revoke execute on all functions in schema credits from public;
grant execute on function
  credits._call_limits(), credits._call_covers_seconds(credits.calls, credits.accounts, boolean), credits._call_json(credits.calls),
  credits._call_answer(credits.calls, credits.accounts), credits._timestamptz(text),
  credits.start_call(text, text, timestamptz, timestamptz, text, text, text, jsonb, bigint),
  credits.heartbeat(bigint, timestamptz), credits.end_call(bigint, timestamptz, text), credits.call(bigint),
  credits.calls(bigint, text, text, timestamptz, timestamptz, int, text)
to authenticated, service_role;
grant execute on function credits.settle_abandoned_calls(int) to service_role;
