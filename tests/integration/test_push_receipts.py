"""What a browser says of a push message: signed for that one message, forward only, and enough to
prove the contact that the message was for."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import psycopg
import pytest
from psycopg.rows import DictRow, dict_row

from tests.support.postgres import Database
from tests.support.providers import Browser
from tests.support.serving import Running, populate, running, settings_for
from wedsync_apm.notify.channels.push.receipt import read_receipt_token, receipt_token
from wedsync_apm.notify.vapid import encode
from wedsync_apm.organizations.secrets import Keyring, load_keyring


@dataclass(frozen=True, slots=True)
class Place:
    """A server, and Bob with a browser."""

    api: Running
    database: Database
    keyring: Keyring

    def rows(self, statement: str, **values: Any) -> list[dict[str, Any]]:
        with psycopg.Connection[DictRow].connect(self.database.owner, row_factory=dict_row) as cx:
            return cx.execute(statement.encode(), values).fetchall()

    async def make_contact(self) -> UUID:
        """Bob's own."""
        async with self.api.as_person("bob") as bob:
            answer = await bob.post("/api/v1/contact-methods", json={"name": "Bob", **given()})
        assert answer.status_code == 201, answer.text
        return UUID(answer.json()["id"])

    async def begin(self, contact: UUID) -> UUID:
        """The message with a code, as if it had gone out."""
        async with self.api.as_person("bob") as bob:
            answer = await bob.post(f"/api/v1/contact-methods/{contact}/verify/start")
        assert answer.status_code == 202, answer.text
        delivery = UUID(answer.json()["delivery_id"])
        self.rows(
            "update apm_deliveries set state = 'sent', attempt = 1, sent_at = now(),"
            " provider_id = id::text where id = %(id)s returning id",
            id=delivery,
        )
        return delivery

    async def tell(self, token: str, event: str = "shown") -> httpx.Response:
        """What the worker sends, without a session."""
        async with self.api.client() as http:
            return await http.post(f"/api/v1/webhooks/push/{token}", json={"event": event})

    def contact(self, contact: UUID) -> dict[str, Any]:
        return self.rows("select * from apm_contact_methods where id = %(id)s", id=contact)[0]

    def delivery(self, delivery: UUID) -> dict[str, Any]:
        return self.rows("select * from apm_deliveries where id = %(id)s", id=delivery)[0]


def given() -> dict[str, str]:
    """A fresh subscription."""
    browser = Browser()
    return {
        "channel": "push",
        "url": f"https://push.example/{uuid4()}",
        "p256dh": browser.p256dh,
        "auth": encode(browser.auth),
    }


@pytest.fixture
async def place(database: Database, tmp_path: Path) -> AsyncIterator[Place]:
    settings = settings_for(database, tmp_path)
    async with running(settings, populate(database)) as api:
        yield Place(api, database, load_keyring(settings))


async def test_receipts_move_forward_and_the_first_one_proves_the_contact(place: Place) -> None:
    contact = await place.make_contact()
    delivery = await place.begin(contact)
    token = receipt_token(place.keyring, delivery)
    assert read_receipt_token(place.keyring, token) == delivery
    assert place.contact(contact)["verified_at"] is None
    assert (await place.tell(token)).status_code == 200
    assert place.contact(contact)["verified_at"] is not None
    kept = place.delivery(delivery)
    assert (kept["state"], kept["receipt"]) == ("delivered", "delivered")
    assert (await place.tell(token, "opened")).status_code == 200
    assert (await place.tell(token, "shown")).status_code == 200
    assert (await place.tell(token, "refused")).status_code == 200
    after = place.delivery(delivery)
    assert (after["state"], after["receipt"]) == ("delivered", "read")
    assert after["delivered_at"] == kept["delivered_at"]


async def test_nobody_else_s_token_is_taken(place: Place) -> None:
    contact = await place.make_contact()
    delivery = await place.begin(contact)
    stranger = receipt_token(Keyring(b"x" * 32), delivery)
    ours = receipt_token(place.keyring, delivery)
    other = receipt_token(place.keyring, uuid4())
    mixed = f"{delivery.hex}.{other.partition('.')[2]}"
    for token in (stranger, mixed, ours[:-1], f"{ours}x", "twilio", "."):
        assert (await place.tell(token)).status_code == 404, token
    # Signed by us for a message that is gone: there is nothing to repeat.
    assert (await place.tell(other)).status_code == 200
    for body in (b"", b"{", b'{"event":"bought"}', b"[]", b'{"event":7}', b"\xff"):
        async with place.api.client() as http:
            answer = await http.post(f"/api/v1/webhooks/push/{ours}", content=body)
        assert answer.status_code == 422, body
    assert place.delivery(delivery)["receipt"] is None
    assert place.contact(contact)["verified_at"] is None


async def test_only_the_last_code_of_this_subscription_proves_it(place: Place) -> None:
    contact = await place.make_contact()
    first, second = await place.begin(contact), await place.begin(contact)
    await place.tell(receipt_token(place.keyring, first))
    assert place.contact(contact)["verified_at"] is None
    async with place.api.as_person("bob") as bob:
        changed = {name: value for name, value in given().items() if name != "channel"}
        answer = await bob.patch(f"/api/v1/contact-methods/{contact}", json=changed)
    assert answer.status_code == 200, answer.text
    await place.tell(receipt_token(place.keyring, second))
    assert place.contact(contact)["verified_at"] is None
    third = await place.begin(contact)
    place.rows(
        "update apm_private.contact_codes set expires_at = now() where contact_method_id = %(c)s"
        " returning expires_at",
        c=contact,
    )
    await place.tell(receipt_token(place.keyring, third))
    assert place.contact(contact)["verified_at"] is None
    fourth = await place.begin(contact)
    await place.tell(receipt_token(place.keyring, fourth))
    assert place.contact(contact)["verified_at"] is not None


async def test_a_message_that_may_not_be_shown_has_failed(place: Place) -> None:
    contact = await place.make_contact()
    delivery = await place.begin(contact)
    await place.tell(receipt_token(place.keyring, delivery), "refused")
    kept = place.delivery(delivery)
    assert (kept["state"], kept["provider_status"]) == ("failed", "the device may not show it")
    assert place.contact(contact)["verified_at"] is None
