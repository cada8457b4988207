"""The guard mode, the freeze and approvals over HTTP, and the command that a pipeline runs."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from tests.support.postgres import Database
from tests.support.serving import Running, populate, running, settings_for
from wedsync_apm.administration import store as administration
from wedsync_apm.types import KeyScope

TUESDAY = "2026-06-16T12:00:00Z"
FRIDAY_EVENING = "2026-06-19T18:30:00Z"
SATURDAY = "2026-06-20T12:00:00Z"


@pytest.fixture
async def api(database: Database, tmp_path: Path) -> AsyncIterator[Running]:
    async with running(settings_for(database, tmp_path), populate(database)) as process:
        yield process


async def ask(api: Running, person: str, **query: Any) -> dict[str, Any]:
    async with api.as_person(person) as client:
        answer = await client.get("/api/v1/freeze", params={"service": "forms", **query})
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


def add_wedding(database: Database, organization_id: Any, day: str) -> None:
    with psycopg.connect(database.owner, autocommit=True) as cx:
        cx.execute(
            "insert into apm_weddings (organization_id, couple_initials, wedding_date) "
            "values (%s, 'A & J', %s)",
            (organization_id, day),
        )


def calm_the_week(database: Database) -> None:
    """Whatever day it is: no freeze and no guard mode by the calendar for days around it."""
    moment = timedelta(days=(datetime.now(UTC).weekday() + 3) % 7)
    spans = ", ".join(
        f"{name}_from = %(at)s, {name}_until = %(at)s + interval '1 minute'"
        for name in ("freeze", "enhanced", "maximum")
    )
    with psycopg.connect(database.owner, autocommit=True) as cx:
        cx.execute(f"update apm_private.guard_settings set {spans}".encode(), {"at": moment})


async def test_everybody_reads_the_mode_and_operators_order_it(
    api: Running, database: Database
) -> None:
    calm_the_week(database)
    async with api.as_person("vera") as vera, api.as_person("olga") as olga:
        saturday = (await vera.get("/api/v1/guard-mode", params={"at": SATURDAY})).json()
        assert (saturday["season"]["is_season"], saturday["season"]["capacity_factor"]) == (
            True,
            1.6,
        )
        assert (await vera.get("/api/v1/guard-mode", params={"region": "moon"})).status_code == 404
        now = (await vera.get("/api/v1/guard-mode")).json()
        assert (now["mode"], now["source"], now["who"]) == ("normal", "calendar", "calendar")

        order = {"mode": "maximum", "reason": "a rumour of an attack", "minutes": 30}
        for stranger in ("vera", "alice"):
            async with api.as_person(stranger) as client:
                refused = await client.post("/api/v1/guard-mode/overrides", json=order)
                assert refused.status_code == 403, stranger
                assert (await client.get("/api/v1/guard-mode/overrides")).status_code == 403
        for wrong in ({"minutes": 481}, {"minutes": 0}, {"reason": "  "}, {"mode": "calm"}):
            answer = await olga.post("/api/v1/guard-mode/overrides", json=order | wrong)
            assert answer.status_code == 422, wrong
        repeated = {"idempotency-key": "once"}
        made = await olga.post("/api/v1/guard-mode/overrides", json=order, headers=repeated)
        assert made.status_code == 201, made.text
        again = await olga.post("/api/v1/guard-mode/overrides", json=order, headers=repeated)
        assert again.json()["id"] == made.json()["id"]
        now = (await vera.get("/api/v1/guard-mode")).json()
        assert (now["mode"], now["who"], now["why"]) == ("maximum", "Olga", "a rumour of an attack")
        assert now["until"] == made.json()["ends_at"]
        assert now["calendar"]["mode"] == "normal"

        lower = {"mode": "normal", "reason": "false alarm", "minutes": 30}
        refused = await olga.post("/api/v1/guard-mode/overrides", json=lower)
        assert refused.status_code == 422
        assert "emergency" in refused.text
        end = f"/api/v1/guard-mode/overrides/{made.json()['id']}/end"
        assert (await olga.post(end, json={"reason": "false alarm"})).status_code == 422
        ended = await olga.post(end, json={"reason": "false alarm", "emergency": "security"})
        assert ended.status_code == 200, ended.text
        assert ended.json()["end_reason"] == "security: false alarm"
        assert (await olga.post(end, json={"reason": "again"})).status_code == 409
        assert (await vera.get("/api/v1/guard-mode")).json()["mode"] == "normal"
        [listed] = (await olga.get("/api/v1/guard-mode/overrides")).json()["items"]
        assert listed["id"] == made.json()["id"]
        # In the log of the platform's own organization, by name.
        log = (await olga.get("/api/v1/audit-log")).json()["items"]
        kinds = [(e["actor"], e["action"]) for e in log if e["object_type"] == "guard_overrides"]
        assert kinds == [("Olga", "update"), ("Olga", "insert")]


async def test_settings_are_moments_of_a_week(api: Running) -> None:
    path = "/api/v1/guard-mode/settings"
    async with api.as_person("olga") as olga, api.as_person("vera") as vera:
        found = (await vera.get(path)).json()
        assert (found["freeze_from"], found["freeze_until"]) == ("fri 18:00", "mon 00:00")
        assert (found["enhanced_from"], found["maximum_from"]) == ("fri 20:00", "sat 00:00")
        assert (await vera.patch(path, json={"watch_days": 0})).status_code == 403
        changed = await olga.patch(path, json={"freeze_until": "sun 23:00", "time_zone": "UTC"})
        assert changed.status_code == 200, changed.text
        assert changed.json()["freeze_until"] == "sun 23:00"
        for wrong in (
            {"freeze_until": "sun 25:00"},
            {"time_zone": "Mars"},
            {"seasons": {"north": {"13": 1.2}}},
            {"seasons": {"north": {"5": 0.2}}},
            {"nothing": 1},
        ):
            assert (await olga.patch(path, json=wrong)).status_code == 422, wrong
        sunday = await ask(api, "vera", at="2026-06-21T22:59:00Z")
        monday = await ask(api, "vera", at="2026-06-21T23:00:00Z")
        assert (sunday["decision"], monday["decision"]) == ("blocked", "allow")


async def test_the_week_decides_and_then_the_weddings(api: Running, database: Database) -> None:
    assert (await ask(api, "vera", at=TUESDAY))["decision"] == "allow"
    assert (await ask(api, "vera", at=TUESDAY))["until"] == "2026-06-19T17:00:00Z"
    for at, codes in (
        (FRIDAY_EVENING, ["weekly_freeze"]),
        (SATURDAY, ["weekly_freeze", "guard_mode"]),
    ):
        found = await ask(api, "vera", at=at)
        assert found["decision"] == "blocked"
        assert [reason["code"] for reason in found["reasons"]] == codes
        assert found["until"] == "2026-06-21T23:00:00Z"

    add_wedding(database, api.world.here, "2026-06-17")
    add_wedding(database, api.world.there, "2026-06-18")
    # A member: his own wedding, tomorrow, with initials and never with names.
    found = await ask(api, "vera", at=TUESDAY)
    assert found["decision"] == "blocked"
    [reason] = found["reasons"]
    assert (reason["code"], reason["wedding_count"]) == ("wedding_near", 1)
    [wedding] = reason["weddings"]
    assert (wedding["initials"], wedding["organization_id"]) == ("A & J", str(api.world.here))
    # Somebody of the other one: that is in two days.
    found = await ask(api, "oscar", at=TUESDAY)
    assert (found["decision"], found["reasons"][0]["code"]) == ("needs_approval", "wedding_week")
    assert str(api.world.here) not in json.dumps(found)
    async with api.as_person("oscar") as oscar:
        query = {"service": "forms", "organization_id": str(api.world.here)}
        assert (await oscar.get("/api/v1/freeze", params=query)).status_code == 404
    # An operator: both, as counts by organization.
    found = await ask(api, "olga", at="2026-06-17T12:00:00Z")
    assert found["decision"] == "blocked"
    named = {one["name"]: one["weddings"] for r in found["reasons"] for one in r["organizations"]}
    assert named == {"Hart Flowers": 1, "Moss Photography": 1}
    assert all(reason["weddings"] == [] for reason in found["reasons"])
    assert "A & J" not in json.dumps(found)


async def test_a_question_that_cannot_be_read_is_refused(api: Running) -> None:
    async with api.as_person("vera") as vera, api.as_key("ingest") as ingest:
        times = ("soon", "9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z", "68719476735")
        faulty = [{}, {"service": ""}, {"service": "x" * 201}]
        for query in (*faulty, *({"service": "x", "at": at} for at in times)):
            answer = await vera.get("/api/v1/freeze", params=query)
            assert answer.status_code == 422, query
            assert {one["field"] for one in answer.json()["errors"]} <= {"service", "at"}, query
        refused = await ingest.get("/api/v1/freeze", params={"service": "forms"})
        assert refused.status_code == 403
        far = await vera.get(
            "/api/v1/freeze", params={"service": "x", "at": "2199-12-31T00:00:00Z"}
        )
        assert far.status_code == 200
        assert far.json()["decision"] in ("allow", "blocked")
    async with api.client() as nobody:
        assert (await nobody.get("/api/v1/freeze?service=x")).status_code == 401


async def test_an_organization_that_nobody_knows_is_not_free_to_change(
    api: Running, database: Database, tmp_path: Path
) -> None:
    nobody = str(uuid4())
    with administration.connect(database.engine) as cx:
        key = administration.create_key(
            cx, name="pipeline", scope=KeyScope.READ, organization_id=None
        ).secret
    query = {"service": "forms", "organization_id": nobody, "at": TUESDAY}
    async with api.as_person("olga") as olga, api.as_person("vera") as vera:
        for client, headers in ((olga, {}), (vera, {}), (olga, {"authorization": f"Bearer {key}"})):
            answer = await client.get("/api/v1/freeze", params=query, headers=headers)
            assert answer.status_code == 404, answer.text
            assert nobody in answer.json()["detail"]
        known = query | {"organization_id": str(api.world.here)}
        found = (await olga.get("/api/v1/freeze", params=known)).json()
        assert found["organization_id"] == str(api.world.here)
        assert found["organization_name"] == "Hart Flowers"
    forms = ("--service", "forms", "--at", TUESDAY)
    here = ("--data-dir", str(tmp_path), "--database-url", database.owner)
    for way, env in ((("--url", api.url), {"WEDSYNC_APM_API_KEY": key}), (here, {})):
        code, out, err = await command(*forms, *way, "--organization", nobody, **env)
        assert (code, out) == (2, "")
        assert nobody in err
        code, out, _ = await command(*forms, *way, "--organization", str(api.world.here), **env)
        assert (code, out[:49]) == (0, "allow: forms may be changed for Hart Flowers, unt")


async def test_a_key_cannot_agree_with_itself(api: Running, database: Database) -> None:
    async with api.as_key("admin") as key:
        answer = await key.post(
            "/api/v1/freeze/approvals", json={"reason": "it must go out", "minutes": 30}
        )
        assert answer.status_code == 403
        assert "A person must approve it" in answer.json()["detail"]
        assert (await key.get("/api/v1/freeze/approvals")).json()["items"] == []


async def test_an_approval_lifts_what_it_may_and_ends(api: Running, database: Database) -> None:
    calm_the_week(database)
    ahead = (datetime.now(UTC) + timedelta(days=4)).date()
    add_wedding(database, api.world.here, ahead.isoformat())
    path = "/api/v1/freeze/approvals"
    approval = {"reason": "a typing error on the form", "minutes": 30, "service": "forms"}
    assert (await ask(api, "vera"))["decision"] == "needs_approval"
    async with api.as_person("alice") as alice, api.as_person("bob") as bob:
        assert (await bob.post(path, json=approval)).status_code == 403
        made = await alice.post(path, json=approval)
        assert made.status_code == 201, made.text
        assert made.json()["organization_id"] == str(api.world.here)
        found = await ask(api, "vera")
        assert found["decision"] == "allow"
        assert found["reasons"][0]["approval"]["who"] == "Alice"
        assert found["until"] == made.json()["ends_at"]
        assert (await ask(api, "vera", service="mail"))["decision"] == "needs_approval"
        listed = (await bob.get(path)).json()["items"]
        assert [one["id"] for one in listed] == [made.json()["id"]]
        async with api.as_person("oscar") as oscar:
            assert (await oscar.get(path)).json()["items"] == []
            assert (await oscar.delete(f"{path}/{made.json()['id']}")).status_code == 404
        assert (await alice.delete(f"{path}/{made.json()['id']}")).status_code == 204
        assert (await alice.delete(f"{path}/{made.json()['id']}")).status_code == 409
        assert (await ask(api, "vera"))["decision"] == "needs_approval"
        # A ban: no approval but an emergency's, and a plan with it.
        add_wedding(database, api.world.here, datetime.now(UTC).date().isoformat())
        assert (await ask(api, "vera"))["decision"] == "blocked"
        await alice.post(path, json=approval)
        assert (await ask(api, "vera"))["decision"] == "blocked"
        emergency = approval | {"emergency": "payment"}
        assert (await alice.post(path, json=emergency)).status_code == 422
        await alice.post(path, json=emergency | {"rollback_plan": "deploy the one before"})
        assert (await ask(api, "vera"))["decision"] == "allow"
        # which an operator's question does not see lifted beyond her own weddings
        assert (await ask(api, "olga"))["decision"] == "allow"
        add_wedding(database, api.world.there, datetime.now(UTC).date().isoformat())
        assert (await ask(api, "olga"))["decision"] == "blocked"


async def test_a_calendar_that_no_calculation_bears_bans(api: Running, database: Database) -> None:
    with psycopg.connect(database.owner, autocommit=True) as cx:
        # Through every check: as if a restore had brought it.
        cx.execute(
            "alter table apm_private.guard_settings "
            "drop constraint guard_settings_wedding_days_before_check"
        )
        cx.execute("update apm_private.guard_settings set wedding_days_before = 2000000000")
    add_wedding(database, api.world.here, "2026-06-20")
    found = await ask(api, "vera", at=TUESDAY)
    assert (found["decision"], found["until"]) == ("blocked", None)
    assert found["reasons"][0]["code"] == "calendar_unreadable"


async def test_the_platforms_page_tells_the_mode(api: Running) -> None:
    async with api.as_person("olga") as olga:
        order = {"mode": "maximum", "reason": "a rumour of an attack", "minutes": 30}
        await olga.post("/api/v1/guard-mode/overrides", json=order)
    async with api.client() as browser:
        browser.cookies.set("wedsync_session", api.token("olga"))
        page = await browser.get("/platform/database", timeout=60)
    assert page.status_code == 200
    if "by Olga" in page.text:
        assert "a rumour of an attack" in page.text
    else:  # on a Saturday the calendar says the same, and is told
        assert "Guard mode maximum" in page.text


async def command(*arguments: str, **env: str) -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "wedsync_apm", "freeze", "check", *arguments,
        env={k: v for k, v in os.environ.items() if not k.startswith("WEDSYNC_APM_")} | env,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await process.communicate()
    return process.returncode or 0, out.decode(), err.decode()


async def test_a_pipeline_goes_on_with_zero_alone(
    api: Running, database: Database, tmp_path: Path
) -> None:
    with administration.connect(database.engine) as cx:
        key = administration.create_key(
            cx, name="pipeline", scope=KeyScope.READ, organization_id=None
        ).secret
    forms = ("--service", "forms", "--url", api.url)
    env = {"WEDSYNC_APM_API_KEY": key}
    code, out, err = await command(*forms, "--at", TUESDAY, **env)
    assert (code, err) == (0, ""), out
    assert out.startswith("allow: forms may be changed, until 2026-06-19T17:00:00+00:00")
    code, out, _ = await command(*forms, "--at", SATURDAY, "--json", **env)
    assert code == 1
    assert json.loads(out)["decision"] == "blocked"
    add_wedding(database, api.world.here, "2026-06-17")
    code, out, _ = await command(*forms, "--at", TUESDAY, **env)
    assert code == 1
    assert "Hart Flowers: 1" in out
    assert "A & J" not in out
    # The same from the database, beside the server.
    here = ("--service", "forms", "--data-dir", str(tmp_path), "--database-url", database.owner)
    code, out, _ = await command(*here, "--at", TUESDAY)
    assert code == 1
    assert "Hart Flowers: 1" in out
    assert (await command(*here, "--at", "2026-06-09T12:00:00Z"))[0] == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "--service"),
        (("--service", " "), "--service"),
        (("--service", "x", "--at", "soon"), "--at"),
        (("--service", "x", "--timeout", "0"), "--timeout"),
        (("--service", "x", "--url", "http://127.0.0.1:1"), "WEDSYNC_APM_API_KEY"),
        (("--service", "x", "--data-dir", "/nonexistent"), "No server runs"),
        (("--service", "x", "--database-url", "postgresql://a@127.0.0.1:1/b"), "error:"),
        (("--service", "x", "--database-url", "nonsense"), "error:"),
    ],
)
async def test_wrong_usage_and_no_answer_are_two(arguments: tuple[str, ...], words: str) -> None:
    code, out, err = await command(*arguments)
    assert (code, out) == (2, "")
    assert words in err
    assert "Traceback" not in err


def _allow(**changes: str) -> bytes:
    allow: dict[str, object] = {
        "service": "forms",
        "organization_id": None,
        "organization_name": None,
        "at": "2026-06-16T12:00:00Z",
        "decision": "allow",
        "reasons": [],
        "until": None,
    }
    body = json.dumps(allow | changes).encode()
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 401 No\r\nContent-Length: 17\r\n\r\n{\"detail\": \"who\"}",
        b"HTTP/1.1 302 Found\r\nLocation: /allow\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 21\r\n\r\n{\"decision\": \"allow\"}",
        _allow(),
        _allow(service="other"),
        _allow(organization_id="8c1f6e0a-93a5-4d0b-9a57-5ad1b1f3c001"),
        b"HTTP/1.1 200 OK\r\nContent-Length: 400\r\n\r\n{",
        b"nonsense\r\n\r\n",
        None,
    ],
)  # fmt: skip
async def test_whatever_a_server_says_that_is_no_answer_is_two(answer: bytes | None) -> None:
    is_over = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        if answer is None:
            await reader.read()
        else:
            writer.write(answer)
            await writer.drain()
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()
        is_over.set()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        code, out, err = await command(
            "--service", "forms", "--url", url, "--timeout", "5", WEDSYNC_APM_API_KEY="apm_r_x"
        )
        await asyncio.wait_for(is_over.wait(), 60)
    if answer == _allow():
        assert (code, err) == (0, ""), out
        return
    assert (code, out) == (2, ""), err
    assert err.startswith("error: ")
    assert "Traceback" not in err
