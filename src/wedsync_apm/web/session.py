"""Who looks at a page: the session cookie, the business chosen, the guard of unsafe requests.

The cookie holds the same token as the API's `Authorization` header. It is HttpOnly, SameSite=Lax,
and Secure wherever the pages are served over https. A form is taken only with a token that we made
for this very session, and never from another origin.
"""

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from urllib.parse import urlsplit
from uuid import UUID

from litestar import Request
from litestar.datastructures import Cookie, State

from wedsync_apm.clock import utcnow
from wedsync_apm.config import Settings, load_or_create_secret
from wedsync_apm.db.pool import Pool
from wedsync_apm.egress import EgressClient
from wedsync_apm.errors import Forbidden, NotFound, Unauthorized
from wedsync_apm.organizations.demo import DemoPerson, load_demo_people
from wedsync_apm.organizations.identity import Authenticator
from wedsync_apm.organizations.model import TOKEN_SECONDS, Identity, Membership
from wedsync_apm.organizations.secrets import Keyring
from wedsync_apm.web.views.shell import THEMES, Theme

SESSION_COOKIE: Final = "wedsync_session"
STARTING_COOKIE: Final = "wedsync_start"
ORGANIZATION_COOKIE: Final = "wedsync_organization"
THEME_COOKIE: Final = "wedsync_theme"
PLATFORM_TYPE: Final = "platform"
FORM_SECONDS: Final = 12 * 3600
YEAR_SECONDS: Final = 365 * 86400


class NoBusiness(NotFound):
    """Somebody is signed in who belongs nowhere."""


WebRequest = Request[Any, Any, State]


@dataclass(frozen=True, slots=True)
class Web:
    """What the pages need of the process: its pool, its authenticator, its settings."""

    pool: Pool
    authenticator: Authenticator
    settings: Settings
    form_key: bytes
    egress: EgressClient
    """Calls on behalf of tenants: a look at a service that somebody waits for."""
    keyring: Keyring
    """Seals a contact's address, and makes the code that proves it."""
    place: Callable[[], str] = str
    """Up to where a page that is read now holds what live connections tell."""

    @property
    def is_https(self) -> bool:
        """Whether people reach the pages over https."""
        return (self.settings.public_url or "").startswith("https://")

    def demo_people(self) -> tuple[DemoPerson, ...]:
        """The demo's logins; nobody without a demo."""
        return load_demo_people(self.settings.data_dir)


def make_web(
    pool: Pool,
    authenticator: Authenticator,
    settings: Settings,
    egress: EgressClient,
    keyring: Keyring,
    *,
    place: Callable[[], str] = str,
) -> Web:
    """The pages' surroundings; the key for forms is made once and shared by all processes."""
    key = load_or_create_secret(settings.data_dir, "form_key", lambda: secrets.token_urlsafe(32))
    return Web(pool, authenticator, settings, key.encode(), egress, keyring, place)


async def identify(web: Web, request: WebRequest) -> Identity:
    """The person behind the session cookie. Raises Unauthorized for nobody."""
    token = request.cookies.get(SESSION_COOKIE)
    if not token:
        raise Unauthorized("You are not signed in.")
    identity = await web.authenticator.authenticate(token)
    if identity.kind != "user":
        raise Unauthorized("A key opens no page.")
    return identity


def choose(memberships: tuple[Membership, ...], wanted: str | None) -> Membership:
    """The business to show: the one asked for, else the first that is not the platform's own.

    Raises NoBusiness for somebody who belongs nowhere.
    """
    for membership in memberships:
        if str(membership.organization_id) == wanted:
            return membership
    first = next((m for m in memberships if m.vendor_type != PLATFORM_TYPE), None)
    if first is not None:
        return first
    if memberships:
        return memberships[0]
    raise NoBusiness("You do not belong to a business here yet.")


def theme_of(request: WebRequest) -> Theme:
    """The look chosen on this device."""
    chosen = request.cookies.get(THEME_COOKIE)
    return next((theme for theme in THEMES if theme == chosen), "system")


def session_cookie(web: Web, token: str) -> Cookie:
    """Keeps somebody signed in for as long as his token is good."""
    return _cookie(web, SESSION_COOKIE, token, TOKEN_SECONDS)


def ended_session(web: Web) -> Cookie:
    """Signs out."""
    return _cookie(web, SESSION_COOKIE, "", 0)


def organization_cookie(web: Web, organization_id: UUID) -> Cookie:
    """Remembers the business looked at."""
    return _cookie(web, ORGANIZATION_COOKIE, str(organization_id), YEAR_SECONDS)


def theme_cookie(web: Web, theme: Theme) -> Cookie:
    """Remembers the look of this device."""
    return _cookie(web, THEME_COOKIE, theme, YEAR_SECONDS)


def _cookie(web: Web, name: str, value: str, seconds: int) -> Cookie:
    return Cookie(
        key=name,
        value=value,
        max_age=seconds,
        path="/",
        httponly=True,
        samesite="lax",
        secure=web.is_https,
    )


def form_token(web: Web, session: str | None, at: datetime | None = None) -> str:
    """A token for the forms of one page: new each time, good for this session and half a day."""
    made = int((at or utcnow()).timestamp()).to_bytes(6, "big") + secrets.token_bytes(10)
    return base64.urlsafe_b64encode(made + _sign(web, session, made)).decode().rstrip("=")


def check_form(
    web: Web, request: WebRequest, form: Mapping[str, object], at: datetime | None = None
) -> None:
    """Refuses an unsafe request that does not come from one of our own pages.

    1. A foreign Origin (or, where a browser sends none, a foreign Referer) is refused.
    2. The form's token must be ours, for this session, and not older than half a day.

    Raises Forbidden.
    """
    check_origin(web, request)
    token = form.get("csrf")
    try:
        raw = base64.urlsafe_b64decode(str(token or "") + "==")
    except (binascii.Error, ValueError) as exc:
        raise Forbidden from exc
    made, signed = raw[:16], raw[16:]
    if not hmac.compare_digest(signed, _sign(web, request.cookies.get(SESSION_COOKIE), made)):
        raise Forbidden
    age = (at or utcnow()).timestamp() - int.from_bytes(made[:6], "big")
    if not -60 <= age <= FORM_SECONDS:
        raise Forbidden


def check_origin(web: Web, request: WebRequest) -> None:
    """Raises Forbidden for a request that another site's page has sent."""
    origin = request.headers.get("origin") or request.headers.get("referer")
    if origin is None:
        return
    ours = {request.headers.get("host", "").lower()}
    if web.settings.public_url:
        ours.add(urlsplit(web.settings.public_url).netloc.lower())
    if urlsplit(origin).netloc.lower() not in ours - {""}:
        raise Forbidden


def _sign(web: Web, session: str | None, made: bytes) -> bytes:
    bound = hashlib.sha256((session or "nobody").encode()).digest()
    return hmac.new(web.form_key, bound + made, hashlib.sha256).digest()[:20]


def is_safe_path(path: str) -> bool:
    """Whether a path from a form or a query leads to a page of ours and nowhere else."""
    return (
        path.startswith("/")
        and not path.startswith(("//", "/\\"))
        and "\\" not in path
        and path.isprintable()
        and len(path) <= 500
    )
