drop function apm_private.join_weddings(timestamptz, int, interval);
drop function apm_private.shared_key_of(uuid, uuid, date);
drop table public.apm_incident_parts;
