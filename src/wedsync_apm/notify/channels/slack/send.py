"""Posts one message to a Slack incoming webhook."""

from dataclasses import replace
from datetime import datetime
from typing import Final

from wedsync_apm.egress import EgressFailed, EgressRefused
from wedsync_apm.notify.channels.slack.config import SlackTarget
from wedsync_apm.notify.channels.slack.render import blocks
from wedsync_apm.notify.message import Message, Tools, failed_call
from wedsync_apm.notify.model import Outcome, Result, judge_status

# Slack's own words, which help and hold nothing secret. Any other text may quote anything.
_KNOWN_WORDS: Final = frozenset(
    {
        "action_prohibited",
        "channel_is_archived",
        "channel_not_found",
        "invalid_blocks",
        "invalid_payload",
        "invalid_token",
        "no_active_hooks",
        "no_service",
        "no_service_id",
        "no_team",
        "no_text",
        "posting_to_general_channel_denied",
        "rollup_error",
        "team_disabled",
        "too_many_attachments",
        "user_not_found",
    }
)


async def send(message: Message, target: SlackTarget, tools: Tools, at: datetime) -> Outcome:
    """One attempt: sent is 200 with the body `ok`, and nothing else."""
    try:
        answer = await tools.egress.request(
            "POST",
            target.url,
            headers={"Content-Type": "application/json"},
            body=blocks(message),
        )
    except EgressRefused as exc:
        return Outcome(Result.FAILED, exc.reason)
    except EgressFailed as exc:
        return failed_call(exc)
    outcome = judge_status(answer.status, answer.header("retry-after"), at)
    said = answer.body[:100].decode("utf-8", "replace").strip()
    if outcome.result is Result.SENT and (answer.status, said) != (200, "ok"):
        # A captive portal, a proxy's page: somebody answered, but it was not Slack.
        return replace(
            outcome,
            result=Result.RETRY,
            reason=f"the receiver answered {answer.status} without Slack's ok",
            may_have_arrived=True,
        )
    if said in _KNOWN_WORDS:
        return replace(outcome, reason=f"Slack refuses it: {said}")
    return outcome
