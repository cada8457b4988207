"""Few connections do the work of many, and those that nobody needs are closed."""

import asyncio

import pytest

from tests.support.postgres import Database
from wedsync_apm.db import pool as pools
from wedsync_apm.db.pool import Pool, open_pool


async def backend(pool: Pool) -> int:
    async with pool.connection() as cx:
        row = await (await cx.execute("select pg_backend_pid() as pid")).fetchone()
    assert row is not None
    return int(row["pid"])


async def test_the_connection_used_last_is_used_next(database: Database) -> None:
    pool = await open_pool(database.api, name="test", min_size=3, max_size=3, wait=True)
    try:
        async with pool.connection(), pool.connection() as second:
            last = second.info.backend_pid
        # The outer one came back after it.
        first = await backend(pool)
        assert first != last
        assert {await backend(pool) for _ in range(5)} == {first}
    finally:
        await pool.close()


async def test_what_a_crowd_needed_is_closed_after_it(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pools, "IDLE_SECONDS", 0.2)
    pool = await open_pool(database.api, name="test", min_size=1, max_size=4, wait=True)
    try:
        together = asyncio.Barrier(4)

        async def take() -> None:
            async with pool.connection():
                await together.wait()

        async with asyncio.timeout(20):
            await asyncio.gather(*(take() for _ in range(4)))
            assert pool.get_stats()["pool_size"] == 4
            while pool.get_stats()["pool_size"] > 1:
                await backend(pool)  # somebody always works
                await asyncio.sleep(0.02)
    finally:
        await pool.close()
