-- pre: verdicts as they stand, without how they stood before.

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
    select count(*) into living from apm_private.evaluators as e where e.seen_at + e.lease > clock_timestamp();
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
                where e.id = m.holder and e.seen_at + e.lease > clock_timestamp()
            )
            order by m.slice limit quota - held
            for update skip locked
        );
        delete from apm_private.evaluators as e where e.seen_at + e.lease < clock_timestamp() - interval '1 hour';
    end if;
    return query
    select l.slice, l.generation from apm_private.evaluation_leases as l
    where l.holder = share_slices.engine order by l.slice;
end
$$;

alter table apm_private.cursors drop column behind, drop column judged_at;
alter table public.apm_alert_states drop column course;
