"""Made-up views of every page in its states, so that pages can be judged without a database."""

import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from tests.browser import (
    preview_ladders,
    preview_phone,
    preview_reach,
    preview_rules,
    preview_started,
    preview_watching,
    preview_weddings,
)
from wedsync_apm.rules.model import RuleKind
from wedsync_apm.web.render import moment, render
from wedsync_apm.web.say import clock, when
from wedsync_apm.web.views.chart import (
    Band,
    ChartData,
    ChartsView,
    Figure,
    Limit,
    Line,
    Option,
    TableView,
    Tick,
    Tile,
)
from wedsync_apm.web.views.entry import DemoPerson, ErrorView, MoreView, SignInView
from wedsync_apm.web.views.inbox import Hop, InboxView, Message
from wedsync_apm.web.views.incident import (
    AckView,
    Action,
    Entry,
    Fact,
    IncidentGroup,
    IncidentRow,
    IncidentsView,
    IncidentView,
    Problem,
    Step,
    Told,
)
from wedsync_apm.web.views.platform import Line as Measured
from wedsync_apm.web.views.platform import ReportView, Section
from wedsync_apm.web.views.shell import Bare, Choice, Shell, Status, Theme
from wedsync_apm.web.views.today import Contact, Service, TodayView
from wedsync_apm.web.views.wedding import (
    Milestone,
    Phase,
    WeddingCard,
)
from wedsync_apm.web.words import say

ZONE = "Europe/London"
NOW = datetime(2026, 6, 20, 12, 13, 4, tzinfo=UTC)
IDS = tuple(UUID(int=n) for n in range(1, 40))


def ago(**span: float) -> datetime:
    """An instant before the preview's now."""
    return NOW - timedelta(**span)


def shell(active: str, theme: Theme = "system", **changes: Any) -> Shell:
    """The frame of a florist's page."""
    values: dict[str, Any] = {
        "at": NOW, "zone": ZONE, "theme": theme, "csrf": "preview", "person": "Fern Mills",
        "organization": "Fern & Field Flowers", "active": active, "open_incidents": 1,
        "is_demo": True,
        "choices": (
            Choice(IDS[0], "Fern & Field Flowers", True),
            Choice(IDS[1], "Oakhill Barn", False),
        ),
    }  # fmt: skip
    return Shell(**(values | changes))


def wave(n: int, base: float, swing: float) -> tuple[float, ...]:
    """A steady course with a little noise, the same every time."""
    return tuple(
        base + swing * (math.sin(i * 1.7) * 0.4 + math.sin(i * 0.31) * 0.6) for i in range(n)
    )


def wedding(couple: str = "Amara & Ruth", heading: str = "") -> WeddingCard:
    """A wedding under way, 47 minutes before the ceremony."""
    names = ("Set-up", "Ceremony", "Reception", "Tear-down")
    hours = (10.5, 13.0, 14.0, 20.0, 22.0)
    midnight = NOW.replace(hour=0, minute=0, second=0)
    times = [midnight + timedelta(hours=hour) for hour in hours]
    whole = times[-1] - times[0]

    def place(at: datetime) -> int:
        return round(1000 * ((at - times[0]) / whole))

    phases = tuple(
        Phase(
            name, begins, ends,
            "past" if ends <= NOW else "now" if begins <= NOW else "next",
            place(begins), place(ends) - place(begins),
        )
        for name, begins, ends in zip(names, times, times[1:], strict=False)
    )  # fmt: skip
    return WeddingCard(
        IDS[3], couple, "Oakhill Barn", ZONE, phases, Milestone("Ceremony", times[1]),
        place(NOW), heading,
    )  # fmt: skip


def problem(over: bool = False, words: str = "") -> Problem:
    """The slow order form."""
    since = ago(minutes=3, seconds=4)
    if over:
        return Problem(
            IDS[5], "Your order form is slow",
            "It was a problem for 21 min.",
            Status("ok", say("problem.resolved", time="13:31")), since, True,
            "Priya had it in hand since 13:12.", "",
        )  # fmt: skip
    return Problem(
        IDS[5],
        words or "Your order form is slow",
        "People can still use it, but it takes about 9.1 s.",
        Status("crit", say("problem.since", time=clock(since, ZONE))),
        since,
        False,
        say("problem.has", name="Priya", time="13:12"),
        say("problem.next_update", time=moment(NOW + timedelta(minutes=12), "13:25")),
        NOW + timedelta(minutes=12),
        "order form",
    )


def figure(wide: bool = False, technical: str = "", key: str = "order_form.send_time") -> Figure:
    """The chart of the slow order form."""
    return Figure(
        key.replace(".", "-"), "Time to send an order",
        say("charts.caption", function=say("function.p95"), window="last 95 min", zone=ZONE),
        say("charts.now_limit", figure="9.1 s", usual="1.2 s", limit="3 s"),
        f"/charts/series?metric={key}&as=json", f"/charts/series?metric={key}&as=table",
        technical, wide,
    )  # fmt: skip


SERVICES = (
    Service("Order form", Status("crit", "Slow"), "9.1 s, usually 1.2 s", None,
            (*wave(20, 1.2, 0.2), 4.0, 8.8, 9.1)),
    Service("Card payments", Status("ok", "Working"), "0.4 s", None, wave(22, 0.4, 0.1)),
    Service("Messages to couples", Status("ok", "Working"), "0.3 s", None,
            wave(22, 0.3, 0.1)),
    Service("Photo gallery", Status("none", "Not known"), "", ago(minutes=11)),
)  # fmt: skip
CONTACTS = (
    Contact("WedSync help line", "Answered now, until 23:30", "+442079460000"),
    Contact("Dan Hill, Oakhill Barn", "Venue manager", "+447700900123"),
)


def today(state: str) -> TodayView:
    """Today in one of its states."""
    fine = tuple(
        Service(s.name, Status("ok", "Working"), "0.4 s", None, wave(22, 0.4, 0.1))
        for s in SERVICES
    )
    base: dict[str, Any] = {
        "state": "ok", "title": "All working",
        "headline": say("today.ok_wedding", couple="Amara & Ruth"),
        "body": say("today.ok_detail", n=4, time="13:13"), "problems": (), "weddings": (wedding(),),
        "more_weddings": 0, "next_wedding": "", "services": fine, "contacts": CONTACTS,
        "week": say("today.week", n=1, length="6 min"), "figure": figure(),
        "phone": "+442079460000", "offers_sunlight": True,
    }  # fmt: skip
    if state == "problem":
        base |= {
            "state": "problem", "title": say("today.title_problem", noun="order form slow"),
            "problems": (problem(),), "services": SERVICES,
        }  # fmt: skip
    elif state == "problem-weekday":
        base |= {
            "state": "problem", "title": say("today.title_problem", noun="order form slow"),
            "problems": (problem(),), "services": SERVICES, "weddings": (),
        }  # fmt: skip
    elif state == "two":
        base |= {
            "state": "problem", "title": say("today.title_problems", n=2),
            "problems": (
                problem(),
                problem(words="Your exceptionally long-named bespoke enquiry form is not working"),
            ),
            "services": SERVICES, "weddings": (wedding(), wedding("Zsófia & Maximilian-Alexander")),
            "more_weddings": 3,
        }  # fmt: skip
    elif state == "quiet":
        base |= {
            "headline": say("today.ok"), "weddings": (),
            "next_wedding": say("today.next_wedding", couple="Jo & Pat",
                                when="Sat 27 June, in 7 days"),
        }  # fmt: skip
    elif state == "unknown":
        base |= {
            "state": "unknown", "title": say("today.title_unknown"),
            "headline": say("today.unknown", time="13:02"), "body": say("today.unknown_body"),
            "services": tuple(
                Service(s.name, Status("none", "Not known"), "", ago(minutes=11))
                for s in SERVICES
            ),
        }  # fmt: skip
    elif state == "empty":
        base |= {
            "state": "empty", "title": say("today.empty"), "headline": say("today.empty"),
            "body": say("today.empty_body"), "services": (), "weddings": (), "contacts": (),
            "figure": None, "week": "", "started": preview_started.card(),
        }  # fmt: skip
    return TodayView(**base)


def incident(engineer: bool = False, over: bool = False, taken: bool = True) -> IncidentView:
    """The slow order form's page."""
    base = f"/incidents/{IDS[5]}"
    vendor_timeline = (
        Entry(ago(minutes=1), "Priya took it in hand", "person"),
        Entry(ago(minutes=2), "Priya was called. You got a text", "system"),
        Entry(ago(minutes=3), "The form passed today's limit of 3 s", "crit"),
    )
    told = (
        Told("Priya Shah", "Text", "sms", ago(minutes=2), Status("ok", "Arrived")),
        Told("Fern Mills", "E-mail", "email", ago(minutes=2), Status("ok", "Sent")),
        Told("Dan Hill", "E-mail", "email", ago(minutes=2), Status("none", "Held back"),
             "Held back until 07:00: quiet hours"),
    )  # fmt: skip
    path = (
        Step(say("problem.path_noticed"), "13:10", True),
        Step(say("problem.path_told"), "13:11", True),
        Step(say("problem.path_hand"), "13:12" if taken else "", taken),
        Step(say("problem.path_fixed"), "13:31" if over else "", over),
    )
    facts = (
        Fact("Value", "p95 9.1 s > 3 s for 60 s"),
        Fact("Limit from", say("engineer.wedding_value", rule="Form slow", normal="8 s")),
        Fact("Metric", "wedding_forms.submit_time", True),
        Fact("Id", str(IDS[5]), True),
    )
    primary = (
        None
        if over
        else Action(f"{base}/acknowledge", say("problem.take"), say("problem.take_note"))
        if engineer
        else Action(f"{base}/seen", say("problem.seen"), say("problem.seen_note"))
    )
    return IncidentView(
        problem=problem(over), is_engineer=engineer,
        other_view=f"{base}?view={'vendor' if engineer else 'engineer'}",
        headline="wedding_forms.submit_time p95 9.1 s > 3 s",
        badges=(("emergency", "Emergency"), ("crit", "Open"), ("accent", "Priority critical")),
        path=path, primary=primary,
        actions=() if over else (
            Action(f"{base}/investigate", say("problem.working")),
            Action(f"{base}/resolve", say("problem.resolve"), "", say("problem.resolve_word")),
        ),
        note=Action(f"{base}/notes", say("problem.note_button"), "", say("problem.note_label")),
        seen=False,
        steps=(
            "Take last-minute changes by phone or message. Both work.",
            "If a guest is waiting, ask them to press Send once and wait 15 seconds.",
            "Nothing is lost: orders sent since 13:10 have all arrived.",
        ),
        works=("Card payments", "Messages to couples", "Photo gallery"),
        figure=figure(technical="wedding_forms.submit_time{form=order}" if engineer else ""),
        timeline=vendor_timeline, told=told if engineer else (),
        next_step=say("engineer.next_step", step=2, names="Mo", time="13:14"),
        facts=facts if engineer else (), wedding="3 weddings today, next ceremony in 47 min",
        phone="+442079460000",
    )  # fmt: skip


def incidents(empty: bool = False) -> IncidentsView:
    """The list with its three groups."""
    if empty:
        return IncidentsView(
            (), say("incidents.none_last", time="Tue 16 June 11:20", length="6 min")
        )

    def row(n: int, title: str, status: tuple[Any, str], *end: str) -> IncidentRow:
        return IncidentRow(
            IDS[n], title, Status(*status), ago(minutes=3 * n), end[0], "".join(end[1:])
        )

    return IncidentsView(
        (
            IncidentGroup(
                say("incidents.nobody"),
                (row(6, "Your order form is slow", ("crit", "Slow"), "Ceremony in 47 min"),),
            ),
            IncidentGroup(
                say("incidents.hand"),
                (row(7, "Your photo gallery has errors", ("warn", "Slow"), "Priya has it"),),
            ),
            IncidentGroup(
                say("incidents.resolved"),
                (
                    row(8, "Your card payments are slow", ("ok", "Working again"),
                        "Mo had it", "fixed 11:02 after 6 min"),
                    row(9, "We hear nothing from your messages to couples", ("ok", "Working again"),
                         "Priya had it", "fixed 09:40 after 21 min"),
                ),
            ),
        ),
        "",
    )  # fmt: skip


def options(*labels: str) -> tuple[Option, ...]:
    """A row of choices, the second of them current."""
    return tuple(Option(label, f"?range={label}", i == 1) for i, label in enumerate(labels))


def charts() -> ChartsView:
    """Four metrics over an hour."""
    names = (
        ("order_form.send_time", "Time to send an order"),
        ("payments.duration", "Time to take a card"),
        ("gallery.uploads", "Photos uploaded"),
        ("messages.queue", "Messages waiting"),
    )
    tiles = (
        Tile("Time to send an order", "9.1 s", "limit 3 s", (*wave(20, 1.2, 0.2), 4.0, 9.1), True),
        Tile("Time to take a card", "0.4 s", "usually 0.4 s", wave(22, 0.4, 0.1)),
        Tile("Photos uploaded", "1,204", "last hour", wave(22, 40, 20)),
        Tile("Messages waiting", "3", "usually 2", wave(22, 3, 2)),
    )
    return ChartsView(
        say("charts.title"), say("charts.sub", zone=ZONE),
        options("15 min", "1 h", "6 h", "24 h", "7 d"),
        options("All", "Order form", "Payments", "Gallery"), tiles,
        tuple(
            Figure(
                key.replace(".", "-"), title,
                say("charts.caption", function=say("function.avg"), window="last hour", zone=ZONE),
                say("charts.now_limit", figure="9.1 s", usual="1.2 s", limit="3 s"),
                f"/charts/series?metric={key}&as=json", f"/charts/series?metric={key}&as=table",
            )
            for key, title in names
        ),
    )  # fmt: skip


def chart_data(metric: str) -> ChartData:
    """A course with a gap, a rise past its limit and the ceremony ahead."""
    step = 60.0
    begins = (NOW - timedelta(minutes=95)).timestamp() // step * step
    x = tuple(begins + i * step for i in range(96))
    course: list[float | None] = [v * 1000 for v in wave(96, 1.25, 0.12)]
    course[30:36] = [None] * 6
    course[90:96] = [1400, 2900, 5200, 7600, 8800, 9100]
    midnight = NOW.replace(hour=0, minute=0, second=0).timestamp()
    several = metric.startswith("gallery")
    lines = (
        tuple(Line(f"shop {c}", wave(96, 30 + 8 * i, 9)) for i, c in enumerate("ABCDE"))
        if several
        else (Line("p95", tuple(course)),)
    )
    return ChartData(
        unit="" if several else "ms", zone=ZONE, begins=begins, ends=NOW.timestamp() + 50 * 60,
        now=NOW.timestamp(), step=step, x=x, lines=lines, more=7 if several else 0,
        limits=() if several else (Limit(3000, "today's limit 3 s"),),
        bands=(Band(midnight + 13 * 3600, midnight + 14 * 3600, "Ceremony"),),
        ticks=(Tick(NOW.timestamp() - 180, "Your order form is slow"),),
    )  # fmt: skip


def table() -> TableView:
    """A chart's values."""
    rows = tuple((when(ago(minutes=i), NOW, ZONE), (f"{1.2 + i / 50:.1f} s",)) for i in range(30))
    return TableView(
        "Time to send an order", "slowest 1 in 20, last hour, Europe/London time",
        "9.1 s now, usually 1.2 s, limit 3 s.", ("p95",), rows, "?as=csv", "/charts",
        options("15 min", "1 h", "6 h"),
    )  # fmt: skip


def inbox(empty: bool = False) -> InboxView:
    """A text, an e-mail held back and a webhook that failed."""
    if empty:
        return InboxView((), ())
    messages = (
        Message(IDS[12], "Text", "sms", "Priya Shah", "+44 7700 900456", ago(minutes=2), "",
                "WedSync PAGE: order form slow, Fern & Field. Ceremony in 47 min (14:00 BST). "
                "Reply 1 = I'm on it. wdsy.nc/a/7KQ2M9XF", Status("ok", "Arrived"),
                (Hop("Waiting", "13:10:02"), Hop("sent", "13:10:03"), Hop("arrived", "13:10:05")),
                incident=IDS[5]),
        Message(IDS[13], "E-mail", "email", "Dan Hill", "dan@oakhill.example", ago(minutes=2),
                "Your order form is slow: Priya has it, next update 13:25",
                "Guests can still order, but it takes about 9 seconds.\n\nPriya has had it in hand "
                "since 13:12.\nNext update by 13:25, even if nothing has changed.",
                Status("none", "Held back"), (Hop("Waiting", "13:10:02"),),
                "Held back until 07:00: Dan's quiet hours"),
        Message(IDS[14], "Webhook", "webhook", "Studio board", "https://board.example/hook",
                ago(minutes=2), "", '{"incident":"open","title":"Your order form is slow"}',
                Status("crit", "Did not go out"), (Hop("Waiting", "13:10:02"),),
                "The other side answered 500, five times"),
    )  # fmt: skip
    return InboxView(messages, options("All", "Text", "E-mail", "Webhook"), "?before=1")


def report() -> ReportView:
    """Two failures and some passes."""

    def line(name: str, value: str, limit: str, ok: bool, reason: str = "") -> Measured:
        return Measured(
            name, value, limit, Status("ok", "Passed") if ok else Status("crit", "Failed"),
            ago(seconds=40), "3 ms",
            "select count(*) from pg_policies\nwhere schemaname = 'public' and tablename = 'apm_x'",
            reason,
        )  # fmt: skip

    return ReportView(
        say("report.title"), Status("crit", say("report.bad", n=2, total=41)),
        say("report.measured", time="13:12:04", server="18.3"), ago(seconds=40),
        (
            Tile("Migrations", "9 of 9", "applied"), Tile("Tables", "31", "all with RLS"),
            Tile("Storage", "1.2 GB", "with partitions"), Tile("Connections", "12 of 100", "now"),
        ),
        (
            Section(say("report.failures"), (
                line("Member query", "81 ms", "50 ms", False, "The plan reads the whole table."),
                line("RLS on partition apm_metrics_2026_11_23", "off", "on", False),
            )),
            Section(say("report.passes"), tuple(
                line(f"Policies on apm_{name}", "4", "at least 4", True)
                for name in ("metrics", "alerts", "incidents", "dashboards")
            )),
        ),
    )  # fmt: skip


def sign_in(**changes: Any) -> SignInView:
    """The form with the demo people."""
    people = (
        DemoPerson("Florist with a wedding today", "Fern Mills, Fern & Field Flowers", "florist"),
        DemoPerson("On-call engineer", "Priya Shah, platform", "oncall"),
        DemoPerson("Database administrator", "Mo Adeyemi, platform", "dba"),
    )
    return SignInView(people=people, **changes)


def ack(state: Any) -> AckView:
    """The one-tap page."""
    if state == "open":
        return AckView(
            "open", "Fern & Field Flowers", "Order form slow", say("ack.since", time="13:10"),
            "Ceremony in 47 min (14:00)", say("ack.stops_next", time="13:14"),
        )  # fmt: skip
    return AckView(
        state, "Fern & Field Flowers", "Order form slow",
        words={"done": say("ack.done"), "used": say("ack.used", name="Mo", time="13:12"),
               "old": say("ack.old")}[state],
        incident=f"/incidents/{IDS[5]}" if state == "done" else "",
    )  # fmt: skip


def bare(theme: Theme) -> Bare:
    """The frame without a person."""
    return Bare(NOW, theme, ZONE, "preview")


Make = Callable[[Theme], bytes]


def _page(template: str, active: str, view: Callable[[], object], **changes: Any) -> Make:
    return lambda theme: render(template, shell(active, theme, **changes), view())


def _bare(template: str, view: Callable[[], object]) -> Make:
    return lambda theme: render(template, bare(theme), view())


PAGES: dict[str, Make] = {
    "today-problem": _page("today.html", "today", lambda: today("problem")),
    "today-problem-weekday": _page(
        "today.html", "today", lambda: today("problem-weekday")
    ),
    "today-two": _page("today.html", "today", lambda: today("two"), open_incidents=2),
    "today-ok": _page("today.html", "today", lambda: today("ok"), open_incidents=0),
    "today-quiet": _page("today.html", "today", lambda: today("quiet"), open_incidents=0),
    "today-unknown": _page("today.html", "today", lambda: today("unknown"), open_incidents=0),
    "today-empty": _page("today.html", "today", lambda: today("empty"), open_incidents=0),
    "today-unwatched": _page(
        "today.html", "today", lambda: today("empty"), open_incidents=0, is_watched=False
    ),
    **{name: _page(*parts) for name, parts in preview_started.VIEWS.items()},
    **{
        name: _page(*parts, is_operator=True)
        for name, parts in preview_started.FOR_OPERATORS.items()
    },
    "incident": _page("incident.html", "incidents", incident),
    "incident-engineer": _page(
        "incident.html", "incidents", lambda: incident(engineer=True, taken=False),
        is_engineer=True, is_operator=True,
    ),
    "incident-over": _page("incident.html", "incidents", lambda: incident(over=True)),
    "incidents": _page("incidents.html", "incidents", incidents, open_incidents=2),
    "incidents-empty": _page("incidents.html", "incidents", lambda: incidents(True)),
    "charts": _page("charts.html", "charts", charts),
    "table": _page("table.html", "charts", table),
    "rules": _page("rules.html", "rules", preview_rules.rules),
    "rules-empty": _page("rules.html", "rules", lambda: preview_rules.rules(empty=True)),
    "rule": _page("rule.html", "rules", lambda: preview_rules.rule(figure())),
    "rule-viewer": _page(
        "rule.html", "rules", lambda: preview_rules.rule(figure(), may_edit=False)
    ),
    "rule-engineer": _page(
        "rule.html", "rules", lambda: preview_rules.rule(figure(), engineer=True),
        is_engineer=True,
    ),
    "rule-kinds": _page("rule_kinds.html", "rules", preview_rules.kinds),
    "rule-edit": _page("rule_edit.html", "rules", preview_rules.editor),
    "rule-wrong": _page("rule_edit.html", "rules", lambda: preview_rules.editor(wrong=True)),
    **{
        f"rule-new-{kind.value}": _page(
            "rule_edit.html", "rules", lambda kind=kind: preview_rules.editor(kind)  # type: ignore[misc]
        )
        for kind in RuleKind if kind is not RuleKind.THRESHOLD
    },
    "inbox": _page("inbox.html", "inbox", inbox),
    "inbox-empty": _page("inbox.html", "inbox", lambda: inbox(True)),
    **{name: _page(*parts) for name, parts in preview_weddings.VIEWS.items()},
    **{name: _page(*parts) for name, parts in preview_reach.VIEWS.items()},
    **{name: _page(*parts) for name, parts in preview_ladders.VIEWS.items()},
    **{name: _page(*parts) for name, parts in preview_phone.VIEWS.items()},
    "error-offline": _bare("offline.html", lambda: None),
    **{name: _page(*parts) for name, parts in preview_watching.VIEWS.items()},
    "report": _page("report.html", "report", report, is_operator=True),
    "more": _page("more.html", "more", lambda: MoreView("Owner")),
    "sign-in": _bare("sign_in.html", sign_in),
    "sign-in-wrong": _bare(
        "sign_in.html", lambda: sign_in(email="fern@example.com", error=say("sign_in.wrong"))
    ),
    "ack": _bare("ack.html", lambda: ack("open")),
    "ack-done": _bare("ack.html", lambda: ack("done")),
    "ack-used": _bare("ack.html", lambda: ack("used")),
    "error-404": _bare("error.html", lambda: ErrorView(404)),
    "error-403": _bare("error.html", lambda: ErrorView(403)),
    "error-500": _bare("error.html", lambda: ErrorView(500, reference="7KQ2")),
    "error-503": _bare("error.html", lambda: ErrorView(503)),
    "error-401": _bare("error.html", lambda: ErrorView(401)),
}  # fmt: skip
