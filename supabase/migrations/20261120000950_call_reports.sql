-- Calls that another system carries and reports on (Vapi). Its messages come late, twice and in any order, and a call that it
-- reports did happen: it is charged whatever the balance, once.

-- The call that an idempotency key started, or null. connected: it was heard of after its start.
create function credits.call_by_key(p_idempotency_key text, p_account_id bigint default null) returns jsonb
language plpgsql stable set search_path = '' as $$
declare
  v_account bigint := credits._account(p_account_id, 'read');
  c         credits.calls;
  a         credits.accounts;
begin
  select * into c from credits.calls where account_id = v_account and idempotency_key = p_idempotency_key;
  if c.id is null then return null; end if;
  select * into a from credits.accounts where id = v_account;
  return credits._call_answer(c, a) || jsonb_build_object('connected', c.last_seen_at > c.started_at);
end $$;

-- What is said of a call after its end. A running call ends with these times; one that was taken for abandoned or canceled is
-- corrected (its charge is reversed, the right one follows); an unknown one is recorded; any other stays as it is. What is not
-- covered is a debt. A call without a start that was never heard of did not connect: nothing is charged, and nothing recorded if it is unknown
-- (null). Security definer: only functions write calls and the ledger.
create function credits.report_call(
  p_operation text, p_idempotency_key text, p_started_at timestamptz default null, p_ended_at timestamptz default null,
  p_to text default null, p_from text default null, p_reason text default null, p_metadata jsonb default null,
  p_account_id bigint default null
) returns jsonb language plpgsql security definer set search_path = '' as $$
declare
  v_account bigint;
  v_from    timestamptz;
  v_until   timestamptz;
  a         credits.accounts;
  c         credits.calls;
begin
  perform credits._require('service');
  v_account := credits._account(p_account_id, 'use');
  perform credits._check_key(p_idempotency_key);
  perform credits._raise_bad_call(p_started_at, p_ended_at);
  perform credits._check_call_text(p_to, p_from, p_reason, p_metadata);
  perform from credits.accounts where id = v_account for no key update;
  select * into c from credits.calls where account_id = v_account and idempotency_key = p_idempotency_key;
  v_from := coalesce(p_started_at, case when c.last_seen_at > c.started_at then c.started_at end);  -- null: never connected
  v_until := greatest(coalesce(p_ended_at, c.ended_at, credits._now()), v_from);
  perform credits._raise_bad_call(v_from, v_until);
  if c.id is null and v_from is null then return null; end if;
  if c.id is null then
    c := credits._unknown_call(v_account, p_operation, p_idempotency_key, v_from, p_to, p_from, p_metadata);
  elsif c.status in ('abandoned', 'canceled')
        and (v_until - v_from <> c.ended_at - c.started_at or v_from is null and c.charged_micros > 0) then
    c := credits._reopen_call(c);
  end if;
  if c.status = 'running' then c := credits._close_reported(c, v_from, v_until, p_reason); end if;
  select * into a from credits.accounts where id = v_account;
  return credits._call_answer(c, a);
end $$;

create function credits._unknown_call(
  p_account_id bigint, p_operation text, p_key text, p_started_at timestamptz, p_to text, p_from text, p_metadata jsonb
) returns credits.calls language plpgsql set search_path = '' as $$
declare
  v_price credits.prices := credits._price_at(p_operation, p_started_at, p_account_id);
  c       credits.calls;
begin
  if v_price.id is null or (select measure from credits.operations where id = v_price.operation_id) <> 'seconds' then
    perform credits._raise('LC404', format('“%s” is not an operation priced by time; GET /api/credits/pricing lists them.',
                                           left(p_operation, 80)));
  end if;
  insert into credits.calls (account_id, operation_id, price_id, to_number, from_number, status, started_at, last_seen_at,
                             idempotency_key, metadata)
  values (p_account_id, v_price.operation_id, v_price.id, p_to, p_from, 'running', p_started_at, p_started_at, p_key, p_metadata)
  returning * into c;
  return credits._hold_nothing(c);
end $$;

-- What was charged of a call goes back, unless somebody reversed it already: then it stays as that person left it.
create function credits._reopen_call(c credits.calls) returns credits.calls
language plpgsql set search_path = '' as $$
begin
  if exists (select from credits.transactions where account_id = c.account_id and reverses_seq = c.transaction_seq) then return c; end if;
  if c.transaction_seq is not null then
    perform credits.reverse(c.account_id || '-' || c.transaction_seq, 'The call was taken for abandoned; its report came later.',
                            'call-report-' || c.id);
  end if;
  update credits.calls set status = 'running' where id = c.id returning * into c;
  return credits._hold_nothing(c);
end $$;

-- A call is charged from its hold: here an empty one, so that allowance, grants and then debt pay.
create function credits._hold_nothing(c credits.calls) returns credits.calls
language plpgsql set search_path = '' as $$
begin
  insert into credits.holds (account_id, operation_id, price_id, quantity, amount_micros, expires_at, call_id, created_at)
  values (c.account_id, c.operation_id, c.price_id, 0, 0, credits._now(), c.id, credits._now()) returning id into c.hold_id;
  update credits.calls set hold_id = c.hold_id where id = c.id;
  return c;
end $$;

create function credits._close_reported(c credits.calls, p_from timestamptz, p_until timestamptz, p_reason text) returns credits.calls
language plpgsql set search_path = '' as $$
begin
  if p_until > p_from then
    update credits.calls set started_at = p_from where id = c.id returning * into c;
    return credits._settle_call(c, p_until, p_reason);
  end if;
  return credits._close_unconnected(c, 'canceled', p_reason);
end $$;

revoke execute on all functions in schema credits from public;
grant execute on function credits.call_by_key(text, bigint) to authenticated, service_role;
grant execute on function
  credits.report_call(text, text, timestamptz, timestamptz, text, text, text, jsonb, bigint)
to service_role;
