-- pre: APM extended: a contact is verified by a code that reached it, and another address is verified anew.

alter table public.apm_deliveries drop constraint apm_deliveries_kind_check;
alter table public.apm_deliveries add constraint apm_deliveries_kind_check check (
    kind in ('page', 'update', 'resolved', 'reopened', 'test', 'verify')
);

-- That a contact is verified is found out here and never said by whoever writes it.
revoke insert (verified_at), update (verified_at) on public.apm_contact_methods from authenticated;

-- The codes that were sent: the hash of the last one, made with a key that the database does not have.
create table apm_private.contact_codes (
    organization_id uuid not null,
    contact_method_id uuid not null,
    code_hash bytea not null check (length(code_hash) = 32),
    expires_at timestamptz not null,
    wrong_count int not null default 0,
    -- of the last hour
    sent_at timestamptz[] not null,
    primary key (organization_id, contact_method_id),
    foreign key (organization_id, contact_method_id)
        references public.apm_contact_methods (organization_id, id) on delete cascade
);
call apm_private.protect_table('apm_private.contact_codes');

create function apm_private.unverify_contact() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    new.verified_at := null;
    delete from apm_private.contact_codes as k
    where k.organization_id = new.organization_id and k.contact_method_id = new.id;
    return new;
end
$$;
call apm_private.hand_over('apm_private.unverify_contact()');
create trigger apm_contact_methods_unverify before update of address, secret_ciphertext on public.apm_contact_methods
for each row
when (new.address is distinct from old.address or new.secret_ciphertext is distinct from old.secret_ciphertext)
execute function apm_private.unverify_contact();

-- The contact, locked, for somebody who may decide about it; the same answer for another's and for none.
create function apm_private.lock_contact(contact_method_id uuid) returns public.apm_contact_methods
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    contact public.apm_contact_methods%rowtype;
    standing text;
begin
    select c.* into contact from public.apm_contact_methods as c where c.id = lock_contact.contact_method_id for update;
    standing := public.apm_role_in(contact.organization_id);
    if contact.id is null or standing is null or standing = 'VIEWER' then
        raise exception 'There is no such contact.' using errcode = 'AP404';
    end if;
    if standing not in ('ADMIN', 'OWNER') and contact.id <> all (public.apm_own_contact_ids()) then
        raise exception 'Only an owner or admin, or whose contact it is, may change this.' using errcode = 'AP403';
    end if;
    if contact.disabled_at is not null then
        raise exception 'This contact is switched off.' using errcode = 'AP409', constraint = 'apm_contact_methods_disabled';
    end if;
    return contact;
end
$$;
call apm_private.hand_over('apm_private.lock_contact(uuid)');

-- Puts a message with a code in line, five an hour at most; says until when the code is good.
create function public.apm_start_verification(contact_method_id uuid, delivery_id uuid, code_hash bytea)
returns timestamptz
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    contact public.apm_contact_methods%rowtype := apm_private.lock_contact(apm_start_verification.contact_method_id);
    at timestamptz := clock_timestamp();
    expires timestamptz := at + interval '15 minutes';
    sent timestamptz[] := array(
        select t from apm_private.contact_codes as k cross join unnest(k.sent_at) as t
        where k.organization_id = contact.organization_id and k.contact_method_id = contact.id and t > at - interval '1 hour'
    );
begin
    if cardinality(sent) >= 5 then
        raise exception 'Five codes an hour are enough; use the last one, or wait.' using errcode = 'AP429';
    end if;
    insert into apm_private.contact_codes as k (organization_id, contact_method_id, code_hash, expires_at, sent_at)
    values (contact.organization_id, contact.id, apm_start_verification.code_hash, expires, sent || at)
    on conflict on constraint contact_codes_pkey do update set
        code_hash = excluded.code_hash, expires_at = excluded.expires_at, sent_at = excluded.sent_at, wrong_count = 0;
    insert into public.apm_deliveries (
        id, organization_id, contact_method_id, channel, kind, reason, recipient, idempotency_key, priority, due_at,
        created_at, expires_at
    ) values (
        apm_start_verification.delivery_id, contact.organization_id, contact.id, contact.channel, 'verify', 'verify',
        jsonb_build_object('name', contact.name, 'address', contact.address),
        'verify:' || apm_start_verification.delivery_id, 50, at, at, expires
    );
    return expires;
end
$$;
call apm_private.hand_over('public.apm_start_verification(uuid, uuid, bytea)');

-- Whether that was the code: verified, wrong, expired, used_up (five were wrong), or none. A wrong one counts, so the
-- caller commits; five codes an hour and five tries each leave one in 40,000 an hour to chance.
create function public.apm_verify_contact(contact_method_id uuid, code_hash bytea) returns text
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    contact public.apm_contact_methods%rowtype := apm_private.lock_contact(apm_verify_contact.contact_method_id);
    known apm_private.contact_codes%rowtype;
begin
    select k.* into known from apm_private.contact_codes as k
    where k.organization_id = contact.organization_id and k.contact_method_id = contact.id for update;
    if not found then
        return 'none';
    elsif known.expires_at <= clock_timestamp() then
        return 'expired';
    elsif known.wrong_count >= 5 then
        return 'used_up';
    elsif known.code_hash <> apm_verify_contact.code_hash then
        update apm_private.contact_codes as k set wrong_count = k.wrong_count + 1
        where k.organization_id = contact.organization_id and k.contact_method_id = contact.id;
        return 'wrong';
    end if;
    update apm_private.contact_codes as k set expires_at = clock_timestamp()
    where k.organization_id = contact.organization_id and k.contact_method_id = contact.id;
    update public.apm_contact_methods as c set verified_at = clock_timestamp()
    where c.organization_id = contact.organization_id and c.id = contact.id;
    return 'verified';
end
$$;
call apm_private.hand_over('public.apm_verify_contact(uuid, bytea)');

-- A test message, twelve an hour at most.
create function public.apm_send_test(contact_method_id uuid) returns uuid
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    contact public.apm_contact_methods%rowtype := apm_private.lock_contact(apm_send_test.contact_method_id);
    at timestamptz := clock_timestamp();
    made uuid := gen_random_uuid();
begin
    if (
        select count(*) from public.apm_deliveries as d
        where d.organization_id = contact.organization_id and d.contact_method_id = contact.id and d.kind = 'test'
            and d.created_at > at - interval '1 hour'
    ) >= 12 then
        raise exception 'Twelve tests an hour are enough.' using errcode = 'AP429';
    end if;
    insert into public.apm_deliveries (
        id, organization_id, contact_method_id, channel, kind, reason, recipient, idempotency_key, priority, due_at, created_at
    ) values (
        made, contact.organization_id, contact.id, contact.channel, 'test', 'test',
        jsonb_build_object('name', contact.name, 'address', contact.address), 'test:' || made, 50, at, at
    );
    return made;
end
$$;
call apm_private.hand_over('public.apm_send_test(uuid)');
grant execute on function public.apm_start_verification(uuid, uuid, bytea), public.apm_verify_contact(uuid, bytea),
    public.apm_send_test(uuid) to authenticated;
