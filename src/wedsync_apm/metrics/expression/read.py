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
from wedsync_apm.metrics.expression.budget import MOST_SAMPLES, Budget, TooMuch
from wedsync_apm.metrics.expression.plan import Grid, Need, needs_of
from wedsync_apm.metrics.expression.ranges import apply
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
    Function,
    Leaf,
    Matcher,
    NotAnswered,
)
from wedsync_apm.metrics.expression.vectors import (
    NAME,
    NEVER_ENDED,
    Labels,
    Matrix,
    Ranges,
    Samples,
    Vector,
)
from wedsync_apm.metrics.model import Ints
from wedsync_apm.metrics.reading.lines import NOTHING, Line, line_up, unite_stretches
from wedsync_apm.metrics.reading.store import read_samples

_VALUES_AT_A_TIME: Final = 1_000_000
"""Series times instants of several leaves that are taken as one."""
_SERIES_AT_A_TIME: Final = 2_000
_SMALL: Final = 50_000
"""Values that are worked on in the event loop; more would keep other requests waiting."""
_SELDOM_DENSER_MS: Final = 5_000
"""Between two samples: where that would be too many, they are counted before they are read."""

_LATEST_MS: Final = 2**43
"""A time long after every sample, which still has a date."""

Taken = Vector | Ranges | BadExpression | NotAnswered
"""What a leaf comes to, or why it comes to nothing."""


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
        if len(listed) > _SERIES_AT_A_TIME:
            await asyncio.sleep(0)
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
    span = max(span[0], 0), min(span[1], _LATEST_MS)
    if not series_ids or span[0] >= span[1]:
        return line_up([NOTHING], 0, 1)
    if len(series_ids) * (span[1] - span[0]) // _SELDOM_DENSER_MS > MOST_SAMPLES:
        samples = await store.count_samples(cx, organization_id, *span, series_ids)
        if samples > MOST_SAMPLES:
            raise TooMuch(
                f"the selectors mean {samples:,} samples; at most {MOST_SAMPLES:,} are read for one"
                " answer: narrow them or take a shorter time"
            )
    return await read_samples(cx, organization_id, *span, series_ids)


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
            found[place] = await _arranged(one.series, one.line)
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
    return [found[place] for place in range(len(needs))]


async def _take_together(
    leaf: Leaf, grid: Grid, some: Sequence[tuple[int, Selected]]
) -> dict[int, Vector]:
    series = [one for _, selection in some for one in selection.series]
    matrix = await _take(leaf, series, some[0][1].line, grid)
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


async def read_for_platform(
    cx: Connection, expression: Expression, grid: Grid
) -> dict[Need, Vector | Ranges]:
    """What the leaves come to over the series of all organizations, or of those that they name by
    `organization_id="…"`; for a platform reader, nothing for anybody else.

    Raises BadExpression, NotAnswered and OutOfTime.
    """
    return {need: await _read_for_platform(cx, need) for need in needs_of(expression, grid)}


async def list_for_platform(cx: Connection, selectors: Sequence[Sequence[Matcher]]) -> list[Labels]:
    """The labels of the series that any of the selectors means, over all organizations; for a
    platform reader, nothing for anybody else. Raises BadExpression."""
    found: dict[tuple[UUID, int], Labels] = {}
    for matchers in selectors:
        for one in await _platform_series(cx, matchers):
            found[one.organization_id, one.id] = with_organization(one)
    return list(found.values())


async def _platform_series(cx: Connection, matchers: Sequence[Matcher]) -> list[LabelledSeries]:
    name = exact_value(matchers, NAME)
    listed = await store.list_platform_series(
        cx, _named_organization(matchers), None if name is None else [name]
    )
    return select(listed, matchers)


async def _read_for_platform(cx: Connection, need: Need) -> Vector | Ranges:
    series = await _platform_series(cx, need.leaf.matchers)
    Budget().check_values(len(series), need.grid.count)
    labels: list[Labels] = []
    matrices: list[Matrix] = []
    ranges: list[Samples] = []
    for some in _portions(series):
        line = await store.read_platform_samples(
            cx,
            list({one.organization_id for one in some}),
            max(need.span[0], 0),
            min(need.span[1], _LATEST_MS),
            [one.id for one in some],
        )
        labels += [with_organization(one) for one in some]
        if need.leaf.function is Function.SAMPLES:
            ranges.append((await _arranged(some, line)).samples)
            if sum(len(one.values) for one in ranges) > MOST_SAMPLES:
                raise TooMuch(f"at most {MOST_SAMPLES:,} samples are read for one answer")
        else:
            matrices.append(await _take(need.leaf, some, line, need.grid))
    if need.leaf.function is Function.SAMPLES:
        return Ranges(labels, _stack_samples(ranges))
    return Vector(labels, _stack(matrices, need.grid.count))


def _named_organization(matchers: Sequence[Matcher]) -> list[UUID] | None:
    value = exact_value(matchers, ORGANIZATION)
    if value is None:
        return None
    try:
        return [UUID(value)]
    except ValueError:
        return []


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


async def _take(leaf: Leaf, series: Sequence[LabelledSeries], line: Line, grid: Grid) -> Matrix:
    if len(line) + len(series) * grid.count < _SMALL:
        return _taken(leaf, series, line, grid)
    return await asyncio.to_thread(_taken, leaf, series, line, grid)


def _taken(leaf: Leaf, series: Sequence[LabelledSeries], line: Line, grid: Grid) -> Matrix:
    budget = Budget()
    budget.check_values(len(series), grid.count)
    return apply(leaf.function, leaf, _arrange(series, line), grid.instants_ms, budget)


async def _arranged(series: Sequence[LabelledSeries], line: Line) -> Ranges:
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
        _table([one.ended_ms for one in series]),
    )


def _table(rows: Sequence[Sequence[int]]) -> Ints:
    """Rows of equal length: when each series ended."""
    width = max(map(len, rows), default=0)
    found = np.full((len(rows), width), NEVER_ENDED)
    if width:
        for row, those in enumerate(rows):
            found[row, : len(those)] = those
    return found


def _stack(parts: Sequence[Matrix], instants: int) -> Matrix:
    shape = (0, instants)
    return Matrix(
        np.concatenate([np.zeros(shape), *(part.values for part in parts)]),
        np.concatenate([np.zeros(shape, np.bool_), *(part.present for part in parts)]),
    )


def _stack_samples(parts: Sequence[Samples]) -> Samples:
    starts = [np.zeros(1, np.int64)]
    for part in parts:
        starts.append(part.starts[1:] + starts[-1][-1])
    return Samples(
        np.concatenate(starts),
        np.concatenate([np.zeros(0, np.int64), *(part.at_ms for part in parts)]),
        np.concatenate([np.zeros(0), *(part.values for part in parts)]),
        _table([row for part in parts for row in part.ended_ms.tolist()]),
    )
