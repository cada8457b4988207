"""Dashboards: saved, read as data in one call, taken in and given out as files."""

import asyncio
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any, Final
from uuid import UUID

import msgspec
from litestar import Response, get, post
from litestar.openapi.spec import OpenAPIMediaType, Operation, RequestBody, Schema
from litestar.openapi.spec.enums import OpenAPIType
from litestar.params import FromQuery, JSONBody

from wedsync_apm.api.crud import Resource, routes
from wedsync_apm.api.problems import unsupported
from wedsync_apm.api.requests import ApiRequest, Id, Organization, one_organization, shape
from wedsync_apm.api.samples_out import read_time, wants_csv
from wedsync_apm.clock import utcnow
from wedsync_apm.dashboards import files, shares, store
from wedsync_apm.dashboards.answers import (
    Band,
    Countdown,
    Heat,
    Lines,
    Number,
    Refused,
    Services,
    Table,
    Text,
    Tick,
    Troubles,
)
from wedsync_apm.dashboards.data import Asked, Data, document_of, read_data
from wedsync_apm.dashboards.model import Compare, Document, Span, schema_of_documents
from wedsync_apm.dashboards.reading import read_columns, split
from wedsync_apm.dashboards.shares import LONGEST, MOST_ORIGINS, USUAL
from wedsync_apm.dashboards.tables import table_of, write_csv
from wedsync_apm.dashboards.templates import templates, templates_for
from wedsync_apm.errors import Conflict, FieldError, NotFound, NotValid

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
Version = Annotated[
    int, msgspec.Meta(ge=1, description="The one that was changed; 409 where another stands")
]
AnyAnswer = Lines | Number | Table | Heat | Services | Troubles | Countdown | Text | Refused


class DashboardInput(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A dashboard. `layout` holds `time` and `panels` of the document; with a `template_key` and
    without panels it is made from that template."""

    name: Name
    description: Annotated[str, msgspec.Meta(max_length=2000)] = ""
    layout: dict[str, Any] = msgspec.field(default_factory=lambda: {"panels": []})
    variables: list[Any] = msgspec.field(default_factory=list)
    template_key: Annotated[str, msgspec.Meta(max_length=200)] | None = None
    is_default: bool = False
    version: Version | None = None


class Dashboard(DashboardInput, kw_only=True, forbid_unknown_fields=False):
    """A saved dashboard. Every change counts its version up; `changed_by` says whose the last
    was."""

    id: UUID
    organization_id: UUID
    version: int
    changed_by: str
    created_by: UUID | None
    created_at: datetime
    updated_at: datetime


class TemplateOut(msgspec.Struct, kw_only=True):
    """A dashboard to begin with."""

    key: str
    name: str
    description: str
    document: dict[str, Any]


class Form(StrEnum):
    """How a document is written."""

    JSON = "json"
    YAML = "yaml"


class DashboardData(msgspec.Struct, kw_only=True):
    """What every panel shows, by the panels' keys. `x` are the instants of the lines in Unix
    seconds; `back_seconds` is how far back the time lies that they are compared with. `variables`
    is what was chosen."""

    id: UUID
    version: int
    at: datetime
    begins: float
    ends: float
    step: float
    time_zone: str
    compare: Compare
    back_seconds: float | None
    variables: dict[str, str]
    x: tuple[float, ...]
    bands: tuple[Band, ...]
    ticks: tuple[Tick, ...]
    panels: dict[str, AnyAnswer]


class Imported(msgspec.Struct, kw_only=True):
    """What a file became."""

    is_new: bool
    dashboard: Dashboard


class ShareInput(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """How long a link is good, and what its variables stand for; nothing widens that later.
    `origins` are the websites that may show it within their pages; without any nobody may."""

    days: Annotated[int, msgspec.Meta(ge=1, le=LONGEST.days)] = USUAL.days
    variables: dict[str, str] = msgspec.field(default_factory=dict)
    origins: Annotated[list[str], msgspec.Meta(max_length=MOST_ORIGINS)] = msgspec.field(
        default_factory=list
    )


class SharedLink(msgspec.Struct, kw_only=True):
    """A link, told this once. Revoking the key ends it."""

    path: str
    expires_at: datetime
    api_key_id: UUID


def to_values(data: DashboardInput) -> dict[str, Any]:
    """The columns of a checked dashboard. Raises NotValid with every fault by its path."""
    layout, variables = data.layout, data.variables
    if data.template_key and not layout.get("panels"):
        template = templates().get(data.template_key)
        if template is None:
            raise NotValid(errors=[FieldError("template_key", "is none of the templates")])
        layout, variables = split(template)
    document = read_columns(data.name, data.description, layout, variables)
    layout, variables = split(document)
    values: dict[str, Any] = msgspec.to_builtins(data)
    return values | {"layout": layout, "variables": variables}


DASHBOARDS: Final = Resource(
    path="/api/v1/dashboards",
    one="dashboard",
    noun=store.DASHBOARDS,
    input=DashboardInput,
    output=Dashboard,
    to_values=to_values,
)


@get("/api/v1/dashboards/schema", tags=["dashboards"])
async def read_schema(request: ApiRequest) -> dict[str, Any]:
    """Read the format of a dashboard's document as JSON Schema."""
    async with request.tenant():
        return schema_of_documents()


@get("/api/v1/dashboards/templates", tags=["dashboards"])
async def list_templates(
    request: ApiRequest, vendor_type: FromQuery[str | None] = None
) -> list[TemplateOut]:
    """List the dashboards to begin with, for one type of vendor or all."""
    async with request.tenant():
        keys = templates_for(vendor_type) if vendor_type else tuple(templates())
    return [
        TemplateOut(
            key=key,
            name=templates()[key].name,
            description=templates()[key].description,
            document=msgspec.to_builtins(templates()[key]),
        )
        for key in keys
    ]


@get("/api/v1/dashboards/{id:uuid}/data", tags=["dashboards"])
async def read_dashboard_data(
    request: ApiRequest,
    *,
    id: Id,
    span: FromQuery[Span | None] = None,
    start: FromQuery[str | None] = None,
    end: FromQuery[str | None] = None,
    compare: FromQuery[Compare | None] = None,
    panel: FromQuery[str | None] = None,
) -> Response[DashboardData] | Response[str]:
    """Read what all panels show, or one of them; that one as CSV too. `var.name=value` chooses a
    variable."""
    asked = Asked(span, compare, fixed_range(start, end), variables_in(request), panel)
    async with request.tenant() as cx:
        row = await find_row(cx, id)
        setting = await store.read_setting(cx, row["organization_id"], request.services.settings)
        data = await read_data(cx, setting, document_of(row), asked)
    if wants_csv(request):
        if panel is None:
            raise NotValid(errors=[FieldError("panel", "a table is of one panel; say which")])
        rows = table_of(data.panels[panel], data.instants)
        return Response(write_csv(rows), media_type="text/csv")
    return Response(data_out(row, data))


def fixed_range(start: str | None, end: str | None) -> tuple[datetime, datetime] | None:
    """A range that is asked for, else None. Raises NotValid for half a one."""
    begin, behind = read_time("start", start), read_time("end", end)
    if begin is None and behind is None:
        return None
    if begin is None or behind is None:
        missing = "start" if begin is None else "end"
        raise NotValid(errors=[FieldError(missing, "is missing: a range has both")])
    return begin, behind


def variables_in(request: ApiRequest) -> dict[str, str]:
    """What was chosen: `var.region=eu`."""
    return {
        name.removeprefix("var."): value
        for name, value in request.query_params.items()
        if name.startswith("var.")
    }


async def find_row(cx: Any, row_id: UUID) -> dict[str, Any]:
    """A dashboard's row. Raises NotFound."""
    row = await store.DASHBOARDS.find_row(cx, row_id)
    if row is None:
        raise NotFound("There is no such dashboard.")
    return row


def data_out(row: dict[str, Any], data: Data) -> DashboardData:
    """The answer of the API."""
    material, shown = data.material, data.shown
    return DashboardData(
        id=row["id"],
        version=row["version"],
        at=material.setting.at,
        begins=shown.begin.timestamp(),
        ends=shown.end.timestamp(),
        step=shown.step.total_seconds(),
        time_zone=material.setting.zone,
        compare=shown.compare,
        back_seconds=material.back.total_seconds() if material.back else None,
        variables=dict(material.chosen),
        x=data.instants,
        bands=tuple(data.bands),
        ticks=tuple(data.ticks),
        panels=dict(data.panels),  # type: ignore[arg-type]  # every answer is one of the union
    )


@get("/api/v1/dashboards/{id:uuid}/export", tags=["dashboards"])
async def export_dashboard(
    request: ApiRequest, id: Id, form: FromQuery[Form] = Form.YAML
) -> Response[str]:
    """Write a dashboard as a file: the same to the last byte as long as nobody changes it."""
    async with request.tenant() as cx:
        document = document_of(await find_row(cx, id))
    if form is Form.YAML:
        return Response(files.write_yaml(document), media_type=files.YAML)
    return Response(files.write_json(document), media_type=files.JSON)


@post("/api/v1/dashboards/{id:uuid}/share", tags=["dashboards"])
async def share_dashboard(request: ApiRequest, id: Id, data: JSONBody[ShareInput]) -> SharedLink:
    """Make a link by which anybody sees this dashboard and nothing else, without a login."""
    expires_at = utcnow() + timedelta(days=data.days)
    async with request.tenant() as cx:
        row = await find_row(cx, id)
        token, key_id = await shares.share_dashboard(
            cx,
            request.services.settings,
            row,
            document_of(row),
            subject=request.identity.subject,
            expires_at=expires_at,
            asked=data.variables,
            origins=data.origins,
        )
    return SharedLink(path=f"/shared/{token}", expires_at=expires_at, api_key_id=key_id)


@dataclass
class _ImportOperation(Operation):
    """The framework knows no body that is not JSON."""

    def __post_init__(self) -> None:
        text = OpenAPIMediaType(schema=Schema(type=OpenAPIType.STRING))
        whole = OpenAPIMediaType(schema=Schema(type=OpenAPIType.OBJECT))
        self.request_body = RequestBody(
            content={files.YAML: text, files.JSON: whole},
            description="The document itself, up to 1 MiB.",
            required=True,
        )


@post(
    "/api/v1/dashboards/import",
    tags=["dashboards"],
    status_code=200,
    operation_class=_ImportOperation,
)
async def import_dashboard(
    request: ApiRequest,
    *,
    replace: FromQuery[bool] = False,
    organization_id: Organization = None,
) -> Imported:
    """Make a dashboard from a file in JSON or YAML; with `replace` it takes the place of the one
    that has its name."""
    media_type = media_type_of(request.headers.get("content-type", ""))
    body = await request.body()
    # Beside the event loop: a file may be large, and no connection is held meanwhile.
    document = await asyncio.to_thread(files.read_file, body, media_type)
    values = values_of(document)
    async with request.tenant() as cx:
        owner = await one_organization(cx, organization_id)
        present = await store.find_named(cx, owner, document.name)
        if present is not None and not replace:
            raise Conflict("There is a dashboard of this name; `replace=true` replaces it.")
        if present is not None:
            row = await store.DASHBOARDS.update_row(cx, present["id"], values)
        else:
            row = await store.DASHBOARDS.create_row(
                cx, organization_id=owner, created_by=request.identity.subject, values=values
            )
    if row is None:
        raise NotFound("There is no such dashboard.")
    return Imported(is_new=present is None, dashboard=shape(Dashboard, row))


def values_of(document: Document) -> dict[str, Any]:
    """The columns that a document fills."""
    layout, variables = split(document)
    return {
        "name": document.name,
        "description": document.description,
        "layout": layout,
        "variables": variables,
    }


def media_type_of(content_type: str) -> str:
    """JSON or YAML. Raises UnsupportedMedia for anything else."""
    kind = content_type.partition(";")[0].strip().lower()
    if kind == files.JSON:
        return files.JSON
    if kind in ("application/yaml", "application/x-yaml", "text/yaml", "text/x-yaml"):
        return files.YAML
    raise unsupported(content_type)


HANDLERS: Final = (
    read_schema,
    list_templates,
    read_dashboard_data,
    export_dashboard,
    share_dashboard,
    import_dashboard,
    *routes(DASHBOARDS),
)
