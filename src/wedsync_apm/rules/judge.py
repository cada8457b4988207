"""Judges an instance over time: at which instants, by which number, by which limit.

The instants are fixed by what was measured, not by when the engine looked: each sample's own time;
and, of what no sample brings, the next whole second. So live judging, judging again after a
restart, and `preview` come to the same verdicts at the same times.
"""

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from wedsync_apm.clock import to_datetime, to_ms
from wedsync_apm.rules.aggregate import Gap
from wedsync_apm.rules.limits import WEDDING_FACTOR, WeddingWindow, resolve_limit, wedding_at
from wedsync_apm.rules.model import AlertRule
from wedsync_apm.rules.sources import GRID_MS, Source, on_grid
from wedsync_apm.rules.verdict import Standing, advance, due_at

CATCH_UP: Final = timedelta(minutes=15)
"""After a pause, instants further back than this are not judged one by one."""


@dataclass(frozen=True, slots=True)
class Change:
    """An instance began or ceased to alarm at `standing.evaluated_at`."""

    instance_key: str
    standing: Standing
    is_late: bool = False
    """Samples that came late have changed what had been told."""

    @property
    def is_alarming(self) -> bool:
        """True for the beginning."""
        return self.standing.state.is_alarming


@dataclass(frozen=True, slots=True)
class Instance:
    """What a rule is judged on: one series, or those with the same values of some tags."""

    key: str
    labels: Mapping[str, str] = field(default_factory=dict)
    series_ids: tuple[int, ...] = ()
    denominator_ids: tuple[int, ...] = ()
    is_fixed: bool = False
    """There with or without series: the only instance of a rule over all of them."""

    @property
    def all_series_ids(self) -> tuple[int, ...]:
        """Above and below the line."""
        return self.series_ids + self.denominator_ids


@dataclass(frozen=True, slots=True)
class Unit:
    """One instance of one rule, as it is known before judging."""

    rule: AlertRule
    instance: Instance
    unit: str | None = None
    """What the number is measured in."""
    standing: Standing | None = None


def judge(
    subject: Unit,
    source: Source,
    at: datetime,
    weddings: Sequence[WeddingWindow] = (),
    *,
    since: datetime | None = None,
    factor: float = WEDDING_FACTOR,
    grid_ms: int = GRID_MS,
) -> tuple[Standing | None, tuple[Change, ...]]:
    """Judges an instance at each instant after the last verdict and up to `at`.

    The source reaches back to one window before `since`, or before the last verdict if that is
    later; without a `since` to `CATCH_UP` ago. None for an instance that has no samples and never
    had a verdict: a rule says nothing about what it has never seen, unless it is the one instance
    of a rule over all.
    """
    changes: list[Change] = []
    was_alarming = subject.standing is not None and subject.standing.state.is_alarming
    standing = subject.standing
    for standing in walk(
        subject, source, at, weddings, since=since, factor=factor, grid_ms=grid_ms
    ):
        if standing.state.is_alarming != was_alarming:
            was_alarming = not was_alarming
            changes.append(Change(subject.instance.key, standing))
    return standing, tuple(changes)


def walk(
    subject: Unit,
    source: Source,
    at: datetime,
    weddings: Sequence[WeddingWindow] = (),
    *,
    since: datetime | None = None,
    factor: float = WEDDING_FACTOR,
    grid_ms: int = GRID_MS,
) -> Iterator[Standing]:
    """The same, verdict by verdict."""
    standing = subject.standing
    earliest = since or at - CATCH_UP
    if standing is not None:
        earliest = max(earliest, standing.evaluated_at)
    instant, end = to_ms(earliest), to_ms(at)
    instants = _Instants(subject.rule, source, _edges(weddings, grid_ms), end, grid_ms)
    while (following := instants.after(instant, standing)) is not None and following <= end:
        instant = following
        standing = judge_at(subject, source, instant, standing, weddings, factor=factor)
        if standing is not None:
            yield standing


def judge_at(
    subject: Unit,
    source: Source,
    at_ms: int,
    previous: Standing | None,
    weddings: Sequence[WeddingWindow] = (),
    *,
    factor: float = WEDDING_FACTOR,
) -> Standing | None:
    """The verdict of one instant: value, then limit, then state."""
    found = source.read(at_ms)
    is_unseen = found in (Gap.ABSENT, Gap.STALE) and not subject.instance.is_fixed
    if previous is None and is_unseen:
        return None
    moment = to_datetime(at_ms)
    limit = resolve_limit(
        subject.rule,
        wedding_at(weddings, moment),
        is_declared_wedding=not isinstance(found, Gap) and found.is_declared_wedding,
        factor=factor,
        unit=subject.unit,
    )
    return advance(subject.rule, previous, found, limit, moment)


@dataclass(frozen=True, slots=True)
class _Instants:
    """When to judge, up to `end`."""

    rule: AlertRule
    source: Source
    edges: Sequence[int]
    end: int
    grid_ms: int

    def after(self, instant: int, standing: Standing | None) -> int | None:
        """The first instant after `instant` at which anything may change, at last that of the end:
        a verdict shall say when it was looked at, if that cannot make it another one."""
        place = bisect_right(self.edges, instant)
        found = list(self.edges[place : place + 1])
        if standing is not None:
            dues = (on_grid(to_ms(due), self.grid_ms) for due in due_at(self.rule, standing))
            found += [due for due in dues if due > instant]
        moving = self.source.next_after(instant, self.grid_ms)
        if moving is not None:
            found.append(moving)
        last = self.end // self.grid_ms * self.grid_ms
        if last > instant and not self.source.drifts(instant):
            found.append(last)
        return min(found, default=None)


def _edges(weddings: Sequence[WeddingWindow], grid_ms: int) -> list[int]:
    return sorted(
        {
            on_grid(to_ms(edge), grid_ms)
            for window in weddings
            for edge in (window.starts_at, window.ends_at)
        }
    )
