"""Functions that look at all samples of a window at once: quantiles, deviations, straight lines."""

import numpy as np
from numpy.typing import NDArray

from wedsync_apm.metrics.expression.syntax import NotAnswered
from wedsync_apm.metrics.expression.vectors import Matrix, Scalar
from wedsync_apm.metrics.expression.windows import Slots, Windows
from wedsync_apm.metrics.model import Floats


def quantile_of(values: Floats, present: NDArray[np.bool_], quantile: Floats) -> Floats:
    """The quantile of each column, between its two nearest values in proportion; NaN counts as the
    smallest value, and where nothing is there. Below 0 it is -Inf and above 1 +Inf."""
    count = present.sum(axis=0)
    nans = (present & np.isnan(values)).sum(axis=0)
    ascending = np.sort(np.where(present, values, np.nan), axis=0)  # NaN last
    columns = np.arange(values.shape[1])
    rank = np.where((quantile >= 0) & (quantile <= 1), quantile, 0.0) * (count - 1)
    lower = np.maximum(np.floor(rank), 0).astype(np.int64)
    upper = np.clip(lower + 1, 0, np.maximum(count - 1, 0))

    def pick(place: NDArray[np.int64]) -> Floats:
        found = ascending[np.maximum(place - nans, 0), columns]
        return np.where(place < nans, np.nan, found)

    weight = rank - np.floor(rank)
    found = pick(lower) * (1 - weight) + pick(upper) * weight
    found = np.where(quantile < 0, -np.inf, np.where(quantile > 1, np.inf, found))
    return np.where(np.isnan(quantile) | (count == 0), np.nan, found)


def quantiles(windows: Windows, quantile: Scalar) -> Matrix:
    """`quantile_over_time`."""
    found = np.zeros(windows.first.shape)
    wanted = _at_each(windows, quantile)
    for slots in windows.spread():
        found.flat[slots.windows] = quantile_of(slots.values, slots.present, wanted[slots.windows])
    return Matrix(found, windows.counts > 0)


def absolute_deviations(windows: Windows) -> Matrix:
    """`mad_over_time`: the median of the distances from the median."""
    found = np.zeros(windows.first.shape)
    half = np.array([0.5])
    for slots in windows.spread():
        median = quantile_of(slots.values, slots.present, half)
        distance = np.abs(slots.values - median)
        found.flat[slots.windows] = quantile_of(distance, slots.present, half)
    return Matrix(found, windows.counts > 0)


def variances(windows: Windows) -> Floats:
    """Of the values of each window, all of which are known: divided by their number."""
    found = np.zeros(windows.first.shape)
    for slots in windows.spread():
        mean = _sum(slots, slots.values) / slots.counts
        found.flat[slots.windows] = _sum(slots, (slots.values - mean) ** 2) / slots.counts
    return found


def slopes(windows: Windows) -> Matrix:
    """`deriv`: what the line of least squares rises a second."""
    found = np.zeros(windows.first.shape)
    for slots in windows.spread():
        found.flat[slots.windows] = _line(slots)[0]
    return Matrix(found, windows.counts > 1)


def extrapolated(windows: Windows, seconds: Scalar) -> Matrix:
    """`predict_linear`: where that line is so many seconds after the instant."""
    found = np.zeros(windows.first.shape)
    ahead = _at_each(windows, seconds)
    for slots in windows.spread():
        slope, middle, middle_ms = _line(slots)
        away = (slots.now_ms - slots.at_ms[0] - middle_ms) / 1000
        found.flat[slots.windows] = middle + slope * (away + ahead[slots.windows])
    return Matrix(found, windows.counts > 1)


def smoothed(windows: Windows, level_factor: Scalar, trend_factor: Scalar) -> Matrix:
    """`holt_winters`: exponential smoothing of the level and of the trend, in this order, with the
    first two samples as the beginning. Raises NotAnswered for a factor that is none."""
    factors = [_at_each(windows, level_factor), _at_each(windows, trend_factor)]
    for name, factor in zip(("smoothing", "trend"), factors, strict=True):
        if not ((factor > 0) & (factor < 1)).all():
            raise NotAnswered(f"invalid {name} factor. Expected: 0 < {name[0]}f < 1")
    found = np.zeros(windows.first.shape)
    for slots in windows.spread():
        by_level, by_trend = (factor[slots.windows] for factor in factors)
        values, counts = slots.values, slots.counts
        level = before = values[0]
        trend = values[min(1, len(values) - 1)] - values[0]
        for place in range(1, len(values)):
            if place > 1:
                changed = by_trend * (level - before) + (1 - by_trend) * trend
                trend = np.where(place < counts, changed, trend)
            before = level
            changed = by_level * values[place] + (1 - by_level) * (level + trend)
            level = np.where(place < counts, changed, level)
        found.flat[slots.windows] = level
    return Matrix(found, windows.counts > 1)


def _line(slots: Slots) -> tuple[Floats, Floats, Floats]:
    """Of the line of least squares through each window: its slope a second, its value in the middle
    of the samples, and how many milliseconds after the first that is."""
    since = np.where(slots.present, slots.at_ms - slots.at_ms[0], 0).astype(np.float64)
    middle_ms = since.sum(axis=0) / slots.counts
    middle = _sum(slots, slots.values) / slots.counts
    away = np.where(slots.present, since - middle_ms, 0.0) / 1000
    slope = _sum(slots, away * (slots.values - middle)) / (away**2).sum(axis=0)
    # of equal values exactly level, and of infinite ones nothing
    is_level = (~slots.present | (slots.values == slots.values[0])).all(axis=0)
    is_finite = np.isfinite(slots.values[0])
    slope = np.where(is_level, np.where(is_finite, 0.0, np.nan), slope)
    middle = np.where(is_level, np.where(is_finite, slots.values[0], np.nan), middle)
    return slope, middle, middle_ms


def _sum(slots: Slots, values: Floats) -> Floats:
    found: Floats = np.where(slots.present, values, 0.0).sum(axis=0)
    return found


def _at_each(windows: Windows, number: Scalar) -> Floats:
    """A number for each window."""
    return np.broadcast_to(number, windows.first.shape).ravel()
