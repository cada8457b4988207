-- The rows that samples lie in, for readers that decode many at once.

-- list_columns_between --
-- The rows that can hold samples of some series in [from, to), write batches together; the arrays stay as they are stored.
select c.block_id, c.level, c.first_ms, c.block_series, c.offsets_ms, c.metric_values, c.step_ms, c.scaled_values,
    c.value_base, c.value_scale, c.series_clocks, c.series_digits, c.clock_counts, c.packed_bases, c.packed_rises,
    c.packed_units, c.packed_widths, c.packed_starts, c.packed_bits, c.batch_ids, c.batch_first_ms,
    c.batch_numbers, c.batch_is_new
from public.apm_columns_between(
    %(organization_id)s::uuid, %(from)s::timestamptz, %(to)s::timestamptz, %(series_ids)s::int4[], %(most_bytes)s::bigint
) as c
