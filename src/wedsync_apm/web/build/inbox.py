"""Messages as they were sent, and what became of each."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from wedsync_apm.web import say
from wedsync_apm.web.build import Row
from wedsync_apm.web.views.inbox import Hop, Message
from wedsync_apm.web.views.incident import Told
from wedsync_apm.web.views.shell import Kind, Status
from wedsync_apm.web.words import say as words

ICONS = {
    "email": "email", "sms": "sms", "slack": "slack", "webhook": "webhook", "pagerduty": "pager",
}  # fmt: skip
_KINDS: dict[str, Kind] = {
    "sent": "ok", "delivered": "ok", "inbox": "info", "failed": "crit", "expired": "warn",
    "unknown": "warn", "retry": "warn",
}  # fmt: skip

_ICONS = {"inbox": "inbox", "pending": "clock", "leased": "clock", "sending": "clock"}


def state_of(state: str) -> Status:
    """A delivery's state in words."""
    return Status(_KINDS.get(state, "none"), words(f"delivery.{state}"), _ICONS.get(state, ""))


def recipient_name(row: Row) -> str:
    """Whom it is for."""
    recipient: Any = row.get("recipient") or {}
    return str(recipient.get("name") or recipient.get("address") or words("inbox.somebody"))


def build_message(row: Row, zone: str) -> Message:
    """One delivery with its stations."""
    stations: tuple[tuple[str, datetime | None], ...] = (
        ("inbox.queued_at", row["created_at"]),
        ("inbox.sent_at", row.get("sent_at")),
        ("inbox.delivered_at", row.get("delivered_at")),
    )
    return Message(
        id=row["id"],
        channel=words(f"channel.{row['channel']}"),
        icon=ICONS[str(row["channel"])],
        to=recipient_name(row),
        address=str((row.get("recipient") or {}).get("address") or ""),
        at=row["created_at"],
        subject=row.get("subject") or "",
        body=(row.get("body") or "").strip() or words("inbox.no_words"),
        status=state_of(str(row["state"])),
        hops=tuple(
            Hop(words(key), say.clock_seconds(at, zone)) for key, at in stations if at is not None
        ),
        reason=say.sentence(row.get("state_reason") or ""),
        incident=row.get("incident_id"),
    )


def build_told(rows: Iterable[Row]) -> tuple[Told, ...]:
    """Who was told of one incident, the latest first."""
    return tuple(
        Told(
            name=recipient_name(row),
            channel=words(f"channel.{row['channel']}"),
            icon=ICONS[str(row["channel"])],
            at=row.get("delivered_at") or row.get("sent_at") or row["created_at"],
            status=state_of(str(row["state"])),
            reason=say.sentence(row.get("state_reason") or ""),
        )
        for row in sorted(rows, key=lambda row: row["created_at"], reverse=True)
    )
