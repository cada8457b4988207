"""Hands one message to a browser's push service.

A repeat does no harm: the topic replaces what has not been shown yet, and the tag what has.
"""

import json
from dataclasses import replace
from datetime import datetime
from typing import Final

from wedsync_apm.egress import EgressFailed, EgressRefused
from wedsync_apm.notify.channels.push.config import NO_KEY, PushTarget
from wedsync_apm.notify.channels.push.encrypt import encrypt
from wedsync_apm.notify.message import Message, Tools, failed_call
from wedsync_apm.notify.model import Kind, Outcome, Result, judge_status
from wedsync_apm.notify.vapid import decode

# Seconds for which a push service keeps it for a browser that is away. A call that comes late is
# worth less than the next one, which goes out meanwhile.
_KEPT: Final = {Kind.PAGE: 300, Kind.REOPENED: 300, Kind.UPDATE: 900, Kind.RESOLVED: 3600}
_KEPT_OTHERWISE: Final = 900


async def send(message: Message, target: PushTarget, tools: Tools, at: datetime) -> Outcome:
    """One attempt. A subscription that is gone ends its contact."""
    if tools.vapid is None:
        return Outcome(Result.RETRY, NO_KEY)
    headers = {
        "Content-Type": "application/octet-stream",
        "Content-Encoding": "aes128gcm",
        "TTL": str(_KEPT.get(message.kind, _KEPT_OTHERWISE)),
        "Urgency": "high",
        "Authorization": tools.vapid.authorization(target.url, at),
    }
    if message.incident_id is not None:
        headers["Topic"] = message.incident_id.hex
    body = encrypt(_plain(message).encode(), decode(target.p256dh), decode(target.auth))
    try:
        answer = await tools.egress.request(
            "POST", target.url, headers=headers, body=body, read_body=False
        )
    except EgressRefused as exc:
        return Outcome(Result.FAILED, exc.reason)
    except EgressFailed as exc:
        return failed_call(exc)
    outcome = judge_status(answer.status, answer.header("retry-after"), at)
    if answer.status in (404, 410):
        return replace(outcome, reason="this browser has unsubscribed", ends_contact=True)
    if answer.status in (401, 403):
        return replace(outcome, reason="the push service does not accept our key for this browser")
    return outcome.identified(str(message.delivery_id))


def _plain(message: Message) -> str:
    """What the browser reads. What it signs receipts with is in no message that we keep."""
    if message.receipt_token is None:
        return message.body
    said = {**json.loads(message.body), "receipt": message.receipt_token}
    return json.dumps(said, ensure_ascii=False)
