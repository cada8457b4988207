"""What a request of OTLP metrics holds, whatever its encoding."""

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final, Protocol, TypeAlias
from uuid import UUID

from wedsync_apm.errors import FieldError
from wedsync_apm.ingest.model import Rejections

DELTA: Final = 1
CUMULATIVE: Final = 2
NO_RECORDED_VALUE: Final = 1
"""The bit of a point's flags that says: this series has ended. There is no value then."""

LARGE_BODY_BYTES: Final = 1024 * 1024
"""Bodies from here on are looked over before they are parsed, and parsed in a thread."""
MOST_POINT_BYTES: Final = 256 * 1024
"""Of one histogram or summary: room for its exemplars, which we do not keep."""

Text: TypeAlias = bytes | str
Attributes: TypeAlias = Hashable
"""A list of attributes still encoded: equal ones mean the same."""


class Kind(Enum):
    """What a metric's points are."""

    NUMBER = 0
    HISTOGRAM = 1
    EXPONENTIAL = 2
    SUMMARY = 3


@dataclass(frozen=True, slots=True)
class Histogram:
    """Bucket i counts the values in (bounds[i - 1], bounds[i]], the last one those beyond."""

    count: int
    sum: float | None
    min: float | None
    max: float | None
    bucket_counts: Sequence[int]
    bounds: Sequence[float]


@dataclass(frozen=True, slots=True)
class Buckets:
    """Bucket i counts the absolute values in (base ** (offset + i), base ** (offset + i + 1)]."""

    offset: int
    counts: Sequence[int]


@dataclass(frozen=True, slots=True)
class Exponential:
    """`base` is 2 ** (2 ** -scale); zero_count counts absolute values up to zero_threshold."""

    count: int
    sum: float | None
    min: float | None
    max: float | None
    scale: int
    zero_count: int
    zero_threshold: float
    positive: Buckets
    negative: Buckets


@dataclass(frozen=True, slots=True)
class Summary:
    """`quantiles` are pairs of a quantile (0 to 1) and its value."""

    count: int
    sum: float
    quantiles: Sequence[tuple[float, float]]


Payload: TypeAlias = float | Histogram | Exponential | Summary | None
Point: TypeAlias = tuple[Attributes, int, int, Payload]
"""Attributes, nanoseconds since 1970 UTC (0 where the sender knows no time), flags, and what was
measured: None where there is nothing."""


@dataclass(frozen=True, slots=True)
class Metric:
    """The points of one metric, each still to be read; `read` raises Refused."""

    name: Text
    unit: Text
    kind: Kind
    is_cumulative: bool
    is_monotonic: bool
    points: Sequence[Any]
    read: Callable[[Any], Point]


@dataclass(frozen=True, slots=True)
class Scope:
    """What one instrumentation scope of one resource sends."""

    resource: Attributes
    name: Text
    version: Text
    attributes: Attributes
    metrics: Iterable[Metric]


class Codec(Protocol):
    """An encoding of OTLP."""

    def scopes(self, body: bytes, most_points: int) -> Iterable[Scope]:
        """Raises MalformedBody for what is no request, and TooLarge for far more pieces than
        `most_points` points have."""
        ...

    def attributes(self, encoded: Attributes) -> list[tuple[str, str]]:
        """Names and values as text. Raises Refused."""
        ...


@dataclass(slots=True)
class PointRejections(Rejections):
    """Counts what OTLP counts: data points, of which one may have become several samples."""

    points: set[int] = field(default_factory=set)
    """Places, in the request, of the points that were not stored, or not with all their samples."""

    def add(
        self,
        reason: str,
        error: FieldError,
        organization_id: UUID | None = None,
        count: int = 1,
    ) -> None:
        """`count` points from the place that `error` names on."""
        Rejections.add(self, reason, error, organization_id, count)
        if error.index is not None:
            self.points.update(range(error.index, error.index + count))
