"""Has one message written by Apprise, makes its calls, and says what came of them.

No service gives a receipt in this way: that it took a message is the most that anybody knows.
"""

from dataclasses import replace
from datetime import datetime
from typing import Final

from wedsync_apm.egress import Answer, EgressFailed, EgressRefused
from wedsync_apm.notify.channels.apprise.config import SWITCHED_OFF, AppriseTarget
from wedsync_apm.notify.channels.apprise.penman import Call, Job, Written, write
from wedsync_apm.notify.channels.apprise.render import body_of, plain
from wedsync_apm.notify.message import Message, Tools, failed_call
from wedsync_apm.notify.model import Kind, Outcome, Result, judge_status

_TYPES: Final = {Kind.PAGE: "failure", Kind.REOPENED: "failure", Kind.RESOLVED: "success"}


async def send(message: Message, target: AppriseTarget, tools: Tools, at: datetime) -> Outcome:
    """One attempt, of at most `penman.LONGEST_SECONDS`."""
    if not tools.has_apprise:
        return Outcome(Result.RETRY, SWITCHED_OFF)
    job = Job(
        url=target.url,
        module=target.service.module,
        plugin=target.service.plugin,
        title=plain(message.subject),
        body=body_of(message),
        type=_TYPES.get(message.kind, "info"),
    )
    return judge(await write(job, tools.egress), target.service.name, at)


def judge(written: Written, name: str, at: datetime) -> Outcome:
    """What the calls of one message come to; `name` is the service's."""
    last = written.calls[-1].end if written.calls else None
    status = f"HTTP {last.status}" if isinstance(last, Answer) else None
    if written.was_taken:
        return Outcome(Result.SENT, f"{name} took it", provider_status=status)
    match last:
        case _ if written.refusal is not None:
            outcome = Outcome(Result.FAILED, written.refusal)
        case EgressRefused():
            outcome = Outcome(Result.FAILED, last.reason)
        case EgressFailed():
            outcome = failed_call(last)
        case Answer() if not 200 <= last.status < 300:
            outcome = judge_status(last.status, last.header("retry-after"), at)
        case _ if written.was_taken is None:
            outcome = Outcome(Result.RETRY, written.trouble, provider_status=status)
        case Answer():
            reason = f"{name} said no in its answer"
            outcome = Outcome(Result.RETRY, reason, provider_status=status)
        case _:
            reason = f"Apprise made no call of it: is the address of {name} whole?"
            outcome = Outcome(Result.FAILED, reason)
    # Of several calls an earlier one may have been the message itself.
    may_have = outcome.may_have_arrived or any(map(_may_have_acted, written.calls))
    return replace(outcome, may_have_arrived=outcome.result is Result.RETRY and may_have)


def _may_have_acted(call: Call) -> bool:
    if call.method in ("GET", "HEAD") or isinstance(call.end, EgressRefused):
        return False
    if isinstance(call.end, Answer):
        return 200 <= call.end.status < 300
    return call.end is None or failed_call(call.end).may_have_arrived
