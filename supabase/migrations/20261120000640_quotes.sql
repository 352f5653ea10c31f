-- Before spending: the balance, and a quote that says what an operation would cost and what would pay.

-- A quote before running: cost, whether it is affordable and why not, what would pay, and how much the balance covers.
create function credits.check_use(p_operation text, p_quantity numeric, p_account_id bigint default null) returns jsonb
language plpgsql stable set search_path = '' as $$
declare
  v_account   bigint := credits._account(p_account_id, 'check');
  v_now       timestamptz := credits._now();
  v_price     credits.prices := credits._price_at(p_operation, v_now, v_account);
  v_unlimited boolean := (select is_unlimited from credits.accounts where id = v_account);
  v_available bigint := credits._spendable(v_account, p_operation, null);
  v_allowance numeric;  -- left of the month
  v_included  numeric;  -- how much of the quantity it pays
  v_gate      text;
  v_cost      bigint;
  v_reason    text;
  v_cap       jsonb;
  r           credits.charge_result;
begin
  r.status := case when not credits._quantity_ok(p_quantity) then 'bad_quantity' when v_price.id is null then 'unknown_operation' end;
  if r.status is not null then perform credits._raise_charge_error(r, p_operation); end if;
  v_allowance := case when v_unlimited then 0 else coalesce(credits._allowance_left(v_account, v_price.operation_id, v_now), 0) end;
  v_included := least(v_allowance, p_quantity);
  v_gate := case when v_unlimited then 'unlimited' when v_included = 0 then 'credits' when v_included < p_quantity then 'mixed'
                 else 'allowance' end;
  v_cost := case when v_gate in ('unlimited', 'allowance') then 0
                 else (credits._rate_price(v_price, p_quantity - v_included)).cost_micros end;
  v_cap := credits._cap_reached(v_account, credits._api_key_id(), v_now, v_cost);
  v_reason := case when v_unlimited then 'unlimited' when v_cap is not null then 'limit_reached'
                   when v_cost > v_available then 'insufficient_credits' when v_gate = 'allowance' then 'allowance'
                   else 'enough_credits' end;
  return jsonb_build_object(
    'allowed', v_reason not in ('limit_reached', 'insufficient_credits'), 'reason', v_reason, 'cost_micros', v_cost,
    'available_micros', v_available, 'price_id', v_price.id, 'cap', v_cap, 'measure',
    (select measure from credits.operations where id = v_price.operation_id),
    'pays_from', case when v_reason not in ('limit_reached', 'insufficient_credits') then v_gate end,
    'pays', jsonb_build_object(
      'allowance_quantity', v_included,
      'promotional_micros', credits._would_draw(v_account, p_operation, least(v_cost, v_available), true),
      'paid_micros', credits._would_draw(v_account, p_operation, least(v_cost, v_available), false)),
    'covers_quantity', case when not v_unlimited
      then v_allowance + credits._affordable(v_price.id, v_available, 1000000000) end);
end $$;

-- What is left of the month's allowance; null when the plan includes none.
create function credits._allowance_left(p_account_id bigint, p_operation_id smallint, p_at timestamptz) returns numeric
language plpgsql stable set search_path = '' as $$
begin
  return greatest(credits._allowance(p_account_id, p_operation_id, p_at) - coalesce((
    select used from credits.allowance_usage where account_id = p_account_id and operation_id = p_operation_id
       and starts_on = (credits._period(credits._settings(p_account_id), 'month', p_at)).starts_on), 0), 0);
end $$;

-- The cap that an amount would pass, as _count_spend answers it; null when none.
create function credits._cap_reached(p_account_id bigint, p_api_key_id bigint, p_at timestamptz, p_amount_micros bigint) returns jsonb
language plpgsql stable set search_path = '' as $$
declare s credits.account_settings := credits._settings(p_account_id);
begin
  return (select jsonb_build_object('cap_micros', c.cap_micros, 'spent_micros', coalesce(n.spent_micros, 0), 'period', c.period,
                                    'resets_at', credits._iso(p.ends_at), 'api_key_id', nullif(c.api_key_id, 0))
            from credits.spending_caps as c cross join lateral credits._period(s, c.period, p_at) as p
            left join credits.spend_counters as n on n.account_id = c.account_id and n.api_key_id = c.api_key_id
                 and n.period = c.period and n.starts_on = p.starts_on
           where c.account_id = p_account_id and c.api_key_id in (0, p_api_key_id)
             and coalesce(n.spent_micros, 0) + p_amount_micros > c.cap_micros and p_amount_micros > 0
           order by c.api_key_id, c.period limit 1);
end $$;

-- The least that is left of any cap that applies; null without caps.
create function credits._cap_left(p_account_id bigint, p_api_key_id bigint, p_at timestamptz) returns bigint
language plpgsql stable set search_path = '' as $$
declare s credits.account_settings := credits._settings(p_account_id);
begin
  return (select min(greatest(c.cap_micros - coalesce(n.spent_micros, 0), 0))
            from credits.spending_caps as c cross join lateral credits._period(s, c.period, p_at) as p
            left join credits.spend_counters as n on n.account_id = c.account_id and n.api_key_id = c.api_key_id
                 and n.period = c.period and n.starts_on = p.starts_on
           where c.account_id = p_account_id and c.api_key_id in (0, p_api_key_id));
end $$;

-- Credits that an operation may spend now: unexpired grants open to it (all, or only promotional or paid ones), and overdraft.
create function credits._spendable(p_account_id bigint, p_operation text, p_promotional boolean) returns bigint
language sql stable set search_path = '' as $$
  select (coalesce((select sum(g.remaining_micros) from credits.grants_now as g
                     where g.account_id = p_account_id and g.remaining_micros > 0 and g.expires_at > credits._now()
                       and (g.operations is null or p_operation = any (g.operations))
                       and (p_promotional is null or g.is_promotional = p_promotional)), 0)
          + case when p_promotional is null then greatest(a.overdraft_micros - a.debt_micros, 0) else 0 end)::bigint
    from credits.accounts as a where a.id = p_account_id
$$;

-- How much of an amount promotional (or paid) grants would pay, in spend order.
create function credits._would_draw(p_account_id bigint, p_operation text, p_amount_micros bigint, p_promotional boolean) returns bigint
language sql stable set search_path = '' as $$
  select coalesce(sum(greatest(least(g.upto, p_amount_micros) - (g.upto - g.remaining_micros), 0)), 0)::bigint
    from (select x.is_promotional, x.remaining_micros, sum(x.remaining_micros) over (
                   order by x.priority, x.expires_at, (not x.is_promotional), x.created_at, x.id) as upto
            from credits.grants_now as x
           where x.account_id = p_account_id and x.remaining_micros > 0 and x.expires_at > credits._now()
             and (x.operations is null or p_operation = any (x.operations))) as g
   where g.is_promotional = p_promotional
$$;

create function credits.balance(p_account_id bigint default null) returns jsonb
language plpgsql stable set search_path = '' as $$
declare
  a         credits.accounts;
  v_now     timestamptz := credits._now();
  v_expired bigint := 0;
begin
  select * into a from credits.accounts where id = credits._account(p_account_id, 'read');
  if a.settle_at <= v_now then  -- expired but not booked yet: gone for the reader at once
    select coalesce(sum(remaining_micros), 0) into v_expired from credits.grants_now
     where account_id = a.id and remaining_micros > 0 and expires_at <= v_now;
  end if;
  return jsonb_build_object(
    'account_id', a.id, 'posted_micros', a.posted_micros - v_expired, 'held_micros', a.held_micros,
    'available_micros', a.posted_micros - v_expired - a.held_micros + a.overdraft_micros, 'debt_micros', a.debt_micros,
    'overdraft_micros', a.overdraft_micros, 'total_purchased_micros', a.purchased_micros,
    'total_used_micros', a.used_micros, 'unlimited', a.is_unlimited, 'as_of', credits._iso(v_now));
end $$;

revoke execute on all functions in schema credits from public;
grant execute on function
  credits._cap_left(bigint, bigint, timestamptz), credits._allowance_left(bigint, smallint, timestamptz),
  credits._cap_reached(bigint, bigint, timestamptz, bigint),
  credits._spendable(bigint, text, boolean), credits._would_draw(bigint, text, bigint, boolean), credits.balance(bigint),
  credits.check_use(text, numeric, bigint)
to authenticated, service_role;
