drop function public.apm_rotate_contact_secret(uuid, bytea, text);
