-- The audit trail as staff read it: who did what to whom, when and why. Rows are written where the thing is done.

create unique index audit_log_by_account on credits.audit_log (account_id, id);
create unique index audit_log_by_action on credits.audit_log (action, id);
create unique index audit_log_by_actor on credits.audit_log (actor, id);

-- Who an actor is: {kind: person, key or system, name, email}. A person keeps their rows when their profile is gone.
create function credits._actor_json(p_actor text) returns jsonb
language sql stable set search_path = '' as $$
  select coalesce(
    (select jsonb_build_object('kind', 'person', 'name', p.name, 'email', p.email, 'role', p.role, 'account_id', p.account_id)
       from credits.accounts as a join credits.profiles as p on p.account_id = a.id where a.owner_id = credits._uuid(p_actor)),
    (select jsonb_build_object('kind', 'key', 'name', k.name, 'email', p.email, 'role', null, 'account_id', k.account_id)
       from credits.api_keys as k join credits.profiles as p on p.account_id = k.account_id
      where p_actor like 'key:%' and k.id = credits._bigint(substr(p_actor, 5))),
    jsonb_build_object('kind', case when p_actor like 'service%' then 'system' else 'person' end,
                       'name', nullif(substr(p_actor, 9), ''), 'email', null, 'role', null, 'account_id', null))
$$;

-- Newest first. p_actor: a part of somebody's name or e-mail, or an actor as it is stored. actions: what can be asked for.
-- Security definer: it names API keys, whose table nobody reads.
create function credits.audit(
  p_actor text default null, p_action text default null, p_account_id bigint default null, p_from timestamptz default null,
  p_to timestamptz default null, p_search text default null, p_limit int default 50, p_cursor text default null
) returns jsonb language plpgsql stable security definer set search_path = '' as $$
declare
  v_size   int := credits._page_size(p_limit);
  v_before bigint := credits._cursor(p_cursor);
  v_part   text := lower(nullif(trim(p_actor), ''));
  v_search text := lower(nullif(trim(p_search), ''));
  v_actors text[];
  v_page   jsonb;
begin
  perform credits._require('service', 'super_admin', 'admin', 'finance');
  if v_part is not null then
    v_actors := array[trim(p_actor)] || array(
      select a.owner_id::text from credits.profiles as p join credits.accounts as a on a.id = p.account_id
       where strpos(lower(concat_ws(' ', p.name, p.email)), v_part) > 0 and a.owner_id is not null limit 1000)
      || array(select 'key:' || k.id from credits.api_keys as k where strpos(lower(k.name), v_part) > 0 limit 1000);
  end if;
  with page as (
    select x.*, row_number() over (order by x.id desc) as n from credits.audit_log as x
     where x.id < v_before and (p_action is null or x.action = p_action) and (p_account_id is null or x.account_id = p_account_id)
       and (v_actors is null or x.actor = any (v_actors) or (v_part = 'system' and x.actor like 'service%'))
       and (p_from is null or x.at >= p_from) and (p_to is null or x.at < p_to)
       and (v_search is null or strpos(lower(x.detail::text), v_search) > 0)
     order by x.id desc limit v_size + 1)
  select jsonb_build_object(
      'items', coalesce(jsonb_agg(jsonb_build_object(
        'audit_id', page.id, 'at', credits._iso(page.at), 'actor', page.actor, 'who', credits._actor_json(page.actor), 'action', page.action,
        'account_id', page.account_id, 'account_email', p.email, 'account_name', p.name, 'detail', page.detail)
        order by page.n) filter (where page.n <= v_size), '[]'),
      'next_cursor', case when count(*) > v_size then (min(page.id) filter (where page.n <= v_size))::text end)
    into v_page from page left join credits.profiles as p on p.account_id = page.account_id;
  return v_page || jsonb_build_object('actions', credits._audit_actions());
end $$;

-- Each action there is, found by stepping through the index: the trail may be long.
create function credits._audit_actions() returns jsonb
language sql stable set search_path = '' as $$
  with recursive step (action) as (
    (select action from credits.audit_log order by action limit 1)
    union all
    select (select l.action from credits.audit_log as l where l.action > s.action order by l.action limit 1) from step as s where s.action is not null)
  select coalesce(jsonb_agg(action order by action) filter (where action is not null), '[]') from step
$$;

revoke execute on all functions in schema credits from public;
grant execute on function credits.audit(text, text, bigint, timestamptz, timestamptz, text, int, text) to authenticated, service_role;
