"""When a heartbeat is expected next."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from wedsync_apm.errors import NotValid
from wedsync_apm.heartbeats.model import due_after, read_cron

MINUTE = timedelta(minutes=1)


def times(cron: str, zone: str, after: str, count: int) -> list[str]:
    read, found = read_cron(cron), []
    at = datetime.fromisoformat(after).replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)
    for _ in range(count):
        due = read.next_after(at, ZoneInfo(zone))
        assert due is not None
        at = due
        found.append(at.astimezone(ZoneInfo(zone)).strftime("%m-%d %H:%M%z"))
    return found


@pytest.mark.parametrize(
    ("cron", "zone", "after", "expected"),
    [
        ("*/20 9 * * *", "UTC", "2026-06-20 09:20", ["06-20 09:40+0000", "06-21 09:00+0000"]),
        ("0 0 1 jan *", "UTC", "2026-06-20 09:20", ["01-01 00:00+0000"]),
        ("0 8 * * mon-fri", "UTC", "2026-06-19 08:00", ["06-22 08:00+0000"]),
        ("0 8 * * 0,7", "UTC", "2026-06-20 08:00", ["06-21 08:00+0000", "06-28 08:00+0000"]),
        # both days restricted: either is enough
        ("0 8 13 * fri", "UTC", "2026-06-10 00:00", ["06-12 08:00+0000", "06-13 08:00+0000"]),
        ("0 0 29 2 *", "UTC", "2026-06-20 00:00", ["02-29 00:00+0000"]),
        # the clock is set forward at 01:00 on 29 March
        (
            "30 1 * * *",
            "Europe/London",
            "2026-03-28 12:00",
            ["03-29 02:00+0100", "03-30 01:30+0100"],
        ),
        ("30 * * * *", "Europe/London", "2026-03-29 00:30", ["03-29 02:30+0100"]),
        # and back at 02:00 on 25 October
        (
            "30 1 * * *",
            "Europe/London",
            "2026-10-24 12:00",
            ["10-25 01:30+0100", "10-26 01:30+0000"],
        ),
        (
            "30 * * * *",
            "Europe/London",
            "2026-10-25 00:30",
            ["10-25 01:30+0100", "10-25 01:30+0000", "10-25 02:30+0000"],
        ),
        # half an hour, in the other hemisphere
        (
            "15 2 * * *",
            "Australia/Lord_Howe",
            "2026-10-03 12:00",
            ["10-04 02:30+1100", "10-05 02:15+1100"],
        ),
        # where a day begins at one o'clock
        ("0 0 * * *", "America/Santiago", "2026-09-05 12:00", ["09-06 01:00-0300"]),
    ],
)
def test_the_next_times(cron: str, zone: str, after: str, expected: list[str]) -> None:
    assert times(cron, zone, after, len(expected)) == expected


@pytest.mark.parametrize(
    "text",
    [
        "* * * *",
        "* * * * * *",
        "@daily   ",
        "60 * * * *",
        "* 24 * * *",
        "* * 0 * *",
        "* * * 13 *",
        "* * * * 8",
        "5-1 * * * *",
        "*/0 * * * *",
        "*/x * * * *",
        "1, * * * *",
        "a * * * *",
        "-1 * * * *",
        "٣ * * * *",
        "* * * mon *",
        "0 0 31 2 *",
    ],
)
def test_what_is_no_expression_is_refused_with_the_reason(text: str) -> None:
    with pytest.raises(NotValid) as caught:
        read_cron(text)
    assert [one.field for one in caught.value.errors] == ["cron"]
    assert caught.value.errors[0].reason


FIELDS = st.tuples(
    st.sampled_from(["*", "0", "*/7", "5,50", "30-45"]),
    st.sampled_from(["*", "*/3", "1", "2", "0-3", "23"]),
    st.sampled_from(["*", "1", "29-31", "*/2"]),
    st.sampled_from(["*", "3,4,9,10"]),
    st.sampled_from(["*", "0", "6-7", "sat"]),
).map(" ".join)
ZONES = ("Europe/London", "America/New_York", "Australia/Lord_Howe", "America/Santiago", "UTC")


def walls(at: datetime, zone: ZoneInfo) -> Iterator[tuple[datetime, datetime]]:
    for _ in range(3 * 1440):
        at += MINUTE
        yield at, at.astimezone(zone).replace(tzinfo=None)


@settings(max_examples=80, deadline=None)
@given(
    FIELDS,
    st.sampled_from(ZONES),
    st.sampled_from(["2026-03-28", "2026-10-24", "2026-03-07", "2026-10-31", "2026-04-04"]),
    st.integers(0, 2880),
)
@example("*/7 * * * *", "Australia/Lord_Howe", "2026-04-04", 600)
def test_every_time_is_found_by_walking_minute_by_minute(
    text: str, zone_name: str, day: str, minute: int
) -> None:
    cron, zone = read_cron(text), ZoneInfo(zone_name)
    start = datetime.fromisoformat(day).replace(tzinfo=UTC) + minute * MINUTE

    def is_named(wall: datetime) -> bool:
        return wall.minute in cron.minutes and wall.hour in cron.hours and cron._is_on(wall.date())

    expected = None
    begun = (start - timedelta(hours=4)).astimezone(zone).replace(tzinfo=None)
    seen: set[datetime] = set()
    before = begun
    for at, wall in walls(start - timedelta(hours=4), zone):
        skipped = wall - before > MINUTE and not cron.is_every_hour
        gap = [before + n * MINUTE for n in range(1, (wall - before) // MINUTE)] if skipped else []
        before = wall
        is_repeat = wall in seen and not cron.is_every_hour
        seen.add(wall)
        if at > start and ((is_named(wall) and not is_repeat) or any(map(is_named, gap))):
            expected = at
            break
    found = cron.next_after(start, zone)
    assert found is not None
    if expected is not None:
        assert found == expected
    else:
        assert found > start + timedelta(hours=67)


def test_a_period_counts_from_when_it_was_heard() -> None:
    at = datetime(2026, 3, 28, 12, tzinfo=UTC)
    due = due_after(at, period=timedelta(days=1), cron=None, time_zone=None)
    assert due == at + timedelta(days=1)


def test_a_zone_that_nobody_knows_is_refused() -> None:
    with pytest.raises(NotValid):
        due_after(datetime.now(UTC), period=None, cron="0 0 * * *", time_zone="Mars/Olympus")
