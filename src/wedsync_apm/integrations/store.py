"""Connected systems as the caller may see and change them."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from wedsync_apm.db.nouns import Row
from wedsync_apm.db.pool import Connection
from wedsync_apm.db.queries import load_queries
from wedsync_apm.organizations.secrets import Place

Q = load_queries(__package__)


def secret_place(organization_id: UUID, configuration_id: UUID) -> Place:
    """Where the secret of a connected system stands; it opens nowhere else."""
    return Place(organization_id, "apm_configurations", "secret_ciphertext", configuration_id)


async def list_configurations(
    cx: Connection,
    *,
    organization_ids: Sequence[UUID],
    before: tuple[datetime, UUID] | None,
    limit: int,
) -> list[Row]:
    """The connected systems after `before`, newest first."""
    before_at, before_id = before or (None, None)
    cursor = await cx.execute(
        Q.list_configurations,
        {
            "organization_ids": list(organization_ids),
            "before_at": before_at,
            "before_id": before_id,
            "limit": limit,
        },
    )
    return await cursor.fetchall()


async def find_configuration(cx: Connection, configuration_id: UUID) -> Row | None:
    """One connected system."""
    return await (await cx.execute(Q.find_configuration, {"id": configuration_id})).fetchone()


async def create_configuration(cx: Connection, values: Mapping[str, Any]) -> Row:
    """A newly connected system. Raises what the database refuses."""
    row = await (await cx.execute(Q.create_configuration, _adapted(values))).fetchone()
    assert row is not None  # noqa: S101 an insert that did not raise gives its row back
    return row


async def update_configuration(cx: Connection, values: Mapping[str, Any]) -> Row | None:
    """As `values` say; None where the caller may not, or there is none. The secret stays unless a
    new one is among them."""
    if values["secret_ciphertext"] is not None:
        await cx.execute(Q.replace_configuration_secret, _adapted(values))
    return await (await cx.execute(Q.update_configuration, _adapted(values))).fetchone()


async def delete_configuration(cx: Connection, configuration_id: UUID) -> bool:
    """Whether it is gone by this; False where the caller may not, or there is none."""
    return (await cx.execute(Q.delete_configuration, {"id": configuration_id})).rowcount == 1


def _adapted(values: Mapping[str, Any]) -> dict[str, Any]:
    override = values["emergency_contact_override"]
    return {
        **values,
        "config": Jsonb(values["config"]),
        "emergency_contact_override": None if override is None else Jsonb(override),
    }
