"""New Relic's own SDK against a real server."""

import asyncio
import gzip
import json
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import pytest

from tests.support.people import Connection, connect
from tests.support.postgres import Database
from tests.support.serving import Running, populate, running, settings_for

PATH = "/metric/v1"


@pytest.fixture
async def api(database: Database, tmp_path: Path) -> AsyncIterator[Running]:
    async with running(settings_for(database, tmp_path), populate(database)) as process:
        yield process


@pytest.fixture
def engine(database: Database) -> Iterator[Connection]:
    with connect(database.engine, autocommit=True) as cx:
        yield cx


def stored(engine: Connection) -> list[dict[str, Any]]:
    return engine.execute(
        'select *, (extract(epoch from "timestamp") * 1000)::bigint as at from apm_samples'
        " where apm_source = 'newrelic' order by metric_name"
    ).fetchall()


async def test_what_the_sdk_sends_is_stored(api: Running, engine: Connection) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.support.new_relic_sender",
        str(urlsplit(api.url).port),
        api.world.keys["ingest"],
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    )
    out, err = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0, err.decode()
    outcome = json.loads(out)
    now, (by_hand, gathered, refused) = outcome["now"], outcome["told"]
    assert by_hand[:2] == [202, True]
    assert (by_hand[2]["accepted"], by_hand[2]["rejected"]) == (6, 2)
    assert [(error["index"], error["field"]) for error in by_hand[2]["errors"]] == [
        (3, "value"),
        (4, "timestamp"),
    ]
    assert gathered[:2] == [202, True]
    assert list(gathered[2]) == ["requestId"]
    assert UUID(gathered[2]["requestId"]).version == 4
    assert refused[:2] == [400, False]
    assert refused[2]["errors"][0]["field"] == "value"
    rows = {row["metric_name"]: row for row in stored(engine)}
    assert {name: row["metric_value"] for name, row in rows.items()} == {
        "temperature": 20.5,
        "guests": 12,
        "answer_count": 3,
        "answer_sum": 0.6,
        "answer_min": 0.1,
        "answer_max": 0.3,
        "gathered_count": 3,
        "gathered_sum": 6,
        "gathered_min": 1,
        "gathered_max": 3,
        "counted": 6,
        "gauged": 3,
    }
    for name in ("temperature", "guests", "answer_sum"):
        assert rows[name]["at"] == now
        assert rows[name]["service_name"] == "venue"
        assert rows[name]["organization_id"] == api.world.here
    assert rows["temperature"]["tags"] == {
        "room": "hall",
        "floor": "2",
        "service.name": "venue",
    }
    assert rows["gathered_sum"]["tags"] == {"host": "web1"}
    assert {row["metric_type"] for row in rows.values()} == {"gauge"}


BODY = b'[{"metrics":[{"name":"m","value":1}]}]'


async def test_every_place_for_the_key(api: Running) -> None:
    key, json_type = api.world.keys["ingest"], {"Content-Type": "application/json"}
    async with api.client(json_type) as client:
        for status, headers, query in (
            (202, {"Api-Key": key}, {}),
            (202, {"X-License-Key": key}, {}),
            (202, {}, {"Api-Key": key}),
            (202, {"Api-Key": key}, {"Api-Key": key}),
            (202, {"Authorization": f"Bearer {key}"}, {}),
            (403, {"Api-Key": key}, {"Api-Key": "another"}),
            (403, {"Api-Key": "nobody"}, {}),
            (403, {}, {}),
            (403, {"Api-Key": api.world.keys["read"]}, {}),
        ):
            answer = await client.post(PATH, content=BODY, headers=headers, params=query)
            assert answer.status_code == status, (headers, query)
            assert UUID(answer.json()["requestId"]).version == 4


async def test_requests_that_are_refused_as_a_whole(api: Running) -> None:
    async with api.client({"Api-Key": api.world.keys["ingest"]}) as client:
        for status, content, headers in (
            (415, BODY, {"Content-Type": "text/plain"}),
            (415, BODY, {"Content-Encoding": "br"}),
            (400, b"{", {}),
            (400, b"[{}]", {}),
            (400, b"nonsense", {"Content-Encoding": "gzip"}),
            (413, gzip.compress(bytes(40_000_000)), {"Content-Encoding": "gzip"}),
            (202, gzip.compress(BODY), {"Content-Encoding": "gzip"}),
            (202, b"[]", {}),
        ):
            json_type = {"Content-Type": "application/json; charset=UTF-8"}
            answer = await client.post(PATH, content=content, headers=json_type | headers)
            assert answer.status_code == status, (content[:20], headers)
            assert bool(answer.json().get("error")) is (status != 202)


async def test_tenants_are_apart(api: Running, engine: Connection) -> None:
    body = json.dumps(
        [{"metrics": [{"name": "m", "value": 1}],
          "common": {"attributes": {"organization_id": str(api.world.there)}}}]
    )  # fmt: skip
    for name in ("ingest", "platform"):
        async with api.client({"Api-Key": api.world.keys[name]}) as client:
            answer = await client.post(
                PATH, content=body, headers={"Content-Type": "application/json"}
            )
            assert answer.status_code == 202
    rows = engine.execute("select organization_id, tags from apm_series order by tags").fetchall()
    assert [(row["organization_id"], row["tags"]) for row in rows] == [
        (api.world.there, {}),
        (api.world.here, {"organization_id": str(api.world.there)}),
    ]
