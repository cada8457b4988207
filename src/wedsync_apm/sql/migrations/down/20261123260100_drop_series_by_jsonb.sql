create function apm_private.find_series(
    organization_ids uuid[], fingerprints bytea[], units text[],
    out series_ids int[], out arriving uuid[], out is_stale boolean, out has_new_unit boolean
)
language sql security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_custom_plan
as $$
    select
        array_agg(k.id order by u.ordinal),
        array_agg(u.organization_id) filter (where k.id is null or k.last_seen_at < now() - interval '24 hours'),
        bool_or(k.last_seen_at < now() - interval '4 hours'),
        bool_or(k.unit is null and u.unit is not null and k.id is not null)
    from unnest(find_series.organization_ids, find_series.fingerprints, find_series.units)
        with ordinality as u (organization_id, fingerprint, unit, ordinal)
    left join lateral (
        select s.id, s.last_seen_at, s.unit
        from public.apm_series as s
        where s.organization_id = u.organization_id and s.fingerprint = u.fingerprint
        limit 1
    ) as k on true
$$;
call apm_private.hand_over('apm_private.find_series(uuid[], bytea[], text[])');
create function apm_private.count_active_series(organization_ids uuid[])
returns table (organization_id uuid, active int)
language sql security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_custom_plan
as $$
    select o.organization_id, (
        select count(*)::int from public.apm_series as s
        where s.organization_id = o.organization_id and s.last_seen_at > now() - interval '24 hours'
    )
    from apm_private.host_organizations(count_active_series.organization_ids) as o
$$;
call apm_private.hand_over('apm_private.count_active_series(uuid[])');
alter function apm_private.find_series(uuid[], bytea[], text[]) set enable_seqscan = off;
alter function apm_private.count_active_series(uuid[]) set enable_seqscan = off;
create function apm_private.find_or_make_series(
    organization_ids uuid[], service_names text[], metric_names text[], metric_types text[], units text[], tags jsonb[],
    series_limit int, refused int, unknown_organization int
) returns int[]
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    fingerprints bytea[];
    found record;
    ids int[];
    new_ids int[];
    growing uuid[];
    wanted int[];
    bounds int[];
    recounted uuid[];
    is_crowded boolean;
    has_strangers boolean;
    missing int;
    made int;
begin
    -- the same bytes as apm_private.series_fingerprint, whose call alone costs more than the hash
    fingerprints := array(
        select sha256(convert_to(
            '[' || to_json(u.service_name)::text || ', ' || to_json(u.metric_name)::text || ', ' || u.tags::text || ']', 'UTF8'
        ))
        from unnest(find_or_make_series.service_names, find_or_make_series.metric_names, find_or_make_series.tags)
            as u (service_name, metric_name, tags)
    );

    found := apm_private.find_series(find_or_make_series.organization_ids, fingerprints, find_or_make_series.units);
    ids := found.series_ids;

    if found.arriving is not null then
        -- One caller at a time makes an organization's series; in one order, so that two callers never wait for each
        -- other; and with few locks, however many organizations there are.
        perform pg_advisory_xact_lock(hashtext('apm_series'), l.key)
        from (
            select distinct hashtext(a.organization_id::text) & 511 as key
            from (select distinct a.organization_id from unnest(found.arriving) as a (organization_id)) as a
            order by key
        ) as l;

        with bound as (
            select a.organization_id, a.wanted, c.at_most,
                c.at_most + a.wanted <= find_or_make_series.series_limit
                and c.counted_at > now() - interval '1 hour' as is_sure
            from (
                select a.organization_id, count(*)::int as wanted
                from unnest(found.arriving) as a (organization_id)
                group by a.organization_id
            ) as a
            left join apm_private.series_counts as c on c.organization_id = a.organization_id
        ), counted as (
            select k.organization_id, k.active
            from apm_private.count_active_series(
                array(select b.organization_id from bound as b where b.is_sure is not true)
            ) as k
        )
        select array_agg(b.organization_id) filter (where b.is_sure or k.active is not null),
            array_agg(b.wanted) filter (where b.is_sure or k.active is not null),
            array_agg(coalesce(k.active, b.at_most)) filter (where b.is_sure or k.active is not null),
            array_agg(b.organization_id) filter (where k.active is not null),
            bool_or(coalesce(k.active, b.at_most) + b.wanted > find_or_make_series.series_limit),
            bool_or(b.is_sure is not true and k.active is null)
        into growing, wanted, bounds, recounted, is_crowded, has_strangers
        from bound as b
        left join counted as k on k.organization_id = b.organization_id;

        if is_crowded or has_strangers then
            -- What somebody else made before we had the lock needs no room.
            found := apm_private.find_series(
                find_or_make_series.organization_ids, fingerprints, find_or_make_series.units
            );
            select array_agg(
                case
                    when u.id is not null then u.id
                    when g.organization_id is null then find_or_make_series.unknown_organization
                    when u.place > find_or_make_series.series_limit - g.bound then find_or_make_series.refused
                end
                order by u.ordinal
            ) into ids
            from (
                select n.organization_id, n.id, n.ordinal,
                    row_number() over (partition by n.organization_id, n.id is null order by n.ordinal) as place
                from unnest(find_or_make_series.organization_ids, found.series_ids)
                    with ordinality as n (organization_id, id, ordinal)
            ) as u
            left join unnest(growing, bounds) as g (organization_id, bound) on g.organization_id = u.organization_id;
        end if;

        new_ids := array(
            select case when u.id is null then nextval('apm_private.series_ids')::int else u.id end from unnest(ids) as u (id)
        );
        missing := cardinality(array_positions(ids, null));
        insert into public.apm_series
            (organization_id, id, service_name, metric_name, metric_type, unit, tags, fingerprint)
        select n.organization_id, n.new_id, n.service_name, n.metric_name, n.metric_type::public.metric_type, n.unit,
            n.tags, n.fingerprint
        from unnest(
            find_or_make_series.organization_ids, find_or_make_series.service_names,
            find_or_make_series.metric_names, find_or_make_series.metric_types, find_or_make_series.units,
            find_or_make_series.tags, fingerprints, ids, new_ids
        ) as n (organization_id, service_name, metric_name, metric_type, unit, tags, fingerprint, id, new_id)
        where n.id is null
        on conflict (organization_id, fingerprint) do nothing;
        get diagnostics made = row_count;
        if made < missing then
            found := apm_private.find_series(
                find_or_make_series.organization_ids, fingerprints, find_or_make_series.units
            );
            select array_agg(coalesce(f.id, f.code) order by f.ordinal) into ids
            from unnest(found.series_ids, ids) with ordinality as f (id, code, ordinal);
        else
            ids := new_ids;
        end if;

        -- Only now: an organization that is being deleted is waited for with nothing in hand that its deletion needs.
        insert into apm_private.series_counts as c (organization_id, at_most, counted_at)
        select g.organization_id, g.bound + g.wanted, now()
        from unnest(growing, bounds, wanted) as g (organization_id, bound, wanted)
        on conflict (organization_id) do update set
            at_most = excluded.at_most,
            counted_at = case when c.organization_id = any (recounted) then excluded.counted_at else c.counted_at end;
    end if;

    if found.is_stale or found.has_new_unit then
        perform apm_private.refresh_series(find_or_make_series.organization_ids, ids, find_or_make_series.units);
    end if;
    return ids;
end
$$;
call apm_private.hand_over('apm_private.find_or_make_series(uuid[], text[], text[], text[], text[], jsonb[], int, int, int)');
grant execute on function
    apm_private.find_or_make_series(uuid[], text[], text[], text[], text[], jsonb[], int, int, int) to apm_writer;
