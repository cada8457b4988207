"""From many series to fewer: one for each group, or some of each group."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from wedsync_apm.metrics.expression.budget import Budget
from wedsync_apm.metrics.expression.matching import check_label
from wedsync_apm.metrics.expression.spreads import quantile_of
from wedsync_apm.metrics.expression.syntax import Aggregate, NotAnswered, Operator
from wedsync_apm.metrics.expression.vectors import NAME, Labels, Matrix, Scalar, Vector, nothing
from wedsync_apm.metrics.model import Floats, Ints

_Group = frozenset[tuple[str, str]]
_MOST_VALUES: Final = 10_000
"""Different ones that `count_values` tells apart."""


@dataclass(frozen=True, slots=True, eq=False)
class _Grouped:
    """Series by their groups: `order` has them together, from `starts` on those of each."""

    groups: Sequence[_Group]
    order: Ints
    starts: Ints
    values: Floats
    present: NDArray[np.bool_]

    def reduce(self, operation: np.ufunc, column: Floats) -> Floats:
        found: Floats = operation.reduceat(column, self.starts, axis=0)
        return found

    @property
    def counts(self) -> Floats:
        return self.reduce(np.add, self.present.astype(np.float64))

    @property
    def slices(self) -> list[slice]:
        ends = [*self.starts[1:].tolist(), len(self.order)]
        return [slice(*one) for one in zip(self.starts.tolist(), ends, strict=True)]


def aggregate(
    asked: Aggregate, vector: Vector, parameter: Scalar | str | None, budget: Budget
) -> Vector:
    """What the groups come to. Raises NotAnswered for a parameter that is none, and TooMuch."""
    instants = vector.matrix.values.shape[1]
    if asked.operator is Operator.COUNT_VALUES:
        assert isinstance(parameter, str)  # noqa: S101 - the parser sees to it
        return _count_values(asked, vector, parameter, budget)
    if not vector.labels:
        return nothing(instants)
    grouped = _group_rows(asked, vector)
    labels = [dict(sorted(group)) for group in grouped.groups]
    if asked.operator in (Operator.TOPK, Operator.BOTTOMK):
        assert parameter is not None and not isinstance(parameter, str)  # noqa: S101, PT018
        return _foremost(asked.operator is Operator.TOPK, vector, grouped, parameter)
    counts = grouped.counts
    if asked.operator is Operator.QUANTILE:
        assert parameter is not None and not isinstance(parameter, str)  # noqa: S101, PT018
        wanted = np.broadcast_to(parameter, instants)
        found = np.stack(
            [
                quantile_of(grouped.values[rows], grouped.present[rows], wanted)
                for rows in grouped.slices
            ]
        )
    else:
        found = _summary(asked.operator, grouped, counts)
    return Vector(labels, Matrix(found, counts > 0))


def _summary(operator: Operator, grouped: _Grouped, counts: Floats) -> Floats:
    values, present = grouped.values, grouped.present
    if operator in (Operator.COUNT, Operator.GROUP):
        return counts if operator is Operator.COUNT else np.ones(counts.shape)
    if operator in (Operator.MIN, Operator.MAX):
        least = np.fmin if operator is Operator.MIN else np.fmax
        return grouped.reduce(least, np.where(present, values, np.nan))
    found = grouped.reduce(np.add, np.where(present, values, 0.0))
    mean = found / counts
    if operator in (Operator.SUM, Operator.AVG):
        return found if operator is Operator.SUM else mean
    sizes = np.diff(np.append(grouped.starts, len(values)))
    away = np.where(present, values - np.repeat(mean, sizes, axis=0), 0.0)
    variance = grouped.reduce(np.add, away**2) / counts
    # Prometheus 2: of one value alone always 0
    variance = np.where(counts == 1, 0.0, variance)
    return np.sqrt(variance) if operator is Operator.STDDEV else variance


def _group_rows(asked: Aggregate, vector: Vector) -> _Grouped:
    groups: dict[_Group, int] = {}
    numbers = np.empty(len(vector.labels), np.int64)
    for row, labels in enumerate(vector.labels):
        numbers[row] = groups.setdefault(_group(asked, labels), len(groups))
    order = np.argsort(numbers, kind="stable")
    starts = np.searchsorted(numbers[order], np.arange(len(groups)))
    values, present = vector.matrix.values[order], vector.matrix.present[order]
    return _Grouped(list(groups), order, starts, values, present)


def _group(asked: Aggregate, labels: Labels) -> _Group:
    if asked.without:
        left_out = asked.labels | {NAME}
        return frozenset(item for item in labels.items() if item[0] not in left_out)
    return frozenset(item for item in labels.items() if item[0] in asked.labels)


def _foremost(greatest: bool, vector: Vector, grouped: _Grouped, parameter: Scalar) -> Vector:
    """Of each group the k greatest or least, NaN after all others; at a single instant in order."""
    if not (np.abs(parameter) < 2**63).all():
        raise NotAnswered("the parameter of topk and bottomk must be a whole number")
    wanted = np.trunc(parameter)
    ranks = np.empty(grouped.values.shape, np.int64)
    for rows in grouped.slices:
        values = -grouped.values[rows] if greatest else grouped.values[rows]
        # absent ones after NaN
        by_value = np.argsort(values, axis=0, kind="stable")
        is_absent = np.take_along_axis(~grouped.present[rows], by_value, axis=0)
        last = np.argsort(is_absent, axis=0, kind="stable")
        order = np.take_along_axis(by_value, last, axis=0)
        places = np.arange(len(order))[:, None]
        np.put_along_axis(ranks[rows], order, np.broadcast_to(places, order.shape), axis=0)
    present = grouped.present & (ranks < wanted)
    order = np.flatnonzero(present.any(axis=1))
    if grouped.values.shape[1] == 1:
        group = np.searchsorted(grouped.starts, order, side="right")
        order = order[np.lexsort((ranks[order, 0], group))]
    return Vector(
        [vector.labels[row] for row in grouped.order[order].tolist()],
        Matrix(grouped.values[order], present[order]),
    )


def _count_values(asked: Aggregate, vector: Vector, label: str, budget: Budget) -> Vector:
    """A series for each group and each different value, which goes into a label as a text."""
    check_label(label, "count_values")
    wanted = (
        asked if asked.without else Aggregate(asked.operator, asked.inner, asked.labels | {label})
    )
    values, present = vector.matrix.values, vector.matrix.present
    texts: dict[float, str] = {}
    found: dict[_Group, Floats] = {}
    for labels, row, is_there in zip(vector.labels, values, present, strict=True):
        kinds, which = np.unique(row[is_there], return_inverse=True)
        if len(found) + len(kinds) > _MOST_VALUES:
            raise NotAnswered(f"count_values tells at most {_MOST_VALUES:,} values apart")
        budget.take(len(row) * (len(kinds) + 1))
        instants = np.flatnonzero(is_there)
        for number, kind in enumerate(kinds.tolist()):
            text = texts.setdefault(kind, _in_go(kind))
            counts = found.setdefault(_group(wanted, {**labels, label: text}), np.zeros(len(row)))
            counts[instants[which == number]] += 1
    if not found:
        return nothing(values.shape[1])
    counted = np.stack(list(found.values()))
    return Vector([dict(sorted(group)) for group in found], Matrix(counted, counted > 0))


def _in_go(value: float) -> str:
    """As Go writes a number without an exponent."""
    if not np.isfinite(value):
        return "NaN" if np.isnan(value) else "+Inf" if value > 0 else "-Inf"
    return np.format_float_positional(value, trim="-")
