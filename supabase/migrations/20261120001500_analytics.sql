-- Figures for pages: what was used and sold, by day in the viewer's own time zone.
--
-- Days come from quarter-hour buckets (usage_live), so every zone in use is cut exactly; a bucket belongs to the day that
-- the zone's clocks showed, and a range is the days asked for, so that day sums always equal the range's total, also when
-- clocks change. Everything runs as the caller: row policies are the second lock behind credits._account().

-- Finance lists sales by the moment they were credited.
create unique index purchases_by_credit on credits.purchases (credited_at, id) where credited_at is not null;

-- The zone if Postgres knows it. Not looked up in pg_timezone_names: that reads hundreds of files.
create function credits._zone(p_time_zone text) returns text
language plpgsql stable set search_path = '' as $$
begin
  if p_time_zone is null or length(p_time_zone) > 64 then raise invalid_parameter_value; end if;
  perform now() at time zone p_time_zone;
  return p_time_zone;
exception when invalid_parameter_value then
  perform credits._raise('LC400', 'There is no such time zone; use a name such as Europe/Berlin or UTC.');
  return null;
end $$;

create function credits._today(p_zone text) returns date
language sql volatile set search_path = '' as $$ select (credits._now() at time zone p_zone)::date $$;

create function credits._check_days(p_from date, p_to date) returns void
language plpgsql immutable set search_path = '' as $$
begin
  if p_from is null or p_to is null or not isfinite(p_from) or not isfinite(p_to) or p_to < p_from or p_to - p_from > 800 then
    perform credits._raise('LC400', 'Give a first and a last day, in this order and at most 800 days apart.');
  end if;
end $$;

-- How much one number is above or below another, in per cent with one decimal; null where there is nothing to compare with.
create function credits._change_percent(p_now numeric, p_before numeric) returns numeric
language sql immutable set search_path = '' as $$ select round((p_now - p_before) * 100 / nullif(p_before, 0), 1) $$;

-- Usage by day and operation, of one account or of all together (null; only staff see those).
-- The range of buckets is wider than the days, since the clocks of the zone decide.
create function credits._usage_days(p_account_id bigint, p_from date, p_to date, p_zone text)
returns table (day date, operation_id smallint, events bigint, quantity numeric, charged_micros bigint, rated_micros bigint)
language plpgsql stable set search_path = '' as $$
begin
  if p_account_id is null then
    return query
      select b.day, b.operation_id, sum(b.events)::bigint, sum(b.quantity), sum(b.charged_micros)::bigint, sum(b.rated_micros)::bigint
        from (select (u.bucket at time zone p_zone)::date as day, u.* from credits.usage_totals_live as u
               where u.bucket >= p_from - 2 and u.bucket < p_to + 3) as b
       where b.day between p_from and p_to group by 1, 2;
  else
    return query
      select b.day, b.operation_id, sum(b.events)::bigint, sum(b.quantity), sum(b.charged_micros)::bigint, sum(b.rated_micros)::bigint
        from (select (u.bucket at time zone p_zone)::date as day, u.* from credits.usage_live as u
               where u.account_id = p_account_id and u.bucket >= p_from - 2 and u.bucket < p_to + 3) as b
       where b.day between p_from and p_to group by 1, 2;
  end if;
end $$;

-- _usage_days as JSON: sums by day, operations with their sums (largest first), and one row for every day of the range
-- and every operation used in it, with zeros where nothing was used.
create function credits._usage_json(p_account_id bigint, p_from date, p_to date, p_zone text) returns jsonb
language sql stable set search_path = '' as $$
  with used as materialized (select * from credits._usage_days(p_account_id, p_from, p_to, p_zone)),
  ranked as (
    select o.id, o.code, o.name, o.measure, row_number() over (order by sum(u.charged_micros) desc, sum(u.events) desc, o.id) as place,
           sum(u.events)::bigint as events, sum(u.quantity) as quantity, sum(u.charged_micros)::bigint as charged_micros,
           sum(u.rated_micros)::bigint as rated_micros
      from used as u join credits.operations as o on o.id = u.operation_id group by o.id),
  total as (select coalesce(sum(charged_micros), 0)::bigint as micros, coalesce(sum(events), 0)::bigint as events from used),
  by_day as (
    select d::date as day, coalesce(sum(u.charged_micros), 0)::bigint as micros, coalesce(sum(u.events), 0)::bigint as events
      from generate_series(p_from::timestamp, p_to, interval '1 day') as d left join used as u on u.day = d::date group by d)
  select (select jsonb_build_object('days', jsonb_agg(b.day order by b.day), 'day_micros', jsonb_agg(b.micros order by b.day),
                                    'day_events', jsonb_agg(b.events order by b.day)) from by_day as b) || jsonb_build_object(
    'from', p_from, 'to', p_to, 'time_zone', p_zone, 'total_micros', total.micros, 'total_events', total.events,
    'operations', (
      select coalesce(jsonb_agg(jsonb_build_object(
        'operation', r.code, 'name', r.name, 'measure', r.measure, 'events', r.events, 'quantity', r.quantity,
        'charged_micros', r.charged_micros, 'rated_micros', r.rated_micros,
        'share_percent', round(r.charged_micros * 100 / nullif(total.micros, 0)::numeric, 1)) order by r.place), '[]') from ranked as r),
    'rows', (
      select coalesce(jsonb_agg(jsonb_build_object(
        'day', d::date, 'operation', r.code, 'name', r.name, 'charged_micros', coalesce(u.charged_micros, 0),
        'events', coalesce(u.events, 0)) order by d, r.place), '[]')
        from generate_series(p_from::timestamp, p_to, interval '1 day') as d cross join ranked as r
        left join used as u on u.day = d::date and u.operation_id = r.id))
    from total
$$;

-- Usage of one account between two days (both included), by day, by operation, or by day_operation.
create function credits.usage_analytics(
  p_account_id bigint default null, p_from date default null, p_to date default null, p_group_by text default 'day',
  p_time_zone text default 'UTC'
) returns jsonb language plpgsql volatile set search_path = '' as $$
declare
  v_account bigint := credits._account(p_account_id, 'read');
  v_zone    text := credits._zone(p_time_zone);
  v_to      date := coalesce(p_to, credits._today(v_zone));
  v_from    date := coalesce(p_from, v_to - 29);
  v         jsonb;
begin
  perform credits._check_days(v_from, v_to);
  if p_group_by is null or p_group_by not in ('day', 'operation', 'day_operation') then
    perform credits._raise('LC400', 'group_by must be day, operation or day_operation.');
  end if;
  v := credits._usage_json(v_account, v_from, v_to, v_zone) || jsonb_build_object('account_id', v_account, 'group_by', p_group_by);
  if p_group_by = 'operation' then return jsonb_set(v, '{rows}', v -> 'operations'); end if;
  if p_group_by = 'day' then
    return jsonb_set(v, '{rows}', (
      select jsonb_agg(jsonb_build_object('day', d.day, 'charged_micros', v -> 'day_micros' -> d.place, 'events',
                                          v -> 'day_events' -> d.place) order by d.place)
        from (select x.day, x.n::int - 1 as place from jsonb_array_elements_text(v -> 'days') with ordinality as x (day, n)) as d));
  end if;
  return v;
end $$;

-- The number of an account's last transaction before a moment; 0 when there is none. Times never go back within an account,
-- so a search by halves over its gapless numbers finds it without an index on time.
create function credits._seq_before(p_account_id bigint, p_at timestamptz, p_low bigint, p_high bigint) returns bigint
language plpgsql stable set search_path = '' as $$
declare
  v_low  bigint := p_low;   -- known to lie before the moment (or 0)
  v_high bigint := p_high + 1;  -- known not to
  v_mid  bigint;
begin
  while v_high - v_low > 1 loop
    v_mid := (v_low + v_high) / 2;
    if (select created_at < p_at from credits.transactions where account_id = p_account_id and seq = v_mid) then
      v_low := v_mid;
    else
      v_high := v_mid;
    end if;
  end loop;
  return v_low;
end $$;

-- Posted balance at the end of each day of a range, oldest first.
create function credits._closing_balances(p_account_id bigint, p_from date, p_to date, p_zone text)
returns table (day date, posted_micros bigint) language plpgsql stable set search_path = '' as $$
declare
  v_last bigint := (select seq from credits.accounts where id = p_account_id);
  v_seq  bigint := 0;
begin
  for day in select d::date from generate_series(p_from::timestamp, p_to, interval '1 day') as d loop
    v_seq := credits._seq_before(p_account_id, (day + 1)::timestamp at time zone p_zone, v_seq, v_last);
    posted_micros := coalesce(
      (select t.posted_after_micros from credits.transactions as t where t.account_id = p_account_id and t.seq = v_seq), 0);
    return next;
  end loop;
end $$;

revoke execute on all functions in schema credits from public;
grant execute on function
  credits._zone(text), credits._today(text), credits._check_days(date, date), credits._change_percent(numeric, numeric),
  credits._usage_days(bigint, date, date, text), credits._usage_json(bigint, date, date, text),
  credits._seq_before(bigint, timestamptz, bigint, bigint), credits._closing_balances(bigint, date, date, text),
  credits.usage_analytics(bigint, date, date, text, text)
to authenticated, service_role;
