"""A month of the wedding calendar: days, weddings, and how closely the platform watches."""

from calendar import Calendar
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from wedsync_apm.web import say
from wedsync_apm.web.build import Row
from wedsync_apm.web.build.bars import (
    PHASES,
    both_clocks,
    build_bar,
    is_elsewhere,
    milestone_of,
    town,
)
from wedsync_apm.web.build.weddings import Window
from wedsync_apm.web.views.calendar import (
    Day,
    Entry,
    GuardKind,
    GuardWord,
    MonthView,
    OpenDay,
    OpenWedding,
)
from wedsync_apm.web.views.shell import Status
from wedsync_apm.web.words import say as words
from wedsync_apm.weddings.model import EARLIEST, LATEST, is_time_zone
from wedsync_apm.weddings.twins import find_twins

_GUARDS: Final[Mapping[str, GuardKind]] = {
    "freeze": "freeze", "enhanced": "enhanced", "maximum": "maximum", "order": "order",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Shown:
    """A wedding with its phases as the calendar counts them."""

    row: Row
    zone: str
    windows: tuple[Window, ...]
    is_assumed: bool


@dataclass(frozen=True, slots=True)
class Guard:
    """What is known of the platform's guard around a month; moments are instants."""

    spans: Sequence[tuple[str, datetime, datetime]]
    mode: Row
    settings: Row


def read_month(text: str | None, today: date) -> date:
    """The first of the month that the page shows; what is no month is this one."""
    try:
        found = date.fromisoformat(f"{text}-01")
    except ValueError:
        found = today
    return min(max(found, EARLIEST), LATEST).replace(day=1)


def read_day(text: str | None) -> date | None:
    """The day that is opened, if any."""
    try:
        found = date.fromisoformat(text or "")
    except ValueError:
        return None
    return found if EARLIEST <= found <= LATEST else None


def days_of(month: date) -> list[list[date]]:
    """Whole weeks from Monday on that hold the month."""
    return Calendar().monthdatescalendar(month.year, month.month)


def show(row: Row, phases: Iterable[Row], here: str) -> Shown:
    """A wedding with the phases that count for it; a cancelled one has those that were entered."""
    zone = next((p["time_zone"] for p in phases), row["time_zone"] or here)
    known = [(p["phase"], p["starts_at"], p["ends_at"]) for p in phases if p["phase"] in PHASES]
    entered = [
        (w["phase"], datetime.fromisoformat(w["starts_at"]), datetime.fromisoformat(w["ends_at"]))
        for w in row["windows"] or ()
    ]
    begins = milestone_of(known or entered)
    is_assumed = not entered or bool(
        row["is_host_row"]
        and begins
        and begins.astimezone(ZoneInfo(_readable(zone))).time() == time(13)
    )
    return Shown(row, _readable(zone), tuple(known or entered), is_assumed)


def _readable(zone: str) -> str:
    return zone if is_time_zone(zone) else "UTC"


def build_month(
    *,
    month: date,
    opened: date | None,
    weddings: Sequence[Shown],
    moved: Sequence[Row],
    guard: Guard,
    now: datetime,
    here: str,
    may_edit: bool,
    are_names_hidden: bool,
    is_cut: bool = False,
) -> MonthView:
    """The page of one month."""
    today = now.astimezone(ZoneInfo(here)).date()
    by_day: dict[date, list[Shown]] = defaultdict(list)
    twins = {t.client_id: t.wedding_id for t in find_twins([w.row for w in weddings]) if t.is_sure}
    doubled = set(twins.values())
    for one in weddings:
        if one.row["id"] not in twins:
            by_day[one.row["wedding_date"]].append(one)
    left: dict[date, list[Row]] = defaultdict(list)
    for row in moved:
        left[row["moved_from"]].append(row)

    def day(on: date) -> Day:
        entries = [build_entry(one, here, one.row["id"] in doubled) for one in by_day[on]]
        entries.sort(key=lambda entry: (entry.is_off, entry.time))
        entries += [_moved_away(row) for row in left[on]]
        return Day(
            on=on,
            number=str(on.day),
            name=f"{on:%a} {on.day} {on:%B}",
            href=f"/weddings?month={month:%Y-%m}&day={on}#day",
            entries=tuple(entries),
            guard=guard_words(guard.spans, on, here),
            is_outside=on.month != month.month,
            is_today=on == today,
            is_open=on == opened,
        )

    def look_into(one: Shown, on: date) -> OpenWedding:
        bar = build_bar(
            one.windows, on=on, zone=one.zone, here=here, now=now, is_assumed=one.is_assumed
        )
        return OpenWedding(build_entry(one, here, one.row["id"] in doubled), bar)

    weeks = tuple(tuple(day(on) for on in week) for week in days_of(month))
    return MonthView(
        title=f"{month:%B %Y}",
        previous=_month_href(month, -1),
        following=_month_href(month, 1),
        today=f"/weddings?month={today:%Y-%m}&day={today}#day",
        weeks=weeks,
        day_names=tuple(f"{one.on:%a}" for one in weeks[0]),
        opened=_open(
            opened,
            [look_into(one, opened) for one in by_day[opened]],
            left[opened],
            guard_words(guard.spans, opened, here),
        )
        if opened
        else None,
        now=now_words(guard.mode, now, here),
        season=season_words(guard.settings, month),
        zone_note=words("calendar.zone", town=town(here)),
        may_edit=may_edit,
        are_names_hidden=are_names_hidden,
        is_empty=not weddings,
        is_cut=is_cut,
    )


def _month_href(month: date, by: int) -> str:
    index = month.year * 12 + month.month - 1 + by
    return f"/weddings?month={index // 12:04}-{index % 12 + 1:02}"


def couple_of(row: Row) -> str:
    """Who marries, as far as the reader may know."""
    return str(row["couple_names"] or row["couple_initials"] or words("wedding.unnamed"))


def build_entry(one: Shown, here: str, has_twin: bool) -> Entry:
    """A wedding as it stands on its day."""
    row = one.row
    is_off = row["status"] == "cancelled"
    at = milestone_of(one.windows)
    shows_time = at is not None and not one.is_assumed
    status = None
    if is_off:
        status = Status("none", words("wedding.cancelled"), "leave")
    elif row["moved_from"]:
        status = Status("info", words("wedding.moved_from", day=_date(row["moved_from"])), "clock")
    return Entry(
        id=row["id"],
        couple=couple_of(row),
        time=say.clock(at, one.zone) if at and shows_time else "",
        zone_note=both_clocks(at, one.zone, here)
        if at and shows_time and is_elsewhere(at, one.zone, here)
        else "",
        venue=row["venue_name"] or "",
        status=status,
        is_off=is_off,
        twin=words("wedding.twin") if has_twin else "",
    )


def _moved_away(row: Row) -> Entry:
    return Entry(
        id=row["id"],
        couple=couple_of(row),
        time="",
        zone_note="",
        venue="",
        status=Status("info", words("wedding.moved_to", day=_date(row["wedding_date"])), "next"),
        is_off=True,
    )


def _date(on: date) -> str:
    return f"{on:%a} {on.day} {on:%B}"


def guard_words(
    spans: Sequence[tuple[str, datetime, datetime]], on: date, here: str
) -> tuple[GuardWord, ...]:
    """What the platform does on a day of the reader's calendar, the closest watch first."""
    zone = ZoneInfo(here)
    begins = datetime.combine(on, time(), zone)
    ends = datetime.combine(on + timedelta(days=1), time(), zone)
    found: dict[GuardKind, GuardWord] = {}
    for kind, first, last in spans:
        if first >= ends or last <= begins:
            continue
        name = _GUARDS[kind]
        starts_today, ends_today = first > begins, last < ends
        if starts_today:
            text = words(f"guard.{kind}.from", time=say.clock(first, here))
        elif ends_today:
            text = words(f"guard.{kind}.until", time=say.clock(last, here))
        else:
            text = words(f"guard.{kind}")
        found.setdefault(name, GuardWord(name, text, words(f"guard.{kind}.why")))
    if "maximum" in found and "enhanced" in found and "from" not in found["enhanced"].words:
        # maximum says more
        del found["enhanced"]
    order: tuple[GuardKind, ...] = ("order", "maximum", "enhanced", "freeze")
    return tuple(found[kind] for kind in order if kind in found)


def _open(
    on: date, weddings: Sequence[OpenWedding], left: Sequence[Row], guard: tuple[GuardWord, ...]
) -> OpenDay:
    gone = [OpenWedding(_moved_away(row), None) for row in left]
    shown = sorted(weddings, key=lambda one: (one.entry.is_off, one.entry.time))
    return OpenDay(
        title=_date(on),
        guard=guard,
        weddings=(*shown, *gone),
        new_href=f"/weddings/new?date={on}",
    )


def now_words(mode: Row, now: datetime, here: str) -> str:
    """How closely the platform watches, until when, and who says so."""
    until = mode["until"]
    key = f"guard.now.{mode['source']}"
    return words(
        key,
        mode=words(f"guard.mode.{mode['mode']}"),
        until=words("guard.now.until", time=say.when(until, now, here)) if until else "",
        who=mode["who"],
        why=mode["why"],
    )


def season_words(settings: Row, month: date) -> str:
    """Whether the month is in season, and what that loosens."""
    months = settings["seasons"].get(settings["season_region"], {})
    factor = months.get(str(month.month))
    if not factor or factor == 1:
        return ""
    return words("guard.season", factor=f"{factor:g}")
