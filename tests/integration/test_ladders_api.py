"""Ladders through the API: people and conditions, who would be called, what weddings find open."""

from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from tests.support.postgres import Database
from tests.support.serving import Running, populate, running, settings_for

PATH = "/api/v1/escalation-policies"
NOON = "2031-05-07T12:00:00Z"


@pytest.fixture
async def api(database: Database, tmp_path: Path) -> AsyncIterator[Running]:
    async with running(settings_for(database, tmp_path), populate(database)) as process:
        yield process


def add_contact(database: Database, api: Running, name: str, *, is_verified: bool = True) -> str:
    with psycopg.connect(database.engine, autocommit=True) as engine:
        row = engine.execute(
            "insert into apm_contact_methods (organization_id, user_id, name, channel, address, "
            "verified_at) values (%s, %s, %s, 'email', %s, case when %s then now() end) "
            "returning id",
            (
                api.world.here,
                api.world.people[name],
                name.title(),
                f"{name}@hart.example",
                is_verified,
            ),
        ).fetchone()
    assert row is not None
    return str(row[0])


def ladder(*steps: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"name": "Saturdays", "is_default": True, "steps": list(steps)} | more


async def test_a_step_keeps_people_and_the_times_at_which_it_counts(
    api: Running, database: Database
) -> None:
    contact = add_contact(database, api, "bob")
    alice_id = str(api.world.people["alice"])
    step = {
        "delay_seconds": 300.0,
        "wedding_delay_seconds": 45.0,
        "level": "manager",
        "contact_method_ids": [contact],
        "schedule_ids": [],
        "user_ids": [alice_id],
        "weddings": "only",
        "severity_min": "critical",
        "hours": {
            "from_time": "22:00",
            "until_time": "06:00",
            "weekdays": [5, 6],
            "zone": "person",
        },
    }
    plain = {"delay_seconds": 60.0, "user_ids": [alice_id, alice_id]}
    async with api.as_person("alice") as alice:
        answer = await alice.post(PATH, json=ladder(step, plain, repeat_count=2))
        assert answer.status_code == 201, answer.text
        made = answer.json()
        assert made["steps"][0] == step
        assert made["steps"][1] == {
            "delay_seconds": 60.0,
            "wedding_delay_seconds": None,
            "level": "none",
            "contact_method_ids": [],
            "schedule_ids": [],
            "user_ids": [alice_id],
            "weddings": "any",
            "severity_min": None,
            "hours": None,
        }
        url = f"{PATH}/{made['id']}"
        assert (await alice.get(url)).json() == made
        changed = await alice.patch(url, json={"steps": [plain]})
        assert changed.status_code == 200, changed.text
        assert len(changed.json()["steps"]) == 1
        assert changed.json()["repeat_count"] == 2
        log = (await alice.get("/api/v1/audit-log")).json()["items"]
        kinds = {one["object_type"] for one in log}
        assert {"apm_escalation_policies", "apm_escalation_steps"} <= kinds
        assert (await alice.delete(url)).status_code == 204


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"weddings": "perhaps"}, "steps[0].weddings"),
        ({"severity_min": "bad"}, "steps[0].severity_min"),
        ({"hours": {"from_time": "9", "until_time": "10:00"}}, "steps[0].hours.from_time"),
        (
            {"hours": {"from_time": "09:00", "until_time": "10:00", "weekdays": []}},
            "steps[0].hours.weekdays",
        ),
        (
            {"hours": {"from_time": "09:00", "until_time": "10:00", "zone": "Mars"}},
            "steps[0].hours.zone",
        ),
        ({"delay_seconds": 86_401}, "steps[0].delay_seconds"),
        ({"user_ids": ["bob"]}, "steps[0].user_ids[0]"),
    ],
)
async def test_what_is_no_step(api: Running, change: dict[str, Any], field: str) -> None:
    async with api.as_person("alice") as alice:
        answer = await alice.post(PATH, json=ladder({"delay_seconds": 1} | change))
        assert answer.status_code == 422, answer.text
        assert [one["field"] for one in answer.json()["errors"]] == [field]


async def test_a_stranger_is_put_on_no_ladder(api: Running) -> None:
    async with api.as_person("alice") as alice, api.as_person("oscar") as oscar:
        for stranger in (str(api.world.people["oscar"]), str(uuid4())):
            answer = await alice.post(
                PATH, json=ladder({"delay_seconds": 1, "user_ids": [stranger]})
            )
            assert answer.status_code == 422, answer.text
            assert "does not belong" in answer.json()["errors"][0]["reason"]
        made = await alice.post(PATH, json=ladder({"delay_seconds": 1}, is_default=False))
        url = f"{PATH}/{made.json()['id']}"
        assert (await oscar.get(f"{url}/preview")).status_code == 404
        assert (await oscar.get(url)).status_code == 404
        assert (await oscar.get(f"/api/v1/incidents/{uuid4()}/escalation")).status_code == 404


async def test_who_would_be_called_and_how(api: Running, database: Database) -> None:
    bob = add_contact(database, api, "bob")
    add_contact(database, api, "alice", is_verified=False)
    async with api.as_person("alice") as alice, api.as_person("vera") as vera:
        policies = (await alice.get(PATH)).json()["items"]
        for one in policies:
            await alice.patch(f"{PATH}/{one['id']}", json={"is_default": False})
        made = (
            await alice.post(
                PATH,
                json=ladder(
                    {"delay_seconds": 0, "contact_method_ids": [bob]},
                    {"delay_seconds": 600, "weddings": "only", "contact_method_ids": [bob]},
                    {"delay_seconds": 600, "user_ids": [str(api.world.people["alice"])]},
                ),
            )
        ).json()
        here = {"organization_id": str(api.world.here), "at": NOON}
        chosen = (await alice.get(f"{PATH}/preview", params=here)).json()
        named = (await alice.get(f"{PATH}/{made['id']}/preview", params={"at": NOON})).json()
        assert chosen == named
        assert chosen["policy_id"] == made["id"]
        first, second, third = chosen["steps"]
        assert (first["step"], first["due_at"], first["passed"]) == (1, NOON, None)
        assert first["receivers"] == [
            {
                "contact_method_id": bob,
                "name": "Bob",
                "channel": "email",
                "via": "contact",
                "is_verified": True,
            }
        ]
        assert second["passed"] == "it counts only while a wedding is under way"
        assert second["receivers"] == []
        assert third["due_at"] == "2031-05-07T12:20:00Z"
        vias = {one["via"] for one in third["receivers"]}
        assert vias == {"everybody"}, "nobody whom it names has a proven contact"
        assert {"Alice", "Bob"} <= {one["name"] for one in third["receivers"]}
        assert chosen["given_up_at"] == "2031-05-07T12:30:00Z"
        seen = (await vera.get(f"{PATH}/preview", params=here)).json()
        assert {one["name"] for step in seen["steps"] for one in step["receivers"]} == {None}
        for wrong in ("yesterday", "1066-10-14T12:00:00Z"):
            answer = await alice.get(f"{PATH}/preview", params=here | {"at": wrong})
            assert answer.status_code == 422, answer.text


async def test_who_is_called_for_an_incident(api: Running, database: Database) -> None:
    bob = add_contact(database, api, "bob")
    async with api.as_person("alice") as alice:
        for one in (await alice.get(PATH)).json()["items"]:
            await alice.patch(f"{PATH}/{one['id']}", json={"is_default": False})
        await alice.post(PATH, json=ladder({"delay_seconds": 3600, "contact_method_ids": [bob]}))
        made = await alice.post(
            "/api/v1/incidents",
            params={"organization_id": str(api.world.here)},
            json={"title": "Orders fail", "severity": "critical"},
        )
        assert made.status_code == 201, made.text
        url = f"/api/v1/incidents/{made.json()['id']}/escalation"
        found = (await alice.get(url)).json()
        assert [one["name"] for one in found["steps"][0]["receivers"]] == ["Bob"]
        assert found["given_up_at"] is not None
        await alice.post(f"/api/v1/incidents/{made.json()['id']}/acknowledge")
        found = (await alice.get(url)).json()
        assert (found["steps"], found["given_up_at"]) == ([], None)


async def test_each_wedding_to_come_finds_what_the_ladder_leaves_open(
    api: Running, database: Database
) -> None:
    bob = add_contact(database, api, "bob")
    day: date = (datetime.now(UTC) + timedelta(days=20)).date()
    async with api.as_person("alice") as alice, api.as_person("oscar") as oscar:
        for one in (await alice.get(PATH)).json()["items"]:
            await alice.patch(f"{PATH}/{one['id']}", json={"is_default": False})
        wedding = await alice.post(
            "/api/v1/weddings",
            params={"organization_id": str(api.world.here)},
            json={
                "wedding_date": day.isoformat(),
                "time_zone": "Europe/London",
            },
        )
        assert wedding.status_code == 201, wedding.text
        rota = (
            await alice.post(
                "/api/v1/on-call/schedules",
                json={
                    "name": "Nights",
                    "time_zone": "Europe/London",
                    "layers": [
                        {
                            "participants": [str(api.world.people["bob"])],
                            "starts_on": "2026-01-05",
                            "from_time": "18:00",
                            "until_time": "06:00",
                        }
                    ],
                },
            )
        ).json()
        people = [str(api.world.people["alice"])]
        await alice.post(
            PATH,
            json=ladder(
                {"delay_seconds": 0, "contact_method_ids": [bob]},
                {"delay_seconds": 60, "schedule_ids": [rota["id"]]},
                {"delay_seconds": 60, "user_ids": people},
                {"delay_seconds": 60, "user_ids": people, "weddings": "never"},
            ),
        )
        params = {"organization_id": str(api.world.here)}
        found = (await alice.get("/api/v1/on-call/weddings", params=params)).json()
        [one] = [w for w in found if w["wedding_id"] == wedding.json()["id"]]
        faults = {fault["step"]: fault for fault in one["ladders"]}
        assert set(faults) == {2, 3}, "the first reaches Bob, the fourth is passed at weddings"
        assert not faults[2]["is_empty"]
        assert faults[2]["gaps"], "nobody is on call by day"
        assert (faults[3]["is_empty"], faults[3]["unreachable"]) == (True, 1)
        assert (await oscar.get("/api/v1/on-call/weddings", params=params)).status_code == 404
