"""What an organization keeps."""

from dataclasses import dataclass
from typing import Final
from uuid import UUID

GIGABYTE: Final = 2**30


@dataclass(frozen=True, slots=True)
class Usage:
    """As of now; `samples_last_day` are those of the last 24 hours.

    The bytes are those of the samples, of the rollups, of the catalogue of series, and the share of
    the indexes that falls to them.
    """

    organization_id: UUID
    series: int = 0
    active_series: int = 0
    samples: int = 0
    samples_last_day: int = 0
    sample_bytes: int = 0
    rollup_bytes: int = 0
    series_bytes: int = 0
    index_bytes: int = 0

    @property
    def total_bytes(self) -> int:
        """All of them."""
        return self.sample_bytes + self.rollup_bytes + self.series_bytes + self.index_bytes

    def monthly_cost(self, price_per_gb: float) -> float:
        """What keeping as much costs a month, at a price for 2^30 bytes."""
        return self.total_bytes / GIGABYTE * price_per_gb
