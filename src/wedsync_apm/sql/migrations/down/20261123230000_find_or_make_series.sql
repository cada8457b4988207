create or replace function apm_private.insert_sample() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    resolved int;
begin
    if not apm_private.is_service()
        and (new.organization_id = any (public.apm_organization_ids_as('ADMIN'))) is not true then
        raise exception 'new row violates row-level security policy for view "apm_samples"'
            using errcode = 'insufficient_privilege';
    end if;
    if new.metric_value is null or new."timestamp" is null then
        raise exception 'a sample needs metric_value and "timestamp"' using errcode = 'not_null_violation';
    end if;
    select r.series_id into resolved
    from apm_private.resolve_series(
        new.organization_id, array[coalesce(new.service_name, 'default')], array[new.metric_name],
        array[coalesce(new.metric_type::text, case when new.metric_name like '%\_total' then 'counter' else 'gauge' end)],
        array[new.unit], array[coalesce(new.tags, '{}'::jsonb)], 20000
    ) as r;
    if resolved is null then
        raise exception 'organization % has as many series as it may have', new.organization_id
            using errcode = 'AP003', hint = 'Use fewer distinct tag values.';
    end if;
    insert into public.apm_metrics
        (organization_id, "timestamp", ends_at, series_ids, offsets_ms, metric_values, wedding_context, apm_source)
    values (
        new.organization_id,
        date_trunc('milliseconds', new."timestamp"), date_trunc('milliseconds', new."timestamp"),
        array[resolved], array[0], array[new.metric_value],
        coalesce(new.wedding_context, (
            select c.wedding_context
            from apm_private.wedding_contexts(array[new.organization_id], new."timestamp", new."timestamp") as c
            limit 1
        )),
        coalesce(new.apm_source, 'sql')
    );
    return new;
end
$$;
drop function apm_private.find_or_make_series(uuid[], text[], text[], text[], text[], jsonb[], int, int, int);
drop function apm_private.refresh_series(uuid[], int[], text[]);
drop function apm_private.count_active_series(uuid[]);
drop function apm_private.find_series(uuid[], bytea[], text[]);
drop table apm_private.series_counts;
