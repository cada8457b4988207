-- title: An index that nobody used
-- level: INFO
-- categories: PERFORMANCE
-- description: An index over 10 MiB that was not used once in a week or more of statistics. Unique ones stay: they keep a promise.
-- remediation: look at what it is for (`wedsync-apm audit indexes`), then drop index concurrently …;
select
    format('index %s.%s', s.schemaname, s.indexrelname) as object,
    format('%s of %s.%s takes %s and was not used since %s', s.indexrelname, r.schema_name, r.name,
        pg_size_pretty(pg_relation_size(s.indexrelid)), coalesce(d.stats_reset, pg_postmaster_start_time())::date) as detail,
    jsonb_build_object('schema', r.schema_name, 'name', r.name, 'index', s.indexrelname, 'bytes', pg_relation_size(s.indexrelid)) as metadata
from pg_stat_all_indexes as s
join own_relations as r on r.oid = s.relid
join pg_index as i on i.indexrelid = s.indexrelid
join pg_stat_database as d on d.datname = current_database()
where s.idx_scan = 0 and not i.indisunique and pg_relation_size(s.indexrelid) > 10485760
    and coalesce(d.stats_reset, pg_postmaster_start_time()) < clock_timestamp() - interval '7 days'
