drop function apm_private.hear_drill(uuid, uuid, timestamptz);
drop function apm_private.hear_acknowledgement(uuid, uuid, int, text, text, timestamptz, timestamptz);
drop function apm_private.find_callback_contact(uuid);
drop trigger apm_incidents_tell_followers on public.apm_incidents;
drop function apm_private.tell_followers();

delete from public.apm_contact_methods where channel = 'push';
alter table public.apm_contact_methods drop constraint apm_contact_methods_address;
alter table public.apm_contact_methods add constraint apm_contact_methods_address check (
    (channel = 'email' and address ~ '^[^@\s]+@[^@\s]+$')
    or (channel in ('slack', 'webhook') and secret_ciphertext is not null)
    or (channel = 'voice' and address ~ '^\+[1-9][0-9]{6,14}$')
    or channel in ('sms', 'pagerduty')
);
