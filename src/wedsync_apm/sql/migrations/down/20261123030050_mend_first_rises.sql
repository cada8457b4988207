-- pre: the function as it was.

create or replace function apm_private.merge_rollups(organization_id uuid, starts timestamptz, ends timestamptz, width interval)
returns table (
    time_bucket timestamptz, series_id int, sample_count int8, sum_value float8, min_value float8, max_value float8,
    first_value float8, last_value float8, increase float8, p50 float8, p95 float8, p99 float8, sketch bytea,
    is_wedding_day boolean, parts int
)
language sql stable
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
as $$
    with narrow as materialized (
        select b.time_bucket, a.time_bucket as part_at, a.is_wedding_day, u.series_id, u.sample_count, u.sum_value,
            u.min_value, u.max_value, coalesce(u.first_value, u.last_value) as first_value, u.last_value,
            coalesce(u.increase, 0) as increase, u.sketch,
            1 << (
                extract(epoch from a.time_bucket - b.time_bucket)
                / extract(epoch from apm_private.narrower_width(merge_rollups.width))
            )::int as part
        from public.apm_metric_aggregations as a
        cross join lateral (
            select date_bin(merge_rollups.width, a.time_bucket, timestamptz '2000-01-01 00:00:00+00') as time_bucket
        ) as b
        cross join lateral unnest(
            a.series_ids, a.sample_counts, a.sum_values, a.min_values, a.max_values, a.first_values, a.last_values,
            a.increases, a.sketches
        ) as u (series_id, sample_count, sum_value, min_value, max_value, first_value, last_value, increase, sketch)
        where a.organization_id = merge_rollups.organization_id
            and a.bucket_width = apm_private.narrower_width(merge_rollups.width)
            and a.time_bucket >= merge_rollups.starts and a.time_bucket < merge_rollups.ends
    ), risen as (
        select n.*, lag(n.last_value) over in_order as before, lead(n.series_id) over in_order as after,
            least(greatest(n.first_value, -1e290), 1e290) as held,
            least(greatest(lag(n.last_value) over in_order, -1e290), 1e290) as held_before
        from narrow as n
        window in_order as (partition by n.series_id, n.time_bucket order by n.part_at)
    ), summed as (
        select r.time_bucket, r.series_id, sum(r.sample_count)::int8 as sample_count, sum(r.sum_value) as sum_value,
            min(r.min_value) as min_value, max(r.max_value) as max_value,
            min(r.first_value) filter (where r.before is null) as first_value,
            min(r.last_value) filter (where r.after is null) as last_value,
            sum(r.increase) + coalesce(sum(
                case when r.held >= r.held_before then r.held - r.held_before when r.held < r.held_before then r.held end
            ), 0) as increase,
            bool_or(r.is_wedding_day) as is_wedding_day, bit_or(r.part) as parts
        from risen as r
        group by r.series_id, r.time_bucket
    ), coded as (
        select e.series_id, e.time_bucket, e.code, least(sum(e.code_count), 2147483647)::int8 as code_count
        from (
            select d.series_id, d.time_bucket,
                (((get_byte(d.sketch, d.at) << 8) | get_byte(d.sketch, d.at + 1)) # 32768) - 32768 as code,
                (get_byte(d.sketch, d.at + 2) << 24) | (get_byte(d.sketch, d.at + 3) << 16)
                    | (get_byte(d.sketch, d.at + 4) << 8) | get_byte(d.sketch, d.at + 5) as code_count
            from (
                select n.series_id, n.time_bucket, n.sketch, generate_series(0, length(n.sketch) - 6, 6) as at
                from narrow as n
            ) as d
        ) as e
        group by e.series_id, e.time_bucket, e.code
    ), ranked as (
        select c.*, sum(c.code_count) over (partition by c.series_id, c.time_bucket order by c.code) as reached,
            sum(c.code_count) over (partition by c.series_id, c.time_bucket) - 1 as last_rank
        from coded as c
    ), sketched as (
        select r.series_id, r.time_bucket,
            string_agg(int2send(r.code::int2) || int4send(r.code_count::int4), ''::bytea order by r.code) as sketch,
            min(r.last_rank) as last_rank,
            min(r.code) filter (where r.reached > floor(0.5 * r.last_rank)) as below_50,
            min(r.code) filter (where r.reached > ceil(0.5 * r.last_rank)) as above_50,
            min(r.code) filter (where r.reached > floor(0.95 * r.last_rank)) as below_95,
            min(r.code) filter (where r.reached > ceil(0.95 * r.last_rank)) as above_95,
            min(r.code) filter (where r.reached > floor(0.99 * r.last_rank)) as below_99,
            min(r.code) filter (where r.reached > ceil(0.99 * r.last_rank)) as above_99
        from ranked as r
        group by r.series_id, r.time_bucket
    ), placed as (
        select k.series_id, k.time_bucket, k.sketch, p.percentiles
        from sketched as k
        join summed as m using (series_id, time_bucket)
        cross join lateral (
            select array_agg(
                least(greatest(b.below + (q.rank - floor(q.rank)) * (b.above - b.below), m.min_value), m.max_value)
                order by q.share
            ) as percentiles
            from (
                values (0.5, 0.5 * k.last_rank, k.below_50, k.above_50),
                    (0.95, 0.95 * k.last_rank, k.below_95, k.above_95),
                    (0.99, 0.99 * k.last_rank, k.below_99, k.above_99)
            ) as q (share, rank, below, above)
            cross join lateral (
                select apm_private.sketch_value(q.below) as below, apm_private.sketch_value(q.above) as above
            ) as b
        ) as p
    )
    select m.time_bucket, m.series_id, m.sample_count, m.sum_value, m.min_value, m.max_value, m.first_value,
        m.last_value, m.increase, p.percentiles[1], p.percentiles[2], p.percentiles[3], p.sketch, m.is_wedding_day, m.parts
    from summed as m
    join placed as p using (series_id, time_bucket)
$$;
