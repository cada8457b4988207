drop table public.apm_service_status_history;
drop table public.service_health_checks;
drop function apm_private.keep_status_history();
drop function apm_private.notify_live();
drop table public.apm_alert_states;
drop table public.apm_alerts;
drop table public.apm_configurations;
