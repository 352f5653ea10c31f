-- Spending as callers see it: one charge, or many in one call.

-- Charges an operation. Security definer: only functions write the ledger.
create function credits.use(
  p_operation text, p_quantity numeric, p_idempotency_key text, p_account_id bigint default null,
  p_metadata jsonb default null, p_occurred_at timestamptz default null
) returns jsonb language plpgsql security definer set search_path = '' as $$
declare
  v_account bigint := credits._account(p_account_id, 'use');
  r         credits.charge_result;
begin
  if pg_column_size(p_metadata) > 8192 then perform credits._raise('LC400', 'metadata may have at most 8 KB.'); end if;
  r := credits._charge(v_account, p_operation, p_quantity, p_idempotency_key, p_metadata, p_occurred_at,
                       case when p_account_id is not null or credits._api_key_id() is not null then credits._actor() end);
  if r.status not in ('charged', 'replayed') then perform credits._raise_charge_error(r, p_operation); end if;
  return jsonb_build_object(
    'transaction_id', v_account || '-' || r.seq, 'account_id', v_account, 'charged_micros', r.charged_micros,
    'available_micros', r.available_after_micros, 'posted_micros', r.posted_after_micros, 'price_id', r.price_id,
    'created_at', credits._iso(r.created_at), 'replayed', r.status = 'replayed');
end $$;

-- One event of a batch, read and judged. status: null, or why it is refused.
create type credits.batch_event as (
  place int, account_id bigint, operation text, quantity numeric, key text, metadata jsonb, occurred_at timestamptz, actor text, status text
);

-- Charges up to 10,000 events in one call, in order, each with its own key and result; one bad event never spoils the
-- others. Accounts are locked in id order first, so two batches never wait for each other in a circle. Accounts whose current
-- grant covers all their events are charged by one statement; the rest (several grants, limits, replays, not enough) one by one.
-- Security definer: only functions write the ledger. Custom plans: a generic one would guess ten events and nest loops over 10,000.
create function credits.use_batch(p_events jsonb) returns jsonb
language plpgsql security definer set search_path = '' set plan_cache_mode = force_custom_plan as $$
declare
  v_own     bigint := credits._own_account();
  v_now     timestamptz := credits._now();
  v_event   credits.batch_event;
  v_events  credits.batch_event[];
  v_results jsonb[];
  v_done    jsonb[];
  v_places  int[];
  r         credits.charge_result;
begin
  perform credits._require('service', 'super_admin', 'admin', 'finance', 'holder');
  perform credits._require_scope('use');
  if jsonb_typeof(p_events) is distinct from 'array' or jsonb_array_length(p_events) > 10000 then
    perform credits._raise('LC400', 'events must be a list of at most 10,000 events.');
  end if;
  v_events := credits._read_events(p_events, v_own, v_now);
  perform from credits.accounts as a where a.id in (select e.account_id from unnest(v_events) as e where e.status is null)
    order by a.id for no key update;
  select array_agg(c.place), array_agg(c.result) into v_places, v_done from credits._charge_together(v_events, v_now) as c;
  v_results := array_fill(null::jsonb, array[cardinality(v_events)]);
  for i in 1 .. coalesce(cardinality(v_places), 0) loop
    v_results[v_places[i]] := v_done[i];
  end loop;
  foreach v_event in array v_events loop
    continue when v_results[v_event.place] is not null;
    r := null;
    r.status := v_event.status;
    if r.status is null then
      r := credits._charge(v_event.account_id, v_event.operation, v_event.quantity, v_event.key, v_event.metadata,
                           v_event.occurred_at, v_event.actor);
    end if;
    v_results[v_event.place] := credits._batch_result(v_event.account_id, r, v_event.operation);
  end loop;
  return jsonb_build_object('results', to_jsonb(v_results));
end $$;

create function credits._batch_result(p_account_id bigint, r credits.charge_result, p_operation text) returns jsonb
language plpgsql immutable set search_path = '' as $$
begin
  if r.status in ('charged', 'replayed') then
    return jsonb_build_object('status', r.status, 'transaction_id', p_account_id || '-' || r.seq, 'charged_micros', r.charged_micros,
                              'available_micros', r.available_after_micros, 'error', null);
  end if;
  return jsonb_build_object('status', 'error', 'transaction_id', null, 'charged_micros', 0, 'available_micros',
    case when r.status <> 'key_reused' then r.available_after_micros end, 'error', credits._charge_error(r, p_operation) - 'sqlstate');
end $$;

-- Reads the events: whose they are, what is asked, and already refused (status) where that can be seen without the account.
create function credits._read_events(p_events jsonb, p_own bigint, p_now timestamptz) returns credits.batch_event[]
language plpgsql stable set search_path = '' as $$
declare
  v_role  text := credits._role();
  v_actor text := case when v_role = 'service' or credits._api_key_id() is not null then credits._actor() end;
begin
  return (
    with read as (
      select x.n, x.e, case when x.e -> 'account_id' is null or x.e -> 'account_id' = 'null' then p_own
                            when x.e ->> 'account_id' ~ '^\d{1,18}$' then (x.e ->> 'account_id')::bigint end as account_id,
             case when jsonb_typeof(x.e -> 'quantity') = 'number' or x.e ->> 'quantity' ~ '^-?\d{1,30}(\.\d{1,30})?$'
                  then (x.e ->> 'quantity')::numeric end as quantity,
             case when x.e ->> 'occurred_at' is not null then credits._timestamptz(x.e ->> 'occurred_at') end as occurred_at
        from jsonb_array_elements(p_events) with ordinality as x (e, n)),
    judged as (
      select r.*, a.id as known, case
          when r.account_id is distinct from p_own and v_role in ('holder', 'finance') then 'not_allowed'
          when a.id is null then 'unknown_account'
          when not credits._quantity_ok(r.quantity) then 'bad_quantity'
          when r.e ->> 'occurred_at' is not null and r.occurred_at is null or r.occurred_at > p_now + interval '5 minutes' then 'bad_time'
          when length(r.e ->> 'idempotency_key') between 1 and 255 is not true then 'bad_key'
          when pg_column_size(r.e -> 'metadata') > 8192 then 'bad_metadata' end as status
        from read as r left join credits.accounts as a on a.id = r.account_id)
    select coalesce(array_agg(row(n, known, e ->> 'operation', quantity, e ->> 'idempotency_key', nullif(e -> 'metadata', 'null'),
             occurred_at, coalesce(v_actor, case when account_id is distinct from p_own then credits._user_id()::text end), status
           )::credits.batch_event order by n), '{}') from judged);
end $$;

-- Charges, in one statement, all events of the accounts whose current grant covers all of theirs and none of which is
-- anything but a plain new charge. The accounts must be locked. Answers nothing for the other accounts.
create function credits._charge_together(p_events credits.batch_event[], p_now timestamptz)
returns table (place int, result jsonb) language sql set search_path = '' set plan_cache_mode = force_custom_plan as $$
  with priced as materialized (
    select e.*, p.id as price_id, p.operation_id, (credits._rate_price(p, e.quantity)).cost_micros as cost
      from unnest(p_events) as e
      left join credits.operations as o on o.code = e.operation
      left join lateral (
        select x.* from credits.prices as x
         where x.catalog = (select code from credits.catalogs where is_active) and x.operation_id = o.id
           and x.effective_from <= coalesce(e.occurred_at, p_now) order by x.effective_from desc limit 1) as p on true
     where e.status is null),
  running as materialized (
    select w.*, row_number() over so_far as n, sum(w.cost) over so_far as spent,
           count(*) over of_key > 1 or t.seq is not null or w.price_id is null as is_odd
      from priced as w
      left join credits.transactions as t on t.account_id = w.account_id and t.idempotency_key = w.key
    window so_far as (partition by w.account_id order by w.place), of_key as (partition by w.account_id, w.key)),
  sums as materialized (
    select account_id, count(*) as n, sum(cost) as total from running  -- numeric: 10,000 of the largest are beyond bigint
     group by account_id having not bool_or(is_odd)),
  taken as (
    update credits.accounts as a set
      posted_micros = a.posted_micros - s.total, grant_left_micros = a.grant_left_micros - s.total,
      used_micros = a.used_micros + s.total, seq = a.seq + s.n, last_at = greatest(a.last_at, p_now)
      from sums as s
     where a.id = s.account_id and a.grant_left_micros >= s.total and a.grant_id is not null and a.settle_at > p_now
       and not a.is_unlimited and not a.has_limits
       and not exists (select from credits.account_settings as x where x.account_id = a.id and x.catalog is not null)
    returning a.id, a.seq - s.n as seq, a.posted_micros + s.total as posted, a.held_micros as held, a.grant_id, a.last_at),
  written as (
    insert into credits.transactions (account_id, seq, created_at, occurred_at, kind, amount_micros, posted_after_micros,
      available_after_micros, grant_id, operation_id, price_id, quantity, idempotency_key, actor, metadata)
    select w.account_id, k.seq + w.n, k.last_at, w.occurred_at, 'use', -w.cost, k.posted - w.spent, k.posted - w.spent - k.held,
           k.grant_id, w.operation_id, w.price_id, w.quantity, w.key, w.actor, w.metadata
      from running as w join taken as k on k.id = w.account_id order by w.account_id, w.n)
  select w.place, jsonb_build_object('status', 'charged', 'transaction_id', w.account_id || '-' || (k.seq + w.n),
           'charged_micros', w.cost, 'available_micros', k.posted - w.spent - k.held, 'error', null)
    from running as w join taken as k on k.id = w.account_id
$$;

-- Text to a value, or null where it is none: a batch answers for a bad event instead of failing as a whole.
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

revoke execute on all functions in schema credits from public;
grant execute on function
  credits._bigint(text), credits._uuid(text), credits.use(text, numeric, text, bigint, jsonb, timestamptz), credits.use_batch(jsonb)
to authenticated, service_role;
