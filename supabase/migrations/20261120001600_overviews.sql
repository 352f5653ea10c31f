-- The overview pages: one call each for an account holder, for finance, and for an administrator's look at one account.

-- What an account spent from the first of the month to today, against the same days of the month before.
create function credits._month_so_far(p_account_id bigint, p_today date, p_zone text) returns jsonb
language sql stable set search_path = '' as $$
  with span as (
    select date_trunc('month', p_today::timestamp)::date as first, (date_trunc('month', p_today::timestamp) - interval '1 month')::date as before,
           -- the 31st is compared with the whole of a shorter month
           least(p_today - interval '1 month', date_trunc('month', p_today::timestamp) - interval '1 day')::date as until),
  used as materialized (
    select u.day >= span.first as is_now, u.charged_micros, u.events, o.measure = 'seconds' as is_call
      from span cross join lateral credits._usage_days(p_account_id, span.before, p_today, p_zone) as u
      join credits.operations as o on o.id = u.operation_id
     where u.day >= span.first or u.day <= span.until),
  sums as (
    select coalesce(sum(charged_micros) filter (where is_now), 0)::bigint as spent,
           coalesce(sum(charged_micros) filter (where not is_now), 0)::bigint as spent_before,
           coalesce(sum(events) filter (where is_now), 0)::bigint as events,
           coalesce(sum(events) filter (where not is_now), 0)::bigint as events_before,
           coalesce(sum(events) filter (where is_now and is_call), 0)::bigint as calls,
           coalesce(sum(events) filter (where not is_now and is_call), 0)::bigint as calls_before,
           round(sum(charged_micros) filter (where is_now and is_call) / nullif(sum(events) filter (where is_now and is_call), 0)) as average,
           round(sum(charged_micros) filter (where not is_now and is_call)
                 / nullif(sum(events) filter (where not is_now and is_call), 0)) as average_before,
           round(sum(charged_micros) filter (where is_now) / nullif(sum(events) filter (where is_now), 0)) as use_average,
           round(sum(charged_micros) filter (where not is_now) / nullif(sum(events) filter (where not is_now), 0)) as use_average_before
      from used)
  select jsonb_build_object(
    'from', span.first, 'before_from', span.before, 'before_to', span.until,
    'spent_micros', spent, 'spent_before_micros', spent_before, 'spent_change_percent', credits._change_percent(spent, spent_before),
    'events', events, 'events_change_percent', credits._change_percent(events, events_before),
    'calls', calls, 'calls_change_percent', credits._change_percent(calls, calls_before),
    'use_average_micros', use_average, 'use_average_change_percent', credits._change_percent(use_average, use_average_before),
    'call_average_micros', average, 'call_average_change_percent', credits._change_percent(average, average_before))
    from span cross join sums
$$;

create function credits._overview_days(p_account_id bigint, p_from date, p_to date, p_zone text) returns jsonb
language sql stable set search_path = '' as $$
  with used as (
    select u.day, sum(u.charged_micros)::bigint as spent, sum(u.events)::bigint as events,
           coalesce(sum(u.events) filter (where o.measure = 'seconds'), 0)::bigint as calls,
           round(sum(u.charged_micros) filter (where o.measure = 'seconds')
                 / nullif(sum(u.events) filter (where o.measure = 'seconds'), 0)) as average,
           round(sum(u.charged_micros) / nullif(sum(u.events), 0)) as use_average
      from credits._usage_days(p_account_id, p_from, p_to, p_zone) as u
      join credits.operations as o on o.id = u.operation_id group by u.day)
  select jsonb_agg(jsonb_build_object(
           'day', c.day, 'posted_micros', c.posted_micros, 'spent_micros', coalesce(used.spent, 0),
           'events', coalesce(used.events, 0), 'calls', coalesce(used.calls, 0),
           'call_average_micros', coalesce(used.average, 0), 'use_average_micros', coalesce(used.use_average, 0)) order by c.day)
    from credits._closing_balances(p_account_id, p_from, p_to, p_zone) as c left join used on used.day = c.day
$$;

-- Everything the holder's overview shows. level: new, debt, empty, low (less than 7 days left) or ok.
create function credits.account_overview(
  p_account_id bigint default null, p_days int default 30, p_time_zone text default 'UTC'
) returns jsonb language plpgsql volatile set search_path = '' as $$
declare
  v_account bigint := credits._account(p_account_id, 'read');
  v_zone    text := credits._zone(p_time_zone);
  v_today   date := credits._today(v_zone);
  v_balance jsonb := credits.balance(v_account);
  v_run_out jsonb := credits._run_out(v_account, v_balance, v_today, v_zone);
  v_posted  bigint := (v_balance ->> 'posted_micros')::bigint;
  v_days    jsonb;
begin
  if p_days is null or p_days not between 2 and 366 then perform credits._raise('LC400', 'days must be between 2 and 366.'); end if;
  v_days := credits._overview_days(v_account, v_today - p_days + 1, v_today, v_zone);
  return jsonb_build_object(
    'account_id', v_account, 'as_of', v_balance -> 'as_of', 'time_zone', v_zone, 'balance', v_balance, 'run_out', v_run_out,
    'month', credits._month_so_far(v_account, v_today, v_zone), 'days', v_days,
    'today_micros', v_posted - (v_days -> -2 ->> 'posted_micros')::bigint,
    'has_calls', exists (select from credits.operations as o join credits.prices as p on p.operation_id = o.id
                           join credits.catalogs as c on c.code = p.catalog and c.is_active where o.measure = 'seconds'),
    'level', case when (v_balance ->> 'unlimited')::boolean then 'ok'
                  when (v_balance ->> 'debt_micros')::bigint > 0 then 'debt'
                  when (select seq = 0 from credits.accounts where id = v_account) then 'new'
                  when (v_balance ->> 'available_micros')::bigint <= 0 then 'empty'
                  when (v_run_out ->> 'days')::bigint < 7 then 'low' else 'ok' end);
end $$;

-- What was sold between two days, by currency, by package, and by day and package (zeros where nothing was sold).
create function credits._sales(p_from date, p_to date, p_zone text, p_livemode boolean) returns jsonb
language sql stable set search_path = '' as $$
  with sold as materialized (
    select (p.credited_at at time zone p_zone)::date as day, credits._paid_cents(p) as paid_cents, p.* from credits.purchases as p
     where p.livemode = p_livemode and p.credited_at >= p_from - 2 - (p_to - p_from + 1) and p.credited_at < p_to + 3),
  now_sold as materialized (select * from sold where day between p_from and p_to),
  currencies as (
    select currency, sum(paid_cents)::bigint as total, count(*) as purchases, count(distinct account_id) as buyers,
           round(avg(paid_cents)) as average, sum(credits_micros)::bigint as credits, sum(bonus_micros)::bigint as bonus
      from now_sold group by currency),
  packages as (
    select currency, package, name, sum(paid_cents)::bigint as total, count(*) as purchases, sum(credits_micros + bonus_micros)::bigint as credits
      from now_sold group by currency, package, name),
  by_day as (select day, currency, package, name, sum(paid_cents)::bigint as total, count(*) as purchases from now_sold group by 1, 2, 3, 4),
  totals as (select day, currency, sum(total)::bigint as total, sum(purchases)::bigint as purchases from by_day group by 1, 2)
  select jsonb_build_object(
    'currencies', (select coalesce(jsonb_agg(jsonb_build_object(
       'currency', c.currency, 'total_cents', c.total, 'purchases', c.purchases, 'buyers', c.buyers, 'average_cents', c.average,
       'credits_micros', c.credits, 'bonus_micros', c.bonus, 'day_cents', (
          select jsonb_agg(coalesce(t.total, 0) order by d) from generate_series(p_from::timestamp, p_to, interval '1 day') as d
            left join totals as t on t.day = d::date and t.currency = c.currency),
       'day_purchases', (
          select jsonb_agg(coalesce(t.purchases, 0) order by d) from generate_series(p_from::timestamp, p_to, interval '1 day') as d
            left join totals as t on t.day = d::date and t.currency = c.currency),
       'change_percent', credits._change_percent(c.total, (
          select sum(s.paid_cents) from sold as s where s.currency = c.currency
             and s.day between p_from - (p_to - p_from + 1) and p_from - 1))) order by c.total desc, c.currency), '[]') from currencies as c),
    'packages', (select coalesce(jsonb_agg(jsonb_build_object(
       'currency', k.currency, 'package', k.package, 'name', k.name, 'purchases', k.purchases, 'total_cents', k.total,
       'credits_micros', k.credits, 'share_percent', round(k.total * 100 / c.total::numeric, 1)) order by k.total desc, k.name), '[]')
       from packages as k join currencies as c using (currency)),
    'rows', (select coalesce(jsonb_agg(jsonb_build_object(
       'day', d::date, 'currency', k.currency, 'package', k.package, 'name', k.name, 'total_cents', coalesce(b.total, 0),
       'purchases', coalesce(b.purchases, 0)) order by d, k.total desc, k.name), '[]')
       from generate_series(p_from::timestamp, p_to, interval '1 day') as d cross join packages as k
       left join by_day as b on b.day = d::date and b.currency = k.currency and b.name = k.name
             and b.package is not distinct from k.package))
$$;

-- Accounts by what they used. UTC days that lie within the range in every zone come as sums; only the days at its ends are
-- added up from quarters of an hour, by the clocks of the zone.
create function credits._top_accounts(p_from date, p_to date, p_zone text, p_limit int) returns jsonb
language sql stable set search_path = '' as $$
  with parts as (
    select account_id, charged_micros, rated_micros, events from credits.usage_days where day > p_from and day < p_to
    union all
    select u.account_id, u.charged_micros, u.rated_micros, u.events from credits.usage_rollup as u
     where (u.bucket >= (p_from - 1)::timestamp at time zone 'UTC' and u.bucket < (p_from + 1)::timestamp at time zone 'UTC'
            or u.bucket >= greatest(p_to, p_from + 1)::timestamp at time zone 'UTC' and u.bucket < (p_to + 2)::timestamp at time zone 'UTC')
       and (u.bucket at time zone p_zone)::date between p_from and p_to
    union all
    select u.account_id, u.charged_micros, u.rated_micros, u.events from credits.usage_tail as u
     where (u.bucket at time zone p_zone)::date between p_from and p_to),
  used as (
    select account_id, sum(charged_micros)::bigint as charged, sum(rated_micros)::bigint as rated, sum(events)::bigint as events
      from parts group by account_id),
  shares as (select *, sum(charged) over () as total from used)
  select coalesce(jsonb_agg(jsonb_build_object(
           'account_id', s.account_id, 'email', p.email, 'name', p.name, 'charged_micros', s.charged, 'rated_micros', s.rated,
           'events', s.events, 'share_percent', round(s.charged * 100 / nullif(s.total, 0), 1),
           'available_micros', a.posted_micros - a.held_micros) order by s.rated desc, s.account_id), '[]')
    from (select * from shares order by rated desc, account_id limit p_limit) as s
    join credits.accounts as a on a.id = s.account_id join credits.profiles as p on p.account_id = s.account_id
$$;

-- Sales and usage of everybody between two days (both included). Test and live sales are never mixed.
create function credits.finance_overview(
  p_livemode boolean, p_from date default null, p_to date default null, p_time_zone text default 'UTC'
) returns jsonb language plpgsql volatile set search_path = '' as $$
declare
  v_zone   text := credits._zone(p_time_zone);
  v_to     date := coalesce(p_to, credits._today(v_zone));
  v_from   date := coalesce(p_from, v_to - 29);
  v_usage  jsonb;
  v_before numeric;
begin
  perform credits._require('service', 'super_admin', 'admin', 'finance');
  perform credits._check_days(v_from, v_to);
  if p_livemode is null then perform credits._raise('LC400', 'Say whether live or test sales are meant (livemode).'); end if;
  v_usage := credits._usage_json(null, v_from, v_to, v_zone);
  select sum(u.charged_micros) into v_before from credits._usage_days(null, v_from - (v_to - v_from + 1), v_from - 1, v_zone) as u;
  return jsonb_build_object(
    'from', v_from, 'to', v_to, 'time_zone', v_zone, 'livemode', p_livemode, 'as_of', credits._iso(credits._now()),
    'days', v_usage -> 'days', 'sales', credits._sales(v_from, v_to, v_zone, p_livemode),
    'usage', v_usage || jsonb_build_object('change_percent', credits._change_percent((v_usage ->> 'total_micros')::numeric, v_before)),
    'top_accounts', credits._top_accounts(v_from, v_to, v_zone, 10));
end $$;

-- One account for an administrator: who it is, what it has, and its grants in spend order (used up ones last).
create function credits.account_detail(p_account_id bigint default null) returns jsonb
language plpgsql volatile set search_path = '' as $$
declare v_account bigint := credits._account(p_account_id, 'read');
begin
  return (
    select jsonb_build_object(
      'account_id', a.id, 'email', p.email, 'name', p.name, 'role', p.role, 'is_demo', p.is_demo, 'user_id', a.owner_id,
      'created_at', credits._iso(a.created_at), 'last_activity_at', credits._iso(a.last_at), 'balance', credits.balance(a.id),
      'grants', (select coalesce(jsonb_agg(jsonb_build_object(
          'grant_id', g.id, 'source', g.source, 'promotional', g.is_promotional, 'granted_micros', g.granted_micros,
          'remaining_micros', g.remaining_micros, 'cost_cents', g.cost_cents, 'currency', g.currency, 'reason', g.reason,
          'created_at', credits._iso(g.created_at), 'expires_at', credits._iso(g.expires_at), 'purchase_id', g.purchase_id,
          'status', case when g.expires_at <= credits._now() then 'expired' when g.remaining_micros = 0 then 'used up' else 'active' end)
          order by g.remaining_micros = 0, g.priority, g.expires_at, not g.is_promotional, g.created_at, g.id), '[]')
        from (select * from credits.grants_now as n where n.account_id = a.id
               order by n.remaining_micros = 0, n.id desc limit 100) as g))
      from credits.accounts as a join credits.profiles as p on p.account_id = a.id where a.id = v_account);
end $$;

revoke execute on all functions in schema credits from public;
grant execute on function
  credits._month_so_far(bigint, date, text), credits._overview_days(bigint, date, date, text),
  credits._sales(date, date, text, boolean), credits._top_accounts(date, date, text, int),
  credits.account_overview(bigint, int, text), credits.finance_overview(boolean, date, date, text),
  credits.account_detail(bigint)
to authenticated, service_role;
