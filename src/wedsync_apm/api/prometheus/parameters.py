"""What a caller of Prometheus' API asks for: parameters of the address and of a form."""

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import parse_qs
from uuid import UUID

from wedsync_apm.errors import TooLarge
from wedsync_apm.metrics.expression.budget import MOST_SECONDS
from wedsync_apm.metrics.expression.plan import Grid
from wedsync_apm.metrics.expression.selection import ORGANIZATION

MOST_POINTS: Final = 11_000
"""Of a series, as in Prometheus."""
MOST_FORM_BYTES: Final = 64 * 1024
_LEAST_SECONDS: Final = 0.001
_FARTHEST_SECONDS: Final = 2**36

Receive = Callable[[], Awaitable[Any]]

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


class Parameters:
    """All of a request; of one that is there twice the first counts, unless all are asked for."""

    def __init__(self, values: Mapping[str, Sequence[str]]) -> None:
        self._values = values

    def get(self, name: str) -> str | None:
        """Its text; None where it is missing or empty."""
        return self._values[name][0] if name in self._values else None

    def all(self, name: str) -> Sequence[str]:
        """Each time that it is there; also as `name[]`."""
        return [*self._values.get(f"{name}[]", ()), *self._values.get(name, ())]

    @property
    def query(self) -> str:
        """The expression."""
        return self.get("query") or ""

    @property
    def grid(self) -> Grid:
        """The instants of a range. Raises BadParameter."""
        start, end = self.time_ms("start"), self.time_ms("end")
        if end < start:
            raise BadParameter(
                'invalid parameter "end": end timestamp must not be before start time'
            )
        step = self._duration_ms("step")
        if step <= 0:
            raise BadParameter(
                'invalid parameter "step": zero or negative query resolution step widths are not'
                " accepted. Try a positive integer"
            )
        if (end - start) // step >= MOST_POINTS:
            raise BadParameter(
                f"exceeded maximum resolution of {MOST_POINTS:,} points per timeseries. Try"
                " decreasing the query resolution (?step=XX)"
            )
        return Grid(start, end, step)

    @property
    def seconds(self) -> float:
        """How long the answer may take: less than is allowed anyway. Raises BadParameter."""
        if self.get("timeout") is None:
            return MOST_SECONDS
        asked = self._duration_ms("timeout") / 1000
        return min(max(asked, _LEAST_SECONDS), MOST_SECONDS)

    @property
    def limit(self) -> int | None:
        """The most lines of the answer; None for all. Raises BadParameter."""
        return self.whole("limit") or None

    @property
    def organization_id(self) -> UUID | None:
        """Which of the caller's organizations is meant. Raises BadParameter."""
        wanted = self.get(ORGANIZATION)
        if wanted is None:
            return None
        try:
            return UUID(wanted)
        except ValueError as exc:
            raise BadParameter('invalid parameter "organization_id": is no UUID') from exc

    def whole(self, name: str) -> int:
        """A number of things; 0 where it is missing. Raises BadParameter."""
        text = self.get(name) or "0"
        if not re.fullmatch(r"[0-9]{1,9}", text):
            raise BadParameter(f'invalid parameter "{name}": must be a whole number, not "{text}"')
        return int(text)

    def time_ms(self, name: str, default: datetime | None = None) -> int:
        """Unix seconds or RFC 3339, in milliseconds. Raises BadParameter."""
        text = self.get(name)
        if text is None:
            if default is None:
                raise BadParameter(
                    f'invalid parameter "{name}": cannot parse "" to a valid timestamp'
                )
            return round(default.timestamp() * 1000)
        found = _seconds_ms(text)
        if found is not None:
            return found
        with suppress(ValueError):
            at = datetime.fromisoformat(re.sub(r" (\d\d:?\d\d)$", r"+\1", text))
            if at.tzinfo is not None:
                return round(at.astimezone(UTC).timestamp() * 1000)
        raise BadParameter(
            f'invalid parameter "{name}": cannot parse "{text}" to a valid timestamp'
        )

    def _duration_ms(self, name: str) -> int:
        """Seconds as a number, or a duration as in the language."""
        text = self.get(name) or ""
        found = _seconds_ms(text)
        if found is not None:
            return found
        if _DURATION.fullmatch(text):
            parts = re.findall(r"(\d{1,12})(ms|[smhdwy])", text)
            seconds = sum(int(count) * _UNITS[unit] for count, unit in parts)
            if seconds < _FARTHEST_SECONDS:
                return round(seconds * 1000)
        raise BadParameter(f'invalid parameter "{name}": cannot parse "{text}" to a valid duration')


def _seconds_ms(text: str) -> int | None:
    with suppress(ValueError, OverflowError):
        seconds = float(text)
        if abs(seconds) < _FARTHEST_SECONDS:
            return round(seconds * 1000)
    return None


async def read_parameters(scope: Any, receive: Receive) -> Parameters:
    """Of the form, if it is a POST, and then of the address.

    Raises BadParameter and TooLarge.
    """
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
        return Parameters(parse_qs(text, max_num_fields=100))
    except ValueError as exc:
        raise BadParameter(str(exc)) from exc
