"""Health checks as the caller may see and change them."""

from typing import Final
from uuid import UUID

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


async def hasten(cx: Connection, check_id: UUID) -> Row | None:
    """Makes the next check due now; None where the caller may not."""
    return await (await cx.execute(Q.hasten_health_check, {"id": check_id})).fetchone()
