-- pre: a vendor's own row replaces his part in a shared wedding of the host, and the keys by which parts are known to belong together.

-- As it was, but for the row of ours that names the vendor's part in a shared wedding: it replaces that part, as it
-- replaces a client's row.
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
            where w.organization_id = s.organization_id
                and (w.client_id = s.connection_id or w.client_id = s.client_id)
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

-- The weddings that are parts of a shared one, the host's and those joined by a code. For the engine alone: what fails at
-- several vendors of one wedding is one failure, and none of them learns of another from it.
create function apm_private.shared_weddings_between(organization_ids uuid[], earliest date, latest date)
returns table (organization_id uuid, wedding_id uuid, wedding_date date, shared_key uuid)
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    with hosts as (
        select * from apm_private.host_shared_weddings(
            shared_weddings_between.organization_ids, shared_weddings_between.earliest, shared_weddings_between.latest
        )
    )
    select w.organization_id, w.wedding_id, w.wedding_date, coalesce(o.shared_key, h.shared_key)
    from apm_private.weddings_between(
        shared_weddings_between.organization_ids, shared_weddings_between.earliest, shared_weddings_between.latest
    ) as w
    left join public.apm_weddings as o on o.organization_id = w.organization_id and o.id = w.wedding_id
    left join lateral (
        select h.shared_key from hosts as h
        where h.organization_id = w.organization_id
            and (
                h.connection_id in (w.wedding_id, o.client_id)
                or (h.client_id in (w.wedding_id, o.client_id) and (o.id is not null or h.wedding_date = w.wedding_date))
            )
        order by h.wedding_date = w.wedding_date desc, h.connection_id
        limit 1
    ) as h on true
    where coalesce(o.shared_key, h.shared_key) is not null
$$;
call apm_private.hand_over('apm_private.shared_weddings_between(uuid[], date, date)');
grant execute on function apm_private.shared_weddings_between(uuid[], date, date) to apm_engine;
