-- pre: weddings that several vendors share, where imported ones came from, and who may see whose names.

-- The same for every vendor's part of one wedding, and a name for nothing else. People do not write it: joining takes
-- a code that another part's admin has given away.
alter table public.apm_weddings add column shared_key uuid,
    add constraint apm_weddings_shared_key unique (organization_id, shared_key);
-- apm_shared_weddings: the other vendors' parts of a wedding
create index idx_apm_weddings_shared on public.apm_weddings (shared_key) where shared_key is not null;

-- Of some weddings only owners and admins shall know who marries.
alter table public.apm_wedding_people
    add column visible_to text not null default 'MEMBER' check (visible_to in ('MEMBER', 'ADMIN'));
grant insert (visible_to), update (visible_to) on public.apm_wedding_people to authenticated;
drop policy apm_wedding_people_authenticated_select on public.apm_wedding_people;
create policy apm_wedding_people_authenticated_select on public.apm_wedding_people for select to authenticated
using (
    organization_id = any ((select public.apm_organization_ids_as('MEMBER'))::uuid[])
    and (visible_to = 'MEMBER' or organization_id = any ((select public.apm_organization_ids_as('ADMIN'))::uuid[]))
);

-- Which entry of which calendar a wedding came from, so that a second import finds it again.
create table public.apm_wedding_imports (
    organization_id uuid not null,
    wedding_id uuid not null,
    -- an iCalendar UID, or what tells a line of a table from the others
    external_uid text not null check (length(external_uid) between 1 and 500),
    -- which of a repeating event; '' for one that does not repeat
    recurrence text not null default '' check (length(recurrence) <= 40),
    sequence int not null default 0,
    -- of what was imported: what people have changed here since stays until the entry itself changes
    content_hash bytea not null check (length(content_hash) = 32),
    imported_at timestamptz not null default now(),
    primary key (organization_id, external_uid, recurrence),
    constraint apm_wedding_imports_wedding_key unique (organization_id, wedding_id),
    foreign key (organization_id, wedding_id) references public.apm_weddings (organization_id, id) on delete cascade
);
call apm_private.protect_table('public.apm_wedding_imports');
grant select on public.apm_wedding_imports to authenticated;
call apm_private.grant_writes('public.apm_wedding_imports');
create policy apm_wedding_imports_authenticated_select on public.apm_wedding_imports for select to authenticated
using (organization_id = any ((select public.apm_organization_ids_as('ADMIN'))::uuid[]));
create policy apm_wedding_imports_authenticated_insert on public.apm_wedding_imports for insert to authenticated
with check (organization_id = any ((select public.apm_organization_ids_as('ADMIN'))::uuid[]));
create policy apm_wedding_imports_authenticated_update on public.apm_wedding_imports for update to authenticated
using (organization_id = any ((select public.apm_organization_ids_as('ADMIN'))::uuid[]))
with check (organization_id = any ((select public.apm_organization_ids_as('ADMIN'))::uuid[]));
create policy apm_wedding_imports_authenticated_delete on public.apm_wedding_imports for delete to authenticated
using (organization_id = any ((select public.apm_organization_ids_as('ADMIN'))::uuid[]));

-- A code is random (128 bits), good once and for two weeks; only its hash is kept.
create table apm_private.wedding_codes (
    code_hash bytea primary key check (length(code_hash) = 32),
    organization_id uuid not null references public.organizations (id) on delete cascade,
    shared_key uuid not null,
    expires_at timestamptz not null,
    used_at timestamptz
);
call apm_private.protect_table('apm_private.wedding_codes');
create index idx_apm_wedding_codes_organization on apm_private.wedding_codes (organization_id);

-- Keeps the hash of a code for the other vendors of this wedding and tells until when it is good; null where the
-- caller is no admin of the wedding's organization, or there is no such wedding.
create function public.apm_share_wedding(wedding_id uuid, code_hash bytea, at timestamptz default now())
returns timestamptz
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    mine public.apm_weddings;
begin
    select w.* into mine from public.apm_weddings as w
    where w.id = apm_share_wedding.wedding_id
        and w.organization_id = any (public.apm_organization_ids_as('ADMIN'))
    for update;
    if not found then
        return null;
    end if;
    if mine.shared_key is null then
        mine.shared_key := gen_random_uuid();
        update public.apm_weddings as w set shared_key = mine.shared_key
        where w.organization_id = mine.organization_id and w.id = mine.id;
    end if;
    delete from apm_private.wedding_codes as c
    where c.organization_id = mine.organization_id and c.expires_at < apm_share_wedding.at;
    insert into apm_private.wedding_codes (code_hash, organization_id, shared_key, expires_at)
    values (apm_share_wedding.code_hash, mine.organization_id, mine.shared_key, apm_share_wedding.at + interval '14 days');
    return apm_share_wedding.at + interval '14 days';
end
$$;
call apm_private.hand_over('public.apm_share_wedding(uuid, bytea, timestamptz)');

-- Makes the caller's wedding a part of the one that the code is for. False for a code that is not good (any longer),
-- of the same organization, or a wedding that is a part of another one; null as above.
create function public.apm_join_wedding(wedding_id uuid, code_hash bytea, at timestamptz default now())
returns boolean
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    mine public.apm_weddings;
    key uuid;
begin
    select w.* into mine from public.apm_weddings as w
    where w.id = apm_join_wedding.wedding_id
        and w.organization_id = any (public.apm_organization_ids_as('ADMIN'))
    for update;
    if not found then
        return null;
    end if;
    update apm_private.wedding_codes as c set used_at = apm_join_wedding.at
    where c.code_hash = apm_join_wedding.code_hash and c.used_at is null and c.expires_at > apm_join_wedding.at
        and c.organization_id <> mine.organization_id
        and (mine.shared_key is null or mine.shared_key = c.shared_key)
        and not exists (
            select from public.apm_weddings as w
            where w.organization_id = mine.organization_id and w.shared_key = c.shared_key and w.id <> mine.id
        )
    returning c.shared_key into key;
    if key is null then
        return false;
    end if;
    update public.apm_weddings as w set shared_key = key
    where w.organization_id = mine.organization_id and w.id = mine.id;
    return true;
end
$$;
call apm_private.hand_over('public.apm_join_wedding(uuid, bytea, timestamptz)');

-- Takes the caller's part out of a shared wedding; false where it is in none, null as above.
create function public.apm_leave_wedding(wedding_id uuid) returns boolean
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    mine public.apm_weddings;
begin
    select w.* into mine from public.apm_weddings as w
    where w.id = apm_leave_wedding.wedding_id
        and w.organization_id = any (public.apm_organization_ids_as('ADMIN'))
    for update;
    if not found then
        return null;
    end if;
    update public.apm_weddings as w set shared_key = null
    where w.organization_id = mine.organization_id and w.id = mine.id;
    -- codes that this organization gave away are good no longer
    delete from apm_private.wedding_codes as c
    where c.organization_id = mine.organization_id and c.shared_key = mine.shared_key;
    return mine.shared_key is not null;
end
$$;
call apm_private.hand_over('public.apm_leave_wedding(uuid)');

-- How many vendors a wedding of the caller has beside him, and whether all of them have it on his date. Nothing else of
-- anybody else's part.
create function public.apm_shared_weddings(wedding_ids uuid[])
returns table (wedding_id uuid, other_vendors int, is_date_agreed boolean)
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    select mine.id, count(other.id)::int, coalesce(bool_and(other.wedding_date = mine.wedding_date), true)
    from public.apm_weddings as mine
    left join public.apm_weddings as other
        on other.shared_key = mine.shared_key and other.organization_id <> mine.organization_id
        and other.status <> 'cancelled'
    where mine.id = any (apm_shared_weddings.wedding_ids) and mine.shared_key is not null
        and mine.organization_id = any (public.apm_current_organization_ids())
    group by mine.organization_id, mine.id
$$;
call apm_private.hand_over('public.apm_shared_weddings(uuid[])');

-- Who marries and whom to ring, for an operator of the platform who says why. What he read stands in the
-- organization's audit log in the same transaction. Nothing for anybody else, and without a reason.
create function public.apm_reveal_wedding(wedding_id uuid, reason text)
returns table (
    organization_id uuid, id uuid, wedding_date date, venue_name text, status text, couple_names text, contacts jsonb
)
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    found_in uuid;
begin
    if public.apm_operator_role() is null or length(btrim(coalesce(apm_reveal_wedding.reason, ''))) not between 10 and 500 then
        return;
    end if;
    select w.organization_id into found_in from public.apm_weddings as w where w.id = apm_reveal_wedding.wedding_id;
    if not found then
        return;
    end if;
    insert into public.apm_audit_log (organization_id, actor_id, actor, action, object_type, object_id, new_values)
    values (
        found_in, apm_private.caller_id(), coalesce(apm_private.claims() ->> 'name', 'operator'), 'reveal', 'apm_weddings',
        apm_reveal_wedding.wedding_id::text,
        jsonb_build_object('reason', btrim(apm_reveal_wedding.reason), 'operator_role', public.apm_operator_role())
    );
    return query
    select w.organization_id, w.id, w.wedding_date, w.venue_name, w.status, p.couple_names, coalesce(p.contacts, '[]')
    from public.apm_weddings as w
    left join public.apm_wedding_people as p on p.organization_id = w.organization_id and p.wedding_id = w.id
    where w.organization_id = found_in and w.id = apm_reveal_wedding.wedding_id;
end
$$;
call apm_private.hand_over('public.apm_reveal_wedding(uuid, text)');

create function apm_private.host_locale(organization_id uuid) returns text
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    select coalesce(to_jsonb(o) -> 'settings' ->> 'locale', to_jsonb(o) ->> 'locale')
    from public.organizations as o
    where o.id = host_locale.organization_id
$$;
-- It belongs to whom the other readers of the host's tables belong to.
do $$
begin
    if exists (
        select from pg_proc
        where oid = 'apm_private.host_organizations(uuid[])'::regprocedure and proowner = 'apm_definer'::regrole
    ) then
        call apm_private.hand_over('apm_private.host_locale(uuid)');
    else
        revoke all on function apm_private.host_locale(uuid) from public, anon, authenticated, service_role;
    end if;
    grant execute on function apm_private.host_locale(uuid) to apm_definer, apm_engine;
end
$$;

-- How the caller's organization writes dates and which clock it lives by; null where it does not say.
create function public.apm_calendar_habits(organization_id uuid)
returns table (time_zone text, locale text)
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    select h.time_zone, apm_private.host_locale(h.organization_id)
    from (select apm_private.askable(apm_calendar_habits.organization_id)) as a (ids)
    cross join lateral apm_private.host_organizations(a.ids) as h
    where a.ids is not null
$$;
call apm_private.hand_over('public.apm_calendar_habits(uuid)');

grant execute on function public.apm_share_wedding(uuid, bytea, timestamptz),
    public.apm_join_wedding(uuid, bytea, timestamptz), public.apm_leave_wedding(uuid),
    public.apm_shared_weddings(uuid[]), public.apm_reveal_wedding(uuid, text), public.apm_calendar_habits(uuid)
    to authenticated;
