-- Approvals: from a limit on, a second person decides. One place for every kind: what is asked for waits with its terms and its
-- preview; whoever asked never approves it; what is approved is carried out once, under the locks, by the function of its kind
-- (credits._do_<kind>), which works out again whether it still fits. Refunds keep their own table and show in the same list.

create table credits.approval_limits (
  kind       text primary key check (kind ~ '^[a-z_]{1,40}$'),
  unit       text not null check (unit in ('micros', 'cents', 'always')),
  amount     bigint not null check (amount between 1 and 1000000000000000),  -- from here on a second person decides
  valid_days int not null check (valid_days between 1 and 90),               -- how long a request can be decided
  follows    text references credits.approval_limits (kind),                 -- has no limit of its own: that of another kind
  updated_at timestamptz not null default credits._now(),
  updated_by text
);
comment on table credits.approval_limits is 'From which amount on a second person decides. unit always: whatever the amount.';
create unique index approval_limits_follow on credits.approval_limits (follows, kind);
insert into credits.approval_limits (kind, unit, amount, valid_days, follows) values
  ('adjustment', 'micros', 10000000000, 7, null), ('reversal', 'micros', 10000000000, 7, 'adjustment'),
  ('extension', 'micros', 10000000000, 7, 'adjustment'), ('refund', 'cents', 10000, 7, null), ('review', 'cents', 10000, 7, null),
  ('price_change', 'always', 1, 7, null);

create table credits.approvals (
  id              uuid primary key default gen_random_uuid(),
  kind            text not null references credits.approval_limits (kind),
  account_id      bigint references credits.accounts (id),     -- null: about no single account
  purchase_id     uuid references credits.purchases (id),
  idempotency_key text not null,
  amount          bigint,                                      -- in the unit of the kind's limit
  currency        text,                                        -- of cents
  payload         jsonb not null,                              -- what will be done
  preview         jsonb not null,                              -- what it meant when it was asked for
  reason          text not null,
  status          text not null check (status in ('waiting', 'approved', 'done', 'rejected', 'expired', 'failed')),
  requested_by    text not null,
  requested_at    timestamptz not null,
  expires_at      timestamptz not null,
  decided_by      text,                                        -- null although approved: below the limit
  decided_at      timestamptz,
  decision_reason text,
  result          jsonb,
  failure_reason  text,
  lease_until     timestamptz,                                 -- approved, and somebody carries it out
  finished_at     timestamptz,
  unique nulls not distinct (account_id, idempotency_key),
  constraint maker_is_not_checker check (status = 'rejected' or decided_by is distinct from requested_by)
);
comment on table credits.approvals is 'Requests that a second person decides about. Rows stay; only their state goes on.';
create unique index approvals_newest on credits.approvals (requested_at, id);
create unique index approvals_by_kind on credits.approvals (kind, id);
create unique index approvals_by_purchase on credits.approvals (purchase_id, id);
create unique index approvals_open on credits.approvals (requested_at, id) where status in ('waiting', 'approved');
create unique index approvals_one_per_purchase on credits.approvals (purchase_id) where status in ('waiting', 'approved');

alter table credits.approval_limits enable row level security;
alter table credits.approvals enable row level security;
create policy approval_limits_staff_reads on credits.approval_limits for select to authenticated using ((select credits._is_staff()));
create policy approvals_staff_reads on credits.approvals for select to authenticated using ((select credits._is_staff()));
grant select on credits.approval_limits, credits.approvals to authenticated, service_role;

-- Whether one person may not do this alone. Programs with the service key are the operator's own and are not held up.
create function credits._needs_approval(p_kind text, p_amount bigint) returns boolean
language sql stable set search_path = '' as $$
  select credits._role() <> 'service' and (unit = 'always' or p_amount >= amount) from credits.approval_limits where kind = p_kind
$$;

-- Whether the caller asked for this, in person or through an API key of theirs.
create function credits._own_request(p_requested_by text) returns boolean
language sql stable set search_path = '' as $$
  select p_requested_by = credits._actor() or p_requested_by = credits._user_id()::text or exists (
    select from credits.api_keys as k join credits.accounts as a on a.id = k.account_id
     where p_requested_by = 'key:' || k.id and a.owner_id = credits._user_id())
$$;

-- A person decides: neither a program nor an API key, which acts for somebody and could approve what they asked for.
create function credits._require_person() returns void
language plpgsql stable set search_path = '' as $$
begin
  perform credits._require('super_admin', 'admin');
  if credits._claims() ? 'api_key_id' then
    perform credits._raise('LC403', 'A person decides about requests, not an API key; sign in and try again.');
  end if;
end $$;

-- A request keeps a word for a person, and is never decided after its time.
create function credits._check_decision(p_approve boolean, p_requested_by text, p_until timestamptz, p_reason text) returns void
language plpgsql stable set search_path = '' as $$
begin
  if p_approve is null or length(p_reason) > 500 then
    perform credits._raise('LC400', 'Say whether to approve, and why in at most 500 characters.');
  elsif p_approve and credits._own_request(p_requested_by) then
    perform credits._raise('LC403', 'Another administrator must approve what you asked for.');
  elsif p_approve and p_until <= credits._now() then
    perform credits._raise('LC409', 'This request has expired; ask for it again if it is still wanted.',
                           jsonb_build_object('status', 'expired', 'expired_at', credits._iso(p_until)));
  end if;
end $$;

-- A name for who asked or decided: of staff, else what kind of program it was.
create function credits._person_name(p_actor text) returns text
language sql stable set search_path = '' as $$
  select case when p_actor like 'key:%' then 'API key ' || substr(p_actor, 5) when p_actor like 'service%' then 'A program'
              when p_actor = 'stripe' then 'Stripe'
              else (select coalesce(p.name, p.email) from credits.accounts as a join credits.profiles as p on p.account_id = a.id
                     where a.owner_id = credits._uuid(p_actor)) end
$$;

create function credits._approval_json(a credits.approvals) returns jsonb
language sql stable set search_path = '' as $$
  select jsonb_build_object(
    'approval_id', a.id, 'kind', a.kind, 'account_id', a.account_id, 'email', p.email, 'name', p.name, 'purchase_id', a.purchase_id,
    'amount', a.amount, 'unit', l.unit, 'currency', a.currency, 'payload', a.payload, 'preview', a.preview, 'reason', a.reason,
    'status', case when a.status = 'waiting' and a.expires_at <= credits._now() then 'expired' else a.status end,
    'requested_by', a.requested_by, 'requested_by_name', credits._person_name(a.requested_by),
    'requested_at', credits._iso(a.requested_at), 'expires_at', credits._iso(a.expires_at), 'decided_by', a.decided_by,
    'decided_by_name', credits._person_name(a.decided_by), 'decided_at', credits._iso(a.decided_at),
    'decision_reason', a.decision_reason, 'result', a.result, 'failure_reason', a.failure_reason,
    'is_own', credits._own_request(a.requested_by))
    from credits.approval_limits as l left join credits.profiles as p on p.account_id = a.account_id where l.kind = a.kind
$$;

-- Writes a request, or answers the one of this key. The caller holds the lock of what it is about.
create function credits._ask(r credits.approvals, p_waits boolean) returns credits.approvals
language plpgsql set search_path = '' as $$
declare
  a credits.approvals;
begin
  insert into credits.approvals (kind, account_id, purchase_id, idempotency_key, amount, currency, payload, preview, reason, status,
                                 requested_by, requested_at, expires_at)
  values (r.kind, r.account_id, r.purchase_id, r.idempotency_key, r.amount, r.currency, r.payload, r.preview, trim(r.reason),
          case when p_waits then 'waiting' else 'approved' end, credits._actor(), credits._now(), credits._now() + make_interval(days => (
            select valid_days from credits.approval_limits where kind = r.kind)))
  on conflict (account_id, idempotency_key) do nothing returning * into a;
  if a.id is null then
    select * into a from credits.approvals where account_id is not distinct from r.account_id and idempotency_key = r.idempotency_key;
    if a.kind <> r.kind or a.payload <> r.payload or a.reason <> trim(r.reason) then
      perform credits._raise('LC410', 'This idempotency key was used for another request; use a new key for a new request.');
    end if;
    return a;
  end if;
  perform credits._audit('ask_' || a.kind, a.account_id, jsonb_build_object('approval_id', a.id, 'reason', a.reason) || a.payload);
  return a;
end $$;

-- Carries out what is asked for and undoes it again: what waits is sound, and its preview is what would happen now.
create function credits._try(a credits.approvals) returns jsonb
language plpgsql set search_path = '' as $$
declare v_answer text;
begin
  execute format('select (credits.%I($1)).result::text', '_do_' || a.kind) into v_answer using a;
  raise exception using errcode = 'LC001', message = v_answer;
exception when sqlstate 'LC001' then
  get stacked diagnostics v_answer = message_text;
  return v_answer::jsonb;
end $$;

-- Asks for an adjustment that one person may not make alone; refused at once when it would not fit now.
create function credits._ask_for_adjustment(
  p_account_id bigint, p_amount_micros bigint, p_reason text, p_key text, p_expires_at timestamptz, p_operations text[]
) returns jsonb language plpgsql set search_path = '' as $$
declare
  r credits.approvals;
begin
  r.kind := 'adjustment';
  r.account_id := p_account_id;
  r.idempotency_key := p_key;
  r.amount := p_amount_micros;
  r.reason := p_reason;
  r.payload := jsonb_build_object('amount_micros', p_amount_micros, 'expires_at', credits._iso(p_expires_at), 'operations', to_jsonb(p_operations));
  r.preview := credits.adjust_preview(p_account_id, p_amount_micros);
  if not (r.preview ->> 'allowed')::boolean
     and not exists (select from credits.approvals where account_id = p_account_id and idempotency_key = p_key) then
    perform credits._raise('LC402', 'The account has fewer credits than that; remove at most what is available.', jsonb_build_object(
      'needed_micros', -p_amount_micros, 'available_micros', credits.balance(p_account_id) -> 'available_micros'));
  end if;
  return credits._waiting_answer(credits._ask(r, true));
end $$;

-- Carries out an adjustment in the name of who asked for it. A balance that no longer covers it is a refusal, the request stays.
create function credits._do_adjustment(a credits.approvals) returns credits.approvals
language plpgsql set search_path = '' as $$
declare
  t        credits.transactions;
  v_detail text;
begin
  begin
    t := credits._book_adjustment(a.account_id, a.amount, a.reason, a.idempotency_key, (a.payload ->> 'expires_at')::timestamptz,
      (select array_agg(e order by e) from jsonb_array_elements_text(nullif(a.payload -> 'operations', 'null')) as e), a.requested_by);
  exception when sqlstate 'LC402' then
    get stacked diagnostics v_detail = pg_exception_detail;
    perform credits._raise('LC409', 'The balance has changed since this was asked for, and no longer covers it; reject it, and ask anew.',
                           v_detail::jsonb);
  end;
  a.result := credits._transaction_answer(t, false);
  a.status := 'done';
  return a;
end $$;

-- Prices: the caller gives the arguments of set_price, or an account and the catalog whose prices it shall have. It is tried (and
-- undone) when it is asked for, so that what waits is sound.
create function credits._do_price_change(a credits.approvals) returns credits.approvals
language plpgsql set search_path = '' as $$
begin
  if a.preview - 'then' <> credits._price_before(a.payload) then
    perform credits._raise('LC409', 'The price has changed since this was asked for; reject it, and ask anew.');
  elsif a.account_id is not null then
    a.result := credits._use_catalog(a.account_id, a.payload ->> 'catalog');
  else
    a.result := credits._change_price(a.payload ->> 'operation', a.payload -> 'components', coalesce(a.payload ->> 'rounding', 'half_up'),
                                      (a.payload ->> 'effective_from')::timestamptz, coalesce((a.payload ->> 'minimum_charge_micros')::bigint, 0));
  end if;
  a.status := 'done';
  return a;
end $$;

-- What is paid now, as a request remembers it: the latest price of an operation, or the catalog of an account.
create function credits._price_before(p_change jsonb) returns jsonb
language sql stable set search_path = '' as $$
  select case when p_change ? 'catalog' then jsonb_build_object('now', coalesce(
    (select catalog from credits.account_settings where account_id = (p_change ->> 'account_id')::bigint),
    (select code from credits.catalogs where is_active)))
  else (select jsonb_build_object('price_id', max(p.id), 'now', credits._components(max(p.id)))
          from credits.prices as p join credits.operations as o on o.id = p.operation_id
          join credits.catalogs as c on c.code = p.catalog and c.is_active where o.code = p_change ->> 'operation') end
$$;

-- Gives an account the prices of another catalog.
create function credits._use_catalog(p_account_id bigint, p_catalog text) returns jsonb
language plpgsql set search_path = '' as $$
begin
  if not exists (select from credits.catalogs where code = p_catalog) then
    perform credits._raise('LC404', format('There is no catalog “%s”.', left(p_catalog, 80)));
  end if;
  insert into credits.account_settings (account_id, catalog) values (p_account_id, p_catalog)
  on conflict (account_id) do update set catalog = excluded.catalog;
  perform credits._audit('set_account_settings', p_account_id, jsonb_build_object('catalog', p_catalog));
  return jsonb_build_object('components', p_catalog);
end $$;

-- Asks for a new price: p_change as the arguments of set_price {operation, components, rounding, effective_from,
-- minimum_charge_micros}, or {account_id, catalog} for the prices of one account. Security definer, as all below that write: only
-- functions write requests.
create function credits.request_price_change(p_change jsonb, p_reason text, p_idempotency_key text) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  r credits.approvals;
begin
  perform credits._require('service', 'super_admin', 'admin');
  perform credits._check_key(p_idempotency_key);
  perform credits._check_adjustment(1, p_reason);
  r.kind := 'price_change';
  r.idempotency_key := p_idempotency_key;
  r.reason := p_reason;
  r.payload := jsonb_strip_nulls(coalesce(p_change, '{}'));
  if r.payload ? 'catalog' then
    r.account_id := credits._account(credits._bigint(r.payload ->> 'account_id'), 'admin');
    r.payload := r.payload || jsonb_build_object('account_id', r.account_id);
  end if;
  r.preview := credits._price_before(r.payload);
  r.preview := r.preview || jsonb_build_object('then', credits._try(r) -> 'components');
  return credits._approval_json(credits._ask(r, true));
end $$;

-- Approves or rejects, whatever the kind; rejecting needs a reason. Whoever asked may take it back, which is a rejection too.
create function credits.decide_approval(p_approval_id uuid, p_approve boolean, p_reason text default null) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  a credits.approvals;
begin
  perform credits._require('super_admin', 'admin');
  perform credits._require_person();
  if not p_approve and length(trim(coalesce(p_reason, ''))) < 3 then
    perform credits._raise('LC400', 'Say why you reject it, in 3 to 500 characters: who asked reads it.');
  end if;
  select * into a from credits.approvals where id = p_approval_id;
  if a.id is null and exists (select from credits.refunds where id = p_approval_id) then
    perform credits.decide_refund(p_approval_id, p_approve, p_reason);
    return (select credits._refund_as_approval(r) from credits.refunds as r where r.id = p_approval_id);
  elsif a.id is null then
    perform credits._raise('LC404', 'There is no such request; see the list of approvals.');
  end if;
  -- what it is about is locked first, in the order in which everybody does
  perform from credits.purchases where id = a.purchase_id for update;
  if a.purchase_id is null then perform from credits.accounts where id = a.account_id for no key update; end if;
  select * into a from credits.approvals where id = p_approval_id for update;
  if a.status <> 'waiting' then
    perform credits._raise('LC409', format('This request is %s already.', a.status), jsonb_build_object('status', a.status));
  end if;
  perform credits._check_decision(p_approve, a.requested_by, a.expires_at, p_reason);
  a.status := case when p_approve then 'approved' else 'rejected' end;
  if p_approve then execute format('select * from credits.%I($1)', '_do_' || a.kind) into a using a; end if;
  a.decided_by := credits._actor();
  a.decided_at := credits._now();
  a.decision_reason := nullif(trim(p_reason), '');
  a := credits._keep(a);
  perform credits._audit('decide_' || a.kind, a.account_id, jsonb_build_object('approval_id', a.id, 'approved', p_approve, 'reason', p_reason));
  return credits._approval_json(a);
end $$;

-- Stores the state of a request.
create function credits._keep(a credits.approvals) returns credits.approvals
language sql set search_path = '' as $$
  update credits.approvals set status = a.status, decided_by = a.decided_by, decided_at = a.decided_at, decision_reason = a.decision_reason,
         result = a.result, failure_reason = a.failure_reason, lease_until = a.lease_until,
         finished_at = case when a.status not in ('waiting', 'approved') then coalesce(a.finished_at, credits._now()) end
   where id = a.id returning *
$$;

-- Until when a refund that waits can be approved.
create function credits._refund_until(r credits.refunds) returns timestamptz
language sql stable set search_path = '' as $$
  select r.created_at + make_interval(days => valid_days) from credits.approval_limits where kind = 'refund'
$$;

-- A refund in the shape of a request, for the common list.
create function credits._refund_as_approval(r credits.refunds) returns jsonb
language sql stable set search_path = '' as $$
  select jsonb_build_object(
    'approval_id', r.id, 'kind', 'refund', 'account_id', r.account_id, 'email', f.email, 'name', f.name, 'purchase_id', r.purchase_id,
    'amount', r.amount_cents + r.tax_cents, 'unit', 'cents', 'currency', p.currency, 'payload', jsonb_build_object('refund_id', r.id),
    'preview', jsonb_build_object('amount_cents', r.amount_cents, 'tax_cents', r.tax_cents, 'credits_micros', r.credits_micros,
                                  'bonus_micros', r.bonus_micros, 'referral', case when r.status = 'requested'
                                  then credits._reward_at_stake(p, r.amount_cents) end), 'reason', r.reason,
    'status', case when r.status = 'requested' and credits._refund_until(r) <= credits._now() then 'expired' when r.status = 'requested'
                   then 'waiting' else r.status end,
    'requested_by', r.requested_by, 'requested_by_name', credits._person_name(r.requested_by),
    'requested_at', credits._iso(r.created_at), 'expires_at', credits._iso(credits._refund_until(r)), 'decided_by', r.decided_by,
    'decided_by_name', credits._person_name(r.decided_by), 'decided_at', credits._iso(r.decided_at),
    'decision_reason', r.decision_reason, 'result', null, 'failure_reason', r.failure_reason,
    'is_own', credits._own_request(r.requested_by))
    from credits.purchases as p left join credits.profiles as f on f.account_id = p.account_id where p.id = r.purchase_id
$$;

-- Requests, newest first. p_view: waiting (for somebody), for_me (that the caller may decide), mine (asked by the caller and
-- still waiting or expired), decided. Security definer: whether a request is the caller's own rests on their API keys.
create function credits.approvals(p_view text default 'waiting', p_limit int default 50, p_cursor text default null) returns jsonb
language plpgsql stable security definer set search_path = '' as $$
declare
  v_size  int := credits._page_size(p_limit);
  v_now   timestamptz := credits._now();
  v_after record;
  v_items jsonb;
  v_next  text;
begin
  perform credits._require('service', 'super_admin', 'admin', 'finance');
  if p_view is null or p_view not in ('waiting', 'for_me', 'mine', 'decided') then
    perform credits._raise('LC400', 'view must be waiting, for_me, mine or decided.');
  end if;
  select x.at, x.id into v_after from (
    select requested_at as at, id from credits.approvals union all select created_at, id from credits.refunds) as x
   where x.id = credits._uuid(p_cursor);
  if p_cursor <> '' and v_after.id is null then
    perform credits._raise('LC400', 'cursor is not one that a list answered with; start again without it.');
  end if;
  with everything as (
    select a.id, a.requested_at as at, a.status = 'waiting' as waits, a.expires_at > v_now as in_time, a.requested_by,
           a.decided_by is not null as decided, null::credits.refunds as refund, a as approval from credits.approvals as a
    union all
    select r.id, r.created_at, r.status = 'requested', credits._refund_until(r) > v_now, r.requested_by, r.decided_by is not null,
           r, null from credits.refunds as r where r.status = 'requested' or r.decided_by is not null),
  page as (
    select x.*, row_number() over (order by x.at desc, x.id desc) as n from everything as x
     where (v_after.id is null or (x.at, x.id) < (v_after.at, v_after.id))
       and case p_view when 'waiting' then x.waits and x.in_time when 'decided' then x.decided
                       when 'mine' then x.waits and credits._own_request(x.requested_by)
                       else x.waits and x.in_time and not credits._own_request(x.requested_by) end
     order by x.at desc, x.id desc limit v_size + 1)
  select coalesce(jsonb_agg(case when (refund).id is null then credits._approval_json(approval) else credits._refund_as_approval(refund) end
                            order by n) filter (where n <= v_size), '[]'),
         case when count(*) > v_size then (array_agg(id::text order by n))[v_size] end
    into v_items, v_next from page;
  return jsonb_build_object('items', v_items, 'next_cursor', v_next);
end $$;

-- What waits for people, in numbers, for menu and badges. Security definer: see approvals.
create function credits.approvals_count() returns jsonb
language plpgsql stable security definer set search_path = '' as $$
begin
  perform credits._require('service', 'super_admin', 'admin', 'finance');
  return (
    with waits as (
      select requested_by from credits.approvals where status = 'waiting' and expires_at > credits._now()
      union all
      select r.requested_by from credits.refunds as r where r.status = 'requested' and credits._refund_until(r) > credits._now())
    select jsonb_build_object('waiting', count(*), 'for_me', count(*) filter (where not credits._own_request(requested_by)),
                              'in_review', (select count(*) from credits.purchases where status = 'review'),
                              'held_referrals', (select count(*) from credits.referrals where status = 'held')) from waits);
end $$;

create function credits.approval_limits() returns jsonb
language plpgsql stable set search_path = '' as $$
begin
  perform credits._require('service', 'super_admin', 'admin', 'finance');
  return jsonb_build_object('items', (select jsonb_agg(jsonb_build_object(
    'kind', kind, 'unit', unit, 'amount', amount, 'valid_days', valid_days, 'updated_at', credits._iso(updated_at),
    'updated_by_name', credits._person_name(updated_by)) order by kind) from credits.approval_limits where follows is null));
end $$;

-- Changes from where on a second person decides, and how long they have. Super admins alone, with a reason, in the audit trail.
create function credits.set_approval_limit(p_kind text, p_amount bigint, p_reason text, p_valid_days int default null) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  v_old credits.approval_limits;
begin
  perform credits._require('service', 'super_admin');
  perform credits._check_adjustment(1, p_reason);
  select * into v_old from credits.approval_limits where kind = p_kind for update;
  if v_old.kind is null then
    perform credits._raise('LC404', format('There is no kind of request “%s”; see the list of limits.', left(p_kind, 40)));
  elsif v_old.follows is not null then
    perform credits._raise('LC400', format('What is moved by hand has one limit: change that of the kind %s.', v_old.follows));
  elsif v_old.unit = 'always' or p_amount is null or p_amount not between 1 and 1000000000000000
        or p_valid_days not between 1 and 90 then
    perform credits._raise('LC400', 'Give an amount above zero for a kind that has one, and 1 to 90 days.');
  end if;
  update credits.approval_limits set amount = p_amount, valid_days = coalesce(p_valid_days, valid_days), updated_at = credits._now(),
         updated_by = credits._actor() where p_kind in (kind, follows);
  perform credits._audit('set_approval_limit', null, jsonb_build_object(
    'kind', p_kind, 'amount', p_amount, 'before', v_old.amount, 'valid_days', coalesce(p_valid_days, v_old.valid_days), 'reason', trim(p_reason)));
  return credits.approval_limits();
end $$;

revoke execute on all functions in schema credits from public;
grant execute on function credits._needs_approval(text, bigint), credits._person_name(text), credits.approvals(text, int, text),
  credits.approvals_count(), credits.approval_limits(), credits.set_approval_limit(text, bigint, text, int),
  credits.request_price_change(jsonb, text, text), credits.decide_approval(uuid, boolean, text)
to authenticated, service_role;
