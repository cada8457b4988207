-- A busy day of eight organizations: A and B among them, 50 series each, a sample every 15 seconds over 24 hours,
-- A's whole day a wedding day; rules, checks, incidents, messages as after a year.
insert into organizations (id, name)
select ('00000000-0000-4000-8000-00000000000' || n)::uuid, 'Vendor ' || n from generate_series(1, 6) as n;

insert into apm_series (organization_id, id, service_name, metric_name, fingerprint)
select o.id, nextval('apm_private.series_ids'), 'service_' || s %% 5, 'metric_' || s, sha256((o.id::text || s)::bytea)
from organizations as o cross join generate_series(1, 50) as s;

select set_config('apm.batch', 'on', true);
insert into apm_metrics (organization_id, "timestamp", ends_at, series_ids, offsets_ms, metric_values, wedding_context)
select o.id, t.at, t.at, o.series, array_fill(0, array[50]),
    array(select round((100 + 50 * sin(extract(epoch from t.at) / (100 + s)))::numeric, 2)::float8 from generate_series(1, 50) as s),
    case when o.id = %(organization_a)s then '{"is_wedding_day": true, "phase": "day"}'::jsonb end
from (select organization_id as id, array_agg(id order by id) as series from apm_series where metric_name like 'metric\_%%' group by 1) as o
cross join lateral (
    select date_trunc('minute', now()) - n * interval '15 seconds' as at from generate_series(1, 5760) as n
) as t;
insert into apm_private.flushes (organization_ids, earliest, latest)
select array_agg(organization_id), array_agg(earliest), array_agg(latest)
from (
    select organization_id, date_trunc('hour', "timestamp") as hour, min("timestamp") as earliest, max(ends_at) as latest
    from apm_metrics group by 1, 2
) as h group by hour;

insert into clients (organization_id, wedding_date, status)
select o.id, current_date + n, 'booked' from organizations as o cross join generate_series(-100, 100, 3) as n;
insert into apm_weddings (organization_id, wedding_date, time_zone)
select o.id, current_date + n, 'Europe/Paris' from organizations as o cross join generate_series(-100, 100, 7) as n;
insert into apm_alerts (organization_id, alert_name, metric_pattern, comparison_operator, threshold_value, is_active)
select o.id, 'rule ' || n, 'service.' || n, '>', 1, n %% 2 = 0 from organizations as o cross join generate_series(1, 60) as n;
insert into apm_alert_states (organization_id, alert_id, series_id, state, threshold_value, threshold_source, sample_count, changed_at, evaluated_at)
select r.organization_id, r.id, s, case when s = 7 then 'firing' else 'ok' end, 1, 'rule', 1, now(), now()
from apm_alerts as r cross join generate_series(1, 20) as s where r.alert_name like 'rule %%';
insert into service_health_checks (organization_id, service_name, display_name, endpoint_url, next_check_at)
select o.id, 'service ' || n, 'Service ' || n, 'https://example.com/', now() + n * interval '1 second'
from organizations as o cross join generate_series(1, 60) as n;
insert into apm_contact_methods (organization_id, name, channel, address)
select o.id, 'person ' || n, 'email', 'p@example.com' from organizations as o cross join generate_series(1, 60) as n;
insert into apm_api_keys (organization_id, name, scope, key_hash, prefix)
select o.id, 'key ' || n, 'read', sha256((o.id::text || 'key' || n)::bytea), 'apm_'
from organizations as o cross join generate_series(1, 60) as n;
insert into apm_incidents (organization_id, alert_id, title, status, severity, priority, dedup_key, detected_at, last_seen_at, closed_at, resolved_at)
select r.organization_id, r.id, 'Incident ' || n, case when n < 3 then 'open' else 'closed' end::incident_status, 'warning',
    (array['low', 'medium', 'high', 'critical'])[1 + n %% 4]::alert_priority, r.alert_name || ' ' || n,
    now() - n * interval '7 hours', now(), now(), now()
from apm_alerts as r cross join generate_series(1, 20) as n;
insert into apm_deliveries (organization_id, incident_id, channel, kind, reason, idempotency_key, state, created_at)
select i.organization_id, i.id, 'email', 'page', 'first', 'k' || i.id || n, case when n = 1 and i.status = 'open' then 'pending' else 'sent' end,
    i.detected_at
from apm_incidents as i cross join generate_series(1, 2) as n;
insert into apm_deliveries (organization_id, channel, kind, reason, idempotency_key, state, lease_owner, lease_until)
select o.id, 'email', 'page', 'first', 'leased', 'leased', 'x', now() from organizations as o;
insert into apm_annotations (organization_id, id, occurred_at, title, text, alert_type, priority, host, aggregation_key, tags, source)
select o.id, gen_random_uuid(), now() - n * interval '3 hours', 'Deployed', '', 'info', 'normal', '', '', '{}', 'datadog'
from organizations as o cross join generate_series(1, 500) as n;
