"""Messages as they were sent, and what became of each."""

import json
import re
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

from wedsync_apm.notify.model import mask_links
from wedsync_apm.web import say
from wedsync_apm.web.build import Row
from wedsync_apm.web.views.inbox import Hop, Message
from wedsync_apm.web.views.incident import Told
from wedsync_apm.web.views.shell import Kind, Status
from wedsync_apm.web.words import has
from wedsync_apm.web.words import say as words

ICONS = {
    "email": "email", "sms": "sms", "voice": "phone", "slack": "slack", "webhook": "webhook",
    "pagerduty": "pager", "push": "incidents", "apprise": "webhook",
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


_SETTING = re.compile(r"\s*\(WEDSYNC_APM_[A-Z_]+\)")


def words_of(row: Row) -> tuple[str, str]:
    """Subject and body as people read them: of a notification what the phone shows of it, and the
    link behind its button."""
    subject, body = str(row.get("subject") or ""), str(row.get("body") or "").strip()
    if row["channel"] != "push":
        return subject, body
    try:
        said = json.loads(body)
    except ValueError:
        return subject, body
    if not isinstance(said, dict):
        return subject, body
    lines = (said.get("body"), said.get("acknowledge_url"))
    return str(said.get("title") or subject), "\n".join(str(one) for one in lines if one)


def shown_body(row: Row, *, is_own: bool) -> str:
    """The words as they went out. A one-tap link is its receiver's secret: once it has gone out,
    nobody else reads it here. What only lies in the inbox went to nobody, and stays of use."""
    body = words_of(row)[1]
    if is_own or str(row["state"]) == "inbox":
        return body
    return mask_links(body, words("inbox.masked"))


def reason_words(row: Row, *, is_engineer: bool) -> str:
    """Why it stands as it does; which setting it takes is for those who can set it."""
    reason = say.sentence(row.get("state_reason") or "")
    return reason if is_engineer else _SETTING.sub("", reason)


def build_message(
    row: Row, zone: str, *, is_own: bool = False, is_engineer: bool = False
) -> Message:
    """One delivery with its stations; `is_own` if it is for the reader himself."""
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
        subject=words_of(row)[0],
        body=shown_body(row, is_own=is_own) or words("inbox.no_words"),
        status=state_of(str(row["state"])),
        hops=(
            *(Hop(words(key), say.clock_seconds(at, zone)) for key, at in stations if at),
            *_attempts(row, zone),
        ),
        reason=reason_words(row, is_engineer=is_engineer),
        incident=row.get("incident_id"),
    )


def _attempts(row: Row, zone: str) -> Iterator[Hop]:
    """Every try to send it, and what came of it."""
    attempts: Any = row.get("attempts") or ()
    for one in attempts:
        outcome, status = words(f"attempt.{one['outcome'] or 'open'}"), one["provider_status"]
        said = f"{outcome} ({status})" if status else str(outcome)
        yield Hop(
            words("inbox.attempt", number=one["attempt"], outcome=said),
            say.clock_seconds(datetime.fromisoformat(one["started_at"]), zone),
        )


def _told_by(row: Row) -> str:
    """By which channel, and what kind of message it was."""
    channel, key = words(f"channel.{row['channel']}"), f"told.{row.get('kind')}"
    return f"{channel}, {words(key)}" if has(key) else str(channel)


def build_told(rows: Iterable[Row], *, is_engineer: bool = False) -> tuple[Told, ...]:
    """Who was told of one incident, the latest first."""
    return tuple(
        Told(
            name=recipient_name(row),
            channel=_told_by(row),
            icon=ICONS[str(row["channel"])],
            at=row.get("delivered_at") or row.get("sent_at") or row["created_at"],
            status=state_of(str(row["state"])),
            reason=reason_words(row, is_engineer=is_engineer),
        )
        for row in sorted(rows, key=lambda row: row["created_at"], reverse=True)
    )
