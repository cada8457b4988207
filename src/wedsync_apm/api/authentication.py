"""The door of the API: every request under it has a checked credential before anything is read."""

from collections.abc import Mapping
from http.cookies import CookieError, SimpleCookie
from typing import Final

from litestar.middleware import ASGIMiddleware
from litestar.types import ASGIApp, Receive, Scope, Send

from wedsync_apm.api.services import Services
from wedsync_apm.errors import Unauthorized
from wedsync_apm.organizations.identity import credential_in
from wedsync_apm.organizations.model import Identity

COOKIE: Final = "wedsync_session"
PUBLIC: Final = "is_public"
"""A handler's option: nobody needs to sign in for it."""


class AuthenticationMiddleware(ASGIMiddleware):
    """Puts the caller's identity into the scope. Raises Unauthorized for nobody."""

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        """Litestar calls this for each request."""
        handler = scope["route_handler"]
        if not handler.opt.get(PUBLIC):
            services: Services = scope["litestar_app"].state.services
            scope["user"] = await identify(services, scope)
        await next_app(scope, receive, send)


async def identify(services: Services, scope: Scope) -> Identity:
    """Who sends the request: by header, or, for what changes nothing, by the pages' cookie.

    A browser sends the cookie along with whatever a foreign page makes it send; so nothing unsafe
    is done for it here. The pages have their own forms with their own tokens.
    """
    headers = {
        name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]
    }
    credential = credential_in(headers)
    if credential is None and scope.get("method") in ("GET", "HEAD"):
        credential = cookie_in(headers)
    if credential is None:
        raise Unauthorized("Sign in, or send an API key.")
    scope["auth"] = credential
    return await services.authenticator.authenticate(credential)


def cookie_in(headers: Mapping[str, str]) -> str | None:
    """The token in the pages' session cookie, if there is one."""
    try:
        found = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return None
    return found.value if found is not None and found.value else None
