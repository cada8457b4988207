-- One row, or a few, of one organization in every table that has tenants.
insert into clients (id, organization_id, first_name, partner_first_name, wedding_date, status)
values (%(client)s, %(organization)s, 'Ann', 'Ben', current_date + 40, 'booked');

insert into apm_weddings (id, organization_id, couple_initials, wedding_date, time_zone)
values (%(wedding)s, %(organization)s, 'C & D', current_date + 30, 'Europe/Paris');
insert into apm_wedding_people (organization_id, wedding_id, couple_names)
values (%(organization)s, %(wedding)s, 'Chloe and Dan');
insert into apm_wedding_windows (organization_id, wedding_id, phase, span)
values (
    %(organization)s, %(wedding)s, 'ceremony',
    tstzrange((current_date + 30 + time '13:00') at time zone 'Europe/Paris', (current_date + 30 + time '16:00') at time zone 'Europe/Paris')
);

insert into apm_wedding_imports (organization_id, wedding_id, external_uid, content_hash)
values (%(organization)s, %(wedding)s, 'event@calendar', sha256(''));

insert into apm_wedding_import_runs (organization_id, format, counts, refused, faults)
values (%(organization)s, 'csv', '{"created": 1}', 0, '[]');

insert into apm_readiness_reports (organization_id, wedding_id, wedding_date, due_at, attempt, cause, made_at, outcome, lines)
values (%(organization)s, %(wedding)s, current_date + 30, now(), 1, 'evening', now(), 'unknown', '[]');

insert into apm_api_keys (id, organization_id, name, scope, key_hash, prefix)
values (%(key)s, %(organization)s, 'seeded key', 'read', %(key_hash)s, 'apm_');

insert into apm_samples (organization_id, service_name, metric_name, metric_value, "timestamp")
values
    (%(organization)s, 'forms', 'submission_time', 120, now() - interval '7 minutes'),
    (%(organization)s, 'forms', 'submission_time', 480, now() - interval '1 minute');
insert into apm_refusals (organization_id, day, source, reason, refused_count, last_at)
values (%(organization)s, current_date, 'api', 'too old', 3, now());
insert into apm_annotations (
    organization_id, id, occurred_at, title, text, alert_type, priority, host, aggregation_key, tags, source
) values (%(organization)s, gen_random_uuid(), now(), 'Deployed', 'by hand', 'info', 'normal', '', '', '{}', 'datadog');
insert into apm_metric_aggregations (
    organization_id, time_bucket, bucket_width, series_ids, sample_counts, sum_values, min_values, max_values, last_values,
    p50, p95, p99, sketches
) values (
    %(organization)s, date_bin('1 hour', now(), '2000-01-01 00:00:00+00') - interval '1 hour', '1 hour',
    '{1}', '{1}', '{1}', '{1}', '{1}', '{1}', '{1}', '{1}', '{1}', array['\x00010000000a'::bytea]
);

insert into apm_configurations (id, organization_id, provider, name, secret_ciphertext)
values (%(configuration)s, %(organization)s, 'datadog', 'Datadog', '\x00');
insert into apm_alerts (id, organization_id, alert_name, metric_pattern, comparison_operator, threshold_value)
values (%(alert)s, %(organization)s, 'Form is slow', 'forms.submission_time', '>', 500);
insert into apm_alert_states (
    organization_id, alert_id, instance_key, series_id, state, threshold_value, threshold_source, sample_count,
    changed_at, evaluated_at
) values (%(organization)s, %(alert)s, 'series:1', 1, 'ok', 500, 'rule', 1, now(), now());
insert into service_health_checks (id, organization_id, service_name, display_name, endpoint_url)
values (%(check)s, %(organization)s, 'forms', 'Order form', 'https://example.com/');
insert into apm_service_tallies (organization_id, check_id, hour)
values (%(organization)s, %(check)s, date_trunc('hour', now(), 'UTC'));

insert into apm_contact_methods (id, organization_id, name, channel, address)
values (%(contact)s, %(organization)s, 'Priya', 'email', 'priya@example.com');
insert into apm_quiet_hours (organization_id, contact_method_id, starts_time, ends_time, time_zone)
values (%(organization)s, %(contact)s, '22:00', '07:00', 'Europe/London');
insert into apm_escalation_policies (id, organization_id, name, is_default)
values (%(policy)s, %(organization)s, 'Everybody', true);
insert into apm_escalation_steps (id, organization_id, policy_id, position, delay)
values (%(step)s, %(organization)s, %(policy)s, 1, '0');
insert into apm_escalation_targets (organization_id, step_id, contact_method_id)
values (%(organization)s, %(step)s, %(contact)s);
insert into apm_on_call_schedules (id, organization_id, name, time_zone)
values (%(schedule)s, %(organization)s, 'Rota', 'Europe/London');
insert into apm_on_call_layers (organization_id, schedule_id, position, participants, starts_on)
select %(organization)s, %(schedule)s, 1, array_agg(user_id), '2090-01-01' from user_profiles where organization_id = %(organization)s;
insert into apm_on_call_overrides (organization_id, schedule_id, user_id, starts_at, ends_at)
select %(organization)s, %(schedule)s, min(user_id::text)::uuid, '2026-01-01', '2026-01-02'
from user_profiles where organization_id = %(organization)s;
insert into apm_on_call_temporary_schedules
    (organization_id, schedule_id, starts_at, ends_at, shift_user_ids, shift_starts, shift_ends)
select %(organization)s, %(schedule)s, '2026-01-01', '2026-01-02', array[min(user_id::text)::uuid],
    array['2026-01-01']::timestamptz[], array['2026-01-02']::timestamptz[]
from user_profiles where organization_id = %(organization)s;
insert into apm_escalation_schedules (organization_id, step_id, schedule_id)
values (%(organization)s, %(step)s, %(schedule)s);
insert into apm_notification_rules (id, organization_id, name, escalation_policy_id)
values (%(rule)s, %(organization)s, 'All warnings', %(policy)s);
insert into apm_notification_groups (organization_id, rule_id, labels, recipients, next_at, created_at)
values (%(organization)s, %(rule)s, '{}', '[]', now() + interval '1 day', now());

insert into apm_incidents (id, organization_id, alert_id, title, severity, priority, dedup_key, detected_at, last_seen_at)
values (%(incident)s, %(organization)s, %(alert)s, 'The form is slow', 'warning', 'medium', 'seeded', now(), now());
insert into apm_incident_parts (organization_id, incident_id, whole_id, joined_at)
values (%(organization)s, %(incident)s, %(delivery)s, now());
insert into apm_postmortems (organization_id, incident_id, summary)
values (%(organization)s, %(incident)s, 'It was slow.');
insert into apm_postmortem_actions (organization_id, incident_id, title, owner, due_on)
values (%(organization)s, %(incident)s, 'Buy a faster host', 'Priya', '2026-12-01');
insert into apm_wedding_emergency_contacts (organization_id, wedding_id, contact_method_id)
values (%(organization)s, %(delivery)s, %(contact)s);
insert into apm_deliveries (id, organization_id, incident_id, contact_method_id, channel, kind, reason, idempotency_key)
values (%(delivery)s, %(organization)s, %(incident)s, %(contact)s, 'email', 'page', 'first', 'seeded');
insert into apm_delivery_attempts (organization_id, delivery_id, attempt)
values (%(organization)s, %(delivery)s, 1);
insert into apm_idempotency_keys (organization_id, subject, key, request_hash, response_status, response_body)
values (%(organization)s, %(key)s, 'seeded', '\x00', 201, '{}');
insert into apm_dashboards (id, organization_id, name)
values (%(dashboard)s, %(organization)s, 'Saturday');
insert into apm_contact_methods (organization_id, user_id, name, channel, address, verified_at)
select %(organization)s, min(user_id::text)::uuid, 'Own', 'email', 'own@example.com', now()
from user_profiles where organization_id = %(organization)s;
insert into apm_dashboard_mails (organization_id, dashboard_id, contact_method_id, at_time, time_zone, next_at)
select %(organization)s, %(dashboard)s, c.id, '08:00', 'Europe/London', now() + interval '1 day'
from apm_contact_methods as c where c.organization_id = %(organization)s and c.name = 'Own';
insert into apm_private.mail_papers (organization_id, id, name, content, made_at)
values (%(organization)s, %(dashboard)s, 'dashboard.pdf', 'x', now());
insert into apm_retention (organization_id, raw_days)
values (%(organization)s, 7);
insert into apm_silences (organization_id, matchers, ends_at, reason, owner)
values (%(organization)s, '[{"label": "service", "operator": "=", "value": "forms"}]', now() + interval '1 hour', 'Moving', 'Priya');
insert into apm_maintenance_windows (organization_id, name, starts_at, ends_at)
values (%(organization)s, 'New server', now(), now() + interval '1 hour');
insert into apm_inhibition_rules (organization_id, name, source_matchers, target_matchers)
values (
    %(organization)s, 'Forms', '[{"label": "service", "operator": "=", "value": "database"}]',
    '[{"label": "service", "operator": "=", "value": "forms"}]'
);
insert into apm_heartbeats (organization_id, name, period)
values (%(organization)s, 'Nightly export', '1 day');
insert into apm_status_pages (organization_id, slug, title, is_public, check_ids)
values (%(organization)s, 'page-of-' || %(organization)s::text, 'Fern & Field', true, array[%(check)s::uuid]);
insert into apm_status_notes (organization_id, body) values (%(organization)s, 'We have found the cause.');
insert into apm_status_subscribers (organization_id, address) values (%(organization)s, 'guest@example.com');
insert into apm_status_problems (organization_id, check_id, state, began_at, changed_at)
values (%(organization)s, %(check)s, 'slow', now(), now());
insert into apm_private.status_links (token_hash, organization_id, subscriber_id, purpose)
select sha256(s.id::text::bytea), s.organization_id, s.id, 'leave' from apm_status_subscribers as s
where s.organization_id = %(organization)s;
with drill as (
    insert into apm_drills (organization_id, cause, planned_at, started_at, ends_at)
    values (%(organization)s, 'asked', now(), now(), now() + interval '15 minutes') returning organization_id, id
)
insert into apm_drill_calls (organization_id, drill_id, contact_method_id, person, name, channel, delivery_id)
select d.organization_id, d.id, %(contact)s, 'named priya', 'Priya', 'email', %(delivery)s from drill as d;
insert into apm_drill_schedules (organization_id, every, weekday, local_time, time_zone)
values (%(organization)s, 'month', 3, '10:00', 'Europe/London');
