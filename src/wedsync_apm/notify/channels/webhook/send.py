"""Posts one signed webhook."""

from datetime import UTC, datetime

from standardwebhooks.webhooks import Webhook

from wedsync_apm.egress import EgressFailed, EgressRefused
from wedsync_apm.notify.channels.webhook.config import WebhookTarget
from wedsync_apm.notify.message import Message, Tools, failed_call
from wedsync_apm.notify.model import Outcome, Result, judge_status


async def send(message: Message, target: WebhookTarget, tools: Tools, at: datetime) -> Outcome:
    """One attempt. `webhook-id` is the delivery's id, by which a receiver knows a repeat."""
    # In UTC, because the library replaces the zone instead of converting to it.
    moment = at.astimezone(UTC)
    headers = {
        "Content-Type": "application/json",
        "webhook-id": str(message.delivery_id),
        "webhook-timestamp": str(int(moment.timestamp())),
        # One by each key while keys change over; the receiver needs only one that fits.
        "webhook-signature": " ".join(
            Webhook(key).sign(str(message.delivery_id), moment, message.body)
            for key in target.keys(at)
        ),
    }
    try:
        answer = await tools.egress.request(
            "POST", target.url, headers=headers, body=message.body.encode(), read_body=False
        )
    except EgressRefused as exc:
        return Outcome(Result.FAILED, exc.reason)
    except EgressFailed as exc:
        return failed_call(exc)
    outcome = judge_status(answer.status, answer.header("retry-after"), at)
    return outcome.identified(str(message.delivery_id))
