"""What a distribution of values becomes in the store: eight series beside each other.

Values are kept as counts of logarithmic bins, with the very bins of the Datadog Agent's sketches
(DataDog/datadog-agent, pkg/quantile: gamma = 1 + 2/128, the bin of 1e-9 is the first), so that a
sketch that was made elsewhere and values that come one by one are the same thing here. A quantile
is off by at most 0.8 % of its value; count, sum, least and greatest are exact.
"""

import math
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from itertools import accumulate
from typing import Final

RELATIVE_ERROR: Final = 0.0078
"""The most that a quantile is off by, as a share of its value."""

_GAMMA: Final = 1 + 2 / 128
_LOG_GAMMA: Final = math.log1p(2 / 128)
_BIAS: Final = 1 - math.floor(math.log(1e-9) / _LOG_GAMMA)
_LAST_KEY: Final = 32767
_LEAST: Final = _GAMMA ** (1 - _BIAS)

QUANTILES: Final = (("_p50", 0.5), ("_p95", 0.95), ("_p99", 0.99))
SUFFIXES: Final = ("_count", "_sum", "_min", "_max", "_avg", *(name for name, _ in QUANTILES))
"""What is appended to the metric's name, in the order of `Distribution.figures`."""


def key_of(value: float) -> int:
    """The bin that a finite value falls into."""
    if value < 0:
        return -key_of(-value)
    if value < _LEAST:
        return 0
    return min(max(round(math.log(value) / _LOG_GAMMA) + _BIAS, 1), _LAST_KEY)


def value_of(key: int) -> float:
    """The value that stands for a bin."""
    if key <= 0:
        return -value_of(-key) if key else 0.0
    try:
        return float(_GAMMA ** (key - _BIAS))
    except OverflowError:
        return math.inf


class Distribution:
    """Values and how often each came, a count being a number that may have a fraction."""

    __slots__ = ("bins", "count", "greatest", "least", "total")

    def __init__(self) -> None:
        self.bins: dict[int, float] = {}
        self.count = 0.0
        self.total = 0.0
        self.least, self.greatest = math.inf, -math.inf

    @classmethod
    def of(cls, values: Iterable[float]) -> "Distribution":
        """Of finite values that came once each."""
        made = cls()
        for value in values:
            made.add(value)
        return made

    @classmethod
    def of_sketch(
        cls,
        bins: Iterable[tuple[int, int]],
        *,
        count: int,
        total: float,
        least: float,
        greatest: float,
    ) -> "Distribution":
        """Of an Agent's sketch."""
        made = cls()
        for key, times in bins:
            made.bins[key] = made.bins.get(key, 0) + times
        made.count, made.total, made.least, made.greatest = float(count), total, least, greatest
        return made

    def add(self, value: float, times: float = 1.0) -> None:
        """Takes a finite value that came so many times."""
        key = key_of(value)
        self.bins[key] = self.bins.get(key, 0.0) + times
        self.count += times
        self.total += value * times
        self.least, self.greatest = min(self.least, value), max(self.greatest, value)

    def quantile(self, q: float) -> float:
        """The least value that a share `q` of all does not exceed; NaN if there is none."""
        return next(self._quantiles(q))

    def _quantiles(self, *shares: float) -> Iterator[float]:
        keys = sorted(self.bins)
        ends = list(accumulate(self.bins[key] for key in keys))
        for q in shares:
            if not keys:
                yield math.nan
                continue
            place = bisect_left(ends, q * ends[-1] * (1 - 1e-9))  # sums of fractions are not exact
            value = value_of(keys[min(place, len(keys) - 1)])
            yield min(max(value, self.least), self.greatest)

    def figures(self) -> Iterator[float]:
        """One for each of `SUFFIXES`, of a distribution that is not empty."""
        yield self.count
        yield self.total
        yield self.least
        yield self.greatest
        yield self.total / self.count
        yield from self._quantiles(*(q for _, q in QUANTILES))
