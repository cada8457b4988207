drop function apm_private.shared_weddings_between(uuid[], date, date);
create or replace function apm_private.weddings_between(organization_ids uuid[], earliest date, latest date)
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
