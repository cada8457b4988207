-- pre: the one place that says what keeps an incident from being told.

-- What matchers see of an incident: of a rule's, one set for each series or group of them that alarms; else what it was
-- opened with. A rule that names its metric without wildcards says the service and the metric itself.
create function apm_private.incident_label_sets(organization_id uuid, incident_id uuid) returns table (labels jsonb)
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    with incident as (
        select i.organization_id, i.alert_id,
            case when r.metric_pattern !~ '[][*?{}]' then jsonb_build_object(
                'service', split_part(r.metric_pattern, '.', 1),
                'metric', substr(r.metric_pattern, strpos(r.metric_pattern, '.') + 1)
            ) else '{}' end
                || i.labels || jsonb_strip_nulls(jsonb_build_object('rule', r.alert_name, 'severity', i.severity)) as labels
        from public.apm_incidents as i
        left join public.apm_alerts as r on r.organization_id = i.organization_id and r.id = i.alert_id
        where i.organization_id = incident_label_sets.organization_id and i.id = incident_label_sets.incident_id
    ), alarming as (
        select i.labels || (
            select coalesce(jsonb_object_agg('tag.' || t.key, t.value), '{}')
            from jsonb_each_text(coalesce(n.tags, to_jsonb(s) -> 'labels', '{}')) as t
        ) || jsonb_strip_nulls(jsonb_build_object('service', n.service_name, 'metric', n.metric_name)) as labels
        from incident as i
        join public.apm_alert_states as s on s.organization_id = i.organization_id and s.alert_id = i.alert_id
            and s.state in ('firing', 'no_data', 'keeping', 'flapping')
        left join public.apm_series as n on n.organization_id = s.organization_id and n.id = s.series_id
    )
    select a.labels from alarming as a
    union all
    select i.labels from incident as i where not exists (select from alarming)
$$;
call apm_private.hand_over('apm_private.incident_label_sets(uuid, uuid)');

-- Whether people may be told of an incident at an instant: no row, or what holds it back and until when (null: nobody
-- knows). An incident is held back when each of its label sets is, as a group of Alertmanager's is.
create function apm_private.held_back_by(organization_id uuid, incident_id uuid, at timestamptz)
returns table (kind text, id uuid, until timestamptz, owner text, reason text)
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
    -- Nearly always there is nothing that could hold anything back.
    if not exists (
        select from public.apm_silences as s
        where s.organization_id = held_back_by.organization_id and s.ends_at > held_back_by.at
    ) and not exists (
        select from public.apm_maintenance_windows as m
        where m.organization_id = held_back_by.organization_id and m.is_active
    ) and not exists (
        select from public.apm_inhibition_rules as r
        where r.organization_id = held_back_by.organization_id and r.is_active
    ) and not exists (
        select from public.apm_inhibition_rules as r where r.is_platform_wide and r.is_active
    ) then
        return;
    end if;
    return query
    with sets as materialized (
        select l.labels from apm_private.incident_label_sets(held_back_by.organization_id, held_back_by.incident_id) as l
    ), held as (
        select h.*
        from sets as t
        left join lateral (
            select 'silence' as kind, s.id, e.works_until as until, s.owner, s.reason
            from public.apm_silences as s
            cross join lateral (
                -- asked only of those that match: the calendar is the dear part
                select case
                    when apm_private.do_matchers_match(s.matchers, t.labels) then apm_private.end_of_silence(s)
                end
            ) as e (works_until)
            where s.organization_id = held_back_by.organization_id
                and s.starts_at <= held_back_by.at and s.ends_at > held_back_by.at
                and (not s.needs_approval or s.approved_at <= held_back_by.at)
                and e.works_until > held_back_by.at
            union all
            select 'maintenance', m.id, m.until, m.owner, m.reason
            from apm_private.maintenance_at(held_back_by.organization_id, t.labels, held_back_by.at) as m
            union all
            select 'inhibition', case when not r.is_platform_wide then source.id end, null,
                case when r.is_platform_wide then 'the platform' else r.name end,
                coalesce(nullif(r.words, ''), source.title)
            from public.apm_inhibition_rules as r
            join public.apm_incidents as source on source.organization_id = r.organization_id
                and source.status in ('open', 'acknowledged', 'investigating')
            where r.is_active and (r.organization_id = held_back_by.organization_id or r.is_platform_wide)
                and apm_private.do_matchers_match(r.target_matchers, t.labels)
                and exists (
                    select from apm_private.incident_label_sets(source.organization_id, source.id) as l
                    where apm_private.do_matchers_match(r.source_matchers, l.labels)
                        and not exists (
                            select from unnest(r.equal) as e (label)
                            where coalesce(l.labels ->> e.label, '') <> coalesce(t.labels ->> e.label, '')
                        )
                        -- what matches both sides is held back by nothing that matches both sides, itself included
                        and not (
                            apm_private.do_matchers_match(r.source_matchers, t.labels)
                            and apm_private.do_matchers_match(r.target_matchers, l.labels)
                        )
                )
                -- whoever is in the middle of a wedding is told of what is bad enough, whatever its cause
                and not exists (
                    select from public.apm_incidents as i
                    where i.organization_id = held_back_by.organization_id and i.id = held_back_by.incident_id
                        and i.severity >= r.told_at_weddings
                        and apm_private.is_wedding_at(i.organization_id, held_back_by.at)
                )
            order by until desc nulls first, kind, id
            limit 1
        ) as h on true
    )
    select h.kind, h.id, h.until, h.owner, h.reason
    from held as h
    where not exists (select from held as free where free.kind is null)
    -- the first of them to end sets it free
    order by h.until nulls last
    limit 1;
end
$$;
call apm_private.hand_over('apm_private.held_back_by(uuid, uuid, timestamptz)');
grant execute on function apm_private.held_back_by(uuid, uuid, timestamptz) to apm_engine;

-- The same for a person who may see the incident.
create function public.apm_incident_held_back_by(incident_id uuid, at timestamptz default now())
returns table (kind text, id uuid, since timestamptz, until timestamptz, owner text, reason text)
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    select h.kind, h.id,
        (select max(r.held_since) from public.apm_escalation_runs as r
            where r.organization_id = i.organization_id and r.incident_id = i.id and r.state = 'running'),
        h.until, h.owner, h.reason
    from public.apm_incidents as i
    cross join lateral apm_private.held_back_by(i.organization_id, i.id, apm_incident_held_back_by.at) as h
    where i.id = apm_incident_held_back_by.incident_id and i.status in ('open', 'acknowledged', 'investigating')
        and (
            apm_private.is_service() or i.organization_id = any (public.apm_current_organization_ids())
            or public.apm_operator_role() is not null
        )
$$;
call apm_private.hand_over('public.apm_incident_held_back_by(uuid, timestamptz)');
grant execute on function public.apm_incident_held_back_by(uuid, timestamptz) to authenticated;

-- A person who does not wait is told at once, whatever holds the incident back.
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
    update public.apm_escalation_runs as r set
        next_at = least(r.next_at, apm_escalate_incident.at), held_until = null, is_pressed = true
    where r.organization_id = incident.organization_id and r.incident_id = incident.id and r.state = 'running'
    returning r.next_step into step;
    if step is null then
        raise exception 'no ladder is being climbed for an incident that is %', incident.status
            using errcode = 'AP409', constraint = 'apm_incidents_escalate';
    end if;
    return step;
end
$$;
