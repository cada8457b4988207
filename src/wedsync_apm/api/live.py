"""Server-Sent Events: what changes in the caller's organizations, as it happens.

One connection of the process listens; everything else is fan-out in memory. An event says who,
what and which one, never the content: the reader fetches that with his own rights.

A client that reads too slowly loses its place: its queue is closed, it comes again and is told to
read everything anew. Nobody else waits for it.
"""

import asyncio
import json
import secrets
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from wedsync_apm.db.listen import listen
from wedsync_apm.errors import Forbidden, RateLimited, Unauthorized
from wedsync_apm.telemetry import Counter, Gauge, get_logger

log = get_logger(__name__)

CHANNEL: Final = "apm_live"
TOPICS: Final = frozenset({"incidents", "health", "deliveries", "metrics"})
OPERATOR_TOPICS: Final = frozenset({"incidents", "health"})
"""What an operator of the platform hears of organizations that he does not belong to."""
QUEUE_EVENTS: Final = 256
KEPT_EVENTS: Final = 2_000
MOST_CLIENTS_OF_ONE_ORGANIZATION: Final = 100
HEARTBEAT_SECONDS: Final = 15.0
RECHECK_SECONDS: Final = 30.0

CLIENTS = Gauge("wedsync_apm_live_clients", "Open event streams")
SENT = Counter("wedsync_apm_live_events_total", "Events put into clients' queues")
DROPPED = Counter("wedsync_apm_live_dropped_clients_total", "Clients that read too slowly")


@dataclass(frozen=True, slots=True)
class Event:
    """One change. Without organizations it may concern any."""

    number: int
    topic: str
    organization_ids: frozenset[UUID] | None
    data: str


@dataclass(frozen=True, slots=True)
class Audience:
    """What one client may hear at this moment."""

    organization_ids: frozenset[UUID]
    is_operator: bool = False

    def hears(self, event: Event) -> bool:
        """Whether the event is for this client."""
        if self.is_operator and event.topic in OPERATOR_TOPICS:
            return True
        if event.organization_ids is None:
            return bool(self.organization_ids)
        return not self.organization_ids.isdisjoint(event.organization_ids)


@dataclass(slots=True, eq=False)
class Client:
    """One open stream."""

    audience: Audience
    topics: frozenset[str]
    queue: asyncio.Queue[Event | None] = field(
        default_factory=lambda: asyncio.Queue(QUEUE_EVENTS + 1)
    )
    is_closed: bool = False

    def offer(self, event: Event) -> None:
        """Queues the event if it is for this client; closes the client if it is too slow."""
        if self.is_closed or event.topic not in self.topics or not self.audience.hears(event):
            return
        if self.queue.qsize() >= QUEUE_EVENTS:
            DROPPED.inc()
            self.close()
            return
        self.queue.put_nowait(event)
        SENT.inc()

    def close(self) -> None:
        """Ends the stream after what is queued."""
        if not self.is_closed:
            self.is_closed = True
            # One place more than events may take is kept for this.
            self.queue.put_nowait(None)


class Hub:
    """Takes notifications in and hands them to the clients of this process."""

    def __init__(self) -> None:
        self.boot = secrets.token_hex(4)
        self._clients: set[Client] = set()
        self._kept: deque[tuple[int, str]] = deque(maxlen=KEPT_EVENTS)
        self._number = 0
        self._gap_at = 0

    async def run(self, conninfo: str) -> None:
        """Listens until cancelled."""
        await listen(conninfo, [CHANNEL], self.hear, on_gap=self.forget)

    def hear(self, channel: str, payload: str) -> None:
        """One notification, which is read only if there is somebody to hear it: ingest makes
        hundreds a second. What cannot be read is left out: nothing may stop the listening."""
        self._number += 1
        self._kept.append((self._number, payload))
        if not self._clients:
            return
        event = _read(self._number, payload)
        if event is not None:
            for client in tuple(self._clients):
                client.offer(event)

    def forget(self) -> None:
        """After a gap nobody knows what was missed: every client shall read anew."""
        self._kept.clear()
        self._number += 1
        self._gap_at = self._number
        self.close_clients()

    def close_clients(self) -> None:
        """Ends every stream; the clients come again."""
        for client in tuple(self._clients):
            client.close()

    @contextmanager
    def join(self, client: Client) -> Iterator[None]:
        """Keeps the client among those who hear. Raises RateLimited when an organization has as
        many streams as it may have."""
        for organization_id in client.audience.organization_ids:
            crowd = sum(organization_id in c.audience.organization_ids for c in self._clients)
            if crowd >= MOST_CLIENTS_OF_ONE_ORGANIZATION:
                raise RateLimited("There are too many open streams of this organization.", 30.0)
        self._clients.add(client)
        CLIENTS.set(len(self._clients))
        try:
            yield
        finally:
            self._clients.discard(client)
            CLIENTS.set(len(self._clients))

    def missed_since(self, last_event_id: str | None, client: Client) -> list[Event] | None:
        """The client's events after the last one it has; None if that is not known any more."""
        boot, _, number = (last_event_id or "").partition("-")
        if boot != self.boot or not number.isdecimal() or len(number) > 18:
            return None
        last = int(number)
        oldest = self._kept[0][0] if self._kept else self._number + 1
        if not max(self._gap_at, oldest - 1) <= last <= self._number:
            return None
        missed = (_read(number, payload) for number, payload in self._kept if number > last)
        return [
            event
            for event in missed
            if event and event.topic in client.topics and client.audience.hears(event)
        ]

    def position(self) -> str:
        """The id of the newest event."""
        return f"{self.boot}-{self._number}"


Recheck = Callable[[], Awaitable[Audience]]


async def stream(
    hub: Hub,
    *,
    audience: Audience,
    topics: Collection[str],
    last_event_id: str | None,
    ends_at: float | None,
    recheck: Recheck,
    clock: Callable[[], float] = time.monotonic,
) -> AsyncIterator[bytes]:
    """The bytes of one event stream.

    1. A first `hello`, then what was missed since `last_event_id`; `resync` if that is unknown.
    2. Events as they come, and a comment every 15 seconds.
    3. Every 30 seconds `recheck` tells the audience anew; a credential that is no longer good, or
       `ends_at` (of `clock`), ends the stream.
    """
    client = Client(audience, frozenset(topics) & TOPICS)
    with hub.join(client):
        yield b"retry: 2000\n\n"
        missed = hub.missed_since(last_event_id, client)
        if missed is None:
            name = "hello" if last_event_id is None else "resync"
            yield _frame(name, hub.position(), "{}")
        for event in missed or ():
            yield _frame(event.topic, f"{hub.boot}-{event.number}", event.data)
        check_at = clock() + RECHECK_SECONDS
        while ends_at is None or clock() < ends_at:
            until = min(check_at, clock() + HEARTBEAT_SECONDS, ends_at or check_at)
            following: Event | None = None
            is_quiet = False
            try:
                async with asyncio.timeout(max(until - clock(), 0.001)):
                    following = await client.queue.get()
            except TimeoutError:
                is_quiet = True
            if clock() >= check_at:
                try:
                    client.audience = await recheck()
                except (Unauthorized, Forbidden):
                    break
                check_at = clock() + RECHECK_SECONDS
            if is_quiet:
                yield b": still here\n\n"
            elif following is None:
                break
            elif client.audience.hears(following):
                yield _frame(following.topic, f"{hub.boot}-{following.number}", following.data)
        yield _frame("bye", hub.position(), "{}")


def _read(number: int, payload: str) -> Event | None:
    try:
        said = json.loads(payload)
        one, many = said.get("organization_id"), said.get("organization_ids")
        named = [one] if one is not None else many
        return Event(
            number,
            str(said["topic"]),
            None if named is None else frozenset(UUID(text) for text in named),
            json.dumps(
                {key: said.get(key) for key in ("topic", "id", "action", "organization_id")}
            ),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as exc:
        log.warning("A notification cannot be read: %s", exc, extra={"action": "hear_event"})
        return None


def _frame(event: str, number: str, data: str) -> bytes:
    return f"id: {number}\nevent: {event}\ndata: {data}\n\n".encode()
