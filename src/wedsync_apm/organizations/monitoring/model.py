"""The first steps of a business, and what came of a switch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from typing import Any, Final
from uuid import UUID


class Monitoring(StrEnum):
    """Whether an organization is watched. Off: what it sends is kept, nothing is judged, nobody
    is told. Beta and on are watched alike."""

    OFF = "off"
    BETA = "beta"
    ON = "on"


class Outcome(StrEnum):
    """What came of switching one organization."""

    SWITCHED = "switched"
    SAME = "same"
    UNKNOWN = "unknown"
    PLATFORM = "platform"
    INCIDENT = "incident"
    WEDDING = "wedding"


class StepName(StrEnum):
    """The first steps, in their order."""

    CALENDAR = "calendar"
    PHONE = "phone"
    RULES = "rules"
    TEST = "test"
    INSTALL = "install"


class StepState(StrEnum):
    """How far one is, as measured; `unknown` has a code that says why it cannot be known."""

    DONE = "done"
    TODO = "todo"
    UNKNOWN = "unknown"
    SKIPPED = "skipped"


CARD: Final = "card"
"""What is skipped when the card on Today is put away."""
PERSONAL: Final = frozenset({StepName.PHONE, StepName.TEST, StepName.INSTALL})
"""Whoever skips one of these skips it for himself alone."""


@dataclass(frozen=True, slots=True)
class Step:
    """One first step as it stands."""

    name: StepName
    state: StepState
    code: str
    detail: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class FirstSteps:
    """All of them, for one person at one business."""

    steps: tuple[Step, ...]
    is_watched: bool
    is_card_put_away: bool = False

    @property
    def done(self) -> int:
        """How many are done."""
        return sum(step.state is StepState.DONE for step in self.steps)

    @property
    def following(self) -> Step | None:
        """The first that is left to do."""
        return next((s for s in self.steps if s.state is StepState.TODO), None)

    @property
    def is_over(self) -> bool:
        """Whether nothing is left to do: each is done, skipped, or cannot be known."""
        return self.following is None


@dataclass(frozen=True, slots=True)
class Business:
    """One organization in the operators' list."""

    organization_id: UUID
    name: str
    vendor_type: str
    state: Monitoring
    group_name: str
    reason: str | None
    changed_at: datetime | None
    changed_by_name: str | None
    done: int
    is_set_up: bool
    open_steps: tuple[StepName, ...]
    next_on: date | None
    is_near: bool
    rank: int


@dataclass(frozen=True, slots=True)
class Counts:
    """Of all organizations that match the filter but its page."""

    all: int = 0
    set_up: int = 0
    off: int = 0
    beta: int = 0
    near_not_set_up: int = 0


@dataclass(frozen=True, slots=True)
class Place:
    """After which organization a page begins."""

    rank: int
    next_on: date
    organization_id: UUID


LAST_DAY: Final = date(9999, 12, 31)
"""Stands for no wedding to come."""


def place_of(business: Business) -> Place:
    """Where the next page begins after this one."""
    return Place(business.rank, business.next_on or LAST_DAY, business.organization_id)


@dataclass(frozen=True, slots=True)
class Listing:
    """A page of the operators' list, what it counts, and where the next page begins."""

    counts: Counts
    businesses: Sequence[Business]
    following: Place | None = None


@dataclass(frozen=True, slots=True)
class Wanted:
    """The operators' filter."""

    state: Monitoring | None = None
    is_set_up: bool | None = None
    group_name: str | None = None
    is_near: bool = False
    name: str = ""
