"""What goes into the API, good and bad, and what comes out."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from tests.support.postgres import Database
from tests.support.serving import Running, populate, running, settings_for

RULE: dict[str, Any] = {
    "alert_name": "Order form is slow",
    "metric_pattern": "form.submission_time",
    "comparison_operator": ">",
    "threshold_value": 500,
}
CHECK: dict[str, Any] = {
    "service_name": "form",
    "display_name": "Order form",
    "endpoint_url": "https://example.org/",
}
WEDDING: dict[str, Any] = {
    "wedding_date": "2030-06-08",
    "couple_names": "Amelia Hart & James Moss",
    "venue_name": "Hall A",
    "time_zone": "Europe/Paris",
    "windows": [
        {
            "phase": "ceremony",
            "starts_at": "2030-06-08T14:00:00+02:00",
            "ends_at": "2030-06-08T15:00:00+02:00",
        },
        {
            "phase": "reception",
            "starts_at": "2030-06-08T15:00:00+02:00",
            "ends_at": "2030-06-09T01:00:00+02:00",
        },
    ],
}


@pytest.fixture
async def api(database: Database, tmp_path: Path) -> AsyncIterator[Running]:
    async with running(settings_for(database, tmp_path), populate(database)) as process:
        yield process


# path, body, the field that is refused, a part of the reason
REFUSED: tuple[tuple[str, dict[str, Any], str, str], ...] = (
    ("alerts", {}, "alert_name", "is missing"),
    ("alerts", RULE | {"alert_name": ""}, "alert_name", "length >= 1"),
    ("alerts", RULE | {"alert_name": "x" * 201}, "alert_name", "length <= 200"),
    ("alerts", RULE | {"alert_name": 5}, "alert_name", "must be text, got a whole number"),
    ("alerts", RULE | {"threshold_value": "500"}, "threshold_value", "must be a number, got text"),
    ("alerts", RULE | {"threshold_value": True}, "threshold_value", "got true or false"),
    ("alerts", RULE | {"threshold_value": None}, "threshold_value", "got nothing"),
    (
        "alerts",
        RULE | {"severity": "fatal"},
        "severity",
        "'fatal' is none of info, warning, critical, emergency",
    ),
    (
        "alerts",
        RULE | {"notification_channels": ["email", "pigeon"]},
        "notification_channels[1]",
        "'pigeon' is none of email, sms, voice, slack, webhook, pagerduty, push",
    ),
    ("alerts", RULE | {"comparison_operator": "=="}, "comparison_operator", "none of >, >=, <, <="),
    ("alerts", RULE | {"evaluation_window": "soon"}, "evaluation_window", "such as 30s, 5m"),
    ("alerts", RULE | {"evaluation_window": "2d"}, "evaluation_window", "1 second and 1 day"),
    ("alerts", RULE | {"evaluation_window": -5}, "evaluation_window", "duration"),
    ("alerts", RULE | {"metric_pattern": "nodot"}, "metric_pattern", "dot"),
    ("alerts", RULE | {"clear_threshold_value": 600}, "clear_threshold_value", "good side"),
    ("alerts", RULE | {"organisation_id": "x"}, "organisation_id", "is not a field here"),
    ("alerts", RULE | {"id": "x"}, "id", "is not a field here"),
    ("alerts", RULE | {"trigger_count": 5}, "trigger_count", "is not a field here"),
    ("health-checks", CHECK | {"endpoint_url": None}, "endpoint_url", "either"),
    ("health-checks", CHECK | {"source_metric": "a.b"}, "endpoint_url", "either"),
    ("health-checks", CHECK | {"endpoint_url": "ftp://x"}, "endpoint_url", "matching"),
    ("health-checks", CHECK | {"endpoint_url": "javascript:1"}, "endpoint_url", "matching"),
    ("health-checks", CHECK | {"timeout_seconds": 31}, "timeout_seconds", "<= 30"),
    ("health-checks", CHECK | {"expected_status_codes": []}, "expected_status_codes", "length"),
    ("health-checks", CHECK | {"expected_status_codes": [99]}, "expected_status_codes[0]", "100"),
    ("health-checks", CHECK | {"check_interval": "1s"}, "check_interval", "5 seconds"),
    ("dashboards", {"name": "x", "layout": []}, "layout", "object"),
    ("dashboards", {"name": "x\u0000y"}, "", ""),
    ("incidents", {"title": "x", "severity": "WARNING"}, "severity", "none of info"),
    ("incidents", {"title": "   "}, "title", "300"),
    ("weddings", WEDDING | {"wedding_date": "8 June"}, "wedding_date", "date"),
    ("weddings", WEDDING | {"wedding_date": "2030-02-30"}, "wedding_date", "date"),
    ("weddings", WEDDING | {"time_zone": "Mars/Olympus"}, "time_zone", "Europe/London"),
    ("weddings", WEDDING | {"windows": WEDDING["windows"][:1] * 2}, "windows[1].phase", "twice"),
    (
        "weddings",
        WEDDING
        | {
            "windows": [
                {
                    "phase": "ceremony",
                    "starts_at": "2030-06-08T15:00:00+02:00",
                    "ends_at": "2030-06-08T15:00:00+02:00",
                }
            ]
        },
        "windows[0].ends_at",
        "after",
    ),
    (
        "weddings",
        WEDDING
        | {
            "windows": [
                {
                    "phase": "party",
                    "starts_at": "2030-06-08T15:00:00+02:00",
                    "ends_at": "2030-06-08T16:00:00+02:00",
                }
            ]
        },
        "windows[0].phase",
        "'party' is none of set_up, ceremony, reception, tear_down",
    ),
    ("contact-methods", {"name": "x", "channel": "email", "address": "nobody"}, "", ""),
    ("contact-methods", {"name": "x", "channel": "slack"}, "url", "needed"),
    ("contact-methods", {"name": "x", "channel": "sms"}, "address", "telephone number"),
    ("contact-methods", {"name": "x", "channel": "webhook", "url": "file:///etc"}, "url", ""),
    ("configurations", {"provider": "nagios", "name": "x"}, "provider", "none of datadog"),
    (
        "configurations",
        {"provider": "datadog", "name": "x", "config": {"api_key": "y"}},
        "config.api_key",
        "put it into secrets",
    ),
    (
        "configurations",
        {
            "provider": "datadog",
            "name": "x",
            "emergency_contact_override": {"email": ["priya@fern.example"]},
        },
        "emergency_contact_override",
        "contact_method_ids",
    ),
    (
        "configurations",
        {
            "provider": "datadog",
            "name": "x",
            "emergency_contact_override": {
                "contact_method_ids": ["00000000-0000-0000-0000-000000000001"]
            },
        },
        "emergency_contact_override",
        "no contact of the business",
    ),
    ("contact-methods", {"name": "x", "channel": "sms", "preference": -1}, "preference", ">= 0"),
    ("api-keys", {"name": "x", "scope": "root"}, "scope", "none of ingest, read, admin"),
    (
        "api-keys",
        {"name": "x", "scope": "read", "expires_at": "2020-01-01T00:00:00Z"},
        "expires_at",
        "future",
    ),
    ("escalation-policies", {"name": "x", "steps": []}, "steps", "length >= 1"),
    (
        "escalation-policies",
        {"name": "x", "steps": [{"delay_seconds": 1, "level": "boss"}]},
        "steps[0].level",
        "none of none, team_lead, manager, director, executive",
    ),
    (
        "notification-rules",
        {"name": "x", "quiet_hours": {"start": "25:00", "end": "07:00", "time_zone": "UTC"}},
        "quiet_hours.start",
        "match",
    ),
    ("auth/login", {"email": "x", "password": "y"}, "email", "length >= 3"),
)


async def test_bad_input_gets_the_field_and_the_reason(api: Running) -> None:
    async with api.as_person("alice") as client:
        for path, body, field, reason in REFUSED:
            answer = await client.post(f"/api/v1/{path}", json=body)
            assert answer.status_code == 422, (path, body, answer.text)
            assert answer.headers["content-type"] == "application/problem+json"
            problem = answer.json()
            assert {"type", "title", "status", "detail"} <= problem.keys()
            if field:
                found = [(one["field"], one["reason"]) for one in problem["errors"]]
                assert [name for name, _ in found] == [field], (body, found)
                assert reason in found[0][1], (body, found)
        for noun in ("alerts", "health-checks", "incidents", "weddings"):
            assert (await client.get(f"/api/v1/{noun}")).json()["items"] == []


async def test_bodies_that_cannot_be_read(api: Running) -> None:
    json_type = {"content-type": "application/json"}
    cases: tuple[tuple[bytes, dict[str, str], int], ...] = (
        (b"{", json_type, 400),
        (b"", json_type, 422),
        (b"nonsense", json_type, 400),
        (b'{"alert_name": NaN}', json_type, 400),
        (b"\xff\xfe", json_type, 400),
        (b"[" * 100_000, json_type, 422),
        (b'{"alert_name": ' + b"[" * 100_000, json_type, 422),
        (b'{"vendor_text": {"a": ' + b"[" * 100_000, json_type, 400),
        (b"[]", json_type, 422),
        (b"null", json_type, 422),
        (b"{}", {"content-type": "text/plain"}, 415),
        (b"{}", {"content-type": "application/x-www-form-urlencoded"}, 415),
        (b"{}", {}, 415),
        (b'{"alert_name": "' + b"x" * 2**20 + b'"}', json_type, 413),
        (b'{"alert_name": "' + b"x" * 10_000_000 + b'"}', json_type, 413),
    )
    async with api.as_person("alice") as client:
        for body, headers, status in cases:
            answer = await client.post("/api/v1/alerts", content=body, headers=headers)
            assert answer.status_code == status, (body[:30], answer.status_code, answer.text)
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.json()["status"] == status


async def test_questions_that_cannot_be_answered(api: Running) -> None:
    cases = (
        ("alerts?limit=0", 422, "limit"),
        ("alerts?limit=1001", 422, "limit"),
        ("alerts?limit=many", 422, "limit"),
        ("alerts?cursor=nonsense", 422, "cursor"),
        ("alerts?cursor=%00", 422, "cursor"),
        ("alerts?organization_id=5", 422, "organization_id"),
        ("incidents?status=open,broken", 422, "status"),
        ("incidents?severity_min=loud", 422, "severity_min"),
        ("audit-log?cursor=-1", 422, "cursor"),
        ("query", 422, "metric"),
        ("query?metric=nodot", 422, "metric"),
        ("query?metric=a.b&at=yesterday", 422, "at"),
        ("query_range?metric=a.b&start=2030-01-01T00:00:00", 422, "start"),
        ("query_range?metric=a.b&start=2030-01-01&end=5", 422, "start"),
        ("query_range?metric=a.b&step=0", 422, "step"),
        ("query_range?metric=a.b&step=soon", 422, "step"),
        ("query_range?metric=a.b&agg=median", 422, "agg"),
        ("query_range?metric=a.b&start=200&end=100", 422, "end"),
        ("events?topics=gossip", 422, "topics"),
        ("wedding-day?date=soon", 422, "date"),
        ("alerts/not-an-id", 404, None),
        ("alerts/6bd092a1-4410-42eb-a45a-448c8d578314", 404, None),
        ("nothing-of-the-kind", 404, None),
    )
    async with api.as_person("alice") as client:
        for path, status, field in cases:
            answer = await client.get(f"/api/v1/{path}")
            assert answer.status_code == status, (path, answer.status_code, answer.text)
            assert answer.headers["content-type"] == "application/problem+json"
            if field is not None:
                assert [one["field"] for one in answer.json()["errors"]] == [field], answer.text
        wrong_method = await client.put("/api/v1/alerts", json={})
    assert wrong_method.status_code == 405
    assert wrong_method.headers["content-type"] == "application/problem+json"
    assert "GET" in wrong_method.headers["allow"]


async def test_a_rule_lives_and_explains_itself(api: Running, database: Database) -> None:
    async with api.as_person("alice") as client:
        made = await client.post(
            "/api/v1/alerts",
            json=RULE
            | {
                "evaluation_window": "90s",
                "for_duration": 30,
                "wedding_day_threshold_value": 300,
                "notification_channels": ["email", "slack"],
            },
        )
        assert made.status_code == 201, made.text
        rule = made.json()
        assert (rule["evaluation_window"], rule["for_duration"]) == ("1m30s", "30s")
        assert rule["notification_channels"] == ["email", "slack"]
        url = f"/api/v1/alerts/{rule['id']}"
        changed = await client.patch(url, json={"threshold_value": 450.5, "description": "Mine"})
        assert changed.status_code == 200, changed.text
        expected = rule | {"threshold_value": 450.5, "description": "Mine"}
        got = (await client.get(url)).json()
        assert {**got, "updated_at": None} == {**expected, "updated_at": None}
        # A change that does not fit the rest is refused as a whole.
        refused = await client.patch(url, json={"clear_threshold_value": 9999})
        assert refused.status_code == 422
        cleared = await client.patch(url, json={"wedding_day_threshold_value": None})
        assert cleared.json()["wedding_day_threshold_value"] is None
        twin = await client.post("/api/v1/alerts", json=RULE)
        assert twin.status_code == 409
        with psycopg.connect(database.engine, autocommit=True) as engine:
            engine.execute(
                "insert into apm_alert_states (organization_id, alert_id, instance_key, series_id, "
                "state, metric_value, threshold_value, threshold_source, phase, sample_count, "
                "pending_since, changed_at, evaluated_at) values "
                "(%s, %s, 'series:7', 7, 'pending', 480, 300, 'wedding_value', 'ceremony', 12, "
                "now(), now(), now())",
                (api.world.here, rule["id"]),
            )
        explained = (await client.get(f"{url}/explain")).json()
        verdict = explained["verdicts"][0]
        assert (verdict["state"], verdict["phase"]) == ("pending", "ceremony")
        assert (verdict["threshold_value"], verdict["threshold_source"]) == (300, "wedding_value")
        assert (verdict["metric_value"], verdict["sample_count"]) == (480, 12)
        assert (await client.delete(url)).status_code == 204
        assert (await client.get(url)).status_code == 404


async def test_an_incident_by_hand_goes_its_way(api: Running) -> None:
    async with api.as_person("bob") as client:
        made = await client.post(
            "/api/v1/incidents",
            json={"title": "Gallery down", "severity": "critical", "description": "Rang me"},
        )
        assert made.status_code == 201, made.text
        incident = made.json()
        assert (incident["status"], incident["severity"]) == ("open", "critical")
        url = f"/api/v1/incidents/{incident['id']}"
        await client.post(f"{url}/seen")
        hurried = await client.post(f"{url}/escalate", json={"message": "I cannot wait"})
        assert hurried.status_code == 200, hurried.text
        taken = await client.post(f"{url}/acknowledge", json={"message": "On my way"})
        assert (taken.json()["status"], taken.json()["acknowledged_by_name"]) == (
            "acknowledged",
            "Bob",
        )
        late = await client.post(f"{url}/escalate")
        assert late.status_code == 409
        assert (await client.post(f"{url}/reopen")).json()["status"] == "open"
        assert (await client.post(f"{url}/resolve")).json()["status"] == "resolved"
        wrong = await client.post(f"{url}/investigate")
        assert wrong.status_code == 409
        assert wrong.headers["content-type"] == "application/problem+json"
        note = await client.post(f"{url}/notes", json={"message": "It was the cable."})
        assert note.status_code == 201
        detail = (await client.get(url)).json()
    kinds = [entry["kind"] for entry in detail["timeline"]]
    assert [kind for kind in kinds if kind != "delivery"] == [
        "opened", "note", "seen", "note", "acknowledged", "expired", "resolved", "note",
    ]  # fmt: skip
    assert {entry["actor"] for entry in detail["timeline"] if entry["kind"] == "note"} == {"Bob"}
    taken_entry = next(one for one in detail["timeline"] if one["kind"] == "acknowledged")
    assert taken_entry["message"] == "On my way"


async def test_incidents_are_found_by_status_page_by_page(api: Running) -> None:
    async with api.as_person("alice") as client:
        ids = []
        for number in range(7):
            made = await client.post("/api/v1/incidents", json={"title": f"Number {number}"})
            ids.append(made.json()["id"])
        await client.post(f"/api/v1/incidents/{ids[3]}/resolve")
        seen: list[str] = []
        cursor: str | None = None
        while True:
            query: dict[str, str | int] = {"status": "open,acknowledged", "limit": 2}
            page = (
                await client.get(
                    "/api/v1/incidents", params=query | ({"cursor": cursor} if cursor else {})
                )
            ).json()
            assert len(page["items"]) <= 2
            seen += [one["id"] for one in page["items"]]
            cursor = page["next_cursor"]
            if cursor is None:
                break
    assert seen == [one for one in reversed(ids) if one != ids[3]]


async def test_lists_page_by_creation(api: Running) -> None:
    async with api.as_person("alice") as client:
        for number in range(5):
            await client.post("/api/v1/dashboards", json={"name": f"Board {number}"})
        first = (await client.get("/api/v1/dashboards", params={"limit": 3})).json()
        rest = (
            await client.get("/api/v1/dashboards", params={"cursor": first["next_cursor"]})
        ).json()
    names = [one["name"] for one in first["items"] + rest["items"]]
    assert names == [f"Board {number}" for number in (4, 3, 2, 1, 0)]
    assert rest["next_cursor"] is None


async def test_a_check_is_hastened(api: Running) -> None:
    async with api.as_person("alice") as client:
        made = (await client.post("/api/v1/health-checks", json=CHECK)).json()
        assert (made["status"], made["check_interval"]) == ("unknown", "1m")
        url = f"/api/v1/health-checks/{made['id']}"
        changed = (await client.patch(url, json={"check_interval": "5m"})).json()
        assert changed["check_interval"] == "5m"
        run = await client.post(f"{url}/run")
        assert run.status_code == 200
        assert run.json()["is_fresh"]
        lacking = await client.patch(url, json={"endpoint_url": None})
        assert lacking.status_code == 422
        metric = await client.patch(url, json={"endpoint_url": None, "source_metric": "a.b"})
        assert metric.json()["source_metric"] == "a.b"


async def test_the_calendar(api: Running) -> None:
    async with api.as_person("alice") as client:
        made = await client.post("/api/v1/weddings", json=WEDDING)
        assert made.status_code == 201, made.text
        wedding = made.json()
        assert wedding["couple_initials"] == "A & J"
        assert [one["phase"] for one in wedding["windows"]] == ["ceremony", "reception"]
        assert wedding["windows"][0]["starts_at"] == "2030-06-08T12:00:00Z"
        days = {
            day: (await client.get("/api/v1/wedding-day", params={"date": day})).json()
            for day in ("2030-06-07", "2030-06-08", "2030-06-09")
        }
        assert [one["is_wedding_day"] for one in days.values()] == [False, True, False]
        url = f"/api/v1/weddings/{wedding['id']}"
        moved = await client.patch(url, json={"wedding_date": "2030-06-15", "windows": []})
        assert moved.status_code == 200, moved.text
        assert moved.json()["couple_names"] == WEDDING["couple_names"]
        far = await client.patch(url, json={"windows": WEDDING["windows"]})
        assert far.status_code == 422, far.text
        cancelled = await client.patch(url, json={"status": "cancelled"})
        assert cancelled.status_code == 200
        day = await client.get("/api/v1/wedding-day", params={"date": "2030-06-15"})
        assert day.json()["is_wedding_day"] is False
        found = await client.get("/api/v1/weddings", params={"from": "2030-06-15"})
        assert len(found.json()["items"]) == 1


async def test_a_client_of_the_host_is_a_wedding_too(api: Running, database: Database) -> None:
    nora = uuid4()
    with psycopg.connect(database.owner) as owner:
        owner.execute(
            "insert into clients (id, organization_id, first_name, last_name, partner_first_name,"
            " wedding_date, status) values (%s, %s, 'Nora', 'Lund', 'Sol', '2031-06-07', 'booked')",
            (nora, api.world.here),
        )
    url = f"/api/v1/weddings/{nora}"
    async with api.as_person("alice") as client:
        assert (await client.post("/api/v1/weddings", json=WEDDING)).status_code == 201
        first = (await client.get("/api/v1/weddings", params={"limit": 1})).json()
        rest = {"limit": 1, "cursor": first["next_cursor"]}
        (found,) = (await client.get("/api/v1/weddings", params=rest)).json()["items"]
        assert (found["id"], found["client_id"]) == (str(nora), str(nora))
        assert found["source"] == "client"
        assert found["couple_names"] == "Nora Lund & Sol"
        assert found["created_at"] is None
        assert len(found["windows"]) == 4
        assert (await client.get(url)).json() == found
        assert (await client.patch(url, json={"venue_name": "Barn"})).status_code == 409
        assert (await client.delete(url)).status_code == 409
        none = await client.get("/api/v1/weddings", params={"from": "2031-06-08"})
        assert none.json()["items"] == []
    async with api.as_person("vera") as client:
        shown = (await client.get(url)).json()
        assert (shown["couple_names"], shown["couple_initials"]) == (None, "N & S")


async def test_secrets_go_in_and_never_come_out(api: Running, database: Database) -> None:
    secret, slack = "dd-0123456789", "https://hooks.example.org/services/T0/B0/verysecret"
    async with api.as_person("alice") as client:
        made = await client.post(
            "/api/v1/configurations",
            json={
                "provider": "datadog",
                "name": "Datadog",
                "config": {"site": "eu"},
                "secrets": {"api_key": secret},
            },
        )
        assert made.status_code == 201, made.text
        system = made.json()
        first = system["secret_fingerprint"]
        url = f"/api/v1/configurations/{system['id']}"
        same = (await client.patch(url, json={"name": "Datadog EU"})).json()
        assert (same["secret_fingerprint"], same["name"]) == (first, "Datadog EU")
        other = (await client.patch(url, json={"secrets": {"api_key": "another"}})).json()
        assert other["secret_fingerprint"] not in (None, first)
        contact = await client.post(
            "/api/v1/contact-methods", json={"name": "Studio", "channel": "slack", "url": slack}
        )
        assert contact.status_code == 201, contact.text
        assert contact.json()["address"] == "hooks.example.org"
        hook = await client.post(
            "/api/v1/contact-methods",
            json={"name": "Hook", "channel": "webhook", "url": "https://example.org/in?t=1"},
        )
        key = hook.json()["signing_key"]
        assert key.startswith("whsec_")
        hook_url = f"/api/v1/contact-methods/{hook.json()['id']}"
        off = (await client.patch(hook_url, json={"is_disabled": True})).json()
        assert off["disabled_reason"] == "by a person"
        pages = ("configurations", "contact-methods", "audit-log")
        said = "".join([(await client.get(f"/api/v1/{page}")).text for page in pages])
        assert "Datadog EU" in said
    for hidden in (secret, "verysecret", key, "another"):
        assert hidden not in said
    with psycopg.connect(database.engine) as engine:
        stored = engine.execute(
            "select secret_ciphertext from apm_configurations "
            "union all select secret_ciphertext from apm_contact_methods"
        ).fetchall()
    assert len(stored) == 3
    for (ciphertext,) in stored:
        assert b"secret" not in bytes(ciphertext)


async def test_a_ladder_keeps_its_steps(api: Running) -> None:
    async with api.as_person("alice") as client:
        contact = await client.post(
            "/api/v1/contact-methods",
            json={"name": "Priya", "channel": "email", "address": "priya@example.org"},
        )
        step: dict[str, Any] = {
            "delay_seconds": 60.0,
            "wedding_delay_seconds": 10.0,
            "level": "team_lead",
            "contact_method_ids": [contact.json()["id"]],
        }
        made = await client.post(
            "/api/v1/escalation-policies",
            json={"name": "Ladder", "is_default": True, "steps": [step, {"delay_seconds": 300}]},
        )
        assert made.status_code == 201, made.text
        ladder = made.json()
        step |= {"schedule_ids": [], "user_ids": [], "weddings": "any", "severity_min": None}
        step["hours"] = None
        assert ladder["steps"][0] == step
        assert len(ladder["steps"]) == 2
        url = f"/api/v1/escalation-policies/{ladder['id']}"
        renamed = (await client.patch(url, json={"name": "Other"})).json()
        assert (renamed["name"], len(renamed["steps"])) == ("Other", 2)
        shorter = (await client.patch(url, json={"steps": [step]})).json()
        assert shorter["steps"] == [step]
        rule = await client.post(
            "/api/v1/notification-rules",
            json={"name": "Loud", "escalation_policy_id": ladder["id"]},
        )
        assert rule.json()["escalation_policy_id"] == ladder["id"]
        assert (await client.delete(url)).status_code == 204
        left = await client.get(f"/api/v1/notification-rules/{rule.json()['id']}")
        assert left.json()["escalation_policy_id"] is None


IDEMPOTENT: dict[str, dict[str, Any]] = {
    "alerts": RULE,
    "incidents": {"title": "Once"},
    "health-checks": CHECK,
    "dashboards": {"name": "Once"},
    "weddings": WEDDING,
    "api-keys": {"name": "Once", "scope": "read"},
    "contact-methods": {"name": "Once", "channel": "webhook", "url": "https://example.org/"},
    "configurations": {"provider": "custom", "name": "Once", "secrets": {"token": "t0ps3cret"}},
    "escalation-policies": {"name": "Once", "steps": [{"delay_seconds": 1}]},
    "notification-rules": {"name": "Once"},
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
    "drills": {"reason": "Before the season"},
    "status-page/notes": {"body": "We have found the cause."},
    "on-call/schedules": {"name": "Nights", "time_zone": "Europe/London"},
}
PLATFORMS: frozenset[str] = frozenset({"guard-mode/overrides"})
"""Made by operators alone, and tried where they are."""


async def test_a_repeat_with_the_same_key_changes_nothing(api: Running, database: Database) -> None:
    async with api.as_person("alice") as client, api.as_person("carol") as carol:
        document = (await client.get("/openapi.json")).json()
        creating = {
            path.removeprefix("/api/v1/")
            for path, item in document["paths"].items()
            if "201" in item.get("post", {}).get("responses", {}) and "{" not in path
        }
        schedule = await client.post(
            "/api/v1/on-call/schedules", json={"name": "Days", "time_zone": "Europe/London"}
        )
        now = datetime.now(UTC)
        span = {
            "starts_at": now.isoformat(),
            "ends_at": (now + timedelta(days=1)).isoformat(),
        }
        turn = {"user_id": str(api.world.people["alice"]), **span}
        of = {"schedule_id": schedule.json()["id"]}
        bodies = IDEMPOTENT | {
            "on-call/overrides": of | turn,
            "on-call/temporary-schedules": of | span | {"shifts": [turn]},
        }
        assert creating - PLATFORMS == set(bodies)
        for path, body in bodies.items():
            headers = {"idempotency-key": f"key of {path}"}
            answers = await asyncio.gather(
                *(client.post(f"/api/v1/{path}", json=body, headers=headers) for _ in range(3))
            )
            assert [one.status_code for one in answers] == [201] * 3, answers[0].text
            assert len({one.json()["id"] for one in answers}) == 1
            assert len((await client.get(f"/api/v1/{path}")).json()["items"]) >= 1
            other = await client.post(
                f"/api/v1/{path}", json=body | {"is_active": True}, headers=headers
            )
            assert other.status_code == 422
        listed = (await client.get("/api/v1/incidents")).json()["items"]
        assert len(listed) == 1
        # A key is one person's: another's request with it is another request.
        another = await carol.post(
            "/api/v1/incidents",
            params={"organization_id": str(api.world.here)},
            json=IDEMPOTENT["incidents"],
            headers={"idempotency-key": "key of incidents"},
        )
        assert another.json()["id"] != listed[0]["id"]
        unusable = await client.post(
            "/api/v1/incidents", json={"title": "x"}, headers={"idempotency-key": "x" * 201}
        )
        assert unusable.status_code == 422
    with psycopg.connect(database.engine) as engine:
        kept = str(engine.execute("select response_body from apm_idempotency_keys").fetchall())
    assert "whsec_" not in kept
    assert "t0ps3cret" not in kept
    assert "apm_r_" not in kept.replace("'prefix': 'apm_r_", "")


async def test_samples_come_out_as_they_went_in(api: Running) -> None:
    async with api.as_key("admin") as client:
        sent = await client.post(
            "/api/v1/metrics",
            json={
                "samples": [
                    {
                        "service_name": "form",
                        "metric_name": "time",
                        "value": value,
                        "unit": "ms",
                        "tags": {"region": region},
                    }
                    for region, value in (("eu", 120.5), ("us", 80))
                ]
            },
        )
        assert sent.json() == {"accepted": 2, "rejected": 0, "errors": []}
        newest = (await client.get("/api/v1/query", params={"metric": "form.time"})).json()
        values = {one["tags"]["region"]: one["points"][0][1] for one in newest["series"]}
        assert values == {"eu": 120.5, "us": 80}
        narrowed = await client.get(
            "/api/v1/query", params={"metric": "form.time", "tag.region": "eu"}
        )
        assert len(narrowed.json()["series"]) == 1
        course = await client.get(
            "/api/v1/query_range",
            params={"metric": "form.time", "agg": "sum", "step": "60", "group_by": ""},
        )
        assert course.status_code == 200, course.text
        assert sum(value for _, value in course.json()["series"][0]["points"]) == 200.5
        table = await client.get(
            "/api/v1/query", params={"metric": "form.time"}, headers={"accept": "text/csv"}
        )
        assert table.headers["content-type"].startswith("text/csv")
        assert len(table.text.splitlines()) == 3
        catalogue = (await client.get("/api/v1/metrics")).json()["items"]
        assert [(one["service_name"], one["series_count"]) for one in catalogue] == [("form", 2)]
        usage = (await client.get("/api/v1/usage")).json()
        assert (usage["series"], usage["samples_last_day"]) == (2, 2)
