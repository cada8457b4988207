"""A dashboard for somebody without a login: by a signed link, with the tenant and the variables
locked. No cookie goes in or out."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from html import escape
from time import monotonic
from typing import Any, Final
from uuid import UUID

import msgspec
from litestar import Response, get, post
from litestar.params import FromPath

from wedsync_apm.clock import utcnow
from wedsync_apm.dashboards import shares, store
from wedsync_apm.dashboards.data import Asked, Data, document_of, read_data
from wedsync_apm.dashboards.model import Document
from wedsync_apm.dashboards.pictures.model import Form
from wedsync_apm.db.tenant import tenant_tx
from wedsync_apm.errors import Forbidden, NotFound
from wedsync_apm.web.build.board_panels import Reader
from wedsync_apm.web.build.boards import build_board, build_feed, window_words
from wedsync_apm.web.build.today import ENGINE_SILENCE
from wedsync_apm.web.build.weddings import build_card
from wedsync_apm.web.counting import Minute
from wedsync_apm.web.headers import embedded_in
from wedsync_apm.web.pages.board_pictures import answer_picture
from wedsync_apm.web.pages.boards import asked_of, find_own, may_edit
from wedsync_apm.web.pages.charts import unmarked
from wedsync_apm.web.pages.frame import (
    Html,
    PageRequest,
    answer,
    is_engine_alive,
    visit,
    web_of,
)
from wedsync_apm.web.render import render
from wedsync_apm.web.session import check_form
from wedsync_apm.web.views.board import SharedLink
from wedsync_apm.web.views.shell import Bare

LINK_CALLS: Final = 1200
ADDRESS_CALLS: Final = 300
"""A minute. An open page asks for its figures every five seconds at most; a whole venue may be
behind one address."""
PICTURES: Final = 10
"""Of one link, a minute."""
_FRAME: Final = (
    '<iframe src="{url}" title="{title}" width="100%" height="640" loading="lazy" '
    'referrerpolicy="no-referrer"></iframe>'
)


class Gate:
    """Counts who comes by links, before the database is asked."""

    def __init__(self) -> None:
        self.addresses = Minute("address", ADDRESS_CALLS)
        self.links = Minute("link", LINK_CALLS)
        self.pictures = Minute("picture of a link", PICTURES)


@post("/dashboards/{board_id:uuid}/share", status_code=200)
async def share_board(request: PageRequest, board_id: FromPath[UUID]) -> Html:
    """Makes a link to a dashboard as it is looked at, and shows it once."""
    form = await request.form()
    check_form(web_of(request), request, form)
    origins = shares.read_origins(str(form.get("origins") or "").replace(",", " ").split())
    async with visit(request) as here:
        row = await find_own(here, board_id)
        if not may_edit(here):
            raise Forbidden
        expires_at = here.at + shares.USUAL
        token, _ = await shares.share_dashboard(
            here.cx,
            here.web.settings,
            row,
            document_of(row),
            subject=here.subject,
            expires_at=expires_at,
            asked=asked_of(request).variables,
            origins=origins,
        )
        base = (here.web.settings.public_url or str(request.base_url)).rstrip("/")
        url = f"{base}/shared/{token}"
        view = SharedLink(
            name=row["name"],
            url=url,
            expires_at=expires_at,
            back=f"/dashboards/{board_id}",
            again=str(request.url.path) + (f"?{request.url.query}" if request.url.query else ""),
            origins=", ".join(origins),
            frame=_FRAME.format(url=escape(url), title=escape(row["name"])) if origins else "",
        )
        return here.page("board_share.html", "dashboards", view)


@get("/shared/{token:str}")
async def shared_page(request: PageRequest, token: FromPath[str]) -> Html:
    """The dashboard of a link."""
    async with reading(request, token) as (share, row, document, reader):
        view = build_board(row, document, reader, names=(), values={}, may_edit=False)
    view = replace(
        view,
        choices=(),
        kiosk="",
        panels=tuple(replace(panel, table="") for panel in view.panels),
    )
    shell = Bare(reader.now, "system", zone=reader.zone)
    return answer(
        request, render("board_shared.html", shell, view), headers=embedded_in(share.origins)
    )


@get("/shared/{token:str}/feed")
async def shared_feed(request: PageRequest, token: FromPath[str]) -> Response[bytes]:
    """What the drawings of a link's dashboard need."""
    async with reading(request, token, is_feed=True) as (_, _, document, reader):
        content = build_feed(document, reader)
    return Response(
        msgspec.json.encode(content, enc_hook=unmarked),
        media_type="application/json",
        headers={"cache-control": "no-store", "x-robots-tag": "noindex"},
    )


@get("/shared/{token:str}/image.pdf")
async def shared_pdf(request: PageRequest, token: FromPath[str]) -> Response[bytes]:
    """A link's dashboard on A4 pages."""
    async with reading(request, token, is_picture=True) as (_, row, document, reader):
        pass
    return await answer_picture(request, row, document, reader.data, Form.PDF)


@get("/shared/{token:str}/image.png")
async def shared_png(request: PageRequest, token: FromPath[str]) -> Response[bytes]:
    """A link's dashboard as one picture."""
    async with reading(request, token, is_picture=True) as (_, row, document, reader):
        pass
    return await answer_picture(request, row, document, reader.data, Form.PNG)


def _gate_of(request: PageRequest) -> Gate:
    """The process's own."""
    state = request.app.state
    if "share_gate" not in state:
        state["share_gate"] = Gate()
    gate: Gate = state["share_gate"]
    return gate


@asynccontextmanager
async def reading(
    request: PageRequest, token: str, *, is_feed: bool = False, is_picture: bool = False
) -> AsyncIterator[tuple[shares.Share, dict[str, Any], Document, Reader]]:
    """The dashboard that a link opens, read with the rights of its key. Raises NotFound for a link
    that is none, is over, or whose key was revoked."""
    web = web_of(request)
    gate, now = _gate_of(request), monotonic()
    gate.addresses.count(request.client.host if request.client else "unknown", now)
    share = shares.read(shares.share_key(web.settings), token, utcnow())
    gate.links.count(share.key_id.hex, now)
    if is_picture:
        gate.pictures.count(share.key_id.hex, now)
    async with tenant_tx(web.pool, share.actor) as cx:
        row = await store.DASHBOARDS.find_row(cx, share.dashboard_id)
        if row is None:
            raise NotFound
        document = document_of(row)
        setting = await store.read_setting(cx, row["organization_id"], web.settings)
        chosen = asked_of(request)
        # Whatever the address asks for beside the time: the variables are those of the link.
        asked = Asked(span=chosen.span, compare=chosen.compare, variables=share.variables)
        data: Data = await read_data(cx, setting, document, asked)
    yield (
        share,
        row,
        document,
        Reader(
            board_id=row["id"],
            data=data,
            window=window_words(data.shown, setting.at, setting.zone),
            query={
                name: value
                for name, value in request.query_params.items()
                if name in ("span", "compare")
            },
            is_plain=True,
            is_engine_alive=not (is_feed or is_picture)
            and await is_engine_alive(web, ENGINE_SILENCE.total_seconds()),
            weddings=tuple(
                build_card(
                    wedding_id=one.id,
                    couple=one.initials,
                    venue=None,
                    zone=one.zone,
                    windows=[(part.phase, part.begins, part.ends) for part in one.parts],
                    now=setting.at,
                )
                for one in data.material.weddings
            ),
            path=f"/shared/{token}",
        ),
    )


HANDLERS: Final = (share_board, shared_page, shared_feed, shared_pdf, shared_png)
