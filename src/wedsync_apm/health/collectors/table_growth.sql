-- read_table_growth_from_15 [apm_engine] --
-- What each table takes, how much of it is indexes, and how it grew over the last week.
select
    t.key as subject,
    round(((t.value ->> 0)::numeric + (t.value ->> 1)::numeric) / 1048576, 2)::float8 as figure,
    round(100 * (t.value ->> 1)::numeric / greatest((t.value ->> 0)::numeric + (t.value ->> 1)::numeric, 1), 1)::float8 as index_percent,
    case when f.measured_at < l.measured_at - interval '55 minutes' then round((
        ((t.value ->> 0)::numeric - coalesce((f.sizes -> t.key ->> 0)::numeric, 0))
        / (extract(epoch from l.measured_at - f.measured_at) / 86400)
    ) / 1048576, 2) end::float8 as table_mib_a_day,
    case when f.measured_at < l.measured_at - interval '55 minutes' then round((
        ((t.value ->> 1)::numeric - coalesce((f.sizes -> t.key ->> 1)::numeric, 0))
        / (extract(epoch from l.measured_at - f.measured_at) / 86400)
    ) / 1048576, 2) end::float8 as index_mib_a_day
from (select * from apm_private.health_sizes order by measured_at desc limit 1) as l
cross join (
    select * from apm_private.health_sizes where measured_at > clock_timestamp() - interval '7 days' order by measured_at limit 1
) as f
cross join jsonb_each(l.sizes) as t
order by figure desc
