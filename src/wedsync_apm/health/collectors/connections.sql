-- read_connections_from_15 [apm_engine] --
-- Share of the connections that are taken, of those that ordinary roles may take.
select
    'all clients' as subject,
    round(100.0 * count(*) / max(a.allowed), 1)::float8 as figure,
    count(*) as used,
    max(a.allowed) as allowed,
    count(*) filter (where s.state = 'active') as active,
    count(*) filter (where s.state = 'idle') as idle,
    count(*) filter (where starts_with(s.state, 'idle in transaction')) as idle_in_transaction
from pg_stat_activity as s
cross join (
    select current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int as allowed
) as a
where s.backend_type = 'client backend'
