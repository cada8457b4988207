-- Making checks, as the engine, over all organizations; each statement names the organization that it means.

-- claim_due_checks [apm_engine] --
-- Takes the most overdue checks: the next time they are due is set, so that nobody else makes them meanwhile.
with due as (
    select c.organization_id, c.id
    from public.service_health_checks as c
    where c.is_active and c.next_check_at <= %(at)s::timestamptz
    order by c.next_check_at
    limit %(limit)s::int
    for update skip locked
)
update public.service_health_checks as c set
    -- in step with the last time; after a pause not once for every missed time
    next_check_at = greatest(c.next_check_at + c.check_interval, %(at)s::timestamptz + c.check_interval / 2)
from due
where c.organization_id = due.organization_id and c.id = due.id
returning c.id, c.organization_id, c.service_name, c.endpoint_url, c.source_metric, c.check_interval,
    c.timeout_seconds, c.expected_status_codes, c.response_time_threshold_ms,
    exists (select from public.wedding_window_at(c.organization_id, %(at)s::timestamptz)) as is_wedding,
    exists (select from apm_private.platform as f where f.organization_id = c.organization_id) as is_platform

-- read_source_metric [apm_engine] --
-- What a metric says of the newest moment: the mean of its last check interval, else its newest sample, if any is fresh.
select coalesce(
    avg(s.metric_value) filter (where s."timestamp" > %(at)s::timestamptz - %(check_interval)s::interval),
    (array_agg(s.metric_value order by s."timestamp" desc))[1]
) as response_time_ms
from public.apm_samples_between(
    %(at)s::timestamptz - %(stale_intervals)s::int * %(check_interval)s::interval,
    %(at)s::timestamptz + interval '1 millisecond'
) as s
where s.organization_id = %(organization_id)s::uuid
    and s.series_id = any (array(
        select n.id from public.apm_series as n
        where n.organization_id = %(organization_id)s::uuid
            and n.service_name || '.' || n.metric_name = %(source_metric)s::text
    ))
    and s.metric_value > '-infinity' and s.metric_value < 'infinity'

-- record_finding [apm_engine] --
-- A check's result; a newer one that came first stays. Availability is the share of the last 24 hours' known time.
with kept as (
    select c.*
    from public.service_health_checks as c
    where c.organization_id = %(organization_id)s::uuid and c.id = %(check_id)s::uuid
        and (c.last_check_at is null or c.last_check_at <= %(at)s::timestamptz)
    for update
), spans as (
    select h.status, greatest(h.since, %(at)s::timestamptz - interval '24 hours') as since,
        lead(h.since, 1, %(at)s::timestamptz) over (order by h.since) as until
    from public.apm_service_status_history as h
    where h.organization_id = %(organization_id)s::uuid and h.check_id = %(check_id)s::uuid
), known as (
    select sum(extract(epoch from s.until - s.since)) as seconds,
        sum(extract(epoch from s.until - s.since)) filter (where s.status = 'critical') as down_seconds
    from spans as s
    where s.until > s.since and s.status in ('healthy', 'warning', 'critical')
)
update public.service_health_checks as c set
    status = %(status)s::public.service_status,
    status_reason = %(reason)s::text,
    status_since = case when kept.status = %(status)s::public.service_status then kept.status_since else %(at)s::timestamptz end,
    last_check_at = %(at)s::timestamptz,
    response_time_ms = %(response_time_ms)s::float8,
    error_rate = case
        when %(status)s::public.service_status in ('unknown', 'maintenance') then kept.error_rate
        when kept.error_rate is null then %(failed)s::float8
        else kept.error_rate + %(forgetting)s::float8 * (%(failed)s::float8 - kept.error_rate)
    end,
    availability_percentage = case
        when known.seconds > 0 then 100 * (1 - coalesce(known.down_seconds, 0) / known.seconds)
        when %(status)s::public.service_status = 'critical' then 0
        when %(status)s::public.service_status in ('healthy', 'warning') then 100
        else kept.availability_percentage
    end
from kept, known
where c.organization_id = kept.organization_id and c.id = kept.id
returning c.id

-- create_sample [apm_engine] --
-- The response time as a sample of the organization's own, so that rules and charts know it.
insert into public.apm_samples
    (organization_id, service_name, metric_name, metric_type, metric_value, unit, apm_source, "timestamp")
values (
    %(organization_id)s::uuid, 'service_health', %(service_name)s::text, 'gauge', %(response_time_ms)s::float8, 'ms',
    'check', %(at)s::timestamptz
)
