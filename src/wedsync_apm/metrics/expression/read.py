"""Answers an expression over a grid of instants.

1. What the expression needs is found out: its leaves, and for each the names and the time.
2. The catalogue says which series fit; the blocks that can hold their samples are read.
3. Each leaf is taken over all instants at once, and with those of other questions that are like it.
4. From the leaves comes the rest of the expression.

A platform reader's samples are taken some organizations at a time, so that the memory does not
grow with their number.
"""

import asyncio
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any, Final
from uuid import UUID

import numpy as np

from wedsync_apm.db.pool import Connection
from wedsync_apm.metrics.expression import store
from wedsync_apm.metrics.expression.evaluate import NAME, Labels, Vector, evaluate
from wedsync_apm.metrics.expression.selection import (
    ORGANIZATION,
    LabelledSeries,
    exact_value,
    select,
    with_organization,
)
from wedsync_apm.metrics.expression.syntax import (
    BadExpression,
    Expression,
    Leaf,
    NotAnswered,
    leaves,
)
from wedsync_apm.metrics.expression.windows import NEVER_ENDED, Matrix, Samples, apply
from wedsync_apm.metrics.model import Floats, Ints
from wedsync_apm.metrics.reading.lines import NOTHING, Line, line_up, unite_stretches
from wedsync_apm.metrics.reading.store import read_samples

MOST_VALUES: Final = 5_000_000
"""Series times instants of one leaf."""
_VALUES_AT_A_TIME: Final = 1_000_000
"""The same of several leaves that are taken as one."""
_SERIES_AT_A_TIME: Final = 2_000
_SMALL: Final = 50_000
"""Samples that are worked on in the event loop; more would keep other requests waiting."""


@dataclass(frozen=True, slots=True)
class Grid:
    """Instants from `start_ms` to `end_ms`, both included, every `step_ms`; one where both are
    equal."""

    start_ms: int
    end_ms: int
    step_ms: int = 1

    @property
    def count(self) -> int:
        """How many there are."""
        return (self.end_ms - self.start_ms) // self.step_ms + 1

    @property
    def instants_ms(self) -> Ints:
        """All of them."""
        return np.arange(self.start_ms, self.end_ms + 1, self.step_ms, dtype=np.int64)


@dataclass(frozen=True, slots=True)
class Need:
    """A leaf over a grid."""

    leaf: Leaf
    grid: Grid

    @property
    def span(self) -> tuple[int, int]:
        """The time [from, behind) of the samples that it may take, in milliseconds."""
        first = self.grid.start_ms - self.leaf.offset_ms - self.leaf.range_ms
        return first, self.grid.end_ms - self.leaf.offset_ms + 1


@dataclass(frozen=True, slots=True, eq=False)
class Selected:
    """The series that a leaf means, and samples among which theirs are."""

    series: Sequence[LabelledSeries]
    line: Line


async def read_leaves(
    cx: Connection, organization_id: UUID, needs: Sequence[Need]
) -> list[Selected | BadExpression]:
    """What each need comes to over the series of one organization that the caller sees; all are
    read together, and each block once. A need that cannot be understood has its error instead.

    Raises NotValid where too much would have to be read.
    """
    listed = await store.list_series(cx, organization_id, [one.leaf.matchers for one in needs])
    chosen: list[list[LabelledSeries] | BadExpression] = []
    for need in needs:
        try:
            chosen.append(select(listed, need.leaf.matchers))
        except BadExpression as exc:
            chosen.append(exc)
    found: list[Selected | BadExpression] = []
    lines: dict[tuple[int, int], Line] = {}
    spans = unite_stretches([need.span for need in needs])
    for need, series in zip(needs, chosen, strict=True):
        if isinstance(series, BadExpression):
            found.append(series)
            continue
        span = next(one for one in spans if one[0] <= need.span[0] < one[1])
        if span not in lines:
            ids = {
                one.id
                for other, those in zip(needs, chosen, strict=True)
                if span[0] <= other.span[0] < span[1] and not isinstance(those, BadExpression)
                for one in those
            }
            lines[span] = await _read(cx, organization_id, span, sorted(ids))
        found.append(Selected(series, lines[span]))
    return found


async def _read(
    cx: Connection, organization_id: UUID, span: tuple[int, int], series_ids: Sequence[int]
) -> Line:
    if not series_ids:
        return line_up([NOTHING], *span)
    return await read_samples(cx, organization_id, *span, series_ids)


async def take_leaves(
    needs: Sequence[Need], selected: Sequence[Selected | BadExpression]
) -> list[Vector | BadExpression | NotAnswered]:
    """What each need comes to. Those that differ in nothing but their series, as the panels of a
    dashboard do, are taken as one. One that is too large has its error instead."""
    found: dict[int, Vector | BadExpression | NotAnswered] = {}
    alike: defaultdict[Any, list[tuple[int, Selected]]] = defaultdict(list)
    for place, (need, one) in enumerate(zip(needs, selected, strict=True)):
        if isinstance(one, BadExpression):
            found[place] = one
            continue
        try:
            _check_size(len(one.series), need.grid)
        except NotAnswered as exc:
            found[place] = exc
        else:
            alike[replace(need.leaf, matchers=()), need.grid, id(one.line)].append((place, one))
    for (leaf, grid, _), those in alike.items():
        for some in _batches(those, _VALUES_AT_A_TIME // grid.count):
            series = [one for _, selection in some for one in selection.series]
            matrix = await _take(leaf, series, some[0][1].line, grid.instants_ms)
            first = 0
            for place, selection in some:
                rows = slice(first, first + len(selection.series))
                labels = [one.labels for one in selection.series]
                found[place] = Vector(labels, Matrix(matrix.values[rows], matrix.present[rows]))
                first = rows.stop
    return [found[place] for place in range(len(needs))]


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


async def answer_for_platform(
    cx: Connection, expression: Expression, grid: Grid
) -> Vector | Floats:
    """What it comes to over the series of all organizations, or of those that it names by
    `organization_id="…"`; for a platform reader, nothing for anybody else.

    Raises BadExpression, NotAnswered and AmbiguousAnswer.
    """
    instants = grid.instants_ms
    found: dict[Leaf, Vector] = {}
    for leaf in dict.fromkeys(leaves(expression)):
        name = exact_value(leaf.matchers, NAME)
        listed = await store.list_platform_series(
            cx, _named_organization(leaf), None if name is None else [name]
        )
        series = select(listed, leaf.matchers)
        _check_size(len(series), grid)
        labels: list[Labels] = []
        parts: list[Matrix] = []
        for some in _portions(series):
            line = await store.read_platform_samples(
                cx,
                list({one.organization_id for one in some}),
                *Need(leaf, grid).span,
                [one.id for one in some],
            )
            parts.append(await _take(leaf, some, line, instants))
            labels += [with_organization(one) for one in some]
        found[leaf] = Vector(labels, _stack(parts, instants))
    return evaluate(expression, found)


def _named_organization(leaf: Leaf) -> list[UUID] | None:
    value = exact_value(leaf.matchers, ORGANIZATION)
    if value is None:
        return None
    try:
        return [UUID(value)]
    except ValueError:
        return []


def _check_size(series: int, grid: Grid) -> None:
    if series * grid.count > MOST_VALUES:
        raise NotAnswered(
            f"the selector means {series} series at {grid.count} instants; at most"
            f" {MOST_VALUES} values are answered: narrow it or take a wider step"
        )


def _portions(series: Sequence[LabelledSeries]) -> Iterator[list[LabelledSeries]]:
    """Whole organizations, until there are enough series."""
    by_organization = sorted(series, key=lambda one: one.organization_id)
    some: list[LabelledSeries] = []
    for _, group in groupby(by_organization, key=lambda one: one.organization_id):
        some += group
        if len(some) >= _SERIES_AT_A_TIME:
            yield some
            some = []
    if some:
        yield some


async def _take(leaf: Leaf, series: Sequence[LabelledSeries], line: Line, instants: Ints) -> Matrix:
    if len(line) + len(series) * len(instants) < _SMALL:
        return _taken(leaf, series, line, instants)
    return await asyncio.to_thread(_taken, leaf, series, line, instants)


def _taken(leaf: Leaf, series: Sequence[LabelledSeries], line: Line, instants: Ints) -> Matrix:
    return apply(leaf, _arrange(series, line), instants)


def _arrange(series: Sequence[LabelledSeries], line: Line) -> Samples:
    """The samples of the series in their order, each time once."""
    ids = np.array([one.id for one in series], np.int32)
    first = np.searchsorted(line.series, ids, side="left")
    behind = np.searchsorted(line.series, ids, side="right")
    counts = behind - first
    starts = np.concatenate(([0], np.cumsum(counts)))
    place = np.repeat(first - starts[:-1], counts) + np.arange(starts[-1])
    ended = [NEVER_ENDED if one.ended_ms is None else one.ended_ms for one in series]
    return Samples(
        starts,
        line.at_ms[place],
        line.values[place],
        np.array(ended, np.int64),
    )


def _stack(parts: Sequence[Matrix], instants: Ints) -> Matrix:
    shape = (0, len(instants))
    return Matrix(
        np.concatenate([np.zeros(shape), *(part.values for part in parts)]),
        np.concatenate([np.zeros(shape, np.bool_), *(part.present for part in parts)]),
    )
