"""The last verdict on every instance in memory, with all that explains it.

The compiled part keeps what it decides by in its records. Of those that it has found steady since,
the verdict is put together from the record and what was held last.
"""

from dataclasses import replace
from typing import Final

from wedsync_apm.clock import to_datetime, to_ms
from wedsync_apm.rules.aggregate import Gap
from wedsync_apm.rules.compiled import Units
from wedsync_apm.rules.held_limits import HeldLimits
from wedsync_apm.rules.model import AlertRule
from wedsync_apm.rules.plain_rings import FOUND, NEVER_MS, OTHER, READING, STATES, UNSEEN, Found
from wedsync_apm.rules.sources import GRID_MS, on_grid
from wedsync_apm.rules.verdict import Standing, State, due_at

ABSENT: Final[Found] = (FOUND.index(Gap.ABSENT), 0.0, 0, False)
_NEVER_AGAIN_MS: Final = 2**60
"""Far behind every instant, and still so when it is doubled."""


class HeldVerdicts:
    """By the number that the compiled part gives each instance."""

    def __init__(self, units: Units, limits: HeldLimits) -> None:
        self._units, self._limits = units, limits
        self._held: dict[int, Standing] = {}
        self._resting: dict[int, int] = {}
        """Up to where units have been judged whose verdict has been known since before that."""

    def of(self, number: int) -> Standing | None:
        """The verdict as it is now: what was held last, with what has been found since."""
        record = self._units.record(number)
        if record["state"] == UNSEEN:
            return None
        held = self._held.get(number)
        at = to_datetime(int(record["at_ms"]))
        is_resting = number in self._resting and self._resting[number] == int(record["at_ms"])
        if held is not None and (held.evaluated_at == at or is_resting):
            return held
        limits, is_reading = int(record["limits"]), record["found"] == READING
        if held is None:
            plain = self._limits.of(limits, is_declared=False)
            since = to_datetime(int(record["since_ms"]))
            held = Standing(State.OK, None, plain, 0, None, None, since, since)
        return replace(
            held,
            value=float(record["value"]) if is_reading else None,
            limit=self._limits.of(limits, is_declared=bool(record["declared"])),
            sample_count=int(record["used"]),
            evaluated_at=at,
            gap=FOUND[int(record["found"])],
        )

    def hold(
        self,
        number: int,
        rule: AlertRule,
        standing: Standing,
        found: Found | None = None,
        judged_ms: int = 0,
    ) -> None:
        """Keeps a verdict, with what was found; one that is older than `judged_ms` has stood since,
        and was last judged then."""
        at_ms = to_ms(standing.evaluated_at)
        self._resting.pop(number, None)
        if judged_ms > at_ms:
            self._resting[number] = at_ms = judged_ms
        dues = [to_ms(due) for due in due_at(rule, standing)]
        # Overdue, and only not confirmed yet: the next thing that is seen may do it.
        is_overdue = standing.state is State.PENDING and min(dues, default=NEVER_MS) <= at_ms
        self._held[number] = standing
        self._units.settle(
            number,
            state=OTHER if is_overdue else _number_of(standing.state),
            at_ms=at_ms,
            since_ms=to_ms(standing.changed_at),
            due_ms=min((due for due in dues if on_grid(due, GRID_MS) > at_ms), default=None),
            found=_found(standing) if found is None else found,
        )

    def forget(self, number: int, at_ms: int, since_ms: int, found: Found = ABSENT) -> None:
        """It has no verdict, and has been looked at up to an instant."""
        self._held.pop(number, None)
        self._units.settle(
            number, state=UNSEEN, at_ms=at_ms, since_ms=since_ms, due_ms=None, found=found
        )

    def pause(self, number: int) -> None:
        """It has no verdict, and is never judged again."""
        self.forget(number, _NEVER_AGAIN_MS, _NEVER_AGAIN_MS)


def _number_of(state: State) -> int:
    return STATES.index(state) if state in STATES else OTHER


def _found(standing: Standing) -> Found:
    """What a verdict that was kept was based on."""
    if standing.value is not None:
        return (READING, standing.value, standing.sample_count, False)
    return (FOUND.index(standing.gap or Gap.ABSENT), 0.0, 0, False)
