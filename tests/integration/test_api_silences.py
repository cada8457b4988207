"""Silences, maintenance windows and inhibition rules through the API."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.support.postgres import Database
from tests.support.serving import Running, populate, running, settings_for

HOUR = timedelta(hours=1)
FORMS = [{"label": "service", "operator": "=", "value": "forms"}]


@pytest.fixture
async def api(database: Database, tmp_path: Path) -> AsyncIterator[Running]:
    async with running(settings_for(database, tmp_path), populate(database)) as process:
        yield process


def body(**more: Any) -> dict[str, Any]:
    ends_at = (datetime.now(UTC) + HOUR).isoformat()
    return {"matchers": FORMS, "ends_at": ends_at, "reason": "New server"} | more


def add_wedding(database: Database, api: Running, days: int = 0) -> None:
    with psycopg.connect(database.engine, autocommit=True) as engine:
        engine.execute(
            "insert into apm_weddings (organization_id, couple_initials, wedding_date, time_zone) "
            "values (%s, 'A & R', (now() at time zone 'UTC')::date + %s::int, 'UTC')",
            (api.world.here, days),
        )


async def test_a_silence_from_its_making_to_its_early_end(api: Running) -> None:
    async with api.as_person("bob") as bob, api.as_person("vera") as vera:
        answer = await bob.post("/api/v1/silences", json=body())
        assert answer.status_code == 201, answer.text
        made = answer.json()
        assert (made["state"], made["owner"], made["needs_approval"]) == ("active", "Bob", False)
        assert made["works_until"] == made["ends_at"]
        url = f"/api/v1/silences/{made['id']}"
        assert (await vera.get(url)).json() == made
        found = (await vera.get("/api/v1/silences", params={"state": "active"})).json()
        assert [one["id"] for one in found["items"]] == [made["id"]]
        assert (await vera.post(url + "/expire")).status_code == 403
        ended = (await bob.post(url + "/expire")).json()
        assert (ended["state"], ended["expired_by_name"]) == ("ended", "Bob")
        assert (await bob.post(url + "/expire")).status_code == 409
        assert (await bob.get("/api/v1/silences", params={"state": "active"})).json()["items"] == []
    async with api.as_person("alice") as alice:
        log = (await alice.get("/api/v1/audit-log")).json()["items"]
        written = [one for one in log if one["object_type"] == "apm_silences"]
        assert [(one["action"], one["actor"]) for one in written] == [
            ("update", "Bob"),
            ("insert", "Bob"),
        ]


async def test_a_viewer_a_reading_key_and_a_stranger_make_none(api: Running) -> None:
    async with api.as_person("vera") as vera, api.as_key("read") as key:
        assert (await vera.post("/api/v1/silences", json=body())).status_code == 403
        assert (await key.post("/api/v1/silences", json=body())).status_code == 403
    async with api.as_person("nora") as nora, api.as_person("oscar") as oscar:
        assert (await nora.post("/api/v1/silences", json=body())).status_code == 403
        here = {"organization_id": str(api.world.here)}
        answer = await oscar.post("/api/v1/silences", json=body(), params=here)
        assert answer.status_code == 404


async def test_over_a_wedding_a_second_person_is_needed(api: Running, database: Database) -> None:
    add_wedding(database, api)
    async with api.as_person("bob") as bob, api.as_person("alice") as alice:
        made = (await bob.post("/api/v1/silences", json=body())).json()
        assert (made["state"], made["works_until"]) == ("needs_approval", None)
        (wedding,) = made["weddings"]
        assert (wedding["initials"], wedding["is_approved"]) == ("A & R", False)
        url = f"/api/v1/silences/{made['id']}/approve"
        refused = await bob.post(url)
        assert refused.status_code == 403
        assert "second person" in refused.json()["detail"]
        async with api.as_key("admin") as key, api.as_person("vera") as vera:
            assert (await key.post(url)).status_code == 403
            assert (await vera.post(url)).status_code == 403
        approved = (await alice.post(url)).json()
        assert (approved["state"], approved["approved_by_name"]) == ("active", "Alice")
        assert approved["weddings"][0]["is_approved"]
        assert (await alice.post(url)).status_code == 409


async def test_an_operator_may_be_the_second_person(api: Running, database: Database) -> None:
    add_wedding(database, api)
    async with api.as_person("alice") as alice, api.as_person("olga") as olga:
        made = (await alice.post("/api/v1/silences", json=body())).json()
        await olga.post(f"/api/v1/silences/{made['id']}/approve")
        found = (await alice.get(f"/api/v1/silences/{made['id']}")).json()
        assert (found["state"], found["approved_by_name"]) == ("active", "Olga")


async def test_who_asked_by_a_key_of_his_own_is_no_second_person(
    api: Running, database: Database
) -> None:
    add_wedding(database, api)
    today = datetime.now(UTC).date().isoformat()
    window = {"name": "All", "starts_at": f"{today}T00:00:00Z", "ends_at": f"{today}T23:59:00Z"}
    async with api.as_person("alice") as alice, api.as_person("bob") as bob:
        new = {"name": "Ours", "scope": "admin"}
        key = (await alice.post("/api/v1/api-keys", json=new)).json()
        bearer = {"authorization": f"Bearer {key['key']}"}
        async with api.client() as client:
            # a key that the key makes is his, too
            other = (await client.post("/api/v1/api-keys", json=new, headers=bearer)).json()
            for one in (key, other):
                headers = {"authorization": f"Bearer {one['key']}"}
                for path, asked in (("silences", body()), ("maintenance-windows", window)):
                    answer = await client.post(f"/api/v1/{path}", json=asked, headers=headers)
                    made = answer.json()
                    assert made["needs_approval"], answer.text
                    url = f"/api/v1/{path}/{made['id']}/approve"
                    refused = await alice.post(url)
                    assert refused.status_code == 403, refused.text
                    assert "by a key" in refused.json()["detail"]
                    assert (await bob.post(url)).status_code == 200


async def test_operators_see_how_many_weddings_are_in_the_way_and_not_whose(
    api: Running, database: Database
) -> None:
    add_wedding(database, api)
    today = datetime.now(UTC).date().isoformat()
    window = {"name": "All", "starts_at": f"{today}T00:00:00Z", "ends_at": f"{today}T23:59:00Z"}
    async with api.as_person("alice") as alice, api.as_person("olga") as olga:
        for path, asked in (("silences", body()), ("maintenance-windows", window)):
            made = (await alice.post(f"/api/v1/{path}", json=asked)).json()
            one = (await olga.get(f"/api/v1/{path}/{made['id']}")).json()
            query = {"organization_id": str(api.world.here)}
            listed = await olga.get(f"/api/v1/{path}", params=query)
            for seen in (one, *listed.json().get("items", [])):
                (wedding,) = seen["weddings"]
                assert wedding["wedding_id"] == made["weddings"][0]["wedding_id"]
                named = ("wedding_date", "initials", "starts_at", "ends_at")
                assert [wedding[name] for name in named] == [None, "", None, None]
            assert made["weddings"][0]["initials"] == "A & R"


async def test_a_long_silence_ends_where_the_next_wedding_begins(
    api: Running, database: Database
) -> None:
    add_wedding(database, api, days=5)
    ends_at = (datetime.now(UTC) + timedelta(days=30)).isoformat()
    async with api.as_person("bob") as bob:
        made = (await bob.post("/api/v1/silences", json=body(ends_at=ends_at))).json()
        assert made["state"] == "active"
        day = datetime.now(UTC).date() + timedelta(days=5)
        assert datetime.fromisoformat(made["works_until"]) == datetime.combine(
            day, datetime.min.time(), UTC
        )


@pytest.mark.parametrize(
    ("more", "field", "reason"),
    [
        ({"ends_at": "2020-01-01T00:00:00Z"}, "ends_at", "lies in the past"),
        ({"ends_at": "2030-01-01T00:00:00"}, "ends_at", "needs its offset"),
        (
            {"starts_at": "2030-01-02T00:00:00Z", "ends_at": "2030-01-01T00:00:00Z"},
            "ends_at",
            "needs to lie after",
        ),
        ({"ends_at": "2099-01-01T00:00:00Z"}, "ends_at", "90 days at most"),
        ({"reason": ""}, "reason", "length >= 1"),
        ({"matchers": []}, "matchers", "length >= 1"),
        (
            {"matchers": [{"label": "host", "value": "x"}]},
            "matchers",
            "a label is service, metric, rule, severity or tag.<name>",
        ),
        (
            {"matchers": [{"label": "service", "operator": "=~", "value": "(a+){9}"}]},
            "matchers",
            "an expression has literals",
        ),
        (
            {"matchers": [{"label": "service", "operator": "=~", "value": ".*"}]},
            "matchers",
            "must not match the empty text",
        ),
    ],
)
async def test_what_is_refused_and_why(
    api: Running, more: dict[str, Any], field: str, reason: str
) -> None:
    async with api.as_person("bob") as bob:
        answer = await bob.post("/api/v1/silences", json=body(**more))
        assert answer.status_code == 422, answer.text
        (error,) = answer.json()["errors"]
        assert error["field"] == field
        assert reason in error["reason"]


async def test_a_repeat_makes_one_silence(api: Running) -> None:
    async with api.as_person("bob") as bob:
        same = body()
        answers = [
            await bob.post("/api/v1/silences", json=same, headers={"idempotency-key": "one"})
            for _ in range(2)
        ]
        assert answers[0].json()["id"] == answers[1].json()["id"]
        assert len((await bob.get("/api/v1/silences")).json()["items"]) == 1


async def test_a_second_person_says_no_to_planned_work_and_why(
    api: Running, database: Database
) -> None:
    add_wedding(database, api, days=10)
    day = (datetime.now(UTC) + timedelta(days=10)).date().isoformat()
    window = {
        "name": "New server",
        "starts_at": f"{day}T06:00:00Z",
        "ends_at": f"{day}T20:00:00Z",
    }
    why = {"reason": "  The church has no other router. "}
    async with api.as_person("alice") as alice, api.as_person("bob") as bob:
        made = (await alice.post("/api/v1/maintenance-windows", json=window)).json()
        url = f"/api/v1/maintenance-windows/{made['id']}"
        assert (await alice.post(f"{url}/refuse", json=why)).status_code == 403
        for name, status in (("vera", 403), ("nora", 404)):
            async with api.as_person(name) as other:
                assert (await other.post(f"{url}/refuse", json=why)).status_code == status
        async with api.as_key("read") as key:
            assert (await key.post(f"{url}/refuse", json=why)).status_code == 403
        for wrong in ({}, {"reason": ""}, {"reason": "  "}, {"reason": "x" * 1001}):
            assert (await bob.post(f"{url}/refuse", json=wrong)).status_code == 422
        answer = await bob.post(f"{url}/refuse", json=why)
        assert answer.status_code == 200, answer.text
        refused = answer.json()
        assert not refused["needs_approval"], "nobody is asked again"
        assert (refused["refused_by_name"], refused["refused_reason"]) == (
            "Bob",
            "The church has no other router.",
        )
        assert refused["refused_at"] is not None
        (wedding,) = refused["weddings"]
        assert (wedding["is_approved"], wedding["is_refused"]) == (False, True)
        for verb in ("approve", "refuse"):
            answer = await bob.post(f"{url}/{verb}", json=why)
            assert answer.status_code == 409, "it was answered"
        # whoever planned it reads it
        assert (await alice.get(url)).json()["refused_reason"] == "The church has no other router."
        log = (await alice.get("/api/v1/audit-log")).json()["items"]
        newest = next(one for one in log if one["object_type"] == "apm_maintenance_windows")
        assert (newest["action"], newest["actor"]) == ("update", "Bob")
        assert newest["new_values"]["refused_reason"] == "The church has no other router."
        # another wedding asks again, and another time asks about all of them
        add_wedding(database, api, days=10)
        assert (await alice.get(url)).json()["needs_approval"]
        moved = (await alice.patch(url, json={"ends_at": f"{day}T21:00:00Z"})).json()
        assert moved["refused_at"] is None
        assert [one["is_refused"] for one in moved["weddings"]] == [False, False]


async def test_maintenance_windows(api: Running) -> None:
    window = {
        "name": "Nightly work",
        "weekdays": [6, 7],
        "starts_time": "22:00",
        "ends_time": "02:00",
        "time_zone": "Europe/Paris",
        "matchers": FORMS,
    }
    async with api.as_person("alice") as alice, api.as_person("bob") as bob:
        assert (await bob.post("/api/v1/maintenance-windows", json=window)).status_code == 403
        answer = await alice.post("/api/v1/maintenance-windows", json=window)
        assert answer.status_code == 201, answer.text
        made = answer.json()
        assert len(made["next_spans"]) == 5
        assert (made["state"], made["needs_approval"]) == ("scheduled", False)
        url = f"/api/v1/maintenance-windows/{made['id']}"
        once = {
            "starts_at": "2030-06-01T00:00:00Z",
            "ends_at": "2030-06-02T00:00:00Z",
            "weekdays": None,
            "starts_time": None,
            "ends_time": None,
            "time_zone": None,
        }
        changed = await alice.patch(url, json=once)
        assert changed.status_code == 200, changed.text
        (span,) = changed.json()["next_spans"]
        assert datetime.fromisoformat(span["starts_at"]) == datetime(2030, 6, 1, tzinfo=UTC)
        assert (await bob.get(url)).json() == changed.json()
        for wrong in (
            {"name": "x"},
            {"name": "x", "weekdays": [1]},
            window | {"starts_at": "2030-06-01T00:00:00Z"},
            window | {"time_zone": "Mars/Olympus"},
            window | {"first_day": "2030-02-02", "last_day": "2030-02-01"},
            window | {"every_weeks": 2},
            window | {"first_day": "2030-02-02", "every_weeks": 5},
        ):
            refused = await alice.post("/api/v1/maintenance-windows", json=wrong)
            assert refused.status_code == 422, wrong
        assert (await alice.delete(url)).status_code == 204


async def test_every_second_week(api: Running) -> None:
    async with api.as_person("alice") as alice:
        answer = await alice.post(
            "/api/v1/maintenance-windows",
            json={
                "name": "Every second Saturday",
                "weekdays": [6],
                "starts_time": "23:00",
                "ends_time": "01:00",
                "time_zone": "Europe/London",
                # Saturday the 12th is in its week, the 19th is not
                "first_day": "2030-10-10",
                "every_weeks": 2,
            },
        )
        assert answer.status_code == 201, answer.text
        # by the clock on the wall: in winter an hour later
        assert [span["starts_at"][:13] for span in answer.json()["next_spans"]] == [
            "2030-10-12T22",
            "2030-10-26T22",
            "2030-11-09T23",
            "2030-11-23T23",
            "2030-12-07T23",
        ]


async def test_planned_work_over_a_wedding_waits_for_a_second_person(
    api: Running, database: Database
) -> None:
    add_wedding(database, api, days=10)
    day = (datetime.now(UTC) + timedelta(days=10)).date().isoformat()
    window = {
        "name": "New server",
        "starts_at": f"{day}T06:00:00Z",
        "ends_at": f"{day}T20:00:00Z",
    }
    async with api.as_person("alice") as alice, api.as_person("bob") as bob:
        made = (await alice.post("/api/v1/maintenance-windows", json=window)).json()
        url = f"/api/v1/maintenance-windows/{made['id']}"
        assert made["needs_approval"]
        (wedding,) = made["weddings"]
        assert not wedding["is_approved"]
        assert (await alice.post(f"{url}/approve")).status_code == 403, "not by whoever planned it"
        async with api.as_person("vera") as vera:
            assert (await vera.post(f"{url}/approve")).status_code == 403
        async with api.as_person("nora") as nora:
            assert (await nora.post(f"{url}/approve")).status_code == 404
        approved = await bob.post(f"{url}/approve")
        assert approved.status_code == 200, approved.text
        assert (approved.json()["needs_approval"], approved.json()["approved_by_name"]) == (
            False,
            "Bob",
        )
        assert (await bob.post(f"{url}/approve")).status_code == 409
        renamed = (await alice.patch(url, json={"name": "Newer server"})).json()
        assert not renamed["needs_approval"], "what is worked on and when is the same"
        moved = (await alice.patch(url, json={"ends_at": f"{day}T21:00:00Z"})).json()
        assert moved["needs_approval"], "what was approved is what was seen"
        assert moved["approved_at"] is None


async def test_only_operators_make_rules_for_everybody(api: Running, database: Database) -> None:
    with psycopg.connect(database.engine) as engine:
        row = engine.execute("select organization_id from apm_private.platform").fetchone()
    assert row is not None
    rule = {
        "name": "The database is away",
        "source_matchers": [{"label": "service", "value": "database"}],
        "target_matchers": [{"label": "service", "operator": "!=", "value": "database"}],
        "is_platform_wide": True,
        "words": "Our database is being mended",
    }
    async with api.as_person("alice") as alice, api.as_person("olga") as olga:
        refused = await alice.post("/api/v1/inhibition-rules", json=rule)
        assert refused.status_code == 422, refused.text
        wordless = rule | {"words": ""}
        platform = {"organization_id": str(row[0])}
        answer = await olga.post("/api/v1/inhibition-rules", json=wordless, params=platform)
        assert answer.status_code == 422
        answer = await olga.post("/api/v1/inhibition-rules", json=rule, params=platform)
        assert answer.status_code == 201, answer.text
        assert (await alice.get("/api/v1/inhibition-rules")).json()["items"] == []
        own = rule | {"is_platform_wide": False}
        assert (await alice.post("/api/v1/inhibition-rules", json=own)).status_code == 201


async def test_an_incident_says_what_holds_it_back(api: Running, database: Database) -> None:
    with psycopg.connect(database.engine, autocommit=True) as engine:
        row = engine.execute(
            "select apm_private.open_incident(%s, 'test', 'Slow', 'warning', "
            "'{\"service\": \"forms\"}', '{}', now())",
            (api.world.here,),
        ).fetchone()
    assert row is not None
    async with api.as_person("bob") as bob, api.as_person("olga") as olga:
        url = f"/api/v1/incidents/{row[0]}"
        assert (await bob.get(url)).json()["held_back"] is None
        made = (await bob.post("/api/v1/silences", json=body(owner="Priya"))).json()
        held = (await bob.get(url)).json()["held_back"]
        assert held == {
            "kind": "silence",
            "id": made["id"],
            "since": None,
            "until": made["ends_at"],
            "owner": "Priya",
            "reason": "New server",
        }
        assert (await olga.get(url)).json()["held_back"] == held
        await bob.post(url + "/resolve")
        assert (await bob.get(url)).json()["held_back"] is None


async def test_a_former_member_sees_and_ends_none(api: Running, database: Database) -> None:
    async with api.as_person("bob") as bob:
        made = (await bob.post("/api/v1/silences", json=body())).json()
        with psycopg.connect(database.engine, autocommit=True) as engine:
            engine.execute(
                "delete from user_profiles where user_id = %s", (api.world.people["bob"],)
            )
            engine.execute(
                "delete from apm_memberships where user_id = %s", (api.world.people["bob"],)
            )
        url = f"/api/v1/silences/{made['id']}"
        assert (await bob.get(url)).status_code == 404
        assert (await bob.post(url + "/expire")).status_code == 404
        assert (await bob.post(url + "/approve")).status_code == 404
        assert (await bob.get("/api/v1/silences")).json()["items"] == []
