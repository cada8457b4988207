-- pre: a wedding that stands only among those that vendors of the host share is found for its readiness, too.

create or replace function apm_private.find_wedding_to_prepare(wedding_id uuid)
returns table (organization_id uuid, wedding_date date)
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    with asked as (
        select case when public.apm_operator_role() is not null
            then array(select o.organization_id from apm_private.host_organizations(null) as o)
            else public.apm_current_organization_ids() end as ids
    ), found as (
        select w.organization_id, w.wedding_date from public.apm_weddings as w
        where w.id = find_wedding_to_prepare.wedding_id and w.status <> 'cancelled'
            and w.organization_id = any (array(select unnest(a.ids) from asked as a))
        union all
        select h.organization_id, h.wedding_date
        from asked as a
        cross join lateral apm_private.host_weddings(a.ids, '-infinity', 'infinity') as h
        where h.client_id = find_wedding_to_prepare.wedding_id
        union all
        select s.organization_id, s.wedding_date
        from asked as a
        cross join lateral apm_private.host_shared_weddings(a.ids, '-infinity', 'infinity') as s
        where s.connection_id = find_wedding_to_prepare.wedding_id
    )
    select f.organization_id, f.wedding_date from found as f limit 1
$$;
