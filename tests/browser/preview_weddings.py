"""The calendar, a wedding and its forms, in their states: real builders on made-up rows."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from wedsync_apm.web.build.calendar import Guard, Shown, build_month, show
from wedsync_apm.web.build.guard import Question, build_freeze, build_guard_page
from wedsync_apm.web.build.imports import build_preview
from wedsync_apm.web.build.readiness import build_readiness
from wedsync_apm.web.build.wedding_form import empty_form, form_of
from wedsync_apm.web.build.wedding_page import build_wedding, with_fault
from wedsync_apm.web.views.calendar import MonthView
from wedsync_apm.web.views.guard import FreezeView, GuardView, OrderForm
from wedsync_apm.web.views.imports import ImportView, Item, Run
from wedsync_apm.web.views.shell import Status
from wedsync_apm.web.views.wedding_page import (
    ReadinessCard,
    RevealView,
    Tightening,
    WeddingForm,
    WeddingView,
)
from wedsync_apm.web.words import say
from wedsync_apm.weddings.guard.model import Decision, Near, Reason, Verdict
from wedsync_apm.weddings.imports.model import Action, Entry, Fault, FileKind, Reading
from wedsync_apm.weddings.imports.store import Outcome, Report
from wedsync_apm.weddings.store import draft_of

HERE = "Europe/London"
NOW = datetime(2026, 6, 20, 12, 13, 4, tzinfo=UTC)
SATURDAY = date(2026, 6, 20)
LONG = "Zsófia Wolfeschlegelsteinhausen & Maximilian-Alexander Featherstonehaugh"


def row(number: int, couple: str, on: date, **changes: Any) -> dict[str, Any]:
    """A wedding as the store gives it."""
    values: dict[str, Any] = {
        "id": UUID(int=number), "organization_id": UUID(int=1), "client_id": None,
        "couple_initials": "A & R", "couple_names": couple, "venue_name": "Oakhill Barn",
        "wedding_date": on, "time_zone": None, "status": "booked", "source": "manual",
        "moved_from": None, "visible_to": "MEMBER", "is_shared": False, "is_host_row": False,
        "contacts": [
            {"name": "Dan Hill", "role": "Venue manager", "phone": "+44 7700 900123"},
            {"name": "Ines Cole", "role": "Planner", "phone": ""},
        ],
        "windows": [],
    }  # fmt: skip
    return values | changes


def shown(wedding: dict[str, Any], ceremony: str = "14:30", zone: str = HERE) -> Shown:
    """With phases around a ceremony; a reception that goes on past midnight."""
    hours, minutes = map(int, ceremony.split(":"))
    on = wedding["wedding_date"]
    begins = datetime(on.year, on.month, on.day, hours, minutes, tzinfo=ZoneInfo(zone))
    steps = (("set_up", -4, 0), ("ceremony", 0, 1), ("reception", 1, 11), ("tear_down", 11, 12))
    phases: list[dict[str, Any]] = [
        {
            "phase": name,
            "time_zone": zone,
            "starts_at": begins + timedelta(hours=first),
            "ends_at": begins + timedelta(hours=last),
        }
        for name, first, last in steps
    ]
    windows = [
        {
            "phase": one["phase"],
            "starts_at": one["starts_at"].isoformat(),
            "ends_at": one["ends_at"].isoformat(),
            "starts_local": one["starts_at"].replace(tzinfo=None).isoformat(),
            "ends_local": one["ends_at"].replace(tzinfo=None).isoformat(),
        }
        for one in phases
    ]
    return show(wedding | {"windows": windows, "time_zone": zone}, phases, HERE)


def guard() -> Guard:
    """Every weekend of the month."""
    spans = []
    for week in range(6):
        friday = datetime(2026, 5, 29, tzinfo=ZoneInfo(HERE)) + timedelta(weeks=week)
        spans += [
            ("freeze", friday + timedelta(hours=18), friday + timedelta(days=3)),
            ("enhanced", friday + timedelta(hours=20), friday + timedelta(days=2)),
            ("maximum", friday + timedelta(days=1), friday + timedelta(days=2)),
        ]
    mode = {
        "mode": "maximum", "source": "calendar", "who": "calendar",
        "why": "it is Saturday 13:13 in Europe/London",
        "until": datetime(2026, 6, 20, 23, tzinfo=UTC),
    }  # fmt: skip
    return Guard(spans, mode, {"season_region": "north", "seasons": {"north": {"6": 1.6}}})


def month(empty: bool = False, opened: bool = True) -> MonthView:
    """June with two weddings on one day, one abroad on a Wednesday, one moved, one cancelled."""
    client = row(
        7, "Jo Lind & Pat Marsh", date(2026, 6, 27), is_host_row=True, source="client",
        couple_initials="J & P", client_id=UUID(int=7),
    )  # fmt: skip
    weddings = [
        shown(row(2, "Amara & Ruth", SATURDAY)),
        shown(row(3, LONG, SATURDAY), "16:00"),
        shown(
            row(4, "Chiara & Tom", date(2026, 6, 17), venue_name="Villa Cora"),
            "14:30",
            "Europe/Rome",
        ),
        shown(row(5, "Eve & Fay", date(2026, 6, 13), status="cancelled")),
        shown(row(6, "Gus & Hal", date(2026, 6, 25), moved_from=date(2026, 6, 11))),
        show(client, [], HERE),
        show(row(8, "Jo Lind & Pat Marsh", date(2026, 6, 27), couple_initials="J & P"), [], HERE),
    ]
    moved = {"id": UUID(int=6), "couple_names": "Gus & Hal", "couple_initials": "G & H",
             "moved_from": date(2026, 6, 11), "wedding_date": date(2026, 6, 25)}  # fmt: skip
    return build_month(
        month=date(2026, 6, 1), opened=SATURDAY if opened else None,
        weddings=[] if empty else weddings, moved=[] if empty else [moved], guard=guard(),
        now=NOW, here=HERE, may_edit=True, are_names_hidden=False,
    )  # fmt: skip


def card(outcomes: str = "fail") -> ReadinessCard:
    """A report with a failure and something unknown, or all passed."""

    def line(key: str, title: str, outcome: str, reason: str) -> dict[str, str]:
        return {"key": key, "title": title, "outcome": outcome, "reason": reason}

    passed = outcomes == "pass"
    lines = [
        line("contacts", "Contacts are verified", "pass" if passed else "fail",
             "1 of 3 contacts were verified more than 30 days ago."),
        line("backups", "A backup was proven by restoring it", "pass" if passed else "unknown",
             "Backups are made, but none was restored yet to see whether it can be."),
        line("checks", "The services that matter are healthy", "pass", "All 4 are healthy."),
    ]  # fmt: skip
    report = {"id": UUID(int=9), "wedding_id": UUID(int=4), "lines": lines, "made_at": NOW}
    return build_readiness(report, NOW, HERE, may_ask=True)


def wedding(**changes: Any) -> WeddingView:
    """A Wednesday's wedding in Rome, shared with two other vendors."""
    values = {"venue_name": "Villa Cora, Viale Machiavelli", "is_shared": True,
              "other_vendors": 2, "is_date_agreed": False}  # fmt: skip
    one = shown(
        row(4, "Chiara & Tom", date(2026, 6, 17), **(values | changes)), "14:30", "Europe/Rome"
    )
    client = row(
        7,
        "Chiara & Tom",
        date(2026, 6, 17),
        is_host_row=True,
        client_id=UUID(int=7),
        venue_name="Villa Cora",
    )
    phases = [
        {"phase": name, "time_zone": "Europe/Rome", "starts_at": begins, "ends_at": ends}
        for name, begins, ends in (
            *one.windows,
            ("day", datetime(2026, 6, 16, 22, tzinfo=UTC), datetime(2026, 6, 17, 22, tzinfo=UTC)),
            (
                "evening_before",
                datetime(2026, 6, 16, 16, tzinfo=UTC),
                datetime(2026, 6, 16, 22, tzinfo=UTC),
            ),
        )
    ]
    return build_wedding(
        shown=one, phases=phases, same_day=[one.row, client],
        tightenings=[Tightening(UUID(int=30), "Order form is slow", "5 s", "3.75 s", "2 s")],
        readiness=card(), now=NOW, here=HERE, is_viewer=False, may_edit=True, refusal="",
    )  # fmt: skip


def viewer() -> WeddingView:
    """What a viewer sees."""
    one = shown(row(4, "", date(2026, 6, 17), couple_names=None, contacts=None))
    return build_wedding(
        shown=one, phases=[], same_day=[one.row], tightenings=[], readiness=None, now=NOW,
        here=HERE, is_viewer=True, may_edit=False, refusal=say("wedding.only", name="Fern Mills"),
    )  # fmt: skip


def form(wrong: bool = False) -> WeddingForm:
    """The form of one that stands; of a new one with faults."""
    if wrong:
        errors = {
            "on": say("wedding_form.bad_date"),
            "ceremony": say("wedding_form.needs_ceremony"),
        }
        return replace(empty_form(HERE), reception="16:00", errors=errors)
    one = shown(row(4, "Chiara & Tom", date(2026, 6, 17)))
    return form_of(one.row, draft_of(one.row), HERE)


def guard_page(wrong: bool = False) -> GuardView:
    """An order that holds and one that is over; with a fault in the new one."""
    base = {"emergency": None, "rollback_plan": None, "created_by_name": "Priya Shah",
            "ended_at": None, "ended_by_name": None, "end_reason": None}  # fmt: skip
    orders = [
        base | {"id": UUID(int=40), "mode": "maximum", "reason": "A provider is down",
                "starts_at": NOW, "ends_at": NOW + timedelta(hours=2)},
        base | {"id": UUID(int=41), "mode": "normal", "reason": "Card payments cannot be mended so",
                "starts_at": NOW - timedelta(days=8), "ends_at": NOW - timedelta(days=7, hours=22),
                "emergency": "payment", "rollback_plan": "Release 41 again",
                "ended_at": NOW - timedelta(days=7, hours=23), "ended_by_name": "Mo Adeyemi",
                "end_reason": "It is mended"},
    ]  # fmt: skip
    mode = dict(guard().mode) | {
        "source": "override", "who": "Priya Shah", "why": "A provider is down",
        "calendar_mode": "enhanced", "calendar_why": "it is Friday 21:00 in Europe/London",
    }  # fmt: skip
    errors = {"rollback_plan": "is needed with an emergency: how to go back"}
    form = OrderForm(emergency="payment", reason="Payments", errors=errors if wrong else {})
    return build_guard_page(
        mode=mode, settings=dict(guard().settings) | {"time_zone": HERE}, orders=orders,
        season="", now=NOW, here=HERE, form=form,
    )  # fmt: skip


def freeze(allowed: bool = False) -> FreezeView:
    """A Saturday for a florist with a wedding; a Tuesday without."""
    near = Near(
        UUID(int=1), "Fern & Field Flowers", SATURDAY, HERE, True, NOW, NOW, NOW,
        NOW + timedelta(hours=9), UUID(int=2), "A & R",
    )  # fmt: skip
    reasons = (
        Reason("weekly_freeze", Decision.BLOCKED, "The weekly freeze holds.",
               NOW + timedelta(days=1)),
        Reason("wedding_day", Decision.BLOCKED, "1 wedding is under way.", None, (near,)),
    )  # fmt: skip
    verdict = Verdict(Decision.BLOCKED, reasons, NOW + timedelta(days=1))
    if allowed:
        verdict = Verdict(Decision.ALLOW, (), NOW + timedelta(days=3))
    return build_freeze(
        Question("forms", "", "Fern & Field Flowers", NOW, HERE), verdict, approvals=[],
        form=OrderForm(mode="", minutes="60"), errors={},
    )  # fmt: skip


def imports(stage: str = "preview") -> ImportView:
    """The form, a fault, or what a file would do."""
    runs = (
        Run("Fri 12 June 18:02", "by Fern Mills", "New: 12", Status("crit", "Refused: 1"),
            (Item("Line 14", "", "", (), "date is missing"),)),
    )  # fmt: skip
    if stage == "wrong":
        return ImportView("not a table", "dmy", "", None, runs, {"text": say("import.none")})
    if stage == "empty":
        return ImportView()
    entries = [
        Entry(place=n, external_uid=str(n), wedding_date=date(2027, 6, n), couple_names=LONG)
        for n in range(2, 5)
    ]
    report = Report(
        [
            Outcome(entries[0], Action.CREATED, None, entries[0].wedding_date),
            Outcome(entries[1], Action.MOVED, UUID(int=3), entries[1].wedding_date, None,
                    (("wedding_date", date(2027, 6, 1), date(2027, 6, 3)),)),
            Outcome(None, Action.CANCELLED, UUID(int=4), entries[2].wedding_date,
                    "is no longer in the file (once)"),
        ],
        [Fault(14, "date", "is 3 April or 4 March; say which order the file has")],
    )  # fmt: skip
    reading = Reading(entries=entries, ignored_columns=["Deposit", "Notes"])
    return ImportView(
        preview=build_preview(FileKind.TABLE, reading, report, b"Date,Couple\n"), runs=runs
    )


VIEWS: dict[str, tuple[str, str, Callable[[], object]]] = {
    "weddings": ("weddings.html", "weddings", month),
    "weddings-empty": ("weddings.html", "weddings", lambda: month(True, False)),
    "wedding": ("wedding.html", "weddings", wedding),
    "wedding-code": (
        "wedding.html", "weddings",
        lambda: replace(wedding(), code="6qXc1wYgEw2k9dF3a_b4Zg", code_until="Good until 4 July"),
    ),
    "wedding-wrong": (
        "wedding.html", "weddings",
        lambda: with_fault(wedding(), "code", "is not good, or not for this wedding", typed="x"),
    ),
    "wedding-cancelled": ("wedding.html", "weddings", lambda: wedding(status="cancelled")),
    "wedding-viewer": ("wedding.html", "weddings", viewer),
    "wedding-form": ("wedding_form.html", "weddings", form),
    "wedding-form-wrong": ("wedding_form.html", "weddings", lambda: form(True)),
    "guard": ("guard.html", "guard", guard_page),
    "guard-wrong": ("guard.html", "guard", lambda: guard_page(True)),
    "freeze": ("freeze.html", "freeze", freeze),
    "freeze-allow": ("freeze.html", "freeze", lambda: freeze(True)),
    "wedding-import": ("wedding_import.html", "weddings", lambda: imports("empty")),
    "wedding-import-wrong": ("wedding_import.html", "weddings", lambda: imports("wrong")),
    "wedding-import-preview": ("wedding_import.html", "weddings", imports),
    "wedding-reveal": ("wedding_reveal.html", "weddings", lambda: RevealView(UUID(int=4))),
}  # fmt: skip
"""Template, part of the navigation, and view."""
