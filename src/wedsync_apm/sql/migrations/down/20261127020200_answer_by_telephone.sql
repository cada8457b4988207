drop function apm_private.stop_contact_of(uuid, text, timestamptz);
drop function apm_private.start_number(text, text);
drop function apm_private.stop_number(text, text, timestamptz);
drop function apm_private.read_call(uuid);
drop function apm_private.list_calls_of_number(text, timestamptz);
drop function apm_private.hear_number(text, text, timestamptz);
drop index public.idx_apm_contact_methods_number;
alter table public.apm_contact_methods drop constraint apm_contact_methods_address;
delete from public.apm_contact_methods where channel = 'voice';
alter table public.apm_contact_methods add constraint apm_contact_methods_address check (
    (channel = 'email' and address ~ '^[^@\s]+@[^@\s]+$')
    or (channel in ('slack', 'webhook') and secret_ciphertext is not null)
    or channel in ('sms', 'pagerduty')
);
