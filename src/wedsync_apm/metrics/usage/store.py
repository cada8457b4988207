"""Measures usage, inside the caller's transaction and with its rights."""

from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from wedsync_apm.db.pool import Connection
from wedsync_apm.db.queries import load_queries
from wedsync_apm.metrics.usage.model import Usage

Q = load_queries(__package__)

_DAY: Final = timedelta(days=1)


async def measure_usage(cx: Connection, at: datetime, organization_id: UUID) -> Usage:
    """Of one organization; nothing where the caller may not see it."""
    found = await _measure(cx, at, organization_id)
    return found[0] if found else Usage(organization_id)


async def measure_all(cx: Connection, at: datetime) -> list[Usage]:
    """Of every organization that keeps anything, for a service: it reads every row once."""
    return await _measure(cx, at, None)


async def _measure(cx: Connection, at: datetime, organization_id: UUID | None) -> list[Usage]:
    values = {"organization_id": organization_id, "since": at - _DAY}
    rows = await (await cx.execute(Q.measure_usage, values)).fetchall()
    return [Usage(**row) for row in rows]
