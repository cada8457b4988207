drop function public.apm_ask_readiness(uuid);
drop function public.apm_readiness_facts(uuid, timestamptz);
drop function apm_private.find_wedding_to_prepare(uuid);
drop function apm_private.readiness_facts(uuid, uuid, date, timestamptz);
drop function apm_private.plan_readiness(timestamptz);
drop function apm_private.weddings_to_prepare(uuid[], date, date);
drop function apm_private.readiness_due_at(date, text, boolean);
drop table apm_private.readiness_timers;
drop table public.apm_readiness_reports;
