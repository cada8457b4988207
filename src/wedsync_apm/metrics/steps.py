"""Points of a chart out of samples and out of rollups: the same figures from either.

Series are put into groups, times into steps, and everything that falls into one group and step is
one point. The rise of a counter from one sample to the next belongs to the step of the later one,
and in equal parts to the steps between them that have no sample; where it is lower than before it
began anew, and has risen from zero.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from wedsync_apm.metrics.blocks.wire import read_array
from wedsync_apm.metrics.model import Floats, Ints
from wedsync_apm.metrics.ranges import Aggregation
from wedsync_apm.metrics.reading.lines import Line, is_among, rows_of
from wedsync_apm.metrics.reading.wire import line_numbers, read_lines
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


@dataclass(frozen=True, slots=True, eq=False)
class Rollups:
    """Buckets of one width, a row for each series and bucket. A figure that was not read is empty:
    `figures` has those of `figures_of(aggregation)`; for percentiles there are `sketches`."""

    series: NDArray[np.int32]
    at_ms: Ints
    figures: dict[str, Floats]
    sketches: Sequence[bytes] = ()

    def take(self, rows: slice | NDArray[Any]) -> "Rollups":
        """The rows at places, or of a mask."""
        sketches = self.sketches
        if sketches:
            sketches = [sketches[place] for place in np.arange(len(self.series))[rows].tolist()]
        figures = {name: column[rows] for name, column in self.figures.items()}
        return Rollups(self.series[rows], self.at_ms[rows], figures, sketches)

    def of(self, wanted: NDArray[np.int32]) -> "Rollups":
        """The rows of some series, given in ascending order, where all rows ascend by series."""
        return self.take(rows_of(self.series, wanted))


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


def rollups_of_rows(
    rows: Sequence[Mapping[str, Any]], figures: Sequence[str], wanted: NDArray[np.int32]
) -> Rollups:
    """Of rows of `list_rollups` the wanted series (ascending), by series and bucket; the arrays of
    numbers are as they came. One of the figures may be `sketches`."""
    return stack_rollups([_rollups_of_row(row, figures, wanted) for row in rows], figures)


def stack_rollups(parts: Sequence[Rollups], figures: Sequence[str]) -> Rollups:
    """All rows of the parts, by series and bucket."""
    rollups = join_rollups(parts, [name for name in figures if name != "sketches"])
    order = np.lexsort((rollups.at_ms, rollups.series))
    sketches = list(chain.from_iterable(part.sketches for part in parts))
    return replace(rollups, sketches=sketches).take(order)


def _rollups_of_row(
    row: Mapping[str, Any], figures: Sequence[str], wanted: NDArray[np.int32]
) -> Rollups:
    lines = read_lines(row["series_ids"])
    line = line_numbers(read_array(row["numbers"]), read_array(row["is_new"]))
    # By series, then by bucket: the order that is wanted.
    place, bucket = np.nonzero(is_among(lines, wanted).T[:, line])
    sketches = []
    if "sketches" in figures:
        pairs = zip(bucket.tolist(), place.tolist(), strict=True)
        sketches = [row["sketches"][one][other] for one, other in pairs]
    return Rollups(
        lines[line[bucket], place].astype(np.int32),
        read_array(row["at_ms"])[bucket],
        {
            name: read_lines(row[name])[bucket, place].astype(np.float64)
            for name in figures
            if name != "sketches"
        },
        sketches,
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
        np.concatenate([np.zeros(0, np.int32), *(part.series for part in parts)]),
        np.concatenate([np.zeros(0, np.int64), *(part.at_ms for part in parts)]),
        {
            name: np.concatenate([np.zeros(0), *(part.figures[name] for part in parts)])
            for name in figures
        },
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
    """From rollups whose width divides the step, of series all of which are in a group."""
    rows = rollups
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
    group, slot = group[order], slot[order]
    firsts, lasts = rows.figures["firsts"][order], rows.figures["lasts"][order]
    follows = _follows(rows.series[order])
    between, steps = np.zeros(len(order)), np.ones(len(order), np.int64)
    between[1:] = np.where(firsts[1:] >= lasts[:-1], firsts[1:] - lasts[:-1], firsts[1:])
    steps[1:] = np.where(follows[1:], np.maximum(np.diff(slot), 1), 1)
    share = np.where(follows, between, 0.0) / steps
    told = follows | (rows.figures["counts"][order] > 1)
    # the steps since the row before that have none of their own
    skipped = np.repeat(np.arange(len(order)), steps - 1)
    back = np.arange(len(skipped)) - np.repeat(np.cumsum(steps - 1) - (steps - 1), steps - 1) + 1
    rises = np.concatenate(((rows.figures["increases"][order] + share)[told], share[skipped]))
    return _reduced(
        np.add,
        np.concatenate((group[told], group[skipped])),
        np.concatenate((slot[told], slot[skipped] - back)),
        rises / (step_ms / 1000),
    )


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
