"""For each index the query that needs it, and the role that really runs that query."""

from typing import Final

MEMBER: Final = "authenticated"
ENGINE: Final = "apm_engine"
OWNER: Final = "owner"
"""Also what a foreign key's own query runs as, when a parent goes."""

PURPOSES: Final[dict[str, tuple[str, str]]] = {
    "idx_apm_api_keys_organization": (
        MEMBER,
        "select id, name from apm_api_keys where organization_id = %(o)s order by created_at desc limit 50",
    ),
    "idx_apm_audit_log_organization_at": (
        MEMBER,
        "select * from apm_audit_log where organization_id = %(o)s order by at desc limit 50",
    ),
    "idx_apm_weddings_organization_date": (
        MEMBER,
        "select * from apm_weddings where organization_id = %(o)s and wedding_date between current_date and current_date + 7 order by wedding_date",
    ),
    "idx_apm_weddings_shared": (OWNER, "select * from apm_weddings where shared_key = %(o)s"),
    "idx_apm_wedding_import_runs_organization": (
        MEMBER,
        "select * from apm_wedding_import_runs where organization_id = %(o)s order by imported_at desc, id limit 20",
    ),
    "idx_apm_wedding_codes_organization": (
        OWNER,
        "delete from only apm_private.wedding_codes where organization_id = %(o)s",
    ),
    "idx_apm_series_organization_name": (
        MEMBER,
        "select * from apm_series where organization_id = %(o)s and service_name = 'service_1' and metric_name = 'metric_6'",
    ),
    "idx_apm_metrics_organization_timestamp": (
        MEMBER,
        "select count(*) from apm_samples_between(now() - interval '10 minutes', now()) where organization_id = %(o)s",
    ),
    "idx_apm_metrics_wedding": (
        MEMBER,
        "select * from apm_metrics where organization_id = %(o)s and (wedding_context->>'is_wedding_day')::boolean = true",
    ),
    "idx_apm_metrics_compacted": (
        MEMBER,
        "select count(*) from apm_samples_between(now() - interval '10 minutes', now()) where organization_id = %(o)s",
    ),
    "idx_apm_flushes_xid": (
        ENGINE,
        "select * from apm_private.flushes where xid >= '900000000'::xid8 or xid = any (array(select pg_snapshot_xip(pg_current_snapshot())))",
    ),
    "idx_apm_aggregations_organization_bucket": (
        MEMBER,
        "select * from apm_metric_aggregations where organization_id = %(o)s and time_bucket >= now() - interval '24 hours' order by time_bucket desc",
    ),
    "idx_apm_alerts_id": (ENGINE, "select * from apm_alerts where id = %(o)s"),
    "idx_apm_alerts_active": (
        ENGINE,
        "select * from apm_alerts where organization_id = any (array[%(o)s]) and is_active",
    ),
    "idx_apm_alert_states_unsettled": (
        ENGINE,
        "select * from apm_alert_states where organization_id = %(o)s and state <> 'ok'",
    ),
    "idx_apm_health_checks_due": (
        ENGINE,
        "select * from service_health_checks where is_active and next_check_at <= now() order by next_check_at limit 20",
    ),
    "idx_apm_health_checks_shared": (
        ENGINE,
        "select min(effective_interval) from service_health_checks where shared_key = 'stripe_payments' and is_active",
    ),
    "idx_apm_health_checks_organization": (
        MEMBER,
        "select * from service_health_checks where organization_id = %(o)s order by display_name",
    ),
    "idx_apm_incidents_live_dedup": (
        ENGINE,
        "select id from apm_incidents where organization_id = %(o)s and dedup_key = 'x' and status in ('open', 'acknowledged', 'investigating')",
    ),
    "idx_apm_incidents_id": (MEMBER, "select * from apm_incidents where id = %(o)s"),
    "idx_apm_incidents_live": (
        MEMBER,
        "select * from apm_incidents where organization_id = %(o)s and status in ('open','acknowledged') order by priority desc, detected_at desc",
    ),
    "idx_apm_incidents_organization_detected": (
        MEMBER,
        "select * from apm_incidents where organization_id = %(o)s order by detected_at desc limit 50",
    ),
    "idx_apm_incidents_dedup": (
        ENGINE,
        "select id from apm_incidents where organization_id = %(o)s and dedup_key = 'x' order by resolved_at desc limit 1",
    ),
    "idx_apm_incidents_merged": (
        OWNER,
        "update only apm_incidents set merged_into = null where organization_id = %(o)s and merged_into = %(o)s",
    ),
    "idx_apm_incidents_alert": (
        MEMBER,
        "select * from apm_incidents where organization_id = %(o)s and alert_id = %(o)s",
    ),
    "idx_apm_incidents_ack_due": (
        ENGINE,
        "select id from apm_incidents where status in ('acknowledged', 'investigating') and ack_expires_at <= now() order by ack_expires_at limit 200",
    ),
    "idx_apm_incidents_promise_due": (
        ENGINE,
        "select id from apm_incidents where next_update_at <= now() - interval '400 days' and status in ('open', 'acknowledged', 'investigating') order by next_update_at limit 200",
    ),
    "idx_apm_incident_parts_whole": (
        OWNER,
        "select * from apm_incident_parts where whole_id = %(o)s",
    ),
    "idx_apm_postmortem_actions_open": (
        MEMBER,
        "select * from apm_postmortem_actions where organization_id = %(o)s and done_at is null order by due_on limit 20",
    ),
    "idx_apm_postmortem_actions_incident": (
        OWNER,
        "delete from only apm_postmortem_actions where organization_id = %(o)s and incident_id = %(o)s",
    ),
    "idx_apm_postmortem_actions_untold": (
        ENGINE,
        "select * from apm_postmortem_actions where due_on < current_date - 1000 and done_at is null and told_at is null order by due_on limit 200",
    ),
    "idx_apm_postmortem_actions_told": (
        ENGINE,
        "select * from apm_postmortem_actions where told_at <= now() - interval '400 days' and done_at is null and owners_told_at is null order by told_at limit 200",
    ),
    "idx_apm_wedding_emergency_contacts_contact": (
        OWNER,
        "delete from only apm_wedding_emergency_contacts where organization_id = %(o)s and contact_method_id = %(o)s",
    ),
    "idx_apm_drills_organization_started": (
        MEMBER,
        "select * from apm_drills where organization_id = %(o)s order by started_at desc limit 20",
    ),
    "idx_apm_drills_running": (
        ENGINE,
        "select * from apm_drills where ended_at is null order by ends_at limit 500 for update skip locked",
    ),
    "idx_apm_drill_calls_contact": (
        OWNER,
        "delete from only apm_drill_calls where organization_id = %(o)s and contact_method_id = %(o)s",
    ),
    "idx_apm_drill_schedules_next": (
        ENGINE,
        "select * from apm_drill_schedules where next_at <= now() order by next_at limit 100 for update skip locked",
    ),
    "idx_apm_drill_links_delivery": (
        OWNER,
        "delete from only apm_private.drill_links where organization_id = %(o)s and delivery_id = %(o)s",
    ),
    "idx_apm_incident_events_incident": (
        MEMBER,
        "select * from apm_incident_events where organization_id = %(o)s and incident_id = %(o)s order by at",
    ),
    "idx_apm_contact_methods_organization": (
        MEMBER,
        "select id, name from apm_contact_methods where organization_id = %(o)s order by name",
    ),
    "idx_apm_escalation_policies_default": (
        ENGINE,
        "select * from apm_escalation_policies where organization_id = %(o)s and is_default",
    ),
    "idx_apm_escalation_targets_contact": (
        OWNER,
        "delete from only apm_escalation_targets where organization_id = %(o)s and contact_method_id = %(o)s",
    ),
    "idx_apm_escalation_schedules_schedule": (
        OWNER,
        "delete from only apm_escalation_schedules where organization_id = %(o)s and schedule_id = %(o)s",
    ),
    "idx_apm_on_call_overrides_schedule": (
        OWNER,
        "select * from apm_on_call_overrides where organization_id = %(o)s and schedule_id = %(o)s and ends_at > now()",
    ),
    "idx_apm_on_call_temporary_schedule": (
        OWNER,
        "select * from apm_on_call_temporary_schedules where organization_id = %(o)s and schedule_id = %(o)s and ends_at > now()",
    ),
    "idx_apm_notification_rules_policy": (
        ENGINE,
        "select * from apm_notification_rules where organization_id = %(o)s and escalation_policy_id = %(o)s",
    ),
    "idx_apm_notification_rules_parent": (
        OWNER,
        "delete from only apm_notification_rules where organization_id = %(o)s and parent_id = %(o)s",
    ),
    "idx_apm_notification_groups_due": (
        ENGINE,
        "select * from apm_notification_groups where next_at <= now() - interval '400 days' order by next_at limit 200 for update skip locked",
    ),
    "idx_apm_notification_group_members_incident": (
        OWNER,
        "delete from only apm_private.notification_group_members where organization_id = %(o)s and incident_id = %(o)s",
    ),
    "idx_apm_deliveries_lanes": (
        ENGINE,
        "select organization_id from apm_deliveries where state in ('pending', 'retry', 'unknown') and priority = 1 "
        "and channel = 'email' and organization_id > %(o)s order by organization_id limit 1",
    ),
    "idx_apm_deliveries_throttled": (
        ENGINE,
        "select * from apm_deliveries where organization_id = %(o)s and contact_method_id = %(o)s and state = 'pending' "
        "and throttled_at is not null",
    ),
    "idx_apm_deliveries_bundled": (
        OWNER,
        "delete from only apm_deliveries where organization_id = %(o)s and bundled_into = %(o)s",
    ),
    "idx_apm_deliveries_stands_in": (
        OWNER,
        "delete from only apm_deliveries where organization_id = %(o)s and stands_in_for = %(o)s",
    ),
    "idx_apm_deliveries_fail_over": (
        ENGINE,
        "select * from apm_deliveries where fail_over_at is not null and (fail_over_at <= now() or state = 'failed') "
        "order by fail_over_at limit 100 for update skip locked",
    ),
    "idx_apm_notification_rules_order": (
        ENGINE,
        "select * from apm_notification_rules where organization_id = %(o)s and is_active order by position",
    ),
    "idx_apm_escalation_runs_due": (
        ENGINE,
        "select * from apm_escalation_runs where state = 'running' and next_at <= now() order by next_at limit 20 for update skip locked",
    ),
    "idx_apm_deliveries_due": (
        ENGINE,
        "select * from apm_deliveries where state in ('pending', 'retry', 'unknown') and due_at <= now() order by priority desc, due_at limit 20 for update skip locked",
    ),
    "idx_apm_deliveries_leased": (
        ENGINE,
        "select * from apm_deliveries where state in ('leased', 'sending') and lease_until < now()",
    ),
    "idx_apm_deliveries_organization_created": (
        MEMBER,
        "select id, state from apm_deliveries where organization_id = %(o)s order by created_at desc limit 50",
    ),
    "idx_apm_deliveries_incident": (
        MEMBER,
        "select id, state from apm_deliveries where organization_id = %(o)s and incident_id = %(o)s",
    ),
    "idx_apm_deliveries_contact": (
        OWNER,
        "update only apm_deliveries set contact_method_id = null where organization_id = %(o)s and contact_method_id = %(o)s",
    ),
    "idx_apm_deliveries_provider_message": (
        ENGINE,
        "select * from apm_deliveries where channel in ('sms', 'voice') and provider_id = 'CAone'",
    ),
    "idx_apm_deliveries_id": (
        MEMBER,
        "select id, state from apm_deliveries where id = %(o)s",
    ),
    "idx_apm_contact_methods_number": (
        ENGINE,
        "select * from apm_contact_methods where address = '+447700900123' and channel in ('sms', 'voice')",
    ),
    "idx_apm_channel_events_incident": (
        OWNER,
        "delete from only apm_private.channel_events where organization_id = %(o)s and incident_id = %(o)s",
    ),
    "idx_apm_auditor_findings_organization": (
        OWNER,
        "delete from only apm_private.auditor_findings where organization_id = %(o)s",
    ),
    "idx_apm_dashboard_mails_next": (
        ENGINE,
        "select * from apm_dashboard_mails where next_at <= now() order by next_at, id limit 5",
    ),
    "idx_apm_dashboard_mails_contact": (
        OWNER,
        "delete from only apm_dashboard_mails where organization_id = %(o)s and contact_method_id = %(o)s",
    ),
    "idx_apm_dashboard_mails_id": (
        ENGINE,
        "select * from apm_dashboard_mails where id = %(o)s",
    ),
    "idx_apm_mail_papers_made": (
        ENGINE,
        "delete from apm_private.mail_papers where made_at < now() - interval '3 days'",
    ),
    "idx_apm_status_notes_untold": (
        ENGINE,
        "select * from apm_status_notes where told_at is null and posted_at > now() - interval '1 day'",
    ),
    "idx_apm_status_subscribers_unconfirmed": (
        ENGINE,
        "delete from apm_status_subscribers where confirmed_at is null and asked_at < now() - interval '2 days'",
    ),
    "idx_apm_status_problems_check": (
        ENGINE,
        "select * from apm_status_problems where organization_id = %(o)s and check_id = %(o)s order by began_at desc limit 1",
    ),
    "idx_apm_status_problems_open": (
        ENGINE,
        "select * from apm_status_problems where organization_id = %(o)s and ended_at is null",
    ),
    "idx_apm_status_problems_news": (
        ENGINE,
        "select * from apm_status_problems where state <> coalesce(told, 'over') and changed_at <= now() order by changed_at limit 100 for update skip locked",
    ),
    "idx_apm_status_links_subscriber": (
        OWNER,
        "delete from only apm_private.status_links where organization_id = %(o)s and subscriber_id = %(o)s",
    ),
    "idx_apm_status_asks_organization": (
        OWNER,
        "select count(*) from apm_private.status_asks where organization_id = %(o)s and asked_at > now() - interval '1 hour'",
    ),
    "idx_apm_status_asks_address": (
        OWNER,
        "select count(*) from apm_private.status_asks where address_hash = sha256('a') and asked_at > now() - interval '1 day'",
    ),
    "idx_apm_status_asks_caller": (
        OWNER,
        "select count(*) from apm_private.status_asks where caller_hash = sha256('a') and asked_at > now() - interval '1 hour'",
    ),
    "idx_apm_deliveries_subscriber": (
        OWNER,
        "select * from apm_deliveries where organization_id = %(o)s and status_subscriber_id = %(o)s",
    ),
    "idx_apm_acknowledge_links_incident": (
        OWNER,
        "delete from only apm_private.acknowledge_links where organization_id = %(o)s and incident_id = %(o)s",
    ),
    "idx_apm_annotations_organization_occurred": (
        MEMBER,
        "select * from apm_annotations where organization_id = %(o)s and occurred_at >= now() - interval '1 day' order by occurred_at desc, id desc limit 50",
    ),
    "idx_apm_silences_id": (ENGINE, "select * from apm_silences where id = %(o)s"),
    "idx_apm_silences_organization_ends": (
        ENGINE,
        "select * from apm_silences where organization_id = %(o)s and ends_at > now()",
    ),
    "idx_apm_silences_organization_created": (
        MEMBER,
        "select * from apm_silences where organization_id = any (array[%(o)s]::uuid[]) order by created_at desc, id desc limit 50",
    ),
    "idx_apm_inhibition_rules_platform": (
        ENGINE,
        "select * from apm_inhibition_rules where is_platform_wide and is_active",
    ),
    "idx_apm_heartbeats_alarm": (
        ENGINE,
        "select * from apm_heartbeats where alarm_at <= now() order by alarm_at limit 20 for update skip locked",
    ),
    "idx_apm_freeze_approvals_organization": (
        OWNER,
        "delete from only apm_private.freeze_approvals where organization_id = %(o)s",
    ),
    "idx_apm_series_ended": (
        ENGINE,
        "select * from apm_series where organization_id = any (array[%(o)s]::uuid[]) and ended_at >= now() - interval '15 minutes'",
    ),
    "idx_apm_dashboards_default": (
        MEMBER,
        "select * from apm_dashboards where organization_id = %(o)s and is_default",
    ),
}
