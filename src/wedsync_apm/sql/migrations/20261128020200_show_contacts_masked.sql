-- pre: APM extended: where contacts are, as whoever looks may see it; and whether a drill waits for an answer by telephone.

-- A number for those who need not know it: its first three signs and its last two digits.
create function apm_private.mask_number(phone text) returns text
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
    select case
        when mask_number.phone ~ '^\+[1-9][0-9]{6,14}$'
            then left(mask_number.phone, 3) || ' … ' || right(mask_number.phone, 2)
        else mask_number.phone
    end
$$;
call apm_private.hand_over('apm_private.mask_number(text)');

-- Where contacts are; of those that the caller may not see, nothing. A telephone number is whole for whose it is and for
-- owners and admins, and masked for others.
create function public.apm_contact_addresses(contact_method_ids uuid[])
returns table (contact_method_id uuid, address text)
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    select c.id, case
        when c.channel not in ('sms', 'voice') or me.is_service or c.organization_id = any (me.administers)
            or c.id = any (me.owns) then c.address
        else apm_private.mask_number(c.address)
    end
    from (
        select apm_private.is_service() as is_service, public.apm_organization_ids_as('MEMBER') as belongs,
            public.apm_organization_ids_as('ADMIN') as administers, public.apm_own_contact_ids() as owns
        offset 0
    ) as me
    join public.apm_contact_methods as c
        on c.id = any (apm_contact_addresses.contact_method_ids) and (me.is_service or c.organization_id = any (me.belongs))
$$;
call apm_private.hand_over('public.apm_contact_addresses(uuid[])');
grant execute on function public.apm_contact_addresses(uuid[]) to authenticated, service_role;

-- Whether somebody at a number is called by a drill under way and has not answered.
create function apm_private.is_drill_waiting(phone text, at timestamptz) returns boolean
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    select exists (
        select from public.apm_contact_methods as m
        join public.apm_drill_calls as c on c.organization_id = m.organization_id and c.contact_method_id = m.id
        join public.apm_drills as d on d.organization_id = c.organization_id and d.id = c.drill_id
        where m.address = is_drill_waiting.phone and m.channel in ('sms', 'voice') and m.disabled_at is null
            and d.ended_at is null and d.ends_at > is_drill_waiting.at
            and c.delivery_id is not null and c.answered_at is null
    )
$$;
call apm_private.hand_over('apm_private.is_drill_waiting(text, timestamptz)');
grant execute on function apm_private.is_drill_waiting(text, timestamptz) to apm_api;
