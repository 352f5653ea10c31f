-- Spending as callers see it: one charge, or many in one call.

-- Charges an operation. Security definer: only functions write the ledger.
create function credits.use(
  p_operation text, p_quantity numeric, p_idempotency_key text, p_account_id bigint default null,
  p_metadata jsonb default null, p_occurred_at timestamptz default null
) returns jsonb language plpgsql security definer set search_path = '' as $$
declare
  v_account bigint := credits._account(p_account_id, 'use');
  r         credits.charge_result;
begin
  if pg_column_size(p_metadata) > 8192 then perform credits._raise('LC400', 'metadata may have at most 8 KB.'); end if;
  r := credits._charge(v_account, p_operation, p_quantity, p_idempotency_key, p_metadata, p_occurred_at,
                       case when p_account_id is not null or credits._api_key_id() is not null then credits._actor() end);
  if r.status not in ('charged', 'replayed') then perform credits._raise_charge_error(r, p_operation); end if;
  return jsonb_build_object(
    'transaction_id', v_account || '-' || r.seq, 'account_id', v_account, 'charged_micros', r.charged_micros,
    'available_micros', r.available_after_micros, 'posted_micros', r.posted_after_micros, 'price_id', r.price_id,
    'created_at', credits._iso(r.created_at), 'replayed', r.status = 'replayed');
end $$;

-- Charges up to 10,000 events in one call, in order, each with its own key and result; one bad event never spoils the
-- others. Accounts are locked in id order first, so two batches never wait for each other in a circle.
-- Security definer: only functions write the ledger.
create function credits.use_batch(p_events jsonb) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  v_role    text := credits._role();
  v_own     bigint := credits._own_account();
  v_is_key  boolean := credits._api_key_id() is not null;
  v_event   record;
  v_known   bigint[];
  v_account bigint;
  r         credits.charge_result;
  v_results jsonb[] := '{}';
begin
  perform credits._require('service', 'super_admin', 'admin', 'finance', 'holder');
  perform credits._require_scope('use');
  if jsonb_typeof(p_events) is distinct from 'array' or jsonb_array_length(p_events) > 10000 then
    perform credits._raise('LC400', 'events must be a list of at most 10,000 events.');
  end if;
  select coalesce(array_agg(id), '{}') into v_known from (
    select a.id from credits.accounts as a
     where a.id in (select coalesce(credits._bigint(e ->> 'account_id'), v_own) from jsonb_array_elements(p_events) as e)
     order by a.id for no key update) as locked;
  for v_event in
    select credits._bigint(e ->> 'account_id') as account_id, e ? 'account_id' and e ->> 'account_id' is not null as is_named,
           e ->> 'operation' as operation, credits._numeric(e ->> 'quantity') as quantity,
           e ->> 'idempotency_key' as key, nullif(e -> 'metadata', 'null') as metadata,
           credits._timestamptz(e ->> 'occurred_at') as occurred_at, e ->> 'occurred_at' as occurred_text
      from jsonb_array_elements(p_events) with ordinality as x (e, n) order by n
  loop
    r := null;
    v_account := case when v_event.is_named then v_event.account_id else v_own end;
    if v_account is null or not v_account = any (v_known) then
      r.status := case when v_event.is_named and v_role in ('holder', 'finance') then 'not_allowed' else 'unknown_account' end;
    elsif v_account is distinct from v_own and v_role in ('holder', 'finance') then
      r.status := 'not_allowed';
    elsif pg_column_size(v_event.metadata) > 8192 then
      r.status := 'bad_metadata';
    elsif v_event.occurred_text is not null and v_event.occurred_at is null then
      r.status := 'bad_time';
    else
      r := credits._charge(v_account, v_event.operation, v_event.quantity, v_event.key, v_event.metadata, v_event.occurred_at,
                           case when v_account is distinct from v_own or v_is_key then credits._actor() end);
    end if;
    v_results := v_results || jsonb_build_object(
      'status', case when r.status in ('charged', 'replayed') then r.status else 'error' end,
      'transaction_id', case when r.status <> 'key_reused' then v_account || '-' || r.seq end,
      'charged_micros', case when r.status in ('charged', 'replayed') then r.charged_micros else 0 end, 'available_micros', r.available_after_micros, 'error', credits._charge_error(r, v_event.operation) - 'sqlstate');
  end loop;
  return jsonb_build_object('results', to_jsonb(v_results));
end $$;

-- Text to a value, or null where it is none: a batch answers for a bad event instead of failing as a whole.
create function credits._numeric(p_text text) returns numeric language plpgsql immutable set search_path = '' as $$
begin
  return p_text::numeric;
exception when others then
  return null;
end $$;
create function credits._bigint(p_text text) returns bigint language plpgsql immutable set search_path = '' as $$
begin
  return p_text::bigint;
exception when others then
  return null;
end $$;
create function credits._uuid(p_text text) returns uuid language plpgsql immutable set search_path = '' as $$
begin
  return p_text::uuid;
exception when others then
  return null;
end $$;
create function credits._timestamptz(p_text text) returns timestamptz language plpgsql stable set search_path = '' as $$
begin
  return p_text::timestamptz;
exception when others then
  return null;
end $$;

revoke execute on all functions in schema credits from public;
grant execute on function
  credits._bigint(text), credits._uuid(text), credits.use(text, numeric, text, bigint, jsonb, timestamptz), credits.use_batch(jsonb)
to authenticated, service_role;
