"""What the serving processes of one address tell each other: memory that they share.

A board is made before its processes are forked. Each has a place on it and writes nothing but its
own place, so nothing is locked, and a process that is killed leaves nothing half done: figures are
single words, and a publication carries a checksum and stands beside the one before it.
"""

import mmap
import time
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

HEARD_SECONDS: Final = 0.5
"""Nobody waits for a process that has been silent for longer."""
MOST_PUBLISHED_BYTES: Final = 1024 * 1024

_SEEN, _CONNECTIONS, _REVOCATIONS, _TURN = range(4)
_LENGTHS: Final = (4, 5)
_SUMS: Final = (6, 7)
_HEAD_BYTES: Final = 8 * 8
_PLACE_BYTES: Final = mmap.PAGESIZE + 2 * MOST_PUBLISHED_BYTES
_TRIES: Final = 10


class Place:
    """Where one process writes and all read."""

    def __init__(self, number: int, memory: memoryview) -> None:
        self.number = number
        self._words = memory[:_HEAD_BYTES].cast("q")
        self._halves = tuple(
            memory[mmap.PAGESIZE + half * MOST_PUBLISHED_BYTES :][:MOST_PUBLISHED_BYTES]
            for half in (0, 1)
        )

    def beat(self) -> None:
        """Its process lives and takes connections."""
        self._words[_SEEN] = time.monotonic_ns()

    def leave(self) -> None:
        """Its process takes no more connections, or is gone. What it has published stays."""
        self._words[_SEEN] = -1
        self._words[_CONNECTIONS] = 0

    @property
    def is_heard(self) -> bool:
        """Whether its process has shown that it lives, a moment ago."""
        return time.monotonic_ns() - self._words[_SEEN] < HEARD_SECONDS * 1e9

    @property
    def is_new(self) -> bool:
        """Whether no process has sat here yet."""
        return self._words[_SEEN] == 0

    @property
    def connections(self) -> int:
        """How many its process has open."""
        return self._words[_CONNECTIONS]

    @connections.setter
    def connections(self, count: int) -> None:
        self._words[_CONNECTIONS] = count

    @property
    def revocations(self) -> int:
        """How many keys and sessions were revoked through its process."""
        return self._words[_REVOCATIONS]

    @revocations.setter
    def revocations(self, count: int) -> None:
        self._words[_REVOCATIONS] = count

    def publish(self, text: bytes) -> None:
        """Replaces what is published here. Raises ValueError for what there is no room for."""
        if len(text) > MOST_PUBLISHED_BYTES:
            raise ValueError(f"{len(text)} bytes; there is room for {MOST_PUBLISHED_BYTES}")
        turn = self._words[_TURN] + 1
        self._halves[turn % 2][: len(text)] = text
        self._words[_LENGTHS[turn % 2]] = len(text)
        self._words[_SUMS[turn % 2]] = zlib.crc32(text)
        self._words[_TURN] = turn

    def published(self) -> bytes:
        """What was published here last; empty for nothing."""
        for _ in range(_TRIES):
            half = self._words[_TURN] % 2
            text = bytes(self._halves[half][: self._words[_LENGTHS[half]]])
            if zlib.crc32(text) == self._words[_SUMS[half]]:
                return text
        return b""


class Board:
    """Shared memory with a place for each process."""

    def __init__(self, places: int) -> None:
        self._memory = mmap.mmap(-1, places * _PLACE_BYTES)
        view = memoryview(self._memory)
        self.places = tuple(
            Place(number, view[number * _PLACE_BYTES :][:_PLACE_BYTES]) for number in range(places)
        )

    def seat(self, number: int) -> "Seat":
        """The board as the process of that place has it."""
        others = self.places[:number] + self.places[number + 1 :]
        return Seat(self.places[number], others)


@dataclass(frozen=True, slots=True)
class Seat:
    """A place, and those of the others."""

    own: Place
    others: Sequence[Place]

    @property
    def places(self) -> list[Place]:
        """All, by number."""
        return sorted([self.own, *self.others], key=lambda place: place.number)

    @property
    def is_ahead(self) -> bool:
        """Whether another process that is heard has fewer connections than this one."""
        own = self.own.connections
        return any(other.connections < own and other.is_heard for other in self.others)

    @property
    def revocations(self) -> int:
        """How many there were through all processes; it only grows."""
        return sum(place.revocations for place in (self.own, *self.others))

    def note_revocation(self) -> None:
        """All processes shall ask again what they believe of keys and sessions."""
        self.own.revocations += 1
