import asyncio
from uuid import uuid4

import psycopg
import pytest

from tests.support.postgres import Database
from wedsync_apm.db.listen import listen
from wedsync_apm.db.pool import open_pool, wrap_database_errors
from wedsync_apm.db.tenant import ANONYMOUS, Actor, tenant_tx
from wedsync_apm.errors import DatabaseAway, Forbidden, StorageFull

WHO = "select current_user::text as role, auth.uid() as uid, session_user::text as login"


async def test_a_transaction_runs_as_the_caller_and_leaves_nothing_behind(
    any_database: Database,
) -> None:
    pool = await open_pool(any_database.api, name="test", min_size=1, max_size=1, wait=True)
    async with pool:
        somebody = uuid4()
        async with tenant_tx(pool, Actor("authenticated", somebody)) as cx:
            row = await (await cx.execute(WHO)).fetchone()
        assert row == {"role": "authenticated", "uid": somebody, "login": "apm_api"}
        async with pool.connection() as cx:
            row = await (
                await cx.execute(
                    "select current_user::text as role, "
                    "current_setting('request.jwt.claims', true) as claims"
                )
            ).fetchone()
        assert row is not None
        assert row["role"] == "apm_api"
        assert not row["claims"]


async def test_nobody_has_no_identity(database: Database) -> None:
    pool = await open_pool(database.api, name="test", wait=True)
    async with pool, tenant_tx(pool, ANONYMOUS) as cx:
        row = await (await cx.execute(WHO)).fetchone()
    assert row == {"role": "anon", "uid": None, "login": "apm_api"}


async def test_the_api_cannot_become_the_service(database: Database) -> None:
    pool = await open_pool(database.api, name="test", wait=True)
    forged = Actor("service_role", uuid4())  # type: ignore[arg-type]
    async with pool:
        with pytest.raises(Forbidden):
            async with tenant_tx(pool, forged):
                pass


async def test_an_error_rolls_the_transaction_back(database: Database) -> None:
    pool = await open_pool(database.owner, name="test", wait=True)
    async with pool:
        async with pool.connection() as cx:
            await cx.execute("create table public.kept (n int)")
            await cx.execute("grant insert on public.kept to authenticated")
        with pytest.raises(LookupError):
            async with tenant_tx(pool, Actor("authenticated", uuid4())) as cx:
                await cx.execute("insert into public.kept values (1)")
                raise LookupError
        async with pool.connection() as cx:
            row = await (await cx.execute("select count(*) as n from public.kept")).fetchone()
    assert row == {"n": 0}


async def test_a_pool_recovers_when_its_connections_were_cut(database: Database) -> None:
    pool = await open_pool(database.api, name="test", min_size=1, max_size=1, wait=True)
    async with pool:
        async with tenant_tx(pool, ANONYMOUS) as cx:
            pid = cx.info.backend_pid
        with psycopg.connect(database.owner, autocommit=True) as owner:
            owner.execute("select pg_terminate_backend(%s, 5000)", (pid,))
        async with tenant_tx(pool, ANONYMOUS) as cx:
            assert cx.info.backend_pid != pid


async def test_a_connection_cut_inside_the_transaction_is_database_away(database: Database) -> None:
    pool = await open_pool(database.api, name="test", min_size=1, max_size=1, wait=True)
    async with pool:
        with pytest.raises(DatabaseAway):
            async with tenant_tx(pool, ANONYMOUS) as cx:
                with psycopg.connect(database.owner, autocommit=True) as owner:
                    owner.execute("select pg_terminate_backend(%s, 5000)", (cx.info.backend_pid,))
                await cx.execute("select 1")


async def test_a_full_disk_has_its_own_error(database: Database) -> None:
    async with await psycopg.AsyncConnection.connect(database.owner) as cx:
        with pytest.raises(StorageFull), wrap_database_errors():
            await cx.execute("do $$ begin raise sqlstate '53100'; end $$")


async def test_listening_survives_a_cut_and_tells_of_the_gap(database: Database) -> None:
    heard: asyncio.Queue[tuple[str, str]] = asyncio.Queue()
    gap = asyncio.Event()

    task = asyncio.create_task(
        listen(
            database.api,
            ["apm_live"],
            lambda channel, payload: heard.put_nowait((channel, payload)),
            on_gap=gap.set,
        )
    )
    async with await psycopg.AsyncConnection.connect(database.owner, autocommit=True) as owner:

        async def listener() -> int | None:
            cursor = await owner.execute(
                "select pid from pg_stat_activity where query = 'listen \"apm_live\"' "
                "and datname = current_database()"
            )
            row = await cursor.fetchone()
            return row[0] if row else None

        async with asyncio.timeout(60):
            while (pid := await listener()) is None:
                await asyncio.sleep(0.02)
            await owner.execute("notify apm_live, 'one'")
            assert await heard.get() == ("apm_live", "one")
            assert not gap.is_set()
            await owner.execute("select pg_terminate_backend(%s, 5000)", (pid,))
            await gap.wait()
            await owner.execute("notify apm_live, 'two'")
            assert await heard.get() == ("apm_live", "two")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
