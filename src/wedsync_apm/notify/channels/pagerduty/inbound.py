"""Reads PagerDuty's V3 webhooks: what people do there counts here.

Only what a person did: what our own events, rules or integrations did there comes back too, and
would go round in circles.
"""

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

from wedsync_apm.notify.channels.pagerduty.config import PagerDutyTarget
from wedsync_apm.notify.channels.pagerduty.render import drill_of, incident_of
from wedsync_apm.notify.inbound import (
    FORGED,
    NOTHING,
    UNREADABLE,
    Acknowledged,
    Heard,
    is_signed,
    person,
)

# Somebody took it, called it done, or gave it to somebody: whether it is over we see for ourselves.
_TAKEN: Final = frozenset({"incident.acknowledged", "incident.resolved", "incident.reassigned"})
OLDEST: Final = timedelta(hours=24)
NEWEST: Final = timedelta(minutes=5)


def hear(body: bytes, headers: Mapping[str, str], target: PagerDutyTarget, at: datetime) -> Heard:
    """What a callback says; `headers` by their names in lower case."""
    signatures = [
        one.strip().removeprefix("v1=")
        for one in headers.get("x-pagerduty-signature", "").split(",")
        if one.strip().startswith("v1=")
    ]
    if not is_signed(signatures, target.webhook_secrets, body):
        return FORGED
    try:
        event = json.loads(body)["event"]
        event_id, kind, data = event["id"], event["event_type"], event["data"]
        if not (isinstance(event_id, str) and isinstance(kind, str) and isinstance(data, dict)):
            return UNREADABLE
    except (ValueError, KeyError, TypeError, RecursionError):
        return UNREADABLE
    agent = event.get("agent")
    if kind not in _TAKEN or not isinstance(agent, dict) or agent.get("type") != "user_reference":
        return NOTHING
    happened_at = _moment(event.get("occurred_at"))
    if happened_at is None or not -NEWEST <= at - happened_at <= OLDEST:
        return NOTHING
    receiver = person(agent.get("summary"), "somebody at PagerDuty")
    return _taken(data.get("incident_key"), receiver, event_id[:200], happened_at)


def _taken(key: object, receiver: str, event_id: str, happened_at: datetime) -> Heard:
    if not isinstance(key, str):
        return NOTHING
    if (drill := drill_of(key)) is not None:
        return Heard(200, drills=(drill,))
    if (incident_id := incident_of(key)) is None:
        return NOTHING
    return Heard(200, (Acknowledged(incident_id, None, receiver, event_id, happened_at),))


def _moment(value: object) -> datetime | None:
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
    return moment if moment is not None and moment.tzinfo else None
