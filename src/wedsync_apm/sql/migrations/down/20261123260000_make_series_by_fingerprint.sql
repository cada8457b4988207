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
    resolved := (apm_private.find_or_make_series(
        array[new.organization_id], array[coalesce(new.service_name, 'default')], array[new.metric_name],
        array[coalesce(new.metric_type::text, case when new.metric_name like '%\_total' then 'counter' else 'gauge' end)],
        array[new.unit], array[coalesce(new.tags, '{}'::jsonb)], 20000, -1, -2
    ))[1];
    if resolved = -1 then
        raise exception 'organization % has as many series as it may have', new.organization_id
            using errcode = 'AP003', hint = 'Use fewer distinct tag values.';
    elsif resolved = -2 then
        raise exception 'there is no organization %', new.organization_id using errcode = 'foreign_key_violation';
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

drop function apm_private.find_or_make_series(uuid[], text[], text[], text[], text[], text[], bytea[], int, int, int);
drop function apm_private.look_up_series(uuid[], bytea[], text[]);
drop trigger apm_series_count_new on public.apm_series;
drop trigger series_counts_drop_series on apm_private.series_counts;
drop trigger series_counts_drop_all_series on apm_private.series_counts;
drop function apm_private.count_new_series();
drop function apm_private.drop_counted_series();
alter table public.apm_series
add constraint apm_series_organization_id_fkey foreign key (organization_id)
references public.organizations (id) on delete cascade;
