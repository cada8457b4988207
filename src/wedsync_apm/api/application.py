"""The routes of the API, and how every answer of it looks."""

import time
from collections.abc import Callable, Sequence
from typing import Any, Final, cast

from litestar import Litestar, Response, Router
from litestar.datastructures import State
from litestar.enums import ScopeType
from litestar.types import (
    ASGIApp,
    ControllerRouterHandler,
    Message,
    Receive,
    Scope,
    Send,
)

from wedsync_apm.api import (
    access,
    alerts,
    annotations,
    backups,
    configurations,
    contact_secrets,
    dashboard_pictures,
    dashboards,
    deliveries,
    drills,
    emergency_contacts,
    freeze,
    guard,
    heartbeats,
    incident_reviews,
    incident_updates,
    incidents,
    judgements,
    ladders,
    monitoring,
    notification_rules,
    on_call,
    paging,
    platform,
    process,
    quiet_hours,
    readiness,
    samples_out,
    silences,
    status_page,
    verification,
    watching,
    webhooks,
    weddings,
    who_is_on_call,
)
from wedsync_apm.api.authentication import AuthenticationMiddleware
from wedsync_apm.api.openapi import OPENAPI, Description
from wedsync_apm.api.problems import answer_problem
from wedsync_apm.api.requests import ApiRequest
from wedsync_apm.api.services import Services
from wedsync_apm.api.together import Together
from wedsync_apm.telemetry import Counter, Histogram

BODY_BYTES: Final = 1024 * 1024
"""Largest body of a request that is no sample."""
HANDLERS: Final = (
    *access.HANDLERS,
    *alerts.HANDLERS,
    *judgements.HANDLERS,
    *incidents.HANDLERS,
    *incident_updates.HANDLERS,
    *incident_reviews.HANDLERS,
    *emergency_contacts.HANDLERS,
    *paging.HANDLERS,
    *ladders.HANDLERS,
    *notification_rules.HANDLERS,
    *deliveries.HANDLERS,
    *drills.HANDLERS,
    *on_call.HANDLERS,
    *who_is_on_call.HANDLERS,
    *quiet_hours.HANDLERS,
    *verification.HANDLERS,
    *contact_secrets.HANDLERS,
    *watching.HANDLERS,
    *dashboards.HANDLERS,
    *dashboard_pictures.HANDLERS,
    *webhooks.HANDLERS,
    *weddings.HANDLERS,
    *guard.HANDLERS,
    *freeze.HANDLERS,
    *readiness.HANDLERS,
    *configurations.HANDLERS,
    *backups.HANDLERS,
    *monitoring.HANDLERS,
    *platform.HANDLERS,
    *samples_out.HANDLERS,
    *annotations.HANDLERS,
    *silences.HANDLERS,
    *heartbeats.HANDLERS,
    *status_page.HANDLERS,
    *process.HANDLERS,
)
REQUESTS = Counter(
    "wedsync_apm_http_requests_total", "Requests answered", ("method", "path", "status")
)
SECONDS = Histogram("wedsync_apm_http_request_seconds", "Until the answer begins", ("path",))


def make_application(
    services: Services,
    *,
    pages: Sequence[ControllerRouterHandler] = (),
    state: dict[str, Any] | None = None,
    answer_stray: Callable[[ApiRequest, Exception], Response[bytes]] = answer_problem,
) -> Litestar:
    """The API as Litestar serves it, with `pages` beside it under the same roof.

    Pages bring their own way of telling errors; `answer_stray` tells those of what nobody routes.
    """
    description = Description()
    api = Router(
        "/",
        route_handlers=list(HANDLERS),
        middleware=[AuthenticationMiddleware()],
        after_request=finish_answer,
        exception_handlers={Exception: answer_problem},
    )
    app = Litestar(
        route_handlers=[api, *pages],
        request_class=ApiRequest,
        exception_handlers={Exception: cast("Any", answer_stray)},
        openapi_config=OPENAPI,
        plugins=[description],
        request_max_body_size=BODY_BYTES,
        state=State(working(services, state)),
        logging_config=None,
    )
    description.attach(app)
    return app


def working(services: Services, more: dict[str, Any] | None = None) -> dict[str, Any]:
    """What an application works with, as its state has it."""
    return {"services": services, "together": Together(services.pool), **(more or {})}


def finish_answer(response: Response[Any]) -> Response[Any]:
    """Answers are for whoever asked, and nothing else than they say they are."""
    response.headers.setdefault("x-content-type-options", "nosniff")
    response.headers.setdefault("cache-control", "private, no-cache")
    return response


class Measured:
    """Counts every request and how long its answer took to begin."""

    def __init__(self, inner: ASGIApp) -> None:
        self._inner = inner

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI calls it."""
        if scope["type"] != ScopeType.HTTP:
            await self._inner(scope, receive, send)
            return
        started = time.perf_counter()

        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                # The template, never the path: ids would make a series each.
                path = str(scope.get("path_template") or "other")
                method = str(scope.get("method"))
                REQUESTS.inc(method=method, path=path, status=str(message["status"]))
                SECONDS.observe(time.perf_counter() - started, path=path)
            await send(message)

        await self._inner(scope, receive, counted)
