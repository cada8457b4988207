revoke execute on function apm_private.read_job_runs() from apm_engine;
do $$
declare
    name text;
begin
    for name in
        select format('%I.%I', n.nspname, c.relname)
        from pg_class as c
        join pg_namespace as n on n.oid = c.relnamespace
        where c.relkind = 'S'
            and (n.nspname = 'apm_private' or (n.nspname = 'public' and starts_with(c.relname, 'apm_')))
    loop
        execute format('revoke select on sequence %s from apm_engine', name);
    end loop;
end
$$;
drop function apm_private.read_row_widths();
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
