"""From what a program records to lines of JSON, each with the time at which it was recorded."""

import gzip
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Literal

Kind = Literal["gauge", "counter", "timer"]
Sample = tuple[str, int, float]
"""The line up to the time, the time in milliseconds since 1970 UTC, and the value."""

FORGET_MS: Final = 60_000
"""How far a series' times may run ahead of the clock, and how long an idle series is kept."""
REPEAT_MS: Final = 60_000
"""A counter that stands still is sent this often, so that "none" differs from "not known"."""
MOST_SERIES: Final = 20_000
MOST_SERIES_BYTES: Final = 16 * 1024 * 1024
_MOST_TAGS: Final = 64
_NAME_LENGTH: Final = 1024
_TAG_LENGTH: Final = 128
_TRY_AGAIN_MS: Final = 5_000
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class TooManySeries(Exception):
    """The series is new, and there is no room for another."""


class TooFast(Exception):
    """The series has used up the milliseconds until a minute from now."""


class Series:
    """One service, metric and set of tags; `kind` and `unit` describe it and may change."""

    __slots__ = (
        "is_changed", "kind", "last_ms", "name", "prefix", "service_name", "since_ms", "size",
        "tags", "total", "unit",
    )  # fmt: skip

    def __init__(
        self, service_name: str, name: str, tags: tuple[tuple[str, str], ...], size: int
    ) -> None:
        self.service_name, self.name, self.tags, self.size = service_name, name, tags, size
        self.kind: Kind | None = None
        self.unit: str | None = None
        self.prefix = ""
        self.last_ms = 0
        # Of a counter: what it counted, since when, and whether that was sent.
        self.total, self.is_changed = 0.0, False
        self.since_ms: int | None = None

    def describe(self, kind: Kind, unit: str | None, instance: str | None = None) -> None:
        """Writes the line anew."""
        self.kind, self.unit = kind, unit or self.unit
        tags = dict(self.tags)
        if instance is not None:
            # Totals of two processes in one series would look like a counter that keeps restarting.
            tags.setdefault("instance", instance)
        line = {
            "service_name": self.service_name,
            "metric_name": self.name,
            "metric_type": kind,
            **({"unit": self.unit} if self.unit else {}),
            "tags": tags,
        }
        self.prefix = json.dumps(line, separators=(",", ":"))[:-1] + ',"timestamp":'


class SeriesTable:
    """The series that a process writes to: gives each sample a millisecond of its own, and counts.

    Not for several threads at once.
    """

    def __init__(
        self,
        service_name: str,
        tags: Mapping[str, str],
        *,
        most_series: int = MOST_SERIES,
        most_bytes: int = MOST_SERIES_BYTES,
    ) -> None:
        self._service_name, self._tags = service_name, dict(tags)
        self._tag_pairs = tuple(sorted(tags.items()))
        self._most_series, self._most_bytes = most_series, most_bytes
        self._series: dict[tuple[str, str, tuple[tuple[str, str], ...]], Series] = {}
        self._bytes = 0
        self._now_ms = 0
        self._full_until_ms = 0

    def __len__(self) -> int:
        return len(self._series)

    def sample(
        self,
        kind: Kind,
        name: str,
        value: float,
        now_ms: int,
        *,
        at_ms: int | None = None,
        tags: Mapping[str, object] | None = None,
        unit: str | None = None,
        service_name: str | None = None,
    ) -> Sample:
        """A sample of that moment, or of now: then at the series' next free millisecond.

        Raises ValueError for names that cannot be, TooManySeries, and TooFast.
        """
        series = self._find(name, service_name, tags, now_ms)
        if series.kind != kind or (unit is not None and series.unit != unit):
            series.describe(kind, unit)
        return series.prefix, self._next_ms(series, now_ms) if at_ms is None else at_ms, value

    def count(
        self,
        name: str,
        by: float,
        now_ms: int,
        *,
        tags: Mapping[str, object] | None = None,
        unit: str | None = None,
        service_name: str | None = None,
        always: bool = False,
    ) -> None:
        """Adds to a total, which `totals` hands out. Raises as `sample` does, but with `always`
        there is room for another series."""
        series = self._find(name, service_name, tags, now_ms, always=always)
        if series.since_ms is None:
            series.since_ms = self._next_ms(series, now_ms)
        series.unit = unit or series.unit
        series.total += by
        series.is_changed = True

    def totals(self, now_ms: int, instance: str) -> Iterator[Sample]:
        """What was counted since the last call; a counter's first total follows a zero, so that
        what it counted first is not lost to those who look at increases."""
        for series in self._series.values():
            if series.since_ms is None:
                continue
            is_new = series.kind != "counter"
            if not series.is_changed and now_ms - series.last_ms < REPEAT_MS:
                continue
            if is_new:
                series.describe("counter", None, instance)
                yield series.prefix, series.since_ms, 0.0
            try:
                moment = self._next_ms(series, now_ms)
            except TooFast:  # the total goes out with the next
                continue
            series.is_changed = False
            yield series.prefix, moment, series.total

    def _find(
        self,
        name: str,
        service_name: str | None,
        tags: Mapping[str, object] | None,
        now_ms: int,
        *,
        always: bool = False,
    ) -> Series:
        if now_ms < self._now_ms - FORGET_MS:  # the clock was set back
            for series in self._series.values():
                series.last_ms = 0
            self._full_until_ms = 0
        self._now_ms = now_ms
        pairs = self._tag_pairs
        if tags:
            own = {str(key): str(value) for key, value in tags.items() if value is not None}
            pairs = tuple(sorted((self._tags | own).items()))
        identity = (service_name or self._service_name, name, pairs)
        known = self._series.get(identity)
        return known if known is not None else self._add(*identity, always=always)

    def _add(
        self, service_name: str, name: str, tags: tuple[tuple[str, str], ...], *, always: bool
    ) -> Series:
        check_names(service_name, name, tags)
        size = 500 + 2 * (len(service_name) + len(name) + sum(len(k) + len(v) for k, v in tags))
        if not (always or self._has_room(size)):
            self._forget_idle()
            if not self._has_room(size):
                raise TooManySeries
        series = Series(service_name, name, tags, size)
        self._series[service_name, name, tags] = series
        self._bytes += size
        return series

    def _has_room(self, size: int) -> bool:
        return len(self._series) < self._most_series and self._bytes + size <= self._most_bytes

    def _forget_idle(self) -> None:
        # Looking through all of them for each new one would make recording slow.
        if self._now_ms < self._full_until_ms:
            return
        self._full_until_ms = self._now_ms + _TRY_AGAIN_MS
        horizon = self._now_ms - FORGET_MS
        self._series = {
            identity: series
            for identity, series in self._series.items()
            if series.last_ms >= horizon or series.is_changed
        }
        self._bytes = sum(series.size for series in self._series.values())

    def _next_ms(self, series: Series, now_ms: int) -> int:
        moment = max(now_ms, series.last_ms + 1)
        if moment > now_ms + FORGET_MS:
            raise TooFast
        series.last_ms = moment
        return moment


def check_names(service_name: str, name: str, tags: Iterable[tuple[str, str]]) -> None:
    """Raises ValueError for what no server would take, and for what is too large to be kept."""
    texts: tuple[tuple[str, object], ...] = (("service_name", service_name), ("name", name))
    for what, text in texts:
        if not isinstance(text, str) or not 0 < len(text) <= _NAME_LENGTH:
            raise ValueError(f"{what} must be a text of 1 to {_NAME_LENGTH} characters")
    pairs = tuple(tags)
    if len(pairs) > _MOST_TAGS:
        raise ValueError(f"{len(pairs)} tags are more than {_MOST_TAGS}")
    for key, value in pairs:
        if not 0 < len(key) <= _TAG_LENGTH or len(value) > _NAME_LENGTH:
            raise ValueError(
                f"a tag's name must have 1 to {_TAG_LENGTH} characters, its value at most"
                f" {_NAME_LENGTH}"
            )


def finite(value: float) -> float:
    """The value as a float. Raises ValueError, TypeError or OverflowError for what is none."""
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"{number} cannot be sent")
    return number


def milliseconds(at: datetime | float) -> int:
    """A moment in whole milliseconds since 1970 UTC; a number is in seconds since then.

    Raises ValueError for a datetime without a time zone.
    """
    if isinstance(at, datetime):
        if at.tzinfo is None:
            raise ValueError("at is a datetime without a time zone")
        return (at - _EPOCH) // timedelta(milliseconds=1)
    return round(float(at) * 1000)


@dataclass(frozen=True, slots=True)
class Packed:
    """Lines as they are sent: `body` is gzip of NDJSON."""

    count: int
    body: bytes

    @classmethod
    def of(cls, lines: list[bytes]) -> "Packed":
        """From lines without their ends."""
        # Without a time in its header, the same lines are the same bytes.
        return cls(len(lines), gzip.compress(b"\n".join(lines), 6, mtime=0))

    @classmethod
    def together(cls, batches: "list[Packed]") -> "Packed":
        """Several as one."""
        if len(batches) == 1:
            return batches[0]
        return cls.of([line for batch in batches for line in batch.lines()])

    def lines(self) -> list[bytes]:
        """The lines again."""
        return gzip.decompress(self.body).split(b"\n")


def pack(samples: Iterable[Sample], most_samples: int, most_bytes: int) -> Iterator[Packed]:
    """Batches of at most so many samples, and about so many bytes before compression."""
    lines: list[bytes] = []
    size = 0
    for prefix, moment, value in samples:
        line = f'{prefix}{moment},"value":{value!r}}}'.encode()
        lines.append(line)
        size += len(line)
        if len(lines) >= most_samples or size >= most_bytes:
            yield Packed.of(lines)
            lines, size = [], 0
    if lines:
        yield Packed.of(lines)
