-- Purchases: a row is committed before Stripe is called; fulfill_purchase credits it once, whoever asks and how often.

create table credits.purchases (
  id                uuid primary key default gen_random_uuid(),
  account_id        bigint not null references credits.accounts (id),
  idempotency_key   text not null,
  catalog           text not null,
  package           text,                           -- null: a custom amount
  name              text not null,
  credits_micros    bigint not null check (credits_micros > 0),
  bonus_micros      bigint not null check (bonus_micros >= 0),
  promo_bonus_micros bigint not null default 0 check (promo_bonus_micros between 0 and bonus_micros),  -- of the bonus, by a code
  list_price_cents  bigint not null check (list_price_cents >= price_cents),
  price_cents       bigint not null check (price_cents > 0),  -- what is to be paid: the list price less a code's discount
  promo_code        text,
  currency          text not null,
  flow              text not null check (flow in ('checkout', 'payment_intent', 'subscription')),
  livemode          boolean not null,
  status            text not null default 'created'
                    check (status in ('created', 'open', 'processing', 'credited', 'expired', 'failed', 'review')),
  stripe_price_id   text,
  session_id        text unique,
  payment_intent_id text unique,
  payment_method_id text,                           -- the saved card that is charged at once; null: the buyer enters one
  url               text,
  client_secret     text,
  customer_id       text,
  card_fingerprint  text,            -- Stripe's name for the card, the same in all its payments
  receipt_url       text,
  invoice_url       text,                           -- Stripe's page of the invoice, where one was made
  invoice_pdf_url   text,
  terms_url         text,                           -- the terms that the buyer accepted on the payment page
  terms_accepted_at timestamptz,
  amount_total_cents bigint,
  tax_cents         bigint,
  discount_cents    bigint,
  review_reason     text,
  review_session    jsonb,                          -- what Stripe said of the payment that does not match
  review_decision   text check (review_decision in ('credit', 'refund', 'close')),
  failure_reason    text,
  transaction_seq   bigint,
  created_at        timestamptz not null,
  opened_at         timestamptz,
  expires_at        timestamptz,
  credited_at       timestamptz,
  polled_at         timestamptz,     -- when Stripe was last asked by the poll
  subscription_id   uuid,            -- a paid period of a subscription: its invoice, its time, and until when its credits last
  invoice_id        text unique,
  period_start      timestamptz,
  period_end        timestamptz,
  credits_expire_at timestamptz,
  unique (account_id, idempotency_key)
);
create unique index purchases_by_account on credits.purchases (account_id, created_at, id);
-- What Stripe is asked about. A failed intent that was not canceled can still be paid with another card.
create unique index purchases_waiting on credits.purchases (created_at, id)
  where status in ('created', 'open', 'processing')
     or status = 'failed' and flow = 'payment_intent' and expires_at is null and review_decision is null;

alter table credits.purchases enable row level security;
create policy purchases_read on credits.purchases for select to authenticated
  using (account_id = (select credits._own_account()) or (select credits._is_staff()));
grant select on credits.purchases to authenticated, service_role;

-- What was paid for the credits themselves: the price without the discount, tax apart.
create function credits._paid_cents(p credits.purchases) returns bigint
language sql immutable set search_path = '' as $$ select greatest(p.price_cents - coalesce(p.discount_cents, 0), 0) $$;

create function credits._purchase_json(p credits.purchases) returns jsonb
language sql stable set search_path = '' as $$
  select jsonb_build_object(
    'purchase_id', p.id, 'account_id', p.account_id, 'status', p.status, 'package', p.package, 'package_name', p.name,
    'credits_micros', p.credits_micros, 'bonus_micros', p.bonus_micros, 'price_cents', p.price_cents, 'list_price_cents', p.list_price_cents, 'promo_code', p.promo_code, 'currency', p.currency,
    'flow', p.flow, 'livemode', p.livemode, 'stripe_price_id', p.stripe_price_id, 'session_id', p.session_id,
    'payment_intent_id', p.payment_intent_id, 'payment_method_id', p.payment_method_id, 'url', p.url, 'client_secret', p.client_secret, 'receipt_url', p.receipt_url,
    'invoice_url', p.invoice_url, 'invoice_pdf_url', p.invoice_pdf_url, 'terms_url', p.terms_url,
    'terms_accepted_at', credits._iso(p.terms_accepted_at), 'tax_cents', coalesce(p.tax_cents, 0),
    'discount_cents', p.list_price_cents - p.price_cents + coalesce(p.discount_cents, 0),
    'review_reason', p.review_reason, 'review_decision', p.review_decision, 'failure_reason', p.failure_reason,
    'amount_total_cents', p.amount_total_cents,
    'paid_cents', case when p.status in ('credited', 'review') then coalesce(p.amount_total_cents, p.price_cents) else 0 end,
    'created_at', credits._iso(p.created_at), 'credited_at', credits._iso(p.credited_at),
    'transaction_id', p.account_id || '-' || p.transaction_seq,
    'email', (select email from credits.profiles where account_id = p.account_id))
$$;

-- Records the intent to buy. The price comes from our own rows, never from the caller. A code is reserved with the purchase.
-- p_payment_method_id: the owner's saved card that is charged at once. p_shown: price_cents, credits_micros, bonus_micros, currency
-- (some of them) as the buyer saw them; nothing is recorded when they are others now.
-- Security definer: only functions write purchases.
create function credits.create_purchase(
  p_idempotency_key text, p_livemode boolean, p_package text default null, p_amount_cents bigint default null,
  p_flow text default 'checkout', p_account_id bigint default null, p_promo_code text default null,
  p_payment_method_id text default null, p_shown jsonb default null
) returns jsonb language plpgsql security definer set search_path = '' as $$
declare
  v_account bigint := credits._account(p_account_id, 'purchase');
  v_code    text := nullif(upper(trim(p_promo_code)), '');
  t         credits.purchase_terms;
  p         credits.purchases;
begin
  perform credits._check_key(p_idempotency_key);
  if p_livemode is null or p_flow is null or p_flow not in ('checkout', 'payment_intent') then
    perform credits._raise('LC400', 'flow must be checkout or payment_intent.');
  elsif p_payment_method_id is not null and (p_flow <> 'payment_intent' or p_payment_method_id !~ '^\w{1,255}$') then
    perform credits._raise('LC400', 'A saved card is named by its id and goes with the flow payment_intent.');
  elsif p_payment_method_id is not null and (v_account is distinct from credits._own_account() or credits._api_key_id() is not null) then
    perform credits._raise('LC403', 'Only the owner of an account pays with its saved cards, signed in; programs buy without payment_method_id, '
                                    'or the owner switches on auto-reload.');
  end if;
  select * into p from credits.purchases where account_id = v_account and idempotency_key = p_idempotency_key;
  if p.id is not null then
    return credits._replayed_purchase(p, p_package, p_amount_cents, p_flow, p_livemode, v_code, p_payment_method_id);
  end if;
  if v_code is not null then  -- the limits of codes are counted one purchase at a time
    perform from credits.accounts where id = v_account for no key update;
    perform from credits.campaigns where code = v_code for update;
  end if;
  t := credits._purchase_terms(v_account, p_package, p_amount_cents, v_code);
  if not to_jsonb(t) @> coalesce(p_shown, '{}') then
    perform credits._raise('LC409', 'This price is not the one you saw any more; look at it again, then pay.', jsonb_build_object(
      'price_cents', t.price_cents, 'currency', t.currency, 'credits_micros', t.credits_micros, 'bonus_micros', t.bonus_micros));
  end if;
  insert into credits.purchases (account_id, idempotency_key, catalog, package, name, credits_micros, bonus_micros, promo_bonus_micros,
                                 list_price_cents, price_cents, promo_code, currency, flow, livemode, payment_method_id,
                                 stripe_price_id, created_at)
  values (v_account, p_idempotency_key, t.catalog, t.package, t.name, t.credits_micros, t.bonus_micros, t.promo_bonus_micros,
          t.list_price_cents, t.price_cents, t.promo_code, t.currency, p_flow, p_livemode, p_payment_method_id,
          case when t.price_cents = t.list_price_cents then (select price_id from credits.package_stripe
            where catalog = t.catalog and package = t.package and livemode = p_livemode) end, credits._now())
  on conflict (account_id, idempotency_key) do nothing returning * into p;
  if p.id is null then
    select * into p from credits.purchases where account_id = v_account and idempotency_key = p_idempotency_key;
    return credits._replayed_purchase(p, p_package, p_amount_cents, p_flow, p_livemode, v_code, p_payment_method_id);
  end if;
  if t.campaign_id is not null then
    insert into credits.redemptions (purchase_id, campaign_id, account_id, status, at)
    values (p.id, t.campaign_id, v_account, 'reserved', credits._now());
  end if;
  return credits._purchase_json(p) || '{"replayed": false}';
end $$;

create function credits._replayed_purchase(
  p credits.purchases, p_package text, p_amount_cents bigint, p_flow text, p_livemode boolean, p_code text, p_payment_method_id text
) returns jsonb language plpgsql stable set search_path = '' as $$
begin
  if p.package is distinct from p_package or p.flow <> p_flow or p.livemode <> p_livemode or p.promo_code is distinct from p_code
     or p.payment_method_id is distinct from p_payment_method_id
     or (p_package is null and p.list_price_cents is distinct from p_amount_cents) then
    perform credits._raise('LC410', 'This idempotency key was used for another request; use a new key for a new request.');
  end if;
  return credits._purchase_json(p) || '{"replayed": true}';
end $$;

-- Keeps the redemption of a purchase's code in step with the purchase. A code that was released and paid for after all counts
-- again: the money came.
create function credits._follow_redemption(p credits.purchases) returns void
language sql set search_path = '' as $$
  update credits.redemptions set at = credits._now(),
    status = case when p.status = 'credited' then 'redeemed' when p.status in ('expired', 'failed') then 'released' else 'reserved' end
   where purchase_id = p.id
$$;

-- Records what Stripe answered. Security definer: only functions write purchases.
create function credits.open_purchase(
  p_purchase_id uuid, p_session_id text default null, p_payment_intent_id text default null, p_url text default null,
  p_client_secret text default null, p_expires_at timestamptz default null
) returns jsonb language plpgsql security definer set search_path = '' as $$
declare p credits.purchases;
begin
  perform credits._require('service');
  update credits.purchases set
    status = case when status = 'created' then 'open' else status end, opened_at = coalesce(opened_at, credits._now()),
    session_id = coalesce(session_id, p_session_id), payment_intent_id = coalesce(payment_intent_id, p_payment_intent_id),
    url = coalesce(p_url, url), client_secret = coalesce(p_client_secret, client_secret),
    expires_at = coalesce(p_expires_at, expires_at)
   where id = p_purchase_id returning * into p;
  if p.id is null then perform credits._raise('LC404', 'There is no such purchase.'); end if;
  return credits._purchase_json(p);
end $$;

-- Why a paid session must not be credited by itself; null when everything agrees.
create function credits._purchase_mismatch(p credits.purchases, s jsonb) returns text
language sql immutable set search_path = '' as $$
  select case
    when s ->> 'mode' is distinct from 'payment' then 'The session is not a one-time payment.'
    when (s ->> 'livemode')::boolean is distinct from p.livemode then 'Test and live mode do not agree.'
    when s ->> 'currency' is distinct from p.currency then 'The currency is not the one of the purchase.'
    when (s ->> 'amount_subtotal')::bigint is distinct from p.price_cents then 'The amount is not the price of the purchase.'
    when p.stripe_price_id is not null and s ->> 'price_id' is not null and s ->> 'price_id' <> p.stripe_price_id
      then 'The Stripe price is not the one of the package.'
    when p.session_id is not null and s ->> 'session_id' is not null and s ->> 'session_id' <> p.session_id
      then 'Another Stripe session belongs to this purchase.'
    when s ->> 'payment_status' = 'no_payment_required' then 'Stripe says that nothing was to be paid.'
  end
$$;

-- One function for return page, webhook and poll: brings a purchase to where Stripe says it is; credits it once.
-- p_session: session_id, purchase_id, status, payment_status, mode, currency, amount_subtotal, amount_total, amount_tax,
-- amount_discount, price_id, payment_intent_id, customer_id, card_fingerprint, receipt_url, invoice_url, invoice_pdf_url, terms_url
-- (if the buyer accepted terms), livemode, failure (why what was tried did not pay: a debit came back, an intent was declined or
-- canceled; null while it may still be on its way).
-- Security definer: only functions write the ledger and purchases.
create function credits.fulfill_purchase(p_session jsonb) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  p      credits.purchases;
  v_paid boolean := p_session ->> 'payment_status' in ('paid', 'no_payment_required') and p_session ->> 'status' = 'complete';
  v_why  text;
  v_new  boolean := false;
  v_before text;
begin
  perform credits._require('service');
  select * into p from credits.purchases
   where session_id = p_session ->> 'session_id' or id = credits._uuid(p_session ->> 'purchase_id')
      or payment_intent_id = p_session ->> 'payment_intent_id'
   order by (session_id = p_session ->> 'session_id') desc nulls last, created_at limit 1 for update;
  if p.id is null then
    perform credits._raise('LC404', 'No purchase belongs to this Stripe session; start again from the buy page.');
  end if;
  v_before := p.status;
  if p.status = 'credited' or (p.status = 'review' and not v_paid)  -- an older look at Stripe, arriving late
     or (p.review_decision is not null and p.review_session ->> 'session_id' = p_session ->> 'session_id') then  -- somebody decided
    return credits._purchase_answer(p, false);
  elsif v_paid then
    v_why := credits._purchase_mismatch(p, p_session);
    p.status := case when v_why is null then 'credited' else 'review' end;
  elsif p_session ->> 'failure' is not null then
    p.status := 'failed';  -- paid after all (an intent, with another card), it is credited all the same
  elsif p_session ->> 'status' = 'complete' then
    p.status := 'processing';
  elsif p_session ->> 'status' = 'expired' then
    p.status := 'expired';
  elsif p.status in ('created', 'expired', 'failed') then
    p.status := 'open';  -- Stripe's state wins: what we gave up may still be paid
  end if;
  if p.status = 'credited' then
    perform credits._lock_with_referrer(p.account_id);
    p.credited_at := credits._now();
    p.discount_cents := coalesce((p_session ->> 'amount_discount')::bigint, p.discount_cents);
    p.transaction_seq := credits._credit_purchase(p);
    v_new := true;
  end if;
  update credits.purchases set
    status = p.status, credited_at = p.credited_at, transaction_seq = p.transaction_seq, review_reason = v_why,
    review_session = case when v_why is not null then p_session end, review_decision = null,
    failure_reason = case when p.status in ('failed', 'expired') then coalesce(p_session ->> 'failure', failure_reason) end,
    expires_at = case when flow = 'checkout' then expires_at
                      when p_session ->> 'status' = 'expired' then coalesce(expires_at, credits._now()) end,
    session_id = coalesce(session_id, p_session ->> 'session_id'),
    payment_intent_id = coalesce(payment_intent_id, p_session ->> 'payment_intent_id'),
    customer_id = coalesce(p_session ->> 'customer_id', customer_id),
    receipt_url = coalesce(p_session ->> 'receipt_url', receipt_url),
    card_fingerprint = coalesce(p_session ->> 'card_fingerprint', card_fingerprint),
    invoice_url = coalesce(p_session ->> 'invoice_url', invoice_url),
    invoice_pdf_url = coalesce(p_session ->> 'invoice_pdf_url', invoice_pdf_url),
    terms_url = coalesce(p_session ->> 'terms_url', terms_url),
    terms_accepted_at = case when p_session ->> 'terms_url' is not null then coalesce(terms_accepted_at, credits._now())
                             else terms_accepted_at end,
    amount_total_cents = coalesce((p_session ->> 'amount_total')::bigint, amount_total_cents),
    tax_cents = coalesce((p_session ->> 'amount_tax')::bigint, tax_cents),
    discount_cents = coalesce((p_session ->> 'amount_discount')::bigint, discount_cents)
   where id = p.id returning * into p;
  perform credits._follow_redemption(p);
  if v_new then perform credits._follow_referral(p); end if;
  perform credits._tell_purchase(p, v_before);
  return credits._purchase_answer(p, v_new);
end $$;

-- Tells what became of a purchase: credited, under review, or a payment that failed after its owner had left believing it was under
-- way. What fails before their eyes, and what auto-reload tells itself, is not told.
create function credits._tell_purchase(p credits.purchases, p_before text) returns void
language plpgsql set search_path = '' as $$
declare v_kind text := case
  when p.status = p_before then null
  when p.status = 'credited' then 'purchase_credited'
  when p.status = 'review' then 'purchase_in_review'
  when p.idempotency_key like 'auto-reload:%' then null
  when p.expires_at is null and p.flow = 'payment_intent' and p_before <> 'processing' then null  -- another card may pay it
  when p_before = 'processing' or (p_before = 'open' and p.status = 'failed') then 'payment_failed' end;
begin
  if v_kind is null then return; end if;
  perform credits._tell(p.account_id, v_kind, jsonb_strip_nulls(jsonb_build_object(
    'purchase_id', p.id, 'package_name', p.name, 'credits_micros', p.credits_micros, 'bonus_micros', p.bonus_micros,
    'amount_cents', coalesce(p.amount_total_cents, p.price_cents), 'tax_cents', p.tax_cents, 'currency', p.currency,
    'receipt_url', p.receipt_url, 'reason', coalesce(p.failure_reason, p.review_reason),
    'is_auto_reload', p.idempotency_key like 'auto-reload:%',
    'available_micros', (select posted_micros - held_micros from credits.accounts where id = p.account_id))), p.id::text);
end $$;

-- The paid grant at its cost, and the bonus as a promotional grant at none. Answers the number of the purchase transaction.
create function credits._credit_purchase(p credits.purchases) returns bigint
language plpgsql set search_path = '' as $$
declare
  a       credits.accounts := credits._open_ledger(p.account_id);
  v_row   credits.transactions;
  v_grant credits.grants;
  v_seq   bigint;
begin
  if p.subscription_id is not null then a := credits._roll_over(a, p); end if;
  v_seq := a.seq + 1;
  v_row.purchase_id := p.id;
  v_row.actor := 'service';
  v_row.reason := p.name;
  v_grant.purchase_id := p.id;
  v_grant.currency := p.currency;
  v_grant.source := case when p.subscription_id is null then 'purchase' else 'subscription' end;
  v_grant.is_promotional := false;
  v_grant.expires_at := p.credits_expire_at;
  v_grant.granted_micros := p.credits_micros;
  v_grant.cost_cents := credits._paid_cents(p);
  a.purchased_micros := a.purchased_micros + p.credits_micros + p.bonus_micros;
  a := credits._grant(a, 'purchase', v_grant, v_row);
  v_grant.is_promotional := true;
  v_grant.cost_cents := 0;
  if p.bonus_micros > p.promo_bonus_micros then
    v_grant.source := 'bonus';
    v_grant.granted_micros := p.bonus_micros - p.promo_bonus_micros;
    v_row.reason := p.name || ' bonus';
    a := credits._grant(a, 'bonus', v_grant, v_row);
  end if;
  if p.promo_bonus_micros > 0 then
    v_grant.source := 'promotion';
    v_grant.granted_micros := p.promo_bonus_micros;
    v_row.reason := 'Code ' || p.promo_code;
    a := credits._grant(a, 'bonus', v_grant, v_row);
  end if;
  perform credits._close_ledger(a);
  return v_seq;
end $$;

create function credits._purchase_answer(p credits.purchases, p_newly_credited boolean) returns jsonb
language sql stable set search_path = '' as $$
  select credits._purchase_json(p) || jsonb_build_object('newly_credited', p_newly_credited, 'available_micros',
    (select a.posted_micros - a.held_micros from credits.accounts as a where a.id = p.account_id))
$$;

create function credits.purchase_status(p_session_id text) returns jsonb
language plpgsql stable set search_path = '' as $$
declare p credits.purchases;
begin
  perform credits._require('service', 'super_admin', 'admin', 'finance', 'holder');
  perform credits._require_scope('read');
  select * into p from credits.purchases where session_id = p_session_id;
  -- Row policies hide other people's purchases: theirs and unknown ones get the same answer.
  if p.id is null then
    perform credits._raise('LC404', 'No purchase of yours belongs to this session; start again from the buy page.');
  end if;
  return credits._purchase_answer(p, false);
end $$;

create function credits.purchase(p_purchase_id uuid) returns jsonb
language plpgsql stable set search_path = '' as $$
declare p credits.purchases;
begin
  perform credits._require('service', 'super_admin', 'admin', 'finance', 'holder');
  perform credits._require_scope('read');
  select * into p from credits.purchases where id = p_purchase_id;
  if p.id is null then perform credits._raise('LC404', 'There is no such purchase of yours.'); end if;
  return credits._purchase_answer(p, false);
end $$;

-- Gives up a purchase that Stripe says is over and unpaid: nobody asks about it any more. Never undoes a credit. Security
-- definer: writes purchases.
create function credits.fail_purchase(p_purchase_id uuid, p_status text, p_reason text default null) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  p        credits.purchases;
  v_before text;
begin
  perform credits._require('service');
  if p_status is null or p_status not in ('expired', 'failed') then
    perform credits._raise('LC400', 'A purchase ends as expired or failed.');
  end if;
  select status into v_before from credits.purchases where id = p_purchase_id for update;
  update credits.purchases set status = p_status, failure_reason = coalesce(p_reason, failure_reason),
         expires_at = coalesce(expires_at, credits._now())
   where id = p_purchase_id and status in ('created', 'open', 'processing', 'expired', 'failed');
  select * into p from credits.purchases where id = p_purchase_id;
  if p.id is null then perform credits._raise('LC404', 'There is no such purchase.'); end if;
  perform credits._follow_redemption(p);
  perform credits._tell_purchase(p, v_before);
  return credits._purchase_answer(p, false);
end $$;

-- Hands out purchases to ask Stripe about, those longest unasked first, each to one poll. Young ones are asked every
-- time, older ones ever less often (after a twentieth of their age): a thousand abandoned checkouts never hide a paid one.
-- Security definer: only functions write purchases.
create function credits.purchases_to_poll(p_limit int default 100, p_min_age_seconds int default 0) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  v_now   timestamptz := credits._now();
  v_items jsonb;
begin
  perform credits._require('service');
  with chosen as (
    select id from credits.purchases
     where (status in ('created', 'open', 'processing')
            or status = 'failed' and flow = 'payment_intent' and expires_at is null and review_decision is null)
       and created_at <= v_now - make_interval(secs => p_min_age_seconds)
       and (polled_at is null or polled_at <= v_now - (v_now - created_at) / 20)
     order by polled_at nulls first, created_at limit credits._page_size(p_limit) for update skip locked),
  claimed as (
    update credits.purchases as p set polled_at = v_now from chosen where p.id = chosen.id
    returning p.created_at, credits._purchase_json(p) as item)
  select coalesce(jsonb_agg(item order by created_at), '[]') into v_items from claimed;
  return jsonb_build_object('items', v_items);
end $$;

-- Newest first, by the moment they were started; the cursor is the id of the last one.
create function credits.purchases(
  p_account_id bigint default null, p_status text default null, p_limit int default 50, p_cursor text default null,
  p_from timestamptz default null, p_to timestamptz default null
) returns jsonb language plpgsql stable set search_path = '' as $$
declare
  v_account bigint := credits._account(p_account_id, 'read');
  v_size    int := credits._page_size(p_limit);
  v_after   credits.purchases;
  v_items   jsonb;
  v_next    text;
begin
  if p_cursor is not null and p_cursor <> '' then
    select * into v_after from credits.purchases where account_id = v_account and id = credits._uuid(p_cursor);
    if v_after.id is null then
      perform credits._raise('LC400', 'cursor is not one that a list answered with; start again without it.');
    end if;
  end if;
  with page as (
    select p, row_number() over (order by p.created_at desc, p.id desc) as n from credits.purchases as p
     where p.account_id = v_account and (p_status is null or p.status = p_status)
       and (p_from is null or p.created_at >= p_from) and (p_to is null or p.created_at < p_to)
       and (v_after.id is null or (p.created_at, p.id) < (v_after.created_at, v_after.id))
     order by p.created_at desc, p.id desc limit v_size + 1)
  select coalesce(jsonb_agg(credits._purchase_json(p) order by n) filter (where n <= v_size), '[]'),
         case when count(*) > v_size then (array_agg((p).id::text order by n))[v_size] end
    into v_items, v_next from page;
  return jsonb_build_object('items', v_items, 'next_cursor', v_next);
end $$;

revoke execute on all functions in schema credits from public;
grant execute on function
  credits._paid_cents(credits.purchases), credits._purchase_json(credits.purchases), credits._purchase_answer(credits.purchases, boolean),
  credits.create_purchase(text, boolean, text, bigint, text, bigint, text, text, jsonb), credits.purchase_status(text), credits.purchase(uuid),
  credits.purchases(bigint, text, int, text, timestamptz, timestamptz)
to authenticated, service_role;
grant execute on function
  credits.open_purchase(uuid, text, text, text, text, timestamptz), credits.fulfill_purchase(jsonb),
  credits.fail_purchase(uuid, text, text), credits.purchases_to_poll(int, int)
to service_role;
