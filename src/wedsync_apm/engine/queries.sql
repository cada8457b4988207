-- The engine's own bookkeeping: the clock, locks, cursors, job runs, and tidying up.

-- read_clock [apm_engine] --
-- The instant of a cycle, whole milliseconds: read once, passed down.
select date_trunc('milliseconds', clock_timestamp()) as at

-- take_turn [apm_engine] --
-- The instant, and whether this process has the job for this transaction: two engines never do the same work.
select date_trunc('milliseconds', clock_timestamp()) as at,
    pg_try_advisory_xact_lock(hashtextextended('apm cycle ' || %(job)s::text, 0)) as is_mine

-- limit_statements [apm_engine] --
-- How long a statement of this transaction may take from here on.
select set_config('statement_timeout', (1000 * %(seconds)s::float8)::int::text, true)

-- record_run [apm_engine] --
-- How a job's last run went.
insert into apm_private.job_runs as r (job, started_at, finished_at, duration_ms, outcome, detail, failures_in_row)
values (
    %(job)s::text, %(started_at)s::timestamptz, clock_timestamp(), %(duration_ms)s::float8, %(outcome)s::text,
    left(%(detail)s::text, 500), case when %(outcome)s::text = 'failed' then 1 else 0 end
)
on conflict (job) do update set
    started_at = excluded.started_at,
    finished_at = excluded.finished_at,
    duration_ms = excluded.duration_ms,
    outcome = excluded.outcome,
    detail = excluded.detail,
    failures_in_row = case when excluded.outcome = 'failed' then r.failures_in_row + 1 else 0 end

-- share_slices [apm_engine] --
-- Takes and gives back slices of the organizations; what this engine then has.
select s.slice, s.generation from apm_private.share_slices(%(engine)s::uuid, %(lease)s::interval) as s

-- tell_alive [apm_engine] --
-- This engine lives, and so what it holds is not to be taken.
insert into apm_private.evaluators as e (id, seen_at, lease)
values (%(engine)s::uuid, clock_timestamp(), %(lease)s::interval)
on conflict (id) do update set seen_at = excluded.seen_at, lease = excluded.lease

-- leave_slices [apm_engine] --
-- This engine is gone: what it held is free.
delete from apm_private.evaluators as e where e.id = %(engine)s::uuid

-- hold_slice [apm_engine] --
-- Nobody else gets this slice until the transaction ends; an error if it is somebody else's already.
select apm_private.hold_slices(%(engine)s::uuid, array[%(slice)s::int], array[%(generation)s::bigint]) as is_held

-- list_cursors [apm_engine] --
-- How far some slices have been read, when, and whose verdicts were not up to that then. A cursor from before a restore lies
-- in the future and counts for nothing.
select s.slice, c.snapshot::text as snapshot, c.judged_at as at, c.behind
from unnest(%(slices)s::int[]) as s (slice)
left join apm_private.cursors as c
    on c.name = %(name)s::text || ' ' || s.slice and pg_snapshot_xmax(c.snapshot) <= pg_snapshot_xmax(pg_current_snapshot())

-- read_new_flushes [apm_engine] --
-- Which of these organizations have flushes that whoever has read up to a snapshot has not seen, and up to where they are
-- read now. Nothing is lost to the order of commits: a flush still open at the snapshot is in its list of open ones.
-- Without a snapshot everything kept is new.
select pg_current_snapshot()::text as snapshot, coalesce(n.organization_ids, '{}') as organization_ids
from (
    select array_agg(distinct o.organization_id) as organization_ids
    from apm_private.flushes as f
    cross join lateral unnest(f.organization_ids) as o (organization_id)
    -- each side as one value, so that both are looked up in the index
    where (
            f.xid >= coalesce(pg_snapshot_xmax(%(seen)s::pg_snapshot), '0'::xid8)
            or f.xid = any (array(select pg_snapshot_xip(%(seen)s::pg_snapshot)))
        )
        -- for whoever watches nobody nothing is read
        and cardinality(%(organization_ids)s::uuid[]) > 0
        and o.organization_id = any (%(organization_ids)s::uuid[])
) as n

-- move_cursors [apm_engine] --
-- These slices have been read up to here; in the transaction that acts on what was read, and only while they are held.
insert into apm_private.cursors as c (name, snapshot, updated_at, judged_at, behind)
select %(name)s::text || ' ' || u.slice, u.snapshot::pg_snapshot, %(at)s::timestamptz, %(at)s::timestamptz, array(
    select b.organization_id from unnest(%(behind)s::uuid[], %(behind_slices)s::int[]) as b (organization_id, slice)
    where b.slice = u.slice
)
from unnest(%(slices)s::int[], %(snapshots)s::text[]) as u (slice, snapshot)
where (select apm_private.hold_slices(%(engine)s::uuid, %(slices)s::int[], %(generations)s::bigint[]))
on conflict (name) do update set snapshot = excluded.snapshot, updated_at = excluded.updated_at, judged_at = excluded.judged_at,
    behind = excluded.behind

-- set_acting [apm_engine] --
-- What the timeline calls whoever acts in this transaction, when, and why.
select set_config('apm.actor', 'rule', true), set_config('apm.at', %(at)s::timestamptz::text, true),
    set_config('apm.note', %(note)s::text, true)

-- open_incident [apm_engine] --
-- The live incident of a rule: opened, opened again, or counted once more.
select public.create_incident_from_alert(
    %(alert_id)s::uuid, %(metric_value)s::float8, %(at)s::timestamptz
) as incident_id

-- resolve_incident [apm_engine] --
-- Ends a rule's live incident; nothing if a person has ended it already.
update public.apm_incidents as i set status = 'resolved'
where i.organization_id = %(organization_id)s::uuid and i.dedup_key = 'alert:1:' || %(alert_id)s::uuid
    and i.status in ('open', 'acknowledged', 'investigating')
returning i.id

-- list_unheld_rules [apm_engine] --
-- Rules that alarm while no incident of theirs lives, and when a person ended the last one.
select r.id, max(greatest(i.resolved_at, i.closed_at)) as ended_at
from public.apm_alerts as r
join public.apm_incidents as i on i.organization_id = r.organization_id and i.dedup_key = 'alert:1:' || r.id
where r.organization_id = %(organization_id)s::uuid and r.id = any (%(alert_ids)s::uuid[])
    and not apm_private.is_dealt_with(r.organization_id, 'alert:1:' || r.id)
group by r.id

-- resolve_orphaned_incidents [apm_engine] --
-- Ends the live incidents of rules that were deleted: nothing would ever end them, and their ladders go on calling.
update public.apm_incidents as i set status = 'resolved'
where i.alert_id is null and i.dedup_key like 'alert:1:%%' and i.status in ('open', 'acknowledged', 'investigating')
returning i.id

-- find_rules [apm_engine] --
-- Whether rules that are judged no longer would end their incidents by themselves.
select r.id, r.auto_resolve
from public.apm_alerts as r
where r.organization_id = %(organization_id)s::uuid and r.id = any (%(alert_ids)s::uuid[])

-- make_partitions [apm_engine] --
-- The days and months ahead; returns how many were made.
select apm_private.make_partitions(%(at)s::timestamptz) as made

-- measure_default_partitions [apm_engine] --
-- Rows land there only when partitions were not made in time, so anything in it is a fault of ours.
select c.relname as name, pg_relation_size(c.oid) as bytes
from pg_class as c
join pg_namespace as n on n.oid = c.relnamespace
where n.nspname = 'apm_partitions' and c.relname like '%%\_default'
order by c.relname

-- forget_flushes [apm_engine] --
-- Flushes that every reader has passed, and those that a restore has left with numbers from the future; none while a
-- reader has not yet begun, or not anew since the restore.
with passed as (
    select min(pg_snapshot_xmin(c.snapshot)::text::numeric)::text::xid8 as xid
    from apm_private.cursors as c
    where c.name = any (%(readers)s::text[])
        and pg_snapshot_xmax(c.snapshot) <= pg_snapshot_xmax(pg_current_snapshot())
    having count(*) = cardinality(%(readers)s::text[])
)
delete from apm_private.flushes as f
using passed as p
where f.flushed_at < %(at)s::timestamptz - interval '10 minutes'
    and (f.xid < p.xid or f.xid >= pg_snapshot_xmax(pg_current_snapshot()))

-- forget_idempotency_keys [apm_engine] --
-- Answers kept for repeated POSTs, after a day.
delete from public.apm_idempotency_keys as k
where k.created_at < %(at)s::timestamptz - interval '1 day'

-- forget_sign_in_attempts [apm_engine] --
-- Counters of failed sign-ins whose minute is long over.
delete from apm_private.sign_in_attempts as a
where a.window_started_at < %(at)s::timestamptz - interval '1 hour'

-- forget_acknowledge_links [apm_engine] --
-- One-tap links that have been dead for a month.
delete from apm_private.acknowledge_links as l
where l.expires_at < %(at)s::timestamptz - interval '30 days'

-- forget_channel_events [apm_engine] --
-- What was heard on a channel, kept for a month so that a repeat is known as one.
delete from apm_private.channel_events as e
where e.received_at < %(at)s::timestamptz - interval '30 days'

-- list_new_blocks [apm_engine] --
-- The write batches of the flushes that whoever has read up to a snapshot has not seen, of some organizations, in the
-- order of their writing. A flush names each of its batches by organization, earliest and latest; an older batch of the
-- same three is read again.
with fresh as materialized (
    select distinct o.organization_id, o.earliest, o.latest
    from apm_private.flushes as f
    cross join lateral unnest(f.organization_ids, f.earliest, f.latest) as o (organization_id, earliest, latest)
    where (
            f.xid >= coalesce(pg_snapshot_xmax(%(seen)s::pg_snapshot), '0'::xid8)
            or f.xid = any (array(select pg_snapshot_xip(%(seen)s::pg_snapshot)))
        )
        and o.organization_id = any (%(organization_ids)s::uuid[])
)
select b.organization_id, (extract(epoch from b."timestamp") * 1000)::bigint as first_ms, b.series_ids, b.offsets_ms,
    b.metric_values, coalesce((b.wedding_context ->> 'is_wedding_day')::boolean, false) as declared
from fresh as f
cross join lateral (
    select m.* from public.apm_metrics as m
    where m.level = 0 and m.organization_id = f.organization_id and m."timestamp" = f.earliest and m.ends_at = f.latest
) as b
order by b.block_id

-- list_ended_series [apm_engine] --
-- The series of some organizations that their senders have declared over since an instant.
select s.organization_id, s.id, s.ended_at
from public.apm_series as s
where s.organization_id = any (%(organization_ids)s::uuid[]) and s.ended_at >= %(since)s::timestamptz

-- has_due_steps [apm_engine] --
-- Whether any ladder is due: who is woken for nothing need not ask for all that a climb needs.
select exists (
    select from public.apm_escalation_runs as r
    where r.state = 'running' and r.next_at <= %(at)s::timestamptz and apm_private.is_watched(r.organization_id)
) as has_due

-- list_unheld_organizations [apm_engine] --
-- Organizations with a rule that alarms while no incident of its lives: a person has ended it.
select distinct s.organization_id
from public.apm_alert_states as s
join public.apm_alerts as r on r.organization_id = s.organization_id and r.id = s.alert_id
where s.state not in ('ok', 'pending') and r.opens_incident
    and not apm_private.is_dealt_with(s.organization_id, 'alert:1:' || s.alert_id)

-- open_rule_fault [apm_engine] --
-- Tells an organization that one of its rules cannot be judged and is paused.
select apm_private.open_incident(
    %(organization_id)s::uuid, 'rule:1:' || %(alert_id)s::uuid, left('Rule paused: ' || %(alert_name)s::text, 300), 'warning',
    jsonb_build_object('rule', %(alert_name)s::text, 'reason', %(reason)s::text), '{}', %(at)s::timestamptz
) as incident_id

-- end_rule_faults [apm_engine] --
-- Ends what was told of an organization's rules that are judged again.
select apm_private.end_incident(i.organization_id, i.dedup_key, 'it is judged again', %(at)s::timestamptz) as incident_id
from public.apm_incidents as i
where i.organization_id = %(organization_id)s::uuid and i.dedup_key like 'rule:1:%%'
    and i.status in ('open', 'acknowledged', 'investigating')
    and split_part(i.dedup_key, ':', 3)::uuid <> all (%(alert_ids)s::uuid[])

-- follow_weddings [apm_engine] --
-- A wedding has begun, or was moved onto this day, while incidents are open: they become as grave as at a wedding, and their
-- ladders go on as fast. Nothing is taken back when it moves away: people have been told.
with waiting as (
    select i.organization_id, i.id, i.severity, coalesce(greatest(r.wedding_day_severity, i.severity), i.severity) as raised
    from public.apm_incidents as i
    left join public.apm_alerts as r on r.organization_id = i.organization_id and r.id = i.alert_id
    where i.status in ('open', 'acknowledged', 'investigating') and not i.was_wedding_day
),
weddings as materialized (
    select o.organization_id, apm_private.weddings_under_way(o.organization_id, %(at)s::timestamptz) as found
    from (select distinct waiting.organization_id from waiting) as o
),
raised as (
    update public.apm_incidents as i set
        was_wedding_day = true,
        wedding_date = (w.found -> 0 ->> 'wedding_date')::date,
        wedding_phase = w.found -> 0 ->> 'phase',
        affected_weddings = w.found,
        severity = h.raised,
        priority = greatest(i.priority, apm_private.incident_priority(
            h.raised, w.found -> 0 ->> 'phase', (w.found -> 0 ->> 'next_milestone_at')::timestamptz - %(at)s::timestamptz
        ))
    from waiting as h
    join weddings as w on w.organization_id = h.organization_id and w.found <> '[]'
    where i.organization_id = h.organization_id and i.id = h.id
    returning i.organization_id, i.id, h.severity as was, i.severity, i.wedding_phase
),
hurried as (
    update public.apm_escalation_runs as r set next_at = least(
        r.next_at, %(at)s::timestamptz + apm_private.time_to_rung(r.steps, r.next_step, r.told, true)
    )
    from raised as i
    where r.organization_id = i.organization_id and r.incident_id = i.id and r.state = 'running'
)
insert into public.apm_incident_events (organization_id, incident_id, at, kind, actor, message, detail)
select i.organization_id, i.id, %(at)s::timestamptz, 'note', 'calendar',
    'A wedding is under way' || case when i.severity > i.was then ': ' || i.was || ' becomes ' || i.severity else '' end,
    jsonb_build_object('phase', i.wedding_phase, 'severity', i.severity)
from raised as i
returning incident_id
