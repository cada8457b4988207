"""Datadog's own clients, and what its Agent sends, against a real server."""

import asyncio
import json
import sys
import time
import zlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest

from tests.support.people import Connection, connect
from tests.support.postgres import Database
from tests.support.serving import Running, populate, running, settings_for
from wedsync_apm.ingest.wire import datadog_pb2 as wire


@pytest.fixture
async def api(database: Database, tmp_path: Path) -> AsyncIterator[Running]:
    async with running(settings_for(database, tmp_path), populate(database)) as process:
        yield process


@pytest.fixture
def engine(database: Database) -> Iterator[Connection]:
    with connect(database.engine, autocommit=True) as cx:
        yield cx


async def sent_by(which: str, api: Running, now: int) -> dict[str, Any]:
    """What the client of that name got back."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.support.datadog_senders",
        which,
        f"{api.url}/datadog",
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


def stored(engine: Connection) -> dict[tuple[str, int], tuple[float, dict[str, str], str]]:
    """By metric and Unix second: value, tags, service."""
    rows = engine.execute(
        'select metric_name, extract(epoch from "timestamp")::bigint as at, metric_value, tags,'
        " service_name, metric_type from apm_samples where apm_source = 'datadog'"
    ).fetchall()
    assert {row["metric_type"] for row in rows} <= {"gauge"}
    return {
        (row["metric_name"], row["at"]): (row["metric_value"], row["tags"], row["service_name"])
        for row in rows
    }


def poster(api: Running, key: str = "ingest") -> httpx.AsyncClient:
    return api.client({"DD-API-KEY": api.world.keys[key]})


async def test_what_datadogpy_sends_is_stored_and_answered_as_it_expects(
    api: Running, engine: Connection
) -> None:
    now = int(time.time())
    got = await sent_by("datadog", api, now)
    event = got.pop("event")
    assert got == {
        one: {"status": "ok"} for one in ("gauge", "count", "compressed", "distribution", "check")
    }
    assert (event["status"], event["event"]["title"]) == ("ok", "Deployed")
    found = stored(engine)
    tagged = {"env": "prod", "canary": "true", "host": "h"}
    assert found["page.time", now - 10] == (1.5, tagged, "default")
    assert found["page.time", now] == (2.5, tagged, "default")
    assert found["page.views", now][0] == 7
    assert found["packed.rate", now][0] == 0.25
    assert found["packed.gauge", now] == (-1, {"service": "forms", "host": "h"}, "forms")
    assert found["app.ok", now] == (2, {"a": "b", "host": "h1"}, "default")
    figures = {
        name: found[f"latency_{name}", now][0] for name in ("count", "sum", "min", "max", "avg")
    }
    assert figures == {"count": 4, "sum": 10, "min": 1, "max": 4, "avg": 2.5}
    assert found["latency_p50", now][0] == pytest.approx(2, rel=0.008)
    assert found["latency_p99", now][0] == pytest.approx(4, rel=0.008)
    async with api.as_person("vera") as vera, api.as_person("oscar") as oscar:
        noted = (await vera.get("/api/v1/annotations")).json()["items"]
        assert [(one["title"], one["alert_type"], one["tags"]["v"]) for one in noted] == [
            ("Deployed", "success", "7")
        ]
        assert (await oscar.get("/api/v1/annotations")).json()["items"] == []
        params = {"metric": "default.page.time", "at": str(now)}
        assert len((await vera.get("/api/v1/query", params=params)).json()["series"]) == 1
        assert (await oscar.get("/api/v1/query", params=params)).json()["series"] == []


async def test_datadogpy_is_told_of_what_was_not_stored_beside_the_rest(
    api: Running, engine: Connection
) -> None:
    now = int(time.time())
    raised = (await sent_by("datadog-partial", api, now))["raised"]
    assert raised["errors"] == [
        "[0] points[1]'s time lies more than 7 days back",
        "[0] points[2]'s value is not finite",
        "2 not stored, 1 stored",
    ]
    assert [place for place in stored(engine) if place[0] == "half"] == [("half", now)]


async def test_what_the_api_client_sends_is_stored_in_every_encoding(
    api: Running, engine: Connection
) -> None:
    now = int(time.time())
    got = await sent_by("datadog-api-client", api, now)
    assert got.pop("valid") == {"valid": True}
    assert got.pop("event") == {"status": "ok", "title": "Restarted"}
    partial = got.pop("v2 partial")
    assert partial["errors"] == [
        "[1] points[0]'s time lies more than 7 days back",
        "1 not stored, 1 stored",
    ]
    encodings = ("identity", "gzip", "deflate", "zstd1")
    expected = {
        one: {"status": "ok"} for one in ("v1 identity", "v1 deflate", "v1 distribution", "check")
    }
    assert got == expected | {f"v2 {one}": {"errors": []} for one in encodings}
    found = stored(engine)
    for one in encodings:
        assert found[f"v2.{one}", now] == (0.5, {"service": "forms", "host": "h3"}, "forms")
    for one in ("identity", "deflate"):
        assert found[f"v1.{one}", now] == (3, {"env": "prod,test", "host": "h2"}, "default")
    assert found["v1.latency_sum", now][0] == 20
    assert [value[0] for place, value in found.items() if place[0] == "v1.ok"] == [1]
    units = engine.execute("select unit from apm_series where metric_name like 'v2.%'").fetchall()
    assert {row["unit"] for row in units} == {"second"}


async def test_the_agents_protobuf_is_stored(api: Running, engine: Connection) -> None:
    now = int(time.time())
    series = wire.MetricSeries(
        metric="system.load.1",
        type=0,
        tags=["role:web"],
        unit="load",
        resources=[wire.Resource(type="host", name="h4"), wire.Resource(type="device", name="sda")],
        points=[
            wire.MetricPoint(value=0.5, timestamp=now - 15),
            wire.MetricPoint(value=0.75, timestamp=now),
        ],
    )
    broken = b"\x12\x02\xff\xfe"  # a name that is not UTF-8
    body = wire.MetricPayload(series=[series.SerializeToString(), broken]).SerializeToString()
    sketch = wire.Sketch(
        metric="request.time",
        host="h4",
        tags=["env:prod"],
        dogsketches=[
            # as the Agent makes of 1, 2 and 3: their bins are 1338, 1383 and 1409
            wire.Dogsketch(
                ts=now, cnt=3, min=1, max=3, avg=2, sum=6, k=[1338, 1383, 1409], n=[1, 1, 1]
            )
        ],
    )
    sketches = wire.SketchPayload(sketches=[sketch.SerializeToString()]).SerializeToString()
    headers = {"content-type": "application/x-protobuf", "content-encoding": "deflate"}
    async with poster(api) as agent:
        answer = await agent.post(
            "/datadog/api/v2/series", content=zlib.compress(body), headers=headers
        )
        assert answer.status_code == 202
        assert answer.json() == {
            "errors": ["[1] series cannot be decoded", "1 not stored, 2 stored"]
        }
        answer = await agent.post(
            "/datadog/api/beta/sketches", content=zlib.compress(sketches), headers=headers
        )
        assert (answer.status_code, answer.json()) == (202, {})
    found = stored(engine)
    tags = {"role": "web", "host": "h4", "device": "sda"}
    assert found["system.load.1", now - 15] == (0.5, tags, "default")
    assert found["system.load.1", now] == (0.75, tags, "default")
    assert found["request.time_count", now] == (3, {"env": "prod", "host": "h4"}, "default")
    assert found["request.time_p50", now][0] == pytest.approx(2, rel=0.008)
    assert found["request.time_max", now][0] == 3


AGENT_CALLS: tuple[tuple[str, Any, int, Any], ...] = (
    ("/intake/", {"apiKey": "x", "internalHostname": "h", "events": {}}, 200, {}),
    ("/api/v1/metadata", {"hostname": "h", "agent_metadata": {}}, 200, {}),
    ("/api/v2/host_metadata", {"hostname": "h"}, 202, {}),
    ("/api/v1/check_run", [], 202, {"status": "ok"}),
    ("/api/v1/series", {"series": []}, 202, {"status": "ok"}),
    ("/api/v2/series", {"series": []}, 202, {"errors": []}),
    ("/api/v2/orchmanif", {}, 202, {}),
    ("/api/v2/contlcycle", {}, 202, {}),
    ("/api/v2/contimage", {}, 202, {}),
    ("/api/v2/sbom", {}, 202, {}),
    ("/api/v2/proclcycle", {}, 202, {}),
)


async def test_an_agents_calls_are_answered(api: Running) -> None:
    async with poster(api) as agent:
        for path, body, status, expected in AGENT_CALLS:
            answer = await agent.post(f"/datadog{path}", json=body)
            assert (path, answer.status_code, answer.json()) == (path, status, expected)


async def test_the_process_agent_reads_a_res_collector(api: Running) -> None:
    async with poster(api) as agent:
        for path in ("collector", "container", "connections", "discovery", "orchestrator"):
            answer = await agent.post(f"/datadog/api/v1/{path}", content=b"\x03\x00\x0c whatever")
            assert answer.status_code == 202
            # version 3, protobuf, type 23; then header {type: 23} and status {interval: 2}
            assert answer.content[:3] == bytes((3, 0, 23))
            assert answer.content[16:] == bytes.fromhex("0a0220171a021002")


async def test_a_flare_is_refused_in_the_agents_own_terms(api: Running) -> None:
    key = {"api_key": api.world.keys["ingest"]}
    async with api.client() as agent:
        assert (await agent.head("/datadog/support/flare", params=key)).status_code == 200
        answer = await agent.post(
            "/datadog/support/flare", params=key, files={"flare_file": b"x" * 100_000}
        )
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert "not kept" in answer.json()["error"]


async def test_an_agents_events_come_by_its_intake(api: Running, engine: Connection) -> None:
    now = int(time.time())
    good = {
        "msg_title": "OOM",
        "msg_text": "killed",
        "timestamp": now,
        "host": "h",
        "tags": ["a:b"],
    }
    body = {"internalHostname": "h", "events": {"docker": [good, {"msg_title": 5}, good]}}
    async with poster(api) as agent:
        answer = await agent.post("/datadog/intake/", json=body)
    assert answer.status_code == 200
    assert "[1] event is not of its shape" in answer.json()["errors"][0]
    rows = engine.execute("select title, host, tags, source from apm_annotations").fetchall()
    assert [dict(row) for row in rows] == [
        {"title": "OOM", "host": "h", "tags": {"a": "b", "host": "h"}, "source": "datadog"}
    ]


async def test_who_may_not_send_is_forbidden_as_datadog_says_it(api: Running) -> None:
    keys = api.world.keys
    wrong = keys["ingest"][:-1] + ("0" if keys["ingest"][-1] != "0" else "1")
    async with api.client() as client:
        for headers in ({}, {"DD-API-KEY": wrong}, {"DD-API-KEY": "0" * 32}):
            for method, path in (("GET", "validate"), ("POST", "series")):
                answer = await client.request(method, f"/datadog/api/v1/{path}", headers=headers)
                assert (answer.status_code, answer.json()) == (403, {"errors": ["Forbidden"]})
        reader = await client.get("/datadog/api/v1/validate", params={"api_key": keys["read"]})
        assert reader.status_code == 403
        valid = await client.get("/datadog/api/v1/validate", params={"api_key": keys["ingest"]})
        assert (valid.status_code, valid.json()) == (200, {"valid": True})


async def test_a_platform_key_names_the_tenant_by_tag(api: Running, engine: Connection) -> None:
    now = int(time.time())
    here, there = api.world.here, api.world.there
    named = [
        [f"organization_id:{here}"],
        [f"organization_id:{there}", "a:b"],
        [],
        ["organization_id:x"],
    ]
    body = {"series": [{"metric": "m", "points": [[now, 1]], "tags": tags} for tags in named]}
    async with poster(api, "platform") as client:
        answer = await client.post("/datadog/api/v1/series", json=body)
        assert answer.status_code == 202
        assert len(answer.json()["errors"]) == 3
        event = {"title": "t", "text": "", "tags": [f"organization_id:{there}"]}
        assert (await client.post("/datadog/api/v1/events", json=event)).status_code == 202
        unknown = {"title": "t", "text": "", "tags": ["organization_id:" + "0" * 32]}
        assert (await client.post("/datadog/api/v1/events", json=unknown)).status_code == 400
    rows = engine.execute("select organization_id, tags from apm_samples").fetchall()
    assert {row["organization_id"]: row["tags"] for row in rows} == {here: {}, there: {"a": "b"}}
    (noted,) = engine.execute("select organization_id, tags from apm_annotations").fetchall()
    assert (noted["organization_id"], noted["tags"]) == (there, {})


REFUSED: tuple[tuple[str, bytes, dict[str, str], int], ...] = (
    ("/api/v1/series", b"{", {}, 400),
    ("/api/v1/series", b'{"series":{}}', {}, 400),
    ("/api/v1/series", b"[" * 100_000, {}, 400),
    ("/api/v1/series", b"[" * 3_000_000, {}, 413),
    ("/api/v1/series", b"x", {"content-encoding": "br"}, 400),
    ("/api/v1/series", b"x", {"content-encoding": "gzip"}, 400),
    ("/api/v1/series", zlib.compress(bytes(40_000_000)), {"content-encoding": "deflate"}, 413),
    ("/api/v2/series", b"\xff", {"content-type": "application/x-protobuf"}, 400),
    (
        "/api/v2/series",
        zlib.compress(b"\x0a\x00" * 3_000_000),
        {"content-type": "application/x-protobuf", "content-encoding": "deflate"},
        413,
    ),
    ("/api/v2/events", b"{}", {}, 400),
    ("/api/v1/events", b"[]", {}, 400),
    ("/api/v1/events", b'{"title":""}', {}, 400),
)


async def test_what_cannot_be_taken_is_refused_so_that_nobody_repeats_it(api: Running) -> None:
    async with poster(api) as client:
        for path, content, headers, status in REFUSED:
            answer = await client.post(f"/datadog{path}", content=content, headers=headers)
            assert (path, content[:20], answer.status_code) == (path, content[:20], status)
            assert answer.json()["errors"]


async def test_too_many_events_wait(api: Running) -> None:
    statuses = []
    async with poster(api) as client:
        for nth in range(3):  # what the budget still covers in part is taken whole
            many = [{"msg_title": f"{nth} {n}"} for n in range(1_000)]
            answer = await client.post("/datadog/intake", json={"events": {"api": many}})
            statuses.append(answer.status_code)
    assert (statuses[0], statuses[-1]) == (200, 429)
    assert int(answer.headers["retry-after"]) >= 1
    # with a platform key nobody has to wait for another organization
    here, there = api.world.here, api.world.there
    events = [
        {"msg_title": "x", "tags": [f"organization_id:{one}"]} for one in (here, there, UUID(int=0))
    ]
    async with poster(api, "platform") as client, api.as_person("oscar") as oscar:
        answer = await client.post("/datadog/intake", json={"events": {"api": events}})
        assert answer.status_code == 200
        assert answer.json()["errors"][:2] == [
            "[0] event is one of more than 0.2 a second",
            "[2] organization_id names no organization that exists",
        ]
        noted = (await oscar.get("/api/v1/annotations")).json()["items"]
        assert [one["title"] for one in noted] == ["x"]
