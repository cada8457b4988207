-- pre: one way to the rows of a range, planned once in a connection: planning cost ten times what reading does.

-- The rows that can hold samples of ["from", "to") of an organization, compacted ones only if they hold any of the
-- series. As the caller, whom RLS binds. Refuses, by the size of the values, what no reader should take at once.
create function public.apm_blocks_between(
    organization_id uuid, "from" timestamptz, "to" timestamptz, series_ids int4[], most_bytes bigint
) returns setof public.apm_metrics
language plpgsql stable
set search_path = pg_catalog, pg_temp
-- partitions are left out when it runs
set plan_cache_mode = 'force_generic_plan'
as $$
begin
    if apm_blocks_between."to" - apm_blocks_between."from" > interval '2 hours' and (
        select sum(pg_column_size(b.metric_values)) > apm_blocks_between.most_bytes
        from public.apm_metrics as b
        where b.organization_id = apm_blocks_between.organization_id
            and b.level = 0
            and b."timestamp" >= apm_blocks_between."from" - interval '1 hour'
            and b."timestamp" < apm_blocks_between."to"
    ) then
        raise exception 'the range holds more samples than one answer may read: narrow it' using errcode = 'AP422';
    end if;
    return query
    select b.*
    from public.apm_metrics as b
    where b.level = 0
        and b.organization_id = apm_blocks_between.organization_id
        and b."timestamp" >= apm_blocks_between."from" - interval '1 hour'
        and b."timestamp" < apm_blocks_between."to"
        and b.ends_at >= apm_blocks_between."from"
    union all
    select b.*
    from public.apm_metrics as b
    where b.level = 1
        and b.organization_id = apm_blocks_between.organization_id
        and b."timestamp" >= apm_blocks_between."from" - interval '1 day'
        and b."timestamp" < apm_blocks_between."to"
        and b.ends_at >= apm_blocks_between."from"
        and b.series_ids && apm_blocks_between.series_ids;
end
$$;
revoke all on function public.apm_blocks_between(uuid, timestamptz, timestamptz, int4[], bigint)
    from public, anon, authenticated, service_role;
grant execute on function public.apm_blocks_between(uuid, timestamptz, timestamptz, int4[], bigint) to authenticated;
