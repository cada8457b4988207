drop function apm_private.end_incident(uuid, text, text, timestamptz);
drop function apm_private.open_incident(uuid, text, text, public.alert_severity, jsonb, jsonb, timestamptz);
drop function apm_private.weddings_under_way(uuid, timestamptz);
