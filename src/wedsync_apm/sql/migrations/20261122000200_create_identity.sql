-- pre: who may see what: users, memberships, operators, keys, the audit log, and the one place that reads them.

-- Standalone sign-in. On Supabase this stays empty: people sign in there.
create table apm_private.users (
    id uuid primary key default gen_random_uuid(),
    email text not null unique check (email = lower(email) and email like '%_@_%' and length(email) <= 320),
    display_name text not null check (length(display_name) between 1 and 200),
    password_hash text not null,
    -- Raised on a new password or a disabled account: tokens that carry an older one are refused.
    token_generation int not null default 1,
    disabled_at timestamptz,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now()
);
call apm_private.protect_table('apm_private.users');

create table apm_private.sign_in_attempts (
    bucket text primary key check (length(bucket) <= 400),
    failures int not null,
    window_started_at timestamptz not null
);
call apm_private.protect_table('apm_private.sign_in_attempts');

-- The organization in which the platform watches itself.
create table apm_private.platform (
    is_only boolean primary key default true check (is_only),
    organization_id uuid not null references public.organizations (id)
);
call apm_private.protect_table('apm_private.platform');

-- The host allows one organization a user; further ones stand here.
create table public.apm_memberships (
    organization_id uuid not null references public.organizations (id) on delete cascade,
    user_id uuid not null,
    role text not null check (role in ('OWNER', 'ADMIN', 'MEMBER', 'VIEWER')),
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    primary key (organization_id, user_id),
    constraint apm_memberships_user_organization_key unique (user_id, organization_id)
);
call apm_private.protect_table('public.apm_memberships');

create table public.apm_operators (
    user_id uuid primary key,
    email text not null,
    role text not null check (role in ('oncall', 'dba', 'auditor')),
    disabled_at timestamptz,
    created_at timestamptz not null default now()
);
call apm_private.protect_table('public.apm_operators');

create table public.apm_api_keys (
    id uuid primary key default gen_random_uuid(),
    -- null: a platform key, which writes for many organizations
    organization_id uuid references public.organizations (id) on delete cascade,
    name text not null check (length(name) between 1 and 200),
    scope text not null check (scope in ('ingest', 'read', 'admin')),
    is_platform boolean not null default false,
    -- SHA-256 of the secret; the secret has 256 random bits, so nothing slower is needed
    key_hash bytea not null unique check (length(key_hash) = 32),
    prefix text not null,
    created_by uuid,
    created_at timestamptz not null default now(),
    expires_at timestamptz,
    last_used_at timestamptz,
    revoked_at timestamptz,
    -- a platform key only takes samples in; it opens no organization's data
    constraint apm_api_keys_platform_ingests check (
        is_platform = (organization_id is null) and (not is_platform or scope = 'ingest')
    )
);
call apm_private.protect_table('public.apm_api_keys');
-- list_api_keys: an organization's keys, newest first
create index idx_apm_api_keys_organization on public.apm_api_keys (organization_id, created_at desc);

-- Append-only. No foreign key to organizations: an erased organization's audit trail stays, without names.
create table public.apm_audit_log (
    id bigint generated always as identity primary key,
    organization_id uuid,
    at timestamptz not null default clock_timestamp(),
    actor_id uuid,
    actor text not null,
    action text not null,
    object_type text not null,
    object_id text,
    old_values jsonb,
    new_values jsonb
);
call apm_private.protect_table('public.apm_audit_log');
revoke update, delete on public.apm_audit_log from apm_engine, apm_definer, service_role;
-- list_audit_log: an organization's log, newest first
create index idx_apm_audit_log_organization_at on public.apm_audit_log (organization_id, at desc);

create function apm_private.write_audit() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    before jsonb := case when tg_op <> 'INSERT' then to_jsonb(old) end;
    after jsonb := case when tg_op <> 'DELETE' then to_jsonb(new) end;
    subject jsonb := coalesce(after, before);
    -- hashes and ciphertexts are no business of a log; bookkeeping alone is no change
    hidden text[] := array['key_hash', 'secret_ciphertext', 'password_hash', 'updated_at', 'last_used_at',
        'last_triggered_at', 'trigger_count', 'last_ok_at'];
begin
    before := before - hidden;
    after := after - hidden;
    if tg_op = 'UPDATE' and before = after then
        return null;
    end if;
    insert into public.apm_audit_log
        (organization_id, actor_id, actor, action, object_type, object_id, old_values, new_values)
    values (
        (subject ->> 'organization_id')::uuid,
        apm_private.caller_id(),
        coalesce(apm_private.claims() ->> 'name', nullif(nullif(current_setting('role', true), 'none'), ''), session_user),
        lower(tg_op),
        tg_table_name,
        coalesce(subject ->> 'id', subject ->> 'user_id'),
        before,
        after
    );
    return null;
end
$$;
call apm_private.hand_over('apm_private.write_audit()');

create trigger apm_api_keys_audit after insert or update or delete on public.apm_api_keys
for each row execute function apm_private.write_audit();
create trigger apm_memberships_audit after insert or update or delete on public.apm_memberships
for each row execute function apm_private.write_audit();
create trigger apm_operators_audit after insert or update or delete on public.apm_operators
for each row execute function apm_private.write_audit();

-- The three functions that read the host's tables. They tolerate columns that a host lacks.
create function apm_private.host_memberships(user_id uuid)
returns table (organization_id uuid, role text)
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    select p.organization_id,
        case when upper(p.role::text) in ('OWNER', 'ADMIN', 'MEMBER', 'VIEWER') then upper(p.role::text) else 'VIEWER' end
    from public.user_profiles as p
    where p.user_id = host_memberships.user_id and p.organization_id is not null
$$;

create function apm_private.host_organizations(organization_ids uuid[])
returns table (organization_id uuid, name text, time_zone text, vendor_type text, help_line text)
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    select o.id, o.name::text,
        coalesce(to_jsonb(o) -> 'settings' ->> 'timezone', to_jsonb(o) ->> 'timezone', 'Europe/London'),
        coalesce(to_jsonb(o) -> 'settings' ->> 'vendor_type', to_jsonb(o) ->> 'industry', 'other'),
        to_jsonb(o) -> 'settings' ->> 'help_line'
    from public.organizations as o
    where host_organizations.organization_ids is null or o.id = any (host_organizations.organization_ids)
$$;

-- Booked and completed weddings of the host's clients; a lead's hoped-for date is none, archived is deleted.
create function apm_private.host_weddings(organization_ids uuid[], earliest date, latest date)
returns table (client_id uuid, organization_id uuid, wedding_date date, venue_name text, initials text)
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    select c.id, c.organization_id, c.wedding_date, to_jsonb(c) ->> 'venue_name',
        concat_ws(' & ', upper(left(to_jsonb(c) ->> 'first_name', 1)), upper(left(to_jsonb(c) ->> 'partner_first_name', 1)))
    from public.clients as c
    where c.organization_id = any (host_weddings.organization_ids)
        and c.wedding_date between host_weddings.earliest and host_weddings.latest
        and lower(c.status::text) in ('booked', 'completed')
        and to_jsonb(c) ->> 'deleted_at' is null
$$;

-- Policies for the host tables that we made ourselves; a host's own are never touched.
do $$
declare
    ours regclass;
begin
    foreach ours in array array['public.organizations', 'public.user_profiles', 'public.clients']::regclass[]
    loop
        if obj_description(ours, 'pg_class') = 'made by wedsync-apm: standalone host table' then
            -- A profile leaves its organization when that is deleted.
            call apm_private.protect_table(ours, keeps_tenant => ours <> 'public.user_profiles'::regclass);
        end if;
    end loop;
end
$$;

-- They belong to apm_definer where it can read the host's tables, else to whoever runs this, if he can. A reader
-- that RLS binds would see nobody's memberships, and lock everybody out without a word.
do $$
declare
    host regclass[] := array['public.organizations', 'public.user_profiles', 'public.clients'];
    definer_reads boolean := (
        select bool_and(
            has_table_privilege(t.oid, 'select with grant option')
            and (
                not t.relrowsecurity
                or (select rolbypassrls from pg_roles where rolname = 'apm_definer')
                or exists (select from pg_policy as p where p.polrelid = t.oid and 'apm_definer'::regrole = any (p.polroles))
            )
        )
        from pg_class as t where t.oid = any (host)
    );
    unreadable text := (
        select string_agg(t.oid::regclass::text, ', ') from pg_class as t
        where t.oid = any (host) and (not has_table_privilege(t.oid, 'select') or row_security_active(t.oid))
    );
    reader regprocedure;
begin
    if definer_reads then
        grant select on public.organizations, public.user_profiles, public.clients to apm_definer;
    elsif unreadable is not null then
        raise exception 'neither apm_definer nor % can read all rows of %', current_user, unreadable
            using errcode = 'AP005',
                hint = 'Let a superuser run "alter role apm_definer bypassrls", or migrate as the owner of these tables.';
    end if;
    foreach reader in array array[
        'apm_private.host_memberships(uuid)',
        'apm_private.host_organizations(uuid[])',
        'apm_private.host_weddings(uuid[], date, date)'
    ]::regprocedure[]
    loop
        if definer_reads then
            call apm_private.hand_over(reader);
        else
            execute format('revoke all on function %s from public, anon, authenticated, service_role', reader);
        end if;
        execute format('grant execute on function %s to apm_definer, apm_engine', reader);
    end loop;
end
$$;

-- Every way to belong to an organization, in one place: the host's profile, our memberships, a key that is
-- still valid (it acts as VIEWER or ADMIN), and an operator's seat in the platform's own organization.
create function apm_private.caller_memberships()
returns table (organization_id uuid, role text)
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    with caller as (
        -- A key and a person are never the same, even if their ids were.
        select apm_private.caller_id() as id,
            coalesce(apm_private.claims() ->> 'kind', 'user') = 'key' as is_key
    )
    select h.organization_id, h.role
    from caller
    cross join lateral apm_private.host_memberships(caller.id) as h
    where not caller.is_key
    union all
    select m.organization_id, m.role
    from caller
    join public.apm_memberships as m on m.user_id = caller.id
    where not caller.is_key
    union all
    select k.organization_id, case k.scope when 'admin' then 'ADMIN' else 'VIEWER' end
    from caller
    join public.apm_api_keys as k on k.id = caller.id
    where caller.is_key and not k.is_platform and k.scope in ('read', 'admin')
        and k.revoked_at is null and (k.expires_at is null or k.expires_at > now())
    union all
    select p.organization_id, case o.role when 'auditor' then 'VIEWER' else 'ADMIN' end
    from caller
    join public.apm_operators as o on o.user_id = caller.id
    cross join apm_private.platform as p
    where not caller.is_key and o.disabled_at is null
$$;
call apm_private.hand_over('apm_private.caller_memberships()');

create function public.apm_current_organization_ids() returns uuid[]
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    select coalesce(array_agg(distinct m.organization_id), '{}') from apm_private.caller_memberships() as m
$$;
call apm_private.hand_over('public.apm_current_organization_ids()');

-- The organizations in which the caller has at least this role.
create function public.apm_organization_ids_as(minimum_role text) returns uuid[]
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    select coalesce(array_agg(distinct m.organization_id), '{}')
    from apm_private.caller_memberships() as m
    where array_position(array['VIEWER', 'MEMBER', 'ADMIN', 'OWNER'], m.role)
        >= array_position(array['VIEWER', 'MEMBER', 'ADMIN', 'OWNER'], apm_organization_ids_as.minimum_role)
$$;
call apm_private.hand_over('public.apm_organization_ids_as(text)');

-- The caller's strongest role there, or null: the same null for another's organization and for none.
create function public.apm_role_in(organization_id uuid) returns text
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    select m.role
    from apm_private.caller_memberships() as m
    where m.organization_id = apm_role_in.organization_id
    order by array_position(array['VIEWER', 'MEMBER', 'ADMIN', 'OWNER'], m.role) desc
    limit 1
$$;
call apm_private.hand_over('public.apm_role_in(uuid)');

create function public.apm_operator_role() returns text
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    select o.role from public.apm_operators as o
    where o.user_id = apm_private.caller_id() and o.disabled_at is null
        and coalesce(apm_private.claims() ->> 'kind', 'user') <> 'key'
$$;
call apm_private.hand_over('public.apm_operator_role()');

grant execute on function public.apm_current_organization_ids(), public.apm_organization_ids_as(text),
    public.apm_role_in(uuid), public.apm_operator_role()
    to authenticated, service_role, apm_engine, apm_definer;

-- The organizations that the caller belongs to, with what the pages need of each.
create function public.apm_my_organizations()
returns table (organization_id uuid, name text, time_zone text, vendor_type text, help_line text, role text)
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    select o.organization_id, o.name, o.time_zone, o.vendor_type, o.help_line, public.apm_role_in(o.organization_id)
    from apm_private.host_organizations(public.apm_current_organization_ids()) as o
    order by o.name
$$;
call apm_private.hand_over('public.apm_my_organizations()');
grant execute on function public.apm_my_organizations() to authenticated;

-- Before there is a caller: sign-in and keys. For the API's own login alone, never for the roles it becomes.
create function apm_private.find_login(email text)
returns table (user_id uuid, display_name text, password_hash text, token_generation int, is_disabled boolean)
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    select u.id, u.display_name, u.password_hash, u.token_generation, u.disabled_at is not null
    from apm_private.users as u where u.email = lower(find_login.email)
$$;

-- False when one of our own tokens is no longer good: another generation, a disabled account, or nobody we know.
create function apm_private.is_token_current(user_id uuid, token_generation int) returns boolean
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    select coalesce(
        (select u.disabled_at is null and u.token_generation = is_token_current.token_generation
            from apm_private.users as u where u.id = is_token_current.user_id),
        false
    )
$$;

create function apm_private.find_api_key(key_hash bytea)
returns table (id uuid, organization_id uuid, name text, scope text, is_platform boolean)
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    select k.id, k.organization_id, k.name, k.scope, k.is_platform
    from public.apm_api_keys as k
    where k.key_hash = find_api_key.key_hash
        and k.revoked_at is null and (k.expires_at is null or k.expires_at > now())
$$;

create function apm_private.touch_api_key(id uuid) returns void
language sql security definer
set search_path = pg_catalog, pg_temp
as $$
    update public.apm_api_keys as k set last_used_at = now()
    where k.id = touch_api_key.id and (k.last_used_at is null or k.last_used_at < now() - interval '1 minute')
$$;

-- Counts a failed sign-in; returns the seconds to wait (0: none) for a bucket with that many in a minute.
create function apm_private.count_sign_in_failure(bucket text, at timestamptz, most int) returns int
language sql security definer
set search_path = pg_catalog, pg_temp
as $$
    insert into apm_private.sign_in_attempts as a (bucket, failures, window_started_at)
    values (count_sign_in_failure.bucket, 1, count_sign_in_failure.at)
    on conflict (bucket) do update set
        failures = case when a.window_started_at > excluded.window_started_at - interval '1 minute' then a.failures + 1 else 1 end,
        window_started_at = case when a.window_started_at > excluded.window_started_at - interval '1 minute'
            then a.window_started_at else excluded.window_started_at end
    returning case when failures >= count_sign_in_failure.most
        then greatest(1, ceil(extract(epoch from window_started_at + interval '1 minute' - count_sign_in_failure.at)))::int
        else 0 end
$$;

create function apm_private.sign_in_wait(bucket text, at timestamptz, most int) returns int
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    select coalesce((
        select greatest(1, ceil(extract(epoch from a.window_started_at + interval '1 minute' - sign_in_wait.at)))::int
        from apm_private.sign_in_attempts as a
        where a.bucket = sign_in_wait.bucket and a.failures >= sign_in_wait.most
            and a.window_started_at > sign_in_wait.at - interval '1 minute'
    ), 0)
$$;

call apm_private.hand_over('apm_private.find_login(text)');
call apm_private.hand_over('apm_private.is_token_current(uuid, int)');
call apm_private.hand_over('apm_private.find_api_key(bytea)');
call apm_private.hand_over('apm_private.touch_api_key(uuid)');
call apm_private.hand_over('apm_private.count_sign_in_failure(text, timestamptz, int)');
call apm_private.hand_over('apm_private.sign_in_wait(text, timestamptz, int)');
grant execute on function apm_private.find_login(text), apm_private.is_token_current(uuid, int),
    apm_private.find_api_key(bytea), apm_private.touch_api_key(uuid),
    apm_private.count_sign_in_failure(text, timestamptz, int), apm_private.sign_in_wait(text, timestamptz, int)
    to apm_api;

-- Members see who else is there; owners and admins change it.
grant select on public.apm_memberships to authenticated;
call apm_private.grant_writes('public.apm_memberships');
create policy apm_memberships_authenticated_select on public.apm_memberships for select to authenticated
using (organization_id = any ((select public.apm_current_organization_ids())::uuid[]));
create policy apm_memberships_authenticated_insert on public.apm_memberships for insert to authenticated
with check (
    organization_id = any ((select public.apm_organization_ids_as('ADMIN'))::uuid[])
    and (role <> 'OWNER' or organization_id = any ((select public.apm_organization_ids_as('OWNER'))::uuid[]))
);
create policy apm_memberships_authenticated_update on public.apm_memberships for update to authenticated
using (
    organization_id = any ((select public.apm_organization_ids_as('ADMIN'))::uuid[])
    and (role <> 'OWNER' or organization_id = any ((select public.apm_organization_ids_as('OWNER'))::uuid[]))
)
with check (
    organization_id = any ((select public.apm_organization_ids_as('ADMIN'))::uuid[])
    and (role <> 'OWNER' or organization_id = any ((select public.apm_organization_ids_as('OWNER'))::uuid[]))
);
create policy apm_memberships_authenticated_delete on public.apm_memberships for delete to authenticated
using (
    organization_id = any ((select public.apm_organization_ids_as('ADMIN'))::uuid[])
    and (role <> 'OWNER' or organization_id = any ((select public.apm_organization_ids_as('OWNER'))::uuid[]))
);

grant select on public.apm_operators to authenticated;
create policy apm_operators_authenticated_select on public.apm_operators for select to authenticated
using ((select public.apm_operator_role()) is not null);

-- The hash is not readable; it is written once, with the row. The id is not chosen: it becomes the caller's id of
-- whoever presents the key, and must never be a person's.
grant select (id, organization_id, name, scope, is_platform, prefix, created_by, created_at, expires_at,
    last_used_at, revoked_at) on public.apm_api_keys to authenticated;
grant insert (organization_id, name, scope, key_hash, prefix, created_by, expires_at)
    on public.apm_api_keys to authenticated;
grant update (name, revoked_at) on public.apm_api_keys to authenticated;
create policy apm_api_keys_authenticated_select on public.apm_api_keys for select to authenticated
using (organization_id = any ((select public.apm_organization_ids_as('ADMIN'))::uuid[]));
create policy apm_api_keys_authenticated_insert on public.apm_api_keys for insert to authenticated
with check (organization_id = any ((select public.apm_organization_ids_as('ADMIN'))::uuid[]));
-- revoked is for good
create policy apm_api_keys_authenticated_update on public.apm_api_keys for update to authenticated
using (organization_id = any ((select public.apm_organization_ids_as('ADMIN'))::uuid[]) and revoked_at is null)
with check (organization_id = any ((select public.apm_organization_ids_as('ADMIN'))::uuid[]));

grant select on public.apm_audit_log to authenticated;
create policy apm_audit_log_authenticated_select on public.apm_audit_log for select to authenticated
using (organization_id = any ((select public.apm_organization_ids_as('ADMIN'))::uuid[]));

do $$
begin
    if obj_description('public.organizations'::regclass, 'pg_class') = 'made by wedsync-apm: standalone host table' then
        grant select on public.organizations to authenticated;
        create policy organizations_authenticated_select on public.organizations for select to authenticated
        using (id = any ((select public.apm_current_organization_ids())::uuid[]));
    end if;
    if obj_description('public.user_profiles'::regclass, 'pg_class') = 'made by wedsync-apm: standalone host table' then
        grant select on public.user_profiles to authenticated;
        create policy user_profiles_authenticated_select on public.user_profiles for select to authenticated
        using (organization_id = any ((select public.apm_current_organization_ids())::uuid[]));
    end if;
    -- Names and contacts: not for a VIEWER.
    if obj_description('public.clients'::regclass, 'pg_class') = 'made by wedsync-apm: standalone host table' then
        grant select on public.clients to authenticated;
        call apm_private.grant_writes('public.clients');
        create policy clients_authenticated_select on public.clients for select to authenticated
        using (organization_id = any ((select public.apm_organization_ids_as('MEMBER'))::uuid[]));
        create policy clients_authenticated_insert on public.clients for insert to authenticated
        with check (organization_id = any ((select public.apm_organization_ids_as('ADMIN'))::uuid[]));
        create policy clients_authenticated_update on public.clients for update to authenticated
        using (organization_id = any ((select public.apm_organization_ids_as('ADMIN'))::uuid[]))
        with check (organization_id = any ((select public.apm_organization_ids_as('ADMIN'))::uuid[]));
        create policy clients_authenticated_delete on public.clients for delete to authenticated
        using (organization_id = any ((select public.apm_organization_ids_as('ADMIN'))::uuid[]));
    end if;
end
$$;
