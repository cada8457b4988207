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

-- Every table has all rules again, by its parent.
do $$
declare
    long_ones text[] := array['apm_metrics_level_1', 'apm_metrics_wedding_context'];
    level_1 text := (
        select pg_get_constraintdef(c.oid) from pg_catalog.pg_constraint as c
        where c.conrelid = 'apm_partitions.apm_metrics_default'::regclass and c.conname = 'apm_metrics_level_1'
    );
    context text := $check$check (
        wedding_context is null or (
            jsonb_typeof(wedding_context) = 'object'
            and coalesce(jsonb_typeof(wedding_context -> 'is_wedding_day'), 'boolean') = 'boolean'
            and coalesce(jsonb_typeof(wedding_context -> 'wedding_id'), 'string') in ('string', 'null')
            and coalesce(jsonb_typeof(wedding_context -> 'phase'), 'string') in ('string', 'null')
        )
    )$check$;
    part record;
begin
    for part in
        select c.conrelid::regclass as name, c.conname as rule
        from pg_catalog.pg_constraint as c
        where c.conrelid in (select t.relid from pg_partition_tree('public.apm_metrics') as t)
            and c.conname = any (long_ones) and c.coninhcount = 0
        order by c.conrelid::regclass::text, c.conname
    loop
        execute format('alter table %s drop constraint %I', part.name, part.rule);
    end loop;
    for part in
        select t.relid::regclass as name
        from pg_partition_tree('public.apm_metrics') as t
        join pg_catalog.pg_class as c on c.oid = t.relid
        where t.isleaf and t.parentrelid <> 'public.apm_metrics'::regclass and c.relname like '%\_written'
    loop
        execute format('alter table %s alter column metric_values set storage extended', part.name);
        execute format('alter table %s reset (toast_tuple_target)', part.name);
    end loop;
    execute format('alter table public.apm_metrics add constraint apm_metrics_level_1 %s', level_1);
    execute format('alter table public.apm_metrics add constraint apm_metrics_wedding_context %s', context);
end
$$;

drop function apm_private.is_wedding_context(jsonb);
