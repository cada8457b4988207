-- read_default_partitions_from_15 [apm_engine] --
-- What fell into the partitions for rows that none was made for.
select c.relname::text as subject, pg_relation_size(c.oid)::float8 as figure
from pg_class as c
where c.relnamespace = 'apm_partitions'::regnamespace and c.relkind = 'r'
    and pg_get_expr(c.relpartbound, c.oid) = 'DEFAULT'
order by figure desc
