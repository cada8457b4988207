"""Few connections do the work of many, and those that nobody needs are closed."""

import asyncio
from typing import Any

import pytest

from tests.support.people import connect
from tests.support.postgres import Database
from wedsync_apm.db import pool as pools
from wedsync_apm.db.pool import Pool, open_pool, wrap_database_errors
from wedsync_apm.errors import DatabaseAway


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

        async with asyncio.timeout(60):
            await asyncio.gather(*(take() for _ in range(4)))
            assert pool.get_stats()["pool_size"] == 4
            while pool.get_stats()["pool_size"] > 1:
                await backend(pool)  # somebody always works
                await asyncio.sleep(0.02)
    finally:
        await pool.close()


async def test_what_comes_again_is_prepared_and_prepared_anew_after_a_migration(
    database: Database,
) -> None:
    with connect(database.owner) as cx:
        cx.execute("create table public.shape (id int); insert into public.shape values (1)")
        cx.execute("grant select on public.shape to apm_api")
    pool = await open_pool(database.api, name="test", min_size=1, max_size=1, wait=True)

    async def read() -> dict[str, Any] | None:
        with wrap_database_errors():
            async with pool.connection() as cx:
                return await (await cx.execute("select * from public.shape")).fetchone()

    try:
        for _ in range(5):
            assert await read() == {"id": 1}
        async with pool.connection() as mine:
            found = await mine.execute("select statement from pg_prepared_statements")
            assert {"statement": "select * from public.shape"} in await found.fetchall()
        with connect(database.owner) as cx:
            cx.execute("alter table public.shape add column name text")
        with pytest.raises(DatabaseAway, match="just been changed") as told:
            await read()
        assert told.value.retry_after == 1.0
        assert await read() == {"id": 1, "name": None}
    finally:
        await pool.close()
