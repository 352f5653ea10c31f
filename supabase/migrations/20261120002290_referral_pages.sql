-- Referrals as people see them: one's own code and who joined, and for staff the program, the list and the decisions.

-- Where a referral stands: as stored, or expired when nothing was bought in time.
create function credits._referral_status(r credits.referrals) returns text
language sql stable set search_path = '' as $$
  select case when r.status = 'open' and r.expires_at <= credits._now() then 'expired' else r.status end
$$;

-- d•••@example.com: enough to recognise somebody one has invited.
create function credits._masked(p_email text) returns text
language sql immutable set search_path = '' as $$
  select coalesce(left(p_email, 1) || '•••@' || nullif(split_part(p_email, '@', 2), ''), 'somebody')
$$;

create function credits._program_json(g credits.referral_program) returns jsonb
language sql stable set search_path = '' as $$
  select jsonb_build_object(
    'on', g.is_on, 'referrer_micros', g.referrer_micros, 'referee_micros', g.referee_micros, 'min_purchase_cents', g.min_purchase_cents,
    'open_days', g.open_days, 'month_rewards', g.month_rewards, 'month_micros', g.month_micros, 'total_rewards', g.total_rewards,
    'total_micros', g.total_micros, 'currency', (select currency from credits.catalogs where is_active))
$$;

-- What somebody who was invited sees of it. Which limit or likeness a review is about is for staff.
create function credits._invited_json(r credits.referrals) returns jsonb
language sql stable set search_path = '' as $$
  select jsonb_build_object('status', credits._referral_status(r), 'code', r.code, 'reward_micros', r.referee_micros,
    'min_purchase_cents', r.min_purchase_cents, 'currency', (select currency from credits.catalogs where is_active),
    'claimed_at', credits._iso(r.claimed_at), 'expires_at', credits._iso(r.expires_at), 'rewarded_at', credits._iso(r.rewarded_at))
$$;

-- How much of a cap is left; null where there is none.
create function credits._rewards_left(p_account_id bigint, g credits.referral_program) returns jsonb
language sql stable set search_path = '' as $$
  select jsonb_build_object(
    'month_rewards', greatest(g.month_rewards - count(*) filter (where d.this_month), 0),
    'month_micros', greatest(g.month_micros - coalesce(sum(d.referrer_micros) filter (where d.this_month), 0), 0),
    'total_rewards', greatest(g.total_rewards - count(*), 0),
    'total_micros', greatest(g.total_micros - coalesce(sum(d.referrer_micros), 0), 0))
    from (select referrer_micros, rewarded_at >= credits._month_of_rewards() as this_month from credits.referrals
           where referrer_id = p_account_id and status = 'rewarded') as d
$$;

-- An account's code, terms, who joined (masked, newest first) and what it earned; and whether it was invited itself. The code is made
-- when its owner first asks. Security definer: people may not read the rows, and the code is written.
create function credits.referral(p_account_id bigint default null, p_limit int default 50, p_cursor text default null) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  v_account bigint := credits._account(p_account_id, 'read');
  v_size    int := credits._page_size(p_limit);
  v_before  bigint := credits._cursor(p_cursor);
  g         credits.referral_program;
  r         credits.referrals;
  v_sums    jsonb;
  v_page    jsonb;
begin
  select * into g from credits.referral_program;
  select * into r from credits.referrals where referee_id = v_account;
  with page as (
    select x.id, row_number() over (order by x.id desc) as n, jsonb_build_object(
        'referral_id', x.id, 'who', credits._masked(p.email), 'status', credits._referral_status(x), 'reward_micros', x.referrer_micros,
        'min_purchase_cents', x.min_purchase_cents, 'claimed_at', credits._iso(x.claimed_at), 'expires_at', credits._iso(x.expires_at),
        'rewarded_at', credits._iso(x.rewarded_at),
        'held_for', case when x.status = 'held' then case when x.hold_reason = 'same_card' then 'check' else 'limit' end end) as item
      from credits.referrals as x join credits.profiles as p on p.account_id = x.referee_id
     where x.referrer_id = v_account and x.id < v_before order by x.id desc limit v_size + 1)
  select jsonb_build_object('items', coalesce(jsonb_agg(item order by n) filter (where n <= v_size), '[]'),
           'next_cursor', case when count(*) > v_size then (min(id) filter (where n <= v_size))::text end) into v_page from page;
  select jsonb_build_object(
      'joined', count(*), 'rewarded', count(*) filter (where status = 'rewarded'),
      'earned_micros', coalesce(sum(referrer_micros) filter (where status = 'rewarded'), 0),
      'waiting', count(*) filter (where credits._referral_status(x) in ('open', 'held')),
      'waiting_micros', coalesce(sum(referrer_micros) filter (where credits._referral_status(x) in ('open', 'held')), 0))
    into v_sums from credits.referrals as x where referrer_id = v_account;
  return v_page || v_sums || jsonb_build_object(
    'account_id', v_account, 'program', credits._program_json(g), 'left', credits._rewards_left(v_account, g),
    'code', case when v_account = credits._own_account() then credits._referral_code(v_account)
                 else (select code from credits.referral_codes where account_id = v_account) end,
    'invited', case when r.id is not null then credits._invited_json(r) end,
    'may_claim', g.is_on and r.id is null and credits._referral_refusal(v_account, null) is null);
end $$;

create function credits.referral_program() returns jsonb
language plpgsql stable set search_path = '' as $$
begin
  perform credits._require('service', 'super_admin', 'admin', 'finance');
  return credits._program_json(g) from credits.referral_program as g;
end $$;

-- New terms, whole: they hold for codes entered from now on. Caps of null are none. Security definer: only functions write.
create function credits.set_referral_program(
  p_on boolean, p_referrer_micros bigint, p_referee_micros bigint, p_min_purchase_cents bigint, p_open_days int,
  p_month_rewards int default null, p_month_micros bigint default null, p_total_rewards int default null, p_total_micros bigint default null
) returns jsonb language plpgsql security definer set search_path = '' as $$
declare
  v_before jsonb;
  g        credits.referral_program;
begin
  perform credits._require('service', 'super_admin', 'admin');
  perform credits._check_promise(greatest(p_referrer_micros, p_referee_micros));
  select credits._program_json(x) into v_before from credits.referral_program as x for update;
  update credits.referral_program set
    is_on = p_on, referrer_micros = p_referrer_micros, referee_micros = p_referee_micros, min_purchase_cents = p_min_purchase_cents,
    open_days = p_open_days, month_rewards = p_month_rewards, month_micros = p_month_micros, total_rewards = p_total_rewards,
    total_micros = p_total_micros returning * into g;
  perform credits._audit('set_referral_program', null, jsonb_build_object('before', v_before, 'after', credits._program_json(g)));
  return credits._program_json(g);
exception when check_violation or not_null_violation then
  perform credits._raise('LC400', 'Rewards are 0 to 1,000,000 credits and not both 0, the purchase costs something, days are 1 to 730, '
                                  'and caps are not below 0.');
end $$;

create function credits._referral_json(r credits.referrals) returns jsonb
language sql stable set search_path = '' as $$
  select jsonb_build_object(
    'referral_id', r.id, 'status', credits._referral_status(r), 'hold_reason', r.hold_reason, 'code', r.code,
    'referrer_account_id', r.referrer_id, 'referrer_email', (select email from credits.profiles where account_id = r.referrer_id),
    'referee_account_id', r.referee_id, 'referee_email', (select email from credits.profiles where account_id = r.referee_id),
    'referrer_micros', r.referrer_micros, 'referee_micros', r.referee_micros, 'min_purchase_cents', r.min_purchase_cents,
    'purchase_id', r.purchase_id, 'paid_cents', p.price_cents, 'kept_cents', credits._kept_cents(p), 'currency', p.currency,
    'claimed_at', credits._iso(r.claimed_at), 'expires_at', credits._iso(r.expires_at), 'rewarded_at', credits._iso(r.rewarded_at),
    'decided_by', r.decided_by, 'decision_reason', r.decision_reason)
    from (select r.purchase_id) as x left join credits.purchases as p on p.id = x.purchase_id
$$;

-- The reward that both sides would lose with so much less of a purchase's money; null when it earned none, or keeps earning it.
create function credits._reward_at_stake(p credits.purchases, p_less_cents bigint) returns jsonb
language sql stable set search_path = '' as $$
  select jsonb_build_object('referral_id', r.id, 'referrer_account_id', r.referrer_id,
    'referrer_email', (select email from credits.profiles where account_id = r.referrer_id),
    'referrer_micros', r.referrer_micros, 'referee_micros', r.referee_micros, 'min_purchase_cents', r.min_purchase_cents)
    from credits.referrals as r
   where r.referee_id = p.account_id and r.purchase_id = p.id and r.status = 'rewarded'
     and credits._kept_cents(p) - p_less_cents::numeric < r.min_purchase_cents
$$;

-- Referrals for staff, newest first: all, those of one account (as either side), or in one status.
create function credits.referrals(
  p_status text default null, p_account_id bigint default null, p_limit int default 50, p_cursor text default null
) returns jsonb language plpgsql stable set search_path = '' as $$
declare
  v_size   int := credits._page_size(p_limit);
  v_before bigint := credits._cursor(p_cursor);
  v_items  jsonb;
  v_last   bigint;
begin
  perform credits._require('service', 'super_admin', 'admin', 'finance');
  with page as (
    select r.id, row_number() over (order by r.id desc) as n, credits._referral_json(r) as item from credits.referrals as r
     where r.id < v_before and (p_status is null or credits._referral_status(r) = p_status)
       and (p_account_id is null or p_account_id in (r.referrer_id, r.referee_id))
     order by r.id desc limit v_size + 1)
  select coalesce(jsonb_agg(item order by n) filter (where n <= v_size), '[]'),
         case when count(*) > v_size then min(id) filter (where n <= v_size) end into v_items, v_last from page;
  return jsonb_build_object('items', v_items, 'next_cursor', v_last::text);
end $$;

-- A person decides about a referral that was held: reward both sides all the same, or neither.
-- Security definer: only functions write referrals and the ledger.
create function credits.decide_referral(p_referral_id bigint, p_approve boolean, p_reason text) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  p credits.purchases;
  r credits.referrals;
begin
  perform credits._require('service', 'super_admin', 'admin');
  perform credits._check_adjustment(1, p_reason);
  select * into r from credits.referrals where id = p_referral_id;
  if r.id is null then perform credits._raise('LC404', 'There is no such referral; find it in the list of referrals.'); end if;
  select * into p from credits.purchases where id = r.purchase_id for update;
  perform credits._lock_with_referrer(r.referee_id);
  select * into r from credits.referrals where id = p_referral_id for update;
  if r.status <> 'held' then
    perform credits._raise('LC409', 'Only a referral that is held for review can be decided.', jsonb_build_object('status', r.status));
  elsif p_approve and credits._kept_cents(p) < r.min_purchase_cents then
    perform credits._raise('LC409', 'Its purchase was refunded or disputed meanwhile; reject the referral.');
  end if;
  if p_approve then
    perform credits._reward_referral(r);
  else
    update credits.referrals set status = 'rejected' where id = r.id;
  end if;
  update credits.referrals set decided_by = credits._actor(), decision_reason = trim(p_reason) where id = r.id returning * into r;
  perform credits._audit('decide_referral', r.referee_id,
    jsonb_build_object('referral_id', r.id, 'approved', p_approve, 'reason', trim(p_reason), 'held_for', r.hold_reason));
  return credits._referral_json(r);
end $$;

revoke execute on all functions in schema credits from public;
grant execute on function
  credits.referral(bigint, int, text), credits.referral_program(), credits.referrals(text, bigint, int, text),
  credits.set_referral_program(boolean, bigint, bigint, bigint, int, int, bigint, int, bigint), credits.decide_referral(bigint, boolean, text),
  credits._program_json(credits.referral_program), credits._referral_status(credits.referrals), credits._referral_json(credits.referrals),
  credits._kept_cents(credits.purchases), credits._reward_at_stake(credits.purchases, bigint)
to authenticated, service_role;
