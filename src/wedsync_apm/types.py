"""The words that the database's enums and our columns use, spelled exactly as there."""

from enum import StrEnum


class Severity(StrEnum):
    """`alert_severity`, mildest first."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"
    EMERGENCY = "emergency"

    @property
    def rank(self) -> int:
        """0 for the mildest; compare ranks, never the labels."""
        return list(Severity).index(self)


class Priority(StrEnum):
    """`alert_priority`, lowest first."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"


class IncidentStatus(StrEnum):
    """`incident_status`; the comment names what may follow."""

    OPEN = "open"  # -> acknowledged, investigating, resolved, closed
    ACKNOWLEDGED = "acknowledged"  # -> investigating, resolved, closed
    INVESTIGATING = "investigating"  # -> resolved, closed
    RESOLVED = "resolved"  # -> open (a new breach in the reopen window, or by hand), closed
    CLOSED = "closed"  # the end


class EscalationLevel(StrEnum):
    """`escalation_level`, nearest to the work first."""

    NONE = "none"
    TEAM_LEAD = "team_lead"
    MANAGER = "manager"
    DIRECTOR = "director"
    EXECUTIVE = "executive"


class Provider(StrEnum):
    """`apm_provider`."""

    DATADOG = "datadog"
    NEWRELIC = "newrelic"
    PROMETHEUS = "prometheus"
    GRAFANA = "grafana"
    CUSTOM = "custom"
    PINGDOM = "pingdom"
    UPTIME_ROBOT = "uptime_robot"


class ServiceStatus(StrEnum):
    """`service_status`."""

    HEALTHY = "healthy"
    WARNING = "warning"
    CRITICAL = "critical"
    UNKNOWN = "unknown"
    MAINTENANCE = "maintenance"


class Channel(StrEnum):
    """`notification_channel`."""

    EMAIL = "email"
    SMS = "sms"
    VOICE = "voice"
    SLACK = "slack"
    WEBHOOK = "webhook"
    PAGERDUTY = "pagerduty"
    PUSH = "push"
    APPRISE = "apprise"


class Role(StrEnum):
    """What a person may do within an organization, most powerful first."""

    OWNER = "OWNER"  # all that ADMIN may, and the organization itself
    ADMIN = "ADMIN"  # writes everything
    MEMBER = "MEMBER"  # reads; acknowledges incidents
    VIEWER = "VIEWER"  # reads, with the couples' names as initials


class KeyScope(StrEnum):
    """What an API key is for."""

    INGEST = "ingest"
    READ = "read"
    ADMIN = "admin"


class OperatorRole(StrEnum):
    """What one of the platform's own engineers is there for."""

    ONCALL = "oncall"
    DBA = "dba"
    AUDITOR = "auditor"
