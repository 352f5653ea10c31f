-- Monthly recurring revenue (MRR): what the subscriptions that run are worth a month, and what moved it.

-- What each subscription was worth a month at a moment, from the history of its changes; those that did not run are left out.
create function credits._recurring_at(p_livemode boolean, p_at timestamptz)
returns table (subscription_id uuid, account_id bigint, currency text, month_cents bigint)
language sql stable set search_path = '' as $$
  select c.subscription_id, c.account_id, c.currency,
         round(c.price_cents / case c.billing_interval when 'year' then 12.0 else 1 end)::bigint
    from (select distinct on (x.subscription_id) x.* from credits.subscription_changes as x
           where x.livemode = p_livemode and x.at < p_at order by x.subscription_id, x.id desc) as c
   where c.status in ('active', 'past_due')
$$;

-- By month and currency, the oldest first: MRR at the month's end (now, for the running month), and from the month before it: new,
-- expansion, contraction and churn add up to the difference.
create function credits.recurring_revenue(p_livemode boolean, p_months int default 12, p_time_zone text default 'UTC') returns jsonb
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
    (select date_trunc('month', min(at) at time zone v_zone)::date from credits.subscription_changes where livemode = p_livemode));
  return jsonb_build_object('time_zone', v_zone, 'livemode', p_livemode, 'rows', (
    with months as (select m::date as month from generate_series(v_first::timestamp, v_last, interval '1 month') as m),
    ends as materialized (  -- every month of the range, and the one before it
      select m.month, r.* from (select v_first - interval '1 month' as month union all select month from months) as m
       cross join lateral credits._recurring_at(p_livemode, (m.month + interval '1 month')::timestamp at time zone v_zone) as r),
    moves as (
      select coalesce(a.month, (b.month + interval '1 month')) as month, coalesce(a.currency, b.currency) as currency,
             coalesce(a.month_cents, 0) as after_cents, coalesce(b.month_cents, 0) as before_cents
        from ends as a full join ends as b on b.subscription_id = a.subscription_id and b.month = a.month - interval '1 month'),
    sums as (
      select month::date as month, currency, sum(after_cents) as mrr, count(*) filter (where after_cents > 0) as subscriptions,
             coalesce(sum(after_cents) filter (where before_cents = 0), 0) as gained,
             coalesce(sum(after_cents - before_cents) filter (where before_cents > 0 and after_cents > before_cents), 0) as expanded,
             coalesce(sum(after_cents - before_cents) filter (where after_cents > 0 and after_cents < before_cents), 0) as contracted,
             coalesce(-sum(before_cents) filter (where after_cents = 0), 0) as churned
        from moves where month between v_first and v_last group by 1, 2)
    select coalesce(jsonb_agg(jsonb_build_object(
             'month', m.month, 'currency', c.currency, 'mrr_cents', coalesce(s.mrr, 0), 'subscriptions', coalesce(s.subscriptions, 0),
             'new_cents', coalesce(s.gained, 0), 'expansion_cents', coalesce(s.expanded, 0),
             'contraction_cents', coalesce(s.contracted, 0), 'churn_cents', coalesce(s.churned, 0)) order by c.currency, m.month), '[]')
      from months as m cross join (select distinct currency from sums) as c
      left join sums as s on s.month = m.month and s.currency = c.currency));
end $$;

revoke execute on all functions in schema credits from public;
grant execute on function
  credits._recurring_at(boolean, timestamptz), credits.recurring_revenue(boolean, int, text)
to authenticated, service_role;
