-- read_wal_from_15 [apm_engine] --
-- What lies in the log's folder, of what it may hold by max_wal_size and wal_keep_size.
select
    'the log' as subject,
    round(100.0 * d.bytes / (pg_size_bytes(current_setting('max_wal_size')) + pg_size_bytes(current_setting('wal_keep_size'))), 1)::float8
        as figure,
    d.bytes,
    d.files,
    w.wal_bytes as written_bytes,
    w.wal_fpi as full_pages,
    w.wal_buffers_full,
    w.stats_reset
from (select sum(f.size)::bigint as bytes, count(*) as files from pg_ls_waldir() as f) as d
cross join pg_stat_wal as w
