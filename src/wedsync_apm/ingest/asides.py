"""What the writer says beside the samples, at a pace: who has new ones, and what was refused.

Both gather between two sayings. What a database that is away did not hear is kept for the next one.
"""

import time
from collections.abc import Iterable
from typing import Final, Protocol
from uuid import UUID

from wedsync_apm.ingest import store
from wedsync_apm.ingest.model import Refusal, Rejections

ANNOUNCE_EVERY_SECONDS: Final = 0.02
MOST_NAMED: Final = 150
"""Organizations in one notification, which carries at most 8,000 bytes."""
REFUSALS_EVERY_SECONDS: Final = 1.0
MOST_REFUSALS: Final = 10_000


class Aside(Protocol):
    """One thing to say on a connection that is free."""

    is_due: bool
    """Whether its time has come, as whoever keeps the time says."""
    is_being_said: bool
    """Never twice at a time."""

    @property
    def name(self) -> str:
        """For the log."""

    @property
    def is_waiting(self) -> bool:
        """Whether there is something to say."""

    @property
    def due_in(self) -> float:
        """Seconds until it may be said: the first word after a pause goes out at once."""

    async def say(self, cx: store.Connection) -> None:
        """Says what has gathered."""

    def keep(self) -> None:
        """What was said last was not heard."""


class Announcements:
    """Which organizations have new samples, told to live pages and to the rules.

    PostgreSQL lets transactions that notify commit one after the other only, and each notification
    wakes every listener: so what several flushes brought is told together, a moment after it was
    committed. A notification is a hint; whoever misses one finds the rows in a rhythm of its own.
    The first one names nobody, which means that any may have new samples: what the process before
    this one committed last may not have been told any more.
    """

    name: Final = "announcements"

    def __init__(self) -> None:
        self.is_waiting = self.is_due = self.is_being_said = False
        self._names: set[str] = set()
        self._is_of_any = True
        self._not_before = 0.0

    @property
    def due_in(self) -> float:
        return max(self._not_before - time.monotonic(), 0.0)

    def add(self, names: Iterable[str]) -> bool:
        """These have new samples. Whether that is the first word since the last saying."""
        if not self._is_of_any:
            self._names.update(names)
            if len(self._names) > MOST_NAMED:
                self._forget_names()
        is_first, self.is_waiting = not self.is_waiting, True
        return is_first

    async def say(self, cx: store.Connection) -> None:
        event = self._event()
        self._names.clear()
        self._is_of_any = self.is_waiting = False
        self._not_before = time.monotonic() + ANNOUNCE_EVERY_SECONDS
        await store.announce_flushes(cx, event)

    def keep(self) -> None:
        self._forget_names()
        self.is_waiting = True

    def _forget_names(self) -> None:
        self._names.clear()
        self._is_of_any = True

    def _event(self) -> str:
        names = list(self._names)
        named = "null" if self._is_of_any else '["' + '","'.join(names) + '"]'
        only = f'"{names[0]}"' if len(names) == 1 else "null"
        return (
            f'{{"topic":"metrics","action":"flush","id":null,'
            f'"organization_id":{only},"organization_ids":{named}}}'
        )


class RefusalCounts:
    """How many samples of each organization were refused, by source and reason, for its eyes."""

    name: Final = "refusals"

    def __init__(self) -> None:
        self.is_due = self.is_being_said = False
        self._kept: dict[tuple[UUID, str, str], Refusal] = {}
        self._said: dict[tuple[UUID, str, str], Refusal] = {}
        self._not_before = 0.0

    @property
    def is_waiting(self) -> bool:
        return bool(self._kept)

    @property
    def due_in(self) -> float:
        return max(self._not_before - time.monotonic(), 0.0)

    def add(self, source: str, rejections: Rejections) -> bool:
        """Whether these are the first ones since the last saying."""
        was_waiting = self.is_waiting
        for organization_id, reason, refusal in rejections.of_known_organizations():
            key = organization_id, source, reason
            if key not in self._kept and len(self._kept) >= MOST_REFUSALS:
                continue  # telemetry has them; the table of so many is beyond reading
            kept = self._kept.setdefault(key, Refusal())
            kept.count += refusal.count
            kept.example = refusal.example
        return self.is_waiting and not was_waiting

    async def say(self, cx: store.Connection) -> None:
        self._said, self._kept = self._kept, {}
        self._not_before = time.monotonic() + REFUSALS_EVERY_SECONDS
        await store.count_refusals(cx, self._said)
        self._said = {}

    def keep(self) -> None:
        kept, self._said = self._said, {}
        for key, newer in self._kept.items():
            older = kept.setdefault(key, Refusal())
            older.count += newer.count
            older.example = newer.example
        self._kept = kept
