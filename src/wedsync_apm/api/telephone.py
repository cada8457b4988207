"""What Twilio tells us of the platform's texts and calls, and what people answer.

`/api/v1/webhooks/twilio/sms` takes the texts of people; the other addresses are made by us for one
message each: `status.…`, `voice.…` and `digits.…`.
"""

from typing import Final
from uuid import UUID
from xml.sax.saxutils import escape

from wedsync_apm.api.inbound import Arrival, Reply
from wedsync_apm.db.pool import Connection, Pool
from wedsync_apm.drills.store import answer_drill, answer_drill_of_number, is_drill_waiting
from wedsync_apm.errors import NotFound, Unauthorized
from wedsync_apm.incidents.model import read_vendor_text
from wedsync_apm.notify.channels.voice.render import reading, spell, telling
from wedsync_apm.notify.members.proofs import PURPOSE as CODE_PURPOSE
from wedsync_apm.notify.model import Kind
from wedsync_apm.notify.receipts import store
from wedsync_apm.notify.receipts.store import Call, Open
from wedsync_apm.notify.telephone.accounts import (
    Telephone,
    read_callback_token,
    read_telephone,
)
from wedsync_apm.notify.telephone.faults import STOPPED
from wedsync_apm.notify.telephone.gsm7 import cut, plain
from wedsync_apm.notify.telephone.inbound import Reply as Said
from wedsync_apm.notify.telephone.inbound import (
    Word,
    first_values,
    is_machine,
    read_form,
    read_receipt,
    read_reply,
    read_sid,
)
from wedsync_apm.notify.telephone.numbers import is_number
from wedsync_apm.organizations.secrets import Keyring

TEXTS: Final = "sms"
_XML: Final = "text/xml; charset=utf-8"
_HELP: Final = (
    "Reply 1 if you're on it, 1 and its number if there are several, STOP for no more texts."
)


async def hear(arrival: Arrival) -> Reply:
    """One call of the provider's. Raises NotFound and Unauthorized."""
    keyring, pool = arrival.services.keyring, arrival.services.pool
    telephone = read_telephone(arrival.services.settings, keyring)
    ours = read_callback_token(keyring, arrival.token)
    if telephone is None or (ours is None and arrival.token != TEXTS):
        raise NotFound
    fields = read_form(arrival.body)
    if fields is None:
        raise Unauthorized("This is no form that was signed.")
    signature = arrival.headers.get("x-twilio-signature", "")
    # All are compared: which account it was is nobody's business before it fits.
    signed = [a.has_signed(signature, arrival.url, fields) for a in telephone.accounts]
    if not any(signed):
        raise Unauthorized("The signature does not fit.")
    values = first_values(fields)
    if ours is None:
        return _texted(await _hear_text(pool, values))
    what, delivery_id = ours
    if what == "status":
        await _hear_status(pool, delivery_id, values)
        return Reply()
    if what == "voice":
        return _spoken(await _read_out(telephone, keyring, pool, delivery_id, values))
    return _spoken(await _hear_key(pool, delivery_id, values))


async def _hear_status(pool: Pool, delivery_id: UUID, values: dict[str, str]) -> None:
    receipt = read_receipt(values)
    if receipt is None:
        return
    async with pool.connection() as cx, cx.transaction():
        came = await store.record_receipt(
            cx,
            delivery_id,
            receipt.receipt,
            provider_id=receipt.provider_id,
            provider_status=receipt.status,
        )
        if receipt.ends_contact and came == "recorded":
            await store.stop_contact_of(cx, delivery_id, receipt.ends_contact)


async def _read_out(
    telephone: Telephone, keyring: Keyring, pool: Pool, delivery_id: UUID, values: dict[str, str]
) -> str:
    """Somebody has picked up: what he hears. A machine hears it too, but nobody has heard it."""
    machine = is_machine(values)
    async with pool.connection() as cx, cx.transaction():
        call = await store.read_call(cx, delivery_id)
        if call is None or call.channel != "voice":
            return telling("This call is no longer needed. Goodbye.")
        await store.record_receipt(
            cx,
            delivery_id,
            "returned" if machine else "delivered",
            provider_id=read_sid(values.get("CallSid")),
            provider_status="a machine answered" if machine else "answered",
        )
    if call.kind == Kind.VERIFY:
        if machine:
            return telling("Goodbye.")
        code = spell(keyring.code(CODE_PURPOSE, delivery_id))
        return reading(call.body.replace("(a code)", code), None)
    is_page = call.kind in (Kind.PAGE, Kind.REOPENED)
    if is_page and not call.is_needed:
        return telling(_in_hand(call))
    is_asked = (is_page or call.kind == Kind.DRILL) and not machine
    return reading(call.body, telephone.callback("digits", delivery_id) if is_asked else None)


async def _hear_key(pool: Pool, delivery_id: UUID, values: dict[str, str]) -> str:
    sid = read_sid(values.get("CallSid"))
    if sid is None:
        return telling("This call is no longer needed. Goodbye.")
    if values.get("Digits") != "1":
        return telling("That was not 1, so the next person is called. Goodbye.")
    async with pool.connection() as cx, cx.transaction():
        call = await store.read_call(cx, delivery_id)
        if call is not None and call.kind == Kind.DRILL:
            await answer_drill(cx, delivery_id, "voice")
            return telling("Thank you. This was a drill, and your answer counts. Goodbye.")
        if call is None or call.incident_id is None:
            return telling("This call is no longer needed. Goodbye.")
        outcome = await store.acknowledge_from_channel(
            cx,
            call.incident_id,
            generation=call.generation,
            receiver=call.receiver,
            channel="voice",
            source_event_id=sid,
        )
        await store.record_receipt(
            cx, delivery_id, "read", provider_id=sid, provider_status="pressed 1"
        )
    if outcome == "acknowledged":
        return telling("Thank you. You have it in hand, and nobody else is called. Goodbye.")
    return telling(_in_hand(call))


def _in_hand(call: Call) -> str:
    if call.status in ("resolved", "closed"):
        return "It is over already. Goodbye."
    if call.status == "open":
        return "It has come again since, and you are called anew. Goodbye."
    return f"{call.acknowledged_by_name or 'Somebody'} has it in hand. Goodbye."


async def _hear_text(pool: Pool, values: dict[str, str]) -> str:
    """What is answered to somebody's text; nothing to a stranger, and nothing to an echo."""
    phone, sid = values.get("From", ""), read_sid(values.get("MessageSid"))
    if not is_number(phone) or sid is None:
        return ""
    said = read_reply(values.get("Body", ""))
    async with pool.connection() as cx, cx.transaction():
        is_known, is_new = await store.hear_number(cx, phone, sid)
        if not is_known or not is_new:
            return ""
        match said.word:
            case Word.STOP:
                # The provider answers this one itself, and takes no more texts for the number.
                await store.stop_number(cx, phone, STOPPED)
                return ""
            case Word.START:
                await store.start_number(cx, phone, STOPPED)
                return "You get our texts again. Reply STOP for no more."
            case Word.HELP:
                return _HELP
            case Word.ACKNOWLEDGE:
                return await _take(cx, phone, sid, said)


async def _take(cx: Connection, phone: str, sid: str, said: Said) -> str:
    """What he meant is his: the real thing first. With nothing open it is the answer to a drill."""
    calls = await store.list_calls_of_number(cx, phone)
    meant = _meant(said, calls)
    if not calls and said.number is None and await answer_drill_of_number(cx, phone) == "answered":
        return "Thank you. This was a drill, and your answer counts."
    taken = [
        one
        for one in meant
        if await store.acknowledge_from_channel(
            cx,
            one.incident_id,
            generation=one.generation,
            receiver=one.receiver,
            channel="sms",
            source_event_id=f"{sid}:{one.number}",
        )
        == "acknowledged"
    ]
    left = [one for one in calls if one not in meant]
    # Until nothing is open, another 1 is for the next incident.
    is_drill = not left and bool(calls) and await is_drill_waiting(cx, phone)
    return _answer(said, taken, left, is_drill=is_drill)


def _meant(said: Said, calls: list[Open]) -> list[Open]:
    """Without a number the latest call is meant: the one that he has just read."""
    if said.is_all:
        return calls
    if said.number is not None:
        return [one for one in calls if one.number == said.number]
    return calls[:1]


def _answer(said: Said, taken: list[Open], left: list[Open], *, is_drill: bool) -> str:
    others = " The exercise waits, too: reply 1 again." if is_drill else ""
    if left:
        others = f" Still open: reply 1 {left[0].number}."
    if len(left) > 1:
        others = f" {len(left)} more are open: reply 1 ALL, or 1 {left[0].number}."
    if len(taken) == 1:
        one = taken[0]
        headline = plain(read_vendor_text(one.vendor_text).headline(one.title))
        return cut(
            f"You have it, nobody else is called: {headline}", 1, f" (#{one.number}){others}"
        )
    if taken:
        return f"You have all {len(taken)}, nobody else is called.{others}"
    what = f"#{said.number}" if said.number is not None else "Nothing"
    words = "is not waiting for you" if said.number is not None else "waits for you"
    return f"{what} {words}: it is in hand, or over.{others}"


def _texted(text: str) -> Reply:
    message = f"<Message>{escape(text)}</Message>" if text else ""
    return _spoken(f'<?xml version="1.0" encoding="UTF-8"?><Response>{message}</Response>')


def _spoken(twiml: str) -> Reply:
    return Reply(twiml.encode(), _XML)
