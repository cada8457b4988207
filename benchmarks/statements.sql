-- What `python -m benchmarks.statements` fills its database with.

-- make_organizations [owner] --
-- The organizations.
insert into organizations (id, name)
select md5('organization ' || n)::uuid, 'Organization ' || n from generate_series(1, %(count)s::int) as n

-- make_days [owner] --
-- A partition for each day back from today.
select apm_private.make_partition(
    'public.apm_metrics', 'apm_metrics_' || to_char(day, 'YYYYMMDD'),
    day::timestamp at time zone 'UTC', (day + 1)::timestamp at time zone 'UTC'
)
from generate_series(current_date - %(days)s::int, current_date, interval '1 day') as d (at)
cross join lateral (select d.at::date as day) as x

-- make_blocks [owner] --
-- The blocks of a day, one in fifty on a wedding day.
with arrays as materialized (
    select array_agg(n) as ids, array_agg(0) as offsets, array_agg(random() * 1000) as levels
    from generate_series(1, %(series)s::int) as n
)
insert into apm_metrics
    (organization_id, "timestamp", ends_at, series_ids, offsets_ms, metric_values, wedding_context, apm_source)
select md5('organization ' || o.n)::uuid, at, at, a.ids, a.offsets, a.levels,
    case when (o.n + b.n) %% 50 = 0 then '{"is_wedding_day": true}'::jsonb else '{"is_wedding_day": false}' end,
    'benchmark'
from generate_series(%(first)s::int, %(last)s::int) as b (n)
cross join generate_series(1, %(organizations)s::int) as o (n)
cross join arrays as a
cross join lateral (
    select date_trunc('milliseconds', %(day)s::timestamptz + b.n * interval '1 day' / %(blocks)s::int) as at
) as t

-- make_incidents [owner] --
-- Incidents, one in twenty of which is live.
insert into apm_incidents
    (organization_id, title, status, severity, priority, dedup_key, detected_at, last_seen_at, resolved_at)
select md5('organization ' || o.n)::uuid, 'Slow booking form',
    case when i.n %% 20 = 0 then 'open' else 'resolved' end::incident_status, 'warning', 'medium',
    'rule ' || i.n, now() - i.n * interval '7 hours', now() - i.n * interval '7 hours',
    case when i.n %% 20 <> 0 then now() - i.n * interval '7 hours' + interval '20 minutes' end
from generate_series(1, %(organizations)s::int) as o (n)
cross join generate_series(1, 40) as i (n)

-- make_rollups [owner] --
-- The rollups of the last day, for as many buckets as there are blocks in a day.
with arrays as materialized (
    select array_agg(n) as ids, array_agg(1::int8) as counts, array_agg(random() * 1000) as levels,
        array_agg(int2send(16600::int2) || int4send(1)) as sketches
    from generate_series(1, %(series)s::int) as n
)
insert into apm_metric_aggregations
    (organization_id, time_bucket, bucket_width, series_ids, sample_counts, sum_values, min_values,
    max_values, first_values, last_values, increases, p50, p95, p99, sketches)
select md5('organization ' || o.n)::uuid, date_bin(w.width, at, timestamptz '2000-01-01 00:00:00+00'),
    w.width, a.ids, a.counts, a.levels, a.levels, a.levels, a.levels, a.levels, a.levels, a.levels,
    a.levels, a.levels, a.sketches
from generate_series(now() - interval '24 hours', now(), interval '1 day' / %(blocks)s::int) as t (at)
cross join (values (interval '1 minute'), (interval '5 minutes'), (interval '1 hour'), (interval '1 day'))
    as w (width)
cross join generate_series(%(first)s::int, %(last)s::int) as o (n)
cross join arrays as a
on conflict do nothing
