"""The inbox: every message exactly as sent."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from wedsync_apm.web.views.chart import Option
from wedsync_apm.web.views.holding import Waiting
from wedsync_apm.web.views.shell import Status


@dataclass(frozen=True, slots=True)
class Hop:
    """A station of a message: Waiting 13:10:02, Sent 13:10:03."""

    words: str
    time: str


@dataclass(frozen=True, slots=True)
class Message:
    """One message to one person by one channel."""

    id: UUID
    channel: str
    icon: str
    to: str
    address: str
    at: datetime
    subject: str
    body: str
    status: Status
    hops: tuple[Hop, ...]
    reason: str = ""
    incident: UUID | None = None


@dataclass(frozen=True, slots=True)
class InboxView:
    """The messages of a business, newest first."""

    messages: tuple[Message, ...]
    channels: tuple[Option, ...]
    older: str = ""
    waiting: Waiting | None = None
    """What waits for this person's yes."""
