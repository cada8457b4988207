"""Ladders: who would be called and how, the list, and the form."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from uuid import UUID

from wedsync_apm.web.views.edit import NEW, Stood
from wedsync_apm.web.views.on_call import WeekBars
from wedsync_apm.web.views.shell import Status


@dataclass(frozen=True, slots=True)
class CallLine:
    """Whom a step calls, and how; `warning` where that may not arrive."""

    who: str
    how: str
    warning: str


@dataclass(frozen=True, slots=True)
class CallStep:
    """A step when it is due; `passed` says why it calls nobody."""

    time: str
    title: str
    passed: str
    note: str
    lines: tuple[CallLine, ...]


@dataclass(frozen=True, slots=True)
class Calls:
    """Who would be called, in order, and what comes when nobody answers."""

    status: Status
    headline: str
    steps: tuple[CallStep, ...]
    end: str


@dataclass(frozen=True, slots=True)
class CallsView:
    """Who is called for one incident."""

    title: str
    href: str
    calls: Calls | None
    called: str = ""
    """Whom it was told to already."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What a ladder leaves open in a wedding."""

    couple: str
    when: str
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LadderCard:
    """One ladder: its steps as sentences."""

    id: UUID
    name: str
    is_default: bool
    steps: tuple[tuple[str, str], ...]
    """Each a sentence, and when it counts; empty for always."""
    repeats: str
    used: str


@dataclass(frozen=True, slots=True)
class LaddersView:
    """All ladders, and who would be called at the moment that was asked for."""

    calls: Calls
    moments: tuple[tuple[str, str], ...]
    moment: str
    severities: tuple[tuple[str, str], ...]
    severity: str
    faults: tuple[Fault, ...]
    cards: tuple[LadderCard, ...]
    may_manage: bool
    refusal: str


@dataclass(frozen=True, slots=True)
class StepForm:
    """A step as typed. Whom it tells are ids."""

    level: str = "none"
    delay: str = ""
    unit: str = "minutes"
    wedding_delay: str = ""
    wedding_unit: str = "minutes"
    people: tuple[str, ...] = ()
    rotas: tuple[str, ...] = ()
    contacts: tuple[str, ...] = ()
    weddings: str = "any"
    severity: str = ""
    hours: str = ""
    """By whose clock: organization or person; empty for at any time."""
    from_time: str = "09:00"
    until_time: str = "18:00"
    days: tuple[str, ...] = ("1", "2", "3", "4", "5", "6", "7")

    @property
    def targets(self) -> tuple[str, ...]:
        """All whom it tells."""
        return (*self.people, *self.rotas, *self.contacts)

    @property
    def is_conditional(self) -> bool:
        """Whether it counts at some times only."""
        return self.weddings != "any" or bool(self.severity) or bool(self.hours)


@dataclass(frozen=True, slots=True)
class LadderForm:
    """A ladder as typed. Faults of a step have its number before the field: `s1_delay`."""

    name: str = ""
    is_default: bool = False
    repeats: str = "0"
    steps: tuple[StepForm, ...] = ()
    errors: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LadderFormView:
    """The form of a ladder. `contacts` are grouped: what belongs to nobody, and each person's."""

    id: UUID | None
    name: str
    form: LadderForm
    people: tuple[tuple[str, str], ...]
    rotas: tuple[tuple[str, str], ...]
    systems: tuple[tuple[str, str], ...]
    contacts: tuple[tuple[str, str], ...]
    levels: tuple[tuple[str, str], ...]
    units: tuple[tuple[str, str], ...]
    severities: tuple[tuple[str, str], ...]
    days: tuple[tuple[str, str], ...]
    spare: int
    """How many of the steps, from the end, are empty."""
    stood: Stood = NEW
    delete_note: str = ""


@dataclass(frozen=True, slots=True)
class TemporaryLine:
    """Somebody for a part of a stretch; without times for all of it."""

    user_id: str = ""
    starts_at: str = ""
    ends_at: str = ""


@dataclass(frozen=True, slots=True)
class TemporaryForm:
    """A temporary schedule as typed; the times by the business's clock."""

    starts_at: str = ""
    ends_at: str = ""
    reason: str = ""
    lines: tuple[TemporaryLine, ...] = ()
    errors: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TemporaryView:
    """The form that puts a rota aside for a while."""

    schedule_id: UUID
    schedule_name: str
    form: TemporaryForm
    people: tuple[tuple[str, str], ...]
    zone: str


@dataclass(frozen=True, slots=True)
class Feasted:
    """A wedding of a week, and who is on call in it."""

    couple: str
    span: str
    during: str


@dataclass(frozen=True, slots=True)
class CalendarWeek:
    """A week with its weddings, and when nobody is on call."""

    title: str
    href: str
    bars: WeekBars
    feasts: tuple[Feasted, ...]
    gaps: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CalendarRota:
    """A rota over the coming weeks."""

    name: str
    weeks: tuple[CalendarWeek, ...]


@dataclass(frozen=True, slots=True)
class CalendarView:
    """All rotas over the coming weeks."""

    rotas: tuple[CalendarRota, ...]
