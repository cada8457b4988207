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
    P50 = "p50"
    P95 = "p95"
    P99 = "p99"


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


def read_window(
    aggregation: Aggregation, samples: Samples, at_ms: int, width_ms: int
) -> Reading | None:
    """The window that ends at `at_ms`; None where it has no value."""
    held = samples.window(at_ms, width_ms)
    values = samples.values[held]
    if not values:
        return None
    if aggregation is Aggregation.RATE:
        value = rate(samples.times_ms[held], values, at_ms - width_ms, at_ms)
    else:
        value = _REDUCE[aggregation](values)
    if value is None or not math.isfinite(value):
        return None
    return Reading(value, len(values), samples.declared[held.stop - 1])


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
    """Growth per second over the window, as Prometheus reckons it; None for fewer than two samples.

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
    return growth * ((seen + to_start + to_end) / seen) / ((end_ms - start_ms) / 1000)


def _total(values: Sequence[float]) -> float:
    # fsum is exact, so that live, preview and any order of arrival agree to the last bit.
    try:
        return math.fsum(values)
    except OverflowError:
        return math.inf


_REDUCE: Final[Mapping[Aggregation, Callable[[Sequence[float]], float]]] = {
    Aggregation.AVG: lambda values: _total(values) / len(values),
    Aggregation.MIN: min,
    Aggregation.MAX: max,
    Aggregation.SUM: _total,
    Aggregation.COUNT: lambda values: float(len(values)),
    Aggregation.LAST: lambda values: values[-1],
    Aggregation.P50: lambda values: quantile(values, 0.50),
    Aggregation.P95: lambda values: quantile(values, 0.95),
    Aggregation.P99: lambda values: quantile(values, 0.99),
}
