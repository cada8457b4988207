"""What a rollup says against what numpy makes of the samples themselves, at every width and both ways."""

import math
import random
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any, Final

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.people import ORGANIZATION_A, ORGANIZATION_B, Connection
from tests.support.rollups import Aggregate, rollups, write
from wedsync_apm.metrics import sketch
from wedsync_apm.metrics.ranges import WIDTHS
from wedsync_apm.metrics.rollups.model import Samples, merge, summarize, widen

YESTERDAY: Final = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(
    days=1
)
_CHANCE: Final = random.Random(20)


def _resets() -> list[float]:
    counter, values = 0.0, []
    for _ in range(900):
        counter = 0.0 if _CHANCE.random() < 0.02 else counter + _CHANCE.randrange(50)
        values.append(counter)
    return values


SHAPES: Final[dict[str, list[float]]] = {
    "latencies": [round(_CHANCE.lognormvariate(3.5, 0.6), 3) for _ in range(900)],
    "temperatures": [round(_CHANCE.gauss(-2, 9), 1) for _ in range(900)],
    "a counter with resets": _resets(),
    "constant": [4.25] * 900,
    "constant and negative": [-1e-9] * 900,
    "zeros and some": [_CHANCE.choice([0, 0, 0, 1, -1]) for _ in range(900)],
    "huge ranges": [_CHANCE.choice([-1, 1]) * 10 ** _CHANCE.uniform(-120, 120) for _ in range(900)],
    "whole numbers": [float(_CHANCE.randrange(2000)) for _ in range(900)],
    "two values": [_CHANCE.choice([0.001, 5e6]) for _ in range(900)],
}


NUMBERS: Final = st.floats(-1e140, 1e140).filter(lambda one: one == 0 or abs(one) > 1e-140)
"""What a sketch tells apart; smaller and larger magnitudes share its outermost buckets."""


def rise(values: Iterable[float]) -> float:
    """What a counter rose; one that fell began anew."""
    return math.fsum(b - a if b >= a else b for a, b in pairwise(values))


def is_percentile(found: float, values: list[float], share: float) -> bool:
    """Between the two nearest ranks, each known within 1 %."""
    ordered = np.sort(values)
    rank = share * (len(ordered) - 1)
    low, high = ordered[math.floor(rank)], ordered[math.ceil(rank)]
    true = low + (rank - math.floor(rank)) * (high - low)
    return bool(abs(found - true) <= 0.0100001 * max(abs(low), abs(high)))


def assert_figures(row: dict[str, Any], values: list[float]) -> None:
    assert row["sample_count"] == len(values)
    assert row["sum_value"] == pytest.approx(
        math.fsum(values), rel=1e-9, abs=1e-9 * max(map(abs, values))
    )
    assert (row["min_value"], row["max_value"]) == (min(values), max(values))
    assert (row["first_value"], row["last_value"]) == (values[0], values[-1])
    assert row["increase"] == pytest.approx(
        rise(values), rel=1e-9, abs=1e-9 * max(map(abs, values))
    )
    for name, share in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99)):
        assert is_percentile(row[name], values, share), (name, row)
    if min(values) == max(values):
        assert row["p50"] == row["p99"] == values[0]
    for share in (0.01, 0.5, 0.9, 1):
        true = float(np.percentile(values, share * 100, method="inverted_cdf"))
        assert sketch.quantile(row["sketch"], share) == pytest.approx(true, rel=0.0100001)


def test_every_width_agrees_with_the_samples(engine: Connection, aggregate: Aggregate) -> None:
    """Across two days; one organization's series have the numbers of the other's."""
    start = YESTERDAY + timedelta(hours=20, minutes=3, seconds=7)
    taken: dict[tuple[Any, int], list[tuple[datetime, float]]] = {}
    for number, values in enumerate(SHAPES.values()):
        for organization, part in ((ORGANIZATION_A, values), (ORGANIZATION_B, values[::-1])):
            # gaps, and blocks that hold pieces of minutes
            at = start
            for first in range(0, 900, 90):
                write(
                    engine,
                    part[first : first + 90],
                    start=at,
                    step=11,
                    series=number,
                    organization=organization,
                )
                taken.setdefault((organization, number), []).extend(
                    (at + timedelta(seconds=11 * n), value)
                    for n, value in enumerate(part[first : first + 90])
                )
                at += timedelta(minutes=29)
    aggregate(engine, timedelta(days=1))
    for width in WIDTHS.values():
        wanted: dict[tuple[Any, int, datetime], list[float]] = {}
        for (organization, series), samples in taken.items():
            for at, value in samples:
                bucket = YESTERDAY + (at - YESTERDAY) // width * width
                wanted.setdefault((organization, series, bucket), []).append(value)
        found = {
            (row["organization_id"], row["series_id"], row["time_bucket"].astimezone(UTC)): row
            for row in rollups(engine, width)
        }
        assert found.keys() == wanted.keys()
        for key, values in wanted.items():
            assert_figures(found[key], values)


@given(
    values=st.lists(NUMBERS, min_size=1, max_size=200),
    cuts=st.lists(st.integers(0, 200), max_size=5),
)
@settings(max_examples=150, deadline=None)
def test_a_merged_sketch_is_the_sketch_of_all(values: list[float], cuts: list[int]) -> None:
    bounds = sorted({0, len(values), *(min(cut, len(values)) for cut in cuts)})
    parts = [sketch.encode(np.array(values[a:b])) for a, b in pairwise(bounds)]
    whole = sketch.encode(np.array(values))
    assert sketch.merge(parts) == whole
    for share in (0, 0.25, 0.5, 0.99, 1):
        true = float(np.percentile(values, share * 100, method="inverted_cdf"))
        assert sketch.quantile(whole, share) == pytest.approx(true, rel=0.0100001)


@given(
    samples=st.lists(
        st.tuples(st.integers(0, 1), st.integers(1, 3), st.integers(0, 900), NUMBERS),
        min_size=1,
        max_size=120,
    )
)
@settings(max_examples=150, deadline=None)
def test_merging_in_steps_is_merging_at_once(samples: list[tuple[int, int, int, float]]) -> None:
    """Whatever comes in whatever order, and twice: the last write of a time counts."""
    organization, series, at, values = zip(*samples, strict=True)
    count = len(samples)
    minutes, counted = summarize(
        Samples(
            np.array(organization),
            np.array(series),
            np.array(at, np.int64) * 1000,
            np.arange(count),
            np.array(values),
            np.zeros(count, np.bool_),
        )
    )
    last = {(o, s, t): v for o, s, t, v in samples}
    assert minutes.sample_counts.sum() == counted.sample_counts.sum() == len(last)
    steps = merge(widen(merge(widen(minutes, 300_000, 60_000)), 3_600_000, 300_000))
    for place in range(len(steps)):
        key = (int(steps.organization[place]), int(steps.series[place]))
        own = [last[one] for one in sorted(last) if one[:2] == key]
        assert steps.sample_counts[place] == len(own)
        assert (steps.firsts[place], steps.lasts[place]) == (own[0], own[-1])
        assert (steps.minima[place], steps.maxima[place]) == (min(own), max(own))
        largest = max(map(abs, own))
        assert steps.sums[place] == pytest.approx(math.fsum(own), rel=1e-9, abs=1e-9 * largest)
        assert steps.increases[place] == pytest.approx(rise(own), rel=1e-9, abs=1e-9 * largest)
        assert is_percentile(float(steps.percentiles[place, 1]), own, 0.95)
