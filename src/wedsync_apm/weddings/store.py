"""The wedding calendar as the caller may see and change it."""

import hashlib
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from wedsync_apm.db.nouns import Row
from wedsync_apm.db.pool import Connection
from wedsync_apm.db.queries import load_queries
from wedsync_apm.errors import Conflict, FieldError, Forbidden, NotFound, NotValid
from wedsync_apm.weddings.model import (
    Audience,
    Phase,
    WeddingDraft,
    WeddingStatus,
    Window,
    find_faults,
    initials,
)

Q = load_queries(__package__)
SHORTEST_REASON = 10
LONGEST_REASON = 500


@dataclass(frozen=True, slots=True)
class WeddingDay:
    """The calendar's answer for a date."""

    is_wedding_day: bool
    at: datetime
    """The database's clock."""


@dataclass(frozen=True, slots=True)
class Code:
    """What another vendor of the same wedding types in, once; only its hash is kept."""

    text: str
    expires_at: datetime


async def list_weddings(
    cx: Connection,
    *,
    organization_ids: Sequence[UUID],
    earliest: date | None,
    latest: date | None,
    before: tuple[datetime, UUID] | None,
    limit: int,
) -> list[Row]:
    """The weddings dated in the range, the newest entry first; names are None for a viewer.

    After ours follow those that only the host's clients know; `listed_at` and `id` order them all.
    """
    before_at, before_id = before or (None, None)
    cursor = await cx.execute(
        Q.list_weddings,
        {
            "organization_ids": list(organization_ids),
            "earliest": earliest,
            "latest": latest,
            "before_at": before_at,
            "before_id": before_id,
            "limit": limit,
        },
    )
    return await _complete(cx, await cursor.fetchall())


async def list_moved(
    cx: Connection, organization_id: UUID, earliest: date, latest: date, limit: int
) -> list[Row]:
    """The weddings that were moved away from a day of the range, with where they are now."""
    values = {
        "organization_id": organization_id,
        "earliest": earliest,
        "latest": latest,
        "limit": limit,
    }
    return await (await cx.execute(Q.list_moved, values)).fetchall()


async def find_wedding(cx: Connection, wedding_id: UUID) -> Row:
    """One wedding. Raises NotFound for one that is not there or that the caller may not see."""
    row = await (await cx.execute(Q.find_wedding, {"id": wedding_id})).fetchone()
    if row is None:
        row = await (await cx.execute(Q.find_client_wedding, {"id": wedding_id})).fetchone()
    if row is None:
        raise NotFound("There is no such wedding.")
    return (await _complete(cx, [row]))[0]


async def find_to_change(cx: Connection, wedding_id: UUID) -> Row:
    """As `find_wedding`; whoever else would change it waits until this transaction has ended.

    Raises NotFound, Conflict for one of the host's clients.
    """
    await cx.execute(Q.lock_wedding, {"id": wedding_id})
    return await _find_own(cx, wedding_id)


async def _complete(cx: Connection, rows: list[Row]) -> list[Row]:
    """The rows with their phases, their fellow vendors, and the names of the host's clients."""
    ours = {"ids": [row["id"] for row in rows if not row["is_host_row"]]}
    shared = {"ids": [row["id"] for row in rows if row["is_shared"]]}
    if ours["ids"]:
        cursor = await cx.execute(Q.list_windows_of, ours)
        windows = {row["wedding_id"]: row["windows"] for row in await cursor.fetchall()}
        rows = [
            row if row["is_host_row"] else row | {"windows": windows.get(row["id"], [])}
            for row in rows
        ]
    if shared["ids"]:
        cursor = await cx.execute(Q.list_shared_weddings, shared)
        others = {row.pop("wedding_id"): row for row in await cursor.fetchall()}
        rows = [row | others.get(row["id"], {}) for row in rows]
    return await _name_clients(cx, rows)


async def _name_clients(cx: Connection, rows: list[Row]) -> list[Row]:
    """The rows with the couples' names from the host's clients, as far as the caller may read."""
    ids = [row["id"] for row in rows if row["is_host_row"] and row["are_names_readable"]]
    if not ids:
        return rows
    cursor = await cx.execute(Q.list_client_names, {"ids": ids})
    names = {row["id"]: row["couple_names"] or None for row in await cursor.fetchall()}
    return [row | {"couple_names": names[row["id"]]} if row["id"] in names else row for row in rows]


def draft_of(row: Mapping[str, Any]) -> WeddingDraft:
    """What a wedding says now, its phases by the venue's clock, for one that changes a part."""
    return WeddingDraft(
        wedding_date=row["wedding_date"],
        couple_names=row["couple_names"],
        venue_name=row["venue_name"],
        time_zone=row["time_zone"],
        status=WeddingStatus(row["status"]),
        client_id=row.get("client_id"),
        contacts=row["contacts"] or (),
        windows=[
            Window(
                Phase(one["phase"]),
                datetime.fromisoformat(one["starts_local"]),
                datetime.fromisoformat(one["ends_local"]),
            )
            for one in row["windows"] or ()
        ],
        visible_to=Audience(row["visible_to"] or Audience.MEMBER),
    )


async def create_wedding(cx: Connection, organization_id: UUID, draft: WeddingDraft) -> Row:
    """A new wedding. Raises NotValid, Conflict, Forbidden for a non-admin."""
    _refuse_faults(draft)
    cursor = await cx.execute(Q.create_wedding, _parameters(organization_id, draft))
    row = await cursor.fetchone()
    assert row is not None  # noqa: S101 an insert that did not raise gives its row back
    await write_parts(cx, organization_id, row["id"], draft)
    return await find_wedding(cx, row["id"])


async def update_wedding(cx: Connection, wedding_id: UUID, draft: WeddingDraft) -> Row:
    """The wedding as `draft` says.

    Raises NotFound, Forbidden for a non-admin, NotValid, Conflict for one of the host's clients.
    """
    _refuse_faults(draft)
    present = await _find_own(cx, wedding_id)
    organization_id = present["organization_id"]
    values = _parameters(organization_id, draft) | {"id": wedding_id}
    if await (await cx.execute(Q.update_wedding, values)).fetchone() is None:
        raise Forbidden("Only an owner or admin may change a wedding.")
    await write_parts(cx, organization_id, wedding_id, draft)
    return await find_wedding(cx, wedding_id)


async def delete_wedding(cx: Connection, wedding_id: UUID) -> None:
    """Deletes it. Raises NotFound, Forbidden for a non-admin, Conflict for one of the host's."""
    if (await cx.execute(Q.delete_wedding, {"id": wedding_id})).rowcount != 1:
        await _find_own(cx, wedding_id)
        raise Forbidden("Only an owner or admin may change a wedding.")


async def answer_wedding_day(
    cx: Connection, organization_id: UUID, day: date | None
) -> WeddingDay | None:
    """Whether `day`, or today at the venue, is one; None for an organization not the caller's."""
    values = {"organization_id": organization_id, "date": day}
    row = await (await cx.execute(Q.answer_wedding_day, values)).fetchone()
    if row is None or row["is_wedding_day"] is None:
        return None
    return WeddingDay(row["is_wedding_day"], row["at"])


async def list_windows_at(cx: Connection, organization_id: UUID, at: datetime) -> list[Row]:
    """The weddings under way, the next milestone first."""
    values = {"organization_id": organization_id, "at": at}
    return await (await cx.execute(Q.list_windows_at, values)).fetchall()


async def list_phases_between(
    cx: Connection, organization_id: UUID, earliest: datetime, latest: datetime, limit: int
) -> list[Row]:
    """The phases of the organization's weddings that overlap the range, in their order."""
    values = {
        "organization_id": organization_id,
        "earliest": earliest,
        "latest": latest,
        "limit": limit,
    }
    return await (await cx.execute(Q.list_phases_between, values)).fetchall()


async def share_wedding(cx: Connection, wedding_id: UUID) -> Code:
    """A code with which another vendor makes his wedding a part of the same one.

    Raises NotFound, Forbidden for a non-admin, Conflict for one of the host's.
    """
    text = secrets.token_urlsafe(16)
    values = {"id": wedding_id, "code_hash": _hash_code(text)}
    row = await (await cx.execute(Q.share_wedding, values)).fetchone()
    if row is None or row["expires_at"] is None:
        await _find_own(cx, wedding_id)
        raise Forbidden("Only an owner or admin may share a wedding.")
    return Code(text, row["expires_at"])


async def join_wedding(cx: Connection, wedding_id: UUID, code: str) -> Row:
    """The wedding as a part of the one that the code is for.

    Raises NotFound, Forbidden for a non-admin, Conflict for one of the host's, NotValid for a code
    that is not good.
    """
    values = {"id": wedding_id, "code_hash": _hash_code(code)}
    row = await (await cx.execute(Q.join_wedding, values)).fetchone()
    if row is None or row["is_joined"] is None:
        await _find_own(cx, wedding_id)
        raise Forbidden("Only an owner or admin may share a wedding.")
    if not row["is_joined"]:
        raise NotValid(errors=[FieldError("code", "is not good, or not for this wedding")])
    return await find_wedding(cx, wedding_id)


async def leave_wedding(cx: Connection, wedding_id: UUID) -> None:
    """Takes the wedding out of the shared one. Raises NotFound, Forbidden, Conflict."""
    row = await (await cx.execute(Q.leave_wedding, {"id": wedding_id})).fetchone()
    if row is None or row["has_left"] is None:
        await _find_own(cx, wedding_id)
        raise Forbidden("Only an owner or admin may share a wedding.")


async def reveal_wedding(cx: Connection, wedding_id: UUID, reason: str) -> Row:
    """Who marries and whom to ring, for an operator of the platform; what he read and why stands in
    the organization's audit log in the same transaction.

    Raises NotFound for anybody else, NotValid for a reason that says nothing.
    """
    if not SHORTEST_REASON <= len(reason.strip()) <= LONGEST_REASON:
        words = f"says in {SHORTEST_REASON} to {LONGEST_REASON} characters why you need to know"
        raise NotValid(errors=[FieldError("reason", words)])
    values = {"id": wedding_id, "reason": reason}
    row = await (await cx.execute(Q.reveal_wedding, values)).fetchone()
    if row is None:
        raise NotFound("There is no such wedding.")
    return row


def _hash_code(code: str) -> bytes:
    return hashlib.sha256(code.strip().encode()).digest()


async def _find_own(cx: Connection, wedding_id: UUID) -> Row:
    present = await find_wedding(cx, wedding_id)
    if present["is_host_row"]:
        raise Conflict("This wedding stands in clients. Enter it here with its client_id first.")
    return present


def _refuse_faults(draft: WeddingDraft) -> None:
    if faults := find_faults(draft):
        raise NotValid("The wedding cannot be kept like this.", faults)


def _parameters(organization_id: UUID, draft: WeddingDraft) -> dict[str, Any]:
    return {
        "organization_id": organization_id,
        "client_id": draft.client_id,
        "couple_initials": initials(draft.couple_names),
        "venue_name": draft.venue_name,
        "wedding_date": draft.wedding_date,
        "time_zone": draft.time_zone,
        "status": draft.status.value,
    }


async def write_parts(
    cx: Connection, organization_id: UUID, wedding_id: UUID, draft: WeddingDraft
) -> None:
    """The people and the phases of a wedding that is there."""
    place = {"organization_id": organization_id, "wedding_id": wedding_id}
    if draft.couple_names is not None:
        people = {
            "couple_names": draft.couple_names,
            "contacts": Jsonb(list(draft.contacts)),
            "visible_to": draft.visible_to.value,
        }
        await cx.execute(Q.upsert_wedding_people, place | people)
    await cx.execute(Q.clear_wedding_windows, place)
    windows = {
        "phases": [window.phase.value for window in draft.windows],
        "starts_at": [None if window.is_local else window.starts_at for window in draft.windows],
        "ends_at": [None if window.is_local else window.ends_at for window in draft.windows],
        "starts_local": [window.starts_at if window.is_local else None for window in draft.windows],
        "ends_local": [window.ends_at if window.is_local else None for window in draft.windows],
    }
    await cx.execute(Q.add_wedding_windows, place | windows)
