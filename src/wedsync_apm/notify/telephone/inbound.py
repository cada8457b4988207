"""What comes back from the telephone: statuses, texts and keys. Pure."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final
from urllib.parse import parse_qsl

from wedsync_apm.notify.telephone.faults import WHY_OFF, Fault, fault_of

MOST_FIELDS: Final = 200
_SID: Final = re.compile(r"[A-Za-z0-9]{1,100}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Receipt:
    """How far a message has come, in our words and the provider's; `ends_contact` says why its
    number can never be reached."""

    receipt: str
    status: str
    provider_id: str | None
    ends_contact: str | None = None


class Word(StrEnum):
    """What somebody means by a text."""

    ACKNOWLEDGE = "acknowledge"
    STOP = "stop"
    START = "start"
    HELP = "help"


@dataclass(frozen=True, slots=True)
class Reply:
    """A text, understood. `number` is the incident's; `is_all` means whatever there is."""

    word: Word
    number: int | None = None
    is_all: bool = False


_ACKNOWLEDGE: Final = re.compile(
    r"(?:1|ack|acknowledge|ok|okay|on it|i'?m on it)"
    r"(?:[\s,.:#]+(?:(?P<all>all)|(?P<number>\d{1,18})))?",
    re.ASCII,
)
# The words that the networks and Twilio's own opt-out know.
_STOP: Final = frozenset(
    {"stop", "stopall", "stop all", "unsubscribe", "cancel", "end", "quit", "optout", "revoke"}
)
_START: Final = frozenset({"start", "unstop"})


def read_form(body: bytes) -> list[tuple[str, str]] | None:
    """The fields of a form, as they came; None for what is none."""
    try:
        return parse_qsl(
            body.decode("utf-8"),
            keep_blank_values=True,
            strict_parsing=bool(body),
            max_num_fields=MOST_FIELDS,
        )
    except (UnicodeDecodeError, ValueError):
        return None


def read_reply(text: str) -> Reply:
    """What a text says. Whatever is not understood asks for help."""
    said = " ".join(text[:200].replace("’", "'").casefold().split()).strip(" .!'\"")
    if said in _STOP:
        return Reply(Word.STOP)
    if said in _START:
        return Reply(Word.START)
    found = _ACKNOWLEDGE.fullmatch(said)
    if found is None:
        return Reply(Word.HELP)
    number = int(found["number"]) if found["number"] else None
    return Reply(Word.ACKNOWLEDGE, number, is_all=found["all"] is not None)


_MESSAGE_STATUSES: Final[Mapping[str, str]] = {
    "accepted": "accepted",
    "scheduled": "accepted",
    "queued": "accepted",
    "sending": "accepted",
    "sent": "sent",
    "delivered": "delivered",
    "read": "read",
    "canceled": "failed",
}
# That a call ended says nothing about whether a person or a machine took it: what proves that is
# that the words were fetched, and for whom.
_CALL_STATUSES: Final[Mapping[str, str]] = {
    "queued": "accepted",
    "initiated": "accepted",
    "ringing": "sent",
    "in-progress": "sent",
    "completed": "sent",
    "busy": "returned",
    "no-answer": "returned",
    "failed": "returned",
    "canceled": "failed",
}


def read_receipt(fields: Mapping[str, str]) -> Receipt | None:
    """What a status callback says; None for one that says nothing of ours."""
    if "CallSid" in fields:
        status, sid = fields.get("CallStatus", ""), read_sid(fields["CallSid"])
        known = _CALL_STATUSES.get(status)
    else:
        status = fields.get("MessageStatus") or fields.get("SmsStatus") or ""
        sid = read_sid(fields.get("MessageSid") or fields.get("SmsSid"))
        known = _MESSAGE_STATUSES.get(status)
    if known is not None:
        return Receipt(known, status, sid)
    if "CallSid" in fields or status not in ("undelivered", "failed"):
        return None
    given = fields.get("ErrorCode") or ""
    code = int(given[:9]) if given.isascii() and given.isdigit() else None
    shown = f"{status} {code}" if code else status
    match fault_of(code, 500):
        case Fault.NUMBER:
            return Receipt("failed", shown, sid, WHY_OFF[code or 0])
        case Fault.MESSAGE:
            return Receipt("failed", shown, sid)
        case _:
            # The handset may be on again by then, and another account may do better.
            return Receipt("returned", shown, sid)


def read_sid(value: str | None) -> str | None:
    """The provider's id of something; None for what is none."""
    return value if value and _SID.fullmatch(value) else None


def is_machine(fields: Mapping[str, str]) -> bool:
    """Whether a machine has answered a call."""
    answered = fields.get("AnsweredBy", "")
    return answered.startswith("machine") or answered == "fax"


def first_values(fields: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Each field once, as it came first."""
    values: dict[str, str] = {}
    for name, value in fields:
        values.setdefault(name, value)
    return values
