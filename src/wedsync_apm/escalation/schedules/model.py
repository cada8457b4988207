"""Who is on call when, and what a schedule leaves open.

The same answer as `apm_private.on_call_between` gives for what is kept; here it is worked out of a
description, so that people can look at a schedule before they keep it. A test compares the two.
"""

from collections.abc import Iterable, Iterator, Sequence, Set
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from typing import Final, Generic, Protocol, TypeVar
from uuid import UUID
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

EVERY_DAY: Final = frozenset(range(1, 8))
MIDNIGHT: Final = time()
DAY: Final = timedelta(days=1)
LONGEST_RANGE: Final = timedelta(days=100)
"""A range that somebody asks for is looked through day by day."""

Span = tuple[datetime, datetime]
"""From, and until exclusively; never empty."""


class Source(StrEnum):
    """What puts somebody on call, the strongest first."""

    OVERRIDE = "override"
    TEMPORARY = "temporary"
    ROTATION = "rotation"


class Fault(StrEnum):
    """What may keep a call from being heard, the worst first."""

    NOBODY = "nobody"
    NO_VERIFIED_CONTACT = "no_verified_contact"
    ONE_CONTACT = "one_contact"


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """A rotation: who follows whom every `shift_days` at `handover_time`, and its hours."""

    participants: Sequence[UUID]
    starts_on: date
    """The first hand-over; before it there is nobody."""
    handover_time: time
    shift_days: int
    weekdays: Set[int] = EVERY_DAY
    """On which its hours begin; 1 is Monday."""
    from_time: time = MIDNIGHT
    until_time: time = MIDNIGHT
    """Not later than `from_time`: on the next day."""


@dataclass(frozen=True, slots=True)
class Override:
    """One person instead of all else, for a while."""

    user_id: UUID
    starts_at: datetime
    ends_at: datetime


@dataclass(frozen=True, slots=True)
class TemporarySchedule:
    """Puts the rotations aside for a while; what its shifts leave open has nobody."""

    starts_at: datetime
    ends_at: datetime
    shifts: Sequence[Override]


@dataclass(frozen=True, slots=True)
class Shift:
    """Somebody on call, for as long as nobody stronger takes his place."""

    user_id: UUID
    starts_at: datetime
    ends_at: datetime
    source: Source
    position: int | None = None
    """Of the rotation, from 1."""


@dataclass(frozen=True, slots=True)
class Warned:
    """A stretch of time in which a call may go unheard, and who is on call in it."""

    fault: Fault
    starts_at: datetime
    ends_at: datetime
    user_id: UUID | None = None


class Turn(Protocol):
    """Somebody on call from an instant until another one."""

    @property
    def user_id(self) -> UUID: ...
    @property
    def starts_at(self) -> datetime: ...
    @property
    def ends_at(self) -> datetime: ...


T = TypeVar("T", bound=Turn)


@dataclass(frozen=True, slots=True)
class Present(Generic[T]):
    """Who is on call at an instant, until when, and who follows; no `until` and nobody following
    where nothing changes before the horizon."""

    on_call: list[T]
    until: datetime | None
    following: list[T]


def find_present(turns: Sequence[T], at: datetime, horizon: datetime) -> Present[T]:
    """What the turns between two instants come to at the first. One who follows himself has not
    been relieved."""
    on_call = [one for one in turns if one.starts_at <= at]
    people = {one.user_id for one in on_call}
    until = min((one.ends_at for one in on_call), default=at)
    if not on_call:
        until = min((one.starts_at for one in turns), default=horizon)
    following: list[T] = []
    while until < horizon:
        following = [one for one in turns if one.starts_at <= until < one.ends_at]
        if not following or {one.user_id for one in following} != people:
            break
        until = min(one.ends_at for one in following)
    if until >= horizon:
        return Present(on_call, None, [])
    return Present(on_call, until, following)


def zone_of(name: str) -> ZoneInfo:
    """The zone; UTC where it is not known any more, so that a shift never depends on a name."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return ZoneInfo("UTC")


def wall_instant(day: date, at: time, zone: ZoneInfo) -> datetime:
    """When a clock there shows it: the first time where it does twice, and where it never does
    the moment at which it would have."""
    return datetime.combine(day, at, zone).replace(fold=0).astimezone(UTC)


def find_shifts(
    layers: Sequence[Layer],
    zone: ZoneInfo,
    earliest: datetime,
    latest: datetime,
    *,
    overrides: Sequence[Override] = (),
    temporary: Sequence[TemporarySchedule] = (),
    present: Set[UUID] | None = None,
) -> list[Shift]:
    """Who is on call from `earliest` until `latest`, by the time that the shifts begin.

    An override comes before a temporary schedule, that before the rotations, and of these the
    first one that has somebody. Whoever is not `present` (None: all are) has no shift.
    """

    def is_present(user_id: UUID) -> bool:
        return present is None or user_id in present

    claims: list[tuple[list[Shift], list[Span]]] = []
    ordered = [Shift(o.user_id, o.starts_at, o.ends_at, Source.OVERRIDE) for o in overrides]
    claims.append((ordered, []))
    planned = [
        Shift(s.user_id, s.starts_at, s.ends_at, Source.TEMPORARY)
        for one in temporary
        for s in one.shifts
    ]
    claims.append((planned, [(one.starts_at, one.ends_at) for one in temporary]))
    for position, layer in enumerate(layers, start=1):
        claims.append((list(_turns(layer, position, zone, earliest, latest)), []))

    found: list[Shift] = []
    taken: list[Span] = []
    for shifts, aside in claims:
        mine = [
            shift
            for shift in shifts
            if is_present(shift.user_id)
            and max(shift.starts_at, earliest) < min(shift.ends_at, latest)
        ]
        for shift in mine:
            span = (max(shift.starts_at, earliest), min(shift.ends_at, latest))
            found += [
                Shift(shift.user_id, starts_at, ends_at, shift.source, shift.position)
                for starts_at, ends_at in subtract(span, taken)
            ]
        taken = merge([*taken, *aside, *((shift.starts_at, shift.ends_at) for shift in mine)])
    return sorted(found, key=lambda shift: (shift.starts_at, shift.position or 0, shift.user_id))


def _turns(
    layer: Layer, position: int, zone: ZoneInfo, earliest: datetime, latest: datetime
) -> Iterator[Shift]:
    first = earliest.astimezone(zone).date() - 2 * DAY
    last = latest.astimezone(zone).date() + DAY
    hours = None
    if layer.weekdays != EVERY_DAY or layer.from_time != layer.until_time:
        hours = list(_hours(layer, zone, first, last))
    number = max(0, (first - layer.starts_on) // (layer.shift_days * DAY))
    while (begins := layer.starts_on + number * layer.shift_days * DAY) <= last:
        starts_at = wall_instant(begins, layer.handover_time, zone)
        following = begins + layer.shift_days * DAY
        ends_at = wall_instant(following, layer.handover_time, zone)
        user_id = layer.participants[number % len(layer.participants)]
        whole = (starts_at, ends_at)
        for span in [whole] if hours is None else intersect(whole, hours):
            yield Shift(user_id, *span, Source.ROTATION, position)
        number += 1


def _hours(layer: Layer, zone: ZoneInfo, first: date, last: date) -> Iterator[Span]:
    for number in range((last - first).days + 1):
        day = first + number * DAY
        if day.isoweekday() not in layer.weekdays:
            continue
        ending = day if layer.until_time > layer.from_time else day + DAY
        yield (
            wall_instant(day, layer.from_time, zone),
            wall_instant(ending, layer.until_time, zone),
        )


def merge(spans: Iterable[Span]) -> list[Span]:
    """The same time in as few spans as possible, in order."""
    merged: list[Span] = []
    for starts_at, ends_at in sorted(spans):
        if starts_at >= ends_at:
            continue
        if merged and starts_at <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], ends_at))
        else:
            merged.append((starts_at, ends_at))
    return merged


def subtract(span: Span, taken: Iterable[Span]) -> list[Span]:
    """What is left of a span without the time that is taken."""
    left = []
    starts_at, ends_at = span
    for begins, finishes in merge(taken):
        if begins >= ends_at:
            break
        if starts_at < begins:
            left.append((starts_at, begins))
        starts_at = max(starts_at, finishes)
    if starts_at < ends_at:
        left.append((starts_at, ends_at))
    return left


def intersect(span: Span, others: Iterable[Span]) -> list[Span]:
    """The parts of a span that lie in one of the others."""
    return [
        (max(span[0], starts_at), min(span[1], ends_at))
        for starts_at, ends_at in merge(others)
        if max(span[0], starts_at) < min(span[1], ends_at)
    ]


def find_warnings(
    shifts: Iterable[tuple[UUID, datetime, datetime, int]], earliest: datetime, latest: datetime
) -> list[Warned]:
    """What may go unheard from `earliest` until `latest`: nobody on call, somebody without a
    verified contact, somebody with one only.

    Each shift is who, from when, until when, and in how many verified ways he can be told.
    """
    shifts = list(shifts)
    covered = [(starts_at, ends_at) for _, starts_at, ends_at, _ in shifts]
    found = [
        Warned(Fault.NOBODY, starts_at, ends_at)
        for starts_at, ends_at in subtract((earliest, latest), covered)
    ]
    for fault, ways in ((Fault.NO_VERIFIED_CONTACT, 0), (Fault.ONE_CONTACT, 1)):
        for user_id in {user_id for user_id, _, _, verified in shifts if verified == ways}:
            own = [(s, e) for who, s, e, verified in shifts if who == user_id and verified == ways]
            found += [Warned(fault, s, e, user_id) for s, e in merge(own)]
    return sorted(found, key=lambda one: (one.starts_at, list(Fault).index(one.fault), str(one)))
