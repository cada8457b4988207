"""This device in words. Pure."""

import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from wedsync_apm.web import say
from wedsync_apm.web.build import Row
from wedsync_apm.web.build.contacts import off_words
from wedsync_apm.web.build.inbox import reason_words, state_of
from wedsync_apm.web.views.inbox import Hop
from wedsync_apm.web.views.phone import PhoneTest, PhoneView, Platform
from wedsync_apm.web.views.shell import Status
from wedsync_apm.web.words import say as words

LATE: Final = timedelta(seconds=30)
"""A test that has not been shown after this is worth a word."""
_SYSTEMS: Final = (
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Android", "Android"),
    ("Windows", "Windows"),
    ("Macintosh", "Mac"),
    ("Linux", "Linux"),
)
_BROWSERS: Final = (
    ("Edg", "Edge"),
    ("OPR/", "Opera"),
    ("SamsungBrowser", "Samsung Internet"),
    ("Firefox/", "Firefox"),
    ("FxiOS", "Firefox"),
    ("CriOS", "Chrome"),
    ("Chrome/", "Chrome"),
    ("Safari/", "Safari"),
)


def platform_of(user_agent: str) -> Platform:
    """Which of the ways to install is shown first."""
    if re.search(r"iPhone|iPad|iPod", user_agent):
        return "ios"
    return "android" if "Android" in user_agent else "other"


def device_name(person: str, user_agent: str) -> str:
    """What the contact is called: Rosa, Chrome on Android."""
    system = next((name for mark, name in _SYSTEMS if mark in user_agent), "")
    browser = next((name for mark, name in _BROWSERS if mark in user_agent), "")
    if system and browser:
        named = words("phone.name", name=person, browser=browser, system=system)
    else:
        named = words("phone.name_plain", name=person)
    # It is kept as it is, and escaped wherever it is shown.
    return named.unescape()[:200]


def build_phone(
    contact: Row | None,
    sent: Sequence[Row],
    *,
    now: datetime,
    zone: str,
    user_agent: str,
    may_turn_on: bool,
    is_engineer: bool,
    problem: str = "",
) -> PhoneView:
    """The page, as far as the server knows; whether this browser agrees is for its script."""
    is_on = contact is not None and contact["disabled_at"] is None
    if contact is None:
        key, status = "viewer" if not may_turn_on else "none", Status("none", words("phone.off"))
    elif not is_on:
        key, status = "stopped", Status("warn", words("phone.off"))
    elif contact["verified_at"] is None:
        key, status = "waiting", Status("none", words("phone.waiting_word"), "clock")
    else:
        key, status = "on", Status("ok", words("phone.on_word"))
    body: str = words(f"phone.{key}_body")
    if contact is not None and not is_on:
        body = f"{off_words(contact, zone)} {body}"
    return PhoneView(
        platform=platform_of(user_agent),
        status=status,
        headline=words(f"phone.{key}"),
        body=body,
        contact=contact["id"] if contact else None,
        is_on=is_on,
        may_turn_on=may_turn_on,
        tests=tuple(build_test(row, now, zone, is_engineer=is_engineer) for row in sent),
        problem=problem,
    )


def build_test(row: Row, now: datetime, zone: str, *, is_engineer: bool) -> PhoneTest:
    """One message to this device, station by station."""
    stations = (
        ("phone.hop_queued", row["created_at"]),
        ("phone.hop_sent", row["sent_at"]),
        ("phone.hop_shown", row["delivered_at"]),
    )
    shown, verdict = row["delivered_at"], ""
    if shown:
        verdict = words("phone.shown_after", length=say.length(shown - row["created_at"]))
    elif row["sent_at"] and now - row["sent_at"] > LATE:
        verdict = words("phone.not_shown")
    return PhoneTest(
        what=words(f"phone.sent_{row['kind']}"),
        at=row["created_at"],
        status=state_of(str(row["state"])),
        hops=tuple(Hop(words(key), say.clock_seconds(at, zone)) for key, at in stations if at),
        verdict=verdict,
        reason="" if shown else reason_words(row, is_engineer=is_engineer),
    )
