-- pre: the write batches of a range come as one row: a thousand rows of three arrays cost a reader more than their samples.

-- What apm_blocks_between gives, as the caller, whom RLS binds, and refused like it. Compacted rows come as they are
-- stored. Write batches come together: those of a day that hold as many samples as each other in one row, which has an
-- entry for each in its last arrays and a line for each in `metric_values`. Lines of series and offsets are there only
-- where they differ from those of the batch whose number comes before (`batch_is_new` is 1); one sender's hardly ever do.
create function public.apm_columns_between(
    organization_id uuid, "from" timestamptz, "to" timestamptz, series_ids int4[], most_bytes bigint
) returns table (
    block_id int8, level int2, first_ms int8, block_series int4[], offsets_ms int4[], metric_values float8[],
    step_ms int4, scaled_values int2[], value_base float8, value_scale float8, series_clocks int4[],
    series_digits int2[], clock_counts int4[], packed_bases int8[], packed_rises int8[], packed_units int4[],
    packed_widths int2[], packed_starts int4[], packed_bits bit varying,
    batch_ids int8[], batch_first_ms int8[], batch_numbers int8[], batch_is_new int4[]
)
language plpgsql stable
set search_path = pg_catalog, pg_temp
-- partitions are left out when it runs
set plan_cache_mode = 'force_generic_plan'
as $$
declare
    starts timestamptz := apm_columns_between."from" - interval '1 hour';
    -- a day with what is read before it, so that no row becomes very large, but few steps for a very long range
    pace interval := greatest(interval '26 hours', (apm_columns_between."to" - starts) / 16);
    ends timestamptz;
    read_bytes bigint := 0;
    day_bytes bigint;
    group_bytes bigint;
begin
    while starts < apm_columns_between."to" loop
        ends := least(starts + pace, apm_columns_between."to");
        day_bytes := 0;
        for level, batch_ids, batch_first_ms, batch_numbers, batch_is_new, block_series, offsets_ms, metric_values,
            group_bytes in
            select
                0, array_agg(b.block_id), array_agg(b.first_ms), array_agg(b.number), array_agg(b.is_new),
                array_agg(b.series_ids) filter (where b.is_new = 1), array_agg(b.offsets_ms) filter (where b.is_new = 1),
                array_agg(b.metric_values) filter (where b.bytes <= apm_columns_between.most_bytes - read_bytes),
                max(b.bytes)
            from (
                select m.block_id, (extract(epoch from m."timestamp") * 1000)::bigint as first_ms, m.series_ids, m.offsets_ms,
                    m.metric_values, row_number() over w as number,
                    case
                        when m.series_ids = lag(m.series_ids) over w and m.offsets_ms = lag(m.offsets_ms) over w then 0
                        else 1
                    end as is_new,
                    sum(pg_column_size(m.metric_values)) over w as bytes
                from public.apm_metrics as m
                where m.level = 0
                    and m.organization_id = apm_columns_between.organization_id
                    and m."timestamp" >= starts
                    and m."timestamp" < ends
                    and m.ends_at >= apm_columns_between."from"
                window w as (rows unbounded preceding)
            ) as b
            group by cardinality(b.series_ids)
        loop
            day_bytes := greatest(day_bytes, group_bytes);
            if read_bytes + day_bytes > apm_columns_between.most_bytes then
                raise exception 'the range holds more samples than one answer may read: narrow it' using errcode = 'AP422';
            end if;
            return next;
        end loop;
        read_bytes := read_bytes + day_bytes;
        starts := ends;
    end loop;
    return query
    select b.block_id, b.level, (extract(epoch from b."timestamp") * 1000)::bigint, b.series_ids, b.offsets_ms,
        b.metric_values, b.step_ms, b.scaled_values, b.value_base, b.value_scale, b.series_clocks, b.series_digits,
        b.clock_counts, b.packed_bases, b.packed_rises, b.packed_units, b.packed_widths, b.packed_starts, b.packed_bits,
        null::int8[], null::int8[], null::int8[], null::int4[]
    from public.apm_metrics as b
    where b.level = 1
        and b.organization_id = apm_columns_between.organization_id
        and b."timestamp" >= apm_columns_between."from" - interval '1 day'
        and b."timestamp" < apm_columns_between."to"
        and b.ends_at >= apm_columns_between."from"
        and b.series_ids && apm_columns_between.series_ids;
end
$$;
revoke all on function public.apm_columns_between(uuid, timestamptz, timestamptz, int4[], bigint)
    from public, anon, authenticated, service_role;
grant execute on function public.apm_columns_between(uuid, timestamptz, timestamptz, int4[], bigint) to authenticated;
