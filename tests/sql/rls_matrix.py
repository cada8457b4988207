"""Who may do what with each table: written by hand from the security model, not from the policies."""

from dataclasses import dataclass
from typing import Final

from tests.support.people import (
    AUDITOR,
    OPERATOR,
    ROLES_IN,
    SERVICE,
    Person,
)

RANKS: Final = ("VIEWER", "MEMBER", "ADMIN", "OWNER")
ON_CALL: Final = (OPERATOR,)
OPERATORS: Final = (OPERATOR, AUDITOR)


@dataclass(frozen=True, slots=True)
class Access:
    """The weakest role in an organization that may do it there (None: nobody), and the operators who may.

    `services` are the commands of service_role, which acts for every organization.
    """

    select: str | None = None
    insert: str | None = None
    update: str | None = None
    delete: str | None = None
    operators_see: tuple[Person, ...] = ()
    operators_insert: tuple[Person, ...] = ()
    operators_update: tuple[Person, ...] = ()
    services: tuple[str, ...] = ("select", "insert", "update", "delete")

    def allows(self, command: str, person: Person, letter: str) -> bool:
        """Whether the person may do that to rows of organization A or B."""
        if person is SERVICE:
            return command in self.services
        if command == "select" and person in self.operators_see:
            return True
        if command == "insert" and person in self.operators_insert:
            return True
        if command == "update" and person in self.operators_update:
            return True
        needed = {
            "select": self.select,
            "insert": self.insert,
            "update": self.update,
            "delete": self.delete,
        }[command]
        has = ROLES_IN[letter].get(person)
        return needed is not None and has is not None and RANKS.index(has) >= RANKS.index(needed)


READ_BY_ALL: Final = Access(select="VIEWER")
MANAGED: Final = Access(select="VIEWER", insert="ADMIN", update="ADMIN", delete="ADMIN")
MANAGED_NAMES: Final = Access(select="MEMBER", insert="ADMIN", update="ADMIN", delete="ADMIN")

WRITTEN_BY_MEMBERS: Final = Access(
    select="VIEWER",
    insert="MEMBER",
    update="MEMBER",
    delete="MEMBER",
    operators_see=OPERATORS,
    operators_insert=ON_CALL,
    operators_update=ON_CALL,
)

TENANT_TABLES: Final[dict[str, Access]] = {
    "public.organizations": READ_BY_ALL,
    "public.user_profiles": READ_BY_ALL,
    "public.clients": MANAGED_NAMES,
    "public.apm_memberships": MANAGED,
    "public.apm_api_keys": Access(select="ADMIN", insert="ADMIN", update="ADMIN"),
    "public.apm_audit_log": Access(select="ADMIN", services=("select", "insert")),
    "public.apm_weddings": MANAGED,
    "public.apm_wedding_people": MANAGED_NAMES,
    "public.apm_wedding_windows": MANAGED,
    "public.apm_wedding_imports": Access(
        select="ADMIN", insert="ADMIN", update="ADMIN", delete="ADMIN"
    ),
    "public.apm_wedding_import_runs": Access(select="ADMIN", insert="ADMIN"),
    "public.apm_readiness_reports": Access(select="VIEWER", operators_see=OPERATORS),
    "public.apm_series": READ_BY_ALL,
    "public.apm_metrics": READ_BY_ALL,
    "public.apm_refusals": READ_BY_ALL,
    "public.apm_annotations": READ_BY_ALL,
    "public.apm_metric_aggregations": READ_BY_ALL,
    "public.apm_retention": MANAGED,
    "public.apm_configurations": MANAGED,
    "public.apm_alerts": MANAGED,
    "public.apm_alert_states": READ_BY_ALL,
    "public.service_health_checks": Access(
        select="VIEWER", insert="ADMIN", update="ADMIN", delete="ADMIN", operators_see=OPERATORS
    ),
    "public.apm_service_status_history": READ_BY_ALL,
    "public.apm_service_tallies": READ_BY_ALL,
    "public.apm_incidents": Access(
        select="VIEWER",
        insert="MEMBER",
        update="MEMBER",
        operators_see=OPERATORS,
        operators_update=ON_CALL,
    ),
    "public.apm_incident_events": Access(
        select="VIEWER",
        insert="MEMBER",
        operators_see=OPERATORS,
        operators_insert=ON_CALL,
        services=("select", "insert", "delete"),
    ),
    "public.apm_incident_parts": Access(select="VIEWER", operators_see=OPERATORS),
    "public.apm_postmortems": WRITTEN_BY_MEMBERS,
    "public.apm_postmortem_actions": WRITTEN_BY_MEMBERS,
    "public.apm_wedding_emergency_contacts": MANAGED_NAMES,
    "public.apm_contact_methods": MANAGED_NAMES,
    "public.apm_quiet_hours": MANAGED_NAMES,
    "public.apm_escalation_policies": MANAGED,
    "public.apm_escalation_steps": MANAGED,
    "public.apm_escalation_targets": MANAGED,
    "public.apm_escalation_schedules": MANAGED,
    "public.apm_on_call_schedules": MANAGED,
    "public.apm_on_call_layers": MANAGED,
    "public.apm_on_call_overrides": Access(
        select="VIEWER", insert="MEMBER", update="MEMBER", delete="MEMBER"
    ),
    "public.apm_on_call_temporary_schedules": MANAGED,
    "public.apm_notification_rules": MANAGED,
    "public.apm_notification_groups": Access(select="VIEWER", operators_see=OPERATORS),
    "public.apm_escalation_runs": Access(select="VIEWER", operators_see=OPERATORS),
    "public.apm_deliveries": Access(select="MEMBER", operators_see=ON_CALL),
    "public.apm_delivery_attempts": Access(select="MEMBER", operators_see=ON_CALL),
    "public.apm_dashboards": MANAGED,
    "public.apm_dashboard_mails": Access(select="VIEWER", insert="ADMIN", delete="ADMIN"),
    "public.apm_silences": Access(select="VIEWER", insert="MEMBER", operators_see=OPERATORS),
    "public.apm_maintenance_windows": Access(
        select="VIEWER", insert="ADMIN", update="ADMIN", delete="ADMIN", operators_see=OPERATORS
    ),
    "public.apm_inhibition_rules": MANAGED,
    "public.apm_heartbeats": MANAGED,
    "public.apm_status_pages": MANAGED,
    "public.apm_status_notes": Access(select="VIEWER", insert="ADMIN", delete="ADMIN"),
    "public.apm_status_subscribers": Access(select="ADMIN", delete="ADMIN"),
    "public.apm_status_problems": READ_BY_ALL,
    "public.apm_drills": READ_BY_ALL,
    "public.apm_drill_calls": Access(select="MEMBER"),
    "public.apm_drill_schedules": MANAGED,
}
"""Tables whose rows belong to an organization."""

OTHER_TABLES: Final = frozenset(
    {
        "public.apm_operators",  # operators see each other
        "public.apm_idempotency_keys",  # each caller sees his own
    }
)
"""Tables with a test of their own."""

CLOSED_SCHEMAS: Final = ("apm_private", "apm_partitions")
"""Nobody at the door may even name what is in these."""
