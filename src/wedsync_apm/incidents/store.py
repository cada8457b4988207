"""Incidents in the database, as the person whom `tenant_tx` lets in.

What a person may not see raises NotFound; what he may see but not do raises Forbidden; what does
not fit the incident's status raises Conflict, by the database's own word.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import date, datetime, timedelta
from typing import Any, Final
from uuid import UUID

from psycopg.types.json import Jsonb

from wedsync_apm.db.pool import Connection
from wedsync_apm.db.queries import load_queries
from wedsync_apm.errors import Conflict, FieldError, Forbidden, NotFound, NotValid
from wedsync_apm.incidents.model import (
    Action,
    AffectedWedding,
    Event,
    HeldBack,
    Incident,
    NextStep,
    Part,
    read_vendor_text,
)
from wedsync_apm.types import EscalationLevel, IncidentStatus, Priority, Severity

Q = load_queries(__package__)

LONGEST_NOTE: Final = 10_000
"""Characters of a note, an update, or the word that ends an incident."""
LONGEST_PROMISE: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class IncidentPage:
    """Some incidents, and where the next ones begin; None at the end."""

    incidents: tuple[Incident, ...]
    next_before: tuple[datetime, UUID] | None


async def list_incidents(
    cx: Connection,
    *,
    organization_id: UUID | None = None,
    statuses: Sequence[IncidentStatus] | None = None,
    alert_id: UUID | None = None,
    severity_min: Severity | None = None,
    before: tuple[datetime, UUID] | None = None,
    limit: int = 50,
) -> IncidentPage:
    """Incidents, newest first; `before` is the `next_before` of the page before."""
    rows = await cx.execute(
        Q.list_incidents,
        {
            "organization_id": organization_id,
            "statuses": [status.value for status in statuses] if statuses else None,
            "alert_id": alert_id,
            "severity_min": severity_min,
            "before_at": before[0] if before else None,
            "before_id": before[1] if before else None,
            "limit": limit + 1,
        },
    )
    found = [_incident(row) for row in await rows.fetchall()]
    shown = tuple(found[:limit])
    is_more = len(found) > limit
    return IncidentPage(shown, (shown[-1].detected_at, shown[-1].id) if is_more else None)


async def list_live_incidents(
    cx: Connection, organization_id: UUID | None = None
) -> list[Incident]:
    """What is wrong now: by priority, then by how soon a wedding goes on, then by age."""
    rows = await cx.execute(Q.list_live_incidents, {"organization_id": organization_id})
    return [_incident(row) for row in await rows.fetchall()]


async def find_incident(cx: Connection, incident_id: UUID) -> Incident:
    """One incident. Raises NotFound for one that is not there or that the caller may not see."""
    row = await (await cx.execute(Q.find_incident, {"incident_id": incident_id})).fetchone()
    if row is None:
        raise NotFound("There is no such incident.")
    return _incident(row)


async def list_events(cx: Connection, incident: Incident) -> list[Event]:
    """The incident's timeline, oldest first."""
    rows = await cx.execute(Q.list_events, _key(incident))
    return [Event(**row) for row in await rows.fetchall()]


async def find_next_step(cx: Connection, incident: Incident) -> NextStep | None:
    """Who is called next, and when; None when the ladder rests or has no more rungs."""
    row = await (await cx.execute(Q.find_next_step, _key(incident))).fetchone()
    if row is None or row["step"] is None:
        return None
    step = row["step"]
    return NextStep(
        position=step["position"],
        level=EscalationLevel(step["level"]),
        at=row["next_at"],
        contact_method_ids=tuple(row["contact_method_ids"]),
    )


async def list_next_calls(
    cx: Connection, organization_id: UUID, incidents: Sequence[Incident]
) -> dict[UUID, datetime]:
    """When the ladder of each of an organization's incidents calls next; without those whose
    ladder rests or has no more rungs."""
    asked = {"organization_id": organization_id, "incident_ids": [one.id for one in incidents]}
    rows = await (await cx.execute(Q.list_next_calls, asked)).fetchall()
    return {row["incident_id"]: row["next_at"] for row in rows}


async def find_held_back(cx: Connection, incident: Incident) -> HeldBack | None:
    """What keeps people from being told of it at this moment; None: nothing does."""
    row = await (await cx.execute(Q.find_held_back, {"incident_id": incident.id})).fetchone()
    return None if row is None else HeldBack(**row)


async def acknowledge(cx: Connection, incident_id: UUID, note: str = "") -> Incident:
    """The caller has it in hand; the ladder stops. Nothing changes if somebody has it already."""
    return await act(cx, incident_id, Action.ACKNOWLEDGE, note)


async def investigate(cx: Connection, incident_id: UUID, note: str = "") -> Incident:
    """The caller works on it; counts as acknowledging too."""
    return await act(cx, incident_id, Action.INVESTIGATE, note)


async def resolve(cx: Connection, incident_id: UUID, note: str = "") -> Incident:
    """It is over; everyone who was told of it is told so."""
    return await act(cx, incident_id, Action.RESOLVE, note)


async def close(cx: Connection, incident_id: UUID, note: str = "") -> Incident:
    """Done with for good."""
    return await act(cx, incident_id, Action.CLOSE, note)


async def reopen(cx: Connection, incident_id: UUID, note: str = "") -> Incident:
    """It is not over after all; the ladder starts anew."""
    return await act(cx, incident_id, Action.REOPEN, note)


async def act(cx: Connection, incident_id: UUID, action: Action, note: str = "") -> Incident:
    """Changes the status as `action` says. An incident that is there already stays as it is.

    Raises NotFound, Forbidden for a viewer, Conflict for a step that is not legal from here.
    """
    _refuse_long(note)
    await find_incident(cx, incident_id)
    await cx.execute(Q.set_note, {"note": note})
    rows = await cx.execute(
        Q.change_status, {"incident_id": incident_id, "status": action.target.value}
    )
    row = await rows.fetchone()
    await cx.execute(Q.set_note, {"note": ""})
    if row is None:
        raise Forbidden("Viewers can look at incidents, not change them.")
    return _incident(row)


async def escalate(cx: Connection, incident_id: UUID) -> None:
    """Makes the ladder's next step due now. Raises NotFound, Forbidden for a viewer, Conflict
    where no ladder is being climbed."""
    await cx.execute(Q.escalate_incident, {"incident_id": incident_id})


async def promise_update(
    cx: Connection, incident_id: UUID, next_update_at: datetime | None, *, at: datetime
) -> Incident:
    """Promises the next update by a time; None takes the promise back.

    Raises NotFound, Forbidden for a viewer, Conflict for what is over, NotValid for a time that is
    past or further away than a day.
    """
    incident = await find_incident(cx, incident_id)
    if not incident.is_live:
        raise Conflict(f"an incident that is {incident.status.value} needs no update")
    _refuse_promise(next_update_at, at)
    rows = await cx.execute(
        Q.promise_update, {"incident_id": incident_id, "next_update_at": next_update_at}
    )
    row = await rows.fetchone()
    if row is None:
        raise Forbidden("Viewers can look at incidents, not change them.")
    return _incident(row)


async def merge(cx: Connection, incident_id: UUID, into: UUID, note: str = "") -> Incident:
    """Closes an incident as a part of another live one of the same organization; the closed one.

    Whoever was told of it hears where it goes on, and repeats count there. Raises NotFound,
    Forbidden for a viewer, Conflict for what cannot be merged.
    """
    _refuse_long(note)
    await cx.execute(Q.merge_incident, {"incident_id": incident_id, "into": into, "note": note})
    return await find_incident(cx, incident_id)


async def tell_update(
    cx: Connection,
    incident_id: UUID,
    message: str,
    *,
    at: datetime,
    next_update_at: datetime | None = None,
) -> Incident:
    """A word to everyone who was told, with the time of the next one: as given, else by the terms.

    Raises NotFound, Forbidden for a viewer, Conflict for what is over, NotValid for an empty word
    and for a time that is past or further away than a day.
    """
    if not message.strip():
        raise NotValid("The update is empty.", [FieldError("message", "needs some text")])
    _refuse_long(message)
    _refuse_promise(next_update_at, at)
    await cx.execute(
        Q.tell_update,
        {
            "incident_id": incident_id,
            "message": message.strip(),
            "next_update_at": next_update_at,
        },
    )
    return await find_incident(cx, incident_id)


async def change_texts(
    cx: Connection, incident_id: UUID, *, engineer_text: str, vendor_text: Mapping[str, Any]
) -> Incident:
    """Both texts anew. Raises NotFound, and Forbidden for a viewer."""
    await find_incident(cx, incident_id)
    rows = await cx.execute(
        Q.change_texts,
        {
            "incident_id": incident_id,
            "engineer_text": engineer_text.strip(),
            "vendor_text": Jsonb(dict(vendor_text)),
        },
    )
    row = await rows.fetchone()
    if row is None:
        raise Forbidden("Viewers can look at incidents, not change them.")
    return _incident(row)


async def list_parts(cx: Connection, incident: Incident) -> list[Part]:
    """What belongs together with it as one wedding's trouble, as far as the caller may see it: for
    a vendor his own part alone, for the platform's people all parts of a whole."""
    rows = await cx.execute(Q.list_parts, {"incident_id": incident.id})
    return [
        Part(**{**row, "status": IncidentStatus(row["status"]) if row["status"] else None})
        for row in await rows.fetchall()
    ]


async def add_note(cx: Connection, incident_id: UUID, message: str) -> Event:
    """A line of the caller's own in the timeline."""
    if not message.strip():
        raise NotValid("The note is empty.", [FieldError("message", "needs some text")])
    _refuse_long(message)
    return await _create_event(cx, incident_id, "note", message.strip())


async def mark_seen(cx: Connection, incident_id: UUID) -> Event:
    """The caller has seen it, without taking it in hand."""
    return await _create_event(cx, incident_id, "seen", "")


async def create_incident(
    cx: Connection,
    organization_id: UUID,
    *,
    title: str,
    severity: Severity,
    at: datetime,
    vendor_text: Mapping[str, Any] | None = None,
) -> Incident:
    """An incident by hand. Raises NotValid, and Forbidden for a viewer or a stranger."""
    if not 1 <= len(title.strip()) <= 300:
        raise NotValid("The title is missing.", [FieldError("title", "needs 1 to 300 characters")])
    rows = await cx.execute(
        Q.create_incident,
        {
            "organization_id": organization_id,
            "at": at,
            "title": title.strip(),
            "severity": severity.value,
            "vendor_text": Jsonb(dict(vendor_text or {})),
        },
    )
    created = await rows.fetchone()
    assert created is not None  # noqa: S101 -- an INSERT … RETURNING returns its row or raises
    return _incident(created)


async def _create_event(cx: Connection, incident_id: UUID, kind: str, message: str) -> Event:
    incident = await find_incident(cx, incident_id)
    rows = await cx.execute(Q.create_event, {**_key(incident), "kind": kind, "message": message})
    row = await rows.fetchone()
    assert row is not None  # noqa: S101 -- an INSERT … RETURNING returns its row or raises
    return Event(**row)


def _refuse_long(text: str) -> None:
    if len(text) > LONGEST_NOTE:
        raise NotValid(
            "The text is too long.",
            [FieldError("message", f"needs at most {LONGEST_NOTE:,} characters")],
        )


def _refuse_promise(next_update_at: datetime | None, at: datetime) -> None:
    if next_update_at is None:
        return
    reason = "needs a time within the next 24 hours, with its offset"
    if next_update_at.tzinfo is None or not at < next_update_at <= at + LONGEST_PROMISE:
        raise NotValid(
            "The next update is at no sensible time.", [FieldError("next_update_at", reason)]
        )


def _key(incident: Incident) -> dict[str, UUID]:
    return {"organization_id": incident.organization_id, "incident_id": incident.id}


_COLUMNS: Final = tuple(field.name for field in fields(Incident))


def _incident(row: Mapping[str, Any]) -> Incident:
    # A column that a newer schema has is no business of ours.
    values = {name: row[name] for name in _COLUMNS}
    values["status"] = IncidentStatus(row["status"])
    values["severity"] = Severity(row["severity"])
    values["priority"] = Priority(row["priority"])
    values["escalation_level"] = EscalationLevel(row["escalation_level"])
    values["affected_weddings"] = tuple(_wedding(one) for one in row["affected_weddings"])
    values["vendor_text"] = read_vendor_text(row["vendor_text"])
    return Incident(**values)


def _wedding(stored: Mapping[str, Any]) -> AffectedWedding:
    day, moment = stored.get("wedding_date"), stored.get("next_milestone_at")
    wedding_id, ceremony = stored.get("wedding_id"), stored.get("ceremony_at")
    return AffectedWedding(
        wedding_id=UUID(wedding_id) if wedding_id else None,
        wedding_date=date.fromisoformat(day) if day else None,
        initials=stored.get("initials") or "",
        phase=stored.get("phase") or "",
        time_zone=stored.get("time_zone") or "UTC",
        next_milestone_at=datetime.fromisoformat(moment) if moment else None,
        next_phase=stored.get("next_phase") or "",
        ceremony_at=datetime.fromisoformat(ceremony) if ceremony else None,
    )
