"""The body of a webhook: one JSON object, stored as it will be sent."""

import json
from datetime import UTC, datetime
from typing import Any

from wedsync_apm.notify import words
from wedsync_apm.notify.message import Rendered
from wedsync_apm.notify.words import Facts


def render(facts: Facts) -> Rendered:
    """`{"type": "incident.page", "timestamp", "data"}`; times are UTC, what is unknown is null."""
    data: dict[str, Any] = {
        "delivery_id": str(facts.delivery_id),
        "organization_id": str(facts.organization_id),
        "reason": facts.reason,
        "message": words.body(facts),
    }
    if facts.incident_id is not None:
        data["incident"] = {
            "id": str(facts.incident_id),
            "number": facts.number,
            "title": facts.title,
            "headline": facts.headline,
            "engineer_text": facts.engineer_text,
            "status": facts.status,
            "severity": facts.severity,
            "priority": facts.priority,
            "detected_at": _utc(facts.detected_at),
            "acknowledged_at": _utc(facts.acknowledged_at),
            "resolved_at": _utc(facts.resolved_at),
            "next_update_at": _utc(facts.next_update_at),
            "metric_value": _finite(facts.metric_value),
            "threshold_value": _finite(facts.threshold_value),
            "was_wedding_day": facts.was_wedding_day,
            "url": facts.incident_url,
            "acknowledge_url": facts.acknowledge_url,
        }
    event = str(facts.kind) if facts.incident_id is None else f"incident.{facts.kind}"
    body = json.dumps(
        {"type": event, "timestamp": _utc(facts.at), "data": data}, ensure_ascii=False
    )
    return Rendered(words.subject(facts), body)


def _utc(at: datetime | None) -> str | None:
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z") if at else None


def _finite(value: float | None) -> float | str | None:
    # JSON has no words for these three, and receivers choke on the ones that Python makes up.
    return value if value is None or abs(value) < float("inf") else str(value)
