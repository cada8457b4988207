"""Quiet times, planned work, heartbeats and checks in their states, for the preview."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from wedsync_apm.web.build import check_form as checking
from wedsync_apm.web.build import edits
from wedsync_apm.web.build import heartbeats as beating
from wedsync_apm.web.build.checks import offers, strip
from wedsync_apm.web.build.holding import label_choices, operator_choices, with_spare
from wedsync_apm.web.build.maintenance import day_choices, lines_of_work
from wedsync_apm.web.views.chart import Figure
from wedsync_apm.web.views.check import (
    CatalogueView,
    CheckForm,
    CheckFormView,
    CheckRow,
    ChecksView,
    CheckView,
    Outage,
)
from wedsync_apm.web.views.edit import NEW, Stood
from wedsync_apm.web.views.heartbeat import (
    HeartbeatForm,
    HeartbeatFormView,
    HeartbeatRow,
    HeartbeatsView,
    HeartbeatView,
    Ping,
)
from wedsync_apm.web.views.holding import (
    HoldingGroup,
    HoldingRow,
    HoldingView,
    InTheWay,
    Match,
    MatcherField,
    NewSilenceView,
    Preview,
    SilenceForm,
    SilencesView,
    WorkForm,
    WorkFormView,
)
from wedsync_apm.web.views.shell import Status
from wedsync_apm.web.views.today import Service
from wedsync_apm.web.words import say

NOW = datetime(2026, 6, 20, 12, 13, 4, tzinfo=UTC)
LONDON = "Europe/London"
ONE, TWO = UUID(int=51), UUID(int=52)
LONG = "The exceptionally long-named bespoke enquiry form for destination weddings in Tuscany"
COUPLE = "Zsófia Wolfeschlegelsteinhausen & Maximilian-Alexander Featherstonehaugh"
LINES = (MatcherField("service", "=", "wedding_forms"), MatcherField("severity", "=~", "info"))
WEDDINGS = (InTheWay("Amara & Ruth", "Sat 20 June"), InTheWay(COUPLE, "Sun 21 June"))
WAITS = Status("warn", say("silence.needs_approval"))
REFUSED = say("work.refused", name="Tom Ashby", reason="The church has no other router.")


def clash_of(theirs: Any, mine: Any, lines: Callable[[Any], edits.Lines], href: str) -> Stood:
    """Somebody has changed it meanwhile."""
    return edits.compare(
        {"stood": "another"}, theirs, mine=lines(mine), theirs=lines(theirs), href=href
    )


def silences(*, is_empty: bool = False, may: bool = True) -> SilencesView:
    """The list of quiet times."""
    rows = (
        HoldingRow("/silences/1", "Nobody is told about ‘Order form’ until 18:00.",
                   Status("info", say("silence.active")), "Priya Shah said yes at 12:02."),
        HoldingRow("/planned-work/2", f"New till: nobody is told about ‘{LONG}’ every Sunday, "
                   "23:00 to 02:00 the next day, by the clock in Europe/London.",
                   Status("info", say("work.scheduled")), REFUSED),
    )  # fmt: skip
    waiting = HoldingRow("/planned-work/3", "New router: nobody is told about anything.", WAITS,
                         say("work.waits", n=2))  # fmt: skip
    groups = (
        *(() if is_empty else (HoldingGroup(say("silences.waiting"), (waiting,), ""),)),
        *(
            HoldingGroup(say(f"silences.{key}"), () if is_empty else rows,
                         say(f"silences.{key}_none"))
            for key in ("now", "coming", "past")
        ),
    )  # fmt: skip
    return SilencesView(groups, may, may, "" if may else say("silences.viewer"))


def preview(*, warns: bool) -> Preview:
    """What it would do."""
    return Preview(
        "It holds back 1 open problem and 2 rules.", (Match(LONG, "/incidents/1"),),
        (Match("Order form is slow", "/rules/1"), Match("Messages fail", "/rules/2")), "",
        WEDDINGS if warns else (), say("work.waits", n=2) if warns else "", "mark",
        ("Sat 20 June 23:00 until Sun 02:00, 3 h", "Sat 4 July 23:00 until Sun 02:00, 3 h"),
    )  # fmt: skip


def silence_new(*, is_wrong: bool = False) -> NewSilenceView:
    """The form of a silence."""
    errors = {"reason": "Say why", "matchers": "Fill in a value", "ends_at": "Enter a time"}
    form = SilenceForm(
        with_spare(LINES), "2026-06-20T13:13", "2026-06-20T18:00", LONG, "Fern Mills",
        errors=errors if is_wrong else {},
    )  # fmt: skip
    return NewSilenceView(
        form, None if is_wrong else preview(warns=True), label_choices(form.matchers),
        operator_choices(), LONDON, "" if is_wrong else LONG, say("silence.form.ask"),
    )  # fmt: skip


def holding(state: str) -> HoldingView:
    """A silence or planned work: asked about, refused, or one's own."""
    is_work = state != "silence"
    asks = state != "refused"
    wrong = state == "wrong"
    return HoldingView(
        id=ONE,
        path="/planned-work/1" if is_work else "/silences/1",
        title=say("silences.title"),
        status=WAITS if asks else Status("info", say("work.scheduled")),
        sentence=f"New till: nobody is told about ‘{LONG}’ from Sat 20 June 08:00 until 20:00.",
        facts=(
            (say("silence.why"), "The till is exchanged"), (say("work.planned_by"), "Fern Mills"),
            (say("approve.second"), say("work.refused_by", name="Tom Ashby", time="12:02",
                                       reason="The church has no other router.")),
        ),
        weddings=WEDDINGS,
        spans=("Sat 20 June 08:00 until 20:00, 12 h",) if is_work else (),
        asks=say("approve.ask") if asks else "",
        may_answer=asks and state != "own",
        answer_note=say("approve.own") if state == "own" else "",
        may_end=not is_work,
        may_edit=state in ("own", "refused"),
        end_words=say("work.delete") if is_work else say("silence.withdraw"),
        note=say("work.waits", n=2) if asks else REFUSED,
        asks_why=is_work,
        why="" if not wrong else "   ",
        fault=say("approve.why_empty") if wrong else "",
    )  # fmt: skip


WORK = WorkForm(
    "New till", "The till is exchanged", "weekly", LINES, weekdays=(6, 7), starts_time="23:00",
    ends_time="02:00", time_zone=LONDON, first_day="2026-06-20", every_weeks="2",
)  # fmt: skip


def work(state: str = "new") -> WorkFormView:
    """The form of planned work."""
    form, stood = WORK, NEW
    if state == "wrong":
        form = replace(form, errors={"name": say("work.form.name_empty"),
                                     "weekdays": say("work.form.days_none"),
                                     "starts_time": say("work.form.clock")})  # fmt: skip
    if state == "clash":
        theirs = replace(WORK, name="New router", weekdays=(1, 2, 3), reason=LONG)
        stood = clash_of(theirs, form, lines_of_work, "/planned-work/1/edit")
    return WorkFormView(
        ONE if state == "clash" else None, form, with_spare(LINES),
        preview(warns=True) if state == "seen" else None, label_choices(LINES),
        operator_choices(), day_choices(), LONDON, say("silence.form.check"), stood,
    )  # fmt: skip


BEATS = (
    HeartbeatRow(ONE, "Nightly backup", "Every 24 h", "Missed since 02:50",
                 Status("crit", say("heartbeat.down"))),
    HeartbeatRow(TWO, LONG, "At 02:30 on weekdays", "Heard of at 02:31",
                 Status("ok", say("heartbeat.up"))),
)  # fmt: skip


def heartbeats(*, is_empty: bool = False, may: bool = True) -> HeartbeatsView:
    """The list."""
    refusal = "" if may else say("heartbeats.only")
    return HeartbeatsView(() if is_empty else BEATS, may, refusal)


def heartbeat(*, is_new: bool = False) -> HeartbeatView:
    """One of them."""
    return HeartbeatView(
        BEATS[0], "Copies the orders to the other house", (("How late", "20 min"),),
        tuple(Ping(NOW - timedelta(days=n), "came after 31 s", n == 2) for n in range(4)),
        "Heard of 214 times", ("Sun 21 June 02:30", "Mon 22 June 02:30"), True, "", True,
        "https://apm.example.com/ping/wapm_hb_3fJq0v1x9sK2mT8yB4nQ7cZ5" if is_new else "",
    )  # fmt: skip


def heartbeat_form(state: str) -> HeartbeatFormView:
    """Its form."""
    form = HeartbeatForm(name="Nightly backup", way="cron", cron="30 2 * * *", time_zone=LONDON)
    stood = NEW
    if state == "wrong":
        form = replace(form, errors={"name": say("heartbeat.form.name_empty"),
                                     "cron": say("heartbeat.form.wrong", reason=LONG)})  # fmt: skip
    if state == "clash":
        theirs = replace(form, way="period", period="24", period_unit="hours", description=LONG)
        stood = clash_of(
            theirs, form, lambda one: edits.lines_of(one, beating.LABELS), "/heartbeats/1/edit"
        )
    return HeartbeatFormView(
        None if state == "new" else ONE, form, beating.unit_choices(),
        beating.severity_choices(), stood,
    )  # fmt: skip


SLOW = Service("Order form", Status("warn", "Slow"), "0.9 s", None, (0.3, 0.4, 0.9))


def checks(*, is_empty: bool = False, may: bool = True) -> ChecksView:
    """The list."""
    rows = (
        CheckRow(ONE, SLOW, "Answered 401 in 0.12 s: that is alive, 13:12", "99.98 %, 0.1 %"),
        CheckRow(TWO, Service(LONG, Status("none", "Not known"), "", None), "Not looked at yet.",
                 "", is_paused=True),
    )  # fmt: skip
    trouble = (Outage("Stripe payments has trouble; 2 of your checks depend on it.", ""),)
    refusal = "" if may else say("checks.only")
    return ChecksView(() if is_empty else trouble, () if is_empty else rows, may, refusal)


def catalogue() -> CatalogueView:
    """What one tap checks."""
    shared, own = offers([{"shared_key": "stripe_payments", "id": ONE}])
    return CatalogueView(shared, own, say("check.form.name_taken"))


def check(figure: Figure | None = None) -> CheckView:
    """One check with its strips."""

    def part(width: str, at: datetime, n: int) -> dict[str, Any]:
        known = 0 if n % 7 == 3 else 3600
        failed = 3 if known and n % 5 == 2 else 0
        return {"width": width, "starts_at": at, "looks": 60 if known else 0, "failures": failed,
                "known_seconds": known, "down_seconds": 120 if n == 11 else 0}  # fmt: skip

    course = [part("hour", NOW - timedelta(hours=24 - n), n) for n in range(24)]
    course += [part("day", NOW - timedelta(days=30 - n), n) for n in range(30)]
    return CheckView(
        ONE, SLOW, "Answered 200 in 0.9 s, 13:12",
        "Looked at every 10 s, because a wedding is under way (every 5 min on quiet days).",
        "It depends on Stripe payments, which has trouble.", f"/checks/{TWO}",
        strip(course, "hour", LONDON), strip(course, "day", LONDON),
        (("1 h", "99.9 %", "0.1 %"), ("24 h", "99.98 %", "0.1 %"), ("7 d", "not known", "2 %")),
        (("Answers within", "0.5 s"), ("Failed looks", "5 % of the last hour")),
        (("13:02", "12 of 60 looks within the last hour failed, and at most 5 % should", "warn"),
         ("09:11", "It takes 0.3 s", "ok")),
        figure, True, True, "", True, "Just now it answered 200 in 0.9 s.", "warn",
    )  # fmt: skip


def check_form(state: str) -> CheckFormView:
    """Its form."""
    form = CheckForm(display_name="Our shop", endpoint_url="https://www.example.com/")
    stood = NEW
    if state == "wrong":
        form = replace(form, errors={"endpoint_url": say("check.form.address_kind"),
                                     "seconds": say("check.form.number"),
                                     "errors_critical": say("check.form.order")})  # fmt: skip
    if state == "clash":
        theirs = replace(form, display_name=LONG, interval="300", wedding_critical=True)
        stood = clash_of(
            theirs, form, lambda one: edits.lines_of(one, checking.LABELS), "/checks/1/edit"
        )
    return CheckFormView(
        None if state == "new" else ONE, form, "", "https://www.example.com/", True,
        checking.choices(checking.INTERVALS, "every", form.interval),
        checking.choices(checking.WINDOWS, "over", form.judged_over), stood,
    )  # fmt: skip


VIEWS: dict[str, tuple[str, str, Callable[[], object]]] = {
    "silences": ("silences.html", "silences", silences),
    "silences-none": (
        "silences.html", "silences", lambda: silences(is_empty=True, may=False)
    ),
    "silence-new": ("silence_new.html", "silences", silence_new),
    "silence-wrong": ("silence_new.html", "silences", lambda: silence_new(is_wrong=True)),
    **{
        f"holding-{state}": (
            "holding.html", "silences", lambda state=state: holding(state)  # type: ignore[misc]
        )
        for state in ("silence", "asked", "wrong", "own", "refused")
    },
    **{
        f"work-{state}": (
            "planned_work.html", "silences", lambda state=state: work(state)  # type: ignore[misc]
        )
        for state in ("new", "seen", "wrong", "clash")
    },
    "heartbeats": ("heartbeats.html", "heartbeats", heartbeats),
    "heartbeats-none": (
        "heartbeats.html", "heartbeats", lambda: heartbeats(is_empty=True, may=False)
    ),
    "heartbeat": ("heartbeat.html", "heartbeats", heartbeat),
    "heartbeat-address": ("heartbeat.html", "heartbeats", lambda: heartbeat(is_new=True)),
    **{
        f"heartbeat-form-{state}": (
            "heartbeat_form.html", "heartbeats",
            lambda state=state: heartbeat_form(state),  # type: ignore[misc]
        )
        for state in ("new", "wrong", "clash")
    },
    "checks": ("checks.html", "checks", checks),
    "checks-none": ("checks.html", "checks", lambda: checks(is_empty=True, may=False)),
    "check": ("check.html", "checks", check),
    "check-catalogue": ("check_catalogue.html", "checks", catalogue),
    **{
        f"check-form-{state}": (
            "check_form.html", "checks", lambda state=state: check_form(state)  # type: ignore[misc]
        )
        for state in ("new", "wrong", "clash")
    },
}  # fmt: skip
"""Template, part of the navigation, and view."""
