"""The functions of a range from rollups, for all series and instants at once.

What a window of whole rollups comes to is what its samples would: counts, sums and extremes add up,
what a counter rose is known within each rollup and between two that follow each other, and sketches
are merged. Only where the first and the last sample of a window lay is not known: they are taken
to have come evenly.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final

import numpy as np
from numpy.typing import NDArray

from wedsync_apm.metrics.expression.ages import Old
from wedsync_apm.metrics.expression.budget import Budget
from wedsync_apm.metrics.expression.plan import Need
from wedsync_apm.metrics.expression.selection import LabelledSeries
from wedsync_apm.metrics.expression.syntax import Function
from wedsync_apm.metrics.expression.vectors import Matrix, Samples
from wedsync_apm.metrics.expression.windows import Windows, cut, empty_matrix
from wedsync_apm.metrics.model import Floats, Ints
from wedsync_apm.metrics.sketch import ENTRY, Sketches
from wedsync_apm.metrics.steps import Rollups

_ENTRIES_AT_A_TIME: Final = 2_000_000

FIGURES: Final = {
    Function.LATEST: ("lasts",),
    Function.LAST_OVER_TIME: ("lasts",),
    Function.COUNT_OVER_TIME: ("counts",),
    Function.PRESENT_OVER_TIME: (),
    Function.SUM_OVER_TIME: ("sums",),
    Function.AVG_OVER_TIME: ("counts", "sums"),
    Function.MIN_OVER_TIME: ("minima",),
    Function.MAX_OVER_TIME: ("maxima",),
    Function.RATE: ("counts", "firsts", "increases", "lasts"),
    Function.INCREASE: ("counts", "firsts", "increases", "lasts"),
    Function.QUANTILE_OVER_TIME: ("sketches",),
}
"""Of rollups, that each function needs."""


def take_rolled(
    need: Need, old: Old, series: Sequence[LabelledSeries], ended_ms: Ints, rollups: Rollups
) -> Matrix:
    """What a need comes to at its old instants, a row for each series. Raises TooMuch and
    OutOfTime."""
    budget = Budget()
    ends_ms = old.ends_ms(need)
    budget.check_values(len(series), len(ends_ms))
    if not len(rollups.series):
        return empty_matrix(len(series), len(ends_ms))
    ids = np.array([one.id for one in series], np.int32)
    first = np.searchsorted(rollups.series, ids, side="left")
    behind = np.searchsorted(rollups.series, ids, side="right")
    starts = np.concatenate(([0], np.cumsum(behind - first)))
    place = np.repeat(first - starts[:-1], behind - first) + np.arange(starts[-1])
    if not len(place):
        return empty_matrix(len(series), len(ends_ms))
    rows = rollups.take(place)
    samples = Samples(starts, rows.at_ms, np.zeros(len(place)), ended_ms)
    # From the first rollup to the beginning of the last; the one at the end is not over.
    windows = cut(samples, ends_ms - 1, old.buckets * old.width_ms - 1, ends_ms, budget)
    with np.errstate(all="ignore"):
        return _taken(need, old, windows, rows)


def _taken(need: Need, old: Old, windows: Windows, rows: Rollups) -> Matrix:
    function = need.leaf.function
    if function in (Function.RATE, Function.INCREASE):
        return _rises(need, old, windows, rows)
    present = windows.counts > 0
    if function is Function.LATEST:
        present &= _goes_on(windows)
    if function is Function.QUANTILE_OVER_TIME:
        return Matrix(_quantiles(need.leaf.number, windows, rows.sketches), present)
    return Matrix(_SUMMARIES[function](windows, rows.figures), present)


def _average(windows: Windows, figures: Mapping[str, Floats]) -> Floats:
    return _added(windows, figures, "sums") / _added(windows, figures, "counts")


def _added(windows: Windows, figures: Mapping[str, Floats], name: str) -> Floats:
    return windows.reduce(np.add, figures[name])


def _last(windows: Windows, figures: Mapping[str, Floats]) -> Floats:
    return windows.at(figures["lasts"], windows.behind - 1)


_SUMMARIES: Final[Mapping[Function, Callable[[Windows, Mapping[str, Floats]], Floats]]] = {
    Function.LATEST: _last,
    Function.LAST_OVER_TIME: _last,
    Function.PRESENT_OVER_TIME: lambda windows, _: np.ones(windows.first.shape),
    Function.COUNT_OVER_TIME: partial(_added, name="counts"),
    Function.SUM_OVER_TIME: partial(_added, name="sums"),
    Function.AVG_OVER_TIME: _average,
    Function.MIN_OVER_TIME: lambda windows, of: windows.reduce(np.minimum, of["minima"]),
    Function.MAX_OVER_TIME: lambda windows, of: windows.reduce(np.maximum, of["maxima"]),
}


def _goes_on(windows: Windows) -> NDArray[np.bool_]:
    """Where the series had not ended since its last rollup began."""
    found = np.ones(windows.first.shape, np.bool_)
    at = windows.samples.at_ms[np.clip(windows.behind - 1, 0, None)]
    for ended in windows.samples.ended_ms.T:
        found &= ~((at < ended[:, None]) & (ended[:, None] <= windows.now_ms))
    return found


def _rises(need: Need, old: Old, windows: Windows, rows: Rollups) -> Matrix:
    figures = rows.figures
    firsts, lasts = figures["firsts"], figures["lasts"]
    between = np.zeros(len(lasts))
    # Never across series: the first of a window counts no rise from the one before it.
    between[1:] = np.where(firsts[1:] >= lasts[:-1], firsts[1:] - lasts[:-1], firsts[1:])
    rise = windows.reduce(np.add, figures["increases"]) + windows.reduce(np.add, between, skip=1)
    counts = windows.reduce(np.add, figures["counts"])
    at_ms = windows.samples.at_ms
    covered_ms = (
        windows.at(at_ms, windows.behind - 1) - windows.at(at_ms, windows.first) + old.width_ms
    )
    distance = covered_ms / counts
    sampled = distance * (counts - 1)
    to_start = distance / 2
    first = windows.at(firsts, windows.first)
    to_zero = sampled * (first / rise)
    to_start = np.where((rise > 0) & (first >= 0), np.minimum(to_zero, to_start), to_start)
    found = rise * (sampled + to_start + distance / 2) / sampled
    found /= old.buckets * old.width_ms / 1000
    if need.leaf.function is Function.INCREASE:
        found *= need.leaf.range_ms / 1000
    return Matrix(found, counts > 1)


def _quantiles(quantile: float, windows: Windows, sketches: Sequence[bytes]) -> Floats:
    found = np.full(windows.first.size, np.nan)
    if not 0 <= quantile <= 1:
        found[:] = np.nan if math.isnan(quantile) else math.copysign(math.inf, quantile)
        return found.reshape(windows.first.shape)
    sizes = np.fromiter(map(len, sketches), np.int64, len(sketches)) // ENTRY.itemsize
    known = Sketches.from_entries(sizes, np.frombuffer(b"".join(sketches), ENTRY))
    reached = np.concatenate(([0], np.cumsum(sizes)))
    first, behind = windows.first.ravel(), windows.behind.ravel()
    wanted = np.flatnonzero(first < behind)
    entries = np.cumsum((reached[behind] - reached[first])[wanted])
    windows.budget.take(int(entries[-1]) if len(entries) else 0)
    while len(wanted):
        some = wanted[: max(int(np.searchsorted(entries, entries[0] + _ENTRIES_AT_A_TIME)), 1)]
        counts = (behind - first)[some]
        begins = np.cumsum(counts) - counts
        place = np.repeat(first[some] - begins, counts) + np.arange(counts.sum())
        owner = np.repeat(np.arange(len(some)), counts)
        merged = known.take(place).merge(owner, len(some))
        found[some] = merged.percentiles((quantile,))[:, 0]
        wanted, entries = wanted[len(some) :], entries[len(some) :]
    return found.reshape(windows.first.shape)
