-- read_database_figures [apm_engine] --
-- PostgreSQL about itself, one row of numbers; each exists in every supported version.
select
    (select count(*) from pg_stat_activity where backend_type = 'client backend')::float8 as connections,
    (select count(*) from pg_stat_activity where backend_type = 'client backend' and state = 'active')::float8 as active_connections,
    100.0 * (select count(*) from pg_stat_activity where backend_type = 'client backend')
        / current_setting('max_connections')::float8 as connections_percent,
    coalesce(
        (select extract(epoch from now() - min(xact_start)) from pg_stat_activity where xact_start is not null and pid <> pg_backend_pid()), 0
    )::float8 as oldest_transaction_seconds,
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
    age(b.datfrozenxid)::float8 as transaction_id_age
from pg_stat_database as d
join pg_database as b on b.oid = d.datid
where d.datname = current_database()
