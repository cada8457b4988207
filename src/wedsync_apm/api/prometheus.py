"""Samples out as Prometheus answers: `/prometheus/api/v1/query` and `query_range`, GET or form.

Plain ASGI in front of the framework, as the way in is: a dashboard asks twenty of these at once.
"""

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import lru_cache
from operator import add
from typing import Any, Final
from urllib.parse import parse_qs
from uuid import UUID

import msgspec
import numpy as np

from wedsync_apm.api.authentication import identify
from wedsync_apm.api.problems import headers_of
from wedsync_apm.api.services import Services
from wedsync_apm.api.together import Together
from wedsync_apm.clock import utcnow
from wedsync_apm.db.tenant import tenant_tx
from wedsync_apm.errors import DatabaseAway, Forbidden, NotValid, TooLarge, WedSyncError
from wedsync_apm.metrics.expression.evaluate import AmbiguousAnswer, Vector, evaluate
from wedsync_apm.metrics.expression.read import Grid, Need, answer_for_platform
from wedsync_apm.metrics.expression.selection import ORGANIZATION, exact_value
from wedsync_apm.metrics.expression.store import note_platform_read
from wedsync_apm.metrics.expression.syntax import (
    BadExpression,
    Expression,
    NotAnswered,
    is_scalar,
    leaves,
    parse,
)
from wedsync_apm.metrics.model import Floats
from wedsync_apm.organizations.identity import actor_of
from wedsync_apm.organizations.model import Identity
from wedsync_apm.telemetry import get_logger

log = get_logger(__name__)

QUERY_PATH: Final = "/prometheus/api/v1/query"
QUERY_RANGE_PATH: Final = "/prometheus/api/v1/query_range"
MOST_POINTS: Final = 11_000
"""Of a series, as in Prometheus."""
MOST_FORM_BYTES: Final = 64 * 1024

Message = dict[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
App = Callable[[Any, Receive, Send], Awaitable[None]]
Parameters = Mapping[str, str]

_encode = msgspec.json.Encoder().encode
_DURATION: Final = re.compile(r"(?:\d+(?:ms|[smhdwy]))+")
_UNITS: Final = {
    "ms": 0.001,
    "s": 1,
    "m": 60,
    "h": 3600,
    "d": 86400,
    "w": 7 * 86400,
    "y": 365 * 86400,
}


class BadParameter(ValueError):
    """A parameter that cannot be read."""


class PrometheusApp:
    """Answers the two paths above, and leaves all else to `inner`."""

    def __init__(self, inner: App, services: Services) -> None:
        self._inner, self._services = inner, services
        self._together = Together(services.pool)
        self._answers = {QUERY_PATH: self._query, QUERY_RANGE_PATH: self._query_range}

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        """As ASGI calls it."""
        is_ours = scope["type"] == "http" and scope["method"] in ("GET", "POST")
        take = self._answers.get(scope["path"]) if is_ours else None
        if take is None:
            await self._inner(scope, receive, send)
            return
        scope["path_template"] = scope["path"]
        status, body, headers = 200, b"", {"cache-control": "private, no-cache"}
        try:
            identity = await identify(self._services, scope)
            body = await take(identity, await _parameters(scope, receive))
        except WedSyncError as exc:
            status, body = exc.status, _error(_kind(exc), _text(exc))
            headers = headers_of(exc)
        except (BadExpression, BadParameter) as exc:
            status, body = 400, _error("bad_data", str(exc))
        except (NotAnswered, AmbiguousAnswer) as exc:
            status, body = 422, _error("execution", str(exc))
        except Exception:
            log.exception("An expression could not be answered", extra={"action": "query_failed"})
            status, body = 500, _error("internal", WedSyncError().detail)
        await _send(send, status, body, headers)

    async def _query(self, identity: Identity, parameters: Parameters) -> bytes:
        expression = parse(parameters.get("query", ""))
        at_ms = _time(parameters, "time", utcnow().timestamp())
        found = await self._answer(identity, parameters, expression, Grid(at_ms, at_ms))
        if not isinstance(found, Vector):
            return _data("scalar", [_seconds(at_ms), _numbers(found)[0]])
        rows = np.flatnonzero(found.matrix.present[:, 0]).tolist()
        numbers = _numbers(found.matrix.values[rows, 0])
        at = _seconds(at_ms)
        return _data(
            "vector",
            [
                {"metric": found.labels[row], "value": (at, number)}
                for row, number in zip(rows, numbers, strict=True)
            ],
        )

    async def _query_range(self, identity: Identity, parameters: Parameters) -> bytes:
        expression = parse(parameters.get("query", ""))
        grid = _grid(parameters)
        found = await self._answer(identity, parameters, expression, grid)
        heads = _heads(grid)
        if not isinstance(found, Vector):
            numbers = _numbers(found) * len(heads)
            return _data("matrix", [{"metric": {}, "values": _points(heads, numbers)}])
        lines = []
        for labels, present, row in zip(
            found.labels, found.matrix.present, found.matrix.values, strict=True
        ):
            places = np.flatnonzero(present)
            if len(places):
                there = heads if len(places) == len(heads) else [heads[at] for at in places]
                values = _points(there, _numbers(row[places]))
                lines.append({"metric": labels, "values": values})
        return _data("matrix", sorted(lines, key=lambda line: sorted(line["metric"].items())))

    async def _answer(
        self, identity: Identity, parameters: Parameters, expression: Expression, grid: Grid
    ) -> Vector | Floats:
        if identity.only_sends_samples:
            raise Forbidden("This key may only send samples.")
        if is_scalar(expression):
            return evaluate(expression, {})
        actor = actor_of(identity)
        if identity.is_platform:
            async with tenant_tx(self._services.pool, actor) as cx:
                if not await note_platform_read(cx, parameters["query"]):
                    raise Forbidden("This key may not read samples.")
                return await answer_for_platform(cx, expression, grid)
        needs = [Need(leaf, grid) for leaf in dict.fromkeys(leaves(expression))]
        wanted = _organization(parameters, expression)
        return evaluate(expression, await self._together.read(actor, wanted, needs))


def _organization(parameters: Parameters, expression: Expression) -> UUID | None:
    """Which of the caller's organizations is meant: by parameter, or by the first label."""
    wanted = parameters.get(ORGANIZATION)
    if wanted is not None:
        try:
            return UUID(wanted)
        except ValueError as exc:
            raise BadParameter('invalid parameter "organization_id": is no UUID') from exc
    for leaf in leaves(expression):
        with suppress(ValueError):
            return UUID(exact_value(leaf.matchers, ORGANIZATION) or "")
    return None


async def _parameters(scope: Any, receive: Receive) -> Parameters:
    """Of the address and, for a POST, of the form; of one that is there twice the first counts."""
    text = scope["query_string"].decode("latin-1")
    if scope["method"] == "POST":
        body, more = b"", True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise BadParameter("the request ended early")
            body += message.get("body", b"")
            more = message.get("more_body", False)
            if len(body) > MOST_FORM_BYTES:
                raise TooLarge(f"The form is larger than {MOST_FORM_BYTES} bytes.")
        text = f"{body.decode('latin-1')}&{text}"
    try:
        return {name: values[0] for name, values in parse_qs(text, max_num_fields=100).items()}
    except ValueError as exc:
        raise BadParameter(str(exc)) from exc


def _grid(parameters: Parameters) -> Grid:
    start, end = _time(parameters, "start", None), _time(parameters, "end", None)
    if end < start:
        raise BadParameter('invalid parameter "end": end timestamp must not be before start time')
    step = _duration_ms("step", parameters.get("step", ""))
    if step <= 0:
        raise BadParameter(
            'invalid parameter "step": zero or negative query resolution step widths are not'
            " accepted. Try a positive integer"
        )
    if (end - start) // step >= MOST_POINTS:
        raise BadParameter(
            f"exceeded maximum resolution of {MOST_POINTS:,} points per timeseries. Try decreasing"
            " the query resolution (?step=XX)"
        )
    return Grid(start, end, step)


def _time(parameters: Parameters, name: str, default: float | None) -> int:
    """Unix seconds or RFC 3339, in milliseconds."""
    text = parameters.get(name)
    if text is None:
        if default is None:
            raise BadParameter(f'invalid parameter "{name}": cannot parse "" to a valid timestamp')
        return round(default * 1000)
    with suppress(ValueError, OverflowError):
        seconds = float(text)
        if abs(seconds) < 2**36:
            return round(seconds * 1000)
    with suppress(ValueError):
        at = datetime.fromisoformat(re.sub(r" (\d\d:?\d\d)$", r"+\1", text))
        if at.tzinfo is not None:
            return round(at.astimezone(UTC).timestamp() * 1000)
    raise BadParameter(f'invalid parameter "{name}": cannot parse "{text}" to a valid timestamp')


def _duration_ms(name: str, text: str) -> int:
    """Seconds as a number, or a duration as in the language."""
    with suppress(ValueError, OverflowError):
        seconds = float(text)
        if abs(seconds) < 2**36:
            return round(seconds * 1000)
    if _DURATION.fullmatch(text):
        parts = re.findall(r"(\d{1,12})(ms|[smhdwy])", text)
        seconds = sum(int(count) * _UNITS[unit] for count, unit in parts)
        if seconds < 2**36:
            return round(seconds * 1000)
    raise BadParameter(f'invalid parameter "{name}": cannot parse "{text}" to a valid duration')


def _points(heads: Sequence[str], numbers: Sequence[str]) -> msgspec.Raw:
    """Pairs of a time and a number, in JSON: thousands of small lists cost more than their text."""
    pairs = '"],'.join(map(add, heads, numbers))
    return msgspec.Raw(f'[{pairs}"]]'.encode())


def _numbers(values: Floats) -> list[str]:
    """As Go writes them: the shortest text that reads back, an exponent only for what is very
    large or very small."""
    if not len(values):
        return []
    text = _encode(values.tolist())[1:-1].decode() + ","
    texts = text.replace(".0,", ",").split(",")[:-1]
    size = np.abs(values)
    # JSON has an exponent for other numbers, and no names for what is no number.
    for place in np.flatnonzero(~((size < 1e16) & (size >= 1e-4)) & (size != 0)).tolist():
        texts[place] = _odd_number(float(values[place]))
    return texts


def _odd_number(value: float) -> str:
    text = repr(value).removesuffix(".0")
    if "e" in text and 1e-6 <= abs(value) < 1e21:
        return np.format_float_positional(value, trim="-")
    return _SPECIAL.get(text, text)


_SPECIAL: Final = {"inf": "+Inf", "-inf": "-Inf", "nan": "NaN"}


@lru_cache(maxsize=4)
def _heads(grid: Grid) -> tuple[str, ...]:
    """How the pair of each instant begins; the panels of a dashboard have them in common."""
    return tuple(f'[{_seconds(at)},"' for at in grid.instants_ms.tolist())


def _seconds(at_ms: int) -> float:
    whole, rest = divmod(at_ms, 1000)
    return at_ms / 1000 if rest else whole


def _data(kind: str, result: Any) -> bytes:
    return _encode({"status": "success", "data": {"resultType": kind, "result": result}})


def _error(kind: str, text: str) -> bytes:
    return _encode({"status": "error", "errorType": kind, "error": text})


def _kind(exc: WedSyncError) -> str:
    if isinstance(exc, DatabaseAway):
        return "timeout" if "too long" in exc.detail else "unavailable"
    kinds = {401: "unauthorized", 403: "forbidden", 404: "not_found"}
    return kinds.get(exc.status, "bad_data" if exc.status < 500 else "internal")


def _text(exc: WedSyncError) -> str:
    if isinstance(exc, NotValid) and exc.errors:
        return "; ".join(f"{one.field}: {one.reason}" for one in exc.errors)
    return exc.detail


async def _send(send: Send, status: int, body: bytes, headers: Mapping[str, str]) -> None:
    sent = {
        "content-type": "application/json",
        "content-length": str(len(body)),
        "x-content-type-options": "nosniff",
        **headers,
    }
    pairs = [(name.encode(), value.encode("latin-1")) for name, value in sent.items()]
    await send({"type": "http.response.start", "status": status, "headers": pairs})
    await send({"type": "http.response.body", "body": body})
