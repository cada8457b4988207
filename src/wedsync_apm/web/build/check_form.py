"""The form of a check, and what it means. Pure."""

import re
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final

from wedsync_apm.checks.templates import Template
from wedsync_apm.checks.wanted import DEFAULTS, check_wanted
from wedsync_apm.errors import NotValid
from wedsync_apm.web.build import Row
from wedsync_apm.web.views.check import CheckForm
from wedsync_apm.web.words import say as words

INTERVALS: Final = ("15", "30", "60", "300", "900", "3600")
WINDOWS: Final = ("3600", "21600", "86400", "604800")
_FIELDS: Final = {
    "endpoint_url": "endpoint_url",
    "display_name": "display_name",
    "service_name": "display_name",
    "error_rate_critical": "errors_critical",
    "availability_critical": "available_critical",
    "availability_warning": "available_warning",
    "judged_over": "judged_over",
    "check_interval": "interval",
    "body_contains": "body_contains",
    "response_time_threshold_ms": "seconds",
    "expected_status_codes": "codes",
}
ADDRESS_FIELDS: Final = ("endpoint_url", "codes", "body_contains", "certificate_days")
"""What a check without an address of its own has not."""
LABELS: Final = {
    "display_name": ("check.form.name", ""),
    "endpoint_url": ("check.form.address", ""),
    "seconds": ("check.form.seconds", ""),
    "interval": ("check.form.interval", "check.every."),
    "codes": ("check.form.codes", ""),
    "body_contains": ("check.form.body", ""),
    "certificate_days": ("check.form.certificate", ""),
    "wedding_critical": ("check.form.wedding", ""),
    "opens_incidents": ("check.form.incident", ""),
    "judged_over": ("check.form.window", "check.over."),
    "errors_percent": ("check.form.errors", ""),
    "errors_critical": ("check.form.errors_critical", ""),
    "available_warning": ("check.form.available_warning", ""),
    "available_critical": ("check.form.available_critical", ""),
}
_SCHEME: Final = re.compile(r"((https?|tcp|tls)://|dns:)")


def choices(values: tuple[str, ...], kind: str, present: str) -> tuple[tuple[str, str], ...]:
    """What a list offers, with the present value among it."""
    found = [(one, str(words(f"check.{kind}.{one}"))) for one in values]
    if present not in values:
        found.append((present, f"{float(present):g} s"))
    return tuple(found)


def slug(name: str) -> str:
    """A service's name for rules and quiet times, of what people call it."""
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")[:100] or "service"


def plain(value: float | None, factor: float = 1.0) -> str:
    """A number as a person types it."""
    return "" if value is None else f"{value * factor:.6g}"


def form_of_template(template: Template) -> CheckForm:
    """The form that suits a service of the catalogue."""
    return CheckForm(
        display_name=template.display_name,
        seconds=plain(template.response_time_threshold_ms, 1e-3),
        interval=plain(template.check_seconds),
        codes=", ".join(map(str, template.expected_status_codes)),
        errors_percent=plain(template.error_rate_threshold, 100),
        wedding_critical=template.wedding_critical,
    )


def form_of(row: Row) -> CheckForm:
    """The form as a check stands."""
    return CheckForm(
        display_name=row["display_name"],
        endpoint_url=row["endpoint_url"] or "",
        seconds=plain(row["response_time_threshold_ms"], 1e-3),
        interval=plain(row["check_interval"].total_seconds()),
        codes=", ".join(map(str, row["expected_status_codes"])),
        body_contains=row["body_contains"] or "",
        certificate_days=str(row["certificate_days"]),
        errors_percent=plain(row["error_rate_threshold"], 100),
        errors_critical=plain(row["error_rate_critical"], 100),
        available_warning=plain(row["availability_warning"]),
        available_critical=plain(row["availability_critical"]),
        judged_over=plain(row["judged_over"].total_seconds()),
        wedding_critical=row["wedding_critical"],
        opens_incidents=row["opens_incidents"],
    )


class _Reader:
    """Reads typed numbers, and keeps the words beside each fault."""

    def __init__(self, typed: dict[str, str]) -> None:
        self.typed = typed
        self.errors: dict[str, str] = {}

    def number(self, name: str, least: float, most: float, words_key: str) -> float:
        try:
            value = float(self.typed[name].replace(",", "."))
        except ValueError:
            value = float("nan")
        if not least <= value <= most:
            self.errors[name] = words(words_key)
            return least
        return value

    def percent(self, name: str) -> float:
        return self.number(name, 0, 100, "check.form.percent")

    def perhaps(self, name: str) -> float | None:
        return self.percent(name) if self.typed[name] else None

    def codes(self) -> list[int]:
        parts = [one for one in re.split(r"[\s,]+", self.typed["codes"]) if one]
        if not parts or len(parts) > 50 or not all(re.fullmatch(r"[1-5]\d\d", p) for p in parts):
            self.errors["codes"] = words("check.form.codes_wrong")
            return [200]
        return [int(one) for one in parts]


def read_form(sent: Any, *, has_address: bool) -> tuple[CheckForm, dict[str, Any]]:
    """The form as typed with the words beside each fault, and the values that it means."""
    typed = {
        name: str(sent.get(name) or "").strip()[:limit]
        for name, limit in (
            ("display_name", 200), ("endpoint_url", 2000), ("seconds", 12), ("interval", 12),
            ("codes", 300), ("body_contains", 200), ("certificate_days", 4),
            ("errors_percent", 12), ("errors_critical", 12), ("available_warning", 12),
            ("available_critical", 12), ("judged_over", 12),
        )
    }  # fmt: skip
    read = _Reader(typed)
    if not typed["display_name"]:
        read.errors["display_name"] = words("check.form.name_empty")
    if has_address and not _SCHEME.match(typed["endpoint_url"]):
        read.errors["endpoint_url"] = words("check.form.address_kind")
    number = "check.form.number"
    interval = read.number("interval", 5, 86400, number)
    window = read.number("judged_over", 300, 604800, number)
    worse = read.perhaps("errors_critical")
    values: dict[str, Any] = {
        "display_name": typed["display_name"],
        "response_time_threshold_ms": read.number("seconds", 0.001, 3600, number) * 1000,
        "check_interval": f"{interval} seconds",
        "judged_over": f"{window} seconds",
        "error_rate_threshold": read.percent("errors_percent") / 100,
        "error_rate_critical": None if worse is None else worse / 100,
        "availability_warning": read.perhaps("available_warning"),
        "availability_critical": read.perhaps("available_critical"),
        "wedding_critical": sent.get("wedding_critical") == "yes",
        "opens_incidents": sent.get("opens_incidents") == "yes",
    }
    if has_address:
        values |= {
            "endpoint_url": typed["endpoint_url"],
            "expected_status_codes": read.codes(),
            "body_contains": typed["body_contains"] or None,
            "certificate_days": int(read.number("certificate_days", 1, 365, number)),
        }
    form = CheckForm(
        **typed,
        wedding_critical=values["wedding_critical"],
        opens_incidents=values["opens_incidents"],
        errors=read.errors,
    )
    if not read.errors:
        known = values if has_address else values | {"endpoint_url": None, "source_metric": "x.x"}
        try:
            check_wanted(known, timedelta(seconds=interval), timedelta(seconds=window))
        except NotValid as exc:
            form = refused(form, exc)
    return form, values


def new_values(values: dict[str, Any]) -> dict[str, Any]:
    """A new check with what the form leaves open."""
    return {**DEFAULTS, "service_name": slug(values["display_name"]), **values}


def refused(form: CheckForm, exc: NotValid) -> CheckForm:
    """The form with what does not fit beside its field."""
    errors = dict(form.errors)
    for one in exc.errors or ():
        name = _FIELDS.get(one.field, "display_name")
        key = "check.form.address_wrong" if name == "endpoint_url" else "check.form.wrong"
        if one.reason.startswith("must not be stricter"):
            key = "check.form.order"
        errors[name] = words(key, reason=one.reason)
    return replace(form, errors=errors or {"display_name": exc.detail})


def taken(form: CheckForm) -> CheckForm:
    """The form with a name that another check has."""
    return replace(form, errors={**form.errors, "display_name": words("check.form.name_taken")})
