"""One attempt to have a text or a call taken, by one account after the other.

The provider knows no idempotency key. So whenever it may have taken a message without our hearing
of it, it is asked for what it has: the message found there is adopted, and only one that is not
there is sent again. What is found is only presumed to be this message, and never one that is known
to be another; the callbacks, whose addresses carry our own id, prove it or put it right.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, Final, Literal
from urllib.parse import urlencode

from wedsync_apm.egress import Answer, EgressClient, EgressFailed, EgressRefused
from wedsync_apm.notify.message import Message, failed_call
from wedsync_apm.notify.model import Outcome, Result, parse_retry_after
from wedsync_apm.notify.telephone.accounts import Account
from wedsync_apm.notify.telephone.faults import WHY_OFF, Fault, fault_of

CALL_SECONDS: Final = 5.0
LOOK_SECONDS: Final = 3.0
# Their clock and ours need not agree; what was made so shortly before is still ours.
CLOCK_SLACK: Final = timedelta(seconds=30)

Noun = Literal["Messages", "Calls"]
Fields = Mapping[str, str]
_DEAD: Final = frozenset({"failed", "undelivered", "canceled", "busy", "no-answer"})


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be taken: the noun, its fields by account, and how one is known again."""

    noun: Noun
    fields: Callable[[Account], Fields]
    is_this: Callable[[Account, Mapping[str, Any]], bool]
    """Whether an entry of an account's list may be this very message."""


@dataclass(frozen=True, slots=True)
class _Tried:
    outcome: Outcome
    fault: Fault | None = None


async def place(
    order: Order, message: Message, accounts: Sequence[Account], egress: EgressClient, at: datetime
) -> Outcome:
    """One attempt. The first account that takes it ends it, and so does a fault of the number or
    the message; any other fault hands it on to the next account. What each said is in the
    outcome's status.

    Each try begins with another account than the one before: what the first has taken and given
    back may be the first's own trouble.
    """
    turn = message.tries % len(accounts)
    accounts = [*accounts[turn:], *accounts[:turn]]
    if message.may_have_arrived:
        for account in accounts:
            made = (message.unknown_since or message.created_at, message.unknown_until or at)
            found = await _look_up(order, message, account, egress, made)
            if found is not None:
                return found
    tried: list[_Tried] = []
    statuses: list[str] = []
    for account in accounts:
        one = await _try(order, account, egress, at)
        if one.outcome.may_have_arrived:
            found = await _look_up(order, message, account, egress, (at, at))
            if found is not None:
                one = _Tried(found)
        tried.append(one)
        statuses.append(f"{account.name}: {one.outcome.provider_status}")
        if one.outcome.result is Result.SENT or one.fault in (Fault.NUMBER, Fault.MESSAGE):
            break
    last = tried[-1].outcome
    if last.result is not Result.SENT:
        waits = [
            t.outcome.retry_after_seconds
            for t in tried
            if t.outcome.retry_after_seconds is not None
        ]
        last = replace(
            last,
            retry_after_seconds=min(waits) if len(waits) == len(tried) else None,
            may_have_arrived=any(t.outcome.may_have_arrived for t in tried),
        )
    return replace(last, provider_status="; ".join(statuses))


async def _try(order: Order, account: Account, egress: EgressClient, at: datetime) -> _Tried:
    headers = account.headers() | {"Content-Type": "application/x-www-form-urlencoded"}
    body = urlencode(order.fields(account)).encode()
    try:
        answer = await egress.request(
            "POST",
            account.url(order.noun),
            headers=headers,
            body=body,
            timeout_seconds=CALL_SECONDS,
        )
    except EgressRefused as exc:
        return _Tried(Outcome(Result.RETRY, exc.reason, provider_status="refused"), Fault.ACCOUNT)
    except EgressFailed as exc:
        return _Tried(failed_call(exc), Fault.ACCOUNT)
    return _judge(answer, at)


def _judge(answer: Answer, at: datetime) -> _Tried:
    said = _read(answer)
    status = f"HTTP {answer.status}"
    if 200 <= answer.status < 300:
        sid, state = said.get("sid"), said.get("status")
        code = _code(said.get("error_code"))
        if not isinstance(sid, str) or not sid:
            # Somebody answered, but not the provider.
            outcome = Outcome(
                Result.RETRY,
                f"the provider answered {answer.status} without a message",
                provider_status=status,
                may_have_arrived=True,
            )
            return _Tried(outcome, Fault.ACCOUNT)
        if code is None and state not in _DEAD:
            outcome = Outcome(
                Result.SENT,
                "the provider has taken it",
                provider_id=sid[:100],
                provider_status=f"{status} {state}" if _is_word(state) else status,
            )
            return _Tried(outcome)
        return _refused(code, status, answer, at)
    return _refused(_code(said.get("code")), status, answer, at)


def _refused(code: int | None, status: str, answer: Answer, at: datetime) -> _Tried:
    fault = fault_of(code, answer.status)
    shown = f"{status} error {code}" if code is not None else status
    match fault:
        case Fault.NUMBER:
            why = WHY_OFF[code or 0]
            outcome = Outcome(Result.FAILED, why, provider_status=shown, ends_contact=True)
        case Fault.MESSAGE:
            words = "the provider refuses this message"
            outcome = Outcome(Result.FAILED, words, provider_status=shown)
        case Fault.HANDSET:
            words = "the provider cannot reach the telephone now"
            outcome = Outcome(Result.RETRY, words, provider_status=shown)
        case Fault.ACCOUNT:
            outcome = Outcome(
                Result.RETRY,
                f"the provider does not take it ({answer.status})",
                provider_status=shown,
                retry_after_seconds=parse_retry_after(answer.header("retry-after"), at),
            )
    return _Tried(outcome, fault)


async def _look_up(
    order: Order,
    message: Message,
    account: Account,
    egress: EgressClient,
    made: tuple[datetime, datetime],
) -> Outcome | None:
    """The message as the provider has it, made between these; None if it has none, or does not
    say."""
    earliest, latest = made[0] - CLOCK_SLACK, made[1] + CLOCK_SLACK
    # Newest first, and short enough to be read whole. What waits has no day that it was sent on, so
    # that nothing but the receiver narrows the list.
    query = urlencode({"To": order.fields(account)["To"], "PageSize": "20"})
    try:
        answer = await egress.request(
            "GET",
            f"{account.url(order.noun)}?{query}",
            headers=account.headers(),
            timeout_seconds=LOOK_SECONDS,
        )
    except (EgressRefused, EgressFailed):
        return None
    entries = _read(answer).get("messages" if order.noun == "Messages" else "calls")
    if answer.status != 200 or not isinstance(entries, list):
        return None
    # The oldest that fits: where several messages are looked for, each takes what was made first.
    for entry in reversed(entries):
        if not isinstance(entry, dict) or not order.is_this(account, entry):
            continue
        sid, state = entry.get("sid"), entry.get("status")
        if not isinstance(sid, str) or not sid or sid in message.taken_ids or state in _DEAD:
            continue
        if earliest <= _made_at(entry) <= latest:
            return Outcome(
                Result.SENT,
                "the provider had it already",
                provider_id=sid[:100],
                provider_status=f"found as {state}" if _is_word(state) else "found",
                is_presumed=True,
            )
    return None


def _made_at(entry: Mapping[str, Any]) -> datetime:
    try:
        made = parsedate_to_datetime(str(entry.get("date_created")))
    except (TypeError, ValueError):
        return datetime.min.replace(tzinfo=UTC)
    return made if made.tzinfo else made.replace(tzinfo=UTC)


def _read(answer: Answer) -> Mapping[str, Any]:
    try:
        said = json.loads(answer.body)
    except (ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}


def _code(value: object) -> int | None:
    if isinstance(value, str) and value.isascii() and value.isdigit():
        value = int(value[:9])
    return value if isinstance(value, int) and not isinstance(value, bool) and value else None


def _is_word(value: object) -> bool:
    return isinstance(value, str) and value.isascii() and value.isalpha() and len(value) <= 20
