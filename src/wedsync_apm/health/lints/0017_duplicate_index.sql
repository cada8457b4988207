-- title: Two indexes are the same
-- level: WARN
-- categories: PERFORMANCE
-- description: Each index costs room and every write; a second one of the same columns, condition and order gives nothing for it.
-- remediation: drop index concurrently …;
select
    format('index %s.%s', x.schema_name, x.name) as object,
    format('%s of %s.%s is the same as %s', x.name, x.schema_name, x.table_name, array_to_string(array_remove(x.alike, x.name), ', ')) as detail,
    jsonb_build_object('schema', x.schema_name, 'name', x.table_name, 'indexes', x.alike) as metadata
from (
    select r.schema_name, r.name as table_name, c.relname::text as name,
        array_agg(c.relname::text) over (
            partition by r.oid, i.indkey::text, i.indclass::text, i.indoption::text, i.indcollation::text, i.indisunique,
                pg_get_expr(i.indexprs, i.indrelid), pg_get_expr(i.indpred, i.indrelid), c.relam
        ) as alike
    from own_relations as r
    join pg_index as i on i.indrelid = r.oid and i.indisvalid
    join pg_class as c on c.oid = i.indexrelid and not c.relispartition
) as x
where cardinality(x.alike) > 1
