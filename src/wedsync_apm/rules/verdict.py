"""The verdict on one instance of a rule, from instant to instant.

ok ──bad──> pending ──held for `for_duration`──> firing ──good──> keeping ──`keep_firing_for`──> ok
     silence, policy alert: pending ──────────> no_data
     keeping ──bad, or not past the clear value──> firing
     an end among too many changes: flapping, an alarm that goes on, until they have become fewer

A series that is over, a silence, and a question that has no answer are told apart by `Gap`. The
machine of `for` and `keep_firing_for` is Prometheus's; `docs/rules.md` has the table of what is
different on purpose.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from wedsync_apm.rules.aggregate import Gap, Reading
from wedsync_apm.rules.limits import Limit
from wedsync_apm.rules.model import NoDataPolicy, RuleDraft


class State(StrEnum):
    """Where one instance of a rule stands."""

    OK = "ok"
    PENDING = "pending"
    FIRING = "firing"
    NO_DATA = "no_data"
    KEEPING = "keeping"
    FLAPPING = "flapping"

    @property
    def is_alarming(self) -> bool:
        """Whether it keeps an incident open."""
        return self not in (State.OK, State.PENDING)


@dataclass(frozen=True, slots=True)
class Standing:
    """The verdict on one instance at `evaluated_at`, with all that explains it."""

    state: State
    value: float | None
    limit: Limit
    sample_count: int
    pending_since: datetime | None
    firing_since: datetime | None
    changed_at: datetime
    evaluated_at: datetime
    keeping_since: datetime | None = None
    alarmed_at: datetime | None = None
    """When it last began to alarm; the cooldown counts from there."""
    flips: tuple[datetime, ...] = ()
    """The last beginnings and ends, under a rule that looks for flapping."""
    gap: Gap | None = None
    """Why there is no value."""


class _Signal(StrEnum):
    """What an instant says."""

    BAD = "bad"
    NOT_CLEAR = "not_clear"
    GOOD = "good"
    SILENT = "silent"
    UNKNOWN = "unknown"


def advance(
    rule: RuleDraft, previous: Standing | None, found: Reading | Gap, limit: Limit, at: datetime
) -> Standing:
    """The next verdict, from the one before, what was found at `at`, and the limit that holds."""
    inner = _inner(previous)
    was_alarming = previous is not None and previous.state.is_alarming
    signal = _signal(rule, inner, found, limit)
    pending_since = previous.pending_since if previous else None
    keeping_since = previous.keeping_since if previous else None
    following = _follow(rule, inner, signal, keeping_since, at)
    if following is State.PENDING:
        pending_since = pending_since if inner is State.PENDING and pending_since else at
        alarmed_at = previous.alarmed_at if previous else None
        is_quiet = (
            not was_alarming and alarmed_at is not None and at < alarmed_at + rule.cooldown_period
        )
        # Kept through a gap, a breach is not confirmed by it.
        is_seen = signal in (_Signal.BAD, _Signal.SILENT)
        if is_seen and not is_quiet and at - pending_since >= rule.for_duration:
            following = State.NO_DATA if signal is _Signal.SILENT else State.FIRING
    if following in (State.OK, State.KEEPING):
        pending_since = None
    keeping_since = (keeping_since or at) if following is State.KEEPING else None
    flips = _flips(rule, previous, inner, following, at)
    state = following
    if was_alarming and not following.is_alarming and _is_flapping(rule, flips, at):
        state = State.FLAPPING
    firing_since = None
    if state.is_alarming:
        firing_since = previous.firing_since if previous and was_alarming else at
    alarmed_at = previous.alarmed_at if previous else None
    if state.is_alarming and not was_alarming:
        alarmed_at = at
    return Standing(
        state=state,
        value=found.value if isinstance(found, Reading) else None,
        limit=limit,
        sample_count=found.sample_count if isinstance(found, Reading) else 0,
        pending_since=pending_since,
        firing_since=firing_since,
        changed_at=previous.changed_at if previous and previous.state is state else at,
        evaluated_at=at,
        keeping_since=keeping_since,
        alarmed_at=alarmed_at,
        flips=flips,
        gap=found if isinstance(found, Gap) else None,
    )


def due_at(rule: RuleDraft, standing: Standing) -> tuple[datetime, ...]:
    """The instants at which the verdict may change though nothing is measured anew."""
    due = []
    if standing.pending_since is not None:
        due.append(standing.pending_since + rule.for_duration)
        if standing.alarmed_at is not None:
            due.append(standing.alarmed_at + rule.cooldown_period)
    if standing.keeping_since is not None:
        due.append(standing.keeping_since + rule.keep_firing_for)
    if standing.state is State.FLAPPING and len(standing.flips) >= rule.flap_changes > 0:
        due.append(standing.flips[-rule.flap_changes] + rule.flap_window)
    return tuple(due)


def _inner(previous: Standing | None) -> State:
    """The state below that of flapping."""
    if previous is None:
        return State.OK
    if previous.state is State.FLAPPING:
        return State.PENDING if previous.pending_since else State.OK
    return previous.state


def _signal(rule: RuleDraft, inner: State, found: Reading | Gap, limit: Limit) -> _Signal:
    operator = rule.comparison_operator
    if isinstance(found, Reading):
        if operator.is_breached(found.value, limit.value):
            return _Signal.BAD
        if inner.is_alarming and limit.clear_value != limit.value:
            # Between the limit and the clear value it goes on, whether it was bad or silent before.
            clear = limit.clear_value
            is_clear = found.value <= clear if operator.is_upper else found.value >= clear
            return _Signal.GOOD if is_clear else _Signal.NOT_CLEAR
        return _Signal.GOOD
    return _SAID_BY_GAP[_policy(rule, found)]


def _policy(rule: RuleDraft, gap: Gap) -> NoDataPolicy:
    match gap:
        case Gap.ABSENT:
            return rule.no_data_policy
        case Gap.STALE:
            return rule.stale_policy
        case Gap.NOT_APPLICABLE:
            return NoDataPolicy.OK


_SAID_BY_GAP: Final[Mapping[NoDataPolicy, _Signal]] = {
    NoDataPolicy.OK: _Signal.GOOD,
    NoDataPolicy.ALERT: _Signal.SILENT,
    NoDataPolicy.KEEP: _Signal.UNKNOWN,
}


def _follow(
    rule: RuleDraft, inner: State, signal: _Signal, keeping_since: datetime | None, at: datetime
) -> State:
    """Where a signal leads; PENDING still to be asked whether it is due."""
    match signal:
        case _Signal.BAD:
            return State.FIRING if inner.is_alarming else State.PENDING
        case _Signal.NOT_CLEAR:
            return State.FIRING
        case _Signal.SILENT:
            return State.NO_DATA if inner.is_alarming else State.PENDING
        case _Signal.UNKNOWN if inner is not State.KEEPING:
            return inner
        case _:
            # Good; or nothing is known while an end waits, which nothing has contradicted.
            if inner.is_alarming and at - (keeping_since or at) < rule.keep_firing_for:
                return State.KEEPING
            return State.OK


def _flips(
    rule: RuleDraft, previous: Standing | None, inner: State, following: State, at: datetime
) -> tuple[datetime, ...]:
    if rule.flap_changes == 0:
        return ()
    flips = previous.flips if previous else ()
    if inner.is_alarming != following.is_alarming:
        flips = (*flips, at)
    return flips[-rule.flap_changes :]


def _is_flapping(rule: RuleDraft, flips: tuple[datetime, ...], at: datetime) -> bool:
    return (
        rule.flap_changes > 0
        and len(flips) >= rule.flap_changes
        and at - flips[-rule.flap_changes] < rule.flap_window
    )
