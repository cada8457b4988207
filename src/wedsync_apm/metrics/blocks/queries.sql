-- The rows that samples lie in, as they are stored.

-- list_blocks --
-- The rows that can hold samples of [from, to): write batches begin up to an hour before, compacted ones up to a day.
-- Given as values and not as differences, so that the planner leaves out the other days' partitions at once.
select b.block_id, b.level, (extract(epoch from b."timestamp") * 1000)::bigint as first_ms, b.series_ids, b.offsets_ms,
    b.metric_values, b.step_ms, b.scaled_values, b.value_base, b.value_scale, b.series_clocks, b.series_digits,
    b.clock_counts, b.packed_bases, b.packed_rises, b.packed_units, b.packed_widths, b.packed_starts, b.packed_bits,
    b.wedding_context::text as wedding_context, b.apm_source as source
from public.apm_metrics as b
where b.level = 0
    and b.organization_id = %(organization_id)s::uuid
    and b."timestamp" >= %(hour_before)s::timestamptz
    and b."timestamp" < %(to)s::timestamptz
    and b.ends_at >= %(from)s::timestamptz
    and (%(series_ids)s::int4[] is null or b.series_ids && %(series_ids)s::int4[])
union all
select b.block_id, b.level, (extract(epoch from b."timestamp") * 1000)::bigint as first_ms, b.series_ids, b.offsets_ms,
    b.metric_values, b.step_ms, b.scaled_values, b.value_base, b.value_scale, b.series_clocks, b.series_digits,
    b.clock_counts, b.packed_bases, b.packed_rises, b.packed_units, b.packed_widths, b.packed_starts, b.packed_bits,
    b.wedding_context::text as wedding_context, b.apm_source as source
from public.apm_metrics as b
where b.level = 1
    and b.organization_id = %(organization_id)s::uuid
    and b."timestamp" >= %(day_before)s::timestamptz
    and b."timestamp" < %(to)s::timestamptz
    and b.ends_at >= %(from)s::timestamptz
    and (%(series_ids)s::int4[] is null or b.series_ids && %(series_ids)s::int4[])
