create or replace function apm_private.incident_to_change(incident_id uuid) returns public.apm_incidents
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    incident public.apm_incidents%rowtype;
    standing text;
begin
    select i.* into incident from public.apm_incidents as i where i.id = incident_to_change.incident_id for update;
    standing := public.apm_role_in(incident.organization_id);
    if incident.id is null or (standing is null and public.apm_operator_role() is null) then
        raise exception 'There is no such incident.' using errcode = 'AP404';
    end if;
    if standing = 'VIEWER' or (standing is null and public.apm_operator_role() <> 'oncall') then
        raise exception 'Viewers can look at incidents, not change them.' using errcode = 'AP403';
    end if;
    return incident;
end
$$;

create or replace function public.apm_merge_incident(incident_id uuid, into_id uuid, note text default '') returns uuid
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    merged public.apm_incidents%rowtype;
    survivor public.apm_incidents%rowtype;
begin
    -- in one order, so that two merges do not wait for each other
    perform from public.apm_incidents as i where i.id in (incident_id, into_id) order by i.id for update;
    merged := apm_private.incident_to_change(apm_merge_incident.incident_id);
    survivor := apm_private.incident_to_change(apm_merge_incident.into_id);
    if merged.id = survivor.id or merged.organization_id <> survivor.organization_id then
        raise exception 'Only two incidents of one organization can become one.'
            using errcode = 'AP409', constraint = 'apm_incidents_merge';
    elsif merged.status = 'closed' then
        raise exception 'an incident that is closed cannot be merged'
            using errcode = 'AP409', constraint = 'apm_incidents_merge';
    elsif survivor.status not in ('open', 'acknowledged', 'investigating') then
        raise exception 'an incident that is % cannot take another one in', survivor.status
            using errcode = 'AP409', constraint = 'apm_incidents_merge';
    end if;
    perform set_config('apm.note', left(concat_ws('. ', 'It goes on as #' || survivor.number || ' ' || survivor.title,
        nullif(btrim(apm_merge_incident.note), '')), 10000), true);
    update public.apm_incidents as i set status = 'closed', merged_into = survivor.id
    where i.organization_id = merged.organization_id and i.id = merged.id;
    perform set_config('apm.note', '', true);
    update public.apm_incidents as i set
        repeat_count = i.repeat_count + merged.repeat_count + 1,
        last_seen_at = greatest(i.last_seen_at, merged.last_seen_at),
        severity = greatest(i.severity, merged.severity),
        priority = greatest(i.priority, merged.priority),
        escalation_level = greatest(i.escalation_level, merged.escalation_level),
        was_wedding_day = i.was_wedding_day or merged.was_wedding_day
    where i.organization_id = survivor.organization_id and i.id = survivor.id;
    insert into public.apm_incident_events (organization_id, incident_id, at, kind, actor_id, actor, message, detail)
    values (
        survivor.organization_id, survivor.id,
        coalesce(nullif(current_setting('apm.at', true), '')::timestamptz, clock_timestamp()),
        'merged', apm_private.caller_id(), apm_private.actor_name(),
        left(concat_ws('. ', '#' || merged.number || ' ' || merged.title || ' goes on here',
            nullif(btrim(apm_merge_incident.note), '')), 10000),
        jsonb_build_object('from', merged.id, 'number', merged.number, 'repeats', merged.repeat_count + 1)
    );
    return survivor.id;
end
$$;

drop function apm_private.require_incident_change(uuid);
