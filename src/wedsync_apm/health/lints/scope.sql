own_relations as (
    select c.oid, n.nspname::text as schema_name, c.relname::text as name, c.relkind, c.relispartition, c.relrowsecurity,
        c.relforcerowsecurity, c.relacl, c.relowner, c.reloptions,
        format(
            '%s %s.%s', case c.relkind when 'v' then 'view' when 'm' then 'view' when 'S' then 'sequence' else 'table' end,
            n.nspname, c.relname
        ) as object
    from pg_class as c
    join pg_namespace as n on n.oid = c.relnamespace
    where c.relkind in ('r', 'p', 'v', 'm', 'S', 'f')
        and (
            n.nspname in ('apm_private', 'apm_partitions')
            or (n.nspname = 'public' and (starts_with(c.relname, 'apm_') or c.relname = 'service_health_checks'))
        )
),
own_functions as (
    select p.oid, n.nspname::text as schema_name, p.proname::text as name, p.prosecdef, p.proconfig, p.proacl, p.proowner,
        'function ' || p.oid::regprocedure::text as object
    from pg_proc as p
    join pg_namespace as n on n.oid = p.pronamespace
    where n.nspname in ('apm_private', 'apm_partitions')
        or (n.nspname = 'public' and (
            starts_with(p.proname, 'apm_')
            or p.proname in ('is_wedding_day', 'wedding_window_at', 'create_incident_from_alert', 'aggregate_metrics')
        ))
)
