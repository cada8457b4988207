create or replace function apm_private.make_partitions(at timestamptz) returns int
language plpgsql security definer
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
as $$
declare
    day date;
    made int := 0;
begin
    for day in select generate_series((make_partitions.at)::date - 8, (make_partitions.at)::date + 4, interval '1 day')::date
    loop
        made := made + apm_private.make_partition(
            'public.apm_metrics', 'apm_metrics_' || to_char(day, 'YYYYMMDD'), day, day + 1
        )::int;
    end loop;
    for day in select generate_series(
        date_trunc('month', make_partitions.at) - interval '2 months',
        date_trunc('month', make_partitions.at) + interval '2 months', interval '1 month'
    )::date
    loop
        made := made + apm_private.make_partition(
            'public.apm_metric_aggregations', 'apm_metric_aggregations_' || to_char(day, 'YYYYMM'),
            day, (day + interval '1 month')::date
        )::int;
    end loop;
    return made;
end
$$;
drop function apm_private.shrink_partitions();
drop function apm_private.drop_partitions(timestamptz, timestamptz);
drop table public.apm_retention;
