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
-- The series that questions ask for: of a metric, given as every split of "service.metric", with tags that include others.
select f.question, f.id, f.service_name, f.metric_name, f.metric_type, f.unit, f.tags, f.ended_at
from (
    select w.question, s.id, s.service_name, s.metric_name, s.metric_type::text as metric_type, s.unit, s.tags, s.ended_at,
        row_number() over (
            partition by w.question order by s.service_name, s.metric_name, s.tags, s.id
        ) as place
    from unnest(
        %(questions)s::int[], %(service_names)s::text[], %(metric_names)s::text[], %(tags)s::text[]
    ) as w (question, service_name, metric_name, tags)
    join public.apm_series as s
        on s.service_name = w.service_name and s.metric_name = w.metric_name and s.tags @> w.tags::jsonb
    where s.organization_id = %(organization_id)s::uuid
) as f
where f.place <= %(limit)s::int
order by f.question, f.place

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
-- The rollups of one width, with the figures that are needed: the buckets that have as many series as each other
-- together, a line for each. Lines of series are there where they differ from those of the bucket whose number comes
-- before. Rollups from before there were increases say only where a counter stood at their end.
select
    array_agg(b.at_ms) as at_ms,
    array_agg(b.number) as numbers,
    array_agg(b.is_new) as is_new,
    array_agg(b.series_ids) filter (where b.is_new = 1) as series_ids,
    array_agg(b.sample_counts) filter (where 'counts' = any (%(figures)s::text[])) as counts,
    array_agg(b.sum_values) filter (where 'sums' = any (%(figures)s::text[])) as sums,
    array_agg(b.min_values) filter (where 'minima' = any (%(figures)s::text[])) as minima,
    array_agg(b.max_values) filter (where 'maxima' = any (%(figures)s::text[])) as maxima,
    array_agg(coalesce(b.first_values, b.last_values)) filter (where 'firsts' = any (%(figures)s::text[])) as firsts,
    array_agg(b.last_values) filter (where 'lasts' = any (%(figures)s::text[])) as lasts,
    array_agg(coalesce(b.increases, array_fill(0::float8, array[cardinality(b.series_ids)])))
        filter (where 'increases' = any (%(figures)s::text[])) as increases,
    array_agg(b.sketches) filter (where 'sketches' = any (%(figures)s::text[])) as sketches
from (
    select a.*,
        (extract(epoch from a.time_bucket) * 1000)::bigint as at_ms,
        row_number() over w as number,
        case when a.series_ids = lag(a.series_ids) over w then 0 else 1 end as is_new
    from public.apm_metric_aggregations as a
    where a.organization_id = %(organization_id)s::uuid
        and a.bucket_width = %(width)s::interval
        and a.time_bucket >= %(from)s::timestamptz
        and a.time_bucket < %(to)s::timestamptz
    window w as (rows unbounded preceding)
) as b
group by cardinality(b.series_ids)

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
