-- Operations alerts: what the people who run this must know. A condition opens one alert, keeps its evidence up to date, and closes
-- it by itself when it ends. Thresholds stand in one function, beside what they are for.

create table credits.operations_alerts (
  id              bigint generated always as identity primary key,
  kind            text not null,
  about           text not null default '',       -- which job, which account; empty: there is one of this kind
  sentence        text not null,
  evidence        jsonb not null,
  account_id      bigint references credits.accounts (id),
  opened_at       timestamptz not null,
  seen_at         timestamptz not null,
  resolved_at     timestamptz,
  acknowledged_at timestamptz,
  acknowledged_by text,
  note            text,
  told_at         timestamptz
);
create unique index operations_alerts_open on credits.operations_alerts (kind, about) where resolved_at is null;
create unique index operations_alerts_by_account on credits.operations_alerts (account_id, id);
create unique index operations_alerts_untold on credits.operations_alerts (id) where told_at is null;
alter table credits.operations_alerts enable row level security;
create policy operations_alerts_staff_reads on credits.operations_alerts for select to authenticated using ((select credits._is_staff()));
grant select on credits.operations_alerts to authenticated, service_role;

create type credits.condition as (kind text, about text, sentence text, evidence jsonb, account_id bigint);

-- late_periods: a job is late after so many of its periods (and late_least); failed_runs in a row are a failure. Payments: at least
-- min_failures in a day, at a rate rate_points above the usual one and usual_times it (or half way from it to all of them). Usage:
-- usual_days of activity, at least min_used_micros in a day and unusual_times the usual day.
create function credits._operations_rules(
  out late_periods int, out late_least interval, out failed_runs int, out min_failures int, out usual_times numeric,
  out rate_points numeric, out usual_days int, out min_used_micros bigint, out unusual_times numeric, out stuck interval
) language sql immutable set search_path = '' as $$
  select 5, interval '5 minutes', 3, 5, 2.0, 0.10, 5, 20000000, 5.0, interval '15 minutes'
$$;

-- p_jobs: {"poll": 10, ...}, the period of each job in seconds.
create function credits._job_conditions(p_jobs jsonb) returns setof credits.condition
language sql stable set search_path = '' as $$
  select 'job_late', j.job, format('Job %s has not run since %s; it should run every %s seconds. Look whether the program runs and '
           || 'its logs, then run the job by hand.', j.job, coalesce(to_char(j.last_started_at at time zone 'UTC', 'YYYY-MM-DD HH24:MI "UTC"'), 'the start'), k.value),
         jsonb_build_object('job', j.job, 'due_at', credits._iso(j.due_at), 'last_started_at', credits._iso(j.last_started_at),
                            'every_seconds', k.value::int), null::bigint
    from credits.jobs as j join jsonb_each_text(p_jobs) as k on k.key = j.job, credits._operations_rules() as x
   where j.lease_until < credits._now()
     and j.due_at < credits._now() - greatest(x.late_periods * make_interval(secs => k.value::int), x.late_least)
  union all
  select 'job_failing', j.job, format('Job %s has failed %s times in a row: %s', j.job, j.failures, j.last_error),
         jsonb_build_object('job', j.job, 'failures', j.failures, 'last_error', j.last_error,
                            'last_finished_at', credits._iso(j.last_finished_at)), null
    from credits.jobs as j, credits._operations_rules() as x
   where j.failures >= x.failed_runs and p_jobs ? j.job
     and jsonb_typeof(j.last_outcome -> 'differences') is distinct from 'array'  -- that is told as what it is
  union all
  select 'ledger_difference', '', format('Differences the ledger check found: %s. Nothing is repaired by itself: run the check again, and '
           || 'look at each account it names.', v.n),
         jsonb_build_object('found_at', credits._iso(j.last_finished_at), 'differences', j.last_outcome -> 'differences'), null
    from credits.jobs as j, lateral (select case when jsonb_typeof(j.last_outcome -> 'differences') = 'array'
                                                 then jsonb_array_length(j.last_outcome -> 'differences') else 0 end as n) as v
   where j.job = 'verify' and v.n > 0
$$;

-- Payments that did not go through, each payment once: what Stripe told of, what auto-reload tried, what ended as failed.
create function credits._payment_failures(p_from timestamptz, p_to timestamptz, out failed bigint, out paid bigint)
language sql stable set search_path = '' as $$
  select (select count(distinct x.payment) from (
            select e.object_id as payment from credits.stripe_events as e
             where e.received_at >= p_from and e.received_at < p_to and e.type = 'payment_intent.payment_failed'
            union all
            select p.payment_intent_id from credits.auto_reload_attempts as a join credits.purchases as p on p.id = a.purchase_id
             where a.finished_at >= p_from and a.finished_at < p_to and a.status in ('declined', 'authentication_required')
            union all
            select coalesce(p.payment_intent_id, p.id::text) from credits.purchases as p
             where p.status = 'failed' and p.created_at >= p_from and p.created_at < p_to) as x),
         (select count(*) from credits.purchases where credited_at >= p_from and credited_at < p_to)
$$;

create function credits._payment_conditions() returns setof credits.condition
language sql stable set search_path = '' as $$
  with d as (
    select d.failed, d.paid, h.failed as usual_failed, h.paid as usual_paid,
           d.failed / nullif(d.failed + d.paid, 0)::numeric as rate, h.failed / nullif(h.failed + h.paid, 0)::numeric as usual_rate
      from credits._payment_failures(credits._now() - interval '1 day', 'infinity') as d,
           credits._payment_failures(credits._now() - interval '31 days', credits._now() - interval '1 day') as h)
  select 'payment_failures', '', format('%s of %s payments failed in the last 24 hours (%s %%; usual: %s %%). Look at the reasons in '
           || 'Stripe''s dashboard; many small ones from new accounts mean that stolen cards are being tried.', d.failed,
           d.failed + d.paid, round(100 * d.rate, 1), coalesce(round(100 * d.usual_rate, 1)::text, 'not known')),
         to_jsonb(d), null::bigint
    from d, credits._operations_rules() as x
   where d.failed >= x.min_failures
     and d.rate > greatest(coalesce(d.usual_rate, 0) + x.rate_points,
                           least(coalesce(d.usual_rate, 0) * x.usual_times, (coalesce(d.usual_rate, 0) + 1) / 2))
  union all
  select 'review_queue', '', format('Payments in the review queue: %s. They are paid, but do not match their purchase; credit or refund each.', count(*)),
         jsonb_build_object('waiting', count(*), 'oldest', credits._iso(min(p.created_at))), null
    from credits.purchases as p where p.status = 'review' and p.review_decision is null having count(*) > 0
  union all
  select 'reconciliation_difference', '', format('Differences between our books and Stripe''s: %s. Settle them on the page Reconciliation.', count(*)),
         jsonb_build_object('open', count(*), 'kinds', jsonb_agg(distinct d.kind)), null
    from credits.reconciliation_differences as d where d.status = 'open' having count(*) > 0
$$;

create function credits._queue_conditions() returns setof credits.condition
language sql stable set search_path = '' as $$
  select 'webhook_failures', '', format('Stripe events that could not be processed: %s. What they told of is polled anyway; look at the page '
           || 'Webhook inbox, and process them again.', count(*)),
         jsonb_build_object('failed', count(*) filter (where e.outcome = 'failed'), 'unfinished', count(*) filter (where e.outcome is null),
                            'oldest', credits._iso(min(e.received_at)), 'last_error', (array_agg(e.error order by e.received_at desc))[1]),
         null::bigint
    from credits.stripe_events as e, credits._operations_rules() as x
   where e.received_at > credits._now() - interval '30 days'
     and (e.outcome = 'failed' or e.outcome is null and e.received_at < credits._now() - x.stuck) having count(*) > 0
  union all
  select 'outbox_stuck', '', format('Messages that wait to be sent for too long: %s. Look whether the mail server and the job that sends them '
           || 'work.', count(*)),
         jsonb_build_object('waiting', count(*), 'oldest', credits._iso(min(m.queued_at))), null
    from credits.messages as m, credits._operations_rules() as x
   where m.status = 'waiting' and m.attempts = 0 and m.next_at < credits._now() - x.stuck having count(*) > 0
  union all
  select 'held_referrals', '', format('Referrals held for review: %s. Their rewards wait until somebody decides on the page Campaigns.', count(*)),
         jsonb_build_object('waiting', count(*), 'reasons', jsonb_agg(distinct r.hold_reason)), null
    from credits.referrals as r where r.status = 'held' having count(*) > 0
$$;

-- Accounts that used many times their usual day in the last 24 hours. The usual day is the average of the days with use in the 30
-- before; who has few of them has no usual day yet.
create function credits._usage_conditions() returns setof credits.condition
language sql stable set search_path = '' as $$
  with days as (
    select u.account_id, date_bin('1 day', u.bucket, credits._now() - interval '1 day') as day, sum(u.charged_micros) as micros
      from credits.usage_rollup as u where u.bucket >= credits._now() - interval '31 days' group by 1, 2),
  sums as (
    select d.account_id, coalesce(sum(d.micros) filter (where d.day >= credits._now() - interval '1 day'), 0) as today_micros,
           count(*) filter (where d.day < credits._now() - interval '1 day' and d.micros > 0) as usual_days,
           avg(d.micros) filter (where d.day < credits._now() - interval '1 day' and d.micros > 0) as usual_micros
      from days as d group by d.account_id)
  select 'unusual_usage', s.account_id::text, format('Account %s used %s times its usual day in the last 24 hours. Ask whether that is '
           || 'meant; a leaked API key looks like this.', s.account_id, round(s.today_micros / s.usual_micros, 1)),
         jsonb_build_object('used_micros', s.today_micros::bigint, 'usual_day_micros', round(s.usual_micros)::bigint, 'usual_days', s.usual_days),
         s.account_id
    from sums as s, credits._operations_rules() as x
   where s.usual_days >= x.usual_days and s.today_micros >= x.min_used_micros and s.today_micros > s.usual_micros * x.unusual_times
$$;

-- Looks at every condition: opens, keeps up to date, and closes alerts. p_jobs: the period of each job in seconds.
-- Security definer: only functions write alerts.
create function credits.detect_operations(p_jobs jsonb) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  v_now      timestamptz := credits._now();
  v_opened   int;
  v_resolved int;
begin
  perform credits._require('service');
  if not pg_try_advisory_xact_lock(hashtext('credits.detect_operations')) then return '{"opened": 0, "busy": true}'; end if;
  insert into credits.jobs (job, due_at) select key, v_now from jsonb_each(p_jobs) on conflict (job) do nothing;  -- late from now on
  with c as materialized (
    select * from credits._job_conditions(p_jobs) union all select * from credits._payment_conditions()
    union all select * from credits._queue_conditions() union all select * from credits._usage_conditions()),
  closed as (
    update credits.operations_alerts as a set resolved_at = v_now
     where a.resolved_at is null and not exists (select from c where (c.kind, c.about) = (a.kind, a.about)) returning 1),
  kept as (
    insert into credits.operations_alerts (kind, about, sentence, evidence, account_id, opened_at, seen_at)
    select c.kind, c.about, c.sentence, c.evidence, c.account_id, v_now, v_now from c
    on conflict (kind, about) where resolved_at is null
    do update set sentence = excluded.sentence, evidence = excluded.evidence, seen_at = excluded.seen_at
    returning opened_at)
  select (select count(*) from kept where opened_at = v_now), (select count(*) from closed) into v_opened, v_resolved;
  return jsonb_build_object('opened', v_opened, 'resolved', v_resolved);
end $$;

create function credits._operations_alert_json(a credits.operations_alerts) returns jsonb
language sql stable set search_path = '' as $$
  select jsonb_build_object(
    'alert_id', a.id, 'kind', a.kind, 'about', a.about, 'sentence', a.sentence, 'evidence', a.evidence, 'account_id', a.account_id,
    'opened_at', credits._iso(a.opened_at), 'seen_at', credits._iso(a.seen_at), 'resolved_at', credits._iso(a.resolved_at),
    'acknowledged_at', credits._iso(a.acknowledged_at), 'acknowledged_by', a.acknowledged_by, 'note', a.note)
$$;

-- Newest first; open ones only, or all.
create function credits.operations_alerts(p_open_only boolean default true, p_limit int default 50, p_cursor text default null) returns jsonb
language plpgsql stable set search_path = '' as $$
declare
  v_size  int := credits._page_size(p_limit);
  v_items jsonb;
  v_last  bigint;
begin
  perform credits._require('service', 'super_admin', 'admin', 'finance');
  with page as (
    select a, a.id, row_number() over (order by a.id desc) as n from credits.operations_alerts as a
     where a.id < credits._cursor(p_cursor) and (not p_open_only or a.resolved_at is null) order by a.id desc limit v_size + 1)
  select coalesce(jsonb_agg(credits._operations_alert_json(a) order by n) filter (where n <= v_size), '[]'),
         case when count(*) > v_size then min(id) filter (where n <= v_size) end into v_items, v_last from page;
  return jsonb_build_object('items', v_items, 'next_cursor', v_last::text);
end $$;

-- Somebody has seen it and is at it. Security definer: only functions write alerts.
create function credits.acknowledge_operations_alert(p_alert_id bigint, p_note text default null) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare a credits.operations_alerts;
begin
  perform credits._require('service', 'super_admin', 'admin', 'finance');
  if length(p_note) > 500 then perform credits._raise('LC400', 'Keep the note under 500 characters.'); end if;
  update credits.operations_alerts set acknowledged_at = credits._now(), acknowledged_by = credits._actor(), note = nullif(trim(p_note), '')
   where id = p_alert_id and acknowledged_at is null returning * into a;
  if a.id is null then
    select * into a from credits.operations_alerts where id = p_alert_id;
    if a.id is null then perform credits._raise('LC404', 'There is no such alert.'); end if;
  else
    perform credits._audit('acknowledge_alert', a.account_id, jsonb_build_object('alert_id', a.id, 'kind', a.kind, 'note', a.note));
  end if;
  return credits._operations_alert_json(a);
end $$;

-- Hands out alerts nobody was told of, to one sender; what could not be sent is handed back with untell_operations.
create function credits.claim_operations_alerts(p_limit int default 20) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare v_items jsonb;
begin
  perform credits._require('service');
  with chosen as (
    select id from credits.operations_alerts where told_at is null and resolved_at is null
     order by id limit credits._page_size(p_limit) for update skip locked),
  told as (update credits.operations_alerts as a set told_at = credits._now() from chosen where a.id = chosen.id returning a.*)
  select coalesce(jsonb_agg(credits._operations_alert_json(told::credits.operations_alerts) order by id), '[]') into v_items from told;
  return jsonb_build_object('items', v_items);
end $$;

create function credits.untell_operations(p_alert_ids jsonb) returns jsonb
language plpgsql security definer set search_path = '' as $$
begin
  perform credits._require('service');
  update credits.operations_alerts set told_at = null
   where id in (select x::bigint from jsonb_array_elements_text(p_alert_ids) as x);
  return '{}';
end $$;

revoke execute on all functions in schema credits from public;
grant execute on function
  credits._operations_alert_json(credits.operations_alerts), credits.operations_alerts(boolean, int, text),
  credits.acknowledge_operations_alert(bigint, text)
to authenticated, service_role;
grant execute on function
  credits.detect_operations(jsonb), credits.claim_operations_alerts(int), credits.untell_operations(jsonb)
to service_role;
