"""What every start brings up to date first: schema, logins, the platform's own organization."""

import secrets
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Final
from uuid import UUID, uuid5

import psycopg

from wedsync_apm.administration import furnish, store
from wedsync_apm.config import Settings, load_or_create_secret
from wedsync_apm.db import migrate
from wedsync_apm.db.logins import role_conninfo, role_password
from wedsync_apm.organizations.keys import make_key
from wedsync_apm.rules.aggregate import Aggregation
from wedsync_apm.rules.model import Operator, RuleDraft
from wedsync_apm.types import KeyScope, Severity

PLATFORM_NAME: Final = "WedSync APM (this platform)"


@dataclass(frozen=True, slots=True)
class Platform:
    """The organization in which the platform watches itself, and the key that it writes with."""

    organization_id: UUID
    key: str = field(repr=False)


def prepare_database(settings: Settings) -> None:
    """Schema and passwords as this release needs them.

    Raises ConfigurationError when the schema cannot be brought up, before its first change.
    """
    owner = settings.direct_url or settings.database_url or ""
    migrate.up(owner)
    stale = {
        role: role_password(settings.data_dir, role)
        for role in migrate.LOGIN_ROLES
        if not _can_enter(role_conninfo(settings, role, direct=True))
    }
    if stale:
        migrate.set_role_passwords(owner, stale)


def prepare_platform(conninfo: str, data_dir: Path, url: str) -> Platform:
    """Our own organization, its key, and the rules and checks of its own endpoints."""
    key = load_or_create_secret(data_dir, "selfwatch_key", lambda: make_key(KeyScope.INGEST).secret)
    with store.connect(conninfo, actor="wedsync-apm up") as cx, cx.transaction():
        organization_id = store.find_platform(cx)
        if organization_id is None:
            organization_id = store.create_organization(
                cx, name=PLATFORM_NAME, time_zone="UTC", vendor_type="platform"
            )
            store.set_platform(cx, organization_id)
        furnish.put_key(
            cx, key, name="self-watch", scope=KeyScope.INGEST, organization_id=organization_id
        )
        furnish.put_checks(cx, organization_id, own_checks(url))
        furnish.put_rules(cx, organization_id, OWN_RULES)
        furnish.put_dashboards(cx, organization_id, "platform")
    return Platform(organization_id, key)


def is_unpeopled(conninfo: str) -> bool:
    """Whether nobody can sign in yet."""
    with store.connect(conninfo, actor="wedsync-apm up") as cx:
        return furnish.count_users(cx) == 0


def own_checks(url: str) -> tuple[furnish.Check, ...]:
    """Our own endpoints, looked at as a visitor would."""
    alive = furnish.Check(
        service_name="api",
        display_name="API is up",
        endpoint_url=f"{url}/healthz",
        wedding_critical=True,
        check_seconds=15,
        timeout_seconds=5,
        response_time_threshold_ms=500,
    )
    return (
        alive,
        replace(
            alive,
            service_name="readiness",
            display_name="Database, schema and engine",
            endpoint_url=f"{url}/readyz",
        ),
        replace(
            alive,
            service_name="pages",
            display_name="Sign-in page",
            endpoint_url=f"{url}/sign-in",
            check_seconds=30,
        ),
    )


OWN_RULES: Final = (
    RuleDraft(
        alert_name="Host processor is busy",
        description="The whole machine, for five minutes.",
        metric_pattern="host.cpu_percent",
        comparison_operator=Operator.ABOVE,
        threshold_value=95,
        clear_threshold_value=85,
        for_duration=timedelta(minutes=5),
        wedding_day_override=False,
    ),
    RuleDraft(
        alert_name="Host memory runs out",
        description="Share of the memory that is in use and cannot be given back.",
        metric_pattern="host.memory_percent",
        comparison_operator=Operator.ABOVE,
        threshold_value=92,
        clear_threshold_value=88,
        for_duration=timedelta(minutes=2),
        severity=Severity.CRITICAL,
        wedding_day_override=False,
    ),
    RuleDraft(
        alert_name="Disk of the data folder fills up",
        description="At 100 % no sample can be stored any more.",
        metric_pattern="host.disk_percent",
        aggregation=Aggregation.LAST,
        comparison_operator=Operator.ABOVE,
        threshold_value=90,
        clear_threshold_value=88,
        severity=Severity.CRITICAL,
        wedding_day_override=False,
    ),
    RuleDraft(
        alert_name="Database connections run out",
        description="Share of max_connections in use.",
        metric_pattern="postgresql.connections_percent",
        aggregation=Aggregation.MAX,
        comparison_operator=Operator.ABOVE,
        threshold_value=80,
        clear_threshold_value=70,
        for_duration=timedelta(minutes=1),
        severity=Severity.CRITICAL,
        wedding_day_override=False,
    ),
    RuleDraft(
        alert_name="The archive of the log falls behind",
        description="What would be lost with this machine; seconds. A full or missing destination "
        "of the backups.",
        metric_pattern="postgresql.archive_lag_seconds",
        aggregation=Aggregation.LAST,
        comparison_operator=Operator.ABOVE,
        threshold_value=120,
        clear_threshold_value=60,
        for_duration=timedelta(minutes=1),
        severity=Severity.CRITICAL,
        wedding_day_override=False,
    ),
    RuleDraft(
        alert_name="The last backup is old",
        description="Seconds since the last one was finished; one is taken every day.",
        metric_pattern="postgresql.backup_age_seconds",
        aggregation=Aggregation.LAST,
        comparison_operator=Operator.ABOVE,
        threshold_value=30 * 3600,
        wedding_day_override=False,
    ),
    RuleDraft(
        alert_name="A transaction stays open",
        description="It keeps old row versions alive; seconds since the oldest one began.",
        metric_pattern="postgresql.oldest_transaction_seconds",
        aggregation=Aggregation.LAST,
        comparison_operator=Operator.ABOVE,
        threshold_value=900,
        wedding_day_override=False,
    ),
    RuleDraft(
        alert_name="A line of the health report is red",
        description="Each line of the report by itself; the page Database says what to do.",
        metric_pattern="database_health.line_red",
        group_by=("line",),
        aggregation=Aggregation.LAST,
        comparison_operator=Operator.ABOVE,
        threshold_value=0,
        severity=Severity.CRITICAL,
        wedding_day_override=False,
    ),
    RuleDraft(
        alert_name="The database's health is not measured",
        description="Seconds since the engine last looked; it does so every minute.",
        metric_pattern="database_health.since_measured_seconds",
        aggregation=Aggregation.LAST,
        comparison_operator=Operator.ABOVE,
        threshold_value=300,
        severity=Severity.CRITICAL,
        wedding_day_override=False,
    ),
)


def named_id(*parts: str) -> UUID:
    """The same id for the same words, so that what is put twice is there once."""
    return uuid5(UUID("6f0f9a52-6f2c-4c4e-9d25-3d5a2d6f7c11"), "/".join(parts))


def new_password() -> str:
    """A password for a demo login: typed by hand, so neither long nor ambiguous."""
    alphabet = "abcdefghijkmnpqrstuvwxyz23456789"
    return "-".join("".join(secrets.choice(alphabet) for _ in range(4)) for _ in range(3))


def _can_enter(conninfo: str) -> bool:
    try:
        psycopg.connect(conninfo, connect_timeout=10).close()
    except psycopg.OperationalError:
        return False
    return True
