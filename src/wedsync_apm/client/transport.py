"""One POST to the server, and what its answer means for the batch."""

import enum
import http.client
import json
import ssl
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.message import Message
from email.utils import parsedate_to_datetime
from typing import Any, Final
from urllib.parse import urlsplit

PATH: Final = "/api/v1/metrics"
IDLE_SECONDS: Final = 3.0
"""A connection is not used again after this; servers close theirs after five and more."""
LONGEST_RETRY_AFTER: Final = 3600.0
MOST_ANSWER_BYTES: Final = 1024 * 1024


class Verdict(enum.Enum):
    """What becomes of the batch."""

    SETTLED = "settled"  # stored, or refused for good by the server itself
    RETRY = "retry"  # the same again, later
    SPLIT = "split"  # too large: in two halves
    HELD = "held"  # kept and tried rarely: a person has to do something


@dataclass(frozen=True, slots=True)
class Answer:
    """`errors` are the server's `{index, field, reason}`; `rejected` counts the others, too."""

    verdict: Verdict
    problem: str | None = None
    accepted: int = 0
    rejected: int = 0
    errors: tuple[Mapping[str, Any], ...] = ()
    retry_after: float | None = None


@dataclass
class Transport:
    """A connection to the server, made when needed; for one thread."""

    url: str
    api_key: str = field(repr=False)
    timeout: float
    tls: ssl.SSLContext | None = None

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query:
            raise ValueError("url must be like https://apm.example.org")
        if not self.api_key or not self.api_key.isascii() or not self.api_key.isprintable():
            raise ValueError("api_key must be the text that `wedsync-apm key create` printed")
        self._is_tls = parts.scheme == "https"
        self._host, self._port = parts.hostname, parts.port
        self._path = parts.path.rstrip("/").removesuffix(PATH) + PATH
        self._headers = {
            "Authorization": f"Bearer {self.api_key}",
            "Content-Type": "application/x-ndjson",
            "Content-Encoding": "gzip",
            "User-Agent": "wedsync-apm-client/1",
        }
        self._connection: http.client.HTTPConnection | None = None
        self._used_at = 0.0

    def post(self, body: bytes, count: int) -> Answer:
        """Sends a body of so many samples; never raises for what a network or a server does."""
        try:
            return self._post(body, count)
        except (OSError, http.client.HTTPException) as exc:
            self.close()
            return Answer(Verdict.RETRY, f"{type(exc).__name__}: {exc}")

    def close(self) -> None:
        """Ends the connection, if there is one."""
        if self._connection is not None:
            with suppress(OSError):
                self._connection.close()
            self._connection = None

    def _post(self, body: bytes, count: int) -> Answer:
        if time.monotonic() - self._used_at > IDLE_SECONDS:
            self.close()
        if self._connection is not None:
            # The server may have closed it meanwhile; that says nothing about the server.
            with suppress(OSError, http.client.HTTPException):
                return self._exchange(self._connection, body, count)
            self.close()
        self._connection = self._connect()
        return self._exchange(self._connection, body, count)

    def _connect(self) -> http.client.HTTPConnection:
        if self._is_tls:
            self.tls = self.tls or ssl.create_default_context()
            return http.client.HTTPSConnection(
                self._host, self._port, timeout=self.timeout, context=self.tls
            )
        return http.client.HTTPConnection(self._host, self._port, timeout=self.timeout)

    def _exchange(self, connection: http.client.HTTPConnection, body: bytes, count: int) -> Answer:
        connection.request("POST", self._path, body, self._headers)
        response = connection.getresponse()
        content = response.read(MOST_ANSWER_BYTES)
        self._used_at = time.monotonic()
        if response.will_close or not response.isclosed():
            self.close()
        return read_answer(response.status, response.headers, content, count)


def read_answer(status: int, headers: Message, body: bytes, count: int) -> Answer:
    """What an answer to so many samples means.

    Only the server's own words settle a batch: a proxy, or the sign-in page of a guests' network,
    may well answer 200 or 400.
    """
    content = _json(body)
    errors = tuple(e for e in _list(content.get("errors")) if isinstance(e, dict))
    problem = f"{status}: {one_line(content.get('detail') or body[:200].decode(errors='replace'))}"
    match status:
        case 202 if isinstance(content.get("accepted"), int):
            accepted = int(content["accepted"])
            rejected = _count(content.get("rejected"), count - accepted)
            answer = Answer(Verdict.SETTLED, None, accepted, rejected, errors)
        case 400 | 422 if content.get("status") == status:
            rejected = _count(content.get("rejected"), count)
            answer = Answer(Verdict.SETTLED, problem, 0, rejected, errors)
        case 413 if count > 1:
            answer = Answer(Verdict.SPLIT, problem)
        case 413:
            reason = {"index": 0, "field": "sample", "reason": "is too large for the server"}
            answer = Answer(Verdict.SETTLED, problem, rejected=1, errors=(reason,))
        case 401 | 403:
            answer = Answer(Verdict.HELD, f"the server does not take the key: {problem}")
        case 408 | 425 | 429 | 500 | 502 | 503 | 504 | 507:
            wait = read_retry_after(headers.get("Retry-After"))
            answer = Answer(Verdict.RETRY, problem, retry_after=wait)
        case _ if 300 <= status < 400:
            where = one_line(headers.get("Location", "elsewhere"))
            answer = Answer(Verdict.HELD, f"{status}: the server has moved, to {where}")
        case _:
            answer = Answer(Verdict.HELD, f"no answer of WedSync APM, is the url right? {problem}")
    return answer


def read_retry_after(text: str | None, now: datetime | None = None) -> float | None:
    """Seconds to wait, from seconds or an HTTP date; at most an hour. None if there is no such."""
    if text is None:
        return None
    seconds: float | None = None
    with suppress(ValueError):
        seconds = float(text)
    if seconds is None:
        with suppress(ValueError, TypeError):
            moment = parsedate_to_datetime(text)
            moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
            seconds = (moment - (now or datetime.now(UTC))).total_seconds()
    # NaN fails this comparison as it should.
    return min(seconds, LONGEST_RETRY_AFTER) if seconds is not None and seconds >= 0 else None


def _json(body: bytes) -> dict[str, Any]:
    with suppress(ValueError, RecursionError):
        content = json.loads(body)
        if isinstance(content, dict):
            return content
    return {}


def one_line(text: object) -> str:
    """A stranger's words as they may stand in a log."""
    return "".join(c if c.isprintable() else " " for c in str(text)[:200]).strip()


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _count(value: object, otherwise: int) -> int:
    return value if isinstance(value, int) else max(otherwise, 0)
