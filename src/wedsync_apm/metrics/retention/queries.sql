-- Retention. An organization's own terms come before the platform's, and neither is longer than the platform allows.

-- find_longest_terms [apm_engine] --
-- The longest term of anybody, for samples and for rollups: what is older may go as a whole.
select greatest(max(least(r.raw_days, %(most)s::int)), %(raw)s::int) as raw,
    greatest(
        max(least(greatest(r.minute_days, r.five_minutes_days, r.hour_days, r.day_days), %(most)s::int)), %(rollups)s::int
    ) as rollups
from public.apm_retention as r

-- drop_partitions [apm_engine] --
-- The partitions that are past everybody's term.
select apm_private.drop_partitions(%(blocks_before)s::timestamptz, %(rollups_before)s::timestamptz) as dropped

-- shrink_partitions [apm_engine] --
-- What compaction has emptied.
select apm_private.shrink_partitions() as shrunk

-- list_terms [apm_engine] --
-- The terms of the next organizations in the order of their ids.
select o.organization_id,
    least(coalesce(r.raw_days, %(raw)s::int), %(most)s::int) as raw,
    least(coalesce(r.minute_days, %(minute)s::int), %(most)s::int) as minute,
    least(coalesce(r.five_minutes_days, %(five_minutes)s::int), %(most)s::int) as five_minutes,
    least(coalesce(r.hour_days, %(hour)s::int), %(most)s::int) as hour,
    least(coalesce(r.day_days, %(day)s::int), %(most)s::int) as day
from apm_private.host_organizations(null) as o
left join public.apm_retention as r on r.organization_id = o.organization_id
where o.organization_id > %(after)s::uuid
order by o.organization_id
limit %(limit)s::int

-- delete_blocks [apm_engine] --
-- An organization's oldest rows past its term, so many at a time; a row goes when all of it is past.
delete from public.apm_metrics as b
using (
    select m.tableoid as part, m.ctid as place
    from public.apm_metrics as m
    where m.organization_id = %(organization_id)s::uuid
        and m."timestamp" < %(before)s::timestamptz
        and m.ends_at < %(before)s::timestamptz
    order by m."timestamp"
    limit %(limit)s::int
) as old
where b.organization_id = %(organization_id)s::uuid
    and b."timestamp" < %(before)s::timestamptz
    and b.tableoid = old.part and b.ctid = old.place

-- delete_rollups [apm_engine] --
-- An organization's oldest rollups of one width past their term, so many at a time.
delete from public.apm_metric_aggregations as a
using (
    select m.bucket_width, m.time_bucket
    from public.apm_metric_aggregations as m
    where m.organization_id = %(organization_id)s::uuid
        and m.bucket_width = %(width)s::interval
        and m.time_bucket < %(before)s::timestamptz
    order by m.time_bucket
    limit %(limit)s::int
) as old
where a.organization_id = %(organization_id)s::uuid
    and a.bucket_width = old.bucket_width and a.time_bucket = old.time_bucket
    and a.time_bucket < %(before)s::timestamptz

-- delete_series [apm_engine] --
-- Series that nothing is kept of any more: no sample came for longer than the longest of their terms.
delete from public.apm_series as s
where s.organization_id = %(organization_id)s::uuid and s.last_seen_at < %(before)s::timestamptz
