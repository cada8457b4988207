create or replace function public.apm_escalate_incident(incident_id uuid, at timestamptz default now()) returns int
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    incident public.apm_incidents%rowtype;
    standing text;
    step int;
begin
    select i.* into incident from public.apm_incidents as i where i.id = apm_escalate_incident.incident_id;
    standing := public.apm_role_in(incident.organization_id);
    -- The same answer for another's incident and for none.
    if incident.id is null or (standing is null and public.apm_operator_role() is null) then
        raise exception 'there is no incident %', apm_escalate_incident.incident_id using errcode = 'AP404';
    end if;
    if standing = 'VIEWER' or (standing is null and public.apm_operator_role() <> 'oncall') then
        raise exception 'a viewer cannot escalate an incident' using errcode = 'AP403';
    end if;
    update public.apm_escalation_runs as r set next_at = least(r.next_at, apm_escalate_incident.at)
    where r.organization_id = incident.organization_id and r.incident_id = incident.id and r.state = 'running'
    returning r.next_step into step;
    if step is null then
        raise exception 'no ladder is being climbed for an incident that is %', incident.status
            using errcode = 'AP409', constraint = 'apm_incidents_escalate';
    end if;
    return step;
end
$$;

drop function public.apm_incident_held_back_by(uuid, timestamptz);
drop function apm_private.held_back_by(uuid, uuid, timestamptz);
drop function apm_private.incident_label_sets(uuid, uuid);
