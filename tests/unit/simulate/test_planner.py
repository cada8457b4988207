from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from wedsync_apm.simulate.planner import UNDER_WAY, Venue, next_saturdays, plan_on, plan_today
from wedsync_apm.simulate.vendors import HUDSON, KENT, STAR, VENDORS

# 2025 to 2039, to the second
instants = st.integers(1_735_689_600, 2_208_988_800).map(lambda s: datetime.fromtimestamp(s, UTC))
zones = st.sampled_from(sorted({v.time_zone for vendor in VENDORS for v in vendor.venues}))
days = st.dates(min_value=date(2025, 1, 1), max_value=date(2040, 1, 1))


@given(now=instants)
# the clocks of London and New York change
@example(now=datetime(2026, 3, 29, 1, 0, tzinfo=UTC))
@example(now=datetime(2026, 10, 25, 1, 0, tzinfo=UTC))
@example(now=datetime(2026, 3, 8, 7, 0, tzinfo=UTC))
@example(now=datetime(2026, 11, 1, 6, 0, tzinfo=UTC))
@example(now=datetime(2026, 7, 1, 22, 45, tzinfo=UTC))
def test_at_any_moment_some_couple_marries_today_with_a_phase_under_way(now: datetime) -> None:
    plan = plan_today(now, STAR.venues)
    at_the_venue = now.astimezone(ZoneInfo(plan.venue.time_zone)).date()
    assert plan.wedding_date == at_the_venue == now.date()
    assert plan.phase_at(now) is not None
    assert plan.phase_at(now + UNDER_WAY) is not None


def test_every_hour_of_every_day_of_two_years_is_covered() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    while now < datetime(2028, 1, 1, tzinfo=UTC):
        assert plan_today(now, STAR.venues).phase_at(now) is not None
        now += timedelta(minutes=30)


@given(day=days, zone=zones)
@example(day=date(2026, 3, 29), zone="Europe/London")
@example(day=date(2026, 10, 24), zone="Europe/Berlin")
@example(day=date(2026, 4, 4), zone="Pacific/Auckland")
def test_phases_follow_each_other_without_a_gap(day: date, zone: str) -> None:
    phases = list(plan_on(day, Venue("somewhere", zone)).phases.values())
    assert all(starts < ends for starts, ends in phases)
    assert all(before[1] == after[0] for before, after in pairwise(phases))
    first = phases[0][0].astimezone(ZoneInfo(zone))
    assert (first.date(), first.hour) == (day, 8)


@given(now=instants, zone=zones)
def test_other_weddings_keep_clear_of_today_and_tomorrow(now: datetime, zone: str) -> None:
    today = now.astimezone(ZoneInfo(zone)).date()
    saturdays = next_saturdays(now, zone, 4)
    assert [day.weekday() for day in saturdays] == [5] * 4
    assert saturdays[0] > today + timedelta(days=1)
    assert saturdays[0] <= today + timedelta(days=8)


def test_venues_that_leave_an_hour_uncovered_are_told() -> None:
    night = datetime(2026, 1, 15, 3, 0, tzinfo=UTC)
    with pytest.raises(ValueError, match="none of the venues"):
        plan_today(night, (KENT, HUDSON))
