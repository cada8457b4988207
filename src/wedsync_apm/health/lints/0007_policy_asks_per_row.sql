-- title: A policy asks who calls for each row
-- level: WARN
-- categories: PERFORMANCE
-- description: A function about the caller that is not wrapped in `(select …)` may run once a row: 422 ms against 47 over 300,000 rows.
-- remediation: write `(select auth.uid())` in place of `auth.uid()`
select
    format('policy %s.%s', p.polrelid::regclass, p.polname) as object,
    format('the policy %s on %s.%s calls a function for each row', p.polname, r.schema_name, r.name) as detail,
    jsonb_build_object('schema', r.schema_name, 'name', r.name, 'policy', p.polname) as metadata
from pg_policy as p
join own_relations as r on r.oid = p.polrelid
cross join lateral (
    select concat_ws(' ', pg_get_expr(p.polqual, p.polrelid), pg_get_expr(p.polwithcheck, p.polrelid)) as text
) as e
where (
    select count(*)
    from regexp_matches(
        e.text, '(?:apm_current_organization_ids|apm_organization_ids_as|apm_operator_role|apm_own_contact_ids|auth\.\w+|current_setting)\(', 'g'
    )
) > (select count(*) from regexp_matches(e.text, '\(\s*SELECT ', 'g'))
