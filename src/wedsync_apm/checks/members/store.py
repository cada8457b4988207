"""Health checks as the caller may see and change them."""

from dataclasses import fields
from datetime import datetime
from typing import Final
from uuid import UUID

from wedsync_apm.checks.model import DueCheck
from wedsync_apm.db.nouns import Noun, Row
from wedsync_apm.db.pool import Connection
from wedsync_apm.db.queries import load_queries

Q = load_queries(__package__)

HEALTH_CHECKS: Final = Noun(
    list_sql=Q.list_health_checks,
    find_sql=Q.find_health_check,
    create_sql=Q.create_health_check,
    update_sql=Q.update_health_check,
    delete_sql=Q.delete_health_check,
)


async def take_run(cx: Connection, check_id: UUID) -> int | None:
    """0 if a look may be made now, else the seconds to wait; None where the caller may not."""
    row = await (await cx.execute(Q.take_run, {"id": check_id})).fetchone()
    return row["wait_seconds"] if row else None


async def read_circumstances(cx: Connection, organization_id: UUID) -> tuple[datetime, bool]:
    """The moment, and whether a wedding is under way."""
    values = {"organization_id": organization_id}
    row = await (await cx.execute(Q.read_circumstances, values)).fetchone()
    assert row is not None  # noqa: S101 -- a SELECT without FROM returns one row
    return row["at"], row["is_wedding"]


async def list_windows(cx: Connection, check_id: UUID) -> list[Row]:
    """The figures of a check's service over the usual windows."""
    return await (await cx.execute(Q.list_windows, {"id": check_id})).fetchall()


async def list_statuses(
    cx: Connection, organization_id: UUID, check_id: UUID, limit: int
) -> list[Row]:
    """The statuses that were confirmed, newest first."""
    values = {"organization_id": organization_id, "id": check_id, "limit": limit}
    return await (await cx.execute(Q.list_statuses, values)).fetchall()


async def list_course(cx: Connection, check_id: UUID) -> list[Row]:
    """What a check's strip shows: 24 rows of an hour and 30 of a day, oldest first."""
    return await (await cx.execute(Q.list_course, {"id": check_id})).fetchall()


def due_check(row: Row, at: datetime) -> DueCheck:
    """A check as it is looked at, from its row."""
    names = {f.name for f in fields(DueCheck)}
    values = {name: value for name, value in row.items() if name in names}
    values["expected_status_codes"] = tuple(row["expected_status_codes"])
    values["dns_expected"] = tuple(row["dns_expected"])
    return DueCheck(**{**values, "scheduled_at": at, "claimed_until": at})
