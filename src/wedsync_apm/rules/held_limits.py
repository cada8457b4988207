"""What holds at present for the rules in memory, as the compiled part has to know it."""

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np

from wedsync_apm.clock import to_datetime, to_ms
from wedsync_apm.metrics.blocks.model import Ints
from wedsync_apm.rules.compiled import Units
from wedsync_apm.rules.limits import Limit, LimitSource, WeddingWindow, resolve_limit, wedding_at
from wedsync_apm.rules.model import AlertRule
from wedsync_apm.rules.plain_rings import NEVER_MS

_NONE: Final = Limit(0.0, 0.0, LimitSource.RULE)


class _Held(NamedTuple):
    rule: AlertRule
    measure: str | None
    plain: Limit = _NONE
    declared: Limit = _NONE
    """Where a sample itself declares that its day is a wedding's."""


class HeldLimits:
    """The limits of each rule and unit of measure, by the number that the compiled part gives
    them."""

    def __init__(self, units: Units, weddings: Sequence[WeddingWindow], factor: float) -> None:
        self._units, self._factor = units, factor
        self._held: list[_Held] = []
        self.weddings = weddings
        units.set_edges(self._edges())

    def add(self, rule: AlertRule, measure: str | None, at_ms: int) -> int:
        """Those of one more; gives their number."""
        number = self._units.add_limits()
        self._held.append(_Held(rule, measure))
        self.resolve(number, at_ms)
        return number

    def of(self, number: int, *, is_declared: bool) -> Limit:
        """What was last resolved."""
        return self._held[number].declared if is_declared else self._held[number].plain

    def believe(self, weddings: Sequence[WeddingWindow], at_ms: int) -> None:
        """The calendar is another one from here on."""
        self.weddings = weddings
        self._units.set_edges(self._edges())
        for number in range(len(self._held)):
            self.resolve(number, at_ms)

    def resolve(self, number: int, at_ms: int) -> None:
        """What holds at an instant, and until when."""
        held, moment = self._held[number], to_datetime(at_ms)
        wedding = wedding_at(self.weddings, moment)
        plain, declared = (
            resolve_limit(
                held.rule,
                wedding,
                is_declared_wedding=flag,
                factor=self._factor,
                unit=held.measure,
            )
            for flag in (False, True)
        )
        edges = self._edges().tolist()
        self._held[number] = _Held(held.rule, held.measure, plain, declared)
        self._units.set_limits(
            number,
            (plain.value, plain.clear_value),
            (declared.value, declared.clear_value),
            max((edge for edge in edges if edge <= at_ms), default=0),
            min((edge for edge in edges if edge > at_ms), default=NEVER_MS),
        )

    def _edges(self) -> Ints:
        edges = [to_ms(e) for one in self.weddings for e in (one.starts_at, one.ends_at)]
        return np.array(edges, np.int64)
