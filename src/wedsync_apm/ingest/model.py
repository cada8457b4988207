"""What the decoders of all protocols share: who sends, and what was not taken and why."""

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from wedsync_apm.errors import FieldError
from wedsync_apm.ingest.limits import IngestLimits
from wedsync_apm.metrics.model import Ints, SampleBatch, SeriesDirectory

# Reasons of refusal in the table that the organization sees.
INVALID: Final = "invalid"
NOT_FINITE: Final = "not_finite"
TOO_OLD: Final = "too_old"
TOO_NEW: Final = "too_new"
TOO_MANY_SERIES: Final = "series_limit"
RATE_LIMIT: Final = "rate_limit"
UNSUPPORTED: Final = "unsupported"
UNKNOWN_ORGANIZATION: Final = "unknown_organization"

ORGANIZATION_LABEL: Final = "organization_id"
"""The label, attribute or tag that names the tenant of a series sent with a platform key."""


@dataclass(frozen=True, slots=True)
class IngestGrant:
    """What a key may do here: write for one organization, or, a platform key, for many."""

    organization_id: UUID | None
    """None for a platform key: each series names its own organization."""
    scope: str = "ingest"

    @property
    def is_platform(self) -> bool:
        return self.organization_id is None


@dataclass(slots=True, eq=False)
class Arrival:
    """What a decoder must know of a request besides its bytes."""

    grant: IngestGrant
    directory: SeriesDirectory
    limits: IngestLimits
    now_ms: int


@dataclass(slots=True)
class Refusal:
    """Samples of one organization that were not taken for one reason."""

    count: int = 0
    example: str = ""


@dataclass(slots=True)
class Rejections:
    """The samples of a request that were not taken: all counted, the first ones listed."""

    listed_at_most: int
    listed: list[FieldError] = field(default_factory=list)
    count: int = 0
    by_reason: dict[tuple[UUID | None, str], Refusal] = field(default_factory=dict)
    """By organization (None where it is not known) and reason."""

    def add(
        self,
        reason: str,
        error: FieldError,
        organization_id: UUID | None = None,
        count: int = 1,
    ) -> None:
        """Counts `count` samples; `error` says in plain words what is wrong with the first."""
        self.count += count
        if len(self.listed) < self.listed_at_most:
            self.listed.append(error)
        refusal = self.by_reason.setdefault((organization_id, reason), Refusal())
        refusal.count += count
        refusal.example = refusal.example or f"{error.field}: {error.reason}"[:300]

    def of_known_organizations(self) -> Iterator[tuple[UUID, str, Refusal]]:
        """What can be shown to somebody."""
        for (organization_id, reason), refusal in self.by_reason.items():
            if organization_id is not None:
                yield organization_id, reason, refusal


@dataclass(slots=True, eq=False)
class Decoded:
    """A request's good samples, and what became of the others.

    `positions` gives each sample's place in the request, for protocols whose answer names it.
    """

    batch: SampleBatch
    rejections: Rejections
    positions: Ints | None = None


Decode = Callable[[bytes, Arrival], Awaitable[Decoded]]
"""What a protocol is to the intake: an unpacked body becomes samples.

Raises MalformedBody for what cannot be read, NotValid for what has another shape, UnsupportedMedia
for what it does not know, and TooLarge for too many samples.
"""
