"""From what the leaves of an expression come to, to what the whole comes to."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from wedsync_apm.metrics.expression.syntax import (
    Aggregate,
    Arithmetic,
    Expression,
    Leaf,
    Number,
    Operator,
)
from wedsync_apm.metrics.expression.windows import Matrix
from wedsync_apm.metrics.model import Floats

NAME: Final = "__name__"

Labels = Mapping[str, str]


class AmbiguousAnswer(ValueError):
    """Two series of an answer have the same labels."""


@dataclass(frozen=True, slots=True, eq=False)
class Vector:
    """Series with their labels, and their values at every instant."""

    labels: Sequence[Labels]
    matrix: Matrix


def evaluate(expression: Expression, leaves: Mapping[Leaf, Vector]) -> Vector | Floats:
    """Series, or one number where the expression is scalar (as an array of one).

    Raises AmbiguousAnswer.
    """
    with np.errstate(all="ignore"):
        return _evaluate(expression, leaves)


def _evaluate(expression: Expression, leaves: Mapping[Leaf, Vector]) -> Vector | Floats:
    match expression:
        case Number():
            return np.array([expression.value])
        case Leaf():
            vector = leaves[expression]
            return vector if expression.function.keeps_name else _unnamed(vector)
        case Aggregate():
            inner = _evaluate(expression.inner, leaves)
            assert isinstance(inner, Vector)  # noqa: S101 - the parser sees to it
            return _aggregate(expression, inner)
        case Arithmetic():
            left = _evaluate(expression.left, leaves)
            right = _evaluate(expression.right, leaves)
            operation = _OPERATIONS[expression.operator]
            if isinstance(left, Vector):
                assert not isinstance(right, Vector)  # noqa: S101 - the parser sees to it
                return _mapped(left, operation(left.matrix.values, right))
            if isinstance(right, Vector):
                return _mapped(right, operation(left, right.matrix.values))
            return operation(left, right)


def _mapped(vector: Vector, values: Floats) -> Vector:
    return _unnamed(Vector(vector.labels, Matrix(values, vector.matrix.present)))


def _unnamed(vector: Vector) -> Vector:
    labels = [{k: v for k, v in one.items() if k != NAME} for one in vector.labels]
    if len({frozenset(one.items()) for one in labels}) < len(labels):
        _refuse_ambiguity(labels, vector.matrix)
    return Vector(labels, vector.matrix)


def _refuse_ambiguity(labels: Sequence[Labels], matrix: Matrix) -> None:
    seen: set[frozenset[tuple[str, str]]] = set()
    for one, present in zip(labels, matrix.present, strict=True):
        if present.any():
            key = frozenset(one.items())
            if key in seen:
                raise AmbiguousAnswer("vector cannot contain metrics with the same labelset")
            seen.add(key)


def _aggregate(aggregate: Aggregate, vector: Vector) -> Vector:
    groups: dict[frozenset[tuple[str, str]], int] = {}
    numbers = np.empty(len(vector.labels), np.int64)
    for row, labels in enumerate(vector.labels):
        numbers[row] = groups.setdefault(_group(aggregate, labels), len(groups))
    if not groups:
        return vector
    order = np.argsort(numbers, kind="stable")
    starts = np.searchsorted(numbers[order], np.arange(len(groups)))
    values, present = vector.matrix.values[order], vector.matrix.present[order]
    counts = np.add.reduceat(present.astype(np.float64), starts, axis=0)
    match aggregate.operator:
        case Operator.COUNT:
            found = counts
        case Operator.MIN:
            found = np.fmin.reduceat(np.where(present, values, np.nan), starts, axis=0)
        case Operator.MAX:
            found = np.fmax.reduceat(np.where(present, values, np.nan), starts, axis=0)
        case _:
            found = np.add.reduceat(np.where(present, values, 0.0), starts, axis=0)
            if aggregate.operator is Operator.AVG:
                found = found / counts
    return Vector([dict(sorted(group)) for group in groups], Matrix(found, counts > 0))


def _group(aggregate: Aggregate, labels: Labels) -> frozenset[tuple[str, str]]:
    if aggregate.without:
        left_out = aggregate.labels | {NAME}
        return frozenset(item for item in labels.items() if item[0] not in left_out)
    return frozenset(item for item in labels.items() if item[0] in aggregate.labels)


_OPERATIONS: Final[Mapping[str, Callable[[Floats, Floats], Floats]]] = {
    "+": np.add,
    "-": np.subtract,
    "*": np.multiply,
    "/": np.divide,
    "%": np.fmod,  # the sign of the dividend, as in Go
    "^": np.power,
}
