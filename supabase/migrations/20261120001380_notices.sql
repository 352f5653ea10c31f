-- Notices: what an account holder should know, in the app and over the channels that are on for it.
--
-- A notice is one row of alerts (in the app) and one message in the outbox for each channel: e-mail, chat, the customer's webhooks.
-- Both are written by _tell in the transaction of what happened: nothing is told that did not happen, nothing is forgotten.

create table credits.notice_kinds (
  kind          text primary key check (kind ~ '^[a-z_]{1,40}$'),
  name          text not null,
  position      int not null unique,
  email_default boolean not null,      -- sent by e-mail unless the account holder says otherwise
  is_quiet      boolean not null default false  -- listed as read from the start: news for programs rather than people
);
insert into credits.notice_kinds (position, kind, name, email_default, is_quiet) values
  (10, 'low_balance', 'Low balance', true, false),
  (20, 'out_of_credits', 'Out of credits', true, false),
  (30, 'allowance_warning', 'Plan allowance used to 80%', false, false),
  (40, 'allowance_reached', 'Plan allowance used up', true, false),
  (50, 'debt', 'Debt on the account', true, false),
  (60, 'credits_expiring', 'Credits expire soon', true, false),
  (70, 'purchase_credited', 'Purchase confirmed', true, false),
  (75, 'purchase_in_review', 'Purchase under review', true, false),
  (80, 'payment_failed', 'Payment failed', true, false),
  (90, 'auto_reload_paused', 'Auto-reload paused', true, false),
  (100, 'subscription_renewed', 'Subscription renewed', true, false),
  (110, 'subscription_payment_failed', 'Subscription payment failed', true, false),
  (120, 'subscription_ended', 'Subscription ended', true, false),
  (130, 'referral_rewarded', 'Referral rewarded', true, false),
  (140, 'refund_succeeded', 'Refund made', true, false),
  (150, 'call_ending', 'A call is told to end', false, true),
  (160, 'webhook_disabled', 'Webhook or chat switched off after failures', true, false),
  (900, 'test', 'Test message', false, true);

create table credits.alerts (
  id         bigint generated always as identity primary key,
  account_id bigint not null references credits.accounts (id),
  kind       text not null references credits.notice_kinds (kind),
  detail     jsonb not null,
  once       text,                     -- what it is about: told once for each account, kind and this; null: each time
  created_at timestamptz not null,
  read_at    timestamptz
);
create unique index alerts_by_account on credits.alerts (account_id, id);
create unique index alerts_unread on credits.alerts (account_id, id) where read_at is null;
create unique index alerts_once on credits.alerts (kind, account_id, once);

-- What an account holder chose for e-mail, apart from the defaults of the kinds.
create table credits.email_choices (
  account_id bigint not null references credits.accounts (id),
  kind       text not null references credits.notice_kinds (kind),
  is_on      boolean not null,
  primary key (account_id, kind)
);
create unique index email_choices_by_kind on credits.email_choices (kind, account_id);

-- Chat rooms and the customer's own systems. Secrets are sealed by the program: the database alone does not give them away.
create table credits.notice_targets (
  id            bigint generated always as identity primary key,
  account_id    bigint not null references credits.accounts (id),
  channel       text not null check (channel in ('chat', 'webhook')),
  name          text not null,
  address       text not null,         -- webhook: its URL; chat: the masked address
  sealed        text not null,         -- chat: the whole address; webhook: the signing secret
  old_sealed    text,                  -- the secret before the last rotation, signed with as well until old_until
  old_until     timestamptz,
  kinds         text[],                -- null: everything
  is_on         boolean not null default true,
  failures      int not null default 0,  -- failed attempts in a row
  failing_since timestamptz,
  off_reason    text,                  -- why it was switched off, when not by a person
  created_at    timestamptz not null,
  removed_at    timestamptz,
  idempotency_key text,
  unique (account_id, idempotency_key)
);
create unique index notice_targets_by_account on credits.notice_targets (account_id, id) where removed_at is null;

-- The outbox. uid is what receivers see: the same in every attempt, so that they can tell a repetition.
create table credits.messages (
  id          bigint generated always as identity primary key,
  uid         text not null unique default 'msg_' || replace(gen_random_uuid()::text, '-', ''),
  account_id  bigint not null references credits.accounts (id),
  alert_id    bigint references credits.alerts (id),  -- null: a test message
  kind        text not null references credits.notice_kinds (kind),
  detail      jsonb not null,
  channel     text not null check (channel in ('email', 'chat', 'webhook')),
  target_id   bigint references credits.notice_targets (id),
  status      text not null default 'waiting' check (status in ('waiting', 'sent', 'not_sent', 'gave_up')),
  attempts    int not null default 0,  -- since it was written, or sent again by hand
  next_at     timestamptz not null,    -- when it may be tried (again); while it is being sent: the end of the lease
  reason      text,                    -- why it is not sent
  created_at  timestamptz not null,
  queued_at   timestamptz not null,    -- since when it is tried: created_at, or when it was sent again by hand
  finished_at timestamptz,
  constraint target_of_channel check ((channel = 'email') = (target_id is null))
) with (fillfactor = 70);
create unique index messages_by_account on credits.messages (account_id, id);
create unique index messages_by_alert on credits.messages (alert_id, channel, coalesce(target_id, 0));
create unique index messages_by_kind on credits.messages (kind, id);
create unique index messages_by_target on credits.messages (target_id, id);
create unique index messages_due on credits.messages (next_at, id) where status = 'waiting';

alter table credits.notice_kinds enable row level security;
alter table credits.alerts enable row level security;
alter table credits.email_choices enable row level security;
alter table credits.notice_targets enable row level security;
alter table credits.messages enable row level security;
create policy notice_kinds_read on credits.notice_kinds for select to anon, authenticated using (true);
create policy alerts_read on credits.alerts for select to authenticated
  using (account_id = (select credits._own_account()) or (select credits._is_staff()));
create policy email_choices_read on credits.email_choices for select to authenticated
  using (account_id = (select credits._own_account()) or (select credits._is_staff()));
create policy notice_targets_read on credits.notice_targets for select to authenticated
  using (account_id = (select credits._own_account()) or (select credits._is_staff()));
create policy messages_read on credits.messages for select to authenticated
  using (account_id = (select credits._own_account()) or (select credits._is_staff()));
grant select on credits.notice_kinds to anon, authenticated, service_role;
grant select on credits.alerts, credits.email_choices, credits.messages to authenticated, service_role;
-- Everything but the sealed secrets.
grant select (id, account_id, channel, name, address, old_until, kinds, is_on, failures, failing_since, off_reason, created_at, removed_at)
  on credits.notice_targets to authenticated, service_role;

create function credits._email_on(p_account_id bigint, p_kind text) returns boolean
language sql stable set search_path = '' as $$
  select coalesce((select is_on from credits.email_choices where account_id = p_account_id and kind = p_kind),
                  (select email_default from credits.notice_kinds where kind = p_kind))
$$;

-- Tells an account holder: in the app, and over every channel that is on for this kind. With p_once, once for each account, kind
-- and what it is about. For functions alone: it runs as they do, with the right to write.
create function credits._tell(p_account_id bigint, p_kind text, p_detail jsonb, p_once text default null) returns void
language plpgsql set search_path = '' as $$
declare
  v_now   timestamptz := credits._now();
  v_alert bigint;
begin
  insert into credits.alerts (account_id, kind, detail, once, created_at, read_at)
  values (p_account_id, p_kind, p_detail, p_once, v_now,
          case when (select is_quiet from credits.notice_kinds where kind = p_kind) then v_now end)
  on conflict (kind, account_id, once) do nothing returning id into v_alert;
  if v_alert is null then return; end if;
  if credits._email_on(p_account_id, p_kind) then
    insert into credits.messages (account_id, alert_id, kind, detail, channel, next_at, created_at, queued_at)
    values (p_account_id, v_alert, p_kind, p_detail, 'email', v_now, v_now, v_now);
  end if;
  insert into credits.messages (account_id, alert_id, kind, detail, channel, target_id, next_at, created_at, queued_at)
  select p_account_id, v_alert, p_kind, p_detail, t.channel, t.id, v_now, v_now, v_now
    from credits.notice_targets as t
   where t.account_id = p_account_id and t.removed_at is null and t.is_on and (t.kinds is null or p_kind = any (t.kinds))
   order by t.id;
end $$;

create function credits.alerts(
  p_account_id bigint default null, p_unread_only boolean default false, p_limit int default 50, p_cursor text default null
) returns jsonb language plpgsql stable set search_path = '' as $$
declare
  v_account bigint := credits._account(p_account_id, 'read');
  v_size    int := credits._page_size(p_limit);
  v_items   jsonb;
  v_last    bigint;
begin
  with page as (
    select x.*, row_number() over (order by x.id desc) as n from credits.alerts as x
     where x.account_id = v_account and x.id < credits._cursor(p_cursor) and (not p_unread_only or x.read_at is null)
     order by x.id desc limit v_size + 1)
  select coalesce(jsonb_agg(jsonb_build_object('alert_id', id, 'kind', kind, 'detail', detail, 'created_at', credits._iso(created_at),
                                               'read_at', credits._iso(read_at)) order by n) filter (where n <= v_size), '[]'),
         case when count(*) > v_size then min(id) filter (where n <= v_size) end
    into v_items, v_last from page;
  return jsonb_build_object('items', v_items, 'next_cursor', v_last::text);
end $$;

-- How many are unread, counted to 100: every page asks.
create function credits.unread_alerts(p_account_id bigint default null) returns jsonb
language plpgsql stable set search_path = '' as $$
declare v_account bigint := credits._account(p_account_id, 'read');
begin
  return jsonb_build_object('unread', (select count(*) from (
    select from credits.alerts where account_id = v_account and read_at is null limit 100) as x));
end $$;

-- Marks all of them, or one. Security definer: only functions write alerts.
create function credits.mark_alerts_read(p_account_id bigint default null, p_alert_id bigint default null) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare v_n int;
begin
  update credits.alerts set read_at = credits._now()
   where account_id = credits._account(p_account_id, 'manage') and read_at is null and (p_alert_id is null or id = p_alert_id);
  get diagnostics v_n = row_count;
  return jsonb_build_object('read', v_n);
end $$;

revoke execute on all functions in schema credits from public;
grant execute on function
  credits.alerts(bigint, boolean, int, text), credits.unread_alerts(bigint), credits.mark_alerts_read(bigint, bigint)
to authenticated, service_role;
