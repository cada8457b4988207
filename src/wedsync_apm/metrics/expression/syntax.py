"""What an expression says, as far as it is answered here.

The grammar is that of the `promql-parser` library. Its tree is turned into a small one of our own,
so that whatever is valid there but not answered here is refused before anything is read.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Any, Final

import promql_parser

LONGEST_EXPRESSION: Final = 8_000
"""Characters. The parser's time grows with the square of the nesting."""
MOST_OPERATORS: Final = 300
"""Parentheses and operators: the parser recurses, and a few thousand end its process."""
LOOKBACK_MS: Final = 300_000
"""An instant selector takes a sample that is at most so old."""

_QUOTED: Final = re.compile(r'"(?:[^"\\]|\\.)*"|\'(?:[^\'\\]|\\.)*\'|`[^`]*`')
_OPERATOR: Final = re.compile(r"[-(+*/%^<>=!\[]|\b(?:and|or|unless|atan2)\b", re.IGNORECASE)


class BadExpression(ValueError):
    """The text is no expression of the language."""


class NotAnswered(ValueError):
    """The expression is right, but means something that is not answered here."""


class MatchKind(StrEnum):
    """How a label's value is compared. A label that a series lacks is the empty text."""

    EQUAL = "="
    NOT_EQUAL = "!="
    REGEX = "=~"  # RE2, the whole value
    NOT_REGEX = "!~"


class Function(StrEnum):
    """How the samples of a series become one value at an instant."""

    LATEST = ""  # a selector without a range: the newest sample within the lookback
    RATE = "rate"
    INCREASE = "increase"
    COUNT_OVER_TIME = "count_over_time"
    SUM_OVER_TIME = "sum_over_time"
    AVG_OVER_TIME = "avg_over_time"
    MIN_OVER_TIME = "min_over_time"
    MAX_OVER_TIME = "max_over_time"
    LAST_OVER_TIME = "last_over_time"

    @property
    def keeps_name(self) -> bool:
        """Whether the answer is still a value of the metric."""
        return self in (Function.LATEST, Function.LAST_OVER_TIME)


class Operator(StrEnum):
    """How many series become one."""

    SUM = "sum"
    AVG = "avg"
    MIN = "min"
    MAX = "max"
    COUNT = "count"


@dataclass(frozen=True, slots=True)
class Matcher:
    """A condition on a label; `__name__` is the metric's name."""

    label: str
    kind: MatchKind
    value: str


@dataclass(frozen=True, slots=True)
class Leaf:
    """Series, and what is taken of each at an instant: the samples of [at - offset - range,
    at - offset]."""

    matchers: tuple[Matcher, ...]
    function: Function = Function.LATEST
    range_ms: int = LOOKBACK_MS
    offset_ms: int = 0


@dataclass(frozen=True, slots=True)
class Number:
    """A literal."""

    value: float


@dataclass(frozen=True, slots=True)
class Aggregate:
    """One series for each combination of `labels`, or, `without`, of all other labels."""

    operator: Operator
    inner: "Expression"
    labels: frozenset[str] = frozenset()
    without: bool = False


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """`+ - * / % ^` of two numbers, or of a number and each series."""

    operator: str
    left: "Expression"
    right: "Expression"


Expression = Leaf | Number | Aggregate | Arithmetic
_ARITHMETIC: Final = frozenset("+-*/%^")


@lru_cache(maxsize=4_000)
def parse(text: str) -> Expression:
    """The meaning of a text: of one that was asked before, as a dashboard does, at once. Raises
    BadExpression and NotAnswered."""
    bare = _QUOTED.sub("", text)
    if len(text) > LONGEST_EXPRESSION or len(_OPERATOR.findall(bare)) > MOST_OPERATORS:
        raise BadExpression(
            f"the expression is longer than {LONGEST_EXPRESSION} characters"
            f" or has more than {MOST_OPERATORS} operators"
        )
    try:
        tree = promql_parser.parse(text)
    except ValueError as exc:
        raise BadExpression(str(exc)) from exc
    return _read(tree)


def leaves(expression: Expression) -> Iterator[Leaf]:
    """What has to be read."""
    match expression:
        case Leaf():
            yield expression
        case Aggregate():
            yield from leaves(expression.inner)
        case Arithmetic():
            yield from leaves(expression.left)
            yield from leaves(expression.right)


def is_scalar(expression: Expression) -> bool:
    """Whether it comes to one number instead of series."""
    match expression:
        case Number():
            return True
        case Arithmetic():
            return is_scalar(expression.left) and is_scalar(expression.right)
    return False


def _read(tree: Any) -> Expression:
    kind = type(tree).__name__
    reader = _READERS.get(kind)
    if reader is None:
        raise NotAnswered(_REASONS.get(kind, f"{kind} is not answered yet"))
    return reader(tree)


def _negated(tree: Any) -> Expression:
    inner = _read(tree.expr)
    if isinstance(inner, Number):
        return Number(-inner.value)
    return Arithmetic("*", Number(-1.0), inner)


def _leaf(tree: Any, function: Function = Function.LATEST, range_ms: int = LOOKBACK_MS) -> Leaf:
    if tree.at is not None:
        raise NotAnswered("the modifier @ is not answered yet")
    if tree.matchers.or_matchers:
        raise NotAnswered("`or` between matchers is not answered")
    kinds = {
        "MatchOp.Equal": MatchKind.EQUAL,
        "MatchOp.NotEqual": MatchKind.NOT_EQUAL,
        "MatchOp.Re": MatchKind.REGEX,
        "MatchOp.NotRe": MatchKind.NOT_REGEX,
    }
    matchers = [Matcher(one.name, kinds[str(one.op)], one.value) for one in tree.matchers.matchers]
    if tree.name:
        matchers.insert(0, Matcher("__name__", MatchKind.EQUAL, tree.name))
    offset = 0 if tree.offset is None else round(tree.offset.total_seconds() * 1000)
    return Leaf(tuple(matchers), function, range_ms, offset)


def _call(tree: Any) -> Leaf:
    name = tree.func.name
    if name not in list(Function) or len(tree.args) != 1:
        known = ", ".join(sorted(one for one in Function if one))
        raise NotAnswered(f"the function {name} is not answered yet; these are: {known}")
    argument = tree.args[0]
    while isinstance(argument, promql_parser.ParenExpr):
        argument = argument.expr
    if not isinstance(argument, promql_parser.MatrixSelector):
        raise NotAnswered("subqueries are not answered yet")
    range_ms = round(argument.range.total_seconds() * 1000)
    return _leaf(argument.vector_selector, Function(name), range_ms)


def _aggregate(tree: Any) -> Aggregate:
    name = str(tree.op)
    if name not in list(Operator):
        known = ", ".join(Operator)
        raise NotAnswered(f"the aggregation {name} is not answered yet; these are: {known}")
    inner = _read(tree.expr)
    if is_scalar(inner):
        raise BadExpression(f"expected type instant vector in aggregation {name}, got scalar")
    if tree.modifier is None:
        return Aggregate(Operator(name), inner)
    without = str(tree.modifier.type).endswith("Without")
    return Aggregate(Operator(name), inner, frozenset(tree.modifier.labels), without)


def _arithmetic(tree: Any) -> Expression:
    operator = str(tree.op)
    if operator not in _ARITHMETIC:
        raise NotAnswered(f"the operator {operator} is not answered yet")
    left, right = _read(tree.lhs), _read(tree.rhs)
    if not is_scalar(left) and not is_scalar(right):
        raise NotAnswered("arithmetic between series is not answered yet, only with a number")
    return Arithmetic(operator, left, right)


_READERS: Final[Mapping[str, Callable[[Any], Expression]]] = {
    "ParenExpr": lambda tree: _read(tree.expr),
    "NumberLiteral": lambda tree: Number(tree.val),
    "VectorSelector": _leaf,
    "UnaryExpr": _negated,
    "BinaryExpr": _arithmetic,
    "Call": _call,
    "AggregateExpr": _aggregate,
}
_REASONS: Final = {
    "MatrixSelector": "a range of samples is not answered by itself: put it into a function",
    "SubqueryExpr": "subqueries are not answered yet",
    "StringLiteral": "a text is not answered",
}
