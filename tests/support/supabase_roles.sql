-- The cluster's roles as Supabase prepares them. Run by a superuser who is neither of the two.
alter role postgres rename to supabase_admin;
alter role supabase_admin superuser createdb createrole login replication bypassrls;
create role postgres nosuperuser createdb createrole login replication bypassrls;

create role anon nologin;
create role authenticated nologin;
create role service_role nologin bypassrls;
create role authenticator noinherit login;
grant anon, authenticated, service_role to authenticator;
create role supabase_auth_admin noinherit createrole login;
create role dashboard_user createdb createrole replication;

grant pg_monitor, pg_read_all_data, pg_signal_backend to postgres;
do $$
begin
    if current_setting('server_version_num')::int >= 160000 then
        grant anon, authenticated, service_role to postgres with admin option;
    else
        grant anon, authenticated, service_role to postgres;
    end if;
end
$$;
alter role anon set statement_timeout = '3s';
alter role authenticated set statement_timeout = '8s';
alter role authenticator set statement_timeout = '8s';
alter role authenticator set lock_timeout = '8s';
