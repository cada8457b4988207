drop function public.apm_send_test(uuid);
drop function public.apm_verify_contact(uuid, bytea);
drop function public.apm_start_verification(uuid, uuid, bytea);
drop function apm_private.lock_contact(uuid);
drop trigger apm_contact_methods_unverify on public.apm_contact_methods;
drop function apm_private.unverify_contact();
drop table apm_private.contact_codes;
grant insert (verified_at), update (verified_at) on public.apm_contact_methods to authenticated;
delete from public.apm_deliveries where kind = 'verify';
alter table public.apm_deliveries drop constraint apm_deliveries_kind_check;
alter table public.apm_deliveries add constraint apm_deliveries_kind_check check (
    kind in ('page', 'update', 'resolved', 'reopened', 'test')
);
