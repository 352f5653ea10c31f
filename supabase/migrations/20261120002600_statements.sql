-- Monthly statements: what an account had, what came and went, what is left, and what was paid for it.
--
-- A month is one of the calendar, cut by the clocks of the account's own time zone. Everything counts when it was booked (late
-- usage in the month in which it arrived), expired credits when they expired, as in balance_as_of(): so a month that is over
-- never changes, one month's closing balance is the next one's opening, and opening + movements = closing, always.

-- The first moment of a month and of the next one, on the account's clock. p_month: YYYY-MM; null: the current one.
create function credits._statement_month(
  p_account_id bigint, p_month text, out zone text, out month date, out starts_at timestamptz, out ends_at timestamptz
) language plpgsql stable set search_path = '' as $$
begin
  zone := (credits._settings(p_account_id)).time_zone;
  if p_month is not null and p_month !~ '^(19|20|21)\d\d-(0[1-9]|1[0-2])$' then
    perform credits._raise('LC400', 'Give the month of a statement as year and month, such as 2026-11.');
  end if;
  month := coalesce((p_month || '-01')::date, date_trunc('month', credits._now() at time zone zone)::date);
  starts_at := month::timestamp at time zone zone;
  ends_at := (month + interval '1 month') at time zone zone;
  if starts_at > credits._now() then
    perform credits._raise('LC404', 'This month has not begun; there is no statement of it yet.');
  end if;
end $$;

-- Posted balance just before each of some moments: expired credits are gone from their expiry on, whenever that is booked.
create function credits._posted_before(p_account_id bigint, p_moments timestamptz[])
returns table (at timestamptz, posted_micros bigint) language plpgsql stable set search_path = '' as $$
declare v_last bigint := (select seq from credits.accounts where id = p_account_id);
begin
  return query
    with expired as materialized (
      select t.created_at as booked_at, t.occurred_at as expired_at, -t.amount_micros as micros from credits.transactions as t
       where t.account_id = p_account_id and t.kind = 'expiry' and t.occurred_at is not null
      union all
      select 'infinity', g.expires_at, g.remaining_micros from credits.grants_now as g
       where g.account_id = p_account_id and g.remaining_micros > 0 and g.expires_at <= credits._now())
    select m.at, (coalesce(t.posted_after_micros, 0) - (
             select coalesce(sum(x.micros), 0) from expired as x where x.booked_at >= m.at and x.expired_at < m.at))::bigint
      from unnest(p_moments) as m (at)
      left join credits.transactions as t
        on t.account_id = p_account_id and t.seq = credits._seq_before(p_account_id, m.at, 0, v_last);
end $$;

-- What moved the balance between two moments that have passed, by kind and operation, in the order of a statement.
create function credits._statement_movements(p_account_id bigint, p_from timestamptz, p_to timestamptz) returns jsonb
language sql stable set search_path = '' as $$
  with span as materialized (  -- not once for each row
    select credits._seq_before(a.id, p_from, 0, a.seq) as low, credits._seq_before(a.id, p_to, 0, a.seq) as high, a.id
      from credits.accounts as a where a.id = p_account_id),
  moved as (
    select t.kind, t.operation_id, t.amount_micros, t.quantity from span
      join credits.transactions as t on t.account_id = span.id and t.seq > span.low and t.seq <= span.high
     where t.kind <> 'expiry' or t.occurred_at is null
    union all  -- expiries by the moment they took place, booked in time, late or not yet
    select t.kind, null, t.amount_micros, null from credits.transactions as t
     where t.account_id = p_account_id and t.kind = 'expiry' and t.occurred_at >= p_from and t.occurred_at < p_to
    union all
    select 'expiry', null, -g.remaining_micros, null from credits.grants_now as g
     where g.account_id = p_account_id and g.remaining_micros > 0
       and g.expires_at >= p_from and g.expires_at < p_to),
  sums as (
    select m.kind, m.operation_id, count(*) as n, sum(m.amount_micros)::bigint as micros,
           sum(m.quantity) filter (where m.kind = 'use') as quantity from moved as m group by 1, 2)
  select coalesce(jsonb_agg(jsonb_build_object(
           'kind', s.kind, 'operation', o.code, 'name', o.name, 'measure', o.measure, 'count', s.n, 'quantity', s.quantity,
           'amount_micros', s.micros) order by k.place, s.micros, o.code), '[]')
    from sums as s
    join unnest(array['purchase', 'bonus', 'grant', 'adjustment', 'use', 'reversal', 'refund', 'dispute', 'expiry', 'extension',
                      'debt_recovery']) with ordinality as k (kind, place) on k.kind = s.kind
    left join credits.operations as o on o.id = s.operation_id
   where s.kind <> 'debt_recovery'  -- a debt paid from credits moves nothing
$$;

-- The credited purchases of a month, oldest first, those after p_after (the id of the last one seen).
create function credits._statement_purchases(p_account_id bigint, p_from timestamptz, p_to timestamptz, p_size int, p_after uuid) returns jsonb
language sql stable set search_path = '' as $$
  with page as (
    select p as purchase, p.id, row_number() over (order by p.credited_at, p.id) as n
      from credits.purchases as p left join credits.purchases as a on a.id = p_after and a.account_id = p_account_id
     where p.account_id = p_account_id and p.credited_at >= p_from and p.credited_at < p_to
       and (p_after is null or (p.credited_at, p.id) > (a.credited_at, a.id))
     order by p.credited_at, p.id limit p_size + 1)
  select jsonb_build_object(
    'items', coalesce(jsonb_agg(credits._purchase_json(purchase) - array['url', 'client_secret', 'email'] order by n)
                      filter (where n <= p_size), '[]'),
    'next_cursor', case when count(*) > p_size then (array_agg(id order by n))[p_size] end) from page
$$;

-- What was paid in a month: sums by currency of all its credited purchases.
create function credits._statement_payments(p_account_id bigint, p_from timestamptz, p_to timestamptz) returns jsonb
language sql stable set search_path = '' as $$
  with paid as materialized (
    select p as purchase from credits.purchases as p
     where p.account_id = p_account_id and p.credited_at >= p_from and p.credited_at < p_to),
  back as (
    select p.currency, sum(r.amount_cents + r.tax_cents)::bigint as cents from credits.refunds as r
      join credits.purchases as p on p.id = r.purchase_id
     where r.account_id = p_account_id and r.status = 'succeeded' and r.finished_at >= p_from and r.finished_at < p_to group by 1),
  sums as (
    select (purchase).currency, count(*) as n, sum((purchase).list_price_cents)::bigint as list,
           sum((purchase).list_price_cents - credits._paid_cents(purchase))::bigint as discount,
           sum(coalesce((purchase).tax_cents, 0))::bigint as tax,
           sum(coalesce((purchase).amount_total_cents, (purchase).price_cents))::bigint as total from paid group by 1)
  select jsonb_build_object(
    'payments', (select coalesce(jsonb_agg(jsonb_build_object(
       'currency', currency, 'purchases', coalesce(s.n, 0), 'list_price_cents', coalesce(s.list, 0),
       'discount_cents', coalesce(s.discount, 0), 'tax_cents', coalesce(s.tax, 0), 'total_cents', coalesce(s.total, 0),
       'refunded_cents', coalesce(b.cents, 0)) order by currency), '[]') from sums as s full join back as b using (currency)))
$$;

-- One month of an account, with its first 500 purchases; purchases_cursor: statement_purchases goes on from there.
-- complete: whether the month is over; until then it goes up to now.
create function credits.statement(p_month text default null, p_account_id bigint default null) returns jsonb
language plpgsql stable set search_path = '' as $$
declare
  v_account   bigint := credits._account(p_account_id, 'read');
  v_now       timestamptz := credits._now();
  m           record;
  v_end       timestamptz;
  v_balances  bigint[];
  v_movements jsonb;
  v_purchases jsonb;
begin
  m := credits._statement_month(v_account, p_month);
  v_end := least(m.ends_at, v_now + interval '1 microsecond');  -- what happens in this very moment counts
  v_balances := (select array_agg(b.posted_micros order by b.at) from credits._posted_before(v_account, array[m.starts_at, v_end]) as b);
  v_movements := credits._statement_movements(v_account, m.starts_at, v_end);
  v_purchases := credits._statement_purchases(v_account, m.starts_at, v_end, 500, null);
  return (
    select jsonb_build_object(
      'account_id', v_account, 'name', p.name, 'email', p.email, 'month', to_char(m.month, 'YYYY-MM'), 'time_zone', m.zone,
      'from', credits._iso(m.starts_at), 'to', credits._iso(m.ends_at), 'complete', m.ends_at <= v_now,
      'as_of', credits._iso(least(m.ends_at, v_now)), 'opening_micros', v_balances[1], 'closing_micros', v_balances[2],
      'movements', v_movements,
      'purchases', v_purchases -> 'items', 'purchases_cursor', v_purchases -> 'next_cursor')
      || (select jsonb_build_object('in_micros', coalesce(sum(x.micros) filter (where x.micros > 0), 0)::bigint,
                                    'out_micros', coalesce(sum(x.micros) filter (where x.micros < 0), 0)::bigint)
            from (select (e ->> 'amount_micros')::bigint as micros from jsonb_array_elements(v_movements) as e) as x)
      || credits._statement_payments(v_account, m.starts_at, v_end)
      from credits.profiles as p where p.account_id = v_account);
end $$;

-- The credited purchases of a month, oldest first; so that a statement of any length can be read to its end.
create function credits.statement_purchases(
  p_month text, p_account_id bigint default null, p_limit int default 500, p_cursor text default null
) returns jsonb language plpgsql stable set search_path = '' as $$
declare
  v_account bigint := credits._account(p_account_id, 'read');
  v_size    int := credits._page_size(p_limit);
  v_after   uuid := credits._uuid(p_cursor);
  m         record;
begin
  m := credits._statement_month(v_account, p_month);
  if p_cursor <> '' and not exists (
    select from credits.purchases where id = v_after and account_id = v_account and credited_at is not null)
  then
    perform credits._raise('LC400', 'cursor is not one that a list answered with; start again without it.');
  end if;
  return credits._statement_purchases(v_account, m.starts_at, m.ends_at, v_size, v_after);
end $$;

-- The months of an account, newest first, each with its opening and closing balance. The cursor is the last month.
create function credits.statements(p_account_id bigint default null, p_limit int default 24, p_cursor text default null) returns jsonb
language plpgsql stable set search_path = '' as $$
declare
  v_account bigint := credits._account(p_account_id, 'read');
  v_size    int := credits._page_size(p_limit);
  v_zone    text := (credits._settings(v_account)).time_zone;
  v_now     timestamptz := credits._now();
  v_first   date;
  v_last    date := date_trunc('month', v_now at time zone v_zone)::date;
  v_items   jsonb;
begin
  if p_cursor is not null and p_cursor <> '' then
    v_last := ((credits._statement_month(v_account, p_cursor)).month - interval '1 month')::date;
  end if;
  select date_trunc('month', least(t.created_at, a.created_at) at time zone v_zone)::date into v_first
    from credits.accounts as a left join credits.transactions as t on t.account_id = a.id and t.seq = 1 where a.id = v_account;
  with months as (
    select d::date as month, d at time zone v_zone as starts_at, (d + interval '1 month') at time zone v_zone as ends_at
      from generate_series(greatest(v_first, v_last - make_interval(months => v_size - 1)), v_last::timestamp, interval '1 month') as d),
  edges as (
    select array_agg(starts_at) || max(least(ends_at, v_now + interval '1 microsecond')) as moments from months),
  known as materialized (
    select b.at, b.posted_micros from edges cross join lateral credits._posted_before(v_account, edges.moments) as b)
  select coalesce(jsonb_agg(jsonb_build_object(
           'month', to_char(m.month, 'YYYY-MM'), 'from', credits._iso(m.starts_at), 'to', credits._iso(m.ends_at),
           'complete', m.ends_at <= v_now, 'opening_micros', o.posted_micros, 'closing_micros', c.posted_micros)
           order by m.month desc), '[]')
    into v_items
    from months as m join known as o on o.at = m.starts_at
    join known as c on c.at = least(m.ends_at, v_now + interval '1 microsecond');
  return jsonb_build_object('items', v_items, 'time_zone', v_zone, 'account_id', v_account, 'next_cursor',
    case when v_last - make_interval(months => v_size - 1) > v_first then v_items -> -1 ->> 'month' end);
end $$;

-- The caller's customer at Stripe, for the page where cards are looked after: for the owner alone, signed in.
create function credits.portal_customer(p_livemode boolean) returns jsonb
language plpgsql stable set search_path = '' as $$
begin
  return credits.customer(p_livemode, credits._owner_only());
end $$;

revoke execute on all functions in schema credits from public;
grant execute on function
  credits._statement_month(bigint, text), credits._posted_before(bigint, timestamptz[]),
  credits._statement_movements(bigint, timestamptz, timestamptz), credits._statement_payments(bigint, timestamptz, timestamptz),
  credits._statement_purchases(bigint, timestamptz, timestamptz, int, uuid), credits.statement_purchases(text, bigint, int, text),
  credits.statement(text, bigint), credits.statements(bigint, int, text),
  credits.portal_customer(boolean)
to authenticated, service_role;
