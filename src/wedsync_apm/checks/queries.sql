-- Making checks, as the engine, over all organizations; each statement names the organization that it means.

-- claim_due_checks [apm_engine] --
-- Takes the most overdue checks, with calls or without: until the lease ends nobody else makes them meanwhile. What
-- is shared is made only while somebody shares it. Those of organizations that are not watched are put off, or each claim
-- would pass them over anew; the switch makes them due.
with resting as (
    select c.organization_id, c.id
    from public.service_health_checks as c
    where c.is_active and c.next_check_at <= %(at)s::timestamptz and not apm_private.is_watched(c.organization_id)
    order by c.next_check_at
    limit 500
    for update skip locked
), put_off as (
    update public.service_health_checks as c set next_check_at = %(at)s::timestamptz + interval '1 hour'
    from resting
    where c.organization_id = resting.organization_id and c.id = resting.id
), due as (
    select c.organization_id, c.id, c.next_check_at as scheduled_at
    from public.service_health_checks as c
    where c.is_active and c.next_check_at <= %(at)s::timestamptz
        and (c.endpoint_url is not null) = %(calls)s::boolean
        and apm_private.is_watched(c.organization_id)
        and (not c.is_shared or exists (
            select from public.service_health_checks as u where u.shared_key = c.service_name and u.is_active
        ))
    order by c.next_check_at
    limit %(limit)s::int
    for update skip locked
), claimed as (
    update public.service_health_checks as c set
        next_check_at = %(at)s::timestamptz + make_interval(secs => 30 + c.timeout_seconds),
        claimed_until = %(at)s::timestamptz + make_interval(secs => 30 + c.timeout_seconds)
    from due
    where c.organization_id = due.organization_id and c.id = due.id
    returning c.*, due.scheduled_at
)
select c.id, c.organization_id, c.service_name, c.display_name, c.endpoint_url, c.source_metric, c.shared_key,
    c.check_interval, c.timeout_seconds, c.expected_status_codes, c.response_time_threshold_ms, c.error_rate_threshold,
    c.availability_threshold, c.judged_over, c.error_rate_critical, c.availability_warning, c.availability_critical,
    c.body_contains, c.body_lacks, c.dns_expected, c.certificate_days, c.failures_to_confirm,
    c.recoveries_to_confirm, c.wedding_critical, c.opens_incidents, c.is_shared, c.scheduled_at,
    c.claimed_until,
    coalesce(p.organization_id = c.organization_id and not c.is_shared, false) as is_platform,
    p.organization_id as platform_id,
    u.wanted_interval, coalesce(u.is_for_wedding, false) as is_for_wedding,
    case when s.id is not null then jsonb_build_object(
        'id', s.id, 'status', s.status, 'reason', s.status_reason, 'last_check_at', s.last_check_at,
        'interval_seconds', extract(epoch from coalesce(s.effective_interval, s.check_interval)),
        'response_time_ms', s.response_time_ms, 'response_time_threshold_ms', s.response_time_threshold_ms,
        'is_by_figures', s.is_by_figures, 'availability_percentage', s.availability_percentage
    ) end as shared
from claimed as c
left join apm_private.platform as p on true
-- The calendar of those who share it makes it oftener; the interval that one of them asks for is his alone.
left join lateral (
    select min(greatest(d.effective_interval, interval '10 seconds'))
            filter (where d.is_for_wedding or d.effective_interval < d.check_interval) as wanted_interval,
        bool_or(d.is_for_wedding) as is_for_wedding
    from (
        select u.effective_interval, u.check_interval,
            coalesce((u.limits ->> 'is_wedding')::boolean, false) as is_for_wedding
        from public.service_health_checks as u
        where u.shared_key = c.service_name and u.is_active
    ) as d
) as u on c.is_shared
left join public.service_health_checks as s
    on c.shared_key is not null and s.organization_id = p.organization_id and s.service_name = c.shared_key and s.is_shared

-- put_shared_check [apm_engine] --
-- The platform's one probe of a service that others share; one that is there stays as the platform's people made it.
insert into public.service_health_checks (
    organization_id, service_name, display_name, service_type, endpoint_url, is_shared, wedding_critical, vendor_facing,
    couple_facing, check_interval, timeout_seconds, expected_status_codes, response_time_threshold_ms,
    error_rate_threshold, availability_threshold
)
select %(organization_id)s::uuid, v.service_name, v.display_name, v.service_type, v.endpoint_url, true,
    v.wedding_critical, v.vendor_facing, v.couple_facing, v.check_interval, v.timeout_seconds, v.expected_status_codes,
    v.response_time_threshold_ms, v.error_rate_threshold, v.availability_threshold
from jsonb_populate_record(null::public.service_health_checks, %(values)s::jsonb) as v
on conflict (organization_id, service_name) do nothing

-- list_moments [apm_engine] --
-- Whether a wedding of each organization is under way, and when the next one begins.
select w.organization_id,
    coalesce(bool_or(w.span @> %(at)s::timestamptz), false) as is_wedding,
    min(lower(w.span)) filter (where lower(w.span) > %(at)s::timestamptz) as starts_at
from apm_private.wedding_windows_between(
    %(organization_ids)s::uuid[], %(at)s::timestamptz, %(at)s::timestamptz + %(horizon)s::interval
) as w
group by w.organization_id

-- read_guard_mode [apm_engine] --
-- How closely the platform as a whole is watched.
select g.mode from apm_private.guard_level_at(%(at)s::timestamptz) as g

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

-- lock_standings [apm_engine] --
-- How claimed checks stand, kept still until the result is written. One that was claimed or changed by somebody else
-- since is not among them: its result is void. What was seen before is the probe's where one is shared, within the
-- window of whoever shares it.
with mine as materialized (
    select c.*
    from public.service_health_checks as c
    join unnest(%(organization_ids)s::uuid[], %(ids)s::uuid[], %(claims)s::timestamptz[]) as m (organization_id, id, claim)
        on c.organization_id = m.organization_id and c.id = m.id and c.next_check_at = m.claim
    order by c.organization_id, c.id
    for update of c
)
select c.id, c.status, c.status_reason, c.candidate, c.candidate_count, c.failing_since, c.is_alarming, c.is_by_figures,
    l.looks, l.failures, k.availability, coalesce(d.dependencies, '[]') as dependencies,
    i.is_live as has_incident, i.ended_at as incident_ended_at, m.reason as maintenance
from mine as c
left join public.service_health_checks as p
    on c.shared_key is not null and p.service_name = c.shared_key and p.is_shared
    and p.organization_id = (select h.organization_id from apm_private.platform as h)
cross join lateral (
    select coalesce(p.organization_id, c.organization_id) as organization_id, coalesce(p.id, c.id) as id
) as o
cross join lateral apm_private.count_looks(o.organization_id, o.id, %(at)s::timestamptz - c.judged_over) as l
left join lateral (
    select 100 * (1 - s.down_seconds / nullif(s.known_seconds, 0)) as availability
    from apm_private.sum_spans(o.organization_id, o.id, %(at)s::timestamptz - c.judged_over, %(at)s::timestamptz) as s
) as k on c.availability_warning is not null or c.availability_critical is not null
cross join lateral (
    select jsonb_agg(jsonb_build_object(
        'id', b.id, 'status', b.status, 'reason', b.status_reason, 'candidate', b.candidate,
        'candidate_count', b.candidate_count, 'last_check_at', b.last_check_at, 'caused_by', b.caused_by
    )) as dependencies
    from public.service_health_checks as b
    where b.organization_id = c.organization_id and b.id = any (c.depends_on) and b.is_active
) as d
cross join lateral (
    select apm_private.is_dealt_with(c.organization_id, 'check:1:' || c.id) as is_live,
        max(greatest(n.resolved_at, n.closed_at)) as ended_at
    from public.apm_incidents as n
    where n.organization_id = c.organization_id and n.dedup_key = 'check:1:' || c.id
) as i
left join lateral apm_private.maintenance_at(
    c.organization_id, jsonb_build_object('service', c.service_name), %(at)s::timestamptz
) as m on true

-- write_findings [apm_engine] --
-- The results of locked checks. Availability is the share of the last 24 hours' known time; a look that only confirms
-- another one is not counted a second time.
with f as materialized (
    select * from jsonb_to_recordset(%(findings)s::jsonb) as f (
        organization_id uuid, id uuid, at timestamptz, status public.service_status, reason text,
        candidate public.service_status, candidate_count int, failing_since timestamptz, caused_by text,
        is_alarming boolean, response_time_ms float8, next_check_at timestamptz, effective_interval interval,
        limits jsonb, looks int2, failures int2, error_rate float8, shared_availability float8, is_by_figures boolean
    )
), tallied as (
    insert into public.apm_service_tallies as t (organization_id, check_id, hour, looks, failures)
    select f.organization_id, f.id, h.hour,
        h.before || f.looks || h.after, h.before || f.failures || h.after
    from f
    cross join lateral (
        select date_trunc('hour', f.at, 'UTC') as hour,
            extract(minute from f.at at time zone 'UTC')::int / 5 as slot
    ) as s
    cross join lateral (
        select s.hour, array_fill(0::int2, array[s.slot]) as before, array_fill(0::int2, array[11 - s.slot]) as after
    ) as h
    where f.looks > 0
    on conflict (organization_id, check_id, hour) do update set
        looks = array(select a + b from unnest(t.looks, excluded.looks) with ordinality as u (a, b, n) order by n),
        failures = array(select a + b from unnest(t.failures, excluded.failures) with ordinality as u (a, b, n) order by n)
    returning t.check_id
)
update public.service_health_checks as c set
    status = f.status,
    status_reason = f.reason,
    -- critical by figures alone is no down time, so that it stands for itself; a warning is one, for whatever reason
    status_since = case
        when c.status = f.status and (c.is_by_figures = f.is_by_figures or f.status <> 'critical') then c.status_since
        else f.at
    end,
    is_by_figures = f.is_by_figures,
    last_check_at = f.at,
    response_time_ms = f.response_time_ms,
    candidate = f.candidate,
    candidate_count = f.candidate_count,
    failing_since = f.failing_since,
    caused_by = f.caused_by,
    is_alarming = f.is_alarming,
    next_check_at = f.next_check_at,
    effective_interval = f.effective_interval,
    limits = f.limits,
    error_rate = f.error_rate,
    availability_percentage = case
        when f.shared_availability is not null then f.shared_availability
        when k.known_seconds > 0 then 100 * (1 - k.down_seconds / k.known_seconds)
        when f.status = 'critical' then 0
        when f.status in ('healthy', 'warning') then 100
        else c.availability_percentage
    end
from f
cross join lateral apm_private.sum_spans(f.organization_id, f.id, f.at - interval '24 hours', f.at) as k
where c.organization_id = f.organization_id and c.id = f.id

-- create_samples [apm_engine] --
-- Response times and whether it was up, as samples of the organizations' own, so that rules and charts know them.
insert into public.apm_samples
    (organization_id, service_name, metric_name, metric_type, metric_value, unit, apm_source, "timestamp")
select s.organization_id, s.service_name, s.metric_name, 'gauge', s.metric_value, s.unit, 'check', s.at
from jsonb_to_recordset(%(samples)s::jsonb) as s (
    organization_id uuid, service_name text, metric_name text, metric_value float8, unit text, at timestamptz
)

-- open_incident [apm_engine] --
-- The live incident of a check: opened, or opened again within the reopen window.
with acting as materialized (
    select set_config('apm.actor', 'check', true) as actor, set_config('apm.note', %(note)s::text, true) as note
)
select apm_private.open_incident(
    %(organization_id)s::uuid, 'check:1:' || %(check_id)s::uuid, %(title)s::text, %(severity)s::public.alert_severity,
    %(labels)s::jsonb, %(vendor_text)s::jsonb, %(at)s::timestamptz
) as incident_id
from acting as a
where a.actor is not null

-- end_incident [apm_engine] --
-- Ends the live incident of a check; nothing where a person has ended it.
with acting as materialized (
    select set_config('apm.actor', 'check', true) as actor
)
select apm_private.end_incident(
    %(organization_id)s::uuid, 'check:1:' || %(check_id)s::uuid, %(note)s::text, %(at)s::timestamptz
) as incident_id
from acting as a
where a.actor is not null

-- hasten_sharers [apm_engine] --
-- Whoever shares a probe looks at what it has found. Rows that somebody works with are left to him: in whatever order
-- two engines hasten, neither waits for the other.
with free as (
    select c.organization_id, c.id
    from public.service_health_checks as c
    where c.shared_key = %(service_name)s::text and c.is_active and c.next_check_at > %(at)s::timestamptz
        and c.claimed_until is distinct from c.next_check_at
        and apm_private.is_watched(c.organization_id)
    for update skip locked
)
update public.service_health_checks as c set next_check_at = %(at)s::timestamptz
from free as f
where c.organization_id = f.organization_id and c.id = f.id

-- hasten_checks [apm_engine] --
-- Checks that others depend on, or share, are looked at no later than this; but not those that are being looked at.
with free as (
    select c.organization_id, c.id, h.at
    from unnest(%(organization_ids)s::uuid[], %(ids)s::uuid[], %(times)s::timestamptz[]) as h (organization_id, id, at)
    join public.service_health_checks as c on c.organization_id = h.organization_id and c.id = h.id
    where c.is_active and c.next_check_at > h.at and c.claimed_until is distinct from c.next_check_at
        and c.last_check_at < h.at - interval '1 second'
    for update of c skip locked
)
update public.service_health_checks as c set next_check_at = f.at
from free as f
where c.organization_id = f.organization_id and c.id = f.id

-- end_orphaned_incidents [apm_engine] --
-- Ends the live incidents of checks that were deleted or switched off: nothing else would, and their ladders go on.
with acting as materialized (
    select set_config('apm.actor', 'check', true) as actor, set_config('apm.at', %(at)s::timestamptz::text, true) as at,
        set_config('apm.note', 'its check was deleted or switched off', true) as note
)
update public.apm_incidents as i set status = 'resolved'
from acting as a
where a.note is not null and i.dedup_key like 'check:1:%%' and i.status in ('open', 'acknowledged', 'investigating')
    and not exists (
        select from public.service_health_checks as c
        where c.organization_id = i.organization_id and 'check:1:' || c.id = i.dedup_key and c.is_active
    )
returning i.id

-- forget_history [apm_engine] --
-- Tallies before the longest window, and statuses that ended before what a status page shows.
with tallies as (
    delete from public.apm_service_tallies as t where t.hour < %(at)s::timestamptz - interval '31 days'
)
delete from public.apm_service_status_history as h
where h.since < %(at)s::timestamptz - interval '91 days' and exists (
    select from public.apm_service_status_history as n
    where n.organization_id = h.organization_id and n.check_id = h.check_id
        and n.since > h.since and n.since <= %(at)s::timestamptz - interval '91 days'
)
