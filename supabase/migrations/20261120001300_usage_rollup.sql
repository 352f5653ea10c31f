-- Usage by account, quarter of an hour and operation. Quarters, because every time zone in use is cut at one of them: day
-- sums in any zone come from these buckets. Numbers are gapless within an account, so "up to the seq on the account row"
-- is exact without clocks; what is not rolled up yet is added live.

create table credits.usage_rollup (
  account_id     bigint not null,
  bucket         timestamptz not null,
  operation_id   smallint not null,
  events         bigint not null,
  quantity       numeric not null,
  charged_micros bigint not null,
  rated_micros   bigint not null,   -- at full price, also where nothing was charged
  primary key (account_id, bucket, operation_id)
) with (fillfactor = 80);
create unique index usage_rollup_by_bucket on credits.usage_rollup (bucket, operation_id, account_id);
-- The same of all accounts together, and of each account by UTC day: what finance looks at, small at any number of events.
create table credits.usage_totals (
  bucket         timestamptz not null,
  operation_id   smallint not null,
  events         bigint not null,
  quantity       numeric not null,
  charged_micros bigint not null,
  rated_micros   bigint not null,
  primary key (bucket, operation_id)
) with (fillfactor = 80);
create table credits.usage_days (
  day            date not null,
  account_id     bigint not null,
  events         bigint not null,
  charged_micros bigint not null,
  rated_micros   bigint not null,
  primary key (day, account_id)
) with (fillfactor = 80);
create table credits.rollup_state (account_id bigint primary key, seq bigint not null) with (fillfactor = 50);

alter table credits.usage_rollup enable row level security;
alter table credits.usage_totals enable row level security;
alter table credits.usage_days enable row level security;
alter table credits.rollup_state enable row level security;
create policy usage_rollup_read on credits.usage_rollup for select to authenticated
  using (account_id = (select credits._own_account()) or (select credits._is_staff()));
create policy usage_totals_read on credits.usage_totals for select to authenticated using ((select credits._is_staff()));
create policy usage_days_read on credits.usage_days for select to authenticated using ((select credits._is_staff()));
create policy rollup_state_read on credits.rollup_state for select to authenticated
  using (account_id = (select credits._own_account()) or (select credits._is_staff()));
grant select on credits.usage_rollup, credits.usage_totals, credits.usage_days, credits.rollup_state to authenticated, service_role;

create function credits._bucket(p_at timestamptz) returns timestamptz
language sql immutable set search_path = '' as $$ select date_bin('15 minutes', p_at, '2000-01-01 00:00:00+00') $$;

-- Usage transactions of all accounts that the rollup has not seen. A reversal counts against the day it was made.
create view credits.usage_tail with (security_invoker = true) as
  select t.account_id, t.seq, credits._bucket(coalesce(t.occurred_at, t.created_at)) as bucket, t.operation_id,
         case t.kind when 'reversal' then -1 else 1 end::bigint as events, t.quantity, -t.amount_micros as charged_micros,
         coalesce(t.rated_micros, -t.amount_micros) as rated_micros
    from credits.accounts as a left join credits.rollup_state as s on s.account_id = a.id
    join lateral (select * from credits.transactions as x
                   where x.account_id = a.id and x.seq > coalesce(s.seq, 0) and x.seq <= a.seq order by x.seq offset 0) as t on true
   where a.seq > coalesce(s.seq, 0) and t.operation_id is not null and t.kind in ('use', 'reversal');
create view credits.usage_live with (security_invoker = true) as
  select account_id, bucket, operation_id, events, quantity, charged_micros, rated_micros from credits.usage_rollup
  union all
  select account_id, bucket, operation_id, events, quantity, charged_micros, rated_micros from credits.usage_tail;
create view credits.usage_totals_live with (security_invoker = true) as
  select bucket, operation_id, events, quantity, charged_micros, rated_micros from credits.usage_totals
  union all
  select bucket, operation_id, events, quantity, charged_micros, rated_micros from credits.usage_tail;
grant select on credits.usage_tail, credits.usage_live, credits.usage_totals_live to authenticated, service_role;

-- The UTC day of a bucket.
create function credits._utc_day(p_at timestamptz) returns date
language sql immutable set search_path = '' as $$ select (p_at at time zone 'UTC')::date $$;

-- Security definer: only functions write the rollup. One runner at a time.
create function credits.rollup_usage() returns jsonb
language plpgsql security definer set search_path = '' as $$
declare v_rows bigint;
begin
  perform credits._require('service');
  if not pg_try_advisory_xact_lock(hashtext('credits.rollup_usage')) then return '{"rows": 0, "busy": true}'; end if;
  with seen as materialized (
    select a.id, a.seq from credits.accounts as a left join credits.rollup_state as s on s.account_id = a.id
     where a.seq > coalesce(s.seq, 0)),
  tail as materialized (
    select u.* from seen join credits.usage_tail as u on u.account_id = seen.id and u.seq <= seen.seq),
  added as (
    insert into credits.usage_rollup as r
    select account_id, bucket, operation_id, sum(events), sum(quantity), sum(charged_micros), sum(rated_micros)
      from tail group by 1, 2, 3 order by 1, 2, 3
    on conflict (account_id, bucket, operation_id) do update set
      events = r.events + excluded.events, quantity = r.quantity + excluded.quantity,
      charged_micros = r.charged_micros + excluded.charged_micros, rated_micros = r.rated_micros + excluded.rated_micros),
  added_totals as (
    insert into credits.usage_totals as r
    select bucket, operation_id, sum(events), sum(quantity), sum(charged_micros), sum(rated_micros) from tail group by 1, 2 order by 1, 2
    on conflict (bucket, operation_id) do update set
      events = r.events + excluded.events, quantity = r.quantity + excluded.quantity,
      charged_micros = r.charged_micros + excluded.charged_micros, rated_micros = r.rated_micros + excluded.rated_micros),
  added_days as (
    insert into credits.usage_days as r
    select credits._utc_day(bucket), account_id, sum(events), sum(charged_micros), sum(rated_micros) from tail group by 1, 2 order by 1, 2
    on conflict (day, account_id) do update set
      events = r.events + excluded.events, charged_micros = r.charged_micros + excluded.charged_micros,
      rated_micros = r.rated_micros + excluded.rated_micros),
  moved as (
    insert into credits.rollup_state as s select id, seq from seen order by id
    on conflict (account_id) do update set seq = excluded.seq)
  select count(*) into v_rows from tail;
  return jsonb_build_object('rows', v_rows);
end $$;

revoke execute on all functions in schema credits from public;
grant execute on function credits._bucket(timestamptz), credits._utc_day(timestamptz) to authenticated, service_role;
grant execute on function credits.rollup_usage() to service_role;
