"""Samples on their way in over HTTP, into a real database and back out of it."""

import asyncio
import gzip
import json
import math
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import cramjam
import httpx
import psycopg
import pytest

from tests.support.ingest import METRICS, REMOTE_WRITE, bearer, ingesting
from tests.support.people import (
    MEMBER_A,
    NO_ORGANIZATION,
    ORGANIZATION_A,
    ORGANIZATION_B,
    Connection,
    acting_as,
    connect,
)
from tests.support.postgres import Database
from tests.support.remote_write import HEADERS, STALE, label, packed, series
from wedsync_apm.ingest.limits import IngestLimits
from wedsync_apm.ingest.writer import NOT_FINITE

KEYS = {"a": ORGANIZATION_A, "b": ORGANIZATION_B, "platform": None}


@pytest.fixture
def owner(any_database: Database) -> Iterator[Connection]:
    """The owner's connection to a database, of either kind of owner, with two organizations."""
    with connect(any_database.owner, autocommit=True) as cx:
        cx.execute(
            "insert into organizations (id, name) values (%s, 'A'), (%s, 'B')",
            (ORGANIZATION_A, ORGANIZATION_B),
        )
        cx.execute(
            "insert into apm_memberships (organization_id, user_id, role)"
            " values (%s, %s, 'MEMBER')",
            (ORGANIZATION_A, MEMBER_A.id),
        )
        yield cx


@pytest.fixture
async def client(any_database: Database, owner: Connection) -> AsyncIterator[httpx.AsyncClient]:
    async with ingesting(any_database.writer, KEYS) as client:
        yield client


def now_ms() -> int:
    return int(time.time() * 1000)


@pytest.fixture
def engine(any_database: Database, owner: Connection) -> Iterator[Connection]:
    """A connection that may see everything."""
    with connect(any_database.engine, autocommit=True) as cx:
        yield cx


def stored(engine: Connection) -> list[dict[str, Any]]:
    """All samples."""
    return engine.execute(
        'select * from apm_samples order by organization_id, metric_name, tags, "timestamp"'
    ).fetchall()


def counts(engine: Connection, statement: str) -> int:
    """The one number that a statement gives."""
    row = engine.execute(statement.encode()).fetchone()
    assert row is not None
    return int(next(iter(row.values())))


async def post(
    client: httpx.AsyncClient, samples: list[dict[str, Any]], key: str = "a"
) -> httpx.Response:
    return await client.post(METRICS, json={"samples": samples}, headers=bearer(key))


async def write(client: httpx.AsyncClient, *parts: bytes, key: str = "a") -> httpx.Response:
    return await client.post(REMOTE_WRITE, content=packed(*parts), headers=HEADERS | bearer(key))


def sample(**more: Any) -> dict[str, Any]:
    return {"service_name": "forms", "metric_name": "submission_time", "value": 1.0} | more


async def test_a_json_sample_comes_back_as_it_went_in(
    client: httpx.AsyncClient, engine: Connection
) -> None:
    at = now_ms() - 5000
    answer = await post(
        client, [sample(value=120.25, timestamp=at, unit="ms", tags={"route": "/rsvp"})]
    )
    assert (answer.status_code, answer.json()) == (
        202,
        {"accepted": 1, "rejected": 0, "errors": []},
    )
    (row,) = stored(engine)
    assert row["organization_id"] == ORGANIZATION_A
    assert (row["service_name"], row["metric_name"]) == ("forms", "submission_time")
    assert (row["metric_value"], row["unit"], row["tags"]) == (120.25, "ms", {"route": "/rsvp"})
    assert round(row["timestamp"].timestamp() * 1000) == at
    assert (row["metric_type"], row["apm_source"]) == ("gauge", "api")
    assert row["wedding_context"] is None


@pytest.mark.parametrize(
    ("encoding", "pack"),
    [("gzip", gzip.compress), ("zstd", lambda raw: bytes(cramjam.zstd.compress(raw)))],
)
async def test_packed_ndjson(
    client: httpx.AsyncClient, engine: Connection, encoding: str, pack: Any
) -> None:
    body = "\n".join(json.dumps(sample(metric_name=f"m{n}")) for n in range(3)).encode()
    headers = {"Content-Type": "application/x-ndjson", "Content-Encoding": encoding} | bearer("a")
    answer = await client.post(METRICS, content=pack(body), headers=headers)
    assert answer.json()["accepted"] == 3
    assert len(stored(engine)) == 3


async def test_good_samples_are_stored_beside_bad_ones(
    client: httpx.AsyncClient, engine: Connection
) -> None:
    answer = await client.post(
        METRICS,
        content=b'{"samples":[%s,{"service_name":"s","metric_name":"m","value":NaN},{}]}'
        % json.dumps(sample()).encode(),
        headers=bearer("a"),
    )
    assert answer.status_code == 202
    found = answer.json()
    assert (found["accepted"], found["rejected"]) == (1, 2)
    assert [(error["index"], error["field"]) for error in found["errors"]] == [
        (1, "value"),
        (2, "service_name"),
    ]
    assert len(stored(engine)) == 1


async def test_no_good_sample_is_422_with_the_list(client: httpx.AsyncClient) -> None:
    answer = await post(client, [sample(timestamp=0), sample(metric_type="guage")])
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert (problem["status"], problem["accepted"], problem["rejected"]) == (422, 0, 2)
    assert [error["field"] for error in problem["errors"]] == ["timestamp", "metric_type"]


@pytest.mark.parametrize(
    ("content", "headers", "status"),
    [
        (b"{", {}, 400),
        (b"{}", {}, 422),
        (b'{"samples":[]}', {}, 422),
        (b"", {"Content-Type": "text/csv"}, 415),
        (b"", {"Content-Encoding": "br"}, 415),
        (b"", {"Content-Length": "99999999999"}, 413),
        (gzip.compress(bytes(40_000_000)), {"Content-Encoding": "gzip"}, 413),
        (b"nonsense", {"Content-Encoding": "gzip"}, 400),
        (b'{"samples":[%s1]}' % (b"1," * 100_000), {}, 413),
    ],
)
async def test_requests_that_are_refused_as_a_whole(
    client: httpx.AsyncClient, content: bytes, headers: dict[str, str], status: int
) -> None:
    answer = await client.post(METRICS, content=content, headers=headers | bearer("a"))
    assert answer.status_code == status
    assert answer.json()["status"] == status
    assert answer.json()["detail"]


async def test_without_a_key_nothing_is_read(client: httpx.AsyncClient) -> None:
    for path in (METRICS, REMOTE_WRITE):
        answer = await client.post(path, content=b"x")
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == "Bearer"


async def test_other_paths_and_methods_go_on_to_the_application(client: httpx.AsyncClient) -> None:
    assert (await client.get(METRICS)).status_code == 404
    assert (await client.post("/api/v1/alerts")).status_code == 404


async def test_remote_write_comes_back_as_it_went_in(
    client: httpx.AsyncClient, engine: Connection
) -> None:
    at, counted = now_ms(), NOT_FINITE.value()
    answer = await write(
        client,
        series({"__name__": "up", "job": "shop", "instance": "a:1"}, (1, at - 15_000), (0, at)),
        series(
            {"__name__": "requests_total", "service": "site"}, (math.inf, at), (math.nan, at + 1)
        ),
    )
    assert (answer.status_code, answer.content) == (204, b"")
    assert answer.headers["x-prometheus-remote-write-samples-written"] == "4"
    requests, more, first, second = stored(engine)
    assert (requests["service_name"], requests["metric_type"]) == ("site", "counter")
    assert requests["metric_value"] == math.inf
    assert math.isnan(more["metric_value"])
    assert NOT_FINITE.value() == counted + 2
    assert first["tags"] == {"instance": "a:1", "job": "shop"}
    assert [first["metric_value"], second["metric_value"]] == [1, 0]
    assert {row["apm_source"] for row in (requests, first)} == {"prometheus"}


async def test_an_invalid_sample_is_400_and_the_valid_ones_are_stored(
    client: httpx.AsyncClient, engine: Connection
) -> None:
    answer = await write(
        client,
        series({"__name__": "good"}, (1, now_ms()), (2, 0)),
        series([label("__name__", "bad"), label("a", b"\xff")], (1, now_ms())),
    )
    assert answer.status_code == 400
    assert answer.headers["content-type"].startswith("text/plain")
    assert "1 samples were stored, 2 were not" in answer.text
    assert "timestamp is too far back (good)" in answer.text
    assert "series 1: labels are not UTF-8" in answer.text
    assert answer.headers["x-prometheus-remote-write-samples-written"] == "1"
    assert [row["metric_name"] for row in stored(engine)] == ["good"]


@pytest.mark.parametrize(
    "changed",
    [
        {"Content-Type": "application/json"},
        {"Content-Type": "application/x-protobuf;proto=io.prometheus.write.v3.Request"},
        {"Content-Encoding": "gzip"},
        {"Content-Encoding": ""},
    ],
)
async def test_what_is_no_remote_write_1_is_415(
    client: httpx.AsyncClient, changed: dict[str, str]
) -> None:
    headers = HEADERS | bearer("a") | changed
    answer = await client.post(REMOTE_WRITE, content=packed(), headers=headers)
    assert answer.status_code == 415


@pytest.mark.parametrize("body", [b"", b"\xff\xff", packed(b"\xff"), b"\xff\xff\xff\xff\x0f"])
async def test_what_cannot_be_read_is_400_or_too_large(
    client: httpx.AsyncClient, body: bytes
) -> None:
    answer = await client.post(REMOTE_WRITE, content=body, headers=HEADERS | bearer("a"))
    assert answer.status_code == (413 if body == b"\xff\xff\xff\xff\x0f" else 400 if body else 204)


async def test_a_stale_marker_ends_the_series(
    client: httpx.AsyncClient, engine: Connection
) -> None:
    at = now_ms()
    assert (await write(client, series({"__name__": "up"}, (1, at - 1000)))).status_code == 204
    answer = await write(client, series({"__name__": "up"}, (STALE, at)))
    assert answer.status_code == 204
    assert len(stored(engine)) == 1
    row = engine.execute("select ended_at from apm_series").fetchone()
    assert row is not None
    assert round(row["ended_at"].timestamp() * 1000) == at


async def test_a_repeated_request_shows_its_samples_once_and_the_last_write_wins(
    client: httpx.AsyncClient, engine: Connection
) -> None:
    at = now_ms()
    for value in (1.0, 1.0, 7.0):
        await write(client, series({"__name__": "up"}, (value, at)))
    await write(client, series({"__name__": "up"}, (8.0, at), (9.0, at)))
    assert [row["metric_value"] for row in stored(engine)] == [9.0]


async def test_a_batch_over_hours_becomes_blocks_of_an_hour(
    client: httpx.AsyncClient, engine: Connection
) -> None:
    at = now_ms()
    samples = [(float(n), at - n * 1_800_000) for n in range(300)]
    assert (await write(client, series({"__name__": "up"}, *samples))).status_code == 204
    assert len(stored(engine)) == 300
    assert 150 <= counts(engine, "select count(*) from apm_metrics") <= 151


async def test_the_calendar_gives_the_context_and_a_samples_own_word_wins(
    client: httpx.AsyncClient, owner: Connection, engine: Connection
) -> None:
    owner.execute(
        "insert into clients (organization_id, wedding_date, status)"
        " select %s, (now() at time zone 'Europe/London')::date, 'booked'",
        (ORGANIZATION_A,),
    )
    own = {"is_wedding_day": False, "note": "rehearsal"}
    await post(client, [sample(), sample(metric_name="own", wedding_context=own)])
    await post(client, [sample(timestamp=now_ms() - 4 * 86_400_000, metric_name="before")])
    await post(client, [sample(metric_name="elsewhere")], key="b")
    contexts = {row["metric_name"]: row["wedding_context"] for row in stored(engine)}
    assert contexts["submission_time"]["is_wedding_day"] is True
    assert contexts["own"] == own
    assert contexts["before"] is None
    assert contexts["elsewhere"] is None


async def test_a_platform_key_writes_for_many_and_unknown_tenants_are_refused(
    client: httpx.AsyncClient, engine: Connection
) -> None:
    def of(organization: object) -> bytes:
        return series({"__name__": "up", "organization_id": str(organization)}, (1, now_ms()))

    answer = await write(
        client, of(ORGANIZATION_A), of(NO_ORGANIZATION), of(ORGANIZATION_B), key="platform"
    )
    assert answer.status_code == 400
    assert "names no organization that exists" in answer.text
    rows = stored(engine)
    assert {row["organization_id"] for row in rows} == {ORGANIZATION_A, ORGANIZATION_B}
    assert {len(row["tags"]) for row in rows} == {0}


async def test_over_the_series_limit_old_series_go_on(
    any_database: Database, engine: Connection
) -> None:
    limits = IngestLimits(series=2)
    async with ingesting(any_database.writer, KEYS, limits) as client:
        assert (await post(client, [sample(metric_name=name) for name in "ab"])).status_code == 202
        answer = await post(client, [sample(metric_name=name) for name in "acbd"])
        assert (answer.status_code, answer.json()["accepted"]) == (202, 2)
        errors = answer.json()["errors"]
        assert [(error["index"], error["field"]) for error in errors] == [(1, "tags"), (3, "tags")]
        assert "2 series" in errors[0]["reason"]
        answer = await write(client, series({"__name__": "e"}, (1, now_ms())))
        assert answer.status_code == 400
        assert (await post(client, [sample(metric_name="z")], key="b")).status_code == 202
    assert counts(engine, "select count(*) from apm_series") == 3
    assert len(stored(engine)) == 5
    with connect(any_database.api) as cx, acting_as(cx, MEMBER_A):
        seen = cx.execute(
            "select source, reason, refused_count, example from apm_refusals order by source"
        ).fetchall()
    assert [(row["source"], row["reason"], row["refused_count"]) for row in seen] == [
        ("api", "series_limit", 2),
        ("prometheus", "series_limit", 1),
    ]
    assert seen[0]["example"]


async def test_over_the_rate_an_own_key_waits_and_a_platform_key_goes_on(
    any_database: Database, engine: Connection
) -> None:
    limits = IngestLimits(samples_per_second=0.1, burst=1)
    two = [sample(), sample(metric_name="other")]
    async with ingesting(any_database.writer, KEYS, limits) as client:
        assert (await post(client, two)).status_code == 202
        answer = await post(client, two)
        assert answer.status_code == 429
        assert int(answer.headers["retry-after"]) >= 1
        named = [
            series({"__name__": "up", "organization_id": str(one)}, (1, now_ms()))
            for one in (ORGANIZATION_A, ORGANIZATION_B)
        ]
        answer = await write(client, *named, key="platform")
        assert answer.status_code == 400
        assert "more than 0.1 samples a second" in answer.text
    assert [row["organization_id"] for row in stored(engine)].count(ORGANIZATION_B) == 1
    assert len(stored(engine)) == 3
    assert counts(engine, "select sum(refused_count) from apm_refusals where reason = 'rate_limit'")


async def test_requests_share_commits_and_announcements(
    client: httpx.AsyncClient, owner: Connection, engine: Connection, any_database: Database
) -> None:
    heard: list[dict[str, Any]] = []
    connecting = await psycopg.AsyncConnection.connect(any_database.owner, autocommit=True)
    async with connecting as listener:
        await listener.execute("listen apm_live")
        answers = await asyncio.gather(
            *(post(client, [sample(tags={"n": str(n)})], key="ab"[n % 2]) for n in range(100))
        )
        assert {answer.status_code for answer in answers} == {202}
        flushes = counts(engine, "select count(*) from apm_private.flushes")
        (first,) = [one async for one in listener.notifies(timeout=60, stop_after=1)]
        # The writer has told anybody; from now on it names them, each some time after its commit.
        for key, organization_id in ("a", ORGANIZATION_A), ("b", ORGANIZATION_B):
            assert (await post(client, [sample()], key=key)).status_code == 202
            async for one in listener.notifies(timeout=60):
                heard.append(json.loads(one.payload))
                if str(organization_id) in (heard[-1]["organization_ids"] or ()):
                    break
            else:
                raise AssertionError(f"{organization_id} was not announced: {heard}")
    assert flushes < 50
    assert 1 + len(heard) <= flushes + 2
    assert json.loads(first.payload)["organization_ids"] is None
    assert {one["topic"] for one in heard} == {"metrics"}
    assert counts(engine, "select count(*) from apm_metrics") == counts(
        engine, "select sum(cardinality(organization_ids)) from apm_private.flushes"
    )
    assert len(stored(engine)) == 102


async def test_a_batch_that_the_database_refuses_takes_no_other_down(
    client: httpx.AsyncClient, owner: Connection, engine: Connection
) -> None:
    # No decoder lets such a batch through; the table's own check stands in for what we did not
    # think of.
    owner.execute(
        "alter table apm_metrics add constraint poison check (666 <> all (metric_values))"
    )
    await post(client, [sample()])
    answers = await asyncio.gather(
        *(post(client, [sample(value=float(n), tags={"n": str(n)})]) for n in (665, 666, 667))
    )
    assert [answer.status_code for answer in answers] == [202, 422, 202]
    assert sorted(row["metric_value"] for row in stored(engine)) == [1.0, 665.0, 667.0]


async def test_nothing_is_shown_to_another_organization(
    client: httpx.AsyncClient, any_database: Database
) -> None:
    await post(client, [sample(tags={"organization_id": str(ORGANIZATION_A)})], key="b")
    await post(client, [sample(organization_id=str(ORGANIZATION_B))], key="a")
    with connect(any_database.api) as cx, acting_as(cx, MEMBER_A):
        rows = cx.execute("select organization_id from apm_samples").fetchall()
    assert rows == [{"organization_id": ORGANIZATION_A}]


async def test_a_name_of_ten_megabytes_is_named_in_a_short_answer(
    client: httpx.AsyncClient, engine: Connection
) -> None:
    answer = await post(client, [sample(metric_name="x" * 10_000_000), sample()])
    assert (answer.status_code, answer.json()["accepted"]) == (202, 1)
    assert len(answer.content) < 500
    answer = await write(client, series({"__name__": "x" * 10_000_000}, (1, now_ms())))
    assert answer.status_code == 400
    assert len(answer.content) < 500
    assert len(stored(engine)) == 1
