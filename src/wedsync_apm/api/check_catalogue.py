"""The catalogue of services that vendors depend on, and one click to have one checked."""

from datetime import timedelta
from typing import Final

import msgspec
from litestar import get, post
from litestar.params import FromPath

from wedsync_apm.api.durations import write_duration
from wedsync_apm.api.health_checks import (
    Address,
    HealthCheck,
    HealthCheckInput,
    Name,
    check_values,
    verify_url,
)
from wedsync_apm.api.requests import (
    ApiRequest,
    Organization,
    body_of,
    earlier_answer,
    one_organization,
    remember_answer,
    shape,
)
from wedsync_apm.checks.members import store as checks
from wedsync_apm.checks.templates import TEMPLATES, Template
from wedsync_apm.errors import FieldError, NotFound, NotValid


class ServiceTemplate(msgspec.Struct, kw_only=True):
    """A service of the catalogue. A shared one is probed once for everybody who adopts it."""

    key: str
    display_name: str
    service_type: str
    is_shared: bool
    example_url: str | None
    expected_status_codes: list[int]
    response_time_threshold_ms: float
    error_rate_threshold: float
    availability_threshold: float
    check_interval: str
    wedding_critical: bool
    vendor_facing: bool
    couple_facing: bool


class Adoption(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What a template leaves open: the address, where it has none of its own; and the names."""

    endpoint_url: Address | None = None
    service_name: Name | None = None
    display_name: Name | None = None


@get("/api/v1/health-check-templates", tags=["health-checks"])
async def list_templates(request: ApiRequest) -> list[ServiceTemplate]:
    """The catalogue of services, with limits that suit them."""
    _ = request.identity
    return [_template(one) for one in TEMPLATES.values()]


def _template(one: Template) -> ServiceTemplate:
    return ServiceTemplate(
        key=one.key,
        display_name=one.display_name,
        service_type=one.service_type,
        is_shared=one.is_shared,
        example_url=one.example_url,
        expected_status_codes=list(one.expected_status_codes),
        response_time_threshold_ms=one.response_time_threshold_ms,
        error_rate_threshold=one.error_rate_threshold,
        availability_threshold=one.availability_threshold,
        check_interval=write_duration(timedelta(seconds=one.check_seconds)),
        wedding_critical=one.wedding_critical,
        vendor_facing=one.vendor_facing,
        couple_facing=one.couple_facing,
    )


@post("/api/v1/health-check-templates/{key:str}/adopt", tags=["health-checks"])
async def adopt_template(
    request: ApiRequest,
    key: FromPath[str],
    data: body_of(Adoption | None) = None,  # type: ignore[valid-type]
    organization_id: Organization = None,
) -> HealthCheck:
    """Make a health check of a service of the catalogue."""
    template = TEMPLATES.get(key)
    if template is None:
        raise NotFound("There is no such service in the catalogue.")
    given: Adoption = data or Adoption()
    if template.is_shared == (given.endpoint_url is not None):
        reason = (
            "is the catalogue's own: this service is shared"
            if template.is_shared
            else f"is missing; it looks like {template.example_url}"
        )
        raise NotValid(errors=[FieldError("endpoint_url", reason)])
    values = {
        **template.as_values(),
        "endpoint_url": given.endpoint_url,
        "shared_key": template.key if template.is_shared else None,
        **{
            name: value
            for name in ("service_name", "display_name")
            if (value := getattr(given, name)) is not None
        },
    }
    values["check_interval"] = template.check_seconds
    whole = msgspec.convert(values, HealthCheckInput)
    await verify_url(request, whole)
    async with request.tenant() as cx:
        owner = await one_organization(cx, organization_id)
        earlier, request_hash = await earlier_answer(cx, request, owner)
        if earlier is not None:
            return msgspec.convert(earlier.body, HealthCheck)
        row = await checks.HEALTH_CHECKS.create_row(
            cx,
            organization_id=owner,
            created_by=request.identity.subject,
            values=check_values(whole),
        )
        made = shape(HealthCheck, row)
        await remember_answer(cx, request, owner, request_hash, made)
    return made


HANDLERS: Final = (list_templates, adopt_template)
