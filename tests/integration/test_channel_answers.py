"""What people do in Slack and PagerDuty counts here, once, and does not come back to them."""

import hmac
import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus, urlsplit
from uuid import uuid4

import httpx
import psycopg
import pytest
from psycopg.rows import dict_row
from standardwebhooks.webhooks import Webhook

from tests.support.outbox import outbox_of
from tests.support.postgres import Database
from tests.support.providers import (
    BOT_TOKEN,
    CHANNEL_ID,
    ROUTING_KEY,
    Browser,
    Providers,
    providers,
)
from tests.support.serving import Running, populate, running, settings_for
from wedsync_apm.config import Settings
from wedsync_apm.notify.vapid import encode, read_vapid
from wedsync_apm.organizations.secrets import load_keyring

SECRET = "8f742231b10e8888abcd99yyyzzz85a5"


@dataclass(frozen=True, slots=True)
class Place:
    """The API, the providers, and the engine's outbox between them."""

    api: Running
    database: Database
    world: Providers
    settings: Settings

    async def contact(self, **body: Any) -> str:
        async with self.api.as_person("alice") as alice:
            answer = await alice.post("/api/v1/contact-methods", json={"name": "Studio"} | body)
        assert answer.status_code == 201, answer.text
        made: str = answer.json()["id"]
        return made

    async def slack(self) -> str:
        return await self.contact(
            channel="slack",
            url=self.world.url("/api"),
            bot_token=BOT_TOKEN,
            channel_id=CHANNEL_ID,
            signing_secret=SECRET,
        )

    async def pagerduty(self) -> str:
        return await self.contact(
            channel="pagerduty",
            url=self.world.url("/v2/enqueue"),
            routing_key=ROUTING_KEY,
            webhook_secret=SECRET,
        )

    async def incident(self, person: str = "alice") -> str:
        async with self.api.as_person(person) as client:
            answer = await client.post("/api/v1/incidents", json={"title": f"Slow {uuid4()}"})
        assert answer.status_code == 201, answer.text
        made: str = answer.json()["id"]
        return made

    async def act(self, incident_id: str, action: str) -> None:
        async with self.api.as_person("bob") as bob:
            answer = await bob.post(f"/api/v1/incidents/{incident_id}/{action}", json={})
        assert answer.status_code in (200, 201), answer.text

    def run(self, statement: str, *values: Any) -> list[dict[str, Any]]:
        with psycopg.connect(self.database.owner, autocommit=True, row_factory=dict_row) as cx:
            cursor = cx.execute(statement.encode(), values)
            return cursor.fetchall() if cursor.description else []

    def call(self, incident_id: str, contact_id: str, kind: str = "page") -> None:
        """A message in line, as the ladder writes it."""
        self.run(
            "insert into apm_deliveries (organization_id, incident_id, contact_method_id, channel, "
            "kind, reason, recipient, idempotency_key, priority, due_at, generation) "
            "select i.organization_id, i.id, c.id, c.channel, %s, 'first', "
            "jsonb_build_object('name', c.name, 'address', c.address), gen_random_uuid(), 100, "
            "now() - interval '1 second', i.generation from apm_incidents as i "
            "join apm_contact_methods as c on c.id = %s where i.id = %s",
            kind,
            contact_id,
            incident_id,
        )

    async def deliver(self) -> None:
        """Sends what is in line."""
        async with outbox_of(
            self.database,
            keyring=load_keyring(self.settings),
            call_seconds=30.0,
            vapid=read_vapid(self.settings),
        ) as outbox:
            await outbox.run_once(datetime.now(UTC) + timedelta(seconds=1))

    async def callback(self, contact_id: str) -> str:
        """The path of a contact's callbacks."""
        async with self.api.as_person("alice") as alice:
            answer = await alice.get(f"/api/v1/contact-methods/{contact_id}/callback")
        assert answer.status_code == 200, answer.text
        return urlsplit(str(answer.json()["url"])).path

    async def post(self, path: str, body: bytes, headers: dict[str, str]) -> int:
        async with self.api.client() as anybody:
            answer = await anybody.post(path, content=body, headers=headers)
        assert SECRET not in answer.text
        return answer.status_code

    def status(self, incident_id: str) -> tuple[str, str | None, int]:
        [row] = self.run(
            "select status::text, acknowledged_by_name, (select count(*) from apm_incident_events "
            "as e where e.incident_id = i.id and e.kind = 'acknowledged')::int as n "
            "from apm_incidents as i where id = %s",
            incident_id,
        )
        return row["status"], row["acknowledged_by_name"], row["n"]

    def updates(self, contact_id: str) -> int:
        [row] = self.run(
            "select count(*)::int as n from apm_deliveries "
            "where contact_method_id = %s and kind = 'update'",
            contact_id,
        )
        return int(row["n"])


@pytest.fixture
async def place(database: Database, tmp_path: Path) -> AsyncIterator[Place]:
    settings = settings_for(database, tmp_path)
    async with running(settings, populate(database)) as api, providers() as world:
        yield Place(api, database, world, settings)


def tap(value: str) -> tuple[bytes, dict[str, str]]:
    said = {
        "type": "block_actions",
        "trigger_id": str(uuid4()),
        "user": {"id": "U1", "name": "Priya"},
        "actions": [{"action_id": "acknowledge", "type": "button", "value": value}],
    }
    body = b"payload=" + quote_plus(json.dumps(said)).encode()
    stamp = str(int(time.time()))
    digest = hmac.new(SECRET.encode(), f"v0:{stamp}:".encode() + body, sha256).hexdigest()
    return body, {
        "content-type": "application/x-www-form-urlencoded",
        "x-slack-request-timestamp": stamp,
        "x-slack-signature": f"v0={digest}",
    }


def event(
    incident_id: str, kind: str = "acknowledged", at: datetime | None = None, **changes: Any
) -> tuple[bytes, dict[str, str]]:
    made = {
        "id": str(uuid4()),
        "event_type": f"incident.{kind}",
        "occurred_at": (at or datetime.now(UTC)).isoformat(),
        "agent": {"type": "user_reference", "summary": "Earline"},
        "data": {"incident_key": f"wedsync-incident-{incident_id}"},
    }
    body = json.dumps({"event": made | changes}).encode()
    digest = hmac.new(SECRET.encode(), body, sha256).hexdigest()
    return body, {
        "content-type": "application/json",
        "x-pagerduty-signature": f"v1={'0' * 64},v1={digest}",
    }


async def test_a_tap_in_slack_stops_the_calls_and_changes_the_message(place: Place) -> None:
    contact_id, incident_id = await place.slack(), await place.incident()
    path = await place.callback(contact_id)
    place.call(incident_id, contact_id)
    await place.deliver()
    [message] = place.world.messages.values()
    [button] = message["blocks"][-1]["elements"]
    body, headers = tap(button["value"])
    for _ in range(3):  # Slack's own repeats, or somebody's replay
        assert await place.post(path, body, headers) == 200
    assert place.status(incident_id) == ("acknowledged", "Priya", 1)
    assert await place.post(path, *tap(button["value"])) == 200
    assert place.status(incident_id) == ("acknowledged", "Priya", 1)
    await place.deliver()
    assert place.world.posts == 1
    assert [block["type"] for block in message["blocks"]] == ["header", "section"]
    assert "Priya has had it in hand since" in message["blocks"][1]["text"]["text"]
    await place.act(incident_id, "resolve")
    await place.deliver()
    assert "Working again since" in message["blocks"][1]["text"]["text"]
    assert place.world.posts == 2


async def test_a_tap_and_a_page_answer_a_drill(place: Place) -> None:
    slack, pager = await place.slack(), await place.pagerduty()
    place.run("update apm_contact_methods set verified_at = now()")
    async with place.api.as_person("alice") as alice:
        made = await alice.post("/api/v1/drills", json={"reason": "June"})
        assert made.status_code == 201, made.text
    await place.deliver()

    def answers() -> dict[str, str | None]:
        rows = place.run("select channel::text, how from apm_drill_calls")
        return {row["channel"]: row["how"] for row in rows}

    assert answers() == {"slack": None, "pagerduty": None}
    [message] = place.world.messages.values()
    assert message["text"].startswith("EXERCISE")
    [button] = message["blocks"][-1]["elements"]
    # The address of another contact's callbacks answers for nobody.
    assert await place.post(await place.callback(pager), *tap(button["value"])) == 401
    assert answers()["slack"] is None
    for _ in range(2):
        assert await place.post(await place.callback(slack), *tap(button["value"])) == 200
    assert answers() == {"slack": "slack", "pagerduty": None}
    [sent] = [json.loads(one.body) for one in place.world.requests if one.path == "/v2/enqueue"]
    assert sent["payload"]["summary"].startswith("EXERCISE")
    body, headers = event("", data={"incident_key": sent["dedup_key"]})
    for _ in range(2):
        assert await place.post(await place.callback(pager), body, headers) == 200
    assert answers() == {"slack": "slack", "pagerduty": "pagerduty"}
    assert place.run("select 1 from apm_incidents") == []


async def test_nobody_is_believed_at_the_door_without_reason(place: Place) -> None:
    contact_id, incident_id = await place.slack(), await place.incident()
    path = await place.callback(contact_id)
    place.call(incident_id, contact_id)
    await place.deliver()
    body, headers = tap(f"{incident_id}:1")
    assert await place.post(path, body, {**headers, "x-slack-signature": "v0=" + "0" * 64}) == 401
    assert await place.post(path, body, {}) == 401
    assert await place.post(path, body + b"&", headers) == 401
    assert await place.post(path[:-1] + ("A" if path[-1] != "A" else "B"), body, headers) == 404
    assert await place.post(path.replace(contact_id, str(uuid4())), body, headers) == 404
    assert await place.post("/api/v1/webhooks/nobody/nothing", body, headers) == 404
    place.run("update apm_contact_methods set disabled_at = now() where id = %s", contact_id)
    assert await place.post(path, body, headers) == 404
    assert place.status(incident_id)[0] == "open"


async def test_a_contact_speaks_for_what_it_was_told_of_and_nothing_else(place: Place) -> None:
    contact_id, theirs = await place.slack(), await place.incident("oscar")
    untold = await place.incident()
    path = await place.callback(contact_id)
    for incident_id in (theirs, untold, str(uuid4())):
        assert await place.post(path, *tap(f"{incident_id}:1")) == 200
    assert place.status(theirs)[0] == place.status(untold)[0] == "open"
    # A button of a coming before this one says nothing about this one.
    place.call(untold, contact_id)
    await place.act(untold, "resolve")
    await place.act(untold, "reopen")
    assert await place.post(path, *tap(f"{untold}:1")) == 200
    assert place.status(untold)[0] == "open"


@pytest.mark.parametrize("kind", ["acknowledged", "resolved", "reassigned"])
async def test_what_is_done_at_pagerduty_counts_here_and_is_not_sent_back(
    kind: str, place: Place
) -> None:
    pager, slack = await place.pagerduty(), await place.slack()
    incident_id = await place.incident()
    path = await place.callback(pager)
    for contact_id in (pager, slack):
        place.call(incident_id, contact_id)
    await place.deliver()
    body, headers = event(incident_id, kind)
    for _ in range(2):
        assert await place.post(path, body, headers) == 200
    assert place.status(incident_id) == ("acknowledged", "Earline", 1)
    assert place.updates(pager) == 0
    assert place.updates(slack) == 1
    await place.deliver()
    actions = [
        json.loads(one.body)["event_action"]
        for one in place.world.requests
        if one.path == "/v2/enqueue"
    ]
    assert actions == ["trigger"]


async def test_what_is_done_here_is_told_to_pagerduty_and_its_echo_does_nothing(
    place: Place,
) -> None:
    pager, incident_id = await place.pagerduty(), await place.incident()
    path = await place.callback(pager)
    place.call(incident_id, pager)
    await place.deliver()
    await place.act(incident_id, "acknowledge")
    await place.deliver()
    [there] = place.world.incidents
    assert there.status == "acknowledged"
    machine = {"type": "events_api_v2_inbound_integration_reference"}
    assert await place.post(path, *event(incident_id, agent=machine)) == 200
    assert place.status(incident_id) == ("acknowledged", "Bob", 1)
    await place.act(incident_id, "resolve")
    await place.deliver()
    assert there.status == "resolved"
    assert await place.post(path, *event(incident_id, "resolved", agent=machine)) == 200
    assert place.status(incident_id)[0] == "resolved"
    assert place.updates(pager) == 1


async def test_a_late_callback_is_of_a_trouble_that_is_over(place: Place) -> None:
    """Callbacks overtake each other; what was meant is what went on when it happened."""
    pager, incident_id = await place.pagerduty(), await place.incident()
    path = await place.callback(pager)
    place.call(incident_id, pager)
    await place.deliver()
    then = datetime.now(UTC)
    resolved = event(incident_id, "resolved")
    await place.act(incident_id, "resolve")
    await place.act(incident_id, "reopen")
    assert await place.post(path, *resolved) == 200
    assert await place.post(path, *event(incident_id, at=then)) == 200
    assert place.status(incident_id)[0] == "open"
    assert await place.post(path, *event(incident_id)) == 200
    assert place.status(incident_id)[0] == "acknowledged"


async def test_a_browser_subscribes_is_told_and_is_given_up_when_it_is_gone(place: Place) -> None:
    async with place.api.as_person("bob") as bob:
        answer = await bob.get("/api/v1/push/public-key")
        assert answer.json() == {"public_key": read_vapid(place.settings).public_key}
    browser = place.world.browsers.setdefault("one", Browser())
    contact_id = await place.contact(
        channel="push",
        url=place.world.url("/push/one"),
        p256dh=browser.p256dh,
        auth=encode(browser.auth),
    )
    first, second = await place.incident(), await place.incident()
    place.call(first, contact_id)
    await place.deliver()
    [shown] = browser.shown
    assert shown["tag"] == first
    await place.act(first, "acknowledge")
    await place.deliver()
    assert [one["status"] for one in browser.shown] == ["open", "acknowledged"]
    browser.is_gone = True
    place.call(second, contact_id)
    await place.deliver()
    [row] = place.run(
        "select disabled_at, disabled_reason, (select state from apm_deliveries as d "
        "where d.contact_method_id = c.id and d.incident_id = %s and d.kind = 'page') as state "
        "from apm_contact_methods as c where id = %s",
        second,
        contact_id,
    )
    assert row["disabled_at"] is not None
    assert (row["state"], row["disabled_reason"]) == ("failed", "this browser has unsubscribed")


async def test_a_webhooks_key_changes_over_and_its_receiver_stays_verified(place: Place) -> None:
    async with place.api.as_person("alice") as alice:
        made = await alice.post(
            "/api/v1/contact-methods",
            json={"name": "Board", "channel": "webhook", "url": place.world.url("/hook")},
        )
        url = f"/api/v1/contact-methods/{made.json()['id']}"
        place.run("update apm_contact_methods set verified_at = now()")
        before = (await alice.get(url)).json()
        rotated = await alice.post(f"{url}/rotate-key")
        assert rotated.status_code == 200, rotated.text
        after = (await alice.get(url)).json()
        assert after["verified_at"] == before["verified_at"]
        assert after["secret_fingerprint"] != before["secret_fingerprint"]
        told = rotated.json()
        assert told["fingerprint"] != told["previous_fingerprint"]
        assert (await alice.post(f"{url}/test")).status_code == 202
        log = await alice.get("/api/v1/audit-log")
        assert told["signing_key"] not in log.text
    await place.deliver()
    [seen] = place.world.webhooks
    for key in (made.json()["signing_key"], told["signing_key"]):
        Webhook(key).verify(seen.body, seen.headers, json_parse=False)
    async with place.api.as_person("bob") as bob:
        assert (await bob.post(f"{url}/rotate-key")).status_code == 403
    async with place.api.as_person("oscar") as oscar:
        assert (await oscar.post(f"{url}/rotate-key")).status_code == 404
    slack = await place.slack()
    async with place.api.as_person("alice") as alice:
        wrong = await alice.post(f"/api/v1/contact-methods/{slack}/rotate-key")
        assert wrong.status_code == 409
        assert (await alice.get(f"{url}/callback")).status_code == 409


async def test_what_is_sealed_changes_field_by_field_and_is_never_shown(place: Place) -> None:
    contact_id = await place.pagerduty()
    url = f"/api/v1/contact-methods/{contact_id}"
    async with place.api.as_person("alice") as alice:
        before = (await alice.get(url)).json()
        changed = await alice.patch(url, json={"webhook_secret": "n" * 32})
        assert changed.status_code == 200, changed.text
        assert changed.json()["secret_fingerprint"] != before["secret_fingerprint"]
        for secret in (ROUTING_KEY, SECRET, "n" * 32):
            assert secret not in changed.text
        wrong = await alice.patch(url, json={"bot_token": BOT_TOKEN})
        assert refused_fields(wrong) == ["bot_token"]
        odd = await alice.post(
            "/api/v1/contact-methods",
            json={"name": "x", "channel": "email", "address": "a@b.example", "url": "https://x"},
        )
        assert refused_fields(odd) == ["url"]
    incident_id, path = await place.incident(), await place.callback(contact_id)
    place.call(incident_id, contact_id)
    await place.deliver()
    assert [one.status for one in place.world.incidents] == ["triggered"]
    # Signed with the secret that was replaced.
    assert await place.post(path, *event(incident_id)) == 401


def refused_fields(answer: httpx.Response) -> list[str]:
    assert answer.status_code == 422, answer.text
    return [one["field"] for one in answer.json()["errors"]]
