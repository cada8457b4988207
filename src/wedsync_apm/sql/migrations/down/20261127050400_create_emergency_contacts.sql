create or replace function apm_private.rung_receivers(organization_id uuid, rung jsonb, at timestamptz)
returns table (
    contact_method_id uuid, channel public.notification_channel, name text, address text, via text, is_verified boolean
)
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    with own as materialized (
        select c.contact_method_id, c.via
        from apm_private.rung_contacts(
            rung_receivers.organization_id, rung_receivers.rung, rung_receivers.at
        ) as c
        where apm_private.is_in_hours(rung_receivers.rung -> 'hours', c.zone, rung_receivers.at)
    ), reached as materialized (
        select m.id, m.channel, m.name, m.address, coalesce(o.via, 'everybody') as via, m.verified_at is not null as is_verified
        from public.apm_contact_methods as m
        left join own as o on o.contact_method_id = m.id
        where m.organization_id = rung_receivers.organization_id and m.disabled_at is null
            and (o.contact_method_id is not null or not exists (select from own))
    )
    select r.id, r.channel, r.name, r.address, r.via, r.is_verified from reached as r
    union all
    select null, 'email', u.display_name, u.email, 'owner', false
    from apm_private.users as u
    where u.disabled_at is null and not exists (select from reached) and u.id in (
        select o.user_id from public.apm_memberships as o
        where o.organization_id = rung_receivers.organization_id and o.role = 'OWNER'
        union all
        select k.id from apm_private.users as k
        cross join lateral apm_private.host_memberships(k.id) as h
        where h.organization_id = rung_receivers.organization_id and h.role = 'OWNER'
        union all
        select p.user_id from public.apm_operators as p
        cross join apm_private.platform as f
        where f.organization_id = rung_receivers.organization_id and p.role = 'oncall' and p.disabled_at is null
    )
$$;

drop function apm_private.emergency_contacts(uuid, timestamptz);
drop table public.apm_wedding_emergency_contacts;
