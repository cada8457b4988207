-- Series and samples for expressions.

-- list_labelled_series --
-- The series of an organization that some selectors may mean: each by a name (null: any) and by tags that must be there.
select s.organization_id, s.id, s.service_name, s.metric_name, s.tags::text as tags,
    case when s.ended_at is not null then array(
        select (extract(epoch from e.at) * 1000)::bigint from unnest(array_append(s.earlier_ends, s.ended_at)) as e (at)
    ) end as ended_ms
from public.apm_series as s
where s.organization_id = %(organization_id)s::uuid
    -- where all have a name, an index finds them
    and (%(only_names)s::text[] is null or s.metric_name = any (%(only_names)s::text[]))
    and exists (
        select from unnest(%(metric_names)s::text[], %(tags)s::text[]) as w (metric_name, tags)
        where (w.metric_name is null or w.metric_name = s.metric_name) and s.tags @> w.tags::jsonb
    )
    and (%(since)s::timestamptz is null or s.last_seen_at >= %(since)s)

-- list_label_names --
-- The names of labels under which an organization's series are known: what was sent, and the service where no tag says it.
select distinct l.label
from public.apm_series as s
cross join lateral (
    select '__name__' as label
    union all
    select jsonb_object_keys(s.tags)
    union all
    select 'service_name'
    where s.service_name not in (
        'default', coalesce(s.tags ->> 'service_name', ''), coalesce(s.tags ->> 'service', ''),
        coalesce(s.tags ->> 'service.name', ''), coalesce(s.tags ->> 'job', '')
    )
) as l
where s.organization_id = %(organization_id)s::uuid
    and (%(since)s::timestamptz is null or s.last_seen_at >= %(since)s)

-- list_label_values --
-- The values of one of them.
select distinct l.label_value
from public.apm_series as s
cross join lateral (
    select case
        when %(label)s::text = '__name__' then s.metric_name
        when %(label)s = 'service_name' and s.service_name not in (
            'default', coalesce(s.tags ->> 'service_name', ''), coalesce(s.tags ->> 'service', ''),
            coalesce(s.tags ->> 'service.name', ''), coalesce(s.tags ->> 'job', '')
        ) then s.service_name
        else s.tags ->> %(label)s
    end as label_value
) as l
where s.organization_id = %(organization_id)s::uuid
    and (%(since)s::timestamptz is null or s.last_seen_at >= %(since)s)
    and l.label_value <> ''

-- list_metric_kinds --
-- The types and units of an organization's metrics, or of one.
select s.metric_name, s.metric_type::text as metric_type, coalesce(s.unit, '') as unit
from public.apm_series as s
where s.organization_id = %(organization_id)s::uuid
    and (%(metric_name)s::text is null or s.metric_name = %(metric_name)s)
group by s.metric_name, s.metric_type, s.unit
order by s.metric_name, metric_type, unit

-- count_compacted_samples --
-- How many samples of some series compacted rows of [from, to) hold: before so many are read that they have no room.
select coalesce(sum(coalesce(b.sample_count, cardinality(b.metric_values), cardinality(b.scaled_values))), 0)::bigint as samples
from public.apm_metrics as b
where b.level = 1
    and b.organization_id = %(organization_id)s::uuid
    and b."timestamp" >= %(from)s::timestamptz - interval '1 day'
    and b."timestamp" < %(to)s::timestamptz
    and b.ends_at >= %(from)s::timestamptz
    and b.series_ids && %(series_ids)s::int4[]

-- find_kept --
-- What an organization keeps: from when on it has samples, whether it has rollups of what lies before them, and how
-- many days it keeps each level where it said so itself.
select
    (extract(epoch from s.begins) * 1000)::bigint as samples_from_ms,
    coalesce(bool_or(a.begins + w.width <= s.begins or a.begins is not null and s.begins is null), false) as is_cut,
    min(r.raw_days) as "raw", min(r.minute_days) as "1m", min(r.five_minutes_days) as "5m", min(r.hour_days) as "1h",
    min(r.day_days) as "1d"
from (
    select min(b."timestamp") as begins from public.apm_metrics as b where b.organization_id = %(organization_id)s::uuid
) as s
cross join unnest(array['1 minute', '5 minutes', '1 hour', '1 day']::interval[]) as w (width)
cross join lateral (
    select min(g.time_bucket) as begins
    from public.apm_metric_aggregations as g
    where g.organization_id = %(organization_id)s and g.bucket_width = w.width
) as a
left join public.apm_retention as r on r.organization_id = %(organization_id)s
group by s.begins

-- list_platform_series --
-- The same for a platform reader: of some organizations, or of all.
select s.organization_id, s.id, s.service_name, s.metric_name, s.tags::text as tags,
    case when s.ended_at is not null then array(
        select (extract(epoch from e.at) * 1000)::bigint from unnest(array_append(s.earlier_ends, s.ended_at)) as e (at)
    ) end as ended_ms
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
