import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from tests.support.postgres import Database
from tests.support.serving import Running, populate, running, settings_for
from wedsync_apm.api import live


@pytest.fixture
async def api(database: Database, tmp_path: Path) -> AsyncIterator[Running]:
    async with running(settings_for(database, tmp_path), populate(database)) as process:
        yield process


class Events:
    """The events of one stream, as they come."""

    def __init__(self, answer: httpx.Response) -> None:
        self._lines = answer.aiter_lines()

    async def next(self) -> tuple[str, dict[str, Any], str]:
        """Name, data and id of the next one."""
        found: dict[str, str] = {}
        async with asyncio.timeout(10):
            async for line in self._lines:
                name, _, value = line.partition(": ")
                if not line:
                    if "event" in found:
                        return found["event"], json.loads(found["data"]), found["id"]
                    found = {}
                else:
                    found[name] = value
        raise StopAsyncIteration


@asynccontextmanager
async def following(
    client: httpx.AsyncClient, headers: dict[str, str] | None = None, **query: str
) -> AsyncIterator[Events]:
    async with client.stream("GET", "/api/v1/events", params=query, headers=headers) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        yield Events(answer)


async def listening(database: Database) -> None:
    """Waits until the process listens; it does so beside its start."""
    async with await psycopg.AsyncConnection.connect(database.owner, autocommit=True) as owner:
        async with asyncio.timeout(10):
            while True:
                found = await owner.execute(
                    "select from pg_stat_activity where query = 'listen \"apm_live\"' "
                    "and datname = current_database()"
                )
                if found.rowcount:
                    return
                await asyncio.sleep(0.02)


async def test_an_incident_is_heard_by_those_whose_it_is(api: Running, database: Database) -> None:
    await listening(database)
    async with (
        api.as_person("bob") as bob,
        api.as_person("oscar") as oscar,
        api.client({"cookie": f"wedsync_session={api.token('vera')}"}) as vera,
        following(vera, topics="incidents") as heard_by_cookie,
        following(oscar) as heard_there,
        following(bob, topics="incidents") as heard,
    ):
        assert (await heard.next())[0] == "hello"
        assert (await heard_there.next())[0] == "hello"
        await heard_by_cookie.next()
        made = (await bob.post("/api/v1/incidents", json={"title": "Slow"})).json()
        for events in (heard, heard_by_cookie):
            name, data, _ = await events.next()
            assert name == "incidents"
            assert data == {
                "topic": "incidents",
                "id": made["id"],
                "action": "insert",
                "organization_id": str(api.world.here),
            }
        await bob.post(f"/api/v1/incidents/{made['id']}/acknowledge")
        name, data, place = await heard.next()
        assert (name, data["action"]) == ("incidents", "update")
        theirs = (await oscar.post("/api/v1/incidents", json={"title": "Theirs"})).json()
        name, data, _ = await heard_there.next()
        assert data["id"] == theirs["id"]
        async with following(bob, {"last-event-id": place}, topics="incidents") as again:
            third = (await bob.post("/api/v1/incidents", json={"title": "Third"})).json()
            assert (await again.next())[1]["id"] == third["id"]


async def test_samples_are_announced(api: Running, database: Database) -> None:
    await listening(database)
    async with (
        api.as_key("admin") as script,
        following(script, topics="metrics") as heard,
    ):
        await heard.next()
        sample = {"service_name": "form", "metric_name": "time", "value": 1}
        await script.post("/api/v1/metrics", json={"samples": [sample]})
        name, data, _ = await heard.next()
    assert (name, data["organization_id"]) == ("metrics", str(api.world.here))


async def test_a_revoked_key_is_cut_off(
    api: Running, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "RECHECK_SECONDS", 0.2)
    async with api.as_key("read") as script, api.as_person("alice") as alice:
        async with following(script) as heard:
            await heard.next()
            keys = (await alice.get("/api/v1/api-keys")).json()["items"]
            key = next(one for one in keys if one["name"] == "read key")
            assert (await alice.delete(f"/api/v1/api-keys/{key['id']}")).status_code == 204
            name = ""
            while name != "bye":
                name, _, _ = await heard.next()
        assert (await script.get("/api/v1/events")).status_code == 401


async def test_a_cut_listener_makes_everybody_read_anew(api: Running, database: Database) -> None:
    await listening(database)
    async with api.as_person("bob") as bob:
        async with following(bob) as heard:
            _, _, place = await heard.next()
            with psycopg.connect(database.owner, autocommit=True) as owner:
                owner.execute(
                    "select pg_terminate_backend(pid) from pg_stat_activity "
                    "where query = 'listen \"apm_live\"' and datname = current_database()"
                )
            assert (await heard.next())[0] == "bye"
        async with following(bob, {"last-event-id": place}) as again:
            assert (await again.next())[0] == "resync"


async def test_streams_leave_nothing_behind(api: Running) -> None:
    async with api.as_person("bob") as bob:
        for _ in range(3):
            async with following(bob) as heard:
                await heard.next()
    async with asyncio.timeout(10):
        while live.CLIENTS.value():
            await asyncio.sleep(0.05)
