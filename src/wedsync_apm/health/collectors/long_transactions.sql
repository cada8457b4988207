-- read_long_transactions_from_15 [apm_engine] --
-- The longest transaction of each session that has one: what it can still see, VACUUM cannot clear away.
select
    format('session %s of %s', s.pid, s.usename) as subject,
    extract(epoch from clock_timestamp() - s.xact_start)::float8 as figure,
    s.application_name,
    s.state,
    s.wait_event_type,
    s.wait_event
from pg_stat_activity as s
where s.backend_type = 'client backend' and s.xact_start is not null and s.pid <> pg_backend_pid()
    and s.datname = current_database()
order by figure desc
limit 20
