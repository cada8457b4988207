"""Which instants of an expression are too old for samples, and which rollups answer them.

A window is answered from samples where all of it is kept. Where it is not, it is made of whole
rollups: it ends where the last one ends that is over by its instant, and holds its beginning but
not its end. Where no rollup that is still kept makes such a window, there is no answer, rather than
one of what happens to be left.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import pairwise
from typing import Final

from wedsync_apm.clock import to_datetime
from wedsync_apm.metrics.expression.plan import Need
from wedsync_apm.metrics.expression.syntax import Function
from wedsync_apm.metrics.expression.vectors import ALWAYS
from wedsync_apm.metrics.model import Ints
from wedsync_apm.metrics.ranges import TERMS, WIDTHS

SURELY_KEPT_MS: Final = 25 * 3_600_000
"""Nobody's samples are let go before they are so old."""
MOST_OFF: Final = 0.05
"""By this share of it a range may be longer or shorter when it is made of whole rollups."""
_FINE: Final = 12
"""Rollups in a range whose ends do not lie on theirs, where there is a choice."""

ROLLED: Final = frozenset(
    {
        Function.LATEST,
        Function.LAST_OVER_TIME,
        Function.COUNT_OVER_TIME,
        Function.PRESENT_OVER_TIME,
        Function.SUM_OVER_TIME,
        Function.AVG_OVER_TIME,
        Function.MIN_OVER_TIME,
        Function.MAX_OVER_TIME,
        Function.RATE,
        Function.INCREASE,
        Function.QUANTILE_OVER_TIME,
    }
)
"""What rollups know; of the others the single samples would be needed."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What is kept of an organization: samples from `samples_from_ms` on, and of each width of
    rollups so long until `at_ms`."""

    at_ms: int
    samples_from_ms: int = ALWAYS
    terms: Mapping[str, timedelta] = field(default_factory=lambda: TERMS)
    most: timedelta = timedelta.max
    """The longest term that the platform lets anybody choose."""

    def widths(self, begin_ms: int) -> list[int]:
        """Of the rollups that are whole from `begin_ms` on, in milliseconds, narrowest first."""
        return [
            length_ms(width)
            for name, width in WIDTHS.items()
            if self.rolled_from_ms(name) <= begin_ms
        ]

    def rolled_from_ms(self, name: str) -> int:
        """From when on every rollup of a width is there that a window can begin with."""
        return self.at_ms - length_ms(self.terms[name]) + length_ms(WIDTHS[name])


@dataclass(frozen=True, slots=True)
class Old:
    """The instants `first:behind` of a need, each answered from `buckets` rollups of `width_ms`;
    not at all where that is 0."""

    first: int
    behind: int
    width_ms: int
    buckets: int

    def ends_ms(self, need: Need) -> Ints:
        """Where the window of each instant ends: behind its last rollup."""
        ends: Ints = need.grid.instants_ms[self.first : self.behind] - need.leaf.offset_ms
        return ends // self.width_ms * self.width_ms

    def span_ms(self, need: Need) -> tuple[int, int]:
        """The time [from, behind) of the rollups."""
        ends = self.ends_ms(need)
        return int(ends[0]) - self.buckets * self.width_ms, int(ends[-1])


def old_of(need: Need, kept: Kept) -> list[Old]:
    """The instants of which not all samples are kept, oldest first."""
    begin_ms = need.span[0]
    if begin_ms >= kept.samples_from_ms:
        return []
    grid = need.grid
    edges = [kept.rolled_from_ms(name) for name in WIDTHS]
    places = {
        min(max(-(-(edge - begin_ms) // grid.step_ms), 0), grid.count)
        for edge in (*edges, kept.samples_from_ms)
        if edge <= kept.samples_from_ms
    }
    return list(_merged(_stretches(need, kept, sorted({0, *places}))))


def _stretches(need: Need, kept: Kept, places: Sequence[int]) -> Iterator[Old]:
    for first, behind in pairwise(places):
        begin_ms = need.span[0] + first * need.grid.step_ms
        if begin_ms < kept.samples_from_ms:
            width_ms, buckets = _windows(need, first, behind - first, kept.widths(begin_ms))
            yield Old(first, behind, width_ms, buckets)


def _merged(stretches: Iterator[Old]) -> Iterator[Old]:
    """Those that are answered alike as one."""
    last: Old | None = None
    for one in stretches:
        if last and (last.width_ms, last.buckets) == (one.width_ms, one.buckets):
            last = Old(last.first, one.behind, one.width_ms, one.buckets)
            continue
        if last:
            yield last
        last = one
    if last:
        yield last


def _windows(need: Need, first: int, count: int, widths: Sequence[int]) -> tuple[int, int]:
    """The width of rollups and how many make a window: the widest that fit; 0 where none do."""
    leaf, grid = need.leaf, need.grid
    if leaf.function not in ROLLED:
        return 0, 0
    end_ms = grid.start_ms + first * grid.step_ms - leaf.offset_ms
    exact = [
        one
        for one in widths
        if leaf.range_ms % one == 0 and end_ms % one == 0 and (count == 1 or not grid.step_ms % one)
    ]
    if exact:
        return exact[-1], leaf.range_ms // exact[-1]
    near = [
        one
        for one in widths
        if abs(round(leaf.range_ms / one) * one - leaf.range_ms) <= MOST_OFF * leaf.range_ms
    ]
    if near:
        fine = [one for one in near if one * _FINE <= leaf.range_ms]
        width = fine[-1] if fine else near[0]
        return width, round(leaf.range_ms / width)
    if leaf.function is Function.LATEST and widths and count > 1 and widths[0] <= grid.step_ms:
        # nobody sees in such a chart what lies between
        return widths[0], 1
    return 0, 0


def warnings_of(need: Need, old: Sequence[Old], kept: Kept) -> list[str]:
    """What whoever reads the answer should know about its old instants."""
    return [_warning(need, one, kept) for one in old]


def _warning(need: Need, old: Old, kept: Kept) -> str:
    leaf = need.leaf
    what = leaf.function.value or "a selector"
    grid = need.grid
    until = write_time(grid.start_ms + old.behind * grid.step_ms) if old.behind < grid.count else ""
    when = f"before {until}" if until else "at all instants"
    if not old.buckets:
        gone = write_time(kept.samples_from_ms)
        why = "rollups do not know it"
        if leaf.function in ROLLED:
            why = f"no rollups are kept that make up {_duration(leaf.range_ms)}"
            oldest = min(kept.at_ms - length_ms(kept.terms[name]) for name in WIDTHS)
            if need.span[0] + (old.behind - 1) * grid.step_ms < oldest:
                why = f"nothing at all is kept of before {write_time(oldest)}"
        return f"{what} has no answer {when}: samples are kept from {gone} on, and {why}"
    width = _duration(old.width_ms)
    text = f"{what} is answered {when} from rollups of {width}"
    length = old.buckets * old.width_ms
    ends = old.ends_ms(need) + leaf.offset_ms
    if leaf.function is Function.LATEST and length > leaf.range_ms:
        text += f", and may be {width} old"
    elif length != leaf.range_ms or ends[0] != grid.start_ms + old.first * grid.step_ms:
        text += f", over whole {width}: {_duration(length)} for {_duration(leaf.range_ms)}"
    elif len(ends) > 1 and grid.step_ms % old.width_ms:
        text += f", over whole {width}"
    if leaf.function is Function.QUANTILE_OVER_TIME:
        text += ", each value within 1 %"
    if leaf.function in (Function.RATE, Function.INCREASE):
        text += ", as if samples had come evenly"
    return text


def length_ms(duration: timedelta) -> int:
    """In milliseconds."""
    return duration // timedelta(milliseconds=1)


def write_time(at_ms: int) -> str:
    """As answers write it."""
    return to_datetime(at_ms).strftime("%Y-%m-%dT%H:%M:%SZ")


def _duration(whole_ms: int) -> str:
    """As the language writes it."""
    text = ""
    for size, unit in ((86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1000, "s"), (1, "ms")):
        many, whole_ms = divmod(whole_ms, size)
        text += f"{many}{unit}" if many else ""
    return text
