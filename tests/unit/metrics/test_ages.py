"""Which instants of an expression are answered from which rollups, and what is said of them."""

from datetime import timedelta

import pytest

from wedsync_apm.metrics.expression.ages import Kept, Old, old_of, warnings_of
from wedsync_apm.metrics.expression.parsing import parse
from wedsync_apm.metrics.expression.plan import Grid, needs_of

MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
NOW = 20_000 * DAY + 12 * HOUR
KEPT = Kept(NOW, NOW - 14 * DAY)


def asked(text: str, ago: int, until: int, step: int, kept: Kept = KEPT) -> list[tuple[int, ...]]:
    """Of the one leaf: for each stretch the instants, the minutes of a rollup, and how many."""
    (need,) = needs_of(parse(text), Grid(NOW - ago, NOW - until, step))
    return [
        (one.first, one.behind, one.width_ms // MINUTE, one.buckets) for one in old_of(need, kept)
    ]


@pytest.mark.parametrize(
    ("text", "ago", "step", "expected"),
    [
        # a window that begins behind the border needs no rollups
        ("rate(x[1h])", 14 * DAY - HOUR, HOUR, []),
        ("rate(x[1h])", 14 * DAY, HOUR, [(0, 1, 60, 1)]),
        ("rate(x[2h])", 16 * DAY, HOUR, [(0, 50, 60, 2)]),
        ("avg_over_time(x[10m])", 16 * DAY, 10 * MINUTE, [(0, 289, 5, 2)]),
        ("avg_over_time(x[3m])", 16 * DAY, 3 * MINUTE, [(0, 961, 1, 3)]),
        # what a dashboard of Grafana asks: an hour and the distance of two samples
        ("rate(x[3615s])", 16 * DAY, HOUR, [(0, 50, 5, 12)]),
        # a fine level is gone before the coarse ones
        (
            "max_over_time(x[5m])",
            100 * DAY,
            6 * HOUR,
            [(0, 41, 0, 0), (41, 345, 5, 1)],
        ),
        ("max_over_time(x[2m])", 40 * DAY, 6 * HOUR, [(0, 41, 0, 0), (41, 105, 1, 2)]),
        # a plain selector: the last of what its five minutes hold, or of the step
        ("x", 16 * DAY, HOUR, [(0, 49, 5, 1)]),
        ("x", 100 * DAY, 6 * HOUR, [(0, 41, 60, 1), (41, 345, 5, 1)]),
        ("x offset 16d", 0, HOUR, [(0, 1, 5, 1)]),
        # single samples would be needed
        ("stddev_over_time(x[1h])", 16 * DAY, HOUR, [(0, 49, 0, 0)]),
        ("x[1h:5m]", 0, 1, []),
        ("quantile_over_time(0.9, x[1h])", 16 * DAY, HOUR, [(0, 49, 60, 1)]),
        # 90 seconds are no whole minutes, by more than is bearable
        ("count_over_time(x[90s])", 16 * DAY, HOUR, [(0, 49, 0, 0)]),
    ],
)
def test_age_range_and_step_choose_the_rollups(
    text: str, ago: int, step: int, expected: list[tuple[int, ...]]
) -> None:
    assert asked(text, ago, 0, step) == expected


def test_an_instant_that_lies_on_no_rollup_takes_those_that_are_over() -> None:
    (need,) = needs_of(
        parse("sum_over_time(x[1h])"), Grid(NOW - 20 * DAY + 7 * MINUTE + 1, NOW, HOUR)
    )
    (old,) = old_of(need, KEPT)
    assert (old.width_ms, old.buckets) == (5 * MINUTE, 12)
    assert old.ends_ms(need)[0] == NOW - 20 * DAY + 5 * MINUTE
    assert old.span_ms(need)[0] == NOW - 20 * DAY + 5 * MINUTE - HOUR
    (text,) = warnings_of(need, [old], KEPT)
    assert "over whole 5m: 1h for 1h" in text


def test_where_nothing_was_let_go_nothing_is_old() -> None:
    assert asked("rate(x[1h])", 300 * DAY, 0, HOUR, Kept(NOW)) == []


def test_own_terms_count() -> None:
    kept = Kept(NOW, NOW - 2 * DAY, {**Kept(NOW).terms, "1m": timedelta(days=3)})
    assert asked("count_over_time(x[1m])", 4 * DAY, 0, DAY, kept) == [(0, 2, 0, 0), (2, 3, 1, 1)]


@pytest.mark.parametrize(
    ("text", "ago", "old", "said"),
    [
        (
            "rate(x[1h])",
            16 * DAY,
            Old(0, 50, HOUR, 1),
            "rate is answered before 2024-09-20T14:00:00Z from rollups of 1h, as if samples had"
            " come evenly",
        ),
        (
            "quantile_over_time(0.5, x[1h])",
            16 * DAY,
            Old(0, 50, HOUR, 1),
            "quantile_over_time is answered before 2024-09-20T14:00:00Z from rollups of 1h, each"
            " value within 1 %",
        ),
        (
            "x",
            100 * DAY,
            Old(0, 2401, HOUR, 1),
            "a selector is answered at all instants from rollups of 1h, and may be 1h old",
        ),
        (
            "changes(x[1h])",
            16 * DAY,
            Old(0, 50, 0, 0),
            "changes has no answer before 2024-09-20T14:00:00Z: samples are kept from"
            " 2024-09-20T12:00:00Z on, and rollups do not know it",
        ),
        (
            "sum_over_time(x[90s])",
            16 * DAY,
            Old(0, 50, 0, 0),
            "sum_over_time has no answer before 2024-09-20T14:00:00Z: samples are kept from"
            " 2024-09-20T12:00:00Z on, and no rollups are kept that make up 1m30s",
        ),
        (
            "sum_over_time(x[1h])",
            3000 * DAY,
            Old(0, 24, 0, 0),
            "sum_over_time has no answer before 2016-07-19T12:00:00Z: samples are kept from"
            " 2024-09-20T12:00:00Z on, and nothing at all is kept of before 2019-10-01T12:00:00Z",
        ),
    ],
)
def test_what_is_said(text: str, ago: int, old: Old, said: str) -> None:
    (need,) = needs_of(parse(text), Grid(NOW - ago, NOW, HOUR))
    assert warnings_of(need, [old], KEPT) == [said]
