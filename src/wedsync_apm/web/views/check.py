"""Checks: the services that a business depends on."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from uuid import UUID

from wedsync_apm.web.views.chart import Figure
from wedsync_apm.web.views.edit import NEW, Stood
from wedsync_apm.web.views.shell import Kind
from wedsync_apm.web.views.today import Service


@dataclass(frozen=True, slots=True)
class Slot:
    """A part of a strip: what it was, and the words for it."""

    kind: Kind
    title: str


@dataclass(frozen=True, slots=True)
class CheckRow:
    """A check in the list."""

    id: UUID
    service: Service
    result: str
    figures: str
    is_paused: bool = False


@dataclass(frozen=True, slots=True)
class Outage:
    """One trouble behind several checks."""

    words: str
    href: str


@dataclass(frozen=True, slots=True)
class ChecksView:
    """All checks of a business, the worst first."""

    outages: tuple[Outage, ...]
    rows: tuple[CheckRow, ...]
    may_edit: bool
    refusal: str


@dataclass(frozen=True, slots=True)
class Offer:
    """A service of the catalogue."""

    key: str
    name: str
    limits: str
    is_shared: bool
    adopted: UUID | None = None


@dataclass(frozen=True, slots=True)
class CatalogueView:
    """What can be checked in one tap, and what needs an address."""

    shared: tuple[Offer, ...]
    own: tuple[Offer, ...]
    error: str = ""


@dataclass(frozen=True, slots=True)
class CheckForm:
    """What the form holds, as typed; `errors` maps a field to the words beside it."""

    display_name: str = ""
    endpoint_url: str = ""
    seconds: str = "5"
    interval: str = "60"
    codes: str = "200"
    body_contains: str = ""
    certificate_days: str = "14"
    errors_percent: str = "5"
    errors_critical: str = ""
    available_warning: str = ""
    available_critical: str = ""
    judged_over: str = "3600"
    wedding_critical: bool = False
    opens_incidents: bool = True
    errors: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CheckFormView:
    """The form of a check, new or there already. A shared one has no address of its own."""

    id: UUID | None
    form: CheckForm
    template: str
    example: str
    has_address: bool
    intervals: tuple[tuple[str, str], ...]
    windows: tuple[tuple[str, str], ...]
    stood: Stood = NEW


@dataclass(frozen=True, slots=True)
class CheckView:
    """One check: how it is, how it was, how often it is looked at and why."""

    id: UUID
    service: Service
    result: str
    cadence: str
    cause: str
    cause_href: str
    hours: tuple[Slot, ...]
    days: tuple[Slot, ...]
    figures: tuple[tuple[str, str, str], ...]
    facts: tuple[tuple[str, str], ...]
    past: tuple[tuple[str, str, Kind], ...]
    figure: Figure | None
    may_run: bool
    may_edit: bool
    refusal: str
    is_active: bool
    ran: str = ""
    ran_kind: Kind = "info"
