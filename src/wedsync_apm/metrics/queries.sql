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

-- summarize_samples --
-- Raw samples by group of series and step. NaN and infinities are shown sample by sample, never summed.
select
    g.group_no,
    floor(extract(epoch from s."timestamp") / %(step)s::float8)::bigint as slot,
    count(*)::float8 as count,
    sum(s.metric_value) as sum,
    min(s.metric_value) as min,
    max(s.metric_value) as max,
    (array_agg(s.metric_value order by s."timestamp" desc))[1] as last
from public.apm_samples_between(%(from)s::timestamptz, %(to)s::timestamptz) as s
join unnest(%(series_ids)s::int[], %(group_nos)s::int[]) as g (series_id, group_no) on g.series_id = s.series_id
where s.organization_id = %(organization_id)s::uuid
    and s.metric_value > '-infinity'::float8 and s.metric_value < 'infinity'::float8
group by g.group_no, slot
order by g.group_no, slot

-- rank_samples --
-- A quantile of the raw samples by group of series and step.
select
    g.group_no,
    floor(extract(epoch from s."timestamp") / %(step)s::float8)::bigint as slot,
    percentile_cont(%(q)s::float8) within group (order by s.metric_value) as value
from public.apm_samples_between(%(from)s::timestamptz, %(to)s::timestamptz) as s
join unnest(%(series_ids)s::int[], %(group_nos)s::int[]) as g (series_id, group_no) on g.series_id = s.series_id
where s.organization_id = %(organization_id)s::uuid
    and s.metric_value > '-infinity'::float8 and s.metric_value < 'infinity'::float8
group by g.group_no, slot
order by g.group_no, slot

-- list_increases --
-- How much counters rose, by group and step; a counter that fell was started again from zero. The first
-- sample of a series only says where it stands, so reading starts a step early.
select r.group_no, r.slot, sum(r.rise) as value
from (
    select
        g.group_no,
        floor(extract(epoch from s."timestamp") / %(step)s::float8)::bigint as slot,
        case
            when s.metric_value >= lag(s.metric_value) over w then s.metric_value - lag(s.metric_value) over w
            when s.metric_value < lag(s.metric_value) over w then s.metric_value
        end as rise
    from public.apm_samples_between(%(from)s::timestamptz, %(to)s::timestamptz) as s
    join unnest(%(series_ids)s::int[], %(group_nos)s::int[]) as g (series_id, group_no) on g.series_id = s.series_id
    where s.organization_id = %(organization_id)s::uuid
        and s.metric_value > '-infinity'::float8 and s.metric_value < 'infinity'::float8
    window w as (partition by s.series_id order by s."timestamp")
) as r
where r.rise is not null
group by r.group_no, r.slot
order by r.group_no, r.slot

-- find_newest_bucket --
-- How far the rollups of a width reach; from this bucket on, which may still fill, raw samples are read.
select max(a.time_bucket) as newest
from public.apm_metric_aggregations as a
where a.organization_id = %(organization_id)s::uuid
    and a.bucket_width = %(width)s::interval
    and a.time_bucket >= %(from)s::timestamptz
    and a.time_bucket < %(to)s::timestamptz

-- summarize_rollups --
-- Rollups of one width by group of series and step.
select
    g.group_no,
    floor(extract(epoch from r.time_bucket) / %(step)s::float8)::bigint as slot,
    sum(r.sample_count)::float8 as count,
    sum(r.sum_value) as sum,
    min(r.min_value) as min,
    max(r.max_value) as max,
    (array_agg(r.last_value order by r.time_bucket desc))[1] as last
from public.apm_rollups_between(%(from)s::timestamptz, %(to)s::timestamptz, %(width)s::interval) as r
join unnest(%(series_ids)s::int[], %(group_nos)s::int[]) as g (series_id, group_no) on g.series_id = r.series_id
where r.organization_id = %(organization_id)s::uuid
group by g.group_no, slot
order by g.group_no, slot

-- list_rollup_sketches --
-- The sketches of rollups by group of series and step, to be merged.
select
    g.group_no,
    floor(extract(epoch from r.time_bucket) / %(step)s::float8)::bigint as slot,
    array_agg(r.sketch) as sketches
from public.apm_rollups_between(%(from)s::timestamptz, %(to)s::timestamptz, %(width)s::interval) as r
join unnest(%(series_ids)s::int[], %(group_nos)s::int[]) as g (series_id, group_no) on g.series_id = r.series_id
where r.organization_id = %(organization_id)s::uuid
group by g.group_no, slot
order by g.group_no, slot

-- list_rollup_increases --
-- How much counters rose from bucket to bucket, by group and step.
select i.group_no, i.slot, sum(i.rise) as value
from (
    select
        g.group_no,
        floor(extract(epoch from r.time_bucket) / %(step)s::float8)::bigint as slot,
        case
            when r.last_value >= lag(r.last_value) over w then r.last_value - lag(r.last_value) over w
            when r.last_value < lag(r.last_value) over w then r.last_value
        end as rise
    from public.apm_rollups_between(%(from)s::timestamptz, %(to)s::timestamptz, %(width)s::interval) as r
    join unnest(%(series_ids)s::int[], %(group_nos)s::int[]) as g (series_id, group_no) on g.series_id = r.series_id
    where r.organization_id = %(organization_id)s::uuid
    window w as (partition by r.series_id order by r.time_bucket)
) as i
where i.rise is not null
group by i.group_no, i.slot
order by i.group_no, i.slot

-- fill_rollups [apm_engine] --
-- Fills the buckets of one width that new or late samples have touched; gives back how many were written.
select public.aggregate_metrics(%(bucket)s::interval) as written

-- measure_usage --
-- What an organization keeps and what came in during a period.
select
    (select count(*) from public.apm_series as s where s.organization_id = %(organization_id)s::uuid) as series,
    coalesce(sum(coalesce(cardinality(m.metric_values), cardinality(m.scaled_values))), 0)::bigint as samples,
    coalesce(sum(pg_column_size(m.*)), 0)::bigint as bytes
from public.apm_metrics as m
where m.organization_id = %(organization_id)s::uuid
    and m."timestamp" >= %(from)s::timestamptz
    and m."timestamp" < %(to)s::timestamptz

-- list_refusals --
-- What was not taken, by day, source and reason, the newest first.
select r.day, r.source, r.reason, r.refused_count, r.example, r.last_at
from public.apm_refusals as r
where r.organization_id = %(organization_id)s::uuid and r.day >= %(since)s::date
order by r.last_at desc, r.source, r.reason
limit %(limit)s::int
