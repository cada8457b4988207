"""The tree of notification rules, as the caller may see and change it."""

from typing import Final
from uuid import UUID

from wedsync_apm.db.nouns import Noun, Row
from wedsync_apm.db.pool import Connection
from wedsync_apm.db.queries import load_queries
from wedsync_apm.errors import NotFound

Q = load_queries(__package__)

NOTIFICATION_RULES: Final = Noun(
    list_sql=Q.list_notification_rules,
    find_sql=Q.find_notification_rule,
    create_sql=Q.create_notification_rule,
    update_sql=Q.update_notification_rule,
    delete_sql=Q.delete_notification_rule,
)


async def explain_route(cx: Connection, incident_id: UUID) -> list[Row]:
    """Every rule in the order in which an incident meets them, and what each says of it. Raises
    NotFound for an incident that the caller cannot see."""
    values = {"incident_id": incident_id}
    if await (await cx.execute(Q.find_routed_incident, values)).fetchone() is None:
        raise NotFound("There is no such incident.")
    return await (await cx.execute(Q.explain_route, values)).fetchall()
