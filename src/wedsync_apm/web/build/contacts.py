"""Contacts in words, and their forms back into one. Pure."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from wedsync_apm.errors import NotValid
from wedsync_apm.notify.channels import SENDERS
from wedsync_apm.notify.telephone.faults import STOPPED
from wedsync_apm.types import Channel
from wedsync_apm.web import say
from wedsync_apm.web.build import Row
from wedsync_apm.web.build.bars import town
from wedsync_apm.web.build.inbox import ICONS, reason_words, state_of
from wedsync_apm.web.build.people import People
from wedsync_apm.web.views.contacts import ContactForm, ContactRow, Proof, QuietForm, Way
from wedsync_apm.web.views.shell import Status
from wedsync_apm.web.words import say as words
from wedsync_apm.weddings.model import is_time_zone

CODE_GOOD: Final = timedelta(minutes=15)
"""For how long a code is good, as the database has it."""
CLOCK: Final = re.compile(r"([01]\d|2[0-3]):[0-5]\d")
ELSEWHERE: Final = frozenset({Channel.PUSH})
"""What this page does not ask for: a browser makes it by the API."""
_ASKED: Final[Mapping[Channel, tuple[str, ...]]] = {
    Channel.SLACK: ("url", "bot_token", "channel_id", "signing_secret"),
    Channel.WEBHOOK: ("url",),
    Channel.APPRISE: ("url",),
    Channel.PAGERDUTY: ("routing_key", "webhook_secret"),
}
_DAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


def day_choices() -> tuple[tuple[int, str], ...]:
    """Monday to Sunday, from 1."""
    return tuple(enumerate(_DAYS, start=1))


def channel_choices() -> tuple[tuple[str, str], ...]:
    """The channels that can really be sent on."""
    return tuple(
        (one.value, str(words(f"contact.form.{one.value}")))
        for one in SENDERS
        if one not in ELSEWHERE
    )


def status_of(row: Row, zone: str) -> Status:
    """Whether a contact is known to work."""
    if row["disabled_at"]:
        return Status("none", words("contact.off"))
    if row["verified_at"]:
        return Status("ok", words("contact.proven", day=say.day(row["verified_at"], zone)))
    return Status("warn", words("contact.unproven"))


def off_words(row: Row, zone: str) -> str:
    """Since when and why nothing is sent to a contact; empty while it is."""
    if not row["disabled_at"]:
        return ""
    reason = row["disabled_reason"] or ""
    told = words("contact.off_why", day=say.day(row["disabled_at"], zone), reason=reason)
    return f"{told} {words('contact.off_stop')}" if reason == STOPPED else told


def build_row(row: Row, quiet: Row, people: People, subject: UUID, zone: str) -> ContactRow:
    """A contact for the list."""
    whose = ""
    if row["user_id"] is None:
        whose = words("contacts.shared")
    # somebody of the platform is no member, and his contact is called like himself
    elif row["user_id"] != subject and row["user_id"] in people.names:
        name = people.name(row["user_id"])
        whose = words("contacts.whose", name=name) if name != row["name"] else ""
    return ContactRow(
        id=row["id"],
        name=row["name"],
        address=row["address"],
        channel=words(f"channel.{row['channel']}"),
        icon=ICONS[str(row["channel"])],
        status=status_of(row, zone),
        whose=whose,
        quiet=words("contact.quiet_short", start=quiet["start"], end=quiet["end"])
        if quiet["start"]
        else "",
    )


def build_ways(rows: Sequence[Row], contact_id: UUID) -> tuple[Way, ...]:
    """The ways to reach one person in their order; none where there is no other one."""
    if len(rows) < 2:
        return ()
    above = ["", *(str(row["id"]) for row in rows)]
    return tuple(
        Way(
            id=row["id"],
            name=row["name"],
            channel=words(f"channel.{row['channel']}"),
            icon=ICONS[str(row["channel"])],
            note=words("contact.off")
            if row["disabled_at"]
            else ""
            if row["verified_at"]
            else words("contact.unproven"),
            above=above[place],
            is_this=row["id"] == contact_id,
        )
        for place, row in enumerate(rows)
    )


def moved_up(ids: Sequence[UUID], one: UUID, above: UUID) -> list[UUID]:
    """The same in an order in which `one` stands right before `above`. Once it is before it,
    nothing changes: a second tap on the same button does no more."""
    found = list(ids)
    if one in found and above in found and found.index(above) < found.index(one):
        found.remove(one)
        found.insert(found.index(above), one)
    return found


def verdict_of(own: Sequence[Row]) -> tuple[Status, str, str]:
    """How well the reader himself can be reached."""
    usable = [row for row in own if not row["disabled_at"]]
    verified = [row for row in usable if row["verified_at"]]
    # By Apprise nobody ever knows whether something has arrived.
    proven = [row for row in verified if row["channel"] != Channel.APPRISE]
    if len(proven) > 1:
        good = words("contacts.good", n=len(proven))
        return Status("ok", good), good, words("contacts.good_body")
    key = "thin" if proven else "aside" if verified else "unproven" if usable else "nobody"
    headline = words(f"contacts.{key}")
    return Status("warn" if verified else "crit", headline), headline, words(f"contacts.{key}_body")


def weekday_words(weekdays: Sequence[int]) -> str:
    """Every day; Friday and Saturday."""
    if len(set(weekdays)) == len(_DAYS):
        return words("contact.quiet_every")
    return say.sentence(" and ".join(_DAYS[n - 1] for n in sorted(set(weekdays))))


def quiet_words(quiet: Row) -> str:
    """When a contact is not to be disturbed, as a sentence; empty for never."""
    if not quiet["start"]:
        return ""
    is_night = quiet["end"] <= quiet["start"]
    return words(
        "contact.quiet_is_night" if is_night else "contact.quiet_is",
        days=weekday_words(quiet["weekdays"]),
        start=quiet["start"],
        end=quiet["end"],
        town=town(quiet["time_zone"]),
    )


def next_words(quiet: Row, now: datetime, zone: str) -> str:
    """The next time that they come."""
    for span in quiet["next_spans"]:
        starts, ends = (
            datetime.fromisoformat(one) if isinstance(one, str) else one
            for one in (span["starts_at"], span["ends_at"])
        )
        return words(
            "contact.quiet_next",
            start=say.when(starts, now, zone),
            end=say.when(ends, now, zone),
        )
    return ""


def quiet_form(quiet: Row, zone: str) -> QuietForm:
    """The form as a contact's quiet hours stand."""
    if not quiet["start"]:
        return QuietForm(time_zone=zone)
    return QuietForm(quiet["start"], quiet["end"], quiet["time_zone"], tuple(quiet["weekdays"]))


def read_quiet(sent: Any) -> QuietForm:
    """The quiet hours as typed, with the words beside each fault."""
    start, end = (str(sent.get(name) or "").strip()[:5] for name in ("start", "end"))
    zone = str(sent.get("time_zone") or "").strip()[:100]
    days = tuple(
        sorted({int(one) for one in sent.getall("weekdays", []) if str(one) in [*"1234567"]})
    )
    errors: dict[str, str] = {}
    for name, value in (("start", start), ("end", end)):
        if not CLOCK.fullmatch(value):
            errors[name] = words("contact.quiet_clock")
    if not errors and start == end:
        errors["end"] = words("contact.quiet_same")
    if not days:
        errors["weekdays"] = words("contact.quiet_no_days")
    if not is_time_zone(zone):
        errors["time_zone"] = words("contact.quiet_no_zone")
    return QuietForm(start, end, zone, days, errors)


def build_proofs(rows: Sequence[Row], *, is_engineer: bool) -> tuple[Proof, ...]:
    """The codes and tests that were sent, newest first."""
    return tuple(
        Proof(
            words(f"contact.sent_{row['kind']}"),
            row["created_at"],
            state_of(str(row["state"])),
            reason_words(row, is_engineer=is_engineer),
        )
        for row in rows
    )


def code_until(contact: Row, proofs: Sequence[Row], now: datetime) -> datetime | None:
    """Until when the last code is good; None where none waits to come back."""
    sent = next((row["created_at"] for row in proofs if row["kind"] == "verify"), None)
    if sent is None or sent + CODE_GOOD <= now:
        return None
    verified_at = contact["verified_at"]
    return None if verified_at and verified_at > sent else sent + CODE_GOOD


def read_contact(sent: Any, people: People) -> ContactForm:
    """A new contact as typed, with the words beside each fault that needs no channel to know."""
    typed = {
        name: str(sent.get(name) or "").strip()[:limit]
        for name, limit in (
            ("name", 200),
            ("address", 320),
            ("url", 2000),
            ("bot_token", 300),
            ("channel_id", 40),
            ("signing_secret", 200),
            ("routing_key", 100),
            ("webhook_secret", 400),
            ("whose", 36),
        )
    }
    channel = str(sent.get("channel") or "")
    known = {one.value for one in SENDERS if one not in ELSEWHERE}
    errors: dict[str, str] = {}
    if not typed["name"] or "\x00" in typed["name"]:
        errors["name"] = words("contact.form.name_empty")
    if typed["whose"] and typed["whose"] not in {str(one) for one in people.names}:
        errors["whose"] = words("contact.form.person_gone")
    return ContactForm(
        **typed, channel=channel if channel in known else Channel.EMAIL.value, errors=errors
    )


def given_of(form: ContactForm) -> dict[str, str]:
    """What its channel takes beside an address; what stands in a field that the form shows for
    another channel is not meant."""
    asked = _ASKED.get(Channel(form.channel), ())
    given = {name: value for name in asked if (value := getattr(form, name))}
    if "bot_token" in given:
        # a bot posts by the Web API, wherever a webhook of that workspace is
        given.pop("url", None)
    return given


def refused(form: ContactForm, exc: NotValid) -> ContactForm:
    """The form with what its channel says beside the field."""
    errors = dict(form.errors)
    for one in exc.errors:
        if one.field == "address" and form.channel == Channel.EMAIL:
            errors["address"] = words("contact.form.address_wrong")
        elif one.field == "address":
            errors["address"] = words("contact.form.number_wrong", reason=one.reason)
        elif one.field == "url":
            errors["url"] = words("contact.form.url_wrong", reason=one.reason)
        else:
            errors[one.field] = words("contact.form.field_wrong", reason=one.reason)
    return replace(form, errors=errors or {"name": exc.detail})
