"""The one-tap link: no sign-in, no script; looking changes nothing."""

import hashlib
from datetime import datetime
from typing import Any, Literal

from litestar import get, post
from litestar.params import FromPath

from wedsync_apm.clock import utcnow
from wedsync_apm.db.pool import wrap_database_errors
from wedsync_apm.incidents.model import read_vendor_text
from wedsync_apm.web import say, store
from wedsync_apm.web.build.incidents import first_name
from wedsync_apm.web.headers import ACK_HEADERS
from wedsync_apm.web.pages.frame import Html, PageRequest, answer, web_of
from wedsync_apm.web.pages.taps import tell, wants_words
from wedsync_apm.web.render import render
from wedsync_apm.web.session import Web
from wedsync_apm.web.views.incident import AckView
from wedsync_apm.web.views.shell import Bare
from wedsync_apm.web.words import say as words

LONGEST_TOKEN = 200
OVER = ("resolved", "closed")


@get("/ack/{token:str}")
async def acknowledge_page(request: PageRequest, token: FromPath[str]) -> Html:
    """What it is about, and one large button."""
    return await _page(request, token)


@post("/ack/{token:str}", status_code=200)
async def acknowledge(request: PageRequest, token: FromPath[str]) -> Html:
    """Takes the incident in hand, once. A second tap shows who has it."""
    web = web_of(request)
    with wrap_database_errors():
        async with web.pool.connection() as cx:
            outcome = await store.use_acknowledge_link(cx, _hash(token))
    return await _page(request, token, is_done=outcome == "acknowledged")


async def _page(request: PageRequest, token: str, *, is_done: bool = False) -> Html:
    found = await _look_up(web_of(request), token)
    at: datetime = found["at"] if found else utcnow()
    zone: str = found["time_zone"] if found else "UTC"
    view = build_ack(found, at, zone, is_done=is_done)
    status = 404 if found is None else 200
    if wants_words(request):
        return tell(view.state, view.words, status=status)
    html = render("ack.html", Bare(at, "system", zone), view)
    return answer(request, html, status=status, headers=ACK_HEADERS)


async def _look_up(web: Web, token: str) -> dict[str, Any] | None:
    if len(token) > LONGEST_TOKEN:
        return None
    with wrap_database_errors():
        async with web.pool.connection() as cx:
            return await store.look_up_acknowledge_link(cx, _hash(token))


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


State = Literal["open", "done", "used", "old", "resolved"]


def build_ack(found: dict[str, Any] | None, at: datetime, zone: str, *, is_done: bool) -> AckView:
    """What the link shows: the button only while it would do something."""
    if found is None:
        return AckView("old", words=words("ack.old"))
    title = read_vendor_text(found["vendor_text"]).headline(found["title"])
    path = f"/incidents/{found['incident_id']}"
    status, name = str(found["status"]), found["acknowledged_by_name"]
    state: State = "open"
    told: str = ""
    if is_done:
        state, told = "done", words("ack.done")
    elif status in OVER:
        over = found["resolved_at"] or at
        state, told = "resolved", words("ack.resolved", time=say.when(over, at, zone))
    elif status != "open" and found["acknowledged_at"]:
        since = say.when(found["acknowledged_at"], at, zone)
        state, told = "used", words("ack.used", name=first_name(name), time=since)
    elif found["is_expired"]:
        state, told = "old", words("ack.old")
    elif found["is_used"]:
        state, told = "used", words("ack.used_nobody")
    next_at = found["next_step_at"]
    stops = words("ack.stops")
    if next_at and next_at > at:
        stops = words("ack.stops_next", time=say.when(next_at, at, zone))
    return AckView(
        state=state,
        organization=found["organization_name"],
        title=title,
        since=words("ack.since", time=say.when(found["detected_at"], at, zone)),
        wedding=_wedding(found["affected_weddings"], at),
        stops=stops,
        words=told,
        incident=path,
    )


def _wedding(weddings: list[dict[str, Any]], at: datetime) -> str:
    for wedding in weddings:
        moment, zone = wedding.get("next_milestone_at"), wedding.get("time_zone")
        if moment and zone:
            milestone = datetime.fromisoformat(moment)
            if milestone > at:
                return words(
                    "ack.wedding",
                    ahead=say.ahead(milestone, at, zone),
                    time=say.clock(milestone, zone),
                )
    return ""
