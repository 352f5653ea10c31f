-- What the system page shows: versions, figures of the database, what waits where; jobs run by hand; the webhook inbox.

create function credits.system_status() returns jsonb
language plpgsql stable set search_path = '' as $$
begin
  perform credits._require('service', 'super_admin', 'admin');
  return jsonb_build_object(
    'postgres', current_setting('server_version'), 'catalog', (select code from credits.catalogs where is_active),
    'database_bytes', pg_database_size(current_database()), 'migration', credits._last_migration(),
    'accounts', (select count(*) from credits.accounts), 'transactions', (select coalesce(sum(seq), 0) from credits.accounts),
    'purchases_waiting', (select count(*) from credits.purchases where status in ('created', 'open', 'processing')),
    'purchases_in_review', (select count(*) from credits.purchases where status = 'review'),
    'referrals_held', (select count(*) from credits.referrals where status = 'held'),
    'refunds_waiting', (select count(*) from credits.refunds where status in ('requested', 'approved', 'sent')),
    'events_waiting', (select count(*) from credits.stripe_events where outcome is null or outcome = 'failed'),
    'messages_waiting', (select count(*) from credits.messages where status = 'waiting'),
    'holds_open', (select count(*) from credits.holds where status = 'open'),
    'rollup_behind', (select coalesce(sum(a.seq - coalesce(s.seq, 0)), 0) from credits.accounts as a
                        left join credits.rollup_state as s on s.account_id = a.id where a.seq > coalesce(s.seq, 0)),
    'last_verify', (select jsonb_build_object('finished_at', credits._iso(last_finished_at), 'outcome', last_outcome, 'error', last_error)
                      from credits.jobs where job = 'verify' and last_finished_at is not null),
    'last_reconciliation', (select jsonb_build_object('finished_at', credits._iso(r.finished_at), 'status', r.status, 'found', r.found)
                              from credits.reconciliations as r where r.status in ('finished', 'failed') order by r.id desc limit 1));
end $$;

-- The version of the last migration. Security definer: the history table belongs to the owner, and other tools may keep it elsewhere.
create function credits._last_migration() returns text
language plpgsql stable security definer set search_path = '' as $$
declare v_version text;
begin
  perform credits._require('service', 'super_admin', 'admin');
  if to_regclass('supabase_migrations.schema_migrations') is not null then
    execute 'select max(version) from supabase_migrations.schema_migrations' into v_version;
  end if;
  return v_version;
end $$;

-- An administrator wants a job to run now; the program runs it after this. Security definer: writes the audit trail.
create function credits.request_job(p_job text) returns jsonb
language plpgsql security definer set search_path = '' as $$
begin
  perform credits._require('super_admin', 'admin');
  perform credits._audit('run_job', null, jsonb_build_object('job', p_job));
  return jsonb_build_object('job', p_job);
end $$;

-- What Stripe's objects carry that opens something: never shown.
create function credits._without_secrets(p_payload jsonb) returns jsonb
language sql immutable set search_path = '' as $$
  select regexp_replace(regexp_replace(p_payload::text, '"(client_secret|secret)": "[^"]*"', '"\1": "hidden"', 'g'),
                        '\m(sk|rk|pk|whsec)_[A-Za-z0-9_]+', '\1_hidden', 'g')::jsonb
$$;

create function credits._stripe_event_json(e credits.stripe_events) returns jsonb
language sql stable set search_path = '' as $$
  select jsonb_build_object(
    'event_id', e.id, 'type', e.type, 'livemode', e.livemode, 'object_id', e.object_id, 'received_at', credits._iso(e.received_at),
    'deliveries', e.deliveries, 'outcome', coalesce(e.outcome, 'waiting'), 'error', e.error, 'processed_at', credits._iso(e.processed_at),
    'pruned_at', credits._iso(e.pruned_at))
$$;

-- The webhook inbox, newest first. p_search: an event's or an object's id; p_outcome: processed, ignored, failed or waiting.
create function credits.stripe_events(
  p_type text default null, p_outcome text default null, p_search text default null, p_limit int default 50, p_cursor text default null
) returns jsonb language plpgsql stable set search_path = '' as $$
declare
  v_size  int := credits._page_size(p_limit);
  v_after credits.stripe_events;
  v_items jsonb;
  v_next  text;
begin
  perform credits._require('service', 'super_admin', 'admin');
  if p_cursor is not null and p_cursor <> '' then
    select * into v_after from credits.stripe_events where id = p_cursor;
    if v_after.id is null then
      perform credits._raise('LC400', 'cursor is not one that a list answered with; start again without it.');
    end if;
  end if;
  with page as (
    select e, e.id, row_number() over (order by e.received_at desc, e.id desc) as n from credits.stripe_events as e
     where (v_after.id is null or (e.received_at, e.id) < (v_after.received_at, v_after.id)) and (p_type is null or e.type = p_type)
       and (p_outcome is null or coalesce(e.outcome, 'waiting') = p_outcome) and (p_search is null or p_search in (e.id, e.object_id))
     order by e.received_at desc, e.id desc limit v_size + 1)
  select coalesce(jsonb_agg(credits._stripe_event_json(e) order by n) filter (where n <= v_size), '[]'),
         case when count(*) > v_size then (array_agg(id order by n))[v_size] end into v_items, v_next from page;
  return jsonb_build_object('items', v_items, 'next_cursor', v_next, 'types',
                            (select coalesce(jsonb_agg(distinct x.type), '[]') from (
                              select type from credits.stripe_events order by received_at desc, id desc limit 5000) as x));
end $$;

create function credits.stripe_event(p_event_id text) returns jsonb
language plpgsql stable set search_path = '' as $$
declare e credits.stripe_events;
begin
  perform credits._require('service', 'super_admin', 'admin');
  select * into e from credits.stripe_events where id = p_event_id;
  if e.id is null then perform credits._raise('LC404', 'There is no such event.'); end if;
  return credits._stripe_event_json(e) || jsonb_build_object('payload', credits._without_secrets(e.payload));
end $$;

-- An administrator has an event processed again; harmless, because Stripe's object is read anew. Security definer: audit trail.
create function credits.reopen_stripe_event(p_event_id text) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare e credits.stripe_events;
begin
  perform credits._require('service', 'super_admin', 'admin');
  select * into e from credits.stripe_events where id = p_event_id;
  if e.id is null then
    perform credits._raise('LC404', 'There is no such event.');
  elsif e.pruned_at is not null then
    perform credits._raise('LC409', 'It was processed long ago, and what it said is no longer kept; the reconciliation compares with Stripe.');
  end if;
  perform credits._audit('process_event_again', null, jsonb_build_object('event_id', e.id, 'type', e.type, 'outcome', e.outcome));
  return credits._stripe_event_json(e) || jsonb_build_object('payload', credits._without_secrets(e.payload));
end $$;

revoke execute on all functions in schema credits from public;
grant execute on function
  credits.system_status(), credits._last_migration(), credits.request_job(text), credits._without_secrets(jsonb),
  credits._stripe_event_json(credits.stripe_events), credits.stripe_events(text, text, text, int, text), credits.stripe_event(text),
  credits.reopen_stripe_event(text)
to authenticated, service_role;
