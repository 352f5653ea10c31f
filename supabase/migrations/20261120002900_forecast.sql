-- How long credits last: a date with a range, and how such a forecast of a month ago came out.
--
-- From whole weeks of use (up to twelve) come a level, a trend where one stands out, the pattern of weekdays, and how much weeks
-- scatter. Spending is summed up day by day; the range holds what comes true 8 times in 10: the scatter of the weeks ahead and
-- the doubt about the level, which a few weeks leave large. Credits that expire before they are used count as gone that day.

create type credits.spend_model as (
  basis_days  int,        -- days of history it rests on; null without any use
  weeks       int,        -- whole weeks among them; below two there is only an average
  daily       numeric,    -- micros a day now
  trend       numeric,    -- micros a day that it grows or shrinks by in a week; 0 where no trend stands out
  scatter     numeric,    -- standard deviation of a week's micros
  weekdays    numeric[]   -- Monday to Sunday against the average day
);

-- Student's t for 80 % (one in ten on either side) by degrees of freedom from 1 on.
create function credits._t_eight_in_ten(p_freedom int) returns numeric
language sql immutable set search_path = '' as $$
  select coalesce((array[3.08, 1.89, 1.64, 1.53, 1.48, 1.44, 1.41, 1.40, 1.38, 1.37])[greatest(p_freedom, 1)], 1.36)
$$;

-- What an account's use before a day tells. Less than two weeks of it: the average since it began (or of that day itself).
create function credits._spend_model(p_account_id bigint, p_day date, p_zone text) returns credits.spend_model
language plpgsql stable set search_path = '' as $$
declare
  m       credits.spend_model;
  v_first date;
  v_spent numeric;
begin
  select min(u.day), sum(u.charged_micros) into v_first, v_spent
    from credits._usage_days(p_account_id, p_day - 84, p_day - 1, p_zone) as u;
  m.basis_days := p_day - v_first;
  m.weeks := least(m.basis_days / 7, 12);
  if m.weeks >= 2 and v_spent > 0 then return credits._weekly_model(p_account_id, p_day, p_zone, m.weeks); end if;
  if coalesce(v_spent, 0) <= 0 then
    m.basis_days := 1;
    select sum(u.charged_micros) into v_spent from credits._usage_days(p_account_id, p_day, p_day, p_zone) as u;
  end if;
  m.weeks := least(m.weeks, 1);
  m.daily := round(greatest(coalesce(v_spent, 0), 0) / m.basis_days);
  m.trend := 0;
  m.weekdays := array_fill(1::numeric, array[7]);
  if m.daily = 0 then m.basis_days := null; end if;
  return m;
end $$;

-- A trend counts when it is three times its own standard error, from five weeks on.
create function credits._weekly_model(p_account_id bigint, p_day date, p_zone text, p_weeks int) returns credits.spend_model
language sql stable set search_path = '' as $$
  with days as (
    select d::date as day, (p_day - 1 - d::date) / 7 as ago, coalesce(sum(u.charged_micros), 0) as micros
      from generate_series((p_day - 7 * p_weeks)::timestamp, p_day - 1, interval '1 day') as d
      left join credits._usage_days(p_account_id, p_day - 7 * p_weeks, p_day - 1, p_zone) as u on u.day = d::date group by d),
  weeks as (select -ago as x, sum(micros) as y from days group by ago),
  line as (
    select avg(y) as mean, regr_slope(y, x)::numeric as slope, regr_intercept(y, x)::numeric as last, regr_sxx(y, x)::numeric as sxx,
           regr_syy(y, x)::numeric as syy from weeks),
  fit as (
    select *, sqrt(greatest(syy - slope * slope * sxx, 0) / greatest(p_weeks - 2, 1)) as rest from line),
  chosen as (
    select *, p_weeks >= 5 and abs(slope) * sqrt(sxx) > 3 * rest and abs(slope) * p_weeks > 0.05 * mean as has_trend from fit),
  by_weekday as (
    select w, coalesce(sum(d.micros) * 7 / nullif((select sum(micros) from days), 0), 1) as share
      from generate_series(1, 7) as w left join days as d on extract(isodow from d.day) = w group by w)
  select row(7 * p_weeks, p_weeks,
             round(greatest(case when has_trend then last + slope / 2 else mean end, 0) / 7),  -- the last week's middle is half a week ago
             round(case when has_trend then slope else 0 end / 7),
             case when has_trend then rest else sqrt(syy / greatest(p_weeks - 1, 1)) end,
             (select array_agg(share order by w) from by_weekday))::credits.spend_model
    from chosen
$$;

-- What will be spent from a day on, summed up after n days: at least, as expected, at most. A trend goes on for four weeks, then
-- its level stays. Too little history for a scatter: half and double.
create function credits._spend_path(m credits.spend_model, p_from date, p_days int)
returns table (n int, at_least numeric, expected numeric, at_most numeric)
language sql stable set search_path = '' as $$
  with by_day as (
    select i, greatest(m.daily + m.trend * least(i / 7.0, 4), 0) * m.weekdays[extract(isodow from p_from + i - 1)::int] as micros,
           case when m.weeks >= 2 then
             credits._t_eight_in_ten(m.weeks - case m.trend when 0 then 1 else 2 end) * m.scatter
             * sqrt(i / 7.0 + (i / 7.0) ^ 2 * case m.trend when 0 then 1 else 4 end / m.weeks) end as spread
      from generate_series(1, p_days) as i),
  summed as (select i, sum(micros) over (order by i) as micros, spread from by_day)
  select i, greatest(max(case when m.weeks >= 2 then micros - spread else micros / 2 end) over (order by i), 0), micros,
         case when m.weeks >= 2 then micros + spread else micros * 2 end
    from summed order by i
$$;

-- How many whole days an amount lasts if so much is spent, with credits that expire on the way; null: longer than the path.
create function credits._days_covered(p_path numeric[], p_available numeric, p_expiring numeric[]) returns int
language sql immutable set search_path = '' as $$
  with lost as (
    select i::int as n, spent, max(greatest(coalesce(p_expiring[i], 0) - spent, 0)) over (order by i) as gone
      from unnest(p_path) with ordinality as p (spent, i))
  select min(n) - 1 from lost where spent + gone > p_available
$$;

-- Credits of the account whose time ends by the end of each of so many days, summed up.
create function credits._expiring(p_account_id bigint, p_from date, p_days int, p_zone text) returns numeric[]
language sql stable set search_path = '' as $$
  select array_agg(coalesce((
           select sum(g.remaining_micros) from credits.grants_now as g
            where g.account_id = p_account_id and g.remaining_micros > 0 and g.expires_at > credits._now()
              and g.expires_at <= (p_from + i)::timestamp at time zone p_zone), 0) order by i)
    from generate_series(1, p_days) as i
   where exists (select from credits.grants_now as g where g.account_id = p_account_id and g.remaining_micros > 0
                    and g.expires_at < (p_from + p_days)::timestamp at time zone p_zone)
$$;

-- Days and dates until an amount is spent: soonest, expected, latest; null beyond a year. days alone also says longer spans.
create function credits._lasts(m credits.spend_model, p_from date, p_available bigint, p_expiring numeric[]) returns jsonb
language plpgsql stable set search_path = '' as $$
declare
  v_year     int := 366;
  v_least    numeric[];
  v_expected numeric[];
  v_most     numeric[];
  v_soonest  int;
  v_days     bigint;
  v_latest   int;
begin
  select array_agg(at_least order by n), array_agg(expected order by n), array_agg(at_most order by n)
    into v_least, v_expected, v_most from credits._spend_path(m, p_from, v_year);
  v_soonest := credits._days_covered(v_most, p_available, p_expiring);
  v_days := credits._days_covered(v_expected, p_available, p_expiring);
  v_latest := credits._days_covered(v_least, p_available, p_expiring);
  if v_days is null and m.trend = 0 and m.daily > 0 then v_days := floor(p_available / m.daily); end if;
  return jsonb_build_object(
    'days', v_days, 'date', case when v_days < 36500 then p_from + v_days::int end,
    'soonest_days', v_soonest, 'soonest_date', p_from + v_soonest, 'latest_days', v_latest, 'latest_date', p_from + v_latest);
end $$;

-- The run-out estimate of the overview. reason: unlimited, empty, no_use, average (less than two weeks of use) or weeks.
create function credits._run_out(p_account_id bigint, p_balance jsonb, p_today date, p_zone text) returns jsonb
language plpgsql stable set search_path = '' as $$
declare
  v_available bigint := (p_balance ->> 'available_micros')::bigint;
  m           credits.spend_model := credits._spend_model(p_account_id, p_today, p_zone);
begin
  return jsonb_build_object(
    'reason', case when (p_balance ->> 'unlimited')::boolean then 'unlimited' when v_available <= 0 then 'empty'
                   when m.daily = 0 and m.trend = 0 then 'no_use' when m.weeks >= 2 then 'weeks' else 'average' end,
    'basis_days', coalesce(m.basis_days, 84), 'daily_micros', m.daily,
    'trend', case sign(m.trend) when 1 then 'rising' when -1 then 'falling' else 'steady' end,
    'projection_micros', (select jsonb_agg(greatest(v_available - coalesce(p.expected, 0), 0)::bigint order by i)
                            from generate_series(0, 14) as i left join credits._spend_path(m, p_today, 14) as p on p.n = i))
    || credits._lasts(m, p_today, greatest(v_available, 0), credits._expiring(p_account_id, p_today, 366, p_zone));
end $$;

-- The forecast of 30 days ago against what happened since: what was expected to be spent and was; when the credits of that day
-- were expected to be used up and were (what was bought since lies on top). Null without use before.
create function credits._past_forecast(p_account_id bigint, p_today date, p_zone text) returns jsonb
language plpgsql stable set search_path = '' as $$
declare
  v_from   date := p_today - 30;
  m        credits.spend_model := credits._spend_model(p_account_id, v_from, p_zone);
  v_had    bigint := (select posted_micros from credits._closing_balances(p_account_id, v_from - 1, v_from - 1, p_zone));
  v_spent  numeric[];
  v_path   record;
begin
  if m.basis_days is null or not exists (select from credits._usage_days(p_account_id, v_from - 84, v_from - 1, p_zone)) then return null; end if;
  select array_agg(micros order by day) into v_spent
    from (select d::date as day, sum(coalesce(sum(u.charged_micros), 0)) over (order by d) as micros
            from generate_series(v_from::timestamp, p_today - 1, interval '1 day') as d
            left join credits._usage_days(p_account_id, v_from, p_today - 1, p_zone) as u on u.day = d::date group by d) as s;
  select * into v_path from credits._spend_path(m, v_from, 30) where n = 30;
  return jsonb_build_object(
    'from', v_from, 'to', p_today - 1, 'had_micros', v_had, 'spent_micros', v_spent[30]::bigint,
    'at_least_micros', v_path.at_least::bigint, 'expected_micros', v_path.expected::bigint, 'at_most_micros', v_path.at_most::bigint,
    'was_within', v_spent[30] between floor(v_path.at_least) and ceil(v_path.at_most),
    'lasts', case when v_had > 0 then credits._lasts(m, v_from, v_had, null) end,
    'used_up_on', v_from + credits._days_covered(v_spent, v_had - 1, null));
end $$;

-- Everything about how long the credits last: the estimate, the next 60 days (what is left at least, as expected, at most), and
-- how the forecast of a month ago came out.
create function credits.run_out_forecast(p_account_id bigint default null, p_time_zone text default 'UTC') returns jsonb
language plpgsql volatile set search_path = '' as $$
declare
  v_account   bigint := credits._account(p_account_id, 'read');
  v_zone      text := credits._zone(p_time_zone);
  v_today     date := credits._today(v_zone);
  v_balance   jsonb := credits.balance(v_account);
  v_available bigint := (v_balance ->> 'available_micros')::bigint;
begin
  return credits._run_out(v_account, v_balance, v_today, v_zone) || jsonb_build_object(
    'account_id', v_account, 'available_micros', v_available, 'as_of', v_balance -> 'as_of', 'time_zone', v_zone,
    'path', (select jsonb_agg(jsonb_build_object(
               'day', v_today + n, 'at_least_micros', greatest(v_available - at_most, 0)::bigint,
               'expected_micros', greatest(v_available - expected, 0)::bigint,
               'at_most_micros', greatest(v_available - at_least, 0)::bigint) order by n)
               from credits._spend_path(credits._spend_model(v_account, v_today, v_zone), v_today, 60)),
    'past', credits._past_forecast(v_account, v_today, v_zone));
end $$;

revoke execute on all functions in schema credits from public;
grant execute on function
  credits._t_eight_in_ten(int), credits._spend_model(bigint, date, text), credits._weekly_model(bigint, date, text, int),
  credits._spend_path(credits.spend_model, date, int), credits._days_covered(numeric[], numeric, numeric[]),
  credits._expiring(bigint, date, int, text), credits._lasts(credits.spend_model, date, bigint, numeric[]),
  credits._run_out(bigint, jsonb, date, text), credits._past_forecast(bigint, date, text), credits.run_out_forecast(bigint, text)
to authenticated, service_role;
