-- title: A foreign key without an index
-- level: WARN
-- categories: PERFORMANCE
-- description: When a row goes that others point at, PostgreSQL looks for them: without an index it reads the whole table.
-- remediation: create index concurrently on … (…);
select
    format('constraint %s.%s.%s', r.schema_name, r.name, k.conname) as object,
    format('%s of %s.%s has no index that begins with its columns', k.conname, r.schema_name, r.name) as detail,
    jsonb_build_object('schema', r.schema_name, 'name', r.name, 'constraint', k.conname) as metadata
from pg_constraint as k
join own_relations as r on r.oid = k.conrelid
where k.contype = 'f' and not r.relispartition
    and not exists (
        select from pg_index as i
        where i.indrelid = k.conrelid and i.indisvalid
            and (select array_agg(c order by c) from unnest((i.indkey::int2[])[0:cardinality(k.conkey) - 1]) as c)
                = (select array_agg(c order by c) from unnest(k.conkey) as c)
    )
