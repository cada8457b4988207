"""The number that holds at an instant, decided in the open: which phase, which source."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final
from uuid import UUID

from wedsync_apm.rules.model import Operator, RuleDraft

WEDDING_FACTOR: Final = 0.5
"""How much closer the limit stands on a wedding day where a rule names no wedding value."""


class LimitSource(StrEnum):
    """Which number won."""

    RULE = "rule"
    WEDDING_VALUE = "wedding_value"
    WEDDING_FACTOR = "wedding_factor"


@dataclass(frozen=True, slots=True)
class WeddingWindow:
    """A span of a wedding, as the calendar gives it; the lowest precedence tells most."""

    phase: str
    wedding_id: UUID | None
    starts_at: datetime
    ends_at: datetime
    precedence: int


def wedding_at(windows: Iterable[WeddingWindow], at: datetime) -> WeddingWindow | None:
    """The most telling window under way at `at`; None on any other day."""
    return min(
        (window for window in windows if window.starts_at <= at < window.ends_at),
        key=lambda window: (window.precedence, window.starts_at, str(window.wedding_id)),
        default=None,
    )


DECLARED: Final = "declared"
"""The phase of a wedding day that the sample itself brings and the calendar does not know."""


@dataclass(frozen=True, slots=True)
class Limit:
    """The number that holds at an instant, and why this one."""

    value: float
    clear_value: float
    source: LimitSource
    phase: str | None = None
    wedding_id: UUID | None = None


def resolve_limit(
    rule: RuleDraft,
    wedding: WeddingWindow | None,
    *,
    is_declared_wedding: bool = False,
    factor: float = WEDDING_FACTOR,
    unit: str | None = None,
) -> Limit:
    """The rule's limit at an instant: an explicit wedding value beats the factor beats the rule.

    The clear value moves with the limit where it has to. A wedding that the calendar knows and one
    that the sample declares both count: the error is on the side of the wedding.
    """
    base = rule.threshold_value
    clear = base if rule.clear_threshold_value is None else rule.clear_threshold_value
    phase = wedding.phase if wedding else DECLARED if is_declared_wedding else None
    wedding_id = wedding.wedding_id if wedding else None
    if phase is None or not rule.wedding_day_override:
        return Limit(base, clear, LimitSource.RULE, phase, wedding_id)
    if rule.wedding_day_threshold_value is not None:
        value, source = rule.wedding_day_threshold_value, LimitSource.WEDDING_VALUE
    else:
        value = tighten(rule.comparison_operator, base, factor, unit)
        source = LimitSource.WEDDING_FACTOR
    return Limit(
        value, _move_clear(rule.comparison_operator, base, clear, value), source, phase, wedding_id
    )


_CEILINGS: Final = {"%": 100.0, "percent": 100.0, "ratio": 1.0}


def tighten(operator: Operator, limit: float, factor: float, unit: str | None = None) -> float:
    """The limit moved by a factor between 0 and 1 in the direction that alarms sooner.

    A lower bound on a share (unit %, percent or ratio) moves towards the whole: 99 % by half is
    99.5 %, never 198 %.
    """
    ceiling = _CEILINGS.get((unit or "").lower())
    if not operator.is_upper and ceiling is not None and 0 <= limit <= ceiling:
        return ceiling - (ceiling - limit) * factor
    # Towards zero is stricter for "above a positive number" and "below a negative one" only.
    return limit * factor if operator.is_upper == (limit >= 0) else limit / factor


def _move_clear(operator: Operator, base: float, clear: float, moved: float) -> float:
    """The clear value beside a moved limit: as it was while it stays on the good side of it."""
    if (operator.is_upper and clear <= moved) or (not operator.is_upper and clear >= moved):
        return clear
    # In proportion; where there is none (a limit of 0, a change of sign) by the same distance.
    has_ratio = base != 0 and moved / base > 0
    kept = clear * (moved / base) if has_ratio else moved + (clear - base)
    return min(kept, moved) if operator.is_upper else max(kept, moved)
