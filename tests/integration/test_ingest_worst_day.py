"""The database away, killed, full, slow: nothing acknowledged is lost, nobody is left waiting."""

import asyncio
import os
import pwd
import shutil
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
import pytest

from tests.support.ingest import METRICS, REMOTE_WRITE, bearer, ingesting
from tests.support.people import ORGANIZATION_A, connect
from tests.support.postgres import Database, PostgresServer, throw_away_folder, throw_away_server
from tests.support.remote_write import HEADERS, packed, series
from wedsync_apm.errors import DatabaseAway
from wedsync_apm.ingest.limits import IngestLimits
from wedsync_apm.ingest.writer import Writer
from wedsync_apm.metrics.model import SampleBatch, SeriesDirectory, SeriesKey

KEYS = {"a": ORGANIZATION_A}
DURABLE = {"fsync": "on", "full_page_writes": "on", "synchronous_commit": "on"}


@contextmanager
def database_of(server: PostgresServer) -> Iterator[Database]:
    with server.clone() as database:
        with connect(database.owner, autocommit=True) as cx:
            cx.execute("insert into organizations (id, name) values (%s, 'A')", (ORGANIZATION_A,))
        yield database


@pytest.fixture(scope="module")
def own_server() -> Iterator[PostgresServer]:
    """A server that may be killed, and writes to disk as in production."""
    with throw_away_server(options=DURABLE) as server:
        yield server


@pytest.fixture
def own_database(own_server: PostgresServer) -> Iterator[Database]:
    if own_server.embedded.pid is None:  # a test before this one failed half-way
        start_again(own_server)
    with database_of(own_server) as database:
        yield database


@asynccontextmanager
async def sending(database: Database) -> AsyncIterator[httpx.AsyncClient]:
    async with ingesting(database.writer, KEYS) as client:
        yield client


def body(number: float = 1, tags: dict[str, str] | None = None) -> dict[str, Any]:
    sample = {"service_name": "s", "metric_name": "m", "value": number, "tags": tags or {}}
    return {"samples": [sample]}


async def post(client: httpx.AsyncClient, number: int = 1, **tags: str) -> httpx.Response:
    return await client.post(METRICS, json=body(number, tags), headers=bearer("a"))


async def write(client: httpx.AsyncClient, value: float = 1.0) -> httpx.Response:
    content = packed(series({"__name__": "up"}, (value, int(time.time() * 1000))))
    return await client.post(REMOTE_WRITE, content=content, headers=HEADERS | bearer("a"))


def kill_9(server: PostgresServer) -> None:
    """The whole server at once, so that no backend lives to finish a commit."""
    pid = server.embedded.pid
    assert pid is not None
    family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    for process in family:
        os.kill(process.pid, signal.SIGKILL)
    psutil.wait_procs(family[1:], timeout=60)


def start_again(server: PostgresServer) -> None:
    server.embedded.stop()
    server.embedded.start()


async def until_taken(client: httpx.AsyncClient, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while (answer := await post(client, tags="probe")).status_code != 202:
        assert time.monotonic() < end, answer.text
        await asyncio.sleep(0.1)


async def test_kill_9_of_the_database_loses_nothing_that_was_acknowledged(
    own_server: PostgresServer, own_database: Database
) -> None:
    acknowledged: set[int] = set()
    refused: list[httpx.Response] = []
    stop = asyncio.Event()

    async def sender(client: httpx.AsyncClient, first: int) -> None:
        number = first
        while not stop.is_set():
            answer = await post(client, number, sender=str(first))
            if answer.status_code == 202:
                acknowledged.add(number)
            else:
                refused.append(answer)
                await asyncio.sleep(0.05)
            number += 1

    async with sending(own_database) as client:
        tasks = [asyncio.create_task(sender(client, n * 1_000_000)) for n in range(8)]
        while len(acknowledged) < 200:
            await asyncio.sleep(0.01)
        await asyncio.to_thread(kill_9, own_server)
        while len(refused) < 8:
            await asyncio.sleep(0.01)
        await asyncio.to_thread(start_again, own_server)
        recovered = len(acknowledged) + 100
        while len(acknowledged) < recovered:
            await asyncio.sleep(0.01)
        stop.set()
        await asyncio.gather(*tasks)
    assert {answer.status_code for answer in refused} == {503}
    assert all(int(answer.headers["retry-after"]) >= 1 for answer in refused)
    with connect(own_database.engine) as cx:
        rows = cx.execute("select unnest(metric_values) as value from apm_metrics").fetchall()
    assert acknowledged <= {int(row["value"]) for row in rows}


async def test_with_the_database_stopped_both_protocols_answer_503_and_go_on_afterwards(
    own_server: PostgresServer, own_database: Database
) -> None:
    async with sending(own_database) as client:
        await until_taken(client)
        await asyncio.to_thread(own_server.embedded.stop)
        began = time.monotonic()
        for answer in (await post(client), await write(client)):
            assert answer.status_code == 503
            assert int(answer.headers["retry-after"]) >= 1
        assert time.monotonic() - began < 60
        await asyncio.to_thread(own_server.embedded.start)
        await until_taken(client)
        assert (await write(client)).status_code == 204


async def test_a_database_that_was_never_there_is_only_away(tmp_path: Path) -> None:
    nowhere = f"postgresql://apm_writer@/x?host={tmp_path}"
    async with ingesting(nowhere, KEYS) as client:
        answer = await post(client)
    assert answer.status_code == 503


async def test_the_process_stops_with_what_it_has_taken_committed(database: Database) -> None:
    with connect(database.owner, autocommit=True) as cx:
        cx.execute("insert into organizations (id, name) values (%s, 'A')", (ORGANIZATION_A,))
    async with sending(database) as client:
        tasks = [asyncio.create_task(post(client, n, n=str(n))) for n in range(20)]
        await asyncio.sleep(0)
    answers = await asyncio.gather(*tasks)
    with connect(database.engine) as engine:
        rows = engine.execute("select unnest(metric_values) as value from apm_metrics").fetchall()
    stored = {int(row["value"]) for row in rows}
    taken = {number for number, one in enumerate(answers) if one.status_code == 202}
    assert taken <= stored
    assert {one.status_code for one in answers} <= {202, 503}


async def test_more_than_can_wait_is_told_to_come_back(database: Database) -> None:
    writer = Writer(database.writer, most_pending_samples=10)
    directory = SeriesDirectory()
    handle = directory.handle(SeriesKey(ORGANIZATION_A, "s", "m"))

    def batch(size: int) -> SampleBatch:
        column = np.full(size, handle, np.int64)
        return SampleBatch(directory, column, column + 1_000, column.astype(np.float64), "api")

    waiting = [asyncio.create_task(writer.write(batch(5))) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(DatabaseAway, match="does not keep up") as refused:
        await writer.write(batch(1))
    assert refused.value.retry_after > 0
    for task in waiting:
        task.cancel()


async def test_counts_of_refusals_that_cannot_be_kept_stop_nothing(database: Database) -> None:
    with connect(database.owner, autocommit=True) as cx:
        cx.execute("insert into organizations (id, name) values (%s, 'A')", (ORGANIZATION_A,))
        cx.execute("drop function apm_private.count_refusals")
    async with sending(database) as client:
        for number in range(3):
            content = {"samples": [*body(number)["samples"], {}]}
            answer = await client.post(METRICS, json=content, headers=bearer("a"))
            assert (answer.status_code, answer.json()["rejected"]) == (202, 1)
            await asyncio.sleep(0.1)


async def test_a_flush_that_hangs_fails_its_requests_and_the_next_one_works(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    with connect(database.owner, autocommit=True) as cx:
        cx.execute("insert into organizations (id, name) values (%s, 'A')", (ORGANIZATION_A,))
    async with sending(database) as client:
        await until_taken(client)
        with connect(database.owner) as locker, monkeypatch.context() as patch:
            patch.setattr("wedsync_apm.ingest.line.TIMEOUT_SECONDS", 1.0)
            locker.execute("lock table apm_metrics in access exclusive mode")
            answer = await post(client, 2)
            assert answer.status_code == 503
            locker.rollback()
        assert (await post(client, 3)).status_code == 202


@contextmanager
def frozen(server: PostgresServer) -> Iterator[None]:
    """The whole server stopped where it stands: its sockets are open and nobody answers."""
    pid = server.embedded.pid
    assert pid is not None
    family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    for process in family:
        process.suspend()
    try:
        yield
    finally:
        for process in family:
            process.resume()


async def test_a_frozen_database_is_away_within_the_time_for_a_flush(
    own_server: PostgresServer, own_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wedsync_apm.ingest.line.TIMEOUT_SECONDS", 2.0)
    async with sending(own_database) as client:
        await until_taken(client)
        with frozen(own_server):
            # The first finds the connection open, the second cannot connect.
            for _ in range(2):
                async with asyncio.timeout(60):  # it would be for ever
                    answer = await post(client, 2)
                assert answer.status_code == 503
                assert int(answer.headers["retry-after"]) >= 1
        await until_taken(client)


FULL = """
create function full_disk() returns trigger language plpgsql as $$
begin
    raise exception 'could not extend file: No space left on device' using errcode = '53100';
end
$$;
create trigger full_disk before insert on apm_metrics for each row execute function full_disk();
"""


async def test_a_full_disk_as_a_raised_53100_is_507(database: Database) -> None:
    with connect(database.owner, autocommit=True) as cx:
        cx.execute("insert into organizations (id, name) values (%s, 'A')", (ORGANIZATION_A,))
        cx.execute(FULL)
        async with sending(database) as client:
            for answer in (await post(client), await write(client)):
                assert answer.status_code == 507
                assert "full" in answer.text
            cx.execute("drop trigger full_disk on apm_metrics")
            assert (await post(client)).status_code == 202


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """One megabyte that the server's user may write to."""
    with throw_away_folder() as folder:
        disk = folder / "disk"
        disk.mkdir()
        mount, umount = shutil.which("mount"), shutil.which("umount")
        if os.geteuid() != 0 or mount is None or umount is None:
            pytest.skip("not measured on a small tmpfs: mounting needs root; 53100 was raised")
        made = subprocess.run(
            [mount, "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)], check=False
        )
        if made.returncode:
            pytest.skip("not measured on a small tmpfs: none can be mounted; 53100 was raised")
        try:
            yield disk
        finally:
            subprocess.run([umount, "-l", str(disk)], check=True)


def grow(disk: Path) -> None:
    """Makes room for what comes next."""
    subprocess.run(["mount", "-o", "remount,size=64m", str(disk)], check=True)


async def test_a_full_disk_on_a_small_tmpfs_is_507_until_there_is_room(
    own_server: PostgresServer, own_database: Database, small_disk: Path
) -> None:
    postmaster = own_server.embedded.pid
    assert postmaster is not None
    user = pwd.getpwuid(psutil.Process(postmaster).uids().effective)
    os.chown(small_disk, user.pw_uid, user.pw_gid)
    # The blocks alone lie on the small disk: a server whose WAL disk is full just stops.
    with connect(own_database.owner, autocommit=True) as cx:
        cx.execute(f"create tablespace small location '{small_disk}'".encode())
        for row in cx.execute(
            "select relid::regclass::text as name from pg_partition_tree('apm_metrics')"
            " where isleaf"
        ).fetchall():
            cx.execute(f"alter table {row['name']} set tablespace small".encode())
    acknowledged, started = 0, time.time()
    limits = IngestLimits(samples_per_second=1e6, burst=1e6)
    noise = np.random.default_rng(7)
    async with ingesting(own_database.writer, KEYS, limits) as client:
        for batch in range(200):
            # Noise, which no compression makes small.
            samples = [
                body(noise.random(), {"n": str(n)})["samples"][0]
                | {"timestamp": started - 10 * batch - 10 * noise.random()}
                for n in range(500)
            ]
            answer = await client.post(METRICS, json={"samples": samples}, headers=bearer("a"))
            if answer.status_code != 202:
                break
            acknowledged += answer.json()["accepted"]
        assert answer.status_code == 507
        assert answer.json()["title"] == "Storage full"
        assert (await write(client)).status_code in {204, 507}  # one sample may still fit
        with connect(own_database.engine, autocommit=True) as engine:
            counted = engine.execute(
                "select count(*) as n from apm_samples where metric_name = 'm'"
            ).fetchall()
        assert counted == [{"n": acknowledged}]
        assert acknowledged > 0
        await asyncio.to_thread(grow, small_disk)
        assert (await post(client)).status_code == 202
