"""Events: `POST /api/v1/events` of the API's clients, and those in an Agent's `POST /intake/`."""

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from wedsync_apm.annotations.model import Annotation
from wedsync_apm.errors import NotValid
from wedsync_apm.ingest import model
from wedsync_apm.ingest.annotating import Annotate, Event, annotation_of, keep
from wedsync_apm.ingest.columns import Refused
from wedsync_apm.ingest.datadog.reader import SOURCE, Reader, milliseconds
from wedsync_apm.ingest.datadog.tags import read_tags
from wedsync_apm.ingest.foreign_json import convert, read_json
from wedsync_apm.ingest.model import Arrival, Decode, Decoded

MOST_PARTS: Final = 200_000
"""In a body that may describe a host at length."""
MOST_EVENTS: Final = 1_000
"""Of a request."""


class _Event(msgspec.Struct):
    title: str
    text: str | None = None
    date_happened: Any = None
    alert_type: str | None = None
    priority: str | None = None
    host: str | None = None
    device_name: str | list[str] | None = None
    aggregation_key: str | None = None
    tags: list[str] | None = None


class _AgentEvent(msgspec.Struct):
    msg_title: str
    msg_text: str | None = None
    timestamp: Any = None
    alert_type: str | None = None
    priority: str | None = None
    host: str | None = None
    aggregation_key: str | None = None
    tags: list[str] | None = None


def event_decoder(annotate: Annotate, kept: list[Annotation]) -> Decode:
    """Keeps the one event of a body, and puts it into `kept`. Raises NotValid for what is none,
    and RateLimited."""

    async def decode(body: bytes, arrival: Arrival) -> Decoded:
        reader = Reader(arrival, SOURCE)
        item = read_json(body, MOST_PARTS)
        try:
            one = convert(item, _Event)
        except ValueError as exc:
            raise NotValid(f"The body is no event: {exc}.") from exc
        try:
            kept.append(_of_client(one, arrival, reader))
        except Refused as refused:
            reader.columns.refuse(refused)
        await _keep(annotate, [(None, event) for event in kept], arrival, reader)
        return reader.finish()

    return decode


def intake_decoder(annotate: Annotate) -> Decode:
    """Keeps the events of an Agent's body; what it says of its host is not kept. Raises
    RateLimited."""

    async def decode(body: bytes, arrival: Arrival) -> Decoded:
        reader = Reader(arrival, SOURCE)
        given = read_json(body, MOST_PARTS) if body else {}
        sources = given.get("events") if isinstance(given, dict) else None
        lists = sources.values() if isinstance(sources, dict) else ()
        items = [item for one in lists if isinstance(one, list) for item in one]
        if len(items) > MOST_EVENTS:
            raise NotValid(f"{len(items)} events in one request; at most {MOST_EVENTS} are taken.")
        found: list[tuple[int | None, Annotation]] = []
        for position, item in enumerate(items):
            try:
                found.append((position, _of_agent(item, arrival, reader)))
            except Refused as refused:
                reader.columns.refuse(refused, position=position)
        await _keep(annotate, found, arrival, reader)
        return reader.finish()

    return decode


async def _keep(
    annotate: Annotate,
    found: Sequence[tuple[int | None, Annotation]],
    arrival: Arrival,
    reader: Reader,
) -> None:
    # One organization over its rate must not hold up the others of a platform key.
    may_wait = not arrival.grant.is_platform
    await keep(annotate, SOURCE, found, reader.columns, may_wait=may_wait)


def _of_client(one: _Event, arrival: Arrival, reader: Reader) -> Annotation:
    event = Event(
        title=one.title,
        text=one.text or "",
        at_ms=_time(one.date_happened, arrival),
        tags=read_tags(one.tags or (), one.host or "", _device(one.device_name)),
        alert_type=one.alert_type or "",
        priority=one.priority or "",
        host=one.host or "",
        aggregation_key=one.aggregation_key or "",
    )
    return annotation_of(event, arrival, reader.columns)


def _of_agent(item: Any, arrival: Arrival, reader: Reader) -> Annotation:
    try:
        one = convert(item, _AgentEvent)
    except ValueError as exc:
        raise Refused(model.INVALID, "event", f"is not of its shape: {exc}") from None
    event = Event(
        title=one.msg_title,
        text=one.msg_text or "",
        at_ms=_time(one.timestamp, arrival),
        tags=read_tags(one.tags or (), one.host or ""),
        alert_type=one.alert_type or "",
        priority=one.priority or "",
        host=one.host or "",
        aggregation_key=one.aggregation_key or "",
    )
    return annotation_of(event, arrival, reader.columns)


def _time(given: Any, arrival: Arrival) -> int:
    return arrival.now_ms if given is None else milliseconds(given, "date_happened")


def _device(given: str | list[str] | None) -> str:
    return ",".join(sorted(given)) if isinstance(given, list) else given or ""
