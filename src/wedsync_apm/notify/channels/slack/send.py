"""Posts one message to Slack, or changes those that stand there.

A call, and its return, is a new message: only that makes a telephone ring. Who has it in hand, and
that it is over, is written into the messages that stand there; the end is told beneath them too.
"""

import json
import re
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from wedsync_apm.egress import Answer, EgressFailed, EgressRefused
from wedsync_apm.notify.channels.slack.config import SlackTarget
from wedsync_apm.notify.channels.slack.render import payload
from wedsync_apm.notify.message import Message, Tools, failed_call
from wedsync_apm.notify.model import Kind, Outcome, Result, judge_status

# Slack's own words, which help and hold nothing secret. Any other text may quote anything.
_HOOK_WORDS: Final = frozenset(
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
# In a 200 with `ok: false`. What is not among them may pass, and is tried again.
_FINAL_WORDS: Final = frozenset(
    {
        "access_denied",
        "account_inactive",
        "channel_not_found",
        "ekm_access_denied",
        "enterprise_is_restricted",
        "invalid_arguments",
        "invalid_auth",
        "invalid_blocks",
        "invalid_blocks_format",
        "is_archived",
        "is_inactive",
        "markdown_text_conflict",
        "messages_tab_disabled",
        "missing_scope",
        "msg_blocks_too_long",
        "msg_too_long",
        "no_permission",
        "no_text",
        "not_allowed_token_type",
        "not_authed",
        "not_in_channel",
        "org_login_required",
        "restricted_action",
        "restricted_action_read_only_channel",
        "team_access_not_granted",
        "team_not_found",
        "token_expired",
        "token_revoked",
        "user_not_found",
    }
)
_PASSING_WORDS: Final = frozenset(
    {
        "fatal_error",
        "internal_error",
        "message_limit_exceeded",
        "rate_limited",
        "ratelimited",
        "request_timeout",
        "service_unavailable",
        "team_added_to_org",
    }
)
# The message cannot be changed any more; what happened since is told in a new one.
_GONE_WORDS: Final = frozenset(
    {
        "cant_update_message",
        "channel_not_found",
        "edit_window_closed",
        "message_not_found",
        "msg_too_long",
    }
)
_LONG_YES: Final = re.compile(rb'\{"ok":true,"channel":"([A-Z0-9]+)","ts":"([0-9.]+)"')
_EDITED: Final = frozenset({Kind.UPDATE, Kind.RESOLVED})


async def send(message: Message, target: SlackTarget, tools: Tools, at: datetime) -> Outcome:
    """One attempt. By an incoming webhook every message is a new one."""
    if not target.token:
        return await _post_to_hook(message, target, tools, at)
    if message.kind in _EDITED and message.earlier_ids:
        return await _edit(message, target, tools, at)
    return await _post(message, target, tools, at)


async def _post_to_hook(
    message: Message, target: SlackTarget, tools: Tools, at: datetime
) -> Outcome:
    """Sent is 200 with the body `ok`, and nothing else."""
    made = payload(message, has_button=bool(target.signing_secret))
    answer = await _call(target.url, made, target, tools)
    if isinstance(answer, Outcome):
        return answer
    outcome = judge_status(answer.status, answer.header("retry-after"), at)
    said = answer.body[:100].decode("utf-8", "replace").strip()
    if outcome.result is Result.SENT and (answer.status, said) != (200, "ok"):
        return _nobodys_yes(outcome, answer)
    if said in _HOOK_WORDS:
        return replace(outcome, reason=f"Slack refuses it: {said}")
    return outcome


async def _post(
    message: Message,
    target: SlackTarget,
    tools: Tools,
    at: datetime,
    *,
    beneath: str | None = None,
) -> Outcome:
    made = payload(message, has_button=bool(target.signing_secret))
    made["channel"] = target.channel_id
    if beneath is not None:
        made |= {"thread_ts": beneath, "reply_broadcast": True}
    outcome, said = await _ask("chat.postMessage", made, target, tools, at)
    channel, stamp = said.get("channel"), said.get("ts")
    if outcome.result is Result.SENT and isinstance(channel, str) and isinstance(stamp, str):
        return outcome.identified(f"{channel[:40]}/{stamp[:40]}")
    return outcome


async def _edit(message: Message, target: SlackTarget, tools: Tools, at: datetime) -> Outcome:
    """Changes every message that stands there, the newest first; the end is told beneath it too."""
    changed: str | None = None
    for earlier_id in message.earlier_ids:
        channel, _, stamp = earlier_id.partition("/")
        if not stamp:
            continue
        made = payload(message, has_button=False) | {"channel": channel, "ts": stamp}
        outcome, said = await _ask("chat.update", made, target, tools, at)
        if outcome.result is Result.SENT:
            changed = changed or earlier_id
        elif said.get("error") not in _GONE_WORDS:
            return outcome
    if changed is None:
        return await _post(message, target, tools, at)
    if message.kind is Kind.RESOLVED:
        outcome = await _post(message, target, tools, at, beneath=changed.partition("/")[2])
        return replace(outcome, provider_id=changed)
    return Outcome(Result.SENT, "the message was changed", changed, "HTTP 200 ok")


async def _ask(
    method: str, made: dict[str, Any], target: SlackTarget, tools: Tools, at: datetime
) -> tuple[Outcome, dict[str, Any]]:
    """One call of the Web API: what came of it, and what Slack said. Sent is 200 and `ok: true`."""
    answer = await _call(f"{target.url.rstrip('/')}/{method}", made, target, tools)
    if isinstance(answer, Outcome):
        return answer, {}
    outcome = judge_status(answer.status, answer.header("retry-after"), at)
    said = _read(answer)
    if not isinstance(said, dict) or not isinstance(said.get("ok"), bool):
        if outcome.result is Result.SENT:
            outcome = _nobodys_yes(outcome, answer)
        return outcome, {}
    if outcome.result is not Result.SENT or said["ok"]:
        return outcome, said
    word = said.get("error")
    shown = f"HTTP {answer.status} {word}"
    if word in _FINAL_WORDS or word in _GONE_WORDS:
        reason = f"Slack refuses it: {word}"
        return Outcome(Result.FAILED, reason, provider_status=shown), said
    known = word in _PASSING_WORDS
    return (
        Outcome(
            Result.RETRY,
            f"Slack does not take it now: {word}" if known else "Slack does not take it now",
            provider_status=shown if known else f"HTTP {answer.status} not ok",
            retry_after_seconds=outcome.retry_after_seconds,
        ),
        said,
    )


def _read(answer: Answer) -> Any:
    # The answer repeats the message, and may be longer than what we read of it.
    if answer.truncated and (head := _LONG_YES.match(answer.body)):
        return {"ok": True, "channel": head[1].decode(), "ts": head[2].decode()}
    try:
        return json.loads(answer.body)
    except (ValueError, RecursionError):
        return None


async def _call(
    url: str, made: dict[str, Any], target: SlackTarget, tools: Tools
) -> Answer | Outcome:
    headers = {"Content-Type": "application/json; charset=utf-8"}
    if target.token:
        headers["Authorization"] = f"Bearer {target.token}"
    try:
        return await tools.egress.request(
            "POST", url, headers=headers, body=json.dumps(made).encode()
        )
    except EgressRefused as exc:
        return Outcome(Result.FAILED, exc.reason)
    except EgressFailed as exc:
        return failed_call(exc)


def _nobodys_yes(outcome: Outcome, answer: Answer) -> Outcome:
    # A captive portal, a proxy's page: somebody answered, but it was not Slack.
    return replace(
        outcome,
        result=Result.RETRY,
        reason=f"the receiver answered {answer.status} without Slack's ok",
        may_have_arrived=True,
    )
