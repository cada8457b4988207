"""Prometheus' HTTP API, GET or form, as Grafana and `promtool` call it.

Plain ASGI in front of the framework, as the way in is: a dashboard asks twenty of these at once.
"""

import re
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, Final

from wedsync_apm.api.authentication import identify
from wedsync_apm.api.problems import headers_of
from wedsync_apm.api.prometheus import alerting, catalogue, status
from wedsync_apm.api.prometheus.answers import failure
from wedsync_apm.api.prometheus.asked import Asked
from wedsync_apm.api.prometheus.expressions import Expressions
from wedsync_apm.api.prometheus.parameters import (
    BadParameter,
    Receive,
    read_parameters,
)
from wedsync_apm.api.services import Services
from wedsync_apm.errors import DatabaseAway, Forbidden, NotValid, WedSyncError
from wedsync_apm.metrics.expression.budget import OutOfTime
from wedsync_apm.metrics.expression.syntax import BadExpression, NotAnswered
from wedsync_apm.metrics.expression.vectors import AmbiguousAnswer
from wedsync_apm.telemetry import Counter, get_logger

log = get_logger(__name__)

ROOT: Final = "/prometheus/api/v1/"
REFUSED: Final = Counter(
    "wedsync_apm_queries_refused_total", "Questions of Prometheus' API without an answer.", ("why",)
)

Send = Callable[[Any], Awaitable[None]]
App = Callable[[Any, Receive, Send], Awaitable[None]]
Answer = Callable[[Asked], Awaitable[bytes]]

_LABEL_VALUES: Final = re.compile(r"label/([^/]+)/values")


class PrometheusApp:
    """Answers the paths of that API, and leaves all else to `inner`."""

    def __init__(self, inner: App, services: Services) -> None:
        self._inner, self._services = inner, services
        expressions = Expressions(services.pool)
        self._answers: Mapping[str, Answer] = {
            "query": expressions.query,
            "query_range": expressions.query_range,
            "format_query": expressions.format_query,
            "query_exemplars": expressions.query_exemplars,
            "labels": catalogue.labels,
            "series": catalogue.series,
        }
        self._only_got: Mapping[str, Answer] = {
            "metadata": catalogue.metadata,
            "rules": alerting.rules,
            "alerts": alerting.alerts,
            "status/buildinfo": status.buildinfo,
        }

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        """As ASGI calls it."""
        take = self._find(scope)
        if take is None:
            await self._inner(scope, receive, send)
            return
        state, body, headers = 200, b"", {"cache-control": "private, no-cache"}
        try:
            identity = await identify(self._services, scope)
            parameters = await read_parameters(scope, receive)
            if identity.only_sends_samples:
                raise Forbidden("This key may only send samples.")
            body = await take(Asked(self._services, identity, parameters))
        except Exception as exc:
            state, kind, text = _refusal(exc)
            REFUSED.inc(why=type(exc).__name__)
            body = failure(kind, text)
            if isinstance(exc, WedSyncError):
                headers = headers_of(exc)
        await _send(send, state, body, headers)

    def _find(self, scope: Any) -> Answer | None:
        if scope["type"] != "http" or not scope["path"].startswith(ROOT):
            return None
        path, method = scope["path"].removeprefix(ROOT), scope["method"]
        found = self._answers.get(path) if method in ("GET", "POST") else None
        if method == "GET":
            found = found or self._only_got.get(path)
            values = _LABEL_VALUES.fullmatch(path)
            if values is not None:
                scope["path_template"] = f"{ROOT}label/{{name}}/values"
                return partial(catalogue.values, values[1])
        if found is not None:
            scope["path_template"] = scope["path"]
        return found


def _refusal(exc: Exception) -> tuple[int, str, str]:
    """The status, Prometheus' word for the kind, and a text."""
    if isinstance(exc, WedSyncError):
        return exc.status, _kind(exc), _text(exc)
    if isinstance(exc, BadExpression | BadParameter):
        return 400, "bad_data", str(exc)
    if isinstance(exc, NotAnswered | AmbiguousAnswer):
        return 422, "execution", str(exc)
    if isinstance(exc, OutOfTime | TimeoutError):
        return 503, "timeout", str(exc) or "the answer took longer than it may"
    log.exception("An expression could not be answered", extra={"action": "query_failed"})
    return 500, "internal", WedSyncError().detail


def _kind(exc: WedSyncError) -> str:
    if isinstance(exc, DatabaseAway):
        return "timeout" if "too long" in exc.detail else "unavailable"
    kinds = {401: "unauthorized", 403: "forbidden", 404: "not_found"}
    return kinds.get(exc.status, "bad_data" if exc.status < 500 else "internal")


def _text(exc: WedSyncError) -> str:
    if isinstance(exc, NotValid) and exc.errors:
        return "; ".join(f"{one.field}: {one.reason}" for one in exc.errors)
    return exc.detail


async def _send(send: Send, state: int, body: bytes, headers: Mapping[str, str]) -> None:
    sent = {
        "content-type": "application/json",
        "content-length": str(len(body)),
        "x-content-type-options": "nosniff",
        **headers,
    }
    pairs = [(name.encode(), value.encode("latin-1")) for name, value in sent.items()]
    await send({"type": "http.response.start", "status": state, "headers": pairs})
    await send({"type": "http.response.body", "body": body})
