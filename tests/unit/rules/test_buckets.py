"""Windows of hours from buckets, against the samples they were made of."""

import math
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from uuid import UUID

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.rules import a_rule
from wedsync_apm.clock import to_ms
from wedsync_apm.rules import long
from wedsync_apm.rules.aggregate import Aggregation, Samples
from wedsync_apm.rules.buckets import History, aggregate, buckets_of, predict
from wedsync_apm.rules.limits import WeddingWindow
from wedsync_apm.rules.model import RuleKind

MINUTE = 60_000
POINTS = st.lists(
    st.tuples(st.integers(0, 20 * MINUTE - 1), st.integers(0, 1000).map(float)),
    max_size=60,
    unique_by=lambda point: point[0],
)


def samples_of(points: list[tuple[int, float]]) -> Samples:
    return Samples.of((at, value, False) for at, value in points)


def history(points: list[tuple[int, float]]) -> History:
    return History.of(MINUTE, buckets_of(samples_of(points), MINUTE))


@given(POINTS, POINTS, st.integers(0, 10), st.integers(1, 12))
def test_a_window_of_whole_buckets_is_that_of_its_samples(
    one: list[tuple[int, float]], other: list[tuple[int, float]], start: int, width: int
) -> None:
    after, until = start * MINUTE, (start + width) * MINUTE
    members = [history(one), history(other)]
    held = [
        [value for at, value in sorted(points) if after <= at < until] for points in (one, other)
    ]
    every = [value for part in held for value in part]
    rise = sum(new - old if new >= old else new for part in held for old, new in pairwise(part))
    expected = {
        Aggregation.SUM: math.fsum(every),
        Aggregation.COUNT: float(len(every)),
        Aggregation.INCREASE: rise,
        Aggregation.RATE: rise / (width * 60),
    }
    if every:
        expected[Aggregation.MIN], expected[Aggregation.MAX] = min(every), max(every)
        expected[Aggregation.AVG] = math.fsum(every) / len(every)
    for aggregation, value in expected.items():
        found = aggregate(aggregation, members, after, until)
        assert (found is None) == (not every)
        if found is not None:
            assert found[0] == pytest.approx(value)
            assert found[1] == len(every)


@given(st.lists(st.integers(-100, 100).map(float), min_size=3, max_size=20), st.integers(0, 60))
def test_the_line_is_that_of_least_squares(values: list[float], ahead: int) -> None:
    points = [(n * MINUTE, value) for n, value in enumerate(values)]
    until = len(values) * MINUTE
    found = predict([history(points)], 0, until, until + ahead * MINUTE)
    assert found is not None
    x = np.arange(len(values)) + 0.5
    slope, offset = np.polyfit(x, values, 1)
    assert found[0] == pytest.approx(slope * (len(values) + ahead) + offset, abs=1e-6)


def test_a_line_needs_three_points() -> None:
    assert predict([history([(0, 1.0), (MINUTE, 2.0)])], 0, 2 * MINUTE, 9 * MINUTE) is None


def test_a_later_part_takes_the_place_of_an_earlier_one() -> None:
    old, new = (buckets_of(samples_of([(0, value)]), MINUTE) for value in (1.0, 2.0))
    kept = History.of(MINUTE, old, new)
    assert [bucket.last for bucket in kept.between(0, MINUTE)] == [2.0]


@pytest.mark.parametrize(
    ("kind", "window", "minutes"),
    [
        (RuleKind.BURN_RATE, timedelta(hours=1), 1),
        (RuleKind.BURN_RATE, timedelta(days=3), 5),
        (RuleKind.DEADLINE, timedelta(days=30), 60),
        (RuleKind.CHANGE, timedelta(minutes=30), 5),
    ],
)
def test_a_longer_window_is_read_from_wider_rollups(
    kind: RuleKind, window: timedelta, minutes: int
) -> None:
    rule = a_rule(rule_kind=kind, evaluation_window=window)
    assert long.bucket_width(rule) == minutes * MINUTE


def test_the_last_wedding_and_the_next() -> None:
    """The days count with their phases past midnight; what is only near does not."""
    noon = datetime(2026, 6, 20, 12, tzinfo=UTC)

    def window(number: int, phase: str, start: datetime, hours: int) -> WeddingWindow:
        return WeddingWindow(phase, UUID(int=number), start, start + timedelta(hours=hours), 1)

    earlier = datetime(2026, 6, 6, tzinfo=UTC)
    today = datetime(2026, 6, 20, tzinfo=UTC)
    calendar = long.Calendar.of(
        [
            window(1, "day", earlier, 24),
            window(1, "tear_down", earlier + timedelta(hours=24), 2),
            window(2, "day", today, 24),
            window(2, "days_before", today - timedelta(days=7), 160),
        ]
    )
    assert calendar.last_like(to_ms(noon)) == 14 * 24 * 60 * MINUTE
    assert calendar.last_like(to_ms(noon - timedelta(days=1))) is None
    assert calendar.next_end(to_ms(noon)) == to_ms(today + timedelta(days=1))
    late = to_ms(earlier + timedelta(hours=25))
    assert calendar.next_end(late) == to_ms(earlier + timedelta(hours=26))
