"""OTLP on its way in, sent by OpenTelemetry's own exporters, and back out of the product."""

import asyncio
import gzip
import json
import os
import time
import zlib
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import cramjam
import httpx
import pytest
from google.protobuf.json_format import Parse
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceResponse,
)

from tests.support.client_venv import client_python
from tests.support.ingest import bearer, ingesting
from tests.support.otlp import JSON, PROTOBUF, encoded, gauge, histogram, request, summary
from tests.support.people import (
    NO_ORGANIZATION,
    ORGANIZATION_A,
    ORGANIZATION_B,
    Connection,
    connect,
)
from tests.support.postgres import Database
from tests.support.serving import Running, populate, running, settings_for
from wedsync_apm.errors import DatabaseAway, StorageFull
from wedsync_apm.ingest.limits import IngestLimits
from wedsync_apm.ingest.writer import Writer

SENDER = Path(__file__).parents[1] / "support" / "otlp_sender.py"
MEDIA_TYPES = {"protobuf": PROTOBUF, "json": JSON}
DAY = 86_400 * 10**9


@pytest.fixture(params=["protobuf", "json"])
def encoding(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def product(database: Database, tmp_path: Path) -> AsyncIterator[Running]:
    async with running(settings_for(database, tmp_path), populate(database)) as process:
        yield process


async def export(
    product: Running, encoding: str, scenario: str, *times: int, path: str = "", **settings: str
) -> Any:
    """What the exporter's process reports."""
    python = await asyncio.to_thread(client_python, f"otlp-{encoding}")
    process = await asyncio.create_subprocess_exec(
        python,
        SENDER,
        encoding,
        scenario,
        *map(str, times),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={
            "PATH": os.environ["PATH"],
            "OTEL_EXPORTER_OTLP_ENDPOINT": product.url + path,
            "OTEL_EXPORTER_OTLP_HEADERS": "authorization="
            + quote(f"Bearer {product.world.keys['ingest']}"),
            "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip",
            "OTEL_SERVICE_NAME": "shop",
            "OTEL_RESOURCE_ATTRIBUTES": "service.instance.id=i1,deployment.environment=prod",
            **settings,
        },
    )
    out, err = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0, err.decode()
    return json.loads(out) | {"log": err.decode()}


async def latest(product: Running, who: str, metric: str, **tags: str) -> list[dict[str, Any]]:
    params = {"metric": metric} | {f"tag.{name}": value for name, value in tags.items()}
    async with product.as_person(who) as reader:
        answer = await reader.get("/api/v1/query", params=params)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["series"]
    return found


def response_of(answer: dict[str, Any]) -> ExportMetricsServiceResponse:
    """An answer as OpenTelemetry's own message, in whichever encoding it came."""
    body = bytes.fromhex(answer["body"])
    if answer["content_type"] == JSON:
        return Parse(body, ExportMetricsServiceResponse())
    assert answer["content_type"] == PROTOBUF
    return ExportMetricsServiceResponse.FromString(body)


async def test_the_sdk_exports_and_everything_is_there_for_its_tenant_alone(
    product: Running, database: Database, encoding: str
) -> None:
    report = await export(product, encoding, "everything")
    assert report["flushed"] is True
    assert len(report["answers"]) == 2  # on request and at the end, the same series
    for answer in report["answers"]:
        assert (answer["status"], answer["sent_gzip"]) == (200, True)
        assert answer["content_type"] == MEDIA_TYPES[encoding]
        assert not response_of(answer).HasField("partial_success")
    (orders,) = await latest(product, "alice", "shop.orders", kind="flowers")
    assert orders["unit"] == "{order}"
    assert orders["points"][0][1] == 3
    assert orders["tags"]["service.name"] == "shop"
    assert orders["tags"]["service.instance.id"] == "i1"
    assert orders["tags"]["deployment.environment"] == "prod"
    assert orders["tags"]["telemetry.sdk.language"] == "python"
    assert orders["tags"]["otel_scope_name"] == "shop.instruments"
    assert orders["tags"]["otel_scope_version"] == "1.4"
    (room,) = await latest(product, "alice", "shop.temperature", room="cellar", dry="true")
    assert room["points"][0][1] == 21.5
    for metric, value in (
        ("shop.baskets", -2),
        ("shop.cpu.time", 12.25),
        ("shop.request.time_count", 100),
        ("shop.request.time_sum", 5050),
        ("shop.request.time_min", 1),
        ("shop.request.time_max", 100),
        ("shop.render.time_count", 100),
        ("shop.render.time_sum", 5050),
    ):
        (one,) = await latest(product, "alice", metric)
        assert one["points"][0][1] == value, metric
        assert await latest(product, "oscar", metric) == []
    buckets = {
        one["tags"]["le"]: one["points"][0][1]
        for one in await latest(product, "alice", "shop.request.time_bucket")
    }
    assert (buckets["5"], buckets["75"], buckets["10000"], buckets["+Inf"]) == (5, 75, 100, 100)
    fine = {
        float(one["tags"]["le"]): one["points"][0][1]
        for one in await latest(product, "alice", "shop.render.time_bucket")
    }
    assert fine[float("inf")] == 100
    assert len(fine) > 10
    for bound, count in fine.items():
        assert count == min(int(bound), 100) if bound < 101 else count == 100
    with connect(database.engine, autocommit=True) as cx:
        rows = cx.execute(
            "select metric_name, metric_type::text as metric_type, metric_value, service_name,"
            " organization_id, apm_source from apm_samples"
            " where metric_name in ('orders', 'baskets', 'request.time_sum')"
        ).fetchall()
    assert {row["organization_id"] for row in rows} == {product.world.here}
    assert {row["apm_source"] for row in rows} == {"otlp"}
    assert {(row["metric_name"], row["metric_type"], row["metric_value"]) for row in rows} == {
        ("orders", "counter", 3.0),
        ("baskets", "gauge", -2.0),
        ("request.time_sum", "counter", 5050.0),
    }


async def test_deltas_are_added_up_by_whoever_reads(product: Running, encoding: str) -> None:
    prefix = "OTEL_EXPORTER_OTLP_METRICS_"
    report = await export(
        product,
        encoding,
        "deltas",
        **{
            f"{prefix}TEMPORALITY_PREFERENCE": "delta",
            f"{prefix}DEFAULT_HISTOGRAM_AGGREGATION": "base2_exponential_bucket_histogram",
        },
    )
    assert {answer["status"] for answer in report["answers"]} == {200}

    async def added_up(metric: str, **tags: str) -> float:
        params = {"metric": metric, "agg": "sum"} | {f"tag.{key}": tags[key] for key in tags}
        async with product.as_person("alice") as reader:
            answer = await reader.get("/api/v1/query_range", params=params)
        (one,) = answer.json()["series"]
        return float(sum(value for _, value in one["points"] if value is not None))

    assert await added_up("shop.uploads") == 7
    assert await added_up("shop.wait_count") == 5
    assert await added_up("shop.wait_bucket", le="+Inf") == 5
    assert await added_up("shop.wait_bucket", le="1") == 3  # of both intervals, on one ladder
    (latest_uploads,) = await latest(product, "alice", "shop.uploads")
    assert latest_uploads["points"][0][1] == 4
    assert await latest(product, "oscar", "shop.uploads") == []


async def test_a_request_whose_answer_was_lost_is_sent_again_and_shown_once(
    product: Running, database: Database, encoding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, writes = Writer.write, 0

    async def losing_the_first(self: Writer, *arguments: Any) -> Any:
        nonlocal writes
        written = await write(self, *arguments)
        writes += 1
        if writes == 1:
            raise DatabaseAway("The answer of the database was lost.", retry_after=1.0)
        return written

    monkeypatch.setattr(Writer, "write", losing_the_first)
    report = await export(product, encoding, "points", time.time_ns(), path="/otlp")
    assert report["result"] == "SUCCESS"
    first, second = report["answers"]
    assert (first["status"], first["retry_after"]) == (503, "1")
    assert second["status"] == 200
    assert first["content_type"] == MEDIA_TYPES[encoding]
    body = bytes.fromhex(first["body"])
    status = Parse(body, Status()) if encoding == "json" else Status.FromString(body)
    assert status.message == "The answer of the database was lost."
    assert writes == 2
    with connect(database.engine, autocommit=True) as cx:
        rows = cx.execute(
            "select metric_value from apm_samples where metric_name = 'handmade'"
        ).fetchall()
    assert [row["metric_value"] for row in rows] == [0.5] * len(rows)
    async with product.as_person("alice") as reader:
        answer = await reader.get(
            "/api/v1/query_range", params={"metric": "shop.handmade", "agg": "count"}
        )
    (one,) = answer.json()["series"]
    assert sum(value for _, value in one["points"] if value is not None) == 1


async def test_one_bad_of_three_points_is_told_and_the_others_are_stored(
    product: Running, encoding: str
) -> None:
    now = time.time_ns()
    report = await export(product, encoding, "points", now, now - 8 * DAY, now)
    assert report["result"] == "SUCCESS"  # what got 200 is never sent again
    (answer,) = report["answers"]
    assert answer["status"] == 200
    partial = response_of(answer).partial_success
    assert partial.rejected_data_points == 1
    assert partial.error_message == (
        "data point 1: handmade timeUnixNano lies more than 7 days back"
    )
    if encoding == "json":
        told = json.loads(bytes.fromhex(answer["body"]))["partialSuccess"]
        assert told["rejectedDataPoints"] == "1"
    found = await latest(product, "alice", "shop.handmade")
    assert sorted(one["tags"]["n"] for one in found) == ["0", "2"]


KEYS = {"a": ORGANIZATION_A, "b": ORGANIZATION_B, "platform": None}


@pytest.fixture
def owner(database: Database) -> Iterator[Connection]:
    with connect(database.owner, autocommit=True) as cx:
        cx.execute(
            "insert into organizations (id, name) values (%s, 'A'), (%s, 'B')",
            (ORGANIZATION_A, ORGANIZATION_B),
        )
        yield cx


@asynccontextmanager
async def ingest_client(
    database: Database, limits: IngestLimits | None = None
) -> AsyncIterator[httpx.AsyncClient]:
    async with ingesting(database.writer, KEYS, limits) as client:
        yield client


async def post(
    client: httpx.AsyncClient,
    body: bytes,
    media_type: str,
    key: str = "a",
    **headers: str,
) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return await client.post(
        "/v1/metrics", content=body, headers=bearer(key) | {"Content-Type": media_type} | named
    )


def status_of(answer: httpx.Response) -> Any:
    if answer.headers["content-type"] == JSON:
        found: Any = Parse(answer.content, Status())
        return found
    assert answer.headers["content-type"] == PROTOBUF
    return Status.FromString(answer.content)


@pytest.mark.parametrize("media_type", [PROTOBUF, JSON, "application/json; charset=utf-8"])
@pytest.mark.parametrize("path", ["/v1/metrics", "/otlp/v1/metrics"])
async def test_an_empty_request_is_answered_by_an_empty_message(
    database: Database, owner: Connection, media_type: str, path: str
) -> None:
    async with ingest_client(database) as client:
        answer = await client.post(
            path,
            content=b"" if media_type == PROTOBUF else b"{}",
            headers=bearer("a") | {"Content-Type": media_type},
        )
    assert answer.status_code == 200
    assert answer.content == (b"" if media_type == PROTOBUF else b"{}")


@pytest.mark.parametrize("media_type", [PROTOBUF, JSON])
async def test_every_encoding_of_the_body_is_unpacked(
    database: Database, owner: Connection, media_type: str
) -> None:
    packers: dict[str, Callable[[bytes], bytes]] = {
        "gzip": gzip.compress,
        "deflate": zlib.compress,
        "zstd": lambda body: bytes(cramjam.zstd.compress(body)),
        "identity": bytes,
    }
    now = time.time_ns()
    async with ingest_client(database) as client:
        for n, (name, pack) in enumerate(packers.items()):
            message = request(gauge("m", {"time_unix_nano": now + n * 10**6, "as_int": n}))
            packed = pack(encoded(message, media_type))
            answer = await post(client, packed, media_type, content_encoding=name)
            assert answer.status_code == 200, answer.content
        bomb = gzip.compress(bytes(40 * 1024 * 1024))
        refused = await post(client, bomb, media_type, content_encoding="gzip")
        unknown = await post(client, b"x", media_type, content_encoding="br")
    assert (refused.status_code, status_of(refused).code) == (413, 3)
    assert unknown.status_code == 415
    assert "gzip" in status_of(unknown).message
    rows = owner.execute("select metric_value from apm_samples order by 1").fetchall()
    assert [row["metric_value"] for row in rows] == [0, 1, 2, 3]


@pytest.mark.parametrize("media_type", [PROTOBUF, JSON])
async def test_errors_are_a_status_in_the_encoding_of_the_request(
    database: Database, owner: Connection, media_type: str
) -> None:
    body = encoded(request(gauge("m", {"as_int": 1})), media_type)
    limits = IngestLimits(samples=1, body_bytes=10_000)
    async with ingest_client(database, limits) as client:
        answers = {
            401: await post(client, body, media_type, key="nobody"),
            400: await post(client, b"\xff{", media_type),
            413: await post(client, bytes(10_001), media_type),
        }
        many = request(gauge("m", {"as_int": 1}, {"as_int": 2}))
        too_many = await post(client, encoded(many, media_type), media_type)
        other = await post(client, body, "text/plain")
        none = await client.post("/v1/metrics", content=body, headers=bearer("a"))
    for code, answer in answers.items():
        assert answer.status_code == code
        assert status_of(answer).message
    assert {code: status_of(one).code for code, one in answers.items()} == {401: 16, 400: 3, 413: 3}
    assert too_many.status_code == 413
    assert other.status_code == none.status_code == 415
    assert PROTOBUF in status_of(other).message


async def test_only_what_may_pass_is_answered_as_such(
    database: Database, owner: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    points = [{"as_int": 1, "attributes": {"n": str(n)}} for n in range(5)]
    body = encoded(request(gauge("m", *points)), PROTOBUF)
    limits = IngestLimits(samples_per_second=0.1, burst=1)
    async with ingest_client(database, limits) as client:
        assert (await post(client, body, PROTOBUF)).status_code == 200
        busy = await post(client, body, PROTOBUF)

        async def full(self: Writer, *arguments: Any) -> Any:
            raise StorageFull

        monkeypatch.setattr(Writer, "write", full)
        full_disk = await post(client, body, PROTOBUF, key="b")

        async def broken(self: Writer, *arguments: Any) -> Any:
            raise ZeroDivisionError

        monkeypatch.setattr(Writer, "write", broken)
    async with ingest_client(database) as client:
        bug = await post(client, body, PROTOBUF)
    assert (busy.status_code, status_of(busy).code) == (429, 8)
    assert int(busy.headers["retry-after"]) >= 1
    assert (full_disk.status_code, status_of(full_disk).code) == (503, 14)
    assert int(full_disk.headers["retry-after"]) >= 10
    assert (bug.status_code, status_of(bug).code) == (500, 13)
    assert "ZeroDivision" not in status_of(bug).message


@pytest.mark.parametrize("media_type", [PROTOBUF, JSON])
async def test_a_histogram_over_the_series_limit_is_one_refused_point(
    database: Database, owner: Connection, media_type: str
) -> None:
    point = {"count": 3, "bucket_counts": [1, 1, 1], "explicit_bounds": [1.0, 2.0]}
    message = request(gauge("first", {"as_int": 1}), histogram("h", point))
    async with ingest_client(database, IngestLimits(series=2)) as client:
        answer = await post(client, encoded(message, media_type), media_type)
    parsed = ExportMetricsServiceResponse()
    if media_type == JSON:
        Parse(answer.content, parsed)
    else:
        parsed.ParseFromString(answer.content)
    assert parsed.partial_success.rejected_data_points == 1
    assert "is a new series" in parsed.partial_success.error_message
    refused = owner.execute(
        "select source, reason, refused_count from apm_refusals where organization_id = %s",
        (ORGANIZATION_A,),
    ).fetchall()
    assert [tuple(row.values()) for row in refused] == [("otlp", "series_limit", 3)]


async def test_a_platform_key_writes_for_each_and_one_unknown_tenant_costs_only_itself(
    database: Database, owner: Connection
) -> None:
    message = request(gauge("m", {"as_int": 1}), resource={"organization_id": str(ORGANIZATION_A)})
    for organization_id in (ORGANIZATION_B, NO_ORGANIZATION):
        resource = {"organization_id": str(organization_id)}
        one = request(summary("s", {"count": 2, "sum": 3.0}), resource=resource)
        message.resource_metrics.extend(one.resource_metrics)
    async with ingest_client(database) as client:
        answer = await post(client, message.SerializeToString(), PROTOBUF, key="platform")
    partial = ExportMetricsServiceResponse.FromString(answer.content).partial_success
    assert partial.rejected_data_points == 1
    assert "names no organization that exists" in partial.error_message
    rows = owner.execute(
        "select organization_id, metric_name, tags from apm_samples order by metric_name"
    ).fetchall()
    assert [(row["organization_id"], row["metric_name"], row["tags"]) for row in rows] == [
        (ORGANIZATION_A, "m", {}),
        (ORGANIZATION_B, "s_count", {}),
        (ORGANIZATION_B, "s_sum", {}),
    ]


async def test_a_flag_ends_the_series_in_the_catalogue(
    database: Database, owner: Connection
) -> None:
    now = time.time_ns()
    async with ingest_client(database) as client:
        for fields in ({"as_int": 1}, {"flags": 1}):
            point = {"time_unix_nano": now} | fields
            answer = await post(client, encoded(request(gauge("m", point)), JSON), JSON)
            assert (answer.status_code, answer.content) == (200, b"{}")
    row = owner.execute("select ended_at from apm_series where metric_name = 'm'").fetchone()
    assert row is not None
    assert row["ended_at"] is not None
