-- Usage as its owner studies it: by day, week or month and by operation, against the same number of days before.
--
-- Sums come from the days of the viewer's zone (_usage_days), so every way to cut a range adds up to the same total.

create function credits._bucket_start(p_day date, p_unit text, p_from date) returns date
language sql immutable set search_path = '' as $$
  select case p_unit when 'day' then p_day else greatest(date_trunc(p_unit, p_day::timestamp)::date, p_from) end
$$;

-- One account between two days (both included). Weeks begin on Monday; the first and the last week or month may be cut by the
-- range. before: the same number of days ahead of the range, laid over it day by day.
create function credits.usage_report(
  p_account_id bigint default null, p_from date default null, p_to date default null, p_unit text default 'day',
  p_operation text default null, p_time_zone text default 'UTC'
) returns jsonb language plpgsql volatile set search_path = '' as $$
declare
  v_account bigint := credits._account(p_account_id, 'read');
  v_zone    text := credits._zone(p_time_zone);
  v_to      date := coalesce(p_to, credits._today(v_zone));
  v_from    date := coalesce(p_from, v_to - 29);
  v_length  int;
begin
  perform credits._check_days(v_from, v_to);
  if p_unit is null or p_unit not in ('day', 'week', 'month') then
    perform credits._raise('LC400', 'unit must be day, week or month.');
  elsif p_operation is not null and not exists (select from credits.operations where code = p_operation) then
    perform credits._raise('LC404', format('There is no operation “%s”; see the price list for the codes.', left(p_operation, 80)));
  end if;
  v_length := v_to - v_from + 1;
  return jsonb_build_object(
      'account_id', v_account, 'from', v_from, 'to', v_to, 'before_from', v_from - v_length, 'before_to', v_from - 1,
      'unit', p_unit, 'operation', p_operation, 'time_zone', v_zone)
    || credits._usage_cut(v_account, v_from, v_to, p_unit, p_operation, v_zone);
end $$;

create function credits._usage_cut(p_account_id bigint, p_from date, p_to date, p_unit text, p_operation text, p_zone text) returns jsonb
language sql stable set search_path = '' as $$
  with used as materialized (
    select case when u.day >= p_from then u.day else u.day + (p_to - p_from + 1) end as day, u.day >= p_from as is_now, o.code, o.name,
           o.measure, u.events, u.quantity, u.charged_micros
      from credits._usage_days(p_account_id, p_from - (p_to - p_from + 1), p_to, p_zone) as u
      join credits.operations as o on o.id = u.operation_id where p_operation is null or o.code = p_operation),
  cut as materialized (
    select credits._bucket_start(day, p_unit, p_from) as start, code, name, measure,
           coalesce(sum(charged_micros) filter (where is_now), 0)::bigint as micros,
           coalesce(sum(events) filter (where is_now), 0)::bigint as events,
           coalesce(sum(quantity) filter (where is_now), 0) as quantity,
           coalesce(sum(charged_micros) filter (where not is_now), 0)::bigint as before
      from used group by 1, 2, 3, 4),
  total as (
    select coalesce(sum(charged_micros) filter (where is_now), 0)::bigint as micros,
           coalesce(sum(charged_micros) filter (where not is_now), 0)::bigint as before,
           coalesce(sum(events) filter (where is_now), 0)::bigint as events,
           coalesce(sum(events) filter (where not is_now), 0)::bigint as events_before from used),
  operations as (
    select code, name, measure, sum(micros)::bigint as micros, sum(events)::bigint as events, sum(quantity) as quantity,
           sum(before)::bigint as before, row_number() over (order by sum(micros) desc, sum(before) desc, code) as place
      from cut group by 1, 2, 3),
  starts as (
    select start, max(d) as last from (
      select d::date as d, credits._bucket_start(d::date, p_unit, p_from) as start
        from generate_series(p_from::timestamp, p_to, interval '1 day') as d) as x group by start)
  select jsonb_build_object(
    'total_micros', total.micros, 'total_events', total.events, 'before_micros', total.before, 'before_events', total.events_before,
    'change_percent', credits._change_percent(total.micros, total.before),
    'events_change_percent', credits._change_percent(total.events, total.events_before),
    'day_average_micros', round(total.micros / (p_to - p_from + 1)::numeric),
    'day_average_before_micros', round(total.before / (p_to - p_from + 1)::numeric),
    'buckets', (
      select jsonb_agg(jsonb_build_object(
        'start', s.start, 'end', s.last, 'charged_micros', coalesce(c.micros, 0), 'events', coalesce(c.events, 0),
        'before_micros', coalesce(c.before, 0)) order by s.start)
        from starts as s left join (
          select start, sum(micros)::bigint as micros, sum(events)::bigint as events, sum(before)::bigint as before from cut group by 1) as c
          using (start)),
    'operations', (
      select coalesce(jsonb_agg(jsonb_build_object(
        'operation', o.code, 'name', o.name, 'measure', o.measure, 'events', o.events, 'quantity', o.quantity,
        'charged_micros', o.micros, 'before_micros', o.before, 'change_percent', credits._change_percent(o.micros, o.before),
        'share_percent', round(o.micros * 100 / nullif(total.micros, 0)::numeric, 1)) order by o.place), '[]') from operations as o),
    'rows', (
      select coalesce(jsonb_agg(jsonb_build_object(
        'start', s.start, 'end', s.last, 'operation', o.code, 'name', o.name, 'measure', o.measure,
        'events', coalesce(c.events, 0), 'quantity', coalesce(c.quantity, 0), 'charged_micros', coalesce(c.micros, 0),
        'before_micros', coalesce(c.before, 0)) order by s.start, o.place), '[]')
        from starts as s cross join operations as o left join cut as c on c.start = s.start and c.code = o.code))
    from total
$$;

revoke execute on all functions in schema credits from public;
grant execute on function
  credits._bucket_start(date, text, date), credits._usage_cut(bigint, date, date, text, text, text),
  credits.usage_report(bigint, date, date, text, text, text)
to authenticated, service_role;
