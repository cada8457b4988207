insert into apm_private.cursors (name, snapshot, updated_at)
select left(c.name, -2), c.snapshot, c.updated_at from apm_private.cursors as c where c.name like 'rollup % 0';
delete from apm_private.cursors as c where c.name like 'rollup % _';

create or replace function public.aggregate_metrics(bucket interval) returns bigint
language plpgsql security definer
set search_path = pg_catalog, pg_temp
-- a day is 24 hours here, whatever the caller's zone
set timezone = 'UTC'
-- planned once and not for each organization; partitions are left out when it runs
set plan_cache_mode = 'force_generic_plan'
as $$
declare
    scope uuid[] := case when not apm_private.is_service() then public.apm_current_organization_ids() end;
    cursor_name text := 'rollup ' || extract(epoch from aggregate_metrics.bucket)::bigint;
    read_up_to pg_snapshot;
    now_at pg_snapshot := pg_current_snapshot();
    -- bounds that grow by this factor keep a quantile within 1 %, between 1e-142 and 1e142
    log_gamma constant float8 := ln(1.01 / 0.99);
    stretch record;
    filled bigint;
    written bigint := 0;
begin
    if aggregate_metrics.bucket not in (interval '1 minute', interval '5 minutes', interval '1 hour', interval '1 day') then
        raise exception 'rollups are kept at 1 minute, 5 minutes, 1 hour and 1 day, not at %', aggregate_metrics.bucket
            using errcode = 'AP004';
    end if;
    -- One run of a width at a time; another one waits here and then finds less to do.
    perform pg_advisory_xact_lock(hashtextextended(cursor_name, 0));
    select c.snapshot into read_up_to from apm_private.cursors as c where c.name = cursor_name;

    -- One organization and one stretch of touched buckets at a time: the blocks are found by both, and no more than
    -- that lies in memory.
    for stretch in
        with touched as (
            select distinct t.organization_id, b.time_bucket
            from apm_private.flushes as f
            cross join lateral unnest(f.organization_ids, f.earliest, f.latest) as t (organization_id, earliest, latest)
            cross join lateral generate_series(
                date_bin(aggregate_metrics.bucket, t.earliest, timestamptz '2000-01-01 00:00:00+00'),
                t.latest, aggregate_metrics.bucket
            ) as b (time_bucket)
            where (scope is null or t.organization_id = any (scope))
                and (
                    read_up_to is null or f.xid >= pg_snapshot_xmax(read_up_to)
                    or f.xid = any (array(select pg_snapshot_xip(read_up_to)))
                )
        ), numbered as (
            select t.organization_id, t.time_bucket,
                t.time_bucket - row_number() over (partition by t.organization_id order by t.time_bucket)
                    * aggregate_metrics.bucket as island
            from touched as t
        )
        select n.organization_id, min(n.time_bucket) as starts, max(n.time_bucket) + aggregate_metrics.bucket as ends
        from numbered as n
        group by n.organization_id, n.island
    loop
        with samples as (
            select s.series_id, s.metric_value, s."timestamp",
                date_bin(aggregate_metrics.bucket, s."timestamp", timestamptz '2000-01-01 00:00:00+00') as time_bucket,
                coalesce((s.wedding_context ->> 'is_wedding_day')::boolean, false) as is_wedding_day,
                case when s.metric_value = 0 then 0
                    else (sign(s.metric_value) * (16384 + least(greatest(
                        ceil(ln(greatest(abs(s.metric_value), 1e-300)) / log_gamma), -16383), 16383)))::int
                end as code
            from public.apm_samples_between(stretch.starts, stretch.ends) as s
            where s.organization_id = stretch.organization_id
                and s.metric_value > '-infinity'::float8 and s.metric_value < 'infinity'::float8
        ), coded as (
            select s.*, count(*) over same_code as code_count, row_number() over same_code as place
            from samples as s
            window same_code as (partition by s.time_bucket, s.series_id, s.code)
        ), summed as (
            select time_bucket, series_id,
                -- one tenant's absurd values must not overflow the sum and stop everybody's rollups
                count(*) as sample_count, sum(least(greatest(metric_value, -1e290), 1e290)) as sum_value,
                min(metric_value) as min_value, max(metric_value) as max_value,
                (array_agg(metric_value order by "timestamp" desc))[1] as last_value,
                percentile_cont(array[0.5, 0.95, 0.99]) within group (order by metric_value) as percentiles,
                bool_or(is_wedding_day) as is_wedding_day,
                string_agg(int2send(code::int2) || int4send(code_count::int4), ''::bytea order by code)
                    filter (where place = 1) as sketch
            from coded
            group by time_bucket, series_id
        )
        insert into public.apm_metric_aggregations as a (
            organization_id, time_bucket, bucket_width, series_ids, sample_counts, sum_values, min_values, max_values,
            last_values, p50, p95, p99, sketches, is_wedding_day
        )
        select stretch.organization_id, m.time_bucket, aggregate_metrics.bucket,
            array_agg(m.series_id order by m.series_id),
            array_agg(m.sample_count order by m.series_id),
            array_agg(m.sum_value order by m.series_id),
            array_agg(m.min_value order by m.series_id),
            array_agg(m.max_value order by m.series_id),
            array_agg(m.last_value order by m.series_id),
            array_agg(m.percentiles[1] order by m.series_id),
            array_agg(m.percentiles[2] order by m.series_id),
            array_agg(m.percentiles[3] order by m.series_id),
            array_agg(m.sketch order by m.series_id),
            bool_or(m.is_wedding_day)
        from summed as m
        group by m.time_bucket
        on conflict (organization_id, bucket_width, time_bucket) do update set
            series_ids = excluded.series_ids, sample_counts = excluded.sample_counts,
            sum_values = excluded.sum_values, min_values = excluded.min_values, max_values = excluded.max_values,
            last_values = excluded.last_values, p50 = excluded.p50, p95 = excluded.p95, p99 = excluded.p99,
            sketches = excluded.sketches, is_wedding_day = excluded.is_wedding_day, updated_at = now();
        get diagnostics filled = row_count;
        written := written + filled;
    end loop;

    if scope is null then
        insert into apm_private.cursors as c (name, snapshot, updated_at) values (cursor_name, now_at, now())
        on conflict (name) do update set snapshot = excluded.snapshot, updated_at = excluded.updated_at;
    end if;
    return written;
end
$$;

drop function apm_private.fill_rollups(uuid, timestamptz, timestamptz, interval);
drop function apm_private.merge_rollups(uuid, timestamptz, timestamptz, interval);
drop function apm_private.summarize_minutes(uuid, timestamptz, timestamptz);
drop function apm_private.sketch_value(int);
drop function apm_private.list_touched_buckets(interval, int[]);
drop function apm_private.rollup_slice(uuid);
drop function apm_private.narrower_width(interval);
drop view public.apm_rollups;
drop function public.apm_rollups_between(timestamptz, timestamptz, interval);
alter table public.apm_metric_aggregations drop column first_values, drop column increases, drop column parts;

create function public.apm_rollups_between("from" timestamptz, "to" timestamptz, width interval)
returns table (
    organization_id uuid, service_name text, metric_name text, unit text, tags jsonb, time_bucket timestamptz,
    bucket_width interval, sample_count int8, sum_value float8, min_value float8, max_value float8, avg_value float8,
    last_value float8, p50 float8, p95 float8, p99 float8, is_wedding_day boolean, series_id int, sketch bytea
)
language sql stable
as $$
    select a.organization_id, s.service_name, s.metric_name, s.unit, s.tags, a.time_bucket, a.bucket_width,
        u.sample_count, u.sum_value, u.min_value, u.max_value, u.sum_value / u.sample_count, u.last_value,
        u.p50, u.p95, u.p99, a.is_wedding_day, u.series_id, u.sketch
    from public.apm_metric_aggregations as a
    cross join lateral unnest(
        a.series_ids, a.sample_counts, a.sum_values, a.min_values, a.max_values, a.last_values, a.p50, a.p95, a.p99, a.sketches
    ) as u (series_id, sample_count, sum_value, min_value, max_value, last_value, p50, p95, p99, sketch)
    left join public.apm_series as s on s.organization_id = a.organization_id and s.id = u.series_id
    where a.time_bucket >= apm_rollups_between."from" and a.time_bucket < apm_rollups_between."to"
        and a.bucket_width = apm_rollups_between.width
$$;
revoke all on function public.apm_rollups_between(timestamptz, timestamptz, interval)
    from public, anon, authenticated, service_role;
grant execute on function public.apm_rollups_between(timestamptz, timestamptz, interval)
    to authenticated, service_role, apm_engine;

create view public.apm_rollups with (security_invoker = true) as
select a.organization_id, s.service_name, s.metric_name, s.unit, s.tags, a.time_bucket, a.bucket_width,
    u.sample_count, u.sum_value, u.min_value, u.max_value, u.sum_value / u.sample_count as avg_value, u.last_value,
    u.p50, u.p95, u.p99, a.is_wedding_day, u.series_id
from public.apm_metric_aggregations as a
cross join lateral unnest(
    a.series_ids, a.sample_counts, a.sum_values, a.min_values, a.max_values, a.last_values, a.p50, a.p95, a.p99
) as u (series_id, sample_count, sum_value, min_value, max_value, last_value, p50, p95, p99)
left join public.apm_series as s on s.organization_id = a.organization_id and s.id = u.series_id;
revoke all on public.apm_rollups from public, anon, authenticated, service_role;
grant select on public.apm_rollups to authenticated, service_role, apm_engine;
