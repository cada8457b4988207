-- enter_tenant [apm_api] --
-- Makes the rest of the transaction run as the caller; both settings end with the transaction.
select
    set_config('request.jwt.claims', %(claims)s::text, true),
    set_config('role', %(role)s::text, true)

-- find_database [owner] --
-- Whether the embedded server has our database already.
select datname
from pg_database
where datname = %(name)s::text

-- take_migration_lock [owner] --
-- One runner at a time; held to the end of the transaction, so a pooler cannot lose it.
select pg_advisory_xact_lock(hashtextextended('wedsync-apm migrations', 0))

-- set_file_limits [owner] --
-- How long one statement of a migration may wait and run; a long lock would stop the product.
select
    set_config('lock_timeout', %(lock_timeout)s::text, true),
    set_config('statement_timeout', %(statement_timeout)s::text, true)

-- has_bookkeeping [owner] --
-- Whether a runner has ever been here, and whether Supabase's command line has.
select
    to_regclass('apm_private.migrations') is not null as ours,
    to_regclass('supabase_migrations.schema_migrations') is not null as supabase

-- list_applied_migrations [owner] --
-- What stands in the bookkeeping.
select version, name, checksum, applied_at, execution_ms
from apm_private.migrations
order by version

-- record_migration [owner] --
-- Written in the transaction of the file itself, so that one is never there without the other.
insert into apm_private.migrations (version, name, checksum, execution_ms)
values (%(version)s::text, %(name)s::text, %(checksum)s::text, %(execution_ms)s::int)

-- forget_migration [owner] --
-- The same for the way down.
delete from apm_private.migrations
where version = %(version)s::text

-- list_fingerprints [owner] --
-- The schema as the last migration left it.
select object, definition
from apm_private.schema_fingerprints
order by object

-- update_fingerprints [owner] --
-- Takes lines out, and puts in what is new or has changed.
with removed as (
    delete from apm_private.schema_fingerprints
    where object = any (%(gone)s::text[])
)
insert into apm_private.schema_fingerprints (object, definition)
select object, definition
from unnest(%(objects)s::text[], %(definitions)s::text[]) as line (object, definition)
on conflict (object) do update
set definition = excluded.definition, recorded_at = default

-- use_search_path [owner] --
-- With an empty path PostgreSQL prints every name in full, whoever asks; gives back the former one.
with before as materialized (
    select current_setting('search_path') as path
)
select before.path, set_config('search_path', %(path)s::text, true)
from before

-- list_existing [owner] --
-- Which of the given objects are in the database: what a migration is about to create must not be.
select wanted.object
from unnest(%(objects)s::text[]) as wanted (object)
cross join lateral (
    select
        split_part(wanted.object, ' ', 1) as kind,
        split_part(split_part(wanted.object, ' ', 2), '.', 1) as schema_name,
        split_part(split_part(wanted.object, ' ', 2), '.', 2) as name,
        split_part(wanted.object, ' on ', 2) as table_name
) as part
where
    case part.kind
        when 'relation' then exists (
            select from pg_class
            where relname = part.name and relnamespace = to_regnamespace(part.schema_name)
        )
        when 'function' then exists (
            select from pg_proc
            where proname = part.name and pronamespace = to_regnamespace(part.schema_name)
        )
        when 'type' then exists (
            select from pg_type
            where typname = part.name and typnamespace = to_regnamespace(part.schema_name)
        )
        when 'policy' then exists (
            select from pg_policy
            where polname = part.name and polrelid = to_regclass(part.table_name)
        )
        when 'trigger' then exists (
            select from pg_trigger
            where tgname = part.name and tgrelid = to_regclass(part.table_name)
        )
    end
order by wanted.object

-- list_enums [owner] --
-- The labels of every enum in public: one of ours may be there already if it is the same.
select pg_type.typname as name, array_agg(enumlabel::text order by enumsortorder) as labels
from pg_enum
join pg_type on pg_type.oid = enumtypid
where typnamespace = 'public'::regnamespace
group by pg_type.typname

-- take_fingerprint [owner] --
-- Everything of ours in the catalogue, one line an object, in words that compare: what `verify` looks at.
with relations as (
    select
        pg_class.*,
        nspname || '.' || relname as full_name
    from pg_class
    join pg_namespace on pg_namespace.oid = relnamespace
    where not relispartition
        and relkind in ('r', 'p', 'v', 'm', 'S', 'f')
        and (
            nspname in ('apm_private', 'apm_partitions')
            or (nspname = 'public' and (relname ~ '^apm_' or relname = 'service_health_checks'))
        )
),
lines as (
    select
        case relkind when 'v' then 'view ' when 'm' then 'view ' when 'S' then 'sequence ' else 'table ' end
            || full_name as object,
        concat_ws(
            E'\n',
            'kind ' || relkind::text,
            'owner ' || pg_get_userbyid(relowner),
            case when relkind in ('r', 'p') then 'rls ' || relrowsecurity || ' forced ' || relforcerowsecurity end,
            'options ' || array_to_string(reloptions, ' '),
            'partition by ' || pg_get_partkeydef(oid),
            case when relkind in ('v', 'm') then pg_get_viewdef(oid) end,
            'grants ' || (
                select string_agg(
                    pg_get_userbyid(grantee) || '=' || privilege_type || case when is_grantable then '*' else '' end,
                    ' ' order by grantee = 0, pg_get_userbyid(grantee), privilege_type
                )
                from aclexplode(
                    coalesce(relacl, acldefault(case relkind when 'S' then 's' else 'r' end::"char", relowner))
                )
            )
        ) as definition
    from relations

    union all

    select
        'column ' || full_name || '.' || attname,
        concat_ws(
            ' ',
            format_type(atttypid, atttypmod),
            case when attnotnull then 'not null' end,
            'default ' || pg_get_expr(adbin, adrelid),
            nullif('identity ' || attidentity::text, 'identity '),
            nullif('generated ' || attgenerated::text, 'generated '),
            'grants ' || attacl::text
        )
    from relations
    join pg_attribute on attrelid = relations.oid and attnum > 0 and not attisdropped
    left join pg_attrdef on adrelid = attrelid and adnum = attnum
    where relkind in ('r', 'p', 'v', 'm', 'f')

    union all

    select
        'constraint ' || full_name || '.' || conname,
        pg_get_constraintdef(pg_constraint.oid) || case when convalidated then '' else ' not validated' end
    from relations
    join pg_constraint on conrelid = relations.oid

    union all

    select
        'index ' || index_class.relnamespace::regnamespace::text || '.' || index_class.relname,
        pg_get_indexdef(indexrelid) || case when indisvalid then '' else ' invalid' end
    from relations
    join pg_index on indrelid = relations.oid
    join pg_class as index_class on index_class.oid = indexrelid

    union all

    select
        'policy ' || polrelid::regclass::text || '.' || polname,
        concat_ws(
            ' ',
            case when polpermissive then 'permissive' else 'restrictive' end,
            'for ' || polcmd::text,
            'to ' || (
                select string_agg(case member when 0 then 'public' else pg_get_userbyid(member) end, ', ' order by member)
                from unnest(polroles) as member
            ),
            'using ' || pg_get_expr(polqual, polrelid),
            'with check ' || pg_get_expr(polwithcheck, polrelid)
        )
    from pg_policy
    where polrelid in (select oid from relations)
        or polname || ' on ' || polrelid::regclass::text = any (%(attached)s::text[])

    union all

    select
        'trigger ' || tgrelid::regclass::text || '.' || tgname,
        pg_get_triggerdef(oid) || ' enabled ' || tgenabled::text
    from pg_trigger
    where not tgisinternal
        and (
            tgrelid in (select oid from relations)
            or tgname || ' on ' || tgrelid::regclass::text = any (%(attached)s::text[])
        )

    union all

    select
        'function ' || pg_proc.oid::regprocedure::text,
        concat_ws(
            E'\n',
            pg_get_functiondef(pg_proc.oid),
            'owner ' || pg_get_userbyid(proowner),
            'grants ' || (
                select string_agg(
                    case grantee when 0 then 'public' else pg_get_userbyid(grantee) end || '=' || privilege_type,
                    ' ' order by grantee = 0, pg_get_userbyid(grantee), privilege_type
                )
                from aclexplode(coalesce(proacl, acldefault('f', proowner)))
            )
        )
    from pg_proc
    join pg_namespace on pg_namespace.oid = pronamespace
    where prokind in ('f', 'p', 'w')
        and (
            nspname = 'apm_private'
            or nspname || '.' || proname = any (%(functions)s::text[])
        )

    union all

    select
        'type ' || pg_type.oid::regtype::text,
        string_agg(enumlabel, ', ' order by enumsortorder)
    from pg_type
    join pg_namespace on pg_namespace.oid = typnamespace
    join pg_enum on enumtypid = pg_type.oid
    where nspname = 'apm_private' or nspname || '.' || typname = any (%(types)s::text[])
    group by pg_type.oid

    union all

    select
        'schema ' || nspname,
        concat_ws(' ', 'owner', pg_get_userbyid(nspowner), 'grants', nspacl::text)
    from pg_namespace
    where nspname in ('apm_private', 'apm_partitions')
)
select object, definition
from lines
order by object

-- lacks_bookkeeping_readers [owner] --
-- Whether the processes may not yet read what was applied; without their roles there is nothing to do.
select
    to_regrole('apm_api') is not null
    and (
        select count(*)
        from pg_policy
        where polrelid in (to_regclass('apm_private.migrations'), to_regclass('apm_private.schema_fingerprints'))
            and polname in ('migrations_services_select', 'schema_fingerprints_services_select')
    ) < 2 as lacks

-- list_migration_versions [apm_api] --
-- For the ready page: which versions the database has.
select version, checksum
from apm_private.migrations

-- find_backend [apm_writer] --
-- The server process that runs this: a pooler tells its clients another number.
select pg_backend_pid() as pid
