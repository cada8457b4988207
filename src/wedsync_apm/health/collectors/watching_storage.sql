-- read_watching_storage_from_15 [apm_engine] --
-- What this watching stores a day beside the samples of its figures, before what is old goes again.
select
    'the collectors' as subject,
    round((24 * (
        coalesce((select avg(pg_column_size(s.*)) from apm_private.health_sizes as s), 0)
        + coalesce((select avg(pg_column_size(s.*)) from apm_private.statement_snapshots as s), 0)
    ) / 1048576)::numeric, 3)::float8 as figure,
    pg_total_relation_size('apm_private.health_lines') as lines_bytes,
    pg_total_relation_size('apm_private.health_sizes') as sizes_bytes,
    pg_total_relation_size('apm_private.statement_snapshots') as snapshots_bytes
