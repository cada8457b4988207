"""The verdict on one series under one rule, from instant to instant.

ok ──breach──> pending ──held for `for_duration`──> firing ──past the clear value──> ok
 └──────────── for_duration = 0 ─────────────────────^
any ──no samples, policy alert, for `for_duration`──> no_data ──samples──> ok | firing
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from wedsync_apm.clock import to_datetime, to_ms
from wedsync_apm.rules.aggregate import Reading, Samples, read_window
from wedsync_apm.rules.limits import WEDDING_FACTOR, Limit, WeddingWindow, resolve_limit, wedding_at
from wedsync_apm.rules.model import AlertRule, NoDataPolicy, RuleDraft

CATCH_UP: Final = timedelta(minutes=15)
"""After a pause, instants further back than this are not judged one by one."""


class State(StrEnum):
    """Where one series stands under one rule."""

    OK = "ok"
    PENDING = "pending"
    FIRING = "firing"
    NO_DATA = "no_data"

    @property
    def is_alarming(self) -> bool:
        """Whether it keeps an incident open."""
        return self in (State.FIRING, State.NO_DATA)


@dataclass(frozen=True, slots=True)
class Standing:
    """The verdict on one series under one rule at `evaluated_at`, with all that explains it."""

    state: State
    value: float | None
    limit: Limit
    sample_count: int
    pending_since: datetime | None
    firing_since: datetime | None
    changed_at: datetime
    evaluated_at: datetime


def advance(
    rule: RuleDraft,
    previous: Standing | None,
    reading: Reading | None,
    limit: Limit,
    at: datetime,
    *,
    quiet_until: datetime | None = None,
) -> Standing:
    """The next verdict. Until `quiet_until` a breach stays pending: the rule has fired just now."""
    before = previous.state if previous else State.OK
    pending_since = previous.pending_since if previous else None
    firing_since = previous.firing_since if previous else None
    if reading is None:
        state = _without_data(rule, before)
    else:
        state = _with_data(rule, before, reading.value, limit)
    if state is State.PENDING:
        pending_since = pending_since if before is State.PENDING and pending_since else at
        is_due = at - pending_since >= rule.for_duration
        is_quiet = quiet_until is not None and at < quiet_until
        # Kept through a gap, a breach is not confirmed by it.
        is_seen = reading is not None or rule.no_data_policy is NoDataPolicy.ALERT
        if is_due and is_seen and not is_quiet:
            state = State.FIRING if reading is not None else State.NO_DATA
    if state.is_alarming:
        firing_since = firing_since or at
    else:
        firing_since = None
        if state is State.OK:
            pending_since = None
    return Standing(
        state=state,
        value=reading.value if reading else None,
        limit=limit,
        sample_count=reading.sample_count if reading else 0,
        pending_since=pending_since,
        firing_since=firing_since,
        changed_at=previous.changed_at if previous and previous.state is state else at,
        evaluated_at=at,
    )


def _with_data(rule: RuleDraft, before: State, value: float, limit: Limit) -> State:
    operator = rule.comparison_operator
    if operator.is_breached(value, limit.value):
        return State.FIRING if before.is_alarming else State.PENDING
    if before is State.FIRING and limit.clear_value != limit.value:
        # Between the limit and the clear value a firing series stays firing.
        is_clear = value <= limit.clear_value if operator.is_upper else value >= limit.clear_value
        return State.OK if is_clear else State.FIRING
    return State.OK


def _without_data(rule: RuleDraft, before: State) -> State:
    match rule.no_data_policy:
        case NoDataPolicy.OK:
            return State.OK
        case NoDataPolicy.ALERT:
            return State.NO_DATA if before.is_alarming else State.PENDING
        case NoDataPolicy.KEEP:
            return before


@dataclass(frozen=True, slots=True)
class Change:
    """A series began or ceased to alarm at `standing.evaluated_at`."""

    series_id: int
    standing: Standing

    @property
    def is_alarming(self) -> bool:
        """True for the beginning."""
        return self.standing.state.is_alarming


@dataclass(frozen=True, slots=True)
class Unit:
    """One rule over one series, as it is known before judging."""

    rule: AlertRule
    series_id: int
    unit: str | None = None
    standing: Standing | None = None
    ended_at: datetime | None = None
    """When the sender said that the series is over: its silence then means nothing."""


def judge(
    subject: Unit,
    samples: Samples,
    at: datetime,
    weddings: Sequence[WeddingWindow] = (),
    *,
    since: datetime | None = None,
    factor: float = WEDDING_FACTOR,
    quiet_until: datetime | None = None,
) -> tuple[Standing | None, tuple[Change, ...]]:
    """Judges a series at each of its samples since the last verdict, and at `at`.

    `samples` reach back to one window before `since`, or before the last verdict if that is later;
    without a `since` to `CATCH_UP` ago.

    Every instant is judged by the window, the phase and the limit of that instant, so that the
    history does not depend on when the engine came round to it. None for a series that has no
    samples and never had a verdict: a rule says nothing about what it has never seen.
    """
    rule, standing = subject.rule, subject.standing
    width_ms = round(rule.evaluation_window.total_seconds() * 1000)
    changes: list[Change] = []
    for instant in _instants(subject, samples, since or at - CATCH_UP, at):
        moment = to_datetime(instant)
        reading = read_window(rule.aggregation, samples, instant, width_ms)
        if reading is None and (standing is None or _is_over(subject, moment)):
            if standing is None or standing.state is State.OK:
                continue
            following = Standing(State.OK, None, standing.limit, 0, None, None, moment, moment)
        else:
            limit = resolve_limit(
                rule,
                wedding_at(weddings, moment),
                is_declared_wedding=reading is not None and reading.is_declared_wedding,
                factor=factor,
                unit=subject.unit,
            )
            following = advance(rule, standing, reading, limit, moment, quiet_until=quiet_until)
        was_alarming = standing is not None and standing.state.is_alarming
        if following.state.is_alarming != was_alarming:
            changes.append(Change(subject.series_id, following))
            if not was_alarming:
                quiet_until = moment + rule.cooldown_period
        standing = following
    return standing, tuple(changes)


def _instants(subject: Unit, samples: Samples, earliest: datetime, at: datetime) -> Iterator[int]:
    if subject.standing is not None:
        earliest = max(earliest, subject.standing.evaluated_at)
    at_ms = to_ms(at)
    yield from (t for t in samples.times_between(to_ms(earliest), at_ms) if t != at_ms)
    if subject.standing is None or to_ms(subject.standing.evaluated_at) < at_ms:
        yield at_ms


def _is_over(subject: Unit, moment: datetime) -> bool:
    return subject.ended_at is not None and subject.ended_at <= moment
