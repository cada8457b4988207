drop function apm_private.is_drill_waiting(text, timestamptz);
drop function public.apm_contact_addresses(uuid[]);
drop function apm_private.mask_number(text);
