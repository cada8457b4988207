-- title: A constraint was never checked
-- level: WARN
-- categories: SECURITY
-- description: A constraint that is NOT VALID holds for new rows alone; what was there before may break it.
-- remediation: alter table … validate constraint …;
select
    format('constraint %s.%s.%s', r.schema_name, r.name, k.conname) as object,
    format('%s of %s.%s was never checked against the rows that were there', k.conname, r.schema_name, r.name) as detail,
    jsonb_build_object('schema', r.schema_name, 'name', r.name, 'constraint', k.conname) as metadata
from pg_constraint as k
join own_relations as r on r.oid = k.conrelid
where not k.convalidated
