"""Streams that pyarrow wrote, against a real server."""

import json
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pyarrow as pa
import pytest
from pyarrow import ipc

from tests.support.ingest import METRICS
from tests.support.people import Connection, connect
from tests.support.postgres import Database
from tests.support.serving import Running, populate, running, settings_for

ARROW = {"Content-Type": "application/vnd.apache.arrow.stream"}


@pytest.fixture
async def api(database: Database, tmp_path: Path) -> AsyncIterator[Running]:
    async with running(settings_for(database, tmp_path), populate(database)) as process:
        yield process


@pytest.fixture
def engine(database: Database) -> Iterator[Connection]:
    with connect(database.engine, autocommit=True) as cx:
        yield cx


def written(table: Any, compression: Any = None) -> bytes:
    sink: Any = pa.BufferOutputStream()
    options = ipc.IpcWriteOptions(compression=compression)
    with ipc.new_stream(sink, table.schema, options=options) as writer:
        writer.write_table(table, max_chunksize=300)
    raw: bytes = sink.getvalue().to_pybytes()
    return raw


def table(rows: int, now: int, **columns: Any) -> Any:
    routes = [[("route", f"/{n % 5}"), ("site", "main")] for n in range(rows)]
    return pa.table(
        {
            "service_name": pa.array(["forms"] * rows).dictionary_encode(),
            "metric_name": pa.array(["time"] * rows).dictionary_encode(),
            "value": [n / 2 for n in range(rows)],
            "timestamp": pa.array([now - n for n in range(rows)], pa.timestamp("ms", "UTC")),
            "tags": pa.array(routes, pa.map_(pa.string(), pa.string())),
            "unit": ["ms"] * rows,
        }
        | columns
    )


async def post(client: httpx.AsyncClient, body: bytes) -> httpx.Response:
    return await client.post(METRICS, content=body, headers=ARROW)


async def test_a_table_comes_back_as_it_went_in(api: Running, engine: Connection) -> None:
    now = int(time.time() * 1000)
    async with api.as_key("ingest") as client:
        for compression in (None, "lz4", "zstd"):
            answer = await post(client, written(table(1000, now), compression))
            assert (answer.status_code, answer.json()) == (
                202,
                {"accepted": 1000, "rejected": 0, "errors": []},
            )
    rows = engine.execute(
        'select *, (extract(epoch from "timestamp") * 1000)::bigint as at from apm_samples'
    ).fetchall()
    assert len(rows) == 1000
    assert {row["at"]: row["metric_value"] for row in rows} == {now - n: n / 2 for n in range(1000)}
    assert all(
        row["tags"] == {"route": f"/{(now - row['at']) % 5}", "site": "main"} for row in rows
    )
    assert {
        (row["organization_id"], row["service_name"], row["unit"], row["apm_source"])
        for row in rows
    } == {(api.world.here, "forms", "ms", "api")}


async def test_good_rows_are_stored_beside_bad_ones(api: Running, engine: Connection) -> None:
    now = int(time.time() * 1000)
    values = [float("nan") if n == 3 else None if n == 400 else float(n) for n in range(600)]
    contexts = ['{"phase": "ceremony"}'] * 599 + ["{"]
    async with api.as_key("ingest") as client:
        answer = await post(
            client, written(table(600, now, value=values, wedding_context=contexts))
        )
        assert answer.status_code == 202
        told = answer.json()
        assert (told["accepted"], told["rejected"]) == (597, 3)
        assert sorted((error["index"], error["field"]) for error in told["errors"]) == [
            (3, "value"),
            (400, "value"),
            (599, "wedding_context"),
        ]
        answer = await post(client, written(table(2, 0)))
        assert (answer.status_code, answer.json()["rejected"]) == (422, 2)
    counted = engine.execute(
        "select count(*) as n, count(wedding_context ->> 'phase') as own from apm_samples"
    ).fetchone()
    assert counted == {"n": 597, "own": 597}


async def test_requests_that_are_refused_as_a_whole(api: Running) -> None:
    good = written(table(10, int(time.time() * 1000)))
    bomb = written(table(1, 0, unit=["x" * 60_000_000]), "zstd")
    wrong = written(table(1, 0, value=["1"]))
    async with api.as_key("ingest") as client:
        for body, status in (
            (b"", 400),
            (b"{}", 400),
            (good[:-30], 400),
            (bomb, 413),
            (wrong, 422),
        ):
            answer = await post(client, body)
            assert answer.status_code == status
            assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["errors"] == [{"field": "value", "reason": "is of type string"}]


async def test_a_platform_key_carries_many_organizations(api: Running, engine: Connection) -> None:
    ids = [str(api.world.here), str(api.world.there)] * 50
    tags = [json.dumps({"organization_id": one}) for one in ids]
    async with api.as_key("platform") as client:
        answer = await post(client, written(table(100, int(time.time() * 1000), tags=tags)))
        assert answer.json()["accepted"] == 100
    rows = engine.execute(
        "select organization_id, count(*) as n from apm_samples where tags = '{}' group by 1"
    ).fetchall()
    assert {row["organization_id"]: row["n"] for row in rows} == {
        api.world.here: 50,
        api.world.there: 50,
    }
