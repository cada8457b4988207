"""Quiet hours through the API."""

from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest

from tests.support.postgres import Database
from tests.support.serving import Running, populate, running, settings_for

HOURS: dict[str, Any] = {"start": "22:00", "end": "07:00", "time_zone": "Europe/London"}


@pytest.fixture
async def api(database: Database, tmp_path: Path) -> AsyncIterator[Running]:
    async with running(settings_for(database, tmp_path), populate(database)) as process:
        yield process


async def contact(api: Running, owner: str | None = None) -> str:
    """A contact of the business; `owner`: somebody's own."""
    body: dict[str, Any] = {"name": "Phone", "channel": "email", "address": "p@fern.example"}
    if owner is not None:
        body["user_id"] = str(api.world.people[owner])
    async with api.as_person("alice") as alice:
        answer = await alice.post("/api/v1/contact-methods", json=body)
    assert answer.status_code == 201, answer.text
    return f"/api/v1/contact-methods/{UUID(answer.json()['id'])}/quiet-hours"


async def test_from_none_to_some_and_back(api: Running) -> None:
    url = await contact(api)
    async with api.as_person("alice") as alice, api.as_person("bob") as bob:
        empty = (await bob.get(url)).json()
        assert (empty["quiet_hours"], empty["next_spans"]) == (None, [])
        put = await alice.put(url, json=HOURS)
        assert put.status_code == 200, put.text
        made = put.json()
        assert made["quiet_hours"] == {**HOURS, "weekdays": [1, 2, 3, 4, 5, 6, 7]}
        assert len(made["next_spans"]) == 3
        span = made["next_spans"][1]
        starts, ends = (datetime.fromisoformat(span[name]) for name in ("starts_at", "ends_at"))
        assert starts < ends
        assert (await bob.get(url)).json() == made
        again = await alice.put(url, json={**HOURS, "end": "06:30", "weekdays": [5, 1, 5]})
        assert again.json()["quiet_hours"]["weekdays"] == [1, 5]
        assert (await alice.delete(url)).status_code == 204
        assert (await alice.delete(url)).status_code == 204
        assert (await bob.get(url)).json()["quiet_hours"] is None
        log = (await alice.get("/api/v1/audit-log")).json()["items"]
        written = [one for one in log if one["object_type"] == "apm_quiet_hours"]
        assert [(one["action"], one["actor"]) for one in written] == [
            ("delete", "Alice"),
            ("update", "Alice"),
            ("insert", "Alice"),
        ]


async def test_each_his_own_and_admins_all(api: Running) -> None:
    own, business = await contact(api, "bob"), await contact(api)
    async with api.as_person("bob") as bob, api.as_person("vera") as vera:
        assert (await bob.put(own, json=HOURS)).status_code == 200
        assert (await bob.put(business, json=HOURS)).status_code == 403
        assert (await bob.delete(business)).status_code == 403
        # Viewers see no contacts, so that there is none to them.
        assert (await vera.get(own)).status_code == 404
        assert (await vera.put(own, json=HOURS)).status_code == 404
    async with api.as_person("alice") as alice:
        assert (await alice.put(own, json=HOURS)).status_code == 200


async def test_another_tenant_finds_nothing(api: Running, database: Database) -> None:
    url = await contact(api)
    async with api.as_person("oscar") as oscar:
        for answer in (await oscar.get(url), await oscar.put(url, json=HOURS)):
            assert answer.status_code == 404
        assert (await oscar.delete(url)).status_code == 404
    with psycopg.connect(database.engine) as engine:
        assert engine.execute("select count(*) from apm_quiet_hours").fetchone() == (0,)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"start": "24:00"}, "start"),
        ({"end": "7:00"}, "end"),
        ({"end": "22:00"}, "end"),
        ({"time_zone": "Mars/Olympus"}, "time_zone"),
        ({"weekdays": []}, "weekdays"),
        ({"weekdays": [0]}, "weekdays.0"),
        ({"until": "07:00"}, "until"),
    ],
)
async def test_what_cannot_be_is_refused_by_name(
    api: Running, change: dict[str, Any], field: str
) -> None:
    url = await contact(api)
    async with api.as_person("alice") as alice:
        answer = await alice.put(url, json=HOURS | change)
        assert answer.status_code == 422, answer.text
        assert field.split(".", maxsplit=1)[0] in answer.text
        assert (await alice.get(url)).json()["quiet_hours"] is None
