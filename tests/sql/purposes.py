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
    "idx_apm_notification_rules_policy": (
        ENGINE,
        "select * from apm_notification_rules where organization_id = %(o)s and escalation_policy_id = %(o)s",
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
        "select * from apm_deliveries where organization_id = %(o)s order by created_at desc limit 50",
    ),
    "idx_apm_deliveries_incident": (
        MEMBER,
        "select * from apm_deliveries where organization_id = %(o)s and incident_id = %(o)s",
    ),
    "idx_apm_deliveries_contact": (
        OWNER,
        "update only apm_deliveries set contact_method_id = null where organization_id = %(o)s and contact_method_id = %(o)s",
    ),
    "idx_apm_acknowledge_links_incident": (
        OWNER,
        "delete from only apm_private.acknowledge_links where organization_id = %(o)s and incident_id = %(o)s",
    ),
    "idx_apm_annotations_organization_occurred": (
        MEMBER,
        "select * from apm_annotations where organization_id = %(o)s and occurred_at >= now() - interval '1 day' order by occurred_at desc, id desc limit 50",
    ),
    "idx_apm_dashboards_default": (
        MEMBER,
        "select * from apm_dashboards where organization_id = %(o)s and is_default",
    ),
}
