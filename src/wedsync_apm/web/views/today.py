"""Today: is everything all right, and if not, what do I do?"""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from wedsync_apm.web.views.chart import Figure, Point
from wedsync_apm.web.views.holding import Waiting
from wedsync_apm.web.views.incident import Problem
from wedsync_apm.web.views.shell import Status
from wedsync_apm.web.views.started import StartedCard
from wedsync_apm.web.views.wedding import WeddingCard
from wedsync_apm.web.views.wedding_page import ReadinessCard


@dataclass(frozen=True, slots=True)
class Service:
    """A watched service; `checked_at` is set only where the last look is no longer fresh."""

    name: str
    status: Status
    detail: str
    checked_at: datetime | None = None
    spark: tuple[Point, ...] = ()


@dataclass(frozen=True, slots=True)
class Contact:
    """Somebody to ring."""

    name: str
    detail: str
    phone: str


@dataclass(frozen=True, slots=True)
class Tomorrow:
    """A wedding whose evening before it is, and whether all is ready for it."""

    heading: str
    readiness: ReadinessCard


@dataclass(frozen=True, slots=True)
class TodayView:
    """The whole page. `state` picks the verdict card; the layout stays the same."""

    state: Literal["ok", "problem", "warn", "unknown", "empty"]
    title: str
    headline: str
    body: str
    problems: tuple[Problem, ...]
    weddings: tuple[WeddingCard, ...]
    more_weddings: int
    next_wedding: str
    services: tuple[Service, ...]
    contacts: tuple[Contact, ...]
    week: str
    figure: Figure | None = None
    phone: str = ""
    offers_sunlight: bool = False
    waiting: Waiting | None = None
    """What waits for this person's yes."""
    tomorrow: tuple[Tomorrow, ...] = ()
    started: StartedCard | None = None
