"""What happened, as it was told and as members read it."""

import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.support.people import connect
from tests.support.postgres import Database
from tests.support.serving import Running, populate, running, settings_for
from wedsync_apm.annotations.model import Annotation
from wedsync_apm.annotations.store import KEPT_DAYS, note_annotations
from wedsync_apm.db.pool import open_pool

PATH = "/api/v1/annotations"


@pytest.fixture
async def api(database: Database, tmp_path: Path) -> AsyncIterator[Running]:
    async with running(settings_for(database, tmp_path), populate(database)) as process:
        yield process


async def tell(api: Running, *events: dict[str, Any]) -> None:
    async with api.client({"DD-API-KEY": api.world.keys["ingest"]}) as client:
        for event in events:
            answer = await client.post("/datadog/api/v1/events", json=event)
            assert answer.status_code == 202, answer.text


async def test_a_range_is_listed_in_pages_the_latest_first(api: Running) -> None:
    now = int(time.time())
    await tell(api, *[{"title": f"{ago}", "date_happened": now - ago} for ago in (30, 10, 20, 10)])
    async with api.as_person("vera") as vera:
        everything = (await vera.get(PATH)).json()
        assert [one["title"] for one in everything["items"]] == ["10", "20", "30"]
        assert everything["next_cursor"] is None
        first = (await vera.get(PATH, params={"limit": 2})).json()
        rest = await vera.get(PATH, params={"limit": 2, "cursor": first["next_cursor"]})
        assert [one["title"] for one in first["items"] + rest.json()["items"]] == ["10", "20", "30"]
        span = {"start": str(now - 30), "end": str(now - 10)}
        assert [one["title"] for one in (await vera.get(PATH, params=span)).json()["items"]] == [
            "20",
            "30",
        ]
        assert (await vera.get(PATH, params={"start": "tomorrow"})).status_code == 422
        other = await vera.get(PATH, params={"organization_id": str(api.world.there)})
        assert other.status_code == 404


async def test_keys_that_read_may_list_and_keys_that_send_may_not(api: Running) -> None:
    await tell(api, {"title": "x"})
    async with api.as_key("read") as reader, api.as_key("ingest") as sender:
        assert len((await reader.get(PATH)).json()["items"]) == 1
        assert (await sender.get(PATH)).status_code == 403


async def test_what_is_too_old_goes_when_something_comes(api: Running, database: Database) -> None:
    now = datetime.now(UTC)
    here, there = api.world.here, api.world.there
    old = now - timedelta(days=KEPT_DAYS + 1)
    pool = await open_pool(database.login("apm_api"), name="t", min_size=1, max_size=1)
    async with pool, pool.connection() as cx:

        async def note(*annotations: Annotation) -> set[Any]:
            known: set[Any] = await note_annotations(cx, "test", annotations)
            await cx.commit()
            return known

        nobody = uuid4()
        assert await note(
            *[
                Annotation(organization_id=one, occurred_at=old, title="old")
                for one in (here, there, nobody)
            ]
        ) == {here, there}
        await note(Annotation(organization_id=here, occurred_at=now, title="new"))
    with connect(database.engine) as engine:
        rows = engine.execute("select organization_id, title from apm_annotations").fetchall()
    assert {(row["organization_id"], row["title"]) for row in rows} == {
        (here, "new"),
        (there, "old"),
    }
