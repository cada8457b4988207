-- pre: incidents of what is watched by something else than a rule.

-- The weddings under way, as an incident keeps them: initials and times, never names.
create function apm_private.weddings_under_way(organization_id uuid, at timestamptz) returns jsonb
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    with near as (
        select w.*
        from apm_private.wedding_windows_between(
            array[weddings_under_way.organization_id],
            weddings_under_way.at - interval '1 day', weddings_under_way.at + interval '2 days'
        ) as w
        where w.phase in ('set_up', 'ceremony', 'reception', 'tear_down', 'day')
    ), present as (
        select distinct on (n.wedding_id) n.* from near as n
        where n.span @> weddings_under_way.at
        order by n.wedding_id, n.precedence
    )
    select coalesce(jsonb_agg(jsonb_build_object(
        'wedding_id', p.wedding_id, 'phase', p.phase, 'time_zone', p.time_zone, 'wedding_date', p.wedding_date,
        'initials', d.initials, 'next_milestone_at', m.milestone
    ) order by m.milestone), '[]')
    from present as p
    cross join lateral (
        select min(b.at) from near as n cross join lateral (values (lower(n.span)), (upper(n.span))) as b (at)
        where n.wedding_id = p.wedding_id and n.phase <> 'day' and b.at > weddings_under_way.at
    ) as m (milestone)
    left join apm_private.weddings_between(
        array[weddings_under_way.organization_id], p.wedding_date - 1, p.wedding_date + 1
    ) as d on d.wedding_id = p.wedding_id
$$;
call apm_private.hand_over('apm_private.weddings_under_way(uuid, timestamptz)');

-- The live incident of a dedup key, opened if there is none, by the rules of create_incident_from_alert: for what is
-- watched by something else than an alert rule. The timeline calls the opener what apm.actor says.
create function apm_private.open_incident(
    organization_id uuid, dedup_key text, title text, severity public.alert_severity, labels jsonb, vendor_text jsonb,
    at timestamptz
) returns uuid
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    reopen_window interval := coalesce(nullif(current_setting('apm.reopen_window', true), '')::interval, interval '30 minutes');
    latest public.apm_incidents%rowtype;
    weddings jsonb := apm_private.weddings_under_way(open_incident.organization_id, open_incident.at);
    is_wedding boolean := weddings <> '[]';
    opened uuid;
begin
    perform pg_advisory_xact_lock(hashtextextended(open_incident.organization_id || open_incident.dedup_key, 0));
    perform set_config('apm.at', open_incident.at::text, true);
    select i.* into latest from public.apm_incidents as i
    where i.organization_id = open_incident.organization_id and i.dedup_key = open_incident.dedup_key
    order by i.status in ('open', 'acknowledged', 'investigating') desc, i.detected_at desc
    limit 1
    for update;
    if latest.status in ('open', 'acknowledged', 'investigating') then
        update public.apm_incidents as i set
            repeat_count = i.repeat_count + 1, last_seen_at = greatest(i.last_seen_at, open_incident.at)
        where i.organization_id = open_incident.organization_id and i.id = latest.id;
        return latest.id;
    end if;
    if latest.status = 'resolved' and latest.resolved_at > open_incident.at - reopen_window then
        update public.apm_incidents as i set
            status = 'open',
            severity = greatest(i.severity, open_incident.severity),
            labels = open_incident.labels,
            repeat_count = i.repeat_count + 1,
            last_seen_at = open_incident.at,
            was_wedding_day = i.was_wedding_day or is_wedding,
            wedding_date = coalesce((weddings -> 0 ->> 'wedding_date')::date, i.wedding_date),
            wedding_phase = coalesce(weddings -> 0 ->> 'phase', i.wedding_phase),
            affected_weddings = weddings
        where i.organization_id = open_incident.organization_id and i.id = latest.id;
        return latest.id;
    end if;
    if latest.status = 'resolved' then
        update public.apm_incidents as i set status = 'closed'
        where i.organization_id = open_incident.organization_id and i.id = latest.id;
    end if;
    insert into public.apm_incidents (
        organization_id, title, severity, priority, dedup_key, labels, detected_at, last_seen_at, was_wedding_day,
        wedding_date, wedding_phase, affected_weddings, vendor_text
    ) values (
        open_incident.organization_id, left(open_incident.title, 300), open_incident.severity,
        case
            when open_incident.severity = 'emergency' or (open_incident.severity = 'critical' and is_wedding) then 'critical'
            when open_incident.severity = 'critical' or (open_incident.severity = 'warning' and is_wedding) then 'high'
            when open_incident.severity = 'warning' then 'medium'
            else 'low'
        end::public.alert_priority,
        open_incident.dedup_key, open_incident.labels, open_incident.at, open_incident.at, is_wedding,
        (weddings -> 0 ->> 'wedding_date')::date, weddings -> 0 ->> 'phase', weddings, open_incident.vendor_text
    ) returning id into opened;
    return opened;
end
$$;
call apm_private.hand_over('apm_private.open_incident(uuid, text, text, public.alert_severity, jsonb, jsonb, timestamptz)');
grant execute on function apm_private.open_incident(uuid, text, text, public.alert_severity, jsonb, jsonb, timestamptz)
    to apm_engine;

-- Ends the live incident of a dedup key; null where there is none. Whoever was told of it is told the end.
create function apm_private.end_incident(organization_id uuid, dedup_key text, words text, at timestamptz) returns uuid
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    ended uuid;
begin
    perform set_config('apm.at', end_incident.at::text, true), set_config('apm.note', end_incident.words, true);
    update public.apm_incidents as i set status = 'resolved'
    where i.organization_id = end_incident.organization_id and i.dedup_key = end_incident.dedup_key
        and i.status in ('open', 'acknowledged', 'investigating')
    returning i.id into ended;
    perform set_config('apm.note', '', true);
    return ended;
end
$$;
call apm_private.hand_over('apm_private.end_incident(uuid, text, text, timestamptz)');
grant execute on function apm_private.end_incident(uuid, text, text, timestamptz) to apm_engine;
