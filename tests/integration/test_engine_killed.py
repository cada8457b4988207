"""The engine process, killed again and again while vendors' forms break and recover."""

import asyncio
import base64
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest

from tests.support.engine import EngineWorld, open_engine_world
from tests.support.postgres import Database

PROGRAM = """
import asyncio
from wedsync_apm.config import load_settings
from wedsync_apm.engine.run import run_engine
asyncio.run(run_engine(load_settings()))
"""
VENDORS = 6


@pytest.fixture
async def world(database: Database) -> AsyncIterator[EngineWorld]:
    async with open_engine_world(database) as opened:
        yield opened


@contextmanager
def engine_process(database: Database, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The engine as a process of its own; gone at the end of the block."""
    secrets = {f"{role}_password": password for role, password in database.passwords.items()}
    (folder / "secrets.json").write_text(json.dumps(secrets))
    with (folder / "engine.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM],
            env={
                **{k: v for k, v in os.environ.items() if not k.startswith("WEDSYNC_APM_")},
                "WEDSYNC_APM_DATABASE_URL": database.owner,
                "WEDSYNC_APM_DATA_DIR": str(folder),
                "WEDSYNC_APM_EVALUATION_LEASE_SECONDS": "1",
                "WEDSYNC_APM_MASTER_KEY": base64.b64encode(b"m" * 32).decode(),
            },
            stderr=log,
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait(60)


async def eventually(condition: Callable[[], Awaitable[bool]], seconds: float = 60.0) -> None:
    """Waits until `condition` gives true."""
    deadline = time.monotonic() + seconds
    while not await condition():
        assert time.monotonic() < deadline, "it did not come to that in time"
        await asyncio.sleep(0.1)


@pytest.mark.slow
async def test_killed_at_any_moment_it_loses_and_repeats_nothing(
    world: EngineWorld, database: Database, tmp_path: Path
) -> None:
    chance = random.Random(20260620)  # noqa: S311
    vendors = [await world.organization(f"Vendor {n}") for n in range(VENDORS)]
    for vendor in vendors:
        await world.contact(vendor, "Priya")
        await world.rule(vendor, aggregation="last", cooldown_period=timedelta())
    script: dict[float, list[tuple[int, float]]] = {}
    for n in range(VENDORS):
        broken = chance.uniform(0.5, 5.0)
        mended = broken + chance.uniform(1.5, 4.0)
        for at, value in ((0.0, 10.0), (broken, 9000.0), (mended, 20.0)):
            script.setdefault(at, []).append((n, value))
    lives = 0

    async def feed() -> None:
        begun = time.monotonic()
        for moment in sorted(script):
            await asyncio.sleep(max(0.0, begun + moment - time.monotonic()))
            for n, value in script[moment]:
                await world.samples(vendors[n], [(datetime.now(UTC), value)])

    async def is_at_work_since(moment: datetime) -> bool:
        return bool(
            await world.run(
                "select 1 as found from apm_private.job_runs where job = 'evaluate' "
                "and finished_at > %(moment)s",
                moment=moment,
            )
        )

    feeding = asyncio.create_task(feed())
    while not feeding.done() or lives < 4:
        begun = datetime.now(UTC)
        with engine_process(database, tmp_path) as process:
            lives += 1
            await eventually(partial(is_at_work_since, begun))
            await asyncio.sleep(chance.uniform(0.0, 0.8))
            process.send_signal(signal.SIGKILL)
    await feeding

    begun = datetime.now(UTC)
    with engine_process(database, tmp_path) as process:
        await eventually(partial(is_at_work_since, begun))

        async def is_all_over() -> bool:
            # As if the minute had passed for which the killed ones had leased their messages.
            await world.run(
                "update public.apm_deliveries set lease_until = now() "
                "where lease_until > now() and split_part(lease_owner, '/', 2) <> %(pid)s",
                pid=str(process.pid),
            )
            found = [await world.incidents(vendor) for vendor in vendors]
            told = [await world.deliveries(vendor) for vendor in vendors]
            return all(one and one[0]["status"] == "resolved" for one in found) and all(
                delivery["state"] not in {"pending", "leased", "sending"}
                for one in told
                for delivery in one
            )

        await eventually(is_all_over, 120)
        process.terminate()
        assert process.wait(60) == 0, "it stops when it is told to"
    for vendor in vendors:
        (incident,) = await world.incidents(vendor)
        assert incident["repeat_count"] == 0
        kinds = [event["kind"] for event in await world.events(vendor)]
        assert kinds.count("opened") == kinds.count("resolved") == 1
        assert kinds.count("reopened") == 0
        # Whether the ladder was climbed in the seconds that it was broken depends on the kills;
        # if it was, then once.
        pages = [one for one in await world.deliveries(vendor) if one["kind"] == "page"]
        assert len(pages) == kinds.count("escalated") <= 1
    rules = await world.run("select sum(trigger_count) as triggered from public.apm_alerts")
    assert rules[0]["triggered"] == VENDORS
    assert b"Traceback" not in (tmp_path / "engine.log").read_bytes()
