"""What the process says of itself: up, ready, and its telemetry."""

import asyncio
from typing import Any, Final

import msgspec
from litestar import Response, get
from litestar.enums import MediaType
from litestar.openapi.datastructures import ResponseSpec

from wedsync_apm import __version__
from wedsync_apm.api import store
from wedsync_apm.api.authentication import PUBLIC
from wedsync_apm.api.requests import ApiRequest
from wedsync_apm.db import migrate
from wedsync_apm.db.pool import Connection, Pool, wrap_database_errors
from wedsync_apm.errors import WedSyncError
from wedsync_apm.telemetry import Gauge, render_prometheus

PATIENCE_SECONDS: Final = 2.0
ENGINE_SECONDS: Final = 15.0
"""The engine's cycles run every second; a restart of it takes some."""

DATABASE_UP = Gauge("wedsync_apm_database_up", "Whether the database answers: 1 or 0", of_all=True)
READY = Gauge(
    "wedsync_apm_ready", "Whether database, schema and engine are as they should be", of_all=True
)


class Health(msgspec.Struct, kw_only=True):
    """That the process answers."""

    status: str = "ok"
    version: str = __version__


class Check(msgspec.Struct):
    """One condition of being ready, and what is the matter with it."""

    name: str
    is_ok: bool
    reason: str


class Readiness(msgspec.Struct):
    """Whether traffic should come here."""

    status: str
    checks: list[Check]


@get("/healthz", opt={PUBLIC: True}, tags=["process"])
async def read_health() -> Health:
    """Whether the process is up; asks nobody else."""
    return Health()


@get(
    "/readyz",
    opt={PUBLIC: True},
    tags=["process"],
    responses={503: ResponseSpec(Readiness, description="Something is missing; each is named")},
)
async def read_readiness(request: ApiRequest) -> Response[Readiness]:
    """Whether database, schema and engine are as they should be; 503 with the reason if not."""
    checks = await check_readiness(request.services.pool)
    is_ready = all(check.is_ok for check in checks)
    return Response(
        Readiness("ready" if is_ready else "not ready", checks),
        status_code=200 if is_ready else 503,
        headers={"cache-control": "no-store"},
    )


@get("/metrics", opt={PUBLIC: True}, tags=["process"], media_type=MediaType.TEXT)
async def read_telemetry(request: ApiRequest) -> Response[Any]:
    """Our own telemetry as Prometheus text; whether the database answers is asked on the way."""
    await check_readiness(request.services.pool)
    return Response(
        render_prometheus(request.services.published.snapshots_elsewhere()),
        media_type="text/plain; version=0.0.4",
        headers={"cache-control": "no-store"},
    )


async def check_readiness(pool: Pool) -> list[Check]:
    """The three conditions, within two seconds whatever happens."""
    asking = asyncio.create_task(_ask(pool), name="readiness")
    # Not awaited further: giving up on a server that hangs waits for that server.
    await asyncio.wait({asking}, timeout=PATIENCE_SECONDS)
    if asking.done():
        checks = asking.result()
    else:
        asking.cancel()
        checks = _without_database("does not answer within 2 seconds")
    DATABASE_UP.set(checks[0].is_ok)
    READY.set(all(check.is_ok for check in checks))
    return checks


async def _ask(pool: Pool) -> list[Check]:
    try:
        with wrap_database_errors():
            async with pool.connection(timeout=PATIENCE_SECONDS) as cx:
                database = Check("database", True, "answers")
                return [database, await _check_schema(cx), await _check_engine(cx)]
    except WedSyncError as exc:
        return _without_database(exc.detail)


def _without_database(why: str) -> list[Check]:
    unknown = "not known without the database"
    return [
        Check("database", False, why),
        Check("schema", False, unknown),
        Check("engine", False, unknown),
    ]


async def _check_schema(cx: Connection) -> Check:
    if await migrate.is_current(cx):
        return Check("schema", True, "every migration of this release is applied")
    return Check("schema", False, "not every migration of this release is applied as it stands")


async def _check_engine(cx: Connection) -> Check:
    age = await store.find_newest_job_run(cx)
    if age is None:
        return Check("engine", False, "has not run a job yet")
    words = f"the last job ended {age:.0f} s ago"
    return Check("engine", age <= ENGINE_SECONDS, words)


HANDLERS: Final = (read_health, read_readiness, read_telemetry)
