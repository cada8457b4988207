"""Influx line protocol: `POST /influx/write` as of version 1, `/influx/api/v2/write` as of 2.

Senders are given `/influx` as the address of their InfluxDB.
"""

import base64
import binascii
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final
from urllib.parse import parse_qs

from wedsync_apm import __version__
from wedsync_apm.api.ingest.receive import (
    Answer,
    Door,
    Incoming,
    Routes,
    encode,
    endpoint,
)
from wedsync_apm.errors import FieldError, TooLarge, Unauthorized, WedSyncError
from wedsync_apm.ingest import influx, model
from wedsync_apm.ingest.intake import Receipt

PREFIX: Final = "/influx"

VERSION_HEADERS: Final = {
    # Clients of version 1 read this and expect a version of InfluxDB.
    "X-Influxdb-Version": "1.8.10",
    "X-Influxdb-Build": "wedsync-apm",
}
MOST_QUERY_BYTES: Final = 16_384
MOST_SHOWN: Final = 10
"""Reasons in an answer: it is one line of text."""

_CODES: Final = {
    400: "invalid",
    401: "unauthorized",
    403: "forbidden",
    404: "not found",
    413: "request too large",
    415: "invalid",
    422: "invalid",
    429: "too many requests",
    503: "unavailable",
}
_STATUS: Final = {415: 400, 422: 400, 507: 503}
"""Ours for what InfluxDB has no answer for: a full disk is worth another try."""

Shape = Callable[[int, str], Answer]


def routes(door: Door) -> Routes:
    """204 if all was stored. If a line or a field is not valid, 400 with the reasons, though all
    others are stored: "partial write", as InfluxDB has it."""

    async def write(shape: Shape, database: str, request: Incoming) -> Answer:
        grant = await door.admit(request, key_of(request))
        query = request.query
        decode = influx.decoder(query.get("precision", ""), query.get(database, ""))
        return _answer(await door.take(request, grant, decode), shape)

    async def query(request: Incoming) -> Answer:
        await door.admit(request, key_of(request))
        return _answer_query(request.query.get("q") or await _form_query(request))

    async def ping(request: Incoming) -> Answer:
        return Answer(204, headers=VERSION_HEADERS)

    async def health(request: Incoming) -> Answer:
        told = {"name": "influxdb", "message": "ready for writes", "status": "pass", "checks": []}
        return Answer(200, encode(told | {"version": __version__}))

    first, second = partial(_refuse, _error_of_1), partial(_refuse, _error_of_2)
    found = {
        ("POST", f"{PREFIX}/write"): endpoint(partial(write, _error_of_1, "db"), first),
        ("POST", f"{PREFIX}/api/v2/write"): endpoint(partial(write, _error_of_2, "bucket"), second),
    }
    for method in ("GET", "POST"):
        found[method, f"{PREFIX}/query"] = endpoint(query, first)
    for method in ("GET", "HEAD"):
        found[method, f"{PREFIX}/ping"] = endpoint(ping, first)
        found[method, f"{PREFIX}/health"] = endpoint(health, second)
    return found


def key_of(request: Incoming) -> str | None:
    """The key as clients of InfluxDB send it: as a token, or as a password of any user. None where
    it stands as it does in all our other protocols."""
    kind, _, given = request.headers.get("authorization", "").strip().partition(" ")
    match kind.lower():
        case "token":
            # Version 1 clients write USER:PASSWORD behind it.
            return given.strip().rpartition(":")[2]
        case "basic":
            try:
                name_and_password = base64.b64decode(given, validate=True).decode()
            except (binascii.Error, UnicodeDecodeError):
                raise Unauthorized("The credentials cannot be read.") from None
            return name_and_password.partition(":")[2]
        case "":
            return request.query.get("p")
        case _:
            return None


def _answer(receipt: Receipt, shape: Shape) -> Answer:
    rejections = receipt.rejections
    texts = sum(
        refusal.count
        for (_, reason), refusal in rejections.by_reason.items()
        if reason == model.UNSUPPORTED
    )
    if not rejections.count:
        return Answer(204, headers=VERSION_HEADERS)
    if receipt.accepted and rejections.count == texts:
        # Agents send texts beside their numbers all day; an error each time would hide real ones.
        return Answer(204, headers=VERSION_HEADERS | {"X-Refused-Fields": str(texts)})
    reasons = "; ".join(map(_line, rejections.listed[:MOST_SHOWN]))
    how = "partial write" if receipt.accepted else "unable to parse"
    return shape(400, f"{how}: {reasons} dropped={rejections.count}")


def _line(error: FieldError) -> str:
    place = "" if error.index is None else f"line {error.index + 1}: "
    return f"{place}{error.field} {error.reason}"


def _refuse(shape: Shape, exc: WedSyncError) -> Answer:
    return shape(_STATUS.get(exc.status, exc.status), exc.detail)


def _error_of_1(status: int, text: str) -> Answer:
    headers = VERSION_HEADERS | {"X-Influxdb-Error": _one_line(text)}
    return Answer(status, encode({"error": text}), headers=headers)


def _error_of_2(status: int, text: str) -> Answer:
    code = _CODES.get(status, "internal error")
    headers = VERSION_HEADERS | {"X-Platform-Error-Code": code}
    return Answer(status, encode({"code": code, "message": text}), headers=headers)


def _one_line(text: str) -> str:
    """What a header can carry: senders' own characters must not end it."""
    return "".join(one if " " <= one <= "~" else "?" for one in text)[:500]


async def _form_query(request: Incoming) -> str:
    body, more = b"", True
    while more and len(body) <= MOST_QUERY_BYTES:
        message = await request.receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    if len(body) > MOST_QUERY_BYTES:
        raise TooLarge(f"A query of more than {MOST_QUERY_BYTES} bytes.")
    form: Mapping[str, list[str]] = parse_qs(body.decode("latin-1"))
    return form.get("q", [""])[0]


def _answer_query(text: str) -> Answer:
    """Databases need not be made here, so that making one always succeeds."""
    result: dict[str, object] = {"statement_id": 0}
    if not text.strip().lower().startswith("create database"):
        result["error"] = "only CREATE DATABASE is known here; read by our own API"
    return Answer(200, encode({"results": [result]}), headers=VERSION_HEADERS)
