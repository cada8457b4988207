-- Looking back at incidents, as a member or one of the platform's people.

-- list_spells --
-- Every stretch of trouble that began in a range, from the timeline alone: when it began, was taken, and ended, how long it
-- was held back, and how often people were called.
with begun as (
    select e.organization_id, e.incident_id, e.at as began_at, e.id, e.detail ->> 'phase' as phase,
        lead(e.at, 1, 'infinity') over (partition by e.organization_id, e.incident_id order by e.at, e.id) as next_at
    from public.apm_incident_events as e
    where e.kind in ('opened', 'reopened')
        and (%(organization_id)s::uuid is null or e.organization_id = %(organization_id)s::uuid)
        and (%(incident_id)s::uuid is null or e.incident_id = %(incident_id)s::uuid)
)
select b.organization_id, b.incident_id, i.number, i.title, i.severity::text as severity, i.priority::text as priority,
    i.vendor_text, b.phase, b.began_at, t.acknowledged_at, t.acknowledged_by, t.ended_at, t.is_merged, t.called,
    h.held_before, h.held_during
from begun as b
join public.apm_incidents as i on i.organization_id = b.organization_id and i.id = b.incident_id
cross join lateral (
    select min(e.at) filter (where e.kind in ('acknowledged', 'investigating')) as acknowledged_at,
        (array_agg(e.actor order by e.at, e.id) filter (where e.kind in ('acknowledged', 'investigating')))[1] as acknowledged_by,
        min(e.at) filter (where e.kind in ('resolved', 'closed', 'merged')) as ended_at,
        (array_agg(e.kind order by e.at, e.id) filter (where e.kind in ('resolved', 'closed', 'merged')))[1] = 'merged' as is_merged,
        (count(*) filter (where e.kind = 'escalated'))::int as called
    from public.apm_incident_events as e
    where e.organization_id = b.organization_id and e.incident_id = b.incident_id
        and e.at >= b.began_at and e.at < b.next_at and e.id >= b.id
) as t
cross join lateral (
    -- a hold lasts until something else is said of it, or until the ladder would not have gone on anyway
    select coalesce(sum(least(s.until, t.acknowledged_at, t.ended_at, %(at)s::timestamptz) - s.at)
            filter (where s.at < least(t.acknowledged_at, t.ended_at, %(at)s::timestamptz)), interval '0') as held_before,
        coalesce(sum(least(s.until, t.ended_at, %(at)s::timestamptz) - s.at)
            filter (where s.at < least(t.ended_at, %(at)s::timestamptz)), interval '0') as held_during
    from (
        select e.kind, e.at, lead(e.at) over (order by e.at, e.id) as until
        from public.apm_incident_events as e
        where e.organization_id = b.organization_id and e.incident_id = b.incident_id
            and e.kind in ('held', 'released', 'acknowledged', 'investigating', 'resolved', 'closed', 'merged')
            and e.at >= b.began_at and e.at < b.next_at and e.id >= b.id
    ) as s
    where s.kind = 'held'
) as h
where b.began_at < %(to)s::timestamptz
    and (b.began_at >= %(from)s::timestamptz or (%(overlapping)s::boolean and coalesce(t.ended_at, 'infinity') > %(from)s::timestamptz))
order by b.began_at, i.number
limit 10000

-- find_postmortem --
-- What was written down about an incident.
select p.*
from public.apm_postmortems as p
where p.organization_id = %(organization_id)s::uuid and p.incident_id = %(incident_id)s::uuid

-- store_postmortem --
-- Writes it down, or anew; approval goes where the text changes.
insert into public.apm_postmortems (
    organization_id, incident_id, summary, root_cause, contributing_factors, went_well, went_wrong, preventive_measures,
    customers_affected, data_loss, financial_impact_pounds, is_false_positive, approved_at
) values (
    %(organization_id)s::uuid, %(incident_id)s::uuid, %(summary)s::text, %(root_cause)s::text,
    %(contributing_factors)s::text[], %(went_well)s::text[], %(went_wrong)s::text[], %(preventive_measures)s::text[],
    %(customers_affected)s::int, %(data_loss)s::text, %(financial_impact_pounds)s::numeric, %(is_false_positive)s::boolean,
    case when %(is_approved)s::boolean then clock_timestamp() end
)
on conflict (organization_id, incident_id) do update set
    summary = excluded.summary, root_cause = excluded.root_cause, contributing_factors = excluded.contributing_factors,
    went_well = excluded.went_well, went_wrong = excluded.went_wrong, preventive_measures = excluded.preventive_measures,
    customers_affected = excluded.customers_affected, data_loss = excluded.data_loss,
    financial_impact_pounds = excluded.financial_impact_pounds, is_false_positive = excluded.is_false_positive,
    approved_at = excluded.approved_at
returning *

-- list_actions --
-- What was decided: of one incident, or all that is not done; the most overdue first.
select a.id, a.organization_id, a.incident_id, a.title, a.owner, a.due_on, a.done_at, i.number, i.title as incident_title
from public.apm_postmortem_actions as a
join public.apm_incidents as i on i.organization_id = a.organization_id and i.id = a.incident_id
where (%(organization_id)s::uuid is null or a.organization_id = %(organization_id)s::uuid)
    and (%(incident_id)s::uuid is null or a.incident_id = %(incident_id)s::uuid)
    and (not %(only_open)s::boolean or a.done_at is null)
order by a.done_at is not null, a.due_on, a.id
limit 1000

-- store_actions --
-- An incident's actions as they are now: those with an id are changed, others made; what is not named is gone.
with given as (
    select * from jsonb_to_recordset(%(actions)s::jsonb) as g (id uuid, title text, owner text, due_on date, is_done boolean)
),
gone as (
    delete from public.apm_postmortem_actions as a
    where a.organization_id = %(organization_id)s::uuid and a.incident_id = %(incident_id)s::uuid
        and not exists (select from given as g where g.id = a.id)
),
changed as (
    update public.apm_postmortem_actions as a set
        title = g.title, owner = g.owner, due_on = g.due_on,
        done_at = case when g.is_done then coalesce(a.done_at, clock_timestamp()) end
    from given as g
    where a.organization_id = %(organization_id)s::uuid and a.incident_id = %(incident_id)s::uuid and a.id = g.id
    returning a.id
)
insert into public.apm_postmortem_actions (organization_id, incident_id, title, owner, due_on, done_at)
select %(organization_id)s::uuid, %(incident_id)s::uuid, g.title, g.owner, g.due_on,
    case when g.is_done then clock_timestamp() end
from given as g
where g.id is null

-- finish_action --
-- It is done, or after all not.
update public.apm_postmortem_actions as a set
    done_at = case when %(is_done)s::boolean then coalesce(a.done_at, clock_timestamp()) end
where a.id = %(action_id)s::uuid
returning a.id, a.organization_id, a.incident_id

-- note_postmortem --
-- That it was written, in the timeline; under the caller's own name.
insert into public.apm_incident_events (organization_id, incident_id, kind, actor_id, actor, message)
values (
    %(organization_id)s::uuid, %(incident_id)s::uuid, 'note', auth.uid(), coalesce(auth.jwt() ->> 'name', 'member'),
    %(message)s::text
)

-- find_zone --
-- The clock that an organization of the caller lives by, or without one the platform; no row for another's.
select h.time_zone
from public.apm_calendar_habits(%(organization_id)s::uuid) as h
union all
select s.time_zone
from public.apm_guard_settings() as s
where %(organization_id)s::uuid is null
