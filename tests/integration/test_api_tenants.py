"""Every path with an id, as somebody whose organization it is not."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import psycopg
import pytest

from tests.support.postgres import Database
from tests.support.serving import Running, populate, running, settings_for
from wedsync_apm.health.store import measure_round

CHANGES: dict[str, dict[str, Any]] = {
    "alerts": {"alert_name": "taken over"},
    "health-checks": {"display_name": "taken over"},
    "dashboards": {"name": "taken over"},
    "escalation-policies": {"name": "taken over"},
    "notification-rules": {"name": "taken over"},
    "contact-methods": {"name": "taken over"},
    "configurations": {"name": "taken over"},
    "weddings": {"venue_name": "taken over"},
    "maintenance-windows": {"name": "taken over"},
    "inhibition-rules": {"name": "taken over"},
    "heartbeats": {"name": "taken over"},
    "on-call/schedules": {"name": "taken over"},
    "on-call/overrides": {"reason": "taken over"},
    "on-call/temporary-schedules": {"reason": "taken over"},
}
MADE: dict[str, dict[str, Any]] = {
    "alerts": {
        "alert_name": "Order form",
        "metric_pattern": "form.submission_time",
        "comparison_operator": ">",
        "threshold_value": 500,
    },
    "health-checks": {
        "service_name": "form",
        "display_name": "Order form",
        "endpoint_url": "https://example.org/",
    },
    "dashboards": {"name": "Saturday"},
    "escalation-policies": {"name": "Ladder", "steps": [{"delay_seconds": 60}]},
    "notification-rules": {"name": "Everything"},
    "contact-methods": {"name": "Oscar", "channel": "email", "address": "oscar@example.org"},
    "configurations": {
        "provider": "datadog",
        "name": "Datadog",
        "secrets": {"api_key": "dd-secret-1234"},
    },
    "weddings": {"wedding_date": "2030-06-08", "couple_names": "Amelia Hart & James Moss"},
    "incidents": {"title": "Slow"},
    "drills": {"reason": "Before the season"},
    "api-keys": {"name": "Script", "scope": "read"},
    "freeze/approvals": {"reason": "a defect", "minutes": 5},
    "silences": {
        "matchers": [{"label": "service", "value": "form"}],
        "ends_at": (datetime.now(UTC) + timedelta(hours=1)).isoformat(),
        "reason": "New server",
    },
    "maintenance-windows": {
        "name": "Nightly",
        "weekdays": [1],
        "starts_time": "22:00",
        "ends_time": "02:00",
        "time_zone": "Europe/London",
    },
    "inhibition-rules": {
        "name": "Forms",
        "source_matchers": [{"label": "service", "value": "database"}],
        "target_matchers": [{"label": "service", "value": "form"}],
    },
    "heartbeats": {"name": "Nightly export", "period": "1d"},
    "on-call/schedules": {"name": "Nights", "time_zone": "Europe/London"},
}

PLATFORMS: frozenset[str] = frozenset({"guard-mode/overrides"})
"""What belongs to no organization: only operators may do anything with it."""
ASKED: dict[str, dict[str, str]] = {
    "/api/v1/freeze": {"service": "forms"},
    "/api/v1/day-report": {"date": "2030-06-08"},
    "/api/v1/wedding-phases": {"from": "2030-06-01T00:00:00Z", "to": "2030-06-09T00:00:00Z"},
}
"""What a list must be asked with."""


@pytest.fixture
async def api(database: Database, tmp_path: Path) -> AsyncIterator[Running]:
    async with running(settings_for(database, tmp_path), populate(database)) as process:
        yield process


async def make_all(client: httpx.AsyncClient, person: UUID) -> dict[str, str]:
    """One of each, by somebody who may."""
    made: dict[str, str] = {}

    async def make(noun: str, body: dict[str, Any]) -> None:
        answer = await client.post(f"/api/v1/{noun}", json=body)
        assert answer.status_code == 201, (noun, answer.text)
        made[noun] = answer.json()["id"]

    for noun, body in MADE.items():
        await make(noun, body)
    now = datetime.now(UTC)
    span = {"starts_at": now.isoformat(), "ends_at": (now + timedelta(days=1)).isoformat()}
    turn = {"user_id": str(person), **span}
    of = {"schedule_id": made["on-call/schedules"]}
    await make("on-call/overrides", of | turn)
    await make("on-call/temporary-schedules", of | span | {"shifts": [turn]})
    return made


def add_delivery(database: Database, organization_id: UUID) -> str:
    delivery_id = str(uuid4())
    with psycopg.connect(database.engine, autocommit=True) as engine:
        engine.execute(
            "insert into apm_deliveries (id, organization_id, channel, kind, reason, "
            "idempotency_key) values (%s, %s, 'email', 'test', 'test', %s)",
            (delivery_id, organization_id, delivery_id),
        )
    return delivery_id


def snapshot(database: Database) -> list[Any]:
    with psycopg.connect(database.engine) as engine:
        return [
            engine.execute(f"select to_jsonb(t) from {table} as t order by 1").fetchall()
            for table in (
                "apm_alerts",
                "service_health_checks",
                "apm_dashboards",
                "apm_escalation_policies",
                "apm_notification_rules",
                "apm_contact_methods",
                "apm_configurations",
                "apm_weddings",
                "apm_incidents",
                "apm_incident_events",
                "apm_api_keys",
                "apm_deliveries",
                "apm_escalation_runs",
                "apm_silences",
                "apm_maintenance_windows",
                "apm_inhibition_rules",
                "apm_heartbeats",
                "apm_private.heartbeat_tokens",
                "apm_private.freeze_approvals",
                "apm_quiet_hours",
                "apm_on_call_schedules",
                "apm_on_call_overrides",
                "apm_on_call_temporary_schedules",
            )
        ]


ACTS: dict[str, dict[str, Any]] = {
    "notes": {"message": "I was here"},
    "share": {},
    "join": {"code": "given away"},
    "merge": {"into": "6bd092a1-4410-42eb-a45a-448c8d578314"},
    "updates": {"message": "We have found it."},
    "promise": {"next_update_at": None},
    "texts": {"engineer_text": "p95", "vendor_text": {}},
    "postmortem": {"summary": "It was slow."},
    "emergency-contacts": {"contact_method_ids": []},
    "verify": {"code": "123456"},
    "refuse": {"reason": "The church has no other router."},
    "quiet-hours": {"start": "22:00", "end": "07:00", "time_zone": "Europe/London"},
}
"""What is said with what is done to one of them, by the last part of the path."""


async def test_another_tenants_ids_are_not_found(api: Running, database: Database) -> None:
    async with api.as_person("oscar") as oscar:
        theirs = await make_all(oscar, api.world.people["oscar"])
        document = (await oscar.get("/openapi.json")).json()
        theirs["deliveries"] = add_delivery(database, api.world.there)
        tried: dict[tuple[str, str], dict[str, int]] = {}
        before = snapshot(database)
        for path, item in document["paths"].items():
            if "{id}" not in path:
                continue
            noun = path.removeprefix("/api/v1/").partition("/{id}")[0]
            if noun in PLATFORMS:
                continue
            assert noun in theirs, f"say in MADE how to make one, so that {path} is tried"
            for method in ("get", "post", "put", "patch", "delete"):
                if method not in item:
                    continue
                body = CHANGES.get(noun) if method == "patch" else ACTS.get(path.rpartition("/")[2])
                query = {"reason": "a call for help"} if path.endswith("/details") else {}
                for person in ("alice", "bob", "vera", "nora"):
                    async with api.as_person(person) as client:
                        status = []
                        for row_id in (theirs[noun], str(uuid4())):
                            url = path.replace("{id}", row_id)
                            answer = await client.request(method, url, json=body, params=query)
                            status.append(answer.status_code)
                        # The same answer for another's and for none: existence does not leak.
                        assert status[0] == status[1], (method, path, person)
                        tried.setdefault((method, path), {})[person] = status[0]
        assert snapshot(database) == before
        wrong = {key: found for key, found in tried.items() if set(found.values()) != {404}}
        assert wrong == {}
        assert len(tried) >= 38
        # They are there for the one whose they are.
        for noun, row_id in theirs.items():
            answer = await oscar.get(f"/api/v1/{noun}/{row_id}")
            assert answer.status_code == 200, (noun, answer.text)


STATUS_PAGE = {"title": "How we are", "is_public": False, "check_ids": []}


STREAMS = {"/api/v1/events", "/api/v1/live"}
"""They never end; what they tell is in test_live.py."""


async def test_lists_hold_only_ones_own(api: Running, database: Database) -> None:
    async with api.as_person("oscar") as oscar, api.as_person("alice") as alice:
        theirs = await make_all(oscar, api.world.people["oscar"])
        theirs["deliveries"] = add_delivery(database, api.world.there)
        ours = await make_all(alice, api.world.people["alice"])
        for person, slug in ((oscar, "theirs"), (alice, "ours")):
            page = await person.put("/api/v1/status-page", json=STATUS_PAGE | {"slug": slug})
            assert page.status_code == 200, page.text
        document = (await oscar.get("/openapi.json")).json()
        lists = [
            path
            for path, item in document["paths"].items()
            if "get" in item
            and "{" not in path
            and path not in STREAMS
            and any(
                parameter["name"] == "organization_id"
                for parameter in item["get"].get("parameters", ())
            )
        ]
        assert len(lists) >= 15
        for path in lists:
            query = {"metric": "form.submission_time"} if "query" in path else ASKED.get(path, {})
            answer = await alice.get(path, params=query)
            assert answer.status_code == 200, (path, answer.text)
            for row_id in (*theirs.values(), str(api.world.there)):
                assert row_id not in answer.text, path
            foreign = await alice.get(
                path, params={**query, "organization_id": str(api.world.there)}
            )
            unknown = await alice.get(path, params={**query, "organization_id": str(uuid4())})
            assert foreign.status_code == unknown.status_code == 404, path
        for noun, row_id in ours.items():
            assert row_id in (await alice.get(f"/api/v1/{noun}")).text


async def test_a_member_of_both_sees_both_and_says_where_he_writes(api: Running) -> None:
    async with api.as_person("carol") as carol, api.as_person("oscar") as oscar:
        vague = await carol.post("/api/v1/dashboards", json=MADE["dashboards"])
        assert vague.status_code == 422
        assert vague.json()["errors"][0]["field"] == "organization_id"
        for organization_id in (api.world.here, api.world.there):
            made = await carol.post(
                "/api/v1/dashboards",
                params={"organization_id": str(organization_id)},
                json=MADE["dashboards"],
            )
            assert made.json()["organization_id"] == str(organization_id)
        assert len((await carol.get("/api/v1/dashboards")).json()["items"]) == 2
        assert len((await oscar.get("/api/v1/dashboards")).json()["items"]) == 1


async def test_links_to_another_tenants_rows_are_refused(api: Running) -> None:
    async with api.as_person("oscar") as oscar, api.as_person("alice") as alice:
        theirs = await make_all(oscar, api.world.people["oscar"])
        for contact in (theirs["contact-methods"], str(uuid4())):
            ladder = {
                "name": "Ladder of ours",
                "steps": [{"delay_seconds": 0, "contact_method_ids": [contact]}],
            }
            answer = await alice.post("/api/v1/escalation-policies", json=ladder)
            assert answer.status_code == 422, answer.text
            assert answer.json()["errors"] == [
                {"field": "contact_method_id", "reason": "does not exist"}
            ]
        for policy in (theirs["escalation-policies"], str(uuid4())):
            rule = {"name": "Ours", "escalation_policy_id": policy}
            answer = await alice.post("/api/v1/notification-rules", json=rule)
            assert answer.status_code == 422, answer.text
            assert answer.json()["errors"] == [{"field": "policy", "reason": "does not exist"}]


async def test_each_role_may_what_it_may(api: Running) -> None:
    async with api.as_person("alice") as alice:
        ours = await make_all(alice, api.world.people["alice"])
    expected = {
        # person: (change a rule, delete a check, acknowledge, see the couple, list contacts)
        "vera": (403, 403, 403, None, 0),
        "bob": (403, 403, 200, "Amelia Hart & James Moss", 1),
        "carol": (200, 204, 200, "Amelia Hart & James Moss", 1),
    }
    for person, wanted in expected.items():
        async with api.as_person(person) as client:
            changed = await client.patch(
                f"/api/v1/alerts/{ours['alerts']}", json={"threshold_value": 400}
            )
            deleted = await client.delete(f"/api/v1/health-checks/{ours['health-checks']}")
            taken = await client.post(f"/api/v1/incidents/{ours['incidents']}/acknowledge")
            wedding = (await client.get(f"/api/v1/weddings/{ours['weddings']}")).json()
            contacts = (await client.get("/api/v1/contact-methods")).json()["items"]
            assert wedding["couple_initials"] == "A & J"
            found = (
                changed.status_code,
                deleted.status_code,
                taken.status_code,
                wedding["couple_names"],
                len(contacts),
            )
            assert (person, found) == (person, wanted)


async def test_an_operator_sees_incidents_of_all_and_nothing_else(api: Running) -> None:
    async with api.as_person("oscar") as oscar:
        theirs = await make_all(oscar, api.world.people["oscar"])
    async with api.as_person("olga") as olga:
        seen = await olga.get(f"/api/v1/incidents/{theirs['incidents']}")
        assert seen.status_code == 200
        taken = await olga.post(f"/api/v1/incidents/{theirs['incidents']}/acknowledge")
        assert taken.json()["acknowledged_by_name"] == "Olga"
        for noun in ("alerts", "weddings", "contact-methods", "configurations", "api-keys"):
            hidden = await olga.get(f"/api/v1/{noun}/{theirs[noun]}")
            assert hidden.status_code == 404, noun


async def test_the_state_of_the_database_is_for_operators(api: Running, database: Database) -> None:
    await asyncio.to_thread(measure_round, database.engine)
    for person in ("alice", "vera", "nora"):
        async with api.as_person(person) as client:
            assert (await client.get("/api/v1/database-health")).status_code == 403
            assert (await client.get("/api/v1/backups")).status_code == 403
    async with api.as_person("olga") as olga:
        answer = await olga.get("/api/v1/database-health")
        backups = await olga.get("/api/v1/backups")
    assert backups.status_code == 200, backups.text
    assert backups.json()["backups"] == []
    assert backups.json()["is_proven"] is False
    assert not any(rule["holds"] for rule in backups.json()["rules"])
    assert answer.status_code == 200, answer.text
    report = answer.json()
    assert len(report["lines"]) == sum(report["counts"].values()) >= 10
    assert all(line["statement"] for line in report["lines"])


async def test_a_one_tap_link_is_nobodys_to_read_here(api: Running, database: Database) -> None:
    delivery_id = add_delivery(database, api.world.here)
    with psycopg.connect(database.engine, autocommit=True) as engine:
        engine.execute(
            "update apm_deliveries set body = %s where id = %s",
            ("Slow.\nI'm on it: https://apm.example/ack/7KQ2-M9_XF\nBye.", delivery_id),
        )
    masked = "Slow.\nI'm on it: https://apm.example/ack/(masked)\nBye."
    async with api.as_person("alice") as alice:
        one = (await alice.get(f"/api/v1/deliveries/{delivery_id}")).json()
        listed = (await alice.get("/api/v1/deliveries")).json()["items"]
    assert one["body"] == masked
    assert [row["body"] for row in listed] == [masked]
