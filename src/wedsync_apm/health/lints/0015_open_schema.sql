-- title: A closed schema is open
-- level: ERROR
-- categories: SECURITY
-- description: Nobody of low trust may enter the schema of the partitions or make anything in a schema of ours.
-- remediation: revoke all on schema … from public, anon, authenticated;
select
    format('schema %s', n.nspname) as object,
    format('%s may %s in %s', g.grantee, string_agg(g.privilege_type, ', ' order by g.privilege_type), n.nspname) as detail,
    jsonb_build_object('schema', n.nspname, 'grantee', g.grantee) as metadata
from pg_namespace as n
cross join lateral (
    select case a.grantee when 0 then 'PUBLIC' else pg_get_userbyid(a.grantee)::text end as grantee, a.privilege_type
    from aclexplode(n.nspacl) as a
) as g
where g.grantee in ('PUBLIC', 'anon', 'authenticated')
    and (n.nspname = 'apm_partitions' or (n.nspname = 'apm_private' and (g.privilege_type = 'CREATE' or g.grantee <> 'authenticated')))
group by n.nspname, g.grantee
