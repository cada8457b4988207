"""What the lines of one interval add up to, in bounded memory.

A counter becomes the sum of the interval, each value divided by its sample rate. A gauge becomes
its last value, if one came. Timers, histograms and distributions become the figures of their
distribution, a set the number of its distinct members. Values with a time of their own, and checks,
are taken as they are.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from wedsync_apm.ingest import model
from wedsync_apm.ingest.datadog.tags import read_tags
from wedsync_apm.ingest.distribution import SUFFIXES, Distribution, key_of
from wedsync_apm.ingest.statsd.lines import (
    DISTRIBUTED,
    Line,
    Measurement,
    SentEvent,
    ServiceCheck,
    UnreadableLine,
)

MOST_BYTES: Final = 64 * 1024 * 1024
"""What an interval holds at most, by the estimates below."""
ENTRY_BYTES: Final = 600
"""Of a series beside its texts: by tracemalloc on Python 3.11 it is 220 to 620 with them."""
BIN_BYTES: Final = 130
MEMBER_BYTES: Final = 150
IDLE_INTERVALS: Final = 360
"""A gauge that nobody touched for so long is forgotten: a change then begins at 0."""
DROPPED: Final = "dropped"
"""The code of what was lost before it could be read or stored."""

Tags = tuple[tuple[str, str], ...]
Key = tuple[str, Tags]


@dataclass(slots=True)
class Count:
    """A counter: what was counted."""

    total: float = 0.0

    def figures(self) -> Iterator[tuple[str, float]]:
        """By the suffix of the series' name."""
        yield "", self.total


@dataclass(slots=True)
class Level:
    """A gauge, which is remembered from interval to interval."""

    value: float = 0.0
    is_fresh: bool = False
    idle: int = 0

    def figures(self) -> Iterator[tuple[str, float]]:
        """By the suffix of the series' name."""
        yield "", self.value


@dataclass(slots=True)
class Spread:
    """Timers, histograms and distributions; `unit` is of the values."""

    unit: str | None
    distribution: Distribution = field(default_factory=Distribution)

    def figures(self) -> Iterator[tuple[str, float]]:
        """By the suffix of the series' name."""
        yield from zip(SUFFIXES, self.distribution.figures(), strict=True)


@dataclass(slots=True)
class Members:
    """A set, by the hashes of its members."""

    hashes: set[bytes] = field(default_factory=set)

    def figures(self) -> Iterator[tuple[str, float]]:
        """By the suffix of the series' name."""
        yield "", float(len(self.hashes))


Cell = Count | Level | Spread | Members


@dataclass(frozen=True, slots=True)
class Refusals:
    """Lines that were not taken for one reason."""

    code: str
    reason: str
    count: int


@dataclass(slots=True)
class Gathered:
    """A finished interval, or a part of one."""

    at_ms: int
    """When it began, which is the time of its samples."""
    cells: list[tuple[Key, Cell]]
    stamped: list[tuple[Key, int, float]]
    """With a time of their own, in milliseconds."""
    events: list[tuple[SentEvent, int]]
    """And when they came, in milliseconds."""
    refused: list[Refusals]
    size: int
    """Estimated bytes."""

    def __len__(self) -> int:
        return len(self.cells) + len(self.stamped) + len(self.events)


class _Full(Exception):
    pass


class Gatherer:
    """Takes lines; none of them can make it fail."""

    def __init__(self, began_ms: int, most_series: int, most_bytes: int = MOST_BYTES) -> None:
        self._most_series, self._most_bytes = most_series, most_bytes
        self._begin(began_ms)

    def _begin(self, at_ms: int) -> None:
        self._began_ms = at_ms
        self._cells: dict[Key, Cell] = {}
        self._stamped: dict[tuple[Key, int], float] = {}
        self._events: list[tuple[SentEvent, int]] = []
        self._refused: dict[tuple[str, str], int] = {}
        self._tags: dict[tuple[str, ...], Tags] = {}
        self._size = 0

    def take(self, line: Line | UnreadableLine, now_ms: int) -> bool:
        """Whether the line was taken."""
        try:
            match line:
                case Measurement():
                    return self._measure(line)
                case ServiceCheck():
                    at_ms = now_ms if line.at_s is None else line.at_s * 1000
                    tags = [*line.tags, *([f"host:{line.host}"] if line.host else [])]
                    self._stamp(self._key(line.name, tuple(tags)), at_ms, float(line.status))
                case SentEvent():
                    self._hold(ENTRY_BYTES + 2 * (len(line.title) + len(line.text)))
                    self._events.append((line, now_ms))
                case UnreadableLine():
                    self.refuse(model.INVALID, str(line))
                    return False
        except _Full:
            self.refuse(model.TOO_MANY_SERIES, "is more than one interval of a listener can hold")
            return False
        return True

    def refuse(self, code: str, reason: str, count: int = 1) -> None:
        """Counts what was not taken; reasons are few and do not repeat what was sent."""
        place = code, reason
        self._refused[place] = self._refused.get(place, 0) + count

    def finish(self, next_begins_ms: int) -> Gathered:
        """Everything since the interval began; the next one begins."""
        fresh = [
            (key, Level(cell.value) if isinstance(cell, Level) else cell)
            for key, cell in self._cells.items()
            if not isinstance(cell, Level) or cell.is_fresh
        ]
        done = Gathered(
            at_ms=self._began_ms,
            cells=fresh,
            stamped=[(key, at, value) for (key, at), value in self._stamped.items()],
            events=self._events,
            refused=[Refusals(*place, count) for place, count in self._refused.items()],
            size=self._size,
        )
        levels = {
            key: Level(cell.value, idle=0 if cell.is_fresh else cell.idle + 1)
            for key, cell in self._cells.items()
            if isinstance(cell, Level) and (cell.is_fresh or cell.idle < IDLE_INTERVALS)
        }
        # No two intervals begin at one time: the later one would take the place of the earlier.
        self._begin(max(next_begins_ms, self._began_ms + 1))
        for key, level in levels.items():
            self._cells[key] = level
            self._size += _entry_bytes(key)
        return done

    def _measure(self, line: Measurement) -> bool:
        key = self._key(line.name, line.tags)
        if line.at_s is not None:
            value = sum(line.values) / line.rate if line.kind == "c" else line.values[-1]
            at_ms = line.at_s * 1000
            earlier = self._stamped.get((key, at_ms), 0.0) if line.kind == "c" else 0.0
            self._stamp(key, at_ms, earlier + value)
            return True
        cell = self._cell(key, line.kind)
        if cell is None:
            self.refuse(model.INVALID, "has another type than before in the same interval")
            return False
        match cell:
            case Count():
                cell.total += sum(line.values) / line.rate
            case Level():
                cell.value = cell.value + line.values[0] if line.is_change else line.values[-1]
                cell.is_fresh = True
            case Spread():
                for value in line.values:
                    if key_of(value) not in cell.distribution.bins:
                        self._hold(BIN_BYTES)
                    cell.distribution.add(value, 1 / line.rate)
            case Members():
                for member in line.members:
                    digest = hashlib.blake2b(member.encode(), digest_size=8).digest()
                    if digest not in cell.hashes:
                        self._hold(MEMBER_BYTES)
                        cell.hashes.add(digest)
        return True

    def _cell(self, key: Key, kind: str) -> Cell | None:
        """The series' cell, a new one if there is none; None if it is of another type."""
        cell = self._cells.get(key)
        made = _new_cell(kind)
        if cell is not None:
            if type(cell) is type(made):
                return cell
            if not isinstance(cell, Level) or cell.is_fresh:
                return None
        else:
            if len(self._cells) >= self._most_series:
                raise _Full
            self._hold(_entry_bytes(key))
        self._cells[key] = made
        return made

    def _stamp(self, key: Key, at_ms: int, value: float) -> None:
        place = key, at_ms
        if place not in self._stamped:
            self._hold(_entry_bytes(key))
        self._stamped[place] = value

    def _key(self, name: str, tags: tuple[str, ...]) -> Key:
        """The same for the same tags in whatever order: their counts belong together."""
        known = self._tags.get(tags)
        if known is None:
            self._hold(ENTRY_BYTES + 4 * sum(map(len, tags)))
            known = self._tags[tags] = tuple(sorted(read_tags(tags).items()))
        return name, known

    def _hold(self, count: int) -> None:
        if self._size + count > self._most_bytes:
            raise _Full
        self._size += count


def parts_of(gathered: Gathered, most_cells: int) -> Iterator[Gathered]:
    """The same in parts that a request could carry; refusals stand in the first."""
    total = max(len(gathered.cells), len(gathered.stamped), len(gathered.events), 1)
    refused: Mapping[int, list[Refusals]] = {0: gathered.refused}
    for start in range(0, total, most_cells):
        stop = start + most_cells
        yield Gathered(
            gathered.at_ms,
            gathered.cells[start:stop],
            gathered.stamped[start:stop],
            gathered.events[start:stop],
            refused.get(start, []),
            gathered.size * min(most_cells, total - start) // total,
        )


def _new_cell(kind: str) -> Cell:
    if kind == "c":
        return Count()
    if kind == "g":
        return Level()
    if kind in DISTRIBUTED:
        return Spread("ms" if kind == "ms" else None)
    return Members()


def _entry_bytes(key: Key) -> int:
    name, tags = key
    return ENTRY_BYTES + 2 * len(name) + 4 * sum(len(one) + len(other) for one, other in tags)
