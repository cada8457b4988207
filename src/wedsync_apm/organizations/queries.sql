-- Sign-in, keys and membership. What runs before there is a caller runs as the API's own login.

-- find_login [apm_api] --
-- The account that somebody tries to sign in to.
select user_id, display_name, password_hash, token_generation, is_disabled
from apm_private.find_login(%(email)s::text)

-- find_sign_in_wait [apm_api] --
-- Seconds until this address may try this account again; 0: now.
select apm_private.sign_in_wait(%(bucket)s::text, now(), %(most)s::int) as seconds

-- count_sign_in_failure [apm_api] --
-- A wrong password, counted for an address and account.
select apm_private.count_sign_in_failure(%(bucket)s::text, now(), %(most)s::int) as seconds

-- is_token_current [apm_api] --
-- Whether a token of ours was overtaken by a new password or a disabled account.
select apm_private.is_token_current(%(user_id)s::uuid, %(generation)s::int) as is_current

-- find_api_key [apm_api] --
-- The key behind a hash, unless it was revoked or has expired.
select id, organization_id, name, scope, is_platform
from apm_private.find_api_key(%(key_hash)s::bytea)

-- touch_api_key [apm_api] --
-- That a key was used, at most once a minute.
select apm_private.touch_api_key(%(key_id)s::uuid)

-- find_standing --
-- Where the caller belongs, and whether he is one of the platform's operators.
select
    public.apm_current_organization_ids() as organization_ids,
    public.apm_operator_role() as operator_role

-- find_role --
-- The caller's role in one organization; null: none, or no such organization.
select public.apm_role_in(%(organization_id)s::uuid) as role

-- list_my_organizations --
-- The caller's organizations with what pages show of each.
select organization_id, name, time_zone, vendor_type, help_line, role
from public.apm_my_organizations()

-- list_members --
-- Who belongs to the organizations, by the host's profile or by our memberships.
select m.organization_id, m.user_id, m.role, m.name, m.since
from (
    select p.organization_id, p.user_id, p.role, nullif(concat_ws(' ', p.first_name, p.last_name), '') as name,
        p.created_at as since
    from public.user_profiles as p
    union all
    select a.organization_id, a.user_id, a.role, null, a.created_at
    from public.apm_memberships as a
) as m
where m.organization_id = any (%(organization_ids)s::uuid[])
    and (%(before_at)s::timestamptz is null or (m.since, m.user_id) < (%(before_at)s, %(before_id)s::uuid))
order by m.since desc, m.user_id desc
limit %(limit)s::int

-- list_api_keys --
-- The keys of the organizations, newest first; never what they are.
select id, organization_id, name, scope, prefix, created_by, created_at, expires_at, last_used_at, revoked_at
from public.apm_api_keys
where organization_id = any (%(organization_ids)s::uuid[])
    and (%(before_at)s::timestamptz is null or (created_at, id) < (%(before_at)s, %(before_id)s::uuid))
order by created_at desc, id desc
limit %(limit)s::int

-- create_api_key --
-- A new key; only its hash is kept.
insert into public.apm_api_keys (organization_id, name, scope, key_hash, prefix, created_by, expires_at)
values (
    %(organization_id)s::uuid, %(name)s::text, %(scope)s::text, %(key_hash)s::bytea, %(prefix)s::text,
    %(created_by)s::uuid, %(expires_at)s::timestamptz
)
returning id, organization_id, name, scope, prefix, created_by, created_at, expires_at, last_used_at, revoked_at

-- find_api_key_by_id --
-- One key of the caller's organizations.
select id, organization_id, name, scope, prefix, created_by, created_at, expires_at, last_used_at, revoked_at
from public.apm_api_keys
where id = %(id)s::uuid

-- revoke_api_key --
-- Ends a key; a second time changes nothing.
update public.apm_api_keys
set revoked_at = coalesce(revoked_at, now())
where id = %(id)s::uuid
returning id, organization_id, name, scope, prefix, created_by, created_at, expires_at, last_used_at, revoked_at

-- list_audit_log --
-- What was changed by whom, newest first.
select id, organization_id, at, actor_id, actor, action, object_type, object_id, old_values, new_values
from public.apm_audit_log
where organization_id = any (%(organization_ids)s::uuid[])
    and (%(before_number)s::bigint is null or id < %(before_number)s)
order by id desc
limit %(limit)s::int

-- take_idempotency_lock --
-- One request at a time with this key.
select pg_advisory_xact_lock(hashtextextended(
    'idempotency ' || %(organization_id)s::uuid || %(subject)s::uuid || %(key)s::text, 0
))

-- find_idempotent_answer --
-- What the first request with this key was answered.
select request_hash, response_status, response_body
from public.apm_idempotency_keys
where organization_id = %(organization_id)s::uuid and subject = %(subject)s::uuid and key = %(key)s::text

-- record_idempotent_answer --
-- The answer that a repeat will get.
insert into public.apm_idempotency_keys
    (organization_id, subject, key, request_hash, response_status, response_body)
values (
    %(organization_id)s::uuid, %(subject)s::uuid, %(key)s::text, %(request_hash)s::bytea,
    %(response_status)s::int, %(response_body)s::jsonb
)

-- find_organization_key [apm_api] --
-- The wrapped data key of an organization.
select wrapped_key, master_key_id
from apm_private.find_organization_key(%(organization_id)s::uuid)

-- store_organization_key [apm_api] --
-- Keeps a first data key; gives back the one that counts, which may be another's that came before.
select wrapped_key, master_key_id
from apm_private.store_organization_key(%(organization_id)s::uuid, %(wrapped_key)s::bytea, %(master_key_id)s::text)

-- list_outdated_organization_keys [apm_engine] --
-- Data keys under another master key, locked against a second rotation.
select k.organization_id, k.wrapped_key, k.master_key_id
from apm_private.organization_keys as k
where k.master_key_id <> %(master_key_id)s::text
order by k.organization_id
for update

-- rewrap_organization_key [apm_engine] --
-- The same data key under the present master key.
update apm_private.organization_keys as k set
    wrapped_key = %(wrapped_key)s::bytea,
    master_key_id = %(master_key_id)s::text
where k.organization_id = %(organization_id)s::uuid
