"""A contact is verified by the code that reached it, and by nothing else."""

import json
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email import message_from_bytes
from email.policy import default
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.support.outbox import outbox_of
from tests.support.postgres import Database
from tests.support.serving import Running, populate, running, settings_for
from tests.support.worst_day import worst_day
from tests.support.worst_mail import WorstMail, worst_mail
from wedsync_apm.organizations.secrets import Keyring, load_keyring


@dataclass(frozen=True, slots=True)
class Place:
    """The API, and the engine's outbox beside it with a mail server."""

    api: Running
    database: Database
    mail: WorstMail
    keyring: Keyring

    async def deliver(self) -> str:
        """Sends what is in line; gives the text of the newest mail."""
        async with outbox_of(
            self.database, mail_port=self.mail.port, keyring=self.keyring
        ) as outbox:
            await outbox.run_once(datetime.now(UTC))
        if not self.mail.mails:
            return ""
        part = message_from_bytes(self.mail.mails[-1], policy=default).get_body(("plain",))
        assert part is not None
        return str(part.get_content())

    async def contact(self, **more: Any) -> str:
        body = {"name": "Priya", "channel": "email", "address": "priya@fern.example"} | more
        async with self.api.as_person("alice") as alice:
            answer = await alice.post("/api/v1/contact-methods", json=body)
        assert answer.status_code == 201, answer.text
        return f"/api/v1/contact-methods/{answer.json()['id']}"

    def run(self, statement: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.database.owner, autocommit=True) as cx:
            cursor = cx.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []


@pytest.fixture
async def place(database: Database, tmp_path: Path) -> AsyncIterator[Place]:
    settings = settings_for(database, tmp_path)
    async with running(settings, populate(database)) as api, worst_mail() as mail:
        yield Place(api, database, mail, load_keyring(settings))


def code_in(text: str) -> str:
    (code,) = re.findall(r"^(\d{6}) is the code", text, re.MULTILINE)
    return str(code)


def wrong(code: str) -> str:
    return f"{(int(code) + 1) % 1_000_000:06d}"


async def test_a_code_that_comes_back_verifies_and_another_address_does_not_stay_so(
    place: Place,
) -> None:
    url = await place.contact(user_id=str(place.api.world.people["bob"]))
    async with place.api.as_person("bob") as bob:
        sent = await bob.post(f"{url}/verify/start")
        assert sent.status_code == 202, sent.text
        code = code_in(await place.deliver())
        shown = (await bob.get(f"/api/v1/deliveries/{sent.json()['delivery_id']}")).json()
        assert (shown["kind"], shown["state"]) == ("verify", "sent")
        assert code not in str(shown)
        assert place.run("select count(*) from apm_deliveries where body ~ '[0-9]{6}'") == [(0,)]
        assert (await bob.get(url)).json()["verified_at"] is None
        done = await bob.post(f"{url}/verify", json={"code": code})
        assert done.status_code == 200, done.text
        assert done.json()["verified_at"] is not None
        assert (await bob.post(f"{url}/verify", json={"code": code})).status_code == 409
    async with place.api.as_person("alice") as alice:
        named = await alice.patch(url, json={"name": "Priya, studio"})
        assert named.json()["verified_at"] is not None, "a name is no address"
        changed = await alice.patch(url, json={"address": "other@fern.example"})
        assert changed.json()["verified_at"] is None
        assert (await alice.post(f"{url}/verify", json={"code": code})).status_code == 409
        log = (await alice.get("/api/v1/audit-log")).json()["items"]
        assert any(
            one["object_type"] == "apm_contact_methods" and one["actor"] == "Bob" for one in log
        )


async def test_an_apprise_address_is_proven_by_a_code_that_came_to_it(place: Place) -> None:
    async with worst_day() as day, place.api.as_person("alice") as alice:
        url = await place.contact(
            channel="apprise", address="", url=day.url("/ok/T0P5ECRET").replace("http", "json", 1)
        )
        shown = (await alice.get(url)).json()
        assert (shown["address"], shown["verified_at"]) == ("JSON", None)
        await alice.post(f"{url}/verify/start")
        await place.deliver()
        [seen] = day.requests
        code = code_in(json.loads(seen.body)["message"])
        done = await alice.post(f"{url}/verify", json={"code": code})
        assert done.status_code == 200, done.text
        elsewhere = {"url": "json://elsewhere.example/x"}
        assert (await alice.patch(url, json=elsewhere)).json()["verified_at"] is None
        # What the library cannot read shows when the code is to go out.
        assert (await alice.patch(url, json={"url": "pover://short"})).status_code == 200
        sent = await alice.post(f"{url}/verify/start")
        await place.deliver()
        told = (await alice.get(f"/api/v1/deliveries/{sent.json()['delivery_id']}")).json()
        assert told["state"] == "failed"
        assert "cannot read it as an address of Pushover" in str(told)
        assert len(day.requests) == 1
        wrong = await alice.patch(url, json={"url": "slack://a/b/c"})
        assert wrong.status_code == 422
        assert "the channel slack" in wrong.text
        assert "T0P5ECRET" not in (await alice.get("/api/v1/audit-log")).text


async def test_wrong_codes_are_counted_and_five_make_it_void(place: Place) -> None:
    url = await place.contact()
    async with place.api.as_person("alice") as alice:
        assert (await alice.post(f"{url}/verify", json={"code": "123456"})).status_code == 409
        await alice.post(f"{url}/verify/start")
        code = code_in(await place.deliver())
        for _ in range(5):
            answer = await alice.post(f"{url}/verify", json={"code": wrong(code)})
            assert answer.status_code == 422
        answer = await alice.post(f"{url}/verify", json={"code": code})
        assert answer.status_code == 429
        await alice.post(f"{url}/verify/start")
        fresh = code_in(await place.deliver())
        assert (await alice.post(f"{url}/verify", json={"code": fresh})).status_code == 200
        for _ in range(3):
            assert (await alice.post(f"{url}/verify/start")).status_code == 202
        assert (await alice.post(f"{url}/verify/start")).status_code == 429


async def test_an_old_code_is_none(place: Place) -> None:
    url = await place.contact()
    async with place.api.as_person("alice") as alice:
        await alice.post(f"{url}/verify/start")
        code = code_in(await place.deliver())
        place.run("update apm_private.contact_codes set expires_at = now() - interval '1 second'")
        assert (await alice.post(f"{url}/verify", json={"code": code})).status_code == 409
        assert (await alice.get(url)).json()["verified_at"] is None


@pytest.mark.parametrize(
    ("person", "status"), [("bob", 403), ("vera", 404), ("oscar", 404), ("nora", 404)]
)
async def test_nobody_else_verifies_or_tests_it(place: Place, person: str, status: int) -> None:
    url = await place.contact()
    async with place.api.as_person(person) as other:
        for path, body in (
            ("/verify/start", None),
            ("/verify", {"code": "1" * 6}),
            ("/test", None),
        ):
            answer = await other.post(url + path, json=body)
            assert answer.status_code == status, (path, answer.text)
    assert place.run("select count(*) from apm_deliveries") == [(0,)]


async def test_a_test_message_arrives_and_there_is_an_end_of_them(place: Place) -> None:
    url = await place.contact()
    async with place.api.as_person("alice") as alice:
        sent = await alice.post(f"{url}/test")
        assert sent.status_code == 202, sent.text
        assert "Nothing is wrong" in await place.deliver()
        for _ in range(11):
            assert (await alice.post(f"{url}/test")).status_code == 202
        assert (await alice.post(f"{url}/test")).status_code == 429
        await alice.patch(url, json={"is_disabled": True})
        assert (await alice.post(f"{url}/test")).status_code == 409


async def test_nobody_says_himself_that_it_is_verified(place: Place) -> None:
    await place.contact()
    for right in ("insert", "update"):
        assert place.run(
            "select has_column_privilege('authenticated', 'apm_contact_methods', 'verified_at', "
            f"'{right}')"
        ) == [(False,)]
