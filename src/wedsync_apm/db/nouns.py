"""The five statements that most nouns have, run as the caller inside `tenant_tx`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from wedsync_apm.db.pool import Connection

Row = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Noun:
    """A table that people list, read, make, change and delete, each by a statement of its room.

    The list takes organization_ids, before_at, before_id and limit; reading and deleting an id;
    making organization_id, created_by and the values, changing an id and the values that change,
    both as one JSON object.
    """

    list_sql: str
    find_sql: str
    create_sql: str
    update_sql: str
    delete_sql: str

    async def list_rows(
        self,
        cx: Connection,
        *,
        organization_ids: Sequence[UUID],
        before: tuple[datetime, UUID] | None,
        limit: int,
        **filters: Any,
    ) -> list[Row]:
        """The rows after `before`, newest first."""
        before_at, before_id = before or (None, None)
        cursor = await cx.execute(
            self.list_sql,
            {
                "organization_ids": [*organization_ids],
                "before_at": before_at,
                "before_id": before_id,
                "limit": limit,
                **filters,
            },
        )
        return await cursor.fetchall()

    async def find_row(self, cx: Connection, row_id: UUID) -> Row | None:
        """The row, if the caller can see it."""
        return await (await cx.execute(self.find_sql, {"id": row_id})).fetchone()

    async def create_row(
        self, cx: Connection, *, organization_id: UUID, created_by: UUID, values: Mapping[str, Any]
    ) -> Row:
        """A new row. Raises what the database refuses."""
        cursor = await cx.execute(
            self.create_sql,
            {
                "organization_id": organization_id,
                "created_by": created_by,
                "values": Jsonb(dict(values)),
            },
        )
        row = await cursor.fetchone()
        assert row is not None  # noqa: S101 an insert that did not raise gives its row back
        return row

    async def update_row(
        self, cx: Connection, row_id: UUID, values: Mapping[str, Any]
    ) -> Row | None:
        """The changed row; None where the caller may not change it, or there is none."""
        cursor = await cx.execute(self.update_sql, {"id": row_id, "values": Jsonb(dict(values))})
        return await cursor.fetchone()

    async def delete_row(self, cx: Connection, row_id: UUID) -> bool:
        """Whether it is gone by this; False where the caller may not, or there is none."""
        return (await cx.execute(self.delete_sql, {"id": row_id})).rowcount == 1
