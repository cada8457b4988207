-- read_checkpoints_from_15 [apm_engine] --
-- Share of the checkpoints that came before their time, because the log had grown too large.
select
    'checkpoints' as subject,
    case when b.checkpoints_req > 10
        then round(100.0 * b.checkpoints_req / (b.checkpoints_timed + b.checkpoints_req), 1) else 0 end::float8 as figure,
    b.checkpoints_timed as timed,
    b.checkpoints_req as requested,
    b.checkpoint_write_time as write_ms,
    b.stats_reset
from pg_stat_bgwriter as b

-- read_checkpoints_from_17 [apm_engine] --
-- The same, since the figures moved to a view of their own.
select
    'checkpoints' as subject,
    case when c.num_requested > 10
        then round(100.0 * c.num_requested / (c.num_timed + c.num_requested), 1) else 0 end::float8 as figure,
    c.num_timed as timed,
    c.num_requested as requested,
    c.write_time as write_ms,
    c.stats_reset
from pg_stat_checkpointer as c
