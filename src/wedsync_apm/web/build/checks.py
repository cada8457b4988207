"""Checks in words. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from wedsync_apm.checks.model import Finding, Seen, seconds_words, share_words
from wedsync_apm.checks.templates import TEMPLATES
from wedsync_apm.checks.windows import window_words
from wedsync_apm.types import ServiceStatus
from wedsync_apm.web import say
from wedsync_apm.web.build import Row
from wedsync_apm.web.views.check import CheckRow, Offer, Outage, Slot
from wedsync_apm.web.views.shell import Kind
from wedsync_apm.web.views.today import Service
from wedsync_apm.web.words import say as words

MUCH_DOWN: Final = 60.0
"""Seconds of an hour; under that it was a hiccup."""
KINDS: Final[Mapping[str, Kind]] = {
    "healthy": "ok",
    "warning": "warn",
    "critical": "crit",
    "maintenance": "info",
    "unknown": "none",
}
_NEAR: Final = (
    (timedelta(hours=24), "day"),
    (timedelta(days=7), "week"),
    (timedelta(days=30), "month"),
)


def result(row: Row, now: datetime, zone: str) -> str:
    """What the last look found: answered 401 in 0.12 s: that is alive, 13:02."""
    if row["last_check_at"] is None:
        return words("check.never")
    time = say.when(row["last_check_at"], now, zone)
    codes = row["expected_status_codes"]
    url = row["endpoint_url"] or getattr(TEMPLATES.get(row["shared_key"] or ""), "endpoint_url", "")
    is_refusal = bool(codes) and all(code >= 400 for code in codes) and url.startswith("http")
    if row["status"] == "healthy" and is_refusal and row["response_time_ms"] is not None:
        return words(
            "check.alive",
            codes=" or ".join(map(str, codes)),
            took=seconds_words(row["response_time_ms"]),
            time=time,
        )
    return words("check.result", reason=row["status_reason"], time=time)


def figures(row: Row) -> str:
    """Availability and errors of the last day, as far as they are known."""
    available, errors = row["availability_percentage"], row["error_rate"]
    if available is None:
        return ""
    share = share_words(available / 100)
    if errors is None or row["source_metric"]:
        return words("check.figures_available", available=share)
    return words("check.figures", available=share, errors=share_words(errors))


def build_row(row: Row, service: Service, now: datetime, zone: str) -> CheckRow:
    """A check for the list."""
    return CheckRow(row["id"], service, result(row, now, zone), figures(row), not row["is_active"])


def outages(rows: Sequence[Row]) -> tuple[Outage, ...]:
    """Trouble that lies elsewhere, once for each place with how many checks depend on it. What
    only its own check knows of stands beside that."""
    causes: dict[str, list[Row]] = {}
    for row in rows:
        if row["caused_by"] and row["is_active"]:
            causes.setdefault(row["caused_by"], []).append(row)
    return tuple(
        Outage(words("checks.outage", name=cause_name(cause, rows), n=len(met)), cause_href(cause))
        for cause, met in sorted(causes.items(), key=lambda one: -len(one[1]))
        if len(met) > 1 or cause != f"service:{met[0]['shared_key']}"
    )


def cause_name(cause: str, rows: Iterable[Row]) -> str:
    """What people call the service behind a cause."""
    kind, _, key = cause.partition(":")
    if kind == "service":
        template = TEMPLATES.get(key)
        return template.display_name if template else key
    return next((row["display_name"] for row in rows if str(row["id"]) == key), key)


def cause_href(cause: str) -> str:
    """Where to read of it; nowhere for a service that WedSync looks at for everybody."""
    kind, _, key = cause.partition(":")
    return f"/checks/{key}" if kind == "check" else ""


def cadence(row: Row, *, starts_in: timedelta | None, is_wedding: bool, is_guarded: bool) -> str:
    """How often it is looked at now, and why."""
    if not row["is_active"]:
        return words("check.paused")
    usual: timedelta = row["check_interval"]
    every: timedelta = row["effective_interval"] or usual
    text: str = words("check.cadence", every=say.length(every))
    if every >= usual:
        return f"{text}, {words('check.cadence_usual')}."
    why = "guard"
    if is_wedding:
        why = "under_way"
    elif starts_in is not None and not is_guarded:
        why = next((name for ahead, name in _NEAR if starts_in <= ahead), why)
    return f"{text}, {words(f'check.cadence_{why}', usual=say.length(usual))}."


def strip(course: Iterable[Row], width: str, zone: str) -> tuple[Slot, ...]:
    """The parts of a strip, oldest first. What is not known is never drawn as fine."""
    found: list[Slot] = []
    for row in course:
        if row["width"] != width:
            continue
        begins = row["starts_at"]
        time = say.clock(begins, zone) if width == "hour" else say.day(begins, zone)
        down, looks, failures = row["down_seconds"], row["looks"] or 0, row["failures"] or 0
        lost = say.length(timedelta(seconds=down))
        if not row["known_seconds"] and not looks:
            slot = Slot("none", words("check.slot.none", time=time))
        elif down >= MUCH_DOWN:
            slot = Slot("crit", words("check.slot.crit", time=time, down=lost))
        elif failures:
            slot = Slot("warn", words("check.slot.warn", time=time, failures=failures, looks=looks))
        elif down:
            slot = Slot("warn", words("check.slot.down", time=time, down=lost))
        else:
            slot = Slot("ok", words("check.slot.ok", time=time))
        found.append(slot)
    return tuple(found)


def table(windows: Iterable[Row]) -> tuple[tuple[str, str, str], ...]:
    """Availability and errors over the usual windows."""

    def share(value: float | None, whole: float) -> str:
        return share_words(value / whole) if value is not None else words("check.unknown")

    return tuple(
        (
            words(f"check.window.{row['window']}"),
            share(row["availability_percentage"], 100),
            share(row["error_rate"], 1),
        )
        for row in windows
    )


def facts(row: Row) -> tuple[tuple[str, str], ...]:
    """What it is held to."""
    over = window_words(row["judged_over"])

    def share(value: float, whole: float) -> str:
        return words("check.limit.over", share=share_words(value / whole), window=over)

    lines: list[tuple[str, str]] = []
    if row["endpoint_url"]:
        lines.append(("check.address", row["endpoint_url"]))
    lines.append(("check.limit.time", seconds_words(row["response_time_threshold_ms"])))
    lines.append(("check.limit.errors", share(row["error_rate_threshold"], 1)))
    for name, whole in (
        ("error_rate_critical", 1),
        ("availability_warning", 100),
        ("availability_critical", 100),
    ):
        if row[name] is not None:
            key = name.replace("error_rate", "errors").replace("availability", "available")
            lines.append((f"check.limit.{key}", share(row[name], whole)))
    target = share_words(row["availability_threshold"] / 100)
    lines.append(("check.limit.available", words("check.limit.target", share=target)))
    return tuple((str(words(key)), value) for key, value in lines)


def past(statuses: Iterable[Row], now: datetime, zone: str) -> tuple[tuple[str, str, Kind], ...]:
    """Each status that was confirmed: when, why, what."""
    return tuple(
        (say.when(row["since"], now, zone), row["reason"], KINDS[str(row["status"])])
        for row in statuses
    )


def ran_words(row: Row, looked: tuple[Seen, Finding] | None) -> tuple[str, Kind]:
    """What a look at once has seen: just now it answered 401 in 0.12 s: that is alive."""
    if looked is None:
        return words("check.ran_shared", reason=row["status_reason"]), KINDS[str(row["status"])]
    seen, finding = looked
    kind = KINDS[finding.status.value]
    if seen.http_status is None or finding.response_time_ms is None:
        return words("check.ran", reason=finding.reason), kind
    took = seconds_words(finding.response_time_ms)
    if finding.status is ServiceStatus.HEALTHY:
        return words("check.ran_alive", code=seen.http_status, took=took), kind
    return (
        words("check.ran_answered", code=seen.http_status, took=took, reason=finding.reason),
        kind,
    )


def offers(rows: Sequence[Row]) -> tuple[tuple[Offer, ...], tuple[Offer, ...]]:
    """The catalogue: what is shared, and what needs an address of one's own."""
    adopted: dict[str, UUID] = {row["shared_key"]: row["id"] for row in rows if row["shared_key"]}
    found = [
        Offer(
            one.key,
            one.display_name,
            words(
                "checks.limits",
                seconds=seconds_words(one.response_time_threshold_ms),
                available=share_words(one.availability_threshold / 100),
            ),
            one.is_shared,
            adopted.get(one.key),
        )
        for one in TEMPLATES.values()
    ]
    return (
        tuple(one for one in found if one.is_shared),
        tuple(one for one in found if not one.is_shared),
    )
