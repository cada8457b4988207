-- read_growth_from_15 [apm_engine] --
-- In how many days the disk is full, if the database grows as it did over the last week.
select
    'the disk' as subject,
    case when l.disk_free_bytes is null then null
        else least(round((l.disk_free_bytes / greatest(g.bytes_a_day, 1))::numeric, 1), 36500) end::float8 as figure,
    'the size of the database''s disk is not known: WEDSYNC_APM_DATABASE_DISK_GB names it' as why,
    g.bytes_a_day::bigint as bytes_a_day,
    l.database_bytes,
    l.disk_free_bytes,
    case when l.disk_free_bytes / greatest(g.bytes_a_day, 1) < 36500
        then (l.measured_at + l.disk_free_bytes / greatest(g.bytes_a_day, 1) * interval '1 day')::date end as full_on
from (select * from apm_private.health_sizes order by measured_at desc limit 1) as l
join (
    select * from apm_private.health_sizes where measured_at > clock_timestamp() - interval '7 days' order by measured_at limit 1
) as f on f.measured_at < l.measured_at - interval '55 minutes'
cross join lateral (
    select (l.database_bytes - f.database_bytes) / (extract(epoch from l.measured_at - f.measured_at)::float8 / 86400) as bytes_a_day
) as g
