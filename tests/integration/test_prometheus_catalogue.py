"""What Grafana and promtool ask besides expressions: labels, series, metadata, rules; answers like
the real Prometheus', nothing of what is another's, and no question that stops the process."""

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from tests.support.expressions import make_world
from tests.support.postgres import Database
from tests.support.prometheus import prometheus_server
from tests.support.remote_write import HEADERS, packed, series
from tests.support.serving import Running, populate, running, settings_for
from wedsync_apm.administration import store as administration
from wedsync_apm.api.prometheus import expressions
from wedsync_apm.api.prometheus.front import REFUSED
from wedsync_apm.metrics.expression import budget, read
from wedsync_apm.metrics.expression.evaluate import evaluate
from wedsync_apm.metrics.expression.parsing import parse
from wedsync_apm.metrics.expression.store import Q
from wedsync_apm.types import KeyScope

ROOT = "/prometheus/api/v1"
NOW = int(time.time()) // 60 * 60
START = NOW - 3600


@pytest.fixture
async def api(database: Database, tmp_path: Path) -> AsyncIterator[Running]:
    async with running(settings_for(database, tmp_path), populate(database)) as process:
        yield process


def a_key(database: Database, scope: KeyScope, organization_id: Any) -> dict[str, str]:
    with administration.connect(database.engine) as cx:
        made = administration.create_key(
            cx, name="another key", scope=scope, organization_id=organization_id
        )
    return {"Authorization": f"Bearer {made.secret}"}


async def write(client: httpx.AsyncClient, root: str) -> None:
    parts = [series(labels, *samples) for labels, samples in make_world(5, START, 3000)]
    answer = await client.post(f"{root}/write", content=packed(*parts), headers=HEADERS)
    assert answer.status_code == 204, answer.text


async def got(client: httpx.AsyncClient, path: str, parameters: Any = None) -> Any:
    answer = await client.get(path, params=parameters)
    assert answer.status_code == 200, answer.text
    assert answer.json()["status"] == "success"
    return answer.json()["data"]


async def posted(client: httpx.AsyncClient, path: str, parameters: Any = None) -> Any:
    answer = await client.post(path, data=parameters)
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]


SELECTIONS: list[tuple[str, dict[str, Any]]] = [
    ("labels", {}),
    ("labels", {"match[]": "hits_total"}),
    ("labels", {"match[]": ["load", 'owner{team="t1"}']}),
    ("label/__name__/values", {}),
    ("label/host/values", {}),
    ("label/host/values", {"match[]": 'hits_total{route="/1"}'}),
    ("label/le/values", {"match[]": '{__name__=~"lat.+"}'}),
    ("label/nothing/values", {}),
    ("series", {"match[]": "load"}),
    ("series", {"match[]": ["gone", 'latency_bucket{le="+Inf"}', "gone"]}),
    ("series", {"match[]": '{job!="shop", host=~"h1|h2"}'}),
    ("series", {"match[]": "none"}),
]


async def test_labels_and_series_are_those_of_the_real_prometheus(
    api: Running, tmp_path: Path
) -> None:
    span = {"start": str(START), "end": str(NOW)}
    async with prometheus_server(tmp_path) as theirs, api.as_key("admin") as ours:
        await write(theirs, "/api/v1")
        await write(ours, ROOT)
        for path, asked in SELECTIONS:
            expected = await got(theirs, f"/api/v1/{path}", {**asked, **span})
            found = await got(ours, f"{ROOT}/{path}", {**asked, **span})
            key = str if not path.startswith("series") else (lambda one: sorted(one.items()))
            assert sorted(found, key=key) == sorted(expected, key=key), (path, asked)
            if not path.startswith("label/"):
                assert await posted(ours, f"{ROOT}/{path}", {**asked, **span}) == found
        assert (await ours.post(f"{ROOT}/label/host/values")).status_code in (404, 405)
        for client, root in ((theirs, "/api/v1"), (ours, ROOT)):
            for path, wrong in (
                ("series", {}),
                ("series", {"match[]": "rate(x[5m])"}),
                ("labels", {"match[]": "{"}),
                ("labels", {"end": "soon"}),
                ("label/host/values", {"start": "soon"}),
            ):
                refused = await client.get(f"{root}/{path}", params=wrong)
                assert refused.status_code == 400, (root, path, refused.text)
                assert refused.json()["errorType"] == "bad_data"
        # a newer parameter, which Grafana sends
        few = await ours.get(f"{ROOT}/label/__name__/values", params={"limit": 2})
        assert few.json()["data"] == ["gone", "hits_total"]
        assert few.json()["warnings"] == ["results truncated due to limit"]


async def test_what_grafana_calls(api: Running, database: Database) -> None:
    async with api.as_key("admin") as client:
        await write(client, ROOT)
        await client.post(
            "/api/v1/metrics",
            json={"samples": [{"service_name": "shop", "metric_name": "pages", "value": 1,
                               "metric_type": "counter", "unit": "pages"}]},
        )  # fmt: skip
        made = await client.post(
            "/api/v1/alerts",
            json={
                "alert_name": "Too busy",
                "metric_pattern": "shop.load",
                "tag_filter": {"host": "h1"},
                "comparison_operator": ">",
                "threshold_value": 40,
                "severity": "critical",
                "description": "Look at the queue.",
            },
        )
        assert made.status_code == 201, made.text
    with psycopg.connect(database.owner) as cx:
        cx.execute(
            "insert into apm_alert_states (organization_id, alert_id, instance_key, series_id,"
            " state, metric_value, threshold_value, clear_value, threshold_source, sample_count,"
            " firing_since, changed_at, evaluated_at)"
            " select organization_id, %s, id::text, id, 'firing', 51.5, 40, 40, 'rule', 3,"
            " '2026-06-20T13:00:00Z', now(), now() from apm_series"
            " where metric_name = 'load' and tags ->> 'host' = 'h1'",
            (made.json()["id"],),
        )
    async with api.as_key("read") as client:
        health = await posted(client, f"{ROOT}/query", {"query": "1+1", "time": "4"})
        assert health == {"resultType": "scalar", "result": [4, "2"]}
        built = await got(client, f"{ROOT}/status/buildinfo")
        assert built["version"] == "2.42.0"
        assert await posted(client, f"{ROOT}/query_exemplars", {"query": "load"}) == []
        metadata = await got(client, f"{ROOT}/metadata")
        assert metadata["hits_total"] == [{"type": "counter", "help": "", "unit": ""}]
        assert metadata["pages"] == [{"type": "counter", "help": "", "unit": "pages"}]
        assert await got(client, f"{ROOT}/metadata", {"metric": "load"}) == {
            "load": [{"type": "gauge", "help": "", "unit": ""}]
        }
        assert len(await got(client, f"{ROOT}/metadata", {"limit": 1})) == 1
        (group,) = (await got(client, f"{ROOT}/rules"))["groups"]
        (rule,) = [one for one in group["rules"] if one["name"] == "Too busy"]
        (alert,) = (await got(client, f"{ROOT}/alerts"))["alerts"]
        pretty = await got(client, f"{ROOT}/format_query", {"query": "sum( load )by(host)"})
        unknown = await client.get(f"{ROOT}/targets")
        recorded = await got(client, f"{ROOT}/rules", {"type": "record"})
        named = await got(client, f"{ROOT}/rules", {"rule_name[]": "Too busy"})
    assert rule | {"lastEvaluation": "", "alerts": []} == {
        "state": "firing",
        "name": "Too busy",
        "query": 'avg(shop.load{host = "h1"}[5m]) > 40',
        "duration": 0,
        "keepFiringFor": 0,
        "labels": {"severity": "critical"},
        "annotations": {"description": "Look at the queue."},
        "alerts": [],
        "health": "ok",
        "evaluationTime": 0,
        "lastEvaluation": "",
        "type": "alerting",
    }
    assert rule["alerts"] == [alert]
    assert alert["labels"] == {
        "alertname": "Too busy",
        "severity": "critical",
        "host": "h1",
        "job": "shop",
        "metric_name": "load",
        "service_name": "shop",
    }
    assert (alert["state"], alert["value"]) == ("firing", "5.15e+01")
    assert alert["activeAt"] == "2026-06-20T13:00:00Z"
    assert "limit > 40" in alert["annotations"]["summary"]
    assert pretty == "sum by (host) (load)"
    assert unknown.status_code == 404
    assert recorded == {"groups": []}
    assert [one["name"] for one in named["groups"][0]["rules"]] == ["Too busy"]


async def test_names_are_found_by_index(api: Running, database: Database) -> None:
    """As the member that asks, whom row-level security binds; also one of several names."""
    with psycopg.connect(database.api) as cx:
        claims = {"sub": str(api.world.people["alice"]), "role": "authenticated"}
        cx.execute(
            "select set_config('request.jwt.claims', %s, true),"
            " set_config('role', 'authenticated', true),"
            " set_config('enable_seqscan', 'off', true)",
            (json.dumps(claims),),
        )
        asked = {
            "organization_id": api.world.here,
            "metric_names": [None],
            "only_names": ["load", "size"],
            "tags": ["{}"],
            "since": None,
        }
        found = psycopg.ClientCursor(cx).execute(f"explain {Q.list_labelled_series}", asked)
        plan = "\n".join(str(row[0]) for row in found.fetchall())
    conditions = [line for line in plan.splitlines() if "Index Cond" in line]
    assert any("organization_id" in line and "metric_name = ANY" in line for line in conditions), (
        plan
    )


PATHS = (
    "labels", "series?match[]=load", "label/host/values", "label/__name__/values", "metadata",
    "rules", "alerts", "query?query=load", "query?query=load[5m]", "query?query=count(load)",
    "query_range?query=rate(hits_total[5m])",
)  # fmt: skip


async def test_nothing_of_what_is_anothers(api: Running, database: Database) -> None:
    there = a_key(database, KeyScope.READ, api.world.there)
    reader = a_key(database, KeyScope.READ, None)
    span = {"start": str(START), "end": str(NOW), "step": "60", "time": str(NOW - 700)}
    async with api.as_key("admin") as client:
        await write(client, ROOT)
        await client.post(
            "/api/v1/alerts",
            json={"alert_name": "Mine", "metric_pattern": "shop.load",
                  "comparison_operator": ">", "threshold_value": 1},
        )  # fmt: skip
        own = {path: await got(client, f"{ROOT}/{path}", _with(path, span)) for path in PATHS}
    assert all(found for path, found in own.items() if path != "alerts"), own
    async with api.client(there) as client, api.as_key("ingest") as sender, api.client() as nobody:
        for path in PATHS:
            found = await got(client, f"{ROOT}/{path}", _with(path, span))
            text = str(found)
            assert not [one for one in ("load", "h1", "Mine") if one in text], (path, found)
            named = {**_with(path, span), "organization_id": str(api.world.here)}
            refused = await client.get(f"{ROOT}/{path}", params=named)
            assert refused.status_code == 404, (path, refused.text)
            assert (await sender.get(f"{ROOT}/{path}")).status_code == 403, path
            assert (await nobody.get(f"{ROOT}/{path}")).status_code == 401, path
    async with api.client(reader) as client:
        listed = await got(client, f"{ROOT}/series", {"match[]": "once"})
        assert listed == [{"__name__": "once", "organization_id": str(api.world.here)}]
        ranges = await got(client, f"{ROOT}/query", {"query": "once[1h]", "time": str(NOW)})
        assert ranges["result"][0]["values"] == [[START + 900, "7"]]
        for path in ("labels", "metadata", "rules", "alerts", "label/host/values"):
            refused = await client.get(f"{ROOT}/{path}")
            assert refused.status_code == 422, (path, refused.text)


def _with(path: str, span: dict[str, str]) -> dict[str, str]:
    """The parameters of a path, those in its text included."""
    return {**dict(httpx.QueryParams(path.partition("?")[2])), **span}


BOMBS = (
    'load{host=~"' + "(h|" * 900 + "x" + ")" * 900 + '"}',
    'load{host=~"(((((h{1,99}){1,99}){1,99}){1,99}){1,99})"}',
    'label_replace(load, "a", "$1", "host", "((((a{1,99}){1,99}){1,99}){1,99})")',
    "-" * 299 + "load",
    "(" * 149 + "load" + ")" * 149,
    "+".join(["load"] * 290),
    "max_over_time(max_over_time(max_over_time(load[1h:1s])[1d:1s])[30d:1s])",
    "sum_over_time(vector(1)[9y:1ms])",
    "quantile_over_time(0.5, hits_total[1h:1s])",
    "load[100y]",
    "load offset 9000y",
    "load @ 99999999999",
    "vector(1)[1y:1s]",
    'count_values("x", vector(time()))',
    "topk(1e300, load)",
    "predict_linear(load[5m], 1e308)",
    "year(vector(1e300))",
)


async def test_no_question_stops_the_process(api: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget, "MOST_STEPS", 1_000_000)
    monkeypatch.setattr(read, "MOST_SAMPLES", 100)
    span = {"start": START, "end": NOW, "step": 1}
    refused = sum(sum(one) for one in REFUSED.numbers().values())
    async with api.as_key("admin") as client:
        await write(client, ROOT)
        answers = [
            await client.post(f"{ROOT}/query", data={"query": text, "time": NOW - 700})
            for text in BOMBS
        ]
        answers += [
            await client.post(f"{ROOT}/query_range", data={"query": text, **span})
            for text in ("quantile_over_time(0.5, load[1h])", "avg_over_time(hits_total[50m])")
        ]
        late = await client.post(
            f"{ROOT}/query", data={"query": "vector(1)[10m:1ms]", "timeout": "1ms"}
        )
        too_many = await client.post(
            f"{ROOT}/query_range", data={"query": "load", **span, "end": NOW + 8000}
        )
        alive = await got(client, f"{ROOT}/query", {"query": "1"})
    assert {one.status_code for one in answers} <= {200, 400, 422}, [
        (text[:60], one.status_code)
        for text, one in zip((*BOMBS, "", ""), answers, strict=True)
        if one.status_code >= 500
    ]
    assert [one.status_code for one in answers[-2:]] == [422, 422]
    assert "steps" in answers[-1].json()["error"]
    assert (late.status_code, late.json()["errorType"]) == (503, "timeout"), late.text
    assert too_many.status_code == 400
    assert alive["result"][1] == "1"
    counted = sum(sum(one) for one in REFUSED.numbers().values()) - refused
    assert counted == sum(one.status_code != 200 for one in (*answers, late, too_many))


async def test_large_answers_hold_nobody_up(api: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """While they are worked out, small questions are answered; and no caller takes all places."""
    at_work: list[Any] = []
    released = threading.Event()

    def evaluate_slowly(*asked: Any) -> Any:
        if threading.current_thread() is not threading.main_thread():
            at_work.append(asked)
            assert released.wait(60)
        return evaluate(*asked)

    monkeypatch.setattr(expressions, "evaluate", evaluate_slowly)
    large = {"query": "max_over_time(vector(1)[1h:1s])"}
    others = {"query": "max_over_time(vector(2)[1h:1s])"}
    async with api.as_key("admin") as greedy, api.as_key("read") as other:
        asking = [
            *(asyncio.create_task(greedy.post(f"{ROOT}/query", data=large)) for _ in range(3)),
            asyncio.create_task(other.post(f"{ROOT}/query", data=others)),
        ]
        try:
            async with asyncio.timeout(60):
                while len(at_work) < expressions.LARGE_AT_ONCE:
                    await asyncio.sleep(0.01)
            small = await got(other, f"{ROOT}/query", {"query": "1+1"})
            assert not any(one.done() for one in asking)
            of_whom = {asked[0] for asked in at_work}
        finally:
            released.set()
        answers = await asyncio.gather(*asking)
    assert small["result"][1] == "2"
    assert of_whom == {parse(large["query"]), parse(others["query"])}
    assert {one.status_code for one in answers} == {200}
    assert len(at_work) == len(asking)
