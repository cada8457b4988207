"""What is known when a message is written, and how much foreign text says."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from wedsync_apm.incidents.works import Watched
from wedsync_apm.notify.model import Kind

SAID_LIMIT: Final = 500
"""Characters of one name or sentence from outside: what follows it must be read too."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known when a message is written. None is "not known", and is left out."""

    kind: Kind
    reason: str
    delivery_id: UUID
    organization_id: UUID
    organization_name: str
    time_zone: str
    receiver: str
    at: datetime
    base_url: str
    incident_id: UUID | None = None
    number: int | None = None
    title: str = ""
    status: str | None = None
    severity: str | None = None
    priority: str | None = None
    detected_at: datetime | None = None
    reopened_at: datetime | None = None
    lapsed_at: datetime | None = None
    """When the last who had it in hand was given up waiting for."""
    next_step_at: datetime | None = None
    """When the next person is called if nobody answers."""
    resolved_at: datetime | None = None
    acknowledged_at: datetime | None = None
    acknowledged_by: str | None = None
    next_update_at: datetime | None = None
    engineer_text: str = ""
    """What is broken, for whoever mends it."""
    metric_value: float | None = None
    threshold_value: float | None = None
    was_wedding_day: bool = False
    weddings: Sequence[Mapping[str, Any]] = ()
    vendor_text: Mapping[str, Any] | None = None
    services: Sequence[Watched] = ()
    """The organization's checked services, as they are at `at`."""
    metric_pattern: str | None = None
    """What the rule watches; None for a problem that no rule has found."""
    help_line: str | None = None
    acknowledge_url: str | None = None
    code: str | None = None
    """What proves that a message has reached its contact."""
    ended_in_quiet: bool = False
    """Whether it came and went within the receiver's quiet hours: he hears of it only now."""
    more: Sequence[Mapping[str, Any]] = ()
    """What else this message tells, because its receiver has had enough of them: of each the kind,
    and its incident's number and title."""
    payload: Mapping[str, Any] = field(default_factory=dict)
    """What the message was written with, in its kind's own terms."""

    @property
    def headline(self) -> str:
        """What is wrong, in the rule's words for vendors where it has some."""
        words = self.vendor_text or {}
        subject, problem = said(words.get("subject")), said(words.get("problem"))
        return f"{subject} {problem}" if subject and problem else said(self.title) or "A problem"

    @property
    def incident_url(self) -> str | None:
        """The incident's page; None for a message without an incident."""
        return f"{self.base_url}/incidents/{self.incident_id}" if self.incident_id else None

    @property
    def page_url(self) -> str | None:
        """Where its receiver finds out more; None where there is no more."""
        if self.kind is Kind.REPORT:
            path = self.payload.get("path")
            return f"{self.base_url}{path}" if path else None
        if self.kind is Kind.GROUP or (self.more and not self.incident_id):
            return f"{self.base_url}/incidents"
        return self.incident_url

    @property
    def has_come_back(self) -> bool:
        """Whether it was over before, and not only let go of by whoever had it."""
        if self.reopened_at is None:
            return False
        return self.lapsed_at is None or self.reopened_at > self.lapsed_at

    @property
    def began_at(self) -> datetime | None:
        """When the present trouble began: the last time that it came back, else the first."""
        return self.reopened_at or self.detected_at


def said(value: object) -> str:
    """Foreign text on one line of bearable length, without a full stop: the catalogue's sentences
    bring their own."""
    if not isinstance(value, str):
        return ""
    text = " ".join(printed(value[: 4 * SAID_LIMIT]).split()).rstrip(".")
    return text if len(text) <= SAID_LIMIT else text[: SAID_LIMIT - 1].rstrip() + "…"


def printed(text: str) -> str:
    """Without line breaks, control characters and marks that turn the direction of writing; what
    joins letters stays, because some languages are not written without it."""
    return "".join(c if c.isprintable() or c in "\u200c\u200d" else " " for c in text)
