"""What leaves come to, of the samples and rollups that were read for them.

Each leaf is taken over all instants at once, and with those of other questions that are like it.
"""

import asyncio
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from wedsync_apm.metrics.expression.ages import Old
from wedsync_apm.metrics.expression.budget import Budget
from wedsync_apm.metrics.expression.plan import Grid, Need
from wedsync_apm.metrics.expression.ranges import apply
from wedsync_apm.metrics.expression.rolled import take_rolled
from wedsync_apm.metrics.expression.selection import LabelledSeries
from wedsync_apm.metrics.expression.syntax import BadExpression, Function, Leaf, NotAnswered
from wedsync_apm.metrics.expression.vectors import (
    ALWAYS,
    NEVER_ENDED,
    Matrix,
    Ranges,
    Samples,
    Vector,
)
from wedsync_apm.metrics.model import Ints
from wedsync_apm.metrics.reading.lines import Line
from wedsync_apm.metrics.steps import Rollups

_VALUES_AT_A_TIME: Final = 1_000_000
"""Series times instants of several leaves that are taken as one."""
_SMALL: Final = 50_000
"""Values that are worked on in the event loop; more would keep other requests waiting."""

Taken = Vector | Ranges | BadExpression | NotAnswered
"""What a leaf comes to, or why it comes to nothing."""


@dataclass(frozen=True, slots=True, eq=False)
class Selected:
    """The series that a leaf means, and samples among which theirs are; of its instants that are
    too old for samples the rollups, and what is to be said of them."""

    series: Sequence[LabelledSeries]
    line: Line
    old: Sequence[tuple[Old, Rollups | None]] = ()
    kept_from_ms: int = ALWAYS
    warnings: Sequence[str] = ()


async def take_leaves(
    needs: Sequence[Need], selected: Sequence[Selected | BadExpression]
) -> list[Taken]:
    """What each need comes to. Those that differ in nothing but their series, as the panels of a
    dashboard do, are taken as one. One that is too large has its error instead.

    Raises OutOfTime.
    """
    found: dict[int, Taken] = {}
    alike: defaultdict[Any, list[tuple[int, Selected]]] = defaultdict(list)
    for place, (need, one) in enumerate(zip(needs, selected, strict=True)):
        if isinstance(one, BadExpression):
            found[place] = one
        elif need.leaf.function is Function.SAMPLES:
            ranges = await arranged(one.series, one.line)
            found[place] = replace(ranges, kept_from_ms=one.kept_from_ms)
        else:
            leaf = replace(need.leaf, matchers=(), at=None)
            alike[leaf, need.grid, id(one.line)].append((place, one))
    for (leaf, grid, _), those in alike.items():
        for some in _batches(those, _VALUES_AT_A_TIME // grid.count):
            try:
                taken = await _take_together(leaf, grid, some)
            except NotAnswered as exc:
                found |= dict.fromkeys((place for place, _ in some), exc)
            else:
                found |= taken
    for place, (need, one) in enumerate(zip(needs, selected, strict=True)):
        taken_new = found[place]
        if isinstance(one, Selected) and one.old and isinstance(taken_new, Vector):
            try:
                found[place] = await asyncio.to_thread(_take_old, need, one, taken_new)
            except NotAnswered as exc:
                found[place] = exc
    return [found[place] for place in range(len(needs))]


def _take_old(need: Need, selected: Selected, new: Vector) -> Vector:
    """The same with its old instants from rollups."""
    matrix = Matrix(new.matrix.values.copy(), new.matrix.present.copy())
    ended_ms = table([one.ended_ms for one in selected.series])
    for old, rollups in selected.old:
        instants = slice(old.first, old.behind)
        matrix.present[:, instants] = False
        if rollups is not None:
            taken = take_rolled(need, old, selected.series, ended_ms, rollups)
            matrix.values[:, instants] = taken.values
            matrix.present[:, instants] = taken.present
    return Vector(new.labels, matrix)


async def _take_together(
    leaf: Leaf, grid: Grid, some: Sequence[tuple[int, Selected]]
) -> dict[int, Vector]:
    series = [one for _, selection in some for one in selection.series]
    matrix = await take(leaf, series, some[0][1].line, grid)
    found = {}
    first = 0
    for place, selection in some:
        rows = slice(first, first + len(selection.series))
        labels = [one.labels for one in selection.series]
        found[place] = Vector(labels, Matrix(matrix.values[rows], matrix.present[rows]))
        first = rows.stop
    return found


def _batches(
    those: Sequence[tuple[int, Selected]], most_series: int
) -> Iterator[list[tuple[int, Selected]]]:
    """Some at a time, with as many series together; one with more is alone."""
    some: list[tuple[int, Selected]] = []
    series = 0
    for one in those:
        if some and series + len(one[1].series) > most_series:
            yield some
            some, series = [], 0
        some.append(one)
        series += len(one[1].series)
    if some:
        yield some


async def take(leaf: Leaf, series: Sequence[LabelledSeries], line: Line, grid: Grid) -> Matrix:
    """What a leaf that is not all samples comes to. Raises TooMuch and OutOfTime."""
    if len(line) + len(series) * grid.count < _SMALL:
        return _taken(leaf, series, line, grid)
    return await asyncio.to_thread(_taken, leaf, series, line, grid)


def _taken(leaf: Leaf, series: Sequence[LabelledSeries], line: Line, grid: Grid) -> Matrix:
    budget = Budget()
    budget.check_values(len(series), grid.count)
    numbers = [np.array([leaf.number])] if leaf.function is Function.QUANTILE_OVER_TIME else []
    samples = _arrange(series, line)
    return apply(leaf.function, leaf, samples, grid.instants_ms, budget, numbers=numbers)


async def arranged(series: Sequence[LabelledSeries], line: Line) -> Ranges:
    """All samples of some series."""
    labels = [one.labels for one in series]
    if len(line) < _SMALL:
        return Ranges(labels, _arrange(series, line))
    return Ranges(labels, await asyncio.to_thread(_arrange, series, line))


def _arrange(series: Sequence[LabelledSeries], line: Line) -> Samples:
    """The samples of the series in their order, each time once."""
    ids = np.array([one.id for one in series], np.int32)
    first = np.searchsorted(line.series, ids, side="left")
    behind = np.searchsorted(line.series, ids, side="right")
    counts = behind - first
    starts = np.concatenate(([0], np.cumsum(counts)))
    place = np.repeat(first - starts[:-1], counts) + np.arange(starts[-1])
    return Samples(
        starts,
        line.at_ms[place],
        line.values[place],
        table([one.ended_ms for one in series]),
    )


def table(rows: Sequence[Sequence[int]]) -> Ints:
    """Rows of equal length: when each series ended."""
    width = max(map(len, rows), default=0)
    found = np.full((len(rows), width), NEVER_ENDED)
    if width:
        for row, those in enumerate(rows):
            found[row, : len(those)] = those
    return found
