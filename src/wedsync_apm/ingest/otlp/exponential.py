"""Exponential histograms as the `le` buckets that Prometheus knows.

A bucket of scale s ends at a power of 2 ** (2 ** -s). Each step down in scale joins two
neighbours, so every bound of a scale is also one of each finer scale: buckets brought down to
`FINEST_SCALE` have bounds from one ladder for all senders and times, and a quantile over the sum of
several histograms means what it says. A value found by interpolating in a bucket is off by less
than the bucket's width: at scale 2 by less than 2 ** (1 / 4) - 1, 19 % of the value.

Bucket downscaling: OpenTelemetry's metrics data model, "Exponential Scale".
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np

from wedsync_apm.ingest import model
from wedsync_apm.ingest.columns import Refused
from wedsync_apm.ingest.otlp.model import Buckets, Exponential
from wedsync_apm.metrics.model import Ints

FINEST_SCALE: Final = 2
MOST_BUCKETS: Final = 80
"""Of either sign: twenty octaves, a factor of a million, at the finest scale. What spans more is
brought down further, to scale 1 for a factor of 10 ** 12, and so on."""
COARSEST_SCALE: Final = -10
"""A bucket of that scale spans half of all doubles. A sender's scale is not below it."""
_LOWEST_POWER: Final = -1074
"""No double is nearer to zero than two to this power."""
_STEPS: Final = (1.0, 2**0.25, 2**0.5, 2**0.75)

Span = tuple[int, int]
"""The first bucket and the one after the last."""


@dataclass(frozen=True, slots=True)
class Ladder:
    """Which bounds a series has had so far. They stay: a bucket that comes and goes with the values
    of the moment would make sums over time, and rates after a sender's restart, wrong."""

    scale: int = FINEST_SCALE
    positive: Span | None = None
    negative: Span | None = None


def buckets(point: Exponential, before: Ladder) -> tuple[Ladder, list[tuple[float, int]]]:
    """The ladder with this point's bounds added, and bounds with cumulative counts, in order.

    The bound `inf` comes last. Raises Refused.
    """
    if point.scale < COARSEST_SCALE:
        raise Refused(model.INVALID, "scale", f"is below {COARSEST_SCALE}")
    if not point.zero_threshold >= 0 or math.isinf(point.zero_threshold):
        raise Refused(model.INVALID, "zeroThreshold", "is no number from zero on")
    positive, negative = _populated(point.positive), _populated(point.negative)
    counted = sum(point.positive.counts) + sum(point.negative.counts) + point.zero_count
    if counted > point.count:
        reason = f"is {point.count}, and the buckets add up to {counted}"
        raise Refused(model.INVALID, "count", reason)
    for places, _ in (positive, negative):
        _check_range(places, point.scale)
    ladder = _widen(before, point.scale, positive[0], negative[0])
    found: dict[float, int] = {}
    steps = point.scale - ladder.scale
    _add(found, -1, (ladder.negative, ladder.scale), (_joined(negative[0], steps), negative[1]))
    found[point.zero_threshold] = found.get(point.zero_threshold, 0) + point.zero_count
    _add(found, 1, (ladder.positive, ladder.scale), (_joined(positive[0], steps), positive[1]))
    for beyond in (-math.inf, math.inf):
        found.pop(beyond, None)
    total, cumulative = 0, []
    for bound in sorted(found):
        total += found[bound]
        cumulative.append((bound, total))
    return ladder, [*cumulative, (math.inf, point.count)]


def _populated(buckets: Buckets) -> tuple[Ints, Sequence[int]]:
    """The places of the buckets that count anything, and what they count."""
    places = [place for place, count in enumerate(buckets.counts) if count]
    return np.array(places, np.int64) + buckets.offset, [buckets.counts[at] for at in places]


def _check_range(places: Ints, scale: int) -> None:
    if len(places):
        # Not 2.0 ** -scale, which no double holds for the scales that a sender may claim.
        ends, begins = math.ldexp(places[0] + 1.0, -scale), math.ldexp(float(places[-1]), -scale)
        if not (ends >= _LOWEST_POWER and begins < 1024):
            raise Refused(model.INVALID, "offset", "names buckets beyond all numbers")


def _widen(before: Ladder, scale: int, positive: Ints, negative: Ints) -> Ladder:
    """The ladder that has the bounds of both, at the finest scale that keeps it short enough."""
    target = min(before.scale, scale)
    while True:
        spans = [
            _union(_coarser(span, before.scale - target), _span(_joined(places, scale - target)))
            for span, places in ((before.positive, positive), (before.negative, negative))
        ]
        if all(span is None or span[1] - span[0] <= MOST_BUCKETS for span in spans):
            return Ladder(target, *spans)
        target -= 1


def _coarser(span: Span | None, steps: int) -> Span | None:
    return None if span is None else (span[0] >> steps, ((span[1] - 1) >> steps) + 1)


def _joined(places: Ints, steps: int) -> Ints:
    """The buckets' places that many steps of scale further down."""
    joined: Ints = places >> min(steps, 63)
    return joined


def _span(places: Ints) -> Span | None:
    return (int(places[0]), int(places[-1]) + 1) if len(places) else None


def _union(one: Span | None, other: Span | None) -> Span | None:
    if one is None or other is None:
        return one or other
    return min(one[0], other[0]), max(one[1], other[1])


def _add(
    found: dict[float, int],
    sign: int,
    rungs: tuple[Span | None, int],
    populated: tuple[Ints, Sequence[int]],
) -> None:
    """Adds each bucket's count at its upper bound, and nothing at the lowest bound of all."""
    span, scale = rungs
    if span is None:
        return
    for place in range(span[0], span[1] + 1):
        found.setdefault(sign * bound_of(place, scale) + 0.0, 0)  # no -0.0
    # On the negative side a bucket's upper bound is the one that is nearer to zero.
    nearer = 1 if sign > 0 else 0
    places, counts = populated
    for place, count in zip(places.tolist(), counts, strict=True):
        found[sign * bound_of(place + nearer, scale) + 0.0] += count


@lru_cache(maxsize=20_000)
def bound_of(place: int, scale: int) -> float:
    """Two to the power of `place / 2 ** scale`; `inf` beyond the doubles."""
    quarters = place << (FINEST_SCALE - scale)
    try:
        return math.ldexp(_STEPS[quarters & 3], quarters >> 2)
    except OverflowError:
        return math.inf
