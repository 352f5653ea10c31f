-- Corrections: adjustments by an administrator, what undoes a transaction, booking of expired grants.

-- Adds (positive) or removes (negative) credits with a reason. What is added can have an end, and be for some operations alone;
-- what is removed comes from credits that are open to all. From a limit on it waits for a second person (see moves).
-- Security definer: only functions write the ledger.
create function credits.adjust(
  p_account_id bigint, p_amount_micros bigint, p_reason text, p_idempotency_key text, p_expires_at timestamptz default null,
  p_operations text[] default null
) returns jsonb language plpgsql security definer set search_path = '' as $$
declare
  v_account bigint;
  t         credits.transactions;
  v_grant   credits.grants;
begin
  perform credits._require('service', 'super_admin', 'admin');
  v_account := credits._account(p_account_id, 'admin');
  perform credits._check_key(p_idempotency_key);
  perform credits._check_adjustment(p_amount_micros, p_reason);
  p_operations := credits._check_operations(p_operations, p_amount_micros);
  perform from credits.accounts where id = v_account for no key update;
  select * into t from credits.transactions where account_id = v_account and idempotency_key = p_idempotency_key;
  if found then
    select * into v_grant from credits.grants where id = t.grant_id and p_amount_micros > 0;
    if t.kind <> 'adjustment' or t.amount_micros <> p_amount_micros or t.reason <> trim(p_reason)
       or v_grant.expires_at <> coalesce(p_expires_at, 'infinity') or v_grant.operations is distinct from p_operations then
      perform credits._raise('LC410', 'This idempotency key was used for another request; use a new key for a new request.');
    end if;
    return credits._transaction_answer(t, true) || '{"status": "booked"}';
  end if;
  if p_expires_at <= credits._now() then
    perform credits._raise('LC400', 'expires_at lies in the past; give a time to come, or none for credits that never expire.');
  end if;
  if credits._too_much_alone(v_account, abs(p_amount_micros))
     or exists (select from credits.approvals where account_id = v_account and idempotency_key = p_idempotency_key) then
    return credits._ask_for_adjustment(v_account, p_amount_micros, p_reason, p_idempotency_key, p_expires_at, p_operations);
  end if;
  t := credits._book_adjustment(v_account, p_amount_micros, p_reason, p_idempotency_key, p_expires_at, p_operations, credits._actor());
  return credits._transaction_answer(t, false) || '{"status": "booked"}';
end $$;

-- Writes an adjustment whose terms were checked, in somebody's name.
create function credits._book_adjustment(
  p_account_id bigint, p_amount_micros bigint, p_reason text, p_key text, p_expires_at timestamptz, p_operations text[], p_actor text
) returns credits.transactions language plpgsql set search_path = '' as $$
declare
  a       credits.accounts := credits._open_ledger(p_account_id);
  t       credits.transactions;
  v_row   credits.transactions;
  v_grant credits.grants;
  v_draws credits.draw[];
begin
  if p_expires_at <= credits._now() then
    perform credits._raise('LC409', 'The added credits would have expired by now; ask for them with a later end.');
  end if;
  v_row.idempotency_key := p_key;
  v_row.reason := trim(p_reason);
  v_row.actor := p_actor;
  if p_amount_micros > 0 then
    v_grant.source := 'adjustment';
    v_grant.is_promotional := true;
    v_grant.granted_micros := p_amount_micros;
    v_grant.expires_at := p_expires_at;
    v_grant.operations := p_operations;
    v_grant.reason := v_row.reason;
    a := credits._grant(a, 'adjustment', v_grant, v_row);
  else
    v_draws := credits._draw(p_account_id, -p_amount_micros, null);
    if credits._drawn(v_draws) < -p_amount_micros then
      perform credits._raise('LC402', 'The account has fewer credits than that; remove at most what is available.',
        jsonb_build_object('needed_micros', -p_amount_micros, 'available_micros', credits._drawn(v_draws)));
    end if;
    a := credits._record(a, 'adjustment', p_amount_micros, v_draws, v_row);
  end if;
  perform credits._close_ledger(a);
  perform credits._audit('adjust', p_account_id, jsonb_build_object('amount_micros', p_amount_micros, 'reason', v_row.reason));
  select * into t from credits.transactions where account_id = p_account_id and idempotency_key = p_key;
  return t;
end $$;

-- One adjustment moves at most a billion credits: a slip of the keyboard must not make an account unusable.
create function credits._check_adjustment(p_amount_micros bigint, p_reason text) returns void
language plpgsql immutable set search_path = '' as $$
begin
  if p_amount_micros is null or p_amount_micros = 0 or abs(p_amount_micros) > 1000000000000000 then
    perform credits._raise('LC400', 'Give an amount other than 0, at most 1,000,000,000 credits.');
  end if;
  if length(trim(coalesce(p_reason, ''))) not between 3 and 500 then
    perform credits._raise('LC400', 'Say why, in 3 to 500 characters: the reason stays in the ledger.');
  end if;
end $$;

-- The operations that a gift is for, each once and in order; null: for all.
create function credits._check_operations(p_operations text[], p_amount_micros bigint) returns text[]
language plpgsql stable set search_path = '' as $$
declare v_known text[];
begin
  if p_operations is null then return null; end if;
  select array_agg(code order by code) into v_known from credits.operations where code = any (p_operations);
  if v_known is null or not p_operations <@ v_known then
    perform credits._raise('LC400', 'Name operations that there are, at least one, or none for credits that pay for everything.',
                           jsonb_build_object('operations', p_operations));
  elsif p_amount_micros < 0 then
    perform credits._raise('LC400', 'Only credits that are added can be for some operations; reverse a gift to take it back.');
  end if;
  return v_known;
end $$;

create function credits._transaction_answer(t credits.transactions, p_replayed boolean) returns jsonb
language sql immutable set search_path = '' as $$
  select jsonb_build_object('transaction_id', t.account_id || '-' || t.seq, 'account_id', t.account_id,
                            'amount_micros', t.amount_micros, 'posted_micros', t.posted_after_micros,
                            'available_micros', t.available_after_micros, 'created_at', credits._iso(t.created_at),
                            'replayed', p_replayed)
$$;

-- Security definer: whether it is too much for one person rests on their API keys.
create function credits.adjust_preview(p_account_id bigint, p_amount_micros bigint) returns jsonb
language plpgsql stable security definer set search_path = '' as $$
declare
  v_account   bigint;
  v_available bigint;
  v_allowed   boolean;
begin
  perform credits._require('service', 'super_admin', 'admin');
  v_account := credits._account(p_account_id, 'admin');
  perform credits._check_adjustment(p_amount_micros, 'preview');
  v_available := (credits.balance(v_account) ->> 'available_micros')::bigint;
  -- an overdraft may be spent, not taken away
  v_allowed := p_amount_micros > 0 or -p_amount_micros <= coalesce((
    select sum(remaining_micros) from credits.grants_now
     where account_id = v_account and expires_at > credits._now() and operations is null), 0);
  return jsonb_build_object(
    'available_before_micros', v_available, 'available_after_micros', v_available + p_amount_micros, 'allowed', v_allowed,
    'limit_micros', (select amount from credits.approval_limits where kind = 'adjustment'),
    'reason', case when not v_allowed then 'The account has fewer credits than that.' end) || credits._alone(v_account, abs(p_amount_micros));
end $$;

-- Gives back what was recovered from grants for a debt that turns out not to be one: to the grants that paid it, the latest
-- first; what none of them can take becomes a grant of its own.
create function credits._return_recovered(p_account_id bigint, p_amount_micros bigint, p_reason text, p_at timestamptz)
returns credits.draw[] language plpgsql set search_path = '' as $$
declare
  v_paid  record;
  v_rest  bigint := p_amount_micros;
  v_back  bigint;
  v_id    bigint;
  v_draws credits.draw[] := '{}';
begin
  for v_paid in
    select g.id, least(-sum(e.amount_micros), g.granted_micros - g.remaining_micros)::bigint as most, max(t.seq) as seq
      from credits.transactions as t join credits.all_entries as e on e.account_id = t.account_id and e.seq = t.seq
      join credits.grants as g on g.id = e.grant_id
     where t.account_id = p_account_id and t.kind = 'debt_recovery' group by g.id order by seq desc, g.id desc
  loop
    exit when v_rest <= 0;
    v_back := least(v_paid.most, v_rest);
    continue when v_back <= 0;
    update credits.grants set remaining_micros = remaining_micros + v_back where id = v_paid.id;
    v_draws := v_draws || row(v_paid.id, v_back)::credits.draw;
    v_rest := v_rest - v_back;
  end loop;
  if v_rest > 0 then
    insert into credits.grants (account_id, source, is_promotional, granted_micros, remaining_micros, reason, created_at)
    values (p_account_id, 'adjustment', false, v_rest, v_rest, p_reason, p_at) returning id into v_id;
    v_draws := v_draws || row(v_id, v_rest)::credits.draw;
  end if;
  return v_draws;
end $$;

-- Writes the reversal of a transaction (the ledger must be open): what it took goes back to the very grants it came from, what
-- it gave is taken from the very grant it made.
create function credits._undo(
  a credits.accounts, t credits.transactions, p_key text, p_reason text, p_actor text default credits._actor()
) returns credits.accounts language plpgsql set search_path = '' as $$
declare
  v_row   credits.transactions;
  v_entry record;
  v_draws credits.draw[] := '{}';
  v_owed  bigint;
  v_counted record;
begin
  for v_entry in select grant_id, -amount_micros as back from credits.all_entries
                  where account_id = a.id and seq = t.seq order by position loop
    if v_entry.grant_id is null then  -- it was debt: what is still owed is forgiven, what was recovered since comes back
      v_owed := least(a.debt_micros - credits._debt_of_holds(a), v_entry.back);
      a.debt_micros := a.debt_micros - v_owed;
      v_draws := v_draws || row(null, v_owed)::credits.draw
              || credits._return_recovered(a.id, v_entry.back - v_owed, p_reason, a.last_at);
    else
      update credits.grants set remaining_micros = remaining_micros + v_entry.back
       where id = v_entry.grant_id and remaining_micros + v_entry.back >= 0;
      if not found then
        perform credits._raise('LC402', 'Credits that this adjustment gave are spent already; remove at most what is left.');
      end if;
      v_draws := v_draws || row(v_entry.grant_id, v_entry.back)::credits.draw;
    end if;
  end loop;
  v_row := t;
  v_row.quantity := -t.quantity;
  v_row.rated_micros := -t.rated_micros;
  v_row.occurred_at := null;
  v_row.metadata := null;
  v_row.reverses_seq := t.seq;
  v_row.idempotency_key := p_key;
  v_row.reason := p_reason;
  v_row.actor := p_actor;
  v_row.allowance_quantity := -t.allowance_quantity;
  if t.kind = 'use' then
    a.used_micros := a.used_micros + t.amount_micros;
    v_counted := credits._counted(t);
    perform credits._give_allowance(a.id, t.operation_id, v_counted.at, t.allowance_quantity);
    if a.has_limits then perform credits._count_spend(a.id, v_counted.api_key_id, v_counted.at, t.amount_micros); end if;
  end if;
  return credits._record(a, 'reversal', -t.amount_micros, v_draws, v_row);
end $$;

-- Books expired grants, account by account. Nobody waits for it: expired credits cannot be spent the moment they expire.
-- Security definer: only functions write the ledger.
create function credits.expire_grants(p_limit int default 500) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  v_id bigint;
  v_n  int := 0;
begin
  perform credits._require('service');
  for v_id in select id from credits.accounts where settle_at <= credits._now() order by id limit least(p_limit, 10000) loop
    perform credits._close_ledger(credits._open_ledger(v_id));
    v_n := v_n + 1;
  end loop;
  return jsonb_build_object('accounts', v_n);
end $$;

revoke execute on all functions in schema credits from public;
grant execute on function
  credits.adjust(bigint, bigint, text, text, timestamptz, text[]), credits.adjust_preview(bigint, bigint),
  credits._check_adjustment(bigint, text)
to authenticated, service_role;
grant execute on function credits.expire_grants(int) to service_role;
