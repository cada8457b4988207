"""New Relic's Metric API: gauges, counts and summaries, as JSON.

A count, and each figure of a summary, is of one interval and says nothing of those before: it is
stored as it came, as a gauge. New Relic gives an interval by its beginning; here it stands at its
end, when what it tells was known, as with every other protocol.
"""

import asyncio
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from wedsync_apm.errors import NotValid
from wedsync_apm.ingest import model
from wedsync_apm.ingest.columns import Refused, SampleColumns
from wedsync_apm.ingest.foreign_json import check_parts, convert, is_text, read_json
from wedsync_apm.ingest.json_samples import READ_AT_ONCE
from wedsync_apm.ingest.model import Arrival, Decoded

SOURCE: Final = "newrelic"

TYPES: Final = ("gauge", "count", "summary")
FIGURES: Final = ("count", "sum", "min", "max")
"""Of a summary, each a series of its own: the metric's name, an underscore, the figure."""

_FIRST_MS, _FIRST_US, _FIRST_NS = 10**11, 10**14, 10**17
"""Times from these on are in that unit, smaller ones in seconds."""
LONGEST_INTERVAL_MS: Final = 86_400_000
_GREATEST: Final = 1e308

PARTS_A_METRIC: Final = 20
"""Values of JSON that a metric may need, with its attributes."""
MOST_KNOWN: Final = 200_000
"""Ways to name a series that are remembered."""


class _Common(msgspec.Struct):
    timestamp: int | float | None = None
    interval: int | float | None = msgspec.field(default=None, name="interval.ms")
    attributes: dict[str, Any] | None = None


class _Block(msgspec.Struct):
    metrics: list[Any]
    common: _Common | None = None


class _RawBlock(_Block):
    metrics: list[msgspec.Raw]


class _Metric(_Common):
    name: str = ""
    type: str = "gauge"
    value: Any = None


class _Known(dict[tuple[Any, ...], tuple[int, ...]]):
    """The handles of what was met before, by the words that it came in."""


async def decode(body: bytes, arrival: Arrival) -> Decoded:
    """The good metrics of a body, and what is wrong with the others.

    Raises MalformedBody, NotValid and TooLarge for the body as a whole.
    """
    blocks = _blocks(body, 1_000 + PARTS_A_METRIC * arrival.limits.samples)
    arrival.limits.check_samples(sum(len(block.metrics) for block in blocks))
    reader = MetricReader(arrival)
    position = 0
    for block in blocks:
        reader.begin(block.common or _Common())
        for item in block.metrics:
            if position and position % READ_AT_ONCE == 0:
                await asyncio.sleep(0)
            reader.read(position, item)
            position += 1
    return reader.finish()


def _blocks(body: bytes, most_parts: int) -> Sequence[_Block]:
    """Metrics are left as they came, each to be read when its turn comes."""
    check_parts(body, most_parts)
    try:
        return msgspec.json.decode(body, type=list[_RawBlock])
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        found = read_json(body, most_parts)
    try:
        return [convert(one, _Block) for one in (found if isinstance(found, list) else [found])]
    except ValueError as exc:
        raise NotValid(f"A block of metrics is not of its shape: {exc}.") from exc


class MetricReader:
    """Reads the metrics of one request into columns."""

    def __init__(self, arrival: Arrival) -> None:
        self._arrival, self._columns = arrival, SampleColumns(arrival, SOURCE)
        self._known = arrival.directory.companion(_Known, _Known)
        self.begin(_Common())

    def begin(self, common: _Common) -> None:
        """What stands for all metrics from here on that do not say otherwise."""
        self._common, self._common_tags = common, dict[str, str]()
        self._common_wrong: tuple[str, str, str] | None = None
        try:
            self._common_tags = self._tags(common.attributes)
        except Refused as refused:
            self._common_wrong = refused.code, refused.field, refused.reason

    def read(self, position: int, item: Any) -> None:
        """Takes the metric, or notes why not; `position` is its place in the request."""
        try:
            try:
                metric = convert(item, _Metric)
            except ValueError as exc:
                raise Refused(model.INVALID, "metric", f"is not of its shape: {exc}") from None
            self._take(position, metric)
        except Refused as refused:
            self._columns.refuse(refused, position=position)

    def finish(self) -> Decoded:
        """The samples that were good, and what was wrong with the others."""
        return self._columns.finish()

    def _take(self, position: int, metric: _Metric) -> None:
        if self._common_wrong:
            raise Refused(*self._common_wrong)
        if metric.type not in TYPES:
            raise Refused(model.UNSUPPORTED, "type", f"is none of {', '.join(TYPES)}")
        at = self._end(metric, self._common)
        if metric.type == "summary":
            figures = _figures(metric.value)
            suffixes: Iterable[str] = (f"_{name}" for name in figures)
            values = list(figures.values())
        else:
            suffixes, values = ("",), [_number(metric.value, "value")]
        self._columns.check_time(at)
        tags = self._common_tags | self._tags(metric.attributes)
        handles = self._handles(metric.name, tags, tuple(suffixes))
        self._arrival.limits.check_samples(len(self._columns) + len(values))
        for handle, value in zip(handles, values, strict=True):
            self._columns.add(handle, at, value, position=position)

    def _tags(self, attributes: Mapping[str, Any] | None) -> dict[str, str]:
        """Attributes as text; one without a value is none. Raises Refused."""
        most = self._arrival.limits.tags
        if attributes and len(attributes) > most:
            reason = f"{len(attributes)} of them; at most {most} are taken"
            raise Refused(model.INVALID, "attributes", reason)
        return {name: text for name, text in _texts(attributes or {}) if text}

    def _end(self, metric: _Metric, common: _Common) -> int:
        interval = common.interval if metric.interval is None else metric.interval
        given = common.timestamp if metric.timestamp is None else metric.timestamp
        at = self._arrival.now_ms if given is None else _milliseconds(given)
        if metric.type == "gauge":
            return at
        if interval is None or not 0 <= interval <= LONGEST_INTERVAL_MS:
            reason = f"is needed for a {metric.type}, in milliseconds, at most a day"
            raise Refused(model.INVALID, "interval.ms", reason)
        # Without a time the interval has just ended.
        return at if given is None else at + round(interval)

    def _handles(
        self, name: str, tags: Mapping[str, str], suffixes: tuple[str, ...]
    ) -> tuple[int, ...]:
        words = (self._arrival.grant.organization_id, name, suffixes, *tags.items())
        handles = self._known.get(words)
        if handles is None:
            if not name:
                raise Refused(model.INVALID, "name", "is missing or empty")
            if not is_text(name, *tags, *tags.values()):
                raise Refused(model.INVALID, "name", "or its attributes are not UTF-8")
            handles = tuple(
                self._columns.series(name + suffix, tags, metric_type="gauge", prefix="attributes.")
                for suffix in suffixes
            )
            if len(self._known) >= MOST_KNOWN:
                self._known.clear()
            self._known[words] = handles
        return handles


def _milliseconds(given: float) -> int:
    """Since 1970, from seconds, milli-, micro- or nanoseconds."""
    if not 0 <= given < math.inf:
        raise Refused(model.INVALID, "timestamp", "is no time since 1970")
    if given < _FIRST_MS:
        return round(given * 1000)
    if given < _FIRST_US:
        return int(given)
    return int(given) // (1_000 if given < _FIRST_NS else 1_000_000)


def _number(value: Any, field: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Refused(model.INVALID, field, "is no number")
    try:
        found = float(value)
    except OverflowError:  # an integer of hundreds of digits
        found = math.inf
    if not math.isfinite(found):
        raise Refused(model.NOT_FINITE, field, "is not finite: JSON knows no NaN and no infinity")
    return found


def _figures(value: Any) -> dict[str, float]:
    """Of a summary; its least and its greatest value may be unknown."""
    if not isinstance(value, dict):
        raise Refused(model.INVALID, "value", "is no object with count, sum, min and max")
    return {
        name: _number(value.get(name), f"value.{name}")
        for name in FIGURES
        if name in ("count", "sum") or value.get(name) is not None
    }


def _texts(attributes: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in attributes.items():
        match value:
            case str():
                yield name, value
            case bool():
                yield name, "true" if value else "false"
            case int() | float():
                if abs(value) > _GREATEST:  # an integer may have thousands of digits
                    raise Refused(model.INVALID, f"attributes.{name[:64]}", "is too great a number")
                yield name, str(value)
            case None:
                pass
            case _:
                reason = "is no text, number, true or false"
                raise Refused(model.INVALID, f"attributes.{name[:64]}", reason)
