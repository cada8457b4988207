"""Hands one event to PagerDuty.

A repeat does no harm: the same key appends to the incident that is open there.
"""

import json
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from wedsync_apm.egress import EgressFailed, EgressRefused
from wedsync_apm.notify.channels.pagerduty.config import PagerDutyTarget
from wedsync_apm.notify.channels.pagerduty.render import BEFORE
from wedsync_apm.notify.message import Message, Tools, failed_call
from wedsync_apm.notify.model import Outcome, Result, judge_status

# PagerDuty's own word, which helps and holds nothing secret. Any other text may quote anything.
_INVALID: Final = "invalid event"


async def send(message: Message, target: PagerDutyTarget, tools: Tools, at: datetime) -> Outcome:
    """One attempt: sent is a yes in words, `status: success`, and nothing else."""
    event = json.loads(message.body)
    if before := event.pop(BEFORE, None):
        first = {"event_action": before, "dedup_key": event["dedup_key"]}
        outcome = await _enqueue(first, target, tools, at)
        if outcome.result is not Result.SENT:
            return outcome
    return await _enqueue(event, target, tools, at)


async def _enqueue(
    event: dict[str, Any], target: PagerDutyTarget, tools: Tools, at: datetime
) -> Outcome:
    body = json.dumps({"routing_key": target.routing_key, **event}, ensure_ascii=False)
    try:
        answer = await tools.egress.request(
            "POST",
            target.url,
            headers={"Content-Type": "application/json"},
            body=body.encode(),
        )
    except EgressRefused as exc:
        return Outcome(Result.FAILED, exc.reason)
    except EgressFailed as exc:
        return failed_call(exc)
    outcome = judge_status(answer.status, answer.header("retry-after"), at)
    said = _status_word(answer.body)
    if outcome.result is Result.SENT and said != "success":
        # A captive portal, a proxy's page: somebody answered, but it was not PagerDuty.
        return replace(
            outcome,
            result=Result.RETRY,
            reason=f"the receiver answered {answer.status} without PagerDuty's success",
            may_have_arrived=True,
        )
    if outcome.result is Result.FAILED and said == _INVALID:
        return replace(outcome, reason="PagerDuty refuses it: invalid event or integration key")
    return outcome.identified(str(event["dedup_key"]))


def _status_word(body: bytes) -> str:
    try:
        said: Any = json.loads(body)
    except ValueError:
        return ""
    word = said.get("status") if isinstance(said, dict) else None
    return word if isinstance(word, str) else ""
