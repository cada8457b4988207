"""An alert rule: what it watches, on which side of which number it is bad, and for how long."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

from wedsync_apm.rules.aggregate import Aggregation
from wedsync_apm.rules.selectors import Selector, TagSelector, equals
from wedsync_apm.types import Channel, Severity


class RuleKind(StrEnum):
    """Where a rule's number comes from; the limit and the verdict are found alike for all."""

    THRESHOLD = "threshold"  # the aggregate of a window
    RATIO = "ratio"  # one aggregate divided by another: errors by requests
    CHANGE = "change"  # a window against earlier ones, in percent
    BURN_RATE = (
        "burn_rate"  # how fast an objective's error budget burns, in a long and a short window
    )
    DEADLINE = "deadline"  # where a straight line through the window will be at the horizon
    COMPOSITE = "composite"  # how many of other rules alarm

    @property
    def is_long(self) -> bool:
        """Whether its windows reach further back than memory does: it is read from rollups."""
        return self in (RuleKind.CHANGE, RuleKind.BURN_RATE, RuleKind.DEADLINE)

    @property
    def is_grouped(self) -> bool:
        """Whether it is formed over groups of series always, never over each one."""
        return self in (RuleKind.RATIO, RuleKind.BURN_RATE, RuleKind.COMPOSITE)


class Operator(StrEnum):
    """On which side of the limit it is bad."""

    ABOVE = ">"
    AT_LEAST = ">="
    BELOW = "<"
    AT_MOST = "<="

    @property
    def is_upper(self) -> bool:
        """True where growing is bad."""
        return self in (Operator.ABOVE, Operator.AT_LEAST)

    def is_breached(self, value: float, limit: float) -> bool:
        """Whether `value` is on the bad side of `limit`."""
        match self:
            case Operator.ABOVE:
                return value > limit
            case Operator.AT_LEAST:
                return value >= limit
            case Operator.BELOW:
                return value < limit
            case Operator.AT_MOST:
                return value <= limit


class NoDataPolicy(StrEnum):
    """What an empty window means."""

    KEEP = "keep"  # the last verdict stands
    ALERT = "alert"  # silence is itself the problem
    OK = "ok"  # nothing to worry about


class Baseline(StrEnum):
    """What a change is measured against."""

    SAME_WEEKDAY = "same_weekday"  # the median of the same window in the weeks before
    LAST_WEDDING = "last_wedding"  # the same stretch of the last wedding's day


GRADES: Final = ("days_before", "evening_before", "window", "after")
"""How near a wedding is, from far to over; `window` is the day itself with its phases."""
GUARDS: Final = ("enhanced", "maximum")
"""What the platform as a whole may be in without a wedding of one's own."""
PHASES: Final = ("set_up", "ceremony", "reception", "tear_down", "day", "declared")
"""The parts of the grade `window`."""
PROXIMITIES: Final = frozenset((*GRADES, *GUARDS, *PHASES))
"""For what a rule may name a wedding value or a factor of its own."""


@dataclass(frozen=True, slots=True)
class RuleDraft:
    """What a person decides about a rule; durations are whole or broken seconds as timedeltas."""

    alert_name: str
    metric_pattern: str
    comparison_operator: Operator
    threshold_value: float
    rule_kind: RuleKind = RuleKind.THRESHOLD
    description: str = ""
    tag_filter: Mapping[str, str] = field(default_factory=dict)
    tag_selectors: tuple[TagSelector, ...] = ()
    group_by: tuple[str, ...] | None = None
    """None: each series by itself. Tags: an instance for each combination of their values; none of
    them: one instance for all, which is there even before the first series."""
    aggregation: Aggregation = Aggregation.AVG
    evaluation_window: timedelta = timedelta(minutes=5)
    for_duration: timedelta = timedelta()
    keep_firing_for: timedelta = timedelta()
    clear_threshold_value: float | None = None
    no_data_policy: NoDataPolicy = NoDataPolicy.KEEP
    stale_policy: NoDataPolicy = NoDataPolicy.OK
    """What it means that the sender ended the series, said, not just silent."""
    severity: Severity = Severity.WARNING
    notification_channels: tuple[Channel, ...] = (Channel.EMAIL,)
    wedding_day_override: bool = True
    wedding_day_threshold_value: float | None = None
    wedding_day_severity: Severity | None = None
    wedding_factors: Mapping[str, float] = field(default_factory=dict)
    """Factors of its own by grade, guard or phase, in place of the defaults."""
    wedding_thresholds: Mapping[str, float] = field(default_factory=dict)
    """Explicit values by grade, guard or phase; they beat every factor."""
    cooldown_period: timedelta = timedelta(minutes=5)
    flap_changes: int = 0
    """So many beginnings and ends within `flap_window` are one alarm that goes on; 0: never."""
    flap_window: timedelta = timedelta(minutes=10)
    auto_resolve: bool = True
    opens_incident: bool = True
    """False for a rule that only others are made of."""
    is_active: bool = True
    vendor_text: Mapping[str, Any] = field(default_factory=dict)
    denominator_pattern: str | None = None
    """Ratio and burn rate: what is divided by."""
    denominator_selectors: tuple[TagSelector, ...] = ()
    objective: float | None = None
    """Burn rate: the share that shall be good, 0.999."""
    short_window: timedelta | None = None
    """Burn rate: the window that ends the alarm soon; None: a twelfth of `evaluation_window`."""
    baseline: Baseline | None = None
    baseline_weeks: int = 4
    horizon: timedelta | None = None
    """Deadline: how far ahead the line is looked at; None: up to the end of the next wedding."""
    member_rule_ids: tuple[UUID, ...] = ()
    """Composite: the rules that it counts."""

    @property
    def selector(self) -> Selector:
        """The series it watches, or, of a ratio, those above the line."""
        return Selector(self.metric_pattern, (*equals(self.tag_filter), *self.tag_selectors))

    @property
    def denominator(self) -> Selector | None:
        """The series below the line."""
        if self.denominator_pattern is None:
            return None
        return Selector(self.denominator_pattern, self.denominator_selectors)

    @property
    def grouping(self) -> tuple[str, ...] | None:
        """The tags by which series become instances; None for each one by itself."""
        return () if self.group_by is None and self.rule_kind.is_grouped else self.group_by


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertRule(RuleDraft):
    """A stored rule."""

    id: UUID
    organization_id: UUID
    last_triggered_at: datetime | None = None
    trigger_count: int = 0
    created_by: UUID | None = None
    created_at: datetime
    updated_at: datetime

    def watches(self, service_name: str, metric_name: str, tags: Mapping[str, Any]) -> bool:
        """Whether a series of this name and these tags is one of the rule's."""
        return self.rule_kind is not RuleKind.COMPOSITE and self.selector.matches(
            service_name, metric_name, tags
        )
