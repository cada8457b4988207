-- Connected systems as members see and change them; what is secret of them is written and never read here.

-- list_configurations --
-- The organizations' connected systems, newest first.
select id, organization_id, provider, name, config, secret_fingerprint, secret_set_at, wedding_day_alerts_enabled,
    emergency_contact_override, is_active, last_health_check, health_check_status, created_by, created_at, updated_at
from public.apm_configurations
where organization_id = any (%(organization_ids)s::uuid[])
    and (%(before_at)s::timestamptz is null or (created_at, id) < (%(before_at)s, %(before_id)s::uuid))
order by created_at desc, id desc
limit %(limit)s::int

-- find_configuration --
-- One connected system that the caller can see.
select id, organization_id, provider, name, config, secret_fingerprint, secret_set_at, wedding_day_alerts_enabled,
    emergency_contact_override, is_active, last_health_check, health_check_status, created_by, created_at, updated_at
from public.apm_configurations
where id = %(id)s::uuid

-- create_configuration --
-- A newly connected system; its secret is sealed for the id that it is given here.
insert into public.apm_configurations (
    id, organization_id, provider, name, config, secret_ciphertext, secret_fingerprint, secret_set_at,
    wedding_day_alerts_enabled, emergency_contact_override, is_active, created_by
)
values (
    %(id)s::uuid, %(organization_id)s::uuid, %(provider)s::public.apm_provider, %(name)s::text, %(config)s::jsonb,
    %(secret_ciphertext)s::bytea, %(secret_fingerprint)s::text,
    case when %(secret_fingerprint)s is not null then now() end,
    %(wedding_day_alerts_enabled)s::boolean, %(emergency_contact_override)s::jsonb, %(is_active)s::boolean,
    %(created_by)s::uuid
)
returning id, organization_id, provider, name, config, secret_fingerprint, secret_set_at, wedding_day_alerts_enabled,
    emergency_contact_override, is_active, last_health_check, health_check_status, created_by, created_at, updated_at

-- update_configuration --
-- The whole of it as it shall be, but for its secret.
update public.apm_configurations
set name = %(name)s::text,
    config = %(config)s::jsonb,
    wedding_day_alerts_enabled = %(wedding_day_alerts_enabled)s::boolean,
    emergency_contact_override = %(emergency_contact_override)s::jsonb,
    is_active = %(is_active)s::boolean
where id = %(id)s::uuid
returning id, organization_id, provider, name, config, secret_fingerprint, secret_set_at, wedding_day_alerts_enabled,
    emergency_contact_override, is_active, last_health_check, health_check_status, created_by, created_at, updated_at

-- replace_configuration_secret --
-- A new secret in place of the old one, which nobody can read here.
update public.apm_configurations
set secret_ciphertext = %(secret_ciphertext)s::bytea,
    secret_fingerprint = %(secret_fingerprint)s::text,
    secret_set_at = now()
where id = %(id)s::uuid

-- delete_configuration --
-- Disconnects the system and forgets its secret.
delete from public.apm_configurations
where id = %(id)s::uuid
