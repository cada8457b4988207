-- pre: how long samples and rollups are kept, by organization; partitions past everybody's term go at once.

create table public.apm_retention (
    organization_id uuid primary key references public.organizations (id) on delete cascade,
    -- null: as the platform has it
    raw_days int check (raw_days between 1 and 36500),
    minute_days int check (minute_days between 1 and 36500),
    five_minutes_days int check (five_minutes_days between 1 and 36500),
    hour_days int check (hour_days between 1 and 36500),
    day_days int check (day_days between 1 and 36500),
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now()
);
call apm_private.protect_table('public.apm_retention');
create trigger apm_retention_audit after insert or update or delete on public.apm_retention
for each row execute function apm_private.write_audit();
grant select on public.apm_retention to authenticated;
call apm_private.grant_writes('public.apm_retention');
create policy apm_retention_authenticated_select on public.apm_retention for select to authenticated
using (organization_id = any ((select public.apm_current_organization_ids())::uuid[]));
create policy apm_retention_authenticated_insert on public.apm_retention for insert to authenticated
with check (organization_id = any ((select public.apm_organization_ids_as('ADMIN'))::uuid[]));
create policy apm_retention_authenticated_update on public.apm_retention for update to authenticated
using (organization_id = any ((select public.apm_organization_ids_as('ADMIN'))::uuid[]))
with check (organization_id = any ((select public.apm_organization_ids_as('ADMIN'))::uuid[]));
create policy apm_retention_authenticated_delete on public.apm_retention for delete to authenticated
using (organization_id = any ((select public.apm_organization_ids_as('ADMIN'))::uuid[]));

-- Drops the days of blocks and the months of rollups that end before the given moments; returns how many. Runs as the
-- tables' owner, who alone may. Whoever reads is waited for but briefly, since everybody else then waits behind us:
-- the next run tries again. Never touches the last two days, whatever it is asked.
create function apm_private.drop_partitions(blocks_before timestamptz, rollups_before timestamptz) returns int
language plpgsql security definer
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
set lock_timeout = '200ms'
as $$
declare
    part record;
    dropped int := 0;
begin
    for part in
        select c.oid::regclass as name
        from pg_catalog.pg_inherits as i
        join pg_catalog.pg_class as c on c.oid = i.inhrelid
        where i.inhparent = 'public.apm_metrics'::regclass and c.relname ~ '_[0-9]{8}$'
            and to_date(right(c.relname, 8), 'YYYYMMDD') + 1 <= least(drop_partitions.blocks_before, now() - interval '2 days')
        union all
        select c.oid::regclass
        from pg_catalog.pg_inherits as i
        join pg_catalog.pg_class as c on c.oid = i.inhrelid
        where i.inhparent = 'public.apm_metric_aggregations'::regclass and c.relname ~ '_[0-9]{6}$'
            and to_date(right(c.relname, 6), 'YYYYMM') + interval '1 month'
                <= least(drop_partitions.rollups_before, now() - interval '2 days')
    loop
        execute format('drop table %s', part.name);
        dropped := dropped + 1;
    end loop;
    return dropped;
exception when lock_not_available then
    return 0;
end
$$;
revoke all on function apm_private.drop_partitions(timestamptz, timestamptz) from public, anon, authenticated, service_role;
grant execute on function apm_private.drop_partitions(timestamptz, timestamptz) to apm_engine;

-- Gives back what the indexes of emptied days still take; returns how many days. A table that VACUUM has cut to
-- nothing holds no row that anybody could still see.
create function apm_private.shrink_partitions() returns int
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    part record;
    shrunk int := 0;
begin
    for part in
        select c.oid::regclass as name
        from pg_catalog.pg_class as c
        where c.relnamespace = 'apm_partitions'::regnamespace and c.relkind = 'r' and c.relname ~ '_[0-9]{8}_written$'
            and pg_relation_size(c.oid) = 0 and pg_indexes_size(c.oid) > 64 * 1024
    loop
        begin
            execute format('lock table %s in access exclusive mode nowait', part.name);
            if pg_relation_size(part.name) = 0 then
                execute format('truncate %s', part.name);
                shrunk := shrunk + 1;
            end if;
        exception when lock_not_available then
            null;
        end;
    end loop;
    return shrunk;
end
$$;
revoke all on function apm_private.shrink_partitions() from public, anon, authenticated, service_role;
grant execute on function apm_private.shrink_partitions() to apm_engine;

-- Blocks by UTC day from eight days back to four ahead and wherever rows lie beside, rollups by month from two back
-- to two ahead. Runs as the tables' owner, who alone may attach; takes nothing but the instant.
create or replace function apm_private.make_partitions(at timestamptz) returns int
language plpgsql security definer
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
as $$
declare
    day date;
    made int := 0;
    is_late boolean := pg_relation_size('apm_partitions.apm_metrics_default') > 0;
    late date[] := '{}';
begin
    if is_late then
        -- Rows that came for a day without a partition: it is made, however old the day is. Days to come have theirs
        -- or, too far ahead, get none.
        alter table apm_partitions.apm_metrics_default no force row level security;
        select coalesce(array_agg(distinct (d."timestamp")::date), '{}') into late
        from apm_partitions.apm_metrics_default as d
        where d."timestamp" < (make_partitions.at)::date + 4;
        alter table apm_partitions.apm_metrics_default force row level security;
    end if;
    for day in
        select generate_series((make_partitions.at)::date - 8, (make_partitions.at)::date + 4, interval '1 day')::date
        union
        select unnest(late)
    loop
        made := made + apm_private.make_partition(
            'public.apm_metrics', 'apm_metrics_' || to_char(day, 'YYYYMMDD'), day, day + 1
        )::int;
    end loop;
    for day in select generate_series(
        date_trunc('month', make_partitions.at) - interval '2 months',
        date_trunc('month', make_partitions.at) + interval '2 months', interval '1 month'
    )::date
    loop
        made := made + apm_private.make_partition(
            'public.apm_metric_aggregations', 'apm_metric_aggregations_' || to_char(day, 'YYYYMM'),
            day, (day + interval '1 month')::date
        )::int;
    end loop;
    if is_late then
        alter table apm_partitions.apm_metrics_default no force row level security;
        -- an emptied one alarms no longer
        if not exists (select from apm_partitions.apm_metrics_default) then
            truncate apm_partitions.apm_metrics_default;
        end if;
        alter table apm_partitions.apm_metrics_default force row level security;
    end if;
    return made;
end
$$;
