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

-- read_new_flushes [apm_engine] --
-- The organizations of every flush that this reader has not seen, and the snapshot it has then read up to.
-- Nothing is lost to the order of commits: a flush still open at the last snapshot is in its list of open ones.
-- Without a cursor, or with one from before a restore (it lies in the future), everything kept is new.
with valid as materialized (
    select c.snapshot from apm_private.cursors as c
    where c.name = %(name)s::text and pg_snapshot_xmax(c.snapshot) <= pg_snapshot_xmax(pg_current_snapshot())
)
select pg_current_snapshot()::text as snapshot, (select v.snapshot::text from valid as v) as previous, n.flush_count,
    coalesce(n.organization_ids, '{}') as organization_ids
from (
    select count(distinct f.ctid) as flush_count, array_agg(distinct o.organization_id) as organization_ids
    from apm_private.flushes as f
    cross join lateral unnest(f.organization_ids) as o (organization_id)
    -- each side as one value, so that both are looked up in the index
    where f.xid >= coalesce((select pg_snapshot_xmax(v.snapshot) from valid as v), '0'::xid8)
        or f.xid = any (array(select pg_snapshot_xip(v.snapshot) from valid as v))
) as n

-- move_cursor [apm_engine] --
-- The reader has read up to here; in the transaction that acts on what it read.
insert into apm_private.cursors as c (name, snapshot, updated_at)
values (%(name)s::text, %(snapshot)s::pg_snapshot, %(at)s::timestamptz)
on conflict (name) do update set snapshot = excluded.snapshot, updated_at = excluded.updated_at

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
group by r.id
having count(*) filter (where i.status in ('open', 'acknowledged', 'investigating')) = 0

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
