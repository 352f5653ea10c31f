-- Payments with a saved card, made at once: the payment of an intention, and those whose end nobody knows yet.

-- payment: the purchase that this key began, or null. items: what saved cards were asked to pay and is not decided, the newest
-- first: created (Stripe's answer is not known), open (the bank wants its owner to confirm), processing.
create function credits.card_payments(p_idempotency_key text default null, p_account_id bigint default null) returns jsonb
language plpgsql stable set search_path = '' as $$
declare v_account bigint := credits._account(p_account_id, 'purchase');
begin
  return jsonb_build_object(
    'payment', (select credits._purchase_json(p) || jsonb_build_object('idempotency_key', p.idempotency_key) from credits.purchases as p
                 where p.account_id = v_account and p.idempotency_key = p_idempotency_key),
    'items', coalesce((select jsonb_agg(credits._purchase_json(p) || jsonb_build_object('idempotency_key', p.idempotency_key)
                                        order by p.created_at desc, p.id desc) from credits.purchases as p
                        where p.account_id = v_account and p.payment_method_id is not null
                          and p.status in ('created', 'open', 'processing')
                          and p.created_at > credits._now() - interval '7 days'), '[]'));
end $$;

revoke execute on all functions in schema credits from public;
grant execute on function credits.card_payments(text, bigint) to authenticated, service_role;
