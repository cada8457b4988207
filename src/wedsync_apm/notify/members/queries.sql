-- Contacts and messages as members see and change them.

-- list_contact_methods --
-- The organizations' contacts, newest first; what is secret of them stays sealed.
select id, organization_id, user_id, name, channel, address, secret_fingerprint, verified_at, last_ok_at, disabled_at,
    disabled_reason, created_at, updated_at
from public.apm_contact_methods
where organization_id = any (%(organization_ids)s::uuid[])
    and (%(before_at)s::timestamptz is null or (created_at, id) < (%(before_at)s, %(before_id)s::uuid))
order by created_at desc, id desc
limit %(limit)s::int

-- find_contact_method --
-- One contact that the caller can see.
select id, organization_id, user_id, name, channel, address, secret_fingerprint, verified_at, last_ok_at, disabled_at,
    disabled_reason, created_at, updated_at
from public.apm_contact_methods
where id = %(id)s::uuid

-- create_contact_method --
-- A new contact; its secret is sealed for the id that it is given here.
insert into public.apm_contact_methods
    (id, organization_id, user_id, name, channel, address, secret_ciphertext, secret_fingerprint)
values (
    %(id)s::uuid, %(organization_id)s::uuid, %(user_id)s::uuid, %(name)s::text,
    %(channel)s::public.notification_channel, %(address)s::text, %(secret_ciphertext)s::bytea,
    %(secret_fingerprint)s::text
)
returning id, organization_id, user_id, name, channel, address, secret_fingerprint, verified_at, last_ok_at,
    disabled_at, disabled_reason, created_at, updated_at

-- update_contact_method --
-- Its name and address; on or off.
update public.apm_contact_methods
set name = %(name)s::text,
    address = %(address)s::text,
    disabled_at = case when %(is_disabled)s::boolean then coalesce(disabled_at, now()) end,
    disabled_reason = case when %(is_disabled)s then coalesce(disabled_reason, 'by a person') end
where id = %(id)s::uuid
returning id, organization_id, user_id, name, channel, address, secret_fingerprint, verified_at, last_ok_at,
    disabled_at, disabled_reason, created_at, updated_at

-- replace_contact_secret --
-- A new secret in place of the old one, which nobody can read here.
update public.apm_contact_methods
set secret_ciphertext = %(secret_ciphertext)s::bytea, secret_fingerprint = %(secret_fingerprint)s::text
where id = %(id)s::uuid

-- delete_contact_method --
-- Gone from every ladder, too.
delete from public.apm_contact_methods
where id = %(id)s::uuid

-- list_deliveries --
-- The messages of the organizations, newest first, of one incident where it is named.
select id, organization_id, incident_id, contact_method_id, channel, kind, reason, recipient, subject, body, state,
    state_reason, due_at, attempt, provider_id, provider_status, created_at, sent_at, delivered_at
from public.apm_deliveries
where organization_id = any (%(organization_ids)s::uuid[])
    and (%(incident_id)s::uuid is null or incident_id = %(incident_id)s)
    and (%(before_at)s::timestamptz is null or (created_at, id) < (%(before_at)s, %(before_id)s::uuid))
order by created_at desc, id desc
limit %(limit)s::int

-- find_delivery --
-- One message.
select id, organization_id, incident_id, contact_method_id, channel, kind, reason, recipient, subject, body, state,
    state_reason, due_at, attempt, provider_id, provider_status, created_at, sent_at, delivered_at
from public.apm_deliveries
where id = %(id)s::uuid
