-- What the health report asks, beside the collectors and lints: by the engine, or as the member in whose name a line is
-- measured; the audits ask as apm_api.

-- read_server [apm_api] --
-- What answers here.
select
    current_database()::text as database,
    current_setting('server_version')::text as version,
    current_setting('server_version_num')::int as version_number,
    pg_postmaster_start_time() as started_at

-- list_tables [apm_api] --
-- Tables and partitions of ours with their protection; what is neither enabled nor forced comes first.
select
    n.nspname::text as schema_name,
    c.relname::text as table_name,
    c.relispartition as is_partition,
    c.relrowsecurity as rls_enabled,
    c.relforcerowsecurity as rls_forced,
    (select count(*) from pg_policy as p where p.polrelid = c.oid) as policies
from pg_class as c
join pg_namespace as n on n.oid = c.relnamespace
where c.relkind in ('r', 'p')
    and (
        n.nspname in ('apm_private', 'apm_partitions')
        or (n.nspname = 'public' and (starts_with(c.relname, 'apm_') or c.relname = 'service_health_checks'))
    )
order by c.relrowsecurity and c.relforcerowsecurity, n.nspname desc, c.relname

-- list_policies [apm_api] --
-- Every policy on tables of ours; one for everybody (PUBLIC) names no role.
select schemaname::text as schema_name, tablename::text as table_name, policyname::text as policy_name, cmd,
    roles::text[] as roles
from pg_policies
where schemaname in ('public', 'apm_private', 'apm_partitions')
    and (schemaname <> 'public' or starts_with(tablename, 'apm_') or tablename = 'service_health_checks')
order by schemaname desc, tablename, policyname

-- list_stray_roles [apm_api] --
-- What would lift the roles of low trust above RLS: a right of their own, or another role that they may become.
select r.rolname::text as role_name, 'bypasses RLS or administers' as fault
from pg_roles as r
where r.rolname in ('anon', 'authenticated', 'apm_api')
    and (r.rolsuper or r.rolbypassrls or r.rolcreaterole)
union all
select r.rolname::text, 'may become ' || g.rolname
from pg_roles as r
cross join pg_roles as g
where r.rolname in ('anon', 'authenticated', 'apm_api')
    and g.rolname <> r.rolname
    and not (r.rolname = 'apm_api' and g.rolname in ('anon', 'authenticated'))
    and not r.rolsuper
    and pg_has_role(r.oid, g.oid, 'member')
order by 1, 2

-- list_privileges [apm_api] --
-- Every right of anon, authenticated and PUBLIC on what is ours, and whether it is one that nobody of them may have.
select n.nspname::text as schema_name, c.relname::text as table_name,
    case g.grantee when 0 then 'public' else pg_get_userbyid(g.grantee)::text end as grantee,
    g.privilege_type::text as privilege,
    n.nspname <> 'public' or g.privilege_type in ('TRUNCATE', 'REFERENCES', 'TRIGGER', 'MAINTAIN') as is_stray
from pg_class as c
join pg_namespace as n on n.oid = c.relnamespace
cross join lateral aclexplode(c.relacl) as g
where c.relkind in ('r', 'p', 'v', 'm', 'S')
    and (
        n.nspname in ('apm_private', 'apm_partitions')
        or (n.nspname = 'public' and (starts_with(c.relname, 'apm_') or c.relname = 'service_health_checks'))
    )
    and (g.grantee = 0 or pg_get_userbyid(g.grantee) in ('anon', 'authenticated'))
order by 5 desc, 1, 2, 3, 4

-- list_indexes [apm_api] --
-- Indexes of ours: whether they are valid and how often they were used since the statistics began.
select s.schemaname::text as schema_name, s.relname::text as table_name, s.indexrelname::text as index_name,
    i.indisvalid as is_valid, i.indisunique as is_unique, s.idx_scan as scans, pg_relation_size(s.indexrelid) as bytes,
    c.relispartition as is_partition
from pg_stat_all_indexes as s
join pg_index as i on i.indexrelid = s.indexrelid
join pg_class as c on c.oid = s.indexrelid
where s.schemaname in ('public', 'apm_private', 'apm_partitions')
    and (s.schemaname <> 'public' or starts_with(s.relname, 'apm_') or s.relname = 'service_health_checks')
order by s.schemaname desc, s.relname, s.indexrelname

-- list_unindexed_reads [apm_api] --
-- Tables that are large and were never read by an index.
select s.schemaname::text as schema_name, s.relname::text as table_name, s.n_live_tup as live_rows, s.seq_scan, s.idx_scan
from pg_stat_all_tables as s
where s.schemaname in ('public', 'apm_private', 'apm_partitions')
    and (s.schemaname <> 'public' or starts_with(s.relname, 'apm_') or s.relname = 'service_health_checks')
    and s.n_live_tup > 10000 and s.seq_scan > 10 and coalesce(s.idx_scan, 0) = 0
order by s.n_live_tup desc

-- list_functions [apm_api] --
-- The product's functions in public: where they look names up, and whether PUBLIC may call them.
select p.proname::text as function_name, p.prosecdef as is_definer,
    coalesce(array_to_string(p.proconfig, ', '), '') as settings,
    has_function_privilege('public', p.oid, 'execute') as is_public
from pg_proc as p
where p.pronamespace = 'public'::regnamespace
    and (starts_with(p.proname, 'apm_') or p.proname in (
        'is_wedding_day', 'wedding_window_at', 'create_incident_from_alert', 'aggregate_metrics'
    ))
order by p.proname

-- list_settings [apm_api] --
-- The settings on which "an acknowledged sample survives a power cut" rests.
select name::text, setting::text
from pg_settings
where name in ('fsync', 'full_page_writes', 'synchronous_commit', 'data_checksums')
order by name

-- list_storage [apm_api] --
-- What each table takes with its partitions, indexes and TOAST.
select
    r.relname::text as table_name,
    count(*) - 1 as partitions,
    sum(pg_relation_size(t.relid))::bigint as table_bytes,
    sum(pg_indexes_size(t.relid))::bigint as index_bytes,
    sum(pg_total_relation_size(t.relid))::bigint as total_bytes
from pg_class as r
join pg_namespace as n on n.oid = r.relnamespace
cross join lateral (
    select p.relid from pg_partition_tree(r.oid) as p where r.relkind = 'p'
    union all
    select r.oid where r.relkind = 'r'
) as t
where r.relkind in ('r', 'p') and not r.relispartition
    and (n.nspname = 'apm_private' or (n.nspname = 'public' and (starts_with(r.relname, 'apm_') or r.relname = 'service_health_checks')))
group by r.oid, r.relname
order by sum(pg_total_relation_size(t.relid)) desc, r.relname

-- list_jobs [apm_engine] --
-- What the engine's jobs did last.
select job, started_at, finished_at, duration_ms, outcome, detail, failures_in_row,
    extract(epoch from now() - started_at)::float8 as seconds_ago
from apm_private.read_job_runs()

-- read_surroundings [apm_engine] --
-- Where the statistics of statements lie, and whether the engine may see the sessions and statements of others.
select
    coalesce(
        (
            select 'pg_catalog, ' || quote_ident(n.nspname)
            from pg_extension as e
            join pg_namespace as n on n.oid = e.extnamespace
            where e.extname = 'pg_stat_statements'
        ), 'pg_catalog'
    ) as path,
    pg_has_role(current_user, 'pg_monitor', 'usage') as may_look

-- prepare_reading [apm_engine] --
-- Until the transaction or savepoint is rolled back: nothing is written, nothing is waited for long, and names are those of
-- PostgreSQL.
select
    set_config('transaction_read_only', 'on', true),
    set_config('statement_timeout', %(milliseconds)s::int::text, true),
    set_config('lock_timeout', '500', true),
    set_config('search_path', %(path)s::text, true)

-- find_fullest_member [apm_engine] --
-- A member who may write, of the organization with the most samples today: in his name the command measures.
select m.user_id, m.organization_id, o.name
from (
    select p.user_id, p.organization_id, p.role::text as role from public.user_profiles as p
    union all
    select a.user_id, a.organization_id, a.role from public.apm_memberships as a
) as m
join apm_private.host_organizations(null) as o on o.organization_id = m.organization_id
left join lateral (
    select sum(s.sample_count) as samples
    from public.apm_rollups_between(now() - interval '1 day', now(), interval '1 hour') as s
    where s.organization_id = m.organization_id
) as r on true
where upper(m.role) in ('OWNER', 'ADMIN')
order by r.samples desc nulls last, m.organization_id, m.user_id
limit 1

-- list_wedding_blocks --
-- The first typical query, word for word.
select * from apm_metrics where organization_id = %(organization_id)s::uuid and (wedding_context->>'is_wedding_day')::boolean = true

-- list_open_incidents --
-- The second.
select * from apm_incidents where organization_id = %(organization_id)s::uuid and status in ('open','acknowledged') order by priority desc, detected_at desc

-- list_recent_rollups --
-- The third.
select * from apm_metric_aggregations where organization_id = %(organization_id)s::uuid and time_bucket >= now() - interval '24 hours' order by time_bucket desc

-- count_foreign_rows --
-- Rows of other organizations that the member can see; there may be none.
select
    (select count(*) from public.apm_series where organization_id <> all (public.apm_current_organization_ids())) as series,
    (select count(*) from public.apm_alerts where organization_id <> all (public.apm_current_organization_ids())) as rules,
    (select count(*) from public.apm_weddings where organization_id <> all (public.apm_current_organization_ids())) as weddings,
    (select count(*) from public.apm_metrics where organization_id <> all (public.apm_current_organization_ids())) as blocks

-- try_wedding --
-- A wedding in the far future, for the questions below; never committed.
insert into public.apm_weddings (organization_id, couple_initials, wedding_date, time_zone)
values (%(organization_id)s::uuid, 'T & T', %(wedding_date)s::date, 'Pacific/Auckland')
returning id

-- ask_wedding_day --
-- The day itself, the day before, and an instant in the ceremony and one after the tear-down.
select
    public.is_wedding_day(%(organization_id)s::uuid, %(wedding_date)s::date) as on_the_day,
    public.is_wedding_day(%(organization_id)s::uuid, %(wedding_date)s::date - 1) as on_the_day_before,
    public.is_wedding_day(gen_random_uuid(), %(wedding_date)s::date) as of_nobody,
    (
        select w.phase
        from public.wedding_window_at(
            %(organization_id)s::uuid, (%(wedding_date)s::date + time '14:00') at time zone 'Pacific/Auckland'
        ) as w
        where w.wedding_id = %(wedding_id)s::uuid
    ) as phase_at_two,
    (
        select count(*)
        from public.wedding_window_at(
            %(organization_id)s::uuid, (%(wedding_date)s::date + 1 + time '03:00') at time zone 'Pacific/Auckland'
        ) as w
        where w.wedding_id = %(wedding_id)s::uuid
    ) as windows_after_the_end

-- read_installation [apm_engine] --
-- What the doctor asks about the database: whether the writer is bound by RLS, whether anybody can sign in, and the
-- database's clock.
select
    (select rolbypassrls from pg_roles where rolname = 'apm_writer') as writer_bypasses,
    (select count(*) from apm_private.users where disabled_at is null) as users,
    exists (select from pg_extension where extname = 'pg_stat_statements') as has_statement_statistics,
    clock_timestamp() as at

-- list_missing_host_columns [apm_engine] --
-- Columns of the host's tables without which organizations, people and weddings cannot be read.
select needed.table_name || '.' || needed.column_name as missing
from (values
    ('organizations', 'id'), ('organizations', 'name'),
    ('user_profiles', 'user_id'), ('user_profiles', 'organization_id'), ('user_profiles', 'role'),
    ('clients', 'id'), ('clients', 'organization_id'), ('clients', 'wedding_date'), ('clients', 'status')
) as needed (table_name, column_name)
where not exists (
    select from pg_attribute
    where attrelid = to_regclass('public.' || needed.table_name) and attname = needed.column_name and not attisdropped
)
order by 1

-- write_health_lines [apm_engine] --
-- The lines of a round take the place of the former ones; since when a line has not passed is kept.
insert into apm_private.health_lines as l (
    key, position, area, title, expected, outcome, value, reason, remedy, statement, figure, unit, rows, measured_at,
    duration_ms, every_seconds, failing_since
)
select n.key, n.position, n.area, n.title, n.expected, n.outcome, n.value, n.reason, n.remedy, n.statement, n.figure, n.unit,
    n.rows, n.measured_at, n.duration_ms, n.every_seconds, case when n.outcome = 'failed' then n.measured_at end
from jsonb_to_recordset(%(lines)s::jsonb) as n (
    key text, position int, area text, title text, expected text, outcome text, value text, reason text, remedy text,
    statement text, figure float8, unit text, rows jsonb, measured_at timestamptz, duration_ms float8, every_seconds float8
)
on conflict (key) do update set
    position = excluded.position,
    area = excluded.area,
    title = excluded.title,
    expected = excluded.expected,
    outcome = excluded.outcome,
    value = excluded.value,
    reason = excluded.reason,
    remedy = excluded.remedy,
    statement = excluded.statement,
    figure = excluded.figure,
    unit = excluded.unit,
    rows = excluded.rows,
    measured_at = excluded.measured_at,
    duration_ms = excluded.duration_ms,
    every_seconds = excluded.every_seconds,
    failing_since = case when excluded.outcome = 'failed' then coalesce(l.failing_since, excluded.measured_at) end

-- forget_health_lines [apm_engine] --
-- Lines of another release.
delete from apm_private.health_lines as l where l.key <> all (%(keys)s::text[])

-- list_measured [apm_engine] --
-- When each line was last measured.
select l.key, l.measured_at from apm_private.health_lines as l

-- read_health_lines [apm_api] --
-- The report as the engine last measured it.
select l.*, extract(epoch from clock_timestamp() - l.measured_at)::float8 as seconds_ago
from apm_private.read_health_lines() as l

-- write_sizes [apm_engine] --
-- How large each table of ours is at this hour, and what its disk has left.
insert into apm_private.health_sizes (measured_at, database_bytes, disk_free_bytes, sizes)
select %(at)s::timestamptz, pg_database_size(current_database()),
    coalesce(%(disk_free_bytes)s::bigint, %(disk_bytes)s::bigint - pg_database_size(current_database())), coalesce((
    select jsonb_object_agg(t.name, jsonb_build_array(t.table_bytes, t.index_bytes))
    from (
        select r.relname as name, sum(pg_table_size(p.relid))::bigint as table_bytes, sum(pg_indexes_size(p.relid))::bigint as index_bytes
        from pg_class as r
        join pg_namespace as n on n.oid = r.relnamespace
        cross join lateral (
            select t.relid from pg_partition_tree(r.oid) as t where r.relkind = 'p'
            union all
            select r.oid where r.relkind = 'r'
        ) as p
        where r.relkind in ('r', 'p') and not r.relispartition
            and (n.nspname = 'apm_private' or (n.nspname = 'public' and (starts_with(r.relname, 'apm_') or r.relname = 'service_health_checks')))
        group by r.oid, r.relname
        having sum(pg_total_relation_size(p.relid)) > 1048576
    ) as t
), '{}')
on conflict (measured_at) do nothing

-- forget_sizes [apm_engine] --
-- After two days one reading a day is enough, and after 400 days none.
delete from apm_private.health_sizes as s
where s.measured_at < %(at)s::timestamptz - interval '400 days'
    or (
        s.measured_at < %(at)s::timestamptz - interval '2 days'
        and exists (
            select from apm_private.health_sizes as o
            where o.measured_at < s.measured_at
                and date_trunc('day', o.measured_at, 'UTC') = date_trunc('day', s.measured_at, 'UTC')
        )
    )

-- write_snapshot [apm_engine] --
-- What the statements had cost at this hour.
insert into apm_private.statement_snapshots (taken_at, reset_at, user_ids, query_ids, toplevels, calls, total_ms)
values (
    %(at)s::timestamptz, %(reset_at)s::timestamptz, %(user_ids)s::oid[], %(query_ids)s::bigint[], %(toplevels)s::boolean[],
    %(calls)s::bigint[], %(total_ms)s::float8[]
)
on conflict (taken_at) do nothing

-- forget_snapshots [apm_engine] --
-- The last two days are enough for what a day cost.
delete from apm_private.statement_snapshots as s where s.taken_at < %(at)s::timestamptz - interval '2 days'

-- has_size_of_hour [apm_engine] --
-- Whether this hour's sizes were written already.
select exists (select from apm_private.health_sizes as s where s.measured_at >= date_trunc('hour', %(at)s::timestamptz, 'UTC')) as is_there

-- list_size_history [apm_api] --
-- How large the database was, for the chart.
select s.measured_at, s.database_bytes from apm_private.read_health_sizes() as s order by s.measured_at
