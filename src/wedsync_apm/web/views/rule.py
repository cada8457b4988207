"""Alert rules as sentences, and why each of them says what it says."""

from dataclasses import dataclass
from uuid import UUID

from wedsync_apm.web.views.chart import Figure
from wedsync_apm.web.views.incident import Fact
from wedsync_apm.web.views.shell import Status


@dataclass(frozen=True, slots=True)
class RuleRow:
    """A rule in the list."""

    id: UUID
    name: str
    sentence: str
    wedding: str
    told: str
    status: Status


@dataclass(frozen=True, slots=True)
class Offer:
    """A rule to begin with; `kept` is the one of its name that is there already."""

    name: str
    sentence: str
    wedding: str
    kept: UUID | None


@dataclass(frozen=True, slots=True)
class RulesView:
    """All rules of a business, and those that it could begin with."""

    rules: tuple[RuleRow, ...]
    may_edit: bool
    offers: tuple[Offer, ...] = ()
    offered: str = ""
    """The heading of the offers: for whom they are."""

    @property
    def missing(self) -> int:
        """How many of the offers are not there yet."""
        return sum(one.kept is None for one in self.offers)


@dataclass(frozen=True, slots=True)
class Instance:
    """Where one instance of a rule stands now, and why; `technical` for engineers only."""

    key: str
    name: str
    status: Status
    since: str
    why: tuple[str, ...]
    samples: tuple[tuple[str, str], ...]
    technical: tuple[Fact, ...] = ()


@dataclass(frozen=True, slots=True)
class Happening:
    """Once that a rule has told somebody."""

    href: str
    title: str
    began: str
    lasted: str
    is_over: bool


@dataclass(frozen=True, slots=True)
class RuleView:
    """One rule: its sentence, where it stands and why, its course, what it has done."""

    row: RuleRow
    is_active: bool
    may_edit: bool
    refusal: str
    figure: Figure | None
    instances: tuple[Instance, ...]
    more_instances: str
    unseen: str
    """What stands in place of the instances where there are none."""
    history: tuple[Happening, ...]
    facts: tuple[Fact, ...]
    is_engineer: bool
    other_view: str
    """The address of the same page in the other words; empty for those who have one only."""
