-- read_dead_rows_from_15 [apm_engine] --
-- Tables of ours with more than 10,000 dead rows, and their share.
select
    s.schemaname || '.' || s.relname as subject,
    round(100.0 * s.n_dead_tup / (s.n_live_tup + s.n_dead_tup), 1)::float8 as figure,
    s.n_live_tup as live_rows,
    s.n_dead_tup as dead_rows,
    s.last_autovacuum,
    s.last_vacuum
from pg_stat_all_tables as s
where s.n_dead_tup > 10000
    and (
        s.schemaname in ('apm_private', 'apm_partitions')
        or (s.schemaname = 'public' and (starts_with(s.relname, 'apm_') or s.relname = 'service_health_checks'))
    )
order by figure desc
