-- pre: how the database was when its health was last measured, how its tables grow, and what its statements had cost.

-- The engine measures. Sessions, statements and the log's files of others are shown to members of pg_monitor alone.
do $$
begin
    grant pg_monitor to apm_engine;
exception when insufficient_privilege then
    raise notice 'apm_engine cannot read all statistics: a superuser may `grant pg_monitor to apm_engine`';
end
$$;

-- The newest reading of each line of the health report that the engine takes.
create table apm_private.health_lines (
    key text primary key,
    position int not null,
    area text not null,
    title text not null,
    expected text not null,
    outcome text not null check (outcome in ('passed', 'failed', 'unknown')),
    value text not null,
    reason text not null,
    remedy text not null,
    statement text not null,
    -- the number that was judged, for charts and rules; null where words say it all
    figure float8,
    unit text not null,
    rows jsonb not null,
    measured_at timestamptz not null,
    duration_ms float8 not null,
    every_seconds float8 not null,
    -- since when it has not passed
    failing_since timestamptz
);
call apm_private.protect_table('apm_private.health_lines');

create function apm_private.read_health_lines() returns setof apm_private.health_lines
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    select l.* from apm_private.health_lines as l order by l.position, l.key
$$;
call apm_private.hand_over('apm_private.read_health_lines()');
grant execute on function apm_private.read_health_lines() to apm_api;

-- A row an hour for two days, then one a day for 400 days: some 450 in all.
create table apm_private.health_sizes (
    measured_at timestamptz primary key,
    database_bytes bigint not null,
    -- of the disk that the database lies on, where that is known
    disk_free_bytes bigint,
    -- table -> [bytes of its rows, bytes of its indexes], partitions and TOAST included
    sizes jsonb not null
);
call apm_private.protect_table('apm_private.health_sizes');

create function apm_private.read_health_sizes() returns table (measured_at timestamptz, database_bytes bigint)
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    select s.measured_at, s.database_bytes from apm_private.health_sizes as s
$$;
call apm_private.hand_over('apm_private.read_health_sizes()');
grant execute on function apm_private.read_health_sizes() to apm_api;

-- What the statements had cost at an hour's beginning; kept for two days. The statistics themselves are never reset:
-- other tools read them too.
create table apm_private.statement_snapshots (
    taken_at timestamptz primary key,
    reset_at timestamptz not null,
    user_ids oid[] not null,
    query_ids bigint[] not null,
    toplevels boolean[] not null,
    calls bigint[] not null,
    total_ms float8[] not null
);
call apm_private.protect_table('apm_private.statement_snapshots');

-- How wide the rows of our tables are by the planner's statistics, which PostgreSQL hides from whom RLS binds.
create function apm_private.read_row_widths() returns table (relation oid, row_bytes float8)
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    select c.oid, sum(a.avg_width * (1 - a.null_frac))
    from pg_catalog.pg_stats as a
    join pg_catalog.pg_namespace as n on n.nspname = a.schemaname
    join pg_catalog.pg_class as c on c.relnamespace = n.oid and c.relname = a.tablename
    where a.schemaname = 'apm_private'
        or (a.schemaname = 'public' and (starts_with(a.tablename, 'apm_') or a.tablename = 'service_health_checks'))
    group by c.oid
$$;
call apm_private.hand_over('apm_private.read_row_widths()');
grant execute on function apm_private.read_row_widths() to apm_engine;

-- How far they have come; to draw from them takes another right. The host's are none of our business.
do $$
declare
    name text;
begin
    for name in
        select format('%I.%I', n.nspname, c.relname)
        from pg_class as c
        join pg_namespace as n on n.oid = c.relnamespace
        where c.relkind = 'S'
            and (n.nspname = 'apm_private' or (n.nspname = 'public' and starts_with(c.relname, 'apm_')))
    loop
        execute format('grant select on sequence %s to apm_engine', name);
    end loop;
end
$$;
grant execute on function apm_private.read_job_runs() to apm_engine;
