"""Remote write 2.0 over HTTP: the cases of the public compliance suite's receiver tests
(prometheus/compliance, remotewrite/receiver), and what else its specification asks for."""

import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest

from tests.support.ingest import REMOTE_WRITE, bearer, ingesting
from tests.support.people import ORGANIZATION_A, ORGANIZATION_B, Connection, connect
from tests.support.postgres import Database
from tests.support.remote_write import HEADERS as HEADERS_1
from tests.support.remote_write import STALE, packed
from tests.support.remote_write import series as series_1
from tests.support.remote_write2 import (
    COUNTER,
    GAUGE,
    GAUGE_HISTOGRAM,
    HEADERS,
    HISTOGRAM,
    INFO,
    STATE_SET,
    SUMMARY,
    Request,
    histogram,
)
from wedsync_apm.ingest.limits import IngestLimits

KEYS = {"a": ORGANIZATION_A, "b": ORGANIZATION_B, "platform": None}


@pytest.fixture
def engine(database: Database) -> Iterator[Connection]:
    with connect(database.owner, autocommit=True) as cx:
        cx.execute(
            "insert into organizations (id, name) values (%s, 'A'), (%s, 'B')",
            (ORGANIZATION_A, ORGANIZATION_B),
        )
    with connect(database.engine, autocommit=True) as cx:
        yield cx


@pytest.fixture
async def client(database: Database, engine: Connection) -> AsyncIterator[httpx.AsyncClient]:
    async with ingesting(database.writer, KEYS) as client:
        yield client


def now_ms() -> int:
    return int(time.time() * 1000)


async def write(
    client: httpx.AsyncClient, request: Request, key: str = "a", **headers: str
) -> httpx.Response:
    return await client.post(
        REMOTE_WRITE, content=packed(request.body), headers=HEADERS | headers | bearer(key)
    )


def written(answer: httpx.Response) -> tuple[int, int, int]:
    """Samples, histograms, exemplars, as the answer's headers say."""
    kinds = ("Samples", "Histograms", "Exemplars")
    found = [int(answer.headers[f"X-Prometheus-Remote-Write-{kind}-Written"]) for kind in kinds]
    return found[0], found[1], found[2]


def stored(engine: Connection) -> list[dict[str, Any]]:
    return engine.execute(
        'select * from apm_samples order by organization_id, metric_name, tags, "timestamp"'
    ).fetchall()


UP = {"__name__": "up", "job": "testjob", "instance": "localhost:9090"}


async def test_samples_come_back_as_they_went_in(
    client: httpx.AsyncClient, engine: Connection
) -> None:
    at = now_ms()
    labels = {
        "__name__": "test_metric",
        "job": "test-job_with.special@chars",
        "instance": "localhost:9090\n",
        "environment": "test\N{ROCKET}",
        "job name": "a b",
    }
    request = Request().series(
        labels,
        (42.0, at),
        kind=COUNTER,
        unit="special/units",
        help_text='äöü, newlines\nand "quotes"',
        created_ms=at - 3_600_000,
    )
    answer = await write(client, request)
    assert (answer.status_code, answer.content) == (204, b"")
    assert written(answer) == (1, 0, 0)
    (row,) = stored(engine)
    assert row["organization_id"] == ORGANIZATION_A
    assert (row["metric_name"], row["metric_value"]) == ("test_metric", 42.0)
    assert (row["metric_type"], row["unit"]) == ("counter", "special/units")
    assert row["tags"] == {name: value for name, value in labels.items() if name != "__name__"}
    assert row["service_name"] == "test-job_with.special@chars"
    assert round(row["timestamp"].timestamp() * 1000) == at
    assert row["apm_source"] == "prometheus"


VALUES = (1.0, STALE, float("nan"), float("inf"), float("-inf"))


@pytest.mark.parametrize(
    ("is_fine", "all_labels"),
    [
        (
            True,
            [
                {"__name__": "up"},
                UP,
                UP | {"job": "test\njob\n"},
                {"__name__": "resource.cpu.usage", "job.name": "testjob"},
                {"__name__": "resource cpu usage", "job name": "testjob"},
            ],
        ),
        (False, [{"job": "testjob", "instance": "localhost:9090"}, {"__name__": ""}, {}]),
    ],
)
async def test_single_metrics(
    client: httpx.AsyncClient, is_fine: bool, all_labels: list[dict[str, str]]
) -> None:
    for value in VALUES:
        for labels in all_labels:
            answer = await write(client, Request().series(labels, (value, now_ms())))
            assert answer.status_code == (204 if is_fine else 400), (labels, value)
            assert written(answer) == (int(is_fine), 0, 0)


async def test_one_without_a_name_costs_only_itself(
    client: httpx.AsyncClient, engine: Connection
) -> None:
    request = Request().series({"job": "testjob"}, (1.0, now_ms()))
    for port in (9091, 9092, 9093):
        request.series(UP | {"instance": f"localhost:{port}"}, (1.0, now_ms()))
    answer = await write(client, request)
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.text == ("3 samples were stored, 1 were not:\nseries 0: metric_name is empty\n")
    assert written(answer) == (3, 0, 0)
    assert len(stored(engine)) == 3


async def test_metadata(client: httpx.AsyncClient, engine: Connection) -> None:
    kinds = {
        COUNTER: "counter",
        GAUGE: "gauge",
        SUMMARY: "summary",
        INFO: "gauge",
        STATE_SET: "gauge",
        GAUGE_HISTOGRAM: "gauge",
        HISTOGRAM: "histogram",
        0: "gauge",
    }
    for kind in kinds:
        request = Request()
        request.series({"__name__": f"m{kind}"}, (1.0, now_ms()), kind=kind, unit="bytes/sec")
        assert (await write(client, request)).status_code == 204
    rows = stored(engine)
    assert {row["unit"] for row in rows} == {"bytes/sec"}
    assert {int(row["metric_name"][1:]): row["metric_type"] for row in rows} == kinds


async def test_metadata_without_data_is_fine_and_a_later_unit_is_learnt(
    client: httpx.AsyncClient, engine: Connection
) -> None:
    answer = await write(client, Request().series({"__name__": "orphan"}, kind=COUNTER, unit="s"))
    assert (answer.status_code, written(answer)) == (204, (0, 0, 0))
    await write(client, Request().series({"__name__": "m"}, (1.0, now_ms() - 1)))
    assert [row["unit"] for row in stored(engine)] == [None]
    await write(client, Request().series({"__name__": "m"}, (1.0, now_ms()), unit="bytes"))
    assert [row["unit"] for row in stored(engine)] == ["bytes", "bytes"]


async def test_exemplars_and_native_histograms_are_never_passed_over_in_silence(
    database: Database, engine: Connection
) -> None:
    request = Request()
    exemplar = request.exemplar({"trace_id": "unicode_trace_测试"}, float("nan"), now_ms())
    request.series({"__name__": "m"}, (1.0, now_ms()), exemplars=[exemplar])
    request.series({"__name__": "h"}, histograms=[histogram(now_ms())])
    async with ingesting(database.writer, KEYS) as client:
        answer = await write(client, request)
    assert answer.status_code == 400
    assert written(answer) == (1, 0, 0)
    assert "series 0: m exemplars are not taken" in answer.text
    assert "series 1: h native histograms are not taken" in answer.text
    assert len(stored(engine)) == 1
    refusals = engine.execute("select source, reason, refused_count from apm_refusals").fetchall()
    assert [tuple(row.values()) for row in refusals] == [("prometheus", "unsupported", 2)]


async def test_many_samples_and_once_more_the_same(
    client: httpx.AsyncClient, engine: Connection
) -> None:
    request = Request()
    for n in range(50):
        labels = {"__name__": f"counter_metric_{n}", "series": f"series_{n}"}
        request.series(labels, (n * 100.0, now_ms()), kind=COUNTER, unit="count", help_text="help")
    for _ in range(2):
        answer = await write(client, request)
        assert (answer.status_code, written(answer)) == (204, (50, 0, 0))
    assert len(stored(engine)) == 50


PROTO = "application/x-protobuf"


async def test_content_is_negotiated(client: httpx.AsyncClient) -> None:
    for status, name, value in (
        (415, "Content-Type", "application/json"),
        (415, "Content-Type", "image/png"),
        (415, "Content-Type", f"{PROTO};proto=io.prometheus.write.v3.Request"),
        (415, "Content-Encoding", "gzip"),
        (415, "Content-Encoding", "deflate"),
        (415, "Content-Encoding", "zstd"),
        (415, "Content-Encoding", ""),
        (204, "Content-Type", f'{PROTO.title()}; q=1; proto="io.prometheus.write.v2.Request"'),
        (204, "Content-Encoding", "Snappy"),
    ):
        answer = await write(client, Request().series(UP, (1.0, now_ms())), **{name: value})
        assert answer.status_code == status, value
        assert written(answer) == (int(status == 204), 0, 0)


@pytest.mark.parametrize("headers", [HEADERS, HEADERS_1], ids=["2.0", "1.0"])
async def test_a_corrupt_body_is_refused(
    client: httpx.AsyncClient, headers: dict[str, str]
) -> None:
    good = packed(Request().series(UP, (1.0, now_ms())).body)
    framed = b"\xff\x06\x00\x00sNaPpY"
    for body in (b"0" + good[1:], b"\xff" + good[1:], good[:-1], framed, packed(b"\xff\xff")):
        answer = await client.post(REMOTE_WRITE, content=body, headers=headers | bearer("a"))
        assert 400 <= answer.status_code < 500
        assert written(answer) == (0, 0, 0)


async def test_either_message_declared_as_the_other_is_empty_and_the_counts_say_so(
    client: httpx.AsyncClient, engine: Connection
) -> None:
    """Their fields are apart on purpose: the wrong decoder sees an empty message."""
    body = Request().series(UP, (1.0, now_ms())).body
    answer = await client.post(REMOTE_WRITE, content=packed(body), headers=HEADERS_1 | bearer("a"))
    assert (answer.status_code, written(answer)) == (204, (0, 0, 0))
    body = series_1(UP, (1.0, now_ms()))
    answer = await client.post(REMOTE_WRITE, content=packed(body), headers=HEADERS | bearer("a"))
    assert written(answer) == (0, 0, 0)
    assert stored(engine) == []


async def test_version_one_is_answered_with_the_counts_too(client: httpx.AsyncClient) -> None:
    headers = {name: HEADERS_1[name] for name in ("Content-Type", "Content-Encoding")}
    body = series_1(UP, (1.0, now_ms())) + series_1({"__name__": "x"}, (100.0, now_ms()))
    answer = await client.post(REMOTE_WRITE, content=packed(body), headers=headers | bearer("a"))
    assert (answer.status_code, written(answer)) == (204, (2, 0, 0))


async def test_a_platform_key_carries_many_organizations(
    client: httpx.AsyncClient, engine: Connection
) -> None:
    request = Request()
    for organization_id in (ORGANIZATION_A, ORGANIZATION_B):
        request.series(UP | {"organization_id": str(organization_id)}, (1.0, now_ms()))
    answer = await write(client, request, "platform")
    assert (answer.status_code, written(answer)) == (204, (2, 0, 0))
    rows = stored(engine)
    assert {row["organization_id"] for row in rows} == {ORGANIZATION_A, ORGANIZATION_B}
    assert all("organization_id" not in row["tags"] for row in rows)


async def test_over_the_rate_is_429_and_away_is_503_with_a_time_to_wait(
    database: Database, engine: Connection
) -> None:
    limits = IngestLimits(samples_per_second=1.0, burst=1.0)
    async with ingesting(database.writer, KEYS, limits) as client:
        request = Request().series(UP, (1.0, now_ms()), (2.0, now_ms() + 1))
        assert (await write(client, request)).status_code == 204
        answer = await write(client, request)
    assert answer.status_code == 429
    assert int(answer.headers["retry-after"]) >= 1
    assert written(answer) == (0, 0, 0)


async def test_without_a_key_nothing_is_read(client: httpx.AsyncClient) -> None:
    answer = await client.post(REMOTE_WRITE, content=b"x", headers=HEADERS)
    assert answer.status_code == 401
    assert written(answer) == (0, 0, 0)
