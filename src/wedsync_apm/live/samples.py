"""New samples: that there are some, and of metrics that somebody follows, which.

Samples come all the time, and nobody looks at each: of an organization it is said every five
seconds at most, and kept for nobody. What is new in a metric is read from the database as somebody
who follows it, one organization after the other, and never more than a fifth of the time.
"""

import asyncio
import math
import time
from collections.abc import Callable, Collection, Iterable
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

import psycopg

from wedsync_apm.clock import utcnow
from wedsync_apm.db.pool import Pool
from wedsync_apm.db.tenant import tenant_tx
from wedsync_apm.errors import WedSyncError
from wedsync_apm.live.client import Client
from wedsync_apm.live.model import METRIC, Frame
from wedsync_apm.metrics.store import LatestSample, query_latest
from wedsync_apm.organizations.identity import actor_of
from wedsync_apm.telemetry import get_logger

log = get_logger(__name__)

APART_SECONDS: Final = 5.0
LOOK_SECONDS: Final = 0.5
REST: Final = 4.0
"""So many times as long as a reading took is not read."""
WITHIN: Final = timedelta(minutes=2)
AHEAD: Final = timedelta(minutes=10)
"""How far in the future a sample may lie that is taken."""
MOST_SERIES: Final = 50

Give = Callable[[Frame, Iterable[Client]], None]


class Fresh:
    """Which organizations have samples that were not told of yet. `hearing` gives the clients who
    may hear of one."""

    def __init__(
        self, pool: Pool, hearing: Callable[[UUID], Collection[Client]], give: Give
    ) -> None:
        self._pool, self._hearing, self._give = pool, hearing, give
        self._is_any = False
        self._due: dict[UUID, None] = {}
        self._told_at: dict[UUID, float] = {}
        self._newest: dict[UUID, dict[str, float]] = {}

    def note(self, organization_ids: Collection[UUID] | None) -> None:
        """These have new samples, if anybody follows them; None: any may."""
        if organization_ids is None:
            self._is_any = True
            return
        for organization_id in organization_ids:
            if organization_id in self._told_at:
                self._due[organization_id] = None

    def join(self, organization_ids: Iterable[UUID]) -> None:
        """Somebody hears of these now."""
        for organization_id in organization_ids:
            self._told_at.setdefault(organization_id, -math.inf)

    def forget(self, organization_id: UUID) -> None:
        """Nobody hears of it any more."""
        self._due.pop(organization_id, None)
        self._told_at.pop(organization_id, None)
        self._newest.pop(organization_id, None)

    async def run(self) -> None:
        """Tells until cancelled."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            if self._is_any:
                self._is_any = False
                self._due |= dict.fromkeys(self._told_at)
            now = time.monotonic()
            ready = [one for one in self._due if self._told_at[one] + APART_SECONDS <= now]
            for number, organization_id in enumerate(ready):
                if self._due.pop(organization_id, self) is not self:
                    await self._tell(organization_id)
                if number % 50 == 49:
                    await asyncio.sleep(0)

    async def _tell(self, organization_id: UUID) -> None:
        self._told_at[organization_id] = time.monotonic()
        hearing = self._hearing(organization_id)
        said = {
            "topic": "metrics",
            "id": None,
            "action": "flush",
            "organization_id": organization_id,
        }
        followers = [one for one in hearing if "metrics" in one.topics]
        if followers:
            self._give(Frame("event", None, said), followers)
        metrics = sorted(
            {topic for one in hearing for topic in one.topics if topic.startswith(METRIC)}
        )
        if metrics:
            started = time.monotonic()
            try:
                await self._tell_metrics(organization_id, metrics)
            except (WedSyncError, psycopg.Error) as exc:
                log.warning(
                    "New samples cannot be read: %s", exc, extra={"action": "read_live_samples"}
                )
            await asyncio.sleep((time.monotonic() - started) * REST)

    async def _tell_metrics(self, organization_id: UUID, topics: Collection[str]) -> None:
        reader = next(
            (one for one in self._hearing(organization_id) if not one.topics.isdisjoint(topics)),
            None,
        )
        if reader is None:
            return
        found: dict[str, list[LatestSample]] = {}
        async with tenant_tx(self._pool, actor_of(reader.identity)) as cx:
            for topic in topics:
                found[topic] = await query_latest(
                    cx,
                    organization_id,
                    topic.removeprefix(METRIC),
                    utcnow() + AHEAD,
                    within=WITHIN + AHEAD,
                )
        # Who hears may be somebody else by now.
        hearing = self._hearing(organization_id)
        told = self._newest.setdefault(organization_id, {}) if hearing else {}
        for topic, samples in found.items():
            newest = max((one.unix_s for one in samples), default=-math.inf)
            followers = [one for one in hearing if topic in one.topics]
            if followers and newest > told.get(topic, -math.inf):
                told[topic] = newest
                self._give(_frame(organization_id, topic, samples), followers)


def _frame(organization_id: UUID, topic: str, samples: Collection[LatestSample]) -> Frame:
    newest = sorted(samples, key=lambda one: one.unix_s, reverse=True)[:MOST_SERIES]
    said: dict[str, Any] = {
        "topic": topic,
        "id": None,
        "action": "samples",
        "organization_id": organization_id,
        "series": [
            {
                "tags": one.series.tags,
                "unit": one.series.unit,
                "at": one.unix_s,
                # JSON has no NaN and no infinities.
                "value": one.value if math.isfinite(one.value) else None,
            }
            for one in newest
        ],
    }
    return Frame("event", None, said)
