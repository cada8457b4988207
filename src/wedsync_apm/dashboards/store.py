"""Dashboards as the caller may see and change them."""

from collections.abc import Mapping, Sequence
from typing import Any, Final
from uuid import UUID

from wedsync_apm.config import Settings
from wedsync_apm.dashboards.material import Setting
from wedsync_apm.db.nouns import Noun, Row
from wedsync_apm.db.pool import Connection
from wedsync_apm.db.queries import load_queries
from wedsync_apm.errors import Conflict

Q = load_queries(__package__)

MOST_NAMES: Final = 200
MOST_VALUES: Final = 200
"""Of one variable."""


class Dashboards(Noun):
    """The table, of which a change may name the version that it was made from."""

    async def update_row(
        self, cx: Connection, row_id: UUID, values: Mapping[str, Any]
    ) -> Row | None:
        """As a noun; raises Conflict where somebody has changed it since `version`."""
        changed = await super().update_row(cx, row_id, values)
        if changed is None and values.get("version") is not None:
            row = await self.find_row(cx, row_id)
            if row is not None and row["version"] != values["version"]:
                by = row["changed_by"] or "Somebody"
                at = row["updated_at"].isoformat(timespec="seconds")
                raise Conflict(
                    f"{by} changed this dashboard at {at}: it is version {row['version']} now,"
                    f" and you changed version {values['version']}."
                )
        return changed


DASHBOARDS: Final = Dashboards(
    list_sql=Q.list_dashboards,
    find_sql=Q.find_dashboard,
    create_sql=Q.create_dashboard,
    update_sql=Q.update_dashboard,
    delete_sql=Q.delete_dashboard,
)


async def list_names(cx: Connection, organization_id: UUID) -> list[Row]:
    """An organization's dashboards, the default one first, then by name."""
    values = {"organization_id": organization_id, "limit": MOST_NAMES}
    return await (await cx.execute(Q.list_names, values)).fetchall()


async def find_named(cx: Connection, organization_id: UUID, name: str) -> Row | None:
    """The dashboard of that name, which nobody else changes until the transaction ends."""
    values = {"organization_id": organization_id, "name": name}
    return await (await cx.execute(Q.find_named, values)).fetchone()


async def list_tag_values(
    cx: Connection, organization_id: UUID, tags: Sequence[str]
) -> dict[str, tuple[str, ...]]:
    """The values that each tag has among an organization's series, in order."""
    values = {"organization_id": organization_id, "tags": list(tags), "limit": MOST_VALUES}
    rows = await (await cx.execute(Q.list_tag_values, values)).fetchall()
    return {tag: tuple(row["value"] for row in rows if row["tag"] == tag) for tag in tags}


async def read_setting(cx: Connection, organization_id: UUID, settings: Settings) -> Setting:
    """The moment and the place from which the caller looks at an organization of his."""
    values = {"organization_id": organization_id}
    row = await (await cx.execute(Q.read_setting, values)).fetchone()
    assert row is not None  # noqa: S101 a select without a table always gives a row
    zone = row["time_zone"] or "UTC"
    return Setting(organization_id, row["at"], zone, row["is_wedding"], settings)
