-- Retention: how long is kept what only tells of the past. A job prunes it in bounded portions.
--
-- What still has work ahead is never touched: messages that wait, events that failed or were not processed. Nothing can happen twice
-- afterwards: a notice is told once because of its row in alerts, which stays; an event is processed once because of its id, which
-- stays with its type, its outcome and the payment it was about. Only messages with their attempts, and what events said, go.

create table credits.retention (
  what       text primary key check (what in ('messages', 'stripe_events')),
  days       int not null check (days between 35 and 3650),  -- alerts for the staff look back a month
  updated_at timestamptz not null default credits._now(),
  updated_by text
);
comment on table credits.retention is 'How many days finished messages and the payloads of processed Stripe events are kept.';
insert into credits.retention (what, days) values ('messages', 90), ('stripe_events', 90);
alter table credits.retention enable row level security;
create policy retention_staff_reads on credits.retention for select to authenticated using ((select credits._is_staff()));
grant select on credits.retention to authenticated, service_role;

create unique index messages_finished on credits.messages (finished_at, id) where status <> 'waiting';
create unique index stripe_events_done on credits.stripe_events (processed_at, id)
  where outcome in ('processed', 'ignored') and pruned_at is null;

create function credits.retention() returns jsonb
language plpgsql stable set search_path = '' as $$
begin
  perform credits._require('service', 'super_admin', 'admin', 'finance');
  return jsonb_build_object('items', (select jsonb_agg(jsonb_build_object(
    'what', what, 'days', days, 'updated_at', credits._iso(updated_at), 'updated_by_name', credits._person_name(updated_by)) order by what)
    from credits.retention));
end $$;

-- Changes how long something is kept. Super admins alone, with a reason, in the audit trail. Security definer: only functions write.
create function credits.set_retention(p_what text, p_days int, p_reason text) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare v_before int := (select days from credits.retention where what = p_what);
begin
  perform credits._require('service', 'super_admin');
  perform credits._check_adjustment(1, p_reason);
  if v_before is null then
    perform credits._raise('LC404', format('Nothing called “%s” is kept for a time; see the list.', left(p_what, 40)));
  elsif p_days is null or p_days not between 35 and 3650 then
    perform credits._raise('LC400', 'Keep it for 35 to 3650 days: alerts for the staff look back a month.');
  end if;
  update credits.retention set days = p_days, updated_at = credits._now(), updated_by = credits._actor() where what = p_what;
  perform credits._audit('set_retention', null, jsonb_build_object('what', p_what, 'days', p_days, 'before', v_before, 'reason', trim(p_reason)));
  return credits.retention();
end $$;

-- Prunes at most so many rows of each kind, the oldest first; call it until it answers 0. Rows somebody works on are left for the next
-- time. Security definer: only functions write.
create function credits.prune(p_limit int default 500) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  v_ids      bigint[];
  v_attempts int;
  v_events   int;
begin
  perform credits._require('service');
  select coalesce(array_agg(x.id), '{}') into v_ids from (
    select m.id from credits.messages as m
     where m.status <> 'waiting' and m.finished_at < credits._kept_since('messages')
     order by m.finished_at, m.id limit credits._page_size(p_limit) for update skip locked) as x;
  delete from credits.delivery_attempts where message_id = any (v_ids);
  get diagnostics v_attempts = row_count;
  delete from credits.messages where id = any (v_ids);
  with old as (
    select e.id from credits.stripe_events as e
     where e.outcome in ('processed', 'ignored') and e.pruned_at is null and e.processed_at < credits._kept_since('stripe_events')
     order by e.processed_at, e.id limit credits._page_size(p_limit) for update skip locked)
  update credits.stripe_events as e set pruned_at = credits._now(), error = null, payload = jsonb_build_object(
           'data', jsonb_build_object('object', jsonb_build_object('payment_intent', e.payload -> 'data' -> 'object' ->> 'payment_intent')))
    from old where e.id = old.id;
  get diagnostics v_events = row_count;
  return jsonb_build_object('messages', cardinality(v_ids), 'attempts', v_attempts, 'stripe_events', v_events);
end $$;

create function credits._kept_since(p_what text) returns timestamptz
language sql stable set search_path = '' as $$
  select credits._now() - make_interval(days => days) from credits.retention where what = p_what
$$;

revoke execute on all functions in schema credits from public;
grant execute on function credits.retention(), credits.set_retention(text, int, text) to authenticated, service_role;
grant execute on function credits.prune(int) to service_role;
