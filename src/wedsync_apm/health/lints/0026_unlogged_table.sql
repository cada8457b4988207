-- title: A table that a crash empties
-- level: ERROR
-- categories: SECURITY
-- description: An unlogged table is empty after a crash and is not in any backup of the log.
-- remediation: alter table … set logged;
select
    r.object,
    format('%s.%s is unlogged', r.schema_name, r.name) as detail,
    jsonb_build_object('schema', r.schema_name, 'name', r.name, 'is_partition', r.relispartition) as metadata
from own_relations as r
join pg_class as c on c.oid = r.oid
where r.relkind = 'r' and c.relpersistence = 'u'
