"""What an organization begins with: rules, services, contacts, a ladder, weddings.

Everything may be put again: what is there already stays as people have made it since.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import date, datetime, timedelta
from uuid import UUID

from psycopg.types.json import Jsonb

from wedsync_apm.administration.store import AdminConnection, Q
from wedsync_apm.dashboards.reading import split
from wedsync_apm.dashboards.templates import templates, templates_for
from wedsync_apm.organizations.keys import SHOWN_CHARACTERS, hash_key
from wedsync_apm.rules.model import RuleDraft
from wedsync_apm.rules.store import parameters_of
from wedsync_apm.types import Channel, EscalationLevel, KeyScope


@dataclass(frozen=True, slots=True)
class Check:
    """A service to watch: by a call to its endpoint, or by one of its metrics."""

    service_name: str
    display_name: str
    service_type: str = "http"
    endpoint_url: str | None = None
    source_metric: str | None = None
    wedding_critical: bool = False
    vendor_facing: bool = True
    couple_facing: bool = False
    check_seconds: float = 60.0
    timeout_seconds: float = 10.0
    expected_status_codes: tuple[int, ...] = (200,)
    response_time_threshold_ms: float = 5000.0


@dataclass(frozen=True, slots=True)
class Contact:
    """Whom to reach, and how."""

    id: UUID
    name: str
    channel: Channel
    address: str
    user_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """A rung: after how long, and whom it reaches."""

    level: EscalationLevel
    delay: timedelta
    wedding_delay: timedelta
    contacts: tuple[Contact, ...]


@dataclass(frozen=True, slots=True)
class Wedding:
    """A simulated wedding; the phases lie in absolute time, the date in the venue's calendar."""

    id: UUID
    couple_names: str
    couple_initials: str
    venue_name: str
    wedding_date: date
    time_zone: str
    status: str = "booked"
    phases: Mapping[str, tuple[datetime, datetime]] = field(default_factory=dict)


def read_clock(cx: AdminConnection) -> datetime:
    """Now, as the database has it."""
    row = cx.execute(Q.read_clock).fetchone()
    if row is None:  # a select without a table always gives one row
        raise AssertionError
    at: datetime = row["at"]
    return at


def count_users(cx: AdminConnection) -> int:
    """How many people can sign in."""
    row = cx.execute(Q.count_users).fetchone()
    return row["users"] if row else 0


def put_key(
    cx: AdminConnection, secret: str, *, name: str, scope: KeyScope, organization_id: UUID
) -> None:
    """Lets the database know a key that was made before. One that people revoked stays revoked."""
    cx.execute(
        Q.put_key,
        {
            "organization_id": organization_id,
            "name": name,
            "scope": scope.value,
            "key_hash": hash_key(secret),
            "prefix": secret[:SHOWN_CHARACTERS],
        },
    )


def put_rules(cx: AdminConnection, organization_id: UUID, rules: Iterable[RuleDraft]) -> None:
    """Rules to begin with."""
    for rule in rules:
        cx.execute(Q.put_rule, parameters_of(rule) | {"organization_id": organization_id})


def put_dashboards(cx: AdminConnection, organization_id: UUID, vendor_type: str) -> None:
    """The dashboards of a trade; the first is the one that is opened first."""
    for place, key in enumerate(templates_for(vendor_type)):
        document = templates()[key]
        layout, variables = split(document)
        cx.execute(
            Q.put_dashboard,
            {
                "organization_id": organization_id,
                "name": document.name,
                "description": document.description,
                "layout": Jsonb(layout),
                "variables": Jsonb(variables),
                "template_key": key,
                "is_default": place == 0,
            },
        )


def put_checks(cx: AdminConnection, organization_id: UUID, checks: Iterable[Check]) -> None:
    """Services to watch."""
    for check in checks:
        values = asdict(check) | {"expected_status_codes": list(check.expected_status_codes)}
        cx.execute(Q.put_check, values | {"organization_id": organization_id})


def put_ladder(
    cx: AdminConnection,
    organization_id: UUID,
    *,
    name: str,
    steps: tuple[Step, ...],
    repeat_count: int = 0,
) -> None:
    """The default ladder, and the contacts on it."""
    contacts = {contact.id: contact for step in steps for contact in step.contacts}
    for contact in contacts.values():
        cx.execute(
            Q.put_contact,
            {
                "organization_id": organization_id,
                "contact_id": contact.id,
                "user_id": contact.user_id,
                "name": contact.name,
                "channel": contact.channel.value,
                "address": contact.address,
            },
        )
    targets = [(n, c.id) for n, step in enumerate(steps, start=1) for c in step.contacts]
    cx.execute(
        Q.put_ladder,
        {
            "organization_id": organization_id,
            "name": name,
            "repeat_count": repeat_count,
            "levels": [step.level.value for step in steps],
            "delays": [step.delay.total_seconds() for step in steps],
            "wedding_delays": [step.wedding_delay.total_seconds() for step in steps],
            "target_positions": [position for position, _ in targets],
            "target_ids": [contact_id for _, contact_id in targets],
        },
    )


def put_wedding(cx: AdminConnection, organization_id: UUID, wedding: Wedding) -> None:
    """The wedding as it is to be, in one transaction."""
    place = {"organization_id": organization_id, "wedding_id": wedding.id}
    with cx.transaction():
        cx.execute(Q.put_wedding, asdict(wedding) | place)
        cx.execute(Q.put_wedding_people, place | {"couple_names": wedding.couple_names})
        cx.execute(
            Q.put_wedding_windows,
            place
            | {
                "phases": list(wedding.phases),
                "starts": [starts for starts, _ in wedding.phases.values()],
                "ends": [ends for _, ends in wedding.phases.values()],
            },
        )
