drop view public.apm_index_usage;
drop view public.apm_wedding_readiness;
drop view public.apm_incident_days;
drop table public.apm_dashboards;
