"""Who is on call, judged by looking at the clock on the wall at any minute."""

from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.on_call import MINUTE, ZONES, Plan, on_call_at, plans
from wedsync_apm.escalation.schedules.model import (
    Fault,
    Layer,
    Override,
    Shift,
    Source,
    TemporarySchedule,
    find_shifts,
    find_warnings,
    subtract,
    zone_of,
)

PRIYA, MO, DAN = (UUID(int=n) for n in (1, 2, 3))
HOUR = timedelta(hours=1)


def shifts_of(plan: Plan, earliest: datetime, latest: datetime) -> list[Shift]:
    return find_shifts(
        plan.layers,
        ZoneInfo(plan.zone),
        earliest,
        latest,
        overrides=plan.overrides,
        temporary=plan.temporary,
        present=plan.present,
    )


@settings(max_examples=150, deadline=None)
@given(plans([PRIYA, MO, DAN]), st.data())
def test_at_any_minute_it_is_who_the_clock_says(
    made: tuple[Plan, datetime, datetime], data: st.DataObject
) -> None:
    plan, earliest, latest = made
    shifts = shifts_of(plan, earliest, latest)
    edges = {at for shift in shifts for at in (shift.starts_at, shift.ends_at)}
    minutes = int((latest - earliest) / MINUTE)
    picked = {
        earliest + n * MINUTE for n in data.draw(st.sets(st.integers(0, minutes - 1), max_size=20))
    }
    near = {at + n * MINUTE for at in edges for n in (-1, 0, 1)}
    for at in picked | near:
        if earliest <= at < latest:
            found = {s.user_id for s in shifts if s.starts_at <= at < s.ends_at}
            assert found == on_call_at(plan, at), at


@settings(max_examples=150, deadline=None)
@given(plans([PRIYA, MO, DAN]))
def test_shifts_lie_in_the_range_and_no_two_strengths_at_once(
    made: tuple[Plan, datetime, datetime],
) -> None:
    plan, earliest, latest = made
    shifts = shifts_of(plan, earliest, latest)
    for shift in shifts:
        assert earliest <= shift.starts_at < shift.ends_at <= latest
        assert shift.user_id in plan.present
    for one in shifts:
        for other in shifts:
            if (one.source, one.position) != (other.source, other.position):
                assert one.ends_at <= other.starts_at or other.ends_at <= one.starts_at
    gaps = subtract((earliest, latest), [(s.starts_at, s.ends_at) for s in shifts])
    for starts_at, ends_at in gaps:
        assert on_call_at(plan, starts_at) == set()
        assert on_call_at(plan, ends_at - MINUTE) == set()


@given(
    zone=st.sampled_from(ZONES),
    first=st.dates(date(2025, 1, 1), date(2029, 12, 31)),
    handover=st.builds(time, st.integers(0, 23), st.sampled_from([0, 30])),
    days=st.integers(1, 14),
)
def test_a_shift_is_as_long_as_its_days_but_for_the_clock_change(
    zone: str, first: date, handover: time, days: int
) -> None:
    """Gapless from hand-over to hand-over; longer or shorter by what the clock was put by, and
    nothing else."""
    layer = Layer(
        participants=[PRIYA, MO], starts_on=first, handover_time=handover, shift_days=days
    )
    begin = datetime.combine(first, time(), UTC) + timedelta(days=days)
    whole = find_shifts([layer], ZoneInfo(zone), begin, begin + timedelta(days=4 * days))
    for one, other in pairwise(whole):
        assert one.ends_at == other.starts_at
        assert one.user_id != other.user_id
    for shift in whole[1:-1]:
        put = [at.astimezone(ZoneInfo(zone)).utcoffset() for at in (shift.starts_at, shift.ends_at)]
        assert put[0] is not None
        assert put[1] is not None
        length = shift.ends_at - shift.starts_at
        shows = [at.astimezone(ZoneInfo(zone)).time() for at in (shift.starts_at, shift.ends_at)]
        if shows == [handover, handover]:
            assert length == timedelta(days=days) - (put[1] - put[0])


@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [
        ("Europe/London", date(2026, 3, 28), 23),
        ("Europe/London", date(2026, 10, 24), 25),
        ("America/New_York", date(2026, 3, 7), 23),
        ("America/New_York", date(2026, 10, 31), 25),
        ("Australia/Lord_Howe", date(2026, 4, 4), 24.5),
        ("Australia/Lord_Howe", date(2026, 10, 3), 23.5),
        ("America/Santiago", date(2026, 4, 4), 25),
        ("Africa/Johannesburg", date(2026, 3, 28), 24),
    ],
)
def test_the_shift_over_the_change_has_its_hours(zone: str, day: date, hours: float) -> None:
    layer = Layer(participants=[PRIYA, MO], starts_on=day, handover_time=time(9), shift_days=1)
    begin = datetime.combine(day, time(9), ZoneInfo(zone)).astimezone(UTC)
    [first, *_] = find_shifts([layer], ZoneInfo(zone), begin, begin + 3 * 24 * HOUR)
    assert first.ends_at - first.starts_at == hours * HOUR
    assert first.ends_at.astimezone(ZoneInfo(zone)).time() == time(9)


@pytest.mark.parametrize(
    ("day", "shown", "utc"),
    [
        # 01:30 is shown twice on 25 October: the first showing, still in summer time
        (date(2026, 10, 25), time(1, 30), datetime(2026, 10, 25, 0, 30, tzinfo=UTC)),
        # and never on 29 March: half an hour after one o'clock all the same
        (date(2026, 3, 29), time(1, 30), datetime(2026, 3, 29, 1, 30, tzinfo=UTC)),
    ],
)
def test_a_hand_over_in_the_hour_of_the_change(day: date, shown: time, utc: datetime) -> None:
    layer = Layer(
        participants=[PRIYA, MO],
        starts_on=day - timedelta(days=1),
        handover_time=shown,
        shift_days=1,
    )
    begin = datetime.combine(day, time(), UTC)
    before, after = find_shifts([layer], ZoneInfo("Europe/London"), begin, begin + 20 * HOUR)
    assert (before.user_id, after.user_id) == (PRIYA, MO)
    assert before.ends_at == after.starts_at == utc


def test_nights_and_weekends_lie_over_the_week() -> None:
    week = Layer(
        participants=[PRIYA], starts_on=date(2026, 6, 1), handover_time=time(9), shift_days=7
    )
    nights = Layer(
        participants=[MO],
        starts_on=date(2026, 6, 1),
        handover_time=time(9),
        shift_days=7,
        from_time=time(22),
        until_time=time(6),
    )
    saturdays = Layer(
        participants=[DAN],
        starts_on=date(2026, 6, 1),
        handover_time=time(9),
        shift_days=7,
        weekdays={6},
    )
    zone = ZoneInfo("Europe/London")
    begin = datetime(2026, 6, 5, 11, tzinfo=UTC)  # Friday noon
    found = find_shifts([saturdays, nights, week], zone, begin, begin + 48 * HOUR)
    local = [(s.user_id, f"{s.starts_at.astimezone(zone):%a %H:%M}") for s in found]
    assert local == [
        (PRIYA, "Fri 12:00"),
        (MO, "Fri 22:00"),
        (DAN, "Sat 00:00"),
        (MO, "Sun 00:00"),
        (PRIYA, "Sun 06:00"),
    ]


def test_who_left_leaves_a_gap_and_moves_nobody_elses_turn() -> None:
    layer = Layer(
        participants=[PRIYA, MO, DAN],
        starts_on=date(2026, 6, 1),
        handover_time=time(),
        shift_days=1,
    )
    begin = datetime(2026, 6, 1, tzinfo=UTC)
    before = find_shifts([layer], ZoneInfo("UTC"), begin, begin + 72 * HOUR)
    after = find_shifts([layer], ZoneInfo("UTC"), begin, begin + 72 * HOUR, present={PRIYA, DAN})
    assert after == [s for s in before if s.user_id != MO]


def test_what_may_go_unheard() -> None:
    begin = datetime(2026, 6, 6, 10, tzinfo=UTC)
    end = begin + 8 * HOUR
    found = find_warnings(
        [
            (PRIYA, begin, begin + HOUR, 0),
            (PRIYA, begin + HOUR, begin + 2 * HOUR, 0),
            (MO, begin + 3 * HOUR, begin + 5 * HOUR, 1),
            (DAN, begin + 5 * HOUR, end, 2),
        ],
        begin,
        end,
    )
    assert [(one.fault, one.starts_at, one.ends_at, one.user_id) for one in found] == [
        (Fault.NO_VERIFIED_CONTACT, begin, begin + 2 * HOUR, PRIYA),
        (Fault.NOBODY, begin + 2 * HOUR, begin + 3 * HOUR, None),
        (Fault.ONE_CONTACT, begin + 3 * HOUR, begin + 5 * HOUR, MO),
    ]


def test_an_override_comes_before_a_temporary_schedule_and_that_before_the_rotation() -> None:
    begin = datetime(2026, 6, 6, tzinfo=UTC)
    layer = Layer(
        participants=[PRIYA], starts_on=date(2026, 1, 1), handover_time=time(), shift_days=7
    )
    festival = TemporarySchedule(
        begin + 4 * HOUR, begin + 12 * HOUR, [Override(MO, begin + 4 * HOUR, begin + 8 * HOUR)]
    )
    ill = Override(DAN, begin + 6 * HOUR, begin + 7 * HOUR)
    found = find_shifts(
        [layer], ZoneInfo("UTC"), begin, begin + 24 * HOUR, overrides=[ill], temporary=[festival]
    )
    hours = [((s.starts_at - begin) // HOUR, s.user_id, s.source) for s in found]
    assert hours == [
        (0, PRIYA, Source.ROTATION),
        (4, MO, Source.TEMPORARY),
        (6, DAN, Source.OVERRIDE),
        (7, MO, Source.TEMPORARY),
        (12, PRIYA, Source.ROTATION),
    ], "from eight to twelve nobody"


def test_a_zone_that_nobody_knows_is_read_as_utc() -> None:
    assert zone_of("Atlantis/Center").key == "UTC"
    assert zone_of("../../etc/passwd").key == "UTC"
    assert zone_of("Europe/London").key == "Europe/London"
