"""The event of the Events API v2, whole but for the routing key, stored as it will be sent."""

import json
from typing import Any, Final
from uuid import UUID

from wedsync_apm.notify import words
from wedsync_apm.notify.message import Rendered
from wedsync_apm.notify.model import Kind
from wedsync_apm.notify.words import Facts

TEXT_LIMIT: Final = 1024  # characters of a summary; the other short fields are held to it too
DETAILS_LIMIT: Final = 100_000  # bytes; with everything else the event stays far below 512 kB
BEFORE: Final = "before"
"""What is done with the incident there before the event itself; not sent."""
_KEY_PREFIX: Final = "wedsync-incident-"
_SEVERITIES: Final = {
    "info": "info",
    "warning": "warning",
    "critical": "critical",
    "emergency": "critical",
}


def render(facts: Facts) -> Rendered:
    """One event. All events about one incident have one `dedup_key`, whatever happens to it."""
    action = _action(facts)
    event: dict[str, Any] = {"event_action": action, "dedup_key": _dedup_key(facts)}
    if action == "trigger":
        event |= _trouble(facts)
        if facts.lapsed_at is not None and facts.kind is Kind.PAGE:
            # Whoever had it let go. There it is still acknowledged, and another trigger would ring
            # nobody: only an incident that begins anew does.
            event[BEFORE] = "resolve"
    return Rendered(words.subject(facts), json.dumps(event, ensure_ascii=False))


def incident_of(dedup_key: str) -> UUID | None:
    """The incident from a key of ours; None from any other key."""
    return _id_behind(_KEY_PREFIX, dedup_key)


def drill_of(dedup_key: str) -> UUID | None:
    """The message of a drill from a key of ours; None from any other key."""
    return _id_behind(f"wedsync-{Kind.DRILL}-", dedup_key)


def _id_behind(prefix: str, dedup_key: str) -> UUID | None:
    try:
        return UUID(dedup_key.removeprefix(prefix)) if dedup_key.startswith(prefix) else None
    except ValueError:
        return None


def _dedup_key(facts: Facts) -> str:
    if facts.incident_id is not None:
        return f"{_KEY_PREFIX}{facts.incident_id}"
    group_id = facts.payload.get("group_id") if facts.kind is Kind.GROUP else None
    return f"wedsync-{facts.kind}-{group_id or facts.delivery_id}"[:255]


def _action(facts: Facts) -> str:
    if facts.kind is Kind.RESOLVED:
        return "resolve"
    if facts.kind is Kind.UPDATE and facts.status in ("acknowledged", "investigating"):
        return "acknowledge"
    return "trigger"


def _trouble(facts: Facts) -> dict[str, Any]:
    details: dict[str, Any] = {"message": _cut_bytes(words.body(facts))}
    if facts.number is not None:
        details["number"] = facts.number
    for name in ("priority", "status", "metric_value", "threshold_value"):
        if (value := getattr(facts, name)) is not None:
            details[name] = value if not isinstance(value, float) else _finite(value)
    if facts.weddings:
        details["weddings_today"] = len(facts.weddings)
    payload: dict[str, Any] = {
        "summary": _short(words.subject(facts)),
        "source": _short(facts.organization_name) or "WedSync APM",
        "severity": _SEVERITIES.get(facts.severity or "", "info"),
        "timestamp": (facts.began_at or facts.at).isoformat(),
        "custom_details": details,
    }
    if facts.metric_pattern:
        payload["component"] = _short(facts.metric_pattern)
    links = [
        {"href": href, "text": text}
        for href, text in (
            (facts.incident_url, words.SEE_LABEL),
            (facts.acknowledge_url, words.ACKNOWLEDGE_LABEL),
        )
        if href
    ]
    made: dict[str, Any] = {"payload": payload, "client": "WedSync APM"}
    if facts.incident_url:
        made["client_url"] = facts.incident_url
    return made | ({"links": links} if links else {})


def _short(text: str) -> str:
    plain = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return plain if len(plain) <= TEXT_LIMIT else plain[: TEXT_LIMIT - 1] + "…"


def _cut_bytes(text: str) -> str:
    raw = text.encode()
    return text if len(raw) <= DETAILS_LIMIT else raw[:DETAILS_LIMIT].decode("utf-8", "ignore")


def _finite(value: float) -> float | str:
    return value if abs(value) < float("inf") else str(value)
