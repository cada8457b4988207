"""Windows of hours and days, put together from rollups.

Only whole buckets count: the window of an instant are the buckets that lie in it, so that it moves
from bucket to bucket. A counter's growth is what it rose inside the buckets and between them; it is
not stretched to the window's edges, which over hours would add nothing but doubt.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, Self

from wedsync_apm.rules.aggregate import Aggregation, Samples


@dataclass(frozen=True, slots=True)
class Bucket:
    """What a series came to in [starts_ms, starts_ms + width). `rise` is a counter's growth from
    sample to sample within it, resets taken into account."""

    starts_ms: int
    count: int
    total: float
    least: float
    most: float
    first: float
    last: float
    rise: float


def buckets_of(samples: Samples, width_ms: int) -> list[Bucket]:
    """The same from samples, for what is too new for rollups."""
    found: dict[int, list[float]] = {}
    for at, value in zip(samples.times_ms, samples.values, strict=True):
        found.setdefault(at // width_ms * width_ms, []).append(value)
    return [_bucket(starts, values) for starts, values in found.items()]


def _bucket(starts_ms: int, values: Sequence[float]) -> Bucket:
    rise = math.fsum(
        newer - older if newer >= older else newer for older, newer in pairwise(values)
    )
    return Bucket(
        starts_ms,
        len(values),
        math.fsum(values),
        min(values),
        max(values),
        values[0],
        values[-1],
        rise,
    )


@dataclass(frozen=True, slots=True)
class History:
    """The buckets of one series, each once, in order of time."""

    width_ms: int
    buckets: Mapping[int, Bucket]

    @classmethod
    def of(cls, width_ms: int, *parts: Iterable[Bucket]) -> Self:
        """Of equal times those of the later part count."""
        found = {one.starts_ms: one for part in parts for one in part}
        return cls(width_ms, {starts: found[starts] for starts in sorted(found)})

    def between(self, after_ms: int, until_ms: int) -> list[Bucket]:
        """The whole buckets of a window."""
        first = -(-after_ms // self.width_ms) * self.width_ms
        return [
            self.buckets[starts]
            for starts in range(first, until_ms - self.width_ms + 1, self.width_ms)
            if starts in self.buckets
        ]


def aggregate(
    aggregation: Aggregation, members: Sequence[History], after_ms: int, until_ms: int
) -> tuple[float, int] | None:
    """The value of a window over several series, and of how many samples; None without any."""
    found = [one.between(after_ms, until_ms) for one in members]
    every = [bucket for buckets in found for bucket in buckets]
    count = sum(bucket.count for bucket in every)
    if not count:
        return None
    value: float
    match aggregation:
        case Aggregation.MIN:
            value = min(bucket.least for bucket in every)
        case Aggregation.MAX:
            value = max(bucket.most for bucket in every)
        case Aggregation.SUM:
            value = math.fsum(bucket.total for bucket in every)
        case Aggregation.COUNT:
            value = float(count)
        case Aggregation.LAST:
            value = max(every, key=lambda bucket: bucket.starts_ms).last
        case Aggregation.INCREASE | Aggregation.RATE:
            value = math.fsum(_growth(buckets) for buckets in found)
            if aggregation is Aggregation.RATE:
                value /= (until_ms - after_ms) / 1000
        case _:
            value = math.fsum(bucket.total for bucket in every) / count
    return (value, count) if math.isfinite(value) else None


def _growth(buckets: Sequence[Bucket]) -> float:
    between = (
        newer.first - older.last if newer.first >= older.last else newer.first
        for older, newer in pairwise(buckets)
    )
    return math.fsum((*(bucket.rise for bucket in buckets), *between))


FEWEST_POINTS: Final = 3
"""A line through fewer says nothing."""


def predict(
    members: Sequence[History], after_ms: int, until_ms: int, at_ms: int
) -> tuple[float, int] | None:
    """Where the straight line of least squares through the buckets' means is at `at_ms`.

    `predict_linear` of Prometheus does the same over samples; means weigh each stretch of time
    alike however often it was measured.
    """
    found = [bucket for one in members for bucket in one.between(after_ms, until_ms)]
    if len({bucket.starts_ms for bucket in found}) < FEWEST_POINTS:
        return None
    half = members[0].width_ms / 2
    xs = [(bucket.starts_ms + half - at_ms) / 1000 for bucket in found]
    ys = [bucket.total / bucket.count for bucket in found]
    x_mean, y_mean = math.fsum(xs) / len(xs), math.fsum(ys) / len(ys)
    spread = math.fsum((x - x_mean) * (x - x_mean) for x in xs)
    slope = math.fsum((x - x_mean) * (y - y_mean) for x, y in zip(xs, ys, strict=True)) / spread
    value = y_mean - slope * x_mean
    if not math.isfinite(value):
        return None
    return value, sum(bucket.count for bucket in found)
