-- pre: operators switch monitoring on for each organization, a group at a time; what is off is judged by nobody and tells nobody.

-- Without a row an organization is watched as the default says; the default counts for those alone that nobody has decided about.
create table apm_private.monitoring_default (
    is_only boolean primary key default true check (is_only),
    state text not null default 'on' check (state in ('off', 'on')),
    -- grows with every switch: the engine looks at it rather than at all organizations
    version bigint not null default 0,
    updated_at timestamptz not null default now()
);
call apm_private.protect_table('apm_private.monitoring_default');
insert into apm_private.monitoring_default default values;
create trigger monitoring_default_audit after update of state on apm_private.monitoring_default
for each row execute function apm_private.write_guard_audit();

create table public.apm_monitoring (
    organization_id uuid not null primary key references public.organizations (id) on delete cascade,
    -- off: what is sent is kept, nothing is judged and nobody is told; beta and on are watched alike
    state text not null check (state in ('off', 'beta', 'on')),
    -- those that are switched together; '' is no group
    group_name text not null default '' check (length(group_name) <= 100 and group_name = btrim(group_name)),
    reason text not null check (length(btrim(reason)) between 3 and 1000),
    changed_at timestamptz not null default now(),
    changed_by uuid,
    changed_by_name text not null
);
call apm_private.protect_table('public.apm_monitoring');
-- list_groups, switch_monitoring: who is in a group
create index idx_apm_monitoring_group on public.apm_monitoring (group_name) where group_name <> '';
grant select on public.apm_monitoring to authenticated;
create policy apm_monitoring_authenticated_select on public.apm_monitoring for select to authenticated
using (
    organization_id = any ((select public.apm_current_organization_ids())::uuid[])
    or (select public.apm_operator_role()) is not null
);
create trigger apm_monitoring_audit after insert or update or delete on public.apm_monitoring
for each row execute function apm_private.write_audit();

-- What every claim of the engine asks. Not as its owner, so that the planner takes it into the statement that asks.
create function apm_private.is_watched(organization_id uuid) returns boolean
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select coalesce(
        (select m.state from public.apm_monitoring as m where m.organization_id = is_watched.organization_id),
        (select d.state from apm_private.monitoring_default as d)
    ) <> 'off'
$$;
revoke all on function apm_private.is_watched(uuid) from public, anon, authenticated, service_role;
grant execute on function apm_private.is_watched(uuid) to apm_definer, apm_engine;

-- Whether an organization of the caller's is watched; null for any other.
create function public.apm_is_watched(organization_id uuid) returns boolean
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    select case
        when apm_private.is_service() or public.apm_operator_role() is not null
            or apm_is_watched.organization_id = any (public.apm_current_organization_ids())
        then apm_private.is_watched(apm_is_watched.organization_id)
    end
$$;
call apm_private.hand_over('public.apm_is_watched(uuid)');
grant execute on function public.apm_is_watched(uuid) to authenticated, service_role, apm_engine;

-- Switches organizations, and says for each what came of it: "switched", "same", "unknown", or why it stays as it is: the
-- platform watches itself, an incident lives ("incident"), or a wedding is near ("wedding": `is_near_ok` switches all the same).
create function apm_private.switch_monitoring(
    organization_ids uuid[], state text, group_name text, reason text, is_near_ok boolean, at timestamptz
) returns table (organization_id uuid, outcome text)
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    one uuid;
    present record;
    has_changed boolean := false;
begin
    -- one after the other: what one operator decides the next one sees
    perform pg_advisory_xact_lock(hashtextextended('apm monitoring', 0));
    perform set_config('apm.at', switch_monitoring.at::text, true);
    foreach one in array switch_monitoring.organization_ids loop
        organization_id := one;
        select coalesce(m.state, d.state) as state, coalesce(m.group_name, '') as group_name, m.state is not null as is_decided
        into present
        from public.organizations as o
        cross join apm_private.monitoring_default as d
        left join public.apm_monitoring as m on m.organization_id = o.id
        where o.id = one;
        outcome := case
            when present.state is null then 'unknown'
            when present.is_decided and present.state = switch_monitoring.state
                and present.group_name = coalesce(switch_monitoring.group_name, present.group_name) then 'same'
            when switch_monitoring.state <> 'off' or present.state = 'off' then 'switched'
            when exists (select from apm_private.platform as p where p.organization_id = one) then 'platform'
            when exists (
                select from public.apm_incidents as i
                where i.organization_id = one and i.status in ('open', 'acknowledged', 'investigating')
            ) then 'incident'
            when not switch_monitoring.is_near_ok and exists (
                select from apm_private.wedding_windows_between(
                    array[one], switch_monitoring.at, switch_monitoring.at + interval '48 hours'
                ) as w
                where w.phase in ('set_up', 'ceremony', 'reception', 'tear_down', 'day')
            ) then 'wedding'
            else 'switched'
        end;
        return next;
        continue when outcome <> 'switched';
        has_changed := true;
        if present.state = 'off' and switch_monitoring.state <> 'off' then
            -- what opened meanwhile called nobody: what is still wrong opens anew, and calls
            update public.apm_incidents as i set status = 'closed'
            where i.organization_id = one and i.status in ('open', 'acknowledged', 'investigating');
        end if;
        insert into public.apm_monitoring as m
            (organization_id, state, group_name, reason, changed_at, changed_by, changed_by_name)
        values (
            one, switch_monitoring.state, coalesce(switch_monitoring.group_name, ''), switch_monitoring.reason,
            switch_monitoring.at, apm_private.caller_id(), apm_private.actor_name()
        )
        on conflict (organization_id) do update set
            state = excluded.state, group_name = coalesce(switch_monitoring.group_name, m.group_name),
            reason = excluded.reason, changed_at = excluded.changed_at, changed_by = excluded.changed_by,
            changed_by_name = excluded.changed_by_name;
        -- its checks are due now, not when they would have been looked at next
        update public.service_health_checks as c set next_check_at = switch_monitoring.at
        where c.organization_id = one and c.is_active and switch_monitoring.state <> 'off' and present.state = 'off';
    end loop;
    if has_changed then
        update apm_private.monitoring_default as d set version = d.version + 1;
    end if;
end
$$;
call apm_private.hand_over('apm_private.switch_monitoring(uuid[], text, text, text, boolean, timestamptz)');
grant execute on function apm_private.switch_monitoring(uuid[], text, text, text, boolean, timestamptz) to apm_engine;

-- For operators, and for commands on the server.
create function apm_private.require_operator_or_service() returns void
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    if not apm_private.is_service() then
        perform apm_private.require_operator();
    end if;
end
$$;
call apm_private.hand_over('apm_private.require_operator_or_service()');

create function public.apm_switch_monitoring(
    organization_ids uuid[], state text, group_name text, reason text, is_near_ok boolean
) returns table (organization_id uuid, outcome text)
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform apm_private.require_operator_or_service();
    if cardinality(apm_switch_monitoring.organization_ids) > 500 then
        raise exception 'Switch 500 organizations at a time.' using errcode = 'AP422', constraint = 'apm_monitoring_many';
    end if;
    return query select s.organization_id, s.outcome from apm_private.switch_monitoring(
        apm_switch_monitoring.organization_ids, apm_switch_monitoring.state, apm_switch_monitoring.group_name,
        apm_switch_monitoring.reason, apm_switch_monitoring.is_near_ok, clock_timestamp()
    ) as s;
end
$$;
call apm_private.hand_over('public.apm_switch_monitoring(uuid[], text, text, text, boolean)');
grant execute on function public.apm_switch_monitoring(uuid[], text, text, text, boolean) to authenticated, apm_engine;

-- What organizations to come begin with; how many stayed as they are by it. Those that are there keep what they have, and
-- it is written down.
create function public.apm_set_monitoring_default(state text, reason text) returns int
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    at constant timestamptz := clock_timestamp();
    present text;
    kept int;
begin
    perform apm_private.require_operator_or_service();
    perform pg_advisory_xact_lock(hashtextextended('apm monitoring', 0));
    select d.state into present from apm_private.monitoring_default as d;
    if present = apm_set_monitoring_default.state then
        return 0;
    end if;
    insert into public.apm_monitoring (organization_id, state, reason, changed_at, changed_by, changed_by_name)
    select o.id, present, left('As before new ones began with ' || apm_set_monitoring_default.state || ': '
        || apm_set_monitoring_default.reason, 1000), at, apm_private.caller_id(), apm_private.actor_name()
    from public.organizations as o
    on conflict (organization_id) do nothing;
    get diagnostics kept = row_count;
    update apm_private.monitoring_default as d set state = apm_set_monitoring_default.state, version = d.version + 1;
    return kept;
end
$$;
call apm_private.hand_over('public.apm_set_monitoring_default(text, text)');
grant execute on function public.apm_set_monitoring_default(text, text) to authenticated, apm_engine;

-- The present default, for the same.
create function public.apm_monitoring_default() returns text
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    select d.state from apm_private.monitoring_default as d
    where apm_private.is_service() or public.apm_operator_role() is not null
$$;
call apm_private.hand_over('public.apm_monitoring_default()');
grant execute on function public.apm_monitoring_default() to authenticated, apm_engine;

-- Silence is told of nobody who is not watched.
create or replace function apm_private.miss_heartbeats(at timestamptz, most int)
returns table (organization_id uuid, heartbeat_id uuid, incident_id uuid, overdue interval)
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    heartbeat public.apm_heartbeats%rowtype;
begin
    perform set_config('apm.actor', 'heartbeat', true);
    -- After a pause of ours we may have been deaf: what ran out meanwhile gets another minute to be heard of.
    if exists (
        select from apm_private.job_runs as j
        where j.job = 'heartbeats' and j.finished_at < miss_heartbeats.at - interval '30 seconds'
    ) then
        update public.apm_heartbeats as h set alarm_at = miss_heartbeats.at + interval '1 minute'
        where h.alarm_at <= miss_heartbeats.at;
    end if;
    for heartbeat in
        select h.* from public.apm_heartbeats as h
        where h.alarm_at <= miss_heartbeats.at and apm_private.is_watched(h.organization_id)
        order by h.alarm_at
        limit miss_heartbeats.most
        for update skip locked
    loop
        update public.apm_heartbeats as h set state = 'down', alarm_at = null
        where h.organization_id = heartbeat.organization_id and h.id = heartbeat.id;
        organization_id := heartbeat.organization_id;
        heartbeat_id := heartbeat.id;
        overdue := miss_heartbeats.at - heartbeat.alarm_at;
        incident_id := apm_private.open_heartbeat_incident(
            heartbeat,
            case
                when heartbeat.started_at is not null and heartbeat.alarm_at = heartbeat.started_at + heartbeat.grace
                then 'began and has not ended' else 'has not been heard of'
            end,
            heartbeat.alarm_at
        );
        return next;
    end loop;
end
$$;

-- Nor is anybody drilled by a schedule.
create or replace function apm_private.start_due_drills(at timestamptz, most int) returns table (started int, held int)
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    due public.apm_drill_schedules%rowtype;
    quiet timestamptz;
    following timestamptz;
    obstacle text;
begin
    started := 0;
    held := 0;
    for due in
        select s.* from public.apm_drill_schedules as s
        where s.next_at <= start_due_drills.at and apm_private.is_watched(s.organization_id)
        order by s.next_at, s.organization_id
        limit start_due_drills.most
        for update skip locked
    loop
        perform pg_advisory_xact_lock(hashtextextended('drill:' || due.organization_id, 0));
        obstacle := null;
        select max(r.quiet_until) into quiet
        from apm_private.drill_receivers(due.organization_id, start_due_drills.at) as r;
        if apm_private.is_wedding_at(due.organization_id, start_due_drills.at) then
            obstacle := 'wedding';
            following := start_due_drills.at + interval '30 minutes';
        elsif exists (
            select from public.apm_drills as d where d.organization_id = due.organization_id and d.ended_at is null
        ) then
            obstacle := 'running';
            following := start_due_drills.at + interval '30 minutes';
        elsif quiet is not null and start_due_drills.at < due.planned_at + interval '1 day' then
            obstacle := 'quiet_hours';
            following := least(quiet, due.planned_at + interval '1 day');
        end if;
        if obstacle is null then
            following := apm_private.next_drill_at(
                due.every, due.weekday, due.local_time, due.time_zone, start_due_drills.at
            );
            if apm_private.open_drill(
                due.organization_id, 'schedule', '', null, null, '', due.planned_at, start_due_drills.at
            ) is null then
                obstacle := 'nobody';
            else
                started := started + 1;
            end if;
            due.planned_at := following;
        else
            held := held + 1;
        end if;
        update public.apm_drill_schedules as s
        set planned_at = due.planned_at, next_at = following, held_by = obstacle
        where s.organization_id = due.organization_id;
    end loop;
    return next;
end
$$;
