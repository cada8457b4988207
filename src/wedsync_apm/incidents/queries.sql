-- Incidents as a member sees and changes them. Legal transitions, times and the timeline are the triggers' business.

-- list_incidents --
-- The list, newest first: live ones, one organization's, one rule's, from a severity up; a page at a time.
select i.*
from public.apm_incidents as i
where (%(organization_id)s::uuid is null or i.organization_id = %(organization_id)s::uuid)
    and (%(statuses)s::text[] is null or i.status::text = any (%(statuses)s::text[]))
    and (%(alert_id)s::uuid is null or i.alert_id = %(alert_id)s::uuid)
    and (%(severity_min)s::public.alert_severity is null or i.severity >= %(severity_min)s::public.alert_severity)
    and (
        %(before_at)s::timestamptz is null
        or (i.detected_at, i.id) < (%(before_at)s::timestamptz, %(before_id)s::uuid)
    )
order by i.detected_at desc, i.id desc
limit %(limit)s::int

-- list_live_incidents --
-- What is wrong now, the most urgent first; what is asked most.
select i.*
from public.apm_incidents as i
where (%(organization_id)s::uuid is null or i.organization_id = %(organization_id)s::uuid)
    and i.status in ('open', 'acknowledged', 'investigating')
order by i.priority desc, i.detected_at desc

-- find_incident --
-- One incident, if the caller may see it.
select i.*
from public.apm_incidents as i
where i.id = %(incident_id)s::uuid

-- list_events --
-- An incident's timeline, oldest first.
select e.id, e.at, e.kind, e.actor, e.actor_id, e.message, e.detail
from public.apm_incident_events as e
where e.organization_id = %(organization_id)s::uuid and e.incident_id = %(incident_id)s::uuid
order by e.at, e.id

-- find_next_step --
-- The rung of the ladder that is due next, while it is being climbed.
select r.next_at, r.steps -> r.next_step as step
from public.apm_escalation_runs as r
where r.organization_id = %(organization_id)s::uuid and r.incident_id = %(incident_id)s::uuid
    and r.state = 'running'
order by r.generation desc
limit 1

-- set_note --
-- What the timeline says beside the transition that follows in this transaction.
select set_config('apm.note', %(note)s::text, true)

-- change_status --
-- To another status; the guard refuses what is not legal, the triggers write the rest.
update public.apm_incidents as i set status = %(status)s::public.incident_status
where i.id = %(incident_id)s::uuid
returning i.*

-- promise_update --
-- "Next update by": a promise to the vendor; null takes it back.
update public.apm_incidents as i set next_update_at = %(next_update_at)s::timestamptz
where i.id = %(incident_id)s::uuid
returning i.*

-- create_event --
-- A person's own line in the timeline: a note, "seen", an update.
insert into public.apm_incident_events (organization_id, incident_id, kind, actor_id, actor, message)
values (
    %(organization_id)s::uuid, %(incident_id)s::uuid, %(kind)s::text, auth.uid(),
    coalesce(auth.jwt() ->> 'name', 'member'), %(message)s::text
)
returning id, at, kind, actor, actor_id, message, detail

-- create_incident --
-- By hand: the caller saw it before any rule did.
insert into public.apm_incidents (
    organization_id, title, severity, priority, dedup_key, detected_at, last_seen_at, vendor_text, created_by
) values (
    %(organization_id)s::uuid, %(title)s::text, %(severity)s::public.alert_severity,
    %(priority)s::public.alert_priority, 'user:1:' || gen_random_uuid(), %(at)s::timestamptz, %(at)s::timestamptz,
    %(vendor_text)s::jsonb, auth.uid()
)
returning *

-- is_wedding_under_way --
-- Whether one of the organization's weddings is under way, for the priority of an incident by hand.
select exists (
    select from public.wedding_window_at(%(organization_id)s::uuid, %(at)s::timestamptz)
) as is_wedding_day

-- escalate_incident --
-- The next step of its ladder is due now; refuses where none is being climbed.
select public.apm_escalate_incident(%(incident_id)s::uuid)
