-- unless: to_regprocedure('auth.jwt()') is not null and to_regprocedure('auth.uid()') is not null
-- Who the caller is, as Supabase's `auth` schema tells it: read from the transaction's claims.
create schema if not exists auth;

grant usage on schema auth to anon, authenticated, service_role;

create or replace function auth.jwt() returns jsonb
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select nullif(current_setting('request.jwt.claims', true), '')::jsonb
$$;

create or replace function auth.uid() returns uuid
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select nullif(auth.jwt() ->> 'sub', '')::uuid
$$;

create or replace function auth.role() returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select auth.jwt() ->> 'role'
$$;

revoke all on function auth.jwt(), auth.uid(), auth.role() from public;
grant execute on function auth.jwt(), auth.uid(), auth.role() to anon, authenticated, service_role;
