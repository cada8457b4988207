-- title: A policy for anonymous callers
-- level: ERROR
-- categories: SECURITY
-- description: What the public may see is answered by the product itself. A policy TO anon opens a table beside it.
-- remediation: drop policy … on …;
select
    format('policy %s.%s', p.polrelid::regclass, p.polname) as object,
    format('the policy %s on %s.%s lets anon in', p.polname, r.schema_name, r.name) as detail,
    jsonb_build_object('schema', r.schema_name, 'name', r.name, 'policy', p.polname) as metadata
from pg_policy as p
join own_relations as r on r.oid = p.polrelid
where exists (select from pg_roles as a where a.rolname = 'anon' and a.oid = any (p.polroles))
    and coalesce(pg_get_expr(p.polqual, p.polrelid), '') <> 'true'
    and coalesce(pg_get_expr(p.polwithcheck, p.polrelid), '') <> 'true'
