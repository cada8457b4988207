"""What wakes a job before its time: the database says that something has been committed for it.

One connection of the engine listens to what live pages hear too. A notification is a hint and no
more: what it names is read from the rows, and where one is lost the job's own rhythm finds it.
"""

import asyncio
from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from typing import Final

import msgspec

from wedsync_apm.db.listen import listen
from wedsync_apm.telemetry import Counter

CHANNEL: Final = "apm_live"
WAKES: Final[Mapping[str, str]] = {
    "metrics": "evaluate",
    "incidents": "escalate",
    "deliveries": "deliver",
}
"""Which job each topic wakes: samples are judged, incidents start ladders, messages are sent."""
_SENT_BY_ITSELF: Final = frozenset({"update"})
"""Of messages: what became of one is the sender's own doing and gives him nothing to do."""

READ_APART_SECONDS: Final = 0.05
"""Notifications that stream in are read so often."""

WOKEN = Counter("wedsync_apm_engine_wakes_total", "Jobs woken before their time.", ("job",))


class _Said(msgspec.Struct):
    topic: str = ""
    action: str = ""
    organization_ids: list[str] | None = None
    """None where any may be meant."""


_read = msgspec.json.Decoder(_Said).decode


@dataclass(slots=True)
class Wakes:
    """An event for each job that can be woken."""

    events: Mapping[str, asyncio.Event] = field(
        default_factory=lambda: {job: asyncio.Event() for job in WAKES.values()}
    )
    watched: Set[str] | None = None
    """The organizations whose samples somebody waits for; None: everybody's."""

    async def run(self, conninfo: str) -> None:
        """Listens until cancelled."""
        await listen(conninfo, [CHANNEL], self.hear, on_gap=self.wake_all, apart=READ_APART_SECONDS)

    def hear(self, channel: str, payload: str) -> None:
        """One notification; what cannot be read is left to the jobs' own rhythm."""
        try:
            said = _read(payload)
        except msgspec.DecodeError:
            return
        job = WAKES.get(said.topic)
        if job is None or (said.topic == "deliveries" and said.action in _SENT_BY_ITSELF):
            return
        if job == "evaluate" and not self._is_watched(said.organization_ids):
            return
        WOKEN.inc(job=job)
        self.events[job].set()

    def _is_watched(self, organization_ids: list[str] | None) -> bool:
        if self.watched is None:
            return True
        if organization_ids is None:
            return bool(self.watched)
        return not self.watched.isdisjoint(organization_ids)

    def wake_all(self) -> None:
        """After a gap nobody knows what was missed."""
        for event in self.events.values():
            event.set()
