"""Influx line protocol, as `/write` of version 1 and `/api/v2/write` of version 2 take it.

A field that is a number is a sample of the metric `measurement_field`; true and false are 1 and 0.
Text is no measurement: it is counted, and costs nothing else. The database (or bucket) becomes the
tag `db`, unless the line has one.

Measurement and tags of a line come as one run of bytes, and that run with the field's name is the
key of two dictionaries: only what was never seen is decoded.
"""

import asyncio
from array import array
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Final
from uuid import UUID

import numpy as np

from wedsync_apm.errors import NotValid, TooLarge
from wedsync_apm.ingest import model
from wedsync_apm.ingest.columns import Refused, SampleColumns, read_tenant
from wedsync_apm.ingest.json_samples import ArrivalTimes
from wedsync_apm.ingest.line_protocol import (
    IsText,
    NotFields,
    measurement_text,
    split_line,
    split_lines,
    split_series,
    text,
    value_of,
)
from wedsync_apm.ingest.model import Arrival, Decode, Decoded
from wedsync_apm.ingest.window import in_window, refuse_each
from wedsync_apm.metrics.model import Ints, SampleBatch

SOURCE: Final = "influx"
DATABASE_TAG: Final = "db"
_HASH, _DIGIT_9, _I = b"#9i"
_SHORT: Final = 20
"""A whole number of fewer characters than this is in range."""

PRECISIONS: Final = {
    "n": (1, 1_000_000),
    "u": (1, 1_000),
    "ms": (1, 1),
    "s": (1_000, 1),
    "m": (60_000, 1),
    "h": (3_600_000, 1),
}
"""Of time stamps: what makes milliseconds of them, as a factor and a divisor."""
_SAME: Final = {"": "n", "ns": "n", "us": "u", "µ": "u", "µs": "u"}

READ_AT_ONCE: Final = 500
"""Lines (a few us each, a hundred where all is new) between which others get their turn."""
MOST_REMEMBERED_BYTES: Final = 64 * 1024 * 1024
"""Of measurements with their tags. A sender who shuffles its tags makes new ones for ever."""


def decoder(precision: str, database: str) -> Decode:
    """The decoder for time stamps of a precision. Raises NotValid for one that there is not."""
    name = _SAME.get(precision, precision)
    if name not in PRECISIONS:
        raise NotValid(f"invalid precision {precision[:20]!r} (use n, u, ms, s, m or h)")

    async def decode(body: bytes, arrival: Arrival) -> Decoded:
        reader = LineReader(arrival, name, database)
        arrival.limits.check_samples(body.count(b"\n"))
        lines = enumerate(split_lines(body))
        while chunk := list(islice(lines, READ_AT_ONCE)):
            reader.read(chunk)
            await asyncio.sleep(0)
        return reader.finish()

    return decode


class _Point:
    """A measurement and its tags, with the series that its fields are."""

    __slots__ = ("handles", "measurement", "organization_id", "tags")

    def __init__(self, measurement: str, tags: dict[str, str], organization_id: UUID) -> None:
        self.measurement, self.tags = measurement, tags
        self.organization_id = organization_id
        self.handles: dict[bytes, int] = {}


class KnownPoints:
    """What was seen before, by organization and database, for one directory."""

    def __init__(self, most_bytes: int = MOST_REMEMBERED_BYTES) -> None:
        self._most_bytes, self._held = most_bytes, 0
        self._points: dict[tuple[UUID | None, str], dict[bytes, _Point]] = {}

    def of(self, organization_id: UUID | None, database: str) -> dict[bytes, _Point]:
        """Those of one sender; begins anew when too much is held."""
        if self._held > self._most_bytes:
            self._points, self._held = {}, 0
        return self._points.setdefault((organization_id, database), {})

    def hold(self, name: bytes) -> None:
        """Counts what is about to be remembered."""
        self._held += 2 * len(name) + 500


class _Rows:
    """The place and the time of samples, kept once for those that stand in one line."""

    def __init__(self) -> None:
        self._lines, self._times, self._counts = array("q"), array("q"), array("q")

    def add(self, line: int, time: int, samples: int) -> None:
        """Of the next samples."""
        self._lines.append(line)
        self._times.append(time)
        self._counts.append(samples)

    def columns(self) -> tuple[Ints, Ints]:
        """Places and times, one a sample."""
        lines, times, counts = (
            np.frombuffer(one, np.int64) for one in (self._lines, self._times, self._counts)
        )
        return np.repeat(lines, counts), np.repeat(times, counts)


class LineReader:
    """Reads the lines of one request into columns."""

    def __init__(self, arrival: Arrival, precision: str, database: str) -> None:
        self._arrival, self._database = arrival, database
        self._factor, self._divisor = PRECISIONS[precision]
        self._columns = SampleColumns(arrival, SOURCE)
        self._latest_ms = arrival.limits.window(arrival.now_ms).latest_ms
        self._arrival_times = arrival.directory.companion(ArrivalTimes, ArrivalTimes)
        self._arrival_times.begin(arrival.now_ms)
        self._known = arrival.directory.companion(KnownPoints, KnownPoints)
        self._points = self._known.of(arrival.grant.organization_id, database)
        self._handles: list[int] = []
        self._values: list[float] = []
        self._rows = _Rows()
        self._texts: dict[UUID, tuple[int, int, str]] = {}
        self._left = arrival.limits.samples

    def read(self, lines: Sequence[tuple[int, bytes]]) -> None:
        """Takes the samples of lines, or notes why not; a line comes with its place in the body."""
        find, add = self._points.get, self._rows.add
        add_handle, add_value = self._handles.append, self._values.append
        for number, line in lines:
            parts = line.split(b" ")
            # The way of nearly all lines: nothing escaped, nothing new, every value a number.
            point = find(parts[0]) if len(parts) == 3 else None
            if point is None or b'"' in line or b"\\" in line or not parts[2].isdigit():
                self._read_any(number, line)
                continue
            fields = parts[1].split(b",") if parts[1].count(b",") < self._left else []
            handle_of, before = point.handles, len(self._values)
            try:
                for field in fields:
                    name, _, raw = field.partition(b"=")
                    handle = handle_of[name]
                    if raw[-1] == _I and len(raw) < _SHORT:
                        value = float(int(raw[:-1]))
                    else:
                        value = float(raw) if raw[-1] <= _DIGIT_9 else value_of(raw)
                    if b"_" in raw:  # to Python the 1_000 of its own source is a number
                        raise ValueError
                    add_value(value)
                    add_handle(handle)
                time = self._time(parts[2])
            except (LookupError, ValueError, IsText, Refused):
                fields = []
            if fields:
                self._left -= len(fields)
                add(number, time, len(fields))
            else:
                del self._values[before:], self._handles[before:]
                self._read_any(number, line)

    def _read_any(self, number: int, line: bytes) -> None:
        """A line of any kind, slowly."""
        line = line.strip(b" \t\r")
        if not line or line[0] == _HASH:
            return
        try:
            key, fields, stamp = split_line(line, self._left)
        except NotFields:
            reason = "is not a list of name=value, a text being in quotes"
            self._refuse(Refused(model.INVALID, "fields", reason), number)
            return
        self._left -= len(fields)
        if self._left < 0:
            most = self._arrival.limits.samples
            raise TooLarge(f"More than {most} fields in one request.")
        self._take_point(number, key, fields, stamp)

    def _refuse(self, refused: Refused, number: int, count: int = 1) -> None:
        self._columns.refuse(refused, position=number, count=count)

    def _take_point(
        self, number: int, key: bytes, fields: list[tuple[bytes, bytes]], stamp: bytes
    ) -> None:
        try:
            point = self._points.get(key) or self._learn(key)
            time = self._time(stamp) if stamp else None
        except Refused as refused:
            self._refuse(refused, number, len(fields))
            return
        handles = point.handles
        for name, raw in fields:
            try:
                value = value_of(raw)
                handle = handles.get(name)
                if handle is None:
                    handle = self._learn_field(point, name)
                at = self._now(handle) if time is None else time
            except IsText:
                count, line, field = self._texts.get(
                    point.organization_id, (0, number, _shown(name))
                )
                self._texts[point.organization_id] = count + 1, line, field
            except ValueError:
                reason = f"{_shown(raw)} is no number, true, false or quoted text"
                self._refuse_for(point, Refused(model.INVALID, _shown(name), reason), number)
            except Refused as refused:
                self._refuse_for(point, refused, number)
            else:
                self._handles.append(handle)
                self._values.append(value)
                self._rows.add(number, at, 1)

    def _refuse_for(self, point: _Point, refused: Refused, number: int) -> None:
        self._columns.refuse(refused, position=number, organization_id=point.organization_id)

    def _time(self, stamp: bytes) -> int:
        try:
            time = int(stamp) if b"_" not in stamp else None
        except ValueError:
            time = None
        if time is None or abs(time * self._factor) >= 2**63:
            raise Refused(model.INVALID, "timestamp", f"{_shown(stamp)} is not a whole number")
        return time * self._factor // self._divisor

    def _now(self, handle: int) -> int:
        time = self._arrival_times.following(handle, self._arrival.now_ms, self._latest_ms)
        if time is None:
            reason = "is missing, and the series has used up the milliseconds that are taken ahead"
            raise Refused(model.TOO_NEW, "timestamp", reason)
        return time

    def _learn(self, key: bytes) -> _Point:
        if key.count(b",") > 2 * self._arrival.limits.tags:
            reason = f"more than {self._arrival.limits.tags} are taken of no series"
            raise Refused(model.INVALID, "tags", reason)
        measurement, parts = split_series(key)
        if not measurement:
            raise Refused(model.INVALID, "measurement", "is missing")
        tags: dict[str, str] = {}
        for name, value in parts:
            if not name or not value:
                raise Refused(model.INVALID, f"tag {_shown(name)}", "has no name or no value")
            tag = _decoded(name)
            if tag in tags:
                raise Refused(model.INVALID, f"tag {_shown(name)}", "is there twice")
            tags[tag] = _decoded(value)
        if self._database:
            tags.setdefault(DATABASE_TAG, self._database)
        organization_id = self._arrival.grant.organization_id or read_tenant(
            f"tag {model.ORGANIZATION_LABEL}", tags.get(model.ORGANIZATION_LABEL)
        )
        point = _Point(_decoded(measurement, measurement_text), tags, organization_id)
        self._points[key] = point
        self._known.hold(key)
        return point

    def _learn_field(self, point: _Point, name: bytes) -> int:
        if not name:
            raise Refused(model.INVALID, "field", "has no name")
        metric_name = f"{point.measurement}_{_decoded(name)}"
        handle = self._columns.series(metric_name, point.tags, prefix="tag ")
        point.handles[name] = handle
        self._known.hold(name)
        return handle

    def finish(self) -> Decoded:
        """The samples that were good, and what was wrong with the others."""
        rejections = self._columns.rejections
        for organization_id, (count, line, name) in self._texts.items():
            reason = "is text, which is no measurement; only numbers, true and false are stored"
            self._columns.refuse(
                Refused(model.UNSUPPORTED, name, reason),
                position=line,
                organization_id=organization_id,
                count=count,
            )
        directory = self._arrival.directory
        series, values = np.array(self._handles, np.int64), np.array(self._values, np.float64)
        positions, times = self._rows.columns()
        good = in_window(
            series,
            times,
            directory=directory,
            limits=self._arrival.limits,
            now_ms=self._arrival.now_ms,
            rejections=rejections,
            positions=positions,
        )
        infinite = np.flatnonzero(good & ~np.isfinite(values))
        refuse_each(
            infinite,
            Refused(model.NOT_FINITE, "value", "is not finite"),
            series=series,
            directory=directory,
            rejections=rejections,
            positions=positions,
        )
        good[infinite] = False
        batch = SampleBatch(
            directory=directory,
            series=series[good],
            timestamps_ms=times[good],
            values=values[good],
            source=SOURCE,
        )
        return Decoded(batch, rejections, positions[good])


def _decoded(raw: bytes, decode: Callable[[bytes], str] = text) -> str:
    try:
        return decode(raw)
    except UnicodeDecodeError:
        raise Refused(model.INVALID, _shown(raw), "is not UTF-8") from None


def _shown(raw: bytes) -> str:
    """What an answer repeats of a name or value."""
    return raw[:64].decode(errors="replace")
