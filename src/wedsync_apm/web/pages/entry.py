"""Sign-in and sign-out, the look, the business, More, and the static files."""

from contextlib import suppress
from datetime import timedelta
from typing import Any
from uuid import UUID

from litestar import Response, get, post
from litestar.params import FromPath

from wedsync_apm.clock import utcnow
from wedsync_apm.db.pool import wrap_database_errors
from wedsync_apm.errors import NotFound, RateLimited, Unauthorized
from wedsync_apm.organizations import store as organizations
from wedsync_apm.web import say
from wedsync_apm.web.assets import PREFIX, load
from wedsync_apm.web.headers import ASSET_HEADERS, PAGE_HEADERS
from wedsync_apm.web.keeping import NOBODY
from wedsync_apm.web.pages.frame import Html, PageRequest, answer, see, visit, web_of
from wedsync_apm.web.pages.phone import switch_off
from wedsync_apm.web.render import render
from wedsync_apm.web.session import (
    SESSION_COOKIE,
    NoBusiness,
    Web,
    check_form,
    ended_session,
    form_token,
    is_safe_path,
    organization_cookie,
    session_cookie,
    theme_cookie,
    theme_of,
)
from wedsync_apm.web.views.entry import DemoPerson, MoreView, SignInView
from wedsync_apm.web.views.shell import THEMES, Bare
from wedsync_apm.web.words import say as words


@get("/static/{name:str}")
async def static_file(request: PageRequest, name: FromPath[str]) -> Response[bytes]:
    """One of our own files; its name changes with its content, so it never does."""
    asset = load().by_url.get(f"{PREFIX}{name}")
    if asset is None:
        raise NotFound
    headers = dict(ASSET_HEADERS)
    body = asset.body
    if "gzip" in request.headers.get("accept-encoding", ""):
        headers["content-encoding"], body = "gzip", asset.gzipped
    return Response(body, media_type=asset.media_type, headers=headers)


@get("/sign-in")
async def sign_in_page(request: PageRequest) -> Html:
    """The form, with the demo's people as buttons where there is a demo."""
    then = request.query_params.get("then", "/")
    notice = words("sign_in.signed_out") if "out" in request.query_params else ""
    return _sign_in(request, SignInView(then=_safe(then), notice=notice))


@post("/sign-in", status_code=200)
async def sign_in(request: PageRequest) -> Html:
    """Checks the password and begins the session."""
    web = web_of(request)
    form = await request.form()
    check_form(web, request, form)
    email, then = _text(form, "email"), _safe(_text(form, "then"))
    try:
        signed_in = await web.authenticator.sign_in(
            email=email,
            password=_text(form, "password"),
            address=request.client.host if request.client else "",
        )
    except Unauthorized:
        view = SignInView(email, words("sign_in.wrong"), then=then)
        return _sign_in(request, view, status=401)
    except RateLimited as exc:
        at = utcnow() + timedelta(seconds=exc.retry_after)
        error = words("sign_in.rate_limited", time=f"{say.clock_seconds(at, 'UTC')} UTC")
        return _sign_in(request, SignInView(email, error, then=then), status=429)
    return see(then, cookies=[session_cookie(web, signed_in.token)])


@post("/sign-in/demo", status_code=200)
async def sign_in_as_demo_person(request: PageRequest) -> Html:
    """Takes one of the demo's logins. There are none without a demo."""
    web = web_of(request)
    form = await request.form()
    check_form(web, request, form)
    key = _text(form, "person")
    person = next((one for one in web.demo_people() if one.key == key), None)
    if person is None:
        raise NotFound
    with wrap_database_errors():
        async with web.pool.connection() as cx:
            login = await organizations.find_login(cx, person.email)
    if login is None or login.is_disabled:
        raise NotFound
    token = web.authenticator.tokens.issue(
        login.user_id,
        name=login.display_name,
        email=person.email,
        generation=login.token_generation,
    )
    return see(_safe(_text(form, "then")), cookies=[session_cookie(web, token)])


@post("/sign-out", status_code=200)
async def sign_out(request: PageRequest) -> Html:
    """Ends the session on this device, and the calls to it."""
    web = web_of(request)
    check_form(web, request, await request.form())
    with suppress(Unauthorized, NoBusiness):
        async with visit(request) as here:
            await switch_off(here)
    return see("/sign-in?out=1", cookies=[ended_session(web)])


@post("/theme", status_code=200)
async def choose_theme(request: PageRequest) -> Html:
    """Remembers the look of this device."""
    web = web_of(request)
    form = await request.form()
    check_form(web, request, form)
    theme = next((one for one in THEMES if one == form.get("theme")), None)
    if theme is None:
        raise NotFound
    return see(_safe(_text(form, "then")), cookies=[theme_cookie(web, theme)])


@post("/organization", status_code=200)
async def choose_organization(request: PageRequest) -> Html:
    """Remembers the business to look at; only one of the person's own."""
    web = web_of(request)
    form = await request.form()
    check_form(web, request, form)
    try:
        wanted = UUID(_text(form, "organization"))
    except ValueError as exc:
        raise NotFound from exc
    async with visit(request) as here:
        if wanted not in {m.organization_id for m in here.memberships}:
            raise NotFound
    return see("/", cookies=[organization_cookie(web, wanted)])


@get("/more")
async def more(request: PageRequest) -> Html:
    """What does not fit into the bar."""
    async with visit(request) as here:
        return here.page("more.html", "more", MoreView(words(f"role.{here.role.value}")))


def _sign_in(request: PageRequest, view: SignInView, *, status: int = 200) -> Html:
    web = web_of(request)
    people = tuple(DemoPerson(p.label, p.note, p.key) for p in web.demo_people())
    shown = SignInView(view.email, view.error, view.notice, view.then, people)
    html = render("sign_in.html", _bare(web, request), shown)
    # Whoever only looks at this page while he is signed in keeps what he has.
    nobody = NOBODY if SESSION_COOKIE not in request.cookies else {}
    return answer(request, html, status=status, headers={**PAGE_HEADERS, **nobody})


def _bare(web: Web, request: PageRequest) -> Bare:
    token = form_token(web, request.cookies.get(SESSION_COOKIE))
    return Bare(utcnow(), theme_of(request), csrf=token)


def _safe(path: str) -> str:
    return path if is_safe_path(path) and not path.startswith("/sign-") else "/"


def _text(form: Any, name: str) -> str:
    value = form.get(name)
    return value if isinstance(value, str) else ""
