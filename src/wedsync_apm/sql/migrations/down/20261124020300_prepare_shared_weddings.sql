create or replace function apm_private.find_wedding_to_prepare(wedding_id uuid)
returns table (organization_id uuid, wedding_date date)
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    with found as (
        select w.organization_id, w.wedding_date from public.apm_weddings as w
        where w.id = find_wedding_to_prepare.wedding_id and w.status <> 'cancelled'
            and (
                (select public.apm_operator_role()) is not null
                or w.organization_id = any (public.apm_current_organization_ids())
            )
        union all
        select h.organization_id, h.wedding_date
        from apm_private.host_weddings(
            case when public.apm_operator_role() is not null
                then array(select o.organization_id from apm_private.host_organizations(null) as o)
                else public.apm_current_organization_ids() end,
            '-infinity', 'infinity'
        ) as h
        where h.client_id = find_wedding_to_prepare.wedding_id
    )
    select f.organization_id, f.wedding_date from found as f limit 1
$$;
