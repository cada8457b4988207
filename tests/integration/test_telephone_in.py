"""What comes back by telephone: receipts, texts and keys, from a provider that repeats itself."""

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from tests.support.outbox import World, outbox_of, world_of
from tests.support.postgres import Database
from tests.support.serving import Running, populate, running, settings_for
from tests.support.telephone import OURS, PRIYA, PUBLIC_URL, add_phone, page, telephone_of
from tests.support.worst_phone import AUTH_TOKEN, WorstPhone, worst_phone
from wedsync_apm.notify.telephone.accounts import callback_token
from wedsync_apm.organizations.secrets import Keyring, load_keyring

TEXTS = f"{PUBLIC_URL}/api/v1/webhooks/twilio/sms"


@dataclass(frozen=True, slots=True)
class Place:
    """The API, the engine's outbox beside it, a provider, and Bob's telephone."""

    api: Running
    database: Database
    world: World
    phone: WorstPhone
    keyring: Keyring
    contact: UUID

    @property
    def here(self) -> UUID:
        return self.api.world.here

    async def deliver(self) -> None:
        """Sends what is in line, as if the minute had passed in which one number gets one text."""
        await self.world.run("delete from apm_private.throttle_buckets")
        telephone = telephone_of(self.phone, keyring=self.keyring)
        async with outbox_of(
            self.database, telephone=telephone, keyring=self.keyring, call_seconds=30
        ) as outbox:
            await outbox.run_once(datetime.now(UTC))

    async def incident(self, title: str = "Your order form is slow") -> tuple[UUID, int]:
        incident = await self.world.incident(self.here, datetime.now(UTC))
        [row] = await self.world.run(
            "update public.apm_incidents set title = %(t)s, vendor_text = '{}' where id = %(i)s "
            "returning number",
            t=title,
            i=incident,
        )
        return incident, row["number"]

    async def paged(self, *, channel: str = "sms", title: str = "The gallery is slow") -> Any:
        """Somebody is called: the incident, its number, the delivery and what the provider took."""
        incident, number = await self.incident(title)
        contact = self.contact
        if channel == "voice":
            contact = await add_phone(self.world, self.here, channel="voice", name="Bob")
        at = datetime.now(UTC)
        call = await page(
            self.world, self.here, incident, contact, channel=channel, at=at, name="Bob"
        )
        await self.deliver()
        return incident, number, call, self.phone.taken[-1]

    async def text(self, words: str, sid: str | None = None, number: str = PRIYA) -> str:
        """What is answered to a text; empty for nothing."""
        form = {
            "MessageSid": sid or f"SM{uuid4().hex}",
            "From": number,
            "To": OURS,
            "Body": words,
            "AccountSid": self.phone.account_sid,
        }
        answer = await self.phone.post(TEXTS, form)
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"].startswith("text/xml")
        found = re.search(r"<Message>(.*)</Message>", answer.text)
        return found[1] if found else ""

    async def drill(self) -> None:
        """Everybody who can be reached is called for an exercise."""
        await self.world.run(
            "select apm_private.ask_drill(%(o)s, '', null, null, 'Alice', %(at)s)",
            o=self.here,
            at=datetime.now(UTC),
        )
        await self.deliver()

    async def answers(self) -> list[tuple[str, str | None]]:
        """By whom and how the drill was answered."""
        return [
            (row["name"], row["how"])
            for row in await self.world.run(
                "select name, how from public.apm_drill_calls order by name, channel"
            )
        ]

    async def drilled(self, wedding: UUID) -> tuple[str, str]:
        """What the readiness report of a wedding says of drills."""
        async with self.api.as_person("bob") as bob:
            answer = await bob.get(
                "/api/v1/readiness", params={"wedding": str(wedding), "now": "true"}
            )
        [line] = [one for one in answer.json()["lines"] if one["key"] == "drilled"]
        return line["outcome"], line["reason"]

    async def status(self, incident: UUID) -> tuple[str, str | None]:
        [row] = await self.world.run(
            "select status::text, acknowledged_by_name from public.apm_incidents where id = %(i)s",
            i=incident,
        )
        return row["status"], row["acknowledged_by_name"]

    async def contact_row(self) -> dict[str, Any]:
        [row] = await self.world.run(
            "select * from public.apm_contact_methods where id = %(id)s", id=self.contact
        )
        return row


@pytest.fixture
async def place(database: Database, tmp_path: Path) -> AsyncIterator[Place]:
    async with worst_phone() as phone, world_of(database) as world:
        settings = settings_for(
            database,
            tmp_path,
            public_url=PUBLIC_URL,
            twilio_account_sid=phone.account_sid,
            twilio_auth_token=AUTH_TOKEN,
            twilio_from=OURS,
            twilio_base_url=phone.url,
        )
        async with running(settings, populate(database)) as api:
            phone.api_url = api.url
            contact = await add_phone(
                world, api.world.here, name="Bob", user_id=api.world.people["bob"]
            )
            yield Place(api, database, world, phone, load_keyring(settings), contact)


async def test_receipts_come_in_any_order_and_more_than_once(place: Place) -> None:
    _, _, call, taken = await place.paged()
    for status in ("delivered", "sent", "queued", "delivered", "sent"):
        answer = await place.phone.tell(taken, status)
        assert (answer.status_code, answer.content) == (200, b"")
    row = await place.world.delivery(call)
    assert (row["state"], row["receipt"], row["provider_status"]) == (
        "delivered",
        "delivered",
        "delivered",
    )
    events = await place.world.run(
        "select message from public.apm_incident_events where kind = 'delivery' order by id"
    )
    assert [one["message"] for one in events][-1] == "Text message to Bob: has arrived"
    assert len(events) == 2


@pytest.mark.parametrize(
    ("said", "state"), [("sent", "sent"), ("delivered", "delivered"), ("queued", "sent")]
)
async def test_a_receipt_before_the_answer_is_kept(place: Place, said: str, state: str) -> None:
    place.phone.moods.append(f"tell first/{said}")
    _, _, call, taken = await place.paged()
    row = await place.world.delivery(call)
    assert (row["state"], row["provider_id"]) == (state, taken["sid"])


async def test_a_telephone_that_is_off_is_texted_again(place: Place) -> None:
    _, _, call, taken = await place.paged()
    await place.phone.tell(taken, "undelivered", ErrorCode="30003")
    row = await place.world.delivery(call)
    assert (row["state"], row["provider_status"]) == ("retry", "undelivered 30003")
    assert timedelta(0) < row["due_at"] - datetime.now(UTC) < timedelta(seconds=31)
    assert (await place.contact_row())["disabled_at"] is None


async def test_a_number_that_is_nobodys_is_switched_off(place: Place) -> None:
    _, _, call, taken = await place.paged()
    await place.phone.tell(taken, "undelivered", ErrorCode="30005")
    assert (await place.world.delivery(call))["state"] == "failed"
    contact = await place.contact_row()
    assert contact["disabled_reason"] == "the provider says that this number is not in use"
    async with place.api.as_person("bob") as bob:
        shown = (await bob.get(f"/api/v1/contact-methods/{place.contact}")).json()
    assert shown["disabled_reason"] == contact["disabled_reason"]


async def test_nobody_else_speaks_for_the_provider(place: Place) -> None:
    _, _, call, taken = await place.paged()
    url = taken["ordered"]["StatusCallback"]
    form = {"MessageSid": taken["sid"], "MessageStatus": "delivered"}
    path = url.removeprefix(PUBLIC_URL)
    good = place.phone.sign(url, form)
    async with place.api.client() as stranger:
        answers = [
            (await stranger.post(path, data=form, headers=headers))
            for headers in (
                {},
                {"x-twilio-signature": ""},
                {"x-twilio-signature": good[::-1]},
                {"x-twilio-signature": place.phone.sign(url + "x", form)},
            )
        ]
        answers.append(
            await stranger.post(
                path, data=form | {"More": "1"}, headers={"x-twilio-signature": good}
            )
        )
        assert {one.status_code for one in answers} == {401}
        assert len({re.sub(r'"request_id":"[^"]*"', "", one.text) for one in answers}) == 1
        for other in (
            path[:-1],
            path.replace("status.", "digits."),
            path.replace("/twilio/", "/other/"),
            path.replace(call.hex, uuid4().hex),
            "/api/v1/webhooks/twilio/" + "x" * 400,
        ):
            sent = await stranger.post(
                other, data=form, headers={"x-twilio-signature": place.phone.sign(other, form)}
            )
            assert sent.status_code == 404, other
        assert (await stranger.post(path, content=b"\xff=%")).status_code == 401
        assert (await stranger.post(path, content=b"a" * 2_000_000)).status_code == 413
    assert (await place.world.delivery(call))["state"] == "sent"


async def test_a_message_that_is_gone_is_no_error(place: Place) -> None:
    token = callback_token(place.keyring, "status", uuid4())
    url = f"{PUBLIC_URL}/api/v1/webhooks/twilio/{token}"
    for form in ({"MessageSid": "SM1", "MessageStatus": "sent"}, {"MessageStatus": "no such"}, {}):
        assert (await place.phone.post(url, form)).status_code == 200


async def test_one_acknowledges_and_says_so(place: Place) -> None:
    incident, number, _, _ = await place.paged()
    said = await place.text("1", "SM100")
    assert said == f"You have it, nobody else is called: The gallery is slow (#{number})"
    assert await place.status(incident) == ("acknowledged", "Bob")
    [event] = await place.world.run(
        "select * from public.apm_incident_events where kind = 'acknowledged'"
    )
    assert (event["actor"], event["message"]) == ("Bob", "by text message")
    # the provider repeats itself: nothing more happens, and nothing more is said
    assert await place.text("1", "SM100") == ""
    assert await place.text("1") == "Nothing waits for you: it is in hand, or over."


async def test_an_old_text_acknowledges_nothing_new(place: Place) -> None:
    await place.paged()
    await place.text("1", "SM100")
    incident, _, _, _ = await place.paged(title="Payments fail")
    assert await place.text("1", "SM100") == ""
    assert (await place.status(incident))[0] == "open"


async def test_with_several_the_latest_is_meant_or_the_one_that_is_named(place: Place) -> None:
    older, older_number, _, _ = await place.paged(title="The gallery is slow")
    newer, newer_number, _, _ = await place.paged(title="Payments fail")
    last, last_number, _, _ = await place.paged(title="E-mail is late")
    said = await place.text("ack")
    assert said.startswith(f"You have it, nobody else is called: E-mail is late (#{last_number}) 2")
    assert (await place.status(last))[0] == "acknowledged"
    said = await place.text(f"1 {older_number}")
    assert said.endswith(f"(#{older_number}) Still open: reply 1 {newer_number}.")
    assert (await place.status(older))[0] == "acknowledged"
    assert (await place.status(newer))[0] == "open"
    said = await place.text(f"1 {older_number}")
    assert said.startswith(f"#{older_number} is not waiting for you")
    await place.text("1 all")
    assert (await place.status(newer))[0] == "acknowledged"


async def test_whoever_was_not_called_acknowledges_nothing(place: Place) -> None:
    incident, number, _, _ = await place.paged()
    stranger, other = "+447700900999", "+447700900555"
    await add_phone(place.world, place.api.world.there, name="Oscar", number=other)
    for words in ("1", f"1 {number}", "1 all", "STOP", "help"):
        assert await place.text(words, number=stranger) == ""
    for words in ("1", f"1 {number}", "1 all"):
        assert "in hand, or over" in await place.text(words, number=other)
    for odd in ("", "anonymous", "+44", PRIYA + "\n"):
        assert await place.text("1", number=odd) == ""
    assert (await place.status(incident))[0] == "open"
    assert (await place.contact_row())["disabled_at"] is None


async def test_what_came_again_is_not_acknowledged_by_an_old_call(place: Place) -> None:
    incident, number, _, _ = await place.paged()
    await place.world.set_status(incident, "resolved", datetime.now(UTC))
    assert "in hand, or over" in await place.text(f"1 {number}")
    await place.world.set_status(incident, "open", datetime.now(UTC))
    assert "in hand, or over" in await place.text(f"1 {number}")
    assert (await place.status(incident))[0] == "open"


async def test_stop_is_honoured_and_start_takes_it_back(place: Place) -> None:
    assert await place.text("Stop all.") == ""
    contact = await place.contact_row()
    assert contact["disabled_reason"] == "they answered STOP"
    incident, _ = await place.incident()
    at = datetime.now(UTC)
    call = await page(place.world, place.here, incident, place.contact, at=at)
    await place.deliver()
    assert (await place.world.delivery(call))["state"] == "suppressed"
    assert place.phone.seen == []
    async with place.api.as_person("bob") as bob:
        shown = (await bob.get(f"/api/v1/contact-methods/{place.contact}")).json()
        assert shown["disabled_reason"] == "they answered STOP"
        assert (await bob.post(f"/api/v1/contact-methods/{place.contact}/test")).status_code == 409
    assert "You get our texts again" in await place.text("START")
    assert (await place.contact_row())["disabled_at"] is None
    # what an admin switched off stays so
    await place.world.run(
        "update public.apm_contact_methods set disabled_at = now(), disabled_reason = 'by a person'"
    )
    await place.text("START")
    assert (await place.contact_row())["disabled_at"] is not None


async def test_anything_else_is_answered_with_help(place: Place) -> None:
    for words in ("hello?", "2", "", "<Say>", "1" * 1000):
        assert (await place.text(words)).startswith("Reply 1 if you're on it")


async def test_a_call_is_read_twice_and_takes_a_key(place: Place) -> None:
    incident, _, call, taken = await place.paged(channel="voice", title="</Say><Dial>+1</Dial>")
    heard = await place.phone.fetch(taken, AnsweredBy="human")
    assert heard.status_code == 200
    assert heard.text.count("&lt;/Say&gt;&lt;Dial&gt;") == 2
    assert "<Dial>" not in heard.text
    assert (await place.world.delivery(call))["state"] == "delivered"
    digits = re.search(r'action="([^"]+)"', heard.text)
    assert digits is not None
    form = {"CallSid": taken["sid"], "AccountSid": place.phone.account_sid}
    other = await place.phone.post(digits[1], form | {"Digits": "9"})
    assert "the next person is called" in other.text
    assert (await place.status(incident))[0] == "open"
    for _ in range(2):
        said = await place.phone.post(digits[1], form | {"Digits": "1"})
        assert "You have it in hand" in said.text
    assert await place.status(incident) == ("acknowledged", "Bob")
    row = await place.world.delivery(call)
    assert (row["state"], row["receipt"]) == ("delivered", "read")
    again = await place.phone.fetch(taken, AnsweredBy="human")
    assert "Bob has it in hand" in again.text
    assert "<Gather" not in again.text


async def test_a_text_answers_a_drill_and_readiness_knows(place: Place) -> None:
    [row] = await place.world.run(
        "insert into public.apm_weddings (organization_id, couple_initials, wedding_date) "
        "values (%(o)s, 'A & R', current_date + 30) returning id",
        o=place.here,
    )
    assert (await place.drilled(row["id"]))[0] == "unknown"
    await place.drill()
    [order] = place.phone.orders
    assert order["Body"].startswith("EXERCISE")
    assert "Reply 1 to answer:" in order["Body"]
    assert await place.text("1", number="+447700900555") == ""
    assert await place.answers() == [("Bob", None)]
    assert await place.text("1") == "Thank you. This was a drill, and your answer counts."
    assert await place.answers() == [("Bob", "sms")]
    assert "waits for you" in await place.text("1")
    await place.world.run("select apm_private.end_drills(clock_timestamp(), interval '2 minutes')")
    outcome, reason = await place.drilled(row["id"])
    assert outcome == "pass", reason


async def test_a_key_answers_a_drill(place: Place) -> None:
    await place.world.run("delete from public.apm_contact_methods")
    await add_phone(place.world, place.here, channel="voice", name="Bob")
    await place.drill()
    [taken] = place.phone.taken
    heard = await place.phone.fetch(taken, AnsweredBy="human")
    assert heard.text.count("EXERCISE") == 2
    found = re.search(r'action="([^"]+)"', heard.text)
    assert found is not None
    form = {"CallSid": taken["sid"], "AccountSid": place.phone.account_sid}
    await place.phone.post(found[1], form | {"Digits": "2"})
    assert await place.answers() == [("Bob", None)]
    for _ in range(2):  # the provider repeats itself
        said = await place.phone.post(found[1], form | {"Digits": "1"})
        assert "This was a drill, and your answer counts" in said.text
    assert await place.answers() == [("Bob", "voice")]


async def test_the_real_thing_goes_before_the_drill_and_the_answer_says_so(place: Place) -> None:
    incident, number, _, _ = await place.paged(title="The gallery is slow")
    other, other_number, _, _ = await place.paged(title="The shop is slow")
    await place.drill()
    said = await place.text("1")
    assert "You have it, nobody else is called" in said
    assert said.endswith(f"Still open: reply 1 {number}.")
    assert (await place.status(other))[0] == "acknowledged"
    assert await place.answers() == [("Bob", None)]
    said = await place.text(f"1 {number}")
    assert said.endswith(f"(#{number}) The exercise waits, too: reply 1 again.")
    assert (await place.status(incident))[0] == "acknowledged"
    assert await place.answers() == [("Bob", None)]
    assert await place.text("1") == "Thank you. This was a drill, and your answer counts."
    assert await place.answers() == [("Bob", "sms")]
    assert other_number != number


async def test_a_machine_has_heard_it_and_nobody_else(place: Place) -> None:
    incident, _, call, taken = await place.paged(channel="voice")
    heard = await place.phone.fetch(taken, AnsweredBy="machine_end_beep")
    assert "The gallery is slow" in heard.text
    assert "<Gather" not in heard.text
    await place.phone.tell(taken, "completed", AnsweredBy="machine_end_beep")
    row = await place.world.delivery(call)
    assert (row["state"], row["provider_status"]) == ("retry", "a machine answered")
    assert (await place.status(incident))[0] == "open"


@pytest.mark.parametrize("status", ["busy", "no-answer", "failed"])
async def test_a_call_that_nobody_took_is_made_again(place: Place, status: str) -> None:
    _, _, call, taken = await place.paged(channel="voice")
    for one in ("initiated", "ringing", status):
        await place.phone.tell(taken, one)
    row = await place.world.delivery(call)
    assert (row["state"], row["provider_status"]) == ("retry", status)


async def test_a_member_proves_his_own_telephone_and_no_other(place: Place) -> None:
    async with place.api.as_person("bob") as bob:
        for channel, number in (("sms", "+44 7700 900456"), ("voice", "+44 20 7946 0958")):
            made = await bob.post(
                "/api/v1/contact-methods",
                json={"name": f"Bob's {channel}", "channel": channel, "address": number},
            )
            assert made.status_code == 201, made.text
            assert made.json()["user_id"] == str(place.api.world.people["bob"])
            assert made.json()["address"] == number.replace(" ", "")
            url = f"/api/v1/contact-methods/{made.json()['id']}"
            sent = await bob.post(f"{url}/verify/start")
            assert sent.status_code == 202, sent.text
            await place.deliver()
            taken = place.phone.taken[-1]
            if channel == "sms":
                told = taken["body"]
                assert "Reply STOP" in told
            else:
                told = (await place.phone.fetch(taken)).text.replace(", ", "")
            code = re.search(r"\b(\d{6})\b", told)
            assert code is not None, told
            proven = await bob.post(f"{url}/verify", json={"code": code[1]})
            assert proven.json()["verified_at"] is not None
            assert (await bob.post(f"{url}/test")).status_code == 202
            kept = await place.world.run(
                "select body from public.apm_deliveries where body ~ '[0-9]{6}'"
            )
            assert kept == []
            renamed = await bob.patch(url, json={"name": "Bob, at night"})
            assert renamed.status_code == 200, renamed.text
        await place.deliver()
        # another's, nobody's, and one that he would give away
        alice = str(place.api.world.people["alice"])
        body = {"name": "x", "channel": "sms", "address": "+447700900777"}
        refused = await bob.post("/api/v1/contact-methods", json=body | {"user_id": alice})
        assert refused.status_code == 403
    async with place.api.as_person("alice") as owner:
        hers = await owner.post("/api/v1/contact-methods", json=body | {"user_id": alice})
        assert hers.status_code == 201, hers.text
        listed = (await owner.get("/api/v1/contact-methods")).json()["items"]
        assert "+447700900777" in [one["address"] for one in listed]
    url = f"/api/v1/contact-methods/{hers.json()['id']}"
    async with place.api.as_person("bob") as bob:
        for attempt in (
            await bob.patch(url, json={"address": "+447700900778"}),
            await bob.post(f"{url}/verify/start"),
            await bob.post(f"{url}/test"),
            await bob.delete(url),
        ):
            assert attempt.status_code == 403, attempt.text
        shown = (await bob.get("/api/v1/contact-methods")).json()["items"]
        assert {one["address"] for one in shown if one["user_id"] == alice} == {"+44 … 77"}
        assert "+447700900456" in [one["address"] for one in shown]
    async with place.api.as_person("vera") as vera:
        assert (await vera.post("/api/v1/contact-methods", json=body)).status_code == 403


@pytest.mark.parametrize("number", ["07700 900123", "+44 909 8790 123", "+44", "x" * 300])
async def test_what_is_no_telephone_is_refused_with_the_field(place: Place, number: str) -> None:
    async with place.api.as_person("bob") as bob:
        answer = await bob.post(
            "/api/v1/contact-methods", json={"name": "x", "channel": "sms", "address": number}
        )
    assert answer.status_code == 422
    assert [one["field"] for one in answer.json()["errors"]] == ["address"]


async def test_callbacks_at_once_end_as_one_by_one(place: Place) -> None:
    _, _, call, taken = await place.paged()
    answers: list[httpx.Response] = await asyncio.gather(
        *(place.phone.tell(taken, one) for one in ("sent", "delivered", "queued", "sent") * 3)
    )
    assert {one.status_code for one in answers} == {200}
    assert (await place.world.delivery(call))["state"] == "delivered"
    replies = await asyncio.gather(*(place.text("1", "SM7") for _ in range(6)))
    assert len([one for one in replies if one]) == 1


async def test_the_second_account_is_believed_too(
    place: Place, database: Database, tmp_path: Path
) -> None:
    settings = replace(
        place.api.composed.services.settings,
        twilio_account_sid_2="AC0009",
        twilio_auth_token_2="another",
        twilio_from_2=OURS,
    )
    async with running(settings, place.api.world) as api:
        place.phone.api_url = api.url
        _, _, call, taken = await place.paged()
        assert (await place.phone.tell(taken, "delivered")).status_code == 200
    assert (await place.world.delivery(call))["state"] == "delivered"
