"""The guard mode for operators, and the freeze, in words."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

from wedsync_apm.errors import FieldError
from wedsync_apm.web import say
from wedsync_apm.web.build import Row
from wedsync_apm.web.build.bars import town
from wedsync_apm.web.views.guard import FreezeReasonView, FreezeView, GuardView, Order, OrderForm
from wedsync_apm.web.views.shell import Kind, Status
from wedsync_apm.web.words import say as words
from wedsync_apm.weddings.guard.model import (
    Decision,
    Emergency,
    GuardMode,
    Reason,
    Verdict,
    find_order_faults,
)

MOST_LISTED: Final = 20
_DECISIONS: Final[Mapping[Decision, Kind]] = {
    Decision.ALLOW: "ok",
    Decision.NEEDS_APPROVAL: "warn",
    Decision.BLOCKED: "crit",
}
_MODES: Final[Mapping[str, Kind]] = {"normal": "none", "enhanced": "info", "maximum": "warn"}
_LONGEST_TYPED: Final = 2500


@dataclass(frozen=True, slots=True)
class OrderDraft:
    """What somebody orders or agrees to, read from a form without faults."""

    mode: GuardMode
    service: str | None
    reason: str
    minutes: int
    emergency: Emergency | None
    rollback_plan: str | None


def read_order(sent: Mapping[str, Any]) -> tuple[OrderDraft | None, OrderForm]:
    """The draft, or None with the words beside each fault; the form keeps all that was typed."""

    def text(name: str, most: int = _LONGEST_TYPED) -> str:
        return str(sent.get(name) or "").strip().replace("\x00", "")[:most]

    minutes = text("minutes", 10)
    mode = text("mode", 20)
    named = text("emergency", 40)
    emergency = Emergency(named) if named in set(Emergency) else None
    plan = text("rollback_plan") or None
    number = int(minutes) if minutes.isdecimal() else None
    service = text("service")
    faults = find_order_faults(text("reason"), number, emergency, plan)
    if len(service) > 200:
        faults.append(FieldError("service", words("wedding_form.long")))
    form = OrderForm(
        mode=mode if mode in set(GuardMode) else GuardMode.MAXIMUM.value,
        service=service,
        reason=text("reason"),
        minutes=minutes,
        emergency=named if emergency else "",
        rollback_plan=plan or "",
        errors={fault.field: fault.reason for fault in faults},
    )
    if faults or number is None:
        return None, form
    draft = OrderDraft(GuardMode(form.mode), service or None, form.reason, number, emergency, plan)
    return draft, form


def with_refusal(form: OrderForm, errors: Sequence[FieldError], detail: str) -> OrderForm:
    """The database's own objections beside the fields, or above the form."""
    known = {"reason", "minutes", "emergency", "rollback_plan", "service", "mode"}
    found = {one.field if one.field in known else "form": one.reason for one in errors}
    return OrderForm(
        form.mode, form.service, form.reason, form.minutes, form.emergency, form.rollback_plan,
        found or {"form": detail},
    )  # fmt: skip


def build_guard_page(
    *,
    mode: Row,
    settings: Row,
    orders: Sequence[Row],
    season: str,
    now: datetime,
    here: str,
    form: OrderForm | None,
) -> GuardView:
    """The operators' page."""
    until = (
        words("guard.now.until", time=say.when(mode["until"], now, here)) if mode["until"] else ""
    )
    name = words(f"guard.mode.{mode['mode']}")
    ranks = list(GuardMode)
    shown = [_order(row, now, here) for row in orders]
    return GuardView(
        mode=Status(_MODES[mode["mode"]], name, "guard"),
        headline=words("guards.now", mode=name, until=until),
        why=words("guards.by_calendar", why=mode["why"])
        if mode["source"] == "calendar"
        else words("guards.by_order", who=mode["who"], why=mode["why"]),
        calendar=words(
            "guards.calendar",
            mode=words(f"guard.mode.{mode['calendar_mode']}"),
            why=mode["calendar_why"],
        )
        if mode["source"] == "override"
        else "",
        season=season,
        zone_note=words("guards.zone", town=town(here), platform=settings["time_zone"]),
        live=tuple(
            Order(
                o.id,
                o.status,
                o.title,
                o.reason,
                o.lines,
                o.is_live,
                ranks.index(GuardMode(row["mode"])) > ranks.index(GuardMode(mode["calendar_mode"])),
            )
            for o, row in zip(shown, orders, strict=True)
            if o.is_live
        ),
        past=tuple(one for one in shown if not one.is_live),
        form=form,
        refusal="" if form else words("guards.look_only"),
    )


def _order(row: Row, now: datetime, here: str) -> Order:
    """An order of a mode."""
    title = words(
        "guards.order", mode=words(f"guard.mode.{row['mode']}"), who=row["created_by_name"]
    )
    end = (
        f"{words('guards.ended_by', who=row['ended_by_name'], why=row['end_reason'])}"
        if (row["ended_at"])
        else ""
    )
    return _shown(row, title, end, now, here)


def build_approval(row: Row, now: datetime, here: str) -> Order:
    """Somebody's agreement to changes."""
    title = words(
        "freeze.approval",
        service=row["service"] or words("freeze.all_services"),
        who=row["created_by_name"],
    )
    whose = "" if row["organization_id"] else words("freeze.of_platform")
    return _shown(row, title, whose, now, here)


def _shown(row: Row, title: str, note: str, now: datetime, here: str) -> Order:
    ends = min(row["ends_at"], row["ended_at"] or row["ends_at"])
    is_live = row["starts_at"] <= now < ends
    when = words(
        "guards.span", from_=say.when(row["starts_at"], now, here), to=say.when(ends, now, here)
    )
    emergency = (
        words(
            "guards.emergency_was",
            what=words(f"emergency.{row['emergency']}"),
            plan=row["rollback_plan"],
        )
        if row["emergency"]
        else ""
    )
    status = (
        Status("info", words("guards.holds", time=say.when(ends, now, here)), "clock")
        if is_live
        else Status("none", words("guards.was"), "clock")
    )
    lines = tuple(line for line in (when, emergency, note) if line)
    return Order(row["id"], status, title, row["reason"], lines, is_live)


def read_at(text: str, here: str) -> datetime | None:
    """A moment of the reader's clock, as the browser writes it. Raises ValueError."""
    if not text:
        return None
    return datetime.fromisoformat(text[:40]).replace(tzinfo=ZoneInfo(here))


@dataclass(frozen=True, slots=True)
class Question:
    """What was asked, and by whom."""

    service: str
    typed_at: str
    organization: str
    """Empty for the whole platform."""
    now: datetime
    here: str


def build_freeze(
    question: Question,
    verdict: Verdict,
    *,
    approvals: Sequence[Row],
    form: OrderForm | None,
    errors: Mapping[str, str],
) -> FreezeView:
    """The answer with its reasons."""
    now, here = question.now, question.here
    decision = verdict.decision
    until = words("freeze.until_unknown") if decision is not Decision.ALLOW else ""
    if verdict.until:
        key = "freeze.until.allow" if decision is Decision.ALLOW else "freeze.until"
        until = words(key, time=say.when(verdict.until, now, here))
    return FreezeView(
        service=question.service,
        at=question.typed_at,
        verdict=_decision(decision),
        headline=words(f"freeze.{decision.value}", service=question.service or words("freeze.any")),
        until=until,
        reasons=tuple(_reason(one, question) for one in verdict.reasons),
        scope=words("freeze.own", organization=question.organization)
        if question.organization
        else words("freeze.platform"),
        zone_note=words("calendar.zone", town=town(here)),
        approvals=tuple(build_approval(row, now, here) for row in approvals),
        form=form,
        form_note=words("freeze.note_own" if question.organization else "freeze.note_platform"),
        errors=errors,
    )


def _decision(decision: Decision) -> Status:
    return Status(_DECISIONS[decision], words(f"freeze.word.{decision.value}"))


def _reason(reason: Reason, question: Question) -> FreezeReasonView:
    now, here = question.now, question.here
    named = [one for one in reason.weddings if one.wedding_id is not None]
    counts = Counter(one.organization_name for one in reason.weddings)
    lift = reason.approval
    status = _decision(reason.decision) if lift is None else _decision(Decision.ALLOW)
    return FreezeReasonView(
        status=status,
        text=reason.text,
        until=words("freeze.until", time=say.when(reason.until, now, here))
        if reason.until
        else words("freeze.until_unknown"),
        weddings=tuple(
            (
                words(
                    "freeze.wedding",
                    couple=one.initials or words("wedding.unnamed"),
                    day=f"{one.wedding_date:%a} {one.wedding_date.day} {one.wedding_date:%B}",
                ),
                f"/weddings/{one.wedding_id}",
            )
            for one in named[:MOST_LISTED]
        ),
        organizations=()
        if named
        else tuple(
            words("freeze.organization", name=name, n=n)
            for name, n in counts.most_common(MOST_LISTED)
        ),
        more=max(0, len(named or counts) - MOST_LISTED),
        lifted=words(
            "freeze.lifted",
            who=lift.created_by_name,
            time=say.when(lift.ends_at, now, here),
            why=lift.reason,
        )
        if lift
        else "",
    )
