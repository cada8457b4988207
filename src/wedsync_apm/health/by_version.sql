-- Statements for which the versions of PostgreSQL need different words. `_from_15` is used from version 15 on, until a
-- `_from_` with a higher number takes over; so the file is not one of the queries that are prepared on one server.

-- read_checkpoints_from_15 [apm_api] --
-- How often the server wrote everything out by plan, and how often because the WAL had grown too large.
select checkpoints_timed as timed, checkpoints_req as requested, checkpoint_write_time as write_ms,
    checkpoint_sync_time as sync_ms
from pg_stat_bgwriter

-- read_checkpoints_from_17 [apm_api] --
-- The same, since the figures moved to a view of their own.
select num_timed as timed, num_requested as requested, write_time as write_ms, sync_time as sync_ms
from pg_stat_checkpointer

-- read_statement_times_from_15 [apm_api] --
-- Whether statement statistics are kept, and for how many statements.
select count(*) as statements, coalesce(sum(total_exec_time), 0)::float8 as total_ms,
    coalesce(sum(blk_read_time + blk_write_time), 0)::float8 as io_ms
from extensions.pg_stat_statements

-- read_statement_times_from_17 [apm_api] --
-- The same, since the times of shared and local blocks are told apart.
select count(*) as statements, coalesce(sum(total_exec_time), 0)::float8 as total_ms,
    coalesce(sum(shared_blk_read_time + shared_blk_write_time), 0)::float8 as io_ms
from extensions.pg_stat_statements
