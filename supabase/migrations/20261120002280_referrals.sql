-- Referrals: somebody with a code invites somebody new; both get credits once the new one has paid for a first purchase.
--
-- A referral is claimed before the first purchase and keeps the terms it was claimed under. It is rewarded in the transaction that
-- credits the purchase, follows that purchase when money goes back or comes back, and waits for a person where a limit or a shared
-- card speaks against it. Locks: the purchase, then the accounts of both in id order, then the referral.

create table credits.referral_program (
  is_only            boolean primary key default true check (is_only),
  is_on              boolean not null default false,
  referrer_micros    bigint not null default 5000000 check (referrer_micros between 0 and 1000000000000),
  referee_micros     bigint not null default 5000000 check (referee_micros between 0 and 1000000000000),
  min_purchase_cents bigint not null default 1000 check (min_purchase_cents between 1 and 99999999),
  open_days          int not null default 60 check (open_days between 1 and 730),
  month_rewards      int default 10 check (month_rewards >= 0),         -- caps of one referrer, by calendar month (UTC) and in
  month_micros       bigint check (month_micros >= 0),                  -- all; null: no cap
  total_rewards      int default 100 check (total_rewards >= 0),
  total_micros       bigint check (total_micros >= 0),
  constraint somebody_gains check (referrer_micros + referee_micros > 0)
);
comment on table credits.referral_program is 'The terms of invitations, one row; what they were before is in the audit trail.';
insert into credits.referral_program default values;

create table credits.referral_codes (
  account_id bigint primary key references credits.accounts (id),
  code       text not null unique check (code ~ '^[2-9A-HJKMNP-TV-Z]{8}$'),  -- nothing that is read as something else
  created_at timestamptz not null
);

create table credits.referrals (
  id                 bigint generated always as identity primary key,
  referrer_id        bigint not null references credits.accounts (id),
  referee_id         bigint not null unique references credits.accounts (id),
  code               text not null,
  status             text not null default 'open' check (status in ('open', 'held', 'rewarded', 'taken_back', 'rejected')),
  hold_reason        text check (hold_reason in ('same_card', 'month_rewards', 'month_credits', 'total_rewards', 'total_credits', 'program_off')),
  referrer_micros    bigint not null,
  referee_micros     bigint not null,
  min_purchase_cents bigint not null,
  purchase_id        uuid,                    -- the one that counts
  referrer_seq       bigint,                  -- each side's last transaction: what gave the reward, or took it back
  referee_seq        bigint,
  claimed_at         timestamptz not null,
  expires_at         timestamptz not null,    -- a purchase after it earns nothing
  rewarded_at        timestamptz,
  decided_by         text,
  decision_reason    text,
  constraint two_people check (referrer_id <> referee_id),
  constraint held_with_a_reason check (status <> 'held' or hold_reason is not null)
);
create unique index referrals_by_referrer on credits.referrals (referrer_id, id);
create unique index referrals_held on credits.referrals (id) where status = 'held';
create unique index referrals_by_purchase on credits.referrals (purchase_id, id) where purchase_id is not null;

-- People learn of their referrals by referral(), which masks who joined; the rows are for staff.
alter table credits.referral_program enable row level security;
alter table credits.referral_codes enable row level security;
alter table credits.referrals enable row level security;
create policy referral_program_staff_reads on credits.referral_program for select to authenticated using ((select credits._is_staff()));
create policy referral_codes_staff_reads on credits.referral_codes for select to authenticated using ((select credits._is_staff()));
create policy referrals_staff_reads on credits.referrals for select to authenticated using ((select credits._is_staff()));
grant select on credits.referral_program, credits.referral_codes, credits.referrals to authenticated, service_role;

-- The mailbox behind an address: a+b@x is a@x, and Gmail ignores dots.
create function credits._mailbox(p_email text) returns text
language sql immutable set search_path = '' as $$
  select case when domain in ('gmail.com', 'googlemail.com') then replace(name, '.', '') || '@gmail.com' else name || '@' || domain end
    from (select split_part(split_part(lower(trim(p_email)), '@', 1), '+', 1), split_part(lower(trim(p_email)), '@', 2)) as e (name, domain)
$$;

-- The account's code, made when it is first asked for.
create function credits._referral_code(p_account_id bigint) returns text
language plpgsql set search_path = '' as $$
declare
  v_signs constant text := '23456789ABCDEFGHJKMNPQRSTVWXYZ';
  v_bytes bytea;
  v_code  text;
begin
  loop
    select code into v_code from credits.referral_codes where account_id = p_account_id;
    if found then return v_code; end if;
    v_bytes := sha256(gen_random_uuid()::text::bytea);
    insert into credits.referral_codes (account_id, code, created_at)
    select p_account_id, string_agg(substr(v_signs, 1 + get_byte(v_bytes, n) % 30, 1), ''), credits._now()
      from generate_series(0, 7) as n on conflict do nothing;
  end loop;
end $$;

-- Why an account may not use a referrer's code; null when it may.
create function credits._referral_refusal(p_referee_id bigint, p_referrer_id bigint) returns text
language sql stable set search_path = '' as $$
  with recursive above (account_id, steps) as (  -- who invited the referrer, and who invited them
    select p_referrer_id, 0
    union all
    select r.referrer_id, a.steps + 1 from above as a join credits.referrals as r on r.referee_id = a.account_id where a.steps < 1000)
  select case
    when p_referee_id = p_referrer_id then 'This is your own code; send it to somebody you want to invite.'
    when (select credits._mailbox(email) from credits.profiles where account_id = p_referee_id)
         = (select credits._mailbox(email) from credits.profiles where account_id = p_referrer_id)
      then 'This code belongs to your own e-mail address; only the code of somebody else counts.'
    when p_referee_id in (select account_id from above)
      then 'You invited the owner of this code; two accounts cannot invite each other.'
    when exists (select from credits.accounts where id = p_referee_id and purchased_micros > 0)
         or exists (select from credits.purchases where account_id = p_referee_id and status in ('processing', 'credited', 'review'))
      then 'Invitation codes are for new accounts, before their first purchase.'
  end
$$;

-- The caller was invited with this code. Once; the same code again answers the same referral.
-- Security definer, as all below: only functions write referrals.
create function credits.claim_referral(p_code text) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  v_account  bigint := credits._owner_only();
  v_code     text := upper(regexp_replace(coalesce(p_code, ''), '[\s-]', '', 'g'));
  v_referrer bigint := (select account_id from credits.referral_codes where code = v_code);
  v_why      text;
  g          credits.referral_program;
  r          credits.referrals;
begin
  if v_referrer is null then
    perform credits._raise('LC404', 'This invitation code is not known; check its spelling, or go on without it.');
  end if;
  perform from credits.accounts where id in (v_account, v_referrer) order by id for no key update;
  select * into r from credits.referrals where referee_id = v_account;
  if r.code = v_code then return credits._invited_json(r) || '{"replayed": true}'; end if;
  select * into g from credits.referral_program;
  v_why := case when r.id is not null then 'You have entered an invitation code already; only the first one counts.'
                when not g.is_on then 'Invitations are not rewarded at the moment.'
                else credits._referral_refusal(v_account, v_referrer) end;
  if v_why is not null then perform credits._raise('LC409', v_why); end if;
  insert into credits.referrals (referrer_id, referee_id, code, referrer_micros, referee_micros, min_purchase_cents, claimed_at, expires_at)
  values (v_referrer, v_account, v_code, g.referrer_micros, g.referee_micros, g.min_purchase_cents, credits._now(),
          credits._now() + make_interval(days => g.open_days)) returning * into r;
  return credits._invited_json(r) || '{"replayed": false}';
end $$;

-- Locks an account and, where its referral can still change, its referrer: in id order, so that two purchases never wait for each other.
create function credits._lock_with_referrer(p_account_id bigint) returns void
language plpgsql set search_path = '' as $$
begin
  perform from credits.accounts
   where id = p_account_id or id = (select referrer_id from credits.referrals where referee_id = p_account_id and status <> 'rejected')
   order by id for no key update;
  -- an invitation that was accepted while we waited
  perform from credits.accounts where id = (select referrer_id from credits.referrals where referee_id = p_account_id and status <> 'rejected')
     for no key update;
end $$;

-- What a purchase has brought and not given back, tax apart.
create function credits._kept_cents(p credits.purchases) returns bigint
language sql stable set search_path = '' as $$
  select case p.status when 'credited' then greatest(credits._paid_cents(p)
    - (select coalesce(sum(amount_cents), 0) from credits.refunds
        where purchase_id = p.id and status in ('approved', 'sent', 'succeeded'))
    - (select coalesce(sum(amount_cents), 0) from credits.disputes where purchase_id = p.id and transaction_seq is not null), 0)::bigint
    else 0 end
$$;

-- Why a referral has to wait for a person although its purchase is paid; null when nothing speaks against it. The referrer is locked,
-- so that rewards are counted one at a time.
create function credits._referral_hold(r credits.referrals, p credits.purchases) returns text
language plpgsql stable set search_path = '' as $$
declare
  g       credits.referral_program;
  v_done  record;
begin
  select * into g from credits.referral_program;
  select count(*) as n, coalesce(sum(referrer_micros), 0) as micros, count(*) filter (where this_month) as month_n,
         coalesce(sum(referrer_micros) filter (where this_month), 0) as month_micros into v_done
    from (select referrer_micros, rewarded_at >= credits._month_of_rewards() as this_month from credits.referrals
           where referrer_id = r.referrer_id and status = 'rewarded') as rewarded;
  return case
    when not g.is_on then 'program_off'
    when exists (
      select from credits.purchases as x
       where x.account_id in (select r.referrer_id union all
                              select referee_id from credits.referrals where referrer_id = r.referrer_id and id <> r.id)
         and (x.card_fingerprint = p.card_fingerprint or x.customer_id = p.customer_id))
      then 'same_card'
    when v_done.month_n >= g.month_rewards then 'month_rewards'
    when v_done.month_micros + r.referrer_micros > g.month_micros then 'month_credits'
    when v_done.n >= g.total_rewards then 'total_rewards'
    when v_done.micros + r.referrer_micros > g.total_micros then 'total_credits'
  end;
end $$;

create function credits._month_of_rewards() returns timestamptz
language sql stable set search_path = '' as $$ select date_trunc('month', credits._now(), 'UTC') $$;

-- Brings the referral of a purchase's account to where the purchase is: rewarded when it is paid, taken back when too little of the
-- money is left, given back when it returns. Any number of times. Both accounts are locked and their ledgers closed.
create function credits._follow_referral(p credits.purchases) returns void
language plpgsql set search_path = '' as $$
declare
  r        credits.referrals;
  v_earned boolean;
begin
  select * into r from credits.referrals where referee_id = p.account_id for update;
  if r.id is null or coalesce(r.purchase_id, p.id) <> p.id then return; end if;
  v_earned := credits._kept_cents(p) >= r.min_purchase_cents;
  if r.status = 'open' and v_earned and p.credited_at >= r.claimed_at and p.credited_at < r.expires_at then
    r.purchase_id := p.id;
    r.hold_reason := credits._referral_hold(r, p);
    if r.hold_reason is null then
      perform credits._reward_referral(r);
    else
      update credits.referrals set status = 'held', purchase_id = r.purchase_id, hold_reason = r.hold_reason where id = r.id;
    end if;
  elsif r.status = 'rewarded' and not v_earned then
    update credits.referrals set status = 'taken_back',
      referrer_seq = credits._take_reward(r.referrer_id, r.referrer_seq),
      referee_seq = credits._take_reward(r.referee_id, r.referee_seq) where id = r.id;
  elsif r.status = 'taken_back' and v_earned then
    update credits.referrals set status = 'rewarded',
      referrer_seq = credits._return_reward(r.referrer_id, r.referrer_seq),
      referee_seq = credits._return_reward(r.referee_id, r.referee_seq) where id = r.id;
  end if;
end $$;

-- Gives both sides their credits and tells them.
create function credits._reward_referral(r credits.referrals) returns void
language plpgsql set search_path = '' as $$
begin
  update credits.referrals set status = 'rewarded', purchase_id = r.purchase_id, rewarded_at = credits._now(),
    referrer_seq = credits._give_reward(r.referrer_id, r.referrer_micros, 'Referral: somebody you invited made a first purchase'),
    referee_seq = credits._give_reward(r.referee_id, r.referee_micros, 'Referral: welcome for the code ' || r.code) where id = r.id;
end $$;

-- Answers the number of the transaction; null where nothing is given.
create function credits._give_reward(p_account_id bigint, p_micros bigint, p_reason text) returns bigint
language plpgsql set search_path = '' as $$
declare
  a       credits.accounts;
  v_grant credits.grants;
  v_row   credits.transactions;
  v_seq   bigint;
begin
  if p_micros = 0 then return null; end if;
  a := credits._open_ledger(p_account_id);
  v_grant.source := 'referral';
  v_grant.is_promotional := true;
  v_grant.granted_micros := p_micros;
  v_grant.reason := p_reason;
  v_row.actor := 'service';
  v_row.reason := p_reason;
  a := credits._grant(a, 'grant', v_grant, v_row);
  v_seq := a.seq;
  perform credits._close_ledger(a);
  perform credits._tell(p_account_id, 'referral_rewarded', jsonb_build_object('amount_micros', p_micros, 'reason', p_reason));
  return v_seq;
end $$;

-- Takes a reward by force: what is left of its own grant, then other credits in spend order, the rest is a debt. It reverses the
-- transaction that gave (or gave back) the reward.
create function credits._take_reward(p_account_id bigint, p_seq bigint) returns bigint
language plpgsql set search_path = '' as $$
declare
  a       credits.accounts;
  t       credits.transactions;
  v_row   credits.transactions;
  v_draws credits.draw[] := '{}';
  v_entry record;
  v_left  bigint;
  v_rest  bigint;
begin
  if p_seq is null then return null; end if;
  a := credits._open_ledger(p_account_id);
  select * into t from credits.transactions where account_id = a.id and seq = p_seq;
  for v_entry in select grant_id, amount_micros from credits.all_entries where account_id = a.id and seq = p_seq and grant_id is not null loop
    select least(remaining_micros, v_entry.amount_micros) into v_left from credits.grants where id = v_entry.grant_id;
    continue when v_left <= 0;
    update credits.grants set remaining_micros = remaining_micros - v_left where id = v_entry.grant_id;
    v_draws := v_draws || row(v_entry.grant_id, -v_left)::credits.draw;
  end loop;
  v_draws := v_draws || credits._draw(a.id, t.amount_micros - credits._drawn(v_draws), null);
  v_rest := t.amount_micros - credits._drawn(v_draws);
  if v_rest > 0 then
    a.debt_micros := a.debt_micros + v_rest;
    v_draws := v_draws || row(null, -v_rest)::credits.draw;
  end if;
  v_row.actor := 'service';
  v_row.reverses_seq := t.seq;
  v_row.reason := 'Referral reward taken back: the purchase it was for was refunded or disputed';
  a := credits._record(a, 'reversal', -t.amount_micros, credits._merge_draws(v_draws), v_row);
  perform credits._close_ledger(a);
  return a.seq;
end $$;

-- The money came back after all: so does the reward, to the very grants it was taken from.
create function credits._return_reward(p_account_id bigint, p_seq bigint) returns bigint
language plpgsql set search_path = '' as $$
declare
  a     credits.accounts;
  t     credits.transactions;
  v_seq bigint;
begin
  if p_seq is null then return null; end if;
  a := credits._open_ledger(p_account_id);
  select * into t from credits.transactions where account_id = a.id and seq = p_seq;
  a := credits._undo(a, t, null, 'Referral reward given back: the purchase it was for is paid after all');
  v_seq := a.seq;
  perform credits._close_ledger(credits._book_expired(a, true));
  return v_seq;
end $$;

revoke execute on all functions in schema credits from public;
grant execute on function credits.claim_referral(text) to authenticated, service_role;
