-- title: What will be made is given away
-- level: ERROR
-- categories: SECURITY
-- description: Default privileges in the schemas of partitions and engine state give every later partition to roles of low trust.
-- remediation: alter default privileges in schema … revoke all on tables from …;
select
    format('default privileges in %s', n.nspname) as object,
    format('what %s makes in %s is given to %s', pg_get_userbyid(d.defaclrole), n.nspname, string_agg(distinct g.grantee, ', ')) as detail,
    jsonb_build_object('schema', n.nspname, 'type', d.defaclobjtype) as metadata
from pg_default_acl as d
join pg_namespace as n on n.oid = d.defaclnamespace
cross join lateral (
    select case a.grantee when 0 then 'PUBLIC' else pg_get_userbyid(a.grantee)::text end as grantee
    from aclexplode(d.defaclacl) as a
) as g
where n.nspname in ('apm_private', 'apm_partitions') and g.grantee in ('PUBLIC', 'anon', 'authenticated')
group by n.nspname, d.defaclrole, d.defaclobjtype
