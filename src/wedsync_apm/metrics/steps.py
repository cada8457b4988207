"""Points of a chart out of samples and out of rollups: the same figures from either.

Series are put into groups, times into steps, and everything that falls into one group and step is
one point. The rise of a counter from one sample to the next belongs to the step of the later one;
where it is lower than before it began anew, and has risen from zero.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from wedsync_apm.metrics.model import Floats, Ints
from wedsync_apm.metrics.ranges import Aggregation
from wedsync_apm.metrics.reading.lines import Line
from wedsync_apm.metrics.reading.wire import PackedArrays
from wedsync_apm.metrics.sketch import ENTRY, Sketches


@dataclass(frozen=True, slots=True, eq=False)
class Points:
    """One a row; slots are steps since 1970."""

    group: Ints
    slot: Ints
    value: Floats

    def within(self, first_slot: int, behind_slot: int) -> "Points":
        """Those of the steps [first, behind)."""
        chosen = (self.slot >= first_slot) & (self.slot < behind_slot)
        return Points(self.group[chosen], self.slot[chosen], self.value[chosen])


@dataclass(frozen=True, slots=True, eq=False)
class Groups:
    """Which group each series belongs to; `series_ids` ascend."""

    series_ids: NDArray[np.int32]
    numbers: Ints

    @classmethod
    def of(cls, series_ids: Sequence[int], numbers: Sequence[int]) -> "Groups":
        """From two parallel lists."""
        ids = np.array(series_ids, np.int32)
        order = np.argsort(ids)
        return cls(ids[order], np.array(numbers, np.int64)[order])

    def number(self, series: NDArray[Any]) -> Ints:
        """The groups of series all of which are known."""
        found: Ints = self.numbers[np.searchsorted(self.series_ids, series)]
        return found

    def knows(self, series: NDArray[Any]) -> NDArray[np.bool_]:
        """Which of the series are in any group."""
        return np.isin(series, self.series_ids)


@dataclass(frozen=True, slots=True, eq=False)
class Rollups:
    """Buckets of one width, a row for each series and bucket. A figure that was not read is empty:
    `figures` has those of `figures_of(aggregation)`, and `sketches` are there for percentiles."""

    series: NDArray[np.int32]
    at_ms: Ints
    figures: dict[str, Floats]
    sketches: Sequence[bytes] = ()

    def take(self, chosen: NDArray[np.bool_]) -> "Rollups":
        """The rows of a mask."""
        return Rollups(
            self.series[chosen],
            self.at_ms[chosen],
            {name: column[chosen] for name, column in self.figures.items()},
            [one for one, is_it in zip(self.sketches, chosen.tolist(), strict=False) if is_it],
        )


_FIGURES: Final = {
    Aggregation.AVG: ("counts", "sums"),
    Aggregation.MIN: ("minima",),
    Aggregation.MAX: ("maxima",),
    Aggregation.SUM: ("sums",),
    Aggregation.COUNT: ("counts",),
    Aggregation.LAST: ("lasts",),
    Aggregation.RATE: ("firsts", "lasts", "increases", "counts"),
}


def figures_of(aggregation: Aggregation) -> tuple[str, ...]:
    """Which figures of a rollup it needs; none for a percentile, which needs sketches."""
    return _FIGURES.get(aggregation, ())


def rollups_of_rows(rows: Sequence[Mapping[str, Any]], figures: Sequence[str]) -> Rollups:
    """Rows of rollups whose arrays are as they came; without figures they have sketches."""
    series = PackedArrays.of([row["series_ids"] for row in rows], ">i4")
    columns = {
        name: PackedArrays.of([row[name] for row in rows], ">i8" if name == "counts" else ">f8")
        for name in figures
    }
    return Rollups(
        series.values(),
        np.repeat(np.array([row["at_ms"] for row in rows], np.int64), series.counts),
        {name: column.values().astype(np.float64) for name, column in columns.items()},
        () if figures else list(chain.from_iterable(row["sketches"] for row in rows)),
    )


def rollups_of_samples(samples: Line) -> Rollups:
    """Each sample as a bucket of its own. NaN and infinities stay out, as they do of rollups."""
    finite = np.isfinite(samples.values)
    values = samples.values[finite]
    figures = dict.fromkeys(("sums", "minima", "maxima", "firsts", "lasts"), values)
    figures["counts"], figures["increases"] = np.ones(len(values)), np.zeros(len(values))
    return Rollups(samples.series[finite], samples.at_ms[finite], figures)


def join_rollups(parts: Sequence[Rollups], figures: Sequence[str]) -> Rollups:
    """All rows of the parts, with these of their figures, and without sketches."""
    return Rollups(
        np.concatenate([part.series for part in parts]),
        np.concatenate([part.at_ms for part in parts]),
        {name: np.concatenate([part.figures[name] for part in parts]) for name in figures},
    )


def points_of_samples(
    samples: Line, groups: Groups, step_ms: int, aggregation: Aggregation
) -> Points:
    """From samples of series all of which are in a group."""
    rows = rollups_of_samples(samples)
    if aggregation.quantile is None:
        return points_of_rollups(rows, groups, step_ms, aggregation)
    group, slot = groups.number(rows.series), rows.at_ms // step_ms
    return _quantiles(group, slot, rows.figures["lasts"], aggregation.quantile)


def points_of_rollups(
    rollups: Rollups, groups: Groups, step_ms: int, aggregation: Aggregation
) -> Points:
    """From rollups whose width divides the step."""
    rows = rollups.take(groups.knows(rollups.series))
    group, slot = groups.number(rows.series), rows.at_ms // step_ms
    figures = rows.figures
    if aggregation is Aggregation.RATE:
        return _rates(rows, group, slot, step_ms)
    if aggregation.quantile is not None:
        return _sketched(group, slot, rows.sketches, aggregation.quantile)
    if aggregation is Aggregation.LAST:
        return _last(group, slot, rows.at_ms, figures["lasts"])
    if aggregation is Aggregation.AVG:
        return _average(group, slot, figures["sums"], figures["counts"])
    return _reduced(_OPERATIONS[aggregation], group, slot, figures[figures_of(aggregation)[0]])


def merge_points(parts: Sequence[Points]) -> Points:
    """The points of parts that have no step in common, by group and step."""
    group = np.concatenate([np.zeros(0, np.int64), *(part.group for part in parts)])
    slot = np.concatenate([np.zeros(0, np.int64), *(part.slot for part in parts)])
    value = np.concatenate([np.zeros(0), *(part.value for part in parts)])
    order = np.lexsort((slot, group))
    return Points(group[order], slot[order], value[order])


_OPERATIONS: Final[dict[Aggregation, np.ufunc]] = {
    Aggregation.MIN: np.minimum,
    Aggregation.MAX: np.maximum,
    Aggregation.SUM: np.add,
    Aggregation.COUNT: np.add,
}


def _starts(*keys: NDArray[Any]) -> Ints:
    """Where a new combination of sorted keys begins."""
    changed = np.zeros(max(len(keys[0]) - 1, 0), np.bool_)
    for key in keys:
        changed |= key[1:] != key[:-1]
    first = np.zeros(min(len(keys[0]), 1), np.int64)
    return np.concatenate((first, np.flatnonzero(changed) + 1)).astype(np.int64)


def _follows(series: NDArray[Any]) -> NDArray[np.bool_]:
    """Which rows have one of the same series before them."""
    follows = np.zeros(len(series), np.bool_)
    follows[1:] = series[1:] == series[:-1]
    return follows


def _reduced(operation: np.ufunc, group: Ints, slot: Ints, *columns: Floats) -> Points:
    return _by_step(
        group, slot, lambda order, starts: operation.reduceat(columns[0][order], starts)
    )


def _by_step(group: Ints, slot: Ints, value: Callable[[Ints, Ints], Floats]) -> Points:
    """A point for each group and step; `value` gets an order of the rows, and where in it each
    point begins."""
    if not len(group):
        return Points(group, slot, np.zeros(0))
    order = np.lexsort((slot, group))
    starts = _starts(group[order], slot[order])
    return Points(group[order][starts], slot[order][starts], value(order, starts))


def _average(group: Ints, slot: Ints, sums: Floats, counts: Floats) -> Points:
    return _by_step(
        group,
        slot,
        lambda order, starts: (
            np.add.reduceat(sums[order], starts) / np.add.reduceat(counts[order], starts)
        ),
    )


def _rates(rows: Rollups, group: Ints, slot: Ints, step_ms: int) -> Points:
    """A row of which nothing is known but where it stands, and that none comes before, is left
    out."""
    order = np.lexsort((rows.at_ms, rows.series))
    firsts, lasts = rows.figures["firsts"][order], rows.figures["lasts"][order]
    follows = _follows(rows.series[order])
    rises = rows.figures["increases"][order].copy()
    between = np.where(firsts[1:] >= lasts[:-1], firsts[1:] - lasts[:-1], firsts[1:])
    rises[1:] += np.where(follows[1:], between, 0.0)
    told = follows | (rows.figures["counts"][order] > 1)
    return _reduced(np.add, group[order][told], slot[order][told], rises[told] / (step_ms / 1000))


def _last(group: Ints, slot: Ints, at_ms: Ints, values: Floats) -> Points:
    order = np.lexsort((at_ms, slot, group))
    starts = _starts(group[order], slot[order])
    lasts = np.append(starts[1:], len(order)) - 1 if len(order) else starts
    return Points(group[order][lasts], slot[order][lasts], values[order][lasts])


def _quantiles(group: Ints, slot: Ints, values: Floats, q: float) -> Points:
    """Interpolated between the two nearest ranks, as `percentile_cont`."""
    order = np.lexsort((values, slot, group))
    starts = _starts(group[order], slot[order])
    counts = np.diff(np.append(starts, len(order)))
    ordered, rank = values[order], q * (counts - 1)
    below = np.floor(rank).astype(np.int64)
    low, high = ordered[starts + below], ordered[starts + np.ceil(rank).astype(np.int64)]
    return Points(group[order][starts], slot[order][starts], low + (rank - below) * (high - low))


def _sketched(group: Ints, slot: Ints, sketches: Sequence[bytes], q: float) -> Points:
    """The same from sketches, which know each of the two values within 1 %."""
    if not len(group):
        return Points(group, slot, np.zeros(0))
    sizes = np.fromiter(map(len, sketches), np.int64, len(sketches)) // ENTRY.itemsize
    entries = np.frombuffer(b"".join(sketches), ENTRY)
    order = np.lexsort((slot, group))
    starts = _starts(group[order], slot[order])
    owner = np.empty(len(order), np.int64)
    owner[order] = np.repeat(np.arange(len(starts)), np.diff(np.append(starts, len(order))))
    merged = Sketches.from_entries(sizes, entries).merge(owner, len(starts))
    heads = order[starts]
    return Points(group[heads], slot[heads], merged.percentiles((q,))[:, 0])
