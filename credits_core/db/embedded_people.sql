-- People of the embedded database, where no Supabase Auth signs them up. Applied after the migrations and only there:
-- on a Supabase project this function does not exist. Security definer: it writes auth.users.
create or replace function credits.create_demo_user(p_email text, p_name text, p_role text, p_is_demo boolean default false)
returns jsonb language plpgsql security definer set search_path = '' as $$
declare v_id uuid;
begin
  perform credits._require('service');
  insert into auth.users (id, aud, role, email, raw_app_meta_data, raw_user_meta_data, created_at, updated_at)
  values (gen_random_uuid(), 'authenticated', 'authenticated', lower(p_email),
          jsonb_build_object('role', p_role, 'is_demo', p_is_demo), jsonb_build_object('name', p_name),
          credits._now(), credits._now())
  on conflict do nothing returning id into v_id;
  if v_id is null then
    perform credits._raise('LC409', format('There is somebody with the e-mail %s already.', p_email));
  end if;
  return jsonb_build_object('user_id', v_id,
    'account_id', (select id from credits.accounts where owner_id = v_id));
end $$;
revoke execute on function credits.create_demo_user(text, text, text, boolean) from public;
grant execute on function credits.create_demo_user(text, text, text, boolean) to service_role;
