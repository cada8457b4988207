"""Guard modes, moments of the week, and the freeze: what stands in the way of a change.

A reason bans a change or asks for an approval. An approval lifts the reasons that are within its
reach: a platform's those of everybody, an organization's those of its own weddings; a ban is lifted
by an emergency alone. What cannot be read bans.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Final, Literal
from uuid import UUID

from wedsync_apm.errors import FieldError


class GuardMode(StrEnum):
    """How closely the platform watches, the calmest first."""

    NORMAL = "normal"
    ENHANCED = "enhanced"
    MAXIMUM = "maximum"


class Emergency(StrEnum):
    """What is grave enough to lower a guard mode or to lift a ban."""

    PAYMENT = "payment"
    AUTHENTICATION = "authentication"
    CRITICAL_INFRASTRUCTURE = "critical_infrastructure"
    SECURITY = "security"
    DATA_LOSS = "data_loss"


LONGEST_ORDER: Final = timedelta(hours=8)
"""Overrides and approvals end by themselves after that at the latest; the database holds to it."""

SHORTEST_REASON: Final = 3
LONGEST_REASON: Final = 1000
LONGEST_PLAN: Final = 2000
MOST_MINUTES: Final = int(LONGEST_ORDER / timedelta(minutes=1))


def find_order_faults(
    reason: str, minutes: int | None, emergency: Emergency | None, plan: str | None
) -> list[FieldError]:
    """What is wrong with an override or an approval before anybody looks at the mode."""
    faults = []
    if not SHORTEST_REASON <= len(reason.strip()) <= LONGEST_REASON:
        words = f"says why, in {SHORTEST_REASON} to {LONGEST_REASON} characters"
        faults.append(FieldError("reason", words))
    if minutes is None or not 1 <= minutes <= MOST_MINUTES:
        faults.append(FieldError("minutes", f"is a number from 1 to {MOST_MINUTES}"))
    if emergency is not None and plan is None:
        faults.append(FieldError("rollback_plan", "is needed with an emergency: how to go back"))
    if plan is not None and not SHORTEST_REASON <= len(plan.strip()) <= LONGEST_PLAN:
        words = f"says how to go back, in {SHORTEST_REASON} to {LONGEST_PLAN} characters"
        faults.append(FieldError("rollback_plan", words))
    return faults


_DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_MOMENT: Final = re.compile(rf"({'|'.join(_DAYS)}) ([01]\d|2[0-3]):([0-5]\d)")
_WEEK: Final = timedelta(days=7)


def read_moment(text: str) -> timedelta | None:
    """ "fri 18:00" as the time since Monday 00:00; None for what is no moment of a week."""
    match = _MOMENT.fullmatch(text)
    if match is None:
        return None
    return timedelta(days=_DAYS.index(match[1]), hours=int(match[2]), minutes=int(match[3]))


def write_moment(since_monday: timedelta) -> str:
    """The other way; the end of a week is the next one's Monday."""
    minutes = int((since_monday % _WEEK) / timedelta(minutes=1))
    days, rest = divmod(minutes, 24 * 60)
    return f"{_DAYS[days]} {rest // 60:02}:{rest % 60:02}"


def place_span(begins: timedelta, ends: timedelta) -> tuple[timedelta, timedelta]:
    """The two moments as a span: an end that is not after its beginning lies in the next week."""
    return begins, ends if ends > begins else ends + _WEEK


class Decision(StrEnum):
    """Whether something may be changed, the mildest first."""

    ALLOW = "allow"
    NEEDS_APPROVAL = "needs_approval"
    BLOCKED = "blocked"


_GRAVITY: Final = {decision: rank for rank, decision in enumerate(Decision)}

Code = Literal[
    "calendar_unreadable",
    "weekly_freeze",
    "guard_mode",
    "wedding_day",
    "wedding_near",
    "wedding_week",
]


@dataclass(frozen=True, slots=True)
class Calendar:
    """What holds at the instant that is asked about, but for the weddings."""

    is_zone_known: bool
    time_zone: str | None
    freeze_until: datetime | None
    """Set while the weekly freeze holds."""
    next_freeze_at: datetime | None
    weekly_freeze: Decision
    blocking_weddings: int
    sees_all: bool
    """Whether the question is about the whole platform."""
    mode: GuardMode
    mode_source: str
    mode_who: str
    mode_why: str
    mode_until: datetime | None


@dataclass(frozen=True, slots=True)
class Near:
    """A wedding that is not over. Without its id and initials where only counts may be known."""

    organization_id: UUID
    organization_name: str
    wedding_date: date
    time_zone: str
    is_zone_known: bool
    watched_from: datetime
    frozen_from: datetime
    starts_at: datetime
    ends_at: datetime
    wedding_id: UUID | None = None
    initials: str | None = None


@dataclass(frozen=True, slots=True)
class Approval:
    """Somebody's agreement to changes. `organization_id` None: an operator's, for the platform."""

    id: UUID
    organization_id: UUID | None
    service: str | None
    reason: str
    emergency: Emergency | None
    created_by_name: str
    ends_at: datetime

    def covers(self, service: str, decision: Decision, organization_id: UUID | None) -> bool:
        """Whether it lifts such a reason; `organization_id` is whose wedding that is, if any."""
        return (
            self.service in (None, service)
            and self.organization_id in (None, organization_id)
            and (decision is not Decision.BLOCKED or self.emergency is not None)
        )


@dataclass(frozen=True, slots=True)
class Reason:
    """One thing that stands in the way, or would but for an approval."""

    code: Code
    decision: Decision
    text: str
    until: datetime | None
    weddings: tuple[Near, ...] = ()
    approval: Approval | None = None
    """What lifts it."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer. `until`: when today's reasons are over, or, of an "allow", when the next begins
    or the approval ends; None where nobody knows."""

    decision: Decision
    reasons: tuple[Reason, ...]
    until: datetime | None


def decide(
    service: str,
    at: datetime,
    calendar: Calendar,
    weddings: Sequence[Near],
    approvals: Sequence[Approval],
) -> Verdict:
    """Whether the service may be changed at the instant, and what stands in the way."""
    found = [_lift(reason, service, approvals) for reason in _reasons_of_calendar(calendar)]
    found += _reasons_of_weddings(service, at, calendar, weddings, approvals)
    standing = [reason for reason in found if reason.approval is None]
    decision = max(
        (reason.decision for reason in standing), key=_GRAVITY.__getitem__, default=Decision.ALLOW
    )
    if decision is Decision.ALLOW:
        until = _end_of_peace(at, calendar, weddings, found)
    else:
        ends = [reason.until for reason in standing if reason.decision is decision]
        until = None if None in ends else max(end for end in ends if end is not None)
    found.sort(key=lambda reason: (reason.approval is not None, -_GRAVITY[reason.decision]))
    return Verdict(decision, tuple(found), until)


def unreadable(what: str) -> Verdict:
    """The answer where the calendar cannot be read at all."""
    text = f"{what} cannot be read, so nothing may be changed."
    return Verdict(
        Decision.BLOCKED, (Reason("calendar_unreadable", Decision.BLOCKED, text, None),), None
    )


def _reasons_of_calendar(calendar: Calendar) -> Iterable[Reason]:
    if not calendar.is_zone_known:
        yield from unreadable("The platform's time zone").reasons
        return
    if calendar.freeze_until is not None:
        text = f"The weekly freeze holds, by the clock in {calendar.time_zone}."
        yield Reason("weekly_freeze", calendar.weekly_freeze, text, calendar.freeze_until)
    if calendar.mode is not GuardMode.NORMAL:
        decision = (
            Decision.BLOCKED if calendar.mode is GuardMode.MAXIMUM else Decision.NEEDS_APPROVAL
        )
        text = f"The guard mode is {calendar.mode}, by {calendar.mode_who}: {calendar.mode_why}."
        yield Reason("guard_mode", decision, text, calendar.mode_until)


def _reasons_of_weddings(
    service: str,
    at: datetime,
    calendar: Calendar,
    weddings: Sequence[Near],
    approvals: Sequence[Approval],
) -> list[Reason]:
    groups: dict[tuple[Code, UUID | None], Reason] = {}
    close = sum(wedding.frozen_from <= at < wedding.ends_at for wedding in weddings)
    # Of the whole platform somebody marries nearly every day.
    few = calendar.sees_all and close < calendar.blocking_weddings
    for wedding in weddings:
        reason = _reason_of(wedding, at, few=few)
        if reason is None:
            continue
        lifted = _lift(reason, service, approvals, wedding.organization_id)
        key = reason.code, lifted.approval.id if lifted.approval else None
        known = groups.get(key)
        groups[key] = lifted if known is None else _join(known, lifted)
    return [_count(reason) for reason in groups.values()]


def _reason_of(wedding: Near, at: datetime, *, few: bool) -> Reason | None:
    if not wedding.watched_from <= at < wedding.ends_at:
        return None
    if at < wedding.frozen_from:
        return Reason("wedding_week", Decision.NEEDS_APPROVAL, "", wedding.frozen_from, (wedding,))
    decision = Decision.NEEDS_APPROVAL if few else Decision.BLOCKED
    code: Code = "wedding_day" if at >= wedding.starts_at else "wedding_near"
    return Reason(code, decision, "", wedding.ends_at, (wedding,))


def _join(one: Reason, other: Reason) -> Reason:
    ends = [end for end in (one.until, other.until) if end is not None]
    return replace(one, until=max(ends), weddings=(*one.weddings, *other.weddings))


_WORDS: Final[dict[Code, str]] = {
    "wedding_day": "under way today",
    "wedding_near": "about to take place",
    "wedding_week": "within the days in which only what cannot wait is changed",
}


def _count(reason: Reason) -> Reason:
    number = len(reason.weddings)
    text = f"{number} wedding{' is' if number == 1 else 's are'} {_WORDS[reason.code]}."
    if any(not wedding.is_zone_known for wedding in reason.weddings):
        text += " The time zone of some cannot be read: every hour counts that is the day anywhere."
    return replace(reason, text=text)


def _lift(
    reason: Reason,
    service: str,
    approvals: Sequence[Approval],
    organization_id: UUID | None = None,
) -> Reason:
    fitting = [one for one in approvals if one.covers(service, reason.decision, organization_id)]
    if not fitting:
        return reason
    return replace(reason, approval=max(fitting, key=lambda one: one.ends_at))


def _end_of_peace(
    at: datetime, calendar: Calendar, weddings: Sequence[Near], lifted: Sequence[Reason]
) -> datetime | None:
    ends = [reason.approval.ends_at for reason in lifted if reason.approval is not None]
    ends += [wedding.watched_from for wedding in weddings if wedding.watched_from > at]
    ends += [end for end in (calendar.next_freeze_at, calendar.mode_until) if end is not None]
    return min(ends, default=None)
