-- title: Row Level Security is off
-- level: ERROR
-- categories: SECURITY
-- description: A table or partition without Row Level Security shows every tenant's rows to whoever may read it. A partition that is read directly does not ask its parent's policies.
-- remediation: alter table … enable row level security;
select
    r.object,
    format('%s.%s has no Row Level Security%s', r.schema_name, r.name, case when r.relispartition then ' (a partition)' else '' end) as detail,
    jsonb_build_object(
        'schema', r.schema_name, 'name', r.name, 'type', case r.relkind when 'p' then 'partitioned table' else 'table' end,
        'is_partition', r.relispartition, 'policies', (select count(*) from pg_policy as p where p.polrelid = r.oid)
    ) as metadata
from own_relations as r
where r.relkind in ('r', 'p') and not r.relrowsecurity
