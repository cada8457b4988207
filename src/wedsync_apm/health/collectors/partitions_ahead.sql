-- read_partitions_ahead_from_15 [apm_engine] --
-- For how many days ahead each of our partitioned tables has partitions.
select
    p.relname::text as subject,
    round((extract(epoch from max(b.upper_end) - clock_timestamp()) / 86400)::numeric, 2)::float8 as figure,
    count(*) as partitions,
    max(b.upper_end) as until
from pg_class as p
join pg_inherits as i on i.inhparent = p.oid
join pg_class as c on c.oid = i.inhrelid
cross join lateral (
    select (regexp_match(pg_get_expr(c.relpartbound, c.oid), 'TO \(''([^'']+)''\)'))[1]::timestamptz as upper_end
) as b
where p.relkind = 'p' and p.relnamespace = 'public'::regnamespace and starts_with(p.relname, 'apm_') and b.upper_end is not null
group by p.relname
order by figure
