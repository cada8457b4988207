"""Judges alert rules against what has been committed since the last look.

One run, in one transaction with its cursor, so that a kill at any moment loses and repeats nothing:

1. The flushes that this reader has not seen say which organizations have new samples.
2. Those are judged, and all with a verdict that is not ok, and those whose turn it is: silence
   drains a window too, and nothing would touch it otherwise.
3. Each series is judged at the times of its samples and at `at`. One that begins to alarm opens the
   rule's incident; when the last one of a rule ceases, the incident is resolved.
4. The verdicts and the cursor are written.

An organization whose judging fails is set back alone and tried again when its turn comes; one that
takes too long is set aside for a minute, so that it does not hold up everybody else's alarms.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from operator import attrgetter
from typing import Final
from uuid import UUID

import psycopg

from wedsync_apm.db.pool import Connection
from wedsync_apm.engine import store
from wedsync_apm.rules import store as rules
from wedsync_apm.rules.limits import WEDDING_FACTOR, WeddingWindow
from wedsync_apm.rules.model import AlertRule
from wedsync_apm.rules.store import Standings
from wedsync_apm.rules.verdict import CATCH_UP, Change, Standing, State, Unit, judge
from wedsync_apm.telemetry import Counter, get_logger

log = get_logger(__name__)

READER: Final = "evaluate"
TURN_SECONDS: Final = 15
"""Every organization with a rule is judged at least this often, samples or not."""
KEPT_FOR: Final = timedelta(seconds=10)
"""A verdict that stays ok is written this often; until then its instants are judged again."""
CALENDAR_FOR: Final = timedelta(seconds=5)
"""How long a wedding calendar is believed."""
STATEMENT_SECONDS: Final = 5.0
SET_ASIDE_FOR: Final = timedelta(minutes=1)
LOOKS_A_WINDOW: Final = 300
"""A window of an hour moves too little in a second to be read anew each second: it is judged so
many times in its own length, one of five minutes or less each second."""
CALENDAR_MARGIN: Final = timedelta(minutes=1)

JUDGED = Counter("wedsync_apm_rules_judged_total", "Verdicts on a series under a rule.")
CHANGED = Counter("wedsync_apm_rules_changed_total", "Series that began or ceased to alarm.")
FAILED = Counter("wedsync_apm_rules_failed_total", "Organizations whose judging failed.")


@dataclass(slots=True)
class Evaluator:
    """The job, and what it keeps between runs: nothing that it could not read again."""

    factor: float = WEDDING_FACTOR
    book: rules.RuleBook = field(default_factory=rules.RuleBook)
    _calendars: dict[UUID, tuple[datetime, list[WeddingWindow]]] = field(default_factory=dict)
    _looked_at: dict[UUID, datetime] = field(default_factory=dict)
    _read_at: dict[tuple[UUID, timedelta], datetime] = field(default_factory=dict)
    _set_aside: dict[UUID, datetime] = field(default_factory=dict)
    _snapshot: str | None = None

    async def run_once(self, cx: Connection, at: datetime) -> str:
        """One run; `cx` is inside the transaction that the cycle commits."""
        news = await store.read_new_flushes(cx, READER)
        if news.previous != self._snapshot:
            # The last run was not committed, or another engine has been here since.
            self._looked_at.clear()
            self._read_at.clear()
        self._snapshot = None
        await store.limit_statements(cx, STATEMENT_SECONDS)
        unsettled = await rules.list_unsettled_organizations(cx)
        await self.book.refresh(cx)
        with_rules = set(self.book.organization_ids)
        due = with_rules.intersection(news.organization_ids).union(self._whose_turn(at))
        # What is not ok under a rule that is switched off wants to be cleared away.
        organization_ids = sorted(
            one for one in due.union(unsettled) if at >= self._set_aside.get(one, at)
        )
        await self.book.match_series(cx, organization_ids)
        await self._read_calendars(cx, organization_ids, at)
        standings = await rules.list_standings(cx, organization_ids)
        judged = changed = 0
        for organization_id in organization_ids:
            run = _Run(self, cx, organization_id, standings.get(organization_id, {}), at)
            try:
                async with cx.transaction():
                    await run.judge_all()
            except psycopg.errors.QueryCanceled:
                FAILED.inc()
                self._set_aside[organization_id] = at + SET_ASIDE_FOR
                log.warning(
                    "The rules of one organization take too long; set aside for a minute",
                    extra={"action": "evaluate", "organization_id": str(organization_id)},
                )
            except psycopg.OperationalError:
                raise  # a lost connection, a deadlock, a time-out: the whole run is tried again
            except Exception:
                FAILED.inc()
                log.exception(
                    "The rules of one organization could not be judged",
                    extra={"action": "evaluate", "organization_id": str(organization_id)},
                )
            else:
                judged += run.judged
                changed += run.changed
                self._looked_at[organization_id] = at
                self._read_at.update(((organization_id, width), at) for width in run.widths_read)
        await store.move_cursor(cx, READER, news.snapshot, at)
        self._snapshot = news.snapshot
        JUDGED.inc(judged)
        CHANGED.inc(changed)
        return f"{judged} judged, {changed} changed"

    def weddings_of(self, organization_id: UUID) -> Sequence[WeddingWindow]:
        """The organization's calendar around the present."""
        return self._calendars[organization_id][1]

    def looked_at(self, organization_id: UUID, at: datetime) -> datetime:
        """Up to when series without a verdict have been looked at."""
        return max(self._looked_at.get(organization_id, at - CATCH_UP), at - CATCH_UP)

    def is_worth_reading(self, organization_id: UUID, width: timedelta, at: datetime) -> bool:
        """Whether windows of this width have moved enough since they were read."""
        read_at = self._read_at.get((organization_id, width))
        return read_at is None or at - read_at >= width / LOOKS_A_WINDOW

    def _whose_turn(self, at: datetime) -> Iterable[UUID]:
        second = int(at.timestamp())
        return (
            organization_id
            for organization_id in self.book.organization_ids
            if (organization_id.int + second) % TURN_SECONDS == 0
        )

    async def _read_calendars(
        self, cx: Connection, organization_ids: Sequence[UUID], at: datetime
    ) -> None:
        known = self._calendars
        stale = [
            organization_id
            for organization_id in organization_ids
            if organization_id not in known or abs(at - known[organization_id][0]) >= CALENDAR_FOR
        ]
        if stale:
            read = await rules.list_wedding_windows(
                cx, stale, at - CATCH_UP - CALENDAR_MARGIN, at + CALENDAR_MARGIN
            )
            known.update((one, (at, windows)) for one, windows in read.items())


@dataclass(slots=True)
class _Run:
    """One organization in one run."""

    evaluator: Evaluator
    cx: Connection
    organization_id: UUID
    before: Standings
    at: datetime
    judged: int = 0
    changed: int = 0
    widths_read: list[timedelta] = field(default_factory=list)

    async def judge_all(self) -> None:
        """Judges every series under every active rule, and acts on what has changed."""
        book = self.evaluator.book
        units = {
            (rule.id, series_id): rule
            for rule in book.rules_of(self.organization_id)
            for series_id in book.watched_by(rule)
        }
        alarming: dict[UUID, set[int]] = {}
        for (rule_id, series_id), standing in self.before.items():
            if standing.state.is_alarming:
                alarming.setdefault(rule_id, set()).add(series_id)
        await self._forget(self.before.keys() - units.keys(), alarming)
        after, changes = await self._judge_units(units, alarming)
        for rule, change in sorted(changes, key=lambda pair: pair[1].standing.evaluated_at):
            await self._act(rule, change, alarming.setdefault(rule.id, set()))
        await self._open_unheld(after, alarming)
        await rules.upsert_standings(
            self.cx,
            self.organization_id,
            {key: found for key, found in after.items() if self._is_worth_writing(key, found)},
        )
        self.changed = len(changes)

    async def _judge_units(
        self, units: Mapping[tuple[UUID, int], AlertRule], alarming: Mapping[UUID, set[int]]
    ) -> tuple[Standings, list[tuple[AlertRule, Change]]]:
        after: Standings = {}
        changes: list[tuple[AlertRule, Change]] = []
        weddings = self.evaluator.weddings_of(self.organization_id)
        looked_at = self.evaluator.looked_at(self.organization_id, self.at)
        widths = {rule.evaluation_window for rule in units.values()}
        for width in sorted(widths):
            if not self.evaluator.is_worth_reading(self.organization_id, width, self.at):
                continue
            self.widths_read.append(width)
            group = {key: rule for key, rule in units.items() if rule.evaluation_window == width}
            since = max(
                min(
                    self.before[key].evaluated_at if key in self.before else looked_at
                    for key in group
                ),
                self.at - CATCH_UP,
            )
            windows = await rules.list_windows(
                self.cx,
                self.organization_id,
                sorted({series_id for _, series_id in group}),
                since - width,
                self.at,
            )
            for (rule_id, series_id), rule in group.items():
                found = windows.get(series_id)
                if found is None:
                    continue  # the series has just been removed
                key = (rule_id, series_id)
                standing, changed = judge(
                    Unit(rule, series_id, found.unit, self.before.get(key), found.ended_at),
                    found.samples,
                    self.at,
                    weddings,
                    since=since if key in self.before else looked_at,
                    factor=self.evaluator.factor,
                    quiet_until=_quiet_until(rule, alarming),
                )
                if standing is not None:
                    after[key] = standing
                    self.judged += 1
                changes.extend((rule, change) for change in changed)
        return after, changes

    async def _act(self, rule: AlertRule, change: Change, alarming: set[int]) -> None:
        """Opens or counts on an incident, or ends it with the last series that ceases."""
        standing = change.standing
        # The incident takes its threshold and reason from the verdict, so that is written first.
        await rules.upsert_standings(
            self.cx, self.organization_id, {(rule.id, change.series_id): standing}
        )
        if change.is_alarming:
            alarming.add(change.series_id)
            await store.open_incident(self.cx, rule.id, standing.value, standing.evaluated_at)
            return
        alarming.discard(change.series_id)
        if not alarming and rule.auto_resolve:
            await store.resolve_incident(
                self.cx,
                self.organization_id,
                rule.id,
                standing.evaluated_at,
                "back on the good side of its limit",
            )

    async def _open_unheld(self, after: Standings, alarming: Mapping[UUID, set[int]]) -> None:
        """Opens again what a person ended while it still goes on, after the rule's cooldown."""
        held = {rule_id: series for rule_id, series in alarming.items() if series}
        if not held:
            return
        cooldowns = {
            rule.id: rule.cooldown_period
            for rule in self.evaluator.book.rules_of(self.organization_id)
        }
        unheld = await store.list_unheld_rules(self.cx, self.organization_id, list(held))
        for rule_id, ended_at in unheld.items():
            if rule_id in cooldowns and self.at >= ended_at + cooldowns[rule_id]:
                newest = max(
                    (after[rule_id, one] for one in held[rule_id] if (rule_id, one) in after),
                    key=attrgetter("evaluated_at"),
                    default=None,
                )
                await store.open_incident(
                    self.cx, rule_id, newest.value if newest else None, self.at
                )

    async def _forget(
        self, gone: Iterable[tuple[UUID, int]], alarming: Mapping[UUID, set[int]]
    ) -> None:
        """Drops the verdicts of rules that were switched off or no longer watch the series."""
        keys = sorted(gone)
        if not keys:
            return
        emptied = []
        for rule_id, series_id in keys:
            held = alarming.get(rule_id, set())
            if series_id in held:
                held.discard(series_id)
                if not held:
                    emptied.append(rule_id)
        await rules.forget_standings(self.cx, self.organization_id, keys)
        for rule_id in await store.find_auto_resolving(self.cx, self.organization_id, emptied):
            await store.resolve_incident(
                self.cx,
                self.organization_id,
                rule_id,
                self.at,
                "its rule was switched off or changed",
            )

    def _is_worth_writing(self, key: tuple[UUID, int], found: Standing) -> bool:
        before = self.before.get(key)
        return (
            before is None
            or found.state is not State.OK
            or before.state is not State.OK
            or found.evaluated_at - before.evaluated_at >= KEPT_FOR
        )


def _quiet_until(rule: AlertRule, alarming: Mapping[UUID, set[int]]) -> datetime | None:
    """While a rule alarms already, a further series only adds to its incident."""
    if rule.last_triggered_at is None or alarming.get(rule.id):
        return None
    return rule.last_triggered_at + rule.cooldown_period
