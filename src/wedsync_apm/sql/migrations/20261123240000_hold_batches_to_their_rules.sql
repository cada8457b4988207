-- pre: a write batch is not held to the rules of compacted rows, and its numbers are not compressed in vain.

-- PostgreSQL reads a table's rules anew in every statement that inserts: of a flush of a few requests that was a quarter.
-- So the long ones stand where their rows lie, and in the default partition, from which each new one takes them over.
create function apm_private.is_wedding_context(context jsonb) returns boolean
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
    select jsonb_typeof(is_wedding_context.context) = 'object'
        and coalesce(jsonb_typeof(is_wedding_context.context -> 'is_wedding_day'), 'boolean') = 'boolean'
        and coalesce(jsonb_typeof(is_wedding_context.context -> 'wedding_id'), 'string') in ('string', 'null')
        and coalesce(jsonb_typeof(is_wedding_context.context -> 'phase'), 'string') in ('string', 'null')
$$;
revoke all on function apm_private.is_wedding_context(jsonb) from public, anon, authenticated, service_role;
grant execute on function apm_private.is_wedding_context(jsonb) to apm_definer, apm_writer, apm_engine, service_role;

alter table public.apm_metrics drop constraint apm_metrics_level_1;
alter table public.apm_metrics drop constraint apm_metrics_wedding_context;
alter table apm_partitions.apm_metrics_default add constraint apm_metrics_level_1 check (
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
alter table apm_partitions.apm_metrics_default add constraint apm_metrics_wedding_context check (
    wedding_context is null or apm_private.is_wedding_context(wedding_context)
);

create or replace function apm_private.make_partition(parent regclass, name text, starts timestamptz, ends timestamptz) returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    fallback text := (select relname || '_default' from pg_catalog.pg_class where oid = make_partition.parent);
    key text := (
        select a.attname from pg_catalog.pg_partitioned_table as t
        join pg_catalog.pg_attribute as a on a.attrelid = t.partrelid and a.attnum = t.partattrs[0]
        where t.partrelid = make_partition.parent
    );
    -- Citus distributes no partitions of partitions; there a day is one table, whose emptied pages stay with it.
    is_split boolean := make_partition.parent = 'public.apm_metrics'::regclass
        and current_setting('citus.shard_count', true) is null;
    options text := (
        select array_to_string(c.reloptions, ', ') from pg_catalog.pg_class as c
        where c.oid = to_regclass(format('apm_partitions.%I', fallback))
    );
    rule record;
    made text;
    parts text[] := array[make_partition.name];
begin
    if to_regclass(format('apm_partitions.%I', make_partition.name)) is not null then
        return false;
    end if;
    execute format(
        'create table apm_partitions.%I (like %s including defaults including constraints including storage) %s',
        make_partition.name, make_partition.parent, case when is_split then 'partition by list (level)' else '' end
    );
    if is_split then
        -- Compaction empties the one. In a table of both, rows of the other would hold the emptied pages.
        parts := parts || array[make_partition.name || '_written', make_partition.name || '_compacted'];
        execute format('create table apm_partitions.%I partition of apm_partitions.%I for values in (0)', parts[2], parts[1]);
        execute format('create table apm_partitions.%I partition of apm_partitions.%I for values in (1)', parts[3], parts[1]);
    end if;
    if is_split then
        -- Numbers hardly shrink, and trying to costs the writer more than all else; two rows to a page, without a detour.
        execute format('alter table apm_partitions.%I alter column metric_values set storage external', parts[2]);
        execute format('alter table apm_partitions.%I set (toast_tuple_target = 4080)', parts[2]);
    end if;
    for rule in
        select c.conname as name, pg_get_constraintdef(c.oid) as definition
        from pg_catalog.pg_constraint as c
        where c.conrelid = to_regclass(format('apm_partitions.%I', fallback)) and c.contype = 'c' and c.coninhcount = 0
    loop
        -- the last ones are where the rows lie
        foreach made in array parts[cardinality(parts) / 2 + 1 :] loop
            if made <> make_partition.name || '_written' or rule.name <> 'apm_metrics_level_1' then
                execute format('alter table apm_partitions.%I add constraint %I %s', made, rule.name, rule.definition);
            end if;
        end loop;
    end loop;
    if options is not null and not is_split then
        -- LIKE does not take them over
        execute format('alter table apm_partitions.%I set (%s)', make_partition.name, options);
    end if;
    foreach made in array parts loop
        execute format('alter table apm_partitions.%I enable row level security', made);
        execute format('revoke all on apm_partitions.%I from public, anon, authenticated, service_role', made);
    end loop;
    -- Rows that were faster than their partition lie in the default one and would forbid the attaching.
    execute format('alter table apm_partitions.%I no force row level security', fallback);
    execute format(
        'with late as (delete from apm_partitions.%I where %I >= %L and %I < %L returning *)
        insert into apm_partitions.%I select * from late',
        fallback, key, make_partition.starts, key, make_partition.ends, make_partition.name
    );
    execute format('alter table apm_partitions.%I force row level security', fallback);
    foreach made in array parts loop
        execute format('alter table apm_partitions.%I force row level security', made);
    end loop;
    execute format(
        'alter table %s attach partition apm_partitions.%I for values from (%L) to (%L)',
        make_partition.parent, make_partition.name, make_partition.starts, make_partition.ends
    );
    return true;
end
$$;

do $$
declare
    part record;
    rule record;
begin
    for part in
        select t.relid::regclass as name, t.parentrelid <> 'public.apm_metrics'::regclass and c.relname like '%\_written' as is_written
        from pg_partition_tree('public.apm_metrics') as t
        join pg_catalog.pg_class as c on c.oid = t.relid
        where t.isleaf and t.relid <> 'apm_partitions.apm_metrics_default'::regclass
    loop
        if part.is_written then
            execute format('alter table %s alter column metric_values set storage external', part.name);
            execute format('alter table %s set (toast_tuple_target = 4080)', part.name);
        end if;
        for rule in
            select c.conname as name, pg_get_constraintdef(c.oid) as definition
            from pg_catalog.pg_constraint as c
            where c.conrelid = 'apm_partitions.apm_metrics_default'::regclass and c.contype = 'c' and c.coninhcount = 0
        loop
            if not part.is_written or rule.name <> 'apm_metrics_level_1' then
                -- Rows that are there were held to it when they came, and are not read again.
                execute format(
                    'alter table %s add constraint %I %s %s', part.name, rule.name, rule.definition,
                    case when pg_relation_size(part.name) > 0 then 'not valid' else '' end
                );
            end if;
        end loop;
    end loop;
end
$$;
