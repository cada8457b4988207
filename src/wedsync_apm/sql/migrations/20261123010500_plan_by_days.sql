-- pre: a range of samples names its days to the planner, which then plans for those and not for all.

-- "from" less an interval depends on the session's time zone and is computed when the statement runs; this is not, and is
-- known when it is planned: 1.9 ms instead of 10.6 for an hour among 14 days. A second more, for what rounding takes.
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
                and b."timestamp" >= (
                    case when isfinite(apm_samples_between."from")
                        then to_timestamp(extract(epoch from apm_samples_between."from" - timestamptz 'epoch')::float8 - 3601)
                        else apm_samples_between."from" end
                )
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
                and b."timestamp" >= (
                    case when isfinite(apm_samples_between."from")
                        then to_timestamp(extract(epoch from apm_samples_between."from" - timestamptz 'epoch')::float8 - 86401)
                        else apm_samples_between."from" end
                )
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
                and b."timestamp" >= (
                    case when isfinite(apm_samples_between."from")
                        then to_timestamp(extract(epoch from apm_samples_between."from" - timestamptz 'epoch')::float8 - 86401)
                        else apm_samples_between."from" end
                )
                and b."timestamp" < apm_samples_between."to"
                and b.ends_at >= apm_samples_between."from"
        ) as r
        where r."timestamp" >= apm_samples_between."from" and r."timestamp" < apm_samples_between."to"
        order by r.organization_id, r.series_id, r."timestamp", r.block_id desc
    ) as d
    left join public.apm_series as s on s.organization_id = d.organization_id and s.id = d.series_id
$$;
