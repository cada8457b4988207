-- read_bloat_from_15 [apm_engine] --
-- Tables of ours over 10 MiB, and how much of them their rows do not need, by the planner's statistics: an estimate.
select
    n.nspname || '.' || c.relname as subject,
    case when w.row_bytes is not null then round(greatest(100 - 100 * greatest(c.reltuples, 0) * (w.row_bytes + 28) / (c.relpages * 8192.0), 0)::numeric, 1) end::float8 as figure,
    'the planner''s statistics are hidden from us, or it has none yet' as why,
    c.relpages::bigint * 8192 as table_bytes,
    c.reltuples::bigint as estimated_rows
from pg_class as c
join pg_namespace as n on n.oid = c.relnamespace
left join apm_private.read_row_widths() as w on w.relation = c.oid
where c.relkind = 'r' and not c.relispartition and c.relpages > 1280
    and (
        n.nspname = 'apm_private'
        or (n.nspname = 'public' and (starts_with(c.relname, 'apm_') or c.relname = 'service_health_checks'))
    )
order by figure desc nulls last
