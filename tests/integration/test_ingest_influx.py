"""InfluxDB's own client, and what telegraf and older clients send, against a real server."""

import asyncio
import base64
import gzip
import json
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.people import Connection, connect
from tests.support.postgres import Database
from tests.support.serving import Running, populate, running, settings_for


@pytest.fixture
async def api(database: Database, tmp_path: Path) -> AsyncIterator[Running]:
    async with running(settings_for(database, tmp_path), populate(database)) as process:
        yield process


@pytest.fixture
def engine(database: Database) -> Iterator[Connection]:
    with connect(database.engine, autocommit=True) as cx:
        yield cx


async def sent_by(which: str, api: Running, now: int) -> dict[str, Any]:
    """What the client was told."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.support.influx_senders",
        which,
        f"{api.url}/influx",
        api.world.keys["ingest"],
        str(now),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    )
    out, err = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0, err.decode()
    got: dict[str, Any] = json.loads(out.decode().splitlines()[-1])
    return got


def stored(engine: Connection) -> dict[tuple[str, int], tuple[float, dict[str, str]]]:
    """By metric and Unix millisecond: value and tags."""
    rows = engine.execute(
        'select metric_name, (extract(epoch from "timestamp") * 1000)::bigint as at, metric_value,'
        " tags, service_name from apm_samples where apm_source = 'influx'"
    ).fetchall()
    return {(row["metric_name"], row["at"]): (row["metric_value"], row["tags"]) for row in rows}


def now_ms() -> int:
    return int(time.time() * 1000)


async def test_what_the_client_writes_at_once_is_stored(api: Running, engine: Connection) -> None:
    now = now_ms()
    assert await sent_by("synchronous", api, now) == {"ping": True, "health": "pass"}
    found = stored(engine)
    assert len(found) == 62
    tags = {"host": "h,2", "service": "shop", "db": "shop"}
    assert found["cpu load_usage=", now - 5] == (5.5, tags)
    assert found["cpu load_cores", now - 5] == (5, tags)
    assert found["cpu load_up", now - 5] == (0, tags)
    assert found["mem_free", now // 1000 * 1000] == (5, {"host": "a", "db": "shop"})
    assert found["disk_used", now] == (1, {"db": "shop"})
    row = engine.execute("select distinct organization_id, service_name from apm_series").fetchall()
    assert {(one["organization_id"], one["service_name"]) for one in row} == {
        (api.world.here, "shop"),
        (api.world.here, "default"),
    }


async def test_what_the_client_gathers_is_stored(api: Running, engine: Connection) -> None:
    now = now_ms()
    assert await sent_by("batching", api, now) == {"sent": 10, "failed": 0}
    found = stored(engine)
    assert len(found) == 3000
    assert {at for name, at in found if name == "cpu load_cores"} == {now - n for n in range(1000)}


async def test_the_client_is_told_which_line_and_why(api: Running, engine: Connection) -> None:
    now = now_ms()
    told = await sent_by("refused", api, now)
    text = "partial write: line 2: f x is no number, true, false or quoted text dropped=1"
    assert told["partial"] == [400, {"code": "invalid", "message": text}, text]
    status, body, _ = told["unauthorized"]
    assert (status, body["code"]) == (401, "unauthorized")
    assert {key: value for key, (value, _) in stored(engine).items()} == {
        ("m_f", now): 1,
        ("m_f", now + 1): 2,
    }


async def test_telegraf(api: Running, engine: Connection) -> None:
    """Its output `influxdb`: makes its database, then writes nanoseconds, packed, with texts."""
    key, at = api.world.keys["ingest"], now_ms()
    headers = {"User-Agent": "Telegraf/1.38.0 Go/1.25.0"}
    async with api.client(headers) as telegraf:
        answer = await telegraf.post(
            "/influx/query",
            content=b"q=CREATE+DATABASE+%22telegraf%22",
            headers={"Content-Type": "application/x-www-form-urlencoded"},
            auth=("telegraf", key),
        )
        assert (answer.status_code, answer.json()) == (200, {"results": [{"statement_id": 0}]})
        lines = (
            f"cpu,cpu=cpu-total,host=web1 usage_idle=97.5,usage_user=1.25 {at}000000\n"
            f'system,host=web1 load1=0.5,n_cpus=2i,uptime_format=" 3:49" {at}000000\n'
        )
        answer = await telegraf.post(
            "/influx/write",
            params={"db": "telegraf", "rp": "", "consistency": "any"},
            content=gzip.compress(lines.encode()),
            headers={"Content-Encoding": "gzip", "Content-Type": "text/plain; charset=utf-8"},
            auth=("telegraf", key),
        )
        assert (answer.status_code, answer.content) == (204, b"")
        assert answer.headers["x-refused-fields"] == "1"
    found = stored(engine)
    assert {name: value for (name, _), (value, _) in found.items()} == {
        "cpu_usage_idle": 97.5,
        "cpu_usage_user": 1.25,
        "system_load1": 0.5,
        "system_n_cpus": 2,
    }
    assert found["cpu_usage_idle", at][1] == {
        "cpu": "cpu-total",
        "host": "web1",
        "db": "telegraf",
    }


async def test_every_place_for_the_key(api: Running) -> None:
    key = api.world.keys["ingest"]
    basic = base64.b64encode(f"anybody:{key}".encode()).decode()
    async with api.client() as client:
        for good, headers, query in (
            (True, {"Authorization": f"Token {key}"}, {}),
            (True, {"Authorization": f"Token anybody:{key}"}, {}),
            (True, {"Authorization": f"Bearer {key}"}, {}),
            (True, {"Authorization": f"Basic {basic}"}, {}),
            (True, {"X-API-Key": key}, {}),
            (True, {}, {"u": "anybody", "p": key}),
            (False, {"Authorization": "Token nobody"}, {"p": key}),
            (False, {"Authorization": "Basic !"}, {}),
            (False, {"Authorization": "Token"}, {}),
            (False, {}, {"u": key}),
            (False, {}, {}),
            (False, {"Authorization": f"Token {api.world.keys['read']}"}, {}),
        ):
            for path in ("/influx/write", "/influx/api/v2/write"):
                answer = await client.post(path, content="m f=1", headers=headers, params=query)
                assert answer.status_code == 204 if good else answer.status_code in (401, 403)
                if not good:
                    text = answer.json()["error" if path == "/influx/write" else "message"]
                    assert text
                    assert key not in answer.text


async def test_answers_of_either_version(api: Running) -> None:
    async with api.client({"Authorization": f"Token {api.world.keys['ingest']}"}) as client:
        for body, query, status, text in (
            (b"m f=x", {}, 400, "unable to parse: line 1: f x is no number"),
            (b'm f="text"', {}, 400, "unable to parse: line 1: f is text"),
            (b"m f=1\nm,a\xff\r=b f=1", {}, 400, "partial write: line 2: a"),
            (b"m f=1", {"precision": "d"}, 400, "invalid precision 'd'"),
            (b"\n" * 200_000, {}, 413, "200000 samples in one request"),
            (b"", {}, 204, ""),
            (b"# nothing", {}, 204, ""),
        ):
            for path, name in (("write", "error"), ("api/v2/write", "message")):
                answer = await client.post(f"/influx/{path}", content=body, params=query)
                assert answer.status_code == status
                assert answer.headers["x-influxdb-version"] == "1.8.10"
                if text:
                    assert text in answer.json()[name]
                    assert len(answer.text) < 1000
        answer = await client.post("/influx/write", content=b"x" * 10, headers={
            "Content-Encoding": "br"})  # fmt: skip
        assert answer.status_code == 400
        answer = await client.post("/influx/write", content=gzip.compress(bytes(40_000_000)),
            headers={"Content-Encoding": "gzip"})  # fmt: skip
        assert answer.status_code == 413


async def test_ping_health_and_query(api: Running) -> None:
    async with api.client() as client:
        for method in ("GET", "HEAD"):
            answer = await client.request(method, "/influx/ping")
            assert (answer.status_code, answer.headers["x-influxdb-version"]) == (204, "1.8.10")
        assert (await client.get("/influx/health")).json()["status"] == "pass"
        assert (await client.get("/influx/query")).status_code == 401
        key = {"p": api.world.keys["ingest"]}
        answer = await client.get("/influx/query", params=key | {"q": "create database x"})
        assert answer.json() == {"results": [{"statement_id": 0}]}
        answer = await client.post("/influx/query", params=key, data={"q": "SHOW DATABASES"})
        assert "only CREATE DATABASE" in answer.json()["results"][0]["error"]
        answer = await client.post("/influx/query", params=key, content=b"q" * 20_000)
        assert answer.status_code == 413


async def test_tenants_are_apart(api: Running, engine: Connection) -> None:
    line = f"m,organization_id={api.world.there} f=1"
    async with api.client({"Authorization": f"Token {api.world.keys['ingest']}"}) as client:
        assert (await client.post("/influx/write", content=line)).status_code == 204
    async with api.client({"Authorization": f"Token {api.world.keys['platform']}"}) as client:
        assert (await client.post("/influx/write", content=line)).status_code == 204
        answer = await client.post("/influx/write", content="m f=1")
        assert (answer.status_code, "organization_id" in answer.text) == (400, True)
    rows = engine.execute("select organization_id, tags from apm_series order by tags").fetchall()
    assert [(row["organization_id"], row["tags"]) for row in rows] == [
        (api.world.there, {}),
        (api.world.here, {"organization_id": str(api.world.there)}),
    ]
