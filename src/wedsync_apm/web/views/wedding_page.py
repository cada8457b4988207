"""One wedding: when what happens, who takes part, what tightens, and whether all is ready."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from uuid import UUID

from wedsync_apm.web.views.edit import NEW, Stood
from wedsync_apm.web.views.shell import Status
from wedsync_apm.web.views.wedding import Bar


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody to ring."""

    name: str
    role: str
    phone: str


@dataclass(frozen=True, slots=True)
class Tightening:
    """A rule's limit on an ordinary day, the evening before, and on the day."""

    rule_id: UUID
    name: str
    normal: str
    evening: str
    day: str


@dataclass(frozen=True, slots=True)
class Twin:
    """What else seems to be this wedding. `is_sure`: both are shown as one."""

    id: UUID
    couple: str
    is_sure: bool
    href: str


@dataclass(frozen=True, slots=True)
class ReadinessLine:
    """One question, its answer, and where to mend it."""

    title: str
    status: Status
    reason: str
    mend: str
    mend_words: str


@dataclass(frozen=True, slots=True)
class ReadinessCard:
    """Whether all is ready: what is open first."""

    wedding_id: UUID
    verdict: Status
    headline: str
    made: str
    open_lines: tuple[ReadinessLine, ...]
    passed: tuple[ReadinessLine, ...]
    may_ask: bool


@dataclass(frozen=True, slots=True)
class EmergencyRow:
    """A contact that may be called in the wedding's own hours."""

    id: UUID
    name: str
    is_chosen: bool
    note: str = ""


@dataclass(frozen=True, slots=True)
class WeddingView:
    """The page of one wedding. Fields for forms are there for owners and admins alone."""

    id: UUID
    couple: str
    on: date
    when: str
    venue: str
    zone_note: str
    statuses: tuple[Status, ...]
    source: str
    bar: Bar | None
    contacts: tuple[Person, ...]
    contacts_note: str
    shared: str
    is_shared: bool
    tightens_from: str
    tightens_day: str
    tightens_until: str
    tightenings: tuple[Tightening, ...]
    twin: Twin | None
    readiness: ReadinessCard | None
    may_edit: bool
    is_client: bool
    is_cancelled: bool
    refusal: str
    month_href: str
    emergency: tuple[EmergencyRow, ...] = ()
    """Who is called in its hours; for owners and admins also who could be."""
    moved_to: str = ""
    """As typed, with its fault in `errors`."""
    code: str = ""
    code_until: str = ""
    typed_code: str = ""
    errors: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PhaseField:
    """A phase in the form: local times as the browser writes them."""

    key: str
    name: str
    starts: str
    ends: str


@dataclass(frozen=True, slots=True)
class ContactField:
    """A contact in the form."""

    name: str
    role: str
    phone: str


@dataclass(frozen=True, slots=True)
class WeddingForm:
    """A wedding being entered or changed, as typed, with the words beside each fault."""

    id: UUID | None
    client_id: str
    on: str
    couple: str
    venue: str
    time_zone: str
    here: str
    status: str
    visible_to: str
    ceremony: str
    reception: str
    ends: str
    phases: tuple[PhaseField, ...]
    contacts: tuple[ContactField, ...]
    zones: tuple[str, ...] = ()
    errors: Mapping[str, str] = field(default_factory=dict)
    stood: Stood = NEW


@dataclass(frozen=True, slots=True)
class RevealView:
    """For an operator of the platform: the question why, or what was asked for."""

    id: UUID
    reason: str = ""
    error: str = ""
    couple: str = ""
    on: str = ""
    venue: str = ""
    contacts: tuple[Person, ...] = ()
    is_told: bool = False
