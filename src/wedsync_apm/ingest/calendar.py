"""Which wedding context a sample gets that brings none of its own: the calendar, remembered for a
few seconds, so that a flush asks the database once for all that it does not know yet."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import Final, NamedTuple

REFRESH_SECONDS: Final = 5.0
"""A wedding that is entered or moved shows on samples after this long at the latest."""
MOST_COMING: Final = 200
"""Organizations whose samples are on their way, asked for along with others; and so many of those
who go on sending while their answers grow old."""

_BEFORE_MS: Final = 8 * 86_400_000
_AFTER_MS: Final = 86_400_000


class ContextSpan(NamedTuple):
    """From `start_ms` to before `end_ms`, samples get `context` (JSON text)."""

    start_ms: int
    end_ms: int
    context: str


@dataclass(frozen=True, slots=True)
class _Known:
    asked_at: float
    start_ms: int
    end_ms: int
    spans: tuple[ContextSpan, ...]


class CalendarCache:
    """The spans of the organizations of a directory, by their positions in it; of each the most
    telling one first."""

    def __init__(self) -> None:
        self._known: dict[int, _Known] = {}
        self._met = 0
        """So many organizations were asked for, in the order in which they were met."""
        self._sending: dict[int, None] = {}
        """Who has sent since he was asked for, in about the order of the answers."""

    def range_for(self, earliest_ms: int, latest_ms: int, now_ms: int) -> tuple[int, int]:
        """What to ask the database for, so that samples of the usual ages are covered too."""
        return min(earliest_ms, now_ms - _BEFORE_MS), max(latest_ms + 1, now_ms + _AFTER_MS)

    def missing(
        self,
        organizations: Sequence[int],
        earliest_ms: int,
        latest_ms: int,
        now: float,
        *,
        met: int = 0,
    ) -> list[int]:
        """Whom to ask for before samples of that range are stored.

        As soon as one is asked for, those who go on sending and whose answers are half too old are
        asked for along with it, and the next of the first `met` organizations, of whom nobody
        asked: one statement for a hundred organizations costs little more than one for one.
        """
        self._sending.update(dict.fromkeys(organizations))
        if all(self._covers(one, earliest_ms, latest_ms, now) for one in organizations):
            return []
        half = now - REFRESH_SECONDS / 2
        wanted = {
            one
            for one in chain(organizations, islice(self._sending, MOST_COMING))
            if not self._covers(one, earliest_ms, latest_ms, now)
            or self._known[one].asked_at <= half
        }
        coming = range(self._met, min(met, self._met + MOST_COMING))
        self._met += len(coming)
        return sorted(wanted.union(one for one in coming if one not in self._known))

    def learn(
        self,
        asked: Iterable[int],
        start_ms: int,
        end_ms: int,
        spans: Mapping[int, Sequence[ContextSpan]],
        now: float,
    ) -> None:
        """Remembers an answer; an organization without spans in that range has no wedding there."""
        for one in asked:
            self._sending.pop(one, None)
            self._known[one] = _Known(now, start_ms, end_ms, tuple(spans.get(one, ())))

    def spans_of(self, organizations: Iterable[int]) -> dict[int, Sequence[ContextSpan]]:
        """Of those among them that have any."""
        known = self._known
        return {one: known[one].spans for one in organizations if known[one].spans}

    def _covers(self, one: int, earliest_ms: int, latest_ms: int, now: float) -> bool:
        known = self._known.get(one)
        return (
            known is not None
            and now - known.asked_at < REFRESH_SECONDS
            and known.start_ms <= earliest_ms
            and latest_ms < known.end_ms
        )
