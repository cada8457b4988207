"""Schedules of any kind, and the plainest way to say who is on call: watch the clock."""

from collections.abc import Sequence, Set
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import Final
from uuid import UUID
from zoneinfo import ZoneInfo

from hypothesis import strategies as st

from wedsync_apm.escalation.schedules.model import Layer, Override, TemporarySchedule

ZONES: Final = (
    "Europe/London",
    "America/New_York",
    "America/St_Johns",
    "Australia/Lord_Howe",  # half an hour of DST
    "America/Santiago",  # puts its clocks at midnight
    "Pacific/Kiritimati",  # +14
    "Asia/Kathmandu",  # +5:45
    "UTC",
)
MINUTE: Final = timedelta(minutes=1)
DAY: Final = timedelta(days=1)
CHANGES: Final = (
    date(2026, 3, 29),
    date(2026, 10, 25),  # London
    date(2026, 3, 8),
    date(2026, 11, 1),  # New York
    date(2026, 4, 5),
    date(2026, 10, 4),  # Lord Howe
    date(2026, 4, 4),
    date(2026, 9, 6),  # Santiago
    date(2027, 12, 31),
    date(2028, 2, 29),
)
"""Days on which clocks change, and others on which calendars do."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A schedule with all that belongs to it."""

    zone: str
    layers: Sequence[Layer]
    overrides: Sequence[Override]
    temporary: Sequence[TemporarySchedule]
    present: Set[UUID]


@lru_cache(maxsize=4096)
def shown(zone: str, day: date) -> dict[time, datetime]:
    """Of each minute that a clock shows on that day the first instant at which it does."""
    found: dict[time, datetime] = {}
    at = datetime.combine(day, time(), UTC) - 16 * timedelta(hours=1)
    for _ in range(60 * 56):
        local = at.astimezone(ZoneInfo(zone))
        if local.date() == day:
            found.setdefault(local.time().replace(tzinfo=None), at)
        at += MINUTE
    return found


def instant(zone: str, day: date, at: time) -> datetime:
    """When the clock shows it; what it skips counts on from the last minute that it showed."""
    local = datetime.combine(day, at)
    missing = timedelta()
    while (there := shown(zone, local.date()).get(local.time())) is None:
        local -= MINUTE
        missing += MINUTE
    return there + missing


def on_call_at(plan: Plan, at: datetime) -> set[UUID]:
    """Who is on call at an instant."""
    for override in plan.overrides:
        if override.starts_at <= at < override.ends_at and override.user_id in plan.present:
            return {override.user_id}
    for one in plan.temporary:
        if one.starts_at <= at < one.ends_at:
            return {
                shift.user_id
                for shift in one.shifts
                if shift.starts_at <= at < shift.ends_at and shift.user_id in plan.present
            }
    for layer in plan.layers:
        user_id = turn_at(plan.zone, layer, at)
        if user_id is not None and user_id in plan.present and is_open(plan.zone, layer, at):
            return {user_id}
    return set()


def turn_at(zone: str, layer: Layer, at: datetime) -> UUID | None:
    """Whose turn it is: as many hand-overs as there have been."""
    handed_over = -1
    day = layer.starts_on
    while instant(zone, day, layer.handover_time) <= at:
        handed_over += 1
        day += timedelta(days=layer.shift_days)
    if handed_over < 0:
        return None
    return layer.participants[handed_over % len(layer.participants)]


def is_open(zone: str, layer: Layer, at: datetime) -> bool:
    """Whether it is one of the layer's hours: of those that began today, yesterday or before."""
    today = at.astimezone(ZoneInfo(zone)).date()
    for back in range(-1, 3):
        day = today - back * DAY
        ending = day if layer.until_time > layer.from_time else day + DAY
        if day.isoweekday() in layer.weekdays and instant(
            zone, day, layer.from_time
        ) <= at < instant(zone, ending, layer.until_time):
            return True
    return False


def plans(people: Sequence[UUID]) -> st.SearchStrategy[tuple[Plan, datetime, datetime]]:
    """Any schedule of these people, and a range of some days about a day on which clocks change."""
    return _plans(tuple(people))


@st.composite
def _plans(draw: st.DrawFn, people: tuple[UUID, ...]) -> tuple[Plan, datetime, datetime]:
    zone = draw(st.sampled_from(ZONES))
    middle = draw(st.sampled_from(CHANGES))
    someone = st.sampled_from(people)
    # Whole minutes, and often those at which clocks change.
    times = st.one_of(
        st.sampled_from([time(), time(0, 30), time(1), time(1, 30), time(2), time(2, 30), time(9)]),
        st.builds(time, st.integers(0, 23), st.sampled_from([0, 15, 59])),
    )
    layers = draw(
        st.lists(
            st.builds(
                Layer,
                participants=st.lists(someone, min_size=1, max_size=4),
                starts_on=st.integers(-40, 3).map(lambda n: middle + n * DAY),
                handover_time=times,
                shift_days=st.sampled_from([1, 1, 2, 3, 7, 10]),
                weekdays=st.one_of(
                    st.just(frozenset(range(1, 8))),
                    st.frozensets(st.integers(1, 7), min_size=1),
                ),
                from_time=st.one_of(st.just(time()), times),
                until_time=st.one_of(st.just(time()), times),
            ),
            max_size=3,
        )
    )
    begin = datetime.combine(middle, time(), UTC)
    earliest = begin + draw(st.integers(-4 * 1440, 1440)) * MINUTE
    latest = earliest + draw(st.integers(1, 5 * 1440)) * MINUTE

    def apart(most: int) -> list[tuple[datetime, datetime]]:
        marks = sorted(
            draw(st.lists(st.integers(-4 * 1440, 5 * 1440), max_size=2 * most, unique=True))
        )
        return [
            (begin + a * MINUTE, begin + b * MINUTE)
            for a, b in zip(marks[::2], marks[1::2], strict=False)
        ]

    overrides = [Override(draw(someone), *span) for span in apart(2)]
    temporary = []
    for starts_at, ends_at in apart(1):
        length = int((ends_at - starts_at) / MINUTE)
        shifts = []
        for _ in range(draw(st.integers(1, 3))):
            first = draw(st.integers(0, length - 1))
            last = draw(st.integers(first + 1, length))
            shifts.append(
                Override(draw(someone), starts_at + first * MINUTE, starts_at + last * MINUTE)
            )
        temporary.append(TemporarySchedule(starts_at, ends_at, shifts))
    present = draw(st.one_of(st.just(frozenset(people)), st.frozensets(someone)))
    return Plan(zone, layers, overrides, temporary, present), earliest, latest
