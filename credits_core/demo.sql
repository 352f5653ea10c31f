-- Demo data: makes 90 days of history by calling the same functions as the program, under a clock of its own.
-- Run by credits_core/demo.py as the schema's owner, in one transaction: others see all of it or nothing, and never the clock.
-- Temporary functions (pg_temp) vanish with the connection.

create function pg_temp.set_clock(p_at timestamptz) returns void language sql as
$$ select set_config('credits.demo_clock', p_at::text, true) $$;

-- A purchase made by mistake, refunded whole as an administrator and Stripe would.
create function pg_temp.give_back(p_purchase uuid, p_key text, p_session text) returns void language plpgsql as $$
declare r jsonb := credits.request_refund(p_purchase, 'Bought by mistake', p_key || '-back');
begin
  perform credits.claim_refunds(1, (r ->> 'refund_id')::uuid);
  perform credits.record_refund((r ->> 'refund_id')::uuid, 'succeeded', 're_demo_' || md5(p_session));
end $$;

-- Buys a package at the clock's time, as checkout and Stripe would: recorded, opened, paid, credited (or left to expire).
create function pg_temp.buy(p_account bigint, p_key text, p_package text, p_paid boolean) returns void language plpgsql as $$
declare
  p         jsonb;
  v_session text := 'cs_test_demo_' || md5(p_account || p_key);
begin
  p := credits.create_purchase(p_key, false, p_package, null, 'checkout', p_account,
                               case when p_key = 'demo-buy-1' and p_account % 3 = 0 then 'WELCOME10' end);
  perform credits.open_purchase((p ->> 'purchase_id')::uuid, v_session);
  if p_paid then
    perform credits.fulfill_purchase(jsonb_build_object(
      'session_id', v_session, 'status', 'complete', 'payment_status', 'paid', 'mode', 'payment', 'livemode', false,
      'currency', p ->> 'currency', 'amount_subtotal', p -> 'price_cents', 'amount_total', p -> 'price_cents'));
    if hashtext(v_session) % 40 = 0 then perform pg_temp.give_back((p ->> 'purchase_id')::uuid, p_key, v_session); end if;
  else
    perform credits.fail_purchase((p ->> 'purchase_id')::uuid, 'expired', 'The checkout was not finished in time.');
  end if;
end $$;

-- One charge of an operation: calls with numbers, a duration and an ending, everything else by quantity.
create function pg_temp.work(p_account bigint, p_key text, p_operation text, p_measure text, p_at timestamptz) returns void
language plpgsql as $$
declare
  v_seconds int := 20 + (-ln(1 - random()) * 200)::int;
  v_quantity numeric := case p_measure when 'tokens' then 200 + (random() * 3000)::int
                                       when 'bytes' then 100000 + (random() * 8000000)::int else 1 end;
begin
  if p_measure = 'seconds' then
    if random() < 0.1 then v_seconds := 0; end if;  -- nobody answered
    perform pg_temp.set_clock(p_at + make_interval(secs => v_seconds));
    perform credits.start_call(
      p_operation, p_key, p_at, p_at + make_interval(secs => v_seconds), '+1555010' || lpad((random() * 9999)::int::text, 4, '0'),
      '+1555020' || lpad((p_account % 10000)::text, 4, '0'), case v_seconds when 0 then 'no_answer' else 'hangup' end,
      null, p_account);
  else
    perform credits.use(p_operation, v_quantity, p_key, p_account);
  end if;
exception when sqlstate 'LC402' then
  null;  -- out of credits: refused, as in life
end $$;

-- One account's 90 days: buys when low, works on weekdays more than at weekends, grows or shrinks a little.
create function pg_temp.live(p_account bigint, p_start timestamptz, p_end timestamptz, p_per_day numeric) returns void
language plpgsql as $$
declare
  v_packages   text[] := array(select code from credits.packages where catalog = (select code from credits.catalogs where is_active)
                                and is_offered order by position);
  v_operations text[] := array(select o ->> 'operation' from jsonb_array_elements(credits.pricing() -> 'operations') as o);
  v_measures   text[] := array(select o ->> 'measure' from jsonb_array_elements(credits.pricing() -> 'operations') as o);
  v_pick       int := least(1 + floor(random() * 3)::int, cardinality(v_packages));
  v_day        timestamptz := p_start;
  v_low        bigint;
  v_n          int := 0;
  v_o          int;
  v_at         timestamptz;
begin
  v_low := (select credits_micros / 5 from credits.packages  -- tops up below a fifth of the smallest package
             where catalog = (select code from credits.catalogs where is_active) and code = v_packages[1]);
  while v_day < p_end loop
    v_at := v_day + interval '6 hours' + random() * interval '2 hours';  -- buys before work begins
    exit when v_at > p_end - interval '1 hour';
    perform pg_temp.set_clock(v_at);
    if (credits.balance(p_account) ->> 'available_micros')::bigint < v_low and random() < 0.85 then
      v_n := v_n + 1;
      perform pg_temp.buy(p_account, 'demo-buy-' || v_n, v_packages[v_pick], random() < 0.9);
    end if;
    for v_at in
      select v_day + make_interval(secs => 28800 + random() * 36000) from generate_series(1, (case
        when extract(isodow from v_day) > 5 then p_per_day * 0.25 else p_per_day end * (0.4 + 1.2 * random()))::int) order by 1
    loop
      exit when v_at > p_end - interval '1 hour';
      v_n := v_n + 1;
      v_o := 1 + floor(power(random(), 2) * cardinality(v_operations))::int;
      perform pg_temp.set_clock(v_at);
      perform pg_temp.work(p_account, 'demo-' || v_n, v_operations[v_o], v_measures[v_o], v_at);
    end loop;
    v_day := v_day + interval '1 day';
  end loop;
end $$;

-- What providers charge: two fifths of what the smallest package's credits cost, for a natural unit of each operation.
create function pg_temp.set_costs(p_account bigint) returns void language plpgsql as $$
declare
  v_operation jsonb;
  v_unit      numeric;
  v_credit    numeric := (select price_cents * 1000000 / credits_micros::numeric from credits.packages
                           where catalog = (select code from credits.catalogs where is_active) order by position limit 1);
begin
  for v_operation in select o from jsonb_array_elements(credits.pricing() -> 'operations') as o loop
    v_unit := case v_operation ->> 'measure' when 'seconds' then 60 when 'tokens' then 1000 when 'bytes' then 1000000 else 1 end;
    perform credits.set_provider_cost(v_operation ->> 'operation', round(v_credit * 0.4 *
      (credits.check_use(v_operation ->> 'operation', v_unit, p_account) ->> 'cost_micros')::numeric / 1000000, 4), v_unit);
  end loop;
end $$;

-- Terms for invitations, and a campaign that many use; by an administrator of the demo.
create function pg_temp.set_terms(p_start timestamptz) returns void language plpgsql as $$
begin
  perform credits.set_referral_program(true, 5000000, 5000000, 1000, 60, 10, null, 100, null);
  perform credits.create_campaign('WELCOME10', 'Welcome bonus', 'bonus_percent', 10, p_start, null, 500, 1, true);
  perform credits.create_campaign('LAUNCH', 'Launch week', 'discount_percent', 20, p_start, p_start + interval '7 days', 3);
end $$;

-- Somebody new enters the code of somebody else, as themselves.
create function pg_temp.invite(p_referrer bigint, p_referee bigint) returns void language plpgsql as $$
declare
  v_claims text := current_setting('request.jwt.claims', true);
  v_code   text;
  v_step   text[];
begin
  foreach v_step slice 1 in array array[array[p_referrer::text, 'code'], array[p_referee::text, 'claim']] loop
    perform set_config('request.jwt.claims', jsonb_build_object('role', 'authenticated', 'sub', owner_id)::text, true)
       from credits.accounts where id = v_step[1]::bigint;
    if v_step[2] = 'code' then v_code := credits.referral() ->> 'code'; else perform credits.claim_referral(v_code); end if;
  end loop;
  perform set_config('request.jwt.claims', v_claims, true);
end $$;

-- The popular package, or else the second one: enough to count for an invitation.
create function pg_temp.first_purchase(p_account bigint) returns void language sql as $$
  select pg_temp.buy(p_account, 'demo-first', code, true) from credits.packages
   where catalog = (select code from credits.catalogs where is_active) and is_offered and price_cents >= 1000 order by position limit 1
$$;
