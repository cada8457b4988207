-- title: A table without a primary key
-- level: WARN
-- categories: PERFORMANCE
-- description: Rows that cannot be named cannot be replicated, repaired or told apart one by one.
-- remediation: alter table … add primary key (…);
select
    r.object,
    format('%s.%s has no primary key', r.schema_name, r.name) as detail,
    jsonb_build_object('schema', r.schema_name, 'name', r.name) as metadata
from own_relations as r
where r.relkind in ('r', 'p') and not r.relispartition
    and not exists (select from pg_constraint as k where k.conrelid = r.oid and k.contype = 'p')
