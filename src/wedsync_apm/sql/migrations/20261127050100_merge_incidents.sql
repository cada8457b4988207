-- pre: merging, updates for those who were told, and one function by which every live incident of a dedup key is found or opened.

-- The incident in which what has this dedup key is dealt with: its own, or the one that took it in.
create function apm_private.latest_incident(organization_id uuid, dedup_key text) returns public.apm_incidents
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    latest public.apm_incidents%rowtype;
begin
    select i.* into latest from public.apm_incidents as i
    where i.organization_id = latest_incident.organization_id and i.dedup_key = latest_incident.dedup_key
    order by i.status in ('open', 'acknowledged', 'investigating') desc, i.detected_at desc
    limit 1
    for update;
    while latest.status = 'closed' and latest.merged_into is not null loop
        select i.* into latest from public.apm_incidents as i
        where i.organization_id = latest.organization_id and i.id = latest.merged_into
        for update;
    end loop;
    return latest;
end
$$;
call apm_private.hand_over('apm_private.latest_incident(uuid, text)');

-- Whether what has this dedup key is dealt with in a live incident.
create function apm_private.is_dealt_with(organization_id uuid, dedup_key text) returns boolean
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    with recursive held as (
        select i.id, i.status, i.merged_into from public.apm_incidents as i
        where i.organization_id = is_dealt_with.organization_id and i.dedup_key = is_dealt_with.dedup_key
        union
        select i.id, i.status, i.merged_into
        from held as h
        join public.apm_incidents as i on i.organization_id = is_dealt_with.organization_id and i.id = h.merged_into
    )
    select exists (select from held as h where h.status in ('open', 'acknowledged', 'investigating'))
$$;
call apm_private.hand_over('apm_private.is_dealt_with(uuid, text)');
grant execute on function apm_private.is_dealt_with(uuid, text) to apm_engine;

-- The live incident of a dedup key, opened if there is none: a resolved one within the reopen window (30 minutes unless
-- apm.reopen_window says otherwise) opens again, an older one is closed and a new one opened. What was merged counts on
-- the one that took it in. Escalation starts in the same statement, by trigger.
create function apm_private.raise_incident(
    organization_id uuid, dedup_key text, alert_id uuid, title text, severity public.alert_severity, labels jsonb,
    vendor_text jsonb, metric_value float8, threshold_value float8, threshold_source text, at timestamptz
) returns table (incident_id uuid, outcome text)
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    reopen_window interval := coalesce(nullif(current_setting('apm.reopen_window', true), '')::interval, interval '30 minutes');
    latest public.apm_incidents%rowtype;
    weddings jsonb;
begin
    perform pg_advisory_xact_lock(hashtextextended(raise_incident.organization_id || raise_incident.dedup_key, 0));
    perform set_config('apm.at', raise_incident.at::text, true);
    latest := apm_private.latest_incident(raise_incident.organization_id, raise_incident.dedup_key);
    if latest.status in ('open', 'acknowledged', 'investigating') then
        update public.apm_incidents as i set
            repeat_count = i.repeat_count + 1,
            last_seen_at = greatest(i.last_seen_at, raise_incident.at),
            metric_value = case when i.dedup_key = raise_incident.dedup_key
                then coalesce(raise_incident.metric_value, i.metric_value) else i.metric_value end
        where i.organization_id = latest.organization_id and i.id = latest.id;
        return query select latest.id, 'repeated';
        return;
    end if;
    weddings := apm_private.weddings_under_way(raise_incident.organization_id, raise_incident.at);
    if latest.status = 'resolved' and latest.resolved_at > raise_incident.at - reopen_window then
        update public.apm_incidents as i set
            status = 'open',
            severity = greatest(i.severity, raise_incident.severity),
            priority = greatest(i.priority, apm_private.incident_priority(
                greatest(i.severity, raise_incident.severity), weddings -> 0 ->> 'phase',
                (weddings -> 0 ->> 'next_milestone_at')::timestamptz - raise_incident.at
            )),
            labels = case when i.dedup_key = raise_incident.dedup_key then raise_incident.labels else i.labels end,
            repeat_count = i.repeat_count + 1,
            last_seen_at = raise_incident.at,
            metric_value = coalesce(raise_incident.metric_value, i.metric_value),
            threshold_value = coalesce(raise_incident.threshold_value, i.threshold_value),
            was_wedding_day = i.was_wedding_day or weddings <> '[]',
            wedding_date = coalesce((weddings -> 0 ->> 'wedding_date')::date, i.wedding_date),
            wedding_phase = coalesce(weddings -> 0 ->> 'phase', i.wedding_phase),
            affected_weddings = weddings
        where i.organization_id = latest.organization_id and i.id = latest.id;
        return query select latest.id, 'reopened';
        return;
    end if;
    if latest.status = 'resolved' and latest.dedup_key = raise_incident.dedup_key then
        update public.apm_incidents as i set status = 'closed'
        where i.organization_id = latest.organization_id and i.id = latest.id;
    end if;
    return query
    insert into public.apm_incidents (
        organization_id, alert_id, title, severity, priority, dedup_key, labels, detected_at, last_seen_at, metric_value,
        threshold_value, threshold_source, affected_weddings, vendor_text
    ) values (
        raise_incident.organization_id, raise_incident.alert_id, left(raise_incident.title, 300), raise_incident.severity,
        'low', raise_incident.dedup_key, raise_incident.labels, raise_incident.at, raise_incident.at,
        raise_incident.metric_value, raise_incident.threshold_value, raise_incident.threshold_source, weddings,
        raise_incident.vendor_text
    ) returning id, 'opened';
end
$$;
call apm_private.hand_over('apm_private.raise_incident(uuid, text, uuid, text, public.alert_severity, jsonb, jsonb, float8, float8, text, timestamptz)');

create or replace function public.create_incident_from_alert(
    alert_id uuid, metric_value double precision, at timestamptz default now()
) returns uuid
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    rule public.apm_alerts%rowtype;
    verdict public.apm_alert_states%rowtype;
    is_wedding boolean;
    raised record;
begin
    select r.* into rule from public.apm_alerts as r
    where r.id = create_incident_from_alert.alert_id
        and (apm_private.is_service() or r.organization_id = any (public.apm_organization_ids_as('MEMBER')));
    if not found then
        raise exception 'there is no alert rule %', create_incident_from_alert.alert_id using errcode = 'AP404';
    end if;
    is_wedding := apm_private.is_wedding_at(rule.organization_id, create_incident_from_alert.at);
    select s.* into verdict from public.apm_alert_states as s
    where s.organization_id = rule.organization_id and s.alert_id = rule.id and s.state = 'firing'
    order by s.firing_since limit 1;
    select r.* into raised from apm_private.raise_incident(
        rule.organization_id, 'alert:1:' || rule.id, rule.id, rule.alert_name,
        case when is_wedding then coalesce(rule.wedding_day_severity, rule.severity) else rule.severity end,
        '{}', rule.vendor_text, create_incident_from_alert.metric_value,
        coalesce(verdict.threshold_value, case
            when is_wedding and rule.wedding_day_override
            then coalesce(rule.wedding_day_threshold_value, rule.threshold_value) else rule.threshold_value end),
        coalesce(verdict.threshold_source, case
            when is_wedding and rule.wedding_day_override and rule.wedding_day_threshold_value is not null
            then 'wedding_value' else 'rule' end),
        create_incident_from_alert.at
    ) as r;
    if raised.outcome <> 'repeated' then
        update public.apm_alerts as r set
            trigger_count = r.trigger_count + 1, last_triggered_at = create_incident_from_alert.at
        where r.organization_id = rule.organization_id and r.id = rule.id;
    end if;
    return raised.incident_id;
end
$$;

create or replace function apm_private.open_incident(
    organization_id uuid, dedup_key text, title text, severity public.alert_severity, labels jsonb, vendor_text jsonb,
    at timestamptz
) returns uuid
language sql security definer
set search_path = pg_catalog, pg_temp
as $$
    select r.incident_id from apm_private.raise_incident(
        open_incident.organization_id, open_incident.dedup_key, null, open_incident.title, open_incident.severity,
        open_incident.labels, open_incident.vendor_text, null, null, null, open_incident.at
    ) as r
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
    elsif new.merged_into is distinct from old.merged_into then
        kind := 'merged';
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
            'threshold_source', new.threshold_source, 'phase', new.wedding_phase, 'generation', new.generation,
            'into', new.merged_into
        ))
    );
    return null;
end
$$;

-- Whoever was told hears the end; of what was merged that it goes on elsewhere, and then the end of that.
create or replace function apm_private.tell_the_end() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    at timestamptz := coalesce(nullif(current_setting('apm.at', true), '')::timestamptz, clock_timestamp());
    pointer jsonb := (
        select jsonb_build_object('merged_into', jsonb_build_object('id', s.id, 'number', s.number, 'title', s.title))
        from public.apm_incidents as s
        where s.organization_id = new.organization_id and s.id = new.merged_into
    );
begin
    insert into public.apm_deliveries (
        organization_id, incident_id, contact_method_id, channel, kind, reason, recipient, payload, idempotency_key,
        priority, due_at, created_at, generation
    )
    select distinct on (d.channel, coalesce(d.contact_method_id::text, d.recipient ->> 'address', ''))
        d.organization_id, new.id, d.contact_method_id, d.channel, 'resolved', 'resolved', d.recipient,
        d.payload || coalesce(pointer, '{}')
            || case when d.incident_id <> new.id then '{"is_of_merged": true}'::jsonb else '{}' end,
        left(concat_ws(':', 'resolved', new.id, new.generation, d.channel,
            coalesce(d.contact_method_id::text, d.recipient ->> 'address')), 300),
        d.priority, at, at, new.generation
    from public.apm_deliveries as d
    where d.organization_id = new.organization_id
        and case when d.incident_id = new.id then
            d.kind in ('page', 'update', 'reopened')
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
        else
            -- who heard that it goes on here
            d.incident_id in (
                select m.id from public.apm_incidents as m
                where m.organization_id = new.organization_id and m.merged_into = new.id
            )
            and d.kind = 'resolved' and d.state in ('sent', 'delivered', 'unknown', 'inbox')
            and not exists (
                select from public.apm_deliveries as ended
                where ended.organization_id = d.organization_id and ended.incident_id = new.id
                    and ended.kind = 'resolved' and ended.state in ('sent', 'delivered', 'unknown', 'inbox')
                    and ended.channel = d.channel
                    and coalesce(ended.contact_method_id::text, ended.recipient ->> 'address', '')
                        = coalesce(d.contact_method_id::text, d.recipient ->> 'address', '')
            )
        end
    order by d.channel, coalesce(d.contact_method_id::text, d.recipient ->> 'address', ''),
        d.incident_id = new.id desc, d.created_at desc
    on conflict (organization_id, idempotency_key) do nothing;
    return null;
end
$$;

-- The caller's incident, locked, if he may change it; AP404 for another's as for none, AP403 for who only looks.
create function apm_private.incident_to_change(incident_id uuid) returns public.apm_incidents
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
call apm_private.hand_over('apm_private.incident_to_change(uuid)');

-- Closes an incident as a part of another live one of the same organization. Whoever was told of it hears that it goes on
-- there; what comes again counts there.
create function public.apm_merge_incident(incident_id uuid, into_id uuid, note text default '') returns uuid
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
call apm_private.hand_over('public.apm_merge_incident(uuid, uuid, text)');
grant execute on function public.apm_merge_incident(uuid, uuid, text) to authenticated;

-- A word to everyone who was told, with the time of the next one: as asked, else what the terms say. Tells that time.
create function public.apm_update_incident(incident_id uuid, message text, next_update_at timestamptz default null)
returns timestamptz
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    incident public.apm_incidents%rowtype := apm_private.incident_to_change(apm_update_incident.incident_id);
    at timestamptz := coalesce(nullif(current_setting('apm.at', true), '')::timestamptz, clock_timestamp());
    promised timestamptz := coalesce(
        apm_update_incident.next_update_at, apm_private.promise_until(incident.organization_id, incident.severity, at)
    );
    written bigint;
begin
    if incident.status not in ('open', 'acknowledged', 'investigating') then
        raise exception 'an incident that is % needs no update', incident.status
            using errcode = 'AP409', constraint = 'apm_incidents_update';
    end if;
    insert into public.apm_incident_events (organization_id, incident_id, at, kind, actor_id, actor, message, detail)
    values (
        incident.organization_id, incident.id, at, 'update', apm_private.caller_id(), apm_private.actor_name(),
        apm_update_incident.message, jsonb_strip_nulls(jsonb_build_object('next_update_at', promised))
    )
    returning id into written;
    update public.apm_incidents as i set next_update_at = promised
    where i.organization_id = incident.organization_id and i.id = incident.id;
    insert into public.apm_deliveries (
        organization_id, incident_id, contact_method_id, channel, kind, reason, recipient, payload, idempotency_key,
        priority, due_at, created_at, generation
    )
    select distinct on (d.channel, coalesce(d.contact_method_id::text, d.recipient ->> 'address', ''))
        d.organization_id, d.incident_id, d.contact_method_id, d.channel, 'update', 'update', d.recipient,
        jsonb_build_object('word', 'update', 'message', apm_update_incident.message),
        left(concat_ws(':', 'update', written, d.channel, coalesce(d.contact_method_id::text, d.recipient ->> 'address')), 300),
        50, at, at, incident.generation
    from public.apm_deliveries as d
    where d.organization_id = incident.organization_id and d.incident_id = incident.id
        and d.kind in ('page', 'reopened') and d.state in ('sent', 'delivered', 'unknown', 'inbox', 'sending')
    order by d.channel, coalesce(d.contact_method_id::text, d.recipient ->> 'address', ''), d.created_at desc
    on conflict (organization_id, idempotency_key) do nothing;
    return promised;
end
$$;
call apm_private.hand_over('public.apm_update_incident(uuid, text, timestamptz)');
grant execute on function public.apm_update_incident(uuid, text, timestamptz) to authenticated;
