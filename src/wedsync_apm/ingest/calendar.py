"""Which wedding context a sample gets that brings none of its own: the calendar, remembered for a
few seconds, so that a flush asks the database once for all that it does not know yet."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from wedsync_apm.metrics.model import CALENDAR, Ints

REFRESH_SECONDS: Final = 5.0
"""A wedding that is entered or moved shows on samples after this long at the latest."""

_BEFORE_MS: Final = 8 * 86_400_000
_AFTER_MS: Final = 86_400_000


@dataclass(frozen=True, slots=True)
class ContextSpan:
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

    def range_for(self, earliest_ms: int, latest_ms: int, now_ms: int) -> tuple[int, int]:
        """What to ask the database for, so that samples of the usual ages are covered too."""
        return min(earliest_ms, now_ms - _BEFORE_MS), max(latest_ms, now_ms + _AFTER_MS)

    def missing(
        self, organizations: Sequence[int], earliest_ms: int, latest_ms: int, now: float
    ) -> list[int]:
        """Whom to ask for before samples of that range are stored.

        As soon as one answer is too old, all that are half as old are asked for along with it: one
        statement for a hundred organizations costs little more than one for one.
        """
        if all(self._covers(one, earliest_ms, latest_ms, now) for one in organizations):
            return []
        half = now - REFRESH_SECONDS / 2
        return [
            one
            for one in organizations
            if not self._covers(one, earliest_ms, latest_ms, now)
            or self._known[one].asked_at <= half
        ]

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
            self._known[one] = _Known(now, start_ms, end_ms, tuple(spans.get(one, ())))

    def apply(
        self,
        *,
        organizations: Iterable[int],
        organization: Ints,
        timestamps_ms: Ints,
        codes: Ints,
        contexts: dict[str | None, int],
    ) -> None:
        """Replaces `CALENDAR` in `codes`: by the code of the context, or of None where there is no
        wedding. `contexts` gives the codes and learns new ones; `organizations` are the
        distinct ones of `organization`."""
        undecided = codes == CALENDAR
        codes[undecided] = contexts.setdefault(None, len(contexts))
        with_weddings = [handle for handle in organizations if self._known[handle].spans]
        if not with_weddings:
            return
        order = np.argsort(organization, kind="stable")
        ordered = organization[order]
        starts = np.searchsorted(ordered, with_weddings, "left").tolist()
        stops = np.searchsorted(ordered, with_weddings, "right").tolist()
        for handle, start, stop in zip(with_weddings, starts, stops, strict=True):
            rows = order[start:stop]
            rows = rows[undecided[rows]]
            at = timestamps_ms[rows]
            for span in reversed(self._known[handle].spans):
                inside = (at >= span.start_ms) & (at < span.end_ms)
                if inside.any():
                    codes[rows[inside]] = contexts.setdefault(span.context, len(contexts))

    def _covers(self, one: int, earliest_ms: int, latest_ms: int, now: float) -> bool:
        known = self._known.get(one)
        return (
            known is not None
            and now - known.asked_at < REFRESH_SECONDS
            and known.start_ms <= earliest_ms
            and latest_ms < known.end_ms
        )
