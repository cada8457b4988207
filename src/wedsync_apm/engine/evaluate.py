"""Judges alert rules against what has been committed since the last look.

One run, in one transaction with its cursors: a kill at any moment loses and repeats nothing.

1. The flushes that this reader has not seen say which organizations have new samples; these are
   taken into memory, where the windows of the last hour are held.
2. What they touch is judged; once a second all that is held, too: silence drains a window, and
   nothing would touch it otherwise. What is not held is read from the database, for organizations
   with new samples, with a verdict that is not ok, and for those whose turn it is.
3. Each instance is judged at the times of its samples and, of what no sample brings, at the next
   whole second. One that begins to alarm opens the rule's incident; when the last one of a rule
   ceases, the incident is resolved.
4. The verdicts that changed and the cursors are written; of those that did not, all of an
   organization now and then.

Several engines share the organizations by leases (`leases`). What is in memory is only right as
long as every run is committed and nobody else judges: what a run has set back, and what comes from
another engine, is read anew.

An organization whose judging fails is set back alone and tried again when its turn comes. A rule
that takes too long to read is set aside for a minute, so is an organization where that does not
help, so that neither holds up anybody else's alarms.
"""

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import psycopg

from wedsync_apm.clock import to_ms
from wedsync_apm.db.pool import Connection
from wedsync_apm.engine import store
from wedsync_apm.engine.calendars import Calendars
from wedsync_apm.engine.judging import STATEMENT_SECONDS, OrganizationRun
from wedsync_apm.engine.leases import SLICES, Cursor, Leases, cursor_name, slice_of, those_in
from wedsync_apm.engine.memories import Memories, is_held
from wedsync_apm.rules import live as rules
from wedsync_apm.rules import long
from wedsync_apm.rules.course import LATENESS_MS, drawn_back
from wedsync_apm.rules.judge import CATCH_UP
from wedsync_apm.rules.limits import WEDDING_FACTOR
from wedsync_apm.rules.live import Courses, Standings
from wedsync_apm.rules.model import AlertRule
from wedsync_apm.rules.verdict import Standing
from wedsync_apm.telemetry import Counter, get_logger

log = get_logger(__name__)

READER: Final = "evaluate"
READERS: Final = tuple(cursor_name(READER, number) for number in range(SLICES))
"""Its cursors: one for each slice of the organizations."""
SHARES_A_LEASE: Final = 4
"""Slices are taken and given back so often."""
TURN_SECONDS: Final = 15
"""Every organization with a rule is judged at least this often, samples or not."""
SET_ASIDE_FOR: Final = timedelta(minutes=1)
LOOKS_A_WINDOW: Final = 300
"""A window of an hour moves too little in a second to be read anew each second: it is judged so
many times in its own length, one of five minutes or less each second."""
PAUSE: Final = timedelta(minutes=1)
"""After a longer one what has come meanwhile is read as a whole, not flush by flush."""

JUDGED = Counter("wedsync_apm_rules_judged_total", "Verdicts on a series under a rule.")
CHANGED = Counter("wedsync_apm_rules_changed_total", "Series that began or ceased to alarm.")
FAILED = Counter("wedsync_apm_rules_failed_total", "Organizations whose judging failed.")


@dataclass(slots=True)
class Evaluator:
    """The job, and what it keeps between runs: nothing that it could not read again."""

    factor: float = WEDDING_FACTOR
    leases: Leases = field(default_factory=Leases)
    watched: set[str] = field(default_factory=set)
    """The organizations that have a rule and are ours: samples of others wake nobody."""
    book: rules.RuleBook = field(default_factory=rules.RuleBook)
    memories: Memories = field(init=False)
    calendars: Calendars = field(default_factory=Calendars)
    _looked_at: dict[UUID, datetime] = field(default_factory=dict)
    _read_at: dict[tuple[UUID, timedelta], datetime] = field(default_factory=dict)
    long_read_at: dict[UUID, datetime] = field(default_factory=dict)
    """When the rollups of a rule that has no verdict yet were read."""
    _set_aside: dict[UUID, datetime] = field(default_factory=dict)
    slow: dict[UUID, datetime] = field(default_factory=dict)
    """Rules that took too long to read, and when they are tried again."""
    _generations: dict[int, int] = field(default_factory=dict)
    """Of the slices that are in memory."""
    _cursors: dict[int, Cursor] = field(default_factory=dict)
    """Up to where these have been read."""
    _new_slices: set[int] = field(default_factory=set)
    """Those whose organizations have not been looked at yet."""
    _shared_at: float | None = None
    """When slices were last shared out, by the monotonic clock; None: a run has failed since."""
    _second: int | None = None
    """The last one whose turns were taken."""
    _ran_at: datetime | None = None

    def __post_init__(self) -> None:
        self.memories = Memories(self.factor)

    async def run_once(self, cx: Connection, at: datetime) -> str:
        """One run: shares the organizations with other engines, then judges its own.

        Raises SerializationFailure where a slice has passed on while it was judged; nothing of the
        run is kept then.
        """
        shared_at = self._shared_at
        if self._is_time_to_share():
            async with cx.transaction():
                await self.leases.share(cx)
                cursors = await self.leases.list_cursors(cx, READER)
            self._own(cursors)
            shared_at = time.monotonic()
        at = self._steady(at)
        # Whatever goes wrong from here on leaves memory ahead of the rows.
        self._shared_at = None
        async with cx.transaction():
            said = await self._run(cx, at) if self._generations else ""
        self._shared_at = shared_at
        return said

    def _is_time_to_share(self) -> bool:
        return (
            self._shared_at is None
            or time.monotonic() - self._shared_at
            >= self.leases.duration.total_seconds() / SHARES_A_LEASE
        )

    def _steady(self, at: datetime) -> datetime:
        """The instant that is judged up to: never one before the last.

        A database's clock that is set back by no more than samples may be late is waited for:
        what is measured meanwhile comes late, and is judged at once. After a longer way back all
        that was judged ahead of it counts as judged just now.
        """
        known = [one.at for one in self._cursors.values() if one.at is not None]
        last = max([*known, *([self._ran_at] if self._ran_at else [])], default=at)
        if last <= at:
            return at
        if to_ms(last) - to_ms(at) <= LATENESS_MS:
            return last
        log.warning(
            "The database's clock was set back by %s; rules are judged by it from here on",
            last - at,
            extra={"action": "set_back", "seconds": (last - at).total_seconds()},
        )
        self.memories.forget()
        self._ran_at = None
        self._new_slices = set(self._generations)
        self._cursors = {
            number: replace(cursor, at=None) for number, cursor in self._cursors.items()
        }
        for known_at in (self._looked_at, self._read_at, self._set_aside, self.slow):
            known_at.clear()
        return at

    def cursor_of(self, organization_id: UUID) -> Cursor:
        """How far an organization's slice has been judged before this run."""
        return self._cursors.get(slice_of(organization_id), Cursor())

    def _own(self, cursors: Mapping[int, Cursor]) -> None:
        """Forgets what is not ours, or what somebody else has judged, or what was set back."""
        generations = dict(self.leases.generations)
        if self._shared_at is None:
            self._generations.clear()
        for number in range(SLICES):
            is_as_it_was = self._generations.get(number) == generations.get(
                number
            ) and self._cursors.get(number) == cursors.get(number)
            if not is_as_it_was:
                self._forget(number)
        if generations != self._generations:
            log.info(
                "This engine judges %d of %d slices of the organizations",
                len(generations),
                SLICES,
                extra={"action": "share_slices", "slices": sorted(generations)},
            )
        self._generations, self._cursors = generations, dict(cursors)
        self._new_slices &= generations.keys()
        self._watch()

    def _forget(self, number: int) -> None:
        """One slice."""
        self._new_slices.add(number)
        for organization_id in those_in([number], self.memories.organization_ids):
            self.memories.drop(organization_id)
        for organization_id in those_in([number], tuple(self._looked_at)):
            del self._looked_at[organization_id]
        for key in tuple(self._read_at):
            if slice_of(key[0]) == number:
                del self._read_at[key]
        self.long_read_at.clear()

    def _watch(self) -> None:
        self.watched.clear()
        self.watched.update(str(one) for one in self.book.organization_ids if self.leases.has(one))

    async def _read_news(self, cx: Connection, at: datetime) -> tuple[set[UUID], dict[int, str]]:
        """Takes in what is new of whom we watch; gives these, and up to where each slice is read.

        Slices that have passed from one to another may have been read up to different snapshots.
        """
        touched, snapshots = set[UUID](), dict[int, str]()
        for seen in {one.snapshot for one in self._cursors.values()}:
            numbers = [one for one, cursor in self._cursors.items() if cursor.snapshot == seen]
            watched = those_in(numbers, self.book.organization_ids)
            news = await store.read_new_flushes(cx, seen, watched)
            await self.memories.take_news(cx, seen, news.organization_ids, at)
            touched.update(news.organization_ids)
            snapshots.update(dict.fromkeys(numbers, news.snapshot))
        return touched, snapshots

    async def _run(self, cx: Connection, at: datetime) -> str:
        second = int(at.timestamp())
        is_new_second = second != self._second or bool(self._new_slices)
        changed_rules = await self.book.refresh(cx) if is_new_second else set[UUID]()
        if changed_rules:
            self._watch()
        self.memories.outdate(changed_rules)
        if self._ran_at is None or not timedelta() <= at - self._ran_at <= PAUSE:
            self.memories.forget()
        self._ran_at = at
        touched, snapshots = await self._read_news(cx, at)
        if not is_new_second and not touched:
            return ""
        # Under a rule that is new, samples may have come before it was known.
        due = self._ours(changed_rules | touched).intersection(self.book.organization_ids)
        turns, unsettled = set[UUID](), set[UUID]()
        if is_new_second and (self.watched or changed_rules or second % TURN_SECONDS == 0):
            unheld = await store.list_unheld_organizations(cx)
            turns = self._ours({*self._whose_turn(second), *unheld})
            # What is not ok under a rule that is switched off wants to be cleared away.
            unsettled = self._ours(await rules.list_unsettled_organizations(cx))
        self.memories.outdate(await self.book.match_series(cx, sorted(due | turns | unsettled)))
        with_calendar = due | turns | unsettled | set(self.memories.organization_ids)
        # A sample that has just come does not wait for a calendar that is known.
        unread = (one for one in with_calendar if is_new_second or one not in self.calendars)
        await self.calendars.read(cx, sorted(unread), at)
        judged = await self._follow(touched, at, is_full=is_new_second)
        organization_ids = sorted(
            one
            for one in with_calendar
            if at >= self._set_aside.get(one, at) and self._is_needed(one, due, turns, unsettled)
        )
        done, changed = await self._judge(cx, organization_ids, at)
        judged += done
        behind = [
            one
            for one in self._ours(self.book.organization_ids)
            if not self.memories.is_current(one)
        ]
        await self.leases.move_cursors(cx, READER, snapshots, at, behind)
        for number, snapshot in snapshots.items():
            those = frozenset(those_in([number], behind))
            self._cursors[number] = Cursor(snapshot, at, those)
        self._second = second
        self._new_slices.clear()
        JUDGED.inc(judged)
        CHANGED.inc(changed)
        return f"{judged} judged, {changed} changed"

    async def _judge(
        self, cx: Connection, organization_ids: Sequence[UUID], at: datetime
    ) -> tuple[int, int]:
        """What memory does not do of these organizations: how much was judged, and has changed."""
        standings: dict[UUID, tuple[Standings, Courses]] = {}
        if organization_ids:
            await store.limit_statements(cx, STATEMENT_SECONDS)
            standings = await rules.list_standings(cx, organization_ids)
        judged = changed = 0
        for organization_id in organization_ids:
            before, courses = standings.get(organization_id, ({}, {}))
            ahead = {k: drawn_back(one, at) for k, one in before.items() if one.evaluated_at > at}
            known = {key: course for key, course in courses.items() if key not in ahead}
            run = OrganizationRun(self, cx, organization_id, before | ahead, known, at, ahead=ahead)
            try:
                async with cx.transaction():
                    await run.judge_all()
            except psycopg.errors.QueryCanceled:
                FAILED.inc()
                self.memories.drop(organization_id)
                self._set_aside[organization_id] = at + SET_ASIDE_FOR
                log.warning(
                    "The rules of one organization take too long; set aside for a minute",
                    extra={"action": "evaluate", "organization_id": str(organization_id)},
                )
            except psycopg.OperationalError:
                raise  # a lost connection, a deadlock, a time-out: the whole run is tried again
            except Exception:
                FAILED.inc()
                self.memories.drop(organization_id)
                log.exception(
                    "The rules of one organization could not be judged",
                    extra={"action": "evaluate", "organization_id": str(organization_id)},
                )
            else:
                judged += run.judged
                changed += run.changed
                self._looked_at[organization_id] = at
                self._read_at.update(((organization_id, width), at) for width in run.widths_read)
        return judged, changed

    def _ours(self, organization_ids: Iterable[UUID]) -> set[UUID]:
        return {one for one in organization_ids if self.leases.has(one)}

    async def _follow(self, touched: Iterable[UUID], at: datetime, *, is_full: bool) -> int:
        """Judges in memory, in slices between which others get their turn: what samples have come
        for, or everything. Gives how many instances were looked at."""
        at_ms, looked_at = to_ms(at), 0
        wanted = self.memories.organization_ids if is_full else touched
        for organization_id in wanted:
            if not self.memories.is_current(organization_id):
                continue
            held = self.memories[organization_id]
            try:
                if organization_id in self.calendars:
                    weddings = self.calendars.of(organization_id)
                    self.memories.believe(organization_id, weddings, at)
                held.transitions += held.memory.follow_late()
                held.transitions += held.memory.follow_touched(at_ms)
                start = 0 if is_full else len(held.memory)
                while start < len(held.memory):
                    transitions, start = held.memory.follow(at_ms, start)
                    held.transitions += transitions
                    await asyncio.sleep(0)
            except Exception:
                FAILED.inc()
                self.memories.drop(organization_id)
                log.exception(
                    "The rules of one organization could not be followed",
                    extra={"action": "evaluate", "organization_id": str(organization_id)},
                )
            else:
                looked_at += len(held.memory)
        return looked_at

    def _is_needed(
        self, organization_id: UUID, due: set[UUID], turns: set[UUID], unsettled: set[UUID]
    ) -> bool:
        """Whether there is anything to do for an organization that memory does not do."""
        if not self.memories.is_current(organization_id):
            return (
                organization_id in due or organization_id in turns or organization_id in unsettled
            )
        if organization_id in turns or self.memories[organization_id].is_news:
            return True
        return (organization_id in due or organization_id in unsettled) and any(
            not is_held(rule) for rule in self.book.rules_of(organization_id)
        )

    def looked_at(self, organization_id: UUID, at: datetime) -> datetime:
        """Up to when series without a verdict have been looked at."""
        return max(self._looked_at.get(organization_id, at - CATCH_UP), at - CATCH_UP)

    def is_worth_reading(self, organization_id: UUID, width: timedelta, at: datetime) -> bool:
        """Whether windows of this width have moved enough since they were read."""
        read_at = self._read_at.get((organization_id, width))
        return read_at is None or at - read_at >= width / LOOKS_A_WINDOW

    def is_long_due(self, rule: AlertRule, standing: Standing | None, at: datetime) -> bool:
        """Whether a rule that is read from rollups has a new number, or something else is due."""
        if standing is not None:
            return long.is_due(rule, standing, at)
        read_at = self.long_read_at.get(rule.id)
        return read_at is None or long.bucket_at(rule, read_at) != long.bucket_at(rule, at)

    def _whose_turn(self, second: int) -> Iterable[UUID]:
        """The organizations whose turn has come since the last run that took turns."""
        missed = TURN_SECONDS if self._second is None else abs(second - self._second)
        return (
            organization_id
            for organization_id in self.book.organization_ids
            if (organization_id.int + second) % TURN_SECONDS < missed
            or slice_of(organization_id) in self._new_slices
        )
