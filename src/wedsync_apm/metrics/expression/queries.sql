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

-- list_platform_columns --
-- The rows that can hold samples of some series of some organizations in [from, to), for a platform reader; in the
-- columns of apm_columns_between.
with found as materialized (
    select b.*, (extract(epoch from b."timestamp") * 1000)::bigint as first_ms
    from public.apm_platform_blocks(
        %(organization_ids)s::uuid[], %(from)s::timestamptz, %(to)s::timestamptz
    ) as b
    where b.level = 0 or b.series_ids && %(series_ids)s::int4[]
)
select null::int8 as block_id, 0::int2 as level, null::int8 as first_ms,
    array_agg(b.series_ids) filter (where b.is_new = 1) as block_series,
    array_agg(b.offsets_ms) filter (where b.is_new = 1) as offsets_ms, array_agg(b.metric_values) as metric_values,
    null::int4 as step_ms, null::int2[] as scaled_values, null::float8 as value_base, null::float8 as value_scale,
    null::int4[] as series_clocks, null::int2[] as series_digits, null::int4[] as clock_counts,
    null::int8[] as packed_bases, null::int8[] as packed_rises, null::int4[] as packed_units,
    null::int2[] as packed_widths, null::int4[] as packed_starts, null::bit varying as packed_bits,
    array_agg(b.block_id) as batch_ids, array_agg(b.first_ms) as batch_first_ms,
    array_agg(b.number) as batch_numbers, array_agg(b.is_new) as batch_is_new
from (
    select f.*, row_number() over w as number,
        case
            when f.series_ids = lag(f.series_ids) over w and f.offsets_ms = lag(f.offsets_ms) over w then 0
            else 1
        end as is_new
    from found as f
    where f.level = 0
    window w as (order by f.organization_id, f."timestamp")
) as b
group by cardinality(b.series_ids)
union all
select b.block_id, b.level, b.first_ms, b.series_ids, b.offsets_ms, b.metric_values, b.step_ms, b.scaled_values,
    b.value_base, b.value_scale, b.series_clocks, b.series_digits, b.clock_counts, b.packed_bases, b.packed_rises,
    b.packed_units, b.packed_widths, b.packed_starts, b.packed_bits, null, null, null, null
from found as b
where b.level = 1

-- note_platform_read --
-- Puts into the audit log what a platform reader asks; false for anybody else.
select public.apm_note_platform_read(%(expression)s::text) as is_reader
