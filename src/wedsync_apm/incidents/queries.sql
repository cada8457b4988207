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
order by i.priority desc, (i.affected_weddings -> 0 ->> 'next_milestone_at')::timestamptz nulls last, i.detected_at

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
-- The rung of the ladder that is due next, while it is being climbed, and whose contacts it tells: those that it names
-- and those of whoever is on call then, as far as is known now.
select r.next_at, r.steps -> r.next_step as step, array(
    select listed.id::uuid
    from jsonb_array_elements_text(r.steps -> r.next_step -> 'contact_method_ids') as listed (id)
    union
    select m.id
    from jsonb_array_elements_text(r.steps -> r.next_step -> 'schedule_ids') as s (id)
    cross join lateral public.apm_on_call(s.id::uuid, greatest(r.next_at, now())) as p
    join public.apm_contact_methods as m on m.organization_id = r.organization_id and m.user_id = p.user_id
    where m.disabled_at is null
) as contact_method_ids
from public.apm_escalation_runs as r
where r.organization_id = %(organization_id)s::uuid and r.incident_id = %(incident_id)s::uuid
    and r.state = 'running'
order by r.generation desc
limit 1

-- list_next_calls --
-- When the ladder of each incident calls next, of those whose ladder is being climbed and has a rung left.
select newest.incident_id, newest.next_at
from (
    select distinct on (r.incident_id) r.incident_id, r.next_at, r.steps -> r.next_step as step
    from public.apm_escalation_runs as r
    where r.organization_id = %(organization_id)s::uuid and r.incident_id = any (%(incident_ids)s::uuid[])
        and r.state = 'running'
    order by r.incident_id, r.generation desc
) as newest
where newest.step is not null

-- find_held_back --
-- What keeps people from being told of an incident now.
select h.kind, h.id, h.since, h.until, h.owner, h.reason
from public.apm_incident_held_back_by(%(incident_id)s::uuid) as h

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
-- By hand: the caller saw it before any rule did. Its priority is found as that of any other.
insert into public.apm_incidents (
    organization_id, title, severity, priority, dedup_key, detected_at, last_seen_at, vendor_text, created_by
) values (
    %(organization_id)s::uuid, %(title)s::text, %(severity)s::public.alert_severity,
    'low', 'user:1:' || gen_random_uuid(), %(at)s::timestamptz, %(at)s::timestamptz,
    %(vendor_text)s::jsonb, auth.uid()
)
returning *

-- escalate_incident --
-- The next step of its ladder is due now; refuses where none is being climbed.
select public.apm_escalate_incident(%(incident_id)s::uuid)

-- merge_incident --
-- It goes on as another one; refuses what cannot be merged.
select public.apm_merge_incident(%(incident_id)s::uuid, %(into)s::uuid, %(note)s::text)

-- tell_update --
-- A word to everyone who was told, and the promise of the next one.
select public.apm_update_incident(%(incident_id)s::uuid, %(message)s::text, %(next_update_at)s::timestamptz)

-- change_texts --
-- What is broken, for the engineer and for the vendor.
update public.apm_incidents as i set engineer_text = %(engineer_text)s::text, vendor_text = %(vendor_text)s::jsonb
where i.id = %(incident_id)s::uuid
returning i.*

-- list_parts --
-- Its part in a wedding's trouble, or the parts of it, as far as the caller may see them.
select p.organization_id, p.incident_id, p.whole_id, p.joined_at, o.name as organization_name, i.title,
    i.status::text as status
from public.apm_incident_parts as p
left join public.apm_incidents as i on i.organization_id = p.organization_id and i.id = p.incident_id
left join public.organizations as o on o.id = p.organization_id
where p.whole_id = %(incident_id)s::uuid or p.incident_id = %(incident_id)s::uuid
order by p.joined_at, p.incident_id
