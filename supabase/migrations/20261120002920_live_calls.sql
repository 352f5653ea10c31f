-- Live calls as their owner watches them: all that runs in one look, up to this moment.
--
-- The program that carries a call asks heartbeat(), which holds the next slice. Who only watches asks here: nothing is held or
-- written, however many watch.

-- Where credits of a hold come from, and which grants stand behind them, in spend order: what pays a running call.
create function credits._call_pays(c credits.calls) returns jsonb
language sql stable set search_path = '' as $$
  with kept as (
    select k.grant_id, sum(k.amount_micros)::bigint as micros, min(k.position) as place
      from credits.hold_grants as k where k.hold_id = c.hold_id group by 1),
  behind as (
    select g.id as grant_id, g.remaining_micros, row_number() over (
             order by g.priority, g.expires_at, (not g.is_promotional), g.created_at, g.id) as n
      from credits.grants_now as g
     where g.account_id = c.account_id and g.remaining_micros > 0 and g.expires_at > credits._now()
       and (g.operations is null or (select code from credits.operations where id = c.operation_id) = any (g.operations)))
  select coalesce(jsonb_agg(jsonb_build_object(
           'grant_id', g.id, 'source', coalesce(g.source, 'overdraft'), 'promotional', coalesce(g.is_promotional, false),
           'reason', g.reason, 'expires_at', credits._iso(g.expires_at), 'held_micros', coalesce(kept.micros, 0),
           'left_micros', coalesce(behind.remaining_micros, 0)) order by kept.place, behind.n), '[]')
    from kept full join behind using (grant_id) left join credits.grants as g on g.id = grant_id
   where kept.micros > 0 or behind.n <= 3
$$;

-- A running call up to now. Unlike a heartbeat's answer it counts on the free share at once: a top-up shows before the next
-- heartbeat holds it. silent_seconds: since the program that carries it was heard of.
create function credits._live_call(c credits.calls, a credits.accounts) returns jsonb
language plpgsql stable set search_path = '' as $$
declare
  v_now     timestamptz := credits._now();
  v_elapsed numeric := greatest(extract(epoch from v_now - c.started_at), 0);
  v_limits  record := credits._call_limits();
  v_covers  bigint;
  v_left    numeric;
  h         credits.holds;
begin
  select * into h from credits.holds where id = c.hold_id;
  v_covers := greatest(credits._call_covers_seconds(c, a, false), credits._call_covers_seconds(c, a, true));
  v_left := floor(greatest(v_covers - v_elapsed, 0));
  return credits._call_json(c) || jsonb_build_object(
    'name', (select name from credits.operations where id = c.operation_id), 'elapsed_seconds', floor(v_elapsed),
    'remaining_seconds', v_left, 'max_duration_seconds', v_covers, 'silent_seconds', floor(extract(epoch from v_now - c.last_seen_at)),
    'level', case when a.is_unlimited then 'ok' when v_left <= 0 then 'end' when v_left <= v_limits.slice_seconds then 'ending'
                  when v_left <= v_limits.low_seconds then 'low' else 'ok' end,
    'low_seconds', v_limits.low_seconds, 'ending_seconds', v_limits.slice_seconds, 'unlimited', a.is_unlimited,
    -- what it would be charged if it ended now; what the month's allowance keeps of it costs nothing
    'cost_so_far_micros', case when a.is_unlimited or v_elapsed <= h.allowance_quantity and v_elapsed > 0 then 0 else
       coalesce((credits._rate(c.price_id, greatest(v_elapsed - coalesce(h.allowance_quantity, 0), 0))).cost_micros, 0) end,
    'held_micros', coalesce(h.amount_micros, 0), 'allowance_seconds', coalesce(h.allowance_quantity, 0),
    'components', credits._components(c.price_id), 'pays', credits._call_pays(c));
end $$;

-- The calls of an account that run now, the newest first and at most 50, with the balance they share.
create function credits.live_calls(p_account_id bigint default null) returns jsonb
language plpgsql stable set search_path = '' as $$
declare a credits.accounts;
begin
  select * into a from credits.accounts where id = credits._account(p_account_id, 'read');
  return jsonb_build_object(
    'account_id', a.id, 'as_of', credits._iso(credits._now()), 'held_micros', a.held_micros,
    'available_micros', credits.balance(a.id) -> 'available_micros',
    'running', (select count(*) from credits.calls where account_id = a.id and status = 'running'),
    'items', (select coalesce(jsonb_agg(credits._live_call(x.c, a) order by (x.c).started_at desc, (x.c).id desc), '[]')
                from (select c from credits.calls as c
                       where c.account_id = a.id and c.status = 'running' order by c.id desc limit 50) as x));
end $$;

revoke execute on all functions in schema credits from public;
grant execute on function
  credits._call_pays(credits.calls), credits._live_call(credits.calls, credits.accounts), credits.live_calls(bigint)
to authenticated, service_role;
