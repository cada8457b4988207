"""Heartbeats: what is to be heard of regularly."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from wedsync_apm.web.views.edit import NEW, Stood
from wedsync_apm.web.views.shell import Status


@dataclass(frozen=True, slots=True)
class HeartbeatRow:
    """A heartbeat in the list."""

    id: UUID
    name: str
    rhythm: str
    heard: str
    status: Status


@dataclass(frozen=True, slots=True)
class HeartbeatsView:
    """All heartbeats of a business."""

    rows: tuple[HeartbeatRow, ...]
    may_edit: bool
    refusal: str


@dataclass(frozen=True, slots=True)
class HeartbeatForm:
    """What the form holds, as typed; `errors` maps a field to the words beside it."""

    name: str = ""
    description: str = ""
    service_name: str = "heartbeat"
    way: str = "period"
    period: str = "5"
    period_unit: str = "minutes"
    cron: str = ""
    time_zone: str = ""
    grace: str = "5"
    grace_unit: str = "minutes"
    severity: str = "critical"
    errors: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class HeartbeatFormView:
    """The form, of a new heartbeat or of one that is there."""

    id: UUID | None
    form: HeartbeatForm
    units: tuple[tuple[str, str], ...]
    severities: tuple[tuple[str, str], ...]
    stood: Stood = NEW


@dataclass(frozen=True, slots=True)
class Ping:
    """One time that it was heard of."""

    at: datetime
    words: str
    is_bad: bool


@dataclass(frozen=True, slots=True)
class HeartbeatView:
    """One heartbeat; `address` only in the answer that made it."""

    row: HeartbeatRow
    description: str
    facts: tuple[tuple[str, str], ...]
    pings: tuple[Ping, ...]
    count: str
    coming: tuple[str, ...]
    may_edit: bool
    refusal: str
    is_active: bool
    address: str = ""
