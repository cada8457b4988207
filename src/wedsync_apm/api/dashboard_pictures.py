"""A dashboard as PDF and PNG, drawn here without a browser."""

from typing import Final

from litestar import Response, get
from litestar.params import FromQuery

from wedsync_apm.api import store as process
from wedsync_apm.api.dashboards import find_row, fixed_range, variables_in
from wedsync_apm.api.requests import ApiRequest, Id
from wedsync_apm.dashboards import store
from wedsync_apm.dashboards.data import Asked, document_of, read_data
from wedsync_apm.dashboards.model import Compare, Span
from wedsync_apm.dashboards.pictures.desk import SheetOf, desk_in
from wedsync_apm.dashboards.pictures.model import Form, file_name

ENGINE_SILENCE_SECONDS: Final = 60.0
"""Without an engine for so long nothing is known of services."""


@get("/api/v1/dashboards/{id:uuid}/image.pdf", tags=["dashboards"], media_type=Form.PDF.media_type)
async def draw_dashboard_as_pdf(
    request: ApiRequest,
    *,
    id: Id,
    span: FromQuery[Span | None] = None,
    start: FromQuery[str | None] = None,
    end: FromQuery[str | None] = None,
    compare: FromQuery[Compare | None] = None,
) -> Response[bytes]:
    """Draw all panels on A4 pages, with text that can be selected. `var.name=value` chooses a
    variable; one at a time for an organization, else 429."""
    asked = Asked(span, compare, fixed_range(start, end), variables_in(request))
    return await _draw(request, id, asked, Form.PDF)


@get("/api/v1/dashboards/{id:uuid}/image.png", tags=["dashboards"], media_type=Form.PNG.media_type)
async def draw_dashboard_as_png(
    request: ApiRequest,
    *,
    id: Id,
    span: FromQuery[Span | None] = None,
    start: FromQuery[str | None] = None,
    end: FromQuery[str | None] = None,
    compare: FromQuery[Compare | None] = None,
) -> Response[bytes]:
    """Draw all panels as one picture; the same as the PDF otherwise."""
    asked = Asked(span, compare, fixed_range(start, end), variables_in(request))
    return await _draw(request, id, asked, Form.PNG)


async def _draw(request: ApiRequest, id: Id, asked: Asked, form: Form) -> Response[bytes]:
    async with request.tenant() as cx:
        row = await find_row(cx, id)
        setting = await store.read_setting(cx, row["organization_id"], request.services.settings)
        document = document_of(row)
        data = await read_data(cx, setting, document, asked)
    async with request.services.pool.connection() as cx:
        silence = await process.find_newest_job_run(cx)
    sheet_of: SheetOf = request.app.state.sheet_of
    is_engine_alive = silence is not None and silence <= ENGINE_SILENCE_SECONDS
    sheet = sheet_of(row, document, data, is_engine_alive)
    desk = desk_in(request.app.state)
    made = await desk.draw(sheet, form, row["organization_id"])
    return Response(
        made,
        media_type=form.media_type,
        headers={
            "cache-control": "no-store",
            "content-disposition": f'inline; filename="{file_name(row["id"], form)}"',
        },
    )


HANDLERS: Final = (draw_dashboard_as_pdf, draw_dashboard_as_png)
