-- read_database_figures [apm_engine] --
-- PostgreSQL about itself, one row of numbers; each exists in every supported version.
select
    a.used::float8 as connections,
    a.active::float8 as active_connections,
    100.0 * a.used / a.allowed as connections_percent,
    a.oldest_transaction_seconds,
    a.hidden::float8 as hidden_sessions,
    d.xact_commit::float8 as commits_total,
    d.xact_rollback::float8 as rollbacks_total,
    d.blks_read::float8 as blocks_read_total,
    d.blks_hit::float8 as blocks_hit_total,
    (100.0 * d.blks_hit / nullif(d.blks_hit + d.blks_read, 0))::float8 as cache_hit_percent,
    d.tup_inserted::float8 as rows_inserted_total,
    d.deadlocks::float8 as deadlocks_total,
    d.temp_bytes::float8 as temp_bytes_total,
    pg_database_size(d.datid)::float8 as database_bytes,
    (select wal_bytes from pg_stat_wal)::float8 as wal_bytes_total,
    (select count(*) from pg_locks where not granted)::float8 as waiting_locks,
    age(b.datfrozenxid)::float8 as transaction_id_age,
    -- nothing, where no backups are made
    (
        select max(extract(epoch from now() - coalesce(k.kept_until, k.failing_since)))::float8
        from apm_private.backup_archives as k where k.looked_at > now() - interval '1 day'
    ) as archive_lag_seconds,
    (
        select extract(epoch from now() - max(k.finished_at))::float8
        from apm_private.backups as k where k.removed_at is null
    ) as backup_age_seconds
from pg_stat_database as d
join pg_database as b on b.oid = d.datid
cross join apm_private.read_activity() as a
where d.datname = current_database()

-- list_health_figures [apm_engine] --
-- What the health report found last: each line's number, whether it is red, and how long ago it was looked at.
select l.key, l.figure, (l.outcome = 'failed')::int::float8 as is_red, (l.outcome = 'unknown')::int::float8 as is_unknown,
    extract(epoch from clock_timestamp() - l.measured_at)::float8 as seconds_ago
from apm_private.health_lines as l
order by l.position
