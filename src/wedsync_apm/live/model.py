"""What is said over a live connection, what is kept of it for a while, and why one ends.

An event says who, what and which one, never the content: the reader fetches that with his own
rights. The same JSON goes over WebSockets (RFC 6455) and as Server-Sent Events (the WHATWG's HTML
standard, 9.2); each message is framed once, however many hear it.
"""

import hashlib
import secrets
from collections import deque
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final
from uuid import UUID

import msgspec

TOPICS: Final = frozenset({"incidents", "health", "deliveries", "metrics", "guard"})
METRIC: Final = "metric:"
"""Begins the topic of one metric: `metric:service.name`."""
OPERATOR_TOPICS: Final = frozenset({"incidents", "health"})
"""What an operator of the platform hears of organizations that he does not belong to."""
MOST_TOPICS: Final = 50
LONGEST_METRIC: Final = 2049
KEPT_EVENTS: Final = 20_000
MOST_MISSED: Final = 200
"""Whoever missed more is told to read everything anew, which is less for both."""

_encode = msgspec.json.Encoder().encode


class End(Enum):
    """Why the server ends a connection: the WebSocket's close code, and the reason in words.

    Codes of 4000 and more are ours, and mirror those of HTTP where there is one.
    """

    RESTART = 1012, "the server restarts; come again after the pause it named"
    AWAY = 1013, "the database is away; try again later"
    MALFORMED = 4400, "the message was not understood"
    SESSION = 4401, "the token or key is good no more"
    FORBIDDEN = 4403, "there is nothing that you may hear"
    SILENT = 4408, "no subscription came in time"
    SLOW = 4410, "the connection reads too slowly"
    ORGANIZATION_FULL = 4429, "the organization has as many live connections as it may have"
    PERSON_FULL = 4430, "you have as many live connections as you may have"
    TALKATIVE = 4431, "too many messages"

    @property
    def code(self) -> int:
        """As a WebSocket's close frame has it."""
        return int(self.value[0])

    @property
    def reason(self) -> str:
        """In words."""
        return str(self.value[1])


def fault_in_topics(topics: Collection[str]) -> str | None:
    """Why one may not subscribe to these; None if one may."""
    if len(topics) > MOST_TOPICS:
        return f"{len(topics)} topics; at most {MOST_TOPICS} are possible"
    for topic in topics:
        if topic.startswith(METRIC):
            service, dot, name = topic.removeprefix(METRIC).partition(".")
            if not (service and dot and name) or len(topic) > LONGEST_METRIC:
                return f"{topic[:50]!r} is not like {METRIC}service.name"
        elif topic not in TOPICS:
            return f"{topic[:50]!r} is none of {', '.join(sorted(TOPICS))}, {METRIC}service.name"
    return None


class Frame:
    """A message as both ways of listening carry it."""

    __slots__ = ("chunk", "number", "websocket")

    def __init__(self, kind: str, event_id: str | None, said: Mapping[str, Any], number: int = 0):
        head = {"type": kind} if event_id is None else {"type": kind, "event_id": event_id}
        text = _encode(head | dict(said))
        self.number = number
        """Its place among the kept events; 0 for what is not kept."""
        self.websocket = _text_frame(text)
        name = str(said["topic"]).partition(":")[0] if kind == "event" else kind
        line = b"" if event_id is None else b"id: " + event_id.encode() + b"\n"
        self.chunk = as_chunk(line + b"event: " + name.encode() + b"\ndata: " + text + b"\n\n")


def as_chunk(body: bytes) -> bytes:
    """A piece of a body whose length nobody knows beforehand (RFC 9112, 7.1)."""
    return b"%x\r\n%b\r\n" % (len(body), body)


def _text_frame(text: bytes) -> bytes:
    """One final, unmasked text frame (RFC 6455, 5.2)."""
    size = len(text)
    if size < 126:
        return bytes((0x81, size)) + text
    if size < 65_536:
        return b"\x81\x7e" + size.to_bytes(2, "big") + text
    return b"\x81\x7f" + size.to_bytes(8, "big") + text


@dataclass(frozen=True, slots=True, eq=False)
class Event:
    """One change that is kept. Without an organization it concerns everybody."""

    number: int
    id: str
    topic: str
    organization_id: UUID | None
    frame: Frame


@dataclass(frozen=True, slots=True)
class Standing:
    """What the database says of somebody who listens, or wants to."""

    organization_ids: frozenset[UUID]
    is_operator: bool
    generation: int | None
    """Of a person's tokens; None for whoever is disabled, no account of ours, or a key."""
    expires_at: float | None
    """Of a key, in Unix seconds."""


def name_event(payload: str) -> str:
    """The same in every process that hears the payload, and telling nothing about it."""
    return hashlib.blake2b(payload.encode(), digest_size=8).hexdigest()


class Kept:
    """The newest events: what somebody missed who was away for a moment.

    A place is the id of an event, or of the moment since which this process has heard everything.
    Other processes know the former too.
    """

    def __init__(self, most: int = KEPT_EVENTS) -> None:
        self._most = most
        self._number = 0
        self._events: deque[Event] = deque()
        self._by_organization: dict[UUID | None, deque[Event]] = {}
        self._places: dict[str, int] = {}
        self._newest = ""
        self.forget()

    @property
    def number(self) -> int:
        """Of the newest event."""
        return self._number

    @property
    def place(self) -> str:
        """From which on somebody who begins now will have heard everything."""
        return self._newest

    def forget(self) -> None:
        """Nobody knows what was missed: every place from before is good no more."""
        self._events.clear()
        self._by_organization.clear()
        self._number += 1
        self._known_since = self._number
        self._newest = secrets.token_hex(8)
        self._places = {self._newest: self._number}

    def add(
        self, event_id: str, topic: str, organization_id: UUID | None, said: Mapping[str, Any]
    ) -> Event:
        """The event with its number."""
        self._number += 1
        frame = Frame("event", event_id, said, self._number)
        event = Event(self._number, event_id, topic, organization_id, frame)
        self._events.append(event)
        self._by_organization.setdefault(organization_id, deque()).append(event)
        # Of two with one id the first counts: better twice than not at all.
        self._places.setdefault(event_id, event.number)
        self._newest = event_id
        if len(self._events) > self._most:
            self._drop_oldest()
        return event

    def find(self, place: str) -> int | None:
        """The number of a place; None for one that is not known, or not any more."""
        return self._places.get(place)

    def since(
        self,
        number: int,
        topics: Collection[str],
        organization_ids: Collection[UUID],
        *,
        is_operator: bool = False,
    ) -> list[Event] | None:
        """What came after, for somebody who may hear these; None if that is not known, or is more
        than is worth sending."""
        if number < self._known_since:
            return None
        found: list[Event] = []
        wanted = (None, *(self._by_organization if is_operator else organization_ids))
        for organization_id in set(wanted):
            is_own = organization_id is None or organization_id in organization_ids
            for event in reversed(self._by_organization.get(organization_id, ())):
                if event.number <= number:
                    break
                if event.topic in topics and (is_own or event.topic in OPERATOR_TOPICS):
                    found.append(event)
                    if len(found) > MOST_MISSED:
                        return None
        return sorted(found, key=lambda event: event.number)

    def _drop_oldest(self) -> None:
        oldest = self._events.popleft()
        self._known_since = oldest.number
        if self._places.get(oldest.id) == oldest.number:
            # The place behind it is still good: nothing after it is gone yet.
            del self._places[oldest.id]
        own = self._by_organization[oldest.organization_id]
        own.popleft()
        if not own:
            del self._by_organization[oldest.organization_id]
