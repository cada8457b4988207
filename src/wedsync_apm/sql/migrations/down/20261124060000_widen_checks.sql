drop function public.apm_take_check_run(uuid, timestamptz);
drop function public.apm_check_windows(uuid, timestamptz);
drop function apm_private.sum_spans(uuid, uuid, timestamptz, timestamptz);
drop function apm_private.count_looks(uuid, uuid, timestamptz);
drop table public.apm_service_tallies;
drop trigger service_health_checks_audit_update on public.service_health_checks;
drop trigger service_health_checks_dependencies on public.service_health_checks;
drop trigger service_health_checks_restart on public.service_health_checks;
drop function apm_private.check_dependencies();
drop function apm_private.restart_check();
-- The older product knows calls by http and metrics only.
delete from public.service_health_checks where shared_key is not null or endpoint_url !~ '^https?://' or is_shared;
drop index public.idx_apm_health_checks_shared;
alter table public.service_health_checks
    drop constraint service_health_checks_source,
    drop constraint service_health_checks_endpoint_url_check,
    add constraint service_health_checks_endpoint_url_check check (endpoint_url is null or endpoint_url ~ '^https?://'),
    add constraint service_health_checks_source check (num_nonnulls(endpoint_url, source_metric) = 1),
    drop column shared_key,
    drop column is_shared,
    drop column body_contains,
    drop column body_lacks,
    drop column dns_expected,
    drop column certificate_days,
    drop column failures_to_confirm,
    drop column recoveries_to_confirm,
    drop column error_rate_threshold,
    drop column availability_threshold,
    drop column opens_incidents,
    drop column depends_on,
    drop column limits,
    drop column effective_interval,
    drop column candidate,
    drop column candidate_count,
    drop column failing_since,
    drop column caused_by,
    drop column is_alarming,
    drop column last_run_at;
