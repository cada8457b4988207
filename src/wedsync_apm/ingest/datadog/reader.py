"""Series and points of one request on their way into columns, whatever they came as."""

import asyncio
import math
from collections.abc import Iterable, Sequence
from typing import Any, Final
from uuid import UUID

from wedsync_apm.ingest import model
from wedsync_apm.ingest.columns import Refused, SampleColumns
from wedsync_apm.ingest.datadog.tags import read_tags
from wedsync_apm.ingest.distribution import SUFFIXES, Distribution
from wedsync_apm.ingest.foreign_json import is_text, read_items
from wedsync_apm.ingest.limits import IngestLimits
from wedsync_apm.ingest.model import Arrival, Decoded

SOURCE: Final = "datadog"
READ_AT_ONCE: Final = 2_000
"""Steps between which other requests get their turn."""
MOST_KNOWN: Final = 200_000
"""Ways to name a series that are remembered."""
PARTS_A_SAMPLE: Final = 20
"""Values of JSON that a sample may need, with its series, tags and resources."""
LAST_SECOND: Final = 10_000_000_000
"""No time lies beyond; as milliseconds it still fits everywhere."""


class _Known(dict[tuple[Any, ...], tuple[int, ...]]):
    """The handles of what was met before, by the words that it came in."""


def series_in(body: bytes, limits: IngestLimits) -> list[Any]:
    """What stands under `series` in a JSON body, to be read one by one.

    Raises MalformedBody and TooLarge for the body, NotValid for one of another shape.
    """
    items = read_items(body, "series", 1_000 + PARTS_A_SAMPLE * limits.samples)
    limits.check_samples(len(items))
    return items


def number(value: Any, field: str) -> float:
    """A finite number, which old clients send as text. Raises Refused."""
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            raise Refused(model.INVALID, field, "is no number") from None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Refused(model.INVALID, field, "is no number")
    try:
        found = float(value)
    except OverflowError:  # an integer of hundreds of digits
        found = math.inf
    if not math.isfinite(found):
        raise Refused(model.NOT_FINITE, field, "is not finite")
    return found


def milliseconds(value: Any, field: str) -> int:
    """Seconds since 1970 in whole milliseconds. Raises Refused."""
    seconds = number(value, field)
    if not 0 <= seconds <= LAST_SECOND:
        raise Refused(model.INVALID, field, "is no number of seconds since 1970")
    return round(seconds * 1000)


class Reader:
    """Takes what a decoder finds, and counts what is wrong with the rest."""

    def __init__(self, arrival: Arrival, source: str = SOURCE) -> None:
        self.columns = SampleColumns(arrival, source)
        self._arrival = arrival
        self._known = arrival.directory.companion(_Known, _Known)
        self._samples = self._steps = 0

    def series(
        self,
        metric: str,
        tags: Sequence[str],
        *,
        host: str = "",
        device: str = "",
        more: Iterable[tuple[str, str]] = (),
        unit: str | None = None,
        suffixes: Sequence[str] = ("",),
    ) -> tuple[int, ...]:
        """A handle for each of the suffixes, the unit belonging to all but a count.

        Raises Refused.
        """
        tenant: UUID | None = self._arrival.grant.organization_id
        more = tuple(more)
        words = (tenant, metric, tuple(tags), host, device, more, unit, len(suffixes))
        handles = self._known.get(words)
        if handles is None:
            if not is_text(metric, *tags, host, device, unit or ""):
                raise Refused(model.INVALID, "metric", "or its tags are not UTF-8")
            found = read_tags(tags, host, device) | dict(more)
            handles = tuple(
                self.columns.series(
                    metric + suffix if metric else "",
                    found,
                    metric_type="gauge",
                    unit=None if suffix == "_count" else unit,
                )
                for suffix in suffixes
            )
            if len(self._known) >= MOST_KNOWN:
                self._known.clear()
            self._known[words] = handles
        return handles

    def expect(self, samples: int) -> None:
        """Raises TooLarge when the samples announced so far are more than a request may carry."""
        self._samples += samples
        self._arrival.limits.check_samples(self._samples)

    def distribution(
        self,
        metric: str,
        handles: Sequence[int],
        at: int,
        distribution: Distribution,
        *,
        position: int = 0,
    ) -> None:
        """The figures of a distribution at a time that was checked. Raises Refused."""
        figures = list(distribution.figures())
        if not all(map(math.isfinite, figures)):
            raise Refused(model.NOT_FINITE, metric, "has figures that are not finite")
        for handle, figure in zip(handles, figures, strict=True):
            self.columns.add(handle, at, figure, position=position)

    def distribution_series(
        self, metric: str, tags: Sequence[str], *, host: str = "", unit: str | None = None
    ) -> tuple[int, ...]:
        """The handles of the figures of a distribution. Raises Refused."""
        return self.series(metric, tags, host=host, unit=unit, suffixes=SUFFIXES)

    async def pause(self, steps: int = 1) -> None:
        """Called for each sample: lets other requests have their turn now and then."""
        self._steps += steps
        if self._steps >= READ_AT_ONCE:
            self._steps = 0
            await asyncio.sleep(0)

    def finish(self) -> Decoded:
        """Everything, once."""
        return self.columns.finish()
