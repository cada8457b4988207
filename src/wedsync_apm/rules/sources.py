"""Where a rule's number comes from: what is found at an instant, and when it may next be another.

The verdict asks a source for nothing else, so that the live path, `preview` and `explain` differ
only in how the samples were fetched.
"""

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol
from uuid import UUID

from wedsync_apm.rules.aggregate import Aggregation, Gap, Reading, Samples, read_windows

GRID_MS: Final = 1000
"""What no sample brings (a window drains, a time is up, a wedding begins) is judged at the next
whole second, whenever the engine comes round to it."""
DRIFT_MS: Final = 5000
"""Growth is stretched to the window's edges and so moves by itself: it is read so often."""


class Source(Protocol):
    """One number over time."""

    def read(self, at_ms: int) -> Reading | Gap:
        """What is found at an instant."""

    def next_after(self, at_ms: int, grid_ms: int) -> int | None:
        """The next instant at which `read` may give another answer; None: never, as things are."""

    def drifts(self, at_ms: int) -> bool:
        """Whether it moves all the time and is read now and then: then it must not be read at other
        instants, or the verdicts would depend on when somebody looked."""


def on_grid(at_ms: int, grid_ms: int) -> int:
    """The first point of the grid that is not before `at_ms`."""
    return -(-at_ms // grid_ms) * grid_ms


@dataclass(frozen=True, slots=True)
class WindowSource:
    """An aggregate over the samples of (t - width, t] of one or several series."""

    aggregation: Aggregation
    members: Sequence[Samples]
    width_ms: int
    over_at_ms: int | None = None
    """When the sender ended the last of the series, said."""

    def read(self, at_ms: int) -> Reading | Gap:
        """The windows that end at `at_ms`."""
        found = read_windows(self.aggregation, self.members, at_ms, self.width_ms)
        return found if found is not None else Gap.STALE if self._is_over(at_ms) else Gap.ABSENT

    def next_after(self, at_ms: int, grid_ms: int) -> int | None:
        """The next sample, or the next one to leave the window, or the end that was said."""
        found = []
        is_empty = True
        for samples in self.members:
            times = samples.times_ms
            coming = bisect_right(times, at_ms)
            if coming < len(times):
                found.append(times[coming])
            oldest = bisect_right(times, at_ms - self.width_ms)
            if oldest < coming:
                found.append(on_grid(times[oldest] + self.width_ms, grid_ms))
                is_empty = False
        if self.aggregation.is_growth and not is_empty:
            found.append(on_grid(at_ms + 1, max(grid_ms, DRIFT_MS)))
        if self.over_at_ms is not None and self.over_at_ms > at_ms:
            found.append(on_grid(self.over_at_ms, grid_ms))
        return min(found, default=None)

    def drifts(self, at_ms: int) -> bool:
        """Growth does, as long as there is something in the window."""
        return self.aggregation.is_growth and any(
            samples.times_between(at_ms - self.width_ms, at_ms) for samples in self.members
        )

    def _is_over(self, at_ms: int) -> bool:
        over = self.over_at_ms
        return (
            over is not None
            and over <= at_ms
            and not any(samples.times_between(over, at_ms) for samples in self.members)
        )


@dataclass(frozen=True, slots=True)
class RatioSource:
    """One number divided by another."""

    above: Source
    below: Source

    def read(self, at_ms: int) -> Reading | Gap:
        """The quotient. Nothing above the line is none of something: no errors of any requests."""
        below = self.below.read(at_ms)
        if isinstance(below, Gap):
            return below
        if below.value == 0:
            return Gap.NOT_APPLICABLE
        above = self.above.read(at_ms)
        if isinstance(above, Gap):
            return Reading(0.0, below.sample_count, below.is_declared_wedding)
        return Reading(
            above.value / below.value,
            above.sample_count + below.sample_count,
            above.is_declared_wedding or below.is_declared_wedding,
        )

    def next_after(self, at_ms: int, grid_ms: int) -> int | None:
        """When either moves."""
        return _earliest(one.next_after(at_ms, grid_ms) for one in (self.above, self.below))

    def drifts(self, at_ms: int) -> bool:
        """If either does."""
        return self.above.drifts(at_ms) or self.below.drifts(at_ms)


@dataclass(frozen=True, slots=True)
class PointSource:
    """Numbers that were found at some instants, each of which holds until the next."""

    times_ms: tuple[int, ...]
    found: tuple[Reading | Gap, ...]

    def read(self, at_ms: int) -> Reading | Gap:
        """The newest of them."""
        place = bisect_right(self.times_ms, at_ms)
        return self.found[place - 1] if place else Gap.NOT_APPLICABLE

    def next_after(self, at_ms: int, grid_ms: int) -> int | None:
        """The next of them."""
        place = bisect_right(self.times_ms, at_ms)
        return self.times_ms[place] if place < len(self.times_ms) else None

    def drifts(self, at_ms: int) -> bool:
        """Never."""
        return False


@dataclass(frozen=True, slots=True)
class CountSource:
    """How many of some rules alarm. Of each: when that began and ended, in turn."""

    flips_ms: Mapping[UUID, Sequence[int]]

    def read(self, at_ms: int) -> Reading | Gap:
        """The rules that alarm; an odd number of changes has passed them."""
        alarming = sum(bisect_right(flips, at_ms) % 2 for flips in self.flips_ms.values())
        return Reading(float(alarming), len(self.flips_ms))

    def next_after(self, at_ms: int, grid_ms: int) -> int | None:
        """The next beginning or end."""
        places = ((flips, bisect_right(flips, at_ms)) for flips in self.flips_ms.values())
        return min((flips[place] for flips, place in places if place < len(flips)), default=None)

    def drifts(self, at_ms: int) -> bool:
        """Never."""
        return False


def _earliest(found: Iterable[int | None]) -> int | None:
    return min((one for one in found if one is not None), default=None)
