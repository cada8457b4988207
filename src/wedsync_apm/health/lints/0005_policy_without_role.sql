-- title: A policy names no role
-- level: ERROR
-- categories: SECURITY
-- description: A policy without TO is for everybody, roles that are made later included.
-- remediation: alter policy … on … to authenticated;
select
    format('policy %s.%s', p.polrelid::regclass, p.polname) as object,
    format('the policy %s on %s.%s is for PUBLIC', p.polname, r.schema_name, r.name) as detail,
    jsonb_build_object('schema', r.schema_name, 'name', r.name, 'policy', p.polname) as metadata
from pg_policy as p
join own_relations as r on r.oid = p.polrelid
where p.polroles = array[0::oid]
