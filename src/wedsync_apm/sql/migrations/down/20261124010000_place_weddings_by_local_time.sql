drop function public.apm_wedding_windows_of(uuid[]);
drop function public.apm_wedding_phases(uuid, timestamptz, timestamptz);
drop function apm_private.wedding_phases_between(uuid[], timestamptz, timestamptz);
create or replace function apm_private.wedding_windows_between(organization_ids uuid[], earliest timestamptz, latest timestamptz)
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
drop function apm_private.wedding_spans_between(uuid[], timestamptz, timestamptz, int, int);
drop function apm_private.weddings_between(uuid[], date, date);
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
grant execute on function apm_private.weddings_between(uuid[], date, date) to apm_engine, apm_writer;
drop function apm_private.host_shared_weddings(uuid[], date, date);
drop trigger apm_weddings_place on public.apm_weddings;
drop function apm_private.place_wedding_windows_anew();
drop trigger apm_wedding_windows_place on public.apm_wedding_windows;
drop function apm_private.place_wedding_window();
alter table public.apm_wedding_windows drop column ends_local, drop column starts_local;
drop function apm_private.zone_of_wedding(uuid, uuid);
drop function apm_private.wall_span(timestamp, timestamp, text);
drop function apm_private.wall_instant(timestamp, text, boolean);
