"""Answers an expression over a grid of instants.

1. What the expression needs is found out: its leaves, and for each the names and the time.
2. The catalogue says which series fit; the blocks that can hold their samples are read.
3. Each leaf is taken over all instants at once, and then the rest of the expression.

A platform reader's samples are taken some organizations at a time, so that the memory does not
grow with their number.
"""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final
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
    def instants_ms(self) -> Ints:
        """All of them."""
        return np.arange(self.start_ms, self.end_ms + 1, self.step_ms, dtype=np.int64)


@dataclass(frozen=True, slots=True)
class Need:
    """A leaf and the time [from, behind) of the samples that it may take, in milliseconds."""

    leaf: Leaf
    span: tuple[int, int]

    @classmethod
    def of(cls, leaf: Leaf, grid: Grid) -> "Need":
        """What the leaf takes over the grid."""
        first = grid.start_ms - leaf.offset_ms - leaf.range_ms
        return cls(leaf, (first, grid.end_ms - leaf.offset_ms + 1))


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


async def answer(
    expression: Expression, grid: Grid, selected: Mapping[Leaf, Selected]
) -> Vector | Floats:
    """What the expression comes to. Raises NotAnswered and AmbiguousAnswer."""
    instants = grid.instants_ms
    found: dict[Leaf, Vector] = {}
    for leaf, one in selected.items():
        _check_size(len(one.series), instants)
        matrix = await _take(leaf, one.series, one.line, instants)
        found[leaf] = Vector([series.labels for series in one.series], matrix)
    return evaluate(expression, found)


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
        _check_size(len(series), instants)
        labels: list[Labels] = []
        parts: list[Matrix] = []
        for some in _portions(series):
            line = await store.read_platform_samples(
                cx,
                list({one.organization_id for one in some}),
                *Need.of(leaf, grid).span,
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


def _check_size(series: int, instants: Ints) -> None:
    if series * len(instants) > MOST_VALUES:
        raise NotAnswered(
            f"the selector means {series} series at {len(instants)} instants; at most"
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
