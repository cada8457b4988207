"""Health checks in a small world: made by hand, looked at by one engine or two."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from tests.support.engine import EngineWorld
from wedsync_apm.checks.probes import Prober
from wedsync_apm.egress import EgressClient, EgressPolicy
from wedsync_apm.engine.probe import Probe

LOOPBACK = "127.0.0.0/8"


async def a_check(world: EngineWorld, vendor: UUID, **columns: Any) -> UUID:
    """A check that is due, and that believes what it sees once."""
    values = {
        "organization_id": vendor,
        "service_name": "order_form",
        "display_name": "Order form",
        "next_check_at": datetime(2026, 1, 1, tzinfo=UTC),
        "failures_to_confirm": 1,
        "recoveries_to_confirm": 1,
        **columns,
    }
    names = ", ".join(values)
    gaps = ", ".join(f"%({name})s" for name in values)
    rows = await world.run(
        f"insert into public.service_health_checks ({names}) values ({gaps}) returning id",
        **values,
    )
    check_id: UUID = rows[0]["id"]
    return check_id


async def find(world: EngineWorld, check_id: UUID) -> dict[str, Any]:
    """A check as it stands."""
    (row,) = await world.run(
        "select * from public.service_health_checks where id = %(id)s", id=check_id
    )
    return row


async def make_due(world: EngineWorld) -> None:
    """Every check is due at once, for whatever clock."""
    await world.run("update public.service_health_checks set next_check_at = '2026-01-01'")


@asynccontextmanager
async def a_probe(
    allow: str = LOOPBACK, *, client: EgressClient | None = None
) -> AsyncIterator[Probe]:
    """The job as an engine has it, in a network where `allow` may be called."""
    client = client or EgressClient(EgressPolicy.parse([allow] if allow else []))
    try:
        yield Probe(Prober(client))
    finally:
        await client.aclose()


async def look(
    world: EngineWorld, at: datetime | None = None, allow: str = LOOPBACK, *, due: bool = False
) -> None:
    """One run over the due checks by a new engine; with `due`, over all."""
    if due:
        await make_due(world)
    async with a_probe(allow) as probe, world.engine.connection() as cx:
        await probe.run_once(cx, at or datetime.now(UTC))


async def platform(world: EngineWorld, home: UUID | None = None) -> UUID:
    """The organization in which the platform watches itself: this one, or else a new one."""
    home = home or await world.organization("Platform")
    await world.run("insert into apm_private.platform (organization_id) values (%(id)s)", id=home)
    return home
