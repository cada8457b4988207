-- Way back: everybody is watched again.
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
        where s.next_at <= start_due_drills.at
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
        where h.alarm_at <= miss_heartbeats.at
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

drop function public.apm_monitoring_default();
drop function public.apm_set_monitoring_default(text, text);
drop function public.apm_switch_monitoring(uuid[], text, text, text, boolean);
drop function apm_private.switch_monitoring(uuid[], text, text, text, boolean, timestamptz);
drop function apm_private.require_operator_or_service();
drop function public.apm_is_watched(uuid);
drop function apm_private.is_watched(uuid);
drop table public.apm_monitoring, apm_private.monitoring_default;
