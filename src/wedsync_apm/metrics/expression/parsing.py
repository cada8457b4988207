"""From a text to what it says.

The grammar and the checks of types are those of the `promql-parser` library. Whatever is valid
there but not answered here is refused before anything is read.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any, Final

import promql_parser

from wedsync_apm.metrics.expression.functions import FUNCTIONS, SCALARS
from wedsync_apm.metrics.expression.syntax import (
    DEFAULT_STEP_MS,
    LOOKBACK_MS,
    Absent,
    Aggregate,
    BadExpression,
    Binary,
    Call,
    Edge,
    Expression,
    Function,
    Leaf,
    Matcher,
    Matching,
    MatchKind,
    NotAnswered,
    Number,
    Operator,
    RangeCall,
    Subquery,
    Text,
)

LONGEST_EXPRESSION: Final = 8_000
"""Characters. The parser's time grows with the square of the nesting."""
MOST_OPERATORS: Final = 300
"""Parentheses and operators: the parser recurses, and a few thousand end its process."""

_QUOTED: Final = re.compile(r'"(?:[^"\\]|\\.)*"|\'(?:[^\'\\]|\\.)*\'|`[^`]*`')
_OPERATOR: Final = re.compile(r"[-(+*/%^<>=!\[]|\b(?:and|or|unless|atan2)\b", re.IGNORECASE)
_MOST_MILLISECONDS: Final = 2**53
_KINDS: Final = {
    "MatchOp.Equal": MatchKind.EQUAL,
    "MatchOp.NotEqual": MatchKind.NOT_EQUAL,
    "MatchOp.Re": MatchKind.REGEX,
    "MatchOp.NotRe": MatchKind.NOT_REGEX,
}
_MANY: Final = {
    "VectorMatchCardinality.ManyToOne": "left",
    "VectorMatchCardinality.OneToMany": "right",
}
_OPERATORS: Final = frozenset(
    ("+", "-", "*", "/", "%", "^", "atan2", "==", "!=", "<", "<=", ">", ">=", "and", "or", "unless")
)

# Its name until Prometheus 3, which dashboards still use.
promql_parser.register_extra_functions(
    [
        promql_parser.Function(
            "holt_winters",
            [
                promql_parser.ValueType.Matrix,
                promql_parser.ValueType.Scalar,
                promql_parser.ValueType.Scalar,
            ],
            promql_parser.ValueType.Vector,
        )
    ]
)


@lru_cache(maxsize=4_000)
def parse(text: str) -> Expression:
    """The meaning of a text: of one that was asked before, as a dashboard does, at once. Raises
    BadExpression and NotAnswered."""
    return _read(_tree(text))


def parse_selector(text: str) -> tuple[Matcher, ...]:
    """The conditions of a selector without anything else. Raises BadExpression and NotAnswered."""
    found = parse(text)
    if not isinstance(found, Leaf) or found != Leaf(found.matchers):
        raise BadExpression(f"expected a selector of series and nothing else, got {text!r}")
    return found.matchers


def pretty(text: str) -> str:
    """The same expression, laid out for people. Raises BadExpression."""
    laid_out: str = _tree(text).prettify()
    return laid_out


def _tree(text: str) -> Any:
    bare = _QUOTED.sub("", text)
    if len(text) > LONGEST_EXPRESSION or len(_OPERATOR.findall(bare)) > MOST_OPERATORS:
        raise BadExpression(
            f"the expression is longer than {LONGEST_EXPRESSION} characters"
            f" or has more than {MOST_OPERATORS} operators"
        )
    try:
        return promql_parser.parse(text)
    except ValueError as exc:
        raise BadExpression(str(exc)) from exc


def _read(tree: Any) -> Expression:
    kind = type(tree).__name__
    reader = _READERS.get(kind)
    if reader is None:
        raise NotAnswered(f"{kind} is not answered yet")
    return reader(tree)


def _negated(tree: Any) -> Expression:
    inner = _read(tree.expr)
    if isinstance(inner, Number):
        return Number(-inner.value)
    return Binary("*", Number(-1.0), inner)


def _leaf(tree: Any, function: Function = Function.LATEST, range_ms: int = LOOKBACK_MS) -> Leaf:
    if tree.matchers.or_matchers:
        raise NotAnswered("`or` between matchers is not answered")
    matchers = [Matcher(one.name, _KINDS[str(one.op)], one.value) for one in tree.matchers.matchers]
    if tree.name:
        matchers.insert(0, Matcher("__name__", MatchKind.EQUAL, tree.name))
    return Leaf(tuple(matchers), function, range_ms, _milliseconds(tree.offset), _at(tree.at))


def _at(modifier: Any) -> int | Edge | None:
    if modifier is None:
        return None
    if modifier.at is None:
        return Edge.START if str(modifier.type).endswith("Start") else Edge.END
    found: int = round(modifier.at.timestamp() * 1000)
    return found


def _milliseconds(duration: Any) -> int:
    found = 0 if duration is None else round(duration.total_seconds() * 1000)
    if abs(found) > _MOST_MILLISECONDS:
        raise BadExpression("a duration is out of range")
    return found


def _range(tree: Any) -> Leaf | Subquery:
    while isinstance(tree, promql_parser.ParenExpr):
        tree = tree.expr
    if isinstance(tree, promql_parser.MatrixSelector):
        return _leaf(tree.vector_selector, Function.SAMPLES, _milliseconds(tree.range))
    if not isinstance(tree, promql_parser.SubqueryExpr):
        raise BadExpression("expected a range of samples")
    return Subquery(
        _read(tree.expr),
        _milliseconds(tree.range),
        DEFAULT_STEP_MS if tree.step is None else _milliseconds(tree.step),
        _milliseconds(tree.offset),
        _at(tree.at),
    )


def _is_range(tree: Any) -> bool:
    while isinstance(tree, promql_parser.ParenExpr):
        tree = tree.expr
    return isinstance(tree, promql_parser.MatrixSelector | promql_parser.SubqueryExpr)


def _call(tree: Any) -> Expression:
    name = tree.func.name
    if name == "absent_over_time":
        source = _range(tree.args[0])
        return Absent(_of_range(Function.PRESENT_OVER_TIME, source), _sure_labels(source))
    if name in list(Function) and any(map(_is_range, tree.args)):
        source = next(_range(one) for one in tree.args if _is_range(one))
        numbers = tuple(_read(one) for one in tree.args if not _is_range(one))
        return _of_range(Function(name), source, numbers)
    arguments = tuple(map(_read, tree.args))
    if name == "absent":
        return Absent(arguments[0], _sure_labels(arguments[0]))
    leaf = arguments[0] if arguments else None
    if name == "timestamp" and isinstance(leaf, Leaf) and leaf.function is Function.LATEST:
        return replace(leaf, function=Function.TIMESTAMP)
    if name not in FUNCTIONS:
        raise NotAnswered(_REASONS.get(name, f"the function {name} is not answered yet"))
    return Call(name, arguments, name in SCALARS)


def _of_range(
    function: Function, source: Leaf | Subquery, numbers: tuple[Expression, ...] = ()
) -> Leaf | RangeCall:
    if isinstance(source, Leaf) and not numbers and function is not Function.PREDICT_LINEAR:
        return replace(source, function=function)
    if isinstance(source, Leaf) and function is Function.QUANTILE_OVER_TIME:
        (quantile,) = numbers
        if isinstance(quantile, Number):
            return replace(source, function=function, number=quantile.value)
    return RangeCall(function, source, numbers)


def _sure_labels(expression: Expression) -> tuple[tuple[str, str], ...]:
    """What every series that a selector means would have: labels that are said once, and equal."""
    bare = (Function.LATEST, Function.SAMPLES)
    if not isinstance(expression, Leaf) or expression.function not in bare:
        return ()
    said = [one.label for one in expression.matchers]
    return tuple(
        (one.label, one.value)
        for one in expression.matchers
        if one.label != "__name__"
        and one.kind is MatchKind.EQUAL
        and one.value
        and said.count(one.label) == 1
    )


def _aggregate(tree: Any) -> Aggregate:
    name = str(tree.op).strip()
    if name not in list(Operator):
        raise NotAnswered(f"the aggregation {name} is not answered yet")
    parameter = None if tree.param is None else _read(tree.param)
    inner = _read(tree.expr)
    if tree.modifier is None:
        return Aggregate(Operator(name), inner, parameter=parameter)
    without = str(tree.modifier.type).endswith("Without")
    labels = frozenset(tree.modifier.labels)
    return Aggregate(Operator(name), inner, labels, without, parameter)


def _binary(tree: Any) -> Expression:
    operator = str(tree.op).strip().lower()
    if operator not in _OPERATORS:
        raise NotAnswered(f"the operator {operator} is not answered yet")
    left, right = _read(tree.lhs), _read(tree.rhs)
    modifier = tree.modifier
    if modifier is None:
        return Binary(operator, left, right)
    fill = modifier.fill_values
    if fill is not None and (fill.lhs is not None or fill.rhs is not None):
        raise NotAnswered("values to fill in for series that are missing are not answered yet")
    matching = Matching()
    if modifier.matching is not None:
        matching = Matching(
            frozenset(modifier.matching.labels),
            str(modifier.matching.type).endswith("Include"),
            _MANY.get(str(modifier.card), ""),
            tuple(modifier.group_labels or ()),
        )
    return Binary(operator, left, right, matching, modifier.return_bool)


_READERS: Final[Mapping[str, Callable[[Any], Expression]]] = {
    "ParenExpr": lambda tree: _read(tree.expr),
    "NumberLiteral": lambda tree: Number(tree.val),
    "StringLiteral": lambda tree: Text(tree.val),
    "VectorSelector": _leaf,
    "MatrixSelector": _range,
    "SubqueryExpr": _range,
    "UnaryExpr": _negated,
    "BinaryExpr": _binary,
    "Call": _call,
    "AggregateExpr": _aggregate,
}
_NATIVE: Final = "native histograms are not kept, so that {} has nothing to work on"
_REASONS: Final = {
    name: _NATIVE.format(name)
    for name in (
        "histogram_avg",
        "histogram_count",
        "histogram_fraction",
        "histogram_stddev",
        "histogram_stdvar",
        "histogram_sum",
    )
}
