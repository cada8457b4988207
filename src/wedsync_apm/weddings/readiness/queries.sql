-- Readiness reports: made by the engine when their timers are due, read by members.

-- plan_readiness [apm_engine] --
-- Sets the timers by the calendar as it is now.
select apm_private.plan_readiness(%(at)s::timestamptz) as changed

-- claim_due_timers [apm_engine] --
-- The weddings whose report is due, the earliest first; whoever is second finds them taken.
select t.organization_id, t.wedding_id, t.wedding_date, t.due_at, t.starts_at, t.ends_at, t.asked_at is not null as is_asked,
    t.failed,
    exists (
        select from public.apm_readiness_reports as r
        where r.organization_id = t.organization_id and r.wedding_id = t.wedding_id and r.due_at = t.due_at
            and r.cause = 'evening'
    ) as is_made
from apm_private.readiness_timers as t
where t.next_at <= %(at)s::timestamptz and apm_private.is_watched(t.organization_id)
order by t.next_at, t.organization_id, t.wedding_id
limit %(limit)s::int
for update of t skip locked

-- find_facts [apm_engine] --
-- What is known of a wedding's readiness.
select f.contacts, f.unverified, f.stale, f.rungs, f.empty_rungs, f.tested, f.failing, f.checks, f.red, f.troubled,
    f.unseen, h.silences, h.works, h.inhibitions, f.initials, f.time_zone, o.rotas, o.open_rotas, o.open_minutes, o.unreachable, o.thin,
    d.drill_days, d.drill_called, d.drill_answered, d.drill_in_time, d.has_drills,
    extract(day from %(at)s::timestamptz - b.proven_at)::int as backup_days,
    b.is_last_proof_good is false as is_backup_bad, b.destinations > 0 as has_backups
from apm_private.readiness_facts(
    %(organization_id)s::uuid, %(wedding_id)s::uuid, %(wedding_date)s::date, %(at)s::timestamptz
) as f
cross join lateral apm_private.on_call_facts(%(organization_id)s, f.starts_at, f.ends_at) as o
cross join lateral apm_private.drill_facts(%(organization_id)s, %(at)s) as d
cross join apm_private.backup_facts(%(at)s) as b
cross join lateral apm_private.holding_facts(
    %(organization_id)s, %(wedding_id)s, %(wedding_date)s, f.starts_at, f.ends_at, %(at)s
) as h

-- keep_report [apm_engine] --
-- The report, the next of its evening.
insert into public.apm_readiness_reports
    (organization_id, wedding_id, wedding_date, due_at, attempt, cause, made_at, outcome, lines)
select %(organization_id)s::uuid, %(wedding_id)s::uuid, %(wedding_date)s::date, %(due_at)s::timestamptz,
    coalesce(max(r.attempt), 0) + 1, %(cause)s::text, %(at)s::timestamptz, %(outcome)s::text, %(lines)s::jsonb
from public.apm_readiness_reports as r
where r.organization_id = %(organization_id)s and r.wedding_id = %(wedding_id)s and r.due_at = %(due_at)s

-- move_timer [apm_engine] --
-- When to look again; null: not any more.
update apm_private.readiness_timers as t
set next_at = %(next_at)s::timestamptz, asked_at = null, failed = %(failed)s::text[]
where t.organization_id = %(organization_id)s::uuid and t.wedding_id = %(wedding_id)s::uuid

-- find_live_incident [apm_engine] --
-- Whether the wedding has an incident of its readiness.
select i.id
from public.apm_incidents as i
where i.organization_id = %(organization_id)s::uuid and i.dedup_key = %(dedup_key)s::text
    and i.status in ('open', 'acknowledged', 'investigating')

-- open_incident [apm_engine] --
-- The one incident of this wedding's readiness.
select apm_private.open_incident(
    %(organization_id)s::uuid, %(dedup_key)s::text, %(title)s::text, 'critical'::public.alert_severity,
    '{"service": "readiness"}'::jsonb, %(vendor_text)s::jsonb, %(at)s::timestamptz
) as id

-- name_wedding [apm_engine] --
-- Which wedding it is about: it is not under way yet.
update public.apm_incidents as i
set wedding_date = %(wedding_date)s::date, affected_weddings = jsonb_build_array(jsonb_build_object(
    'wedding_id', %(wedding_id)s::uuid, 'wedding_date', %(wedding_date)s::date, 'initials', %(initials)s::text,
    'time_zone', %(time_zone)s::text, 'phase', null, 'next_milestone_at', %(starts_at)s::timestamptz
))
where i.organization_id = %(organization_id)s::uuid and i.id = %(incident_id)s::uuid

-- end_incident [apm_engine] --
-- Nothing fails any more.
select apm_private.end_incident(
    %(organization_id)s::uuid, %(dedup_key)s::text, %(words)s::text, %(at)s::timestamptz
) as id

-- list_idle_incidents [apm_engine] --
-- Live incidents of weddings that are over, were called off, or moved to a later day.
select i.organization_id, i.dedup_key
from public.apm_incidents as i
where i.dedup_key like 'readiness:1:%%' and i.status in ('open', 'acknowledged', 'investigating')
    and not exists (
        select from apm_private.readiness_timers as t
        where t.organization_id = i.organization_id and i.dedup_key = 'readiness:1:' || t.wedding_id
            and t.due_at <= %(at)s::timestamptz and t.ends_at > %(at)s
    )

-- find_report --
-- The last report of a wedding that the caller may see; its date only for members.
select r.id, r.organization_id, r.wedding_id, case when k.is_told then r.wedding_date end as wedding_date,
    case when k.is_told then r.due_at end as due_at, r.cause, r.made_at, r.outcome, r.lines
from public.apm_readiness_reports as r
cross join lateral (select r.organization_id = any (public.apm_current_organization_ids())) as k (is_told)
where r.wedding_id = %(wedding_id)s::uuid
order by r.made_at desc, r.attempt desc
limit 1

-- look_now --
-- What is known at this moment, of a wedding that the caller may see; its date only for members.
select f.organization_id, case when k.is_told then f.wedding_date end as wedding_date,
    case when k.is_told then f.due_at end as due_at, f.contacts, f.unverified, f.stale, f.rungs, f.empty_rungs, f.tested,
    f.failing, f.checks, f.red, f.troubled, f.unseen, h.silences, h.works, h.inhibitions, o.rotas,
    o.open_rotas, o.open_minutes, o.unreachable, o.thin, d.drill_days, d.drill_called, d.drill_answered, d.drill_in_time,
    d.has_drills, extract(day from now() - b.proven_at)::int as backup_days,
    b.is_last_proof_good is false as is_backup_bad, coalesce(b.destinations, 0) > 0 as has_backups, now() as at
from public.apm_readiness_facts(%(wedding_id)s::uuid, now()) as f
cross join lateral public.apm_on_call_facts(%(wedding_id)s, f.starts_at, f.ends_at) as o
cross join public.apm_holding_facts(%(wedding_id)s, now()) as h
cross join public.apm_drill_facts(%(wedding_id)s, now()) as d
left join public.apm_backup_facts(now()) as b on true
cross join lateral (select f.organization_id = any (public.apm_current_organization_ids())) as k (is_told)

-- ask_again --
-- A report is wanted now.
select public.apm_ask_readiness(%(wedding_id)s::uuid)
