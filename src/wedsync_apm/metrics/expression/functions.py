"""The functions of values at an instant, by the name that an expression calls them."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final

import numpy as np

from wedsync_apm.metrics.expression.histograms import histogram_quantile
from wedsync_apm.metrics.expression.relabelling import join_labels, replace_label
from wedsync_apm.metrics.expression.vectors import (
    Matrix,
    Scalar,
    Vector,
    join_alike,
    unnamed,
)
from wedsync_apm.metrics.model import Floats, Ints

Value = Vector | Scalar | str
Answer = Callable[[Ints, Sequence[Any]], Vector | Scalar]
"""The instants, and what the arguments come to; raises AmbiguousAnswer and NotAnswered."""

_FARTHEST_SECONDS: Final = 2.0**53
"""From 1970; times beyond have no date here."""


def of_values(vector: Vector, values: Floats) -> Vector:
    """Values that are no longer the metric's."""
    return join_alike(Vector(unnamed(vector.labels), Matrix(values, vector.matrix.present)))


def _elementwise(operation: Callable[[Floats], Floats]) -> Answer:
    def answer(_: Ints, arguments: Sequence[Any]) -> Vector:
        (vector,) = arguments
        return of_values(vector, operation(vector.matrix.values))

    return answer


def _sign(values: Floats) -> Floats:
    return np.where(values < 0, -1.0, np.where(values > 0, 1.0, values))


def _greater(left: Floats, right: Floats) -> Floats:
    """As Go has it: an infinity beats even what is no number."""
    is_endless = (left == np.inf) | (right == np.inf)
    return np.where(is_endless, np.inf, np.maximum(left, right))


def _lesser(left: Floats, right: Floats) -> Floats:
    return -_greater(-left, -right)


def _clamp(_: Ints, arguments: Sequence[Any]) -> Vector:
    vector, least, greatest = arguments
    values = _greater(least, _lesser(greatest, vector.matrix.values))
    found = of_values(vector, values)
    # nothing lies between bounds that are the wrong way round
    possible = np.broadcast_to(~(greatest < least), found.matrix.present.shape)
    return Vector(found.labels, Matrix(found.matrix.values, found.matrix.present & possible))


def _bound(choose: Callable[[Floats, Floats], Floats], _: Ints, arguments: Sequence[Any]) -> Vector:
    vector, limit = arguments
    return of_values(vector, choose(vector.matrix.values, limit))


def _round(_: Ints, arguments: Sequence[Any]) -> Vector:
    vector, nearest = arguments if len(arguments) > 1 else (arguments[0], np.ones(1))
    # the inverse, as in Prometheus: 0.1 has no exact multiples, 1 / 0.1 has
    inverse = 1 / nearest
    return of_values(vector, np.floor(vector.matrix.values * inverse + 0.5) / inverse)


def _scalar(_: Ints, arguments: Sequence[Any]) -> Scalar:
    (vector,) = arguments
    values, present = vector.matrix.values, vector.matrix.present
    alone = present.sum(axis=0) == 1
    return np.where(alone, np.where(present, values, 0.0).sum(axis=0), np.nan)


def _vector(instants_ms: Ints, arguments: Sequence[Any]) -> Vector:
    values = np.broadcast_to(arguments[0], (1, len(instants_ms)))
    return Vector([{}], Matrix(values, np.ones(values.shape, np.bool_)))


def _time(instants_ms: Ints, _: Sequence[Any]) -> Scalar:
    return instants_ms / 1000


def _pi(_: Ints, __: Sequence[Any]) -> Scalar:
    return np.array([np.pi])


def _timestamp(instants_ms: Ints, arguments: Sequence[Any]) -> Vector:
    (vector,) = arguments
    seconds = np.broadcast_to(instants_ms / 1000, vector.matrix.values.shape)
    return of_values(vector, seconds)


def _of_date(part: Callable[[Any], Any], instants_ms: Ints, arguments: Sequence[Any]) -> Vector:
    """A part of the date in UTC; without an argument of the instant itself."""
    vector = arguments[0] if arguments else _vector(instants_ms, [instants_ms / 1000])
    seconds = vector.matrix.values
    is_date = np.abs(seconds) < _FARTHEST_SECONDS
    at = np.trunc(np.where(is_date, seconds, 0)).astype(np.int64).astype("datetime64[s]")
    return of_values(vector, np.where(is_date, part(at).astype(np.float64), np.nan))


def _months(at: Any) -> Any:
    return at.astype("datetime64[M]")


def _days(at: Any) -> Any:
    return at.astype("datetime64[D]")


_PARTS: Final[Mapping[str, Callable[[Any], Any]]] = {
    "minute": lambda at: at.astype(np.int64) // 60 % 60,
    "hour": lambda at: at.astype(np.int64) // 3600 % 24,
    # 1970 began on a Thursday; 0 is Sunday
    "day_of_week": lambda at: (_days(at).astype(np.int64) + 4) % 7,
    "day_of_month": lambda at: (_days(at) - _months(at)).astype(np.int64) + 1,
    "day_of_year": lambda at: (_days(at) - at.astype("datetime64[Y]")).astype(np.int64) + 1,
    "days_in_month": lambda at: (_days(_months(at) + 1) - _days(_months(at))).astype(np.int64),
    "month": lambda at: _months(at).astype(np.int64) % 12 + 1,
    "year": lambda at: at.astype("datetime64[Y]").astype(np.int64) + 1970,
}


def _sorted_by_value(_: Ints, arguments: Sequence[Any], *, falling: bool) -> Vector:
    """In order at a single instant, NaN last; a range is in the order of the labels anyway."""
    (vector,) = arguments
    if len(vector.labels) < 2 or vector.matrix.values.shape[1] != 1:
        found: Vector = vector
        return found
    values = vector.matrix.values[:, 0]
    return _in_order(vector, np.argsort(-values if falling else values, kind="stable").tolist())


def _sorted_by_label(_: Ints, arguments: Sequence[Any], *, falling: bool) -> Vector:
    vector, *names = arguments

    def key(row: int) -> Any:
        labels = vector.labels[row]
        return [_natural(labels.get(name, "")) for name in names], sorted(labels.items())

    rows = sorted(range(len(vector.labels)), key=key, reverse=falling)
    return _in_order(vector, rows)


def _natural(text: str) -> list[tuple[int, int, str]]:
    """Texts with numbers in them in the order of the numbers."""
    found: list[tuple[int, int, str]] = []
    run = ""
    for letter in f"{text}\0":
        if run and letter.isdecimal() is not run[-1].isdecimal():
            found.append((0, int(run), "") if run.isdecimal() else (1, 0, run))
            run = ""
        run += letter
    return found


def _in_order(vector: Vector, rows: Sequence[int]) -> Vector:
    return Vector([vector.labels[row] for row in rows], vector.matrix.of(rows))


def _label_replace(_: Ints, arguments: Sequence[Any]) -> Vector:
    return replace_label(*arguments)


def _label_join(_: Ints, arguments: Sequence[Any]) -> Vector:
    vector, target, separator, *sources = arguments
    return join_labels(vector, target, separator, sources)


def _histogram_quantile(_: Ints, arguments: Sequence[Any]) -> Vector:
    return histogram_quantile(*arguments)


SCALARS: Final = frozenset(("pi", "scalar", "time"))
"""Those that come to a number."""

_ELEMENTWISE: Final[Mapping[str, Callable[[Floats], Floats]]] = {
    "abs": np.abs,
    "acos": np.arccos,
    "acosh": np.arccosh,
    "asin": np.arcsin,
    "asinh": np.arcsinh,
    "atan": np.arctan,
    "atanh": np.arctanh,
    "ceil": np.ceil,
    "cos": np.cos,
    "cosh": np.cosh,
    "deg": np.degrees,
    "exp": np.exp,
    "floor": np.floor,
    "ln": np.log,
    "log10": np.log10,
    "log2": np.log2,
    "rad": np.radians,
    "sgn": _sign,
    "sin": np.sin,
    "sinh": np.sinh,
    "sqrt": np.sqrt,
    "tan": np.tan,
    "tanh": np.tanh,
}
FUNCTIONS: Final[Mapping[str, Answer]] = {
    **{name: _elementwise(operation) for name, operation in _ELEMENTWISE.items()},
    **{name: partial(_of_date, part) for name, part in _PARTS.items()},
    "clamp": _clamp,
    "clamp_max": partial(_bound, _lesser),
    "clamp_min": partial(_bound, _greater),
    "histogram_quantile": _histogram_quantile,
    "label_join": _label_join,
    "label_replace": _label_replace,
    "pi": _pi,
    "round": _round,
    "scalar": _scalar,
    "sort": partial(_sorted_by_value, falling=False),
    "sort_by_label": partial(_sorted_by_label, falling=False),
    "sort_by_label_desc": partial(_sorted_by_label, falling=True),
    "sort_desc": partial(_sorted_by_value, falling=True),
    "time": _time,
    "timestamp": _timestamp,
    "vector": _vector,
}
