"""Expressions over HTTP: what the real Prometheus answers to the same of the same samples, errors
as it words them, and nothing of what is another's."""

import json
import random
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import psycopg
import pytest

from tests.support.postgres import Database
from tests.support.prometheus import prometheus_server, promtool, series_of, with_key
from tests.support.remote_write import HEADERS, STALE, packed, series
from tests.support.serving import Running, populate, running, settings_for
from wedsync_apm.administration import store as administration
from wedsync_apm.types import KeyScope

WRITE = "/prometheus/api/v1/write"
QUERY = "/prometheus/api/v1/query"
QUERY_RANGE = "/prometheus/api/v1/query_range"


@pytest.fixture
async def api(database: Database, tmp_path: Path) -> AsyncIterator[Running]:
    async with running(settings_for(database, tmp_path), populate(database)) as process:
        yield process


def a_key(database: Database, scope: KeyScope, organization_id: UUID | None) -> dict[str, str]:
    with administration.connect(database.engine) as cx:
        made = administration.create_key(
            cx, name="a key", scope=scope, organization_id=organization_id
        )
    return {"Authorization": f"Bearer {made.secret}"}


async def write(client: httpx.AsyncClient, path: str, *parts: bytes, **headers: str) -> None:
    answer = await client.post(path, content=packed(*parts), headers=HEADERS | headers)
    assert answer.status_code == 204, answer.text


async def ask(client: httpx.AsyncClient, path: str, **parameters: Any) -> Any:
    answer = await client.get(path, params=parameters)
    assert answer.status_code == 200, answer.text
    return answer.json()


END = int(time.time()) // 60 * 60 - 120
START = END - 1800


def world(seed: int) -> list[bytes]:
    """Counters that start anew, gauges with gaps and odd values, a series that ended, and one of
    a single sample; times are not quite regular."""
    rng = random.Random(seed)  # noqa: S311 - no secret
    made = []
    for number in range(6):
        total, samples = 0.0, []
        for at in range(START, END + 1, 15):
            total = rng.random() if rng.random() < 0.05 else total + rng.randrange(50)
            if rng.random() < 0.9:
                samples.append((total, at * 1000 + (number % 3) * rng.randrange(4000)))
        labels = {"__name__": "hits_total", "job": "shop", "route": f"/{number % 3}"}
        made.append(series({**labels, "host": f"h{number}"}, *samples))
        values = [
            rng.choice((rng.gauss(50, 20), rng.gauss(50, 20), float(number))) for _ in samples
        ]
        values[3 + number] = (float("inf"), float("nan"), 1e18, 1e-9, -0.0, 12345678.9)[number]
        gauge = {"__name__": "load", "job": "shop", "host": f"h{number}"}
        quiet = rng.randrange(START, END - 600)
        kept = [
            (value, at)
            for value, (_, at) in zip(values, samples, strict=True)
            if not quiet < at / 1000 < quiet + 500
        ]
        made.append(series(gauge, *kept))
    ended = [(1.0, at * 1000) for at in range(START, START + 601, 30)]
    made.append(series({"__name__": "gone", "job": "shop"}, *ended, (STALE, (START + 615) * 1000)))
    made.append(series({"__name__": "once"}, (7.0, (START + 900) * 1000)))
    return made


def ending_again() -> list[bytes]:
    """One series in three requests, each of which ends it."""
    return [
        series(
            {"__name__": "again", "job": "shop"},
            *((float(at % 7), at * 1000) for at in range(begins, begins + 200, 20)),
            (STALE, (begins + 200) * 1000),
        )
        for begins in (START, START + 400, START + 900)
    ]


EXPRESSIONS = [
    "load",
    'load{host="h1"}',
    'load{host!="h1"}',
    'load{host=~"h[1-3]"}',
    'load{host!~"h1|h2"}',
    '{job="shop", __name__=~"lo.*"}',
    '{job="shop"}',
    'load{route=""}',
    'hits_total{route!=""}',
    'load{host=~"h"}',
    "load offset 3m",
    "load offset -1m",
    "nothing",
    "gone",
    "once",
    "again",
    "count_over_time(again[10m])",
    "count_over_time(gone[10m])",
    "rate(hits_total[5m])",
    "rate(hits_total[1m])",
    "rate(hits_total[20s])",
    "increase(hits_total[7m] offset 2m)",
    "rate(once[5m])",
    *(f"{kind}_over_time(load[4m])" for kind in ("count", "sum", "avg", "min", "max", "last")),
    *(f"{kind}(load)" for kind in ("sum", "avg", "min", "max", "count")),
    "sum by (route) (rate(hits_total[5m]))",
    "avg without (host) (hits_total)",
    "max by (nothing) (hits_total)",
    'count by (__name__) ({job="shop"})',
    'avg by (__name__) ({job="shop"})',
    "sum(count_over_time(load[30m]))",
    "sum(sum by (host) (load))",
    "100 * rate(hits_total[5m]) + 1",
    "-load",
    "load % 7",
    "2 ^ (load / 100)",
    "1 - sum(load) / 4",
    "1 + 2 * 3",
    "-(2 ^ 3)",
    "1 / 0",
]


async def test_answers_are_those_of_the_real_prometheus(
    api: Running, database: Database, tmp_path: Path
) -> None:
    made = world(seed=17)
    key = a_key(database, KeyScope.ADMIN, api.world.here)
    async with prometheus_server(tmp_path) as theirs, api.client(key) as ours:
        for parts in (made, *([part] for part in ending_again())):
            await write(theirs, "/api/v1/write", *parts)
            await write(ours, WRITE, *parts)
        for expression in EXPRESSIONS:
            for at in (START + 17, START + 640, END - 100, END):
                asked: dict[str, Any] = {"query": expression, "time": at}
                expected = await ask(theirs, "/api/v1/query", **asked)
                compare(asked, await ask(ours, QUERY, **asked), expected)
            for step in (15, 60, 333):
                asked = {"query": expression, "start": START - 60, "end": END, "step": step}
                expected = await ask(theirs, "/api/v1/query_range", **asked)
                compare(asked, await ask(ours, QUERY_RANGE, **asked), expected)


def compare(asked: Any, found: Any, expected: Any) -> None:
    assert found["data"]["resultType"] == expected["data"]["resultType"], asked
    if found["data"]["resultType"] == "scalar":
        assert found == expected, asked
        return
    ours, theirs = series_of(found), series_of(expected)
    assert ours.keys() == theirs.keys(), asked
    for labels, points in theirs.items():
        assert [at for at, _ in ours[labels]] == [at for at, _ in points], (asked, labels)
        assert [value for _, value in ours[labels]] == pytest.approx(
            [value for _, value in points], rel=1e-9, nan_ok=True
        ), (asked, labels)


async def test_values_are_written_as_prometheus_writes_them(
    api: Running, database: Database, tmp_path: Path
) -> None:
    values = (0.1, 1e15, 1e16, 1e20, 1e21, 1.5e-5, 1e-6, 9e-7, -0.0, 123456.789, 5e-324)
    made = [
        series({"__name__": "odd", "n": str(n)}, (value, END * 1000 + 1))
        for n, value in enumerate(values)
    ]
    asked = {"query": "odd", "time": END + 0.5}
    async with prometheus_server(tmp_path) as theirs, api.as_key("admin") as ours:
        await write(theirs, "/api/v1/write", *made)
        await write(ours, WRITE, *made)
        expected = (await ask(theirs, "/api/v1/query", **asked))["data"]["result"]
        found = (await ask(ours, QUERY, **asked))["data"]["result"]

    def ordered(lines: Any) -> Any:
        return sorted(lines, key=lambda line: int(line["metric"]["n"]))

    assert ordered(found) == ordered(expected)


async def test_promtool_understands_every_answer(api: Running) -> None:
    async with api.as_key("admin") as client:
        await write(client, WRITE, *world(seed=3))
    async with with_key(api.url, api.world.keys["read"]) as address:
        base = f"{address}/prometheus"
        at = f"--time={END}"
        code, out = await promtool("query", "instant", at, base, 'load{host="h1"}')
        assert code == 0, out
        assert out.startswith('load{host="h1", job="shop"} => '), out
        times = (f"--start={START}", f"--end={END}", "--step=5m")
        code, out = await promtool("query", "range", *times, base, "sum(rate(hits_total[5m]))")
        assert code == 0, out
        assert out.startswith("{} =>\n"), out
        code, out = await promtool("query", "instant", base, "1 + 1")
        assert code == 0, out
        assert out.split()[:2] == ["scalar:", "2"], out
        code, out = await promtool("query", "instant", base, "load{")
        assert code == 1, out
        assert "bad_data" in out, out
        code, out = await promtool("query", "instant", at, base, "topk(1, load)")
        assert code == 0, out
        assert out.startswith("load{"), out
        code, out = await promtool("query", "instant", base, "limitk(1, load)")
        assert code == 1, out
        assert "execution" in out, out
        span = (f"--start={START}", f"--end={END}")
        code, out = await promtool("query", "series", *span, "--match=once", base)
        assert (code, out) == (0, '{__name__="once"}\n')
        code, out = await promtool("query", "labels", *span, base, "host")
        assert (code, out.split()) == (0, [f"h{n}" for n in range(6)])


REFUSED: list[tuple[int, str, dict[str, str]]] = [
    (400, "bad_data", {"query": "load{"}),
    (400, "bad_data", {"query": ""}),
    (400, "bad_data", {}),
    (400, "bad_data", {"query": "{}"}),
    (400, "bad_data", {"query": 'load{host=~"("}'}),
    (400, "bad_data", {"query": "(" * 5000 + "load" + ")" * 5000}),
    (400, "bad_data", {"query": "1" + "+1" * 3000}),
    (400, "bad_data", {"query": "load" + " or load" * 900}),
    (400, "bad_data", {"query": "load", "time": "soon"}),
    (400, "bad_data", {"query": "load", "organization_id": "mine"}),
    (422, "execution", {"query": "limitk(3, load)"}),
    (422, "execution", {"query": "info(load)"}),
    (422, "execution", {"query": "histogram_quantile(0.9, histogram_sum(load))"}),
    (422, "execution", {"query": 'load{a="1" or b="2"}'}),
    (422, "execution", {"query": 'label_replace(vector(1), "a", "b", "c", "(")'}),
    (422, "execution", {"query": 'label_join(vector(1), "1", "", "c")'}),
    (422, "execution", {"query": "topk(NaN, vector(1))"}),
    (422, "execution", {"query": "max_over_time(vector(1)[1y:1s])"}),
]
BAD_RANGES: list[tuple[dict[str, str], str]] = [
    ({"start": "2", "end": "1", "step": "1"}, "before start"),
    ({"start": "1", "end": "2", "step": "0"}, "zero or negative"),
    ({"start": "1", "end": "2", "step": "often"}, "step"),
    ({"start": "1", "end": "2"}, "step"),
    ({"end": "2", "step": "1"}, "start"),
    ({"query": "load[5m]", "start": "1", "end": "2", "step": "1"}, "range vector"),
    ({"query": '"text"', "start": "1", "end": "2", "step": "1"}, "string"),
    ({"start": "0", "end": "20000", "step": "1"}, "11,000 points"),
]


async def test_what_is_not_answered_is_said_as_prometheus_says_it(api: Running) -> None:
    async with api.as_key("read") as client:
        for status, kind, parameters in REFUSED:
            answer = await client.post(QUERY, data=parameters)
            assert (answer.status_code, answer.json()["status"]) == (status, "error"), parameters
            assert answer.json()["errorType"] == kind
            assert answer.json()["error"]
        for parameters, words in BAD_RANGES:
            answer = await client.get(QUERY_RANGE, params={"query": "load", **parameters})
            assert (answer.status_code, answer.json()["errorType"]) == (400, "bad_data")
            assert words in answer.json()["error"]


async def test_series_that_lose_their_name_must_still_differ(api: Running) -> None:
    at = END * 1000
    parts = [series({"__name__": name, "a": "1"}, (1.0, at)) for name in ("x", "y")]
    async with api.as_key("admin") as client:
        await write(client, WRITE, *parts)
        answer = await client.get(
            QUERY, params={"query": 'sum_over_time({a="1"}[1m])', "time": END}
        )
    assert (answer.status_code, answer.json()["errorType"]) == (422, "execution")
    assert "same labelset" in answer.json()["error"]


async def test_labels_come_back_as_sent_and_a_native_sample_has_its_service(api: Running) -> None:
    at = END * 1000
    sent = {"__name__": "m", "service": "booking", "organization_id": "theirs", "job": "x"}
    async with api.as_key("admin") as client:
        await write(client, WRITE, series(sent, (1.0, at)), series({"__name__": "m"}, (2.0, at)))
        answer = await client.post(
            "/api/v1/metrics",
            json={
                "samples": [
                    {
                        "service_name": "shop",
                        "metric_name": "m",
                        "value": 3,
                        "timestamp": at / 1000,
                        "tags": {"route": "/"},
                    }
                ]
            },
        )
        assert answer.status_code == 202, answer.text
        found = await ask(client, QUERY, query="m", time=END)
        by_service = await ask(client, QUERY, query='m{service_name="shop"}', time=END)
        own = await ask(client, QUERY, query=f'm{{organization_id="{api.world.here}"}}', time=END)
    metrics = [line["metric"] for line in found["data"]["result"]]
    native = {"__name__": "m", "service_name": "shop", "route": "/"}
    assert sorted(metrics, key=len) == sorted([{"__name__": "m"}, native, sent], key=len)
    assert [line["metric"] for line in by_service["data"]["result"]] == [native]
    # a label that was sent is the label; where none was, it is the tenant
    assert [line["metric"] for line in own["data"]["result"]] == [
        metric for metric in metrics if metric != sent
    ]


async def test_nobody_reads_what_is_anothers(api: Running, database: Database) -> None:
    there = a_key(database, KeyScope.ADMIN, api.world.there)
    async with api.client(there) as client:
        await write(client, WRITE, series({"__name__": "m"}, (1.0, END * 1000)))
    selected = f'm{{organization_id="{api.world.there}"}}'
    async with api.as_key("read") as client:
        mine = await ask(client, QUERY, query="m", time=END)
        theirs = await client.get(QUERY, params={"query": selected, "time": END})
        named = await client.get(
            QUERY, params={"query": "m", "time": END, "organization_id": str(api.world.there)}
        )
    assert mine["data"]["result"] == []
    assert (theirs.status_code, named.status_code) == (404, 404)
    async with api.client(there) as client:
        assert len((await ask(client, QUERY, query=selected, time=END))["data"]["result"]) == 1
    async with api.as_person("carol") as client:
        unnamed = await client.get(QUERY, params={"query": "m", "time": END})
        found = await ask(client, QUERY, query=selected, time=END)
    assert (unnamed.status_code, unnamed.json()["errorType"]) == (422, "bad_data")
    assert "several organizations" in unnamed.json()["error"]
    assert len(found["data"]["result"]) == 1


async def test_which_keys_may_ask(api: Running) -> None:
    for name, status in (("ingest", 403), ("platform", 403), ("read", 200), ("admin", 200)):
        async with api.as_key(name) as client:
            answer = await client.get(QUERY, params={"query": "m"})
        assert answer.status_code == status, (name, answer.text)


async def test_without_credentials_nothing_is_answered(api: Running) -> None:
    async with api.client() as client:
        answer = await client.get(QUERY, params={"query": "1"})
    assert (answer.status_code, answer.json()["errorType"]) == (401, "unauthorized")


async def test_a_platform_reader_counts_over_all_organizations(
    api: Running, database: Database
) -> None:
    writer = a_key(database, KeyScope.INGEST, None)
    reader = a_key(database, KeyScope.READ, None)
    tenants = [str(api.world.here), str(api.world.there)]
    async with api.client(writer) as client:
        parts = [
            series(
                {"__name__": "m", "organization_id": tenant, "n": str(n)},
                *((float(i), (END - i) * 1000) for i in range(10)),
            )
            for tenant in tenants
            for n in range(5)
        ]
        await write(client, WRITE, *parts)
        # a repeated batch is stored twice and counted once
        await write(client, WRITE, *parts)
    async with api.client(reader) as client:
        total = await ask(client, QUERY, query="sum(count_over_time(m[60s]))", time=END + 1)
        each = await ask(
            client, QUERY, query="sum by (organization_id) (count_over_time(m[60s]))", time=END + 1
        )
        one = await ask(client, QUERY, query=f'm{{organization_id="{tenants[1]}",n="3"}}', time=END)
        elsewhere = [
            (await client.get(path)).status_code
            for path in ("/api/v1/query?metric=default.m", "/api/v1/incidents", "/api/v1/alerts")
        ]
    assert total["data"]["result"][0]["value"][1] == "100"
    assert {
        line["metric"]["organization_id"]: line["value"][1] for line in each["data"]["result"]
    } == dict.fromkeys(tenants, "50")
    assert [line["metric"] for line in one["data"]["result"]] == [
        {"__name__": "m", "organization_id": tenants[1], "n": "3"}
    ]
    assert elsewhere[0] == 403
    with psycopg.connect(database.owner) as cx:
        noted = cx.execute(
            "select count(*), min(new_values ->> 'expression') from apm_audit_log"
            " where action = 'read' and new_values ->> 'expression' like 'sum(count%'"
        ).fetchone()
        assert noted == (1, "sum(count_over_time(m[60s]))")
        cx.execute("update apm_api_keys set revoked_at = now() where is_platform")
        cx.commit()
    async with api.client(reader) as client:
        api.composed.services.authenticator.forget()
        refused = await client.get(QUERY, params={"query": "m"})
    assert refused.status_code == 401


async def test_a_form_and_an_address_say_the_same(api: Running) -> None:
    async with api.as_key("admin") as client:
        await write(client, WRITE, series({"__name__": "m"}, (1.5, END * 1000)))
        asked = {"query": "m", "start": str(END - 60), "end": str(END), "step": "1m"}
        got = await client.get(QUERY_RANGE, params=asked)
        posted = await client.post(QUERY_RANGE, data=asked)
    expected = [{"metric": {"__name__": "m"}, "values": [[END, "1.5"]]}]
    assert json.loads(got.content) == json.loads(posted.content)
    assert got.json()["data"] == {"resultType": "matrix", "result": expected}
