"""The organizations' rules over samples in memory, kept up with what is committed.

Nothing here is more than a copy: verdicts come from rows, samples from blocks. Whoever is not sure
that his copy is right forgets it, and reads it anew when the organization is looked at next.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import numpy as np

from wedsync_apm.clock import to_ms
from wedsync_apm.db.pool import Connection
from wedsync_apm.engine import store
from wedsync_apm.engine.leases import Cursor
from wedsync_apm.metrics.blocks.model import Columns, Context
from wedsync_apm.rules import live
from wedsync_apm.rules.judge import CATCH_UP, Change, Instance, Unit
from wedsync_apm.rules.limits import WEDDING_FACTOR, WeddingWindow
from wedsync_apm.rules.live import Courses, Standings
from wedsync_apm.rules.memory import Memory, fits_memory
from wedsync_apm.rules.model import AlertRule, RuleKind
from wedsync_apm.rules.transitions import Key, Transition
from wedsync_apm.rules.verdict import Standing

LONGEST: Final = timedelta(hours=1)
"""The longest window that is held; rules with longer ones are judged from the database."""
AHEAD: Final = timedelta(minutes=15)
"""So far ahead of our clock are samples taken in at most."""


def is_held(rule: AlertRule) -> bool:
    """Whether a rule is judged from memory."""
    return fits_memory(rule, to_width_ms(LONGEST))


def to_width_ms(width: timedelta) -> int:
    """Whole milliseconds."""
    return round(width.total_seconds() * 1000)


@dataclass(slots=True)
class Held:
    """One organization."""

    memory: Memory
    weddings: Sequence[WeddingWindow]
    measures: dict[int, str | None] = field(default_factory=dict)
    """Of the series that are held, what they are measured in."""
    alarming: set[Key] = field(default_factory=set)
    transitions: list[Transition] = field(default_factory=list)
    """Not acted on yet."""
    told: frozenset[UUID] | None = None
    """Of which paused rules the owner has been told; None: of whatever was paused before."""
    rows_at: datetime | None = None
    """When all its verdicts were last written."""

    @property
    def is_news(self) -> bool:
        """Whether there is anything to write or to tell."""
        return (
            bool(self.transitions or self.memory.has_moved)
            or self.told != self.memory.paused.keys()
        )

    def changes_of(self, transitions: Iterable[Transition]) -> list[tuple[AlertRule, Change]]:
        """Which of them are beginnings and ends."""
        found = []
        for transition in transitions:
            rule, key = transition.unit.rule, transition.unit.instance.key
            is_alarming = transition.standing.state.is_alarming
            if is_alarming == ((rule.id, key) in self.alarming):
                continue
            (self.alarming.add if is_alarming else self.alarming.discard)((rule.id, key))
            found.append((rule, Change(key, transition.standing, transition.is_late)))
        return found


class Memories:
    """By organization."""

    def __init__(self, factor: float = WEDDING_FACTOR) -> None:
        self._factor = factor
        self._held: dict[UUID, Held] = {}
        self._outdated: set[UUID] = set()

    def __contains__(self, organization_id: UUID) -> bool:
        return organization_id in self._held

    def __getitem__(self, organization_id: UUID) -> Held:
        return self._held[organization_id]

    def is_current(self, organization_id: UUID) -> bool:
        """Whether it is held, with the rules and series that it has now."""
        return organization_id in self._held and organization_id not in self._outdated

    @property
    def organization_ids(self) -> tuple[UUID, ...]:
        """Those that are held."""
        return tuple(self._held)

    def forget(self) -> None:
        """Everything: somebody else has judged meanwhile, or what was judged was set back."""
        self._held.clear()
        self._outdated.clear()

    def drop(self, organization_id: UUID) -> None:
        """One organization, for the same reasons."""
        self._held.pop(organization_id, None)
        self._outdated.discard(organization_id)

    def outdate(self, organization_ids: Iterable[UUID]) -> None:
        """These have other rules or more series than they had."""
        self._outdated.update(one for one in organization_ids if one in self._held)

    async def take_news(
        self, cx: Connection, seen: str | None, organization_ids: Iterable[UUID], at: datetime
    ) -> None:
        """Takes in what has been committed for these organizations since a snapshot."""
        wanted = [one for one in organization_ids if one in self._held]
        if not wanted:
            return
        for block in await store.list_new_blocks(cx, seen, wanted):
            self._held[block.organization_id].memory.take(block.columns, [block.is_declared])
        for organization_id, series_id, ended_at in await store.list_ended_series(
            cx, wanted, at - CATCH_UP
        ):
            self._held[organization_id].memory.end(series_id, to_ms(ended_at))

    def believe(
        self, organization_id: UUID, weddings: Sequence[WeddingWindow], at: datetime
    ) -> None:
        """The calendar as it is now."""
        held = self._held[organization_id]
        if held.weddings != weddings:
            held.weddings = weddings
            held.memory.believe(weddings, to_ms(at))

    async def bind(
        self,
        cx: Connection,
        organization_id: UUID,
        units: Mapping[Key, tuple[AlertRule, Instance]],
        standings: Standings,
        weddings: Sequence[WeddingWindow],
        *,
        courses: Courses,
        looked_at: datetime,
        judged: Cursor,
        at: datetime,
    ) -> Held:
        """Holds an organization's rules as they are now, with the samples that they look at; each
        instance goes on from its last verdict.

        Where the organization was not held before, `standings` and `courses` are those of the rows,
        and `judged` says up to when and to which samples these have been judged.
        """
        held, is_new = self._held.get(organization_id), False
        if held is None:
            is_new = True
            held = Held(Memory(factor=self._factor), weddings)
            held.alarming = {key for key, one in standings.items() if one.state.is_alarming}
        else:
            standings = {**standings, **held.memory.standings()}
        held.weddings, held.told = weddings, None
        wanted = {key: unit for key, unit in units.items() if is_held(unit[0])}
        await self._load(cx, held, organization_id, wanted.values(), at)
        subjects = [
            Unit(rule, instance, _measure(rule, instance, held), _recent(standings.get(key), at))
            for key, (rule, instance) in wanted.items()
            if instance.is_fixed or any(one in held.measures for one in instance.all_series_ids)
        ]
        judged_at = judged.at if is_new and organization_id not in judged.behind else None
        held.memory.bind(
            subjects,
            weddings,
            to_ms(judged_at if judged_at and standings else looked_at),
            judged_ms=to_ms(judged_at) if judged_at else 0,
            courses=courses,
        )
        if judged_at:
            # What came after that, for a time before it, comes late.
            for block in await store.list_new_blocks(cx, judged.snapshot, [organization_id]):
                held.memory.expect_late(block.columns)
        held.alarming &= wanted.keys()
        self._held[organization_id] = held
        self._outdated.discard(organization_id)
        return held

    async def _load(
        self,
        cx: Connection,
        held: Held,
        organization_id: UUID,
        units: Iterable[tuple[AlertRule, Instance]],
        at: datetime,
    ) -> None:
        """What is not held yet, as far back as anything may be judged."""
        widths: dict[int, AlertRule] = {}
        for rule, instance in units:
            for series_id in instance.all_series_ids:
                known = widths.get(series_id)
                if known is None or known.evaluation_window < rule.evaluation_window:
                    widths[series_id] = rule
        longest = max((rule.evaluation_window for rule in widths.values()), default=timedelta())
        after = at - CATCH_UP - longest
        # One that is needed for longer than before is read again, as far back as it needs be.
        fresh = [
            one
            for one, rule in widths.items()
            if not held.memory.reaches(one, to_ms(at - CATCH_UP - rule.evaluation_window))
        ]
        if not fresh:
            return
        windows = await live.list_windows(cx, organization_id, fresh, after, at + AHEAD)
        for series_id in fresh:
            held.memory.keep(series_id, widths[series_id], to_ms(after))
        for series_id, window in windows.items():
            held.measures[series_id] = window.unit
            times = np.array(window.samples.times_ms, np.int64)
            held.memory.load(
                Columns(
                    np.full(len(times), series_id, np.int32),
                    times,
                    np.array(window.samples.values, np.float64),
                    np.zeros(len(times), np.int64),
                    np.array(window.samples.declared, np.int32),
                    (Context(None, ""), Context(None, "")),
                ),
                [False, True],
            )
            if window.ended_at is not None:
                held.memory.end(series_id, to_ms(window.ended_at))


def _measure(rule: AlertRule, instance: Instance, held: Held) -> str | None:
    known = [held.measures[one] for one in instance.all_series_ids if one in held.measures]
    return known[0] if known and rule.rule_kind is not RuleKind.RATIO else None


def _recent(standing: Standing | None, at: datetime) -> Standing | None:
    """After a long pause it goes on from where a pause is caught up with."""
    if standing is None:
        return None
    return replace(standing, evaluated_at=max(standing.evaluated_at, at - CATCH_UP))
