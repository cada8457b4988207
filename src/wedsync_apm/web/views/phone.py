"""This very device: installed, reached by notifications, tested."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID

from wedsync_apm.web.views.inbox import Hop
from wedsync_apm.web.views.shell import Status

Platform = Literal["ios", "android", "other"]


@dataclass(frozen=True, slots=True)
class PhoneTest:
    """A message that went to this device, and the stations that it has passed."""

    what: str
    at: datetime
    status: Status
    hops: tuple[Hop, ...]
    verdict: str
    reason: str


@dataclass(frozen=True, slots=True)
class PhoneView:
    """`contact` is None while no notifications come here for the reader."""

    platform: Platform
    status: Status
    headline: str
    body: str
    contact: UUID | None
    is_on: bool
    may_turn_on: bool
    tests: tuple[PhoneTest, ...] = ()
    problem: str = ""
