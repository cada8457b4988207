revoke execute on function apm_private.read_job_runs() from apm_engine;
revoke select on all sequences in schema public, apm_private from apm_engine;
grant usage on sequence apm_private.block_ids to apm_engine;
drop table apm_private.statement_snapshots;
drop function apm_private.read_health_sizes();
drop table apm_private.health_sizes;
drop function apm_private.read_health_lines();
drop table apm_private.health_lines;
do $$
begin
    revoke pg_monitor from apm_engine;
exception when insufficient_privilege then
    raise notice 'pg_monitor stays with apm_engine: it was granted by somebody else';
end
$$;
