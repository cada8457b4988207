"""Samples that come one by one, gathered into the columns of a batch.

For protocols whose samples are objects. Whatever is wrong with a sample is raised as `Refused`,
noted by `refuse`, and costs the others nothing.
"""

from array import array
from collections.abc import Mapping
from datetime import timedelta
from functools import lru_cache
from typing import Final
from uuid import UUID

import numpy as np

from wedsync_apm.errors import FieldError
from wedsync_apm.ingest import model
from wedsync_apm.ingest.model import Arrival, Decoded, Rejections
from wedsync_apm.metrics.model import CALENDAR, SampleBatch, SeriesKey, infer_metric_type

SERVICE_LABELS: Final = ("service_name", "service", "service.name", "job")
"""The first of them that a series has names its service."""
DEFAULT_SERVICE: Final = "default"


class Refused(Exception):
    """What is not taken: the reason's code, the field, the reason in plain words."""

    def __init__(self, code: str, field: str, reason: str) -> None:
        super().__init__(reason)
        self.code, self.field, self.reason = code, field, reason


def service_of(tags: Mapping[str, str]) -> str:
    """The service that a series belongs to whose protocol has no word of its own for it."""
    for label in SERVICE_LABELS:
        named = tags.get(label)
        if named:
            return named
    return DEFAULT_SERVICE


def read_tenant(field: str, named: str | None) -> UUID:
    """The organization that a platform key's sample names. Raises Refused."""
    if not named:
        raise Refused(model.INVALID, field, "is missing; a platform key needs it on every series")
    try:
        return _uuid(named)
    except ValueError:
        raise Refused(model.INVALID, field, "is not a UUID") from None


_uuid = lru_cache(maxsize=16_384)(UUID)


class SampleColumns:
    """The good samples of one request, and what was wrong with the others."""

    def __init__(self, arrival: Arrival, source: str) -> None:
        self.rejections = Rejections(arrival.limits.listed_errors)
        self._arrival, self._source = arrival, source
        self._window = arrival.limits.window(arrival.now_ms)
        self._series = array("q")
        self._timestamps = array("q")
        self._values = array("d")
        self._context_index = array("q")
        self._positions = array("q")
        self._contexts: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._series)

    def series(
        self,
        metric_name: str,
        tags: Mapping[str, str],
        *,
        service_name: str | None = None,
        metric_type: str | None = None,
        unit: str | None = None,
        prefix: str = "tags.",
    ) -> int:
        """The handle of a series; `service_name` stands in the tags where none is given.

        A platform key's tag `organization_id` names the tenant and is taken off; `prefix` goes
        before a tag's name in the text of a refusal. Raises Refused.
        """
        organization_id, own = self._arrival.grant.organization_id, dict(tags)
        if organization_id is None:
            label = model.ORGANIZATION_LABEL
            organization_id = read_tenant(f"{prefix}{label}", own.pop(label, None))
        service = service_of(own) if service_name is None else service_name
        problem = self._arrival.limits.problem_with_series(service, metric_name, own.items())
        if problem is None and unit:
            problem = self._arrival.limits.problem_with_name("unit", unit)
        if problem is not None:
            raise Refused(model.INVALID, problem.field, problem.reason)
        directory = self._arrival.directory
        return directory.handle(
            SeriesKey(
                organization_id,
                service,
                metric_name,
                directory.share_tags(sorted(own.items())),
                metric_type or infer_metric_type(metric_name),
                unit or None,
            )
        )

    def check_time(self, timestamp_ms: int, field: str = "timestamp") -> None:
        """Raises Refused for a time outside of what is taken."""
        limits = self._arrival.limits
        if timestamp_ms < self._window.earliest_ms:
            raise Refused(model.TOO_OLD, field, f"lies more than {_days(limits.past)} back")
        if timestamp_ms > self._window.latest_ms:
            raise Refused(model.TOO_NEW, field, f"lies more than {_minutes(limits.future)} ahead")

    def context(self, text: str) -> int:
        """The index of a wedding context, given as JSON text."""
        return self._contexts.setdefault(text, len(self._contexts))

    def add(
        self,
        handle: int,
        timestamp_ms: int,
        value: float,
        *,
        position: int = 0,
        context: int = CALENDAR,
    ) -> None:
        """Takes a sample whose time was checked; `position` is its place in the request."""
        self._series.append(handle)
        self._timestamps.append(timestamp_ms)
        self._values.append(value)
        self._context_index.append(context)
        self._positions.append(position)

    def refuse(
        self,
        refused: Refused,
        *,
        position: int | None = None,
        organization_id: UUID | None = None,
        count: int = 1,
    ) -> None:
        """Notes `count` samples that are not taken, for their owner too where one is known."""
        self.rejections.add(
            refused.code,
            FieldError(refused.field, refused.reason, position),
            organization_id or self._arrival.grant.organization_id,
            count,
        )

    def finish(self) -> Decoded:
        """Everything, once."""
        batch = SampleBatch(
            directory=self._arrival.directory,
            series=np.frombuffer(self._series, np.int64),
            timestamps_ms=np.frombuffer(self._timestamps, np.int64),
            values=np.frombuffer(self._values, np.float64),
            source=self._source,
            contexts=tuple(self._contexts),
            context_index=np.frombuffer(self._context_index, np.int64) if self._contexts else None,
        )
        return Decoded(batch, self.rejections, np.frombuffer(self._positions, np.int64))


def _days(span: timedelta) -> str:
    return f"{span / timedelta(days=1):g} days"


def _minutes(span: timedelta) -> str:
    return f"{span / timedelta(minutes=1):g} minutes"
