"""An incident, its timeline, what may be done with it, and whom it hits.

The database decides what is legal and refuses the rest; `FOLLOWING` mirrors it for what a page
offers, and a test compares the two.

    open <──expired── acknowledged ──> investigating ──> resolved ──> closed
      └────────────────────────────────────────────────────┘ └─reopened─> open
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

from wedsync_apm.types import EscalationLevel, IncidentStatus, Priority, Role, Severity

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
    """What a person can do with an incident."""

    ACKNOWLEDGE = "acknowledge"
    INVESTIGATE = "investigate"
    RESOLVE = "resolve"
    CLOSE = "close"
    REOPEN = "reopen"
    NOTE = "note"
    SEEN = "seen"

    @property
    def target(self) -> IncidentStatus | None:
        """The status that it leads to; None for one that changes none."""
        return _TARGETS.get(self)


_TARGETS: Final = {
    Action.ACKNOWLEDGE: IncidentStatus.ACKNOWLEDGED,
    Action.INVESTIGATE: IncidentStatus.INVESTIGATING,
    Action.RESOLVE: IncidentStatus.RESOLVED,
    Action.CLOSE: IncidentStatus.CLOSED,
    Action.REOPEN: IncidentStatus.OPEN,
}


def offers(status: IncidentStatus, role: Role) -> tuple[Action, ...]:
    """What a page offers to somebody of this role, the next step first; a viewer only looks."""
    if role is Role.VIEWER:
        return ()
    # Only what is over can come back by hand; an acknowledgement expires by itself.
    steps = tuple(
        action
        for action, target in _TARGETS.items()
        if target in FOLLOWING[status]
        and (action is not Action.REOPEN or status is IncidentStatus.RESOLVED)
    )
    return (*steps, Action.SEEN, Action.NOTE)


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
class BlastRadius:
    """How many weddings it touches, and how soon the next part of one begins."""

    weddings: int
    phase: str | None = None
    next_milestone_at: datetime | None = None
    time_left: timedelta | None = None


def blast_radius(incident: Incident, at: datetime) -> BlastRadius:
    """Whom an incident hits at `at`, by the milestones that were known when it was opened."""
    weddings = incident.affected_weddings
    if not weddings:
        return BlastRadius(0)
    ahead = [
        (wedding.next_milestone_at, wedding.phase)
        for wedding in weddings
        if wedding.next_milestone_at is not None and wedding.next_milestone_at > at
    ]
    if not ahead:
        return BlastRadius(len(weddings), weddings[0].phase)
    moment, phase = min(ahead)
    return BlastRadius(len(weddings), phase, moment, moment - at)


def choose_priority(severity: Severity, *, is_wedding_day: bool) -> Priority:
    """How soon somebody has to look, as `create_incident_from_alert` decides it."""
    if severity is Severity.EMERGENCY or (severity is Severity.CRITICAL and is_wedding_day):
        return Priority.CRITICAL
    if severity is Severity.CRITICAL or (severity is Severity.WARNING and is_wedding_day):
        return Priority.HIGH
    return Priority.MEDIUM if severity is Severity.WARNING else Priority.LOW


def urgency(incident: Incident, at: datetime) -> tuple[int, float, float]:
    """Sort key, the most urgent first: priority, then the time to the next milestone, then age."""
    ranks: Sequence[Priority] = list(Priority)
    left = blast_radius(incident, at).time_left
    return (
        -ranks.index(incident.priority),
        left.total_seconds() if left else float("inf"),
        incident.detected_at.timestamp(),
    )
