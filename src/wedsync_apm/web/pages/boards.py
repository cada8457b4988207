"""Dashboards: the list, one of them with its panels, and the figures and samples behind a panel."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from urllib.parse import urlencode
from uuid import UUID

import msgspec
from litestar import Response, get, post
from litestar.params import FromPath

from wedsync_apm.dashboards import files, store
from wedsync_apm.dashboards.data import Asked, Data, document_of, read_data
from wedsync_apm.dashboards.material import Setting
from wedsync_apm.dashboards.model import Compare, CountdownPanel, Document, Span, figures_in
from wedsync_apm.dashboards.reading import split
from wedsync_apm.dashboards.samples import read_behind
from wedsync_apm.dashboards.tables import table_of, write_csv
from wedsync_apm.dashboards.templates import templates, templates_for
from wedsync_apm.dashboards.variables import filled
from wedsync_apm.errors import Forbidden, MalformedBody, NotFound, NotValid, TooLarge
from wedsync_apm.types import Role
from wedsync_apm.web import say
from wedsync_apm.web.build.board_panels import Reader
from wedsync_apm.web.build.board_rule import address_of, figure_of
from wedsync_apm.web.build.boards import (
    build_board,
    build_feed,
    build_list,
    build_offers,
    build_table,
    fault_lines,
    window_words,
)
from wedsync_apm.web.build.today import ENGINE_SILENCE
from wedsync_apm.web.pages.charts import unmarked
from wedsync_apm.web.pages.frame import (
    Html,
    PageRequest,
    Visit,
    is_engine_alive,
    see,
    visit,
    web_of,
)
from wedsync_apm.web.pages.gather import read_weddings
from wedsync_apm.web.session import check_form
from wedsync_apm.web.views.board import BoardsView, BoardTable
from wedsync_apm.web.words import say as words

Row = dict[str, Any]
FILE_BYTES: Final = 1024 * 1024
MOST_SAMPLES: Final = 500
LONGEST_LOOK: Final = timedelta(days=1)


def may_edit(here: Visit) -> bool:
    """Owners and admins, as the API has it."""
    return here.role in (Role.OWNER, Role.ADMIN)


@get("/dashboards")
async def boards_page(request: PageRequest) -> Html:
    """All dashboards of the business, and those to begin with."""
    async with visit(request) as here:
        return await show_list(here)


async def show_list(
    here: Visit, *, file: str = "", faults: tuple[str, ...] = (), status: int = 200
) -> Html:
    """The list, with a file that could not be taken and why."""
    rows = await store.list_names(here.cx, here.organization_id)
    keys = templates_for(here.membership.vendor_type or "")
    view = BoardsView(
        build_list(rows, here.at, here.zone),
        build_offers(keys, templates(), rows),
        may_edit(here),
        file,
        faults,
    )
    return here.page("boards.html", "dashboards", view, status=status)


@post("/dashboards/add", status_code=200)
async def add_board(request: PageRequest) -> Html:
    """Makes a dashboard from a template, or an empty one."""
    form = await request.form()
    check_form(web_of(request), request, form)
    key = str(form.get("template") or "")
    async with visit(request) as here:
        if not may_edit(here):
            raise Forbidden
        document = templates().get(key)
        if key and document is None:
            raise NotFound
        values: Row = {"name": str(words("boards.blank_name")), "layout": {"panels": []}}
        if document is not None:
            layout, variables = split(document)
            values = {
                "name": document.name,
                "description": document.description,
                "layout": layout,
                "variables": variables,
                "template_key": key,
            }
        made = await store.DASHBOARDS.create_row(
            here.cx,
            organization_id=here.organization_id,
            created_by=here.subject,
            values={"description": "", "variables": [], **values},
        )
    target = f"/dashboards/{made['id']}"
    return see(target if key else f"{target}/edit", said="board_added")


@post("/dashboards/import", status_code=200, request_max_body_size=FILE_BYTES)
async def import_board(request: PageRequest) -> Html:
    """Takes a pasted file in; one of the same name is replaced."""
    form = await request.form()
    check_form(web_of(request), request, form)
    text = str(form.get("file") or "")
    async with visit(request) as here:
        if not may_edit(here):
            raise Forbidden
        media_type = files.JSON if text.lstrip().startswith("{") else files.YAML
        try:
            document = files.read_file(text.encode(), media_type)
        except NotValid as exc:
            told = fault_lines([(one.field, one.reason) for one in exc.errors])
            return await show_list(here, file=text, faults=told, status=422)
        except (MalformedBody, TooLarge) as exc:
            return await show_list(here, file=text, faults=(exc.detail,), status=422)
        layout, variables = split(document)
        values = {
            "name": document.name,
            "description": document.description,
            "layout": layout,
            "variables": variables,
        }
        present = await store.find_named(here.cx, here.organization_id, document.name)
        if present is not None:
            row = await store.DASHBOARDS.update_row(here.cx, present["id"], values)
        else:
            row = await store.DASHBOARDS.create_row(
                here.cx,
                organization_id=here.organization_id,
                created_by=here.subject,
                values=values,
            )
        if row is None:
            raise NotFound
    return see(f"/dashboards/{row['id']}", said="board_taken_in")


@get("/dashboards/{board_id:uuid}")
async def board_page(request: PageRequest, board_id: FromPath[UUID]) -> Html:
    """One dashboard with all its panels."""
    async with visit(request) as here:
        row = await find_own(here, board_id)
        try:
            document = document_of(row)
        except NotValid as exc:
            return await show_broken(here, row, exc)
        reader = await read_for(here, row, document)
        tags = [one.tag for one in document.variables if one.tag]
        values = await store.list_tag_values(here.cx, here.organization_id, tags) if tags else {}
        view = build_board(
            row,
            document,
            reader,
            names=await store.list_names(here.cx, here.organization_id),
            values=values,
            may_edit=may_edit(here),
        )
        return here.page("board.html", "dashboards", view)


async def show_broken(here: Visit, row: Row, exc: NotValid) -> Html:
    """A dashboard that an older program kept and that this one cannot read."""
    view = BoardTable(
        title=row["name"],
        caption=words("board.broken_body"),
        columns=(),
        rows=tuple((one,) for one in fault_lines([(e.field, e.reason) for e in exc.errors])),
        links=(),
        csv="",
        back="/dashboards",
    )
    return here.page("board_broken.html", "dashboards", view, status=422)


@get("/dashboards/{board_id:uuid}/feed")
async def feed(request: PageRequest, board_id: FromPath[UUID]) -> Response[bytes]:
    """What all drawings of a dashboard need, in one answer."""
    async with visit(request) as here:
        row = await find_own(here, board_id)
        document = document_of(row)
        reader = await read_for(here, row, document, is_feed=True)
        content = build_feed(document, reader)
    return Response(
        msgspec.json.encode(content, enc_hook=unmarked),
        media_type="application/json",
        headers={"cache-control": "no-store"},
    )


@get("/dashboards/{board_id:uuid}/panels/{key:str}")
async def panel_page(
    request: PageRequest, board_id: FromPath[UUID], key: FromPath[str]
) -> Html | Response[str]:
    """The figures behind one panel, as a table or as CSV."""
    async with visit(request) as here:
        row = await find_own(here, board_id)
        document = document_of(row)
        panel = document.panel(key)
        if panel is None:
            raise NotFound
        reader = await read_for(here, row, document, panel=key)
        answer = reader.data.panels[key]
        if request.query_params.get("as") == "csv":
            return Response(
                write_csv(table_of(answer, reader.data.instants)),
                media_type="text/csv; charset=utf-8",
                headers={
                    "cache-control": "no-store",
                    "content-disposition": f'attachment; filename="{key}.csv"',
                },
            )
        view = build_table(panel.title, answer, reader, key)
        return here.page("board_table.html", "dashboards", view)


@get("/dashboards/{board_id:uuid}/panels/{key:str}/rule")
async def rule_page(request: PageRequest, board_id: FromPath[UUID], key: FromPath[str]) -> Html:
    """Leads to the editor of a new rule that watches what a panel shows."""
    async with visit(request) as here:
        row = await find_own(here, board_id)
        document = document_of(row)
        panel = document.panel(key)
        figure = figure_of(panel) if panel is not None else None
        if panel is None or figure is None:
            raise NotFound
        if not may_edit(here):
            raise Forbidden
        reader = await read_for(here, row, document, panel=key)
        material = reader.data.material
        asked = address_of(panel, filled(figure, material.chosen), material.answer_to(figure))
        return see(f"/rules/new?{urlencode(asked)}")


@get("/dashboards/{board_id:uuid}/panels/{key:str}/samples")
async def samples_page(request: PageRequest, board_id: FromPath[UUID], key: FromPath[str]) -> Html:
    """The samples themselves behind one point of a panel."""
    async with visit(request) as here:
        row = await find_own(here, board_id)
        document = document_of(row)
        panel = document.panel(key)
        if panel is None or not figures_in(panel):
            raise NotFound
        begin, end = _look_of(request)
        asked = asked_of(request, key)
        rows = await read_behind(
            here.cx,
            here.organization_id,
            document,
            panel,
            asked=asked.variables,
            look=(begin, end),
            most=MOST_SAMPLES + 1,
        )
        figure = say.figure if here.is_engineer else say.plain_figure
        many = str(words("board.samples_many", n=MOST_SAMPLES))
        caption = str(
            words(
                "board.samples_caption",
                **{
                    "from": say.when(begin, here.at, here.zone),
                    "to": say.when(end, here.at, here.zone),
                    "zone": here.zone,
                },
            )
        )
        view = BoardTable(
            title=words("board.samples_title", title=panel.title),
            caption=f"{caption} {many}" if len(rows) > MOST_SAMPLES else caption,
            columns=tuple(
                words(f"board.samples_{one}") for one in ("time", "value", "metric", "tags")
            ),
            rows=tuple(
                (
                    say.clock_seconds(one.at, here.zone),
                    figure(one.value, one.unit),
                    one.metric,
                    ", ".join(f"{name}={value}" for name, value in sorted(one.tags.items())),
                )
                for one in rows[:MOST_SAMPLES]
            ),
            links=(),
            csv="",
            back=f"/dashboards/{board_id}/panels/{key}?{_kept(request)}",
            empty=words("board.samples_none"),
        )
        return here.page("board_table.html", "dashboards", view)


def _look_of(request: PageRequest) -> tuple[datetime, datetime]:
    try:
        begin = datetime.fromtimestamp(float(request.query_params.get("at", "")), UTC)
        step = timedelta(seconds=float(request.query_params.get("step", "60")))
    except (ValueError, OverflowError, OSError) as exc:
        raise NotFound from exc
    if not timedelta() < step <= LONGEST_LOOK:
        raise NotFound
    return begin, begin + step


@get("/dashboards/{board_id:uuid}/file")
async def board_file(request: PageRequest, board_id: FromPath[UUID]) -> Response[str]:
    """A dashboard as YAML, to keep elsewhere."""
    async with visit(request) as here:
        document = document_of(await find_own(here, board_id))
    return Response(
        files.write_yaml(document),
        media_type=files.YAML,
        headers={
            "cache-control": "no-store",
            "content-disposition": 'attachment; filename="dashboard.yaml"',
        },
    )


@post("/dashboards/{board_id:uuid}/delete", status_code=200)
async def delete_board(request: PageRequest, board_id: FromPath[UUID]) -> Html:
    """Deletes a dashboard."""
    form = await request.form()
    check_form(web_of(request), request, form)
    async with visit(request) as here:
        await find_own(here, board_id)
        if not may_edit(here):
            raise Forbidden
        await store.DASHBOARDS.delete_row(here.cx, board_id)
    return see("/dashboards", said="board_deleted")


async def find_own(here: Visit, board_id: UUID) -> Row:
    """A dashboard of the business that is looked at. Raises NotFound for any other."""
    row = await store.DASHBOARDS.find_row(here.cx, board_id)
    if row is None or row["organization_id"] != here.organization_id:
        raise NotFound
    return row


def asked_of(request: PageRequest, panel: str | None = None) -> Asked:
    """What the address asks for; what it cannot mean is left to the document."""
    query = request.query_params
    span, compare = query.get("span"), query.get("compare")
    return Asked(
        span=Span(span) if span in set(Span) else None,
        compare=Compare(compare) if compare in set(Compare) else None,
        variables={
            name.removeprefix("var."): value
            for name, value in query.items()
            if name.startswith("var.")
        },
        panel=panel,
    )


def kept_of(request: PageRequest) -> Mapping[str, str]:
    """What of the address the links of the page keep."""
    return {
        name: value[:200]
        for name, value in request.query_params.items()
        if name in ("span", "compare", "kiosk") or name.startswith("var.")
    }


def _kept(request: PageRequest) -> str:
    return urlencode(kept_of(request))


async def read_for(
    here: Visit, row: Row, document: Document, *, panel: str | None = None, is_feed: bool = False
) -> Reader:
    """A dashboard's data, with what its words need beside it."""
    setting = Setting(here.organization_id, here.at, here.zone, here.is_wedding, here.web.settings)
    data: Data = await read_data(here.cx, setting, document, asked_of(here.request, panel))
    has_countdown = any(isinstance(one, CountdownPanel) for one in document.panels)
    is_page = not is_feed and panel is None
    return Reader(
        board_id=row["id"],
        data=data,
        window=window_words(data.shown, here.at, here.zone),
        query=kept_of(here.request),
        is_plain=not here.is_engineer,
        is_engine_alive=is_page and await is_engine_alive(here.web, ENGINE_SILENCE.total_seconds()),
        weddings=await read_weddings(here) if is_page and has_countdown else (),
        may_make_rules=may_edit(here),
    )


HANDLERS: Final = (
    boards_page,
    add_board,
    import_board,
    board_page,
    feed,
    panel_page,
    rule_page,
    samples_page,
    board_file,
    delete_board,
)
