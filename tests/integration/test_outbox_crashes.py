"""Senders that die at any moment, in any order: what must hold at the end.

A death is an exception that nothing catches at the boundary of a statement: the transaction under
way rolls back, what was committed stays, and nobody cleans up. (A real kill -9 is in
test_outbox.py.)
"""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from tests.support.outbox import AT, World, outbox_of, world_of
from tests.support.postgres import Database
from tests.support.worst_day import WorstDay, worst_day
from wedsync_apm.notify import store
from wedsync_apm.notify.model import TRANSITIONS, State
from wedsync_apm.types import Channel

STATEMENTS = (
    "release_lost_leases",
    "claim_due_deliveries",
    "read_leased_delivery",
    "store_acknowledge_link",
    "begin_attempt",
    "settle_delivery",
    "record_outcome",
)


class _DeathError(BaseException):
    """Not an Exception: no barrier of the sender's stops it."""


class Reaper:
    """Kills whoever comes to a boundary, with the given chance; counts its dead."""

    def __init__(self, chance: random.Random, odds: float) -> None:
        self._chance = chance
        self.odds = odds
        self.dead = 0

    def pass_by(self) -> None:
        if self._chance.random() < self.odds:
            self.dead += 1
            raise _DeathError

    def stand_at_every_statement(self, patch: pytest.MonkeyPatch) -> None:
        for name in STATEMENTS:
            real = getattr(store, name)

            def mortal(*args: Any, real: Any = real, **kwargs: Any) -> Any:
                async def call() -> Any:
                    self.pass_by()
                    result = await real(*args, **kwargs)
                    self.pass_by()
                    return result

                return call()

            patch.setattr(store, name, mortal)


@pytest.fixture
async def world(database: Database) -> AsyncIterator[World]:
    async with world_of(database) as made:
        yield made


@pytest.fixture
async def day() -> AsyncIterator[WorstDay]:
    async with worst_day() as server:
        yield server


@pytest.mark.parametrize("seed", range(8))
async def test_no_call_is_lost_and_no_end_is_missing(
    seed: int,
    world: World,
    database: Database,
    day: WorstDay,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    chance = random.Random(seed)  # noqa: S311
    reaper = Reaper(chance, 0.15)
    reaper.stand_at_every_statement(monkeypatch)
    incidents = []
    for name in ("A", "B"):
        organization = await world.organization(name)
        path = chance.choice(["/ok", "/ok", "/status/503"])
        contact = await world.contact(organization, Channel.WEBHOOK, day.url(f"{path}/{name}"))
        for _ in range(3):
            incident = await world.incident(organization)
            await world.call(organization, incident, contact, Channel.WEBHOOK)
            incidents.append(incident)

    at = AT
    ended = set()
    async with outbox_of(database, owner="mortal", lease_seconds=30) as sender:
        for _ in range(12):
            at += timedelta(seconds=chance.choice([1, 2, 20, 40]))
            await _one_life(sender, at)
            if chance.random() < 0.3:
                incident = chance.choice(incidents)
                if incident not in ended:
                    ended.add(incident)
                    await world.set_status(incident, "resolved", at)
        reaper.odds = 0.0
        # The last incidents end, nobody dies any more and time passes: everything must settle.
        for incident in incidents:
            if incident not in ended:
                at += timedelta(seconds=1)
                await world.set_status(incident, "resolved", at)
        for _ in range(12):
            at += timedelta(hours=3)
            await _one_life(sender, at)

    assert reaper.dead > 0
    ids = Counter(seen.headers["webhook-id"] for seen in day.requests)
    rows = await world.run("select * from public.apm_deliveries")
    by_incident: dict[Any, dict[str, dict[str, Any]]] = {}
    for row in rows:
        by_incident.setdefault(row["incident_id"], {})[row["kind"]] = row
        # Everything has come to an end, and nothing was sent that no attempt stands for.
        assert not TRANSITIONS[State(row["state"])] or row["state"] == "sent", row["state"]
        attempts = await world.attempts(row["id"])
        assert None not in attempts
        assert len(attempts) == row["attempt"]
        assert ids[str(row["id"])] <= row["attempt"]
        assert (row["state"] == "sent") == (attempts[-1:] == ["sent"])
    for incident in incidents:
        page, end = by_incident[incident]["page"], by_incident[incident]["resolved"]
        if page["state"] == "sent":
            # Told down, told up; or the end is still being refused by a receiver that is ill.
            assert end["state"] in ("sent", "expired")
        elif end["state"] == "suppressed":
            # Nobody was told: no attempt of the call can have arrived.
            assert "unknown" not in await world.attempts(page["id"])
            assert ids[str(page["id"])] == 0 or "/status" in _path(day, str(page["id"]))
    # A second copy costs a death: at most one for each.
    extra = sum(
        count - 1
        for delivery_id, count in ids.items()
        if "/ok" in _path(day, delivery_id) and count > 1
    )
    assert extra <= reaper.dead


async def _one_life(sender: Any, at: Any) -> None:
    try:
        await sender.run_once(at)
    except _DeathError:
        return
    tasks = list(sender.outbox._under_way)
    await asyncio.gather(*tasks, return_exceptions=True)


def _path(day: WorstDay, delivery_id: str) -> str:
    return next(s.path for s in day.requests if s.headers["webhook-id"] == delivery_id)
