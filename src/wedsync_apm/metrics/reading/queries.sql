-- The rows that samples lie in, for readers that decode many at once.

-- list_blocks_between --
-- The rows that can hold samples of some series in [from, to); the arrays stay as they are stored.
select b.block_id, b.level, (extract(epoch from b."timestamp") * 1000)::bigint as first_ms, b.series_ids, b.offsets_ms,
    b.metric_values, b.step_ms, b.scaled_values, b.value_base, b.value_scale, b.series_clocks, b.series_digits,
    b.clock_counts, b.packed_bases, b.packed_rises, b.packed_units, b.packed_widths, b.packed_starts, b.packed_bits
from public.apm_blocks_between(
    %(organization_id)s::uuid, %(from)s::timestamptz, %(to)s::timestamptz, %(series_ids)s::int4[], %(most_bytes)s::bigint
) as b
