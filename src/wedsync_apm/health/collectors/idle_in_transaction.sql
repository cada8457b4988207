-- read_idle_in_transaction_from_15 [apm_engine] --
-- Sessions that hold a transaction open and do nothing: they keep locks and old row versions.
select
    format('session %s of %s', s.pid, s.usename) as subject,
    extract(epoch from clock_timestamp() - s.state_change)::float8 as figure,
    s.application_name,
    s.state,
    extract(epoch from clock_timestamp() - s.xact_start)::float8 as transaction_seconds
from pg_stat_activity as s
where s.backend_type = 'client backend' and starts_with(s.state, 'idle in transaction') and s.pid <> pg_backend_pid()
order by figure desc
