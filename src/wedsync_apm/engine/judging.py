"""One organization in one run of the evaluator: what is judged, and what follows from it."""

import asyncio
from collections.abc import Awaitable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, TypeVar
from uuid import UUID

import psycopg

from wedsync_apm.clock import to_ms
from wedsync_apm.db.pool import Connection
from wedsync_apm.engine import store
from wedsync_apm.engine.memories import is_held
from wedsync_apm.engine.outcomes import Outcomes, paused_of
from wedsync_apm.rules import live as rules
from wedsync_apm.rules import long
from wedsync_apm.rules.composite import Member, count_source
from wedsync_apm.rules.instances import combinations
from wedsync_apm.rules.judge import CATCH_UP, Change, Instance, Unit, judge
from wedsync_apm.rules.limits import WeddingWindow
from wedsync_apm.rules.live import Courses, Standings
from wedsync_apm.rules.model import AlertRule, RuleKind
from wedsync_apm.rules.transitions import Key, Transition
from wedsync_apm.rules.verdict import Standing, State
from wedsync_apm.telemetry import get_logger

log = get_logger(__name__)

T = TypeVar("T")

if TYPE_CHECKING:
    from wedsync_apm.engine.evaluate import Evaluator

STATEMENT_SECONDS: Final = 5.0
KEPT_FOR: Final = timedelta(seconds=10)
"""A verdict that stays ok is written this often; until then its instants are judged again."""
ROWS_EVERY: Final = timedelta(minutes=1)
"""All verdicts that are held are written this often, changed or not."""
READ_SECONDS: Final = 2.0
"""A rule that is not held in memory is read for so long at most; then it is set aside."""
ASIDE_FOR: Final = timedelta(minutes=1)
SLOW: Final = f"its figures take longer than {READ_SECONDS:.0f} s to read"

Units = dict[tuple[UUID, str], tuple[AlertRule, Instance]]
"""What is judged, by rule and key of the instance."""


@dataclass(slots=True)
class OrganizationRun:
    """One organization in one run."""

    evaluator: "Evaluator"
    cx: Connection
    organization_id: UUID
    before: Standings
    known: Courses
    """How verdicts have stood lately, by their rows."""
    at: datetime
    judged: int = 0
    changed: int = 0
    widths_read: list[timedelta] = field(default_factory=list)
    instances: dict[tuple[UUID, str], Instance] = field(default_factory=dict)
    ahead: Standings = field(default_factory=dict)
    """Verdicts from a time that is still to come, drawn back to the present."""
    moved: Collection[Key] = ()
    """What has to be written whatever it is."""
    courses: Mapping[Key, Sequence[Mapping[str, Any]]] = field(default_factory=dict)

    async def judge_all(self) -> None:
        """Judges every instance of every active rule, and acts on what has changed."""
        book = self.evaluator.book
        units = {
            (rule.id, instance.key): (rule, instance)
            for rule in book.rules_of(self.organization_id)
            for instance in book.instances_of(rule)
        }
        composites = self._composites(units)
        self.instances = {key: instance for key, (_, instance) in (units | composites).items()}
        outcomes = Outcomes(
            self.evaluator, self.cx, self.organization_id, self.at, self.before, self.instances
        )
        await outcomes.forget_gone()
        after, changes = await self._judge_windows(units)
        after = {key: found for key, found in self.ahead.items() if key in self.instances} | after
        changes += await self._judge_long(units, after)
        changes += self._judge_composites(units, composites, after, changes)
        outcomes.courses = self.courses
        for rule, change in sorted(changes, key=lambda pair: pair[1].standing.evaluated_at):
            await outcomes.act(rule, change)
        await outcomes.open_unheld(after)
        await outcomes.tell_paused()
        await rules.upsert_standings(
            self.cx,
            self.organization_id,
            {key: found for key, found in after.items() if self._is_worth_writing(key, found)},
            self.instances,
            self.evaluator.leases.of(self.organization_id),
            courses=self.courses,
        )
        self.changed = len(changes)

    async def _judge_held(self, units: Units) -> tuple[Standings, list[tuple[AlertRule, Change]]]:
        """Takes over what was judged in memory; reads into memory first what is not there."""
        memories, at_ms = self.evaluator.memories, to_ms(self.at)
        if not memories.is_current(self.organization_id):
            if not any(is_held(rule) for rule, _ in units.values()):
                return {}, []
            earlier: list[Transition] = []
            if self.organization_id in memories:
                # What was found under the rules as they were has happened.
                earlier = memories[self.organization_id].transitions
            held = await memories.bind(
                self.cx,
                self.organization_id,
                units,
                self.before,
                self.evaluator.calendars.of(self.organization_id),
                courses=self.known,
                looked_at=self.evaluator.looked_at(self.organization_id, self.at),
                judged=self.evaluator.cursor_of(self.organization_id),
                at=self.at,
            )
            held.transitions = [one for one in earlier if one.key in units]
            held.transitions += held.memory.follow_late()
            start = 0
            while start < len(held.memory):
                transitions, start = held.memory.follow(at_ms, start)
                held.transitions += transitions
                await asyncio.sleep(0)
            self.judged += len(held.memory)
        held = memories[self.organization_id]
        transitions, held.transitions = held.transitions, []
        after: Standings = {one.key: one.standing for one in transitions}
        if held.rows_at is None or self.at - held.rows_at >= ROWS_EVERY:
            after = held.memory.standings()
            held.rows_at = self.at
        # A row tells all that the next verdict may depend on, whenever the engine is killed.
        moved = held.memory.take_moved()
        after |= moved
        self.moved = moved.keys()
        self.courses = held.memory.courses()
        return after, held.changes_of(transitions)

    async def _judge_windows(
        self, units: Units
    ) -> tuple[Standings, list[tuple[AlertRule, Change]]]:
        """Judges the kinds whose windows are read from samples."""
        after, changes = await self._judge_held(units)
        looked_at = self.evaluator.looked_at(self.organization_id, self.at)
        short = {
            key: unit
            for key, unit in units.items()
            if not unit[0].rule_kind.is_long and not is_held(unit[0]) and self._is_on(unit[0])
        }
        for width in sorted({rule.evaluation_window for rule, _ in short.values()}):
            if not self.evaluator.is_worth_reading(self.organization_id, width, self.at):
                continue
            self.widths_read.append(width)
            group = {k: unit for k, unit in short.items() if unit[0].evaluation_window == width}
            since = max(
                min(
                    self.before[key].evaluated_at if key in self.before else looked_at
                    for key in group
                ),
                self.at - CATCH_UP,
            )
            wanted = {one for _, found in group.values() for one in found.all_series_ids}
            windows = await self._read_by_itself(
                {rule.id: rule for rule, _ in group.values()}.values(),
                rules.list_windows(
                    self.cx, self.organization_id, sorted(wanted), since - width, self.at
                ),
            )
            if windows is None:
                continue
            for key, (rule, instance) in group.items():
                subject = rules.unit_of(rule, instance, windows, self.before.get(key))
                if subject is None:
                    continue  # its series have just been removed
                source = rules.window_source(rule, instance, windows)
                standing, changed = judge(
                    subject,
                    source,
                    self.at,
                    self.evaluator.calendars.of(self.organization_id),
                    since=since if key in self.before else looked_at,
                    factor=self.evaluator.factor,
                )
                if standing is not None:
                    after[key] = standing
                    self.judged += 1
                changes.extend((rule, change) for change in changed)
        return after, changes

    async def _judge_long(self, units: Units, after: Standings) -> list[tuple[AlertRule, Change]]:
        """Judges the kinds that are read from rollups, whenever a bucket is full."""
        changes: list[tuple[AlertRule, Change]] = []
        due: dict[UUID, list[tuple[AlertRule, Instance]]] = {}
        for key, (rule, instance) in units.items():
            if (
                rule.rule_kind.is_long
                and self._is_on(rule)
                and self.evaluator.is_long_due(rule, self.before.get(key), self.at)
            ):
                due.setdefault(rule.id, []).append((rule, instance))
        if not due:
            return changes
        weddings = await self._read_long_calendar()
        for found in due.values():
            rule = found[0][0]
            self.evaluator.long_read_at[rule.id] = self.at
            seen = [self.before.get((rule.id, one.key)) for _, one in found]
            since = max(
                min(one.evaluated_at if one else self.at for one in seen), self.at - CATCH_UP
            )
            instances = [one for _, one in found]
            points = await self._read_by_itself(
                [rule],
                long.read_points(
                    self.cx, rule, instances, since=since, at=self.at, weddings=weddings
                ),
            )
            if points is None:
                continue
            for instance in instances:
                key = (rule.id, instance.key)
                standing, changed = judge(
                    Unit(rule, instance, None, self.before.get(key)),
                    points[instance.key],
                    self.at,
                    self.evaluator.calendars.of(self.organization_id),
                    factor=self.evaluator.factor,
                )
                if standing is not None:
                    after[key] = standing
                    self.judged += 1
                changes.extend((rule, change) for change in changed)
        return changes

    def _is_on(self, rule: AlertRule) -> bool:
        return self.at >= self.evaluator.slow.get(rule.id, self.at)

    async def _read_by_itself(
        self, those: Collection[AlertRule], reading: Awaitable[T]
    ) -> T | None:
        """What is read for some rules; None if it took too long. Then these are set aside and their
        owner is told, and the others go on."""
        try:
            async with self.cx.transaction():
                await store.limit_statements(self.cx, READ_SECONDS)
                found = await reading
                await store.limit_statements(self.cx, STATEMENT_SECONDS)
        except psycopg.errors.QueryCanceled:
            await self.evaluator.leases.hold(self.cx, self.organization_id)
            for rule in those:
                self.evaluator.slow[rule.id] = self.at + ASIDE_FOR
                await store.open_rule_fault(self.cx, rule, SLOW, self.at)
                log.warning(
                    "A rule takes too long to read; set aside for a minute",
                    extra={"action": "set_aside", "rule_id": str(rule.id)},
                )
            return None
        mended = [rule.id for rule in those if self.evaluator.slow.pop(rule.id, None)]
        if mended:
            await self.evaluator.leases.hold(self.cx, self.organization_id)
            paused = paused_of(self.evaluator, self.organization_id)
            await store.end_rule_faults(self.cx, self.organization_id, paused, self.at)
        return found

    async def _read_long_calendar(self) -> Sequence[WeddingWindow]:
        found = await rules.list_wedding_windows(
            self.cx,
            [self.organization_id],
            self.at - long.CALENDAR_BACK,
            self.at + long.CALENDAR_AHEAD,
        )
        return found[self.organization_id]

    def _composites(self, units: Units) -> Units:
        rules_here = self.evaluator.book.rules_of(self.organization_id)
        found: Units = {}
        for rule in rules_here:
            if rule.rule_kind is RuleKind.COMPOSITE:
                labels = {
                    member_id: [
                        one.labels for (of, _), (_, one) in units.items() if of == member_id
                    ]
                    for member_id in rule.member_rule_ids
                }
                found |= {(rule.id, one.key): (rule, one) for one in combinations(rule, labels)}
        return found

    def _judge_composites(
        self,
        units: Units,
        composites: Units,
        after: Standings,
        changes: Sequence[tuple[AlertRule, Change]],
    ) -> list[tuple[AlertRule, Change]]:
        """Judges the rules that count others, after those."""
        made: list[tuple[AlertRule, Change]] = []
        changed: dict[tuple[UUID, str], list[Change]] = {}
        for rule, change in changes:
            changed.setdefault((rule.id, change.instance_key), []).append(change)
        for key, (rule, instance) in composites.items():
            members = [
                Member(
                    one.id,
                    inner.labels,
                    (before := self.before.get(place)) is not None and before.state.is_alarming,
                    changed.get(place, ()),
                )
                for place, (one, inner) in units.items()
                if one.id in rule.member_rule_ids
            ]
            standing, found = judge(
                Unit(rule, instance, None, self.before.get(key)),
                count_source(rule.member_rule_ids, instance.labels, members),
                self.at,
                self.evaluator.calendars.of(self.organization_id),
                since=self.evaluator.looked_at(self.organization_id, self.at),
                factor=self.evaluator.factor,
            )
            if standing is not None:
                after[key] = standing
                self.judged += 1
            made.extend((rule, change) for change in found)
        return made

    def _is_worth_writing(self, key: Key, found: Standing) -> bool:
        before = self.before.get(key)
        return (
            before is None
            or key in self.moved
            or key in self.ahead
            or found.state is not State.OK
            or before.state is not State.OK
            or found.evaluated_at - before.evaluated_at >= KEPT_FOR
        )
