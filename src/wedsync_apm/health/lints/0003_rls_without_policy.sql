-- title: Row Level Security without a policy
-- level: WARN
-- categories: SECURITY
-- description: Row Level Security is on and no policy lets anybody in: what should be read there is not. Partitions are read through their parent and have none on purpose.
-- remediation: create policy … on … to …;
select
    r.object,
    format('%s.%s has Row Level Security and no policy', r.schema_name, r.name) as detail,
    jsonb_build_object('schema', r.schema_name, 'name', r.name) as metadata
from own_relations as r
where r.relkind in ('r', 'p') and not r.relispartition and r.relrowsecurity
    and not exists (select from pg_policy as p where p.polrelid = r.oid)
