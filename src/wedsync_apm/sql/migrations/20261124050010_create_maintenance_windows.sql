-- pre: maintenance windows: planned work, once or again and again by the clock on the wall; over a wedding a second person says yes.

create table public.apm_maintenance_windows (
    id uuid not null default gen_random_uuid(),
    organization_id uuid not null references public.organizations (id) on delete cascade,
    name text not null check (length(name) between 1 and 200),
    reason text not null default '' check (length(reason) <= 1000),
    -- what is being worked on; none: everything of the organization
    matchers jsonb not null default '[]',
    -- once …
    starts_at timestamptz,
    ends_at timestamptz,
    -- … or again and again, by the clock on the wall: 1 is Monday; an end that is not later than the start is the next day's
    weekdays int[],
    starts_time time,
    ends_time time,
    time_zone text,
    first_day date,
    last_day date,
    -- every second week, say, counted from the week of the first day
    every_weeks int not null default 1 check (every_weeks between 1 and 4),
    is_active boolean not null default true,
    -- whoever said last when and what is worked on: somebody else approves it
    planned_by uuid,
    planned_by_name text not null default '',
    approved_at timestamptz,
    approved_by uuid,
    approved_by_name text,
    -- the marks of the weddings that the second person saw; during any other, or at another time, it holds nothing back
    approved_weddings uuid[] not null default '{}',
    created_by uuid,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    primary key (organization_id, id),
    constraint apm_maintenance_windows_kind check (
        (num_nulls(starts_at, ends_at) = 0 and num_nonnulls(weekdays, starts_time, ends_time, time_zone, first_day, last_day) = 0)
        or (num_nonnulls(starts_at, ends_at) = 0 and num_nulls(weekdays, starts_time, ends_time, time_zone) = 0)
    ),
    constraint apm_maintenance_windows_span check (ends_at > starts_at and ends_at <= starts_at + interval '30 days'),
    constraint apm_maintenance_windows_weekdays check (
        cardinality(weekdays) between 1 and 7 and weekdays <@ array[1, 2, 3, 4, 5, 6, 7]
    ),
    constraint apm_maintenance_windows_days check (last_day >= first_day),
    constraint apm_maintenance_windows_weeks check (every_weeks = 1 or first_day is not null),
    constraint apm_maintenance_windows_approval check ((approved_at is null) = (approved_by_name is null)),
    constraint apm_maintenance_windows_minutes check (
        extract(second from starts_time) = 0 and extract(second from ends_time) = 0
        and starts_time < '24:00' and ends_time < '24:00'
    )
);
call apm_private.protect_table('public.apm_maintenance_windows');
create trigger apm_maintenance_windows_audit after insert or update or delete on public.apm_maintenance_windows
for each row execute function apm_private.write_audit();
grant select on public.apm_maintenance_windows to authenticated;
call apm_private.grant_writes('public.apm_maintenance_windows', kept => array[
    'planned_by', 'planned_by_name', 'approved_at', 'approved_by', 'approved_by_name', 'approved_weddings'
]);
-- operators see why nobody was told, and may be the second person
create policy apm_maintenance_windows_authenticated_select on public.apm_maintenance_windows for select to authenticated
using (
    organization_id = any ((select public.apm_current_organization_ids())::uuid[])
    or (select public.apm_operator_role()) is not null
);
create policy apm_maintenance_windows_authenticated_insert on public.apm_maintenance_windows for insert to authenticated
with check (organization_id = any ((select public.apm_organization_ids_as('ADMIN'))::uuid[]));
create policy apm_maintenance_windows_authenticated_update on public.apm_maintenance_windows for update to authenticated
using (organization_id = any ((select public.apm_organization_ids_as('ADMIN'))::uuid[]))
with check (organization_id = any ((select public.apm_organization_ids_as('ADMIN'))::uuid[]));
create policy apm_maintenance_windows_authenticated_delete on public.apm_maintenance_windows for delete to authenticated
using (organization_id = any ((select public.apm_organization_ids_as('ADMIN'))::uuid[]));

-- What is looked at wherever matchers, zones and rules for everybody are kept.
create function apm_private.check_holding() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    given jsonb := to_jsonb(new);
    field text;
    fault text;
begin
    foreach field in array array['matchers', 'source_matchers', 'target_matchers']
    loop
        if given ? field then
            fault := apm_private.fault_of_matchers(given -> field, case field when 'matchers' then 0 else 1 end);
            if fault is not null then
                raise exception '%', fault using errcode = 'check_violation', constraint = field, table = tg_table_name;
            end if;
        end if;
    end loop;
    if given ->> 'time_zone' is not null and not apm_private.is_time_zone(given ->> 'time_zone') then
        raise exception 'is no time zone' using errcode = 'check_violation', constraint = 'time_zone', table = tg_table_name;
    end if;
    if (given ->> 'is_platform_wide')::boolean then
        if not exists (select from apm_private.platform as f where f.organization_id = new.organization_id) then
            raise exception 'only the platform''s own rules count for everybody'
                using errcode = 'check_violation', constraint = 'is_platform_wide', table = tg_table_name;
        end if;
        if not apm_private.is_service() and coalesce(public.apm_operator_role(), '') not in ('oncall', 'dba') then
            raise exception 'Only an operator of the platform may do that.' using errcode = 'AP403';
        end if;
    end if;
    return new;
end
$$;
call apm_private.hand_over('apm_private.check_holding()');
create trigger apm_maintenance_windows_check before insert or update on public.apm_maintenance_windows
for each row execute function apm_private.check_holding();

-- What was approved is what was seen: another time or other matchers need another yes.
create function apm_private.plan_maintenance() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    new.planned_by := apm_private.caller_id();
    new.planned_by_name := coalesce(apm_private.actor_name(), '');
    new.approved_at := null;
    new.approved_by := null;
    new.approved_by_name := null;
    new.approved_weddings := '{}';
    return new;
end
$$;
call apm_private.hand_over('apm_private.plan_maintenance()');
create trigger apm_maintenance_windows_plan_insert before insert on public.apm_maintenance_windows
for each row execute function apm_private.plan_maintenance();
create trigger apm_maintenance_windows_plan_update before update on public.apm_maintenance_windows
for each row
when (
    row(new.matchers, new.starts_at, new.ends_at, new.weekdays, new.starts_time, new.ends_time, new.time_zone,
        new.first_day, new.last_day, new.every_weeks)
    is distinct from row(old.matchers, old.starts_at, old.ends_at, old.weekdays, old.starts_time, old.ends_time,
        old.time_zone, old.first_day, old.last_day, old.every_weeks)
)
execute function apm_private.plan_maintenance();

-- The instant at which the clock on the wall comes to a time: the first one, or with is_end the last one where the clock
-- is set back and the time comes twice; where the clock is set forward over the time, the moment that it is set. So a
-- window is never torn in two, and the night of 25 hours has it for an hour more.
create function apm_private.instant_of(wall timestamp, time_zone text, is_end boolean) returns timestamptz
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select case
        -- the same offset before and after: no change of the clock is near
        when (g.guess - interval '4 hours') at time zone instant_of.time_zone
            = (g.guess at time zone instant_of.time_zone) - interval '4 hours'
            and (g.guess + interval '4 hours') at time zone instant_of.time_zone
                = (g.guess at time zone instant_of.time_zone) + interval '4 hours'
        then g.guess
        when instant_of.is_end then (
            select max(t) + interval '1 minute'
            from generate_series(g.guess - interval '4 hours', g.guess + interval '4 hours', interval '1 minute') as t
            where t at time zone instant_of.time_zone < instant_of.wall
        )
        else (
            select min(t)
            from generate_series(g.guess - interval '4 hours', g.guess + interval '4 hours', interval '1 minute') as t
            where t at time zone instant_of.time_zone >= instant_of.wall
        )
    end
    from (select instant_of.wall at time zone instant_of.time_zone) as g (guess)
$$;
revoke all on function apm_private.instant_of(timestamp, text, boolean) from public, anon, authenticated, service_role;
grant execute on function apm_private.instant_of(timestamp, text, boolean) to apm_definer;

-- When a maintenance window is open, as far as that touches the range.
create function apm_private.maintenance_spans(maintenance public.apm_maintenance_windows, earliest timestamptz, latest timestamptz)
returns table (span tstzrange)
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    select o.span
    from (
        select tstzrange(maintenance.starts_at, maintenance.ends_at) as span where maintenance.starts_at is not null
        union all
        select tstzrange(b.starts_at, case
            when b.ends_at > b.starts_at then b.ends_at
            -- all of it lies in an hour that is skipped: as long as ever, from the moment that the clock is set
            else b.starts_at + (maintenance.ends_time - maintenance.starts_time)
        end)
        from generate_series(
            (maintenance_spans.earliest at time zone maintenance.time_zone)::date - interval '2 days',
            (maintenance_spans.latest at time zone maintenance.time_zone)::date + interval '1 day', interval '1 day'
        ) as d (day)
        cross join lateral (
            select apm_private.instant_of(d.day::date + maintenance.starts_time, maintenance.time_zone, false) as starts_at,
                apm_private.instant_of(
                    d.day::date + maintenance.ends_time
                        + case when maintenance.ends_time <= maintenance.starts_time then interval '1 day' else interval '0' end,
                    maintenance.time_zone, true
                ) as ends_at
        ) as b
        where maintenance.starts_time is not null
            and extract(isodow from d.day)::int = any (maintenance.weekdays)
            and (
                maintenance.every_weeks = 1
                or (d.day::date - date_trunc('week', maintenance.first_day::timestamp)::date) / 7 % maintenance.every_weeks = 0
            )
            and d.day >= coalesce(maintenance.first_day, '-infinity') and d.day <= coalesce(maintenance.last_day, 'infinity')
    ) as o
    where o.span && tstzrange(maintenance_spans.earliest, maintenance_spans.latest, '[]')
    order by o.span
$$;
call apm_private.hand_over('apm_private.maintenance_spans(public.apm_maintenance_windows, timestamptz, timestamptz)');

-- The next times that a maintenance window is open, the present one first. Nothing for one that the caller may not see.
create function public.apm_maintenance_spans(maintenance_id uuid, at timestamptz default now(), most int default 5)
returns table (starts_at timestamptz, ends_at timestamptz)
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    select lower(o.span), upper(o.span)
    from public.apm_maintenance_windows as m
    -- a window that is open on one weekday comes back within a week, and may be far ahead
    cross join lateral apm_private.maintenance_spans(
        m, greatest(apm_maintenance_spans.at, m.first_day::timestamptz, m.starts_at),
        greatest(apm_maintenance_spans.at, m.first_day::timestamptz, m.starts_at) + m.every_weeks * interval '36 days'
    ) as o
    where m.id = apm_maintenance_spans.maintenance_id and upper(o.span) > apm_maintenance_spans.at
        and (
            apm_private.is_service() or m.organization_id = any (public.apm_current_organization_ids())
            or public.apm_operator_role() is not null
        )
    order by lower(o.span)
    limit least(apm_maintenance_spans.most, 50)
$$;
call apm_private.hand_over('public.apm_maintenance_spans(uuid, timestamptz, int)');
grant execute on function public.apm_maintenance_spans(uuid, timestamptz, int) to authenticated;

-- The weddings that a maintenance window meets within the next 90 days, and whether a second person saw them.
create function apm_private.weddings_of_maintenance(maintenance public.apm_maintenance_windows, at timestamptz)
returns table (wedding_id uuid, wedding_date date, initials text, starts_at timestamptz, ends_at timestamptz, is_approved boolean)
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    with reach as (
        select weddings_of_maintenance.at as earliest,
            greatest(weddings_of_maintenance.at, coalesce(maintenance.ends_at, weddings_of_maintenance.at))
                + interval '90 days' as latest
    ), open as (
        select o.span from reach as r
        cross join lateral apm_private.maintenance_spans(maintenance, r.earliest, r.latest) as o
    )
    select w.wedding_id, w.wedding_date, w.initials, w.starts_at, w.ends_at,
        case when maintenance.approved_weddings = '{}' then false
            else apm_private.wedding_mark(maintenance.organization_id, w.wedding_id, w.wedding_date)
                = any (maintenance.approved_weddings) end
    from reach as r
    cross join lateral apm_private.weddings_in_the_way(maintenance.organization_id, r.earliest, r.latest) as w
    where exists (
        select from open as o
        cross join lateral apm_private.wedding_windows_between(
            array[maintenance.organization_id], greatest(w.starts_at, lower(o.span)), least(w.ends_at, upper(o.span))
        ) as p
        where o.span && tstzrange(w.starts_at, w.ends_at) and p.wedding_id = w.wedding_id and p.span && o.span
            and p.phase in ('set_up', 'ceremony', 'reception', 'tear_down', 'day')
    )
    order by w.starts_at, w.wedding_id
$$;
call apm_private.hand_over('apm_private.weddings_of_maintenance(public.apm_maintenance_windows, timestamptz)');

-- A maintenance window as it stands: off, ended, open or scheduled, the weddings that it meets, and whether it waits for
-- a second person to hold anything back during them. Nothing for a window that the caller may not see.
create function public.apm_maintenance_at(maintenance_id uuid, at timestamptz default now())
returns table (state text, needs_approval boolean, weddings jsonb)
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    select case
            when not m.is_active then 'off'
            when n.span is null then 'ended'
            when n.span @> apm_maintenance_at.at then 'open'
            else 'scheduled'
        end,
        m.is_active and coalesce(w.is_unseen, false), w.weddings
    from public.apm_maintenance_windows as m
    left join lateral (
        select tstzrange(o.starts_at, o.ends_at) as span from public.apm_maintenance_spans(m.id, apm_maintenance_at.at, 1) as o
    ) as n on true
    cross join lateral (
        select bool_or(not v.is_approved) as is_unseen,
            coalesce(jsonb_agg(jsonb_build_object(
                'wedding_id', v.wedding_id, 'wedding_date', v.wedding_date, 'initials', coalesce(v.initials, ''),
                'starts_at', v.starts_at, 'ends_at', v.ends_at, 'is_approved', v.is_approved
            ) order by v.starts_at), '[]') as weddings
        from apm_private.weddings_of_maintenance(m, apm_maintenance_at.at) as v
    ) as w
    where m.id = apm_maintenance_at.maintenance_id
        and (
            apm_private.is_service() or m.organization_id = any (public.apm_current_organization_ids())
            or public.apm_operator_role() is not null
        )
$$;
call apm_private.hand_over('public.apm_maintenance_at(uuid, timestamptz)');
grant execute on function public.apm_maintenance_at(uuid, timestamptz) to authenticated;

-- The second person says yes to planned work over the weddings that it meets, having seen them.
create function public.apm_approve_maintenance(maintenance_id uuid, at timestamptz default now()) returns void
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    maintenance public.apm_maintenance_windows%rowtype;
    standing text;
    unseen uuid[];
begin
    select m.* into maintenance from public.apm_maintenance_windows as m
    where m.id = apm_approve_maintenance.maintenance_id for update;
    standing := public.apm_role_in(maintenance.organization_id);
    if maintenance.id is null or (standing is null and coalesce(public.apm_operator_role(), '') <> 'oncall') then
        raise exception 'There is no such maintenance window.' using errcode = 'AP404';
    end if;
    if standing = 'VIEWER' then
        raise exception 'Viewers can look at maintenance windows, not approve them.' using errcode = 'AP403';
    end if;
    select array_agg(w.wedding_id) into unseen
    from apm_private.weddings_of_maintenance(maintenance, apm_approve_maintenance.at) as w
    where not w.is_approved;
    if unseen is null or not maintenance.is_active then
        raise exception 'This maintenance window waits for no approval.'
            using errcode = 'AP409', constraint = 'apm_maintenance_windows_approve';
    end if;
    if apm_private.claims() ->> 'kind' = 'key' or apm_private.caller_id() is not distinct from maintenance.planned_by then
        raise exception 'A second person must approve it: not whoever planned it, and no key.' using errcode = 'AP403';
    end if;
    update public.apm_maintenance_windows as m set
        approved_at = apm_approve_maintenance.at,
        approved_by = apm_private.caller_id(),
        approved_by_name = apm_private.actor_name(),
        approved_weddings = m.approved_weddings || unseen
    where m.organization_id = maintenance.organization_id and m.id = maintenance.id;
end
$$;
call apm_private.hand_over('public.apm_approve_maintenance(uuid, timestamptz)');
grant execute on function public.apm_approve_maintenance(uuid, timestamptz) to authenticated;

-- The maintenance window that is open for something with these labels; while a wedding is under way, only one that a
-- second person approved for it, and for every other that is.
create function apm_private.maintenance_at(organization_id uuid, labels jsonb, at timestamptz)
returns table (id uuid, until timestamptz, owner text, reason text)
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    select m.id, upper(o.span), m.name, m.reason
    from public.apm_maintenance_windows as m
    cross join lateral apm_private.maintenance_spans(m, maintenance_at.at, maintenance_at.at) as o
    where m.organization_id = maintenance_at.organization_id and m.is_active and o.span @> maintenance_at.at
        and apm_private.do_matchers_match(m.matchers, maintenance_at.labels)
        and not exists (
            select from apm_private.wedding_windows_between(
                array[maintenance_at.organization_id], maintenance_at.at, maintenance_at.at
            ) as w
            where w.phase in ('set_up', 'ceremony', 'reception', 'tear_down', 'day') and w.span @> maintenance_at.at
                and case when m.approved_weddings = '{}' then true
                    else apm_private.wedding_mark(m.organization_id, w.wedding_id, w.wedding_date)
                        <> all (m.approved_weddings) end
        )
    order by upper(o.span) desc
    limit 1
$$;
call apm_private.hand_over('apm_private.maintenance_at(uuid, jsonb, timestamptz)');
grant execute on function apm_private.maintenance_at(uuid, jsonb, timestamptz) to apm_engine;
