-- read_bloat_from_15 [apm_engine] --
-- Tables of ours over 10 MiB, and how much of them their rows do not need, by the planner's statistics: an estimate.
select
    n.nspname || '.' || c.relname as subject,
    round(greatest(100 - 100 * c.reltuples * (w.bytes + 28) / (c.relpages * 8192.0), 0)::numeric, 1)::float8 as figure,
    c.relpages::bigint * 8192 as table_bytes,
    c.reltuples::bigint as estimated_rows
from pg_class as c
join pg_namespace as n on n.oid = c.relnamespace
cross join lateral (
    select sum(a.avg_width * (1 - a.null_frac)) as bytes from pg_stats as a
    where a.schemaname = n.nspname and a.tablename = c.relname
) as w
where c.relkind = 'r' and not c.relispartition and c.relpages > 1280 and c.reltuples >= 0 and w.bytes is not null
    and (
        n.nspname = 'apm_private'
        or (n.nspname = 'public' and (starts_with(c.relname, 'apm_') or c.relname = 'service_health_checks'))
    )
order by figure desc
