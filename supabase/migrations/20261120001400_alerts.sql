-- Watching balances, allowances and debts: what is to be told, once for every crossing.

-- The lowest level an account is below now, and how far its ledger was looked at.
create table credits.alert_state (
  account_id  bigint primary key references credits.accounts (id),
  seq         bigint not null,
  below_micros bigint,         -- null: above all levels
  debt_micros bigint not null, -- a debt is told when it grows
  looked_at   timestamptz not null
) with (fillfactor = 70);

alter table credits.alert_state enable row level security;
create policy alert_state_read on credits.alert_state for select to authenticated using ((select credits._is_staff()));
grant select on credits.alert_state to authenticated, service_role;

-- The most that was available after any of an account's transactions in a range. Credits that come back to an expired grant and
-- expire at the same instant were never there.
create function credits._most_available(p_account_id bigint, p_after_seq bigint, p_last_seq bigint) returns bigint
language plpgsql stable set search_path = '' as $$
begin
  return (select max(t.available_after_micros) from credits.transactions as t
           where t.account_id = p_account_id and t.seq > p_after_seq and t.seq <= p_last_seq
             and not exists (select from credits.transactions as n
                              where n.account_id = t.account_id and n.seq = t.seq + 1 and n.created_at = t.created_at
                                and n.kind = 'expiry'));
end $$;

-- Looks at accounts whose ledger moved since the last time, those longest unlooked at first. Going below a level tells it,
-- once; having been above arms it again. Who was never above one is not told of it. Security definer: only functions write alerts.
create function credits.detect_alerts(p_limit int default 1000) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  v_account record;
  v_below   bigint;
  v_n       int := 0;
begin
  perform credits._require('service');
  if not pg_try_advisory_xact_lock(hashtext('credits.detect_alerts')) then return '{"alerts": 0, "busy": true}'; end if;
  for v_account in
    select a.id, a.seq, a.posted_micros - a.held_micros as available, a.has_limits, coalesce(s.seq, 0) as seen_seq,
           a.debt_micros, coalesce(s.debt_micros, 0) as seen_debt,
           s.below_micros, s.account_id is null as is_new, (credits._settings(a.id)).low_balance_micros || 0::bigint as levels
      from credits.accounts as a left join credits.alert_state as s on s.account_id = a.id
     where a.seq > coalesce(s.seq, 0) and not a.is_unlimited order by s.looked_at nulls first, a.id limit least(p_limit, 10000)
  loop
    v_below := (select min(l) from unnest(v_account.levels) as l where v_account.available < greatest(l, 1));
    if v_below is not null and (
         not v_account.is_new and v_below < coalesce(v_account.below_micros, v_below + 1)
         or credits._most_available(v_account.id, v_account.seen_seq, v_account.seq) >= greatest(v_below, 1)) then
      perform credits._tell(v_account.id, case when v_below = 0 then 'out_of_credits' else 'low_balance' end,
                            jsonb_build_object('level_micros', v_below, 'available_micros', v_account.available));
      v_n := v_n + 1;
    end if;
    if v_account.debt_micros > v_account.seen_debt then
      perform credits._tell(v_account.id, 'debt', jsonb_build_object('debt_micros', v_account.debt_micros));
      v_n := v_n + 1;
    end if;
    if v_account.has_limits then v_n := v_n + credits._tell_allowances(v_account.id); end if;
    insert into credits.alert_state (account_id, seq, below_micros, debt_micros, looked_at)
    values (v_account.id, v_account.seq, v_below, v_account.debt_micros, credits._now())
    on conflict (account_id) do update set seq = excluded.seq, below_micros = excluded.below_micros,
                                           debt_micros = excluded.debt_micros, looked_at = excluded.looked_at;
  end loop;
  return jsonb_build_object('alerts', v_n);
end $$;

-- Which grants were told to expire, at how many days before. An extended grant is a new one: it is told anew.
create table credits.expiry_notices (
  grant_id bigint not null references credits.grants (id),
  days     int not null,
  told_at  timestamptz not null,
  primary key (grant_id, days)
);
alter table credits.expiry_notices enable row level security;
create policy expiry_notices_read on credits.expiry_notices for select to authenticated using ((select credits._is_staff()));
grant select on credits.expiry_notices to authenticated, service_role;

-- Tells what expires within 30, 7 and 1 days: each grant once at each step, the amounts of an account together. A grant that is
-- younger than a step is told at the next lower one alone. Security definer: only functions write alerts.
create function credits.tell_expiring(p_limit int default 1000) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  v_now timestamptz := credits._now();
  v_one record;
  v_n   int := 0;
begin
  perform credits._require('service');
  if not pg_try_advisory_xact_lock(hashtext('credits.tell_expiring')) then return '{"alerts": 0, "busy": true}'; end if;
  for v_one in
    with near as (
      select g.id, g.account_id, g.remaining_micros, g.expires_at,
             (select min(d) from unnest(array[30, 7, 1]) as d where g.expires_at <= v_now + make_interval(days => d)) as days
        from credits.accounts as a join credits.grants_now as g on g.account_id = a.id
       where a.settle_at <= v_now + interval '30 days' and not a.is_unlimited and g.remaining_micros > 0
         and g.expires_at > v_now and g.expires_at <= v_now + interval '30 days')
    select account_id, days, sum(remaining_micros)::bigint as amount_micros, min(expires_at) as expires_at, array_agg(id) as ids
      from near where not exists (select from credits.expiry_notices as x where x.grant_id = near.id and x.days <= near.days)
     group by account_id, days order by account_id, days limit least(p_limit, 10000)
  loop
    insert into credits.expiry_notices (grant_id, days, told_at) select id, v_one.days, v_now from unnest(v_one.ids) as id;
    perform credits._tell(v_one.account_id, 'credits_expiring', jsonb_build_object(
      'days', v_one.days, 'amount_micros', v_one.amount_micros, 'expires_at', credits._iso(v_one.expires_at),
      'grants', cardinality(v_one.ids)));
    v_n := v_n + 1;
  end loop;
  return jsonb_build_object('alerts', v_n);
end $$;

-- Tells which allowances are used to 80 % or used up, each once a month; answers how many it told.
create function credits._tell_allowances(p_account_id bigint) returns int
language plpgsql set search_path = '' as $$
declare
  v_one  jsonb;
  v_once text;
  v_n    int := 0;
begin
  for v_one in select w from jsonb_array_elements(credits.limits(p_account_id) -> 'allowances') as w where w ->> 'level' <> 'ok' loop
    v_once := concat_ws(' ', v_one ->> 'operation', v_one ->> 'resets_at', v_one ->> 'included');
    continue when exists (select from credits.alerts where account_id = p_account_id and once = v_once
                             and kind in ('allowance_reached', 'allowance_' || (v_one ->> 'level')));
    perform credits._tell(p_account_id, 'allowance_' || (v_one ->> 'level'), v_one - 'level' - 'remaining', v_once);
    v_n := v_n + 1;
  end loop;
  return v_n;
end $$;

revoke execute on all functions in schema credits from public;
grant execute on function credits.detect_alerts(int), credits.tell_expiring(int) to service_role;
