import json
import re
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import psycopg
import pytest

from tests.support.postgres import Database, throw_away_server
from tests.support.serving import Running, populate, running, settings_for
from wedsync_apm.api.application import REQUESTS


@pytest.fixture
async def api(database: Database, tmp_path: Path) -> AsyncIterator[Running]:
    async with running(settings_for(database, tmp_path), populate(database)) as process:
        yield process


async def test_it_is_up_and_says_which_version(api: Running) -> None:
    async with api.client() as client:
        answer = await client.get("/healthz")
    assert answer.status_code == 200
    assert answer.json() == {"status": "ok", "version": "0.1.0"}


async def test_it_is_ready_only_while_the_engine_cycles(api: Running, database: Database) -> None:
    async def checks() -> tuple[int, dict[str, tuple[bool, str]]]:
        async with api.client() as client:
            answer = await client.get("/readyz")
        body = answer.json()
        return answer.status_code, {c["name"]: (c["is_ok"], c["reason"]) for c in body["checks"]}

    status, found = await checks()
    assert status == 503
    assert found["database"][0]
    assert found["schema"][0]
    assert found["engine"] == (False, "has not run a job yet")
    with psycopg.connect(database.engine, autocommit=True) as engine:
        engine.execute(
            "insert into apm_private.job_runs (job, started_at, finished_at, outcome) "
            "values ('evaluate', clock_timestamp(), clock_timestamp(), 'ok')"
        )
        status, found = await checks()
        assert status == 200, found
        engine.execute("update apm_private.job_runs set finished_at = now() - interval '16 s'")
    status, found = await checks()
    assert status == 503
    said = re.fullmatch(r"the last job ended (\d+) s ago", found["engine"][1])
    assert said is not None
    assert 16 <= int(said[1]) < 120


async def test_it_is_not_ready_with_a_changed_migration(api: Running, database: Database) -> None:
    with psycopg.connect(database.owner, autocommit=True) as owner:
        owner.execute(
            "update apm_private.migrations set checksum = 'other' "
            "where version = (select max(version) from apm_private.migrations)"
        )
    async with api.client() as client:
        answer = await client.get("/readyz")
    assert answer.status_code == 503
    schema = next(check for check in answer.json()["checks"] if check["name"] == "schema")
    assert not schema["is_ok"]


async def test_the_truth_while_the_database_is_stopped(tmp_path: Path) -> None:
    with throw_away_server() as server, server.clone() as database:
        world = populate(database)
        async with (
            running(settings_for(database, tmp_path), world) as api,
            api.as_person("alice") as client,
        ):
            assert (await client.get("/api/v1/alerts")).status_code == 200
            server.embedded.stop()
            health = await client.get("/healthz")
            ready = await client.get("/readyz")
            telemetry = await client.get("/metrics")
            refused = await client.get("/api/v1/alerts")
            sent = await client.post(
                "/api/v1/metrics",
                json={"samples": [{"service_name": "a", "metric_name": "b", "value": 1}]},
                headers={"authorization": f"Bearer {world.keys['ingest']}"},
            )
            junk = await client.get("/api/v1/me", headers={"authorization": "Bearer a.b.c"})
            server.embedded.start()
            back = await client.get("/api/v1/alerts")
    assert health.status_code == 200
    assert ready.status_code == 503
    reasons = {check["name"]: check["is_ok"] for check in ready.json()["checks"]}
    assert reasons == {"database": False, "schema": False, "engine": False}
    assert telemetry.status_code == 200
    assert "wedsync_apm_build_info" in telemetry.text
    assert "\nwedsync_apm_database_up 0\n" in telemetry.text
    assert "\nwedsync_apm_ready 0\n" in telemetry.text
    for answer in (refused, sent):
        assert answer.status_code == 503, answer.text
        assert answer.headers["content-type"] == "application/problem+json"
        assert int(answer.headers["retry-after"]) >= 1
    # What cannot be a token is refused without asking anybody.
    assert junk.status_code == 401
    assert back.status_code == 200


async def test_a_database_that_hangs_is_said_within_seconds(tmp_path: Path) -> None:
    with throw_away_server() as server, server.clone() as database:
        async with (
            running(settings_for(database, tmp_path), populate(database)) as api,
            api.client() as client,
        ):
            assert "\nwedsync_apm_database_up 1\n" in (await client.get("/metrics")).text
            postmaster = psutil.Process(server.embedded.pid)
            stopped = [postmaster, *postmaster.children(recursive=True)]
            for process in stopped:
                process.suspend()
            try:
                ready = await client.get("/readyz", timeout=30)
                telemetry = await client.get("/metrics", timeout=30)
            finally:
                for process in stopped:
                    process.resume()
    assert ready.status_code == 503
    assert ready.json()["checks"][0]["is_ok"] is False
    assert "\nwedsync_apm_database_up 0\n" in telemetry.text


async def test_telemetry_counts_requests_by_template(api: Running) -> None:
    # One registry a process, so other tests have counted there before.
    labels = {"method": "GET", "path": "/api/v1/incidents/{id}", "status": "404"}
    before = REQUESTS.value(**labels)
    async with api.as_person("alice") as client:
        await client.get("/api/v1/incidents/6bd092a1-4410-42eb-a45a-448c8d578314")
        text = (await client.get("/metrics")).text
    assert REQUESTS.value(**labels) == before + 1
    assert f'path="{labels["path"]}",status="404"}} {before + 1:.0f}' in text
    assert "6bd092a1" not in text


async def test_the_documentation_loads_nothing_from_elsewhere(api: Running) -> None:
    async with api.client() as client:
        page = await client.get("/docs")
        document = (await client.get("/openapi.json")).json()
    assert page.status_code == 200
    assert not re.search(r"<script|<link|<img|@import|url\(|https?://", page.text)
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert document["openapi"].startswith("3.1")
    for path, method in (
        ("/api/v1/metrics", "get"),
        ("/api/v1/metrics", "post"),
        ("/prometheus/api/v1/write", "post"),
        ("/api/v1/incidents/{id}/acknowledge", "post"),
    ):
        assert method in document["paths"][path]
        assert f"<code>{path}</code>" in page.text
    assert all(
        name in document["components"]["schemas"]
        for name in re.findall(r'"#/components/schemas/([^"]+)"', json.dumps(document))
    )
