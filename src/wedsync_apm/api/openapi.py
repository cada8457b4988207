"""The description of the API: /openapi.json, and /docs as one page of our own.

The page is plain HTML made from the description: it loads nothing from anywhere else.
"""

import json
from functools import cached_property
from html import escape
from typing import Any, Final

from litestar import Litestar, Response, get
from litestar.config.app import AppConfig
from litestar.openapi.config import OpenAPIConfig
from litestar.openapi.spec import Components, SecurityScheme
from litestar.plugins import InitPlugin

from wedsync_apm import __version__
from wedsync_apm.api.authentication import PUBLIC
from wedsync_apm.api.requests import ApiRequest
from wedsync_apm.live.model import TOPICS

OPENAPI: Final = OpenAPIConfig(
    title="WedSync APM",
    version=__version__,
    description=(
        "Performance monitoring and incident response for wedding vendors. Errors are "
        "`application/problem+json`; lists take `limit` and `cursor`; a POST that creates takes an "
        "`Idempotency-Key`."
    ),
    components=Components(
        security_schemes={
            "bearer": SecurityScheme(
                type="http", scheme="bearer", description="A token or an API key"
            ),
            "key": SecurityScheme(type="apiKey", name="X-API-Key", security_scheme_in="header"),
        }
    ),
    render_plugins=[],
    path="/-/schema",
)
_METHODS: Final = ("get", "post", "put", "patch", "delete")
_PROBLEM: Final = {
    "type": "object",
    "title": "Problem",
    "description": "RFC 9457. `errors` names the fields and the reasons where they are known.",
    "required": ["title", "status", "detail"],
    "properties": {
        "type": {"type": "string", "default": "about:blank"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["field", "reason"],
                "properties": {
                    "field": {"type": "string"},
                    "reason": {"type": "string"},
                    "index": {"type": "integer"},
                },
            },
        },
    },
}
_ANY_PROBLEM: Final = {
    "description": "Any error",
    "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
}
_IDEMPOTENCY: Final = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "A repeat of the same request with the same key gets the first answer.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 200},
}
_SAMPLE: Final = {
    "type": "object",
    "title": "Sample",
    "required": ["service_name", "metric_name", "value"],
    "properties": {
        "service_name": {"type": "string"},
        "metric_name": {"type": "string"},
        "value": {"type": "number"},
        "timestamp": {
            "oneOf": [{"type": "string", "format": "date-time"}, {"type": "number"}],
            "description": "RFC 3339, or Unix seconds; now if none",
        },
        "metric_type": {"enum": ["counter", "gauge", "histogram", "summary", "timer"]},
        "unit": {"type": "string"},
        "tags": {"type": "object", "additionalProperties": {"type": "string"}},
        "wedding_context": {"type": "object"},
    },
}
_RECEIPT: Final = {
    "type": "object",
    "title": "Receipt",
    "required": ["accepted", "rejected", "errors"],
    "properties": {
        "accepted": {"type": "integer"},
        "rejected": {"type": "integer"},
        "errors": _PROBLEM["properties"]["errors"],  # type: ignore[index]
    },
}
# Plain ASGI in front of the framework, so the framework does not know of it.
_INGEST: Final[dict[str, Any]] = {
    "/api/v1/metrics": {
        "summary": "Send samples",
        "description": "JSON, or one sample a line as `application/x-ndjson`; gzip or zstd.",
        "operationId": "sendSamples",
        "tags": ["samples"],
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": {
                        "type": "object",
                        "required": ["samples"],
                        "properties": {
                            "samples": {
                                "type": "array",
                                "items": {"$ref": "#/components/schemas/Sample"},
                            }
                        },
                    }
                },
                "application/x-ndjson": {"schema": {"$ref": "#/components/schemas/Sample"}},
            },
        },
        "responses": {
            "202": {
                "description": "At least one sample is committed",
                "content": {
                    "application/json": {"schema": {"$ref": "#/components/schemas/Receipt"}}
                },
            },
            "default": _ANY_PROBLEM,
        },
    },
    "/api/v1/heartbeats/{id}": {
        "summary": "Ping a heartbeat",
        "description": (
            "GET and HEAD do the same. `/start` and `/fail` behind the token say that a run begins "
            "or has failed; a number is its exit code. The body is not read."
        ),
        "operationId": "pingHeartbeat",
        "tags": ["heartbeats"],
        "security": [],
        "parameters": [
            {
                "name": "id",
                "in": "path",
                "required": True,
                "description": "The token, not the id",
                "schema": {"type": "string", "pattern": "^hb_[A-Za-z0-9_-]{43}$"},
            }
        ],
        "responses": {
            "200": {
                "description": "What it leads to: up, started, down or paused",
                "content": {"text/plain": {"schema": {"type": "string"}}},
            },
            "404": {"description": "There is no such heartbeat"},
        },
    },
    "/prometheus/api/v1/write": {
        "summary": "Prometheus remote write 1.0",
        "operationId": "remoteWrite",
        "tags": ["samples"],
        "requestBody": {
            "required": True,
            "content": {"application/x-protobuf": {"schema": {"type": "string"}}},
        },
        "responses": {
            "204": {"description": "Everything is committed"},
            "400": {"description": "Some of it was not valid; the rest is committed"},
        },
    },
}


_TOPICS: Final = {
    "name": "topics",
    "in": "query",
    "required": False,
    "description": "Comma-separated, of " + ", ".join(sorted(TOPICS)) + " and "
    "metric:service.name; all of the former if none",
    "schema": {"type": "string"},
}
_LIVE: Final[dict[str, Any]] = {
    "/api/v1/events": {
        "summary": "Follow what changes, as Server-Sent Events",
        "description": (
            "Each event says who, what and which one; fetch the content with the other paths. "
            "After `resync`, or `hello` that is not `resumed`, read everything you show anew."
        ),
        "operationId": "followEvents",
        "tags": ["live"],
        "parameters": [
            _TOPICS,
            {
                "name": "organization_id",
                "in": "query",
                "required": False,
                "description": "One of your organizations; all of them if none",
                "schema": {"type": "string", "format": "uuid"},
            },
            {
                "name": "Last-Event-ID",
                "in": "header",
                "required": False,
                "description": "Goes on behind that event",
                "schema": {"type": "string"},
            },
        ],
        "responses": {
            "200": {
                "description": "Events until one of the two ends",
                "content": {"text/event-stream": {"schema": {"type": "string"}}},
            },
            "default": _ANY_PROBLEM,
        },
    },
    "/api/v1/live": {
        "summary": "Follow what changes, over a WebSocket",
        "description": (
            'The first message is `{"type":"subscribe","topics":[…],"token":"…"}`; the messages '
            "that come are those of `/api/v1/events`."
        ),
        "operationId": "followLive",
        "tags": ["live"],
        "responses": {
            "101": {"description": "Speaks WebSocket from here on"},
            "default": _ANY_PROBLEM,
        },
    },
}


def describe(app: Litestar) -> dict[str, Any]:
    """The whole description, as a JSON-like dict."""
    document: dict[str, Any] = app.openapi_schema.to_schema()
    schemas = document["components"]["schemas"]
    schemas |= {"Problem": _PROBLEM, "Sample": _SAMPLE, "Receipt": _RECEIPT}
    document["security"] = [{"bearer": []}, {"key": []}]
    for path, item in document["paths"].items():
        for method in _METHODS:
            operation = item.get(method)
            if operation is not None:
                _complete(app, path, method, operation)
    for path, operation in _INGEST.items():
        document["paths"].setdefault(path, {})["post"] = operation
    for path, operation in _LIVE.items():
        document["paths"].setdefault(path, {})["get"] = operation
    return document


def _complete(app: Litestar, path: str, method: str, operation: dict[str, Any]) -> None:
    responses = operation["responses"]
    responses.pop("400", None)
    responses["default"] = _ANY_PROBLEM
    for route in app.routes:
        for handler in getattr(route, "route_handlers", ()):
            if getattr(route, "path_format", "") != path:
                continue
            if method.upper() in handler.http_methods and handler.opt.get(PUBLIC):
                operation["security"] = []
    if method == "post" and "201" in responses:
        operation.setdefault("parameters", []).append(_IDEMPOTENCY)


class Description(InitPlugin):
    """Serves the description and the page; both are made once, at the first request."""

    def on_app_init(self, app_config: AppConfig) -> AppConfig:
        """Adds the two routes."""
        app_config.route_handlers.extend([read_description, read_docs])
        app_config.state["description"] = self
        return app_config

    def __init__(self) -> None:
        self._app: Litestar | None = None

    def attach(self, app: Litestar) -> None:
        """Which application is described."""
        self._app = app

    @cached_property
    def document(self) -> dict[str, Any]:
        """As `describe`."""
        if self._app is None:
            raise RuntimeError("nothing to describe yet")
        return describe(self._app)

    @cached_property
    def json(self) -> bytes:
        """The document as bytes."""
        return json.dumps(self.document, separators=(",", ":")).encode()

    @cached_property
    def html(self) -> bytes:
        """The page."""
        return render_docs(self.document).encode()


@get("/openapi.json", opt={PUBLIC: True}, include_in_schema=False)
async def read_description(request: ApiRequest) -> Response[bytes]:
    """The description as OpenAPI 3.1."""
    found: Description = request.app.state["description"]
    return Response(found.json, media_type="application/json")


@get("/docs", opt={PUBLIC: True}, include_in_schema=False)
async def read_docs(request: ApiRequest) -> Response[bytes]:
    """The description as a page."""
    found: Description = request.app.state["description"]
    return Response(
        found.html,
        media_type="text/html",
        headers={
            "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; "
            "base-uri 'none'; frame-ancestors 'none'",
            "x-content-type-options": "nosniff",
        },
    )


_STYLE: Final = """
:root{color-scheme:light dark;--line:color-mix(in srgb,currentColor 18%,transparent)}
body{font:16px/1.5 system-ui,sans-serif;margin:0 auto;max-width:60rem;padding:1.5rem}
code,pre{font:.875em/1.45 ui-monospace,monospace}
summary{cursor:pointer;padding:.5rem 0;overflow-wrap:anywhere}
details{border-top:1px solid var(--line)}
details>:not(summary){margin-left:1rem}
b.m{display:inline-block;min-width:4.2rem}
table{border-collapse:collapse;margin:.5rem 0 1rem}
td,th{text-align:left;vertical-align:top;padding:.2rem .8rem .2rem 0}
pre{overflow:auto;padding:.75rem;border:1px solid var(--line);border-radius:.4rem}
"""


def render_docs(document: dict[str, Any]) -> str:
    """The description as one page of HTML without script."""
    by_tag: dict[str, list[str]] = {}
    for path, item in sorted(document["paths"].items()):
        for method in _METHODS:
            if method in item:
                operation = item[method]
                tag = (operation.get("tags") or ["other"])[0]
                by_tag.setdefault(tag, []).append(_operation(path, method, operation))
    sections = "".join(
        f'<h2 id="{escape(tag)}">{escape(tag)}</h2>{"".join(parts)}'
        for tag, parts in sorted(by_tag.items())
    )
    schemas = "".join(
        f'<details id="schema-{escape(name)}"><summary><code>{escape(name)}</code></summary>'
        f"<pre>{escape(json.dumps(schema, indent=2))}</pre></details>"
        for name, schema in sorted(document["components"]["schemas"].items())
    )
    info = document["info"]
    return (
        '<!doctype html><html lang="en-GB"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(info['title'])} API</title><style>{_STYLE}</style></head><body>"
        f"<h1>{escape(info['title'])} API {escape(info['version'])}</h1>"
        f"<p>{escape(info.get('description', ''))}</p>"
        "<p><code>Authorization: Bearer &lt;token or API key&gt;</code> or <code>X-API-Key</code>. "
        'Machine-readable: <a href="/openapi.json">/openapi.json</a>.</p>'
        f"{sections}<h2>Schemas</h2>{schemas}</body></html>"
    )


def _operation(path: str, method: str, operation: dict[str, Any]) -> str:
    summary = operation.get("description") or operation.get("summary") or ""
    rows = "".join(
        f"<tr><td><code>{escape(p['name'])}</code></td><td>{escape(p['in'])}</td>"
        f"<td>{escape(_type_of(p.get('schema', {})))}</td>"
        f"<td>{escape(p.get('description') or '')}</td></tr>"
        for p in operation.get("parameters", ())
    )
    table = f"<table>{rows}</table>" if rows else ""
    bodies = operation.get("requestBody", {}).get("content", {})
    body = "".join(
        f"<p>Body <code>{escape(kind)}</code>: {_link(content.get('schema', {}))}</p>"
        for kind, content in bodies.items()
    )
    answers = "".join(
        f"<tr><td>{escape(status)}</td><td>{escape(answer.get('description', ''))}</td><td>"
        + ", ".join(_link(c.get("schema", {})) for c in answer.get("content", {}).values())
        + "</td></tr>"
        for status, answer in sorted(operation.get("responses", {}).items())
    )
    return (
        f'<details><summary><b class="m">{method.upper()}</b> <code>{escape(path)}</code> '
        f"{escape(summary)}</summary>{table}{body}<table>{answers}</table></details>"
    )


def _type_of(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        return str(schema["$ref"]).rsplit("/", 1)[-1]
    for key in ("oneOf", "anyOf"):
        if key in schema:
            return " or ".join(_type_of(one) for one in schema[key])
    return str(schema.get("format") or schema.get("type") or "")


def _link(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        name = escape(_type_of(schema))
        return f'<a href="#schema-{name}"><code>{name}</code></a>'
    return f"<code>{escape(_type_of(schema))}</code>"
