"""To whom a dashboard goes out by mail, and when; and the link in a mail that ends it."""

import hmac
from datetime import time
from typing import Final
from uuid import UUID

from litestar import get, post
from litestar.params import FromPath

from wedsync_apm.clock import utcnow
from wedsync_apm.dashboards.data import document_of
from wedsync_apm.dashboards.mails import store
from wedsync_apm.dashboards.mails.model import Rhythm
from wedsync_apm.dashboards.variables import choose
from wedsync_apm.db.pool import wrap_database_errors
from wedsync_apm.errors import FieldError, Forbidden, NotFound, NotValid
from wedsync_apm.notify.board_mail import PURPOSE
from wedsync_apm.web import say
from wedsync_apm.web.headers import STATUS_HEADERS
from wedsync_apm.web.pages.boards import asked_of, find_own, may_edit
from wedsync_apm.web.pages.frame import Html, PageRequest, answer, see, visit, web_of
from wedsync_apm.web.render import render
from wedsync_apm.web.session import check_form
from wedsync_apm.web.views.board import MailLine, MailsView
from wedsync_apm.web.views.shell import Bare
from wedsync_apm.web.views.status import LinkView
from wedsync_apm.web.words import say as words

LONGEST_TOKEN: Final = 100
DAILY: Final = "0"


@get("/dashboards/{board_id:uuid}/mails")
async def mails_page(request: PageRequest, board_id: FromPath[UUID]) -> Html:
    """Who gets it, and a form for one more."""
    async with visit(request) as here:
        row = await find_own(here, board_id)
        if not may_edit(here):
            raise Forbidden
        rows = await store.list_dashboard_mails(here.cx, here.organization_id, board_id)
        people = await store.list_mail_receivers(here.cx, here.organization_id)
        lines = tuple(
            MailLine(
                one["id"],
                one["name"],
                words(
                    "mails.line",
                    often=words(f"mails.day.{one['weekday'] or DAILY}"),
                    time=f"{one['at_time']:%H:%M}",
                    zone=one["time_zone"],
                    next=say.when(one["next_at"], here.at, one["time_zone"]),
                ),
            )
            for one in rows
        )
        view = MailsView(
            id=row["id"],
            title=row["name"],
            lines=lines,
            people=tuple((str(one["id"]), one["name"]) for one in people),
            days=tuple((str(n), words(f"mails.day.{n}")) for n in range(8)),
            zone=here.zone,
            query=str(request.url.query),
        )
        return here.page("board_mails.html", "dashboards", view)


@post("/dashboards/{board_id:uuid}/mails", status_code=200)
async def add_mail(request: PageRequest, board_id: FromPath[UUID]) -> Html:
    """From now on it goes out to one more, as it is looked at."""
    form = await request.form()
    check_form(web_of(request), request, form)
    async with visit(request) as here:
        row = await find_own(here, board_id)
        if not may_edit(here):
            raise Forbidden
        asked = asked_of(request)
        document = document_of(row)
        try:
            weekday = int(str(form.get("weekday") or DAILY))
            at_time = time.fromisoformat(str(form.get("at_time") or "")).replace(tzinfo=None)
            receiver = UUID(str(form.get("receiver") or ""))
        except ValueError as exc:
            raise NotValid(errors=[FieldError("at_time", "is no time, day or receiver")]) from exc
        if not 0 <= weekday <= 7:
            raise NotValid(errors=[FieldError("weekday", "is no day of the week")])
        await store.add_dashboard_mail(
            here.cx,
            organization_id=here.organization_id,
            dashboard_id=board_id,
            contact_method_id=receiver,
            rhythm=Rhythm(at_time, here.zone, weekday or None),
            span=asked.span.value if asked.span else None,
            variables=choose(document.variables, asked.variables),
            created_by=here.subject,
            at=here.at,
        )
    return see(f"/dashboards/{board_id}/mails", said="mail_added")


@post("/dashboards/{board_id:uuid}/mails/{mail_id:uuid}/end", status_code=200)
async def end_mail(request: PageRequest, board_id: FromPath[UUID], mail_id: FromPath[UUID]) -> Html:
    """It goes out to this one no more."""
    form = await request.form()
    check_form(web_of(request), request, form)
    async with visit(request) as here:
        await find_own(here, board_id)
        if not may_edit(here):
            raise Forbidden
        if not await store.delete_dashboard_mail(here.cx, here.organization_id, board_id, mail_id):
            raise NotFound
    return see(f"/dashboards/{board_id}/mails", said="mail_ended")


@get("/dashboards/leave/{mail_id:uuid}/{token:str}")
async def leave_page(request: PageRequest, mail_id: FromPath[UUID], token: FromPath[str]) -> Html:
    """One button; looking ends nothing."""
    name = await _look_up(request, mail_id, token)
    if name is None:
        return _told(request, words("mails.over"), status=404)
    return _told(request, words("mails.leave", title=name), words("mails.leave_button"))


@post("/dashboards/leave/{mail_id:uuid}/{token:str}", status_code=200)
async def leave(request: PageRequest, mail_id: FromPath[UUID], token: FromPath[str]) -> Html:
    """Ends it: the page's button, and the POST of a mail program (RFC 8058)."""
    name = await _look_up(request, mail_id, token)
    if name is None:
        return _told(request, words("mails.over"), status=404)
    with wrap_database_errors():
        async with web_of(request).pool.connection() as cx:
            await store.leave_dashboard_mail(cx, mail_id)
    return _told(request, words("mails.left", title=name))


async def _look_up(request: PageRequest, mail_id: UUID, token: str) -> str | None:
    """The dashboard of a link; None for a link that is none, or of what has ended."""
    web = web_of(request)
    if len(token) > LONGEST_TOKEN or not token.isascii():
        return None
    if not hmac.compare_digest(token, web.keyring.token(PURPOSE, mail_id)):
        return None
    with wrap_database_errors():
        async with web.pool.connection() as cx:
            return await store.look_up_dashboard_mail(cx, mail_id)


def _told(request: PageRequest, headline: str, button: str = "", *, status: int = 200) -> Html:
    html = render(
        "status_link.html", Bare(utcnow(), "system"), LinkView("", headline, button=button)
    )
    return answer(request, html, status=status, headers=STATUS_HEADERS)


HANDLERS: Final = (mails_page, add_mail, end_mail, leave_page, leave)
