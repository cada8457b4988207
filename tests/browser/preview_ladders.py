"""Ladders, their form, a rota put aside, and the coming weeks: real builders on made-up rows."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from tests.browser.preview_reach import FERN, HERE, LONG, MO, MONDAY, NOW, OWN, PEOPLE, TEAM, Typed
from wedsync_apm.escalation.schedules.model import Source
from wedsync_apm.types import EscalationLevel, Severity
from wedsync_apm.web.build.coming import build_week, weeks_from
from wedsync_apm.web.build.contacts import day_choices
from wedsync_apm.web.build.ladder_form import NEW_STEP, UNITS, form_of, read_ladder
from wedsync_apm.web.build.ladders import (
    SEVERITIES,
    build_calls,
    build_card,
    build_faults,
    channel_word,
    known_of,
)
from wedsync_apm.web.build.on_call import Feast, Reader, Turn
from wedsync_apm.web.build.temporary import read_temporary, with_spare
from wedsync_apm.web.build.weeks import Week
from wedsync_apm.web.views.edit import NEW, Clash, Difference, Stood
from wedsync_apm.web.views.ladder import (
    CalendarRota,
    CalendarView,
    CallsView,
    LadderFormView,
    LaddersView,
    TemporaryForm,
    TemporaryView,
)
from wedsync_apm.web.words import say

WEEK, LADDER = UUID(int=40), UUID(int=50)
KNOWN = known_of(PEOPLE, [*OWN, *TEAM], [{"id": WEEK, "name": "Week and weekends"}])


def step(**changes: Any) -> dict[str, Any]:
    """A step as the store gives it."""
    values: dict[str, Any] = {
        "level": "none", "delay_seconds": 0.0, "wedding_delay_seconds": None,
        "contact_method_ids": [], "schedule_ids": [], "user_ids": [], "weddings": "any",
        "severity_min": None, "hours": None,
    }  # fmt: skip
    return values | changes


SATURDAYS: dict[str, Any] = {
    "id": LADDER, "name": "Saturdays and the week", "is_default": True, "repeat_count": 2,
    "steps": [
        step(level="team_lead", schedule_ids=[str(WEEK)]),
        step(level="manager", delay_seconds=900.0, user_ids=[str(MO), str(LONG)]),
        step(
            level="executive", delay_seconds=1800.0, wedding_delay_seconds=120.0,
            contact_method_ids=[str(TEAM[1]["id"]), str(OWN[1]["id"])], severity_min="critical",
            hours={"from_time": "08:00", "until_time": "22:00", "weekdays": [1, 2, 3, 4, 5],
                   "zone": "person"},
        ),
    ],
}  # fmt: skip


def call(n: int | None, minutes: int, name: str | None = None, **changes: Any) -> dict[str, Any]:
    """Whom a step calls, as the store gives it."""
    values: dict[str, Any] = {
        "policy_id": LADDER, "step": n, "level": None if n is None else "none",
        "due": NOW + timedelta(minutes=minutes), "is_wedding": False, "passed": None,
        "contact_method_id": None, "channel": "email" if name else None, "name": name,
        "via": "contact", "is_verified": True,
    }  # fmt: skip
    return values | changes


CALLS = [
    call(0, 0, "Fern Mills", level="team_lead", via="rota"),
    call(0, 0, "Fern’s mobile", level="team_lead", via="rota", channel="sms"),
    call(1, 15, passed="it counts only while a wedding is under way", level="manager"),
    call(2, 15, "Maximilian-Alexander Featherstonehaugh", level="executive", is_verified=False),
    call(2, 15, "Workshop Slack", level="executive", channel="slack"),
    call(3, 20, "Mo Adeyemi", via="everybody"),
    call(None, 25),
]


def ladders(*, is_empty: bool = False, may: bool = True) -> LaddersView:
    """Who is called now, what is open at a wedding, and the ladders."""
    rows = [call(0, 0, "Fern Mills", via="owner", is_verified=False), call(None, 5)]
    faults = [
        {
            "wedding_id": UUID(int=7), "wedding_zone": HERE, "starts_at": NOW + timedelta(days=7),
            "policy_name": "Saturdays and the week", "step": number, "is_empty": number == 2,
            "unreachable": 2 if number == 2 else 0,
            "gaps": [] if number == 2 else [
                {"starts_at": (NOW + timedelta(days=7)).isoformat(),
                 "ends_at": (NOW + timedelta(days=7, hours=3)).isoformat()},
            ],
        }
        for number in (1, 2)
    ]  # fmt: skip
    return LaddersView(
        calls=build_calls(rows if is_empty else CALLS, NOW, HERE, is_now=True),
        moments=(("", "now"), ("2026-06-27T09:00:00+00:00", "Zoë & Ciarán, Sat 27 June 10:00")),
        moment="",
        severities=tuple((one.value, say(f"ladders.severity.{one}")) for one in SEVERITIES),
        severity="critical",
        faults=() if is_empty else build_faults(faults, {UUID(int=7): "Zoë & Ciarán"}, NOW),
        cards=() if is_empty else (build_card(SATURDAYS, KNOWN),),
        may_manage=may,
        refusal="" if may else say("ladders.ask", name="Fern Mills"),
    )


def ladder_form(state: str = "edit") -> LadderFormView:
    """A ladder as it stands; with faults; after somebody else has changed it."""
    form = form_of(SATURDAYS)
    stood: Stood = NEW
    if state == "wrong":
        form = read_ladder(
            Typed(
                count="2", name="", repeats="99", s1_delay="soon", s1_people=[str(FERN)],
                s2_delay="5", s2_hours="person", s2_from_time="09:00",
            ),
            KNOWN,
        )  # fmt: skip
    elif state == "clash":
        differences = (Difference("Step 1", "After 5 min: Mo Adeyemi", "At once: Fern Mills"),)
        stood = Stood("mark", Clash(f"/ladders/{LADDER}/edit", differences))
    return LadderFormView(
        id=LADDER if state != "wrong" else None,
        name="Saturdays and the week",
        form=replace(form, steps=(*form.steps, NEW_STEP)),
        people=tuple((str(one), name) for one, name in PEOPLE.names.items()),
        rotas=((str(WEEK), "Week and weekends"),),
        systems=tuple(
            (str(row["id"]), f"{row['name']}, {channel_word(row['channel'])}")
            for row in (OWN[1], TEAM[2])
        ),
        contacts=tuple(
            (str(row["id"]), f"{row['name']}, {channel_word(row['channel'])}")
            for row in (OWN[0], *TEAM[:2])
        ),
        levels=tuple((one.value, say(f"ladder.level.{one}")) for one in EscalationLevel),
        units=tuple((one, say(f"ladder.unit.{one}")) for one in UNITS),
        severities=tuple((one, say(f"ladder.severity.{one}")) for one in ("", *Severity)),
        days=tuple((str(number), name) for number, name in day_choices()),
        spare=1,
        stood=stood,
        delete_note=say("ladder.delete_default"),
    )


def calls(*, is_over: bool = False) -> CallsView:
    """Who is called for one incident."""
    found = None if is_over else build_calls(CALLS, NOW, HERE, is_now=False)
    return CallsView("Your order form is slow", "/incidents/1", found)


def temporary(*, is_wrong: bool = False) -> TemporaryView:
    """A rota that is put aside."""
    form = TemporaryForm("2026-06-27T08:00", "2026-06-28T02:00", "The festival")
    if is_wrong:
        sent = Typed(starts_at="2026-06-27T08:00", ends_at="2026-06-26T08:00", user_id=[])
        form, _ = read_temporary(sent, PEOPLE, HERE, NOW)
    people = tuple((str(one), name) for one, name in PEOPLE.names.items())
    return TemporaryView(WEEK, "Week and weekends", with_spare(form), people, HERE)


def calendar(*, is_empty: bool = False) -> CalendarView:
    """Five weeks with two weddings, and a gap in one of them."""
    if is_empty:
        return CalendarView(())
    first = Week(MONDAY, HERE)
    reader = Reader(NOW, FERN, PEOPLE, may_cover=True)

    def turn(user: UUID, name: str, begins: datetime, ends: datetime) -> Turn:
        return Turn(user, name, begins, ends, Source.ROTATION, 2)

    turns = []
    for n in range(5):
        begins = first.begins + n * timedelta(days=7)
        user, name = ((FERN, "Fern Mills"), (MO, "Mo Adeyemi"))[n % 2]
        length = timedelta(days=5, hours=20) if n == 1 else timedelta(days=7)
        turns.append(turn(user, name, begins, begins + length))
    feasts = [
        Feast("Amara & Ruth", NOW - timedelta(hours=2), NOW + timedelta(hours=10)),
        Feast("Zoë & Ciarán", NOW + timedelta(days=7), NOW + timedelta(days=7, hours=12)),
    ]
    weeks = tuple(build_week(turns, feasts, week, reader) for week in weeks_from(first))
    return CalendarView((CalendarRota("Week and weekends", weeks),))


VIEWS: dict[str, tuple[str, str, Callable[[], object]]] = {
    "ladders": ("ladders.html", "ladders", ladders),
    "ladders-empty": ("ladders.html", "ladders", lambda: ladders(is_empty=True)),
    "ladders-member": ("ladders.html", "ladders", lambda: ladders(may=False)),
    "ladder-form": ("ladder_form.html", "ladders", ladder_form),
    "ladder-form-wrong": ("ladder_form.html", "ladders", lambda: ladder_form("wrong")),
    "ladder-form-clash": ("ladder_form.html", "ladders", lambda: ladder_form("clash")),
    "calls": ("calls.html", "incidents", calls),
    "calls-over": ("calls.html", "incidents", lambda: calls(is_over=True)),
    "temporary": ("temporary.html", "oncall", temporary),
    "temporary-wrong": ("temporary.html", "oncall", lambda: temporary(is_wrong=True)),
    "coming": ("calendar.html", "oncall", calendar),
    "coming-empty": ("calendar.html", "oncall", lambda: calendar(is_empty=True)),
}
"""Template, part of the navigation, and view."""
