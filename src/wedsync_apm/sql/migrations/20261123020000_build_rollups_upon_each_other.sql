-- pre: each width of rollups is built from the next narrower one, and rollups keep what a rate needs.

-- The rise of a counter over several buckets is the sum of their increases, and of what lies between each two that
-- follow each other: the later one's first value less the earlier one's last, or the first value where that is less.
alter table public.apm_metric_aggregations
    add column first_values float8[],
    -- from sample to sample within the bucket; a sample below the one before it counts whole: the counter began anew
    add column increases float8[],
    -- bit n: the nth narrower bucket is in this one; a row is never replaced by one that lacks any of them
    add column parts int,
    add constraint apm_metric_aggregations_rises check (
        (first_values is null or cardinality(first_values) = cardinality(series_ids))
        and (increases is null or cardinality(increases) = cardinality(series_ids))
    );

-- Rollups from before those columns say only where a counter stood at their end.
create or replace view public.apm_rollups with (security_invoker = true) as
select a.organization_id, s.service_name, s.metric_name, s.unit, s.tags, a.time_bucket, a.bucket_width,
    u.sample_count, u.sum_value, u.min_value, u.max_value, u.sum_value / u.sample_count as avg_value, u.last_value,
    u.p50, u.p95, u.p99, a.is_wedding_day, u.series_id,
    coalesce(u.first_value, u.last_value) as first_value, coalesce(u.increase, 0) as increase
from public.apm_metric_aggregations as a
cross join lateral unnest(
    a.series_ids, a.sample_counts, a.sum_values, a.min_values, a.max_values, a.last_values, a.p50, a.p95, a.p99,
    a.first_values, a.increases
) as u (series_id, sample_count, sum_value, min_value, max_value, last_value, p50, p95, p99, first_value, increase)
left join public.apm_series as s on s.organization_id = a.organization_id and s.id = u.series_id;

drop function public.apm_rollups_between(timestamptz, timestamptz, interval);
create function public.apm_rollups_between("from" timestamptz, "to" timestamptz, width interval)
returns table (
    organization_id uuid, service_name text, metric_name text, unit text, tags jsonb, time_bucket timestamptz,
    bucket_width interval, sample_count int8, sum_value float8, min_value float8, max_value float8, avg_value float8,
    last_value float8, p50 float8, p95 float8, p99 float8, is_wedding_day boolean, series_id int, sketch bytea,
    first_value float8, increase float8
)
language sql stable
as $$
    select a.organization_id, s.service_name, s.metric_name, s.unit, s.tags, a.time_bucket, a.bucket_width,
        u.sample_count, u.sum_value, u.min_value, u.max_value, u.sum_value / u.sample_count, u.last_value,
        u.p50, u.p95, u.p99, a.is_wedding_day, u.series_id, u.sketch,
        coalesce(u.first_value, u.last_value), coalesce(u.increase, 0)
    from public.apm_metric_aggregations as a
    cross join lateral unnest(
        a.series_ids, a.sample_counts, a.sum_values, a.min_values, a.max_values, a.last_values, a.p50, a.p95, a.p99,
        a.sketches, a.first_values, a.increases
    ) as u (
        series_id, sample_count, sum_value, min_value, max_value, last_value, p50, p95, p99, sketch, first_value, increase
    )
    left join public.apm_series as s on s.organization_id = a.organization_id and s.id = u.series_id
    where a.time_bucket >= apm_rollups_between."from" and a.time_bucket < apm_rollups_between."to"
        and a.bucket_width = apm_rollups_between.width
$$;
revoke all on function public.apm_rollups_between(timestamptz, timestamptz, interval)
    from public, anon, authenticated, service_role;
grant execute on function public.apm_rollups_between(timestamptz, timestamptz, interval)
    to authenticated, service_role, apm_engine;

create function apm_private.narrower_width(width interval) returns interval
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
    select case narrower_width.width
        when interval '5 minutes' then interval '1 minute'
        when interval '1 hour' then interval '5 minutes'
        when interval '1 day' then interval '1 hour'
    end
$$;
revoke all on function apm_private.narrower_width(interval) from public, anon, authenticated, service_role;
grant execute on function apm_private.narrower_width(interval) to apm_definer;

-- Organizations are rolled up in eight slices, each of which one process has at a time and reads with cursors of
-- its own: several engines share the work, and a crash sets back one slice at most.
create function apm_private.rollup_slice(organization_id uuid) returns int
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
    select get_byte(uuid_send(rollup_slice.organization_id), 15) & 7
$$;
revoke all on function apm_private.rollup_slice(uuid) from public, anon, authenticated, service_role;
grant execute on function apm_private.rollup_slice(uuid) to apm_definer, apm_engine;

-- The stretches of buckets in some slices that flushes have touched and their cursors have not seen. A cursor from
-- before a restore lies in the future and counts for nothing.
create function apm_private.list_touched_buckets(width interval, slices int[])
returns table (organization_id uuid, starts timestamptz, ends timestamptz)
language sql stable
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
as $$
    with seen as materialized (
        select s.slice, c.snapshot
        from unnest(list_touched_buckets.slices) as s (slice)
        left join apm_private.cursors as c
            on c.name = 'rollup ' || extract(epoch from list_touched_buckets.width)::bigint || ' ' || s.slice
            and pg_snapshot_xmax(c.snapshot) <= pg_snapshot_xmax(pg_current_snapshot())
    )
    select t.organization_id, lower(r.stretch), upper(r.stretch)
    from (
        select e.organization_id, range_agg(tstzrange(
            date_bin(list_touched_buckets.width, e.earliest, timestamptz '2000-01-01 00:00:00+00'),
            date_bin(list_touched_buckets.width, e.latest, timestamptz '2000-01-01 00:00:00+00') + list_touched_buckets.width
        )) as stretches
        from apm_private.flushes as f
        cross join lateral unnest(f.organization_ids, f.earliest, f.latest) as e (organization_id, earliest, latest)
        join seen as c on c.slice = apm_private.rollup_slice(e.organization_id)
        -- the first condition, as one value, finds the flushes by index; the second is the one that counts
        where f.xid >= coalesce(
                (
                    select min(pg_snapshot_xmin(s.snapshot)::text::numeric)::text::xid8 from seen as s
                    having bool_and(s.snapshot is not null)
                ), '0'::xid8
            )
            -- what was restored with an id from the future is read once, without a cursor, and not for ever
            and (
                c.snapshot is null or not pg_visible_in_snapshot(f.xid, c.snapshot) and (
                    f.xid < pg_snapshot_xmax(pg_current_snapshot()) or f.xid = pg_current_xact_id_if_assigned()
                )
            )
        group by e.organization_id
    ) as t
    cross join lateral unnest(t.stretches) as r (stretch)
$$;
revoke all on function apm_private.list_touched_buckets(interval, int[]) from public, anon, authenticated, service_role;
grant execute on function apm_private.list_touched_buckets(interval, int[]) to apm_definer, apm_engine;

-- The value that stands for a code of a sketch: off by the same share at either bound of the code's bucket.
create function apm_private.sketch_value(code int) returns float8
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
    select case when sketch_value.code = 0 then 0::float8
        else sign(sketch_value.code::float8) * 2 / (1 + 1.01 / 0.99::float8)
            * exp((abs(sketch_value.code) - 16384) * ln(1.01 / 0.99::float8))
    end
$$;
revoke all on function apm_private.sketch_value(int) from public, anon, authenticated, service_role;
grant execute on function apm_private.sketch_value(int) to apm_definer;

-- The minutes of ["starts", "ends") from the samples. NaN and infinities stay out. A series of which there are
-- fewer samples now than were counted once has lost some to retention, and keeps what it has.
create function apm_private.summarize_minutes(organization_id uuid, starts timestamptz, ends timestamptz)
returns table (
    time_bucket timestamptz, series_id int, sample_count int8, sum_value float8, min_value float8, max_value float8,
    first_value float8, last_value float8, increase float8, p50 float8, p95 float8, p99 float8, sketch bytea,
    is_wedding_day boolean, parts int
)
language sql stable
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
as $$
    with samples as materialized (
        select s.series_id, s.metric_value, s."timestamp",
            date_bin(interval '1 minute', s."timestamp", timestamptz '2000-01-01 00:00:00+00') as time_bucket,
            s.metric_value > '-infinity'::float8 and s.metric_value < 'infinity'::float8 as is_finite,
            coalesce((s.wedding_context ->> 'is_wedding_day')::boolean, false) as is_wedding_day
        from public.apm_samples_between(summarize_minutes.starts, summarize_minutes.ends) as s
        where s.organization_id = summarize_minutes.organization_id
    ), held as (
        select s.*,
            -- one tenant's absurd values must not overflow a sum and stop everybody's rollups
            least(greatest(s.metric_value, -1e290), 1e290) as held,
            case when s.metric_value = 0 then 0
                else (sign(s.metric_value) * (16384 + least(greatest(
                    -- bounds that grow by this factor keep a quantile within 1 %, between 1e-142 and 1e142
                    ceil(ln(greatest(abs(s.metric_value), 1e-300)) / ln(1.01 / 0.99::float8)), -16383), 16383)))::int
            end as code
        from samples as s
        where s.is_finite
    ), risen as (
        select h.*, lag(h.held) over in_order as before, lead(h.held) over in_order as after
        from held as h
        window in_order as (partition by h.series_id, h.time_bucket order by h."timestamp")
    ), summed as (
        select r.time_bucket, r.series_id, count(*) as sample_count, sum(r.held) as sum_value,
            min(r.metric_value) as min_value, max(r.metric_value) as max_value,
            min(r.metric_value) filter (where r.before is null) as first_value,
            min(r.metric_value) filter (where r.after is null) as last_value,
            coalesce(sum(case when r.held >= r.before then r.held - r.before when r.held < r.before then r.held end), 0)
                as increase,
            percentile_cont(array[0.5, 0.95, 0.99]) within group (order by r.metric_value) as percentiles,
            bool_or(r.is_wedding_day) as is_wedding_day
        from risen as r
        group by r.series_id, r.time_bucket
    ), sketched as (
        select c.series_id, c.time_bucket,
            string_agg(int2send(c.code::int2) || int4send(c.code_count::int4), ''::bytea order by c.code) as sketch
        from (
            select h.series_id, h.time_bucket, h.code, count(*) as code_count
            from held as h
            group by h.series_id, h.time_bucket, h.code
        ) as c
        group by c.series_id, c.time_bucket
    ), present as (
        select s.series_id, s.time_bucket, count(*) as sample_count
        from samples as s
        group by s.series_id, s.time_bucket
    ), kept as (
        select a.time_bucket, a.is_wedding_day, u.*
        from public.apm_metric_aggregations as a
        cross join lateral unnest(
            a.series_ids, a.sample_counts, a.sum_values, a.min_values, a.max_values, a.first_values, a.last_values,
            a.increases, a.p50, a.p95, a.p99, a.sketches
        ) as u (
            series_id, sample_count, sum_value, min_value, max_value, first_value, last_value, increase, p50, p95, p99, sketch
        )
        left join present as p on p.series_id = u.series_id and p.time_bucket = a.time_bucket
        where a.organization_id = summarize_minutes.organization_id and a.bucket_width = interval '1 minute'
            and a.time_bucket >= summarize_minutes.starts and a.time_bucket < summarize_minutes.ends
            and coalesce(p.sample_count, 0) < u.sample_count
    )
    select m.time_bucket, m.series_id, m.sample_count, m.sum_value, m.min_value, m.max_value, m.first_value,
        m.last_value, m.increase, m.percentiles[1], m.percentiles[2], m.percentiles[3], k.sketch, m.is_wedding_day, 0
    from summed as m
    join sketched as k using (series_id, time_bucket)
    where not exists (select from kept as o where o.series_id = m.series_id and o.time_bucket = m.time_bucket)
    union all
    select o.time_bucket, o.series_id, o.sample_count, o.sum_value, o.min_value, o.max_value, o.first_value,
        o.last_value, o.increase, o.p50, o.p95, o.p99, o.sketch, o.is_wedding_day, 0
    from kept as o
    -- a minute of which no sample is left stays as it is
    where o.time_bucket in (select m.time_bucket from summed as m)
$$;
revoke all on function apm_private.summarize_minutes(uuid, timestamptz, timestamptz)
    from public, anon, authenticated, service_role;
grant execute on function apm_private.summarize_minutes(uuid, timestamptz, timestamptz) to apm_definer;

-- The buckets of ["starts", "ends") from those of the next narrower width. Counts, sums, extremes, first and last
-- values are those of the samples; the percentiles interpolate between the two nearest ranks as the minutes' do, each
-- of which the sketch knows within 1 %.
create function apm_private.merge_rollups(organization_id uuid, starts timestamptz, ends timestamptz, width interval)
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
revoke all on function apm_private.merge_rollups(uuid, timestamptz, timestamptz, interval)
    from public, anon, authenticated, service_role;
grant execute on function apm_private.merge_rollups(uuid, timestamptz, timestamptz, interval) to apm_definer;

-- Writes the buckets of one width that lie in ["starts", "ends"); returns how many were written. A bucket of which a
-- narrower one has gone is built anew from the samples; if these have gone too, it stays as it was.
create function apm_private.fill_rollups(organization_id uuid, starts timestamptz, ends timestamptz, width interval)
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
                    as parts
                from public.apm_metric_aggregations as n
                where n.organization_id = fill_rollups.organization_id and n.bucket_width = narrower
                    and n.time_bucket >= a.time_bucket and n.time_bucket < a.time_bucket + fill_rollups.width
            ) as p
            where a.organization_id = fill_rollups.organization_id and a.bucket_width = fill_rollups.width
                and a.time_bucket >= fill_rollups.starts and a.time_bucket < fill_rollups.ends
                and a.parts & ~coalesce(p.parts, 0) <> 0
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
revoke all on function apm_private.fill_rollups(uuid, timestamptz, timestamptz, interval)
    from public, anon, authenticated, service_role;
grant execute on function apm_private.fill_rollups(uuid, timestamptz, timestamptz, interval) to apm_definer;

-- Fills the buckets of one width that new or late samples have touched since the last run, and before them those of
-- the narrower widths that it is built from; running it again changes nothing. A service fills all and moves the
-- cursors; a member's call fills those of his own organizations and leaves the cursors to the service. Returns the
-- number of buckets of the asked width that were written.
create or replace function public.aggregate_metrics(bucket interval) returns bigint
language plpgsql security definer
set search_path = pg_catalog, pg_temp
-- a day is 24 hours here, whatever the caller's zone
set timezone = 'UTC'
as $$
declare
    scope uuid[] := case when not apm_private.is_service() then public.apm_current_organization_ids() end;
    slices int[] := array(
        select distinct apm_private.rollup_slice(o.organization_id)
        from unnest(scope) as o (organization_id)
    );
    width interval;
    now_at pg_snapshot;
    stretch record;
    written bigint;
begin
    if (
        aggregate_metrics.bucket in (interval '1 minute', interval '5 minutes', interval '1 hour', interval '1 day')
    ) is not true then
        raise exception 'rollups are kept at 1 minute, 5 minutes, 1 hour and 1 day, not at %', aggregate_metrics.bucket
            using errcode = 'AP004';
    end if;
    if scope is null then
        slices := array(select generate_series(0, 7));
    end if;
    -- One run of a slice at a time; another one waits here and then finds less to do.
    perform pg_advisory_xact_lock(hashtextextended('apm rollups ' || s.slice, 0))
    from (select u.slice from unnest(slices) as u (slice) order by u.slice) as s;

    now_at := pg_current_snapshot();
    foreach width in array array[interval '1 minute', interval '5 minutes', interval '1 hour', interval '1 day'] loop
        exit when width > aggregate_metrics.bucket;
        written := 0;
        for stretch in
            select t.organization_id, t.starts, t.ends
            from apm_private.list_touched_buckets(width, slices) as t
            where scope is null or t.organization_id = any (scope)
        loop
            written := written
                + apm_private.fill_rollups(stretch.organization_id, stretch.starts, stretch.ends, width);
        end loop;
        if scope is null then
            insert into apm_private.cursors as c (name, snapshot, updated_at)
            select 'rollup ' || extract(epoch from width)::bigint || ' ' || s.slice, now_at, now()
            from unnest(slices) as s (slice)
            on conflict (name) do update set snapshot = excluded.snapshot, updated_at = excluded.updated_at;
        end if;
    end loop;
    return written;
end
$$;

-- The widths had one cursor each: every slice goes on from there.
insert into apm_private.cursors (name, snapshot, updated_at)
select c.name || ' ' || s.slice, c.snapshot, c.updated_at
from apm_private.cursors as c
cross join generate_series(0, 7) as s (slice)
where c.name in ('rollup 60', 'rollup 300', 'rollup 3600', 'rollup 86400');
delete from apm_private.cursors as c where c.name in ('rollup 60', 'rollup 300', 'rollup 3600', 'rollup 86400');
