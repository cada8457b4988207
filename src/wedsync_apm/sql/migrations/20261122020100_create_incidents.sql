-- pre: APM extended: incidents, their legal transitions and their timeline.

call apm_private.ensure_enum('incident_status', array['open', 'acknowledged', 'investigating', 'resolved', 'closed']);
call apm_private.ensure_enum('escalation_level', array['none', 'team_lead', 'manager', 'director', 'executive']);

create table public.apm_incidents (
    id uuid not null default gen_random_uuid(),
    -- what people say on the phone: 4127
    number bigint generated always as identity,
    organization_id uuid not null references public.organizations (id) on delete cascade,
    alert_id uuid,
    title text not null check (length(title) between 1 and 300),
    status public.incident_status not null default 'open',
    severity public.alert_severity not null,
    priority public.alert_priority not null,
    escalation_level public.escalation_level not null default 'none',
    dedup_key text not null check (length(dedup_key) between 1 and 300),
    -- raised by acknowledging, resolving and reopening: what was scheduled for an older one is void
    generation int not null default 1,
    detected_at timestamptz not null,
    acknowledged_at timestamptz,
    acknowledged_by uuid,
    acknowledged_by_name text,
    investigating_at timestamptz,
    resolved_at timestamptz,
    resolved_by uuid,
    closed_at timestamptz,
    reopened_at timestamptz,
    -- "next update by": a promise to the vendor
    next_update_at timestamptz,
    metric_value float8,
    threshold_value float8,
    threshold_source text,
    repeat_count int not null default 0,
    last_seen_at timestamptz not null,
    was_wedding_day boolean not null default false,
    wedding_date date,
    wedding_phase text,
    -- [{"wedding_id", "wedding_date", "initials", "phase", "minutes_to_next_milestone"}]: never names
    affected_weddings jsonb not null default '[]' check (jsonb_typeof(affected_weddings) = 'array'),
    vendor_text jsonb not null default '{}' check (jsonb_typeof(vendor_text) = 'object'),
    merged_into uuid,
    created_by uuid,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    primary key (organization_id, id),
    constraint apm_incidents_alert_fkey foreign key (organization_id, alert_id)
        references public.apm_alerts (organization_id, id) on delete set null (alert_id),
    constraint apm_incidents_merged_fkey foreign key (organization_id, merged_into)
        references public.apm_incidents (organization_id, id) on delete set null (merged_into),
    -- the times agree with the status
    constraint apm_incidents_acknowledged check (status <> 'acknowledged' or acknowledged_at is not null),
    constraint apm_incidents_resolved check (status not in ('resolved') or resolved_at is not null),
    constraint apm_incidents_closed check (status <> 'closed' or closed_at is not null)
);
call apm_private.protect_table('public.apm_incidents');
-- one live incident for one thing that is wrong
create unique index idx_apm_incidents_live_dedup on public.apm_incidents (organization_id, dedup_key)
where status in ('open', 'acknowledged', 'investigating');
-- find_incident: an operator knows the incident's id and not whose it is
create index idx_apm_incidents_id on public.apm_incidents (id);
-- list_open_incidents: the list that is looked at first
create index idx_apm_incidents_live on public.apm_incidents (organization_id, priority desc, detected_at desc)
where status in ('open', 'acknowledged');
-- list_incidents: everything, newest first
create index idx_apm_incidents_organization_detected on public.apm_incidents (organization_id, detected_at desc);
-- find_recent_incident: the last resolved one of a dedup key, within the reopen window
create index idx_apm_incidents_dedup on public.apm_incidents (organization_id, dedup_key, resolved_at desc);
-- list_merged_incidents, and the set-null when the one that took them in goes
create index idx_apm_incidents_merged on public.apm_incidents (organization_id, merged_into) where merged_into is not null;
-- a rule's incidents, and the set-null when a rule goes
create index idx_apm_incidents_alert on public.apm_incidents (organization_id, alert_id) where alert_id is not null;

create table public.apm_incident_events (
    id bigint generated always as identity,
    organization_id uuid not null,
    incident_id uuid not null,
    at timestamptz not null default clock_timestamp(),
    kind text not null check (kind in (
        'opened', 'acknowledged', 'investigating', 'resolved', 'closed', 'reopened', 'expired', 'merged',
        'repeated', 'seen', 'note', 'escalated', 'exhausted', 'delivery', 'update'
    )),
    actor_id uuid,
    -- a person's name, or what acted: "rule", "ladder", "one-tap link"
    actor text not null,
    message text not null default '' check (length(message) <= 10000),
    detail jsonb not null default '{}',
    primary key (organization_id, id),
    foreign key (organization_id, incident_id) references public.apm_incidents (organization_id, id) on delete cascade
);
call apm_private.protect_table('public.apm_incident_events');
-- append-only: the timeline is the source of every figure about an incident
revoke update on public.apm_incident_events from apm_engine, apm_definer, service_role;
-- list_incident_events: one incident's timeline
create index idx_apm_incident_events_incident on public.apm_incident_events (organization_id, incident_id, at);

-- Every legal change of status; any other is refused.
create table apm_private.incident_transitions (
    from_status public.incident_status not null,
    to_status public.incident_status not null,
    kind text not null,
    primary key (from_status, to_status)
);
call apm_private.protect_table('apm_private.incident_transitions');
insert into apm_private.incident_transitions (from_status, to_status, kind) values
    ('open', 'acknowledged', 'acknowledged'),
    ('open', 'investigating', 'investigating'),
    ('open', 'resolved', 'resolved'),
    ('open', 'closed', 'closed'),
    ('acknowledged', 'open', 'expired'),
    ('acknowledged', 'investigating', 'investigating'),
    ('acknowledged', 'resolved', 'resolved'),
    ('acknowledged', 'closed', 'closed'),
    ('investigating', 'open', 'expired'),
    ('investigating', 'resolved', 'resolved'),
    ('investigating', 'closed', 'closed'),
    ('resolved', 'open', 'reopened'),
    ('resolved', 'closed', 'closed');

-- Who acts, for the timeline: the name that the transaction's claims give, else what the service calls itself.
create function apm_private.actor_name() returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select coalesce(
        apm_private.claims() ->> 'name', nullif(current_setting('apm.actor', true), ''),
        nullif(nullif(current_setting('role', true), 'none'), ''), session_user
    )
$$;
revoke all on function apm_private.actor_name() from public, anon, authenticated, service_role;
grant execute on function apm_private.actor_name() to apm_definer, apm_engine;

-- Whatever way a status is changed, this guards it and stamps the times; the moment is apm.at where the
-- transaction sets it (the engine's cycle), else now.
create function apm_private.guard_incident() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    at timestamptz := coalesce(nullif(current_setting('apm.at', true), '')::timestamptz, clock_timestamp());
begin
    if new.status = old.status then
        return new;
    end if;
    if not exists (
        select from apm_private.incident_transitions as t
        where t.from_status = old.status and t.to_status = new.status
    ) then
        raise exception 'an incident that is % cannot become %', old.status, new.status
            using errcode = 'AP409', constraint = 'apm_incidents_transition';
    end if;
    new.generation := old.generation + 1;
    case new.status
        when 'acknowledged' then
            new.acknowledged_at := at;
            new.acknowledged_by := apm_private.caller_id();
            new.acknowledged_by_name := apm_private.actor_name();
        when 'investigating' then
            new.investigating_at := at;
            if new.acknowledged_at is null then
                new.acknowledged_at := at;
                new.acknowledged_by := apm_private.caller_id();
                new.acknowledged_by_name := apm_private.actor_name();
            end if;
        when 'resolved' then
            new.resolved_at := at;
            new.resolved_by := apm_private.caller_id();
            new.next_update_at := null;
        when 'closed' then
            new.closed_at := at;
            new.next_update_at := null;
        when 'open' then
            new.reopened_at := at;
            new.acknowledged_at := null;
            new.acknowledged_by := null;
            new.acknowledged_by_name := null;
            new.investigating_at := null;
            new.resolved_at := null;
            new.resolved_by := null;
    end case;
    return new;
end
$$;
call apm_private.hand_over('apm_private.guard_incident()');
create trigger apm_incidents_guard before update of status on public.apm_incidents
for each row execute function apm_private.guard_incident();

create function apm_private.record_incident() returns trigger
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
call apm_private.hand_over('apm_private.record_incident()');
create trigger apm_incidents_record after insert or update of status on public.apm_incidents
for each row execute function apm_private.record_incident();
create trigger apm_incidents_live after insert or update on public.apm_incidents
for each row execute function apm_private.notify_live('incidents');

grant select on public.apm_incidents, public.apm_incident_events to authenticated;
grant insert (organization_id, alert_id, title, severity, priority, dedup_key, detected_at, last_seen_at, vendor_text, created_by)
    on public.apm_incidents to authenticated;
grant update (status, title, severity, priority, next_update_at, vendor_text) on public.apm_incidents to authenticated;
create policy apm_incidents_authenticated_select on public.apm_incidents for select to authenticated
using (
    organization_id = any ((select public.apm_current_organization_ids())::uuid[])
    or (select public.apm_operator_role()) is not null
);
create policy apm_incidents_authenticated_insert on public.apm_incidents for insert to authenticated
with check (organization_id = any ((select public.apm_organization_ids_as('MEMBER'))::uuid[]));
-- a member acknowledges; what else he may touch is given by the column grants above
create policy apm_incidents_authenticated_update on public.apm_incidents for update to authenticated
using (
    organization_id = any ((select public.apm_organization_ids_as('MEMBER'))::uuid[])
    or (select public.apm_operator_role()) = 'oncall'
)
with check (
    organization_id = any ((select public.apm_organization_ids_as('MEMBER'))::uuid[])
    or (select public.apm_operator_role()) = 'oncall'
);

grant insert (organization_id, incident_id, kind, actor_id, actor, message) on public.apm_incident_events to authenticated;
create policy apm_incident_events_authenticated_select on public.apm_incident_events for select to authenticated
using (
    organization_id = any ((select public.apm_current_organization_ids())::uuid[])
    or (select public.apm_operator_role()) is not null
);
-- people write notes and "seen", under their own id and the name in their claims; the rest is written by the transitions
create policy apm_incident_events_authenticated_insert on public.apm_incident_events for insert to authenticated
with check (
    (
        organization_id = any ((select public.apm_organization_ids_as('MEMBER'))::uuid[])
        or (select public.apm_operator_role()) = 'oncall'
    )
    and kind in ('note', 'seen', 'update')
    and actor_id = (select (nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub')::uuid)
    and actor = (select coalesce(nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'name', 'member'))
);

-- An incident by hand is his own, and starts at the beginning.
create function apm_private.acknowledge_defaults() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    if new.last_seen_at is null then
        new.last_seen_at := new.detected_at;
    end if;
    return new;
end
$$;
revoke all on function apm_private.acknowledge_defaults() from public, anon, authenticated, service_role;
create trigger apm_incidents_defaults before insert on public.apm_incidents
for each row execute function apm_private.acknowledge_defaults();

-- The live incident of an alert rule, opened if there is none: a resolved one within the reopen window (30
-- minutes unless apm.reopen_window says otherwise) opens again, an older one is closed and a new one opened.
-- Escalation starts in the same statement, by trigger. A rule that the caller may not see is unknown to him.
create function public.create_incident_from_alert(
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
call apm_private.hand_over('public.create_incident_from_alert(uuid, double precision, timestamptz)');
grant execute on function public.create_incident_from_alert(uuid, double precision, timestamptz)
    to authenticated, service_role, apm_engine;
