"""Histograms and summaries as several series, as Prometheus has them."""

import math
from itertools import pairwise
from typing import Final

from wedsync_apm.ingest import model
from wedsync_apm.ingest.columns import Refused
from wedsync_apm.ingest.otlp.exponential import Ladder, buckets
from wedsync_apm.ingest.otlp.model import Exponential, Histogram, Payload, Summary

Part = tuple[str, float | None]
"""A series of a histogram or summary: what follows the metric's name, and the bound or quantile."""
COUNT: Final[Part] = ("_count", None)
_SUM: Final[Part] = ("_sum", None)
_LABELS: Final = {"_bucket": "le", "": "quantile"}


def expand(payload: Payload, ladder: Ladder) -> tuple[Ladder, list[tuple[Part, float]]]:
    """What a point becomes. `ladder` are the bounds that an exponential histogram's series has,
    given back with those that came to it. Raises Refused."""
    match payload:
        case Histogram():
            found = _explicit(payload)
        case Exponential():
            ladder, cumulative = buckets(payload, ladder)
            found = [(("_bucket", bound), float(count)) for bound, count in cumulative]
        case Summary():
            found = _quantiles(payload)
        case _:
            raise Refused(model.INVALID, "value", "is missing")
    found.append((COUNT, float(payload.count)))
    if payload.sum is not None:
        found.append((_SUM, payload.sum))
    if not isinstance(payload, Summary):
        extremes = ("_min", payload.min), ("_max", payload.max)
        found += [((suffix, None), value) for suffix, value in extremes if value is not None]
    return ladder, found


def label_of(part: Part) -> dict[str, str]:
    """The tag that tells the part from others of its name: `le`, `quantile` or none."""
    suffix, number = part
    return {} if number is None else {_LABELS[suffix]: _text_of(number)}


def _text_of(number: float) -> str:
    """As Prometheus' libraries for Go write a bound or quantile: a whole one without ".0".

    Minus zero is zero: JSON may lose the sign, and it is one bound.
    """
    return "+Inf" if math.isinf(number) else repr(number + 0.0).removesuffix(".0")


def _explicit(histogram: Histogram) -> list[tuple[Part, float]]:
    counts, bounds = histogram.bucket_counts, histogram.bounds
    if not counts and not bounds:
        return [(("_bucket", math.inf), float(histogram.count))]
    if len(counts) != len(bounds) + 1:
        reason = f"are {len(counts)} to {len(bounds)} bounds; there must be one more than bounds"
        raise Refused(model.INVALID, "bucketCounts", reason)
    if not all(map(math.isfinite, bounds)) or not all(one < two for one, two in pairwise(bounds)):
        raise Refused(model.INVALID, "explicitBounds", "are not finite numbers that rise")
    counted = sum(counts)
    if counted > histogram.count:
        reason = f"is {histogram.count}, and the buckets add up to {counted}"
        raise Refused(model.INVALID, "count", reason)
    total, found = 0, []
    for bound, count in zip(bounds, counts, strict=False):
        total += count
        found.append((("_bucket", bound), float(total)))
    return [*found, (("_bucket", math.inf), float(histogram.count))]


def _quantiles(summary: Summary) -> list[tuple[Part, float]]:
    if not all(0 <= quantile <= 1 for quantile, _ in summary.quantiles):
        raise Refused(model.INVALID, "quantile", "does not lie between 0 and 1")
    return [(("", quantile), value) for quantile, value in summary.quantiles]
