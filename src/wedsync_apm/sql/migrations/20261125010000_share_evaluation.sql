-- pre: engines share the organizations among themselves by leases, and the database refuses whoever has lost his.

-- The engines that judge rules: each lives for as long as it says so at least once within its lease.
create table apm_private.evaluators (
    id uuid primary key,
    seen_at timestamptz not null,
    lease interval not null check (lease > interval '0')
);
call apm_private.protect_table('apm_private.evaluators');

-- Who judges which slice of the organizations. The generation grows whenever a slice passes on, so that a holder who
-- slept through that is told apart from the one who has it now.
create table apm_private.evaluation_leases (
    slice int primary key check (slice between 0 and 7),
    holder uuid,
    generation bigint not null default 0
);
call apm_private.protect_table('apm_private.evaluation_leases');
insert into apm_private.evaluation_leases (slice) select s.slice from generate_series(0, 7) as s (slice);

-- Says that an engine lives, takes what it may have and gives back what it has too much of; returns what it then has.
-- Several at once never take the same slice, and none takes one whose holder lives.
create function apm_private.share_slices(engine uuid, lease interval)
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
revoke all on function apm_private.share_slices(uuid, interval) from public, anon, authenticated, service_role;
grant execute on function apm_private.share_slices(uuid, interval) to apm_engine;

-- The fence, within the statement that writes: true while all these slices are still held in these generations, and
-- from then on until the transaction ends; else an error that sets back whatever the transaction has done. A holder that
-- falls silent behind it is cut off, so that its slices can pass on.
create function apm_private.hold_slices(engine uuid, slices int[], generations bigint[]) returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    held int;
begin
    perform from apm_private.evaluation_leases as l
    join unnest(hold_slices.slices, hold_slices.generations) as u (slice, generation)
        on u.slice = l.slice and u.generation = l.generation
    where l.holder = hold_slices.engine
    order by l.slice
    for share of l;
    get diagnostics held = row_count;
    if held <> cardinality(hold_slices.slices) then
        raise exception 'the lease of some organizations has passed on to another engine'
            using errcode = 'serialization_failure';
    end if;
    perform set_config(
        'idle_in_transaction_session_timeout', ceil(1000 * extract(epoch from e.lease))::int::text, true
    )
    from apm_private.evaluators as e where e.id = hold_slices.engine;
    return true;
end
$$;
revoke all on function apm_private.hold_slices(uuid, int[], bigint[]) from public, anon, authenticated, service_role;
grant execute on function apm_private.hold_slices(uuid, int[], bigint[]) to apm_engine;

-- The one cursor becomes one for each slice: all of them go on from there.
insert into apm_private.cursors (name, snapshot, updated_at)
select c.name || ' ' || s.slice, c.snapshot, c.updated_at
from apm_private.cursors as c
cross join generate_series(0, 7) as s (slice)
where c.name = 'evaluate';
delete from apm_private.cursors as c where c.name = 'evaluate';
