"""What an expression says: a small tree, of which each kind of node is answered in one place.

The grammar is that of Prometheus; `parsing` makes this tree out of a text.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

LOOKBACK_MS: Final = 300_000
"""An instant selector takes a sample that is at most so old."""
DEFAULT_STEP_MS: Final = 60_000
"""Of a subquery that names none: Prometheus' default evaluation interval."""


class BadExpression(ValueError):
    """The text is no expression of the language."""


class NotAnswered(ValueError):
    """The expression is right, but its answer is none, too large, or not given here."""


class MatchKind(StrEnum):
    """How a label's value is compared. A label that a series lacks is the empty text."""

    EQUAL = "="
    NOT_EQUAL = "!="
    REGEX = "=~"  # RE2, the whole value
    NOT_REGEX = "!~"


class Edge(StrEnum):
    """`@ start()` and `@ end()`: those of the whole question."""

    START = "start"
    END = "end"


class Function(StrEnum):
    """How the samples of a series become one value at an instant."""

    LATEST = ""  # a selector without a range: the newest sample within the lookback
    TIMESTAMP = "timestamp"  # when that was taken
    SAMPLES = "samples"  # all as they are
    RATE = "rate"
    IRATE = "irate"
    INCREASE = "increase"
    DELTA = "delta"
    IDELTA = "idelta"
    DERIV = "deriv"
    PREDICT_LINEAR = "predict_linear"
    HOLT_WINTERS = "holt_winters"
    SMOOTHED = "double_exponential_smoothing"  # its name since Prometheus 3
    CHANGES = "changes"
    RESETS = "resets"
    COUNT_OVER_TIME = "count_over_time"
    SUM_OVER_TIME = "sum_over_time"
    AVG_OVER_TIME = "avg_over_time"
    MIN_OVER_TIME = "min_over_time"
    MAX_OVER_TIME = "max_over_time"
    LAST_OVER_TIME = "last_over_time"
    PRESENT_OVER_TIME = "present_over_time"
    STDDEV_OVER_TIME = "stddev_over_time"
    STDVAR_OVER_TIME = "stdvar_over_time"
    QUANTILE_OVER_TIME = "quantile_over_time"
    MAD_OVER_TIME = "mad_over_time"

    @property
    def keeps_name(self) -> bool:
        """Whether the answer is still a value of the metric."""
        return self in (Function.LATEST, Function.LAST_OVER_TIME, Function.SAMPLES)


class Operator(StrEnum):
    """How many series become one, or fewer."""

    SUM = "sum"
    AVG = "avg"
    MIN = "min"
    MAX = "max"
    COUNT = "count"
    GROUP = "group"
    STDDEV = "stddev"
    STDVAR = "stdvar"
    TOPK = "topk"
    BOTTOMK = "bottomk"
    QUANTILE = "quantile"
    COUNT_VALUES = "count_values"


@dataclass(frozen=True, slots=True)
class Matcher:
    """A condition on a label; `__name__` is the metric's name."""

    label: str
    kind: MatchKind
    value: str


@dataclass(frozen=True, slots=True)
class Leaf:
    """Series, and what is taken of each at an instant: the samples of [at - offset - range,
    at - offset]. `at` (milliseconds) stands in place of the instant where it is given; `number` is
    the quantile of `quantile_over_time`."""

    matchers: tuple[Matcher, ...]
    function: Function = Function.LATEST
    range_ms: int = LOOKBACK_MS
    offset_ms: int = 0
    at: int | Edge | None = None
    number: float = 0.0


@dataclass(frozen=True, slots=True)
class Subquery:
    """An expression over the instants of a range that its step divides, as if they were samples."""

    inner: "Expression"
    range_ms: int
    step_ms: int = DEFAULT_STEP_MS
    offset_ms: int = 0
    at: int | Edge | None = None


@dataclass(frozen=True, slots=True)
class RangeCall:
    """A function of samples that are not a leaf's own, or that takes numbers besides."""

    function: Function
    source: Leaf | Subquery
    parameters: tuple["Expression", ...] = ()


@dataclass(frozen=True, slots=True)
class Number:
    """A literal."""

    value: float


@dataclass(frozen=True, slots=True)
class Text:
    """A literal."""

    value: str


@dataclass(frozen=True, slots=True)
class Call:
    """A function of what other expressions come to at the same instant."""

    name: str
    arguments: tuple["Expression", ...] = ()
    is_scalar: bool = False


@dataclass(frozen=True, slots=True)
class Absent:
    """1 where nothing is there; with the labels that the selector says for sure."""

    inner: "Expression"
    labels: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Aggregate:
    """One series for each combination of `labels`, or, `without`, of all other labels."""

    operator: Operator
    inner: "Expression"
    labels: frozenset[str] = frozenset()
    without: bool = False
    parameter: "Expression | None" = None


@dataclass(frozen=True, slots=True)
class Matching:
    """Which series of two sides belong together: those alike `on` the labels, or else on all but
    these. `many` is the side that may have several for one of the other, whose labels `include`
    go into the answer."""

    labels: frozenset[str] = frozenset()
    on: bool = False
    many: str = ""  # "left", "right", or neither
    include: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Binary:
    """An operator between numbers, series and numbers, or series. A comparison leaves out what is
    not so, or, `is_bool`, says 1 and 0."""

    operator: str
    left: "Expression"
    right: "Expression"
    matching: Matching = Matching()
    is_bool: bool = False


Expression = Leaf | Subquery | RangeCall | Number | Text | Call | Absent | Aggregate | Binary


def leaves(expression: Expression) -> Iterator[Leaf]:
    """What has to be read."""
    if isinstance(expression, Leaf):
        yield expression
    for one in parts(expression):
        yield from leaves(one)


def parts(expression: Expression) -> tuple[Expression, ...]:
    """The expressions that it is made of."""
    match expression:
        case Subquery() | Absent():
            return (expression.inner,)
        case RangeCall():
            return (expression.source, *expression.parameters)
        case Call():
            return expression.arguments
        case Aggregate():
            given = expression.parameter
            return (expression.inner,) if given is None else (expression.inner, given)
        case Binary():
            return expression.left, expression.right
    return ()


def is_scalar(expression: Expression) -> bool:
    """Whether it comes to one number instead of series."""
    match expression:
        case Number():
            return True
        case Call():
            return expression.is_scalar
        case Binary():
            return is_scalar(expression.left) and is_scalar(expression.right)
    return False


def is_range(expression: Expression) -> bool:
    """Whether it comes to samples instead of one value at an instant."""
    if isinstance(expression, Leaf):
        return expression.function is Function.SAMPLES
    return isinstance(expression, Subquery)
