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
insert into apm_wedding_import_runs (organization_id, format, imported_at, counts, refused, faults)
select o.id, 'csv', now() - n * interval '1 day', '{}', 0, '[]' from organizations as o cross join generate_series(1, 60) as n;
insert into apm_alerts (organization_id, alert_name, metric_pattern, comparison_operator, threshold_value, is_active)
select o.id, 'rule ' || n, 'service.' || n, '>', 1, n %% 2 = 0 from organizations as o cross join generate_series(1, 60) as n;
insert into apm_alert_states (
    organization_id, alert_id, instance_key, series_id, state, threshold_value, threshold_source, sample_count, changed_at,
    evaluated_at
)
select r.organization_id, r.id, 'series:' || s, s, case when s = 7 then 'firing' else 'ok' end, 1, 'rule', 1, now(), now()
from apm_alerts as r cross join generate_series(1, 20) as s where r.alert_name like 'rule %%';
insert into service_health_checks (organization_id, service_name, display_name, endpoint_url, next_check_at)
select o.id, 'service ' || n, 'Service ' || n, 'https://example.com/', now() + n * interval '1 second'
from organizations as o cross join generate_series(1, 60) as n;
insert into apm_contact_methods (organization_id, name, channel, address)
select o.id, 'person ' || n, 'email', 'p@example.com' from organizations as o cross join generate_series(1, 60) as n;
insert into apm_api_keys (organization_id, name, scope, key_hash, prefix)
select o.id, 'key ' || n, 'read', sha256((o.id::text || 'key' || n)::bytea), 'apm_'
from organizations as o cross join generate_series(1, 60) as n;
-- the calendar of each of their times is not asked: that is most of what making them takes
alter table apm_incidents disable trigger apm_incidents_begin;
insert into apm_incidents (organization_id, alert_id, title, status, severity, priority, dedup_key, detected_at, last_seen_at, closed_at, resolved_at)
select r.organization_id, r.id, 'Incident ' || n, case when n < 3 then 'open' else 'closed' end::incident_status, 'warning',
    (array['low', 'medium', 'high', 'critical'])[1 + n %% 4]::alert_priority, r.alert_name || ' ' || n,
    now() - n * interval '7 hours', now(), now(), now()
from apm_alerts as r cross join generate_series(1, 20) as n;
alter table apm_incidents enable trigger apm_incidents_begin;
update apm_incidents set ack_expires_at = detected_at + interval '10 minutes' where status = 'acknowledged';
insert into apm_incident_parts (organization_id, incident_id, whole_id, joined_at)
select i.organization_id, i.id, gen_random_uuid(), now() from apm_incidents as i cross join generate_series(1, 2);
insert into apm_postmortems (organization_id, incident_id) select i.organization_id, i.id from apm_incidents as i on conflict do nothing;
insert into apm_postmortem_actions (organization_id, incident_id, title, owner, due_on, done_at, told_at)
select i.organization_id, i.id, 'Action ' || n, 'Priya', current_date + n, case when n > 3 then now() end, case when n = 3 then now() end
from apm_incidents as i cross join generate_series(1, 10) as n;
insert into apm_wedding_emergency_contacts (organization_id, wedding_id, contact_method_id)
select m.organization_id, gen_random_uuid(), m.id from apm_contact_methods as m cross join generate_series(1, 60);
insert into apm_deliveries (organization_id, incident_id, channel, kind, reason, idempotency_key, state, created_at)
select i.organization_id, i.id, 'email', 'page', 'first', 'k' || i.id || n, case when n = 1 and i.status = 'open' then 'pending' else 'sent' end,
    i.detected_at
from apm_incidents as i cross join generate_series(1, 2) as n;
insert into apm_private.channel_events (organization_id, source, source_event_id, incident_id, outcome, received_at)
select i.organization_id, 'sms', i.id::text, i.id, 'acknowledged', now() from apm_incidents as i;
insert into apm_deliveries (organization_id, channel, kind, reason, idempotency_key, state, lease_owner, lease_until)
select o.id, 'email', 'page', 'first', 'leased', 'leased', 'x', now() from organizations as o;
insert into apm_private.freeze_approvals (organization_id, reason, starts_at, ends_at, created_by_name)
select o.id, 'a defect', now() - n * interval '1 day', now() - n * interval '1 day' + interval '1 hour', 'Alice'
from organizations as o cross join generate_series(1, 60) as n;
insert into apm_annotations (organization_id, id, occurred_at, title, text, alert_type, priority, host, aggregation_key, tags, source)
select o.id, gen_random_uuid(), now() - n * interval '3 hours', 'Deployed', '', 'info', 'normal', '', '', '{}', 'datadog'
from organizations as o cross join generate_series(1, 500) as n;
insert into apm_on_call_overrides (organization_id, schedule_id, user_id, starts_at, ends_at)
select s.organization_id, s.id, o.user_id, o.starts_at + n * interval '2 days', o.ends_at + n * interval '2 days'
from apm_on_call_schedules as s
join apm_on_call_overrides as o on o.organization_id = s.organization_id and o.schedule_id = s.id
cross join generate_series(1, 400) as n;
insert into apm_on_call_temporary_schedules
    (organization_id, schedule_id, starts_at, ends_at, shift_user_ids, shift_starts, shift_ends)
select t.organization_id, t.schedule_id, t.starts_at + n * interval '2 days', t.ends_at + n * interval '2 days',
    t.shift_user_ids, array[t.starts_at + n * interval '2 days'], array[t.ends_at + n * interval '2 days']
from apm_on_call_temporary_schedules as t cross join generate_series(1, 400) as n;
insert into apm_on_call_schedules (organization_id, name, time_zone)
select o.id, 'rota ' || n, 'UTC' from organizations as o cross join generate_series(1, 60) as n;
insert into apm_escalation_schedules (organization_id, step_id, schedule_id)
select t.organization_id, t.id, s.id
from apm_escalation_steps as t
join apm_on_call_schedules as s on s.organization_id = t.organization_id and s.name like 'rota %%';
insert into apm_silences (organization_id, matchers, starts_at, ends_at, reason, owner, created_at)
select o.id, '[{"label": "service", "operator": "=", "value": "forms"}]', now(), now() + (30 + n) * interval '1 minute', 'Moving', 'Priya',
    now() - n * interval '1 hour'
from organizations as o cross join generate_series(1, 60) as n;
update apm_silences set starts_at = starts_at - interval '60 days', ends_at = ends_at - interval '60 days' where ends_at > now() + interval '35 minutes';
insert into apm_inhibition_rules (organization_id, name, source_matchers, target_matchers)
select o.id, 'Rule ' || n, '[{"label": "service", "operator": "=", "value": "database"}]', '[{"label": "service", "operator": "=", "value": "forms"}]'
from organizations as o cross join generate_series(1, 60) as n;
insert into apm_heartbeats (organization_id, name, period, state, alarm_at)
select o.id, 'Job ' || n, '1 hour', 'up', now() + n * interval '1 minute' from organizations as o cross join generate_series(1, 60) as n;
insert into apm_drills (organization_id, cause, planned_at, started_at, ends_at, ended_at, called, answered, in_time)
select o.id, 'schedule', t.at, t.at, t.at + interval '15 minutes', t.at + interval '15 minutes', 2, 1, 1
from organizations as o
cross join generate_series(1, 200) as n
cross join lateral (select now() - n * interval '7 days') as t (at);
insert into apm_drill_calls (organization_id, drill_id, contact_method_id, person, name, channel, delivery_id)
select d.organization_id, d.id, null, 'named ' || n, 'Person ' || n, 'email', null
from apm_drills as d cross join generate_series(1, 5) as n;
insert into apm_drill_calls (organization_id, drill_id, contact_method_id, person, name, channel)
select m.organization_id, d.id, m.id, 'named ' || m.name, m.name, 'email'
from apm_contact_methods as m
cross join lateral (select x.id from apm_drills as x where x.organization_id = m.organization_id limit 1) as d;
insert into apm_private.drill_links (token_hash, organization_id, delivery_id)
select sha256(d.id::text::bytea), d.organization_id, d.id from apm_deliveries as d;
insert into apm_dashboards (organization_id, name) select o.id, 'Board ' || n
from organizations as o cross join generate_series(1, 60) as n;
insert into apm_contact_methods (organization_id, user_id, name, channel, address, verified_at)
select p.organization_id, p.user_id, 'Own ' || n, 'email', 'own' || n || '@example.com', now()
from user_profiles as p cross join generate_series(1, 4) as n;
insert into apm_dashboard_mails (organization_id, dashboard_id, contact_method_id, at_time, time_zone, next_at)
select d.organization_id, d.id, m.id, '08:00', 'Europe/London', now() + (row_number() over ()) * interval '10 minutes'
from apm_dashboards as d
join apm_contact_methods as m on m.organization_id = d.organization_id and m.name like 'Own %';
insert into apm_private.mail_papers (organization_id, id, name, content, made_at)
select o.id, gen_random_uuid(), 'dashboard.pdf', 'x', now() - n * interval '10 minutes'
from organizations as o cross join generate_series(0, 400) as n;
insert into apm_status_notes (organization_id, body, posted_at, told_at)
select o.id, 'Note ' || n, now() - n * interval '1 hour', now() from organizations as o cross join generate_series(1, 100) as n;
insert into apm_status_subscribers (organization_id, address, asked_at, confirmed_at)
select o.id, 'guest' || n || '@example.com', now() - n * interval '1 hour', now()
from organizations as o cross join generate_series(1, 400) as n;
insert into apm_private.status_links (token_hash, organization_id, subscriber_id, purpose)
select sha256(s.id::text::bytea), s.organization_id, s.id, 'leave' from apm_status_subscribers as s
on conflict do nothing;
insert into apm_private.status_asks (organization_id, address_hash, caller_hash, asked_at)
select o.id, sha256(convert_to(o.id || 'a' || n, 'UTF8')), sha256(convert_to(o.id || 'c' || n, 'UTF8')), now() - n * interval '1 minute'
from organizations as o cross join generate_series(1, 400) as n;
insert into apm_status_problems (organization_id, check_id, state, began_at, changed_at, ended_at, told)
select c.organization_id, c.id, 'over', now() - n * interval '2 days', now() - n * interval '1 day', now() - n * interval '1 day', 'over'
from service_health_checks as c cross join generate_series(1, 10) as n;
insert into apm_notification_groups (organization_id, rule_id, labels, recipients, next_at, created_at)
select r.organization_id, r.id, jsonb_build_object('service', n), '[]', now() - n * interval '1 hour', now()
from apm_notification_rules as r cross join generate_series(1, 200) as n;
insert into apm_notification_rules (organization_id, name, is_active)
select o.id, 'Rule ' || n, false from organizations as o cross join generate_series(1, 200) as n;
insert into apm_private.notification_group_members (organization_id, group_id, incident_id)
select g.organization_id, g.id, i.id
from apm_notification_groups as g
cross join lateral (select x.id from apm_incidents as x where x.organization_id = g.organization_id limit 10) as i;
