-- pre: how busy the server is, for logins that may not look into other sessions.

-- PostgreSQL shows a session's state to its own role alone. Only counts leave the function below. Where the right
-- cannot be passed on, the sessions that stay hidden are counted, and the health report says that it does not know.
do $$
begin
    grant pg_read_all_stats to apm_definer;
exception when insufficient_privilege then
    raise notice 'apm_definer cannot read all statistics: a superuser may `grant pg_read_all_stats to apm_definer`';
end
$$;

create function apm_private.read_activity()
returns table (
    used int, allowed int, active int, idle_in_transaction int, oldest_transaction_seconds float8, hidden int
)
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    select
        count(*) filter (where a.backend_type = 'client backend')::int,
        current_setting('max_connections')::int,
        count(*) filter (where a.backend_type = 'client backend' and a.state = 'active')::int,
        count(*) filter (where starts_with(a.state, 'idle in transaction') and clock_timestamp() - a.state_change > interval '30 seconds')::int,
        coalesce(
            extract(epoch from clock_timestamp() - min(a.xact_start) filter (
                where a.backend_type = 'client backend' and a.datname = current_database() and a.pid <> pg_backend_pid()
            )), 0
        )::float8,
        count(*) filter (where a.query = '<insufficient privilege>')::int
    from pg_catalog.pg_stat_activity as a
$$;
call apm_private.hand_over('apm_private.read_activity()');
grant execute on function apm_private.read_activity() to apm_api, apm_engine;
