-- What the program itself needs to remember: sign-in sessions, the webhook inbox, jobs.

create table credits.sessions (
  token_hash              text primary key,           -- sha256 of the cookie; the token itself is nowhere
  user_id                 uuid not null references auth.users (id) on delete cascade,
  claims                  jsonb not null,
  refresh_token_encrypted text,
  created_at              timestamptz not null default credits._now(),
  expires_at              timestamptz not null,
  revoked_at              timestamptz
);
create unique index sessions_by_user on credits.sessions (user_id, token_hash);

create table credits.stripe_events (
  id           text primary key,
  type         text not null,
  livemode     boolean not null,
  object_id    text,
  payload      jsonb not null,
  received_at  timestamptz not null,
  deliveries   int not null default 1,
  outcome      text check (outcome in ('processed', 'ignored', 'failed')),
  error        text,
  processed_at timestamptz,
  pruned_at    timestamptz              -- its payload is gone but for the payment it names: see retention
);
create unique index stripe_events_newest on credits.stripe_events (received_at, id);

create table credits.jobs (
  job              text primary key,
  runner           text,
  lease_until      timestamptz not null default '-infinity',
  due_at           timestamptz not null default '-infinity',
  last_started_at  timestamptz,
  last_finished_at timestamptz,
  last_outcome     jsonb,
  last_error       text,
  runs             bigint not null default 0,
  failures         int not null default 0       -- in a row
);

alter table credits.sessions enable row level security;
alter table credits.stripe_events enable row level security;
alter table credits.jobs enable row level security;
-- Sessions are for the sign-in routes alone: nobody reads them through row policies.
create policy sessions_nobody on credits.sessions for select to authenticated using (false);
create policy stripe_events_staff_reads on credits.stripe_events for select to authenticated using ((select credits._is_staff()));
create policy jobs_staff_reads on credits.jobs for select to authenticated using ((select credits._is_staff()));
grant select on credits.stripe_events, credits.jobs to authenticated, service_role;

-- All below are security definer: only functions write these tables, and sessions are readable by nobody.
create function credits.create_session(
  p_token_hash text, p_user_id uuid, p_claims jsonb, p_expires_at timestamptz, p_refresh_token_encrypted text default null
) returns jsonb language plpgsql security definer set search_path = '' as $$
begin
  perform credits._require('service');
  delete from credits.sessions where user_id = p_user_id and (expires_at < credits._now() or revoked_at is not null);
  insert into credits.sessions (token_hash, user_id, claims, refresh_token_encrypted, expires_at)
  values (p_token_hash, p_user_id, p_claims, p_refresh_token_encrypted, p_expires_at);
  return '{}';
end $$;

create function credits.session(p_token_hash text) returns jsonb
language plpgsql stable security definer set search_path = '' as $$
begin
  perform credits._require('service');
  return (select jsonb_build_object('user_id', user_id, 'claims', claims, 'refresh_token_encrypted', refresh_token_encrypted,
                                    'expires_at', credits._iso(expires_at))
            from credits.sessions
           where token_hash = p_token_hash and revoked_at is null and expires_at > credits._now());
end $$;

create function credits.update_session(
  p_token_hash text, p_claims jsonb, p_expires_at timestamptz, p_refresh_token_encrypted text default null
) returns jsonb language plpgsql security definer set search_path = '' as $$
begin
  perform credits._require('service');
  update credits.sessions set claims = p_claims, refresh_token_encrypted = p_refresh_token_encrypted, expires_at = p_expires_at
   where token_hash = p_token_hash and revoked_at is null;
  return jsonb_build_object('updated', found);
end $$;

-- Ends a session, or with p_everywhere all sessions of its person.
create function credits.revoke_session(p_token_hash text, p_everywhere boolean default false) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare v_n int;
begin
  perform credits._require('service');
  update credits.sessions as s set revoked_at = credits._now(), refresh_token_encrypted = null
   where s.revoked_at is null
     and (s.token_hash = p_token_hash
          or (p_everywhere and s.user_id = (select user_id from credits.sessions where token_hash = p_token_hash)));
  get diagnostics v_n = row_count;
  return jsonb_build_object('revoked', v_n);
end $$;

-- Puts a Stripe event into the inbox. The same event again is counted, not stored twice.
create function credits.record_stripe_event(
  p_event_id text, p_type text, p_livemode boolean, p_payload jsonb, p_object_id text default null
) returns jsonb language plpgsql security definer set search_path = '' as $$
declare e credits.stripe_events;
begin
  perform credits._require('service');
  insert into credits.stripe_events (id, type, livemode, object_id, payload, received_at)
  values (p_event_id, p_type, p_livemode, p_object_id, p_payload, credits._now())
  on conflict (id) do update set deliveries = credits.stripe_events.deliveries + 1 returning * into e;
  return jsonb_build_object('new', e.deliveries = 1, 'processed', coalesce(e.outcome in ('processed', 'ignored'), false));
end $$;

create function credits.finish_stripe_event(p_event_id text, p_outcome text, p_error text default null) returns jsonb
language plpgsql security definer set search_path = '' as $$
begin
  perform credits._require('service');
  update credits.stripe_events set outcome = p_outcome, error = p_error, processed_at = credits._now() where id = p_event_id;
  return '{}';
end $$;

-- Claims a job for one runner among any number of processes: once per period, and again when a runner died (lease over).
create function credits.claim_job(p_job text, p_every_seconds int, p_runner text, p_lease_seconds int default 300) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  v_now   timestamptz := credits._now();
  v_until timestamptz := v_now + make_interval(secs => p_lease_seconds);
begin
  perform credits._require('service');
  insert into credits.jobs (job) values (p_job) on conflict (job) do nothing;
  update credits.jobs set runner = p_runner, lease_until = v_until, last_started_at = v_now,
         due_at = v_now + make_interval(secs => p_every_seconds)
   where job = p_job and lease_until <= v_now and (due_at <= v_now or p_every_seconds = 0);  -- 0: now, from the command line
  return jsonb_build_object('claimed', found, 'lease_until', case when found then credits._iso(v_until) end);
end $$;

create function credits.finish_job(p_job text, p_runner text, p_outcome jsonb default null, p_error text default null) returns jsonb
language plpgsql security definer set search_path = '' as $$
begin
  perform credits._require('service');
  update credits.jobs set lease_until = '-infinity', last_finished_at = credits._now(), last_outcome = p_outcome,
         last_error = p_error, runs = runs + 1, failures = case when p_error is null then 0 else failures + 1 end
   where job = p_job and runner = p_runner;
  return jsonb_build_object('finished', found);
end $$;

create function credits.jobs_status() returns jsonb
language plpgsql stable set search_path = '' as $$
begin
  perform credits._require('service', 'super_admin', 'admin', 'finance');
  return jsonb_build_object('items', (select coalesce(jsonb_agg(jsonb_build_object(
    'job', job, 'last_started_at', credits._iso(last_started_at), 'last_finished_at', credits._iso(last_finished_at),
    'last_outcome', last_outcome, 'last_error', last_error, 'lease_until', credits._iso(lease_until),
    'due_at', credits._iso(due_at), 'is_running', lease_until > credits._now(), 'failures', failures, 'runs', runs)
    order by job), '[]') from credits.jobs));
end $$;

create function credits.health() returns jsonb
language sql stable set search_path = '' as $$
  select jsonb_build_object('database', 'ok', 'catalog', (select code from credits.catalogs where is_active))
$$;

revoke execute on all functions in schema credits from public;
grant execute on function credits.health() to anon, authenticated, service_role;
grant execute on function credits.jobs_status() to authenticated, service_role;
grant execute on function
  credits.create_session(text, uuid, jsonb, timestamptz, text), credits.session(text),
  credits.update_session(text, jsonb, timestamptz, text), credits.revoke_session(text, boolean),
  credits.record_stripe_event(text, text, boolean, jsonb, text), credits.finish_stripe_event(text, text, text),
  credits.claim_job(text, int, text, int), credits.finish_job(text, text, jsonb, text)
to service_role;
