-- read_wraparound_from_15 [apm_engine] --
-- Age of the oldest transaction and multixact ids, of that at which autovacuum must freeze. Far past it, writing stops.
select
    d.datname::text as subject,
    round(greatest(
        100.0 * age(d.datfrozenxid) / current_setting('autovacuum_freeze_max_age')::int,
        100.0 * mxid_age(d.datminmxid) / current_setting('autovacuum_multixact_freeze_max_age')::int
    ), 6)::float8 as figure,
    age(d.datfrozenxid) as transactions,
    mxid_age(d.datminmxid) as multixacts
from pg_database as d
where d.datallowconn
order by figure desc
