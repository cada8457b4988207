"""Health checks: what to look at, how it was found, and a look at once."""

from datetime import datetime
from typing import Annotated, Any, Final
from uuid import UUID

import msgspec
from litestar import get, post

from wedsync_apm.api.crud import Resource, Values, routes
from wedsync_apm.api.durations import Duration, read_duration
from wedsync_apm.api.requests import ApiRequest, Id, Limit, shape
from wedsync_apm.checks.members import store as checks
from wedsync_apm.checks.members.looking import look, take_look
from wedsync_apm.checks.wanted import check_wanted, verify_address
from wedsync_apm.errors import NotFound
from wedsync_apm.types import ServiceStatus

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
Words = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
StatusCode = Annotated[int, msgspec.Meta(ge=100, le=599)]
Times = Annotated[int, msgspec.Meta(ge=1, le=10)]
Address = Annotated[
    str,
    msgspec.Meta(
        max_length=2000,
        pattern="^((https?|tcp|tls)://|dns:)",
        description="an address of the web, `tcp://host:port`, `tls://host`, or `dns:name?type=MX`",
        examples=["tls://www.example.com", "dns:example.com?type=MX"],
    ),
]


class HealthCheckInput(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What to check: an address to look at, a metric whose newest value stands for the service, or
    a service of the catalogue whose one probe serves everybody."""

    service_name: Name
    display_name: Name
    service_type: Name = "http"
    endpoint_url: Address | None = None
    source_metric: Annotated[str, msgspec.Meta(max_length=2000)] | None = None
    shared_key: Annotated[str, msgspec.Meta(max_length=100)] | None = None
    wedding_critical: bool = False
    vendor_facing: bool = True
    couple_facing: bool = False
    check_interval: Duration = "1m"
    timeout_seconds: Annotated[float, msgspec.Meta(ge=0.1, le=30)] = 10.0
    expected_status_codes: Annotated[
        list[StatusCode], msgspec.Meta(min_length=1, max_length=50)
    ] = msgspec.field(default_factory=lambda: [200])
    body_contains: Words | None = None
    body_lacks: Words | None = None
    dns_expected: Annotated[list[Words], msgspec.Meta(max_length=20)] = msgspec.field(
        default_factory=list
    )
    certificate_days: Annotated[int, msgspec.Meta(ge=1, le=365)] = 14
    response_time_threshold_ms: Annotated[float, msgspec.Meta(gt=0)] = 5000.0
    error_rate_threshold: Annotated[
        float, msgspec.Meta(ge=0, le=1, description="A share of 1, of the looks of judged_over")
    ] = 0.05
    availability_threshold: Annotated[
        float, msgspec.Meta(ge=0, le=100, description="Percent of the last 24 hours")
    ] = 99.0
    judged_over: Duration = "1h"
    """What error rate and availability are counted over where they are judged."""
    error_rate_critical: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None
    availability_warning: Annotated[float, msgspec.Meta(ge=0, le=100)] | None = None
    availability_critical: Annotated[float, msgspec.Meta(ge=0, le=100)] | None = None
    failures_to_confirm: Times = 2
    recoveries_to_confirm: Times = 2
    opens_incidents: bool = True
    depends_on: Annotated[list[UUID], msgspec.Meta(max_length=20)] = msgspec.field(
        default_factory=list
    )
    is_active: bool = True


class CheckLimits(msgspec.Struct, kw_only=True):
    """What the service is held to now: tighter while a wedding is under way."""

    response_time_ms: float
    error_rate: float
    availability_percentage: float
    is_wedding: bool


class HealthCheck(msgspec.Struct, kw_only=True):
    """A health check and how its service was found last."""

    id: UUID
    organization_id: UUID
    service_name: str
    display_name: str
    service_type: str
    endpoint_url: str | None
    source_metric: str | None
    shared_key: str | None
    status: ServiceStatus
    status_reason: str
    status_since: datetime
    failing_since: datetime | None
    caused_by: str | None
    last_check_at: datetime | None
    next_check_at: datetime
    response_time_ms: float | None
    error_rate: float | None
    availability_percentage: float | None
    limits: CheckLimits | None
    wedding_critical: bool
    vendor_facing: bool
    couple_facing: bool
    check_interval: str
    effective_interval: str | None
    timeout_seconds: float
    expected_status_codes: list[int]
    body_contains: str | None
    body_lacks: str | None
    dns_expected: list[str]
    certificate_days: int
    response_time_threshold_ms: float
    error_rate_threshold: float
    availability_threshold: float
    judged_over: str
    error_rate_critical: float | None
    availability_warning: float | None
    availability_critical: float | None
    failures_to_confirm: int
    recoveries_to_confirm: int
    opens_incidents: bool
    depends_on: list[UUID]
    is_active: bool
    created_by: UUID | None
    created_at: datetime
    updated_at: datetime


class CheckRun(msgspec.Struct, kw_only=True):
    """What a look at once has seen. It is told and not kept: the engine looks for itself within
    seconds, and confirms what it finds."""

    check_id: UUID
    at: datetime
    is_fresh: bool
    """False where nobody was called: a metric or a shared probe stands for the service."""
    status: ServiceStatus
    reason: str
    response_time_ms: float | None
    http_status: int | None = None
    certificate_ends_at: datetime | None = None
    dns_answers: list[str] = msgspec.field(default_factory=list)


class CheckWindow(msgspec.Struct, kw_only=True):
    """A service's figures over a window that ends now."""

    window: str
    looks: int
    failures: int
    error_rate: float | None
    known_seconds: float
    availability_percentage: float | None


class CheckStatus(msgspec.Struct, kw_only=True):
    """A status that a service had; the newest lasts."""

    status: ServiceStatus
    reason: str
    is_by_figures: bool
    """Whether it began by its figures alone: it answered."""
    since: datetime
    until: datetime | None


class CheckHistory(msgspec.Struct, kw_only=True):
    """How a service has been: figures from stored results, and each confirmed status."""

    windows: list[CheckWindow]
    statuses: list[CheckStatus]


def check_values(data: HealthCheckInput) -> Values:
    """As the database keeps it. Raises NotValid for what cannot be looked at."""
    values: Values = msgspec.to_builtins(data)
    interval = read_duration("check_interval", data.check_interval)
    window = read_duration("judged_over", data.judged_over)
    check_wanted(values, interval, window)
    values["check_interval"] = f"{interval.total_seconds():.3f} seconds"
    values["judged_over"] = f"{window.total_seconds():.3f} seconds"
    return values


async def verify_url(request: ApiRequest, data: Any) -> None:
    """Looks where an address leads, before anything is saved."""
    url = getattr(data, "endpoint_url", None)
    await verify_address(request.services.egress, url if isinstance(url, str) else None)


HEALTH_CHECKS: Final = Resource(
    path="/api/v1/health-checks",
    one="health check",
    noun=checks.HEALTH_CHECKS,
    input=HealthCheckInput,
    output=HealthCheck,
    to_values=check_values,
    verify=verify_url,
)


@post("/api/v1/health-checks/{id:uuid}/run", status_code=200, tags=["health-checks"])
async def run_health_check(request: ApiRequest, id: Id) -> CheckRun:
    """Look now, and tell what was seen: a check once in 10 s, an organization's checks 20 times a
    minute. The engine looks for itself soon after."""
    async with request.tenant() as cx:
        permit = await take_look(cx, id)
    row, at = permit.row, permit.at
    looked = await look(request.services.egress, permit, request.services.settings.wedding_factor)
    if looked is None:
        return CheckRun(
            check_id=id,
            at=row["last_check_at"] or at,
            is_fresh=False,
            status=ServiceStatus(row["status"]),
            reason=row["status_reason"],
            response_time_ms=row["response_time_ms"],
        )
    seen, finding = looked
    return CheckRun(
        check_id=id,
        at=at,
        is_fresh=True,
        status=finding.status,
        reason=finding.reason,
        response_time_ms=finding.response_time_ms,
        http_status=seen.http_status,
        certificate_ends_at=seen.certificate_ends_at,
        dns_answers=list(seen.dns_answers),
    )


@get("/api/v1/health-checks/{id:uuid}/history", tags=["health-checks"])
async def read_check_history(request: ApiRequest, id: Id, limit: Limit = 100) -> CheckHistory:
    """Error rate and availability over 1 h, 24 h, 7 d and 30 d, and the newest statuses."""
    async with request.tenant() as cx:
        row = await checks.HEALTH_CHECKS.find_row(cx, id)
        if row is None:
            raise NotFound("There is no such health check.")
        windows = await checks.list_windows(cx, id)
        statuses = await checks.list_statuses(cx, row["organization_id"], id, limit)
    return CheckHistory(
        windows=[shape(CheckWindow, one) for one in windows],
        statuses=[shape(CheckStatus, one) for one in statuses],
    )


HANDLERS: Final = (*routes(HEALTH_CHECKS), run_health_check, read_check_history)
