"""Which verdicts have changed in a way that the next one may depend on."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from wedsync_apm.rules.compiled import Units
from wedsync_apm.rules.plain_rings import UNSEEN


class Moves:
    """Since somebody last asked, by number."""

    def __init__(self, units: Units, unseen: Iterable[int] = (), moved: Iterable[int] = ()) -> None:
        self._units = units
        self._moved = set(moved)
        self._unseen = np.fromiter(unseen, np.intp)
        """Those without a verdict, when somebody last asked."""

    def __bool__(self) -> bool:
        return bool(self._moved) or bool(self._are_seen().any())

    def add(self, number: int, *, is_unseen: bool = False) -> None:
        """It has changed; it may be that it has no verdict any more."""
        self._moved.add(number)
        if is_unseen:
            self._unseen = np.append(self._unseen, number)

    def take(self) -> list[int]:
        """All of them, once."""
        are_seen = self._are_seen()
        moved, self._moved = self._moved.union(self._unseen[are_seen].tolist()), set()
        self._unseen = self._unseen[~are_seen]
        return sorted(moved)

    def _are_seen(self) -> NDArray[np.bool_]:
        """Of those that had no verdict, whether they have one: the compiled part gives the first
        one without a word if all is well."""
        if not len(self._unseen):
            return np.empty(0, np.bool_)
        seen: NDArray[np.bool_] = self._units.records()["state"][self._unseen] != UNSEEN
        return seen
