-- The Stripe customer of an account, for saved cards; test and live mode apart.

create table credits.customers (
  account_id  bigint not null references credits.accounts (id),
  livemode    boolean not null,
  customer_id text not null unique,
  primary key (account_id, livemode)
);
alter table credits.customers enable row level security;
create policy customers_read on credits.customers for select to authenticated
  using (account_id = (select credits._own_account()) or (select credits._is_staff()));
grant select on credits.customers to authenticated, service_role;

-- Remembers a customer; the first one stays. Security definer: only functions write customers.
create function credits.set_customer(p_account_id bigint, p_livemode boolean, p_customer_id text) returns jsonb
language plpgsql security definer set search_path = '' as $$
begin
  perform credits._require('service');
  insert into credits.customers (account_id, livemode, customer_id)
  values (credits._account(p_account_id, 'manage'), p_livemode, p_customer_id) on conflict (account_id, livemode) do nothing;
  return jsonb_build_object('customer_id', (select customer_id from credits.customers
                                             where account_id = p_account_id and livemode = p_livemode));
end $$;

create function credits.customer(p_livemode boolean, p_account_id bigint default null) returns jsonb
language plpgsql stable set search_path = '' as $$
declare v_account bigint := credits._account(p_account_id, 'purchase');
begin
  return jsonb_build_object(
    'account_id', v_account, 'email', (select email from credits.profiles where account_id = v_account),
    'name', (select name from credits.profiles where account_id = v_account),
    'customer_id', (select customer_id from credits.customers where account_id = v_account and livemode = p_livemode));
end $$;

revoke execute on all functions in schema credits from public;
grant execute on function credits.customer(boolean, bigint) to authenticated, service_role;
grant execute on function credits.set_customer(bigint, boolean, text) to service_role;
