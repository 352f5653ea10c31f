-- Reading the ledger: lists by key, explain, balances of the past, and the check that everything adds up.
-- All run as the caller: row policies are the second lock behind credits._account().

create function credits._transaction_json(t credits.transactions) returns jsonb
language sql stable set search_path = '' as $$
  select jsonb_build_object(
    'transaction_id', t.account_id || '-' || t.seq, 'account_id', t.account_id, 'seq', t.seq, 'kind', t.kind,
    'amount_micros', t.amount_micros, 'posted_after_micros', t.posted_after_micros,
    'available_after_micros', t.available_after_micros,
    'operation', (select code from credits.operations where id = t.operation_id), 'quantity', t.quantity,
    'price_id', t.price_id, 'rated_micros', t.rated_micros,
    'paid_by', case when t.kind = 'use' then coalesce(t.paid_by, 'credits') end, 'allowance_quantity', t.allowance_quantity,
    'reason', t.reason, 'actor', coalesce(t.actor, 'owner'),
    'created_at', credits._iso(t.created_at), 'occurred_at', credits._iso(coalesce(t.occurred_at, t.created_at)),
    'idempotency_key', t.idempotency_key, 'call_id', t.call_id, 'purchase_id', t.purchase_id,
    'reverses', t.account_id || '-' || t.reverses_seq, 'metadata', t.metadata)
$$;

-- Newest first. p_kind: a kind, or purchases (purchase, bonus) or usage (use and its reversals). The cursor is the last seq.
create function credits.transactions(
  p_account_id bigint default null, p_kind text default null, p_from timestamptz default null, p_to timestamptz default null,
  p_search text default null, p_limit int default 50, p_cursor text default null
) returns jsonb language plpgsql stable set search_path = '' as $$
declare
  v_account bigint := credits._account(p_account_id, 'read');
  v_size    int := credits._page_size(p_limit);
  v_kinds   text[] := case p_kind when 'purchases' then array['purchase', 'bonus'] when 'usage' then array['use', 'reversal']
                                  else array[p_kind] end;
  v_before  bigint := credits._cursor(p_cursor);
  v_items   jsonb;
  v_last    bigint;
begin
  with page as (
    select t from credits.transactions as t left join credits.operations as o on o.id = t.operation_id
     where t.account_id = v_account and t.seq < v_before
       and (p_kind is null or t.kind = any (v_kinds))
       and (p_from is null or t.created_at >= p_from) and (p_to is null or t.created_at < p_to)
       and (p_search is null or p_search = '' or strpos(lower(concat_ws(' ', t.reason, t.idempotency_key, o.code, o.name,
            t.account_id || '-' || t.seq, t.metadata::text)), lower(p_search)) > 0)
     order by t.seq desc limit v_size + 1),
  numbered as (select t, row_number() over (order by (t).seq desc) as n from page)
  select coalesce(jsonb_agg(credits._transaction_json(t) order by n) filter (where n <= v_size), '[]'),
         case when count(*) > v_size then min((t).seq) filter (where n <= v_size) end
    into v_items, v_last from numbered;
  return jsonb_build_object('items', v_items, 'next_cursor', v_last::text);
end $$;

create function credits._cursor(p_cursor text) returns bigint
language plpgsql immutable set search_path = '' as $$
begin
  if p_cursor is null or p_cursor = '' then return 9223372036854775807; end if;
  if p_cursor !~ '^\d{1,18}$' then
    perform credits._raise('LC400', 'cursor is not one that a list answered with; start again without it.');
  end if;
  return p_cursor::bigint;
end $$;

-- Everything behind one transaction: the price version and its components, the grants drawn on, balance before and after.
create function credits.explain(p_transaction_id text) returns jsonb
language plpgsql stable set search_path = '' as $$
declare
  v_account bigint := credits._bigint(substring(p_transaction_id from '^(\d{1,18})-\d{1,18}$'));
  v_seq     bigint := credits._bigint(substring(p_transaction_id from '^\d{1,18}-(\d{1,18})$'));
  t         credits.transactions;
  v_billed  numeric;
begin
  if v_account is not null then perform credits._account(v_account, 'read'); end if;
  select * into t from credits.transactions where account_id = v_account and seq = v_seq;
  if t.seq is null then
    perform credits._raise('LC404', format('There is no transaction “%s”; copy its id from the list.', left(p_transaction_id, 60)));
  end if;
  if t.price_id is not null then v_billed := (credits._rate(t.price_id, abs(t.quantity))).billed; end if;
  return credits._transaction_json(t) || jsonb_build_object(
    'posted_before_micros', t.posted_after_micros - t.amount_micros, 'billed_quantity', v_billed,
    'price', (select jsonb_build_object('price_id', p.id, 'catalog', p.catalog, 'rounding', p.rounding,
                       'minimum_charge_micros', p.minimum_charge_micros, 'effective_from', credits._iso(p.effective_from),
                       'components', credits._components(p.id)) from credits.prices as p where p.id = t.price_id),
    'entries', (select coalesce(jsonb_agg(jsonb_build_object(
                         'grant_id', e.grant_id, 'amount_micros', e.amount_micros, 'source', coalesce(g.source, 'debt'),
                         'promotional', g.is_promotional, 'purchase_id', g.purchase_id, 'expires_at', credits._iso(g.expires_at))
                         order by e.position), '[]')
                  from credits.all_entries as e left join credits.grants as g on g.id = e.grant_id
                 where e.account_id = v_account and e.seq = v_seq));
end $$;

-- Posted balance at a past moment. Grants that had expired by then count as gone, whenever the job booked them.
create function credits.balance_as_of(p_at timestamptz, p_account_id bigint default null) returns jsonb
language plpgsql stable set search_path = '' as $$
declare
  v_account bigint := credits._account(p_account_id, 'read');
  v_posted  bigint;
begin
  if p_at is null or p_at > credits._now() then
    perform credits._raise('LC400', 'Give a moment that has passed, as ISO 8601 with its time zone.');
  end if;
  select posted_after_micros into v_posted from credits.transactions
   where account_id = v_account and created_at <= p_at order by seq desc limit 1;
  v_posted := coalesce(v_posted, 0)
    + (select coalesce(sum(amount_micros), 0) from credits.transactions
        where account_id = v_account and kind = 'expiry' and created_at > p_at and occurred_at <= p_at)
    - (select coalesce(sum(remaining_micros), 0) from credits.grants_now
        where account_id = v_account and remaining_micros > 0 and expires_at <= p_at);
  return jsonb_build_object('account_id', v_account, 'posted_micros', v_posted, 'as_of', credits._iso(p_at));
end $$;

-- Recomputes every balance and every account's rolled up usage from the ledger; answers the first 1,000 differences.
create function credits.verify() returns jsonb
language plpgsql stable set search_path = '' as $$
declare v jsonb;
begin
  perform credits._require('service');
  with ledger as (
    select account_id, sum(amount_micros)::bigint as posted, max(seq) as seq, count(*) as n,
           sum(case when kind in ('use', 'reversal') and operation_id is not null then -amount_micros else 0 end)::bigint as used,
           sum(case when kind in ('purchase', 'bonus') then amount_micros else 0 end)::bigint as purchased
      from credits.transactions group by account_id),
  latest as (
    select t.account_id, t.posted_after_micros from credits.transactions as t
      join credits.accounts as a on a.id = t.account_id and a.seq = t.seq),
  lots as (
    select account_id, sum(remaining_micros)::bigint as remaining from credits.grants_now group by account_id),
  holds as (
    select h.account_id, sum(g.amount_micros)::bigint as held from credits.holds as h
      join credits.hold_grants as g on g.hold_id = h.id where h.status = 'open' group by h.account_id),
  by_grant as (
    select e.grant_id, e.account_id, sum(e.amount_micros)::bigint as total from credits.all_entries as e
     where e.grant_id is not null group by 1, 2),
  rolled as (
    select account_id, sum(charged_micros)::bigint as charged, sum(events)::bigint as events
      from credits.usage_rollup group by account_id),
  by_day as (select account_id, sum(charged_micros)::bigint as charged, sum(events)::bigint as events from credits.usage_days group by 1),
  seen as (  -- what the rollup says it has seen
    select t.account_id, sum(-t.amount_micros)::bigint as charged,
           sum(case t.kind when 'reversal' then -1 else 1 end)::bigint as events
      from credits.rollup_state as s join credits.transactions as t on t.account_id = s.account_id and t.seq <= s.seq
     where t.operation_id is not null and t.kind in ('use', 'reversal') group by t.account_id),
  held_of_grant as (
    select g.grant_id, sum(g.amount_micros)::bigint as held from credits.hold_grants as g
      join credits.holds as h on h.id = g.hold_id and h.status = 'open' group by 1),
  differing as (
    select a.id as account_id, c.what, c.expected, c.actual from credits.accounts as a
      left join ledger on ledger.account_id = a.id left join lots on lots.account_id = a.id
      left join holds on holds.account_id = a.id left join latest on latest.account_id = a.id
      left join rolled on rolled.account_id = a.id left join seen on seen.account_id = a.id left join by_day on by_day.account_id = a.id
     cross join lateral (values
       ('posted balance against the sum of transactions', coalesce(ledger.posted, 0), a.posted_micros),
       ('posted balance against the last transaction', coalesce(latest.posted_after_micros, 0), a.posted_micros),
       ('posted balance against grants, holds and debt',
        coalesce(lots.remaining, 0) + coalesce(holds.held, 0) - a.debt_micros, a.posted_micros),
       ('held against open holds', coalesce(holds.held, 0), a.held_micros),
       ('number of transactions', coalesce(ledger.n, 0), a.seq),
       ('total used', coalesce(ledger.used, 0), a.used_micros),
       ('total purchased', coalesce(ledger.purchased, 0), a.purchased_micros),
       ('rolled up usage', coalesce(seen.charged, 0), coalesce(rolled.charged, 0)),
       ('number of rolled up uses', coalesce(seen.events, 0), coalesce(rolled.events, 0)),
       ('usage by days', coalesce(seen.charged, 0), coalesce(by_day.charged, 0)),
       ('number of uses by days', coalesce(seen.events, 0), coalesce(by_day.events, 0))) as c (what, expected, actual)
     where c.expected is distinct from c.actual
    union all
    select g.account_id, 'grant ' || g.id || ' against its entries', coalesce(b.total, 0),
           g.remaining_micros + coalesce(h.held, 0)
      from credits.grants_now as g left join by_grant as b on b.grant_id = g.id and b.account_id = g.account_id
      left join held_of_grant as h on h.grant_id = g.id
     where coalesce(b.total, 0) <> g.remaining_micros + coalesce(h.held, 0)
    union all
    select null, 'usage of everybody on ' || coalesce(d.day, t.day), coalesce(d.charged, 0), coalesce(t.charged, 0)
      from (select day, sum(charged_micros)::bigint as charged, sum(events) as events from credits.usage_days group by 1) as d
      full join (select credits._utc_day(bucket) as day, sum(charged_micros)::bigint as charged, sum(events) as events
                   from credits.usage_totals group by 1) as t on t.day = d.day
     where (d.charged, d.events) is distinct from (t.charged, t.events))
  select coalesce(jsonb_agg(jsonb_build_object('account_id', account_id, 'what', what, 'expected_micros', expected,
                                               'found_micros', actual) order by account_id, what), '[]')
    into v from (select * from differing order by account_id, what limit 1000) as first_ones;
  return jsonb_build_object('differences', v, 'accounts', (select count(*) from credits.accounts),
                            'transactions', (select coalesce(sum(seq), 0) from credits.accounts));
end $$;

-- Accounts for staff, newest first, found by a part of name or e-mail or by number.
create function credits.accounts_list(p_search text default null, p_limit int default 50, p_cursor text default null) returns jsonb
language plpgsql stable set search_path = '' as $$
declare
  v_size   int := credits._page_size(p_limit);
  v_before bigint := credits._cursor(p_cursor);
  v_search text := lower(trim(coalesce(p_search, '')));
  v_items  jsonb;
  v_last   bigint;
begin
  perform credits._require('service', 'super_admin', 'admin', 'finance');
  with page as (
    select a.id, row_number() over (order by a.id desc) as n, jsonb_build_object(
        'account_id', a.id, 'email', p.email, 'name', p.name, 'role', p.role, 'unlimited', a.is_unlimited,
        'available_micros', a.posted_micros - a.held_micros, 'held_micros', a.held_micros, 'debt_micros', a.debt_micros,
        'total_purchased_micros', a.purchased_micros, 'total_used_micros', a.used_micros,
        'last_activity_at', credits._iso(a.last_at), 'created_at', credits._iso(a.created_at), 'is_demo', p.is_demo) as item
      from credits.accounts as a join credits.profiles as p on p.account_id = a.id
     where a.id < v_before
       and (v_search = '' or strpos(lower(concat_ws(' ', p.name, p.email)), v_search) > 0 or a.id::text = v_search)
     order by a.id desc limit v_size + 1)
  select coalesce(jsonb_agg(item order by n) filter (where n <= v_size), '[]'),
         case when count(*) > v_size then min(id) filter (where n <= v_size) end
    into v_items, v_last from page;
  return jsonb_build_object('items', v_items, 'next_cursor', v_last::text);
end $$;

revoke execute on all functions in schema credits from public;
grant execute on function
  credits._transaction_json(credits.transactions), credits._cursor(text), credits.explain(text),
  credits.transactions(bigint, text, timestamptz, timestamptz, text, int, text),
  credits.balance_as_of(timestamptz, bigint), credits.accounts_list(text, int, text)
to authenticated, service_role;
grant execute on function credits.verify() to service_role;
