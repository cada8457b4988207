-- name_actor [apm_engine] --
-- What the audit log calls whoever acts on this connection.
select set_config('request.jwt.claims', jsonb_build_object('name', %(name)s::text)::text, false)

-- create_organization [apm_engine] --
-- A new organization; nothing if the id is taken.
insert into public.organizations (id, name, settings)
values (
    coalesce(%(organization_id)s::uuid, gen_random_uuid()),
    %(name)s::text,
    jsonb_strip_nulls(jsonb_build_object(
        'timezone', %(time_zone)s::text, 'vendor_type', %(vendor_type)s::text, 'help_line', %(help_line)s::text
    ))
)
on conflict (id) do nothing
returning id

-- list_organizations [apm_engine] --
-- Every organization with its people and keys, by name.
select
    o.organization_id as id,
    o.name,
    o.time_zone,
    o.vendor_type,
    (
        select count(distinct m.user_id)
        from (
            select p.user_id from public.user_profiles as p where p.organization_id = o.organization_id
            union all
            select a.user_id from public.apm_memberships as a where a.organization_id = o.organization_id
        ) as m
    ) as member_count,
    (
        select count(*) from public.apm_api_keys as k
        where k.organization_id = o.organization_id and k.revoked_at is null
            and (k.expires_at is null or k.expires_at > now())
    ) as key_count,
    h.created_at
from apm_private.host_organizations(null) as o
join public.organizations as h on h.id = o.organization_id
order by o.name, o.organization_id

-- find_organization [apm_engine] --
-- Whether there is one of this id.
select o.organization_id as id, o.name
from apm_private.host_organizations(array[%(organization_id)s::uuid]) as o

-- create_user [apm_engine] --
-- A login; nothing if the address is taken.
insert into apm_private.users (id, email, display_name, password_hash)
values (
    coalesce(%(user_id)s::uuid, gen_random_uuid()), %(email)s::text, %(display_name)s::text, %(password_hash)s::text
)
on conflict (email) do nothing
returning id, email, display_name, token_generation, disabled_at is not null as is_disabled

-- find_user [apm_engine] --
-- A login by its address.
select id, email, display_name, token_generation, disabled_at is not null as is_disabled
from apm_private.users
where email = %(email)s::text

-- set_password [apm_engine] --
-- A new password ends every session that the old one began.
update apm_private.users
set password_hash = %(password_hash)s::text, token_generation = token_generation + 1
where email = %(email)s::text
returning id, email, display_name, token_generation, disabled_at is not null as is_disabled

-- disable_user [apm_engine] --
-- Closes an account and ends its sessions; a second time changes nothing.
update apm_private.users
set
    disabled_at = coalesce(disabled_at, now()),
    token_generation = token_generation + (disabled_at is null)::int
where email = %(email)s::text
returning id, email, display_name, token_generation, disabled_at is not null as is_disabled

-- create_profile [apm_engine] --
-- The first organization of a person stands where the host keeps it.
insert into public.user_profiles (user_id, organization_id, role, first_name, timezone)
values (
    %(user_id)s::uuid, %(organization_id)s::uuid, %(role)s::text, %(display_name)s::text, %(time_zone)s::text
)
on conflict (user_id) do nothing
returning user_id

-- create_membership [apm_engine] --
-- Further ones stand in our own table; the role of one that is there already is set.
insert into public.apm_memberships (organization_id, user_id, role)
values (%(organization_id)s::uuid, %(user_id)s::uuid, %(role)s::text)
on conflict (organization_id, user_id) do update set role = excluded.role
returning user_id

-- create_operator [apm_engine] --
-- Makes a person an operator, or gives an operator another role.
insert into public.apm_operators (user_id, email, role)
values (%(user_id)s::uuid, %(email)s::text, %(role)s::text)
on conflict (user_id) do update set role = excluded.role, disabled_at = null
returning user_id, email, role

-- create_key [apm_engine] --
-- A key for one organization, or with none a platform key.
insert into public.apm_api_keys (organization_id, name, scope, is_platform, key_hash, prefix, expires_at)
values (
    %(organization_id)s::uuid, %(name)s::text, %(scope)s::text, %(organization_id)s::uuid is null,
    %(key_hash)s::bytea, %(prefix)s::text, now() + %(expires_in)s::interval
)
returning id

-- find_key [apm_engine] --
-- A key by what is kept of it, if it still opens something.
select id
from public.apm_api_keys
where key_hash = %(key_hash)s::bytea and revoked_at is null and (expires_at is null or expires_at > now())

-- find_platform [apm_engine] --
-- The organization in which the platform watches itself.
select organization_id
from apm_private.platform

-- set_platform [apm_engine] --
-- Chooses it, once.
insert into apm_private.platform (organization_id)
values (%(organization_id)s::uuid)
on conflict (is_only) do nothing
returning organization_id
