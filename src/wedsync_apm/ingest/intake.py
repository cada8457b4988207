"""From an unpacked body to a receipt: decode, look at the budget, store, count what was refused."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol
from uuid import UUID

import numpy as np

from wedsync_apm.clock import utcnow
from wedsync_apm.errors import FieldError, RateLimited
from wedsync_apm.ingest import model
from wedsync_apm.ingest.limits import Budget, IngestLimits, SampleBudget
from wedsync_apm.ingest.model import Arrival, Decode, Decoded, IngestGrant, Rejections
from wedsync_apm.ingest.packing import Written
from wedsync_apm.metrics.model import Ints, Mask, SampleBatch, SeriesDirectory

try:
    from wedsync_apm.ingest.samples import tally
except ImportError:  # no compiler was there when the product was installed
    from wedsync_apm.ingest.plain_samples import tally


class SampleWriter(Protocol):
    """What the intake needs of a `Writer`."""

    async def write(self, batch: SampleBatch, sender: UUID | None = None) -> Written: ...

    def count_refusals(self, source: str, rejections: Rejections) -> None: ...


@dataclass(slots=True)
class Receipt:
    """What became of a request: `accepted` samples are committed, the others stand in
    `rejections`."""

    accepted: int
    rejections: Rejections


def _now_ms() -> int:
    return int(utcnow().timestamp() * 1000)


class Intake:
    """One per process, in front of its writer."""

    def __init__(
        self,
        writer: SampleWriter,
        limits: IngestLimits | None = None,
        now_ms: Callable[[], int] = _now_ms,
        budget: Budget | None = None,
    ) -> None:
        self.limits = limits or IngestLimits()
        self._writer, self._now_ms = writer, now_ms
        self._budget = budget or SampleBudget(self.limits.samples_per_second, self.limits.burst)
        self._directory = SeriesDirectory()

    async def take(self, decode: Decode, body: bytes, grant: IngestGrant) -> Receipt:
        """An unpacked body by the decoder of its protocol.

        Raises what the decoder and `Writer.write` raise, and RateLimited.
        """
        if self._directory.is_full:
            self._directory = SeriesDirectory()
        arrival = Arrival(grant, self._directory, self.limits, self._now_ms())
        return await self._store(await decode(body, arrival), grant)

    async def _store(self, decoded: Decoded, grant: IngestGrant) -> Receipt:
        rejections = decoded.rejections
        batch, positions = decoded.batch, decoded.positions
        within = self._within_budget(batch, grant, rejections, positions)
        if within is not None:
            batch = _select(batch, within)
            positions = None if positions is None else positions[within]
        written = await self._writer.write(batch, grant.organization_id)
        for reason, refused in written.refused.items():
            self._reject(batch, refused, reason, rejections, positions)
        if rejections.count:
            self._writer.count_refusals(batch.source, rejections)
        return Receipt(written.stored + len(batch.ended), rejections)

    def _within_budget(
        self,
        batch: SampleBatch,
        grant: IngestGrant,
        rejections: Rejections,
        positions: Ints | None,
    ) -> Mask | None:
        """Which samples their organizations have room for; None for all.

        Whoever writes for itself is told to wait. A platform key is not: one organization over its
        rate must not hold up the others, so its samples are refused and counted.
        """
        if not len(batch):
            return None
        if grant.organization_id is not None:
            wait = self._budget.take(grant.organization_id, len(batch))
            if wait:
                raise RateLimited(
                    f"More than {self.limits.samples_per_second:g} samples a second; "
                    "nothing of this request was stored.",
                    retry_after=wait,
                )
            return None
        organizations = batch.directory.organizations
        over = [
            handle
            for handle, count in tally(batch.series, batch.directory.organization_column).items()
            if self._budget.take(organizations[handle], count)
        ]
        if not over:
            return None
        refused = np.isin(batch.directory.organization_of(batch.series), over)
        self._reject(batch, np.flatnonzero(refused), model.RATE_LIMIT, rejections, positions)
        return ~refused

    def _reject(
        self,
        batch: SampleBatch,
        refused: Ints,
        reason: str,
        rejections: Rejections,
        positions: Ints | None,
    ) -> None:
        """Notes samples that are refused for what their organization has or is."""
        text = {
            model.RATE_LIMIT: f"more than {self.limits.samples_per_second:g} samples a second",
            model.TOO_MANY_SERIES: f"is a new series, and the organization has the "
            f"{self.limits.series} series that it may have; use fewer distinct tag values",
            model.UNKNOWN_ORGANIZATION: "names no organization that exists",
        }[reason]
        fields = {
            model.RATE_LIMIT: "sample",
            model.TOO_MANY_SERIES: "tags",
            model.UNKNOWN_ORGANIZATION: model.ORGANIZATION_LABEL,
        }
        series = batch.series[refused].tolist()
        for place, handle in zip(refused.tolist(), series, strict=True):
            index = None if positions is None else int(positions[place])
            rejections.add(
                reason,
                FieldError(fields[reason], text, index),
                batch.directory.keys[handle].organization_id,
            )


def _select(batch: SampleBatch, chosen: Mask) -> SampleBatch:
    return replace(
        batch,
        series=batch.series[chosen],
        timestamps_ms=batch.timestamps_ms[chosen],
        values=batch.values[chosen],
        context_index=None if batch.context_index is None else batch.context_index[chosen],
    )
