-- pre: phases are kept as the venue's clock shows them; days of 23 and 25 hours; the host's shared weddings; phases for rules.

-- When a clock of the zone shows a time. What it shows twice is the first showing for a beginning and the last one for
-- an end; what it skips is the moment that the clock would have shown had it not been put forward.
create function apm_private.wall_instant(local timestamp, zone text, is_end boolean) returns timestamptz
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
    -- PostgreSQL's own choice is the last showing
    latest timestamptz := wall_instant.local at time zone wall_instant.zone;
    earliest timestamptz;
begin
    if wall_instant.is_end or not isfinite(latest) then
        return latest;
    end if;
    -- with the offset of six hours before: no clock is put back by more
    earliest := (wall_instant.local
        - (((latest - interval '6 hours') at time zone wall_instant.zone) - ((latest - interval '6 hours') at time zone 'UTC'))
    ) at time zone 'UTC';
    return case when earliest at time zone wall_instant.zone = wall_instant.local then least(earliest, latest) else latest end;
end
$$;

-- From one time of the venue's clock to a later one. Where the clock's own change turns them round, as long as the
-- clock says it lasts.
create function apm_private.wall_span(starts timestamp, ends timestamp, zone text) returns tstzrange
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
    begins timestamptz := apm_private.wall_instant(wall_span.starts, wall_span.zone, false);
    finishes timestamptz := apm_private.wall_instant(wall_span.ends, wall_span.zone, true);
begin
    return tstzrange(begins, case when finishes > begins then finishes else begins + (wall_span.ends - wall_span.starts) end);
end
$$;

-- The zone of a wedding as it is kept: its own, else its organization's; UTC where nobody can read that.
create function apm_private.zone_of_wedding(organization_id uuid, wedding_id uuid) returns text
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    select coalesce((
        select z.name
        from public.apm_weddings as w
        cross join lateral (
            select coalesce(w.time_zone, o.time_zone) as name
            from apm_private.host_organizations(array[w.organization_id]) as o
        ) as z
        where w.organization_id = zone_of_wedding.organization_id and w.id = zone_of_wedding.wedding_id
            and apm_private.is_time_zone(z.name)
    ), 'UTC')
$$;
call apm_private.hand_over('apm_private.zone_of_wedding(uuid, uuid)');
revoke all on function apm_private.wall_instant(timestamp, text, boolean),
    apm_private.wall_span(timestamp, timestamp, text) from public, anon, authenticated, service_role;
grant execute on function apm_private.wall_instant(timestamp, text, boolean),
    apm_private.wall_span(timestamp, timestamp, text) to apm_definer;

-- What the clock at the venue shall show. Spans are worked out from it whenever somebody asks, so that a change of the
-- time zone database moves the instant and never the ceremony; `span` is what it was when the row was written.
alter table public.apm_wedding_windows add column starts_local timestamp, add column ends_local timestamp;

create function apm_private.place_wedding_window() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    zone text := apm_private.zone_of_wedding(new.organization_id, new.wedding_id);
begin
    if new.starts_local is null or new.ends_local is null or (
        tg_op = 'UPDATE' and new.span is distinct from old.span
        and (new.starts_local, new.ends_local) is not distinct from (old.starts_local, old.ends_local)
    ) then
        new.starts_local := lower(new.span) at time zone zone;
        new.ends_local := upper(new.span) at time zone zone;
        -- instants on both sides of a clock that is put back
        if new.ends_local <= new.starts_local then
            new.ends_local := new.starts_local + (upper(new.span) - lower(new.span));
        end if;
    end if;
    if new.starts_local < new.ends_local and isfinite(new.starts_local) and isfinite(new.ends_local) then
        new.span := apm_private.wall_span(new.starts_local, new.ends_local, zone);
    end if;
    return new;
end
$$;
call apm_private.hand_over('apm_private.place_wedding_window()');
create trigger apm_wedding_windows_place before insert or update on public.apm_wedding_windows
for each row execute function apm_private.place_wedding_window();

create function apm_private.place_wedding_windows_anew() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    update public.apm_wedding_windows as p set starts_local = p.starts_local
    where p.organization_id = new.organization_id and p.wedding_id = new.id;
    return null;
end
$$;
call apm_private.hand_over('apm_private.place_wedding_windows_anew()');
create trigger apm_weddings_place after update of time_zone on public.apm_weddings
for each row when (old.time_zone is distinct from new.time_zone)
execute function apm_private.place_wedding_windows_anew();

-- The owner of the tables may be bound by their policies; the definer is not.
create function apm_private.place_all_windows() returns void
language sql security definer
set search_path = pg_catalog, pg_temp
as $$
    update public.apm_wedding_windows set starts_local = null where starts_local is null
$$;
call apm_private.hand_over('apm_private.place_all_windows()');
select apm_private.place_all_windows();
drop function apm_private.place_all_windows();
set constraints all immediate;
alter table public.apm_wedding_windows
    alter column starts_local set not null,
    alter column ends_local set not null,
    add constraint apm_wedding_windows_local_check check (
        starts_local < ends_local and isfinite(starts_local) and isfinite(ends_local)
    );
grant insert (starts_local, ends_local), update (starts_local, ends_local) on public.apm_wedding_windows to authenticated;

-- The weddings that several of the host's vendors share, one row for each vendor's part in one. The key is the same for
-- all of them and says nothing else. A host without these tables has none.
create function apm_private.host_shared_weddings(organization_ids uuid[], earliest date, latest date)
returns table (
    connection_id uuid, organization_id uuid, client_id uuid, shared_key uuid, wedding_date date, venue_name text,
    ceremony_at time, reception_at time
)
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    if not coalesce(
        has_table_privilege(to_regclass('public.vendor_wedding_connections'), 'select')
        and has_table_privilege(to_regclass('public.wedding_core_data'), 'select'), false
    ) then
        return;
    end if;
    return query execute $query$
        select v.id, v.organization_id, (to_jsonb(v) ->> 'client_id')::uuid,
            encode(substr(sha256(convert_to('shared wedding ' || w.id, 'UTF8')), 1, 16), 'hex')::uuid,
            w.wedding_date,
            coalesce(to_jsonb(w) ->> 'ceremony_venue_name', to_jsonb(w) ->> 'ceremony_venue', to_jsonb(w) ->> 'venue_name'),
            substring(to_jsonb(w) ->> 'ceremony_time' from '^(?:[01][0-9]|2[0-3]):[0-5][0-9]')::time,
            substring(to_jsonb(w) ->> 'reception_time' from '^(?:[01][0-9]|2[0-3]):[0-5][0-9]')::time
        from public.vendor_wedding_connections as v
        join public.wedding_core_data as w on w.id = v.wedding_id
        where v.organization_id = any ($1) and w.wedding_date between greatest($2, '1990-01-01') and least($3, '2100-12-31')
            and lower(v.connection_status::text) in ('active', 'completed')
            and lower(coalesce(to_jsonb(w) ->> 'planning_status', '')) not in ('cancelled', 'canceled')
    $query$ using host_shared_weddings.organization_ids, host_shared_weddings.earliest, host_shared_weddings.latest;
end
$$;
-- As with the host's other tables: the definer reads them if it can, else whoever runs this.
do $$
declare
    host regclass[] := array_remove(
        array[to_regclass('public.wedding_core_data'), to_regclass('public.vendor_wedding_connections')], null
    );
    one regclass;
begin
    if coalesce((
        select bool_and(
            has_table_privilege(t.oid, 'select with grant option')
            and (
                not t.relrowsecurity
                or (select rolbypassrls from pg_roles where rolname = 'apm_definer')
                or exists (select from pg_policy as p where p.polrelid = t.oid and 'apm_definer'::regrole = any (p.polroles))
            )
        )
        from pg_class as t where t.oid = any (host)
    ), true) then
        foreach one in array host loop
            execute format('grant select on %s to apm_definer', one);
        end loop;
        call apm_private.hand_over('apm_private.host_shared_weddings(uuid[], date, date)');
    else
        revoke all on function apm_private.host_shared_weddings(uuid[], date, date)
            from public, anon, authenticated, service_role;
    end if;
    grant execute on function apm_private.host_shared_weddings(uuid[], date, date) to apm_definer, apm_engine;
end
$$;

-- Every wedding dated in the range: our rows, booked clients of the host that we have no row for, and the
-- organization's part in weddings that vendors of the host share. A shared wedding and a client of the same date are
-- one wedding; with two dates both count.
drop function apm_private.weddings_between(uuid[], date, date);
create function apm_private.weddings_between(organization_ids uuid[], earliest date, latest date)
returns table (
    organization_id uuid, wedding_id uuid, wedding_date date, time_zone text, is_zone_known boolean,
    has_windows boolean, initials text, venue_name text, ceremony_at time, reception_at time
)
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    with clients as (
        select * from apm_private.host_weddings(
            weddings_between.organization_ids, weddings_between.earliest, weddings_between.latest
        )
    ), shared as (
        select * from apm_private.host_shared_weddings(
            weddings_between.organization_ids, weddings_between.earliest, weddings_between.latest
        )
    ), found as (
        select w.organization_id, w.id as wedding_id, w.wedding_date, w.time_zone,
            exists (
                select from public.apm_wedding_windows as p
                where p.organization_id = w.organization_id and p.wedding_id = w.id
            ) as has_windows,
            w.couple_initials as initials, w.venue_name, null::time as ceremony_at, null::time as reception_at
        from public.apm_weddings as w
        where w.organization_id = any (weddings_between.organization_ids)
            and w.wedding_date between weddings_between.earliest and weddings_between.latest
            and w.status <> 'cancelled'
        union all
        select c.organization_id, c.client_id, c.wedding_date, null, false, c.initials, c.venue_name,
            s.ceremony_at, s.reception_at
        from clients as c
        left join lateral (
            select s.ceremony_at, s.reception_at from shared as s
            where s.organization_id = c.organization_id and s.client_id = c.client_id and s.wedding_date = c.wedding_date
            limit 1
        ) as s on true
        where not exists (
            select from public.apm_weddings as w
            where w.organization_id = c.organization_id and w.client_id = c.client_id
        )
        union all
        select s.organization_id, s.connection_id, s.wedding_date, null, false, '', s.venue_name,
            s.ceremony_at, s.reception_at
        from shared as s
        where not exists (
            select from public.apm_weddings as w
            where w.organization_id = s.organization_id and w.client_id = s.client_id
        ) and not exists (
            select from clients as c
            where c.organization_id = s.organization_id and c.client_id = s.client_id and c.wedding_date = s.wedding_date
        )
    ), placed as (
        select f.*, coalesce(f.time_zone, o.time_zone) as zone
        from found as f
        join apm_private.host_organizations(weddings_between.organization_ids) as o
            on o.organization_id = f.organization_id
    )
    select p.organization_id, p.wedding_id, p.wedding_date,
        case when z.is_known then p.zone else 'UTC' end, z.is_known,
        p.has_windows, p.initials, p.venue_name, p.ceremony_at, p.reception_at
    from placed as p
    cross join lateral (select apm_private.is_time_zone(p.zone) as is_known offset 0) as z
$$;
call apm_private.hand_over('apm_private.weddings_between(uuid[], date, date)');

-- The spans of the weddings dated from some days before the range to some days after it: the phases, each as entered or
-- else planned around those that are (the ceremony at one o'clock where nobody says when), and the calendar day at the
-- venue ('day').
-- Where the zone cannot be read the day is every hour that is that date anywhere.
create function apm_private.wedding_spans_between(
    organization_ids uuid[], earliest timestamptz, latest timestamptz, days_back int, days_ahead int
)
returns table (
    organization_id uuid, wedding_id uuid, wedding_date date, time_zone text, is_zone_known boolean, phase text, span tstzrange
)
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    with weddings as materialized (
        select * from apm_private.weddings_between(
            wedding_spans_between.organization_ids,
            (wedding_spans_between.earliest at time zone 'UTC')::date - wedding_spans_between.days_back,
            (wedding_spans_between.latest at time zone 'UTC')::date + wedding_spans_between.days_ahead
        )
    )
    select w.organization_id, w.wedding_id, w.wedding_date, w.time_zone, w.is_zone_known, d.phase,
        apm_private.wall_span(d.starts, d.ends, w.time_zone)
    from weddings as w
    cross join lateral (
        select
            min(p.starts_local) filter (where p.phase = 'set_up') as set_up, min(p.ends_local) filter (where p.phase = 'set_up') as set_up_ends,
            min(p.starts_local) filter (where p.phase = 'ceremony') as ceremony, min(p.ends_local) filter (where p.phase = 'ceremony') as ceremony_ends,
            min(p.starts_local) filter (where p.phase = 'reception') as reception, min(p.ends_local) filter (where p.phase = 'reception') as reception_ends,
            min(p.starts_local) filter (where p.phase = 'tear_down') as tear_down, min(p.ends_local) filter (where p.phase = 'tear_down') as tear_down_ends
        from public.apm_wedding_windows as p
        where p.organization_id = w.organization_id and p.wedding_id = w.wedding_id
    ) as e
    cross join lateral (
        select coalesce(e.ceremony, w.wedding_date + coalesce(w.ceremony_at, '13:00')) as starts
    ) as c
    cross join lateral (
        select coalesce(
            e.ceremony_ends,
            case when w.reception_at > coalesce(w.ceremony_at, '13:00') then w.wedding_date + w.reception_at end,
            c.starts + interval '3 hours'
        ) as ends
    ) as v
    cross join lateral (
        select coalesce(e.reception, v.ends) as starts,
            coalesce(e.reception_ends, greatest(c.starts::date + 1, v.ends + interval '4 hours')) as ends
    ) as r
    cross join lateral (values
        ('set_up', coalesce(e.set_up, c.starts - interval '5 hours'), coalesce(e.set_up_ends, c.starts), e.set_up is not null),
        ('ceremony', c.starts, v.ends, e.ceremony is not null),
        ('reception', r.starts, r.ends, e.reception is not null),
        ('tear_down', coalesce(e.tear_down, r.ends), coalesce(e.tear_down_ends, r.ends + interval '2 hours'), e.tear_down is not null)
    ) as d (phase, starts, ends, is_entered)
    where w.is_zone_known or d.is_entered
    union all
    select w.organization_id, w.wedding_id, w.wedding_date, w.time_zone, w.is_zone_known, 'day',
        case when w.is_zone_known then
            tstzrange(
                apm_private.wall_instant(w.wedding_date::timestamp, w.time_zone, false),
                apm_private.wall_instant((w.wedding_date + 1)::timestamp, w.time_zone, false)
            )
        else
            tstzrange((w.wedding_date - interval '14 hours') at time zone 'UTC', (w.wedding_date + interval '36 hours') at time zone 'UTC')
        end
    from weddings as w
$$;
call apm_private.hand_over('apm_private.wedding_spans_between(uuid[], timestamptz, timestamptz, int, int)');

-- The windows that overlap the range: phases and days.
create or replace function apm_private.wedding_windows_between(
    organization_ids uuid[], earliest timestamptz, latest timestamptz
)
returns table (
    organization_id uuid, wedding_id uuid, wedding_date date, time_zone text, phase text, span tstzrange, precedence int
)
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    select w.organization_id, w.wedding_id, w.wedding_date, w.time_zone, w.phase, w.span,
        array_position(array['ceremony', 'reception', 'set_up', 'tear_down', 'day'], w.phase)
    from apm_private.wedding_spans_between(
        wedding_windows_between.organization_ids, wedding_windows_between.earliest, wedding_windows_between.latest, 3, 3
    ) as w
    where w.span && tstzrange(wedding_windows_between.earliest, wedding_windows_between.latest, '[]')
$$;

-- The same windows, and how near a wedding is otherwise: the week before it, the evening before it from 18:00, and
-- after its last phase until two days are over; all by the venue's clock. The lowest precedence tells most.
create function apm_private.wedding_phases_between(organization_ids uuid[], earliest timestamptz, latest timestamptz)
returns table (
    organization_id uuid, wedding_id uuid, wedding_date date, time_zone text, phase text, span tstzrange, precedence int
)
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    with windows as materialized (
        select * from apm_private.wedding_spans_between(
            wedding_phases_between.organization_ids, wedding_phases_between.earliest, wedding_phases_between.latest, 6, 8
        )
    ), endings as (
        select w.organization_id, w.wedding_id, max(upper(w.span)) as ended_at
        from windows as w
        group by w.organization_id, w.wedding_id
    ), days as (
        select w.*, lower(w.span) as begins, e.ended_at,
            case when w.is_zone_known
                then apm_private.wall_instant((w.wedding_date - 7)::timestamp, w.time_zone, false)
                else lower(w.span) - interval '7 days' end as week_begins,
            case when w.is_zone_known
                then apm_private.wall_instant(w.wedding_date - interval '6 hours', w.time_zone, false)
                else lower(w.span) - interval '6 hours' end as evening_begins,
            case when w.is_zone_known
                then apm_private.wall_instant((w.wedding_date + 3)::timestamp, w.time_zone, false)
                else e.ended_at + interval '2 days' end as over_at
        from windows as w
        join endings as e on e.organization_id = w.organization_id and e.wedding_id = w.wedding_id
        where w.phase = 'day' and not isempty(w.span)
    ), phases as (
        select w.organization_id, w.wedding_id, w.wedding_date, w.time_zone, w.phase, w.span
        from windows as w
        union all
        select d.organization_id, d.wedding_id, d.wedding_date, d.time_zone, p.phase, tstzrange(p.starts, greatest(p.starts, p.ends))
        from days as d
        cross join lateral (values
            ('days_before', d.week_begins, d.evening_begins),
            ('evening_before', d.evening_begins, d.begins),
            ('after', d.ended_at, d.over_at)
        ) as p (phase, starts, ends)
    )
    select p.organization_id, p.wedding_id, p.wedding_date, p.time_zone, p.phase, p.span,
        array_position(
            array['ceremony', 'reception', 'set_up', 'tear_down', 'day', 'evening_before', 'days_before', 'after'], p.phase
        )
    from phases as p
    where p.span && tstzrange(wedding_phases_between.earliest, wedding_phases_between.latest, '[]')
$$;
call apm_private.hand_over('apm_private.wedding_phases_between(uuid[], timestamptz, timestamptz)');
grant execute on function apm_private.weddings_between(uuid[], date, date),
    apm_private.wedding_phases_between(uuid[], timestamptz, timestamptz) to apm_engine, apm_writer;

-- The phases of one organization, for its people and for services; nothing for an organization that is not the
-- caller's, known or not.
create function public.apm_wedding_phases(organization_id uuid, earliest timestamptz, latest timestamptz)
returns table (
    wedding_id uuid, wedding_date date, time_zone text, phase text, span tstzrange, precedence int
)
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    select p.wedding_id, p.wedding_date, p.time_zone, p.phase, p.span, p.precedence
    from (select apm_private.askable(apm_wedding_phases.organization_id)) as a (ids)
    cross join lateral apm_private.wedding_phases_between(
        a.ids, apm_wedding_phases.earliest, apm_wedding_phases.latest
    ) as p
    where a.ids is not null
$$;
call apm_private.hand_over('public.apm_wedding_phases(uuid, timestamptz, timestamptz)');
grant execute on function public.apm_wedding_phases(uuid, timestamptz, timestamptz)
    to authenticated, service_role, apm_engine, apm_definer;

-- The phases of some weddings of the caller as they stand in the calendar, cancelled ones included.
create function public.apm_wedding_windows_of(wedding_ids uuid[])
returns table (wedding_id uuid, windows jsonb)
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    select w.id, jsonb_agg(
        jsonb_build_object(
            'phase', p.phase, 'starts_at', lower(s.span), 'ends_at', upper(s.span),
            'starts_local', p.starts_local, 'ends_local', p.ends_local
        ) order by lower(s.span)
    )
    from public.apm_weddings as w
    join public.apm_wedding_windows as p on p.organization_id = w.organization_id and p.wedding_id = w.id
    cross join lateral (select apm_private.zone_of_wedding(w.organization_id, w.id) as zone offset 0) as z
    cross join lateral (select apm_private.wall_span(p.starts_local, p.ends_local, z.zone) as span offset 0) as s
    where w.id = any (apm_wedding_windows_of.wedding_ids)
        and w.organization_id = any (public.apm_current_organization_ids())
    group by w.organization_id, w.id
$$;
call apm_private.hand_over('public.apm_wedding_windows_of(uuid[])');
grant execute on function public.apm_wedding_windows_of(uuid[]) to authenticated;
