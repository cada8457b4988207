"""The wedding calendar as the caller may see and change it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from wedsync_apm.db.nouns import Row
from wedsync_apm.db.pool import Connection
from wedsync_apm.db.queries import load_queries
from wedsync_apm.errors import Conflict, Forbidden, NotFound, NotValid
from wedsync_apm.weddings.model import WeddingDraft, find_faults, initials

Q = load_queries(__package__)


@dataclass(frozen=True, slots=True)
class WeddingDay:
    """The calendar's answer for a date."""

    is_wedding_day: bool
    at: datetime
    """The database's clock."""


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
    return await _name_clients(cx, await cursor.fetchall())


async def find_wedding(cx: Connection, wedding_id: UUID) -> Row:
    """One wedding. Raises NotFound for one that is not there or that the caller may not see."""
    row = await (await cx.execute(Q.find_wedding, {"id": wedding_id})).fetchone()
    if row is None:
        row = await (await cx.execute(Q.find_client_wedding, {"id": wedding_id})).fetchone()
    if row is None:
        raise NotFound("There is no such wedding.")
    return (await _name_clients(cx, [row]))[0]


async def _name_clients(cx: Connection, rows: list[Row]) -> list[Row]:
    """The rows with the couples' names from the host's clients, as far as the caller may read."""
    ids = [row["id"] for row in rows if row["is_host_row"] and row["are_names_readable"]]
    if not ids:
        return rows
    cursor = await cx.execute(Q.list_client_names, {"ids": ids})
    names = {row["id"]: row["couple_names"] or None for row in await cursor.fetchall()}
    return [row | {"couple_names": names[row["id"]]} if row["id"] in names else row for row in rows]


async def create_wedding(cx: Connection, organization_id: UUID, draft: WeddingDraft) -> Row:
    """A new wedding. Raises NotValid, Conflict, Forbidden for a non-admin."""
    _refuse_faults(draft)
    cursor = await cx.execute(Q.create_wedding, _parameters(organization_id, draft))
    row = await cursor.fetchone()
    assert row is not None  # noqa: S101 an insert that did not raise gives its row back
    await _write_parts(cx, organization_id, row["id"], draft)
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
    await _write_parts(cx, organization_id, wedding_id, draft)
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


async def _write_parts(
    cx: Connection, organization_id: UUID, wedding_id: UUID, draft: WeddingDraft
) -> None:
    place = {"organization_id": organization_id, "wedding_id": wedding_id}
    if draft.couple_names is not None:
        people = {"couple_names": draft.couple_names, "contacts": Jsonb(list(draft.contacts))}
        await cx.execute(Q.upsert_wedding_people, place | people)
    await cx.execute(Q.clear_wedding_windows, place)
    windows = {
        "phases": [window.phase.value for window in draft.windows],
        "starts": [window.starts_at for window in draft.windows],
        "ends": [window.ends_at for window in draft.windows],
    }
    await cx.execute(Q.add_wedding_windows, place | windows)
