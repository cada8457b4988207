"""A finished interval on its way into the store, through the same intake as every request."""

import asyncio
import math
from typing import Final

from wedsync_apm.annotations.model import Annotation
from wedsync_apm.ingest import model
from wedsync_apm.ingest.annotating import Annotate, Event, annotation_of, keep
from wedsync_apm.ingest.columns import Refused, SampleColumns
from wedsync_apm.ingest.datadog.tags import read_tags
from wedsync_apm.ingest.model import Arrival, Decode, Decoded
from wedsync_apm.ingest.statsd.gathering import Gathered, Key, Spread
from wedsync_apm.ingest.statsd.lines import SentEvent

SOURCE: Final = "statsd"
READ_AT_ONCE: Final = 500
"""Series between which others get their turn: a distribution sorts its bins."""


class _Known(dict[tuple[object, ...], int]):
    """Handles by organization, series and suffix."""


def flush_decoder(gathered: Gathered, annotate: Annotate) -> Decode:
    """Makes samples of an interval, and keeps its events; there is no body to read."""

    async def decode(body: bytes, arrival: Arrival) -> Decoded:
        columns = SampleColumns(arrival, SOURCE)
        for one in gathered.refused:
            columns.refuse(Refused(one.code, "line", one.reason), count=one.count)
        for nth, (key, cell) in enumerate(gathered.cells):
            if nth % READ_AT_ONCE == READ_AT_ONCE - 1:
                await asyncio.sleep(0)
            unit = cell.unit if isinstance(cell, Spread) else None
            for suffix, value in cell.figures():
                _add(
                    columns,
                    arrival,
                    key,
                    at_ms=gathered.at_ms,
                    value=value,
                    suffix=suffix,
                    unit=unit,
                )
        for key, at_ms, value in gathered.stamped:
            _add(columns, arrival, key, at_ms=at_ms, value=value)
        found: list[tuple[None, Annotation]] = []
        for event, came_ms in gathered.events:
            try:
                found.append((None, annotation_of(_event(event, came_ms), arrival, columns)))
            except Refused as refused:
                columns.refuse(refused)
        await keep(annotate, SOURCE, found, columns, may_wait=False)
        return columns.finish()

    return decode


def _add(
    columns: SampleColumns,
    arrival: Arrival,
    key: Key,
    *,
    at_ms: int,
    value: float,
    suffix: str = "",
    unit: str | None = None,
) -> None:
    name, tags = key
    try:
        columns.check_time(at_ms)
        if not math.isfinite(value):
            raise Refused(model.NOT_FINITE, "value", "is not finite")
        known = arrival.directory.companion(_Known, _Known)
        place = arrival.grant.organization_id, key, suffix, unit
        handle = known.get(place)
        if handle is None:
            handle = known[place] = columns.series(
                name + suffix,
                dict(tags),
                metric_type="gauge",
                unit=None if suffix == "_count" else unit,
            )
    except Refused as refused:
        columns.refuse(refused)
        return
    columns.add(handle, at_ms, value)


def _event(event: SentEvent, came_ms: int) -> Event:
    return Event(
        title=event.title,
        text=event.text,
        at_ms=came_ms if event.at_s is None else event.at_s * 1000,
        tags=read_tags(event.tags, event.host),
        alert_type=event.alert_type,
        priority=event.priority,
        host=event.host,
        aggregation_key=event.aggregation_key,
    )
