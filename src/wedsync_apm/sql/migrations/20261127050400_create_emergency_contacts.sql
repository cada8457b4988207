-- pre: who is called in a wedding's own hours, whatever the ladder says.

create table public.apm_wedding_emergency_contacts (
    organization_id uuid not null,
    -- of the calendar: a wedding entered here, or one of the host's
    wedding_id uuid not null,
    contact_method_id uuid not null,
    position int not null default 1 check (position between 1 and 100),
    primary key (organization_id, wedding_id, contact_method_id),
    foreign key (organization_id, contact_method_id)
        references public.apm_contact_methods (organization_id, id) on delete cascade
);
call apm_private.protect_table('public.apm_wedding_emergency_contacts');
-- the cascade when a contact goes
create index idx_apm_wedding_emergency_contacts_contact
on public.apm_wedding_emergency_contacts (organization_id, contact_method_id);
create trigger apm_wedding_emergency_contacts_audit after insert or update or delete on public.apm_wedding_emergency_contacts
for each row execute function apm_private.write_audit();
grant select on public.apm_wedding_emergency_contacts to authenticated;
call apm_private.grant_writes('public.apm_wedding_emergency_contacts');
create policy apm_wedding_emergency_contacts_authenticated_select on public.apm_wedding_emergency_contacts
for select to authenticated
using (organization_id = any ((select public.apm_organization_ids_as('MEMBER'))::uuid[]));
create policy apm_wedding_emergency_contacts_authenticated_insert on public.apm_wedding_emergency_contacts
for insert to authenticated
with check (organization_id = any ((select public.apm_organization_ids_as('ADMIN'))::uuid[]));
create policy apm_wedding_emergency_contacts_authenticated_update on public.apm_wedding_emergency_contacts
for update to authenticated
using (organization_id = any ((select public.apm_organization_ids_as('ADMIN'))::uuid[]))
with check (organization_id = any ((select public.apm_organization_ids_as('ADMIN'))::uuid[]));
create policy apm_wedding_emergency_contacts_authenticated_delete on public.apm_wedding_emergency_contacts
for delete to authenticated
using (organization_id = any ((select public.apm_organization_ids_as('ADMIN'))::uuid[]));

-- Whom an organization's ladders tell beside their own people at an instant: the emergency contacts of the weddings under
-- way then, and those by which an active provider configuration replaces or adds to them
-- ({"contact_method_ids": [...]}). Nobody outside a wedding's hours.
create function apm_private.emergency_contacts(organization_id uuid, at timestamptz)
returns table (contact_method_id uuid)
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    with here as materialized (
        select distinct w.wedding_id
        from apm_private.wedding_windows_between(
            array[emergency_contacts.organization_id], emergency_contacts.at, emergency_contacts.at
        ) as w
        where w.phase in ('set_up', 'ceremony', 'reception', 'tear_down', 'day') and w.span @> emergency_contacts.at
    ), named as (
        select c.contact_method_id as id
        from here as h
        join public.apm_wedding_emergency_contacts as c
            on c.organization_id = emergency_contacts.organization_id and c.wedding_id = h.wedding_id
        union
        select o.id::uuid
        from public.apm_configurations as f
        cross join lateral jsonb_array_elements_text(
            case when jsonb_typeof(f.emergency_contact_override -> 'contact_method_ids') = 'array'
                then f.emergency_contact_override -> 'contact_method_ids' else '[]' end
        ) as o (id)
        where f.organization_id = emergency_contacts.organization_id and f.is_active and f.wedding_day_alerts_enabled
            and o.id ~ '^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$'
            and exists (select from here)
    )
    select m.id
    from named as n
    join public.apm_contact_methods as m
        on m.organization_id = emergency_contacts.organization_id and m.id = n.id and m.disabled_at is null
$$;
call apm_private.hand_over('apm_private.emergency_contacts(uuid, timestamptz)');
grant execute on function apm_private.emergency_contacts(uuid, timestamptz) to apm_engine;

-- Whom one rung reaches at an instant.
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
            and (
                o.contact_method_id is not null or not exists (select from own)
                -- whom the weddings under way want called, whatever the ladder says
                or m.id in (
                    select e.contact_method_id
                    from apm_private.emergency_contacts(rung_receivers.organization_id, rung_receivers.at) as e
                )
            )
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
