-- pre: a rollup is not replaced by one that is made of fewer samples, even where no narrower one is missing.

-- Writes the buckets of one width that lie in ["starts", "ends"); returns how many were written. A bucket of which a
-- narrower one has gone, or which would be made of fewer samples than it was, is built anew from the samples; if these
-- have gone too, it stays as it was.
create or replace function apm_private.fill_rollups(organization_id uuid, starts timestamptz, ends timestamptz, width interval)
returns bigint
language plpgsql
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
-- planned once and not for each organization; partitions are left out when it runs
set plan_cache_mode = 'force_generic_plan'
as $$
#variable_conflict use_column
declare
    narrower interval := apm_private.narrower_width(fill_rollups.width);
    one interval;
    gap timestamptz;
    refilled timestamptz[] := '{}';
    filled bigint;
begin
    if narrower is not null then
        for gap in
            select a.time_bucket
            from public.apm_metric_aggregations as a
            cross join lateral (
                select bit_or(1 << (extract(epoch from n.time_bucket - a.time_bucket) / extract(epoch from narrower))::int)
                        as parts,
                    sum((select sum(c) from unnest(n.sample_counts) as c)) as sample_count
                from public.apm_metric_aggregations as n
                where n.organization_id = fill_rollups.organization_id and n.bucket_width = narrower
                    and n.time_bucket >= a.time_bucket and n.time_bucket < a.time_bucket + fill_rollups.width
            ) as p
            where a.organization_id = fill_rollups.organization_id and a.bucket_width = fill_rollups.width
                and a.time_bucket >= fill_rollups.starts and a.time_bucket < fill_rollups.ends
                and (
                    a.parts & ~coalesce(p.parts, 0) <> 0
                    or (select sum(c) from unnest(a.sample_counts) as c) > coalesce(p.sample_count, 0)
                )
        loop
            foreach one in array array[interval '1 minute', interval '5 minutes', interval '1 hour'] loop
                exit when one > narrower;
                perform apm_private.fill_rollups(fill_rollups.organization_id, gap, gap + fill_rollups.width, one);
            end loop;
            refilled := refilled || gap;
        end loop;
    end if;

    insert into public.apm_metric_aggregations as a (
        organization_id, time_bucket, bucket_width, series_ids, sample_counts, sum_values, min_values, max_values,
        first_values, last_values, increases, p50, p95, p99, sketches, is_wedding_day, parts
    )
    select fill_rollups.organization_id, m.time_bucket, fill_rollups.width,
        array_agg(m.series_id order by m.series_id),
        array_agg(m.sample_count order by m.series_id),
        array_agg(m.sum_value order by m.series_id),
        array_agg(m.min_value order by m.series_id),
        array_agg(m.max_value order by m.series_id),
        array_agg(m.first_value order by m.series_id),
        array_agg(m.last_value order by m.series_id),
        array_agg(m.increase order by m.series_id),
        array_agg(m.p50 order by m.series_id),
        array_agg(m.p95 order by m.series_id),
        array_agg(m.p99 order by m.series_id),
        array_agg(m.sketch order by m.series_id),
        bool_or(m.is_wedding_day), bit_or(m.parts)
    from (
        select s.*
        from apm_private.summarize_minutes(fill_rollups.organization_id, fill_rollups.starts, fill_rollups.ends) as s
        where fill_rollups.width = interval '1 minute'
        union all
        select r.*
        from apm_private.merge_rollups(
            fill_rollups.organization_id, fill_rollups.starts, fill_rollups.ends, fill_rollups.width
        ) as r
        where fill_rollups.width > interval '1 minute'
    ) as m
    group by m.time_bucket
    on conflict (organization_id, bucket_width, time_bucket) do update set
        series_ids = excluded.series_ids, sample_counts = excluded.sample_counts,
        sum_values = excluded.sum_values, min_values = excluded.min_values, max_values = excluded.max_values,
        first_values = excluded.first_values, last_values = excluded.last_values, increases = excluded.increases,
        p50 = excluded.p50, p95 = excluded.p95, p99 = excluded.p99, sketches = excluded.sketches,
        is_wedding_day = excluded.is_wedding_day, parts = excluded.parts, updated_at = now()
    where coalesce(a.parts, 0) & ~excluded.parts = 0
        and (
            a.time_bucket <> all (refilled)
            or (select sum(n) from unnest(excluded.sample_counts) as n) >= (select sum(n) from unnest(a.sample_counts) as n)
        );
    get diagnostics filled = row_count;
    return filled;
end
$$;
