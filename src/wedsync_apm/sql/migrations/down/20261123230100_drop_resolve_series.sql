create function apm_private.resolve_many_series(
    organization_ids uuid[], service_names text[], metric_names text[], metric_types text[], units text[], tags jsonb[],
    series_limit int
) returns table (ordinal int, series_id int, is_known boolean)
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    fingerprints bytea[];
    growing uuid[];
begin
    -- the same bytes as apm_private.series_fingerprint, whose call alone costs more than the hash
    select array_agg(
        sha256(convert_to(jsonb_build_array(u.service_name, u.metric_name, u.tags)::text, 'UTF8')) order by u.ordinal
    ) into fingerprints
    from unnest(resolve_many_series.service_names, resolve_many_series.metric_names, resolve_many_series.tags)
        with ordinality as u (service_name, metric_name, tags, ordinal);

    select array_agg(distinct u.organization_id) into growing
    from unnest(resolve_many_series.organization_ids, fingerprints) as u (organization_id, fingerprint)
    where not exists (
        select from public.apm_series as s
        where s.organization_id = u.organization_id and s.fingerprint = u.fingerprint
    );

    if growing is not null then
        select array_agg(o.organization_id) into growing from apm_private.host_organizations(growing) as o;
        -- One caller at a time makes an organization's series; in one order, so that two callers never wait
        -- for each other.
        perform pg_advisory_xact_lock(l.key)
        from (
            select distinct hashtextextended('apm_series ' || g.organization_id, 0) as key
            from unnest(growing) as g (organization_id)
            order by key
        ) as l;
        with room as (
            select g.organization_id,
                resolve_many_series.series_limit - (
                    select count(*) from public.apm_series as s
                    where s.organization_id = g.organization_id and s.last_seen_at > now() - interval '24 hours'
                ) as places
            from unnest(growing) as g (organization_id)
        ), wanted as (
            select distinct on (u.organization_id, u.fingerprint) u.*
            from unnest(
                resolve_many_series.organization_ids, resolve_many_series.service_names,
                resolve_many_series.metric_names, resolve_many_series.metric_types, resolve_many_series.units,
                resolve_many_series.tags, fingerprints
            ) with ordinality as u (organization_id, service_name, metric_name, metric_type, unit, tags, fingerprint, ordinal)
            where u.organization_id = any (growing)
                and not exists (
                    select from public.apm_series as s
                    where s.organization_id = u.organization_id and s.fingerprint = u.fingerprint
                )
            order by u.organization_id, u.fingerprint, u.ordinal
        ), numbered as (
            select w.*, row_number() over (partition by w.organization_id order by w.ordinal) as place
            from wanted as w
        )
        insert into public.apm_series as s
            (organization_id, service_name, metric_name, metric_type, unit, tags, fingerprint)
        select n.organization_id, n.service_name, n.metric_name, n.metric_type::public.metric_type, n.unit, n.tags, n.fingerprint
        from numbered as n
        join room as r on r.organization_id = n.organization_id
        where n.place <= r.places
        on conflict (organization_id, fingerprint) do nothing;
    end if;

    -- Whoever writes asks again every quarter of an hour, so this is true to some hours, and written as seldom. A
    -- series that somebody else is just about is left to him: two callers must not wait for each other.
    update public.apm_series as s
    set last_seen_at = now()
    from (
        select k.organization_id, k.id
        from unnest(resolve_many_series.organization_ids, fingerprints) as u (organization_id, fingerprint)
        join public.apm_series as k on k.organization_id = u.organization_id and k.fingerprint = u.fingerprint
        where k.last_seen_at < now() - interval '4 hours'
        for no key update of k skip locked
    ) as stale
    where s.organization_id = stale.organization_id and s.id = stale.id;

    -- A unit that was not known before is learnt.
    if exists (select from unnest(resolve_many_series.units) as u (unit) where u.unit is not null) then
        update public.apm_series as s
        set unit = u.unit
        from unnest(resolve_many_series.organization_ids, resolve_many_series.units, fingerprints)
            as u (organization_id, unit, fingerprint)
        where s.organization_id = u.organization_id and s.fingerprint = u.fingerprint
            and s.unit is null and u.unit is not null;
    end if;

    return query
    select u.ordinal::int, s.id,
        s.id is not null or coalesce(u.organization_id = any (growing), false)
    from unnest(resolve_many_series.organization_ids, fingerprints)
        with ordinality as u (organization_id, fingerprint, ordinal)
    left join public.apm_series as s
        on s.organization_id = u.organization_id and s.fingerprint = u.fingerprint
    order by u.ordinal;
end
$$;
call apm_private.hand_over('apm_private.resolve_many_series(uuid[], text[], text[], text[], text[], jsonb[], int)');
grant execute on function apm_private.resolve_many_series(uuid[], text[], text[], text[], text[], jsonb[], int) to apm_writer;
create function apm_private.resolve_series(
    organization_id uuid, service_names text[], metric_names text[], metric_types text[], units text[], tags jsonb[],
    series_limit int
) returns table (ordinal int, series_id int)
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    room int;
begin
    if exists (
        select
        from unnest(resolve_series.service_names, resolve_series.metric_names, resolve_series.tags)
            as u (service_name, metric_name, tags)
        left join public.apm_series as s
            on s.organization_id = resolve_series.organization_id
            and s.fingerprint = apm_private.series_fingerprint(u.service_name, u.metric_name, u.tags)
        where s.id is null
    ) then
        perform pg_advisory_xact_lock(hashtextextended('apm_series ' || resolve_series.organization_id, 0));
        select resolve_series.series_limit - count(*) into room
        from public.apm_series as s
        where s.organization_id = resolve_series.organization_id and s.last_seen_at > now() - interval '24 hours';
        insert into public.apm_series as s
            (organization_id, service_name, metric_name, metric_type, unit, tags, fingerprint)
        select resolve_series.organization_id, n.service_name, n.metric_name,
            n.metric_type::public.metric_type, n.unit, n.tags, n.fingerprint
        from (
            select distinct on (apm_private.series_fingerprint(u.service_name, u.metric_name, u.tags))
                u.*, apm_private.series_fingerprint(u.service_name, u.metric_name, u.tags) as fingerprint
            from unnest(
                resolve_series.service_names, resolve_series.metric_names, resolve_series.metric_types,
                resolve_series.units, resolve_series.tags
            ) with ordinality as u (service_name, metric_name, metric_type, unit, tags, ordinal)
            where not exists (
                select from public.apm_series as k
                where k.organization_id = resolve_series.organization_id
                    and k.fingerprint = apm_private.series_fingerprint(u.service_name, u.metric_name, u.tags)
            )
        ) as n
        order by n.ordinal
        limit greatest(room, 0)
        on conflict (organization_id, fingerprint) do nothing;
    end if;

    update public.apm_series as s
    set last_seen_at = now()
    from unnest(resolve_series.service_names, resolve_series.metric_names, resolve_series.tags)
        as u (service_name, metric_name, tags)
    where s.organization_id = resolve_series.organization_id
        and s.fingerprint = apm_private.series_fingerprint(u.service_name, u.metric_name, u.tags)
        and s.last_seen_at < now() - interval '4 hours';

    -- A type or unit that was not known before is learnt.
    update public.apm_series as s
    set unit = coalesce(s.unit, u.unit)
    from unnest(resolve_series.service_names, resolve_series.metric_names, resolve_series.units, resolve_series.tags)
        as u (service_name, metric_name, unit, tags)
    where s.organization_id = resolve_series.organization_id
        and s.fingerprint = apm_private.series_fingerprint(u.service_name, u.metric_name, u.tags)
        and s.unit is null and u.unit is not null;

    return query
    select u.ordinal::int, s.id
    from unnest(resolve_series.service_names, resolve_series.metric_names, resolve_series.tags)
        with ordinality as u (service_name, metric_name, tags, ordinal)
    left join public.apm_series as s
        on s.organization_id = resolve_series.organization_id
        and s.fingerprint = apm_private.series_fingerprint(u.service_name, u.metric_name, u.tags)
    order by u.ordinal;
end
$$;
call apm_private.hand_over('apm_private.resolve_series(uuid, text[], text[], text[], text[], jsonb[], int)');
grant execute on function apm_private.resolve_series(uuid, text[], text[], text[], text[], jsonb[], int) to apm_writer;
