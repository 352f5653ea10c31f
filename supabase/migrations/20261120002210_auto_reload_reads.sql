-- Reading auto-reload: what is agreed, what will happen next, why the last attempts did what they did; and what other terms would do.

-- The next reload of some terms, with what it would buy.
create function credits._reload_figures(s credits.auto_reload) returns jsonb
language plpgsql stable set search_path = '' as $$
declare
  n       jsonb := credits._next_reload(s, credits._now());
  v_quote jsonb;
begin
  begin
    v_quote := credits.purchase_quote((n ->> 'amount_cents')::bigint);
  exception when sqlstate 'LC400' then
    v_quote := '{}';  -- an amount that is not for sale has no figures
  end;
  return n || jsonb_build_object('credits_micros', (v_quote ->> 'credits_micros')::bigint + (v_quote ->> 'bonus_micros')::bigint);
end $$;

-- What is agreed, what will happen next, and why the last attempts did what they did. pay_url: only while there is something to pay.
create function credits.auto_reload(p_account_id bigint default null) returns jsonb
language plpgsql stable set search_path = '' as $$
declare
  v_account bigint := credits._account(p_account_id, 'read');
  s         credits.auto_reload;
  n         jsonb;
begin
  select * into s from credits.auto_reload where account_id = v_account;
  s.account_id := v_account;
  n := credits._reload_figures(s);
  return (n - 'status' - 'needed') || jsonb_build_object(
    'account_id', v_account, 'state', case n ->> 'status' when 'off' then 'off' when 'paused' then 'paused' else 'on' end,
    'next_status', n ->> 'status', 'currency', coalesce(s.currency, n ->> 'currency'),
    'threshold_micros', s.threshold_micros, 'target_micros', s.target_micros, 'cap_day_cents', s.cap_day_cents,
    'cap_month_cents', s.cap_month_cents, 'payment_method_id', s.payment_method_id, 'failures', coalesce(s.failures, 0),
    'paused_for', s.paused_for, 'paused_reason', s.paused_reason, 'paused_at', credits._iso(s.paused_at),
    'pay_url', case when (select p.status in ('created', 'open', 'failed') from credits.auto_reload_attempts as t
        join credits.purchases as p on p.id = t.purchase_id where t.account_id = v_account and t.status = 'authentication_required'
        order by t.created_at desc limit 1) then s.pay_url end,
    'next', case n ->> 'status'
      when 'off' then 'Nothing happens by itself: auto-reload is off.'
      when 'paused' then 'Paused. ' || s.paused_reason || ' Nothing is charged until you resume.'
      when 'in_flight' then 'A reload is being made now.'
      when 'due' then 'The balance is below the threshold: a reload is due now.'
      when 'idle' then format('Reloads when the balance falls below %s credits.', round(s.threshold_micros / 1e6, 2))
      else format('Waits until %s UTC before the next attempt.', to_char((n ->> 'until')::timestamptz at time zone 'UTC', 'YYYY-MM-DD HH24:MI')) end,
    'suggestion', credits._suggested_terms(), 'consent', credits._consents(v_account, 1) -> 0, 'consents', credits._consents(v_account, 20),
    'attempts', (select coalesce(jsonb_agg(credits._attempt_json(t::credits.auto_reload_attempts, s) order by t.created_at desc), '[]')
                   from (select * from credits.auto_reload_attempts as x where x.account_id = v_account
                          order by x.created_at desc, x.id limit 20) as t));
end $$;

-- Terms to begin with: a reload buys what the popular package (or the second one) holds when a tenth of it is left, twice a day.
create function credits._suggested_terms() returns jsonb
language sql stable set search_path = '' as $$
  select jsonb_build_object(
           'threshold_micros', k.credits_micros / 10, 'target_micros', k.credits_micros / 10 + k.credits_micros,
           'cap_day_cents', 2 * credits._reload_price(k.credits_micros), 'cap_month_cents', 6 * credits._reload_price(k.credits_micros))
    from credits.packages as k join credits.catalogs as c on c.code = k.catalog and c.is_active
   where k.is_offered and k.credits_micros <= c.custom_max_cents * c.custom_micros_per_cent
   order by k.popular desc, abs(k.position - 2), k.position limit 1
$$;

-- The last consents, newest first; with a limit of 1 the one that was given last. is_given false: withdrawn.
create function credits._consents(p_account_id bigint, p_limit int) returns jsonb
language sql stable set search_path = '' as $$
  select coalesce(jsonb_agg(jsonb_build_object(
           'at', credits._iso(x.at), 'by', x.actor, 'is_given', x.is_given, 'text_version', x.text_version, 'text', x.consent_text,
           'terms', x.terms) order by x.id desc), '[]')
    from (select * from credits.auto_reload_consents as c where c.account_id = p_account_id and (c.is_given or p_limit > 1)
           order by c.id desc limit p_limit) as x
$$;

-- What these terms would do now, whatever is agreed: refusal (a sentence, or null), status, amount_cents, credits_micros, until, what
-- was reloaded today and this month.
create function credits.auto_reload_preview(
  p_threshold_micros bigint, p_target_micros bigint, p_cap_day_cents bigint, p_cap_month_cents bigint, p_account_id bigint default null
) returns jsonb language plpgsql stable set search_path = '' as $$
declare
  v_account bigint := credits._account(p_account_id, 'read');
  v_why     text := credits._reload_refusal(p_threshold_micros, p_target_micros, p_cap_day_cents, p_cap_month_cents);
  s         credits.auto_reload;
begin
  if v_why is not null then return jsonb_build_object('account_id', v_account, 'refusal', v_why, 'one_reload_cents',
    case when p_target_micros > p_threshold_micros then credits._reload_price(p_target_micros - p_threshold_micros) end); end if;
  s.account_id := v_account;
  s.is_on := true;
  s.threshold_micros := p_threshold_micros;
  s.target_micros := p_target_micros;
  s.cap_day_cents := p_cap_day_cents;
  s.cap_month_cents := p_cap_month_cents;
  return credits._reload_figures(s) || jsonb_build_object('account_id', v_account, 'refusal', null, 'one_reload_cents',
    credits._reload_price(p_target_micros - p_threshold_micros));
end $$;

revoke execute on all functions in schema credits from public;
grant execute on function
  credits._reload_figures(credits.auto_reload), credits._suggested_terms(), credits._consents(bigint, int), credits.auto_reload(bigint),
  credits.auto_reload_preview(bigint, bigint, bigint, bigint, bigint)
to authenticated, service_role;
