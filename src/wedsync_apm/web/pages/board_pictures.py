"""A dashboard saved as PDF or as a picture, from its page."""

from typing import Final
from uuid import UUID

from litestar import Response, get
from litestar.params import FromPath

from wedsync_apm.dashboards.data import Data, document_of, read_data
from wedsync_apm.dashboards.material import Setting
from wedsync_apm.dashboards.model import Document
from wedsync_apm.dashboards.pictures.desk import desk_in
from wedsync_apm.dashboards.pictures.model import Form, file_name
from wedsync_apm.web.build.sheets import build_sheet
from wedsync_apm.web.build.today import ENGINE_SILENCE
from wedsync_apm.web.pages.boards import Row, asked_of, find_own
from wedsync_apm.web.pages.frame import PageRequest, is_engine_alive, visit, web_of


@get("/dashboards/{board_id:uuid}/image.pdf")
async def save_as_pdf(request: PageRequest, board_id: FromPath[UUID]) -> Response[bytes]:
    """The dashboard as it is looked at, on A4 pages."""
    return await _save(request, board_id, Form.PDF)


@get("/dashboards/{board_id:uuid}/image.png")
async def save_as_png(request: PageRequest, board_id: FromPath[UUID]) -> Response[bytes]:
    """The dashboard as it is looked at, as one picture."""
    return await _save(request, board_id, Form.PNG)


async def _save(request: PageRequest, board_id: UUID, form: Form) -> Response[bytes]:
    async with visit(request) as here:
        row = await find_own(here, board_id)
        document = document_of(row)
        setting = Setting(
            here.organization_id, here.at, here.zone, here.is_wedding, here.web.settings
        )
        data = await read_data(here.cx, setting, document, asked_of(request))
    return await answer_picture(request, row, document, data, form)


async def answer_picture(
    request: PageRequest, row: Row, document: Document, data: Data, form: Form
) -> Response[bytes]:
    """What was read, drawn; no connection is held meanwhile. Raises RateLimited, TooLarge."""
    is_alive = await is_engine_alive(web_of(request), ENGINE_SILENCE.total_seconds())
    sheet = build_sheet(row, document, data, is_alive)
    made = await desk_in(request.app.state).draw(sheet, form, row["organization_id"])
    return Response(
        made,
        media_type=form.media_type,
        headers={
            "cache-control": "no-store",
            "x-content-type-options": "nosniff",
            "x-robots-tag": "noindex",
            "content-disposition": f'attachment; filename="{file_name(row["id"], form)}"',
        },
    )


HANDLERS: Final = (save_as_pdf, save_as_png)
