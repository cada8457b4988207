-- read_settings_worth_changing_from_15 [apm_engine] --
-- Settings of the server that harm: what they are, what they should be, and why.
select
    s.name as subject,
    1::float8 as figure,
    s.reset_val || coalesce(' ' || s.unit, '') as setting,
    a.advice,
    a.why as because
from pg_settings as s
join (
    values
        ('autovacuum', 'on', 'dead rows are never cleared away'),
        ('track_counts', 'on', 'autovacuum is blind without it'),
        ('track_activities', 'on', 'nobody sees what a session does'),
        ('zero_damaged_pages', 'off', 'damaged pages are emptied without a word'),
        ('ignore_checksum_failure', 'off', 'damaged pages are read as if they were sound'),
        ('enable_indexscan', 'on', 'indexes are not used'),
        ('enable_indexonlyscan', 'on', 'indexes are not used'),
        ('enable_bitmapscan', 'on', 'indexes are used less'),
        ('enable_hashjoin', 'on', 'joins of many rows are slow'),
        ('enable_seqscan', 'on', 'small tables are read the long way'),
        ('enable_partition_pruning', 'on', 'each query reads every day')
) as a (name, advice, why) on a.name = s.name
where s.reset_val <> a.advice
union all
select s.name, 1, s.reset_val || coalesce(' ' || s.unit, ''), a.advice, a.why
from pg_settings as s
join (
    values
        ('shared_buffers', 2048, null::bigint, '16 MB or more', 'the cache holds next to nothing'),
        ('checkpoint_timeout', 60, null, '1 min or more', 'pages are written out again and again'),
        ('autovacuum_freeze_max_age', null, 1000000000, '1,000 million or less', 'freezing comes too late'),
        ('max_connections', null, 1000, '1,000 or fewer, and a pooler', 'each session costs memory and time')
) as a (name, least_value, most_value, advice, why) on a.name = s.name
where s.reset_val::bigint < a.least_value or s.reset_val::bigint > a.most_value
order by subject
