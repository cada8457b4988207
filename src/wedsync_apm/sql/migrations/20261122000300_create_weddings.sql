-- pre: the wedding calendar: weddings and their phases in the venue's time zone, and the functions that answer from it.

create table public.apm_weddings (
    id uuid not null default gen_random_uuid(),
    organization_id uuid not null references public.organizations (id) on delete cascade,
    -- the host's client whose wedding this is; this row then replaces what the client row alone would say
    client_id uuid,
    couple_initials text not null default '' check (length(couple_initials) <= 40),
    venue_name text check (length(venue_name) <= 300),
    wedding_date date not null,
    -- null: the organization's zone
    time_zone text,
    status text not null default 'booked' check (status in ('booked', 'completed', 'cancelled')),
    source text not null default 'manual' check (source in ('manual', 'client', 'import', 'simulated')),
    created_by uuid,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    primary key (organization_id, id),
    constraint apm_weddings_client_key unique (organization_id, client_id)
);
call apm_private.protect_table('public.apm_weddings');
-- list_weddings, and every calendar look-up: an organization's weddings by date
create index idx_apm_weddings_organization_date on public.apm_weddings (organization_id, wedding_date);

-- Names and contacts stand apart, so that a VIEWER reads the wedding without them.
create table public.apm_wedding_people (
    organization_id uuid not null,
    wedding_id uuid not null,
    couple_names text not null check (length(couple_names) <= 400),
    -- [{"name", "role", "phone"}]
    contacts jsonb not null default '[]' check (jsonb_typeof(contacts) = 'array'),
    updated_at timestamptz not null default now(),
    primary key (organization_id, wedding_id),
    foreign key (organization_id, wedding_id) references public.apm_weddings (organization_id, id) on delete cascade
);
call apm_private.protect_table('public.apm_wedding_people');

create table public.apm_wedding_windows (
    organization_id uuid not null,
    wedding_id uuid not null,
    phase text not null check (phase in ('set_up', 'ceremony', 'reception', 'tear_down')),
    span tstzrange not null check (not isempty(span) and lower(span) is not null and upper(span) is not null),
    primary key (organization_id, wedding_id, phase),
    foreign key (organization_id, wedding_id) references public.apm_weddings (organization_id, id) on delete cascade
);
call apm_private.protect_table('public.apm_wedding_windows');

-- The calendar looks three days around an instant: a phase further away from its wedding would never be found.
create function apm_private.check_wedding_windows() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    wedding uuid := case when tg_table_name = 'apm_weddings' then to_jsonb(new) ->> 'id' else to_jsonb(new) ->> 'wedding_id' end;
begin
    if exists (
        select from public.apm_weddings as w
        join public.apm_wedding_windows as p on p.organization_id = w.organization_id and p.wedding_id = w.id
        where w.organization_id = new.organization_id and w.id = wedding
            and not p.span <@ tstzrange(
                (w.wedding_date - 2)::timestamp at time zone 'UTC', (w.wedding_date + 3)::timestamp at time zone 'UTC'
            )
    ) then
        raise exception 'a phase lies within two days of its wedding'
            using errcode = 'check_violation', constraint = 'apm_wedding_windows_near', table = 'apm_wedding_windows';
    end if;
    return null;
end
$$;
call apm_private.hand_over('apm_private.check_wedding_windows()');
-- deferred: the date and the phases of a postponed wedding change one after the other
create constraint trigger apm_weddings_windows_near after update of wedding_date on public.apm_weddings
deferrable initially deferred for each row execute function apm_private.check_wedding_windows();
create constraint trigger apm_wedding_windows_near after insert or update on public.apm_wedding_windows
deferrable initially deferred for each row execute function apm_private.check_wedding_windows();

create trigger apm_weddings_audit after insert or update or delete on public.apm_weddings
for each row execute function apm_private.write_audit();

grant select on public.apm_weddings, public.apm_wedding_people, public.apm_wedding_windows to authenticated;
call apm_private.grant_writes('public.apm_weddings');
call apm_private.grant_writes('public.apm_wedding_people');
call apm_private.grant_writes('public.apm_wedding_windows');

create policy apm_weddings_authenticated_select on public.apm_weddings for select to authenticated
using (organization_id = any ((select public.apm_current_organization_ids())::uuid[]));
create policy apm_weddings_authenticated_insert on public.apm_weddings for insert to authenticated
with check (organization_id = any ((select public.apm_organization_ids_as('ADMIN'))::uuid[]));
create policy apm_weddings_authenticated_update on public.apm_weddings for update to authenticated
using (organization_id = any ((select public.apm_organization_ids_as('ADMIN'))::uuid[]))
with check (organization_id = any ((select public.apm_organization_ids_as('ADMIN'))::uuid[]));
create policy apm_weddings_authenticated_delete on public.apm_weddings for delete to authenticated
using (organization_id = any ((select public.apm_organization_ids_as('ADMIN'))::uuid[]));

create policy apm_wedding_people_authenticated_select on public.apm_wedding_people for select to authenticated
using (organization_id = any ((select public.apm_organization_ids_as('MEMBER'))::uuid[]));
create policy apm_wedding_people_authenticated_insert on public.apm_wedding_people for insert to authenticated
with check (organization_id = any ((select public.apm_organization_ids_as('ADMIN'))::uuid[]));
create policy apm_wedding_people_authenticated_update on public.apm_wedding_people for update to authenticated
using (organization_id = any ((select public.apm_organization_ids_as('ADMIN'))::uuid[]))
with check (organization_id = any ((select public.apm_organization_ids_as('ADMIN'))::uuid[]));
create policy apm_wedding_people_authenticated_delete on public.apm_wedding_people for delete to authenticated
using (organization_id = any ((select public.apm_organization_ids_as('ADMIN'))::uuid[]));

create policy apm_wedding_windows_authenticated_select on public.apm_wedding_windows for select to authenticated
using (organization_id = any ((select public.apm_current_organization_ids())::uuid[]));
create policy apm_wedding_windows_authenticated_insert on public.apm_wedding_windows for insert to authenticated
with check (organization_id = any ((select public.apm_organization_ids_as('ADMIN'))::uuid[]));
create policy apm_wedding_windows_authenticated_update on public.apm_wedding_windows for update to authenticated
using (organization_id = any ((select public.apm_organization_ids_as('ADMIN'))::uuid[]))
with check (organization_id = any ((select public.apm_organization_ids_as('ADMIN'))::uuid[]));
create policy apm_wedding_windows_authenticated_delete on public.apm_wedding_windows for delete to authenticated
using (organization_id = any ((select public.apm_organization_ids_as('ADMIN'))::uuid[]));

-- pg_timezone_names reads the disk at each use; asking for the time there is cheaper. But PostgreSQL takes any word
-- and number ("Atlantis5") for a zone of its own making, so names with a digit are looked up.
create function apm_private.is_time_zone(name text) returns boolean
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
    if is_time_zone.name is null or is_time_zone.name = '' then
        return false;
    end if;
    if is_time_zone.name ~ '[0-9]' then
        return exists (select from pg_catalog.pg_timezone_names as z where lower(z.name) = lower(is_time_zone.name));
    end if;
    perform now() at time zone is_time_zone.name;
    return true;
exception when invalid_parameter_value then
    return false;
end
$$;
revoke all on function apm_private.is_time_zone(text) from public, anon, authenticated, service_role;
grant execute on function apm_private.is_time_zone(text) to apm_definer;

-- Every wedding dated in the range: our rows, and booked clients of the host that we have no row for.
create function apm_private.weddings_between(organization_ids uuid[], earliest date, latest date)
returns table (
    organization_id uuid, wedding_id uuid, wedding_date date, time_zone text, is_zone_known boolean,
    has_windows boolean, initials text, venue_name text
)
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    with found as (
        select w.organization_id, w.id as wedding_id, w.wedding_date, w.time_zone,
            exists (
                select from public.apm_wedding_windows as p
                where p.organization_id = w.organization_id and p.wedding_id = w.id
            ) as has_windows,
            w.couple_initials as initials, w.venue_name
        from public.apm_weddings as w
        where w.organization_id = any (weddings_between.organization_ids)
            and w.wedding_date between weddings_between.earliest and weddings_between.latest
            and w.status <> 'cancelled'
        union all
        select c.organization_id, c.client_id, c.wedding_date, null, false, c.initials, c.venue_name
        from apm_private.host_weddings(
            weddings_between.organization_ids, weddings_between.earliest, weddings_between.latest
        ) as c
        where not exists (
            select from public.apm_weddings as w
            where w.organization_id = c.organization_id and w.client_id = c.client_id
        )
    ), placed as (
        select f.*, coalesce(f.time_zone, o.time_zone) as zone
        from found as f
        join apm_private.host_organizations(weddings_between.organization_ids) as o
            on o.organization_id = f.organization_id
    )
    select p.organization_id, p.wedding_id, p.wedding_date,
        case when apm_private.is_time_zone(p.zone) then p.zone else 'UTC' end,
        apm_private.is_time_zone(p.zone),
        p.has_windows, p.initials, p.venue_name
    from placed as p
$$;
call apm_private.hand_over('apm_private.weddings_between(uuid[], date, date)');

-- The windows that overlap the range: the phases, as entered or by default, and the whole calendar day at the
-- venue around them ('day'). Where the zone cannot be read the day is every hour that is that date anywhere.
create function apm_private.wedding_windows_between(organization_ids uuid[], earliest timestamptz, latest timestamptz)
returns table (
    organization_id uuid, wedding_id uuid, wedding_date date, time_zone text, phase text, span tstzrange, precedence int
)
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    with weddings as (
        select * from apm_private.weddings_between(
            wedding_windows_between.organization_ids,
            (wedding_windows_between.earliest at time zone 'UTC')::date - 3,
            (wedding_windows_between.latest at time zone 'UTC')::date + 3
        )
    ), windows as (
        select w.organization_id, w.wedding_id, w.wedding_date, w.time_zone, p.phase, p.span
        from weddings as w
        join public.apm_wedding_windows as p
            on p.organization_id = w.organization_id and p.wedding_id = w.wedding_id
        union all
        select w.organization_id, w.wedding_id, w.wedding_date, w.time_zone, d.phase,
            tstzrange((w.wedding_date + d.starts) at time zone w.time_zone, (w.wedding_date + d.ends) at time zone w.time_zone)
        from weddings as w
        cross join (values
            ('set_up', interval '8 hours', interval '13 hours'),
            ('ceremony', interval '13 hours', interval '16 hours'),
            ('reception', interval '16 hours', interval '24 hours'),
            ('tear_down', interval '24 hours', interval '26 hours')
        ) as d (phase, starts, ends)
        where not w.has_windows and w.is_zone_known
        union all
        select w.organization_id, w.wedding_id, w.wedding_date, w.time_zone, 'day',
            case when w.is_zone_known then
                tstzrange(w.wedding_date::timestamp at time zone w.time_zone, (w.wedding_date + 1)::timestamp at time zone w.time_zone)
            else
                tstzrange((w.wedding_date - interval '14 hours') at time zone 'UTC', (w.wedding_date + interval '36 hours') at time zone 'UTC')
            end
        from weddings as w
    )
    select w.organization_id, w.wedding_id, w.wedding_date, w.time_zone, w.phase, w.span,
        array_position(array['ceremony', 'reception', 'set_up', 'tear_down', 'day'], w.phase)
    from windows as w
    where w.span && tstzrange(wedding_windows_between.earliest, wedding_windows_between.latest, '[]')
$$;
call apm_private.hand_over('apm_private.wedding_windows_between(uuid[], timestamptz, timestamptz)');
grant execute on function apm_private.weddings_between(uuid[], date, date),
    apm_private.wedding_windows_between(uuid[], timestamptz, timestamptz) to apm_engine, apm_writer;

-- The organizations of the argument that the caller may ask about: all for a service, else his own.
create function apm_private.askable(organization_id uuid) returns uuid[]
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    select case
        when apm_private.is_service()
            or askable.organization_id = any (public.apm_current_organization_ids())
        then array[askable.organization_id]
    end
$$;
call apm_private.hand_over('apm_private.askable(uuid)');

-- True on a date on which one of the organization's weddings takes place, in the venue's calendar; without a
-- date, today there. Null for an organization that the caller does not belong to, known or not.
create function public.is_wedding_day(organization_id uuid, check_date date default null) returns boolean
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    select exists (
        select from apm_private.weddings_between(
            a.ids,
            coalesce(is_wedding_day.check_date, (now() at time zone 'UTC')::date) - 1,
            coalesce(is_wedding_day.check_date, (now() at time zone 'UTC')::date) + 1
        ) as w
        where case
            when w.is_zone_known then
                w.wedding_date = coalesce(is_wedding_day.check_date, (now() at time zone w.time_zone)::date)
            -- a zone that nobody can read: rather a day too many than one too few
            else true
        end
    )
    from (select apm_private.askable(is_wedding_day.organization_id)) as a (ids)
    where a.ids is not null
$$;
call apm_private.hand_over('public.is_wedding_day(uuid, date)');

-- The weddings under way at an instant: one row each with its most telling phase, the next milestone first.
create function public.wedding_window_at(organization_id uuid, at timestamptz default now())
returns table (wedding_id uuid, phase text, span tstzrange, time_zone text, minutes_to_next_milestone int)
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    with near as (
        select w.*
        from (select apm_private.askable(wedding_window_at.organization_id)) as a (ids)
        cross join lateral apm_private.wedding_windows_between(
            a.ids, wedding_window_at.at - interval '1 day', wedding_window_at.at + interval '2 days'
        ) as w
        where a.ids is not null
    ), current_window as (
        select distinct on (n.wedding_id) n.*
        from near as n
        where n.span @> wedding_window_at.at
        order by n.wedding_id, n.precedence
    )
    select c.wedding_id, c.phase, c.span, c.time_zone, m.minutes
    from current_window as c
    cross join lateral (
        select ceil(extract(epoch from min(b.milestone) - wedding_window_at.at) / 60)::int
        from near as n
        cross join lateral (values (lower(n.span)), (upper(n.span))) as b (milestone)
        where n.wedding_id = c.wedding_id and n.phase <> 'day' and b.milestone > wedding_window_at.at
    ) as m (minutes)
    order by m.minutes nulls last, c.wedding_id
$$;
call apm_private.hand_over('public.wedding_window_at(uuid, timestamptz)');

grant execute on function public.is_wedding_day(uuid, date), public.wedding_window_at(uuid, timestamptz)
    to authenticated, service_role, apm_engine, apm_definer;

-- What the writer puts on samples that bring no context of their own, the most telling window first.
create function apm_private.wedding_contexts(organization_ids uuid[], "from" timestamptz, "to" timestamptz)
returns table (organization_id uuid, span tstzrange, wedding_context jsonb)
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    select w.organization_id, w.span,
        jsonb_build_object('is_wedding_day', true, 'phase', w.phase, 'wedding_id', w.wedding_id)
    from apm_private.wedding_windows_between(
        wedding_contexts.organization_ids, wedding_contexts."from", wedding_contexts."to"
    ) as w
    order by w.organization_id, w.precedence, lower(w.span)
$$;
call apm_private.hand_over('apm_private.wedding_contexts(uuid[], timestamptz, timestamptz)');
grant execute on function apm_private.wedding_contexts(uuid[], timestamptz, timestamptz) to apm_writer, apm_engine;
