"""On-call schedules: through the API, and as ladders ask them when a step is due."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from tests.support.engine import AT, MINUTE, EngineWorld, open_engine_world
from tests.support.postgres import Database
from tests.support.serving import Running, populate, running, settings_for

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
BASE = "/api/v1/on-call"


@pytest.fixture
async def api(database: Database, tmp_path: Path) -> AsyncIterator[Running]:
    async with running(settings_for(database, tmp_path), populate(database)) as process:
        yield process


@pytest.fixture
async def world(database: Database) -> AsyncIterator[EngineWorld]:
    async with open_engine_world(database) as opened:
        yield opened


def schedule_body(api: Running, *names: str, **more: Any) -> dict[str, Any]:
    return {
        "name": "Rota",
        "time_zone": "Europe/London",
        "layers": [
            {
                "participants": [str(api.world.people[name]) for name in names],
                "starts_on": "2026-01-05",
                "handover_time": "09:00",
                "shift_days": 1,
            }
            | more
        ],
    }


def add_contact(database: Database, api: Running, name: str) -> None:
    with psycopg.connect(database.engine, autocommit=True) as engine:
        engine.execute(
            "insert into apm_contact_methods (organization_id, user_id, name, channel, address, "
            "verified_at) values (%s, %s, %s, 'email', %s, now())",
            (api.world.here, api.world.people[name], name.title(), f"{name}@hart.example"),
        )


async def test_a_schedule_from_its_making_to_its_end(api: Running, database: Database) -> None:
    add_contact(database, api, "bob")
    at = "2026-03-29T12:00:00+01:00"
    async with api.as_person("alice") as alice, api.as_person("vera") as vera:
        made = (
            await alice.post(f"{BASE}/schedules", json=schedule_body(api, "bob", "alice"))
        ).json()
        url = f"{BASE}/schedules/{made['id']}"
        assert (await vera.get(url)).json() == made
        assert made["layers"][0]["weekdays"] == [1, 2, 3, 4, 5, 6, 7]

        [now] = (await alice.get(BASE, params={"at": at})).json()["schedules"]
        [on_call] = now["on_call"]
        # 83 hand-overs after the first one: the second of two
        assert (on_call["user_id"], on_call["name"]) == (str(api.world.people["alice"]), "Alice")
        assert (on_call["contacts"], on_call["verified"], on_call["source"]) == (0, 0, "rotation")
        assert now["until"] == "2026-03-30T08:00:00Z"
        assert [one["name"] for one in now["next"]] == ["Bob"]
        [seen] = (await vera.get(BASE, params={"at": at})).json()["schedules"]
        assert [one["name"] for one in seen["on_call"]] == [None]

        span = {"start": "2026-03-28T09:00:00Z", "end": "2026-03-30T08:00:00Z"}
        coverage = (await alice.get(f"{url}/coverage", params=span)).json()
        hours = [
            datetime.fromisoformat(one["ends_at"]) - datetime.fromisoformat(one["starts_at"])
            for one in coverage["shifts"]
        ]
        assert hours == [23 * HOUR, 24 * HOUR], "the night in which the clocks go forward"
        assert [(one["fault"], one["user_id"]) for one in coverage["warnings"]] == [
            ("one_contact", str(api.world.people["bob"])),
            ("no_verified_contact", str(api.world.people["alice"])),
        ]

        changed = await alice.patch(
            url,
            json={"layers": [made["layers"][0] | {"from_time": "08:00", "until_time": "20:00"}]},
        )
        assert changed.status_code == 200, changed.text
        assert changed.json()["name"] == "Rota"
        gaps = [
            (one["starts_at"], one["ends_at"])
            for one in (await alice.get(f"{url}/coverage", params=span)).json()["warnings"]
            if one["fault"] == "nobody"
        ]
        assert gaps == [
            ("2026-03-28T20:00:00Z", "2026-03-29T07:00:00Z"),
            ("2026-03-29T19:00:00Z", "2026-03-30T07:00:00Z"),
        ]
        assert (await alice.delete(url)).status_code == 204
        assert (await alice.get(url)).status_code == 404
        log = (await alice.get("/api/v1/audit-log")).json()["items"]
        kept = [one["action"] for one in log if one["object_type"] == "apm_on_call_schedules"]
        assert kept == ["delete", "insert"]


async def test_a_swap_an_illness_and_a_festival(api: Running) -> None:
    async with api.as_person("alice") as alice, api.as_person("bob") as bob:
        made = (await alice.post(f"{BASE}/schedules", json=schedule_body(api, "alice"))).json()
        swap = {
            "schedule_id": made["id"],
            "user_id": str(api.world.people["bob"]),
            "starts_at": "2026-06-06T10:00:00Z",
            "ends_at": "2026-06-06T12:00:00Z",
            "reason": "A dentist",
        }
        answer = await bob.post(f"{BASE}/overrides", json=swap)
        assert answer.status_code == 201, answer.text
        override = answer.json()
        assert override["created_by"] == str(api.world.people["bob"])
        again = await bob.post(f"{BASE}/overrides", json=swap | {"ends_at": "2026-06-06T11:00:00Z"})
        assert again.status_code == 409
        assert "override in this time" in again.json()["detail"]

        festival = {
            "schedule_id": made["id"],
            "starts_at": "2026-06-06T08:00:00Z",
            "ends_at": "2026-06-06T20:00:00Z",
            "shifts": [
                {
                    "user_id": str(api.world.people["carol"]),
                    "starts_at": "2026-06-06T08:00:00Z",
                    "ends_at": "2026-06-06T14:00:00Z",
                }
            ],
        }
        assert (await bob.post(f"{BASE}/temporary-schedules", json=festival)).status_code == 403
        answer = await alice.post(f"{BASE}/temporary-schedules", json=festival)
        assert answer.status_code == 201, answer.text
        kept = answer.json()
        assert (await bob.get(f"{BASE}/temporary-schedules/{kept['id']}")).json() == kept
        span = {"start": "2026-06-06T06:00:00Z", "end": "2026-06-06T22:00:00Z"}
        url = f"{BASE}/schedules/{made['id']}/coverage"
        shifts = (await bob.get(url, params=span)).json()["shifts"]
        assert [(one["starts_at"][11:13], one["name"], one["source"]) for one in shifts] == [
            ("06", "Alice", "rotation"),
            ("08", "Carol", "temporary"),
            ("10", "Bob", "override"),
            ("12", "Carol", "temporary"),
            ("20", "Alice", "rotation"),
        ]
        outside = festival | {"starts_at": "2026-06-06T09:00:00Z"}
        refused = await alice.patch(f"{BASE}/temporary-schedules/{kept['id']}", json=outside)
        assert refused.status_code == 422
        assert refused.json()["errors"][0]["field"] == "shifts"
        assert (await bob.delete(f"{BASE}/overrides/{override['id']}")).status_code == 204


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"time_zone": "Mars"}, "time_zone"),
        ({"time_zone": "europe/london"}, "time_zone"),
        ({"time_zone": "../../etc/passwd"}, "time_zone"),
        ({"name": ""}, "name"),
        ({"name": "\x00"}, "name"),
        ({"layers": [{"participants": [], "starts_on": "2026-01-01"}]}, "layers[0].participants"),
    ],
)
async def test_what_is_no_schedule(api: Running, change: dict[str, Any], field: str) -> None:
    async with api.as_person("alice") as alice:
        answer = await alice.post(f"{BASE}/schedules", json=schedule_body(api, "alice") | change)
        assert answer.status_code == 422, answer.text
        assert [one["field"] for one in answer.json()["errors"]] == [field]


@pytest.mark.parametrize(
    "change",
    [
        {"shift_days": 0},
        {"shift_days": 367},
        {"weekdays": [0]},
        {"weekdays": []},
        {"handover_time": "24:00"},
        {"starts_on": "1999-12-31"},
        {"starts_on": "9999-12-31"},
        {"from_time": "8"},
    ],
)
async def test_what_is_no_rotation(api: Running, change: dict[str, Any]) -> None:
    async with api.as_person("alice") as alice:
        answer = await alice.post(f"{BASE}/schedules", json=schedule_body(api, "alice", **change))
        assert answer.status_code == 422, answer.text


async def test_only_who_may_and_nothing_of_others(api: Running) -> None:
    async with (
        api.as_person("alice") as alice,
        api.as_person("bob") as bob,
        api.as_person("vera") as vera,
        api.as_person("oscar") as oscar,
        api.as_key("read") as key,
    ):
        body = schedule_body(api, "bob")
        for client in (bob, vera, key):
            assert (await client.post(f"{BASE}/schedules", json=body)).status_code == 403
        made = (await alice.post(f"{BASE}/schedules", json=body)).json()
        url = f"{BASE}/schedules/{made['id']}"
        here = {"organization_id": str(api.world.here)}
        for path in (url, f"{url}/coverage"):
            assert (await oscar.get(path)).status_code == 404
        for path in (BASE, f"{BASE}/weddings", f"{BASE}/schedules"):
            assert (await oscar.get(path, params=here)).status_code == 404
        assert (await oscar.get(BASE)).json()["schedules"] == []
        assert (await oscar.patch(url, json={"name": "Mine"})).status_code == 404
        assert (await oscar.delete(url)).status_code == 404
        assert (await bob.patch(url, json={"name": "Mine"})).status_code == 403
        swap = {
            "schedule_id": made["id"],
            "user_id": str(api.world.people["bob"]),
            "starts_at": "2026-06-06T10:00:00Z",
            "ends_at": "2026-06-06T12:00:00Z",
        }
        assert (await vera.post(f"{BASE}/overrides", json=swap)).status_code == 403
        theirs = swap | {"user_id": str(api.world.people["oscar"])}
        assert (await oscar.post(f"{BASE}/overrides", json=theirs)).status_code == 422
        refused = await alice.post(f"{BASE}/overrides", json=theirs)
        assert refused.status_code == 422
        assert "does not belong" in refused.json()["errors"][0]["reason"]
        outsider = schedule_body(api, "bob", "oscar") | {"name": "Other"}
        refused = await alice.post(f"{BASE}/schedules", json=outsider)
        assert refused.json()["errors"][0]["field"] == "participants"
        names = [one["name"] for one in (await alice.get(f"{BASE}/schedules")).json()["items"]]
        assert names == ["Rota"], "nothing of the refused one is left"
        for span in (
            {"start": "2026-01-01T00:00:00Z", "end": "2026-05-01T00:00:00Z"},
            {"start": "2026-01-02T00:00:00Z", "end": "2026-01-01T00:00:00Z"},
        ):
            refused = await alice.get(f"{url}/coverage", params=span)
            assert refused.json()["errors"][0]["field"] == "end", refused.text


async def test_a_preview_keeps_nothing(api: Running) -> None:
    body = schedule_body(api, "bob", "alice") | {
        "start": "2026-10-24T08:00:00Z",
        "end": "2026-10-26T09:00:00Z",
    }
    del body["name"]
    async with api.as_person("vera") as vera:
        preview = (await vera.post(f"{BASE}/preview", json=body)).json()
        assert [one["starts_at"] for one in preview["shifts"]] == [
            "2026-10-24T08:00:00Z",
            "2026-10-25T09:00:00Z",
        ]
        assert preview["gaps"] == []
        body["layers"][0]["starts_on"] = "2026-10-25"
        preview = (await vera.post(f"{BASE}/preview", json=body)).json()
        assert [(one["starts_at"], one["ends_at"]) for one in preview["gaps"]] == [
            ("2026-10-24T08:00:00Z", "2026-10-25T09:00:00Z")
        ]
        refused = await vera.post(f"{BASE}/preview", json=body | {"end": "2027-10-26T09:00:00Z"})
        assert refused.status_code == 422
        assert (await vera.get(f"{BASE}/schedules")).json()["items"] == []


async def test_a_ladder_names_a_schedule_and_a_wedding_shows_what_it_leaves_open(
    api: Running, database: Database
) -> None:
    for _ in range(2):
        add_contact(database, api, "bob")
    day = (datetime.now(UTC) + 2 * DAY).date()
    with psycopg.connect(database.engine, autocommit=True) as engine:
        [wedding] = engine.execute(
            "insert into apm_weddings (organization_id, couple_initials, wedding_date, time_zone) "
            "values (%s, 'A & R', %s, 'Europe/London') returning id",
            (api.world.here, day),
        ).fetchall()[0]
    async with api.as_person("alice") as alice, api.as_person("bob") as bob:
        # until eleven at night; the wedding goes on until two
        hours = {"from_time": "08:00", "until_time": "23:00"}
        made = (
            await alice.post(f"{BASE}/schedules", json=schedule_body(api, "bob", **hours))
        ).json()
        policy = {
            "name": "Ladder",
            "is_default": True,
            "steps": [{"delay_seconds": 0, "schedule_ids": [made["id"]]}],
        }
        answer = await alice.post("/api/v1/escalation-policies", json=policy)
        assert answer.status_code == 201, answer.text
        assert answer.json()["steps"][0]["schedule_ids"] == [made["id"]]

        [cover] = (await bob.get(f"{BASE}/weddings")).json()
        assert cover["wedding_id"] == str(wedding)
        [open_] = cover["schedules"]
        assert (open_["is_used"], open_["people"], open_["unreachable"], open_["thin"]) == (
            True,
            1,
            0,
            0,
        )
        [gap] = open_["gaps"]
        length = datetime.fromisoformat(gap["ends_at"]) - datetime.fromisoformat(gap["starts_at"])
        assert length == 3 * HOUR
        assert gap["ends_at"] == cover["ends_at"]

        async def line() -> tuple[str, str]:
            params = {"wedding": str(wedding), "now": "true"}
            answer = await bob.get("/api/v1/readiness", params=params)
            [found] = [one for one in answer.json()["lines"] if one["key"] == "on_call"]
            return found["outcome"], found["reason"]

        assert await line() == ("fail", "Nobody is on call for 3 hours of the wedding.")
        url = f"{BASE}/schedules/{made['id']}"
        layer = made["layers"][0] | {"from_time": "00:00", "until_time": "00:00"}
        assert (await alice.patch(url, json={"layers": [layer]})).status_code == 200
        assert await line() == ("pass", "Somebody is on call in every minute of the wedding.")
        raised = (await bob.post("/api/v1/incidents", json={"title": "No power"})).json()
        found = (await bob.get(f"/api/v1/incidents/{raised['id']}")).json()
        assert len(found["next_step"]["contact_method_ids"]) == 2, "both of whoever is on call"
        [cover] = (await bob.get(f"{BASE}/weddings")).json()
        assert cover["schedules"][0]["gaps"] == []
        assert (await alice.delete(url)).status_code == 204
        outcome, reason = await line()
        assert outcome == "fail"
        assert reason == "1 of the ladder's 1 steps reach nobody of their own."


async def join(world: EngineWorld, vendor: UUID, name: str) -> UUID:
    """A member with a contact of his own."""
    user_id = uuid4()
    await world.run(
        "insert into apm_memberships (organization_id, user_id, role) "
        "values (%(o)s, %(u)s, 'MEMBER')",
        o=vendor,
        u=user_id,
    )
    contact = await world.contact(vendor, name)
    await world.run(
        "update apm_contact_methods set user_id = %(u)s where id = %(id)s", u=user_id, id=contact
    )
    return user_id


async def rota(world: EngineWorld, vendor: UUID, *people: UUID) -> UUID:
    """Hands over every day at 14:05 in London, five minutes after AT; each step of the vendor's
    ladder names it."""
    [row] = await world.run(
        "insert into apm_on_call_schedules (organization_id, name, time_zone) "
        "values (%(o)s, 'Rota', 'Europe/London') returning id",
        o=vendor,
    )
    await world.run(
        "insert into apm_on_call_layers (organization_id, schedule_id, position, participants, "
        "starts_on, handover_time, shift_days) "
        "values (%(o)s, %(s)s, 1, %(people)s, %(day)s, '14:05', 1)",
        o=vendor,
        s=row["id"],
        people=list(people),
        day=(AT - DAY).date(),
    )
    await world.run(
        "insert into apm_escalation_schedules select organization_id, id, %(s)s "
        "from apm_escalation_steps where organization_id = %(o)s",
        o=vendor,
        s=row["id"],
    )
    schedule: UUID = row["id"]
    return schedule


async def breach(world: EngineWorld, vendor: UUID) -> None:
    await world.rule(vendor)
    await world.samples(vendor, [(AT, 9000)])
    await world.evaluate(AT)


async def test_whoever_is_on_call_when_the_step_is_due_is_told(world: EngineWorld) -> None:
    """Not whoever was when the ladder began: the hand-over lies between two steps."""
    vendor = await world.organization()
    priya, mo = await join(world, vendor, "Priya"), await join(world, vendor, "Mo")
    await join(world, vendor, "Dan")
    await world.ladder(vendor, (timedelta(), "none", []), (6 * MINUTE, "manager", []))
    await rota(world, vendor, priya, mo)
    await breach(world, vendor)
    await world.escalate(AT)
    assert [one["receiver"] for one in await world.deliveries(vendor)] == ["Priya"]
    await world.escalate(AT + 6 * MINUTE)
    assert [one["receiver"] for one in await world.deliveries(vendor)] == ["Priya", "Mo"]


async def test_an_override_made_after_the_ladder_began_counts(world: EngineWorld) -> None:
    vendor = await world.organization()
    priya, mo = await join(world, vendor, "Priya"), await join(world, vendor, "Mo")
    await world.ladder(vendor, (MINUTE, "none", []))
    schedule = await rota(world, vendor, priya)
    await breach(world, vendor)
    await world.run(
        "insert into apm_on_call_overrides (organization_id, schedule_id, user_id, starts_at, "
        "ends_at) values (%(o)s, %(s)s, %(u)s, %(at)s, %(until)s)",
        o=vendor,
        s=schedule,
        u=mo,
        at=AT,
        until=AT + HOUR,
    )
    await world.escalate(AT + MINUTE)
    assert [one["receiver"] for one in await world.deliveries(vendor)] == ["Mo"]


@pytest.mark.parametrize("reason", ["left", "no contact", "gap"])
async def test_where_nobody_on_call_can_be_told_everybody_is(
    world: EngineWorld, reason: str
) -> None:
    """A step never ends in silence because of a rota."""
    vendor = await world.organization()
    priya = await join(world, vendor, "Priya")
    await join(world, vendor, "Mo")
    await world.ladder(vendor, (timedelta(), "none", []))
    await rota(world, vendor, priya)
    told = ["Mo", "Priya"]
    if reason == "left":
        await world.run("delete from apm_memberships where user_id = %(u)s", u=priya)
    elif reason == "no contact":
        await world.run("update apm_contact_methods set disabled_at = now() where name = 'Priya'")
        told = ["Mo"]
    else:
        await world.run("update apm_on_call_layers set starts_on = '2090-01-01'")
    await breach(world, vendor)
    await world.escalate(AT)
    assert [one["receiver"] for one in await world.deliveries(vendor)] == told


async def test_a_contact_that_is_named_and_on_call_is_told_once(world: EngineWorld) -> None:
    vendor = await world.organization()
    priya = await join(world, vendor, "Priya")
    [contact] = await world.run("select id from apm_contact_methods where name = 'Priya'")
    await world.ladder(vendor, (timedelta(), "none", [contact["id"]]))
    await rota(world, vendor, priya)
    await breach(world, vendor)
    await world.escalate(AT)
    assert [one["receiver"] for one in await world.deliveries(vendor)] == ["Priya"]
