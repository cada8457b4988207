-- read_rollups_from_15 [apm_engine] --
-- How long the slice of each width that is furthest behind was not looked at, and samples that nobody has rolled up at all.
select
    (split_part(c.name, ' ', 2)::int * interval '1 second')::text as subject,
    extract(epoch from clock_timestamp() - min(c.updated_at))::float8
        / case split_part(c.name, ' ', 2) when '60' then 60 when '300' then 300 when '3600' then 900 else 3600 end as figure,
    min(c.updated_at) as looked_at
from apm_private.cursors as c
where starts_with(c.name, 'rollup ')
group by split_part(c.name, ' ', 2)
union all
select 'samples before any rollup', extract(epoch from clock_timestamp() - min(f.flushed_at))::float8 / 3600, min(f.flushed_at)
from apm_private.flushes as f
where not exists (select from apm_private.cursors as c where starts_with(c.name, 'rollup '))
having count(*) > 0
order by figure desc
