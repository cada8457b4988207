drop function public.apm_escalate_incident(uuid, timestamptz);
