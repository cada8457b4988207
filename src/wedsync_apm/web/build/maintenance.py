"""Planned work in words, and its form back into it. Pure."""

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from wedsync_apm.errors import NotValid
from wedsync_apm.silences.model import check_plan
from wedsync_apm.web import say
from wedsync_apm.web.build import Row
from wedsync_apm.web.build.edits import Lines, lines_of
from wedsync_apm.web.build.holding import (
    Names,
    fields_of,
    matchers_of,
    read_fields,
    read_wall,
    wall,
    what_words,
)
from wedsync_apm.web.views.holding import HoldingRow, WorkForm
from wedsync_apm.web.views.shell import Kind, Status
from wedsync_apm.web.words import say as words

DAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_LABELS: Final = {
    "name": ("work.form.name", ""),
    "reason": ("work.form.reason", ""),
    "way": ("work.form.way", "work.form."),
    "starts_time": ("work.form.starts_time", ""),
    "ends_time": ("work.form.ends_time", ""),
    "time_zone": ("work.form.zone", ""),
    "every_weeks": ("work.form.weeks", "work.weeks."),
    "first_day": ("work.form.first", ""),
    "last_day": ("work.form.last", ""),
    "starts_at": ("silence.from", ""),
    "ends_at": ("silence.until", ""),
    "matchers": ("work.form.about", ""),
    "is_active": ("work.form.active", ""),
}
_CLOCK: Final = re.compile(r"([01]\d|2[0-3]):[0-5]\d")
_KINDS: Final[dict[str, Kind]] = {
    "open": "info",
    "scheduled": "info",
    "ended": "none",
    "off": "none",
}


def day_choices() -> tuple[tuple[int, str], ...]:
    """The weekdays with their numbers; 1 is Monday."""
    return tuple(enumerate(DAYS, 1))


def status_of(row: Row) -> Status:
    """How planned work stands; over a wedding it waits for a second person."""
    if row["needs_approval"]:
        return Status("warn", words("silence.needs_approval"))
    return Status(_KINDS[row["state"]], words(f"work.{row['state']}"))


def sentence(row: Row, names: Names, now: datetime, zone: str) -> str:
    """New till: nobody is told about ‘Checkout’ every Monday, 23:00 to 02:00 the next day."""
    what = what_words(row["matchers"], names)
    if row["starts_at"] is not None:
        return words(
            "work.say.once",
            name=row["name"],
            what=what,
            start=say.when(row["starts_at"], now, zone),
            until=say.when(row["ends_at"], now, zone),
        )
    ends = row["ends_time"]
    if ends <= row["starts_time"]:
        ends = words("work.next_day", time=ends)
    text: str = words(
        "work.say.weekly",
        name=row["name"],
        what=what,
        days=days_words(row["weekdays"], row["every_weeks"]),
        start=row["starts_time"],
        until=f"{ends}, {words('work.zone', zone=row['time_zone'])}",
    )
    return text


def days_words(weekdays: Sequence[int], weeks: int) -> str:
    """Every Monday and Thursday, every second week on Saturday."""
    named = [DAYS[n - 1] for n in sorted(set(weekdays))]
    if len(named) == len(DAYS) and weeks == 1:
        return words("work.days.daily")
    days = named[0] if len(named) == 1 else f"{', '.join(named[:-1])} and {named[-1]}"
    if weeks == 1:
        return words("work.days.every", days=days)
    if weeks == 2:
        return words("work.days.second", days=days)
    return words("work.days.weeks", n=weeks, days=days)


def span_words(spans: Sequence[Row], zone: str) -> tuple[str, ...]:
    """The times at which it is open, each with its length: nights of a clock change differ."""
    found: list[str] = []
    for one in spans:
        starts, ends = (_instant(one[name]) for name in ("starts_at", "ends_at"))
        begin, end = (at.astimezone(ZoneInfo(zone)) for at in (starts, ends))
        until = f"{end:%H:%M}" if end.date() == begin.date() else f"{end:%a %H:%M}"
        found.append(
            words(
                "work.span",
                start=f"{say.day(starts, zone)} {begin:%H:%M}",
                until=until,
                length=say.length(ends - starts),
            )
        )
    return tuple(found)


def _instant(value: datetime | str) -> datetime:
    return datetime.fromisoformat(value) if isinstance(value, str) else value


def build_work_row(row: Row, names: Names, now: datetime, zone: str) -> HoldingRow:
    """Planned work for the list."""
    return HoldingRow(
        f"/planned-work/{row['id']}", sentence(row, names, now, zone), status_of(row), note(row)
    )


def note(row: Row) -> str:
    """What a second person has to do with it: whether one is waited for, or has said no."""
    weddings = row["weddings"]
    unseen = [one for one in weddings if not one["is_approved"] and not one["is_refused"]]
    if row["needs_approval"]:
        return words("work.waits", n=len(unseen))
    if row["refused_at"] is None or not any(one["is_refused"] for one in weddings):
        return ""
    return words("work.refused", name=row["refused_by_name"], reason=row["refused_reason"])


def facts(row: Row, names: Names, now: datetime, zone: str) -> tuple[tuple[str, str], ...]:
    """Planned work line by line."""
    found = [("silence.what", what_words(row["matchers"], names))]
    if row["reason"]:
        found.append(("silence.why", row["reason"]))
    if row["planned_by_name"]:
        found.append(("work.planned_by", row["planned_by_name"]))
    lines: list[tuple[str, str]] = [(words(key), value) for key, value in found]
    if row["approved_at"]:
        at = say.when(row["approved_at"], now, zone)
        said = words("silence.approved_by", name=row["approved_by_name"], time=at)
        lines.append((words("approve.second"), said))
    if row["refused_at"]:
        said = words(
            "work.refused_by",
            name=row["refused_by_name"],
            time=say.when(row["refused_at"], now, zone),
            reason=row["refused_reason"],
        )
        lines.append((words("approve.second"), said))
    return tuple(lines)


def new_form(now: datetime, zone: str) -> WorkForm:
    """The form before anybody has typed."""
    today = now.astimezone(ZoneInfo(zone)).date()
    return WorkForm(time_zone=zone, first_day=today.isoformat())


def form_of(row: Row, zone: str) -> WorkForm:
    """The form as planned work stands."""
    is_once = row["starts_at"] is not None
    return WorkForm(
        name=row["name"],
        reason=row["reason"],
        way="once" if is_once else "weekly",
        matchers=fields_of(row["matchers"]),
        starts_at=wall(row["starts_at"], zone) if is_once else "",
        ends_at=wall(row["ends_at"], zone) if is_once else "",
        weekdays=tuple(row["weekdays"] or ()),
        starts_time=row["starts_time"] or "",
        ends_time=row["ends_time"] or "",
        time_zone=row["time_zone"] or zone,
        first_day=row["first_day"].isoformat() if row["first_day"] else "",
        last_day=row["last_day"].isoformat() if row["last_day"] else "",
        every_weeks=str(row["every_weeks"]),
        is_active=row["is_active"],
    )


def lines_of_work(form: WorkForm) -> Lines:
    """What the form says, field by field."""
    days = ", ".join(DAYS[one - 1] for one in form.weekdays)
    return (*lines_of(form, _LABELS), (str(words("work.form.days")), days))


def read_form(sent: Any, zone: str) -> tuple[WorkForm, dict[str, Any]]:
    """The form as typed with the words beside each fault, and the values that it means."""
    errors: dict[str, str] = {}
    typed = {
        name: str(sent.get(name) or "").strip()[:limit]
        for name, limit in (
            ("name", 200), ("reason", 2000), ("starts_at", 40), ("ends_at", 40),
            ("starts_time", 8), ("ends_time", 8), ("time_zone", 100), ("first_day", 10),
            ("last_day", 10), ("every_weeks", 2),
        )
    }  # fmt: skip
    is_once = sent.get("way") == "once"
    days = tuple(
        int(one) for one in sent.getall("weekdays", []) if str(one) in {*map(str, range(1, 8))}
    )
    fields = read_fields(sent)
    values: dict[str, Any] = {
        "name": typed["name"], "reason": typed["reason"], "matchers": matchers_of(fields),
        "starts_at": None, "ends_at": None, "weekdays": None, "starts_time": None,
        "ends_time": None, "time_zone": None, "first_day": None, "last_day": None,
        "every_weeks": 1, "is_active": sent.get("is_active") == "yes",
    }  # fmt: skip
    if not typed["name"]:
        errors["name"] = words("work.form.name_empty")
    if is_once:
        _read_once(typed, zone, values, errors)
    else:
        _read_weekly(typed, days, values, errors)
    form = WorkForm(
        **typed,
        way="once" if is_once else "weekly",
        matchers=fields,
        weekdays=days,
        is_active=values["is_active"],
        errors=errors,
    )
    if not errors:
        try:
            check_plan(values)
        except NotValid as exc:
            form = refused(form, exc)
    return form, _as_sent(values)


def _read_once(
    typed: dict[str, str], zone: str, values: dict[str, Any], errors: dict[str, str]
) -> None:
    for name in ("starts_at", "ends_at"):
        values[name] = read_wall(typed[name], zone)
        if values[name] is None:
            errors[name] = words("silence.form.time")
    if not errors and values["ends_at"] <= values["starts_at"]:
        errors["ends_at"] = words("silence.form.order")
    elif not errors and values["ends_at"] - values["starts_at"] > timedelta(days=30):
        errors["ends_at"] = words("silence.form.wrong", reason="30 days at most")


def _read_weekly(
    typed: dict[str, str], days: tuple[int, ...], values: dict[str, Any], errors: dict[str, str]
) -> None:
    values["weekdays"] = sorted(set(days))
    if not days:
        errors["weekdays"] = words("work.form.days_none")
    for name in ("starts_time", "ends_time"):
        values[name] = typed[name][:5]
        if not _CLOCK.fullmatch(typed[name][:5]):
            errors[name] = words("work.form.clock")
    values["time_zone"] = typed["time_zone"]
    try:
        ZoneInfo(typed["time_zone"])
    except (ValueError, ZoneInfoNotFoundError, OSError):
        errors["time_zone"] = words("work.form.zone_wrong")
    for name in ("first_day", "last_day"):
        if not typed[name]:
            continue
        try:
            values[name] = date.fromisoformat(typed[name])
        except ValueError:
            errors[name] = words("work.form.day")
    values["every_weeks"] = int(typed["every_weeks"]) if typed["every_weeks"] in "1234" else 1
    if values["every_weeks"] > 1 and values["first_day"] is None:
        errors.setdefault("first_day", words("work.form.first_needed"))


def _as_sent(values: dict[str, Any]) -> dict[str, Any]:
    """The values as JSON has them."""
    return {
        name: value.isoformat() if isinstance(value, date | datetime) else value
        for name, value in values.items()
    }


def refused(form: WorkForm, exc: NotValid) -> WorkForm:
    """The form with what does not fit beside its field."""
    errors = dict(form.errors)
    for one in exc.errors or ():
        name = one.field.split(".")[0]
        known = name in WorkForm.__dataclass_fields__
        errors[name if known else "name"] = words("silence.form.wrong", reason=one.reason)
    return replace(form, errors=errors or {"name": exc.detail})
