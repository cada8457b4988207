drop view public.apm_rollups;
drop function public.apm_rollups_between(timestamptz, timestamptz, interval);
drop function public.aggregate_metrics(interval);
drop function apm_private.make_partitions(timestamptz);
drop table public.apm_metric_aggregations;
delete from apm_private.cursors where name like 'rollup %';

-- The samples stay; without anybody to make partitions they lie in the default one again.
do $$
declare
    part regclass;
begin
    alter table apm_partitions.apm_metrics_default no force row level security;
    for part in
        select i.inhrelid::regclass from pg_inherits as i
        where i.inhparent = 'public.apm_metrics'::regclass
            and i.inhrelid <> 'apm_partitions.apm_metrics_default'::regclass
    loop
        execute format('alter table public.apm_metrics detach partition %s', part);
        execute format('alter table %s no force row level security', part);
        execute format('insert into apm_partitions.apm_metrics_default select * from %s', part);
        execute format('drop table %s', part);
    end loop;
    alter table apm_partitions.apm_metrics_default force row level security;
end
$$;
