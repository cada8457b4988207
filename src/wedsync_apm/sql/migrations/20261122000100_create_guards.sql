-- pre: schemas, roles and the procedures by which every later migration protects what it makes.
--
-- Every function says `set search_path = pg_catalog, pg_temp`. An empty path is not enough: PostgreSQL then looks for
-- names of types in the session's temporary schema first, and a caller's own type "timestamptz" with a CHECK would run
-- the caller's code with the definer's rights.

create schema if not exists apm_private;
create schema if not exists apm_partitions;
revoke all on schema apm_private, apm_partitions from public;

-- Roles belong to the cluster and may be there from another database of it.
do $$
declare
    wanted record;
begin
    for wanted in
        select * from (values
            ('apm_service', 'nologin'),   -- marks whoever acts for every organization
            ('apm_definer', 'nologin bypassrls'),
            ('apm_api', 'login noinherit'),
            ('apm_writer', 'login bypassrls'),
            ('apm_engine', 'login')
        ) as role (name, attributes)
    loop
        if not exists (select from pg_roles where rolname = wanted.name) then
            begin
                execute format('create role %I %s', wanted.name, wanted.attributes);
            exception when insufficient_privilege then
                -- Only a role that bypasses RLS may pass that on. Every policy below names these roles too.
                execute format('create role %I %s', wanted.name, replace(wanted.attributes, 'bypassrls', ''));
            end;
        end if;
    end loop;
end
$$;

-- The owner hands functions over to apm_definer, for which it must be able to become it.
do $$
begin
    if not pg_has_role(current_user, 'apm_definer', 'member')
        or not pg_has_role(current_user, 'apm_service', 'member') then
        execute format('grant apm_definer, apm_service to %I', current_user);
    end if;
    if (select current_setting('server_version_num')::int >= 160000
        and not (select rolsuper from pg_roles where rolname = current_user)) then
        execute format('grant apm_definer to %I with set true', current_user);
    end if;
end
$$;

grant anon, authenticated to apm_api;
grant apm_service to service_role, apm_engine, apm_writer;

alter role apm_api set statement_timeout = '5s';
alter role apm_api set idle_in_transaction_session_timeout = '30s';
alter role apm_api set lock_timeout = '2s';
alter role apm_writer set statement_timeout = '10s';
alter role apm_writer set idle_in_transaction_session_timeout = '10s';
alter role apm_writer set lock_timeout = '2s';
alter role apm_engine set statement_timeout = '30s';
alter role apm_engine set idle_in_transaction_session_timeout = '60s';
alter role apm_engine set lock_timeout = '2s';

grant usage on schema public to apm_api, apm_writer, apm_engine, apm_definer;
grant usage on schema apm_private to apm_api, apm_writer, apm_engine, apm_definer;

-- A label list that the host already has is accepted only if it is the same list.
create procedure apm_private.ensure_enum(name text, labels text[])
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    present text[];
begin
    select array_agg(enumlabel::text order by enumsortorder) into present
    from pg_catalog.pg_enum
    where enumtypid = to_regtype('public.' || quote_ident(ensure_enum.name));
    if present is null then
        execute format(
            'create type public.%I as enum (%s)',
            ensure_enum.name,
            (select string_agg(quote_literal(label), ', ') from unnest(ensure_enum.labels) as label)
        );
        -- so that the way back drops ours and leaves the host's
        execute format('comment on type public.%I is %L', ensure_enum.name, 'made by wedsync-apm');
    elsif present <> ensure_enum.labels then
        raise exception 'type public.% exists with the labels %, this product needs %',
            ensure_enum.name, present, ensure_enum.labels
            using errcode = 'AP001', hint = 'Rename the other type, or install into a database of its own.';
    end if;
end
$$;

-- The way back: a type that the host brought, or uses by now, stays.
create procedure apm_private.drop_enum(name text)
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    ours oid := to_regtype('public.' || quote_ident(drop_enum.name));
begin
    if obj_description(ours, 'pg_type') = 'made by wedsync-apm' then
        execute format('drop type public.%I', drop_enum.name);
    end if;
exception when dependent_objects_still_exist then
    raise notice 'type public.% is in use and stays', drop_enum.name;
end
$$;

-- A row stays with the tenant it was made for: a member of two could else carry rows from one to the other.
create function apm_private.keep_tenant() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    if new.organization_id is distinct from old.organization_id then
        raise exception 'a row of % cannot move to another organization', tg_table_name
            using errcode = 'AP002', constraint = tg_table_name || '_keep_tenant';
    end if;
    return new;
end
$$;

create function apm_private.touch_updated_at() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    new.updated_at := clock_timestamp();
    return new;
end
$$;

-- What every table of ours has: RLS on and forced, no right for anyone but those named afterwards
-- (Supabase's default privileges hand ALL, TRUNCATE included, to its three roles), one policy for the
-- services, and a tenant that never changes.
create procedure apm_private.protect_table(target regclass, keeps_tenant boolean default true)
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    table_name text := (select relname from pg_catalog.pg_class where oid = protect_table.target);
    has_tenant boolean := exists (
        select from pg_catalog.pg_attribute
        where attrelid = protect_table.target and attname = 'organization_id' and not attisdropped
    );
    has_updated_at boolean := exists (
        select from pg_catalog.pg_attribute
        where attrelid = protect_table.target and attname = 'updated_at' and not attisdropped
    );
    owned regclass;
begin
    execute format('alter table %s enable row level security', protect_table.target);
    execute format('alter table %s force row level security', protect_table.target);
    execute format('revoke all on %s from public, anon, authenticated, service_role', protect_table.target);
    -- setval() on an identity's sequence would stop every INSERT into the table
    for owned in
        select d.objid::regclass from pg_catalog.pg_depend as d
        join pg_catalog.pg_class as c on c.oid = d.objid and c.relkind = 'S'
        where d.refobjid = protect_table.target and d.deptype in ('a', 'i')
            and d.classid = 'pg_catalog.pg_class'::regclass
    loop
        execute format('revoke all on sequence %s from public, anon, authenticated, service_role', owned);
    end loop;
    execute format(
        'create policy %I on %s for all to apm_engine, apm_definer, service_role using (true) with check (true)',
        table_name || '_service_all', protect_table.target
    );
    execute format('grant select, insert, update, delete on %s to apm_engine, apm_definer, service_role',
        protect_table.target);
    if has_tenant and protect_table.keeps_tenant then
        execute format(
            'create trigger %I before update of organization_id on %s for each row execute function apm_private.keep_tenant()',
            table_name || '_keep_tenant', protect_table.target
        );
    end if;
    if has_updated_at then
        execute format(
            'create trigger %I before update on %s for each row execute function apm_private.touch_updated_at()',
            table_name || '_touch', protect_table.target
        );
    end if;
end
$$;

-- What people write themselves: every column but the bookkeeping and the kept ones. Nobody chooses a row's id, so
-- that no row passes for another one (but where a secret is sealed for the id before the row is there), and nobody
-- moves a row to another tenant.
create procedure apm_private.grant_writes(target regclass, kept text[] default '{}', chooses_id boolean default false)
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    insertable text;
    updatable text;
begin
    select
        string_agg(quote_ident(attname), ', ' order by attnum) filter (where attname <> 'id' or grant_writes.chooses_id),
        string_agg(quote_ident(attname), ', ' order by attnum) filter (where attname not in ('id', 'organization_id'))
    into insertable, updatable
    from pg_catalog.pg_attribute
    where attrelid = grant_writes.target and attnum > 0 and not attisdropped
        and attname <> all (array['created_at', 'updated_at'] || grant_writes.kept);
    execute format('grant insert (%s), update (%s), delete on %s to authenticated',
        insertable, updatable, grant_writes.target);
end
$$;

-- A SECURITY DEFINER function belongs to apm_definer, and nobody may call it but those granted afterwards.
create procedure apm_private.hand_over(target regprocedure)
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    schema_name text := (
        select n.nspname from pg_catalog.pg_proc as p
        join pg_catalog.pg_namespace as n on n.oid = p.pronamespace
        where p.oid = hand_over.target
    );
    could_create boolean := has_schema_privilege('apm_definer', schema_name, 'create');
begin
    execute format('revoke all on function %s from public, anon, authenticated, service_role', hand_over.target);
    -- The new owner must be able to create in the schema at that moment, and at no other.
    if not could_create then
        execute format('grant create on schema %I to apm_definer', schema_name);
    end if;
    execute format('alter function %s owner to apm_definer', hand_over.target);
    if not could_create then
        execute format('revoke create on schema %I from apm_definer', schema_name);
    end if;
end
$$;

-- The caller's claims. A pooler leaves '' where a transaction before set them: that is nobody, not an error.
create function apm_private.claims() returns jsonb
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select nullif(current_setting('request.jwt.claims', true), '')::jsonb
$$;

create function apm_private.caller_id() returns uuid
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select nullif(apm_private.claims() ->> 'sub', '')::uuid
$$;

-- True for the engine, the writer, service_role and administrators: they act for every organization.
-- Inside a SECURITY DEFINER function current_user is the definer, so the role set by the caller decides.
create function apm_private.is_service() returns boolean
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select pg_has_role(
        coalesce(nullif(nullif(current_setting('role', true), 'none'), ''), session_user),
        'apm_service', 'member'
    )
$$;

revoke all on all functions in schema apm_private from public, anon, authenticated, service_role;
revoke all on all procedures in schema apm_private from public, anon, authenticated, service_role;
grant execute on function apm_private.claims(), apm_private.caller_id(), apm_private.is_service()
    to apm_definer, apm_engine, apm_api;
