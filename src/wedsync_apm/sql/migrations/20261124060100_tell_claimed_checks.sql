-- pre: a check that is being looked at is left to whoever looks: hastening it would make his result void.

alter table public.service_health_checks
    -- equal to next_check_at while somebody looks
    add column claimed_until timestamptz;

create or replace function public.apm_take_check_run(check_id uuid, at timestamptz default now()) returns int
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    mine record;
    asked record;
begin
    select c.organization_id, c.id, c.last_run_at into mine
    from public.service_health_checks as c
    where c.id = apm_take_check_run.check_id
        and (apm_private.is_service() or c.organization_id = any (public.apm_organization_ids_as('MEMBER')));
    if not found then
        return null;
    end if;
    -- one after the other, or two would both be the twentieth
    perform pg_advisory_xact_lock(hashtextextended('check runs ' || mine.organization_id, 0));
    select count(*) as runs, min(c.last_run_at) as first_at,
        max(c.last_run_at) filter (where c.id = mine.id) as last_at
    into asked
    from public.service_health_checks as c
    where c.organization_id = mine.organization_id and c.last_run_at > apm_take_check_run.at - interval '1 minute';
    if asked.last_at > apm_take_check_run.at - interval '10 seconds' then
        return greatest(1, ceil(extract(epoch from asked.last_at + interval '10 seconds' - apm_take_check_run.at)))::int;
    end if;
    if asked.runs >= 20 then
        return greatest(1, ceil(extract(epoch from asked.first_at + interval '1 minute' - apm_take_check_run.at)))::int;
    end if;
    update public.service_health_checks as c set
        last_run_at = apm_take_check_run.at,
        -- what is shared keeps its own time, or one member would make it for everybody
        next_check_at = case
            when c.is_shared or c.claimed_until = c.next_check_at then c.next_check_at
            else least(c.next_check_at, apm_take_check_run.at)
        end
    where c.organization_id = mine.organization_id and c.id = mine.id;
    return 0;
end
$$;
