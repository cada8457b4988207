-- title: An index is not valid
-- level: ERROR
-- categories: PERFORMANCE
-- description: CREATE INDEX CONCURRENTLY that was broken off leaves an index that every write pays for and no query uses; one of a partitioned table is not valid while a partition lacks it.
-- remediation: reindex index concurrently …; or drop it
select
    format('index %s.%s', n.nspname, c.relname) as object,
    format('%s.%s of %s is not valid', n.nspname, c.relname, r.name) as detail,
    jsonb_build_object('schema', r.schema_name, 'name', r.name, 'index', c.relname, 'is_partition', r.relispartition) as metadata
from pg_index as i
join own_relations as r on r.oid = i.indrelid
join pg_class as c on c.oid = i.indexrelid
join pg_namespace as n on n.oid = c.relnamespace
where not (i.indisvalid and i.indisready and i.indislive)
