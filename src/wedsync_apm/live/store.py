"""What live connections ask the database."""

from collections.abc import Collection, Mapping
from uuid import UUID

from wedsync_apm.db.pool import Pool, wrap_database_errors
from wedsync_apm.db.queries import load_queries
from wedsync_apm.live.model import Standing

Q = load_queries(__package__)

Subject = tuple[str, UUID]
"""`user` or `key`, and the id."""


async def find_standings(pool: Pool, subjects: Collection[Subject]) -> dict[Subject, Standing]:
    """What each may hear now. Raises DatabaseAway."""
    with wrap_database_errors():
        async with pool.connection() as cx:
            found = await cx.execute(
                Q.find_standings,
                {
                    "subjects": [subject for _, subject in subjects],
                    "kinds": [kind for kind, _ in subjects],
                },
            )
            rows = await found.fetchall()
    return {
        (row["kind"], row["subject"]): Standing(
            frozenset(row["organization_ids"]),
            row["operator_role"] is not None,
            row["token_generation"],
            row["expires_at"] and row["expires_at"].timestamp(),
        )
        for row in rows
    }


async def count_refusals(pool: Pool, refused: Mapping[tuple[UUID, str], int]) -> None:
    """Adds to what the people of organizations see, by organization and reason. Raises
    DatabaseAway."""
    with wrap_database_errors():
        async with pool.connection() as cx:
            await cx.execute(
                Q.count_refusals,
                {
                    "organization_ids": [organization_id for organization_id, _ in refused],
                    "sources": ["live"] * len(refused),
                    "reasons": [reason for _, reason in refused],
                    "counts": list(refused.values()),
                    "examples": [None] * len(refused),
                },
            )
