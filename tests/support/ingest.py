"""The way in, as senders find it: the real endpoints over a real writer and database."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import httpx

from wedsync_apm.api.ingest.front import IngestApp
from wedsync_apm.api.ingest.receive import Message, Receive, Scope, Send
from wedsync_apm.errors import Unauthorized
from wedsync_apm.ingest.intake import Intake
from wedsync_apm.ingest.limits import IngestLimits
from wedsync_apm.ingest.model import IngestGrant
from wedsync_apm.ingest.writer import open_writer

METRICS = "/api/v1/metrics"
REMOTE_WRITE = "/prometheus/api/v1/write"


async def _nothing_here(scope: Scope, receive: Receive, send: Send) -> None:
    start: Message = {"type": "http.response.start", "status": 404, "headers": []}
    await send(start)
    await send({"type": "http.response.body", "body": b""})


def ingest_app(intake: Intake, keys: Mapping[str, UUID | None]) -> IngestApp:
    """The endpoints for bearer tokens that stand for an organization, or None for the platform."""

    async def authenticate(headers: Mapping[str, str]) -> IngestGrant:
        key = headers.get("authorization", "").removeprefix("Bearer ")
        if key not in keys:
            raise Unauthorized
        return IngestGrant(keys[key])

    return IngestApp(_nothing_here, authenticate, intake)


@asynccontextmanager
async def ingesting(
    conninfo: str, keys: Mapping[str, UUID | None], limits: IngestLimits | None = None
) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the endpoints over a running writer."""
    limits = limits or IngestLimits()
    async with open_writer(conninfo, series_limit=limits.series) as writer:
        app: Any = ingest_app(Intake(writer, limits), keys)
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(app), base_url="http://ingest.test"
        ) as client:
            yield client


def bearer(key: str) -> dict[str, str]:
    """The header of a key."""
    return {"Authorization": f"Bearer {key}"}
