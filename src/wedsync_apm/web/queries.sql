-- What surrounds every page, in one round trip.

-- read_frame --
-- The database's clock, what the caller is on the platform, and how much is wrong where he looks.
select
    clock_timestamp() as at,
    public.apm_operator_role() as operator_role,
    (
        select count(*)
        from public.apm_incidents as i
        where (i.organization_id = %(organization_id)s::uuid or (select public.apm_operator_role()) is not null)
            and i.status in ('open', 'acknowledged', 'investigating')
    ) as live_incidents,
    exists (
        select from public.wedding_window_at(%(organization_id)s::uuid, clock_timestamp())
    ) as is_wedding,
    coalesce(public.apm_is_watched(%(organization_id)s), true) as is_watched

-- find_engine_silence [apm_api] --
-- Seconds since the engine last got through a job; null: never.
select extract(epoch from clock_timestamp() - max(r.finished_at))::float8 as seconds
from apm_private.read_job_runs() as r

-- look_up_acknowledge_link [apm_api] --
-- What a one-tap link is about; nobody is signed in.
select l.*, clock_timestamp() as at
from apm_private.look_up_acknowledge_link(%(token_hash)s::bytea, clock_timestamp()) as l

-- use_acknowledge_link [apm_api] --
-- Takes the incident in hand, once.
select apm_private.use_acknowledge_link(%(token_hash)s::bytea, clock_timestamp()) as outcome

-- lock_rule --
-- Kept still while somebody saves it.
select r.id from public.apm_alerts as r where r.id = %(id)s::uuid for update

-- lock_health_check --
-- Kept still while somebody saves it.
select c.id from public.service_health_checks as c where c.id = %(id)s::uuid for update

-- lock_heartbeat --
-- Kept still while somebody saves it.
select h.id from public.apm_heartbeats as h where h.id = %(id)s::uuid for update

-- lock_planned_work --
-- Kept still while somebody saves it.
select m.id from public.apm_maintenance_windows as m where m.id = %(id)s::uuid for update

-- lock_wedding --
-- Kept still while somebody saves it.
select w.id from public.apm_weddings as w where w.id = %(id)s::uuid for update

-- lock_rota --
-- Kept still while somebody saves it.
select s.id from public.apm_on_call_schedules as s where s.id = %(id)s::uuid for update

-- lock_ladder --
-- Kept still while somebody saves it.
select p.id from public.apm_escalation_policies as p where p.id = %(id)s::uuid for update
