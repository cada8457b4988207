"""Silences and planned work: what keeps people from being told."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal
from uuid import UUID

from wedsync_apm.web.views.edit import NEW, Stood
from wedsync_apm.web.views.shell import Kind, Status


@dataclass(frozen=True, slots=True)
class MatcherField:
    """A line of the form: what of an incident, how, and which value; as typed."""

    label: str = ""
    operator: str = "="
    value: str = ""


@dataclass(frozen=True, slots=True)
class InTheWay:
    """A wedding that it lies over."""

    couple: str
    when: str
    is_approved: bool = False


@dataclass(frozen=True, slots=True)
class Match:
    """An incident or a rule that matchers match."""

    title: str
    href: str


@dataclass(frozen=True, slots=True)
class Preview:
    """What it would do, told before it is saved. `mark` says that it has been seen."""

    sentence: str
    incidents: tuple[Match, ...]
    rules: tuple[Match, ...]
    rules_note: str
    weddings: tuple[InTheWay, ...]
    warning: str
    mark: str
    spans: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class HoldingRow:
    """A silence or planned work in the list."""

    href: str
    sentence: str
    status: Status
    note: str = ""


@dataclass(frozen=True, slots=True)
class HoldingGroup:
    """Those that are on now, that come, and that are over."""

    heading: str
    rows: tuple[HoldingRow, ...]
    empty: str


@dataclass(frozen=True, slots=True)
class SilencesView:
    """The list. `may_ask` is for members, `may_plan` for owners and admins."""

    groups: tuple[HoldingGroup, ...]
    may_ask: bool
    may_plan: bool
    refusal: str


@dataclass(frozen=True, slots=True)
class SilenceForm:
    """What the form holds, as typed; `errors` maps a field to the words beside it."""

    matchers: tuple[MatcherField, ...]
    starts_at: str = ""
    ends_at: str = ""
    reason: str = ""
    owner: str = ""
    incident: str = ""
    errors: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class NewSilenceView:
    """The form of a silence; `incident` is the title of the one that it is made from."""

    form: SilenceForm
    preview: Preview | None
    labels: tuple[tuple[str, str], ...]
    operators: tuple[tuple[str, str], ...]
    zone: str
    incident: str
    button: str


Way = Literal["once", "weekly"]


@dataclass(frozen=True, slots=True)
class WorkForm:
    """Planned work as typed."""

    name: str = ""
    reason: str = ""
    way: Way = "weekly"
    matchers: tuple[MatcherField, ...] = ()
    starts_at: str = ""
    ends_at: str = ""
    weekdays: tuple[int, ...] = ()
    starts_time: str = ""
    ends_time: str = ""
    time_zone: str = ""
    first_day: str = ""
    last_day: str = ""
    every_weeks: str = "1"
    is_active: bool = True
    errors: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class WorkFormView:
    """The form of planned work, new or there already."""

    id: UUID | None
    form: WorkForm
    lines: tuple[MatcherField, ...]
    preview: Preview | None
    labels: tuple[tuple[str, str], ...]
    operators: tuple[tuple[str, str], ...]
    days: tuple[tuple[int, str], ...]
    zone: str
    button: str
    stood: Stood = NEW


@dataclass(frozen=True, slots=True)
class HoldingView:
    """One silence, or one piece of planned work."""

    id: UUID
    path: str
    title: str
    status: Status
    sentence: str
    facts: tuple[tuple[str, str], ...]
    weddings: tuple[InTheWay, ...]
    spans: tuple[str, ...]
    asks: str
    """What the second person is asked; empty where nothing waits."""
    may_answer: bool
    answer_note: str
    may_end: bool
    may_edit: bool
    end_words: str
    note: str = ""
    asks_why: bool = False
    """Whether a no needs its reason; then the reason as typed, and what is wrong with it."""
    why: str = ""
    fault: str = ""


@dataclass(frozen=True, slots=True)
class Held:
    """What keeps people from being told of an incident, in words."""

    words: str
    href: str = ""
    link: str = ""
    kind: Kind = "info"


@dataclass(frozen=True, slots=True)
class Waiting:
    """How much waits for this person's yes."""

    words: str
    href: str
    since: datetime
