-- pre: compacted rows hold many series of a day, packed as bits, and block ids settle in a known order.

-- A packed row is of level 1. An entry is a series, or a part of one; each number of it is a straight line and what
-- is left of it: base + unit * (rise * i / (n - 1) + bits of `width` from start + i * width), and a value is that by
-- ten to the power of its digits. Behind the columns of the entries stand those of the clocks, which series that
-- were measured together share. Where digits are -1, the values stand in metric_values, from start on.
alter table public.apm_metrics
    add column sample_count int4,
    -- an entry's clock: the place of its times among the packed columns
    add column series_clocks int4[],
    add column series_digits int2[],
    add column clock_counts int4[],
    add column packed_bases int8[],
    add column packed_rises int8[],
    add column packed_units int4[],
    add column packed_widths int2[],
    add column packed_starts int4[],
    add column packed_bits bit varying;
-- there is nothing left to compress
alter table public.apm_metrics alter column packed_bits set storage external;

alter table public.apm_metrics drop constraint apm_metrics_level_0;
alter table public.apm_metrics drop constraint apm_metrics_level_1;
alter table public.apm_metrics add constraint apm_metrics_level_0 check (
    level <> 0 or (
        cardinality(series_ids) > 0
        and cardinality(offsets_ms) is not distinct from cardinality(series_ids)
        and cardinality(metric_values) is not distinct from cardinality(series_ids)
        and step_ms is null and scaled_values is null and series_clocks is null
    )
);
-- a compacted row: one series with offsets or a step and plain values or scaled ones; or a packed one
alter table public.apm_metrics add constraint apm_metrics_level_1 check (
    level <> 1
    or (
        series_clocks is null
        and cardinality(series_ids) = 1
        and num_nonnulls(offsets_ms, step_ms) = 1
        and num_nonnulls(metric_values, scaled_values) = 1
        and (scaled_values is null) = (value_base is null) and (scaled_values is null) = (value_scale is null)
        and coalesce(cardinality(metric_values), cardinality(scaled_values)) > 0
        and (offsets_ms is null or cardinality(offsets_ms) = coalesce(cardinality(metric_values), cardinality(scaled_values)))
    )
    or (
        cardinality(series_ids) > 0
        and num_nonnulls(offsets_ms, step_ms, scaled_values, value_base, value_scale) = 0
        and num_nulls(sample_count, series_digits, clock_counts, packed_rises, packed_units, packed_widths, packed_starts, packed_bits) = 0
        and sample_count > 0
        and cardinality(series_clocks) = cardinality(series_ids) and cardinality(series_digits) = cardinality(series_ids)
        and cardinality(clock_counts) > 0
        and cardinality(packed_bases) is not distinct from cardinality(series_ids) + cardinality(clock_counts)
        and cardinality(packed_rises) = cardinality(packed_bases) and cardinality(packed_units) = cardinality(packed_bases)
        and cardinality(packed_widths) = cardinality(packed_bases) and cardinality(packed_starts) = cardinality(packed_bases)
    )
);

-- Whoever writes a block has his transaction's number before he draws the block's: so once all transactions up to
-- one that began later are over, no lower block id can still come. (nextval() alone would not draw one first.)
alter table public.apm_metrics alter column block_id
set default case when pg_current_xact_id() is not null then nextval('apm_private.block_ids') end;

create or replace view public.apm_samples with (security_invoker = true) as
select
    d.organization_id,
    s.service_name,
    s.metric_name,
    s.metric_type,
    d.metric_value,
    s.unit,
    s.tags,
    d.wedding_context,
    d.apm_source,
    d."timestamp",
    d.series_id
from (
    select distinct on (b.organization_id, x.series_id, x."timestamp")
        b.organization_id, x.series_id, x."timestamp", x.metric_value, b.wedding_context, b.apm_source
    from public.apm_metrics as b
    cross join lateral (
        select u.series_id, b."timestamp" + u.offset_ms * interval '1 millisecond' as "timestamp", u.metric_value
        from unnest(b.series_ids, b.offsets_ms, b.metric_values) as u (series_id, offset_ms, metric_value)
        where b.level = 0
        union all
        select b.series_ids[1],
            b."timestamp" + coalesce(b.offsets_ms[i.n], (i.n - 1) * b.step_ms) * interval '1 millisecond',
            coalesce(b.metric_values[i.n], b.value_base + b.scaled_values[i.n] * b.value_scale)
        from generate_series(1, coalesce(cardinality(b.metric_values), cardinality(b.scaled_values))) as i (n)
        where b.level = 1 and b.series_clocks is null
        union all
        select e.series_id,
            b."timestamp" + (
                e.clock_base + e.clock_unit * (
                    e.clock_rise * i.n / greatest(e.samples - 1, 1)
                    + substring(p.bits, e.clock_start + i.n * e.clock_width + 1, e.clock_width)::int8
                )
            ) * interval '1 millisecond',
            case
                when e.digits < 0 then p.plain[e.start + i.n + 1]
                else (
                    e.base + e.unit * (
                        e.rise * i.n / greatest(e.samples - 1, 1)
                        + substring(p.bits, e.start + i.n * e.width + 1, e.width)::int8
                    )
                )::float8 / (array[1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15]::float8[])[e.digits + 1]
            end
        from (
            select b.packed_bits || B'' as bits, b.metric_values || '{}'::float8[] as plain
            -- fetched and unpacked once a row, not once a sample
            offset 0
        ) as p
        cross join lateral (
            select u.series_id, u.digits, u.base, u.rise, u.unit, u.width, u.start,
                b.clock_counts[u.clock - cardinality(b.series_ids)] as samples,
                b.packed_bases[u.clock] as clock_base, b.packed_rises[u.clock] as clock_rise,
                b.packed_units[u.clock] as clock_unit, b.packed_widths[u.clock] as clock_width,
                b.packed_starts[u.clock] as clock_start
            from unnest(
                b.series_ids, b.series_clocks, b.series_digits, b.packed_bases, b.packed_rises, b.packed_units,
                b.packed_widths, b.packed_starts
            ) as u (series_id, clock, digits, base, rise, unit, width, start)
            -- behind those of the series stand those of the clocks
            where u.series_id is not null
            offset 0
        ) as e
        cross join lateral generate_series(0, e.samples - 1) as i (n)
        where b.level = 1 and b.series_clocks is not null
    ) as x
    order by b.organization_id, x.series_id, x."timestamp", b.block_id desc
) as d
left join public.apm_series as s on s.organization_id = d.organization_id and s.id = d.series_id;

create or replace function public.apm_samples_between("from" timestamptz, "to" timestamptz)
returns table (
    organization_id uuid, service_name text, metric_name text, metric_type public.metric_type, metric_value float8,
    unit text, tags jsonb, wedding_context jsonb, apm_source text, "timestamp" timestamptz, series_id int
)
language sql stable
as $$
    select
        d.organization_id, s.service_name, s.metric_name, s.metric_type, d.metric_value, s.unit, s.tags,
        d.wedding_context, d.apm_source, d."timestamp", d.series_id
    from (
        select distinct on (r.organization_id, r.series_id, r."timestamp") r.*
        from (
            select b.organization_id, u.series_id, b."timestamp" + u.offset_ms * interval '1 millisecond' as "timestamp",
                u.metric_value, b.wedding_context, b.apm_source, b.block_id
            from public.apm_metrics as b
            cross join lateral unnest(b.series_ids, b.offsets_ms, b.metric_values) as u (series_id, offset_ms, metric_value)
            where b.level = 0
                and b."timestamp" >= apm_samples_between."from" - interval '1 hour'
                and b."timestamp" < apm_samples_between."to"
                and b.ends_at >= apm_samples_between."from"
            union all
            select b.organization_id, b.series_ids[1],
                b."timestamp" + coalesce(b.offsets_ms[i.n], (i.n - 1) * b.step_ms) * interval '1 millisecond',
                coalesce(b.metric_values[i.n], b.value_base + b.scaled_values[i.n] * b.value_scale),
                b.wedding_context, b.apm_source, b.block_id
            from public.apm_metrics as b
            cross join lateral generate_series(1, coalesce(cardinality(b.metric_values), cardinality(b.scaled_values))) as i (n)
            where b.level = 1 and b.series_clocks is null
                and b."timestamp" >= apm_samples_between."from" - interval '24 hours'
                and b."timestamp" < apm_samples_between."to"
                and b.ends_at >= apm_samples_between."from"
            union all
            select b.organization_id, e.series_id,
                b."timestamp" + (
                    e.clock_base + e.clock_unit * (
                        e.clock_rise * i.n / greatest(e.samples - 1, 1)
                        + substring(p.bits, e.clock_start + i.n * e.clock_width + 1, e.clock_width)::int8
                    )
                ) * interval '1 millisecond',
                case
                    when e.digits < 0 then p.plain[e.start + i.n + 1]
                    else (
                        e.base + e.unit * (
                            e.rise * i.n / greatest(e.samples - 1, 1)
                            + substring(p.bits, e.start + i.n * e.width + 1, e.width)::int8
                        )
                    )::float8 / (array[1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15]::float8[])[e.digits + 1]
                end,
                b.wedding_context, b.apm_source, b.block_id
            from public.apm_metrics as b
            -- fetched and unpacked once a row, not once a sample
            cross join lateral (
                select b.packed_bits || B'' as bits, b.metric_values || '{}'::float8[] as plain
                offset 0
            ) as p
            cross join lateral (
                select u.series_id, u.digits, u.base, u.rise, u.unit, u.width, u.start,
                    b.clock_counts[u.clock - cardinality(b.series_ids)] as samples,
                    b.packed_bases[u.clock] as clock_base, b.packed_rises[u.clock] as clock_rise,
                    b.packed_units[u.clock] as clock_unit, b.packed_widths[u.clock] as clock_width,
                    b.packed_starts[u.clock] as clock_start
                from unnest(
                    b.series_ids, b.series_clocks, b.series_digits, b.packed_bases, b.packed_rises, b.packed_units,
                    b.packed_widths, b.packed_starts
                ) as u (series_id, clock, digits, base, rise, unit, width, start)
                -- behind those of the series stand those of the clocks
                where u.series_id is not null
                offset 0
            ) as e
            cross join lateral generate_series(0, e.samples - 1) as i (n)
            where b.level = 1 and b.series_clocks is not null
                and b."timestamp" >= apm_samples_between."from" - interval '24 hours'
                and b."timestamp" < apm_samples_between."to"
                and b.ends_at >= apm_samples_between."from"
        ) as r
        where r."timestamp" >= apm_samples_between."from" and r."timestamp" < apm_samples_between."to"
        order by r.organization_id, r.series_id, r."timestamp", r.block_id desc
    ) as d
    left join public.apm_series as s on s.organization_id = d.organization_id and s.id = d.series_id
$$;
