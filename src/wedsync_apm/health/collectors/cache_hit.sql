-- read_cache_hit_from_15 [apm_engine] --
-- Of the blocks that were asked for since the statistics began, the share that PostgreSQL had in memory.
select
    'this database' as subject,
    case when d.blks_hit + d.blks_read >= 100000 then round(100.0 * d.blks_hit / (d.blks_hit + d.blks_read), 2) end::float8 as figure,
    'fewer than 100,000 blocks were read yet' as why,
    d.blks_hit as hits,
    d.blks_read as reads,
    d.stats_reset
from pg_stat_database as d
where d.datname = current_database()
