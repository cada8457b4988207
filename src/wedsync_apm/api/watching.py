"""Health checks and dashboards."""

from datetime import datetime, timedelta
from typing import Annotated, Any, Final
from uuid import UUID

import msgspec
from litestar import post

from wedsync_apm.api.crud import Resource, Values, refuse, routes
from wedsync_apm.api.durations import Duration, read_duration
from wedsync_apm.api.requests import ApiRequest, Id, shape
from wedsync_apm.checks.members import store as checks
from wedsync_apm.dashboards import store as dashboards
from wedsync_apm.errors import FieldError, NotValid
from wedsync_apm.types import ServiceStatus

SHORTEST_INTERVAL: Final = timedelta(seconds=5)
LONGEST_INTERVAL: Final = timedelta(days=1)
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
StatusCode = Annotated[int, msgspec.Meta(ge=100, le=599)]


class HealthCheckInput(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What to check: an address to call, or a metric whose newest value stands for the service."""

    service_name: Name
    display_name: Name
    service_type: Name = "http"
    endpoint_url: Annotated[str, msgspec.Meta(max_length=2000, pattern="^https?://")] | None = None
    source_metric: Annotated[str, msgspec.Meta(max_length=2000)] | None = None
    wedding_critical: bool = False
    vendor_facing: bool = True
    couple_facing: bool = False
    check_interval: Duration = "1m"
    timeout_seconds: Annotated[float, msgspec.Meta(ge=0.1, le=30)] = 10.0
    expected_status_codes: Annotated[
        list[StatusCode], msgspec.Meta(min_length=1, max_length=50)
    ] = msgspec.field(default_factory=lambda: [200])
    response_time_threshold_ms: Annotated[float, msgspec.Meta(gt=0)] = 5000.0
    is_active: bool = True


class HealthCheck(msgspec.Struct, kw_only=True):
    """A health check and how its service was found last."""

    id: UUID
    organization_id: UUID
    service_name: str
    display_name: str
    service_type: str
    endpoint_url: str | None
    source_metric: str | None
    status: ServiceStatus
    status_reason: str
    status_since: datetime
    last_check_at: datetime | None
    next_check_at: datetime
    response_time_ms: float | None
    error_rate: float | None
    availability_percentage: float | None
    wedding_critical: bool
    vendor_facing: bool
    couple_facing: bool
    check_interval: str
    timeout_seconds: float
    expected_status_codes: list[int]
    response_time_threshold_ms: float
    is_active: bool
    created_by: UUID | None
    created_at: datetime
    updated_at: datetime


def check_values(data: HealthCheckInput) -> Values:
    """As the database keeps it. Raises NotValid for neither or both of address and metric."""
    if (data.endpoint_url is None) == (data.source_metric is None):
        reason = "give either an endpoint_url or a source_metric"
        raise NotValid(errors=[FieldError("endpoint_url", reason)])
    values: Values = msgspec.to_builtins(data)
    interval = read_duration("check_interval", data.check_interval)
    if not SHORTEST_INTERVAL <= interval <= LONGEST_INTERVAL:
        reason = "must be between 5 seconds and 1 day"
        raise NotValid(errors=[FieldError("check_interval", reason)])
    values["check_interval"] = f"{interval.total_seconds():.3f} seconds"
    return values


HEALTH_CHECKS: Final = Resource(
    path="/api/v1/health-checks",
    one="health check",
    noun=checks.HEALTH_CHECKS,
    input=HealthCheckInput,
    output=HealthCheck,
    to_values=check_values,
)


@post("/api/v1/health-checks/{id:uuid}/run", status_code=202, tags=["health-checks"])
async def run_health_check(request: ApiRequest, id: Id) -> HealthCheck:
    """Check now: the next check is due at once, and its result shows within seconds."""
    async with request.tenant() as cx:
        row = await checks.hasten(cx, id)
        if row is None:
            raise await refuse(cx, checks.HEALTH_CHECKS, id, HEALTH_CHECKS.one)
    return shape(HealthCheck, row)


class DashboardInput(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A dashboard: its panels and their variables."""

    name: Name
    description: Annotated[str, msgspec.Meta(max_length=2000)] = ""
    layout: dict[str, Any] = msgspec.field(default_factory=lambda: {"panels": []})
    variables: list[Any] = msgspec.field(default_factory=list)
    template_key: Annotated[str, msgspec.Meta(max_length=200)] | None = None
    is_default: bool = False


class Dashboard(DashboardInput, kw_only=True, forbid_unknown_fields=False):
    """A saved dashboard."""

    id: UUID
    organization_id: UUID
    created_by: UUID | None
    created_at: datetime
    updated_at: datetime


DASHBOARDS: Final = Resource(
    path="/api/v1/dashboards",
    one="dashboard",
    noun=dashboards.DASHBOARDS,
    input=DashboardInput,
    output=Dashboard,
)

HANDLERS: Final = (*routes(HEALTH_CHECKS), run_health_check, *routes(DASHBOARDS))
