-- Refunds and disputes: money that goes back, and the credits that go with it.
--
-- A refund takes at most what is left of the purchase's own grants, at their cost, and the bonus in proportion. The credits leave
-- the account when the refund is approved; if Stripe refuses it, they come back to the very grants. What Stripe did by itself
-- (a refund in its dashboard, a dispute) is forced: own grants first, then other credits, the rest is a debt.

create table credits.refunds (
  id                 uuid primary key default gen_random_uuid(),
  account_id         bigint not null references credits.accounts (id),
  purchase_id        uuid not null references credits.purchases (id),
  idempotency_key    text,                     -- null: found at Stripe
  amount_cents       bigint not null check (amount_cents > 0),       -- of the price
  tax_cents          bigint not null default 0 check (tax_cents >= 0),  -- given back on top
  credits_micros     bigint not null check (credits_micros >= 0),
  bonus_micros       bigint not null check (bonus_micros >= 0),
  asked_cents        bigint,                   -- as it was asked for: an amount, credits, or (both null) everything that is left
  asked_micros       bigint,
  reason             text not null,
  status             text not null check (status in ('requested', 'approved', 'sent', 'succeeded', 'failed', 'rejected')),
  requested_by       text not null,
  decided_by         text,
  decided_at         timestamptz,
  decision_reason    text,
  stripe_refund_id   text unique,
  failure_reason     text,
  transaction_seq    bigint,
  created_at         timestamptz not null,
  sent_at            timestamptz,
  finished_at        timestamptz,
  unique (account_id, idempotency_key)
);
create unique index refunds_by_purchase on credits.refunds (purchase_id, id);
create unique index refunds_waiting on credits.refunds (created_at, id) where status in ('requested', 'approved', 'sent');

create table credits.disputes (
  id              text primary key,            -- Stripe's
  account_id      bigint not null references credits.accounts (id),
  purchase_id     uuid not null references credits.purchases (id),
  amount_cents    bigint not null check (amount_cents > 0),
  status          text not null,               -- Stripe's
  reason          text,
  transaction_seq bigint,                      -- what was taken; null: nothing is taken now
  created_at      timestamptz not null,
  updated_at      timestamptz not null
);
create unique index disputes_by_purchase on credits.disputes (purchase_id, id);
create unique index disputes_by_account on credits.disputes (account_id, id);

alter table credits.refunds enable row level security;
alter table credits.disputes enable row level security;
create policy refunds_read on credits.refunds for select to authenticated
  using (account_id = (select credits._own_account()) or (select credits._is_staff()));
create policy disputes_read on credits.disputes for select to authenticated
  using (account_id = (select credits._own_account()) or (select credits._is_staff()));
grant select on credits.refunds, credits.disputes to authenticated, service_role;

-- From this amount on a second administrator decides; a setting, see approval_limits. One place, so that pages, API and jobs agree.
create function credits._refund_limit_cents() returns bigint
language plpgsql stable set search_path = '' as $$
begin
  return (select amount from credits.approval_limits where kind = 'refund');
end $$;

create function credits._left_of_purchase(p_purchase_id uuid, p_promotional boolean) returns bigint
language sql stable set search_path = '' as $$
  select coalesce(sum(remaining_micros), 0)::bigint from credits.grants_now
   where purchase_id = p_purchase_id and is_promotional = p_promotional and expires_at > credits._now()
$$;

-- What the caller, a person, gave back alone to an account within 24 hours: many small refunds do not lead around the second one.
create function credits._refunded_alone(p_account_id bigint) returns bigint
language plpgsql stable set search_path = '' as $$
begin
  return (select coalesce(sum(amount_cents), 0) from credits.refunds
           where account_id = p_account_id and status in ('approved', 'sent', 'succeeded') and decided_by is null
             and created_at > credits._now() - interval '24 hours' and credits._role() <> 'service' and credits._own_request(requested_by));
end $$;

-- What has gone back of a purchase, or is on its way.
create function credits._refunded(
  p_purchase_id uuid, out amount_cents bigint, out tax_cents bigint, out credits_micros bigint
) language sql stable set search_path = '' as $$
  select coalesce(sum(amount_cents), 0)::bigint, coalesce(sum(tax_cents), 0)::bigint, coalesce(sum(credits_micros), 0)::bigint
    from credits.refunds where purchase_id = p_purchase_id and status in ('approved', 'sent', 'succeeded')
$$;

-- What a refund of an amount means, or of everything that is left (null), or of so many credits. blocked: why none is possible.
-- Rounded on what has gone back in all: so parts add up to the whole, in money, tax, credits and bonus.
create function credits._refund_terms(
  p credits.purchases, p_amount_cents bigint, p_credits_micros bigint, out amount_cents bigint, out tax_cents bigint,
  out credits_micros bigint, out bonus_micros bigint, out bonus_short_micros bigint, out max_cents bigint, out blocked text
) language plpgsql stable set search_path = '' as $$
declare
  v_paid  numeric := credits._paid_cents(p);
  v_left  bigint := credits._left_of_purchase(p.id, false);
  v_bonus bigint := credits._left_of_purchase(p.id, true);
  v_back  record := credits._refunded(p.id);
  v_now   numeric;  -- of the price, gone back with this refund
  v_want  bigint;
begin
  max_cents := greatest(least(floor((v_back.credits_micros + v_left) * v_paid / p.credits_micros), v_paid) - v_back.amount_cents, 0);
  blocked := case when p.status <> 'credited' then 'Only a credited purchase can be refunded.'
    when exists (select from credits.disputes where purchase_id = p.id and status not in ('won', 'warning_closed', 'prevented'))
      then 'This purchase is disputed; the bank decides, nothing can be refunded meanwhile.'
    when max_cents = 0 and v_back.amount_cents >= v_paid then 'All of this purchase has been refunded.'
    when max_cents = 0 then 'Nothing is left of this purchase to refund.' end;
  amount_cents := coalesce(p_amount_cents, case when p_credits_micros <> v_left then floor(p_credits_micros * v_paid / p.credits_micros)::bigint
                                           else max_cents end, max_cents);
  v_now := least(v_back.amount_cents + greatest(amount_cents, 0)::numeric, v_paid);
  credits_micros := least(v_left, greatest(ceil(v_now * p.credits_micros / nullif(v_paid, 0)) - v_back.credits_micros, 0));
  v_want := ceil(v_now * p.bonus_micros / nullif(v_paid, 0)) - ceil(least(v_back.amount_cents, v_paid) * p.bonus_micros / nullif(v_paid, 0));
  bonus_micros := least(v_bonus, v_want);
  bonus_short_micros := v_want - bonus_micros;
  tax_cents := greatest(round(v_now * coalesce(p.tax_cents, 0) / nullif(v_paid, 0)) - v_back.tax_cents, 0);
end $$;

-- What a refund would do, with the referral reward that would be taken back from both sides.
-- Security definer: whether a refund was the caller's own rests on their API keys.
create function credits.refund_preview(p_purchase_id uuid, p_amount_cents bigint default null, p_credits_micros bigint default null)
returns jsonb language plpgsql stable security definer set search_path = '' as $$
declare
  p credits.purchases;
  t record;
begin
  perform credits._require('service', 'super_admin', 'admin', 'finance');
  select * into p from credits.purchases where id = p_purchase_id;
  if p.id is null then perform credits._raise('LC404', 'There is no such purchase.'); end if;
  t := credits._refund_terms(p, p_amount_cents, p_credits_micros);
  return jsonb_build_object(
    'purchase_id', p.id, 'account_id', p.account_id, 'currency', p.currency, 'amount_cents', t.amount_cents, 'tax_cents', t.tax_cents,
    'total_cents', t.amount_cents::numeric + t.tax_cents, 'credits_micros', t.credits_micros, 'bonus_micros', t.bonus_micros,
    'bonus_short_micros', t.bonus_short_micros, 'max_cents', t.max_cents,
    'allowed', t.blocked is null and t.amount_cents between 1 and t.max_cents,
    'reason', coalesce(t.blocked, case when t.amount_cents > t.max_cents then
      format('Part of these credits is spent: at most %s of the price can be refunded.', t.max_cents)
      when t.amount_cents < 1 then 'Give an amount of at least the smallest coin.' end),
    'needs_approval', credits._refund_waits(p.account_id, t.amount_cents), 'refunded_cents', credits._refunded_alone(p.account_id),
    'is_own', credits._is_own(p.account_id), 'referral', credits._reward_at_stake(p, t.amount_cents));
end $$;

create function credits._refund_json(r credits.refunds) returns jsonb
language sql stable set search_path = '' as $$
  select jsonb_build_object(
    'refund_id', r.id, 'account_id', r.account_id, 'purchase_id', r.purchase_id, 'status', r.status, 'amount_cents', r.amount_cents,
    'tax_cents', r.tax_cents, 'total_cents', r.amount_cents + r.tax_cents, 'credits_micros', r.credits_micros,
    'bonus_micros', r.bonus_micros, 'reason', r.reason, 'requested_by', r.requested_by, 'decided_by', r.decided_by,
    'decision_reason', r.decision_reason, 'stripe_refund_id', r.stripe_refund_id, 'failure_reason', r.failure_reason,
    'transaction_id', r.account_id || '-' || r.transaction_seq, 'created_at', credits._iso(r.created_at),
    'finished_at', credits._iso(r.finished_at), 'payment_intent_id', p.payment_intent_id, 'currency', p.currency, 'livemode', p.livemode)
    from credits.purchases as p where p.id = r.purchase_id
$$;

-- Asks for a refund. Below the limit it is approved at once and its credits leave the account; from the limit on it waits for
-- a second administrator (see moves for what counts). Security definer, as all below: only functions write refunds and the ledger.
create function credits.request_refund(
  p_purchase_id uuid, p_reason text, p_idempotency_key text, p_amount_cents bigint default null, p_credits_micros bigint default null
) returns jsonb language plpgsql security definer set search_path = '' as $$
declare
  p credits.purchases;
  r credits.refunds;
  t record;
begin
  perform credits._require('service', 'super_admin', 'admin');
  perform credits._check_key(p_idempotency_key);
  perform credits._check_adjustment(1, p_reason);
  select * into p from credits.purchases where id = p_purchase_id for update;
  if p.id is null then perform credits._raise('LC404', 'There is no such purchase.'); end if;
  select * into r from credits.refunds where account_id = p.account_id and idempotency_key = p_idempotency_key;
  if r.id is not null then
    if (r.purchase_id, r.asked_cents, r.asked_micros, r.reason) is distinct from (p.id, p_amount_cents, p_credits_micros, trim(p_reason)) then
      perform credits._raise('LC410', 'This idempotency key was used for another request; use a new key for a new request.');
    end if;
    return credits._refund_json(r) || '{"replayed": true}';
  end if;
  t := credits._refund_terms(p, p_amount_cents, p_credits_micros);
  perform credits._check_refund(t.blocked, t.amount_cents, t.max_cents);
  insert into credits.refunds (account_id, purchase_id, idempotency_key, amount_cents, tax_cents, credits_micros, bonus_micros, asked_cents,
                               asked_micros, reason, status, requested_by, created_at)
  values (p.account_id, p.id, p_idempotency_key, t.amount_cents, t.tax_cents, t.credits_micros, t.bonus_micros, p_amount_cents,
          p_credits_micros, trim(p_reason), 'requested', credits._actor(), credits._now()) returning * into r;
  perform credits._lock_with_referrer(p.account_id);  -- what one person refunds to one account is counted one at a time
  if not credits._refund_waits(p.account_id, t.amount_cents) then r := credits._approve_refund(p, r); end if;
  perform credits._audit('request_refund', p.account_id, jsonb_build_object('refund_id', r.id, 'amount_cents', r.amount_cents, 'reason', r.reason));
  return credits._refund_json(r) || '{"replayed": false}';
end $$;

create function credits._check_refund(p_blocked text, p_amount_cents bigint, p_max_cents bigint) returns void
language plpgsql immutable set search_path = '' as $$
begin
  if p_blocked is not null then perform credits._raise('LC409', p_blocked); end if;
  if p_amount_cents is null or p_amount_cents < 1 or p_amount_cents > p_max_cents then
    perform credits._raise('LC402', 'At most what is left of this purchase can be refunded; see the preview.',
                           jsonb_build_object('max_cents', p_max_cents, 'amount_cents', p_amount_cents));
  end if;
end $$;

-- Takes the credits of a refund out of the purchase's own grants, and a referral's reward that the purchase no longer earns.
create function credits._approve_refund(p credits.purchases, r credits.refunds) returns credits.refunds
language plpgsql set search_path = '' as $$
declare
  a       credits.accounts;
  v_row   credits.transactions;
  v_draws credits.draw[];
begin
  perform credits._lock_with_referrer(p.account_id);
  a := credits._open_ledger(p.account_id);
  v_row.purchase_id := p.id;
  v_row.actor := credits._actor();
  v_row.reason := r.reason;
  v_draws := credits._draw_purchase(p.id, false, r.credits_micros) || credits._draw_purchase(p.id, true, r.bonus_micros);
  a := credits._record(a, 'refund', -credits._drawn(v_draws), v_draws, v_row);
  update credits.refunds set status = 'approved', transaction_seq = a.seq, tax_cents = r.tax_cents,
         credits_micros = r.credits_micros, bonus_micros = credits._drawn(v_draws) - r.credits_micros where id = r.id returning * into r;
  perform credits._close_ledger(a);
  perform credits._follow_referral(p);
  perform credits._pause_refunded(p);
  return r;
end $$;

-- Takes up to an amount from the grants of one purchase (paid or promotional), oldest first.
create function credits._draw_purchase(p_purchase_id uuid, p_promotional boolean, p_amount_micros bigint) returns credits.draw[]
language plpgsql set search_path = '' as $$
declare
  v_grant credits.grants;
  v_need  bigint := p_amount_micros;
  v_take  bigint;
  v_draws credits.draw[] := '{}';
begin
  for v_grant in select * from credits.grants where purchase_id = p_purchase_id and is_promotional = p_promotional
                    and remaining_micros > 0 order by id loop
    exit when v_need <= 0;
    v_take := least(v_grant.remaining_micros, v_need);
    update credits.grants set remaining_micros = remaining_micros - v_take where id = v_grant.id;
    v_draws := v_draws || row(v_grant.id, -v_take)::credits.draw;
    v_need := v_need - v_take;
  end loop;
  return v_draws;
end $$;

-- A second administrator decides; what is left may have changed since, so the terms are worked out again.
create function credits.decide_refund(p_refund_id uuid, p_approve boolean, p_reason text default null) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  p credits.purchases;
  r credits.refunds;
  t record;
begin
  perform credits._require('super_admin', 'admin');
  perform credits._require_person();
  select * into r from credits.refunds where id = p_refund_id;
  if r.id is null then perform credits._raise('LC404', 'There is no such refund.'); end if;
  select * into p from credits.purchases where id = r.purchase_id for update;
  select * into r from credits.refunds where id = p_refund_id for update;
  if r.status <> 'requested' then
    perform credits._raise('LC409', format('This refund is %s already.', r.status), jsonb_build_object('status', r.status));
  end if;
  perform credits._check_decision(p_approve, r.requested_by, credits._refund_until(r), p_reason);
  if p_approve then
    t := credits._refund_terms(p, r.amount_cents, null);
    perform credits._check_refund(t.blocked, t.amount_cents, t.max_cents);
    r.credits_micros := t.credits_micros;
    r.bonus_micros := t.bonus_micros;
    r.tax_cents := t.tax_cents;
    r := credits._approve_refund(p, r);
  end if;
  update credits.refunds set status = case when p_approve then status else 'rejected' end, decided_by = credits._actor(),
         decided_at = credits._now(), decision_reason = p_reason, finished_at = case when not p_approve then credits._now() end
   where id = r.id returning * into r;
  perform credits._audit('decide_refund', r.account_id, jsonb_build_object('refund_id', r.id, 'approved', p_approve, 'reason', p_reason));
  return credits._refund_json(r);
end $$;

-- Hands out approved refunds to be sent to Stripe, each to one worker; one that died leaves its refund to the next after a
-- minute, who sends it with the same idempotency key (the refund's id).
create function credits.claim_refunds(p_limit int default 20, p_refund_id uuid default null) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  v_now   timestamptz := credits._now();
  v_items jsonb;
begin
  perform credits._require('service');
  with chosen as (
    select id from credits.refunds
     where (status = 'approved' or (status = 'sent' and stripe_refund_id is null and sent_at < v_now - interval '1 minute'))
       and (p_refund_id is null or id = p_refund_id)
     order by created_at, id limit credits._page_size(p_limit) for update skip locked),
  claimed as (
    update credits.refunds as r set status = 'sent', sent_at = v_now from chosen where r.id = chosen.id
    returning r.created_at, credits._refund_json(r) as item)
  select coalesce(jsonb_agg(item order by created_at), '[]') into v_items from claimed;
  return jsonb_build_object('items', v_items);
end $$;

-- Records what Stripe says of a refund: pending, succeeded, failed or canceled. A failed one gives the credits back, once.
create function credits.record_refund(p_refund_id uuid, p_status text, p_stripe_refund_id text default null, p_reason text default null)
returns jsonb language plpgsql security definer set search_path = '' as $$
declare
  p credits.purchases;
  r credits.refunds;
  a credits.accounts;
  t credits.transactions;
begin
  perform credits._require('service');
  select * into r from credits.refunds where id = p_refund_id;
  if r.id is null then perform credits._raise('LC404', 'There is no such refund.'); end if;
  select * into p from credits.purchases where id = r.purchase_id for update;
  select * into r from credits.refunds where id = p_refund_id for update;
  update credits.refunds set stripe_refund_id = coalesce(stripe_refund_id, p_stripe_refund_id) where id = r.id;
  if p_status = 'succeeded' and r.status in ('approved', 'sent') then
    update credits.refunds set status = 'succeeded', finished_at = credits._now() where id = r.id;
    perform credits._tell_refund(r);
  elsif p_status in ('failed', 'canceled') and r.status in ('approved', 'sent', 'succeeded') then
    perform credits._lock_with_referrer(r.account_id);
    select * into t from credits.transactions where account_id = r.account_id and seq = r.transaction_seq;
    if t.seq is not null then
      a := credits._undo(credits._open_ledger(r.account_id), t, null, 'The refund did not go through');
      perform credits._close_ledger(credits._book_expired(a, true));
    else  -- no credits went with it: a payment given back after a review, which somebody has to decide anew
      perform credits._back_to_review(r.purchase_id);
    end if;
    update credits.refunds set status = 'failed', failure_reason = p_reason, finished_at = credits._now() where id = r.id;
    perform credits._follow_referral(p);
  end if;
  select * into r from credits.refunds where id = p_refund_id;
  return credits._refund_json(r);
end $$;

-- Tells that money is on its way back, once for each refund.
create function credits._tell_refund(r credits.refunds) returns void
language plpgsql set search_path = '' as $$
begin
  perform credits._tell(r.account_id, 'refund_succeeded', jsonb_build_object(
    'refund_id', r.id, 'purchase_id', r.purchase_id, 'amount_cents', r.amount_cents + r.tax_cents, 'tax_cents', r.tax_cents,
    'currency', (select currency from credits.purchases where id = r.purchase_id),
    'credits_micros', r.credits_micros + r.bonus_micros), r.id::text);
end $$;

create function credits.refunds(p_account_id bigint default null, p_status text default null, p_limit int default 50) returns jsonb
language plpgsql stable set search_path = '' as $$
declare v_account bigint;
begin
  if p_account_id is not null or not credits._is_staff() then v_account := credits._account(p_account_id, 'read'); end if;
  return jsonb_build_object('items', (
    select coalesce(jsonb_agg(credits._refund_json(r::credits.refunds) order by r.created_at desc, r.id), '[]') from (
      select * from credits.refunds as x
       where (v_account is null or x.account_id = v_account) and (p_status is null or x.status = p_status)
       order by x.created_at desc, x.id limit credits._page_size(p_limit)) as r));
end $$;

revoke execute on all functions in schema credits from public;
grant execute on function
  credits._refund_limit_cents(), credits._left_of_purchase(uuid, boolean), credits._refunded(uuid),
  credits._refund_terms(credits.purchases, bigint, bigint), credits._refund_json(credits.refunds),
  credits.refund_preview(uuid, bigint, bigint), credits.request_refund(uuid, text, text, bigint, bigint),
  credits.decide_refund(uuid, boolean, text), credits.refunds(bigint, text, int)
to authenticated, service_role;
grant execute on function credits.claim_refunds(int, uuid), credits.record_refund(uuid, text, text, text) to service_role;
