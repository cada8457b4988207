-- pre: an engine that was killed is followed by one that knows how verdicts stood; clocks that are set back stop nobody.

alter table public.apm_alert_states
    -- how it has stood in the last minutes, for samples that come late: [{"since", "state", …}], milliseconds
    add column course jsonb not null default '[]' constraint apm_alert_states_course_check check (jsonb_typeof(course) = 'array');

-- of the slices of rules: up to when they have been judged, and the organizations that had not been then
alter table apm_private.cursors
    add column judged_at timestamptz,
    add column behind uuid[] not null default '{}';

-- As before; but an engine that was seen in the future, because the clock was set back since, need not be waited for.
create or replace function apm_private.share_slices(engine uuid, lease interval)
returns table (slice int, generation bigint)
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    living int;
    held int;
    quota int;
begin
    insert into apm_private.evaluators as e (id, seen_at, lease)
    values (share_slices.engine, clock_timestamp(), share_slices.lease)
    on conflict (id) do update set seen_at = excluded.seen_at, lease = excluded.lease;
    select count(*) into living from apm_private.evaluators as e
    where clock_timestamp() between e.seen_at - e.lease and e.seen_at + e.lease;
    select count(*) into held from apm_private.evaluation_leases as l where l.holder = share_slices.engine;
    quota := ceil(8.0 / greatest(living, 1));
    if held > quota then
        update apm_private.evaluation_leases as l set holder = null
        where l.slice in (
            select m.slice from apm_private.evaluation_leases as m
            where m.holder = share_slices.engine order by m.slice desc limit held - quota
        );
    elsif held < quota then
        update apm_private.evaluation_leases as l set holder = share_slices.engine, generation = l.generation + 1
        where l.slice in (
            select m.slice from apm_private.evaluation_leases as m
            where m.holder is distinct from share_slices.engine and not exists (
                select from apm_private.evaluators as e
                where e.id = m.holder and clock_timestamp() between e.seen_at - e.lease and e.seen_at + e.lease
            )
            order by m.slice limit quota - held
            for update skip locked
        );
        delete from apm_private.evaluators as e
        where not clock_timestamp() between e.seen_at - e.lease - interval '1 hour' and e.seen_at + e.lease + interval '1 hour';
    end if;
    return query
    select l.slice, l.generation from apm_private.evaluation_leases as l
    where l.holder = share_slices.engine order by l.slice;
end
$$;
