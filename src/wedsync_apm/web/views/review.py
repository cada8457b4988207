"""Looking back: a review, what is still to be done, and reports."""

from dataclasses import dataclass

from wedsync_apm.web.views.incident import Fact, FigureRow
from wedsync_apm.web.views.shell import Status


@dataclass(frozen=True, slots=True)
class TextField:
    """A part of a review that is written: one text, or a line for each thing."""

    name: str
    label: str
    value: str
    rows: int = 3


@dataclass(frozen=True, slots=True)
class ActionRow:
    """What was decided; a row without an id is for a new one."""

    id: str = ""
    title: str = ""
    owner: str = ""
    due_on: str = ""
    is_done: bool = False
    day: str = ""
    """The date in words."""
    status: Status | None = None


@dataclass(frozen=True, slots=True)
class ReviewView:
    """One incident's review."""

    href: str
    title: str
    standing: str
    facts: tuple[Fact, ...]
    texts: tuple[TextField, ...]
    short: tuple[TextField, ...]
    is_false_positive: bool
    is_approved: bool
    actions: tuple[ActionRow, ...]
    may_write: bool
    may_approve: bool
    error: str = ""
    filled: int = 0
    """How many of the actions are there; those after them are empty."""
    is_costly: bool = False
    """Whether anything is written about what it cost."""
    people: tuple[str, ...] = ()
    """Names that an action's owner may be chosen from."""


@dataclass(frozen=True, slots=True)
class DueRow:
    """Something that is still to be done."""

    href: str
    title: str
    detail: str
    status: Status


@dataclass(frozen=True, slots=True)
class Link:
    """Where a report is."""

    href: str
    words: str


@dataclass(frozen=True, slots=True)
class ReviewsView:
    """What is still to be done, and where the reports are."""

    due: tuple[DueRow, ...]
    reports: tuple[Link, ...]
    figures: tuple[FigureRow, ...]


@dataclass(frozen=True, slots=True)
class SpellRow:
    """One stretch of trouble in a report."""

    href: str
    title: str
    detail: str
    status: Status


@dataclass(frozen=True, slots=True)
class ReportView:
    """What befell a wedding or a day."""

    title: str
    verdict: Status
    lines: tuple[str, ...]
    spells: tuple[SpellRow, ...]
    figures: tuple[FigureRow, ...]
    back: str
    back_words: str
