"""What a window of samples comes to.

A window is (t - width, t]: a sample on the far edge is out, one at t is in, as in Prometheus 3. NaN
and infinities never count; a window without any other sample has no value.
"""

import math
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from typing import Final, Self


class Aggregation(StrEnum):
    """How the samples of a window become one number."""

    AVG = "avg"
    MIN = "min"
    MAX = "max"
    SUM = "sum"
    COUNT = "count"
    LAST = "last"
    RATE = "rate"  # growth of a counter per second, its resets taken into account
    INCREASE = "increase"  # growth of a counter over the window
    P50 = "p50"
    P90 = "p90"
    P95 = "p95"
    P99 = "p99"
    STDDEV = "stddev"  # of the whole population, as Prometheus has it

    @property
    def is_growth(self) -> bool:
        """Whether it is reckoned over a counter and moves between its samples, too."""
        return self in (Aggregation.RATE, Aggregation.INCREASE)


@dataclass(frozen=True, slots=True)
class Samples:
    """Finite samples of one series in order of time, each time once.

    Times are whole milliseconds since 1970. `declared` says of each sample whether its own context
    calls its day a wedding day.
    """

    times_ms: tuple[int, ...] = ()
    values: tuple[float, ...] = ()
    declared: tuple[bool, ...] = ()

    @classmethod
    def of(cls, rows: Iterable[tuple[int, float, bool]]) -> Self:
        """From rows (milliseconds, value, declared) in any order; of equal times the last stays."""
        kept = {at: (value, flag) for at, value, flag in rows}
        times = sorted(at for at, (value, _) in kept.items() if math.isfinite(value))
        return cls(
            tuple(times),
            tuple(kept[at][0] for at in times),
            tuple(kept[at][1] for at in times),
        )

    def window(self, at_ms: int, width_ms: int) -> slice:
        """The positions of the samples in (at - width, at]."""
        return slice(
            bisect_right(self.times_ms, at_ms - width_ms), bisect_right(self.times_ms, at_ms)
        )

    def times_between(self, after_ms: int, until_ms: int) -> tuple[int, ...]:
        """The sample times in (after, until]."""
        return self.times_ms[
            bisect_right(self.times_ms, after_ms) : bisect_right(self.times_ms, until_ms)
        ]


@dataclass(frozen=True, slots=True)
class Reading:
    """A window's value, of how many samples, and whether the newest declares a wedding day."""

    value: float
    sample_count: int
    is_declared_wedding: bool = False


class Gap(StrEnum):
    """Why there is no value."""

    ABSENT = "absent"  # nothing came, and nobody said why
    STALE = "stale"  # the sender said that the series is over
    NOT_APPLICABLE = "not_applicable"  # the question has no answer here: nothing to compare with


def read_window(
    aggregation: Aggregation, samples: Samples, at_ms: int, width_ms: int
) -> Reading | None:
    """The window that ends at `at_ms`; None where it has no value."""
    return read_windows(aggregation, (samples,), at_ms, width_ms)


def read_windows(
    aggregation: Aggregation, members: Sequence[Samples], at_ms: int, width_ms: int
) -> Reading | None:
    """The windows of several series as one; None where they have no value.

    Growth is reckoned for each counter and added up; for all else the samples are taken together.
    The last value is the newest one, of equally new ones that of the later member.
    """
    values: list[float] = []
    growths: list[float] = []
    newest: tuple[int, int, float, bool] | None = None
    for place, samples in enumerate(members):
        held = samples.window(at_ms, width_ms)
        if held.start >= held.stop:
            continue
        values.extend(samples.values[held])
        last = held.stop - 1
        found = (samples.times_ms[last], place, samples.values[last], samples.declared[last])
        newest = max(newest, found) if newest else found
        if aggregation.is_growth:
            times = samples.times_ms[held]
            grown = increase(times, samples.values[held], at_ms - width_ms, at_ms)
            if grown is not None:
                growths.append(grown)
    if newest is None:
        return None
    if aggregation.is_growth:
        if not growths:
            return None
        value = _total(growths)
        if aggregation is Aggregation.RATE:
            value /= width_ms / 1000
    elif aggregation is Aggregation.LAST:
        value = newest[2]
    else:
        value = _REDUCE[aggregation](values)
    if not math.isfinite(value):
        return None
    return Reading(value, len(values), newest[3])


def quantile(values: Sequence[float], share: float) -> float:
    """The quantile with linear interpolation between neighbours, numpy's default."""
    ordered = sorted(values)
    position = share * (len(ordered) - 1)
    below = math.floor(position)
    above = min(below + 1, len(ordered) - 1)
    low, high = ordered[below], ordered[above]
    # Rounding must not carry it past its neighbours.
    return min(max(low + (high - low) * (position - below), low), high)


def rate(
    times_ms: Sequence[int], values: Sequence[float], start_ms: int, end_ms: int
) -> float | None:
    """Growth per second over the window; None for fewer than two samples."""
    grown = increase(times_ms, values, start_ms, end_ms)
    return None if grown is None else grown / ((end_ms - start_ms) / 1000)


def increase(
    times_ms: Sequence[int], values: Sequence[float], start_ms: int, end_ms: int
) -> float | None:
    """Growth over the window, as Prometheus reckons it; None for fewer than two samples.

    A value below the one before it is a reset: the counter began at nothing again. The growth seen
    between first and last sample is stretched to the window's edges where the samples reach near
    them (within 1.1 mean gaps), else by half a gap, and never back past where the counter was zero.
    """
    if len(values) < 2:
        return None
    growth = values[-1] - values[0]
    for older, newer in pairwise(values):
        if newer < older:
            growth += older
    seen = (times_ms[-1] - times_ms[0]) / 1000
    gap = seen / (len(values) - 1)
    to_start, to_end = (times_ms[0] - start_ms) / 1000, (end_ms - times_ms[-1]) / 1000
    if to_start >= gap * 1.1:
        to_start = gap / 2
    if growth > 0 and values[0] >= 0:
        to_start = min(to_start, seen * (values[0] / growth))
    if to_end >= gap * 1.1:
        to_end = gap / 2
    return growth * ((seen + to_start + to_end) / seen)


def _total(values: Sequence[float]) -> float:
    # fsum is exact, so that live, preview and any order of arrival agree to the last bit.
    try:
        return math.fsum(values)
    except (OverflowError, ValueError):
        # Too large, or two parts that are so in opposite directions.
        return math.inf


def _deviation(values: Sequence[float]) -> float:
    mean = _total(values) / len(values)
    if not math.isfinite(mean):
        return mean
    # A product, not a power: that one raises where it overflows.
    apart = [value - mean for value in values]
    return math.sqrt(_total([one * one for one in apart]) / len(values))


_REDUCE: Final[Mapping[Aggregation, Callable[[Sequence[float]], float]]] = {
    Aggregation.AVG: lambda values: _total(values) / len(values),
    Aggregation.MIN: min,
    Aggregation.MAX: max,
    Aggregation.SUM: _total,
    Aggregation.COUNT: lambda values: float(len(values)),
    Aggregation.P50: lambda values: quantile(values, 0.50),
    Aggregation.P90: lambda values: quantile(values, 0.90),
    Aggregation.P95: lambda values: quantile(values, 0.95),
    Aggregation.P99: lambda values: quantile(values, 0.99),
    Aggregation.STDDEV: _deviation,
}
