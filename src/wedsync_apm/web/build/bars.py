"""The phases of a wedding on a bar, by the venue's clock."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from wedsync_apm.web import say
from wedsync_apm.web.build.weddings import Window, phase_name
from wedsync_apm.web.views.wedding import Bar, Hour, Part
from wedsync_apm.web.words import say as words

_DAY: Final = timedelta(days=1)
_MARK_HOURS: Final = 6
PHASES: Final = ("set_up", "ceremony", "reception", "tear_down")


def town(zone: str) -> str:
    """The place that a time zone is named after: Rome."""
    return zone.rpartition("/")[2].replace("_", " ")


def local(at: datetime, zone: str) -> datetime:
    """What a clock there shows."""
    return at.astimezone(ZoneInfo(zone)).replace(tzinfo=None)


def is_elsewhere(at: datetime, zone: str, here: str) -> bool:
    """Whether clocks there and here differ at an instant."""
    return local(at, zone) != local(at, here)


def both_clocks(at: datetime, zone: str, here: str) -> str:
    """14:30; with another zone: 14:30 at the venue, Rome; 13:30 here."""
    if not is_elsewhere(at, zone, here):
        return say.clock(at, zone)
    there, own = local(at, zone), local(at, here)
    shown = f"{own:%H:%M}" if own.date() == there.date() else f"{own:%a %H:%M}"
    return words("wedding.both_clocks", time=f"{there:%H:%M}", town=town(zone), here=shown)


def milestone_of(windows: Sequence[Window]) -> datetime | None:
    """When the ceremony begins; without one, the first phase."""
    starts = {name: begins for name, begins, _ in windows}
    return starts.get("ceremony") or min(starts.values(), default=None)


def build_bar(
    windows: Iterable[Window], *, on: date, zone: str, here: str, now: datetime, is_assumed: bool
) -> Bar | None:
    """The day from midnight to midnight at the venue, wider where its phases are; None for none."""
    known = sorted((w for w in windows if w[0] in PHASES), key=lambda window: window[1])
    if not known:
        return None
    midnight = datetime.combine(on, time())
    first = min(midnight, *(local(begins, zone) for _, begins, _ in known))
    last = max(midnight + _DAY, *(local(ends, zone) for _, _, ends in known))
    first = first.replace(minute=0, second=0, microsecond=0)
    whole = (last - first) / timedelta(hours=1)

    def place(at: datetime) -> int:
        return round(1000 * ((at - first) / timedelta(hours=1)) / whole)

    moments = (first + timedelta(hours=n) for n in range(int(whole) + 1))
    clocks = _Clocks(on, zone, here, now)
    parts = tuple(
        clocks.part(window, place(local(window[1], zone)), place(local(window[2], zone)))
        for window in known
    )
    at = local(now, zone)
    return Bar(
        label=", ".join(f"{part.name} {part.times}" for part in parts),
        parts=parts,
        hours=tuple(
            Hour(place(one), f"{one:%H}" if one.date() == on else f"{one:%a %H}")
            for one in moments
            if one.hour % _MARK_HOURS == 0 and one < last
        ),
        marker=place(at) if first <= at <= last else None,
        is_assumed=is_assumed,
    )


@dataclass(frozen=True, slots=True)
class _Clocks:
    """The day, and the clocks that it is told by."""

    on: date
    zone: str
    here: str
    now: datetime

    def _clock(self, at: datetime, zone: str) -> str:
        shown = local(at, zone)
        return f"{shown:%H:%M}" if shown.date() == self.on else f"{shown:%a %H:%M}"

    def _span(self, window: Window, zone: str) -> str:
        ends = self._clock(window[2], zone)
        if local(window[1], zone).date() == local(window[2], zone).date():
            ends = ends[-5:]
        return f"{self._clock(window[1], zone)}–{ends}"

    def part(self, window: Window, left: int, right: int) -> Part:
        """A phase between two places of the bar."""
        name, begins, ends = window
        return Part(
            name=phase_name(name),
            left=left,
            width=max(right - left, 4),
            times=self._span(window, self.zone),
            here=self._span(window, self.here)
            if is_elsewhere(begins, self.zone, self.here)
            else "",
            state="past" if ends <= self.now else "now" if begins <= self.now else "next",
        )
