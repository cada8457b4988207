-- What rolling up reads and writes: whole buckets of many organizations at once, in binary.

-- take_slice [apm_engine] --
-- Whether this transaction has a slice of the organizations; aggregate_metrics() waits for the same lock.
select pg_try_advisory_xact_lock(hashtextextended('apm rollups ' || %(slice)s::int, 0)) as is_mine

-- read_snapshot [apm_engine] --
-- How far the readers of flushes have read once they have dealt with everything that is visible from now on.
select pg_current_snapshot()::text as snapshot

-- list_touched_buckets [apm_engine] --
-- Which stretches of buckets of a slice have come or changed since its cursor.
select t.organization_id, t.starts, t.ends
from apm_private.list_touched_buckets(%(width)s::interval, array[%(slice)s::int]) as t
order by t.starts, t.ends, t.organization_id

-- move_cursor [apm_engine] --
-- A width of a slice is filled as far as the snapshot.
insert into apm_private.cursors as c (name, snapshot, updated_at)
values (%(name)s::text, %(snapshot)s::pg_snapshot, now())
on conflict (name) do update set snapshot = excluded.snapshot, updated_at = excluded.updated_at

-- list_write_batches [apm_engine] --
-- The write batches that can hold samples of [from, to): they begin up to an hour before, which is `since`.
select b.organization_id::text as organization_id, b.block_id, (extract(epoch from b."timestamp") * 1000)::int8 as first_ms,
    b.series_ids, b.offsets_ms, b.metric_values,
    coalesce((b.wedding_context ->> 'is_wedding_day')::boolean, false) as is_wedding_day
from public.apm_metrics as b
where b.level = 0
    and b.organization_id = any (%(organization_ids)s::uuid[])
    and b."timestamp" >= %(since)s::timestamptz
    and b."timestamp" < %(to)s::timestamptz
    and b.ends_at >= %(from)s::timestamptz

-- list_compacted_blocks [apm_engine] --
-- The compacted rows that can hold samples of [from, to): they begin up to a day before, which is `since`. The
-- organization stands where the source does.
select b.block_id, b.level, (extract(epoch from b."timestamp") * 1000)::bigint as first_ms, b.series_ids, b.offsets_ms,
    b.metric_values, b.step_ms, b.scaled_values, b.value_base, b.value_scale, b.series_clocks, b.series_digits,
    b.clock_counts, b.packed_bases, b.packed_rises, b.packed_units, b.packed_widths, b.packed_starts, b.packed_bits,
    case when (b.wedding_context ->> 'is_wedding_day')::boolean then 'true' end as wedding_context,
    b.organization_id::text as source
from public.apm_metrics as b
where b.level = 1
    and b.organization_id = any (%(organization_ids)s::uuid[])
    and b."timestamp" >= %(since)s::timestamptz
    and b."timestamp" < %(to)s::timestamptz
    and b.ends_at >= %(from)s::timestamptz

-- list_rollups [apm_engine] --
-- The buckets of one width in [from, to), each organization's in the order of their times.
select a.organization_id::text as organization_id, (extract(epoch from a.time_bucket) * 1000)::int8 as bucket_ms,
    a.series_ids, a.sample_counts, a.sum_values, a.min_values, a.max_values,
    coalesce(a.first_values, a.last_values) as first_values, a.last_values,
    coalesce(a.increases, array_fill(0::float8, array[cardinality(a.series_ids)])) as increases,
    a.p50, a.p95, a.p99, a.sketches, a.is_wedding_day, coalesce(a.parts, 0) as parts
from public.apm_metric_aggregations as a
where a.organization_id = any (%(organization_ids)s::uuid[])
    and a.bucket_width = %(width)s::interval
    and a.time_bucket >= %(from)s::timestamptz
    and a.time_bucket < %(to)s::timestamptz
order by a.organization_id, a.time_bucket

-- list_parts [apm_engine] --
-- What wider buckets are made of: those of one width in [from, to), each organization's in the order of their times.
select a.organization_id::text as organization_id, (extract(epoch from a.time_bucket) * 1000)::int8 as bucket_ms,
    a.series_ids, a.sample_counts, a.sum_values, a.min_values, a.max_values,
    coalesce(a.first_values, a.last_values) as first_values, a.last_values,
    coalesce(a.increases, array_fill(0::float8, array[cardinality(a.series_ids)])) as increases,
    a.sketches, a.is_wedding_day, coalesce(a.parts, 0) as parts
from public.apm_metric_aggregations as a
where a.organization_id = any (%(organization_ids)s::uuid[])
    and a.bucket_width = %(width)s::interval
    and a.time_bucket >= %(from)s::timestamptz
    and a.time_bucket < %(to)s::timestamptz
order by a.organization_id, a.time_bucket

-- list_sample_counts [apm_engine] --
-- How many samples of each series the minutes in [from, to) were made of.
select a.organization_id::text as organization_id, (extract(epoch from a.time_bucket) * 1000)::int8 as bucket_ms,
    a.series_ids, a.sample_counts
from public.apm_metric_aggregations as a
where a.organization_id = any (%(organization_ids)s::uuid[])
    and a.bucket_width = interval '1 minute'
    and a.time_bucket >= %(from)s::timestamptz
    and a.time_bucket < %(to)s::timestamptz
order by a.organization_id, a.time_bucket

-- list_heads [apm_engine] --
-- Of which narrower buckets, and of how many samples in all, those of one width in [from, to) were made.
select a.organization_id::text as organization_id, (extract(epoch from a.time_bucket) * 1000)::int8 as bucket_ms,
    coalesce(a.parts, 0) as parts, (select sum(c)::int8 from unnest(a.sample_counts) as c) as total
from public.apm_metric_aggregations as a
where a.organization_id = any (%(organization_ids)s::uuid[])
    and a.bucket_width = %(width)s::interval
    and a.time_bucket >= %(from)s::timestamptz
    and a.time_bucket < %(to)s::timestamptz

-- find_row_type [apm_engine] --
-- What the rows of write_rollups are called on the wire.
select 'apm_private.rollup_row'::regtype::oid::int8 as oid

-- write_rollups [apm_engine] --
-- Writes whole buckets of one width, new ones and in place of the old.
insert into public.apm_metric_aggregations as a (
    organization_id, time_bucket, bucket_width, series_ids, sample_counts, sum_values, min_values, max_values,
    first_values, last_values, increases, p50, p95, p99, sketches, is_wedding_day, parts
)
select r.organization_id, r.time_bucket, %(width)s::interval, r.series_ids, r.sample_counts, r.sum_values, r.min_values,
    r.max_values, r.first_values, r.last_values, r.increases, r.p50, r.p95, r.p99, r.sketches, r.is_wedding_day, r.parts
from unnest(%(rows)s::apm_private.rollup_row[]) as r
on conflict (organization_id, bucket_width, time_bucket) do update set
    series_ids = excluded.series_ids, sample_counts = excluded.sample_counts,
    sum_values = excluded.sum_values, min_values = excluded.min_values, max_values = excluded.max_values,
    first_values = excluded.first_values, last_values = excluded.last_values, increases = excluded.increases,
    p50 = excluded.p50, p95 = excluded.p95, p99 = excluded.p99, sketches = excluded.sketches,
    is_wedding_day = excluded.is_wedding_day, parts = excluded.parts, updated_at = now()
