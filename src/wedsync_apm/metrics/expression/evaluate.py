"""From what the leaves of an expression come to, to what the whole comes to.

Every part is worked out once for all its instants, as a table of series and instants.
"""

from collections.abc import Mapping

import numpy as np

from wedsync_apm.metrics.expression.aggregates import aggregate
from wedsync_apm.metrics.expression.budget import SERIES_STEPS, Budget
from wedsync_apm.metrics.expression.functions import FUNCTIONS, Value
from wedsync_apm.metrics.expression.matching import (
    SETS,
    combine,
    combine_numbers,
    combine_sets,
    combine_with_number,
)
from wedsync_apm.metrics.expression.plan import Grid, Need, fixed_grid, inner_grid, need_of
from wedsync_apm.metrics.expression.ranges import apply
from wedsync_apm.metrics.expression.syntax import (
    Absent,
    Aggregate,
    Binary,
    Call,
    Expression,
    Function,
    Leaf,
    Number,
    RangeCall,
    Subquery,
    Text,
    is_scalar,
)
from wedsync_apm.metrics.expression.vectors import (
    ALWAYS,
    Matrix,
    Ranges,
    Samples,
    Scalar,
    Vector,
    nothing,
    refuse_alike,
    unnamed,
)

Taken = Mapping[Need, Vector | Ranges]
Result = Vector | Ranges | Scalar | str
"""A scalar is a number for each instant, or one for all."""


def evaluate(expression: Expression, taken: Taken, asked: Grid, budget: Budget) -> Result:
    """What it comes to at the instants that are asked for.

    Raises AmbiguousAnswer, NotAnswered and OutOfTime.
    """
    with np.errstate(all="ignore"):
        found = _Evaluation(taken, asked, budget).value(expression, asked)
    budget.check_time()
    if isinstance(found, Ranges) and isinstance(expression, Leaf):
        return _within(found, need_of(expression, asked, asked))
    return found.over(asked.count) if isinstance(found, Vector) else found


def weight_of(value: Vector | Ranges) -> int:
    """The steps that it takes to go through it once."""
    size = value.matrix.values.size if isinstance(value, Vector) else len(value.samples.values)
    return size + SERIES_STEPS * len(value.labels)


class _Evaluation:
    """Of one expression."""

    def __init__(self, taken: Taken, asked: Grid, budget: Budget) -> None:
        self._taken, self._asked, self._budget = taken, asked, budget

    def value(self, expression: Expression, grid: Grid) -> Result:
        self._budget.check_time()
        match expression:
            case Number():
                found: Result = np.array([expression.value])
            case Text():
                found = expression.value
            case Leaf() | RangeCall():
                found = self._of_samples(expression, grid)
            case Subquery():
                found = self._ranges(expression, grid)
            case Absent():
                found = self._absent(expression, grid)
            case Aggregate():
                found = self._aggregate(expression, grid)
            case Call():
                arguments = [self._argument(one, grid) for one in expression.arguments]
                self._note(*arguments)
                found = FUNCTIONS[expression.name](grid.instants_ms, arguments)
            case Binary():
                found = self._binary(expression, grid)
        return found

    def _aggregate(self, asked: Aggregate, grid: Grid) -> Vector:
        parameter = None
        if asked.parameter is not None:
            parameter = self._argument(asked.parameter, grid)
        assert not isinstance(parameter, Vector)  # noqa: S101 - the parser sees to it
        inner = self._vector(asked.inner, grid)
        self._note(inner)
        return aggregate(asked, inner, parameter, self._budget)

    def _binary(self, asked: Binary, grid: Grid) -> Vector | Scalar:
        if is_scalar(asked.left) and is_scalar(asked.right):
            return combine_numbers(
                asked, self._scalar(asked.left, grid), self._scalar(asked.right, grid)
            )
        if is_scalar(asked.right):
            vector = self._vector(asked.left, grid)
            self._note(vector)
            return combine_with_number(
                asked, vector, self._scalar(asked.right, grid), is_left=False
            )
        if is_scalar(asked.left):
            vector = self._vector(asked.right, grid)
            self._note(vector)
            return combine_with_number(asked, vector, self._scalar(asked.left, grid), is_left=True)
        left, right = self._vector(asked.left, grid), self._vector(asked.right, grid)
        self._note(left, right)
        if asked.operator in SETS:
            return combine_sets(asked, left, right)
        return combine(asked, left, right, self._budget)

    def _note(self, *values: Value) -> None:
        """Counts what will be worked on."""
        self._budget.take(sum(weight_of(one) for one in values if isinstance(one, Vector)))

    def _vector(self, expression: Expression, grid: Grid) -> Vector:
        found = self.value(expression, grid)
        assert isinstance(found, Vector)  # noqa: S101 - the parser sees to it
        return found.over(grid.count)

    def _scalar(self, expression: Expression, grid: Grid) -> Scalar:
        found = self.value(expression, grid)
        assert isinstance(found, np.ndarray)  # noqa: S101 - the parser sees to it
        return found

    def _argument(self, expression: Expression, grid: Grid) -> Value:
        found = self.value(expression, grid)
        assert not isinstance(found, Ranges)  # noqa: S101 - the parser sees to it
        return found.over(grid.count) if isinstance(found, Vector) else found

    def _absent(self, asked: Absent, grid: Grid) -> Vector:
        inner = asked.inner
        if isinstance(inner, Leaf | RangeCall):
            found: Result = self._named(inner, grid)
        else:
            found = self.value(inner, grid)
        assert isinstance(found, Vector)  # noqa: S101 - the parser sees to it
        missing = ~found.over(grid.count).matrix.is_any[None, :]
        return Vector([dict(asked.labels)], Matrix(np.ones(missing.shape), missing))

    def _of_samples(self, expression: Leaf | RangeCall, grid: Grid) -> Vector | Ranges:
        found = self._named(expression, grid)
        if isinstance(found, Ranges) or expression.function.keeps_name:
            return found
        return refuse_alike(Vector(unnamed(found.labels), found.matrix))

    def _named(self, expression: Leaf | RangeCall, grid: Grid) -> Vector | Ranges:
        """What a function of samples comes to, still under the name of the metric."""
        if isinstance(expression, Leaf):
            return self._taken[need_of(expression, grid, self._asked)]
        source = expression.source
        ranges = self._ranges(source, grid)
        numbers = [self._scalar(one, grid) for one in expression.parameters]
        now_ms = grid.instants_ms
        ends_ms = fixed_grid(source.at, grid, self._asked).instants_ms
        if expression.function is Function.PREDICT_LINEAR or any(len(one) > 1 for one in numbers):
            # also of fixed samples another answer at each instant
            ends_ms = np.broadcast_to(ends_ms, now_ms.shape)
        matrix = apply(
            expression.function,
            source,
            ranges.samples,
            ends_ms,
            self._budget,
            now_ms=now_ms,
            numbers=numbers,
        )
        if ranges.kept_from_ms > ALWAYS:
            # Rather no answer than one of what happens to be left.
            whole = ends_ms - source.offset_ms - source.range_ms >= ranges.kept_from_ms
            matrix = Matrix(matrix.values, matrix.present & whole)
        return Vector(ranges.labels, matrix)

    def _ranges(self, source: Leaf | Subquery, grid: Grid) -> Ranges:
        if isinstance(source, Leaf):
            found = self._taken[need_of(source, grid, self._asked)]
            assert isinstance(found, Ranges)  # noqa: S101 - the parser sees to it
            return found
        inner = inner_grid(source, grid, self._asked)
        value: Result = nothing(0)
        self._budget.check_values(1, inner.count)
        if inner.count:
            value = self.value(source.inner, inner)
        if isinstance(value, np.ndarray):
            row = np.broadcast_to(value, (1, inner.count))
            value = Vector([{}], Matrix(row, np.ones(row.shape, np.bool_)))
        assert isinstance(value, Vector)  # noqa: S101 - the parser sees to it
        return as_samples(value.over(inner.count), inner)


def as_samples(vector: Vector, grid: Grid) -> Ranges:
    """Values at instants as if they had been sent."""
    present = vector.matrix.present
    starts = np.concatenate(([0], np.cumsum(present.sum(axis=1))))
    at_ms = np.broadcast_to(grid.instants_ms, present.shape)[present]
    ended = np.zeros((len(vector.labels), 0), np.int64)
    return Ranges(vector.labels, Samples(starts, at_ms, vector.matrix.values[present], ended))


def _within(ranges: Ranges, need: Need) -> Ranges:
    """Only the samples of the range itself, of those that were read for several questions."""
    samples = ranges.samples
    from_ms, behind_ms = need.span
    inside = (samples.at_ms >= from_ms) & (samples.at_ms < behind_ms)
    starts = np.concatenate(([0], np.cumsum(inside)))[samples.starts]
    values = samples.values[inside]
    kept = Samples(starts, samples.at_ms[inside], values, samples.ended_ms)
    return Ranges(ranges.labels, kept, ranges.kept_from_ms)
