-- title: A view with its owner's rights
-- level: ERROR
-- categories: SECURITY
-- description: Without security_invoker a view asks with its owner's rights, and its reader sees every tenant.
-- remediation: alter view … set (security_invoker = true);
select
    r.object,
    format('the view %s.%s asks with the rights of its owner', r.schema_name, r.name) as detail,
    jsonb_build_object('schema', r.schema_name, 'name', r.name) as metadata
from own_relations as r
where r.relkind = 'v'
    and not coalesce(array_to_string(r.reloptions, ',') ~ 'security_invoker=(true|on|1|yes)', false)
