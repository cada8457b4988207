"""Incidents: the card on Today, the list, the page, the one-tap page."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID

from wedsync_apm.web.views.chart import Figure
from wedsync_apm.web.views.holding import Held
from wedsync_apm.web.views.shell import Kind, Status


@dataclass(frozen=True, slots=True)
class Problem:
    """What, who, when, what now: the card that says it all."""

    id: UUID
    title: str
    body: str
    status: Status
    since: datetime
    is_over: bool
    owner: str
    promise: str
    promise_at: datetime | None = None
    noun: str = ""


@dataclass(frozen=True, slots=True)
class Step:
    """One of the four stations of a problem, with the clock time when it was reached."""

    name: str
    time: str
    is_done: bool


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of the timeline."""

    at: datetime
    words: str
    kind: Literal["person", "system", "crit", "ok"]
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Told:
    """One delivery: whom, how, and what became of it."""

    name: str
    channel: str
    icon: str
    at: datetime
    status: Status
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Fact:
    """A line of facts for engineers."""

    name: str
    value: str
    is_mono: bool = False


@dataclass(frozen=True, slots=True)
class Action:
    """A form with one button. `field` asks for a word to send along; `note` says what it does.

    `typed` and `error` are there when the word was refused.
    """

    url: str
    button: str
    note: str = ""
    field: str = ""
    is_bad: bool = False
    typed: str = ""
    error: str = ""
    choice: str = ""
    """What is to be chosen from `options`: values and their words, the first one unless changed."""
    options: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class PartRow:
    """One vendor's part of a wedding's trouble."""

    href: str
    name: str
    title: str
    status: Status


@dataclass(frozen=True, slots=True)
class FigureRow:
    """How fast people were, in one scope."""

    name: str
    count: str
    acknowledge: str
    resolve: str


@dataclass(frozen=True, slots=True)
class IncidentView:
    """One incident, for the vendor or for the engineer."""

    problem: Problem
    is_engineer: bool
    other_view: str
    headline: str
    badges: tuple[tuple[Kind | Literal["emergency", "accent"], str], ...]
    path: tuple[Step, ...]
    primary: Action | None
    actions: tuple[Action, ...]
    note: Action | None
    seen: bool
    steps: tuple[str, ...]
    works: tuple[str, ...]
    figure: Figure | None
    timeline: tuple[Entry, ...]
    told: tuple[Told, ...] = ()
    next_step: str = ""
    facts: tuple[Fact, ...] = ()
    wedding: str = ""
    phone: str = ""
    subject: str = ""
    is_refused: bool = False
    """What was sent did not fit: the page stands still with what was typed."""
    held: Held | None = None
    """What keeps people from being told of it now."""
    silence: str = ""
    """Where to hold it back, for those who may."""
    engineer_text: str = ""
    expires_at: datetime | None = None
    """When whoever has it is given up waiting for."""
    update: Action | None = None
    """A word to everyone who was told."""
    fix: Action | None = None
    """How whoever has it in hand ends it."""
    merge: Action | None = None
    joined: str = ""
    """That other vendors of the wedding are in trouble, too."""
    parts: tuple[PartRow, ...] = ()
    """For the platform's people: the vendors of one wedding that are in trouble."""
    postmortem: str = ""
    """Where it is looked back upon."""
    into: str = ""
    """The incident that took it in."""


@dataclass(frozen=True, slots=True)
class IncidentRow:
    """A line of the list."""

    id: UUID
    title: str
    status: Status
    since: datetime
    detail: str
    end: str


@dataclass(frozen=True, slots=True)
class IncidentGroup:
    """Lines under one heading."""

    heading: str
    rows: tuple[IncidentRow, ...]


@dataclass(frozen=True, slots=True)
class IncidentsView:
    """The list: what is open, and what is nobody doing?"""

    groups: tuple[IncidentGroup, ...]
    empty: str
    figures: tuple[FigureRow, ...] = ()
    actions_due: str = ""
    """What was decided in post-mortems and is not done."""


@dataclass(frozen=True, slots=True)
class AckView:
    """The one-tap page. `state` decides what is offered; `done` pages offer the incident only."""

    state: Literal["open", "done", "used", "old", "resolved"]
    organization: str = ""
    title: str = ""
    since: str = ""
    wedding: str = ""
    stops: str = ""
    words: str = ""
    incident: str = ""
