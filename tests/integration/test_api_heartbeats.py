"""Heartbeats: kept by people, pinged by whoever knows the address, missed by the engine."""

import asyncio
import re
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from psycopg.rows import dict_row

from tests.support.postgres import Database
from tests.support.serving import Running, populate, running, settings_for
from wedsync_apm.db.pool import open_pool
from wedsync_apm.engine import heartbeats

NIGHTLY: dict[str, Any] = {"name": "Nightly export", "period": "1d", "grace": "1h"}


@pytest.fixture
async def api(database: Database, tmp_path: Path) -> AsyncIterator[Running]:
    async with running(settings_for(database, tmp_path), populate(database)) as process:
        yield process


async def make(api: Running, **more: Any) -> dict[str, Any]:
    async with api.as_person("alice") as alice:
        answer = await alice.post("/api/v1/heartbeats", json=NIGHTLY | more)
        assert answer.status_code == 201, answer.text
        made: dict[str, Any] = answer.json()
        return made


async def state(api: Running, made: dict[str, Any]) -> dict[str, Any]:
    async with api.as_person("bob") as bob:
        found: dict[str, Any] = (await bob.get(f"/api/v1/heartbeats/{made['id']}")).json()
        return found


async def incidents(api: Running) -> list[tuple[str, str]]:
    async with api.as_person("bob") as bob:
        found = (await bob.get("/api/v1/incidents")).json()["items"]
        return [(one["title"], one["status"]) for one in found]


def run(database: Database, statement: str, *values: Any) -> list[dict[str, Any]]:
    with psycopg.connect(database.engine, autocommit=True, row_factory=dict_row) as engine:
        cursor = engine.execute(statement.encode(), values)
        return cursor.fetchall() if cursor.description else []


async def engine_run(database: Database, *ahead: timedelta) -> list[str]:
    """The job, at each of the times after now."""
    pool = await open_pool(database.engine, name="engine", min_size=1, max_size=2)
    async with pool:
        said = []
        for one in ahead:
            async with pool.connection() as cx, cx.transaction():
                row = await (await cx.execute("select now() as at")).fetchone()
                assert row is not None
                said.append(await heartbeats.run_once(cx, row["at"] + one))
        return said


async def test_the_address_is_shown_once_and_only_its_hash_is_kept(
    api: Running, database: Database
) -> None:
    made = await make(api)
    assert re.fullmatch(r"hb_[A-Za-z0-9_-]{43}", made["token"])
    assert made["url"].endswith(f"/api/v1/heartbeats/{made['token']}")
    assert made["state"] == "new"
    assert "token" not in await state(api, made)
    with psycopg.connect(database.owner) as owner:
        for table in ("apm_heartbeats", "apm_private.heartbeat_tokens", "apm_audit_log"):
            rows = owner.execute(f"select to_jsonb(t)::text from {table} as t").fetchall()
            assert rows
            assert not any(made["token"] in row[0] for row in rows)


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
async def test_a_ping_needs_no_sign_in_and_sets_the_timer(
    api: Running, database: Database, method: str
) -> None:
    made = await make(api)
    async with api.client() as anybody:
        answer = await anybody.request(method, f"/api/v1/heartbeats/{made['token']}")
        assert (answer.status_code, answer.text) == (200, "" if method == "HEAD" else "up\n")
    found = await state(api, made)
    assert (found["state"], found["heard_count"], found["last_signal"]) == ("up", 1, "success")
    heard = datetime.fromisoformat(found["last_heard_at"])
    assert datetime.fromisoformat(found["due_at"]) - heard == timedelta(days=1)
    assert datetime.fromisoformat(found["alarm_at"]) - heard == timedelta(days=1, hours=1)
    (row,) = run(database, "select now() - last_heard_at as age from apm_heartbeats")
    assert timedelta() <= row["age"] < timedelta(minutes=1), "by the database's clock"


async def test_what_is_missed_is_an_incident_that_ends_with_the_next_ping(
    api: Running, database: Database
) -> None:
    made = await make(api)
    assert await engine_run(database, timedelta(days=400)) == [""], "a new one misses nothing"
    url = f"/api/v1/heartbeats/{made['token']}"
    async with api.client() as job:
        await job.post(url)
        late = timedelta(days=1, minutes=30)
        assert await engine_run(database, late) == [""], "within its grace"
        missed = timedelta(days=1, hours=1, minutes=1)
        assert await engine_run(database, missed, missed) == ["1 missed", ""]
        assert await incidents(api) == [("Nightly export has not been heard of", "open")]
        assert (await state(api, made))["state"] == "down"
        (row,) = run(
            database,
            "select i.labels, i.severity::text, r.state from apm_incidents as i "
            "join apm_escalation_runs as r on r.incident_id = i.id",
        )
        assert row == {
            "labels": {"service": "heartbeat", "tag.heartbeat": "Nightly export"},
            "severity": "critical",
            "state": "running",
        }
        assert (await job.post(url + "/start")).text == "started\n"
        assert (await state(api, made))["state"] == "down", "it has only begun"
        assert (await job.post(url)).text == "up\n"
        assert await incidents(api) == [("Nightly export has not been heard of", "resolved")]


async def test_a_failure_is_an_incident_at_once(api: Running) -> None:
    made = await make(api)
    url = f"/api/v1/heartbeats/{made['token']}"
    async with api.client() as job:
        assert (await job.post(url + "/fail")).text == "down\n"
        assert await incidents(api) == [("Nightly export reported a failure", "open")]
        assert (await job.post(url + "/0")).text == "up\n"
        assert (await job.post(url + "/3")).text == "down\n"
        # Soon after, it is the same incident again.
        assert await incidents(api) == [("Nightly export reported a failure", "open")]


async def test_a_run_that_begins_and_does_not_end_is_missed(
    api: Running, database: Database
) -> None:
    made = await make(api)
    url = f"/api/v1/heartbeats/{made['token']}"
    async with api.client() as job:
        await job.post(url)
        await job.post(url + "/start")
    assert (await state(api, made))["state"] == "started"
    assert await engine_run(database, timedelta(minutes=61)) == ["1 missed"]
    assert await incidents(api) == [("Nightly export began and has not ended", "open")]


async def test_a_pause_of_the_engine_gives_a_minute_more(api: Running, database: Database) -> None:
    made = await make(api, period="1m", grace="1s")
    async with api.client() as job:
        await job.post(f"/api/v1/heartbeats/{made['token']}")
    run(
        database,
        "insert into apm_private.job_runs (job, started_at, finished_at, outcome) "
        "values ('heartbeats', now(), now(), 'ok')",
    )
    assert await engine_run(database, timedelta(minutes=10)) == [""]
    run(database, "update apm_private.job_runs set finished_at = now() + interval '10 minutes'")
    assert await engine_run(database, timedelta(minutes=10, seconds=20)) == [""]
    run(database, "update apm_private.job_runs set finished_at = now() + interval '11 minutes'")
    assert await engine_run(database, timedelta(minutes=11, seconds=1)) == ["1 missed"]


async def test_a_pause_and_another_rhythm_begin_anew(api: Running, database: Database) -> None:
    made = await make(api)
    url = f"/api/v1/heartbeats/{made['token']}"
    async with api.client() as job, api.as_person("alice") as alice:
        await job.post(url + "/fail")
        paused = await alice.patch(f"/api/v1/heartbeats/{made['id']}", json={"is_active": False})
        assert paused.status_code == 200, paused.text
        assert (await state(api, made))["state"] == "paused"
        assert (await incidents(api))[0][1] == "resolved"
        assert (await job.post(url)).text == "paused\n"
        cron = {"is_active": True, "period": None, "cron": "0 2 * * *", "time_zone": "Europe/Paris"}
        changed = await alice.patch(f"/api/v1/heartbeats/{made['id']}", json=cron)
        assert changed.status_code == 200, changed.text
        assert changed.json()["state"] == "new"
        assert await engine_run(database, timedelta(days=400)) == [""]
        await job.post(url)
        due = datetime.fromisoformat((await state(api, made))["due_at"])
        (row,) = run(
            database, "select (%s::timestamptz at time zone 'Europe/Paris')::time::text", due
        )
        assert list(row.values()) == ["02:00:00"]


async def test_no_other_address_is_taken(api: Running) -> None:
    made = await make(api)
    async with api.client() as anybody:
        for path, method, status in (
            ("hb_" + "x" * 43, "POST", 404),
            ("hb_short", "POST", 405),
            (made["token"] + "x", "POST", 405),
            (made["token"] + "/restart", "POST", 404),
            (made["token"] + "/1000", "POST", 404),
            (made["token"], "DELETE", 405),
            (made["token"], "PUT", 405),
            (made["id"], "GET", 401),
        ):
            answer = await anybody.request(method, f"/api/v1/heartbeats/{path}")
            assert answer.status_code in (status, 404, 401), (path, method, answer.text)
            assert answer.status_code != 200
    assert (await state(api, made))["heard_count"] == 0


async def test_a_new_address_puts_an_end_to_the_old(api: Running) -> None:
    made = await make(api)
    async with api.as_person("alice") as alice, api.as_person("bob") as bob:
        path = f"/api/v1/heartbeats/{made['id']}/token"
        assert (await bob.post(path)).status_code == 403
        renewed = (await alice.post(path)).json()
    async with api.client() as anybody:
        old = await anybody.post(f"/api/v1/heartbeats/{made['token']}")
        new = await anybody.post(f"/api/v1/heartbeats/{renewed['token']}")
        assert (old.status_code, new.status_code) == (404, 200)


async def test_members_look_and_only_admins_change(api: Running) -> None:
    made = await make(api)
    url = f"/api/v1/heartbeats/{made['id']}"
    async with api.as_person("bob") as bob, api.as_person("oscar") as oscar:
        assert (await bob.get("/api/v1/heartbeats")).json()["items"][0]["id"] == made["id"]
        assert (await bob.post("/api/v1/heartbeats", json=NIGHTLY)).status_code == 403
        assert (await bob.patch(url, json={"name": "Mine"})).status_code == 403
        assert (await bob.delete(url)).status_code == 403
        assert (await oscar.get(url)).status_code == 404
        assert (await oscar.get("/api/v1/heartbeats")).json()["items"] == []
    async with api.as_person("alice") as alice:
        assert (await alice.delete(url)).status_code == 204
    async with api.client() as anybody:
        assert (await anybody.get(f"/api/v1/heartbeats/{made['token']}")).status_code == 404


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"name": "x"}, "period"),
        ({"name": "x", "period": "1d", "cron": "0 0 * * *", "time_zone": "UTC"}, "period"),
        ({"name": "x", "cron": "0 0 * * *"}, "time_zone"),
        ({"name": "x", "cron": "0 0 31 2 *", "time_zone": "UTC"}, "cron"),
        ({"name": "x", "cron": "0 0 * * *", "time_zone": "Mars/Olympus"}, "time_zone"),
        ({"name": "x", "period": "1d", "time_zone": "UTC"}, "time_zone"),
        ({"name": "x", "period": "1s"}, "period"),
        ({"name": "x", "period": "1d", "grace": "0s"}, "grace"),
    ],
)
async def test_what_is_no_rhythm_is_refused(api: Running, body: dict[str, Any], field: str) -> None:
    async with api.as_person("alice") as alice:
        answer = await alice.post("/api/v1/heartbeats", json=body)
        assert answer.status_code == 422, answer.text
        assert [one["field"] for one in answer.json()["errors"]] == [field]


async def test_pings_and_the_engine_at_once_leave_one_incident_or_none(
    api: Running, database: Database
) -> None:
    made = await make(api, period="10s", grace="1s")
    url = f"/api/v1/heartbeats/{made['token']}"
    async with api.client() as job:
        await job.post(url)

        async def ping() -> httpx.Response:
            return await job.post(url)

        for _ in range(3):
            await asyncio.gather(
                ping(), engine_run(database, timedelta(seconds=20)), ping(), job.post(url + "/fail")
            )
        await job.post(url)
    found = run(database, "select status::text from apm_incidents")
    assert {row["status"] for row in found} == {"resolved"}
    assert len(found) == 1
    (row,) = run(database, "select state, alarm_at > now() as is_set from apm_heartbeats")
    assert row == {"state": "up", "is_set": True}
