"""Alert rules as sentences."""

from dataclasses import dataclass
from uuid import UUID

from wedsync_apm.web.views.chart import Figure
from wedsync_apm.web.views.incident import Fact


@dataclass(frozen=True, slots=True)
class RuleRow:
    """A rule in the list."""

    id: UUID
    name: str
    sentence: str
    wedding: str
    told: str
    is_active: bool


@dataclass(frozen=True, slots=True)
class RulesView:
    """All rules of a business."""

    rules: tuple[RuleRow, ...]
    may_edit: bool


@dataclass(frozen=True, slots=True)
class RuleForm:
    """What the form holds, as typed; `errors` maps a field to the words beside it."""

    limit: str
    wedding_limit: str
    seconds: str
    is_active: bool
    errors: dict[str, str]


@dataclass(frozen=True, slots=True)
class RuleView:
    """One rule: its sentence, its form where the person may change it, its course."""

    row: RuleRow
    unit: str
    form: RuleForm | None
    refusal: str
    figure: Figure | None
    facts: tuple[Fact, ...]
