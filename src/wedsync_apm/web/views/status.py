"""What the status page shows, and the page on which it is set up."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from uuid import UUID

from wedsync_apm.web.views.edit import NEW, Stood
from wedsync_apm.web.views.shell import Kind, Status


@dataclass(frozen=True, slots=True)
class Run:
    """Days of one mark side by side: where they begin, and how many."""

    mark: str
    begins: int
    days: int


@dataclass(frozen=True, slots=True)
class ServiceLine:
    """One service with its last days."""

    name: str
    status: Status
    since: str
    runs: tuple[Run, ...]
    days: str
    trouble: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Said:
    """A line with a time."""

    time: str
    words: str
    more: str = ""


@dataclass(frozen=True, slots=True)
class StatusView:
    """A whole status page."""

    slug: str
    title: str
    intro: str
    kind: Kind
    headline: str
    lines: tuple[str, ...]
    services: tuple[ServiceLine, ...]
    notes: tuple[Said, ...]
    past: tuple[Said, ...]
    planned: tuple[str, ...]
    as_of: str
    away: str = ""
    is_indexed: bool = False


@dataclass(frozen=True, slots=True)
class AskView:
    """The form for an address, or what came of it."""

    slug: str
    title: str
    address: str = ""
    error: str = ""
    is_asked: bool = False


@dataclass(frozen=True, slots=True)
class LinkView:
    """What a link of a mail offers, or did."""

    slug: str
    headline: str
    body: str = ""
    button: str = ""


@dataclass(frozen=True, slots=True)
class CheckChoice:
    """A check that the page may show."""

    id: UUID
    name: str
    note: str
    is_chosen: bool


@dataclass(frozen=True, slots=True)
class SettingsForm:
    """The form as typed, with the words beside each fault."""

    slug: str = ""
    title: str = ""
    intro: str = ""
    is_public: bool = False
    is_indexed: bool = False
    check_ids: tuple[UUID, ...] = ()
    errors: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class NoteForm:
    """What is to be said, as typed."""

    body: str = ""
    next_in: str = ""
    error: str = ""


@dataclass(frozen=True, slots=True)
class SettingsView:
    """The page on which the status page is set up."""

    form: SettingsForm
    choices: tuple[CheckChoice, ...]
    base: str
    url: str
    is_public: bool
    subscribers: str
    may_edit: bool
    refusal: str
    note: NoteForm
    promises: tuple[tuple[str, str], ...]
    people: tuple[tuple[str, str], ...]
    stood: Stood = NEW
