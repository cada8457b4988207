-- read_statement_snapshot_from_15 [apm_engine] --
-- What each statement of this database has cost so far: the dearest thousand, which slow_statements begins from.
select
    (select i.stats_reset from pg_stat_statements_info as i) as reset_at,
    coalesce(array_agg(s.userid), '{}') as user_ids,
    coalesce(array_agg(s.queryid), '{}') as query_ids,
    coalesce(array_agg(s.toplevel), '{}') as toplevels,
    coalesce(array_agg(s.calls), '{}') as calls,
    coalesce(array_agg(s.total_exec_time), '{}') as total_ms
from (
    select * from pg_stat_statements as p
    where p.dbid = (select oid from pg_database where datname = current_database())
    order by p.total_exec_time desc
    limit 1000
) as s
