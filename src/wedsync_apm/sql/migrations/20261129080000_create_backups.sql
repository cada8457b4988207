-- pre: which backups there are, what came of restoring them, and what a restored database must not do.

-- What was seen at the destinations, for pages and reports. The destinations themselves are the truth: after a restore
-- they are read anew.
create table apm_private.backups (
    destination text not null check (length(destination) between 1 and 1000),
    id text not null check (length(id) between 1 and 100),
    kind text not null check (kind in ('physical', 'logical')),
    started_at timestamptz not null,
    -- null: it has failed, and nothing of it counts
    finished_at timestamptz,
    stored_bytes bigint not null default 0 check (stored_bytes >= 0),
    plain_bytes bigint not null default 0 check (plain_bytes >= 0),
    error text not null default '',
    -- what came of restoring it last
    proven_at timestamptz,
    is_proven boolean,
    restore_seconds float8 check (restore_seconds >= 0),
    faults text[] not null default '{}',
    removed_at timestamptz,
    primary key (destination, id),
    constraint backups_proof check ((proven_at is null) = (is_proven is null))
);
call apm_private.protect_table('apm_private.backups');

-- How far the server's log has come to each destination, and what kind of place that is.
create table apm_private.backup_archives (
    destination text primary key check (length(destination) between 1 and 1000),
    -- everything that was committed by then is there; null: nothing yet
    kept_until timestamptz,
    looked_at timestamptz not null,
    error text not null default '',
    failing_since timestamptz,
    -- as the machine sees it that writes there
    is_remote boolean not null default false,
    is_same_device boolean not null default true,
    constraint backup_archives_failing check ((error = '') = (failing_since is null))
);
call apm_private.protect_table('apm_private.backup_archives');

-- Each time that this database was restored: what it was restored from and to, and what was not sent for it.
create table apm_private.restores (
    restored_at timestamptz primary key,
    backup_id text not null,
    -- the point in time that was asked for; null for the last one that there was
    wanted_at timestamptz,
    messages int not null,
    ladders int not null,
    heartbeats int not null,
    drills int not null
);
call apm_private.protect_table('apm_private.restores');

-- What the backups are worth at an instant, over all destinations: the last good one, the last that was proven by
-- restoring it, whether the last attempt at that failed, and how far the log is kept at the destination that has most.
create function apm_private.backup_facts(at timestamptz)
returns table (
    destinations int, finished_at timestamptz, proven_at timestamptz, restore_seconds float8, is_last_proof_good boolean,
    kept_until timestamptz, failing_since timestamptz
)
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    select
        (select count(distinct d.destination)::int from (
            select b.destination from apm_private.backups as b where b.removed_at is null and b.finished_at is not null
            union select a.destination from apm_private.backup_archives as a
        ) as d),
        (select max(b.finished_at) from apm_private.backups as b
            where b.removed_at is null and b.is_proven is not false and b.finished_at <= backup_facts.at),
        p.proven_at, p.restore_seconds,
        (select b.is_proven from apm_private.backups as b
            where b.proven_at <= backup_facts.at order by b.proven_at desc, b.id limit 1),
        a.kept_until, a.failing_since
    from (select) as one
    left join lateral (
        select b.proven_at, b.restore_seconds from apm_private.backups as b
        where b.is_proven and b.removed_at is null and b.proven_at <= backup_facts.at
        order by b.proven_at desc limit 1
    ) as p on true
    cross join lateral (
        select max(a.kept_until) as kept_until, min(a.failing_since) as failing_since from apm_private.backup_archives as a
    ) as a
$$;
call apm_private.hand_over('apm_private.backup_facts(timestamptz)');

-- The same for whoever reads a readiness report; to others it gives nothing.
create function public.apm_backup_facts(at timestamptz default now())
returns table (proven_at timestamptz, is_last_proof_good boolean, destinations int)
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    select f.proven_at, f.is_last_proof_good, f.destinations
    from apm_private.backup_facts(apm_backup_facts.at) as f
    where public.apm_operator_role() is not null or cardinality(public.apm_current_organization_ids()) > 0
$$;
call apm_private.hand_over('public.apm_backup_facts(timestamptz)');
grant execute on function public.apm_backup_facts(timestamptz) to authenticated, service_role;

-- For operators of the platform: what was seen at the destinations, the newest first.
create function public.apm_list_backups()
returns table (
    destination text, id text, kind text, started_at timestamptz, finished_at timestamptz, stored_bytes bigint,
    plain_bytes bigint, error text, proven_at timestamptz, is_proven boolean, restore_seconds float8, faults text[]
)
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    select b.destination, b.id, b.kind, b.started_at, b.finished_at, b.stored_bytes, b.plain_bytes, b.error, b.proven_at,
        b.is_proven, b.restore_seconds, b.faults
    from apm_private.backups as b
    where b.removed_at is null and public.apm_operator_role() is not null
    order by b.started_at desc, b.destination
    limit 500
$$;
call apm_private.hand_over('public.apm_list_backups()');

create function public.apm_list_backup_archives()
returns table (
    destination text, kept_until timestamptz, looked_at timestamptz, error text, failing_since timestamptz, is_remote boolean,
    is_same_device boolean
)
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    select a.destination, a.kept_until, a.looked_at, a.error, a.failing_since, a.is_remote, a.is_same_device
    from apm_private.backup_archives as a
    where public.apm_operator_role() is not null
    order by a.destination
$$;
call apm_private.hand_over('public.apm_list_backup_archives()');

-- When the next wedding of anybody begins, within thirty days; null for none. For operators.
create function apm_private.next_wedding_at(at timestamptz) returns timestamptz
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    select min(greatest(w.starts_at, next_wedding_at.at))
    from apm_private.weddings_to_prepare(
        array(select o.organization_id from apm_private.host_organizations(null) as o),
        (next_wedding_at.at at time zone 'UTC')::date - 1, (next_wedding_at.at at time zone 'UTC')::date + 30
    ) as w
    where w.ends_at > next_wedding_at.at
$$;
call apm_private.hand_over('apm_private.next_wedding_at(timestamptz)');

create function public.apm_next_wedding_at(at timestamptz default now()) returns timestamptz
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    select apm_private.next_wedding_at(apm_next_wedding_at.at) where public.apm_operator_role() is not null
$$;
call apm_private.hand_over('public.apm_next_wedding_at(timestamptz)');
grant execute on function public.apm_list_backups(), public.apm_list_backup_archives(),
    public.apm_next_wedding_at(timestamptz) to authenticated, service_role;
grant execute on function apm_private.backup_facts(timestamptz), apm_private.next_wedding_at(timestamptz) to apm_engine;

-- Puts right what a restored database would do about times that are over, before any process of ours begins:
-- what was due is not sent, and says so where its owner looks; an open incident calls its ladder once more, at the rung
-- whose call did not go out; heartbeats, which nobody could hear, are waited for anew; drills are planned anew; and the
-- evaluator reads the samples from here on. Done again it only does what is left to do.
create function apm_private.settle_restore(backup_id text, wanted_at timestamptz, at timestamptz)
returns table (messages int, ladders int, heartbeats int, drills int)
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    late_ids uuid[] := '{}';
    more uuid[];
    climbing int;
    awaited int;
    planned int;
begin
    perform pg_catalog.set_config('apm.at', settle_restore.at::text, true);
    -- in turns: messages that one said, too, are their own when it is not sent
    loop
        with late as (
            update public.apm_deliveries as d set
                state = 'expired',
                state_reason = case when d.state in ('sending', 'unknown')
                    then 'not sent again after a restore: nobody knows whether it had arrived'
                    else 'not sent after a restore: it was due at '
                        || to_char(d.due_at at time zone 'UTC', 'YYYY-MM-DD HH24:MI "UTC"')
                end,
                -- the rung may call again
                idempotency_key = left('before the restore:' || d.id || ':' || d.idempotency_key, 300),
                fail_over_at = null, lease_owner = null, lease_until = null
            where d.state in ('leased', 'sending', 'unknown')
                or (d.state in ('pending', 'retry') and d.due_at <= settle_restore.at)
            returning d.organization_id, d.id, d.incident_id, d.state_reason
        ), told as (
            insert into public.apm_incident_events (organization_id, incident_id, at, kind, actor, message, detail)
            select l.organization_id, l.incident_id, settle_restore.at, 'delivery', 'restore', l.state_reason,
                jsonb_build_object('delivery_id', l.id, 'state', 'expired')
            from late as l
            where l.incident_id is not null
        )
        select array_agg(l.id) into more from late as l;
        exit when more is null;
        late_ids := late_ids || more;
    end loop;
    update public.apm_deliveries as d set fail_over_at = null where d.fail_over_at <= settle_restore.at;
    -- a page that was not sent is the same rung's again; whatever else was due has its turn once
    update public.apm_escalation_runs as r set
        next_step = case when exists (
            select from public.apm_deliveries as d
            where d.organization_id = r.organization_id and d.incident_id = r.incident_id and d.generation = r.generation
                and d.kind in ('page', 'reopened') and d.id = any (late_ids)
        ) then greatest(r.next_step - 1, 0) else r.next_step end,
        next_at = settle_restore.at
    from public.apm_incidents as i
    where i.organization_id = r.organization_id and i.id = r.incident_id and i.status = 'open' and r.state = 'running'
        and (r.next_at <= settle_restore.at or exists (
            select from public.apm_deliveries as d
            where d.organization_id = r.organization_id and d.incident_id = r.incident_id and d.generation = r.generation
                and d.kind in ('page', 'reopened') and d.id = any (late_ids)
        ));
    get diagnostics climbing = row_count;
    update public.apm_heartbeats as h set
        alarm_at = settle_restore.at + coalesce(h.period, interval '1 day') + h.grace, started_at = null
    where h.alarm_at <= settle_restore.at;
    get diagnostics awaited = row_count;
    update public.apm_drill_schedules as s set
        planned_at = n.next_at, next_at = n.next_at, held_by = null
    from (
        select d.organization_id,
            apm_private.next_drill_at(d.every, d.weekday, d.local_time, d.time_zone, settle_restore.at) as next_at
        from public.apm_drill_schedules as d
    ) as n
    where s.organization_id = n.organization_id and s.next_at <= settle_restore.at and n.next_at is not null;
    get diagnostics planned = row_count;
    update public.apm_status_notes as n set told_at = settle_restore.at
    where n.told_at is null and n.posted_at <= settle_restore.at;
    delete from apm_private.cursors as c where c.name like 'evaluate%';
    delete from apm_private.evaluators;
    delete from apm_private.provider_holds;
    insert into apm_private.restores (restored_at, backup_id, wanted_at, messages, ladders, heartbeats, drills)
    values (
        settle_restore.at, settle_restore.backup_id, settle_restore.wanted_at, cardinality(late_ids), climbing, awaited, planned
    )
    on conflict (restored_at) do nothing;
    return query select cardinality(late_ids), climbing, awaited, planned;
end
$$;
call apm_private.hand_over('apm_private.settle_restore(text, timestamptz, timestamptz)');
grant execute on function apm_private.settle_restore(text, timestamptz, timestamptz) to apm_engine;
