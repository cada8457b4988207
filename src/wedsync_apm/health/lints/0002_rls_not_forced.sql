-- title: Row Level Security is not forced
-- level: ERROR
-- categories: SECURITY
-- description: Without FORCE the owner of a table, and every function that runs with the owner's rights, sees all tenants.
-- remediation: alter table … force row level security;
select
    r.object,
    format('%s.%s does not force Row Level Security on its owner', r.schema_name, r.name) as detail,
    jsonb_build_object('schema', r.schema_name, 'name', r.name, 'is_partition', r.relispartition) as metadata
from own_relations as r
where r.relkind in ('r', 'p') and r.relrowsecurity and not r.relforcerowsecurity
