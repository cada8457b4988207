-- Series and samples for expressions.

-- list_labelled_series --
-- The series of an organization that some selectors may mean: each by a name (null: any) and by tags that must be there.
select s.organization_id, s.id, s.service_name, s.metric_name, s.tags::text as tags,
    (extract(epoch from s.ended_at) * 1000)::bigint as ended_ms
from public.apm_series as s
where s.organization_id = %(organization_id)s::uuid
    and exists (
        select from unnest(%(metric_names)s::text[], %(tags)s::text[]) as w (metric_name, tags)
        where (w.metric_name is null or w.metric_name = s.metric_name) and s.tags @> w.tags::jsonb
    )

-- list_platform_series --
-- The same for a platform reader: of some organizations, or of all.
select s.organization_id, s.id, s.service_name, s.metric_name, s.tags::text as tags,
    (extract(epoch from s.ended_at) * 1000)::bigint as ended_ms
from public.apm_platform_series(%(organization_ids)s::uuid[], %(metric_names)s::text[]) as s

-- list_platform_blocks --
-- The rows that can hold samples of some series of some organizations in [from, to), for a platform reader.
select b.block_id, b.level, (extract(epoch from b."timestamp") * 1000)::bigint as first_ms, b.series_ids, b.offsets_ms,
    b.metric_values, b.step_ms, b.scaled_values, b.value_base, b.value_scale, b.series_clocks, b.series_digits,
    b.clock_counts, b.packed_bases, b.packed_rises, b.packed_units, b.packed_widths, b.packed_starts, b.packed_bits
from public.apm_platform_blocks(
    %(organization_ids)s::uuid[], %(from)s::timestamptz, %(to)s::timestamptz
) as b
where b.level = 0 or b.series_ids && %(series_ids)s::int4[]

-- note_platform_read --
-- Puts into the audit log what a platform reader asks; false for anybody else.
select public.apm_note_platform_read(%(expression)s::text) as is_reader
