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

-- list_expired [apm_engine] --
-- Who has anything past a term of his, and past which: of rollups of a width, or, where that is null, of samples.
select t.organization_id, t.width, t.before
from (
    select o.organization_id, l.width, least(coalesce(l.own, l.usual), %(most)s::int) as days,
        %(at)s::timestamptz - least(coalesce(l.own, l.usual), %(most)s::int) * interval '24 hours' as before
    from apm_private.host_organizations(null) as o
    left join public.apm_retention as r on r.organization_id = o.organization_id
    cross join lateral (
        values (null::interval, r.raw_days, %(raw)s::int),
            ('1 minute', r.minute_days, %(minute)s::int),
            ('5 minutes', r.five_minutes_days, %(five_minutes)s::int),
            ('1 hour', r.hour_days, %(hour)s::int),
            ('1 day', r.day_days, %(day)s::int)
    ) as l (width, own, usual)
) as t
where case
    -- what is past the longest term of all goes with its partition
    when t.width is null then t.days < %(longest_raw)s::int and exists (
        select from public.apm_metrics as m
        where m.organization_id = t.organization_id and m."timestamp" < t.before and m.ends_at < t.before
    )
    else exists (
        select from public.apm_metric_aggregations as a
        where a.organization_id = t.organization_id and a.bucket_width = t.width and a.time_bucket < t.before
    )
end
order by t.organization_id
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
-- Series that nothing is kept of any more: no sample came for longer than the longest of their organization's terms.
delete from public.apm_series as s
using (
    select o.organization_id,
        least(
            greatest(
                coalesce(r.raw_days, %(raw)s::int), coalesce(r.minute_days, %(minute)s::int),
                coalesce(r.five_minutes_days, %(five_minutes)s::int), coalesce(r.hour_days, %(hour)s::int),
                coalesce(r.day_days, %(day)s::int)
            ),
            %(most)s::int
        ) as days
    from apm_private.host_organizations(null) as o
    left join public.apm_retention as r on r.organization_id = o.organization_id
) as t
where s.organization_id = t.organization_id
    and s.last_seen_at < %(at)s::timestamptz - t.days * interval '24 hours'
