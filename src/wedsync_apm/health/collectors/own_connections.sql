-- read_own_connections_from_15 [apm_engine] --
-- Share of the connections that we take ourselves: the host's database must not run out because of us.
select
    'this product' as subject,
    round(
        100.0 * count(*) / (current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int), 1
    )::float8 as figure,
    count(*) filter (where s.usename = 'apm_api') as api,
    count(*) filter (where s.usename = 'apm_engine') as engine,
    count(*) filter (where s.usename = 'apm_writer') as writer
from pg_stat_activity as s
where s.usename in ('apm_api', 'apm_engine', 'apm_writer')
