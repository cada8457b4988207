drop function public.apm_preview_maintenance(uuid, jsonb, timestamptz, int);
drop function public.apm_weddings_in_the_way(uuid, timestamptz, timestamptz);
drop function public.apm_matched_now(uuid, jsonb);
