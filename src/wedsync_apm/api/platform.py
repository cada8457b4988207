"""The state of the database, for the platform's own people."""

from datetime import datetime
from typing import Any, Final

import msgspec
from litestar import Response, get

from wedsync_apm.api.requests import ApiRequest
from wedsync_apm.errors import Forbidden, RateLimited
from wedsync_apm.health.render import as_json
from wedsync_apm.health.report import Member, read_report
from wedsync_apm.organizations import store
from wedsync_apm.organizations.identity import actor_of


class ReportLine(msgspec.Struct, kw_only=True):
    """One figure with the statement that measured it."""

    key: str
    area: str
    title: str
    expected: str
    outcome: str
    value: str
    reason: str
    statement: str
    measured_at: datetime
    duration_ms: float
    figure: float | None
    unit: str
    remedy: str
    failing_since: datetime | None
    rows: list[dict[str, Any]]


class HealthReport(msgspec.Struct, kw_only=True):
    """The report; EXCELLENT only if every line passed."""

    verdict: str
    taken_at: datetime
    database: str
    server_version: str
    product_version: str
    counts: dict[str, int]
    lines: list[ReportLine]


@get("/api/v1/database-health", tags=["platform"])
async def read_database_health(request: ApiRequest) -> Response[HealthReport]:
    """As the engine last measured it; for operators. Every figure comes with its statement."""
    async with request.tenant() as cx:
        standing = await store.find_standing(cx)
    if standing.operator_role is None:
        raise Forbidden("Only an operator of the platform may see this.")
    lock = request.services.reporting
    if lock.locked():
        raise RateLimited("A report is being taken; it takes some seconds.", 5.0)
    member = None
    if standing.organization_ids:
        member = Member(actor_of(request.identity), standing.organization_ids[0])
    async with lock:
        report = await read_report(request.services.pool, member)
    body = msgspec.json.decode(as_json(report), type=HealthReport)
    return Response(body, headers={"cache-control": "no-store"})


HANDLERS: Final = (read_database_health,)
