"""What a request of OTLP metrics holds, whatever its encoding."""

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final, Protocol, TypeAlias
from uuid import UUID

from wedsync_apm.errors import FieldError
from wedsync_apm.ingest import model as ingest
from wedsync_apm.ingest.columns import Refused
from wedsync_apm.ingest.model import Rejections

DELTA: Final = 1
CUMULATIVE: Final = 2
NO_RECORDED_VALUE: Final = 1
"""The bit of a point's flags that says: this series has ended. There is no value then."""

LARGE_BODY_BYTES: Final = 1024 * 1024
"""Bodies from here on are looked over before they are parsed, and parsed in a thread."""
MOST_POINT_BYTES: Final = 64 * 1024
"""Of one histogram or summary. Most have less than 1 KiB, and as much again in exemplars."""

MOST_BUCKETS: Final = 5_000
"""Of one histogram, as sent: thirty times what SDKs send."""
MOST_ATTRIBUTES: Final = 1_000
"""Of a resource, scope or point, which are looked at: more than a series may ever have as tags."""
MOST_ATTRIBUTES_BYTES: Final = 256 * 1024
"""Of them all, encoded."""

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


def _nothing(_: object) -> Point:
    raise Refused(ingest.INVALID, "data point", "is of no kind")


NO_METRIC: Final = Metric("", "", Kind.NUMBER, False, False, (), _nothing)
"""One of no kind that we know, and so without points."""


@dataclass(frozen=True, slots=True)
class Scope:
    """What one instrumentation scope sends."""

    name: Text
    version: Text
    attributes: Attributes
    metrics: Iterable[Metric]


@dataclass(frozen=True, slots=True)
class Resource:
    """Who sends: a program on a machine, with its scopes."""

    attributes: Attributes
    scopes: Iterable[Scope]


class Codec(Protocol):
    """An encoding of OTLP."""

    def resources(self, body: bytes, most_points: int) -> Iterable[Resource]:
        """Raises MalformedBody for what is no request, and TooLarge for far more pieces than
        `most_points` points have."""
        ...

    def attributes(self, encoded: Attributes) -> list[tuple[str, str]]:
        """Names and values as text. Raises Refused."""
        ...


def check_count(field: str, count: int, most: int, what: str) -> None:
    """Raises Refused for a list that is too long to be taken apart."""
    if count > most:
        reason = f"has {count} {what}; at most {most} are taken"
        raise Refused(ingest.INVALID, field, reason)


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
