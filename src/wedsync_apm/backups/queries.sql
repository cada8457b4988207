-- What a backup asks the server that it is taken of, and what is written down about it.

-- read_server [owner] --
-- Which server this is, where its log is, and about how much there is to copy.
select
    current_setting('server_version_num')::int as version,
    current_database() as database,
    (select system_identifier::text from pg_control_system()) as cluster,
    (select timeline_id from pg_control_checkpoint()) as timeline,
    pg_current_wal_flush_lsn()::text as lsn,
    pg_walfile_name(pg_current_wal_flush_lsn()) as wal_file,
    (select setting::bigint from pg_settings where name = 'wal_segment_size') as wal_bytes,
    (select sum(pg_database_size(oid))::bigint from pg_database) as bytes,
    clock_timestamp() as at

-- find_position [owner] --
-- Up to where the log is on the disk; read at an instant before which everything was committed.
select clock_timestamp() as at, pg_current_wal_flush_lsn()::text as lsn,
    pg_walfile_name(pg_current_wal_flush_lsn()) as wal_file,
    pg_wal_lsn_diff(pg_current_wal_flush_lsn(), '0/0')::numeric::bigint as bytes

-- prepare_count [owner] --
-- To count everything takes its time, and rows that a policy hides would be an error and not be missing.
select set_config('row_security', 'off', true), set_config('statement_timeout', '0', true)

-- list_counted_tables [owner] --
-- Every table of ours that holds rows itself, with the rows that came and went since the server began to count.
select n.nspname as schema_name, c.relname as table_name,
    coalesce(pg_stat_get_tuples_inserted(c.oid), 0) as came, coalesce(pg_stat_get_tuples_deleted(c.oid), 0) as went
from pg_class as c
join pg_namespace as n on n.oid = c.relnamespace
where c.relkind = 'r' and n.nspname in ('public', 'apm_private', 'apm_partitions')
order by n.nspname, c.relname

-- list_partition_definitions [owner] --
-- Each partition with its bounds, its row security, its policies and grants; and the roles with what they may.
select 'partition ' || n.nspname || '.' || c.relname as object,
    concat_ws(
        E'\n', pg_get_expr(c.relpartbound, c.oid), 'of ' || i.inhparent::regclass::text,
        'rls ' || c.relrowsecurity || ' forced ' || c.relforcerowsecurity, 'owner ' || pg_get_userbyid(c.relowner),
        'grants ' || (
            select string_agg(pg_get_userbyid(a.grantee) || '=' || a.privilege_type, ' ' order by pg_get_userbyid(a.grantee), a.privilege_type)
            from aclexplode(coalesce(c.relacl, acldefault('r', c.relowner))) as a
        ),
        'policies ' || (
            select string_agg(p.polname || ' ' || p.polcmd::text || ' ' || coalesce(pg_get_expr(p.polqual, p.polrelid), '')
                || ' ' || coalesce(pg_get_expr(p.polwithcheck, p.polrelid), ''), ', ' order by p.polname)
            from pg_policy as p where p.polrelid = c.oid
        )
    ) as definition
from pg_class as c
join pg_namespace as n on n.oid = c.relnamespace
join pg_inherits as i on i.inhrelid = c.oid
where c.relispartition and c.relkind in ('r', 'p') and n.nspname in ('public', 'apm_private', 'apm_partitions')

union all

select 'role ' || r.rolname,
    concat_ws(
        ' ', 'login ' || r.rolcanlogin, 'inherit ' || r.rolinherit, 'super ' || r.rolsuper, 'bypass ' || r.rolbypassrls,
        'limit ' || r.rolconnlimit, 'in ' || (
            select string_agg(pg_get_userbyid(m.roleid), ', ' order by pg_get_userbyid(m.roleid))
            from pg_auth_members as m where m.member = r.oid
        )
    )
from pg_roles as r
where r.rolname ~ '^apm_' or r.rolname in ('anon', 'authenticated', 'service_role', 'authenticator')
order by object

-- find_slot [owner] --
-- The slot by which the server keeps its log for the archive, whether its files are still there, and who reads it.
select s.active_pid, s.wal_status, s.restart_lsn::text as restart_lsn
from pg_replication_slots as s
where s.slot_name = %(slot)s::text

-- make_slot [owner] --
-- From here on the server keeps its log until it was fetched.
select pg_create_physical_replication_slot(%(slot)s::text, true)

-- drop_slot [owner] --
-- The server keeps nothing for the archive any more.
select pg_drop_replication_slot(s.slot_name)
from pg_replication_slots as s
where s.slot_name = %(slot)s::text and s.active_pid is null

-- end_reader [owner] --
-- Ends whoever still reads the slot: an archive that was killed leaves its reader behind.
select pg_terminate_backend(s.active_pid)
from pg_replication_slots as s
where s.slot_name = %(slot)s::text and s.active_pid is not null

-- find_written [owner] --
-- Up to where the archive's reader has written the log, in bytes from its beginning; no row while nobody reads it.
select pg_wal_lsn_diff(r.write_lsn, '0/0')::numeric::bigint as bytes
from pg_stat_replication as r
join pg_replication_slots as s on s.active_pid = r.pid
where s.slot_name = %(slot)s::text and r.write_lsn is not null

-- record_backup [apm_engine] --
-- A backup as it was seen at its destination, or that one has failed there.
insert into apm_private.backups as b (
    destination, id, kind, started_at, finished_at, stored_bytes, plain_bytes, error, proven_at, is_proven,
    restore_seconds, faults
)
values (
    %(destination)s::text, %(id)s::text, %(kind)s::text, %(started_at)s::timestamptz, %(finished_at)s::timestamptz,
    %(stored_bytes)s::bigint, %(plain_bytes)s::bigint, left(%(error)s::text, 1000), %(proven_at)s::timestamptz,
    %(is_proven)s::boolean, %(restore_seconds)s::float8, %(faults)s::text[]
)
on conflict (destination, id) do update set
    finished_at = excluded.finished_at, stored_bytes = excluded.stored_bytes, plain_bytes = excluded.plain_bytes,
    error = excluded.error, proven_at = excluded.proven_at, is_proven = excluded.is_proven,
    restore_seconds = excluded.restore_seconds, faults = excluded.faults, removed_at = null

-- forget_backups [apm_engine] --
-- What is no longer at the destination; failures are kept for a month.
update apm_private.backups as b set removed_at = clock_timestamp()
where b.destination = %(destination)s::text and b.id <> all (%(ids)s::text[]) and b.removed_at is null
    and (b.finished_at is not null or b.started_at < clock_timestamp() - interval '30 days')

-- record_archive [apm_engine] --
-- How far the log has come to a destination, or why it does not get there.
insert into apm_private.backup_archives as a (destination, kept_until, looked_at, error, failing_since)
values (
    %(destination)s::text, %(kept_until)s::timestamptz, clock_timestamp(), left(%(error)s::text, 1000),
    case when %(error)s::text <> '' then clock_timestamp() end
)
on conflict (destination) do update set
    kept_until = coalesce(excluded.kept_until, a.kept_until),
    looked_at = excluded.looked_at,
    error = excluded.error,
    failing_since = case when excluded.error <> '' then coalesce(a.failing_since, excluded.failing_since) end

-- settle_restore [apm_engine] --
-- Puts right what a restored database would do about times that are over.
select s.messages, s.ladders, s.heartbeats, s.drills
from apm_private.settle_restore(%(backup_id)s::text, %(wanted_at)s::timestamptz, %(at)s::timestamptz) as s

-- record_place [apm_engine] --
-- What kind of place a destination is, as this machine sees it.
insert into apm_private.backup_archives as a (destination, looked_at, is_remote, is_same_device)
values (%(destination)s::text, clock_timestamp(), %(is_remote)s::boolean, %(is_same_device)s::boolean)
on conflict (destination) do update set is_remote = excluded.is_remote, is_same_device = excluded.is_same_device

-- list_backups --
-- For operators: what was seen at the destinations, the newest first.
select b.destination, b.id, b.kind, b.started_at, b.finished_at, b.stored_bytes, b.plain_bytes, b.error, b.proven_at,
    b.is_proven, b.restore_seconds, b.faults
from public.apm_list_backups() as b

-- list_archives --
-- For operators: how far the log is kept at each destination.
select a.destination, a.kept_until, a.looked_at, a.error, a.failing_since, a.is_remote, a.is_same_device
from public.apm_list_backup_archives() as a

-- show_next_wedding --
-- For operators: when the next wedding begins.
select public.apm_next_wedding_at(now()) as next_at, now() as at
