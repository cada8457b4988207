-- The three roles that Supabase provides and plain PostgreSQL lacks.
do $$
begin
    if not exists (select from pg_roles where rolname = 'anon') then
        create role anon nologin noinherit;
    end if;
    if not exists (select from pg_roles where rolname = 'authenticated') then
        create role authenticated nologin noinherit;
    end if;
    if not exists (select from pg_roles where rolname = 'service_role') then
        begin
            create role service_role nologin noinherit bypassrls;
        exception when insufficient_privilege then
            -- Only a role that bypasses RLS itself may pass that on. Policies name service_role, so it works without.
            create role service_role nologin noinherit;
        end;
    end if;
end
$$;

grant usage on schema public to anon, authenticated, service_role;
