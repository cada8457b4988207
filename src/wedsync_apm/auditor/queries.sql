-- What the auditor looks for, over all organizations, as the engine.

-- replace_findings [apm_engine] --
-- Everything that is wrong at this moment replaces what was wrong at the last look; what is new and what is over is told.
with found as materialized (
    -- open, and neither a step to come, nor a message on its way, nor the platform's people behind it
    select 'nobody_due' as kind, i.organization_id, i.id::text as subject,
        'Incident ' || i.number || ' is open, and nobody will be told of it any more' as detail
    from public.apm_incidents as i
    where i.status = 'open' and apm_private.is_watched(i.organization_id)
        and coalesce(i.reopened_at, i.detected_at) < %(at)s::timestamptz - %(patience)s::interval
        and i.dedup_key <> 'auditor:1:nobody_due'
        and not exists (
            select from public.apm_escalation_runs as r
            where r.organization_id = i.organization_id and r.incident_id = i.id and r.state = 'running'
        )
        and not exists (
            select from public.apm_deliveries as d
            where d.organization_id = i.organization_id and d.incident_id = i.id and d.kind in ('page', 'reopened')
                and d.state in ('pending', 'leased', 'sending', 'retry', 'unknown')
        )
        and not exists (
            select from apm_private.platform as f
            join public.apm_incidents as behind on behind.organization_id = f.organization_id
            where behind.dedup_key = 'ladder:1:' || i.id and behind.status in ('open', 'acknowledged', 'investigating')
        )
    union all
    select 'overdue_step', r.organization_id, r.incident_id::text,
        'A step of a ladder has been due since ' || to_char(r.next_at at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS "UTC"')
    from public.apm_escalation_runs as r
    where r.state = 'running' and r.next_at < %(at)s::timestamptz - %(lateness)s::interval
        and (r.held_until is null or r.held_until < %(at)s::timestamptz - %(lateness)s::interval)
        and apm_private.is_watched(r.organization_id)
    union all
    select 'waiting_message', d.organization_id, d.id::text,
        'A message has waited for a sender since ' || to_char(d.due_at at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS "UTC"')
    from public.apm_deliveries as d
    where d.state in ('pending', 'retry', 'unknown')
        and d.due_at < %(at)s::timestamptz
            - case when d.priority >= 100 then %(lateness)s::interval else %(patience_of_others)s::interval end
    union all
    select 'lost_sender', d.organization_id, d.id::text, 'A sender holds a message and is gone'
    from public.apm_deliveries as d
    where d.state in ('leased', 'sending') and d.lease_until < %(at)s::timestamptz - %(lateness)s::interval
    union all
    select 'failing_job', f.organization_id, r.job, 'The engine''s job failed ' || r.failures_in_row || ' times in a row'
    from apm_private.job_runs as r
    cross join apm_private.platform as f
    where r.outcome = 'failed' and r.failures_in_row >= 3
),
worst as materialized (
    -- of each kind the first hundred are enough to know
    select f.* from (
        select found.*, row_number() over (partition by found.kind order by found.organization_id, found.subject) as place
        from found
    ) as f
    where f.place <= 100
),
kept as (
    insert into apm_private.auditor_findings as k (kind, organization_id, subject, detail, found_at, seen_at)
    select w.kind, w.organization_id, w.subject, w.detail, %(at)s::timestamptz, %(at)s::timestamptz
    from worst as w
    on conflict (kind, organization_id, subject) do update set seen_at = excluded.seen_at, detail = excluded.detail
),
gone as (
    delete from apm_private.auditor_findings as k
    where not exists (
        select from worst as w
        where w.kind = k.kind and w.organization_id = k.organization_id and w.subject = k.subject
    )
)
select f.kind, count(*)::int as findings, min(f.detail) as example
from found as f
group by f.kind
order by f.kind

-- raise_finding [apm_engine] --
-- The platform's people are told of a kind of finding, once while it lasts.
insert into public.apm_incidents (
    organization_id, title, severity, priority, dedup_key, detected_at, last_seen_at
)
select f.organization_id, left(%(title)s::text, 300), 'critical', 'high', 'auditor:1:' || %(kind)s::text,
    %(at)s::timestamptz, %(at)s::timestamptz
from apm_private.platform as f
on conflict (organization_id, dedup_key) where status in ('open', 'acknowledged', 'investigating') do update set
    repeat_count = public.apm_incidents.repeat_count + 1,
    last_seen_at = excluded.last_seen_at
returning id

-- end_findings [apm_engine] --
-- What is not found any more is over.
update public.apm_incidents as i set status = 'resolved'
from apm_private.platform as f
where i.organization_id = f.organization_id and i.dedup_key like 'auditor:1:%%'
    and i.status in ('open', 'acknowledged', 'investigating')
    and i.dedup_key <> all (select 'auditor:1:' || one.kind from unnest(%(kinds)s::text[]) as one (kind))
returning i.id

-- set_acting [apm_engine] --
-- What the timeline calls whoever acts in this transaction, and when.
select set_config('apm.actor', 'auditor', true), set_config('apm.at', %(at)s::timestamptz::text, true)
