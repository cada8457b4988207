-- read_slow_statements_from_15 [apm_engine] --
-- What the statements of this database cost since a snapshot of at most a day ago; the statistics are never reset. A mean
-- counts from 20 calls on. An entry with fewer calls than before was thrown out and came back: all of it is new.
with base as (
    select * from apm_private.statement_snapshots as b
    where b.taken_at > clock_timestamp() - interval '1 day' and b.reset_at = (select stats_reset from pg_stat_statements_info)
    order by b.taken_at
    limit 1
),
former as (
    select u.*
    from base as b
    cross join unnest(b.user_ids, b.query_ids, b.toplevels, b.calls, b.total_ms) as u (user_id, query_id, toplevel, calls, total_ms)
),
cost as (
    select s.userid, s.queryid, s.toplevel, s.query, s.shared_blks_read, s.temp_blks_written, s.wal_bytes,
        s.calls - case when f.calls <= s.calls then f.calls else 0 end as calls,
        s.total_exec_time - case when f.calls <= s.calls then f.total_ms else 0 end as total_ms
    from pg_stat_statements as s
    left join former as f on f.user_id = s.userid and f.query_id = s.queryid and f.toplevel = s.toplevel
    where s.dbid = (select oid from pg_database where datname = current_database())
)
select
    left(regexp_replace(c.query, '\s+', ' ', 'g'), 80) as subject,
    case when c.calls >= 20 then round((c.total_ms / c.calls)::numeric, 2) else 0 end::float8 as figure,
    c.calls,
    round(c.total_ms::numeric, 1)::float8 as total_ms,
    round((100 * c.total_ms / greatest(sum(c.total_ms) over (), 1))::numeric, 1)::float8 as percent_of_all,
    pg_get_userbyid(c.userid)::text as role,
    c.queryid::text as query_id,
    c.shared_blks_read as blocks_read,
    c.temp_blks_written as temporary_blocks,
    c.wal_bytes::bigint as wal_bytes,
    array(
        select distinct lower(m[1])
        from regexp_matches(c.query, '\m(?:from|join|into|update|only)\s+((?:[a-z_]+\.)?(?:apm_[a-z0-9_]+|[a-z_]*health_checks))', 'gi') as m
        order by 1
    ) as tables,
    coalesce((select b.taken_at from base as b), (select stats_reset from pg_stat_statements_info)) as since
from cost as c
where c.calls > 0 and c.query !~* '^\s*(begin|commit|rollback|savepoint|release|set|show|discard|vacuum|analyze|create|alter|drop|copy|checkpoint)\M'
order by c.calls >= 20 and c.total_ms / c.calls > 250 desc, c.total_ms desc
limit 20
