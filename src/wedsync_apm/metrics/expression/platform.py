"""The leaves of an expression over the series of all organizations, for a platform reader.

Samples are taken some organizations at a time, so that the memory does not grow with their number.
"""

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Final
from uuid import UUID

import numpy as np

from wedsync_apm.db.pool import Connection
from wedsync_apm.metrics.expression import store
from wedsync_apm.metrics.expression.budget import MOST_SAMPLES, Budget, TooMuch
from wedsync_apm.metrics.expression.plan import Grid, Need, needs_of
from wedsync_apm.metrics.expression.selection import (
    ORGANIZATION,
    LabelledSeries,
    exact_value,
    select,
    with_organization,
)
from wedsync_apm.metrics.expression.syntax import Expression, Function, Matcher
from wedsync_apm.metrics.expression.taking import arranged, table, take
from wedsync_apm.metrics.expression.vectors import NAME, Labels, Matrix, Ranges, Samples, Vector

_SERIES_AT_A_TIME: Final = 2_000
_LATEST_MS: Final = 2**43
"""A time long after every sample, which still has a date."""


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
            ranges.append((await arranged(some, line)).samples)
            if sum(len(one.values) for one in ranges) > MOST_SAMPLES:
                raise TooMuch(f"at most {MOST_SAMPLES:,} samples are read for one answer")
        else:
            matrices.append(await take(need.leaf, some, line, need.grid))
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
        table([row for part in parts for row in part.ended_ms.tolist()]),
    )
