-- Heartbeats as members see and change them, as whoever knows the token pings them, and as the engine misses them.

-- list_heartbeats --
-- The organizations' heartbeats, newest first.
select h.*,
    case
        when not h.is_active then 'paused'
        when h.state = 'up' and h.started_at is not null then 'started'
        when h.state = 'up' and h.due_at < now() then 'late'
        else h.state
    end as state
from public.apm_heartbeats as h
where h.organization_id = any (%(organization_ids)s::uuid[])
    and (%(before_at)s::timestamptz is null or (h.created_at, h.id) < (%(before_at)s, %(before_id)s::uuid))
order by h.created_at desc, h.id desc
limit %(limit)s::int

-- find_heartbeat --
-- A heartbeat that the caller can see.
select h.*,
    case
        when not h.is_active then 'paused'
        when h.state = 'up' and h.started_at is not null then 'started'
        when h.state = 'up' and h.due_at < now() then 'late'
        else h.state
    end as state
from public.apm_heartbeats as h
where h.id = %(id)s::uuid

-- create_heartbeat --
-- A new heartbeat, not heard of yet.
insert into public.apm_heartbeats (
    organization_id, created_by, name, description, service_name, period, cron, time_zone, grace, severity, is_active
)
select
    %(organization_id)s::uuid, %(created_by)s::uuid, v.name, v.description, v.service_name, v.period, v.cron, v.time_zone,
    v.grace, v.severity, v.is_active
from jsonb_populate_record(null::public.apm_heartbeats, %(values)s::jsonb) as v
returning *

-- update_heartbeat --
-- Changes the named values and no others; another rhythm begins anew.
update public.apm_heartbeats as t
set (name, description, service_name, period, cron, time_zone, grace, severity, is_active) = (
    select v.name, v.description, v.service_name, v.period, v.cron, v.time_zone, v.grace, v.severity, v.is_active
    from jsonb_populate_record(t, %(values)s::jsonb) as v
)
where t.id = %(id)s::uuid
returning t.*

-- delete_heartbeat --
-- Gone; an incident that it had open ends.
delete from public.apm_heartbeats
where id = %(id)s::uuid

-- set_token --
-- Gives it an address in place of the one it may have.
select public.apm_set_heartbeat_token(%(id)s::uuid, %(token_hash)s::bytea)

-- take_heartbeat [apm_api] --
-- The heartbeat of a token, locked, and the moment at which it was heard.
select h.organization_id, h.id, h.period, h.cron, h.time_zone, h.received_at
from apm_private.take_heartbeat(%(token_hash)s::bytea) as h

-- note_heartbeat [apm_api] --
-- What the signal leads to: up, started, down or paused.
select apm_private.note_heartbeat(
    %(organization_id)s::uuid, %(id)s::uuid, %(signal)s::text, %(words)s::text, %(due_at)s::timestamptz,
    %(received_at)s::timestamptz
) as state

-- miss_heartbeats [apm_engine] --
-- Opens the incidents of those whose time has run out.
select m.organization_id, m.heartbeat_id, m.incident_id, m.overdue
from apm_private.miss_heartbeats(%(at)s::timestamptz, %(limit)s::int) as m
