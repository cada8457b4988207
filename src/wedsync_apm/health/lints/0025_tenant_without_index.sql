-- title: No index begins with the tenant
-- level: WARN
-- categories: PERFORMANCE
-- description: Each query of a member asks for his organization; without an index that begins with it, his page reads everybody's rows.
-- remediation: create index concurrently on … (organization_id, …);
select
    r.object,
    format('no index of %s.%s begins with organization_id', r.schema_name, r.name) as detail,
    jsonb_build_object('schema', r.schema_name, 'name', r.name) as metadata
from own_relations as r
join pg_attribute as a on a.attrelid = r.oid and a.attname = 'organization_id' and not a.attisdropped
where r.relkind in ('r', 'p') and not r.relispartition
    and not exists (
        select from pg_index as i where i.indrelid = r.oid and i.indisvalid and (i.indkey::int2[])[0] = a.attnum
    )
