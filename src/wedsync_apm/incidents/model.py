"""An incident, its timeline, what may be done with it, and whom it hits.

The database decides what is legal and refuses the rest; `FOLLOWING` mirrors it for what a page
offers, and a test compares the two.

    open <──expired── acknowledged ──> investigating ──> resolved ──> closed
      └────────────────────────────────────────────────────┘ └─reopened─> open
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

from wedsync_apm.types import EscalationLevel, IncidentStatus, Priority, Severity

LIVE: Final = frozenset(
    {IncidentStatus.OPEN, IncidentStatus.ACKNOWLEDGED, IncidentStatus.INVESTIGATING}
)
"""Not over yet."""

FOLLOWING: Final[Mapping[IncidentStatus, frozenset[IncidentStatus]]] = {
    IncidentStatus.OPEN: frozenset(
        {
            IncidentStatus.ACKNOWLEDGED,
            IncidentStatus.INVESTIGATING,
            IncidentStatus.RESOLVED,
            IncidentStatus.CLOSED,
        }
    ),
    IncidentStatus.ACKNOWLEDGED: frozenset(
        {
            IncidentStatus.OPEN,
            IncidentStatus.INVESTIGATING,
            IncidentStatus.RESOLVED,
            IncidentStatus.CLOSED,
        }
    ),
    IncidentStatus.INVESTIGATING: frozenset(
        {IncidentStatus.OPEN, IncidentStatus.RESOLVED, IncidentStatus.CLOSED}
    ),
    IncidentStatus.RESOLVED: frozenset({IncidentStatus.OPEN, IncidentStatus.CLOSED}),
    IncidentStatus.CLOSED: frozenset(),
}


class Action(StrEnum):
    """What a person can do with an incident's status."""

    ACKNOWLEDGE = "acknowledge"
    INVESTIGATE = "investigate"
    RESOLVE = "resolve"
    CLOSE = "close"
    REOPEN = "reopen"

    @property
    def target(self) -> IncidentStatus:
        """The status that it leads to."""
        return _TARGETS[self]


_TARGETS: Final = {
    Action.ACKNOWLEDGE: IncidentStatus.ACKNOWLEDGED,
    Action.INVESTIGATE: IncidentStatus.INVESTIGATING,
    Action.RESOLVE: IncidentStatus.RESOLVED,
    Action.CLOSE: IncidentStatus.CLOSED,
    Action.REOPEN: IncidentStatus.OPEN,
}


def offers(status: IncidentStatus) -> tuple[Action, ...]:
    """The changes of status that a page may offer, the next step first."""
    # Only what is over can come back by hand; an acknowledgement expires by itself.
    return tuple(
        action
        for action, target in _TARGETS.items()
        if target in FOLLOWING[status]
        and (action is not Action.REOPEN or status is IncidentStatus.RESOLVED)
    )


@dataclass(frozen=True, slots=True)
class VendorText:
    """The rule's words for the vendor; every part may be empty."""

    subject: str = ""
    problem: str = ""
    still_works: str = ""
    what_to_do: tuple[str, ...] = ()

    def headline(self, otherwise: str) -> str:
        """ "Your order form is slow"; the given title where the rule has no words."""
        return f"{self.subject} {self.problem}" if self.subject and self.problem else otherwise


def read_vendor_text(stored: Mapping[str, Any]) -> VendorText:
    """From the stored object; parts of a wrong type count as not there."""

    def text(name: str) -> str:
        value = stored.get(name)
        return value.strip() if isinstance(value, str) else ""

    steps = stored.get("what_to_do")
    return VendorText(
        text("subject"),
        text("problem"),
        text("still_works"),
        tuple(one for one in steps if isinstance(one, str)) if isinstance(steps, list) else (),
    )


@dataclass(frozen=True, slots=True)
class AffectedWedding:
    """A wedding under way when the trouble began: initials and times, never names."""

    wedding_id: UUID | None
    wedding_date: date | None
    initials: str
    phase: str
    time_zone: str
    next_milestone_at: datetime | None
    next_phase: str = ""
    """What begins at the next milestone; empty where the last part ends then."""
    ceremony_at: datetime | None = None
    """When the ceremony begins, if that is still to come."""


@dataclass(frozen=True, slots=True)
class Incident:
    """A row of `apm_incidents`."""

    id: UUID
    number: int
    organization_id: UUID
    alert_id: UUID | None
    title: str
    status: IncidentStatus
    severity: Severity
    priority: Priority
    escalation_level: EscalationLevel
    dedup_key: str
    generation: int
    detected_at: datetime
    acknowledged_at: datetime | None
    acknowledged_by: UUID | None
    acknowledged_by_name: str | None
    investigating_at: datetime | None
    resolved_at: datetime | None
    resolved_by: UUID | None
    closed_at: datetime | None
    reopened_at: datetime | None
    next_update_at: datetime | None
    metric_value: float | None
    threshold_value: float | None
    threshold_source: str | None
    repeat_count: int
    last_seen_at: datetime
    was_wedding_day: bool
    wedding_date: date | None
    wedding_phase: str | None
    affected_weddings: tuple[AffectedWedding, ...]
    vendor_text: VendorText
    merged_into: UUID | None
    created_by: UUID | None
    created_at: datetime
    updated_at: datetime
    labels: Mapping[str, str] = field(default_factory=dict)
    """What silences know it by, where no rule opened it."""
    engineer_text: str = ""
    """What is broken, for an engineer; `vendor_text` says it to the vendor."""
    ack_expires_at: datetime | None = None
    """When whoever has it is given up waiting for, if he says nothing."""
    update_missed_at: datetime | None = None
    """When it was found that the promised update had not come."""

    @property
    def is_live(self) -> bool:
        """Whether it is not over yet."""
        return self.status in LIVE

    @property
    def headline(self) -> str:
        """What is wrong, in the vendor's words where there are some."""
        return self.vendor_text.headline(self.title)

    @property
    def began_at(self) -> datetime:
        """When the present trouble began: the last time that it came back, else the first."""
        return self.reopened_at or self.detected_at


@dataclass(frozen=True, slots=True)
class Event:
    """A line of the timeline."""

    id: int
    at: datetime
    kind: str
    actor: str
    actor_id: UUID | None
    message: str
    detail: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class NextStep:
    """The rung of the ladder that is due next."""

    position: int
    level: EscalationLevel
    at: datetime
    contact_method_ids: tuple[UUID, ...]


@dataclass(frozen=True, slots=True)
class HeldBack:
    """What keeps people from being told: a silence, a maintenance window, or another incident."""

    kind: str
    """`silence`, `maintenance` or `inhibition`."""
    id: UUID | None
    """None where it is the platform's own: whose trouble it is, is nobody else's business."""
    since: datetime | None
    """Since when the ladder waits; None where it did not have to yet."""
    until: datetime | None
    """None where it ends with the incident that causes it."""
    owner: str
    reason: str


@dataclass(frozen=True, slots=True)
class Part:
    """An incident's place in a trouble of several vendors of one wedding."""

    organization_id: UUID
    incident_id: UUID
    whole_id: UUID
    joined_at: datetime
    organization_name: str | None = None
    """Known to the platform's people only, as are the other parts."""
    title: str | None = None
    status: IncidentStatus | None = None


@dataclass(frozen=True, slots=True)
class BlastRadius:
    """How many weddings it touches, and how soon the next part of one begins."""

    weddings: int
    phase: str | None = None
    next_milestone_at: datetime | None = None
    time_left: timedelta | None = None
    next_phase: str = ""
    ceremony_at: datetime | None = None
    """When the next ceremony begins."""


def blast_radius(incident: Incident, at: datetime) -> BlastRadius:
    """Whom an incident hits at `at`; the engine keeps its weddings current while it is open."""
    weddings = incident.affected_weddings
    if not weddings:
        return BlastRadius(0)
    ceremonies = [w.ceremony_at for w in weddings if w.ceremony_at and w.ceremony_at > at]
    ceremony = min(ceremonies, default=None)
    ahead = [
        (wedding.next_milestone_at, wedding.phase, wedding.next_phase)
        for wedding in weddings
        if wedding.next_milestone_at is not None and wedding.next_milestone_at > at
    ]
    if not ahead:
        return BlastRadius(len(weddings), weddings[0].phase, ceremony_at=ceremony)
    moment, phase, following = min(ahead)
    return BlastRadius(len(weddings), phase, moment, moment - at, following, ceremony)
