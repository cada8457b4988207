-- title: Anybody may call a function
-- level: ERROR
-- categories: SECURITY
-- description: PostgreSQL lets PUBLIC call every new function. On Supabase each of them is an endpoint, for anonymous callers too.
-- remediation: revoke execute on function … from public, anon;
select
    f.object,
    format('%s may be called by %s', substr(f.object, 10), string_agg(g.grantee, ', ' order by g.grantee)) as detail,
    jsonb_build_object('schema', f.schema_name, 'name', f.name, 'is_definer', f.prosecdef) as metadata
from own_functions as f
cross join lateral (
    select case a.grantee when 0 then 'PUBLIC' else pg_get_userbyid(a.grantee)::text end as grantee
    from aclexplode(coalesce(f.proacl, acldefault('f', f.proowner))) as a
) as g
where g.grantee in ('PUBLIC', 'anon')
group by f.object, f.schema_name, f.name, f.prosecdef
