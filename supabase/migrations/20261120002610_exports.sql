-- Lists for exports of the whole business, by key, so that a file of any length is read page by page. For staff.

-- Credited purchases of everybody between two days, newest first. Test and live sales are never mixed.
create function credits.sales(
  p_livemode boolean, p_from date default null, p_to date default null, p_time_zone text default 'UTC', p_limit int default 50,
  p_cursor text default null
) returns jsonb language plpgsql stable set search_path = '' as $$
declare
  v_zone  text := credits._zone(p_time_zone);
  v_size  int := credits._page_size(p_limit);
  v_at    timestamptz := coalesce(credits._timestamptz(nullif(split_part(p_cursor, ',', 1), '')), 'infinity');
  v_id    uuid := coalesce(credits._uuid(split_part(p_cursor, ',', 2)), 'ffffffff-ffff-ffff-ffff-ffffffffffff');
  v_items jsonb;
  v_next  text;
begin
  perform credits._require('service', 'super_admin', 'admin', 'finance');
  if p_livemode is null then perform credits._raise('LC400', 'Say whether live or test sales are meant (livemode).'); end if;
  with page as (
    select p, row_number() over (order by p.credited_at desc, p.id desc) as n from credits.purchases as p
     where p.credited_at is not null and (p.credited_at, p.id) < (v_at, v_id) and p.livemode = p_livemode
       and (p_from is null or p.credited_at >= p_from::timestamp at time zone v_zone)
       and (p_to is null or p.credited_at < (p_to + 1)::timestamp at time zone v_zone)
     order by p.credited_at desc, p.id desc limit v_size + 1)
  select coalesce(jsonb_agg(credits._purchase_json(p) - array['url', 'client_secret'] order by n) filter (where n <= v_size), '[]'),
         case when count(*) > v_size then (array_agg(credits._iso((p).credited_at) || ',' || (p).id order by n))[v_size] end
    into v_items, v_next from page;
  return jsonb_build_object('items', v_items, 'next_cursor', v_next);
end $$;

-- Usage between two days by account and operation. A page is so many accounts, in the order of their numbers, whether they used
-- anything or not: it may be empty although there is a next one. The cursor is the last account's number.
create function credits.usage_by_account(
  p_from date, p_to date, p_time_zone text default 'UTC', p_limit int default 50, p_cursor text default null
) returns jsonb language plpgsql stable set search_path = '' as $$
declare
  v_zone  text := credits._zone(p_time_zone);
  v_after bigint := case when p_cursor is null or p_cursor = '' then 0 else credits._cursor(p_cursor) end;
  v_last  bigint;
  v_items jsonb;
begin
  perform credits._require('service', 'super_admin', 'admin', 'finance');
  perform credits._check_days(p_from, p_to);
  select max(id) into v_last from (
    select id from credits.accounts where id > v_after order by id limit credits._page_size(p_limit)) as page;
  select coalesce(jsonb_agg(jsonb_build_object(
           'account_id', u.account_id, 'email', p.email, 'name', p.name, 'operation', o.code, 'operation_name', o.name,
           'measure', o.measure, 'events', u.events, 'quantity', u.quantity, 'charged_micros', u.charged, 'rated_micros', u.rated)
           order by u.account_id, u.charged desc, o.code), '[]')
    into v_items
    from (select x.account_id, x.operation_id, sum(x.events)::bigint as events, sum(x.quantity) as quantity,
                 sum(x.charged_micros)::bigint as charged, sum(x.rated_micros)::bigint as rated from credits.usage_live as x
           where x.account_id > v_after and x.account_id <= v_last and x.bucket >= p_from - 2 and x.bucket < p_to + 3
             and (x.bucket at time zone v_zone)::date between p_from and p_to group by 1, 2) as u
    join credits.operations as o on o.id = u.operation_id join credits.profiles as p on p.account_id = u.account_id;
  return jsonb_build_object('items', v_items, 'next_cursor',
    case when exists (select from credits.accounts where id > v_last) then v_last::text end);
end $$;

revoke execute on all functions in schema credits from public;
grant execute on function
  credits.sales(boolean, date, date, text, int, text), credits.usage_by_account(date, date, text, int, text)
to authenticated, service_role;
