"""Whoever means ill, or is only broken, costs the others nothing."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from tests.support.ingest import METRICS, REMOTE_WRITE, bearer, ingesting
from tests.support.people import ORGANIZATION_A, ORGANIZATION_B, connect
from tests.support.postgres import Database
from tests.support.remote_write import HEADERS, packed, series
from tests.support.serving import Running, populate, running, settings_for
from wedsync_apm.api import patience
from wedsync_apm.ingest.limits import IngestLimits

KEYS = {"a": ORGANIZATION_A, "b": ORGANIZATION_B}
DAY_MS = 86_400_000


@pytest.fixture
async def api(database: Database, tmp_path: Path) -> AsyncIterator[Running]:
    async with running(settings_for(database, tmp_path), populate(database)) as process:
        yield process


@pytest.fixture
def world(database: Database) -> Database:
    with connect(database.owner, autocommit=True) as cx:
        cx.execute(
            "insert into organizations (id, name) values (%s, 'A'), (%s, 'B')",
            (ORGANIZATION_A, ORGANIZATION_B),
        )
    return database


def now_ms() -> int:
    return int(time.time() * 1000)


async def write(client: httpx.AsyncClient, key: str, *of: bytes) -> httpx.Response:
    body = packed(b"".join(of))
    return await client.post(REMOTE_WRITE, content=body, headers=HEADERS | bearer(key))


async def ends_within(reader: asyncio.StreamReader, seconds: float) -> bool:
    """Whether the server has closed the connection by then, whatever it said before."""
    try:
        async with asyncio.timeout(seconds):
            await reader.read()
    except TimeoutError:
        return False
    except ConnectionError:
        return True
    return True


@pytest.mark.parametrize(
    "start",
    [
        b"",
        b"POST /api/v1/metrics HTTP/1.1\r\nHost: a\r\n",
        b"POST /api/v1/metrics HTTP/1.1\r\nHost: a\r\nContent-Length: 50\r\n\r\n{",
        b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\nGET /healthz HTTP/1.1\r\nX",
    ],
    ids=["silence", "half a head", "half a body", "half a second request"],
)
async def test_who_never_gets_to_the_point_is_cut_off(
    api: Running, monkeypatch: pytest.MonkeyPatch, start: bytes
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(patience, "HEAD_SECONDS", 0.2)
        patch.setattr(patience, "BODY_SECONDS", 0.2)
        reader, writer = await asyncio.open_connection("127.0.0.1", int(api.url.rpartition(":")[2]))
        writer.write(start)
        assert await ends_within(reader, 60)
        writer.close()
    async with api.client() as client:
        assert (await client.get("/healthz")).status_code == 200


async def test_many_slow_connections_leave_the_server_to_the_others(api: Running) -> None:
    port = int(api.url.rpartition(":")[2])
    async with AsyncExitStack() as stack:
        for _ in range(200):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            stack.callback(writer.close)
            writer.write(b"POST /api/v1/metrics HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n{")
        async with api.as_key("ingest") as client:
            answer = await client.post(METRICS, json={"samples": [_sample()]})
        assert answer.status_code == 202


async def test_headers_without_end_are_cut_off(api: Running) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", int(api.url.rpartition(":")[2]))
    writer.write(b"GET /healthz HTTP/1.1\r\n")
    ended = asyncio.create_task(ends_within(reader, 60))
    for number in range(200):
        writer.write(b"X-%d: " % number + b"x" * 1000 + b"\r\n")
    assert await ended
    writer.close()


async def test_a_body_that_lies_about_its_length_stores_nothing_of_the_lie(
    api: Running, database: Database
) -> None:
    port, key = int(api.url.rpartition(":")[2]), api.world.keys["ingest"].encode()
    body = b'{"samples":[{"service_name":"s","metric_name":"m","value":1}]}'
    head = (
        b"POST /api/v1/metrics HTTP/1.1\r\nHost: a\r\nX-API-Key: %s\r\nContent-Length: %d\r\n\r\n"
    )
    # More was promised than comes.
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(head % (key, len(body) + 1) + body)
    await writer.drain()
    writer.close()
    # Less was promised: the rest is no request.
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(head % (key, len(body) - 1) + body)
    answer = await asyncio.wait_for(reader.read(), 60)
    assert answer.startswith(b"HTTP/1.1 400")
    writer.close()
    # More than is taken: refused before it is read.
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(head % (key, 1 << 40))
    answer = await asyncio.wait_for(reader.readline(), 60)
    assert answer.startswith(b"HTTP/1.1 413")
    writer.close()
    with connect(database.engine) as cx:
        row = cx.execute("select count(*) as n from apm_metrics").fetchone()
    assert row is not None
    assert row["n"] == 0


async def test_no_time_stamp_makes_a_partition(world: Database) -> None:
    def partitions() -> list[Any]:
        with connect(world.owner) as cx:
            return cx.execute(
                "select inhrelid::regclass::text from pg_inherits order by 1"
            ).fetchall()

    before = partitions()
    times = [now_ms() + DAY_MS, 4_102_444_800_000, 2**62, -(2**62), now_ms() - 30 * DAY_MS]
    async with ingesting(world.writer, KEYS) as client:
        answer = await write(
            client, "a", series({"__name__": "m"}, *[(1.0, at) for at in times], (1.0, now_ms()))
        )
        own = [_sample(timestamp=at) for at in times]
        second = await client.post(METRICS, json={"samples": own}, headers=bearer("a"))
    assert answer.headers["x-prometheus-remote-write-samples-written"] == "1"
    assert (second.status_code, second.json()["rejected"]) == (422, len(times))
    assert partitions() == before


async def test_a_flood_of_new_series_is_limited_and_holds_up_nobody(world: Database) -> None:
    limits = IngestLimits(series=2_000, samples_per_second=1e9, burst=1e9)
    each, turns = 1_000, 6
    answers: list[httpx.Response] = []
    over = asyncio.Event()

    async def flood(client: httpx.AsyncClient, sender: int) -> None:
        while not over.is_set():
            number = f"{sender}.{len(answers)}"
            many = (
                series({"__name__": "m", "n": f"{number}.{n}"}, (1, now_ms())) for n in range(each)
            )
            answers.append(await write(client, "a", *many))

    async with ingesting(world.writer, KEYS, limits) as client:
        assert (await write(client, "b", _one("known", 0))).status_code == 204
        flooding = [asyncio.create_task(flood(client, sender)) for sender in range(8)]
        # Known and new series of the other organization get their turn while the flood goes on.
        async with asyncio.timeout(120):
            for turn in range(turns):
                name = "known" if turn % 2 else f"new {turn}"
                assert (await write(client, "b", _one(name, turn))).status_code == 204
        over.set()
        await asyncio.gather(*flooding)
        with connect(world.engine) as cx:
            taken = cx.execute(
                "select tags ->> 'n' as n from apm_series where organization_id = %s limit 1",
                (ORGANIZATION_A,),
            ).fetchone()
        assert taken is not None
        old = await write(client, "a", series({"__name__": "m", "n": taken["n"]}, (2, now_ms())))
    written = sum(
        int(answer.headers["x-prometheus-remote-write-samples-written"]) for answer in answers
    )
    assert written == limits.series
    assert "2000 series" in answers[-1].text
    assert old.status_code == 204
    with connect(world.engine) as cx:
        rows = cx.execute(
            "select organization_id, sum(refused_count) as n from apm_refusals group by 1"
        ).fetchall()
    assert [(row["organization_id"], row["n"]) for row in rows] == [
        (ORGANIZATION_A, len(answers) * each - limits.series)
    ]


async def test_two_servers_at_once_know_the_same_series(world: Database) -> None:
    at = now_ms()
    async with (
        ingesting(world.writer, KEYS) as first,
        ingesting(world.writer, KEYS) as second,
    ):
        answers = await asyncio.gather(
            *(
                write(client, key, *(_one(f"m{n}", at + which) for n in range(200)))
                for which, client in enumerate((first, second))
                for key in ("a", "b")
                for _ in range(3)
            )
        )
    assert {answer.status_code for answer in answers} == {204}
    with connect(world.engine) as cx:
        known = cx.execute("select count(*) as n from apm_series").fetchone()
        shown = cx.execute("select count(*) as n from apm_samples").fetchone()
    assert known is not None
    assert shown is not None
    assert (known["n"], shown["n"]) == (400, 800)


async def test_a_connection_cut_in_the_middle_of_a_copy_leaves_all_or_nothing(
    world: Database,
) -> None:
    at = now_ms()
    async with ingesting(world.writer, KEYS) as client:
        assert (await write(client, "a", *_many(at))).status_code == 204
        with connect(world.owner) as holder, connect(world.owner, autocommit=True) as watcher:
            holder.execute("lock table apm_metrics in access exclusive mode")
            sending = asyncio.create_task(write(client, "a", *_many(at + 1)))
            waiting = await _writer_that_waits(watcher)
            watcher.execute("select pg_terminate_backend(%s)", (waiting,))
            answer = await sending
            assert answer.status_code == 503
            assert int(answer.headers["retry-after"]) >= 1
        assert _shown(world) == 300
        for _ in range(2):  # the sender's retry, and one more
            assert (await write(client, "a", *_many(at + 1))).status_code == 204
    assert _shown(world) == 600


def _sample(**more: Any) -> dict[str, Any]:
    return {"service_name": "s", "metric_name": "m", "value": 1} | more


def _one(name: str, at: int) -> bytes:
    return series({"__name__": name}, (1.0, at if at > 1_000_000 else now_ms() - 1000 + at))


def _many(at: int) -> list[bytes]:
    values = np.arange(300.0)
    return [series({"__name__": f"m{n}"}, (float(values[n]), at)) for n in range(300)]


def _shown(world: Database) -> int:
    with connect(world.engine) as cx:
        row = cx.execute("select count(*) as n from apm_samples").fetchone()
    assert row is not None
    return int(row["n"])


async def _writer_that_waits(watcher: Any) -> int:
    """The process of the writer's connection that waits for the table."""
    async with asyncio.timeout(60):
        while True:
            row = watcher.execute(
                "select pid from pg_stat_activity where usename = 'apm_writer'"
                " and datname = current_database() and wait_event_type = 'Lock'"
            ).fetchone()
            if row is not None:
                return int(row["pid"])
            await asyncio.sleep(0.02)
