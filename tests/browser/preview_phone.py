"""This device and the emergency card, in their states: real builders on made-up rows."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

from wedsync_apm.web.build.calendar import Shown
from wedsync_apm.web.build.emergency import build_emergency
from wedsync_apm.web.build.phone import build_phone
from wedsync_apm.web.views.emergency import EmergencyCard, Workaround
from wedsync_apm.web.views.phone import PhoneView
from wedsync_apm.web.words import say

HERE = "Europe/London"
NOW = datetime(2026, 6, 20, 12, 13, 4, tzinfo=UTC)
ID = UUID(int=7)
IPHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) Version/18.5 Safari/604.1"
ANDROID = "Mozilla/5.0 (Linux; Android 15; Pixel 9) Chrome/140.0.0.0 Mobile Safari/537.36"


def phone(state: str) -> PhoneView:
    """The page of this device."""
    contact: dict[str, Any] = {
        "id": ID,
        "disabled_at": NOW - timedelta(days=2) if state == "stopped" else None,
        "disabled_reason": "this browser has unsubscribed",
        "verified_at": None if state == "waiting" else NOW - timedelta(days=3),
    }
    times = {"sent_at": NOW - timedelta(seconds=58), "delivered_at": NOW - timedelta(seconds=56)}
    test = {
        "kind": "test", "created_at": NOW - timedelta(minutes=1), "state": "delivered",
        "state_reason": "it has arrived", **times,
    }  # fmt: skip
    lost = {**test, "state": "sent", "state_reason": "", "delivered_at": None}
    return build_phone(
        None if state in ("off", "viewer") else contact,
        () if state in ("off", "viewer") else (test, lost),
        now=NOW,
        zone=HERE,
        user_agent=IPHONE if state == "off" else ANDROID,
        may_turn_on=state != "viewer",
        is_engineer=False,
        problem=say("contact.test_enough") if state == "on" else "",
    )


def card(*, is_viewer: bool = False) -> EmergencyCard:
    """The card of a long day abroad."""
    begins = datetime(2026, 6, 20, 9, 30, tzinfo=UTC)
    spans = (("set_up", 0, 3), ("ceremony", 3, 4), ("reception", 4, 13), ("tear_down", 13, 15))
    hour = timedelta(hours=1)
    row: dict[str, Any] = {
        "id": ID, "wedding_date": date(2026, 6, 20), "status": "booked", "is_host_row": False,
        "venue_name": "Tenuta Oliveto di San Casciano, Val d’Orcia",
        "couple_names": None if is_viewer else "Maximiliane-Alexandra von Hohenstein & Bartholomew",
        "couple_initials": "M & B",
        "contacts": None if is_viewer else [
            {"name": "Dan Oakley", "role": "venue", "phone": "+39 0577 900123"},
            {"name": "Priya", "role": "planner", "phone": ""},
        ],
    }  # fmt: skip
    made = build_emergency(
        shown=Shown(
            row,
            "Europe/Rome",
            tuple((name, begins + a * hour, begins + b * hour) for name, a, b in spans),
            is_assumed=False,
        ),
        help_line="+44 20 7946 0000",
        own=({"disabled_at": None, "channel": "sms", "name": "Fern", "address": "+447700900123"},),
        rules=(),
        live=(),
        now=NOW,
        here=HERE,
        is_viewer=is_viewer,
        address=f"https://apm.example/weddings/{ID}",
    )
    steps = ("Take orders by phone.", "Note what they want, and charge them later.")
    return replace(
        made,
        problems=(
            say("card.problem", title="Your order form is slow", since="13:10", number=4127),
        ),
        workarounds=(
            Workaround("Your order form is slow", steps),
            Workaround("Card payments do not work", steps),
        ),
    )


VIEWS: dict[str, tuple[str, str, Callable[[], object]]] = {
    **{
        f"phone-{state}": ("phone.html", "device", lambda state=state: phone(state))  # type: ignore[misc]
        for state in ("off", "on", "waiting", "stopped", "viewer")
    },
    "card": ("card.html", "weddings", card),
    "card-viewer": ("card.html", "weddings", lambda: card(is_viewer=True)),
}
"""Template, part of the navigation, and view."""
