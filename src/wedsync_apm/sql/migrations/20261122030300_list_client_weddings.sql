-- pre: the weddings that stand only in the host's clients, for the people of their organization.

-- The booked clients without a wedding of ours, with the phases that count for them. Initials only: whoever may read
-- names reads them from the host's clients, under the host's own policies. Nothing for an organization that is not
-- the caller's, known or not.
create function public.apm_client_weddings(organization_ids uuid[], earliest date, latest date)
returns table (
    organization_id uuid, client_id uuid, wedding_date date, venue_name text, initials text, windows jsonb
)
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    with asked as (
        select coalesce(array_agg(distinct mine.id), '{}') as ids
        from unnest(apm_client_weddings.organization_ids) as o (id)
        cross join lateral unnest(apm_private.askable(o.id)) as mine (id)
    ), found as (
        select w.*
        from asked as a
        cross join lateral apm_private.weddings_between(
            a.ids, apm_client_weddings.earliest, apm_client_weddings.latest
        ) as w
        where not exists (
            select from public.apm_weddings as ours
            where ours.organization_id = w.organization_id and ours.id = w.wedding_id
        )
    ), phases as (
        select p.organization_id, p.wedding_id,
            jsonb_agg(
                jsonb_build_object('phase', p.phase, 'starts_at', lower(p.span), 'ends_at', upper(p.span))
                order by lower(p.span)
            ) as windows
        from asked as a
        cross join lateral apm_private.wedding_windows_between(
            a.ids,
            (apm_client_weddings.earliest - 2)::timestamp at time zone 'UTC',
            (apm_client_weddings.latest + 3)::timestamp at time zone 'UTC'
        ) as p
        where p.phase <> 'day'
        group by p.organization_id, p.wedding_id
    )
    select f.organization_id, f.wedding_id, f.wedding_date, f.venue_name, f.initials, coalesce(p.windows, '[]')
    from found as f
    left join phases as p on p.organization_id = f.organization_id and p.wedding_id = f.wedding_id
$$;
call apm_private.hand_over('public.apm_client_weddings(uuid[], date, date)');
grant execute on function public.apm_client_weddings(uuid[], date, date) to authenticated, service_role;
