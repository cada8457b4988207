"""The rule editor: what is typed, what is offered, and what it would have done."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from uuid import UUID

from wedsync_apm.rules.model import RuleKind
from wedsync_apm.web.views.edit import NEW, Stood


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition on a tag, as typed; `values` may be several, separated by commas."""

    tag: str
    match: str
    values: str


@dataclass(frozen=True, slots=True)
class Typed:
    """Everything in the form, exactly as typed."""

    kind: RuleKind
    texts: Mapping[str, str]
    """By the name of the field."""
    conditions: Mapping[str, tuple[Condition, ...]]
    """`tag_selectors` and `denominator_selectors`, without empty rows."""
    chosen: Mapping[str, frozenset[str]]
    """`notification_channels` and `member_rule_ids`."""
    ticked: frozenset[str]


@dataclass(frozen=True, slots=True)
class Option:
    """One of the values of a field, in words."""

    value: str
    label: str


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of rule to choose from."""

    value: str
    title: str
    example: str
    href: str


@dataclass(frozen=True, slots=True)
class KindsView:
    """The first question of a new rule."""

    kinds: tuple[Kind, ...]


@dataclass(frozen=True, slots=True)
class Near:
    """How a limit stands at one distance from a wedding; `key` is one of the proximities."""

    key: str
    label: str
    limit: str
    """What holds then, in figures; empty while the form has no limit yet."""
    source: str
    value: str
    factor: str
    default_factor: str
    takes_factor: bool = True
    """Whether a factor has a meaning for this kind of rule."""


@dataclass(frozen=True, slots=True)
class Nears:
    """The graded table: the days around, and the parts of the day, which go first."""

    grades: tuple[Near, ...]
    parts: tuple[Near, ...]
    sentence: str


@dataclass(frozen=True, slots=True)
class Suggestions:
    """What the business sends: names for the fields, and which of it is meant just now."""

    metrics: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    values: tuple[str, ...] = ()
    matching: str = ""
    dividing: str = ""


@dataclass(frozen=True, slots=True)
class Firing:
    """Once that the rule would have told somebody."""

    begins: str
    length: str
    why: str


@dataclass(frozen=True, slots=True)
class Shape:
    """A part of the drawing, along x in thousandths of the width; `words` beside it."""

    x: float
    width: float = 0.0
    y: float = 0.0
    words: str = ""
    kind: str = ""


@dataclass(frozen=True, slots=True)
class Curve:
    """One line of the drawing."""

    name: str
    path: str


@dataclass(frozen=True, slots=True)
class Drawing:
    """The chart of what would have been: `x` in thousandths of the width, `y` in pixels."""

    height: int
    curves: tuple[Curve, ...]
    limit: str
    limits: tuple[Shape, ...]
    bands: tuple[Shape, ...]
    fired: tuple[Shape, ...]
    rows: tuple[Shape, ...]
    columns: tuple[Shape, ...]
    low: float
    high: float
    """The values at the lower and the upper edge."""
    grip: float
    """Where along x the limit of ordinary days can be taken hold of; below 0: nowhere."""
    label: str


@dataclass(frozen=True, slots=True)
class PreviewView:
    """What the rule would have done over a past range."""

    sentence: str
    caption: str = ""
    hint: str = ""
    is_busy: bool = False
    """Whether it can be asked for again at once."""
    drawing: Drawing | None = None
    others: str = ""
    firings: tuple[Firing, ...] = ()
    more: str = ""


@dataclass(frozen=True, slots=True)
class PartsView:
    """What of the editor follows what is typed."""

    nears: Nears
    suggestions: Suggestions
    preview: PreviewView
    unit: str
    typed: Typed


@dataclass(frozen=True, slots=True)
class EditorView:
    """The form with its preview. `id` is None for a rule that is not kept yet."""

    id: UUID | None
    title: str
    kind: str
    typed: Typed
    options: Mapping[str, tuple[Option, ...]]
    members: tuple[Option, ...]
    looks: tuple[Option, ...]
    look: str
    parts: PartsView
    errors: Mapping[str, str] = field(default_factory=dict)
    fault: str = ""
    stood: Stood = NEW
    begun: str = ""

    @property
    def blank(self) -> Condition:
        """The row for one more condition."""
        return Condition("", "=", "")

    @property
    def action(self) -> str:
        """Where the form goes."""
        return f"/rules/{self.id}/edit" if self.id else "/rules/new"
