"""What requests and answers about incidents hold."""

from datetime import date, datetime
from typing import Annotated, Any
from uuid import UUID

import msgspec

from wedsync_apm.incidents.model import Event, Incident
from wedsync_apm.types import EscalationLevel, IncidentStatus, Priority, Severity

Note = Annotated[str, msgspec.Meta(max_length=10_000)]


class AffectedWedding(msgspec.Struct, kw_only=True):
    """A wedding under way: initials and times, never names. Kept current while it is open."""

    wedding_id: UUID | None
    wedding_date: date | None
    initials: str
    phase: str
    time_zone: str
    next_milestone_at: datetime | None
    next_phase: str
    ceremony_at: datetime | None


class VendorText(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What the vendor reads."""

    subject: str = ""
    problem: str = ""
    still_works: str = ""
    what_to_do: list[str] = []


class IncidentOut(msgspec.Struct, kw_only=True):
    """An incident."""

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
    affected_weddings: list[AffectedWedding]
    vendor_text: VendorText
    merged_into: UUID | None
    created_by: UUID | None
    created_at: datetime
    updated_at: datetime
    labels: dict[str, str]
    """What silences know it by, where no rule opened it."""
    engineer_text: str
    """What is broken, for an engineer; `vendor_text` says it to the vendor."""
    ack_expires_at: datetime | None
    """When whoever has it is given up waiting for, if he says nothing."""
    update_missed_at: datetime | None
    """When it was found that the promised update had not come."""


class TimelineEntry(msgspec.Struct, kw_only=True):
    """A line of the timeline."""

    id: int
    at: datetime
    kind: str
    actor: str
    actor_id: UUID | None
    message: str
    detail: dict[str, Any]


class NextStep(msgspec.Struct, kw_only=True):
    """The rung of the ladder that is due next."""

    position: int
    level: EscalationLevel
    at: datetime
    contact_method_ids: list[UUID]


class HeldBack(msgspec.Struct, kw_only=True):
    """What keeps people from being told: `silence`, `maintenance` or `inhibition`, whose, until
    when (null: as long as its cause lasts) and why. The incident goes on under it."""

    kind: str
    id: UUID | None
    since: datetime | None
    until: datetime | None
    owner: str
    reason: str


class Part(msgspec.Struct, kw_only=True):
    """Its place in a trouble of several vendors of one wedding. The others' parts, and what they
    are called, are for the platform's people only."""

    organization_id: UUID
    organization_name: str | None
    incident_id: UUID
    whole_id: UUID
    joined_at: datetime
    title: str | None
    status: IncidentStatus | None


class BlastRadius(msgspec.Struct, kw_only=True):
    """How many weddings it hits now, and how soon something begins there."""

    weddings: int
    phase: str | None
    next_milestone_at: datetime | None
    next_phase: str
    ceremony_at: datetime | None
    minutes_to_next_milestone: int | None


class IncidentDetail(IncidentOut, kw_only=True):
    """An incident with its timeline, who is called next, what holds that back, and whom it hits."""

    timeline: list[TimelineEntry]
    next_step: NextStep | None
    held_back: HeldBack | None
    blast_radius: BlastRadius
    parts: list[Part]


class IncidentInput(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What a person reports."""

    title: Annotated[str, msgspec.Meta(min_length=1, max_length=300)]
    severity: Severity = Severity.WARNING
    description: Note = ""
    vendor_text: VendorText = msgspec.field(default_factory=VendorText)


class Remark(msgspec.Struct, forbid_unknown_fields=True):
    """A word for the timeline beside the change."""

    message: Note = ""


class NoteInput(msgspec.Struct, forbid_unknown_fields=True):
    """A note for the timeline."""

    message: Annotated[str, msgspec.Meta(min_length=1, max_length=10_000)]


def incident_out(incident: Incident) -> IncidentOut:
    """The incident as answers show it."""
    return msgspec.convert(incident, IncidentOut, from_attributes=True)


def entry_out(event: Event) -> TimelineEntry:
    """A line of the timeline as answers show it."""
    return msgspec.convert(event, TimelineEntry, from_attributes=True)
