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
    organization_id, alert_id, series_id, state, threshold_value, threshold_source, sample_count, changed_at, evaluated_at
) values (%(organization)s, %(alert)s, 1, 'ok', 500, 'rule', 1, now(), now());
insert into service_health_checks (id, organization_id, service_name, display_name, endpoint_url)
values (%(check)s, %(organization)s, 'forms', 'Order form', 'https://example.com/');

insert into apm_contact_methods (id, organization_id, name, channel, address)
values (%(contact)s, %(organization)s, 'Priya', 'email', 'priya@example.com');
insert into apm_escalation_policies (id, organization_id, name, is_default)
values (%(policy)s, %(organization)s, 'Everybody', true);
insert into apm_escalation_steps (id, organization_id, policy_id, position, delay)
values (%(step)s, %(organization)s, %(policy)s, 1, '0');
insert into apm_escalation_targets (organization_id, step_id, contact_method_id)
values (%(organization)s, %(step)s, %(contact)s);
insert into apm_notification_rules (id, organization_id, name, escalation_policy_id)
values (%(rule)s, %(organization)s, 'All warnings', %(policy)s);

insert into apm_incidents (id, organization_id, alert_id, title, severity, priority, dedup_key, detected_at, last_seen_at)
values (%(incident)s, %(organization)s, %(alert)s, 'The form is slow', 'warning', 'medium', 'seeded', now(), now());
insert into apm_deliveries (id, organization_id, incident_id, contact_method_id, channel, kind, reason, idempotency_key)
values (%(delivery)s, %(organization)s, %(incident)s, %(contact)s, 'email', 'page', 'first', 'seeded');
insert into apm_delivery_attempts (organization_id, delivery_id, attempt)
values (%(organization)s, %(delivery)s, 1);
insert into apm_idempotency_keys (organization_id, subject, key, request_hash, response_status, response_body)
values (%(organization)s, %(key)s, 'seeded', '\x00', 201, '{}');
insert into apm_dashboards (id, organization_id, name)
values (%(dashboard)s, %(organization)s, 'Saturday');
insert into apm_retention (organization_id, raw_days)
values (%(organization)s, 7);
