-- Rating: what a quantity costs. One place, one rounding per charge, in numeric until whole micros.

-- The price version of an operation that is valid at a moment, in the active catalog; null when there is none.
create function credits._price_at(p_operation text, p_at timestamptz) returns credits.prices
language sql stable set search_path = '' as $$
  select p.* from credits.prices as p
   where p.catalog = (select code from credits.catalogs where is_active)
     and p.operation_id = (select id from credits.operations where code = p_operation)
     and p.effective_from <= p_at
   order by p.effective_from desc limit 1
$$;

-- What is billed of a quantity: free units first, then the initial step, then following steps; 0/0 bills exactly.
create function credits._billed(p_quantity numeric, p_free numeric, p_initial numeric, p_following numeric) returns numeric
language sql immutable set search_path = '' as $$
  select case when q <= 0 then 0
              when q <= p_initial then p_initial
              when p_following > 0 then p_initial + ceil((q - p_initial) / p_following) * p_following
              else q end
    from (select p_quantity - p_free as q) as x
$$;

create function credits._round(p_amount numeric, p_mode text) returns bigint
language sql immutable set search_path = '' as $$
  select case p_mode
           when 'up' then ceil(a)
           when 'down' then floor(a)
           when 'half_even' then case when a - floor(a) = 0.5 and floor(a) % 2 = 0 then floor(a) else round(a) end
           else round(a) end::bigint
    from (select least(p_amount, 4e18) as a) as bounded  -- beyond what any account can hold, and within bigint
$$;

-- Cost in micros of a quantity under a price version: the sum of its components, at least the minimum charge.
-- billed: the largest billed quantity of its metered components (null when all are flat).
create function credits._rate(p_price_id int, p_quantity numeric, out cost_micros bigint, out billed numeric)
language sql stable set search_path = '' as $$
  select credits._round(greatest(sum(case when c.is_flat then c.price_micros
                                          else c.price_micros * b.billed / c.unit_size end), p.minimum_charge_micros), p.rounding),
         max(b.billed) filter (where not c.is_flat)
    from credits.prices as p
    join credits.price_components as c on c.price_id = p.id
    cross join lateral (select credits._billed(p_quantity, c.free_quantity, c.initial, c.following) as billed) as b
   where p.id = p_price_id group by p.id
$$;

-- Quantities are decimals from 0 to 10^12 with at most 6 decimals; NaN and infinity sort above every number.
create function credits._quantity_ok(p_quantity numeric) returns boolean
language sql immutable set search_path = '' as $$
  select coalesce(p_quantity >= 0 and p_quantity <= 1e12 and p_quantity = round(p_quantity, 6), false)
$$;

-- The largest whole quantity that an amount covers, up to p_most. Costs never fall as the quantity grows: halving finds it.
create function credits._affordable(p_price_id int, p_amount_micros bigint, p_most bigint) returns bigint
language plpgsql stable set search_path = '' as $$
declare
  v_low  bigint := 0;
  v_high bigint := p_most;
  v_mid  bigint;
begin
  if (credits._rate(p_price_id, p_most)).cost_micros <= p_amount_micros then return p_most; end if;
  while v_high - v_low > 1 loop
    v_mid := (v_low + v_high) / 2;
    if (credits._rate(p_price_id, v_mid)).cost_micros <= p_amount_micros then v_low := v_mid; else v_high := v_mid; end if;
  end loop;
  return v_low;
end $$;

revoke execute on all functions in schema credits from public;
-- Prices are public, so is what they make of a quantity.
grant execute on function
  credits._price_at(text, timestamptz), credits._billed(numeric, numeric, numeric, numeric), credits._round(numeric, text),
  credits._rate(int, numeric), credits._quantity_ok(numeric), credits._affordable(int, bigint, bigint)
to anon, authenticated, service_role;
