-- Figures for finance: money by month, cohorts of buyers, and what becomes of purchases that were begun.
--
-- Money is what was paid for credits, tax apart, on the day the credits were added; refunds and disputes count on the day they were
-- taken. Currencies and modes (test, live) are never added up. Months and days are the viewer's. Row policies still apply inside.
-- A month is written out where it is meant: a function of ours for it would be called once a row, not inlined.

create function credits._check_months(p_months int) returns void
language plpgsql immutable set search_path = '' as $$
begin
  if p_months is null or p_months not between 1 and 36 then perform credits._raise('LC400', 'months must be between 1 and 36.'); end if;
end $$;

-- Sales, refunds, disputes, buyers and the average of a paying account by month and currency, the oldest month first.
create function credits.revenue_by_month(p_livemode boolean, p_months int default 12, p_time_zone text default 'UTC') returns jsonb
language plpgsql volatile set search_path = '' as $$
declare
  v_zone  text := credits._zone(p_time_zone);
  v_last  date := date_trunc('month', credits._today(v_zone))::date;
  v_first date;
begin
  perform credits._require('service', 'super_admin', 'admin', 'finance');
  perform credits._check_months(p_months);
  if p_livemode is null then perform credits._raise('LC400', 'Say whether live or test sales are meant (livemode).'); end if;
  v_first := greatest((v_last - make_interval(months => p_months - 1))::date,
    (select date_trunc('month', min(credited_at) at time zone v_zone)::date from credits.purchases where livemode = p_livemode));  -- nothing before the first sale
  return jsonb_build_object('time_zone', v_zone, 'livemode', p_livemode, 'rows', (
    with bought as materialized (
      select currency, account_id, credits._paid_cents(p) as price_cents, date_trunc('month', credited_at at time zone v_zone)::date as month,
             credited_at = min(credited_at) over (partition by account_id, currency) as is_first
        from credits.purchases as p where livemode = p_livemode and credited_at is not null),
    sales as (
      select currency, month, sum(price_cents) as cents, count(*) as purchases, count(distinct account_id) as buyers,
             count(distinct account_id) filter (where is_first) as new_buyers
        from bought where month >= v_first group by 1, 2),
    refunded as (
      select p.currency, date_trunc('month', coalesce(r.finished_at, r.created_at) at time zone v_zone)::date as month, sum(r.amount_cents) as cents
        from credits.refunds as r join credits.purchases as p on p.id = r.purchase_id
       where p.livemode = p_livemode and r.status in ('sent', 'succeeded') group by 1, 2),
    disputed as (
      select p.currency, date_trunc('month', d.created_at at time zone v_zone)::date as month, sum(d.amount_cents) as cents
        from credits.disputes as d join credits.purchases as p on p.id = d.purchase_id
       where p.livemode = p_livemode and d.transaction_seq is not null group by 1, 2),
    months as (
      select c.currency, m::date as month from (select distinct currency from bought) as c
       cross join generate_series(v_first::timestamp, v_last, interval '1 month') as m)
    select coalesce(jsonb_agg(jsonb_build_object(
             'month', m.month, 'currency', m.currency, 'sales_cents', coalesce(s.cents, 0), 'purchases', coalesce(s.purchases, 0),
             'buyers', coalesce(s.buyers, 0), 'new_buyers', coalesce(s.new_buyers, 0), 'refunds_cents', coalesce(r.cents, 0),
             'disputes_cents', coalesce(d.cents, 0), 'net_cents', coalesce(s.cents, 0) - coalesce(r.cents, 0) - coalesce(d.cents, 0),
             'per_buyer_cents', round((s.cents - coalesce(r.cents, 0) - coalesce(d.cents, 0)) / s.buyers))
             order by m.currency, m.month), '[]')
      from months as m left join sales as s using (currency, month) left join refunded as r using (currency, month)
      left join disputed as d using (currency, month)));
end $$;

-- Accounts by the month of their first purchase: how many of them bought again in each later month, and for how much.
create function credits.cohorts(p_livemode boolean, p_months int default 12, p_time_zone text default 'UTC') returns jsonb
language plpgsql volatile set search_path = '' as $$
declare
  v_zone  text := credits._zone(p_time_zone);
  v_first date;
begin
  perform credits._require('service', 'super_admin', 'admin', 'finance');
  perform credits._check_months(p_months);
  v_first := (date_trunc('month', credits._today(v_zone)) - make_interval(months => p_months - 1))::date;
  return jsonb_build_object('time_zone', v_zone, 'rows', (
    with bought as materialized (
      select account_id, currency, date_trunc('month', credited_at at time zone v_zone)::date as month, sum(credits._paid_cents(p)) as cents
        from credits.purchases as p where livemode = p_livemode and credited_at is not null group by 1, 2, 3),
    joined as (select *, min(month) over (partition by account_id) as cohort from bought),
    sizes as (select cohort, count(distinct account_id) as accounts from joined where cohort >= v_first group by 1),
    cells as (
      select j.cohort, j.currency, (extract(year from age(j.month, j.cohort)) * 12 + extract(month from age(j.month, j.cohort)))::int as later,
             count(distinct j.account_id) as buyers, sum(j.cents) as cents
        from joined as j where j.cohort >= v_first group by 1, 2, 3)
    select coalesce(jsonb_agg(jsonb_build_object(
             'cohort', c.cohort, 'accounts', z.accounts, 'currency', c.currency, 'months_later', c.later, 'buyers', c.buyers,
             'sales_cents', c.cents, 'retention_percent', round(c.buyers * 100 / z.accounts::numeric, 1))
             order by c.cohort, c.later, c.currency), '[]')
      from cells as c join sizes as z using (cohort)));
end $$;

-- What became of the purchases begun between two days: shown at Stripe, paid, given up, failed, and why they failed.
create function credits.checkout_funnel(
  p_livemode boolean, p_from date default null, p_to date default null, p_time_zone text default 'UTC'
) returns jsonb language plpgsql volatile set search_path = '' as $$
declare
  v_zone text := credits._zone(p_time_zone);
  v_to   date := coalesce(p_to, credits._today(v_zone));
  v_from date := coalesce(p_from, v_to - 29);
begin
  perform credits._require('service', 'super_admin', 'admin', 'finance');
  perform credits._check_days(v_from, v_to);
  return (
    with begun as materialized (
      select p.*, a.status as attempt, a.decline_code from credits.purchases as p
        left join lateral (select status, decline_code from credits.auto_reload_attempts as x where x.purchase_id = p.id
                            order by x.created_at desc limit 1) as a on true
       where p.livemode = p_livemode and p.created_at >= v_from::timestamp at time zone v_zone
         and p.created_at < (v_to + 1)::timestamp at time zone v_zone),
    one as (
      select count(*) as begun, count(*) filter (where opened_at is not null) as opened, count(*) filter (where status = 'credited') as paid,
             count(*) filter (where status in ('created', 'open')) as waiting, count(*) filter (where status = 'processing') as processing,
             count(*) filter (where status = 'expired') as expired, count(*) filter (where status = 'failed') as failed,
             count(*) filter (where status = 'review') as review,
             percentile_cont(0.5) within group (order by extract(epoch from credited_at - created_at))
               filter (where status = 'credited' and attempt is null) as median_seconds
        from begun)
    select jsonb_build_object(
      'from', v_from, 'to', v_to, 'time_zone', v_zone, 'livemode', p_livemode, 'begun', o.begun, 'opened', o.opened, 'paid', o.paid,
      'waiting', o.waiting, 'processing', o.processing, 'expired', o.expired, 'failed', o.failed, 'review', o.review,
      'paid_percent', round(o.paid * 100 / nullif(o.begun, 0)::numeric, 1), 'median_seconds_to_pay', round(o.median_seconds::numeric),
      'packages', (select coalesce(jsonb_agg(jsonb_build_object('package', k.package, 'name', k.name, 'begun', k.begun, 'paid', k.paid,
                     'paid_percent', round(k.paid * 100 / k.begun::numeric, 1)) order by k.begun desc, k.name), '[]')
                     from (select package, name, count(*) as begun, count(*) filter (where status = 'credited') as paid
                             from begun group by 1, 2) as k),
      'failures', (select coalesce(jsonb_agg(jsonb_build_object('reason', f.reason, 'count', f.n) order by f.n desc, f.reason), '[]')
                     from (select coalesce(decline_code, failure_reason, status) as reason, count(*) as n from begun
                            where status in ('failed', 'expired') or attempt in ('declined', 'authentication_required')
                            group by 1 order by 2 desc limit 20) as f)) from one as o);
end $$;

revoke execute on all functions in schema credits from public;
grant execute on function
  credits._check_months(int), credits.revenue_by_month(boolean, int, text),
  credits.cohorts(boolean, int, text), credits.checkout_funnel(boolean, date, date, text)
to authenticated, service_role;
