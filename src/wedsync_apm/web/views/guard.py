"""How closely the platform watches, and whether something may be changed."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from uuid import UUID

from wedsync_apm.web.views.shell import Status


@dataclass(frozen=True, slots=True)
class OrderForm:
    """An override or an approval being given, as typed."""

    mode: str = "maximum"
    service: str = ""
    reason: str = ""
    minutes: str = "60"
    emergency: str = ""
    rollback_plan: str = ""
    errors: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Order:
    """What somebody ordered or agreed to; `is_live`: it holds now."""

    id: UUID
    status: Status
    title: str
    reason: str
    lines: tuple[str, ...]
    is_live: bool
    lowers: bool = False
    """Ending it early may lower the mode."""


@dataclass(frozen=True, slots=True)
class GuardView:
    """The page for the platform's operators."""

    mode: Status
    headline: str
    why: str
    calendar: str
    season: str
    zone_note: str
    live: tuple[Order, ...]
    past: tuple[Order, ...]
    form: OrderForm | None
    refusal: str
    ending: UUID | None = None
    """The order whose end was refused, with what was typed."""
    end_form: OrderForm = field(default_factory=OrderForm)

    def with_end(self, ending: UUID, form: OrderForm) -> "GuardView":
        """The page with the fault of an end beside its field."""
        return replace(self, ending=ending, end_form=form)


@dataclass(frozen=True, slots=True)
class FreezeReasonView:
    """One thing that stands in the way, with the weddings that are it."""

    status: Status
    text: str
    until: str
    weddings: tuple[tuple[str, str], ...]
    """Words and address."""
    organizations: tuple[str, ...]
    more: int
    lifted: str


@dataclass(frozen=True, slots=True)
class FreezeView:
    """May a service be changed at an instant?"""

    service: str
    at: str
    verdict: Status
    headline: str
    until: str
    reasons: tuple[FreezeReasonView, ...]
    scope: str
    zone_note: str
    approvals: tuple[Order, ...]
    form: OrderForm | None
    form_note: str
    errors: Mapping[str, str] = field(default_factory=dict)
