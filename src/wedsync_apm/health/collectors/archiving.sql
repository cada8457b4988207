-- read_archiving_from_15 [apm_engine] --
-- Where the log is archived: for how long that has failed.
select
    'the archive' as subject,
    case when a.last_failed_time > coalesce(a.last_archived_time, '-infinity')
        then extract(epoch from clock_timestamp() - coalesce(a.last_archived_time, a.stats_reset)) else 0 end::float8 as figure,
    a.archived_count,
    a.failed_count,
    a.last_archived_time,
    a.last_failed_wal
from pg_stat_archiver as a
where current_setting('archive_mode') <> 'off'
