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
begin
    if to_regclass(format('apm_partitions.%I', make_partition.name)) is not null then
        return false;
    end if;
    execute format(
        'create table apm_partitions.%I (like %s including defaults including constraints including storage)',
        make_partition.name, make_partition.parent
    );
    execute format('alter table apm_partitions.%I enable row level security', make_partition.name);
    execute format('revoke all on apm_partitions.%I from public, anon, authenticated, service_role', make_partition.name);
    -- Rows that were faster than their partition lie in the default one and would forbid the attaching.
    execute format('alter table apm_partitions.%I no force row level security', fallback);
    execute format(
        'with late as (delete from apm_partitions.%I where %I >= %L and %I < %L returning *)
        insert into apm_partitions.%I select * from late',
        fallback, key, make_partition.starts, key, make_partition.ends, make_partition.name
    );
    execute format('alter table apm_partitions.%I force row level security', fallback);
    execute format('alter table apm_partitions.%I force row level security', make_partition.name);
    execute format(
        'alter table %s attach partition apm_partitions.%I for values from (%L) to (%L)',
        make_partition.parent, make_partition.name, make_partition.starts, make_partition.ends
    );
    return true;
end
$$;

-- A day's rows lie in one table again.
select set_config('apm.batch', 'on', true);
do $$
declare
    part record;
begin
    for part in
        select c.oid, c.relname, to_date(right(c.relname, 8), 'YYYYMMDD') as day
        from pg_catalog.pg_inherits as i
        join pg_catalog.pg_class as c on c.oid = i.inhrelid
        where i.inhparent = 'public.apm_metrics'::regclass and c.relkind = 'p'
    loop
        execute format('alter table public.apm_metrics detach partition %s', part.oid::regclass);
        execute format('alter table %s no force row level security', part.oid::regclass);
        execute format('create temporary table kept on commit drop as select * from %s', part.oid::regclass);
        execute format('drop table %s', part.oid::regclass);
        perform apm_private.make_partition(
            'public.apm_metrics', part.relname, part.day::timestamp at time zone 'UTC', (part.day + 1)::timestamp at time zone 'UTC'
        );
        execute format('alter table apm_partitions.%I no force row level security', part.relname);
        execute format('insert into apm_partitions.%I select * from kept', part.relname);
        execute format('alter table apm_partitions.%I force row level security', part.relname);
        drop table kept;
    end loop;
end
$$;
