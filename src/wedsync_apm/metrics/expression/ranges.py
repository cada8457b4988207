"""The functions of a range of samples, for all series and instants at once.

The extrapolation of `rate`, `increase` and `delta` is the one that Prometheus documents in its
source: towards each end of the range, by at most 1.1 average distances, else by half of one, and
never below zero for a counter.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final

import numpy as np
from numpy.typing import NDArray

from wedsync_apm.metrics.expression.budget import Budget
from wedsync_apm.metrics.expression.spreads import (
    absolute_deviations,
    extrapolated,
    quantiles,
    slopes,
    smoothed,
    variances,
)
from wedsync_apm.metrics.expression.syntax import Function, Leaf, Subquery
from wedsync_apm.metrics.expression.vectors import Matrix, Samples, Scalar
from wedsync_apm.metrics.expression.windows import Windows, cut, empty_matrix
from wedsync_apm.metrics.model import Floats, Ints


def apply(
    function: Function,
    source: Leaf | Subquery,
    samples: Samples,
    instants_ms: Ints,
    budget: Budget,
    *,
    now_ms: Ints | None = None,
    numbers: Sequence[Scalar] = (),
) -> Matrix:
    """What a function makes of samples at the instants; `numbers` are what it takes besides.

    Raises TooMuch and OutOfTime.
    """
    series = len(samples.starts) - 1
    budget.check_values(series, len(instants_ms))
    if not len(samples.at_ms):
        return empty_matrix(series, len(instants_ms))
    now = instants_ms if now_ms is None else now_ms
    windows = cut(samples, instants_ms - source.offset_ms, source.range_ms, now, budget)
    with np.errstate(all="ignore"):
        return _FUNCTIONS[function](windows, *numbers)


def _latest(windows: Windows) -> Matrix:
    return Matrix(windows.at(windows.samples.values, windows.behind - 1), _is_fresh(windows))


def _timestamp(windows: Windows) -> Matrix:
    at = windows.at(windows.samples.at_ms, windows.behind - 1)
    return Matrix(at / 1000, _is_fresh(windows))


def _is_fresh(windows: Windows) -> NDArray[np.bool_]:
    found = windows.counts > 0
    ended_ms = windows.samples.ended_ms
    if ended_ms.size:
        at = windows.samples.at_ms[np.clip(windows.behind - 1, 0, None)]
        for ended in ended_ms.T:
            found &= ~((at < ended[:, None]) & (ended[:, None] <= windows.ends_ms))
    return found


def _extrapolate(windows: Windows, *, is_counter: bool, per_second: bool = False) -> Matrix:
    samples, counts = windows.samples, windows.counts
    values, last_place = samples.values, windows.behind - 1
    first, last = windows.at(values, windows.first), windows.at(values, last_place)
    rise = last - first
    if is_counter:
        # What a counter had when it started again from zero; never across series, as no window is.
        lost = np.zeros(len(values))
        lost[1:] = np.where(values[1:] < values[:-1], values[:-1], 0.0)
        if lost.any():
            rise = rise + windows.reduce(np.add, lost, skip=1)
    first_at = windows.at(samples.at_ms, windows.first)
    last_at = windows.at(samples.at_ms, last_place)
    to_start = (first_at - (windows.ends_ms - windows.range_ms)) / 1000
    to_end = (windows.ends_ms - last_at) / 1000
    sampled = (last_at - first_at) / 1000
    distance = sampled / (counts - 1)
    if is_counter:
        to_zero = sampled * (first / rise)
        to_start = np.where((rise > 0) & (first >= 0), np.minimum(to_zero, to_start), to_start)
    covered = sampled.copy()
    for edge in (to_start, to_end):
        covered += np.where(edge < distance * 1.1, edge, distance / 2)
    factor = covered / sampled
    if per_second:
        factor /= windows.range_ms / 1000
    return Matrix(rise * factor, counts > 1)


def _last_two(windows: Windows, *, is_rate: bool) -> Matrix:
    samples, place = windows.samples, windows.behind - 1
    last, before = windows.at(samples.values, place), windows.at(samples.values, place - 1)
    rise = last - before
    if is_rate:
        seconds = (windows.at(samples.at_ms, place) - windows.at(samples.at_ms, place - 1)) / 1000
        rise = np.where(last < before, last, rise) / seconds
    return Matrix(rise, windows.counts > 1)


def _count_between(windows: Windows, is_one: Callable[[Floats, Floats], Floats]) -> Matrix:
    values = windows.samples.values
    steps = np.zeros(len(values))
    steps[1:] = is_one(values[:-1], values[1:])
    # Whole numbers: the difference of two running counts is exact. One across two series lies
    # before the first step of a window, and never counts.
    running = np.concatenate((np.cumsum(steps), [0.0]))
    found = running[windows.behind - 1] - running[np.minimum(windows.first, len(values) - 1)]
    return Matrix(found, windows.counts > 0)


def _is_change(before: Floats, after: Floats) -> Floats:
    is_same = (before == after) | (np.isnan(before) & np.isnan(after))
    return np.where(is_same, 0.0, 1.0)


def _is_reset(before: Floats, after: Floats) -> Floats:
    return np.where(after < before, 1.0, 0.0)


def _summary(windows: Windows, summarize: Callable[[Windows], Floats]) -> Matrix:
    return Matrix(summarize(windows), windows.counts > 0)


def _average(windows: Windows) -> Floats:
    return windows.reduce(np.add, windows.samples.values) / windows.counts


def _deviation(windows: Windows) -> Floats:
    return np.sqrt(variances(windows))


def _count(windows: Windows) -> Floats:
    return windows.counts.astype(np.float64)


def _one(windows: Windows) -> Floats:
    return np.ones(windows.first.shape)


def _last(windows: Windows) -> Floats:
    return windows.at(windows.samples.values, windows.behind - 1)


def _reduced(windows: Windows, operation: np.ufunc) -> Floats:
    return windows.reduce(operation, windows.samples.values)


_SUMMARIES: Final[Mapping[Function, Callable[[Windows], Floats]]] = {
    Function.COUNT_OVER_TIME: _count,
    Function.PRESENT_OVER_TIME: _one,
    Function.LAST_OVER_TIME: _last,
    Function.SUM_OVER_TIME: partial(_reduced, operation=np.add),
    Function.AVG_OVER_TIME: _average,
    # as Prometheus: NaN only if there is nothing else
    Function.MIN_OVER_TIME: partial(_reduced, operation=np.fmin),
    Function.MAX_OVER_TIME: partial(_reduced, operation=np.fmax),
    Function.STDVAR_OVER_TIME: variances,
    Function.STDDEV_OVER_TIME: _deviation,
}
_FUNCTIONS: Final[Mapping[Function, Callable[..., Matrix]]] = {
    Function.LATEST: _latest,
    Function.TIMESTAMP: _timestamp,
    Function.RATE: partial(_extrapolate, is_counter=True, per_second=True),
    Function.INCREASE: partial(_extrapolate, is_counter=True),
    Function.DELTA: partial(_extrapolate, is_counter=False),
    Function.IRATE: partial(_last_two, is_rate=True),
    Function.IDELTA: partial(_last_two, is_rate=False),
    Function.CHANGES: partial(_count_between, is_one=_is_change),
    Function.RESETS: partial(_count_between, is_one=_is_reset),
    Function.DERIV: slopes,
    Function.PREDICT_LINEAR: extrapolated,
    Function.HOLT_WINTERS: smoothed,
    Function.SMOOTHED: smoothed,
    Function.QUANTILE_OVER_TIME: quantiles,
    Function.MAD_OVER_TIME: absolute_deviations,
    **{name: partial(_summary, summarize=one) for name, one in _SUMMARIES.items()},
}
