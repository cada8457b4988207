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
    response_time_threshold_ms, is_active
)
select
    %(organization_id)s::uuid, %(created_by)s::uuid, v.service_name, v.display_name, v.service_type,
    v.endpoint_url, v.source_metric, v.wedding_critical, v.vendor_facing, v.couple_facing, v.check_interval,
    v.timeout_seconds, v.expected_status_codes, v.response_time_threshold_ms, v.is_active
from jsonb_populate_record(null::public.service_health_checks, %(values)s::jsonb) as v
returning *

-- update_health_check --
-- Changes the named values and no others.
update public.service_health_checks as t
set (
    service_name, display_name, service_type, endpoint_url, source_metric, wedding_critical, vendor_facing,
    couple_facing, check_interval, timeout_seconds, expected_status_codes, response_time_threshold_ms, is_active
) = (
    select
        v.service_name, v.display_name, v.service_type, v.endpoint_url, v.source_metric, v.wedding_critical,
        v.vendor_facing, v.couple_facing, v.check_interval, v.timeout_seconds, v.expected_status_codes,
        v.response_time_threshold_ms, v.is_active
    from jsonb_populate_record(t, %(values)s::jsonb) as v
)
where t.id = %(id)s::uuid
returning t.*

-- delete_health_check --
-- Gone, with what hangs on it.
delete from public.service_health_checks
where id = %(id)s::uuid

-- hasten_health_check --
-- The next check is due now; the engine does it within its cycle.
update public.service_health_checks
set next_check_at = now()
where id = %(id)s::uuid
returning *
