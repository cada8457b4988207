"""The live connections of one process, and who hears what.

1. One connection to the database listens; everything else is fan-out in memory. 2. A client hears
nothing before the database has said what he may hear. 3. A notification that somebody's access may
have changed stops what he hears at once, until it was asked again; then he gets what he missed of
what is still his. Notifications come in the order of their commits, so nothing of a tenant whom he
has left reaches him. 4. While the listening connection is down, clients are told that they hear
nothing; when it stands again, that they must read everything anew.
"""

import asyncio
import random
import time
from asyncio import TaskGroup
from collections import Counter as Tally
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, Final, Protocol
from uuid import UUID

import msgspec
import psycopg

from wedsync_apm.clock import utcnow
from wedsync_apm.db.listen import listen
from wedsync_apm.db.pool import Pool
from wedsync_apm.errors import WedSyncError
from wedsync_apm.live.client import Client, Line
from wedsync_apm.live.fanout import Fanout
from wedsync_apm.live.model import TOPICS, End, Frame, Kept, Standing, name_event
from wedsync_apm.live.roster import HEARTBEAT_SECONDS, Roster
from wedsync_apm.live.samples import Fresh
from wedsync_apm.live.store import count_refusals, find_standings
from wedsync_apm.organizations.model import Identity
from wedsync_apm.telemetry import Counter, Gauge, get_logger

log = get_logger(__name__)

CHANNEL: Final = "apm_live"
REVIEW_ROUNDS: Final = 4
"""In so many rounds of heartbeats everybody's access is asked anew, whether it was said to have
changed or not: a host's own tables say nothing, and keys expire."""
ASKED_AT_ONCE: Final = 250
ASK_AGAIN_SECONDS: Final = 0.5
SETTLE_SECONDS: Final = 10.0
"""For which a new client waits for the database to say what he may hear."""
LEAST_RETRY_MS: Final = 500
COME_BACK_PER_SECOND: Final = 500
"""Clients that are to come back after a restart: each needs a look at the database."""
BEFORE_ALL: Final = -1
"""A place before everything that is known."""

LISTENING = Gauge("wedsync_apm_live_listening", "Processes that hear the database")
EVENTS = Counter("wedsync_apm_live_events_total", "Events heard from the database", ("topic",))
ENDED = Counter("wedsync_apm_live_ended_total", "Live connections ended by the server", ("why",))
RESYNCS = Counter("wedsync_apm_live_resyncs_total", "Clients told to read everything anew")


class Elsewhere(Protocol):
    """What other processes have open."""

    def __call__(self, organization_id: UUID) -> int:
        """How many live connections of an organization."""
        ...


class _Said(msgspec.Struct):
    topic: str
    action: str = ""
    id: str | None = None
    organization_id: UUID | None = None
    organization_ids: list[UUID] | None = None
    subject: UUID | None = None


_read = msgspec.json.Decoder(_Said).decode


class Hub:
    """Takes notifications in and hands them to the clients of this process."""

    def __init__(
        self,
        pool: Pool,
        *,
        per_organization: int,
        per_person: int,
        elsewhere: Elsewhere = lambda organization_id: 0,
    ) -> None:
        self._pool = pool
        self._most, self._most_of_one = per_organization, per_person
        self._elsewhere = elsewhere
        self._kept = Kept()
        self._roster = Roster()
        self._doubted: dict[Client, None] = {}
        self._doubts = asyncio.Event()
        self._listening = asyncio.Event()
        self._refused: Tally[tuple[UUID, str]] = Tally()
        self._fanout = Fanout(lambda client: self.dismiss(client, End.SLOW))
        self._fresh = Fresh(pool, self._roster.hearing_of, self._fanout.give)
        self._came = self._returning = 0
        self.is_ending = False

    async def run(self, conninfo: str) -> None:
        """Listens until cancelled."""
        async with TaskGroup() as tasks:
            tasks.create_task(self._fanout.run(), name="live fan-out")
            tasks.create_task(self._review(), name="live reviews")
            tasks.create_task(self._beat(), name="live heartbeats")
            tasks.create_task(self._fresh.run(), name="live samples")
            await listen(conninfo, [CHANNEL], self.hear, on_state=self._note_state)

    @property
    def place(self) -> str:
        """From which on a page that is read now may follow."""
        return self._kept.place if self._listening.is_set() else ""

    def crowds(self) -> Mapping[UUID, int]:
        """How many live connections each organization has in this process."""
        return self._roster.crowds()

    # What clients ask.

    @contextmanager
    def join(self, line: Line, identity: Identity, topics: Collection[str]) -> Iterator[Client]:
        """A client for as long as the block runs; he hears nothing before `settle`."""
        self._came += 1
        client = Client(line, identity, topics, self._came)
        self._roster.add(client)
        try:
            yield client
        finally:
            self._leave(client)

    async def settle(self, client: Client, place: str | None, wanted: UUID | None) -> None:
        """Has him hear what he may, from `place` on, or else from now on.

        Where he may hear nothing, or the database does not say it in time, he is dismissed.
        """
        if self.is_ending:
            self.dismiss(client, End.RESTART)
            return
        client.wanted = wanted
        client.heard = self._kept.find(place) if place else None
        if place and client.heard is None:
            client.heard = BEFORE_ALL
        client.settled = asyncio.get_running_loop().create_future()
        self._doubt(client)
        try:
            async with asyncio.timeout(SETTLE_SECONDS):
                await client.settled
        except TimeoutError:
            self.dismiss(client, End.AWAY)

    def subscribe(self, client: Client, topics: Collection[str]) -> None:
        """Hears these topics from now on."""
        client.topics = frozenset(topics)
        self._greet(client, "hello", is_resumed=False)

    def renew(self, client: Client, identity: Identity) -> None:
        """The same person goes on with another token."""
        client.identity = identity
        self._doubt(client)

    def dismiss(self, client: Client, end: End) -> None:
        """Ends his connection, now."""
        if client.is_gone:
            return
        retry_ms = self._retry_ms() if end in (End.RESTART, End.AWAY) else None
        self._leave(client)
        ENDED.inc(why=end.name.lower())
        client.line.end(end, retry_ms)

    async def drain(self) -> None:
        """Sends everybody away, each with another pause before he comes again."""
        self.is_ending = True
        self._returning = len(self._roster)
        for number, client in enumerate(self._roster.everybody()):
            self.dismiss(client, End.RESTART)
            if number % 100 == 99:
                await asyncio.sleep(0)

    # What the database says.

    def hear(self, channel: str, payload: str) -> None:
        """One notification. What cannot be read is left out: nothing may stop the listening."""
        try:
            said = _read(payload)
        except msgspec.DecodeError as exc:
            log.warning("A notification cannot be read: %s", exc, extra={"action": "hear_event"})
            return
        if said.topic == "metrics":
            self._fresh.note(said.organization_ids)
        elif said.topic == "access":
            for client in self._roster.of_subject(said.subject) if said.subject else ():
                self._doubt(client)
        elif said.topic in TOPICS:
            self._tell(payload, said)

    def _tell(self, payload: str, said: _Said) -> None:
        EVENTS.inc(topic=said.topic)
        owner = said.organization_id
        content: dict[str, Any] = {
            "topic": said.topic,
            "id": said.id,
            "action": said.action,
            "organization_id": owner,
        }
        event = self._kept.add(name_event(payload), said.topic, owner, content)
        self._fanout.give(event.frame, self._roster.hearers(event.topic, owner))

    def _note_state(self, is_listening: bool) -> None:
        """The listening connection stands, or is gone."""
        LISTENING.set(int(is_listening))
        if is_listening:
            self._listening.set()
            # First each keeps how far he has heard, which then is a place of before the gap.
            for client in self._roster.everybody():
                self._doubt(client)
            self._kept.forget()
        elif self._listening.is_set():
            self._listening.clear()
            self._fanout.give(Frame("paused", None, {}), self._roster.hearing())

    # What each may hear.

    def _doubt(self, client: Client) -> None:
        """He hears nothing until the database has said what he may hear."""
        if client.is_gone:
            return
        self._suspend(client)
        self._doubted[client] = None
        self._doubts.set()

    async def _review(self) -> None:
        while True:
            await self._doubts.wait()
            await self._listening.wait()
            batch = [client for client, _ in zip(self._doubted, range(ASKED_AT_ONCE), strict=False)]
            for client in batch:
                del self._doubted[client]
            if not self._doubted:
                self._doubts.clear()
            try:
                found = await find_standings(self._pool, {client.subject for client in batch})
            except (WedSyncError, psycopg.Error) as exc:
                log.warning(
                    "What live connections may hear cannot be asked: %s",
                    exc,
                    extra={"action": "review_live"},
                )
                self._doubted |= dict.fromkeys(one for one in batch if not one.is_gone)
                self._doubts.set()
                await asyncio.sleep(ASK_AGAIN_SECONDS)
                continue
            for client in batch:
                # Whoever was doubted again meanwhile is asked about again: this may be older.
                if client not in self._doubted and not client.is_gone:
                    self._admit(client, found.get(client.subject))

    def _admit(self, client: Client, standing: Standing | None) -> None:
        fault = client.fault(standing)
        if fault is None and standing is not None:
            own, is_operator = client.audience(standing)
            fault = self._crowded(client, own - client.organization_ids)
            if fault is None:
                self._resume(client, own, is_operator, standing)
        if fault is not None:
            self._note_refusal(client, standing, fault)
            self.dismiss(client, fault)
        if client.settled is not None and not client.settled.done():
            client.settled.set_result(None)

    def _resume(
        self, client: Client, own: frozenset[UUID], is_operator: bool, standing: Standing
    ) -> None:
        is_changed = (own, is_operator) != (client.organization_ids, client.is_operator)
        self._watch_end(client, standing)
        if is_changed:
            self._suspend(client)
            self._roster.place(client, own, is_operator=is_operator)
        elif client.is_hearing:
            return
        self._roster.begin(client)
        self._fresh.join(own)
        missed = None
        if client.heard is not None:
            missed = self._kept.since(client.heard, client.topics, own, is_operator=is_operator)
        if not client.has_begun:
            client.has_begun = True
            is_lost = client.heard is not None and missed is None
            kind = "resync" if is_lost else "hello"
            self._greet(client, kind, is_resumed=missed is not None)
        elif missed is None or is_changed:
            missed = None
            self._greet(client, "resync")
        for event in missed or ():
            self._fanout.give(event.frame, [client])
        if missed is not None:
            # Samples are not kept: there may be new ones.
            self._fresh.note(list(own))

    def _greet(self, client: Client, kind: str, *, is_resumed: bool = False) -> None:
        if kind == "resync":
            RESYNCS.inc()
        said = {
            "resumed": is_resumed,
            "topics": sorted(client.topics),
            "organization_ids": sorted(client.organization_ids),
            "heartbeat_seconds": HEARTBEAT_SECONDS,
        }
        self._fanout.give(Frame(kind, self._kept.place, said), [client])

    def _watch_end(self, client: Client, standing: Standing) -> None:
        """Dismisses him when his token or key ends."""
        token = client.identity.expires_at
        ends = [at for at in (token and token.timestamp(), standing.expires_at) if at]
        if client.expiry is not None:
            client.expiry.cancel()
        client.expiry = None
        if ends:
            left = max(min(ends) - utcnow().timestamp(), 0)
            loop = asyncio.get_running_loop()
            client.expiry = loop.call_later(left, self.dismiss, client, End.SESSION)

    def _crowded(self, client: Client, joining: Collection[UUID]) -> End | None:
        own = self._roster.of_subject(client.identity.subject)
        if not client.has_begun and sum(one.has_begun for one in own) >= self._most_of_one:
            return End.PERSON_FULL
        for organization_id in joining:
            here = self._roster.crowds().get(organization_id, 0)
            if here + self._elsewhere(organization_id) >= self._most:
                return End.ORGANIZATION_FULL
        return None

    def _note_refusal(self, client: Client, standing: Standing | None, end: End) -> None:
        """Those whose connections are too many see that some were refused."""
        if standing is not None and end in (End.ORGANIZATION_FULL, End.PERSON_FULL):
            for organization_id in client.audience(standing)[0]:
                self._refused[organization_id, end.reason] += 1

    def _suspend(self, client: Client) -> None:
        if client.is_hearing:
            for organization_id in self._roster.stop(client):
                self._fresh.forget(organization_id)
            first = self._fanout.withdraw(client)
            client.heard = self._kept.number if first is None else first - 1

    def _leave(self, client: Client) -> None:
        if client.is_gone:
            return
        self._suspend(client)
        self._roster.remove(client)
        client.is_gone = True
        self._doubted.pop(client, None)
        if client.expiry is not None:
            client.expiry.cancel()
        if client.settled is not None and not client.settled.done():
            client.settled.set_result(None)

    # What happens by the clock.

    async def _beat(self) -> None:
        """Each second a part of the clients gets its heartbeat; in each round another part of them
        is asked about anew."""
        second = 0
        due = time.monotonic()
        while True:
            due = max(due + 1, time.monotonic())
            await asyncio.sleep(due - time.monotonic())
            second += 1
            slot = self._roster.due(second)
            if self._listening.is_set():
                self._fanout.give(Frame("heartbeat", self._kept.place, {}), slot)
            turn = second // HEARTBEAT_SECONDS % REVIEW_ROUNDS
            again = slot[turn::REVIEW_ROUNDS]
            if again:
                # Nothing says that anything has changed: they hear on until the answer is there.
                self._doubted |= dict.fromkeys(again)
                self._doubts.set()
            if self._refused:
                await self._count_refusals()

    async def _count_refusals(self) -> None:
        refused, self._refused = self._refused, Tally()
        with suppress(WedSyncError, psycopg.Error):
            await count_refusals(self._pool, refused)

    def _retry_ms(self) -> int:
        spread = 1000 * max(self._returning, len(self._roster)) // COME_BACK_PER_SECOND
        return LEAST_RETRY_MS + random.randrange(spread + LEAST_RETRY_MS)  # noqa: S311 no secret
