"""What a rule would have said over a past range: the live judgement, over what is stored.

The same walk as the engine's, so that what `preview` shows is what would have been. It begins a
while before the range, so that a `for` or a cooldown under way at its start counts.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from wedsync_apm.clock import to_ms
from wedsync_apm.errors import FieldError, NotValid, RateLimited
from wedsync_apm.rules.judge import Change, Unit, judge_at, walk
from wedsync_apm.rules.limits import WEDDING_FACTOR, WeddingWindow
from wedsync_apm.rules.model import RuleDraft
from wedsync_apm.rules.sources import GRID_MS, Source
from wedsync_apm.rules.verdict import Standing

LONGEST_RANGE: Final = timedelta(days=31)
MOST_INSTANCES: Final = 50
MOST_SAMPLES: Final = 300_000
MOST_VERDICTS: Final = 150_000
"""What one question may cost: some three seconds of one core, 17 to 25 us a verdict."""
MOST_AT_ONCE: Final = 2
"""Questions of one caller that a process judges at the same time."""


@dataclass(frozen=True, slots=True)
class Alarm:
    """From a beginning to its end; `end` is None for one that goes on."""

    begin: Standing
    end: Standing | None


@dataclass(frozen=True, slots=True)
class Replay:
    """One instance over a range: verdicts, thinned out, the alarms, and where it stands at last."""

    subject: Unit
    points: tuple[Standing, ...]
    alarms: tuple[Alarm, ...]
    changes: tuple[Change, ...]
    last: Standing | None


class Budget:
    """Counts what a question costs. Raises NotValid where it becomes too much."""

    def __init__(self, samples: int = MOST_SAMPLES, verdicts: int = MOST_VERDICTS) -> None:
        self._left = {"samples": samples, "verdicts": verdicts}

    def spend(self, what: str, count: int = 1) -> None:
        """So many more of it."""
        self._left[what] -= count
        if self._left[what] < 0:
            reason = f"takes too many {what}: ask for a shorter range, or watch fewer series"
            raise NotValid(errors=[FieldError("start", reason)])


class Turnstile:
    """Lets so many questions of one caller in at a time, so that nobody takes all the cores."""

    def __init__(self, most: int = MOST_AT_ONCE) -> None:
        self._most = most
        self._inside: Counter[UUID] = Counter()

    @contextmanager
    def one_of(self, caller: UUID) -> Iterator[None]:
        """One question of a caller. Raises RateLimited while he has as many as he may."""
        if self._inside[caller] >= self._most:
            raise RateLimited("Your questions before this one are still being judged.", 2.0)
        self._inside[caller] += 1
        try:
            yield
        finally:
            self._inside[caller] -= 1
            if not self._inside[caller]:
                del self._inside[caller]


def lead_of(rule: RuleDraft) -> timedelta:
    """How long before a range judging begins."""
    waits = (rule.for_duration, rule.keep_firing_for, rule.cooldown_period)
    flapping = rule.flap_window if rule.flap_changes else timedelta()
    return min(sum(waits, flapping) + timedelta(minutes=1), timedelta(days=1))


def replay(
    subject: Unit,
    source: Source,
    start: datetime,
    end: datetime,
    weddings: Sequence[WeddingWindow] = (),
    *,
    factor: float = WEDDING_FACTOR,
    most_points: int = 500,
    budget: Budget | None = None,
) -> Replay:
    """Judges an instance over [start, end]; of its verdicts about `most_points` are kept, every one
    where the state or the limit changes among them."""
    budget = budget or Budget()
    gap_ms = max((to_ms(end) - to_ms(start)) // max(most_points, 1), 1)
    points: list[Standing] = []
    changes: list[Change] = []
    alarms: list[Alarm] = []
    begin: Standing | None = None
    before: Standing | None = None
    kept_ms = -(2**62)
    since = start - lead_of(subject.rule)
    for standing in _walk_anew(subject, source, end, weddings, since=since, factor=factor):
        budget.spend("verdicts")
        if (before is not None and before.state.is_alarming) != standing.state.is_alarming:
            changes.append(Change(subject.instance.key, standing))
            if standing.state.is_alarming:
                begin = standing
            elif begin is not None:
                if standing.evaluated_at >= start:
                    alarms.append(Alarm(begin, standing))
                begin = None
        at_ms = to_ms(standing.evaluated_at)
        is_new = before is None or (before.state, before.limit) != (standing.state, standing.limit)
        if standing.evaluated_at >= start and (is_new or at_ms - kept_ms >= gap_ms):
            points.append(standing)
            kept_ms = at_ms
        before = standing
    if begin is not None:
        alarms.append(Alarm(begin, None))
    # The range ends where it was asked to, not at the last whole second before.
    last = before
    if before is None or before.evaluated_at < end:
        last = judge_at(subject, source, to_ms(end), before, weddings, factor=factor)
    return Replay(subject, tuple(points), tuple(alarms), tuple(changes), last)


def _walk_anew(
    subject: Unit,
    source: Source,
    end: datetime,
    weddings: Sequence[WeddingWindow],
    *,
    since: datetime,
    factor: float,
) -> Iterator[Standing]:
    """As if the engine had seen the rule at `since` for the first time: then it looks at once at
    what is there with or without samples, so that a silence that lasts from before is one."""
    if subject.instance.is_fixed:
        first_ms = to_ms(since) // GRID_MS * GRID_MS
        first = judge_at(subject, source, first_ms, None, weddings, factor=factor)
        if first is not None:
            yield first
        subject = replace(subject, standing=first)
    yield from walk(subject, source, end, weddings, since=since, factor=factor)
