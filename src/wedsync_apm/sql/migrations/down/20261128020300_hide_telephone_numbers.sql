drop trigger apm_deliveries_mask on public.apm_deliveries;
drop function apm_private.mask_recipient();
grant select (address) on public.apm_contact_methods to authenticated;
