-- What administrators move by hand: adjustments, reversals, later ends of grants. One limit holds for all of them, and what one person
-- moved on one account within 24 hours adds up, so that neither another way nor many small steps lead around the second person.
-- Money that goes back has a limit of its own, and adds up the same way.

-- What the caller moved on an account alone within 24 hours, in person or through an API key of theirs, whichever way it went. What a
-- second person approved is no longer one person's.
create function credits._moved_alone(p_account_id bigint) returns bigint
language sql stable set search_path = '' as $$
  select coalesce(sum(case when t.kind = 'extension' then (
           select e.amount_micros from credits.entries as e where e.account_id = t.account_id and e.seq = t.seq and e.position = 2)
         else abs(t.amount_micros) end), 0)::bigint
    from credits.transactions as t
   where t.account_id = p_account_id and t.kind in ('adjustment', 'reversal', 'extension')
     and t.created_at > credits._now() - interval '24 hours' and t.idempotency_key is not null and credits._own_request(t.actor)
     and not exists (select from credits.approvals as a where a.account_id = t.account_id and a.idempotency_key = t.idempotency_key)
$$;

create function credits._is_own(p_account_id bigint) returns boolean
language sql stable set search_path = '' as $$
  select credits._role() <> 'service' and p_account_id is not distinct from credits._own_account()
$$;

-- Nobody moves credits on an account of their own alone, however few.
create function credits._too_much_alone(p_account_id bigint, p_amount_micros bigint) returns boolean
language sql stable set search_path = '' as $$
  select p_amount_micros > 0 and (credits._is_own(p_account_id)
    or credits._needs_approval('adjustment', p_amount_micros + credits._moved_alone(p_account_id)))
$$;

create function credits._in_credits(p_micros bigint) returns text
language sql immutable set search_path = '' as $$ select to_char(p_micros / 1000000.0, 'FM999,999,999,990.00') $$;

-- Whether a move waits for a second person, and why, for previews and answers.
create function credits._alone(p_account_id bigint, p_amount_micros bigint) returns jsonb
language sql stable set search_path = '' as $$
  select jsonb_build_object('needs_approval', x.needs, 'moved_micros', x.moved, 'is_own', credits._is_own(p_account_id), 'approval_reason', case
    when credits._is_own(p_account_id) then 'A second person decides about credits on your own account.'
    when x.needs and p_amount_micros >= l.amount then format('From %s credits on a second person decides.', credits._in_credits(l.amount))
    when x.needs then format('A second person decides: what one administrator moves on one account within 24 hours adds up, and with the '
      || '%s credits before, this reaches %s.', credits._in_credits(x.moved), credits._in_credits(l.amount)) end)
    from credits.approval_limits as l, lateral (
      select credits._too_much_alone(p_account_id, p_amount_micros) as needs, credits._moved_alone(p_account_id) as moved) as x
   where l.kind = 'adjustment'
$$;

-- What one person may promise by a code or an invitation, for each time: less than they may give by hand. The operator may promise more.
create function credits._check_promise(p_micros bigint) returns void
language plpgsql stable set search_path = '' as $$
begin
  if credits._needs_approval('adjustment', p_micros) then
    perform credits._raise('LC403', format('One person promises less than %s credits at a time, the limit of adjustments; choose less.',
      credits._in_credits((select amount from credits.approval_limits where kind = 'adjustment'))));
  end if;
end $$;

-- Whether an account belongs to who acted then, in person or through a key of theirs.
create function credits._belongs_to(p_account_id bigint, p_actor text) returns boolean
language sql stable set search_path = '' as $$
  select exists (select from credits.accounts where id = p_account_id and owner_id::text = p_actor)
      or exists (select from credits.api_keys where account_id = p_account_id and 'key:' || id = p_actor)
$$;

-- Whether a refund waits for a second person: by its amount with what went back before, or because it is one's own money.
create function credits._refund_waits(p_account_id bigint, p_amount_cents bigint) returns boolean
language sql stable set search_path = '' as $$
  select credits._is_own(p_account_id) or p_amount_cents::numeric + credits._refunded_alone(p_account_id) >= credits._refund_limit_cents()
$$;

-- Carries out a move at once, or asks a second person. The account is locked; the answer says which by its status.
create function credits._move(r credits.approvals, p_reason text, p_key text) returns jsonb
language plpgsql set search_path = '' as $$
declare v_asked boolean := exists (select from credits.approvals where account_id = r.account_id and idempotency_key = p_key);
begin
  r.reason := trim(p_reason);
  r.idempotency_key := p_key;
  r.requested_by := credits._actor();
  if not v_asked and not credits._too_much_alone(r.account_id, abs(r.amount)) then
    execute format('select * from credits.%I($1)', '_do_' || r.kind) into r using r;
    return r.result || '{"status": "booked"}';
  end if;
  r.preview := '{}';
  if not v_asked then
    if exists (select from credits.approvals where account_id = r.account_id and kind = r.kind and payload = r.payload and status = 'waiting'
                and expires_at > credits._now()) then
      perform credits._raise('LC409', 'This was asked for already; see the approvals.');
    end if;
    r.preview := jsonb_build_object('available_before_micros', credits.balance(r.account_id) -> 'available_micros',
                                    'available_after_micros', credits._try(r) -> 'available_micros')
              || credits._alone(r.account_id, abs(r.amount));
  end if;
  return credits._waiting_answer(credits._ask(r, true));
end $$;

-- What who asks is told: nothing is booked yet, the balance is as it was.
create function credits._waiting_answer(r credits.approvals) returns jsonb
language sql stable set search_path = '' as $$
  select jsonb_build_object(
    'status', credits._approval_json(r) -> 'status', 'approval_id', r.id, 'transaction_id', null, 'account_id', r.account_id,
    'amount_micros', r.amount, 'posted_micros', b -> 'posted_micros', 'available_micros', b -> 'available_micros',
    'created_at', credits._iso(r.requested_at), 'expires_at', credits._iso(r.expires_at), 'approval_reason', r.preview -> 'approval_reason')
    from credits.balance(r.account_id) as b
$$;

-- Undoes a use or an adjustment, once. A grant that has expired meanwhile stays expired: its credits come back and expire at once.
-- From a limit on it waits for a second person (see moves). Security definer: only functions write the ledger.
create function credits.reverse(p_transaction_id text, p_reason text, p_idempotency_key text) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  v_account bigint := credits._bigint(substring(p_transaction_id from '^(\d{1,18})-\d{1,18}$'));
  v_seq     bigint := credits._bigint(substring(p_transaction_id from '^\d{1,18}-(\d{1,18})$'));
  t         credits.transactions;
  v_old     credits.transactions;
  r         credits.approvals;
begin
  perform credits._require('service', 'super_admin', 'admin');
  perform credits._check_key(p_idempotency_key);
  perform credits._check_adjustment(1, p_reason);
  select * into t from credits.transactions where account_id = v_account and seq = v_seq;
  if not found then
    perform credits._raise('LC404', format('There is no transaction “%s”; copy its id from the list.', left(p_transaction_id, 60)));
  end if;
  perform from credits.accounts where id = v_account for no key update;
  select * into v_old from credits.transactions where account_id = v_account and idempotency_key = p_idempotency_key;
  if v_old.seq is not null and (v_old.reverses_seq is distinct from v_seq or v_old.reason <> trim(p_reason)) then
    perform credits._raise('LC410', 'This idempotency key was used for another request; use a new key for a new request.');
  elsif v_old.seq is not null then
    return credits._transaction_answer(v_old, true) || '{"status": "booked"}';
  end if;
  r.kind := 'reversal';
  r.account_id := v_account;
  r.amount := -t.amount_micros;
  r.payload := jsonb_build_object('transaction_id', p_transaction_id);
  return credits._move(r, p_reason, p_idempotency_key);
end $$;

-- Carries out a reversal in the name of who asked for it.
create function credits._do_reversal(r credits.approvals) returns credits.approvals
language plpgsql set search_path = '' as $$
declare
  a     credits.accounts := credits._open_ledger(r.account_id);
  t     credits.transactions;
  v_old bigint;
  v_seq bigint := substring(r.payload ->> 'transaction_id' from '\d+$')::bigint;
begin
  select * into t from credits.transactions where account_id = a.id and seq = v_seq;
  select seq into v_old from credits.transactions where account_id = a.id and reverses_seq = v_seq;
  if v_old is not null then
    perform credits._raise('LC409', 'This transaction was reversed already.', jsonb_build_object('reversal', a.id || '-' || v_old));
  elsif t.kind not in ('use', 'adjustment') then
    perform credits._raise('LC409', 'Only uses and adjustments can be reversed; a purchase is refunded instead.');
  end if;
  a := credits._undo(a, t, r.idempotency_key, r.reason, r.requested_by);
  v_seq := a.seq;
  perform credits._close_ledger(credits._book_expired(a, true));
  perform credits._audit('reverse', a.id, r.payload || jsonb_build_object('reason', r.reason));
  select * into t from credits.transactions where account_id = a.id and seq = v_seq;
  r.result := credits._transaction_answer(t, false);
  r.status := 'done';
  return r;
end $$;

-- Gives what is left of a grant (or what expired of it and did not come back yet) a later end: a new grant like the old one takes
-- it over, at the same cost; the old row stays as it was. From a limit on it waits for a second person (see moves).
-- Security definer: only functions write the ledger.
create function credits.extend_grant(p_grant_id bigint, p_expires_at timestamptz, p_reason text, p_idempotency_key text)
returns jsonb language plpgsql security definer set search_path = '' as $$
declare
  g     credits.grants;
  v_new credits.grants;
  a     credits.accounts;
  t     credits.transactions;
  r     credits.approvals;
begin
  perform credits._require('service', 'super_admin', 'admin');
  perform credits._check_key(p_idempotency_key);
  perform credits._check_adjustment(1, p_reason);
  select * into g from credits.grants where id = p_grant_id;
  if g.id is null then perform credits._raise('LC404', 'There is no such grant; open the account to see its grants.'); end if;
  perform from credits.accounts where id = g.account_id for no key update;
  select * into t from credits.transactions where account_id = g.account_id and idempotency_key = p_idempotency_key;
  if t.seq is not null then
    select n.* into v_new from credits.entries as e join credits.grants as n on n.id = e.grant_id
     where e.account_id = t.account_id and e.seq = t.seq and e.position = 2;
    if t.kind <> 'extension' or t.reason <> trim(p_reason) or v_new.expires_at is distinct from p_expires_at or not exists (
         select from credits.entries where account_id = t.account_id and seq = t.seq and position = 1 and grant_id = g.id) then
      perform credits._raise('LC410', 'This idempotency key was used for another request; use a new key for a new request.');
    end if;
    return credits._transaction_answer(t, true) || jsonb_build_object('grant_id', v_new.id, 'status', 'booked');
  end if;
  a := credits._open_ledger(g.account_id);
  r.kind := 'extension';
  r.account_id := a.id;
  r.amount := credits._left_to_extend(p_grant_id, a.last_at);
  r.payload := jsonb_build_object('grant_id', g.id, 'expires_at', credits._iso(p_expires_at));
  perform credits._close_ledger(a);
  return '{"grant_id": null}' || credits._move(r, p_reason, p_idempotency_key);
end $$;

-- What expired of a grant, less what later extensions of it brought back (those leave 0 of it in their first entry).
create function credits._expired_of(g credits.grants) returns bigint
language plpgsql stable set search_path = '' as $$
begin
  return (select coalesce(-sum(amount_micros), 0) from credits.transactions
           where account_id = g.account_id and kind = 'expiry' and grant_id = g.id)
       - (select coalesce(sum(t.amount_micros), 0)
            from credits.entries as e join credits.transactions as t on t.account_id = e.account_id and t.seq = e.seq
           where e.account_id = g.account_id and e.grant_id = g.id and e.amount_micros = 0 and t.kind = 'extension');
end $$;

-- What a later end of a grant moves; its ledger is open.
create function credits._left_to_extend(p_grant_id bigint, p_at timestamptz) returns bigint
language sql stable set search_path = '' as $$
  select case when g.expires_at <= p_at then credits._expired_of(g) else g.remaining_micros end from credits.grants as g where g.id = p_grant_id
$$;

-- Carries out an extension in the name of who asked for it.
create function credits._do_extension(r credits.approvals) returns credits.approvals
language plpgsql set search_path = '' as $$
declare
  a         credits.accounts := credits._open_ledger(r.account_id);
  g         credits.grants;
  v_new     credits.grants;
  t         credits.transactions;
  v_row     credits.transactions;
  v_ends    timestamptz := (r.payload ->> 'expires_at')::timestamptz;
  v_expired boolean;
  v_left    bigint;
begin
  select * into g from credits.grants where id = (r.payload ->> 'grant_id')::bigint;
  v_expired := g.expires_at <= a.last_at;
  v_left := credits._left_to_extend(g.id, a.last_at);
  if v_ends is null or v_ends <= greatest(a.last_at, g.expires_at) then
    perform credits._raise('LC400', 'Choose an end later than now and than the present one.');
  elsif v_left <= 0 then
    perform credits._raise('LC409', 'Nothing is left of this grant; add credits by an adjustment instead.');
  elsif v_left > r.amount then
    perform credits._raise('LC409', 'More is left of this grant than was asked for; reject it, and ask anew.');
  end if;
  insert into credits.grants (account_id, source, is_promotional, granted_micros, remaining_micros, cost_cents, currency, priority,
                              expires_at, operations, purchase_id, reason, created_at)
  values (a.id, g.source, g.is_promotional, v_left, v_left, round(g.cost_cents * v_left::numeric / g.granted_micros), g.currency,
          g.priority, v_ends, g.operations, g.purchase_id, r.reason, a.last_at) returning * into v_new;
  update credits.grants set remaining_micros = 0 where id = g.id;
  v_row.idempotency_key := r.idempotency_key;
  v_row.reason := r.reason;
  v_row.actor := r.requested_by;
  a := credits._record(a, 'extension', case when v_expired then v_left else 0 end, array[
    row(g.id, case when v_expired then 0 else -v_left end)::credits.draw, row(v_new.id, v_left)::credits.draw], v_row);
  perform credits._close_ledger(a);
  perform credits._audit('extend_grant', a.id, jsonb_build_object('grant_id', g.id, 'new_grant_id', v_new.id, 'reason', v_row.reason));
  select * into t from credits.transactions where account_id = a.id and idempotency_key = r.idempotency_key;
  r.result := credits._transaction_answer(t, false) || jsonb_build_object('grant_id', v_new.id);
  r.status := 'done';
  return r;
end $$;

revoke execute on all functions in schema credits from public;
grant execute on function credits.reverse(text, text, text), credits.extend_grant(bigint, timestamptz, text, text)
to authenticated, service_role;
