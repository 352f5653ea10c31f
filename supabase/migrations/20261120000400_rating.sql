-- Rating: what a quantity costs. One place, one rounding per charge, in numeric until whole micros.

-- The price version of an operation that is valid at a moment: in the account's own catalog if it has one with a price for
-- it, else in the active one; null when there is none.
-- (On the hot path plpgsql, which keeps its plans from call to call, is faster than a SQL function that cannot be inlined.)
create function credits._price_at(p_operation text, p_at timestamptz, p_account_id bigint default null) returns credits.prices
language plpgsql stable set search_path = '' as $$
declare
  v_price credits.prices;
  v_own   text := (select catalog from credits.account_settings where account_id = p_account_id);
begin
  if v_own is not null then
    select p.* into v_price from credits.prices as p
     where p.catalog = v_own and p.effective_from <= p_at
       and p.operation_id = (select id from credits.operations where code = p_operation)
     order by p.effective_from desc limit 1;
    if v_price.id is not null then return v_price; end if;
  end if;
  select p.* into v_price from credits.prices as p
   where p.catalog = (select code from credits.catalogs where is_active)
     and p.operation_id = (select id from credits.operations where code = p_operation)
     and p.effective_from <= p_at
   order by p.effective_from desc limit 1;
  return v_price;
end $$;

-- What is billed of a quantity: free units first, then the initial step, then following steps; 0/0 bills exactly.
create function credits._billed(p_quantity numeric, p_free numeric, p_initial numeric, p_following numeric) returns numeric
language plpgsql immutable set search_path = '' as $$
declare q numeric := p_quantity - p_free;
begin
  if q <= 0 then return 0; end if;
  if q <= p_initial then return p_initial; end if;
  if p_following > 0 then return p_initial + ceil((q - p_initial) / p_following) * p_following; end if;
  return q;
end $$;

-- Whole micros; at most what any account can hold, and so within bigint.
create function credits._round(p_amount numeric, p_mode text) returns bigint
language plpgsql immutable set search_path = '' as $$
declare a numeric := least(p_amount, 1e15);
begin
  if p_mode = 'up' then return ceil(a); end if;
  if p_mode = 'down' then return floor(a); end if;
  if p_mode = 'half_even' and a - floor(a) = 0.5 and floor(a) % 2 = 0 then return floor(a); end if;
  return round(a);
end $$;

-- Cost in micros of a quantity under a price version: the sum of its components, at least the minimum charge.
-- billed: the largest billed quantity of its metered components (null when all are flat).
create function credits._rate_price(p credits.prices, p_quantity numeric, out cost_micros bigint, out billed numeric)
language plpgsql stable set search_path = '' as $$
declare
  c        credits.price_components;
  v_total  numeric := 0;
  v_billed numeric;
begin
  for c in select * from credits.price_components where price_id = p.id loop
    if c.is_flat then
      v_total := v_total + c.price_micros;
    else
      v_billed := credits._billed(p_quantity, c.free_quantity, c.initial, c.following);
      v_total := v_total + c.price_micros * v_billed / c.unit_size;
      billed := greatest(billed, v_billed);
    end if;
  end loop;
  cost_micros := credits._round(greatest(v_total, p.minimum_charge_micros), p.rounding);
end $$;

create function credits._rate(p_price_id int, p_quantity numeric, out cost_micros bigint, out billed numeric)
language plpgsql stable set search_path = '' as $$
declare p credits.prices;
begin
  select * into p from credits.prices where id = p_price_id;
  select r.cost_micros, r.billed into cost_micros, billed from credits._rate_price(p, p_quantity) as r;
end $$;

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
  credits._price_at(text, timestamptz, bigint), credits._billed(numeric, numeric, numeric, numeric), credits._round(numeric, text),
  credits._rate(int, numeric),
  credits._rate_price(credits.prices, numeric), credits._quantity_ok(numeric), credits._affordable(int, bigint, bigint)
to anon, authenticated, service_role;
