-- What prices earn: provider cost, margin, and a rehearsal of new prices on past usage. Nothing here changes a balance.

-- What the provider charges us for an operation, from a date on. Append-only.
create table credits.provider_costs (
  operation_id   smallint not null references credits.operations (id),
  effective_from timestamptz not null,
  cost_cents     numeric not null check (cost_cents >= 0 and cost_cents < 1e9),  -- for one unit, fractions allowed
  unit_size      numeric not null check (unit_size > 0 and unit_size < 1e12),    -- quantity in one unit
  created_by     text not null,
  primary key (operation_id, effective_from)
);
create trigger provider_costs_append_only before update or delete or truncate on credits.provider_costs
  for each statement execute function credits._append_only();
alter table credits.provider_costs enable row level security;
create policy provider_costs_read on credits.provider_costs for select to authenticated using ((select credits._is_staff()));
grant select on credits.provider_costs to authenticated, service_role;

-- Security definer: only functions write costs.
create function credits.set_provider_cost(
  p_operation text, p_cost_cents numeric, p_unit_size numeric default 1, p_effective_from timestamptz default null
) returns jsonb language plpgsql security definer set search_path = '' as $$
declare v_op smallint := (select id from credits.operations where code = p_operation);
begin
  perform credits._require('service', 'super_admin', 'admin');
  if v_op is null then
    perform credits._raise('LC404', format('There is no operation “%s”; see the price list for the codes.', left(p_operation, 80)));
  end if;
  if p_cost_cents is null or p_cost_cents < 0 or p_unit_size is null or p_unit_size <= 0 then
    perform credits._raise('LC400', 'A cost is not below 0, and the quantity it is for is above 0.');
  end if;
  insert into credits.provider_costs (operation_id, effective_from, cost_cents, unit_size, created_by)
  values (v_op, coalesce(p_effective_from, credits._now()), p_cost_cents, p_unit_size, credits._actor());
  perform credits._audit('set_provider_cost', null, jsonb_build_object('operation', p_operation, 'cost_cents', p_cost_cents));
  return jsonb_build_object('operation', p_operation, 'cost_cents', p_cost_cents, 'unit_size', p_unit_size);
exception when unique_violation then
  perform credits._raise('LC409', 'This operation has a cost from that very moment on; choose another moment.');
end $$;

-- Revenue (credits at what their grants cost), provider cost and margin by operation. Promotional credits earn nothing. A reversal
-- takes away the cost of what it reverses.
create function credits.margins(p_from timestamptz, p_to timestamptz) returns jsonb
language plpgsql stable set search_path = '' as $$
begin
  perform credits._require('service', 'super_admin', 'admin', 'finance');
  return (
    with costs as materialized (
      select operation_id, cost_cents / unit_size as cents, effective_from,
             lead(effective_from, 1, 'infinity') over (partition by operation_id order by effective_from) as until
        from credits.provider_costs),
    used as materialized (  -- a reversal happened when what it reverses did
      select t.account_id, t.seq, t.operation_id, t.quantity, t.grant_id, t.amount_micros,
             case when t.reverses_seq is null then coalesce(t.occurred_at, t.created_at)
                  else (select coalesce(o.occurred_at, o.created_at) from credits.transactions as o
                         where o.account_id = t.account_id and o.seq = t.reverses_seq) end as at
        from credits.transactions as t
       where t.kind in ('use', 'reversal') and t.operation_id is not null and t.created_at >= p_from and t.created_at < p_to),
    paid as (  -- what each grant paid of each operation: most uses draw on one
      select operation_id, grant_id, sum(amount_micros) as micros from used where grant_id is not null group by 1, 2
      union all
      select u.operation_id, e.grant_id, sum(e.amount_micros) from used as u
        join credits.entries as e on e.account_id = u.account_id and e.seq = u.seq where u.grant_id is null group by 1, 2),
    earned as (
      select p.operation_id, sum(-p.micros * g.cost_cents / g.granted_micros::numeric) as cents
        from paid as p join credits.grants as g on g.id = p.grant_id group by 1),
    spent as (
      select u.operation_id, sum(u.quantity) as quantity, sum(-u.amount_micros)::bigint as charged, count(*) as events,
             sum(u.quantity * c.cents) as cents
        from used as u left join costs as c
          on c.operation_id = u.operation_id and u.at >= c.effective_from and u.at < c.until group by 1)
    select jsonb_build_object('currency', (select currency from credits.catalogs where is_active),
      'total', jsonb_build_object(
        'revenue_cents', round(coalesce(sum(e.cents), 0), 4), 'cost_cents', round(coalesce(sum(s.cents), 0), 4),
        'margin_cents', round(coalesce(sum(coalesce(e.cents, 0) - s.cents), 0), 4),
        'margin_percent', round(sum(coalesce(e.cents, 0) - s.cents) * 100 / nullif(sum(e.cents) filter (where s.cents is not null), 0), 1)),
      'rows', coalesce(jsonb_agg(jsonb_build_object(
             'operation', o.code, 'name', o.name, 'events', s.events, 'quantity', s.quantity, 'charged_micros', s.charged,
             'revenue_cents', round(coalesce(e.cents, 0), 4), 'cost_cents', round(s.cents, 4),
             'margin_cents', round(coalesce(e.cents, 0) - s.cents, 4),
             'margin_percent', round((e.cents - s.cents) * 100 / nullif(e.cents, 0), 1)) order by s.charged desc, o.id), '[]'))
      from spent as s join credits.operations as o on o.id = s.operation_id left join earned as e on e.operation_id = s.operation_id);
end $$;

-- Replays past usage under draft prices: [{operation, components, rounding?, minimum_charge_micros?}]. Answers what credits paid and
-- would have paid, by account and by operation with the margin (after: a credit being worth as much as it was), and who would have
-- run out and when. What a plan included stays included. The draft never becomes a price: it lives in an inner block that is always undone.
create function credits.rehearse_prices(p_draft jsonb, p_from timestamptz, p_to timestamptz) returns jsonb
language plpgsql security definer set search_path = '' as $$ -- security definer: the draft is rated by rows that are undone
declare
  v_answer text;
begin
  perform credits._require('service', 'super_admin', 'admin', 'finance');
  if jsonb_typeof(p_draft) is distinct from 'array' or p_from is null or p_to is null or p_to <= p_from then
    perform credits._raise('LC400', 'Give draft prices (operation and components each) and a period that has begun before it ends.');
  end if;
  begin
    perform credits._rehearse_draft(p_draft);
    raise exception using errcode = 'LC001', message = credits._rehearse(p_from, p_to)::text;
  exception when sqlstate 'LC001' then
    get stacked diagnostics v_answer = message_text;
  end;
  return v_answer::jsonb;
end $$;

create function credits._rehearse_draft(p_draft jsonb) returns void
language plpgsql set search_path = '' as $$
declare
  v_row jsonb;
  v_op  smallint;
begin
  insert into credits.catalogs (code, name, currency) values ('rehearsal_draft', 'Draft', 'usd');
  for v_row in select e from jsonb_array_elements(p_draft) as e loop
    v_op := (select id from credits.operations where code = v_row ->> 'operation');
    if v_op is null then
      perform credits._raise('LC404', format('There is no operation “%s”; see the price list for the codes.', left(v_row ->> 'operation', 80)));
    end if;
    perform credits._add_price('rehearsal_draft', v_op, v_row -> 'components', coalesce(v_row ->> 'rounding', 'half_up'),
                               coalesce((v_row ->> 'minimum_charge_micros')::bigint, 0), '-infinity');
  end loop;
end $$;

create function credits._rehearse(p_from timestamptz, p_to timestamptz) returns jsonb
language sql stable set search_path = '' as $$
  with used as materialized (
    select t.account_id, t.seq, t.created_at, t.operation_id, t.posted_after_micros, -t.amount_micros as before,
           case when t.paid_by is null or t.paid_by = 'mixed' then t.quantity - coalesce(t.allowance_quantity, 0) end as quantity
      from credits.transactions as t
     where t.kind = 'use' and t.created_at >= p_from and t.created_at < p_to
       and not exists (select from credits.transactions as r where r.account_id = t.account_id and r.reverses_seq = t.seq)),
  priced as materialized (  -- each different quantity that credits paid is rated once
    select q.operation_id, q.quantity, (credits._rate(p.id, q.quantity)).cost_micros as after
      from (select distinct operation_id, quantity from used where quantity is not null) as q
      join credits.prices as p on p.operation_id = q.operation_id and p.catalog = 'rehearsal_draft'),
  compared as materialized (
    select u.*, coalesce(p.after, u.before) as after,
           sum(coalesce(p.after, u.before) - u.before) over (partition by u.account_id order by u.seq) as more
      from used as u left join priced as p on p.operation_id = u.operation_id and p.quantity = u.quantity),
  by_account as (
    select account_id, sum(before)::bigint as before, sum(after)::bigint as after,
           min(created_at) filter (where posted_after_micros - more < 0 and more > 0) as runs_out_at
      from compared group by account_id),
  by_operation as (
    select operation_id, count(*) as events, sum(before)::bigint as before, sum(after)::bigint as after from compared group by 1),
  earned as (
    select * from jsonb_to_recordset(credits.margins(p_from, p_to) -> 'rows')
      as m (operation text, revenue_cents numeric, cost_cents numeric, margin_cents numeric))
  select jsonb_build_object(
    'from', credits._iso(p_from), 'to', credits._iso(p_to),
    'events', (select coalesce(sum(events), 0) from by_operation),
    'before_micros', (select coalesce(sum(before), 0) from by_operation),
    'after_micros', (select coalesce(sum(after), 0) from by_operation),
    'operations', (select coalesce(jsonb_agg(jsonb_build_object('operation', o.code, 'events', b.events, 'before_micros', b.before,
        'after_micros', b.after, 'difference_micros', b.after - b.before, 'margin_before_cents', m.margin_cents,
        'margin_after_cents', case when b.after = b.before then m.margin_cents
                                   else round(m.revenue_cents * b.after / nullif(b.before, 0) - m.cost_cents, 4) end) order by o.id), '[]')
      from by_operation as b join credits.operations as o on o.id = b.operation_id left join earned as m on m.operation = o.code),
    'accounts', (select coalesce(jsonb_agg(jsonb_build_object('account_id', b.account_id, 'name', f.name, 'before_micros', b.before,
        'after_micros', b.after, 'difference_micros', b.after - b.before, 'runs_out_at', credits._iso(b.runs_out_at))
        order by b.after - b.before desc, b.account_id), '[]')
      from (select * from by_account order by after - before desc, account_id limit 1000) as b
      join credits.profiles as f on f.account_id = b.account_id),
    'would_run_out', (select count(*) from by_account where runs_out_at is not null))
$$;

revoke execute on all functions in schema credits from public;
grant execute on function
  credits.set_provider_cost(text, numeric, numeric, timestamptz), credits.margins(timestamptz, timestamptz),
  credits.rehearse_prices(jsonb, timestamptz, timestamptz)
to authenticated, service_role;
