"""What the pages of the first steps and of the operators' switch show."""

from dataclasses import dataclass
from uuid import UUID

from wedsync_apm.web.views.shell import Status


@dataclass(frozen=True, slots=True)
class StepView:
    """One step; `href` is empty where this person cannot do it."""

    name: str
    number: int
    status: Status
    title: str
    why: str
    result: str
    help: str
    action: str
    href: str
    refusal: str
    is_next: bool
    is_done: bool
    is_skipped: bool
    may_skip: bool


@dataclass(frozen=True, slots=True)
class StartedView:
    """All steps in their order."""

    headline: str
    body: str
    steps: tuple[StepView, ...]
    is_over: bool


@dataclass(frozen=True, slots=True)
class StartedCard:
    """The card on Today."""

    headline: str
    following: str


@dataclass(frozen=True, slots=True)
class BusinessRow:
    """One organization in the operators' list."""

    id: UUID
    name: str
    status: Status
    group: str
    done: str
    left: str
    wedding: str
    changed: str
    is_late: bool


@dataclass(frozen=True, slots=True)
class Filter:
    """One way to narrow the list."""

    label: str
    href: str
    is_current: bool


@dataclass(frozen=True, slots=True)
class TenantsView:
    """The operators' list with its counts, filters and the switch."""

    verdict: Status
    counts: str
    filters: tuple[Filter, ...]
    name: str
    rows: tuple[BusinessRow, ...]
    more: str
    may_switch: bool
    results: tuple[str, ...] = ()
    fault: str = ""
    reason: str = ""
    group: str = ""
    ticked: frozenset[UUID] = frozenset()
