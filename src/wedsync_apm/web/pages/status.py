"""Status pages for everybody: no sign-in, no cookie, no script; a link's GET changes nothing."""

import asyncio
import hashlib
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from xml.etree import ElementTree

import msgspec
from litestar import Response, get, post
from litestar.params import FromPath

from wedsync_apm.clock import utcnow
from wedsync_apm.db.pool import wrap_database_errors
from wedsync_apm.errors import DatabaseAway, NotFound, NotValid, RateLimited
from wedsync_apm.notify.channels import email
from wedsync_apm.status import store
from wedsync_apm.status.model import LONGEST_SLUG, Status, read_status
from wedsync_apm.status.store import Purpose
from wedsync_apm.web.build.status import build_status
from wedsync_apm.web.headers import STATUS_HEADERS
from wedsync_apm.web.pages.frame import Html, PageRequest, answer, web_of
from wedsync_apm.web.render import render
from wedsync_apm.web.session import Web
from wedsync_apm.web.views.shell import Bare
from wedsync_apm.web.views.status import AskView, LinkView, StatusView
from wedsync_apm.web.words import say as words

FRESH_SECONDS: Final = 5.0
"""So long an answer of the database serves everybody."""
KEPT_SECONDS: Final = 600.0
"""So long it serves, and says so, where the database is away."""
MOST_KEPT: Final = 512
CALLS_A_MINUTE: Final = 120
"""Of one address; a whole venue may be behind one."""
MOST_CALLERS: Final = 10_000
LONGEST_TOKEN: Final = 100
LONGEST_ADDRESS: Final = 320


@dataclass(slots=True)
class _Kept:
    content: Status | None = None
    read_at: float = float("-inf")
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class Shelf:
    """What was read of the database a moment ago, by slug, and who has asked how often."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._minute = 0
        self._calls: dict[str, int] = {}

    def count(self, caller: str, now: float) -> None:
        """Counts a call. Raises RateLimited over a minute's share."""
        if (minute := int(now // 60)) != self._minute or len(self._calls) >= MOST_CALLERS:
            self._minute, self._calls = minute, {}
        self._calls[caller] = calls = self._calls.get(caller, 0) + 1
        if calls > CALLS_A_MINUTE:
            raise RateLimited("Too many requests.", 60.0 - now % 60)

    async def read(self, web: Web, slug: str, now: float) -> tuple[Status | None, bool]:
        """What the page shows, and whether that is old because the database is away."""
        kept = self._kept.setdefault(slug, _Kept())
        self._kept.move_to_end(slug)
        while len(self._kept) > MOST_KEPT:
            self._kept.popitem(last=False)
        async with kept.lock:
            if now - kept.read_at < FRESH_SECONDS:
                return kept.content, False
            try:
                with wrap_database_errors():
                    async with web.pool.connection() as cx:
                        found = await store.show_status_page(cx, slug)
            except DatabaseAway:
                if kept.content is None or now - kept.read_at > KEPT_SECONDS:
                    raise
                return kept.content, True
            kept.content, kept.read_at = read_status(found) if found else None, now
            return kept.content, False


def _shelf_of(request: PageRequest) -> Shelf:
    """The process's own."""
    state = request.app.state
    if "status_shelf" not in state:
        state["status_shelf"] = Shelf()
    shelf: Shelf = state["status_shelf"]
    return shelf


async def _read(request: PageRequest, slug: str) -> tuple[Status, bool]:
    """The page of a slug. Raises NotFound for any that is not public, whether or not it is there;
    RateLimited."""
    web = web_of(request)
    shelf, now = _shelf_of(request), time.monotonic()
    shelf.count(_caller(request), now)
    if len(slug) > LONGEST_SLUG:
        raise NotFound
    found, is_away = await shelf.read(web, slug, now)
    if found is None:
        raise NotFound
    return found, is_away


def _caller(request: PageRequest) -> str:
    return request.client.host if request.client else "unknown"


@get("/status/{name:str}")
async def status_page(request: PageRequest, name: FromPath[str]) -> Html:
    """The page; with `.json` or `.atom` behind its name the same for programs."""
    slug, _, kind = name.partition(".")
    if kind not in ("", "json", "atom"):
        raise NotFound
    status, is_away = await _read(request, slug)
    view = build_status(status, is_away=is_away)
    if kind == "json":
        return _cached(request, _json(status, view), "application/json", view)
    if kind == "atom":
        base = web_of(request).settings.base_url
        return _cached(request, _atom(status, view, base), "application/atom+xml", view)
    html = render("status.html", Bare(status.at, "system", status.zone), view)
    return _cached(request, html, "text/html", view)


def _cached(request: PageRequest, body: bytes, media_type: str, view: StatusView) -> Html:
    tag = f'"{hashlib.sha256(body).hexdigest()[:20]}"'
    headers = {
        **STATUS_HEADERS,
        "cache-control": f"public, max-age={FRESH_SECONDS:.0f}",
        "etag": tag,
        "content-type": f"{media_type}; charset=utf-8",
    }
    if not view.is_indexed:
        headers["x-robots-tag"] = "noindex"
    known = request.headers.get("if-none-match", "")
    if tag in [one.strip().removeprefix("W/") for one in known.split(",")]:
        return Response(b"", status_code=304, media_type=media_type, headers=headers)
    return answer(request, body, headers=headers)


def _json(status: Status, view: StatusView) -> bytes:
    return msgspec.json.encode(
        {
            "title": view.title,
            "status": {"ok": "working", "warn": "slow", "crit": "down", "info": "planned"}.get(
                view.kind, "unknown"
            ),
            "headline": str(view.headline),
            "details": [str(line) for line in view.lines],
            "known_at": status.known_at,
            "time_zone": status.zone,
            "services": [
                {
                    "name": line.name,
                    "status": str(line.status.word),
                    "days": [[day.day.isoformat(), str(day.mark)] for day in service.days],
                }
                for line, service in zip(view.services, status.services, strict=True)
            ],
            "news": [
                {"at": note.posted_at, "text": said.words, "next_update_at": note.next_update_at}
                for note, said in zip(status.notes, view.notes, strict=True)
            ],
            "problems": [
                {
                    "service": one.service,
                    "began_at": one.began_at,
                    "ended_at": one.ended_at,
                    "text": one.headline,
                    "next_update_at": one.next_update_at,
                }
                for one in status.problems
            ],
            "announced_work": [
                {"services": one.services, "starts_at": one.starts_at, "ends_at": one.ends_at}
                for one in status.planned
            ],
        }
    )


def _atom(status: Status, view: StatusView, base_url: str) -> bytes:
    """RFC 4287: one entry for each word of the vendor and each problem."""
    url = f"{base_url}/status/{status.slug}"
    entries = [
        (note.posted_at, note.posted_at, said.words.partition("\n")[0][:100], said.words)
        for note, said in zip(status.notes, view.notes, strict=True)
    ]
    for one in status.problems:
        wrong = words(f"status_page.state.{one.state}") if one.state != "over" else ""
        title = f"{one.service}: {wrong or words('status_page.state.working')}"
        entries.append((one.began_at, one.ended_at or one.began_at, title, one.headline or title))
    newest = max((changed for _, changed, _, _ in entries), default=status.at)
    feed = ElementTree.Element("feed", xmlns="http://www.w3.org/2005/Atom")
    _put(feed, "id", url)
    _put(feed, "title", view.title)
    _put(feed, "updated", newest.isoformat())
    ElementTree.SubElement(feed, "link", href=url)
    for begun, changed, title, text in sorted(entries, key=lambda entry: entry[1], reverse=True):
        entry = ElementTree.SubElement(feed, "entry")
        _put(entry, "id", f"{url}#{begun.isoformat()}")
        _put(entry, "title", str(title))
        _put(entry, "updated", changed.isoformat())
        author = ElementTree.SubElement(entry, "author")
        _put(author, "name", view.title)
        ElementTree.SubElement(entry, "link", href=url)
        _put(entry, "content", str(text))
    text = ElementTree.tostring(feed, "unicode")
    return f'<?xml version="1.0" encoding="utf-8"?>\n{text}'.encode()


def _put(parent: ElementTree.Element, name: str, text: str) -> None:
    ElementTree.SubElement(parent, name).text = text


@get("/status/{slug:str}/subscribe")
async def ask_page(request: PageRequest, slug: FromPath[str]) -> Html:
    """The form for an address."""
    status, _ = await _read(request, slug)
    return _ask(request, AskView(status.slug, status.title))


@post("/status/{slug:str}/subscribe", status_code=200)
async def ask(request: PageRequest, slug: FromPath[str]) -> Html:
    """Sends a mail that lets the address confirm. The answer is the same whether or not it is
    known; a repeat within minutes sends nothing."""
    status, _ = await _read(request, slug)
    given = (await request.form()).get("address")
    address = given.strip()[:LONGEST_ADDRESS] if isinstance(given, str) else ""
    try:
        email.configure(address, None)
    except NotValid:
        view = AskView(status.slug, status.title, address, words("status_ask.wrong"))
        return _ask(request, view, code=422)
    with wrap_database_errors():
        async with web_of(request).pool.connection() as cx:
            outcome = await store.ask_for_status_mail(cx, status.slug, address, _caller(request))
    if outcome == "unknown":
        raise NotFound
    if outcome == "wait":
        view = AskView(status.slug, status.title, address, words("status_ask.wait"))
        return _ask(request, view, code=429)
    return _ask(request, AskView(status.slug, status.title, address, is_asked=True))


def _ask(request: PageRequest, view: AskView, *, code: int = 200) -> Html:
    headers = dict(STATUS_HEADERS)
    if code == 429:
        headers["retry-after"] = "3600"
    html = render("status_ask.html", Bare(utcnow(), "system"), view)
    return answer(request, html, status=code, headers=headers)


@get("/status/{slug:str}/confirm/{token:str}")
async def confirm_page(request: PageRequest, slug: FromPath[str], token: FromPath[str]) -> Html:
    """One button; looking confirms nothing."""
    return await _link_page(request, token, "confirm")


@post("/status/{slug:str}/confirm/{token:str}", status_code=200)
async def confirm(request: PageRequest, slug: FromPath[str], token: FromPath[str]) -> Html:
    """From now on its address gets the news."""
    return await _use_link(request, token, "confirm")


@get("/status/{slug:str}/leave/{token:str}")
async def leave_page(request: PageRequest, slug: FromPath[str], token: FromPath[str]) -> Html:
    """One button; looking ends nothing."""
    return await _link_page(request, token, "leave")


@post("/status/{slug:str}/leave/{token:str}", status_code=200)
async def leave(request: PageRequest, slug: FromPath[str], token: FromPath[str]) -> Html:
    """Ends it: the page's button, and the POST of a mail program (RFC 8058)."""
    return await _use_link(request, token, "leave")


async def _link_page(request: PageRequest, token: str, purpose: Purpose) -> Html:
    link = await _look_up(request, token, purpose)
    if link is None:
        return _old(request)
    if purpose == "confirm" and link.is_confirmed:
        return _linked(request, link, words("status_link.confirmed", title=link.title))
    headline = words(f"status_link.{purpose}", title=link.title)
    return _linked(request, link, headline, words(f"status_link.{purpose}_button"))


async def _use_link(request: PageRequest, token: str, purpose: Purpose) -> Html:
    link = await _look_up(request, token, purpose)
    if link is None:
        return _old(request)
    with wrap_database_errors():
        async with web_of(request).pool.connection() as cx:
            is_done = await store.use_status_link(cx, token, purpose)
    if not is_done:
        return _old(request)
    told = "status_link.confirmed" if purpose == "confirm" else "status_link.left"
    return _linked(request, link, words(told, title=link.title))


async def _look_up(request: PageRequest, token: str, purpose: Purpose) -> store.Link | None:
    web = web_of(request)
    _shelf_of(request).count(_caller(request), time.monotonic())
    if len(token) > LONGEST_TOKEN:
        return None
    with wrap_database_errors():
        async with web.pool.connection() as cx:
            return await store.look_up_status_link(cx, token, purpose)


def _linked(request: PageRequest, link: store.Link, headline: str, button: str = "") -> Html:
    view = LinkView(link.slug if link.is_public else "", headline, button=button)
    html = render("status_link.html", Bare(utcnow(), "system"), view)
    return answer(request, html, headers=STATUS_HEADERS)


def _old(request: PageRequest) -> Html:
    view = LinkView("", words("status_link.old"), words("status_link.old_body"))
    html = render("status_link.html", Bare(utcnow(), "system"), view)
    return answer(request, html, status=404, headers=STATUS_HEADERS)


HANDLERS: Final[Sequence[Any]] = (
    status_page,
    ask_page,
    ask,
    confirm_page,
    confirm,
    leave_page,
    leave,
)
