-- title: Rights of anonymous callers
-- level: ERROR
-- categories: SECURITY
-- description: PUBLIC and anon have no right on any table, view or sequence of ours.
-- remediation: revoke all on … from public, anon;
select
    r.object,
    format('%s may %s on %s.%s', g.grantee, string_agg(g.privilege_type, ', ' order by g.privilege_type), r.schema_name, r.name) as detail,
    jsonb_build_object('schema', r.schema_name, 'name', r.name, 'grantee', g.grantee, 'is_partition', r.relispartition) as metadata
from own_relations as r
cross join lateral (
    select case a.grantee when 0 then 'PUBLIC' else pg_get_userbyid(a.grantee)::text end as grantee, a.privilege_type
    from aclexplode(r.relacl) as a
) as g
where g.grantee in ('PUBLIC', 'anon')
group by r.object, r.schema_name, r.name, r.relispartition, g.grantee
