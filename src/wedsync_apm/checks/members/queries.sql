-- Health checks as members see and change them.

-- list_health_checks --
-- The organizations' health checks, newest first.
select *
from public.service_health_checks
where organization_id = any (%(organization_ids)s::uuid[])
    and (%(before_at)s::timestamptz is null or (created_at, id) < (%(before_at)s, %(before_id)s::uuid))
order by created_at desc, id desc
limit %(limit)s::int

-- find_health_check --
-- A health check that the caller can see.
select *
from public.service_health_checks
where id = %(id)s::uuid

-- create_health_check --
-- A new health check.
insert into public.service_health_checks (
    organization_id, created_by, service_name, display_name, service_type, endpoint_url, source_metric,
    wedding_critical, vendor_facing, couple_facing, check_interval, timeout_seconds, expected_status_codes,
    response_time_threshold_ms, is_active, shared_key, body_contains, body_lacks, dns_expected, certificate_days,
    error_rate_threshold, availability_threshold, failures_to_confirm, recoveries_to_confirm, opens_incidents, depends_on,
    judged_over, error_rate_critical, availability_warning, availability_critical
)
select
    %(organization_id)s::uuid, %(created_by)s::uuid, v.service_name, v.display_name, v.service_type,
    v.endpoint_url, v.source_metric, v.wedding_critical, v.vendor_facing, v.couple_facing, v.check_interval,
    v.timeout_seconds, v.expected_status_codes, v.response_time_threshold_ms, v.is_active,
    v.shared_key, v.body_contains, v.body_lacks, v.dns_expected, v.certificate_days, v.error_rate_threshold,
    v.availability_threshold, v.failures_to_confirm, v.recoveries_to_confirm, v.opens_incidents, v.depends_on,
    v.judged_over, v.error_rate_critical, v.availability_warning, v.availability_critical
from jsonb_populate_record(null::public.service_health_checks, %(values)s::jsonb) as v
returning *

-- update_health_check --
-- Changes the named values and no others.
update public.service_health_checks as t
set (
    service_name, display_name, service_type, endpoint_url, source_metric, wedding_critical, vendor_facing,
    couple_facing, check_interval, timeout_seconds, expected_status_codes, response_time_threshold_ms, is_active,
    shared_key, body_contains, body_lacks, dns_expected, certificate_days, error_rate_threshold, availability_threshold,
    failures_to_confirm, recoveries_to_confirm, opens_incidents, depends_on, judged_over, error_rate_critical,
    availability_warning, availability_critical
) = (
    select
        v.service_name, v.display_name, v.service_type, v.endpoint_url, v.source_metric, v.wedding_critical,
        v.vendor_facing, v.couple_facing, v.check_interval, v.timeout_seconds, v.expected_status_codes,
        v.response_time_threshold_ms, v.is_active,
        v.shared_key, v.body_contains, v.body_lacks, v.dns_expected, v.certificate_days,
        v.error_rate_threshold, v.availability_threshold, v.failures_to_confirm, v.recoveries_to_confirm,
        v.opens_incidents, v.depends_on, v.judged_over, v.error_rate_critical, v.availability_warning,
        v.availability_critical
    from jsonb_populate_record(t, %(values)s::jsonb) as v
)
where t.id = %(id)s::uuid
returning t.*

-- delete_health_check --
-- Gone, with what hangs on it.
delete from public.service_health_checks
where id = %(id)s::uuid

-- take_run --
-- Whether the caller may have a look made now: 0, else the seconds to wait; null where he may not.
select public.apm_take_check_run(%(id)s::uuid) as wait_seconds

-- read_circumstances --
-- The moment, and whether a wedding of the organization is under way.
select date_trunc('milliseconds', clock_timestamp()) as at,
    exists (select from public.wedding_window_at(%(organization_id)s::uuid, now())) as is_wedding

-- list_windows --
-- Error rate and availability over the usual windows.
select w.window_name as "window", w.looks, w.failures, w.error_rate, w.known_seconds, w.availability_percentage
from public.apm_check_windows(%(id)s::uuid) as w

-- list_statuses --
-- The statuses that a check has confirmed, newest first.
select h.status, h.reason, h.is_by_figures, h.since, lag(h.since) over (order by h.since desc) as until
from public.apm_service_status_history as h
where h.organization_id = %(organization_id)s::uuid and h.check_id = %(id)s::uuid
order by h.since desc
limit %(limit)s::int

-- list_course --
-- The last 24 hours by the hour and the last 30 days by the day.
select c.width, c.starts_at, c.looks, c.failures, c.known_seconds, c.down_seconds
from public.apm_check_course(%(id)s::uuid) as c
