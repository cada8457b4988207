"""Two vendors, the people of one and a stranger, and an open incident."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from uuid import UUID, uuid4

from tests.support.engine import AT, EngineWorld, open_engine_world
from tests.support.postgres import Database
from wedsync_apm.db.pool import Pool, open_pool
from wedsync_apm.db.tenant import Actor


@dataclass(frozen=True, slots=True)
class Office:
    """Two vendors, the people of one and a stranger, and an open incident."""

    world: EngineWorld
    pool: Pool
    vendor: UUID
    other: UUID
    owner: Actor
    member: Actor
    viewer: Actor
    stranger: Actor
    incident: UUID


@asynccontextmanager
async def open_office(database: Database) -> AsyncIterator[Office]:
    """The vendors, with an incident that one person was told of."""
    async with (
        open_engine_world(database) as world,
        await open_pool(database.api, name="api", min_size=1, max_size=3) as pool,
    ):
        vendor, other = await world.organization(), await world.organization("Next Door")
        actors = {}
        for name, organization, role in (
            ("Fern", vendor, "OWNER"),
            ("Priya", vendor, "MEMBER"),
            ("Vi", vendor, "VIEWER"),
            ("Olga", other, "OWNER"),
        ):
            user_id = uuid4()
            await world.run(
                "insert into public.apm_memberships (organization_id, user_id, role) "
                "values (%(organization)s, %(user_id)s, %(role)s)",
                organization=organization,
                user_id=user_id,
                role=role,
            )
            actors[name] = Actor("authenticated", user_id, "user", name)
        await world.contact(vendor, "Priya")
        await world.rule(vendor, wedding_day_severity="critical")
        await world.samples(vendor, [(AT, 9000)])
        await world.evaluate(AT)
        await world.escalate(AT)
        (incident,) = await world.incidents(vendor)
        yield Office(
            world,
            pool,
            vendor,
            other,
            actors["Fern"],
            actors["Priya"],
            actors["Vi"],
            actors["Olga"],
            incident["id"],
        )
