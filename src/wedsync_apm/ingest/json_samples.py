"""Our own protocol: samples as JSON or as NDJSON, one object a sample.

Each sample is decoded and judged on its own, so that a bad one costs nothing but itself. NaN and
the infinities are not JSON; a body that contains them is read all the same, and the samples that
have them are refused by name while the others are stored.

A time stamp is RFC 3339 with an offset, or a number since 1970 UTC: seconds, with a fraction if
you like, or from 100,000,000,000 on milliseconds (as seconds that would be the year 5138). Without
one, the time is that of arrival, or the next millisecond that no such sample of the series has yet.
Times are kept in whole milliseconds.
"""

import asyncio
import json
import math
import re
from collections.abc import Sequence
from datetime import date, datetime
from typing import Annotated, Any, Final, Literal, get_args

import msgspec

from wedsync_apm.clock import to_ms
from wedsync_apm.errors import FieldError, MalformedBody, NotValid, UnsupportedMedia
from wedsync_apm.ingest import model
from wedsync_apm.ingest.columns import Refused, SampleColumns, read_tenant
from wedsync_apm.ingest.limits import IngestLimits
from wedsync_apm.ingest.model import Arrival, Decode, Decoded
from wedsync_apm.metrics.model import CALENDAR

JSON_TYPES: Final = ("application/json", "text/json", "")
NDJSON_TYPES: Final = ("application/x-ndjson", "application/ndjson", "application/jsonl")
SOURCE: Final = "api"

FIRST_MILLISECONDS: Final = 100_000_000_000
"""Numbers from here on are milliseconds, smaller ones seconds."""
MOST_CONTEXT_LEVELS: Final = 32
FORGET_MS: Final = 60_000
"""A series' time of arrival is remembered at least this long, far longer than a request is read."""

READ_AT_ONCE: Final = 2_000
"""Samples (about 7 us each) between which other requests get their turn."""
FEWEST_BYTES_A_COMMA: Final = 8
"""Samples have more: a tag alone, `"a":"b",`, has as many."""
LARGE_BODY_BYTES: Final = 256 * 1024
"""Bodies from here on are split in a thread."""

MetricType = Literal["gauge", "counter", "histogram", "summary", "timer"]


Criticality = Literal["low", "medium", "high", "critical"]


class _WeddingContext(msgspec.Struct):
    """The keys of a wedding context that have a meaning here; others are kept as they are."""

    is_wedding_day: bool = False
    wedding_id: str | None = None
    phase: str | None = None
    wedding_date: date | None = None
    criticality_level: Criticality | None = None


class _Sample(msgspec.Struct):
    service_name: str
    metric_name: str
    value: float
    timestamp: int | float | str | None = None
    metric_type: MetricType | None = None
    unit: str | None = None
    tags: dict[str, str] = {}
    wedding_context: dict[str, Any] | None = None


class _Body(msgspec.Struct):
    samples: list[msgspec.Raw]


_decode_body = msgspec.json.Decoder(_Body).decode
_decode_sample = msgspec.json.Decoder(_Sample).decode
_encode = msgspec.json.Encoder(order="sorted").encode
_Moment = Annotated[datetime, msgspec.Meta(tz=True)]

_LABELS: Final = {
    "metric_type": get_args(MetricType),
    "criticality_level": get_args(Criticality),
}


def decoder(content_type: str) -> Decode:
    """The decoder for a content type, which need not be one that we know: decoding tells."""

    async def decode(body: bytes, arrival: Arrival) -> Decoded:
        if content_type in NDJSON_TYPES:
            # Before they are cut apart: a line of one byte becomes dozens here.
            arrival.limits.check_samples(max(body.count(b"\n"), body.count(b"\r")))
        elif (commas := body.count(b",")) * FEWEST_BYTES_A_COMMA > len(body):
            # No samples, but so many that each would become dozens of bytes here.
            arrival.limits.check_samples(commas)
        if len(body) < LARGE_BODY_BYTES:
            items = split_body(body, content_type)
        else:
            items = await asyncio.to_thread(split_body, body, content_type)
        arrival.limits.check_samples(len(items))
        reader = JsonReader(arrival)
        for index, item in enumerate(items):
            if index and index % READ_AT_ONCE == 0:
                await asyncio.sleep(0)
            reader.read(index, item)
        return reader.finish()

    return decode


def split_body(body: bytes, content_type: str) -> Sequence[object]:
    """The samples of a body, each still to be read by a `JsonReader`.

    Raises UnsupportedMedia for another content type, MalformedBody for what is not JSON at all,
    and NotValid for JSON of another shape.
    """
    if content_type in NDJSON_TYPES:
        return [msgspec.Raw(line) for line in body.splitlines() if line.strip()]
    if content_type in JSON_TYPES:
        return _json_items(body)
    known = ", ".join((JSON_TYPES[0], NDJSON_TYPES[0]))
    raise UnsupportedMedia(f"Content-Type {content_type[:100]!r} is not one of {known}.")


def _json_items(body: bytes) -> Sequence[object]:
    """The elements of `samples`: raw JSON, or objects where only Python's reader could read it."""
    try:
        return _decode_body(body).samples
    except msgspec.ValidationError as exc:
        raise NotValid(errors=[FieldError(*_explain(exc))]) from exc
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        found = _lenient(body)
    if not isinstance(found, dict) or not isinstance(found.get("samples"), list):
        raise NotValid(errors=[FieldError("samples", "is missing or no list")])
    samples: list[object] = found["samples"]
    return samples


def _lenient(body: bytes | msgspec.Raw) -> object:
    """Reads NaN, Infinity and numbers out of range as floats, and bytes that are not UTF-8 as
    surrogates, which are refused one by one.

    Raises MalformedBody for what is not JSON by that measure either.
    """
    raw = bytes(body)
    try:
        text = raw.decode(json.detect_encoding(raw), "surrogateescape")
        return json.loads(text, parse_int=_bounded_int)
    except (ValueError, RecursionError) as exc:
        raise MalformedBody(f"The body is not JSON: {str(exc)[:200]}.") from exc


def _bounded_int(digits: str) -> int | float:
    return int(digits) if len(digits) < 20 else float(digits)


class ArrivalTimes:
    """Times for samples that come without one, by the handles of one directory.

    A series and a millisecond are one sample, so each such sample of a series gets a millisecond of
    its own: that of arrival, or the one after the last given.
    """

    def __init__(self) -> None:
        self._last: dict[int, int] = {}
        self._now_ms = 0
        self._prune_at = 10_000

    def __len__(self) -> int:
        return len(self._last)

    def begin(self, now_ms: int) -> None:
        """A request arrived: forgets what no request can come upon any more."""
        if now_ms < self._now_ms - FORGET_MS:  # the clock was set back
            self._last.clear()
        self._now_ms = now_ms
        if len(self._last) >= self._prune_at:
            horizon = now_ms - FORGET_MS
            self._last = {handle: last for handle, last in self._last.items() if last >= horizon}
            self._prune_at = max(10_000, 2 * len(self._last))

    def following(self, handle: int, now_ms: int, latest_ms: int) -> int | None:
        """The series' next free millisecond from `now_ms` on; None if beyond `latest_ms`."""
        timestamp = max(now_ms, self._last.get(handle, 0) + 1)
        if timestamp > latest_ms:
            return None
        self._last[handle] = timestamp
        return timestamp

    def reserve(self, handle: int, count: int, now_ms: int, latest_ms: int) -> int:
        """The first of the series' next `count` free milliseconds; those beyond `latest_ms` stay
        free."""
        first = max(now_ms, self._last.get(handle, 0) + 1)
        if first <= latest_ms:
            self._last[handle] = min(first + count - 1, latest_ms)
        return first


class JsonReader:
    """Reads the samples of one request into columns."""

    def __init__(self, arrival: Arrival) -> None:
        self._arrival, self._columns = arrival, SampleColumns(arrival, SOURCE)
        self._latest_ms = arrival.limits.window(arrival.now_ms).latest_ms
        self._arrival_times = arrival.directory.companion(ArrivalTimes, ArrivalTimes)
        self._arrival_times.begin(arrival.now_ms)

    def read(self, index: int, item: object) -> None:
        """Takes the sample, or notes why not; `index` is its place in the request."""
        organization_id = None
        try:
            sample = _sample(item)
            tags = sample.tags
            if self._arrival.grant.is_platform:
                field = f"tags.{model.ORGANIZATION_LABEL}"
                organization_id = read_tenant(field, tags.get(model.ORGANIZATION_LABEL))
            given = sample.timestamp
            timestamp = None if given is None else self._timestamp(given)
            context = self._context(sample.wedding_context)
            if not math.isfinite(sample.value):
                raise Refused(
                    model.NOT_FINITE, "value", "is not finite: JSON knows no NaN and no infinity"
                )
            handle = self._columns.series(
                sample.metric_name,
                tags,
                service_name=sample.service_name,
                metric_type=sample.metric_type,
                unit=sample.unit,
            )
            if timestamp is None:
                timestamp = self._arrival_time(handle)
        except Refused as refused:
            self._columns.refuse(refused, position=index, organization_id=organization_id)
            return
        self._columns.add(handle, timestamp, sample.value, position=index, context=context)

    def finish(self) -> Decoded:
        """The samples that were good, and what was wrong with the others."""
        return self._columns.finish()

    def _arrival_time(self, handle: int) -> int:
        timestamp = self._arrival_times.following(handle, self._arrival.now_ms, self._latest_ms)
        if timestamp is None:
            reason = "is missing, and the series has used up the milliseconds that are taken ahead"
            raise Refused(model.TOO_NEW, "timestamp", reason)
        return timestamp

    def _timestamp(self, given: float | str) -> int:
        if isinstance(given, str):
            try:
                moment = msgspec.convert(given, _Moment)
            except (msgspec.ValidationError, UnicodeError):
                reason = "is not RFC 3339 with an offset, such as 2026-06-20T14:00:00Z"
                raise Refused(model.INVALID, "timestamp", reason) from None
            timestamp = to_ms(moment)
        elif not -math.inf < given < math.inf:
            raise Refused(model.INVALID, "timestamp", "is not a finite number")
        elif abs(given) >= FIRST_MILLISECONDS:
            timestamp = round(given)
        else:
            timestamp = round(given * 1000)
        self._columns.check_time(timestamp)
        return timestamp

    def _context(self, given: dict[str, Any] | None) -> int:
        if given is None:
            return CALENDAR
        return self._columns.context(context_text(given, self._arrival.limits))


def context_text(given: dict[str, Any], limits: IngestLimits) -> str:
    """A wedding context as it is stored. Raises Refused."""
    if _is_deeper(given, MOST_CONTEXT_LEVELS):
        reason = f"is nested deeper than {MOST_CONTEXT_LEVELS} levels"
        raise Refused(model.INVALID, "wedding_context", reason)
    try:
        msgspec.convert(given, _WeddingContext)
        text = _encode(given).decode()
    except (msgspec.ValidationError, msgspec.EncodeError, UnicodeEncodeError) as exc:
        field, reason = _explain(exc)
        field = f"wedding_context.{field}" if field else "wedding_context"
        raise Refused(model.INVALID, field, reason) from None
    if len(text) > limits.context_bytes:
        reason = f"is longer than {limits.context_bytes} bytes of JSON"
        raise Refused(model.INVALID, "wedding_context", reason)
    if not _is_storable(given):
        reason = "contains a NUL character or a number that is not finite"
        raise Refused(model.INVALID, "wedding_context", reason)
    return text


def _sample(item: object) -> _Sample:
    """One sample from raw JSON or from the lenient reader's object."""
    try:
        if not isinstance(item, msgspec.Raw):
            return _checked(msgspec.convert(item, _Sample))
        try:
            return _decode_sample(item)
        except msgspec.ValidationError as exc:
            if "out of range" not in str(exc):
                raise
        except UnicodeDecodeError:
            raise Refused(model.INVALID, "sample", "is not UTF-8") from None
        except (msgspec.DecodeError, RecursionError):
            pass
        return _checked(msgspec.convert(_lenient(item), _Sample))
    except msgspec.ValidationError as exc:
        field, reason = _explain(exc)
        raise Refused(model.INVALID, field or "sample", reason) from None
    except MalformedBody:
        raise Refused(model.INVALID, "sample", "is not JSON") from None
    except UnicodeError:
        raise Refused(model.INVALID, "sample", _NOT_TEXT) from None
    except RecursionError:
        raise Refused(model.INVALID, "sample", "is nested too deeply") from None


_NOT_TEXT: Final = "contains half a surrogate pair or what is not UTF-8"


def _checked(sample: _Sample) -> _Sample:
    """Refuses surrogates, which Python's reader takes and UTF-8 cannot express."""
    texts = (sample.service_name, sample.metric_name, sample.unit or "", *sample.tags)
    for text in (*texts, *sample.tags.values()):
        try:
            text.encode()
        except UnicodeEncodeError:
            raise Refused(model.INVALID, "sample", _NOT_TEXT) from None
    return sample


_MISSING = re.compile(r"missing required field `(?P<name>[^`]*)`")
_PATH = re.compile(r" - at `(?:key in )?\$?(?P<path>[^`]*)`$")
_LABEL = re.compile(r"Invalid enum value (?P<given>.*)")


def _explain(exc: Exception) -> tuple[str, str]:
    """The field and the reason from one of msgspec's messages."""
    text = str(exc).encode(errors="replace").decode()
    path = _PATH.search(text)
    field = path["path"].lstrip(".").replace("[...]", ".*") if path else ""
    reason = text[: path.start()] if path else text
    missing = _MISSING.search(reason)
    if missing:
        return ".".join(filter(None, (field, missing["name"]))), "is missing"
    label = _LABEL.search(reason)
    if label:
        known = ", ".join(_LABELS.get(field.rpartition(".")[2], ()))
        reason = f"unknown value {label['given'][:100]}; one of {known}"
    return field, reason.replace("`", "")[:300]


def _is_deeper(value: dict[str, Any], most: int) -> bool:
    """Whether containers are nested in each other more than `most` levels deep."""
    level: list[dict[str, Any] | list[Any]] = [value]
    for _ in range(most):
        level = [
            inner
            for item in level
            for inner in (item.values() if isinstance(item, dict) else item)
            if isinstance(inner, dict | list)
        ]
        if not level:
            return False
    return True


def _is_storable(value: object) -> bool:
    """Whether PostgreSQL's jsonb can hold what Python's reader took."""
    match value:
        case dict():
            return all(_is_storable(key) and _is_storable(inner) for key, inner in value.items())
        case list():
            return all(map(_is_storable, value))
        case str():
            return "\0" not in value
        case float():
            return math.isfinite(value)
        case _:
            return True
