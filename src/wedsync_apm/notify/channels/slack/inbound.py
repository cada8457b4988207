"""Reads the callback of a tap on a button in Slack.

Signed with the app's signing secret over the time-stamp and the body (`v0`), and at most five
minutes old; what comes twice within these is known by its id.
"""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final
from urllib.parse import parse_qs
from uuid import UUID

from wedsync_apm.notify.channels.slack.config import SlackTarget
from wedsync_apm.notify.channels.slack.render import ACKNOWLEDGE, DRILL
from wedsync_apm.notify.inbound import (
    FORGED,
    NOTHING,
    UNREADABLE,
    Acknowledged,
    Heard,
    is_signed,
    person,
)

TOLERANCE_SECONDS: Final = 300.0


def hear(body: bytes, headers: Mapping[str, str], target: SlackTarget, at: datetime) -> Heard:
    """What a callback says; `headers` by their names in lower case."""
    stamp = headers.get("x-slack-request-timestamp", "")
    signature = headers.get("x-slack-signature", "")
    if not (stamp.isascii() and stamp.isdigit() and len(stamp) < 15 and target.signing_secret):
        return FORGED
    signed = b"v0:" + stamp.encode() + b":" + body
    if not signature.startswith("v0=") or not is_signed(
        [signature.removeprefix("v0=")], [target.signing_secret], signed
    ):
        return FORGED
    if abs(at.timestamp() - int(stamp)) > TOLERANCE_SECONDS:
        return FORGED
    try:
        said = json.loads(parse_qs(body.decode(), max_num_fields=10)["payload"][0])
        kind, actions, user = said["type"], said.get("actions"), said.get("user")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return UNREADABLE
    if kind != "block_actions" or not isinstance(actions, list) or not isinstance(user, dict):
        return NOTHING
    receiver = person(user.get("name") or user.get("username"), "somebody at Slack")
    event_id = _event_id(said, signature)
    values = [value for one in actions[:5] if (value := _value(one)) is not None]
    taps = (_tapped(value, receiver, event_id, at) for value in values)
    drills = (_uuid(value.removeprefix(f"{DRILL}:")) for value in values)
    return Heard(
        200,
        tuple(one for one in taps if one is not None),
        tuple(one for one in drills if one is not None),
    )


def _event_id(said: Mapping[str, Any], signature: str) -> str:
    trigger = said.get("trigger_id")
    return trigger[:200] if isinstance(trigger, str) and trigger else signature


def _value(action: object) -> str | None:
    if not isinstance(action, dict) or action.get("action_id") != ACKNOWLEDGE:
        return None
    value = action.get("value")
    return value if isinstance(value, str) else None


def _tapped(value: str, receiver: str, event_id: str, at: datetime) -> Acknowledged | None:
    incident, _, generation = value.partition(":")
    incident_id = _uuid(incident)
    if not (generation.isascii() and generation.isdigit() and len(generation) < 10):
        return None
    if incident_id is None:
        return None
    return Acknowledged(incident_id, int(generation), receiver, event_id, at)


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
