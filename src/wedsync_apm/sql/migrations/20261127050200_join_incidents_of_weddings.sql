-- pre: several vendors of one wedding failing together are one incident of the platform, of which each sees its own part.

create table public.apm_incident_parts (
    organization_id uuid not null,
    incident_id uuid not null,
    -- the platform's incident: to a vendor a name for nothing else
    whole_id uuid not null,
    joined_at timestamptz not null,
    primary key (organization_id, incident_id, whole_id),
    foreign key (organization_id, incident_id) references public.apm_incidents (organization_id, id) on delete cascade
);
call apm_private.protect_table('public.apm_incident_parts');
-- list_parts: the parts of a whole, for the platform's people
create index idx_apm_incident_parts_whole on public.apm_incident_parts (whole_id);
grant select on public.apm_incident_parts to authenticated;
create policy apm_incident_parts_authenticated_select on public.apm_incident_parts for select to authenticated
using (
    organization_id = any ((select public.apm_current_organization_ids())::uuid[])
    or (select public.apm_operator_role()) is not null
);

-- What a vendor's wedding has in common with the other vendors' parts of it; null where it is his alone.
create function apm_private.shared_key_of(organization_id uuid, wedding_id uuid, wedding_date date) returns uuid
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    with mine as (
        select w.shared_key, w.client_id from public.apm_weddings as w
        where w.organization_id = shared_key_of.organization_id and w.id = shared_key_of.wedding_id
    )
    select coalesce(
        (select m.shared_key from mine as m),
        (
            select s.shared_key
            from apm_private.host_shared_weddings(
                array[shared_key_of.organization_id], shared_key_of.wedding_date, shared_key_of.wedding_date
            ) as s
            where s.connection_id = shared_key_of.wedding_id
                or s.client_id in (shared_key_of.wedding_id, (select m.client_id from mine as m))
            limit 1
        )
    )
$$;
call apm_private.hand_over('apm_private.shared_key_of(uuid, uuid, date)');

-- Opens the platform's incident of each wedding of which so many vendors got into trouble within so long, adds whoever
-- follows, and ends it when none of them is in trouble any more. Tells how many parts were added.
create function apm_private.join_weddings(at timestamptz, vendors int, within interval) returns int
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    platform uuid := (select p.organization_id from apm_private.platform as p);
    wedding record;
    whole uuid;
    added int;
    total int := 0;
begin
    if platform is null then
        return 0;
    end if;
    perform set_config('apm.actor', 'wedding', true), set_config('apm.at', join_weddings.at::text, true),
        set_config('apm.note', '', true);
    for wedding in
        with live as materialized (
            select i.organization_id, i.id, coalesce(i.reopened_at, i.detected_at) as began_at, i.severity, k.shared_key,
                w.value as wedding
            from public.apm_incidents as i
            cross join lateral jsonb_array_elements(i.affected_weddings) as w (value)
            cross join lateral (
                select apm_private.shared_key_of(
                    i.organization_id, (w.value ->> 'wedding_id')::uuid, (w.value ->> 'wedding_date')::date
                ) as shared_key
            ) as k
            where i.status in ('open', 'acknowledged', 'investigating') and i.organization_id <> platform
                and i.affected_weddings <> '[]' and k.shared_key is not null
        ), keyed as (
            select l.*,
                'wedding:1:' || left(encode(sha256(convert_to('incident of wedding ' || l.shared_key, 'UTF8')), 'hex'), 32)
                    as dedup_key
            from live as l
        )
        select k.dedup_key, count(distinct k.organization_id)::int as vendors, max(k.severity) as severity,
            array_agg(k.organization_id) as organization_ids, array_agg(k.id) as incident_ids,
            -- what the platform sees of it: when, and never who or where
            (array_agg(k.wedding - '{wedding_id,initials}'::text[] order by k.wedding ->> 'next_milestone_at'))[1] as place
        from keyed as k
        group by k.dedup_key
        having exists (
            select from public.apm_incidents as i
            where i.organization_id = platform and i.dedup_key = k.dedup_key
                and i.status in ('open', 'acknowledged', 'investigating')
        ) or exists (
            select from keyed as a
            join keyed as b on b.dedup_key = a.dedup_key
                and b.began_at between a.began_at and a.began_at + join_weddings.within
            where a.dedup_key = k.dedup_key
            group by a.organization_id, a.id
            having count(distinct b.organization_id) >= join_weddings.vendors
        )
    loop
        select i.id into whole from public.apm_incidents as i
        where i.organization_id = platform and i.dedup_key = wedding.dedup_key
            and i.status in ('open', 'acknowledged', 'investigating');
        if not found then
            whole := apm_private.open_incident(
                platform, wedding.dedup_key, wedding.vendors || ' vendors of one wedding are in trouble at once',
                wedding.severity, jsonb_build_object('wedding', split_part(wedding.dedup_key, ':', 3)), '{}', join_weddings.at
            );
        end if;
        with added_parts as (
            insert into public.apm_incident_parts (organization_id, incident_id, whole_id, joined_at)
            select u.organization_id, u.id, whole, join_weddings.at
            from unnest(wedding.organization_ids, wedding.incident_ids) as u (organization_id, id)
            on conflict do nothing
            returning organization_id, incident_id
        ), told as (
            insert into public.apm_incident_events (organization_id, incident_id, at, kind, actor, detail)
            select a.organization_id, a.incident_id, join_weddings.at, 'joined', 'wedding', '{}' from added_parts as a
        )
        select count(*) into added from added_parts;
        if added > 0 then
            total := total + added;
            update public.apm_incidents as i set
                title = (
                    select count(distinct p.organization_id) from public.apm_incident_parts as p where p.whole_id = whole
                ) || ' vendors of one wedding are in trouble at once',
                severity = greatest(i.severity, wedding.severity),
                affected_weddings = jsonb_build_array(wedding.place),
                was_wedding_day = true,
                wedding_date = (wedding.place ->> 'wedding_date')::date,
                wedding_phase = wedding.place ->> 'phase',
                priority = greatest(i.priority, apm_private.incident_priority(
                    greatest(i.severity, wedding.severity), wedding.place ->> 'phase',
                    (wedding.place ->> 'next_milestone_at')::timestamptz - join_weddings.at
                ))
            where i.organization_id = platform and i.id = whole;
            insert into public.apm_incident_events (organization_id, incident_id, at, kind, actor, detail)
            values (platform, whole, join_weddings.at, 'joined', 'wedding', jsonb_build_object('parts', added));
        end if;
    end loop;
    perform apm_private.end_incident(
        platform, i.dedup_key, 'none of its vendors is in trouble any more', join_weddings.at
    )
    from public.apm_incidents as i
    where i.organization_id = platform and i.dedup_key like 'wedding:1:%'
        and i.status in ('open', 'acknowledged', 'investigating')
        and not exists (
            select from public.apm_incident_parts as p
            join public.apm_incidents as part on part.organization_id = p.organization_id and part.id = p.incident_id
            where p.whole_id = i.id and part.status in ('open', 'acknowledged', 'investigating')
        );
    return total;
end
$$;
call apm_private.hand_over('apm_private.join_weddings(timestamptz, int, interval)');
grant execute on function apm_private.join_weddings(timestamptz, int, interval) to apm_engine;
