"""Silences in words, and their form back into one. Pure."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final

from wedsync_apm.errors import NotValid
from wedsync_apm.incidents.model import HeldBack, Incident
from wedsync_apm.web import say
from wedsync_apm.web.build import Row
from wedsync_apm.web.build.holding import (
    Names,
    fields_of,
    read_fields,
    read_wall,
    wall,
    what_words,
)
from wedsync_apm.web.views.holding import Held, HoldingRow, MatcherField, SilenceForm
from wedsync_apm.web.views.shell import Kind, Status
from wedsync_apm.web.words import say as words

LONGEST: Final = timedelta(days=90)
SHORT: Final = timedelta(hours=24)
"""Over a wedding it lasts no longer than this, and needs a second person."""
USUAL: Final = timedelta(hours=1)
LONGEST_REASON: Final = 1000
_KINDS: Final[dict[str, Kind]] = {
    "needs_approval": "warn",
    "scheduled": "info",
    "active": "info",
    "ended": "none",
}
_FIELDS: Final = ("matchers", "starts_at", "ends_at", "reason", "owner")


def status_of(row: Row) -> Status:
    """How a silence stands, as shape, word and colour."""
    state = row["state"]
    return Status(_KINDS[state], str(words(f"silence.{state}")))


def sentence(row: Row, names: Names, now: datetime, zone: str) -> str:
    """Nobody is told about ‘Checkout’ until 18:00, because “new till”, asked by Priya."""
    state = row["state"]
    if state == "ended" and row["needs_approval"] and row["approved_at"] is None:
        state = "never"
    until = row["works_until"] or row["ends_at"]
    return words(
        f"silence.say.{state}",
        what=what_words(row["matchers"], names),
        start=say.when(row["starts_at"], now, zone),
        until=say.when(until, now, zone),
        reason=row["reason"],
        owner=row["owner"],
    )


def note(row: Row, now: datetime, zone: str) -> str:
    """What else there is to know of it: who said yes, and why it ends early."""
    if row["expired_at"]:
        return words("silence.ended_by", name=row["expired_by_name"] or "")
    works, ends = row["works_until"], row["ends_at"]
    if works is not None and works < ends and row["state"] != "ended":
        return words("silence.cut", time=say.when(works, now, zone))
    if row["approved_at"]:
        at = say.when(row["approved_at"], now, zone)
        return words("silence.approved_by", name=row["approved_by_name"], time=at)
    return ""


def build_row(row: Row, names: Names, now: datetime, zone: str) -> HoldingRow:
    """A silence for the list."""
    return HoldingRow(
        f"/silences/{row['id']}",
        sentence(row, names, now, zone),
        status_of(row),
        note(row, now, zone),
    )


def facts(row: Row, names: Names, now: datetime, zone: str) -> tuple[tuple[str, str], ...]:
    """A silence line by line."""
    return tuple(
        (words(f"silence.{key}"), value)
        for key, value in (
            ("what", what_words(row["matchers"], names)),
            ("from", say.when(row["starts_at"], now, zone)),
            ("until", say.when(row["ends_at"], now, zone)),
            ("why", row["reason"]),
            ("owner", row["owner"]),
            ("made", say.when(row["created_at"], now, zone)),
        )
    )


def matchers_of_incident(incident: Incident, rule_name: str | None) -> tuple[MatcherField, ...]:
    """What says exactly this incident: its rule, else the labels that it was opened with."""
    if rule_name:
        return (MatcherField("rule", "=", rule_name),)
    labels = {name: value for name, value in incident.labels.items() if value}
    return fields_of(
        {"label": name, "operator": "=", "value": value} for name, value in labels.items()
    )


def new_form(
    fields: tuple[MatcherField, ...], now: datetime, zone: str, incident: str = ""
) -> SilenceForm:
    """The form before anybody has typed: an hour from now, to the next five minutes."""
    ends = now + USUAL
    ends += timedelta(minutes=-ends.minute % 5)
    return SilenceForm(fields, ends_at=wall(ends, zone), incident=incident)


def read_form(
    sent: Any, now: datetime, zone: str
) -> tuple[SilenceForm, datetime | None, datetime | None]:
    """The form as typed with the words beside each fault, its start (None: now) and its end."""
    errors: dict[str, str] = {}
    fields = read_fields(sent)
    typed = {
        name: str(sent.get(name) or "").strip()
        for name in ("starts_at", "ends_at", "reason", "owner", "incident")
    }
    starts = read_wall(typed["starts_at"], zone)
    ends = read_wall(typed["ends_at"], zone)
    if not fields:
        errors["matchers"] = words("silence.form.matchers_empty")
    if typed["starts_at"] and starts is None:
        errors["starts_at"] = words("silence.form.time")
    if ends is None:
        errors["ends_at"] = words("silence.form.time")
    elif ends <= now:
        errors["ends_at"] = words("silence.form.past")
    elif starts is not None and ends <= starts:
        errors["ends_at"] = words("silence.form.order")
    elif ends > (starts or now) + LONGEST:
        errors["ends_at"] = words("silence.form.longest")
    if not typed["reason"]:
        errors["reason"] = words("silence.form.reason_empty")
    elif len(typed["reason"]) > LONGEST_REASON:
        errors["reason"] = words("silence.form.reason_long")
    form = SilenceForm(
        fields,
        typed["starts_at"][:40],
        typed["ends_at"][:40],
        typed["reason"][: LONGEST_REASON * 2],
        typed["owner"][:200],
        typed["incident"][:36],
        errors,
    )
    return form, starts, ends


def refused(form: SilenceForm, exc: NotValid) -> SilenceForm:
    """The form with what the database does not take beside its field."""
    errors = dict(form.errors)
    for one in exc.errors or ():
        name = one.field.split(".")[0]
        errors[name if name in _FIELDS else "matchers"] = words(
            "silence.form.wrong", reason=one.reason
        )
    return replace(form, errors=errors or {"matchers": exc.detail})


def wedding_warning(
    weddings: Sequence[Row], starts: datetime, ends: datetime, now: datetime, zone: str
) -> str:
    """What the weddings in the way mean for a silence; empty where there are none."""
    if not weddings:
        return ""
    if ends - starts <= SHORT:
        return words("silence.preview.weddings", n=len(weddings))
    first = weddings[0]["starts_at"]
    if first <= starts:
        return words("silence.preview.under_way")
    return words("silence.preview.long", time=say.when(first, now, zone))


def build_held(held: HeldBack, now: datetime, zone: str, *, is_engineer: bool) -> Held:
    """What keeps people from being told of an incident, for a vendor or for an engineer."""
    until = say.when(held.until, now, zone) if held.until else ""
    key = f"held.{held.kind}"
    if held.kind == "inhibition" and held.id is None:
        key = "held.platform"
    if is_engineer:
        key = f"held.engineer.{held.kind}"
    text: str = words(key, until=until, owner=held.owner, reason=held.reason)
    if is_engineer and held.since:
        text += " " + words("held.since", time=say.when(held.since, now, zone))
    href = {
        "silence": f"/silences/{held.id}",
        "maintenance": f"/planned-work/{held.id}",
        "inhibition": f"/incidents/{held.id}" if held.id else "",
    }[held.kind]
    return Held(text, href, words("held.open") if href else "")
