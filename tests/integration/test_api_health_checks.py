"""Health checks over HTTP: what may be saved, a look at once, history, and the catalogue."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.support.postgres import Database
from tests.support.serving import Running, populate, running, settings_for
from tests.support.worst_day import WorstDay, worst_day
from wedsync_apm.checks.templates import TEMPLATES

CHECK: dict[str, Any] = {
    "service_name": "form",
    "display_name": "Order form",
    "endpoint_url": "https://example.org/",
}


@pytest.fixture
async def day() -> AsyncIterator[WorstDay]:
    async with worst_day() as opened:
        yield opened


@pytest.fixture
async def api(database: Database, tmp_path: Path, day: WorstDay) -> AsyncIterator[Running]:
    settings = settings_for(database, tmp_path, egress_allow=(f"127.0.0.1:{day.port}",))
    async with running(settings, populate(database)) as process:
        yield process


REFUSED: list[tuple[dict[str, Any], str, str]] = [
    ({"endpoint_url": "ftp://example.org"}, "endpoint_url", "matching"),
    ({"endpoint_url": "http://169.254.169.254/"}, "endpoint_url", "link-local"),
    ({"endpoint_url": "http://10.0.0.1/"}, "endpoint_url", "private"),
    ({"endpoint_url": "http://127.0.0.1:8080/"}, "endpoint_url", "loopback"),
    ({"endpoint_url": "http://localhost:8080/"}, "endpoint_url", "loopback"),
    ({"endpoint_url": "http://[::1]/"}, "endpoint_url", "loopback"),
    ({"endpoint_url": "http://8.8.8.8:22/"}, "endpoint_url", "port 22"),
    ({"endpoint_url": "https://user:word@example.org/"}, "endpoint_url", "user name"),
    ({"endpoint_url": "tcp://example.org"}, "endpoint_url", "needs a port"),
    ({"endpoint_url": "tcp://8.8.8.8:9999"}, "endpoint_url", "port 9999"),
    ({"endpoint_url": "tcp://8.8.8.8:443/path"}, "endpoint_url", "nothing after"),
    ({"endpoint_url": "tls://8.8.8.8:80"}, "endpoint_url", "port 80"),
    ({"endpoint_url": "tls://192.168.0.1"}, "endpoint_url", "private"),
    ({"endpoint_url": "dns:router"}, "endpoint_url", "whole name"),
    ({"endpoint_url": "dns:db.internal"}, "endpoint_url", "private networks"),
    ({"endpoint_url": "dns:4.3.2.10.in-addr.arpa"}, "endpoint_url", "private networks"),
    ({"endpoint_url": "dns:example.org?type=ANY"}, "endpoint_url", "one of A, "),
    ({"endpoint_url": "dns://127.0.0.53/example.org"}, "endpoint_url", "loopback"),
    ({"endpoint_url": "dns://8.8.8.8:5353/example.org"}, "endpoint_url", "port 5353"),
    ({"endpoint_url": None}, "endpoint_url", "either"),
    ({"shared_key": "stripe_payments"}, "endpoint_url", "either"),
    ({"endpoint_url": None, "shared_key": "website"}, "shared_key", "no shared service"),
    ({"endpoint_url": None, "shared_key": "nothing"}, "shared_key", "no shared service"),
    ({"failures_to_confirm": 0}, "failures_to_confirm", ">= 1"),
    ({"body_contains": "x" * 201}, "body_contains", "length"),
    ({"dns_expected": ["x"] * 21}, "dns_expected", "length"),
    ({"depends_on": ["00000000-0000-4000-8000-000000000000"]}, "depends_on", ""),
    ({"is_shared": True}, "is_shared", "not a field"),
    ({"status": "healthy"}, "status", "not a field"),
]
KINDS = [
    "https://8.8.8.8/",
    "tcp://8.8.8.8:5432",
    "tls://8.8.8.8",
    "dns:example.org?type=MX",
    "dns://8.8.8.8/example.org",
    # A name that is not there yet may be there tomorrow.
    "https://not-there-yet.example/",
]


async def test_what_cannot_be_looked_at_is_not_saved(api: Running) -> None:
    async with api.as_person("alice") as client:
        made = (await client.post("/api/v1/health-checks", json=CHECK)).json()
        for changes, field, reason in REFUSED:
            body = CHECK | {"service_name": "other"} | changes
            answer = await client.post("/api/v1/health-checks", json=body)
            assert answer.status_code == 422, (changes, answer.text)
            [error] = answer.json()["errors"]
            assert error["field"] == field, changes
            assert reason in error["reason"], changes
            if isinstance(changes.get("endpoint_url"), str):
                changed = await client.patch(f"/api/v1/health-checks/{made['id']}", json=changes)
                assert changed.status_code == 422, (changes, changed.text)
        assert len((await client.get("/api/v1/health-checks")).json()["items"]) == 1


async def test_every_kind_can_be_saved(api: Running) -> None:
    async with api.as_person("alice") as client:
        for url in KINDS:
            body = CHECK | {"service_name": url, "endpoint_url": url}
            answer = await client.post("/api/v1/health-checks", json=body)
            assert answer.status_code == 201, answer.text
            made = answer.json()
            assert (made["endpoint_url"], made["status"]) == (url, "unknown")


async def test_a_look_at_once_tells_what_it_saw(api: Running, day: WorstDay) -> None:
    async with api.as_person("alice") as client, api.as_person("bob") as member:
        body = CHECK | {"endpoint_url": day.url("/status/500"), "check_interval": "1h"}
        made = (await client.post("/api/v1/health-checks", json=body)).json()
        url = f"/api/v1/health-checks/{made['id']}"
        run = await client.post(f"{url}/run")
        assert run.status_code == 200, run.text
        seen = run.json()
        assert (seen["is_fresh"], seen["status"], seen["http_status"]) == (True, "critical", 500)
        assert seen["reason"] == "It answers with an error (HTTP 500)"
        assert seen["response_time_ms"] > 0
        assert len(day.requests) == 1
        # Told, not kept; the engine looks for itself.
        kept = (await client.get(url)).json()
        assert (kept["status"], kept["last_check_at"]) == ("unknown", None)
        # Again within ten seconds, by whomever of the organization: not now.
        again = await member.post(f"{url}/run")
        assert again.status_code == 429
        assert 1 <= int(again.headers["retry-after"]) <= 10
        assert len(day.requests) == 1


async def test_an_organizations_looks_are_counted(api: Running, day: WorstDay) -> None:
    async with api.as_person("alice") as client, api.as_person("oscar") as other:
        ids = []
        for n in range(22):
            body = CHECK | {"service_name": f"s{n}", "endpoint_url": day.url("/ok")}
            ids.append((await client.post("/api/v1/health-checks", json=body)).json()["id"])
        answers = await asyncio.gather(
            *(client.post(f"/api/v1/health-checks/{one}/run") for one in ids)
        )
        assert sorted(one.status_code for one in answers) == [200] * 20 + [429] * 2
        assert len(day.requests) == 20
        # Another organization has a count of its own.
        body = CHECK | {"endpoint_url": day.url("/ok")}
        made = (await other.post("/api/v1/health-checks", json=body)).json()
        assert (await other.post(f"/api/v1/health-checks/{made['id']}/run")).status_code == 200


async def test_what_is_told_holds_nothing_of_an_inner_answer(api: Running, day: WorstDay) -> None:
    async with api.as_person("alice") as client:
        body = CHECK | {"endpoint_url": day.url("/to?http://169.254.169.254/latest/secret")}
        made = (await client.post("/api/v1/health-checks", json=body)).json()
        seen = (await client.post(f"/api/v1/health-checks/{made['id']}/run")).json()
        assert (seen["status"], seen["http_status"]) == ("unknown", None)
        assert "secret" not in str(seen)


async def test_who_may_have_a_look_made(api: Running, day: WorstDay) -> None:
    async with api.as_person("alice") as client:
        body = CHECK | {"endpoint_url": day.url("/ok")}
        made = (await client.post("/api/v1/health-checks", json=body)).json()
    url = f"/api/v1/health-checks/{made['id']}"
    for name, status in (("vera", 403), ("oscar", 404), ("nora", 404)):
        async with api.as_person(name) as person:
            assert (await person.post(f"{url}/run")).status_code == status
    async with api.as_person("vera") as viewer:
        assert (await viewer.get(f"{url}/history")).status_code == 200
        refused = await viewer.post("/api/v1/health-check-templates/openai/adopt")
        assert refused.status_code == 403
    assert day.requests == []
    async with api.as_person("bob") as member:
        assert (await member.post(f"{url}/run")).status_code == 200


async def test_adopting_is_one_click(api: Running, database: Database) -> None:
    async with api.as_person("alice") as client, api.as_person("oscar") as other:
        listed = (await client.get("/api/v1/health-check-templates")).json()
        assert {one["key"] for one in listed} == set(TEMPLATES)
        for key in (one["key"] for one in listed if one["is_shared"]):
            answer = await client.post(f"/api/v1/health-check-templates/{key}/adopt")
            assert answer.status_code == 201, answer.text
            made, template = answer.json(), TEMPLATES[key]
            assert (made["service_name"], made["shared_key"]) == (key, key)
            assert made["endpoint_url"] is None
            assert made["expected_status_codes"] == list(template.expected_status_codes)
            assert made["availability_threshold"] == template.availability_threshold
        twice = await client.post("/api/v1/health-check-templates/stripe_payments/adopt")
        assert twice.status_code == 409
        # Shared, and a look at once calls nobody.
        checks = (await client.get("/api/v1/health-checks")).json()["items"]
        stripe = next(one for one in checks if one["shared_key"] == "stripe_payments")
        run = (await client.post(f"/api/v1/health-checks/{stripe['id']}/run")).json()
        assert run["is_fresh"] is False
        # Nothing tells oscar who shares it, or that anybody does.
        await other.post("/api/v1/health-check-templates/stripe_payments/adopt")
        theirs = (await other.get("/api/v1/health-checks")).json()["items"]
        assert [one["organization_id"] for one in theirs] == [str(api.world.there)]
        assert (await other.get(f"/api/v1/health-checks/{stripe['id']}/history")).status_code == 404
        own = await client.post("/api/v1/health-check-templates/website/adopt")
        assert own.json()["errors"][0]["field"] == "endpoint_url"
        own = await client.post(
            "/api/v1/health-check-templates/website/adopt",
            json={"endpoint_url": "https://8.8.8.8/", "display_name": "Our shop"},
        )
        assert own.status_code == 201, own.text
        assert (own.json()["display_name"], own.json()["response_time_threshold_ms"]) == (
            "Our shop",
            500,
        )
        inner = await client.post(
            "/api/v1/health-check-templates/certificate/adopt",
            json={"endpoint_url": "tls://10.0.0.1"},
        )
        assert inner.status_code == 422
        given = await client.post(
            "/api/v1/health-check-templates/openai/adopt",
            json={"endpoint_url": "https://8.8.8.8/"},
        )
        assert given.status_code == 422
        assert (
            await client.post("/api/v1/health-check-templates/nothing/adopt")
        ).status_code == 404


async def test_history_tells_figures_and_statuses(api: Running, database: Database) -> None:
    async with api.as_person("alice") as client:
        made = (await client.post("/api/v1/health-checks", json=CHECK)).json()
        with psycopg.connect(database.engine, autocommit=True) as engine:
            engine.execute("delete from apm_service_status_history")
            for hours, status in ((30, "healthy"), (3, "critical"), (2, "healthy")):
                engine.execute(
                    "insert into apm_service_status_history select organization_id, id, %s, 'why', "
                    "now() - make_interval(hours => %s) from service_health_checks",
                    (status, hours),
                )
            engine.execute(
                "insert into apm_service_tallies select organization_id, id, "
                "date_trunc('hour', now(), 'UTC') - interval '2 hours', "
                "array_fill(5::int2, array[12]), array_fill(1::int2, array[12]) "
                "from service_health_checks"
            )
        history = (await client.get(f"/api/v1/health-checks/{made['id']}/history")).json()
    windows = {one["window"]: one for one in history["windows"]}
    assert list(windows) == ["1h", "24h", "7d", "30d"]
    assert windows["1h"]["availability_percentage"] == 100
    assert windows["1h"]["looks"] == 0
    assert windows["1h"]["error_rate"] is None
    assert windows["24h"]["looks"] == 60
    assert windows["24h"]["error_rate"] == pytest.approx(0.2)
    assert windows["24h"]["availability_percentage"] == pytest.approx(100 * 23 / 24, abs=0.01)
    assert windows["7d"]["availability_percentage"] == pytest.approx(100 * 29 / 30, abs=0.01)
    assert [one["status"] for one in history["statuses"]] == ["healthy", "critical", "healthy"]
    assert history["statuses"][0]["until"] is None
    assert history["statuses"][1]["until"] == history["statuses"][0]["since"]


async def test_what_a_check_depends_on(api: Running) -> None:
    async with api.as_person("alice") as client, api.as_person("oscar") as other:
        base = (await client.post("/api/v1/health-checks", json=CHECK)).json()["id"]
        body = CHECK | {"service_name": "shop", "depends_on": [base]}
        shop = await client.post("/api/v1/health-checks", json=body)
        assert shop.json()["depends_on"] == [base]
        circle = await client.patch(
            f"/api/v1/health-checks/{base}", json={"depends_on": [shop.json()["id"]]}
        )
        assert circle.status_code == 422, circle.text
        stranger = await other.post("/api/v1/health-checks", json=body)
        unknown = await other.post(
            "/api/v1/health-checks",
            json=body | {"depends_on": ["00000000-0000-4000-8000-000000000000"]},
        )
        # Another's and nobody's are the same to him.
        assert stranger.status_code == unknown.status_code == 422
        assert stranger.json() == unknown.json()
