-- list_metrics --
-- The catalogue: an organization's metrics by service and name, with how many series each has.
select
    s.service_name,
    s.metric_name,
    min(s.metric_type::text) as metric_type,
    min(s.unit) as unit,
    count(*) as series_count,
    max(s.created_at) as newest_series_at
from public.apm_series as s
where s.organization_id = %(organization_id)s::uuid
    and (s.service_name, s.metric_name) > (%(after_service)s::text, %(after_metric)s::text)
    and (%(search)s::text is null or position(lower(%(search)s) in lower(s.service_name || '.' || s.metric_name)) > 0)
group by s.service_name, s.metric_name
order by s.service_name, s.metric_name
limit %(limit)s::int

-- find_series --
-- The series of a metric whose tags include the given ones; the name is given as every split of "service.metric".
select s.id, s.service_name, s.metric_name, s.metric_type::text as metric_type, s.unit, s.tags, s.ended_at
from public.apm_series as s
join unnest(%(service_names)s::text[], %(metric_names)s::text[]) as n (service_name, metric_name)
    on s.service_name = n.service_name and s.metric_name = n.metric_name
where s.organization_id = %(organization_id)s::uuid
    and s.tags @> %(tags)s::text::jsonb
order by s.service_name, s.metric_name, s.tags, s.id
limit %(limit)s::int

-- list_latest_samples --
-- The newest sample of each of the series since a moment.
select distinct on (s.series_id)
    s.series_id, s.metric_value as value, extract(epoch from s."timestamp")::float8 as unix_s, s.wedding_context
from public.apm_samples_between(%(from)s::timestamptz, %(to)s::timestamptz) as s
where s.organization_id = %(organization_id)s::uuid and s.series_id = any (%(series_ids)s::int[])
order by s.series_id, s."timestamp" desc

-- find_terms --
-- How many days an organization keeps each level, where it said so itself.
select r.raw_days as "raw", r.minute_days as "1m", r.five_minutes_days as "5m", r.hour_days as "1h", r.day_days as "1d"
from public.apm_retention as r
where r.organization_id = %(organization_id)s::uuid

-- list_unrolled_stretches --
-- The stretches of [from, to) of which the rollups of a width do not know everything yet.
select (extract(epoch from u.starts) * 1000)::bigint as starts_ms, (extract(epoch from u.ends) * 1000)::bigint as ends_ms
from public.apm_unrolled_between(
    %(organization_id)s::uuid, %(width)s::interval, %(from)s::timestamptz, %(to)s::timestamptz
) as u
order by u.starts

-- list_rollups --
-- The rollups of one width, with the figures that are needed. Those from before there were increases say only where
-- a counter stood at their end.
select
    (extract(epoch from a.time_bucket) * 1000)::bigint as at_ms,
    a.series_ids,
    case when 'counts' = any (%(figures)s::text[]) then a.sample_counts end as counts,
    case when 'sums' = any (%(figures)s::text[]) then a.sum_values end as sums,
    case when 'minima' = any (%(figures)s::text[]) then a.min_values end as minima,
    case when 'maxima' = any (%(figures)s::text[]) then a.max_values end as maxima,
    case when 'firsts' = any (%(figures)s::text[]) then coalesce(a.first_values, a.last_values) end as firsts,
    case when 'lasts' = any (%(figures)s::text[]) then a.last_values end as lasts,
    case when 'increases' = any (%(figures)s::text[]) then
        coalesce(a.increases, array_fill(0::float8, array[cardinality(a.series_ids)]))
    end as increases,
    case when 'sketches' = any (%(figures)s::text[]) then a.sketches end as sketches
from public.apm_metric_aggregations as a
where a.organization_id = %(organization_id)s::uuid
    and a.bucket_width = %(width)s::interval
    and a.time_bucket >= %(from)s::timestamptz
    and a.time_bucket < %(to)s::timestamptz

-- fill_rollups [apm_engine] --
-- Fills the buckets of one width that new or late samples have touched; gives back how many were written.
select public.aggregate_metrics(%(bucket)s::interval) as written

-- list_refusals --
-- What was not taken, by day, source and reason, the newest first.
select r.day, r.source, r.reason, r.refused_count, r.example, r.last_at
from public.apm_refusals as r
where r.organization_id = %(organization_id)s::uuid and r.day >= %(since)s::date
order by r.last_at desc, r.source, r.reason
limit %(limit)s::int
