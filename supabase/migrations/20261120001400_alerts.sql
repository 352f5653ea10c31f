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
grant execute on function credits.detect_alerts(int) to service_role;
