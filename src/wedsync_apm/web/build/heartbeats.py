"""Heartbeats in words, and their form back into one. Pure."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final

from wedsync_apm.errors import NotValid
from wedsync_apm.heartbeats.model import check_rhythm, due_after
from wedsync_apm.types import Severity
from wedsync_apm.web import say
from wedsync_apm.web.build import Row
from wedsync_apm.web.views.heartbeat import HeartbeatForm, HeartbeatRow, Ping
from wedsync_apm.web.views.shell import Kind, Status
from wedsync_apm.web.words import say as words

UNITS: Final = {"seconds": 1, "minutes": 60, "hours": 3600, "days": 86400}
COMING: Final = 5
_KINDS: Final[dict[str, Kind]] = {
    "new": "none",
    "up": "ok",
    "started": "ok",
    "late": "warn",
    "down": "crit",
    "paused": "info",
}
LABELS: Final = {
    "name": ("heartbeat.form.name", ""),
    "way": ("heartbeat.form.way", "heartbeat.form.way_"),
    "period": ("heartbeat.form.period", ""),
    "period_unit": ("heartbeat.form.period", "heartbeat.unit."),
    "cron": ("heartbeat.form.cron", ""),
    "time_zone": ("heartbeat.form.zone", ""),
    "grace": ("heartbeat.form.grace", ""),
    "grace_unit": ("heartbeat.form.grace", "heartbeat.unit."),
    "severity": ("heartbeat.form.severity", "heartbeat.severity."),
    "description": ("heartbeat.form.description", ""),
    "service_name": ("heartbeat.form.service", ""),
}
_FIELDS: Final = {
    "name", "description", "service_name", "period", "cron", "time_zone", "grace", "severity",
}  # fmt: skip


def unit_choices() -> tuple[tuple[str, str], ...]:
    """Seconds to days."""
    return tuple((one, str(words(f"heartbeat.unit.{one}"))) for one in UNITS)


def severity_choices() -> tuple[tuple[str, str], ...]:
    """How bad it is, mildest first."""
    return tuple((one.value, str(words(f"heartbeat.severity.{one.value}"))) for one in Severity)


def rhythm(row: Row) -> str:
    """Every 5 min, at most 1 min late."""
    grace = say.length(row["grace"])
    if row["period"] is not None:
        return words("heartbeat.every", period=say.length(row["period"]), grace=grace)
    return words("heartbeat.cron", cron=row["cron"], zone=row["time_zone"], grace=grace)


def build_row(row: Row, now: datetime, zone: str) -> HeartbeatRow:
    """A heartbeat for the list."""
    heard = words("heartbeat.never")
    if row["last_heard_at"]:
        time = say.when(row["last_heard_at"], now, zone)
        heard = (
            words("heartbeat.heard_due", time=time, due=say.when(row["due_at"], now, zone))
            if row["due_at"]
            else words("heartbeat.heard", time=time)
        )
    state = row["state"]
    return HeartbeatRow(
        row["id"],
        row["name"],
        rhythm(row),
        heard,
        Status(_KINDS[state], words(f"heartbeat.{state}")),
    )


def facts(row: Row, now: datetime, zone: str) -> tuple[tuple[str, str], ...]:
    """A heartbeat line by line."""

    def moment(name: str) -> str:
        at = row[name]
        return say.when(at, now, zone) if at else str(words("heartbeat.nothing"))

    lines = [
        ("last", moment("last_heard_at")),
        ("due", moment("due_at")),
        ("alarm", moment("alarm_at")),
    ]
    if row["last_duration"] is not None:
        lines.append(("took", say.length(row["last_duration"])))
    lines.append(("severity", str(words(f"heartbeat.severity.{row['severity']}"))))
    lines.append(("service", row["service_name"]))
    return tuple((str(words(f"heartbeat.{key}")), value) for key, value in lines)


def pings(row: Row) -> tuple[Ping, ...]:
    """The last times that it was heard of, newest first."""
    return tuple(
        Ping(at, words(f"heartbeat.signal.{signal}"), signal == "fail")
        for at, signal in zip(row["recent_at"], row["recent_signals"], strict=True)
    )


def coming(row: Row, now: datetime) -> tuple[str, ...]:
    """The next times of a cron expression, by the clock in its zone."""
    if row["cron"] is None or not row["is_active"]:
        return ()
    found: list[str] = []
    at = now
    for _ in range(COMING):
        at = due_after(at, period=None, cron=row["cron"], time_zone=row["time_zone"])
        zone = row["time_zone"]
        found.append(f"{say.day(at, zone)} {say.clock(at, zone)}")
    return tuple(found)


def form_of(row: Row, zone: str) -> HeartbeatForm:
    """The form as a heartbeat stands."""
    period, period_unit = _in_units(row["period"] or timedelta(minutes=5))
    grace, grace_unit = _in_units(row["grace"])
    return HeartbeatForm(
        name=row["name"],
        description=row["description"],
        service_name=row["service_name"],
        way="period" if row["period"] is not None else "cron",
        period=period,
        period_unit=period_unit,
        cron=row["cron"] or "",
        time_zone=row["time_zone"] or zone,
        grace=grace,
        grace_unit=grace_unit,
        severity=str(row["severity"]),
    )


def _in_units(span: timedelta) -> tuple[str, str]:
    seconds = span.total_seconds()
    unit = next(name for name in reversed(UNITS) if seconds % UNITS[name] == 0 or name == "seconds")
    return f"{seconds / UNITS[unit]:g}", unit


def read_form(sent: Any, now: datetime) -> tuple[HeartbeatForm, dict[str, Any]]:
    """The form as typed with the words beside each fault, and the values that it means."""
    errors: dict[str, str] = {}
    typed = {
        name: str(sent.get(name) or "").strip()[:limit]
        for name, limit in (
            ("name", 200), ("description", 1000), ("service_name", 200), ("period", 12),
            ("period_unit", 8), ("cron", 200), ("time_zone", 100), ("grace", 12),
            ("grace_unit", 8), ("severity", 10),
        )
    }  # fmt: skip
    is_cron = sent.get("way") == "cron"
    if not typed["name"]:
        errors["name"] = words("heartbeat.form.name_empty")
    if typed["severity"] not in {one.value for one in Severity}:
        typed["severity"] = Severity.CRITICAL.value
    values: dict[str, Any] = {
        "name": typed["name"],
        "description": typed["description"],
        "service_name": typed["service_name"] or "heartbeat",
        "severity": typed["severity"],
        "period": None if is_cron else _seconds(typed, "period", errors),
        "cron": typed["cron"] if is_cron else None,
        "time_zone": typed["time_zone"] if is_cron else None,
        "grace": _seconds(typed, "grace", errors),
    }
    form = HeartbeatForm(**typed, way="cron" if is_cron else "period", errors=errors)
    if not errors:
        try:
            check_rhythm(
                has_period=not is_cron,
                cron=values["cron"],
                time_zone=values["time_zone"],
                at=now,
            )
        except NotValid as exc:
            form = refused(form, exc)
    return form, values


def _seconds(typed: dict[str, str], name: str, errors: dict[str, str]) -> str | None:
    try:
        number = float(typed[name])
    except ValueError:
        number = 0.0
    if not 0 < number < 1e9:
        errors[name] = words("heartbeat.form.number")
        return None
    return f"{number * UNITS.get(typed[f'{name}_unit'], 60)} seconds"


def refused(form: HeartbeatForm, exc: NotValid) -> HeartbeatForm:
    """The form with what does not fit beside its field."""
    errors = dict(form.errors)
    for one in exc.errors or ():
        name = one.field if one.field in _FIELDS else "name"
        errors[name] = words("heartbeat.form.wrong", reason=one.reason)
    return replace(form, errors=errors or {"name": exc.detail})


def taken(form: HeartbeatForm) -> HeartbeatForm:
    """The form with a name that another one has."""
    return replace(form, errors={**form.errors, "name": words("heartbeat.form.name_taken")})
