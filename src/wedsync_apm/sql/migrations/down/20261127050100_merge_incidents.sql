drop function public.apm_update_incident(uuid, text, timestamptz);
drop function public.apm_merge_incident(uuid, uuid, text);
drop function apm_private.incident_to_change(uuid);

create or replace function apm_private.tell_the_end() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    at timestamptz := coalesce(nullif(current_setting('apm.at', true), '')::timestamptz, clock_timestamp());
begin
    insert into public.apm_deliveries (
        organization_id, incident_id, contact_method_id, channel, kind, reason, recipient, payload, idempotency_key,
        priority, due_at, created_at, generation
    )
    select distinct on (d.channel, coalesce(d.contact_method_id::text, d.recipient ->> 'address', ''))
        d.organization_id, d.incident_id, d.contact_method_id, d.channel, 'resolved', 'resolved', d.recipient, d.payload,
        left(concat_ws(':', 'resolved', new.id, new.generation, d.channel,
            coalesce(d.contact_method_id::text, d.recipient ->> 'address')), 300),
        d.priority, at, at, new.generation
    from public.apm_deliveries as d
    where d.organization_id = new.organization_id and d.incident_id = new.id
        and d.kind in ('page', 'update', 'reopened')
        and d.state not in ('suppressed')
        -- the end of what he was told before is told already: of this return nobody may have told him
        and not exists (
            select from public.apm_deliveries as ended
            where ended.organization_id = d.organization_id and ended.incident_id = d.incident_id
                and ended.kind = 'resolved' and ended.state in ('sent', 'delivered', 'unknown', 'inbox')
                and ended.generation > coalesce(d.generation, 0) and ended.channel = d.channel
                and coalesce(ended.contact_method_id::text, ended.recipient ->> 'address', '')
                    = coalesce(d.contact_method_id::text, d.recipient ->> 'address', '')
        )
    order by d.channel, coalesce(d.contact_method_id::text, d.recipient ->> 'address', ''), d.created_at desc
    on conflict (organization_id, idempotency_key) do nothing;
    return null;
end
$$;

create or replace function apm_private.record_incident() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    at timestamptz := coalesce(nullif(current_setting('apm.at', true), '')::timestamptz, clock_timestamp());
    kind text;
begin
    if tg_op = 'INSERT' then
        kind := 'opened';
        at := new.detected_at;
    elsif new.status <> old.status then
        select t.kind into kind from apm_private.incident_transitions as t
        where t.from_status = old.status and t.to_status = new.status;
    else
        return null;
    end if;
    insert into public.apm_incident_events (organization_id, incident_id, at, kind, actor_id, actor, message, detail)
    values (
        new.organization_id, new.id, at, kind, apm_private.caller_id(), apm_private.actor_name(),
        coalesce(nullif(current_setting('apm.note', true), ''), ''),
        jsonb_strip_nulls(jsonb_build_object(
            'metric_value', new.metric_value, 'threshold_value', new.threshold_value,
            'threshold_source', new.threshold_source, 'phase', new.wedding_phase, 'generation', new.generation
        ))
    );
    return null;
end
$$;

create or replace function apm_private.open_incident(
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

create or replace function public.create_incident_from_alert(
    alert_id uuid, metric_value double precision, at timestamptz default now()
) returns uuid
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    rule public.apm_alerts%rowtype;
    key text := 'alert:1:' || create_incident_from_alert.alert_id;
    reopen_window interval := coalesce(nullif(current_setting('apm.reopen_window', true), '')::interval, interval '30 minutes');
    latest public.apm_incidents%rowtype;
    verdict public.apm_alert_states%rowtype;
    wedding record;
    weddings jsonb;
    is_wedding boolean;
    level public.alert_severity;
    opened uuid;
begin
    select r.* into rule from public.apm_alerts as r
    where r.id = create_incident_from_alert.alert_id
        and (apm_private.is_service() or r.organization_id = any (public.apm_organization_ids_as('MEMBER')));
    if not found then
        raise exception 'there is no alert rule %', create_incident_from_alert.alert_id using errcode = 'AP404';
    end if;
    perform pg_advisory_xact_lock(hashtextextended(rule.organization_id || key, 0));
    perform set_config('apm.at', create_incident_from_alert.at::text, true);

    select i.* into latest from public.apm_incidents as i
    where i.organization_id = rule.organization_id and i.dedup_key = key
    order by i.status in ('open', 'acknowledged', 'investigating') desc, i.detected_at desc
    limit 1
    for update;
    if found and latest.status in ('open', 'acknowledged', 'investigating') then
        update public.apm_incidents as i set
            repeat_count = i.repeat_count + 1,
            last_seen_at = greatest(i.last_seen_at, create_incident_from_alert.at),
            metric_value = create_incident_from_alert.metric_value
        where i.organization_id = rule.organization_id and i.id = latest.id;
        return latest.id;
    end if;

    select w.* into wedding from public.wedding_window_at(rule.organization_id, create_incident_from_alert.at) as w limit 1;
    is_wedding := wedding.wedding_id is not null;
    select coalesce(jsonb_agg(jsonb_build_object(
        'wedding_id', w.wedding_id, 'phase', w.phase, 'time_zone', w.time_zone,
        'wedding_date', d.wedding_date, 'initials', d.initials,
        'next_milestone_at', create_incident_from_alert.at + w.minutes_to_next_milestone * interval '1 minute'
    ) order by w.minutes_to_next_milestone), '[]') into weddings
    from public.wedding_window_at(rule.organization_id, create_incident_from_alert.at) as w
    left join apm_private.weddings_between(
        array[rule.organization_id],
        (create_incident_from_alert.at at time zone 'UTC')::date - 3, (create_incident_from_alert.at at time zone 'UTC')::date + 3
    ) as d on d.wedding_id = w.wedding_id;

    select s.* into verdict from public.apm_alert_states as s
    where s.organization_id = rule.organization_id and s.alert_id = rule.id and s.state = 'firing'
    order by s.firing_since limit 1;
    level := case when is_wedding then coalesce(rule.wedding_day_severity, rule.severity) else rule.severity end;

    if latest.id is not null and latest.status = 'resolved'
        and latest.resolved_at > create_incident_from_alert.at - reopen_window then
        update public.apm_incidents as i set
            status = 'open',
            severity = greatest(i.severity, level),
            repeat_count = i.repeat_count + 1,
            last_seen_at = create_incident_from_alert.at,
            metric_value = create_incident_from_alert.metric_value,
            threshold_value = coalesce(verdict.threshold_value, i.threshold_value),
            was_wedding_day = i.was_wedding_day or is_wedding,
            wedding_date = coalesce((weddings -> 0 ->> 'wedding_date')::date, i.wedding_date),
            wedding_phase = coalesce(wedding.phase, i.wedding_phase),
            affected_weddings = weddings
        where i.organization_id = rule.organization_id and i.id = latest.id;
        opened := latest.id;
    else
        if latest.id is not null and latest.status = 'resolved' then
            update public.apm_incidents as i set status = 'closed'
            where i.organization_id = rule.organization_id and i.id = latest.id;
        end if;
        insert into public.apm_incidents (
            organization_id, alert_id, title, severity, priority, dedup_key, detected_at, last_seen_at, metric_value,
            threshold_value, threshold_source, was_wedding_day, wedding_date, wedding_phase, affected_weddings, vendor_text
        ) values (
            rule.organization_id, rule.id, rule.alert_name, level,
            case
                when level = 'emergency' or (level = 'critical' and is_wedding) then 'critical'
                when level = 'critical' or (level = 'warning' and is_wedding) then 'high'
                when level = 'warning' then 'medium'
                else 'low'
            end::public.alert_priority,
            key, create_incident_from_alert.at, create_incident_from_alert.at, create_incident_from_alert.metric_value,
            coalesce(verdict.threshold_value, case
                when is_wedding and rule.wedding_day_override
                then coalesce(rule.wedding_day_threshold_value, rule.threshold_value) else rule.threshold_value end),
            coalesce(verdict.threshold_source, case
                when is_wedding and rule.wedding_day_override and rule.wedding_day_threshold_value is not null
                then 'wedding_value' else 'rule' end),
            is_wedding, (weddings -> 0 ->> 'wedding_date')::date, wedding.phase, weddings, rule.vendor_text
        ) returning id into opened;
    end if;
    update public.apm_alerts as r set
        trigger_count = r.trigger_count + 1, last_triggered_at = create_incident_from_alert.at
    where r.organization_id = rule.organization_id and r.id = rule.id;
    return opened;
end
$$;

drop function apm_private.raise_incident(uuid, text, uuid, text, public.alert_severity, jsonb, jsonb, float8, float8, text, timestamptz);
drop function apm_private.is_dealt_with(uuid, text);
drop function apm_private.latest_incident(uuid, text);
