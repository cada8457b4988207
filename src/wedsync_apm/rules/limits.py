"""The number that holds at an instant, decided in the open: which phase, which source."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final
from uuid import UUID

from wedsync_apm.rules.aggregate import Aggregation
from wedsync_apm.rules.model import GRADES, GUARDS, AlertRule, Operator, RuleDraft, RuleKind

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
WINDOW: Final = "window"
_APART: Final = frozenset((*GRADES, *GUARDS))


def grade_of(phase: str) -> str:
    """How near the wedding is in a phase: every part of the day itself is the `window`."""
    return phase if phase in _APART else WINDOW


def default_factor(grade: str, factor: float = WEDDING_FACTOR) -> float:
    """How much closer the limit stands at a grade where the rule does not say.

    On the day by `factor`, on the evening before half of the way there, else not at all: what
    breaks on Thursday can be mended by Saturday, and a tighter limit then only calls people more.
    """
    match grade:
        case "window":
            return factor
        case "evening_before":
            return (1 + factor) / 2
        case _:
            return 1.0


@dataclass(frozen=True, slots=True)
class Limit:
    """The number that holds at an instant, and why this one."""

    value: float
    clear_value: float
    source: LimitSource
    phase: str | None = None
    wedding_id: UUID | None = None
    factor: float | None = None
    """Where a factor won: which."""


def resolve_limit(
    rule: RuleDraft,
    wedding: WeddingWindow | None,
    *,
    is_declared_wedding: bool = False,
    factor: float = WEDDING_FACTOR,
    unit: str | None = None,
) -> Limit:
    """The rule's limit at an instant: an explicit wedding value beats the factor beats the rule.

    Both are looked up for the phase first, then for its grade. The clear value moves with the limit
    where it has to. A wedding that the calendar knows and one that the sample declares both count:
    the error is on the side of the wedding. `unit` is what the rule's series declare.
    """
    base = rule.threshold_value
    clear = base if rule.clear_threshold_value is None else rule.clear_threshold_value
    phase = wedding.phase if wedding else None
    if is_declared_wedding and (phase is None or grade_of(phase) != WINDOW):
        phase = DECLARED
    wedding_id = wedding.wedding_id if wedding else None
    plain = Limit(base, clear, LimitSource.RULE, phase, wedding_id)
    if phase is None or not rule.wedding_day_override:
        return plain
    grade = grade_of(phase)
    value = _look_up(rule.wedding_thresholds, phase, grade)
    if value is None and grade == WINDOW:
        value = rule.wedding_day_threshold_value
    whole = whole_of(rule, unit)
    source, by = LimitSource.WEDDING_VALUE, None
    if value is None:
        own = _look_up(rule.wedding_factors, phase, grade)
        by = own if own is not None and rule.rule_kind not in WITHOUT_FACTORS else None
        by = usual_factor(rule, grade, factor, whole) if by is None else by
        value, source = tighten(rule.comparison_operator, base, by, whole), _FACTOR
        if value == base:
            return plain
    moved = _move_clear(rule.comparison_operator, base, clear, value, whole)
    return Limit(value, moved, source, phase, wedding_id, by)


def rule_for(rules: Iterable[AlertRule], service: str, metric: str) -> AlertRule | None:
    """The active rule whose limit is drawn: the first by name that watches the metric, and whose
    limit is one of the metric itself."""
    return next(
        (
            r
            for r in rules
            if r.is_active
            and r.rule_kind is RuleKind.THRESHOLD
            and r.watches(service, metric, dict(r.tag_filter))
        ),
        None,
    )


_FACTOR: Final = LimitSource.WEDDING_FACTOR
WITHOUT_FACTORS: Final = frozenset({RuleKind.COMPOSITE, RuleKind.DEADLINE})
"""Kinds whose limit is no matter of degree: how many rules there are, and what a disk holds."""


def usual_factor(
    rule: RuleDraft, grade: str, factor: float = WEDDING_FACTOR, whole: float | None = None
) -> float:
    """By what the limit moves at a grade where the rule does not say; 1: it stays."""
    # How far a figure reaches that is no share is known to people alone: twice 20 replicas may be
    # more than there are, and would alarm from midnight to midnight.
    is_beyond = whole is None and _grows(rule.comparison_operator, rule.threshold_value)
    if rule.rule_kind in WITHOUT_FACTORS or is_beyond:
        return 1.0
    return default_factor(grade, factor)


def _look_up(numbers: Mapping[str, float], phase: str, grade: str) -> float | None:
    return numbers.get(phase, numbers.get(grade))


def is_looser(rule: RuleDraft, limit: Limit) -> bool:
    """Whether less alarms by it than on other days, as a wedding value may have it."""
    if rule.comparison_operator.is_upper:
        return limit.value > rule.threshold_value
    return limit.value < rule.threshold_value


_WHOLES: Final = {"%": 100.0, "percent": 100.0, "ratio": 1.0}
_PERCENT: Final = frozenset({"percent", "percentage", "pct", "availability", "uptime", "success"})
_AMOUNTS: Final = frozenset({"count", "total", "ms", "milliseconds", "seconds", "minutes", "hours"})
_NOT_OF_ONE_SAMPLE: Final = frozenset(
    {
        Aggregation.SUM,
        Aggregation.COUNT,
        Aggregation.RATE,
        Aggregation.INCREASE,
        Aggregation.STDDEV,
    }
)
"""What these make of shares is no share."""


def whole_of(rule: RuleDraft, unit: str | None) -> float | None:
    """What a figure with a lower limit cannot pass: 1 or 100 of a share; None of anything else.

    A unit that is declared decides. Without one a limit up to 1 is read as one on a share, and one
    up to 100 where the metric's name says percent.
    """
    limit = rule.threshold_value
    if rule.comparison_operator.is_upper:
        return None
    if rule.rule_kind is RuleKind.RATIO:
        whole: float | None = 1.0
    elif rule.rule_kind is not RuleKind.THRESHOLD or rule.aggregation in _NOT_OF_ONE_SAMPLE:
        return None
    else:
        declared = (unit or "").strip().lower()
        whole = _WHOLES.get(declared)
        if whole is None and declared in ("", "1") and limit <= 1:
            whole = 1.0
        elif whole is None:
            name = rule.metric_pattern.rpartition(".")[2] if declared in ("", "1") else declared
            whole = 100.0 if _says_percent(name) else None
    return whole if whole is not None and 0 < limit <= whole else None


def _says_percent(name: str) -> bool:
    words = set(re.split(r"[^a-z]+", name.lower()))
    return bool(words & _PERCENT) and not words & _AMOUNTS


def tighten(operator: Operator, limit: float, factor: float, whole: float | None = None) -> float:
    """The limit moved by a factor between 0 and 1 in the direction that alarms sooner.

    A lower limit on a share moves towards the whole and never reaches it: of 99 % half of what is
    missing is 99.5 %, never 198 %; of 10 %, which is nearer to twice as much, it is 20 %.
    """
    # Towards zero is stricter for "above a positive number" and "below a negative one" only.
    moved = limit / factor if _grows(operator, limit) else limit * factor
    if whole is None:
        return moved
    moved = min(moved, whole - (whole - limit) * factor)
    return moved if limit < moved < whole else limit


def _grows(operator: Operator, limit: float) -> bool:
    """Whether a stricter limit lies further from zero."""
    return operator.is_upper != (limit >= 0)


def _move_clear(
    operator: Operator, base: float, clear: float, moved: float, whole: float | None
) -> float:
    """The clear value beside a moved limit: as it was while it stays on the good side of it."""
    if (operator.is_upper and clear <= moved) or (not operator.is_upper and clear >= moved):
        return clear
    if whole is not None and base < whole and moved <= whole:
        # In proportion to what is missing of the whole: what is whole has always cleared.
        kept = whole - (whole - clear) * (whole - moved) / (whole - base)
        return max(min(kept, whole), moved)
    # In proportion; where there is none (a limit of 0, a change of sign) by the same distance.
    has_ratio = base != 0 and moved / base > 0
    kept = clear * (moved / base) if has_ratio else moved + (clear - base)
    return min(kept, moved) if operator.is_upper else max(kept, moved)
