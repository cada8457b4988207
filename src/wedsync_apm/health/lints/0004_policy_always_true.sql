-- title: A policy is always true
-- level: ERROR
-- categories: SECURITY
-- description: A permissive policy whose condition is `true` gives a role of low trust the rows of every tenant.
-- remediation: alter policy … using (organization_id = any ((select public.apm_current_organization_ids())::uuid[]));
select
    format('policy %s.%s', p.polrelid::regclass, p.polname) as object,
    format('the policy %s on %s.%s is always true for %s', p.polname, r.schema_name, r.name, g.role_name) as detail,
    jsonb_build_object('schema', r.schema_name, 'name', r.name, 'policy', p.polname, 'role', g.role_name, 'command', p.polcmd) as metadata
from pg_policy as p
join own_relations as r on r.oid = p.polrelid
cross join lateral (
    select case m.member when 0 then 'PUBLIC' else pg_get_userbyid(m.member)::text end as role_name
    from unnest(p.polroles) as m (member)
) as g
where p.polpermissive and g.role_name in ('PUBLIC', 'anon', 'authenticated')
    and 'true' in (pg_get_expr(p.polqual, p.polrelid), pg_get_expr(p.polwithcheck, p.polrelid))
    and not (p.polroles = array[0::oid])
