"""A sender that is killed by SIGKILL at each boundary in turn: before and after every statement,
every end of a transaction, and the sending itself. Nothing is lost, nothing arrives more often than
it was killed, and what may have arrived is `unknown` before it is sent again.
"""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from tests.support.outbox import AT, World, world_of
from tests.support.postgres import Database
from tests.support.worst_day import WorstDay, worst_day
from wedsync_apm.types import Channel

ROOT = Path(__file__).parents[2]
PATIENCE_SECONDS = 60.0
MOST_BOUNDARIES = 80
BEGUN = {"sending", "sent", "unknown", "retry"}

Run = Callable[[datetime, int], Awaitable[dict[str, Any]]]


@pytest.fixture
async def world(database: Database) -> AsyncIterator[World]:
    async with world_of(database) as made:
        yield made


@pytest.fixture
async def day() -> AsyncIterator[WorstDay]:
    async with worst_day() as server:
        yield server


@asynccontextmanager
async def mortal(database: Database) -> AsyncIterator[Run]:
    """Lets a sender run once at a time, and be killed at a boundary; 0 is none."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.support.mortal_sender",
        cwd=ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    commands, answers = process.stdin, process.stdout

    async def run(at: datetime, kill_at: int) -> dict[str, Any]:
        commands.write(json.dumps({"at": at.isoformat(), "kill_at": kill_at}).encode() + b"\n")
        line = await asyncio.wait_for(answers.readline(), PATIENCE_SECONDS)
        found: dict[str, Any] = json.loads(line)
        return found

    known = {
        "name": database.name,
        "owner": database.owner,
        "passwords": dict(database.passwords),
    }
    commands.write(json.dumps(known).encode() + b"\n")
    try:
        yield run
    finally:
        commands.close()
        await asyncio.wait_for(process.wait(), PATIENCE_SECONDS)


async def test_a_call_survives_a_kill_at_every_boundary(
    world: World, database: Database, day: WorstDay
) -> None:
    organization = await world.organization()
    contact = await world.contact(organization, Channel.WEBHOOK, day.url("/ok"))
    kills, doubled, unknown = 0, 0, 0
    async with mortal(database) as run:
        for boundary in range(1, MOST_BOUNDARIES):
            at = AT + timedelta(minutes=5 * boundary)
            incident = await world.incident(organization, at)
            call = await world.call(organization, incident, contact, Channel.WEBHOOK, at=at)
            ended = await run(at, boundary)
            died_in = (await world.delivery(call))["state"]
            # a living sender comes when the lease is over
            survivor = await run(at + timedelta(seconds=31), 0)
            assert not survivor["is_killed"]
            row, attempts = await world.delivery(call), await world.attempts(call)
            arrived = _arrived(day, call)
            assert row["state"] == "sent", (boundary, died_in, row["state_reason"])
            assert 1 <= arrived <= 1 + ended["is_killed"], (boundary, died_in)
            if died_in == "sending":
                assert attempts == ["unknown", "sent"]
                unknown += 1
            else:
                assert attempts == ["sent"]
                assert arrived == 1
            kills, doubled = kills + ended["is_killed"], doubled + arrived - 1
            if not ended["is_killed"]:
                break
        else:
            pytest.fail("it was killed at every boundary that was tried, so there are more")
    # From the first statement to the last: lost leases, groups, other channels, the claim, the
    # look, the link, the attempt, the sending, the outcome, each with its transaction.
    assert kills >= 24
    assert unknown >= 4
    assert 1 <= doubled <= unknown


async def test_what_is_told_in_another_message_survives_a_kill_at_every_boundary(
    world: World, database: Database, day: WorstDay
) -> None:
    organization = await world.organization()
    contact = await world.contact(organization, Channel.WEBHOOK, day.url("/ok"))
    await world.run(
        "insert into apm_private.throttle_limits values ('webhook', 'all', 60, 1) "
        "on conflict do nothing"
    )
    kills = 0
    async with mortal(database) as run:
        # Some of them: the test above walks over each.
        for boundary in range(3, MOST_BOUNDARIES, 4):
            at = AT + timedelta(hours=boundary)
            calls = [
                await world.call(
                    organization, await world.incident(organization, at), contact, Channel.WEBHOOK
                )
                for _ in range(3)
            ]
            # All three wait because there were too many before; the first is due now.
            await world.run(
                "update public.apm_deliveries set throttled_at = %(at)s, created_at = %(at)s, "
                "due_at = %(at)s + case when id = %(first)s then interval '0' else interval '30 s' "
                "end where id = any (%(calls)s)",
                at=at,
                first=calls[0],
                calls=calls,
            )
            ended = await run(at, boundary)
            for seconds in (95, 160):
                await run(at + timedelta(seconds=seconds), 0)
            rows = {call: await world.delivery(call) for call in calls}
            # Each is told: by itself, or in one that was sent.
            for row in rows.values():
                lead = rows[row["bundled_into"]] if row["bundled_into"] else row
                assert lead["state"] == "sent", (boundary, row["state"], lead["state"])
            assert any(row["state"] == "bundled" for row in rows.values())
            kills += ended["is_killed"]
            if not ended["is_killed"]:
                break
        else:
            pytest.fail("it was killed at every boundary that was tried, so there are more")
    assert kills >= 6
    arrived = sum(1 for seen in day.requests if seen.path.startswith("/ok"))
    sent = await world.run("select count(*) as n from public.apm_deliveries where state = 'sent'")
    assert arrived <= sent[0]["n"] + kills


def _arrived(day: WorstDay, call: UUID) -> int:
    return sum(1 for seen in day.requests if seen.headers["webhook-id"] == str(call))
