"""Which organizations this engine judges: engines share them by leases that the database keeps.

Organizations are in eight slices, by the last bits of their ids. Each slice has one holder at a
time, for as long as that says often enough that it lives, and a generation that grows when the
slice passes on. Whatever a holder writes names the generation, and the database refuses the one
that is over: an engine that was paused and goes on finds out by its own statements, not by a look
at a clock. Clocks are the database's.
"""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID, uuid4

from wedsync_apm.db.pool import Connection
from wedsync_apm.engine.store import Q
from wedsync_apm.rules.live import Lease

SLICES: Final = 8
LEASE: Final = timedelta(seconds=5)


def slice_of(organization_id: UUID) -> int:
    """As `apm_private.rollup_slice` has it."""
    return organization_id.int % SLICES


def cursor_name(reader: str, number: int) -> str:
    """What the cursor of a slice is called."""
    return f"{reader} {number}"


@dataclass(frozen=True, slots=True)
class Cursor:
    """How far a slice has been read; without a snapshot nothing of it has, or not here."""

    snapshot: str | None = None
    at: datetime | None = None
    """Up to when it has been judged."""
    behind: frozenset[UUID] = frozenset()
    """The organizations that were not judged up to then."""


@dataclass(slots=True)
class Leases:
    """What one engine holds; no more than a belief until a statement that writes has proven it."""

    duration: timedelta = LEASE
    holder: UUID = field(default_factory=uuid4)
    generations: Mapping[int, int] = field(default_factory=dict)
    """Of each slice that is held."""
    said_at: float = 0.0
    """When this engine last said that it lives, by the monotonic clock."""

    def has(self, organization_id: UUID) -> bool:
        """Whether an organization is in a slice that is held."""
        return slice_of(organization_id) in self.generations

    def of(self, organization_id: UUID) -> Lease:
        """By what its verdicts may be written."""
        number = slice_of(organization_id)
        return Lease(self.holder, number, self.generations[number])

    async def hold(self, cx: Connection, organization_id: UUID) -> None:
        """Holds an organization until the transaction ends: before whatever is written of it.

        Somebody who stalled behind a statement without this would leave locks to whoever takes
        over. Raises SerializationFailure where it has been taken over.
        """
        lease = self.of(organization_id)
        await cx.execute(
            Q.hold_slice,
            {"engine": lease.holder, "slice": lease.slice, "generation": lease.generation},
        )

    async def share(self, cx: Connection) -> None:
        """Takes what is free up to a fair share, and gives back what is more than that."""
        rows = await cx.execute(Q.share_slices, {"engine": self.holder, "lease": self.duration})
        self.said_at = time.monotonic()
        self.generations = {row["slice"]: row["generation"] for row in await rows.fetchall()}

    def is_quiet(self) -> bool:
        """Whether it is about time to say again that this engine lives."""
        return time.monotonic() - self.said_at >= self.duration.total_seconds() / 2

    async def attend(self, cx: Connection, at: datetime) -> str:
        """Says that this engine lives, however long its runs take."""
        async with cx.transaction():
            await cx.execute(Q.tell_alive, {"engine": self.holder, "lease": self.duration})
        self.said_at = time.monotonic()
        return ""

    async def leave(self, cx: Connection) -> None:
        """Leaves everything to the others, who need not wait for the lease to end."""
        async with cx.transaction():
            await cx.execute(Q.leave_slices, {"engine": self.holder})
        self.generations = {}

    async def list_cursors(self, cx: Connection, reader: str) -> dict[int, "Cursor"]:
        """How far each slice has been read."""
        rows = await cx.execute(Q.list_cursors, {"name": reader, "slices": list(self.generations)})
        return {
            row["slice"]: Cursor(row["snapshot"], row["at"], frozenset(row["behind"] or ()))
            for row in await rows.fetchall()
        }

    async def move_cursors(
        self,
        cx: Connection,
        reader: str,
        snapshots: Mapping[int, str],
        at: datetime,
        behind: Sequence[UUID] = (),
    ) -> None:
        """These slices have been read up to here, and all that is held has been judged up to `at`
        but what these organizations have; belongs into the transaction that acts on it.

        Raises SerializationFailure where one of them is not held any more.
        """
        numbers = list(snapshots)
        await cx.execute(
            Q.move_cursors,
            {
                "name": reader,
                "engine": self.holder,
                "slices": numbers,
                "generations": [self.generations[one] for one in numbers],
                "snapshots": list(snapshots.values()),
                "at": at,
                "behind": list(behind),
                "behind_slices": [slice_of(one) for one in behind],
            },
        )


def those_in(numbers: Iterable[int], organization_ids: Iterable[UUID]) -> Sequence[UUID]:
    """The organizations that are in some slices."""
    wanted = set(numbers)
    return [one for one in organization_ids if slice_of(one) in wanted]
