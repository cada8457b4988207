"""When a dashboard goes out by mail: by the clock of the business, each time once."""

from datetime import UTC, datetime, time, timedelta
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from wedsync_apm.dashboards.mails.model import Rhythm

ZONES = ("Europe/London", "America/New_York", "Australia/Lord_Howe", "Pacific/Apia", "UTC")
MOMENTS = st.datetimes(datetime(2020, 1, 1), datetime(2035, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 the strategy adds UTC


def test_each_monday_is_each_monday_by_the_local_clock() -> None:
    rhythm = Rhythm(time(8), "Europe/London", 1)
    friday = datetime(2026, 10, 23, 12, tzinfo=UTC)
    first = rhythm.next_after(friday)
    assert first == datetime(2026, 10, 26, 8, tzinfo=UTC), "the clocks went back on Sunday"
    assert rhythm.next_after(first) == first + timedelta(days=7)
    assert rhythm.next_after(first - timedelta(seconds=1)) == first


def test_a_time_that_the_clock_leaves_out_is_not_left_out() -> None:
    rhythm = Rhythm(time(1, 30), "Europe/London")
    before = datetime(2026, 3, 28, 12, tzinfo=UTC)
    found = rhythm.next_after(before)
    assert found == datetime(2026, 3, 29, 1, 30, tzinfo=UTC)
    assert rhythm.next_after(found) == datetime(2026, 3, 30, 0, 30, tzinfo=UTC)


def test_a_time_that_the_clock_has_twice_comes_once() -> None:
    rhythm = Rhythm(time(1, 30), "Europe/London")
    found = rhythm.next_after(datetime(2026, 10, 24, 12, tzinfo=UTC))
    assert found == datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
    assert rhythm.next_after(found) == datetime(2026, 10, 26, 1, 30, tzinfo=UTC)


@given(MOMENTS, st.times(), st.sampled_from(ZONES), st.none() | st.integers(1, 7))
def test_it_is_always_ahead_and_never_two_on_one_day(
    after: datetime, at_time: time, zone: str, weekday: int | None
) -> None:
    rhythm = Rhythm(at_time, zone, weekday)
    moments = [after]
    for _ in range(4):
        moments.append(rhythm.next_after(moments[-1]))
    apart = timedelta(days=7 if weekday else 1)
    assert moments[1] > after
    for first, second in pairwise(moments[1:]):
        assert second > first
        # a change of the clocks, or a day that a country leaves out
        assert abs(second - first - apart) <= timedelta(days=8 if weekday else 1, hours=2)
