"""How people are reached and who is on call, in their states: real builders on made-up rows."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from wedsync_apm.escalation.schedules.model import Source
from wedsync_apm.web.build.contacts import (
    build_proofs,
    build_row,
    build_ways,
    channel_choices,
    day_choices,
    quiet_form,
    quiet_words,
    read_contact,
    read_quiet,
    verdict_of,
)
from wedsync_apm.web.build.on_call import Feast, Reader, Turn, build_card, build_swaps
from wedsync_apm.web.build.people import build_people
from wedsync_apm.web.build.rota import (
    build_preview,
    new_form,
    read_rota,
    values_of,
    with_spare,
)
from wedsync_apm.web.build.weeks import Week, week_href, week_words
from wedsync_apm.web.views.contacts import ContactFormView, ContactsView, ContactView
from wedsync_apm.web.views.on_call import CoverForm, CoverView, OnCallView, RotaForm, RotaView
from wedsync_apm.web.words import say

HERE = "Europe/London"
LONDON = ZoneInfo(HERE)
NOW = datetime(2026, 6, 20, 12, 13, 4, tzinfo=UTC)
MONDAY = date(2026, 6, 15)
FERN, MO, LONG = (UUID(int=n) for n in (1, 2, 3))
PEOPLE = build_people(
    [
        {"user_id": FERN, "name": "Fern Mills", "role": "OWNER"},
        {"user_id": MO, "name": "Mo Adeyemi", "role": "MEMBER"},
        {"user_id": LONG, "name": "Maximilian-Alexander Featherstonehaugh", "role": "VIEWER"},
    ],
    [],
    FERN,
    "Fern Mills",
)


class Typed:
    """A form as it was sent."""

    def __init__(self, **fields: Any) -> None:
        self._fields = fields

    def get(self, name: str) -> Any:
        """The first of a name."""
        found = self._fields.get(name)
        return found[0] if isinstance(found, list) else found

    def getall(self, name: str, default: list[str]) -> list[str]:
        """All of a name."""
        found: list[str] = self._fields.get(name, default)
        return found


def contact(number: int, **changes: Any) -> dict[str, Any]:
    """A contact as the store gives it."""
    values: dict[str, Any] = {
        "id": UUID(int=100 + number), "user_id": FERN, "name": "Fern’s e-mail",
        "channel": "email", "address": "fern@fernandfield.example", "disabled_at": None,
        "verified_at": NOW - timedelta(days=12),
    }  # fmt: skip
    return values | changes


OWN = (
    contact(1),
    contact(2, name="Workshop Slack", channel="slack", address="hooks.slack.com", verified_at=None),
)
TEAM = (
    contact(3, user_id=MO, name="Mo’s e-mail", address="mo@fernandfield.example"),
    contact(4, user_id=LONG, name="The very long name of a mailbox that goes on and on",
            address="maximilian-alexander.featherstonehaugh@a-long-host.example.co.uk",
            verified_at=None),
    contact(5, user_id=None, name="Till system", channel="webhook", address="hooks.till.example",
            disabled_at=NOW),
)  # fmt: skip
NEVER: dict[str, Any] = {
    "start": None,
    "end": None,
    "time_zone": None,
    "weekdays": None,
    "next_spans": [],
}
NIGHTS = {
    "start": "22:00", "end": "07:00", "time_zone": HERE, "weekdays": [1, 2, 3, 4, 5, 6, 7],
    "next_spans": [],
}  # fmt: skip


def contacts(*, is_empty: bool = False, may_add: bool = True) -> ContactsView:
    """One's own, and the team's."""
    own = () if is_empty else OWN
    verdict, headline, body = verdict_of(own)
    rows = tuple(build_row(row, NIGHTS, PEOPLE, FERN, HERE) for row in own)
    team = tuple(build_row(row, NEVER, PEOPLE, FERN, HERE) for row in TEAM)
    return ContactsView(
        verdict, headline, body, rows, team if may_add else None, may_add, True,
        "" if may_add else say("contacts.ask", name="Fern Mills"),
    )  # fmt: skip


def one_contact(state: str = "code") -> ContactView:
    """While a code is out; with a fault; proven; a webhook just made; another's."""
    row = OWN[0] if state == "proven" else contact(1, verified_at=None)
    proofs = [
        {"kind": "verify", "created_at": NOW - timedelta(minutes=2), "state": "sent",
         "state_reason": ""},
        {"kind": "test", "created_at": NOW - timedelta(minutes=9), "state": "failed",
         "state_reason": "the mail server says: mailbox unavailable"},
    ]  # fmt: skip
    is_wrong, is_mine = state == "wrong", state != "others"
    form = read_quiet(Typed(start="22:00", end="22:00", time_zone="Mars", weekdays=[]))
    return ContactView(
        row=build_row(row if is_mine else TEAM[1], NIGHTS, PEOPLE, FERN, HERE),
        is_on=True,
        is_proven=state == "proven",
        code_until=NOW + timedelta(minutes=13) if state == "code" else None,
        proofs=build_proofs(proofs, is_engineer=False),
        quiet=quiet_words(NIGHTS),
        quiet_next=say("contact.quiet_next", start="22:00", end="Sun 21 June 07:00"),
        has_quiet=True,
        form=form if is_wrong else quiet_form(NIGHTS, HERE),
        days=day_choices(),
        may_manage=is_mine,
        may_administer=is_mine,
        refusal="" if is_mine else say("contact.read_only", name="Mo Adeyemi"),
        code_error=say("contact.code_wrong") if is_wrong else "",
        key="whsec_" + "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw" * 2 if state == "key" else "",
        ways=build_ways((*OWN, TEAM[1], TEAM[2]), row["id"]),
        hears="slack" if state in ("proven", "key") else "",
        callback="https://apm.example.com/api/v1/webhooks/" + "6f1f3b0e8f3a4b5e" * 4
        if state == "key"
        else "",
    )


def contact_form(*, is_wrong: bool = False) -> ContactFormView:
    """A new contact."""
    form = read_contact(Typed(name="", whose="nobody") if is_wrong else Typed(name="x"), PEOPLE)
    if is_wrong:
        form = replace(form, errors={**form.errors, "address": say("contact.form.address_wrong")})
    people = tuple((str(one), name) for one, name in PEOPLE.names.items())
    return ContactFormView(form, channel_choices(), people)


def at(days: int, hour: int = 0) -> datetime:
    """An hour of the week by the clock in London."""
    return datetime.combine(MONDAY + timedelta(days=days), datetime.min.time(), LONDON).replace(
        hour=hour
    )


def turn(who: UUID, begins: datetime, ends: datetime, verified: int = 2, **more: Any) -> Turn:
    """Somebody on call."""
    return Turn(who, PEOPLE.names[who], begins, ends, more.get("source", Source.ROTATION), verified)


def on_call(*, is_empty: bool = False, is_open: bool = False, may: bool = True) -> OnCallView:
    """A week with a swap, a gap in a wedding, and another rota."""
    week, reader = Week(MONDAY, HERE), Reader(NOW, FERN, PEOPLE, may)
    turns = [
        turn(MO, at(-5, 9), at(2, 9)),
        turn(FERN, at(2, 9), at(4, 18)),
        turn(LONG, at(4, 18), at(5, 23), 1, source=Source.OVERRIDE),
        turn(FERN, at(6, 8), at(9, 9), 0),
    ]
    if is_open:
        turns = [turns[0], turns[3]]
    swap = {
        "id": UUID(int=60), "user_id": LONG, "starts_at": at(4, 18), "ends_at": at(5, 23),
        "reason": "Mo is at a wedding of his own",
    }  # fmt: skip
    feasts = [
        Feast("Amara & Ruth", at(5, 11), at(6, 1)),
        Feast("Zsófia Wolfeschlegelsteinhausen & Maximilian-Alexander", at(3, 12), at(3, 22)),
    ]
    ladder = {"id": UUID(int=50), "name": "Default ladder", "is_default": True,
              "steps": [{"schedule_ids": []}]}  # fmt: skip
    cards = tuple(
        build_card(
            {"id": UUID(int=40 + n), "name": name, "time_zone": zone},
            ahead=[one for one in turns if one.ends_at > NOW],
            turns=turns,
            feasts=feasts,
            week=week,
            reader=reader,
            swaps=build_swaps([swap], [], week, reader),
            policies=[ladder],
        )
        for n, (name, zone) in enumerate(
            [("Week and weekends", HERE), ("Second line", "Europe/Rome")]
        )
    )
    return OnCallView(
        () if is_empty else cards, week_words(week), week_href(week, -1), week_href(week, 1), "",
        may, may, "" if may else say("oncall.viewer"),
    )  # fmt: skip


def cover(*, is_wrong: bool = False) -> CoverView:
    """Who takes a gap."""
    said = say("cover.overlap", name="Mo Adeyemi", start="Sat 23:00", end="Sun 08:00")
    form = CoverForm("2026-06-20T23:00", "2026-06-21T08:00", "", {"ends_at": said})
    others = tuple((str(one), name) for one, name in PEOPLE.names.items() if one != FERN)
    return CoverView(
        UUID(int=40), "Week and weekends", form if is_wrong else replace(form, errors={}),
        say("cover.now_nobody"), FERN, others, HERE, "/on-call",
    )  # fmt: skip


def rota(state: str = "new") -> RotaView:
    """A rota's form: new, looked at, with faults, and one beyond the form."""
    form: RotaForm | None = new_form(NOW, HERE, FERN)
    assert form is not None
    preview = None
    if state == "preview":
        form = replace(
            form, name="Week and weekends", people=(str(FERN), str(MO)), weekend="long",
            weekend_people=(str(LONG),), starts_on="2026-06-22",
        )  # fmt: skip
        preview = build_preview(values_of(form), PEOPLE, FERN, NOW)
    elif state == "wrong":
        form = read_rota(Typed(weekend="long", weekend_from=""), PEOPLE)
    elif state == "beyond":
        form = None
    return RotaView(
        UUID(int=40) if state != "new" else None, "Week and weekends", form,
        tuple((str(one), name) for one, name in PEOPLE.names.items()),
        with_spare(form.people) if form else (), with_spare(form.weekend_people) if form else (),
        preview,
    )  # fmt: skip


VIEWS: dict[str, tuple[str, str, Callable[[], object]]] = {
    "contacts": ("contacts.html", "contacts", contacts),
    "contacts-nobody": (
        "contacts.html", "contacts", lambda: contacts(is_empty=True, may_add=False)
    ),
    "contact": ("contact.html", "contacts", one_contact),
    "contact-wrong": ("contact.html", "contacts", lambda: one_contact("wrong")),
    "contact-proven": ("contact.html", "contacts", lambda: one_contact("proven")),
    "contact-key": ("contact.html", "contacts", lambda: one_contact("key")),
    "contact-others": ("contact.html", "contacts", lambda: one_contact("others")),
    "contact-form": ("contact_form.html", "contacts", contact_form),
    "contact-form-wrong": ("contact_form.html", "contacts", lambda: contact_form(is_wrong=True)),
    "on-call": ("on_call.html", "oncall", on_call),
    "on-call-open": ("on_call.html", "oncall", lambda: on_call(is_open=True)),
    "on-call-viewer": ("on_call.html", "oncall", lambda: on_call(may=False)),
    "on-call-empty": ("on_call.html", "oncall", lambda: on_call(is_empty=True)),
    "cover": ("cover.html", "oncall", cover),
    "cover-wrong": ("cover.html", "oncall", lambda: cover(is_wrong=True)),
    "rota": ("rota.html", "oncall", rota),
    "rota-preview": ("rota.html", "oncall", lambda: rota("preview")),
    "rota-wrong": ("rota.html", "oncall", lambda: rota("wrong")),
    "rota-beyond": ("rota.html", "oncall", lambda: rota("beyond")),
}  # fmt: skip
"""Template, part of the navigation, and view."""
