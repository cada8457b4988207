"""`usage`: what organizations keep, and what that costs."""

import asyncio
from typing import Annotated, Any
from uuid import UUID

import typer

from wedsync_apm.clock import utcnow
from wedsync_apm.commands.common import (
    AsJson,
    DatabaseUrl,
    DataDir,
    Progress,
    emit,
    reached,
    say,
    settings_for,
)
from wedsync_apm.config import Settings
from wedsync_apm.db.logins import role_conninfo
from wedsync_apm.db.pool import open_pool
from wedsync_apm.metrics.usage.model import GIGABYTE, Usage
from wedsync_apm.metrics.usage.store import measure_all, measure_usage


def usage(
    *,
    organization: Annotated[
        UUID | None,
        typer.Option("--organization", help="Only this one.", show_default=False),
    ] = None,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """Show series, samples, bytes and estimated monthly cost by organization."""
    settings = settings_for(data_dir, database_url)
    progress = Progress()
    progress.step("Measuring")
    try:
        with reached(settings):
            found = asyncio.run(_measure(settings, organization))
    finally:
        progress.stop()
    facts = [_facts(one, settings.price_per_gb) for one in found]
    if as_json:
        emit(facts, as_json=True)
        return
    shown = ("organization_id", "active_series", "samples", "samples_last_day", "bytes")
    emit(
        [
            {name: one[name] for name in shown}
            | {"monthly_cost": f"{one['estimated_monthly_cost']:.4f}"}
            for one in facts
        ],
        as_json=False,
    )
    total = sum(one.total_bytes for one in found)
    say(
        f"\n{total / GIGABYTE:.3f} GB at {settings.price_per_gb:g} a month: "
        f"{total / GIGABYTE * settings.price_per_gb:.2f}"
    )


async def _measure(settings: Settings, organization_id: UUID | None) -> list[Usage]:
    conninfo = role_conninfo(settings, "apm_engine")
    pool = await open_pool(conninfo, name="usage", min_size=1, max_size=1, wait=True)
    try:
        async with pool.connection() as cx, cx.transaction():
            if organization_id is not None:
                return [await measure_usage(cx, utcnow(), organization_id)]
            return await measure_all(cx, utcnow())
    finally:
        await pool.close()


def _facts(one: Usage, price: float) -> dict[str, Any]:
    return {
        "organization_id": one.organization_id,
        "series": one.series,
        "active_series": one.active_series,
        "samples": one.samples,
        "samples_last_day": one.samples_last_day,
        "bytes": one.total_bytes,
        "sample_bytes": one.sample_bytes,
        "rollup_bytes": one.rollup_bytes,
        "series_bytes": one.series_bytes,
        "index_bytes": one.index_bytes,
        "price_per_gb": price,
        "estimated_monthly_cost": one.monthly_cost(price),
    }
