-- read_backend_syncs_from_15 [apm_engine] --
-- How often a session had to bring a file to the disk itself, because the checkpointer did not keep up.
select 'sessions' as subject, b.buffers_backend_fsync::float8 as figure, b.buffers_backend as blocks_written, b.stats_reset
from pg_stat_bgwriter as b

-- read_backend_syncs_from_16 [apm_engine] --
-- The same from pg_stat_io, with what each kind of process read and wrote.
select
    i.backend_type as subject,
    case when i.backend_type = 'client backend' then coalesce(sum(i.fsyncs), 0) else 0 end::float8 as figure,
    coalesce(sum(i.reads), 0)::bigint as reads,
    coalesce(sum(i.writes), 0)::bigint as writes,
    coalesce(sum(i.extends), 0)::bigint as extends,
    coalesce(sum(i.evictions), 0)::bigint as evictions,
    max(i.stats_reset) as stats_reset
from pg_stat_io as i
where i.object = 'relation' and i.context = 'normal'
group by i.backend_type
order by figure desc, writes desc
