"""Texts and calls that go out to a provider on its worst day, over a real socket."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from itertools import permutations
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from tests.support.outbox import AT, BASE_URL, World, outbox_of, world_of
from tests.support.postgres import Database
from tests.support.telephone import (
    OURS,
    PRIYA,
    PUBLIC_URL,
    add_phone,
    page,
    receipt,
    telephone_of,
)
from tests.support.worst_mail import worst_mail
from tests.support.worst_phone import WorstPhone, worst_phone
from wedsync_apm.notify.telephone import send
from wedsync_apm.notify.telephone.accounts import Telephone
from wedsync_apm.notify.telephone.gsm7 import segments
from wedsync_apm.types import Channel


@dataclass(frozen=True, slots=True)
class Place:
    """An organization with somebody to text, and two providers."""

    database: Database
    world: World
    first: WorstPhone
    second: WorstPhone
    organization: UUID
    contact: UUID

    async def run(self, telephone: Telephone | None = None, *, after: float = 0) -> None:
        """The engine sends what is due so many seconds after AT."""
        telephone = telephone or telephone_of(self.first)
        async with outbox_of(self.database, telephone=telephone) as outbox:
            await outbox.run_once(AT + timedelta(seconds=after))

    async def text(self, **more: Any) -> UUID:
        """A call by text message, in line."""
        incident = await self.world.incident(self.organization)
        return await page(self.world, self.organization, incident, self.contact, **more)

    async def spoken(self, organization: UUID | None = None) -> UUID:
        """A telephone call to Priya's number, in line, to a contact of its own."""
        organization = organization or self.organization
        contact = await add_phone(self.world, organization, channel="voice")
        incident = await self.world.incident(organization)
        return await page(self.world, organization, incident, contact, channel="voice")

    async def killed(self, delivery_id: UUID, *, attempt: int = 1) -> None:
        """All that a sender does but for its record, as a killed one leaves it."""
        await self.world.run(
            "update public.apm_deliveries set state = 'sending', attempt = %(n)s, "
            "lease_owner = 'dead', lease_until = %(at)s, subject = 's', body = 'Words' "
            "where id = %(id)s",
            n=attempt,
            at=AT,
            id=delivery_id,
        )
        await self.world.run(
            "insert into public.apm_delivery_attempts (organization_id, delivery_id, attempt, "
            "started_at) select organization_id, id, %(n)s, %(at)s from public.apm_deliveries "
            "where id = %(id)s",
            n=attempt,
            at=AT,
            id=delivery_id,
        )

    async def row(self, delivery_id: UUID) -> dict[str, Any]:
        return await self.world.delivery(delivery_id)

    async def contact_row(self) -> dict[str, Any]:
        [row] = await self.world.run(
            "select * from public.apm_contact_methods where id = %(id)s", id=self.contact
        )
        return row


@pytest.fixture
async def place(database: Database) -> AsyncIterator[Place]:
    async with world_of(database) as world, worst_phone() as first, worst_phone("AC0002") as second:
        first.clock = second.clock = lambda: AT
        organization = await world.organization()
        contact = await add_phone(world, organization)
        yield Place(database, world, first, second, organization, contact)


async def test_a_text_is_one_segment_with_its_whole_link(place: Place) -> None:
    call = await place.text()
    await place.run()
    row = await place.row(call)
    assert (row["state"], row["attempt"]) == ("sent", 1)
    [order] = place.first.orders
    assert order["To"] == PRIYA
    assert order["From"] == OURS
    assert order["Body"] == row["body"]
    assert order["ValidityPeriod"] == "300"
    assert order["StatusCallback"].startswith(f"{PUBLIC_URL}/api/v1/webhooks/twilio/status.")
    assert call.hex in order["StatusCallback"]
    assert segments(order["Body"]) == 1
    assert order["Body"].startswith("Your order form is slow")
    number = (await place.world.run("select number from public.apm_incidents"))[0]["number"]
    assert f"Reply 1 {number} if you're on it: {BASE_URL}/ack/" in order["Body"]
    assert row["provider_id"] == place.first.taken[0]["sid"]
    assert row["provider_status"] == "Twilio: HTTP 201 queued"


async def test_hostile_names_still_arrive(place: Place) -> None:
    name = "Eve\r\nTo: +15005550006\u202e <b>💐</b> " + "x " * 5000
    await place.world.run(
        "update public.organizations set name = %(n)s where id = %(o)s",
        n=name[:200],
        o=place.organization,
    )
    incident = await place.world.incident(place.organization)
    for title in ("\u202e=cmd|'/c calc'!A1\r\nBody: x", "🔥" * 150, "ж" * 300, "\x01\x02"):
        await place.world.run(
            "update public.apm_incidents set title = %(t)s, vendor_text = '{}' where id = %(i)s",
            t=title,
            i=incident,
        )
        hostile = await add_phone(place.world, place.organization, name=name[:200])
        call = await page(place.world, place.organization, incident, hostile, name=name)
        await place.run()
        assert (await place.row(call))["state"] == "sent"
        body = place.first.orders[-1]["Body"]
        assert place.first.orders[-1]["To"] == PRIYA
        assert "/ack/" in body
        assert not set("\r\n\u202e") & set(body)
        assert segments(body) <= 3
    for kind in ("test", "verify"):
        hostile = await add_phone(place.world, place.organization, name=name[:200])
        await page(place.world, place.organization, None, hostile, kind=kind, name=name)
    await place.run()
    assert len(place.first.orders) == 6
    assert all(segments(one["Body"]) <= 3 for one in place.first.orders)


async def test_without_an_account_the_inbox_has_it(place: Place) -> None:
    call = await place.text()
    spoken = await place.text(channel="voice")
    async with outbox_of(place.database) as outbox:
        await outbox.run_once(AT)
    for one in (call, spoken):
        row = await place.row(one)
        assert row["state"] == "inbox"
        assert "WEDSYNC_APM_TWILIO_ACCOUNT_SID" in row["state_reason"]


@pytest.mark.parametrize(
    "mood", ["429", "500", "503", "page", "401/20003", "400/21606", "inside/30001"]
)
async def test_the_accounts_trouble_is_tried_again(place: Place, mood: str) -> None:
    call = await place.text()
    place.first.moods.append(mood)
    await place.run()
    row = await place.row(call)
    assert row["state"] == "retry"
    assert "SECRET WORDS" not in str(row)
    assert (row["due_at"] - AT).total_seconds() >= (7 if mood == "429" else 0.4)
    await place.run(after=60)
    assert (await place.row(call))["state"] == "sent"
    assert (await place.contact_row())["disabled_at"] is None


@pytest.mark.parametrize("mood", ["400/21211", "400/21614", "inside/21610"])
async def test_a_number_that_takes_no_texts_is_switched_off(place: Place, mood: str) -> None:
    call = await place.text()
    place.first.moods.append(mood)
    await place.run(telephone_of(place.first, place.second))
    row = await place.row(call)
    assert (row["state"], len(place.second.seen)) == ("failed", 0)
    contact = await place.contact_row()
    assert contact["disabled_at"] is not None
    assert contact["disabled_reason"] == row["state_reason"]
    assert (contact["disabled_reason"] == "they answered STOP") == (mood == "inside/21610")


async def test_a_refused_message_is_not_tried_again(place: Place) -> None:
    call = await place.text()
    place.first.moods.append("400/21617")
    await place.run(telephone_of(place.first, place.second))
    assert (await place.row(call))["state"] == "failed"
    assert (await place.contact_row())["disabled_at"] is None
    assert len(place.second.seen) == 0


async def test_what_was_taken_before_the_line_broke_is_adopted(place: Place) -> None:
    call = await place.text()
    place.first.moods.append("cut")
    await place.run()
    row = await place.row(call)
    assert (row["state"], row["provider_id"]) == ("sent", place.first.taken[0]["sid"])
    assert len(place.first.taken) == 1


async def test_what_cannot_be_looked_up_is_looked_up_later(place: Place) -> None:
    call = await place.text()
    place.first.moods.append("cut")
    place.first.list_moods.append("503")
    await place.run()
    assert (await place.row(call))["state"] == "retry"
    assert await place.world.attempts(call) == ["unknown"]
    await place.run(after=60)
    row = await place.row(call)
    assert (row["state"], row["provider_id"]) == ("sent", place.first.taken[0]["sid"])
    assert len(place.first.taken) == 1


async def test_after_a_crash_a_message_is_found_or_sent_again(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sender dies between the provider's yes and our record, and between sending and both."""
    for is_taken in (True, False):
        call = await place.text()
        # All that a sender does but for its record, as a killed one leaves it.
        await place.world.run(
            "update public.apm_deliveries set state = 'sending', attempt = 1, "
            "lease_owner = 'dead', lease_until = %(at)s, subject = 's', body = %(body)s "
            "where id = %(id)s",
            at=AT,
            body=f"Words of {call}",
            id=call,
        )
        await place.world.run(
            "insert into public.apm_delivery_attempts (organization_id, delivery_id, attempt, "
            "started_at) values (%(o)s, %(id)s, 1, %(at)s)",
            o=place.organization,
            id=call,
            at=AT,
        )
        before = len(place.first.taken)
        if is_taken:
            place.first.taken.append(
                {
                    "sid": "SMfound",
                    "to": PRIYA,
                    "body": f"Words of {call}",
                    "status": "sent",
                    "date_created": "Sat, 20 Jun 2026 13:10:01 +0000",
                    "ordered": {},
                }
            )
        await place.run(after=1)
        row = await place.row(call)
        assert row["state"] == "sent"
        assert len(place.first.taken) == before + 1
        assert (row["provider_id"] == "SMfound") == is_taken
        assert await place.world.attempts(call) == ["unknown", "sent"]


async def test_a_provider_that_hangs_costs_a_few_seconds(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(send, "CALL_SECONDS", 0.3)
    monkeypatch.setattr(send, "LOOK_SECONDS", 0.3)
    # another number, because one is not texted twice in a minute
    other = await add_phone(place.world, place.organization, number="+447700900456")
    incident = await place.world.incident(place.organization)
    calls = [await place.text(), await page(place.world, place.organization, incident, other)]
    place.first.moods.extend(["stall", "take/stall"])
    place.first.list_moods.append("stall")
    await place.run(telephone_of(place.first, place.second))
    rows = [await place.row(call) for call in calls]
    assert [row["state"] for row in rows] == ["sent", "sent"]
    # Nobody can tell whether the one that hung was taken, so that one more is the lesser evil.
    assert len(place.first.taken) + len(place.second.taken) in (2, 3)


@pytest.mark.parametrize("mood", ["500", "429", "401/20003", "page", "inside/30002"])
async def test_the_second_account_takes_over_at_once(place: Place, mood: str) -> None:
    call = await place.text()
    place.first.moods.append(mood)
    await place.run(telephone_of(place.first, place.second))
    row = await place.row(call)
    assert (row["state"], row["attempt"]) == ("sent", 1)
    assert row["provider_id"] == place.second.taken[0]["sid"]
    assert row["provider_status"].startswith("Twilio: HTTP ")
    assert row["provider_status"].endswith("; the second account: HTTP 201 queued")
    [attempt] = await place.world.run(
        "select * from public.apm_delivery_attempts where delivery_id = %(id)s", id=call
    )
    assert attempt["provider_status"] == row["provider_status"]


async def test_a_message_that_came_back_begins_with_the_other_account(place: Place) -> None:
    call = await place.text()
    both = telephone_of(place.first, place.second)
    await place.run(both)
    sid = place.first.taken[0]["sid"]
    assert await receipt(place.world, call, "returned", sid) == "recorded"
    row = await place.row(call)
    assert (row["state"], row["due_at"]) == ("retry", AT + timedelta(seconds=30))
    await place.run(both, after=31)
    row = await place.row(call)
    assert (row["state"], row["provider_id"]) == ("sent", place.second.taken[0]["sid"])


async def test_receipts_only_move_forward_in_any_order(place: Place) -> None:
    words = ("accepted", "sent", "delivered")
    for order in permutations(words):
        call = await place.text()
        await place.run()
        sid = (await place.row(call))["provider_id"]
        for said in order:
            for _ in range(2):
                await receipt(place.world, call, said, sid)
        row = await place.row(call)
        assert (row["state"], row["receipt"]) == ("delivered", "delivered"), order
        assert row["delivered_at"] == AT
        assert await receipt(place.world, call, "failed", sid) == "known"
        assert (await place.row(call))["state"] == "delivered"


async def test_a_receipt_before_our_own_record_is_kept(place: Place) -> None:
    for said, state in (("sent", "sent"), ("delivered", "delivered"), ("failed", "failed")):
        call = await place.text()
        begun = (
            "update public.apm_deliveries set state = 'sending', attempt = 1, lease_owner = 'x', "
            "lease_until = %(at)s + interval '1 minute' where id = %(id)s"
        )
        await place.world.run(begun, at=AT, id=call)
        assert await receipt(place.world, call, said, f"SM{said}") == "recorded"
        assert (await place.row(call))["state"] == "sending"
        # what the sender believes then, and whoever frees a dead one's lease
        for believed in ("sent", "retry", "unknown"):
            await place.world.run(
                "update public.apm_deliveries set state = %(s)s, lease_owner = null, "
                "lease_until = null where id = %(id)s and state = 'sending'",
                s=believed,
                id=call,
            )
        row = await place.row(call)
        assert (row["state"], row["provider_id"]) == (state, f"SM{said}")


async def test_what_comes_of_an_earlier_attempt_is_no_news(place: Place) -> None:
    call = await place.text()
    await place.run()
    old = place.first.taken[0]["sid"]
    await receipt(place.world, call, "returned", old)
    await place.run(after=31)
    new = place.first.taken[1]["sid"]
    assert await receipt(place.world, call, "failed", old) == "late"
    assert (await place.row(call))["state"] == "sent"
    assert await receipt(place.world, call, "sent", new) == "recorded"
    # but that it has arrived after all is
    assert await receipt(place.world, call, "delivered", old) == "recorded"
    assert (await place.row(call))["state"] == "delivered"


async def test_the_unknown_has_no_receipt(place: Place) -> None:
    assert await receipt(place.world, place.organization, "delivered", "SM1") == "unknown"


async def test_a_message_that_comes_back_often_ends(place: Place) -> None:
    call = await place.text()
    at = 0.0
    for tries in range(1, 9):
        await place.run(after=at)
        sid = place.first.taken[-1]["sid"]
        assert (await place.row(call))["attempt"] == tries
        await receipt(place.world, call, "returned", sid, AT + timedelta(seconds=at))
        at += 301
    assert (await place.row(call))["state"] == "failed"


async def test_a_call_without_a_receipt_goes_on_in_the_order_that_somebody_likes(
    place: Place,
) -> None:
    """After 45 s the next way, and after that the one behind it; an unproven one is the last."""
    user = uuid4()
    ways = {}
    for name, channel, preference in (
        ("called", "voice", 10), ("last", "sms", 30), ("next", "sms", 20), ("unproven", "sms", 1),
    ):  # fmt: skip
        ways[name] = await add_phone(
            place.world, place.organization, channel=channel, name=name, user_id=user
        )
        await place.world.run(
            "update public.apm_contact_methods set preference = %(n)s, verified_at = "
            "case when name <> 'unproven' then now() end where id = %(id)s",
            n=preference,
            id=ways[name],
        )
    incident = await place.world.incident(place.organization)
    call = await page(
        place.world, place.organization, incident, ways["called"], channel="voice", name="called"
    )
    await place.world.run(
        "update public.apm_deliveries set priority = 135, fail_over_at = %(at)s + interval '45 s' "
        "where id = %(id)s",
        at=AT,
        id=call,
    )
    for after in (0, 46, 92, 138):
        await place.run(after=after)
    beside = await place.world.run(
        "select contact_method_id from public.apm_deliveries where reason = 'no_receipt' "
        "order by created_at"
    )
    assert [row["contact_method_id"] for row in beside] == [
        ways["next"], ways["last"], ways["unproven"],
    ]  # fmt: skip


async def test_a_call_is_placed_and_read_from_here(place: Place) -> None:
    contact = await add_phone(place.world, place.organization, channel="voice")
    incident = await place.world.incident(place.organization)
    call = await page(place.world, place.organization, incident, contact, channel="voice")
    await place.run()
    row = await place.row(call)
    assert (row["state"], row["provider_id"]) == ("sent", place.first.taken[0]["sid"])
    assert row["body"].startswith("This is WedSync A P M. Your order form is slow since ")
    assert "http" not in row["body"]
    [order] = place.first.orders
    assert order["Url"].startswith(f"{PUBLIC_URL}/api/v1/webhooks/twilio/voice.{call.hex}.")
    assert order["MachineDetection"] == "Enable"
    assert place.first.seen[0].path.endswith("/Calls.json")


@pytest.mark.parametrize("mood", ["500", "429", "401/20003", "page", "inside/30002"])
async def test_the_second_account_calls_at_once(place: Place, mood: str) -> None:
    call = await place.spoken()
    place.first.moods.append(mood)
    await place.run(telephone_of(place.first, place.second))
    row = await place.row(call)
    assert (row["state"], row["attempt"]) == ("sent", 1)
    assert row["provider_id"] == place.second.taken[0]["sid"]
    assert place.second.seen[0].path.endswith("/Calls.json")
    assert row["provider_status"].endswith("; the second account: HTTP 201 queued")


async def test_calls_to_one_telephone_are_never_taken_for_each_other(place: Place) -> None:
    """Two senders die while they call the same telephone, one of another vendor's; the provider
    has begun one of the calls."""
    other = await place.world.organization("Oak & Ivy")
    calls = [await place.spoken(), await place.spoken(other)]
    for call in calls:
        await place.killed(call)
    place.first.called("CAone")
    for after in (1, 90):  # who is second to find it looks again
        await place.run(after=after)
    ids = {(await place.row(call))["provider_id"] for call in calls}
    assert "CAone" in ids
    assert len(place.first.taken) == 2, "what was not there was begun again"
    assert ids == {one["sid"] for one in place.first.taken}
    with pytest.raises(psycopg.errors.UniqueViolation):
        await place.world.run("update public.apm_deliveries set provider_id = 'CAone'")


async def test_an_earlier_call_of_the_same_message_is_not_this_one(place: Place) -> None:
    call = await place.spoken()
    await place.run()
    first = (await place.row(call))["provider_id"]
    # a machine answered, and the second try breaks off before the provider hears of it
    await receipt(place.world, call, "returned", first)
    place.first.taken[0]["status"] = "completed"
    await place.killed(call, attempt=2)
    await place.run(after=31)
    row = await place.row(call)
    assert row["state"] == "sent"
    assert row["provider_id"] == place.first.taken[1]["sid"] != first
    assert row["earlier_provider_ids"] == [first]


async def test_a_call_of_before_or_from_elsewhere_is_not_adopted(place: Place) -> None:
    call = await place.spoken()
    await place.killed(call)
    place.first.called("CAearly", at=AT - timedelta(minutes=2))
    place.first.called("CAelsewhere", sender="+447700900999")
    await place.run(after=1)
    assert (await place.row(call))["provider_id"] == place.first.taken[2]["sid"]


async def test_what_a_call_says_itself_goes_before_what_was_found(place: Place) -> None:
    calls = [await place.spoken(), await place.spoken()]
    for call in calls:
        await place.killed(call)
    for sid in ("CAone", "CAtwo"):
        place.first.called(sid)
    for after in (1, 90):  # who is second to find one of them looks again
        await place.run(after=after)
    held = {(await place.row(call))["provider_id"]: call for call in calls}
    assert set(held) == {"CAone", "CAtwo"}
    # They were found the wrong way round, as the first callback tells by its address.
    right, wrong = held["CAtwo"], held["CAone"]
    assert await receipt(place.world, right, "sent", "CAone") == "recorded"
    row = await place.row(right)
    assert (row["state"], row["provider_id"], row["is_presumed"]) == ("sent", "CAone", False)
    row = await place.row(wrong)
    assert (row["state"], row["provider_id"]) == ("unknown", None)
    await place.run(after=91)
    row = await place.row(wrong)
    assert (row["state"], row["provider_id"], row["is_presumed"]) == ("sent", "CAtwo", True)
    assert await receipt(place.world, wrong, "delivered", "CAtwo") == "recorded"
    row = await place.row(wrong)
    assert (row["state"], row["is_presumed"]) == ("delivered", False)
    assert len(place.first.taken) == 2, "nobody was called twice"


async def test_the_provider_s_own_answer_goes_before_what_another_message_found(
    place: Place,
) -> None:
    """One message finds the call of another whose sender has not written it down yet."""
    lost, fresh = await place.spoken(), await place.spoken()
    await place.killed(lost)
    await place.killed(fresh)
    place.first.called("CAfresh")
    await place.world.run(
        "update public.apm_deliveries set lease_until = %(at)s where id = %(id)s",
        at=AT + timedelta(hours=1),
        id=fresh,
    )
    await place.run(after=1)
    row = await place.row(lost)
    assert (row["provider_id"], row["is_presumed"]) == ("CAfresh", True)
    [said] = await place.world.run(
        "select apm_private.claim_provider_message(%(id)s, 'CAfresh', false, %(at)s) as is_claimed",
        id=fresh,
        at=AT,
    )
    assert said["is_claimed"]
    row = await place.row(lost)
    assert (row["state"], row["provider_id"]) == ("unknown", None)
    assert await place.world.attempts(lost) == ["unknown", "unknown"]


async def test_nobody_is_called_from_where_nobody_can_fetch_the_words(place: Place) -> None:
    contact = await add_phone(place.world, place.organization, channel="voice")
    incident = await place.world.incident(place.organization)
    call = await page(place.world, place.organization, incident, contact, channel="voice")
    text = await place.text()
    await place.run(telephone_of(place.first, public_url=None))
    row = await place.row(call)
    assert row["state"] == "inbox"
    assert "WEDSYNC_APM_PUBLIC_URL" in row["state_reason"]
    # a text needs nobody to fetch it, it only goes without receipts
    assert (await place.row(text))["state"] == "sent"
    assert "StatusCallback" not in place.first.orders[0]


@pytest.mark.parametrize("word", ["connect", "MAIL"])
async def test_the_second_mail_server_takes_over_at_once(place: Place, word: str) -> None:
    contact = await place.world.contact(place.organization, Channel.EMAIL)
    incident = await place.world.incident(place.organization)
    call = await place.world.call(place.organization, incident, contact, Channel.EMAIL)
    async with worst_mail() as first, worst_mail() as second:
        first.replies[word] = "reset" if word == "connect" else "535 5.7.8 not you"
        async with outbox_of(
            place.database, mail_port=first.port, second_mail_port=second.port
        ) as outbox:
            await outbox.run_once(AT)
        assert (len(first.mails), len(second.mails)) == (0, 1)
    row = await place.row(call)
    assert (row["state"], row["attempt"]) == ("sent", 1)
    assert row["provider_status"].startswith("first: ")
    assert "; second: SMTP 250" in row["provider_status"]


async def test_what_a_mail_server_says_of_the_address_is_not_asked_of_another(place: Place) -> None:
    contact = await place.world.contact(place.organization, Channel.EMAIL)
    incident = await place.world.incident(place.organization)
    call = await place.world.call(place.organization, incident, contact, Channel.EMAIL)
    async with worst_mail() as first, worst_mail() as second:
        first.replies["RCPT"] = "550 5.1.1 nobody here"
        async with outbox_of(
            place.database, mail_port=first.port, second_mail_port=second.port
        ) as outbox:
            await outbox.run_once(AT)
        assert len(second.mails) == 0
    assert (await place.row(call))["state"] == "failed"
