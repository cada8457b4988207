-- Emergency contacts of weddings, as a member.

-- list_emergency_contacts --
-- Those of one wedding in their order, and whether each can be used.
with named as materialized (
    select c.contact_method_id, c.position, m.name, m.channel::text as channel, m.verified_at, m.disabled_at
    from public.apm_wedding_emergency_contacts as c
    join public.apm_contact_methods as m on m.organization_id = c.organization_id and m.id = c.contact_method_id
    where c.organization_id = %(organization_id)s::uuid and c.wedding_id = %(wedding_id)s::uuid
)
select n.contact_method_id, n.name, n.channel, a.address, n.verified_at, n.disabled_at
from named as n
join public.apm_contact_addresses(array(select n.contact_method_id from named as n)) as a
    on a.contact_method_id = n.contact_method_id
order by n.position, n.name, n.contact_method_id

-- clear_emergency_contacts --
-- Those of one wedding go.
delete from public.apm_wedding_emergency_contacts as c
where c.organization_id = %(organization_id)s::uuid and c.wedding_id = %(wedding_id)s::uuid

-- add_emergency_contacts --
-- The organization's own contacts, in the order in which they are named.
insert into public.apm_wedding_emergency_contacts (organization_id, wedding_id, contact_method_id, position)
select m.organization_id, %(wedding_id)s::uuid, m.id, min(n.position)::int
from unnest(%(contact_method_ids)s::uuid[]) with ordinality as n (id, position)
join public.apm_contact_methods as m on m.organization_id = %(organization_id)s::uuid and m.id = n.id
group by m.organization_id, m.id
returning contact_method_id

-- may_change_emergency_contacts --
-- Whether the caller is an owner or admin there.
select %(organization_id)s::uuid = any (public.apm_organization_ids_as('ADMIN')) as may_change
