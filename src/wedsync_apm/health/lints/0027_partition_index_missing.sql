-- title: A partition lacks an index of its parent
-- level: ERROR
-- categories: PERFORMANCE
-- description: A partition that was attached or repaired by hand can lack what its siblings have; queries that reach its days read it whole.
-- remediation: create index on … ; alter index … attach partition …;
select
    r.object,
    format('%s.%s has no part of the index %s', r.schema_name, r.name, c.relname) as detail,
    jsonb_build_object('schema', r.schema_name, 'name', r.name, 'index', c.relname, 'is_partition', true) as metadata
from own_relations as r
join pg_inherits as h on h.inhrelid = r.oid
join pg_index as i on i.indrelid = h.inhparent
join pg_class as c on c.oid = i.indexrelid
where r.relispartition
    and not exists (
        select from pg_index as own
        join pg_inherits as part on part.inhrelid = own.indexrelid and part.inhparent = i.indexrelid
        where own.indrelid = r.oid
    )
