-- title: A column blocks the server's upgrade
-- level: WARN
-- categories: SECURITY
-- description: pg_upgrade refuses a database with columns of types that point at objects by their number.
-- remediation: alter table … alter column … type text;
select
    format('column %s.%s.%s', r.schema_name, r.name, a.attname) as object,
    format('%s.%s.%s is a %s', r.schema_name, r.name, a.attname, t.typname) as detail,
    jsonb_build_object('schema', r.schema_name, 'name', r.name, 'column', a.attname, 'type', t.typname) as metadata
from own_relations as r
join pg_attribute as a on a.attrelid = r.oid and a.attnum > 0 and not a.attisdropped
join pg_type as t on t.oid = a.atttypid
where r.relkind in ('r', 'p')
    and t.typname in ('regcollation', 'regconfig', 'regdictionary', 'regnamespace', 'regoper', 'regoperator', 'regproc', 'regprocedure')
