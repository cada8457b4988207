"""An alert rule: what it watches, on which side of which number it is bad, and for how long."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

from wedsync_apm.errors import FieldError
from wedsync_apm.rules.aggregate import Aggregation
from wedsync_apm.rules.patterns import compile_pattern, full_name
from wedsync_apm.types import Channel, Severity


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


@dataclass(frozen=True, slots=True)
class RuleDraft:
    """What a person decides about a rule; durations are whole or broken seconds as timedeltas."""

    alert_name: str
    metric_pattern: str
    comparison_operator: Operator
    threshold_value: float
    description: str = ""
    tag_filter: Mapping[str, str] = field(default_factory=dict)
    aggregation: Aggregation = Aggregation.AVG
    evaluation_window: timedelta = timedelta(minutes=5)
    for_duration: timedelta = timedelta()
    clear_threshold_value: float | None = None
    no_data_policy: NoDataPolicy = NoDataPolicy.KEEP
    severity: Severity = Severity.WARNING
    notification_channels: tuple[Channel, ...] = (Channel.EMAIL,)
    wedding_day_override: bool = True
    wedding_day_threshold_value: float | None = None
    wedding_day_severity: Severity | None = None
    cooldown_period: timedelta = timedelta(minutes=5)
    auto_resolve: bool = True
    is_active: bool = True
    vendor_text: Mapping[str, Any] = field(default_factory=dict)


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
        return compile_pattern(self.metric_pattern).matches(
            full_name(service_name, metric_name)
        ) and all(tags.get(key) == wanted for key, wanted in self.tag_filter.items())


def find_faults(draft: RuleDraft) -> list[FieldError]:
    """What is wrong with a draft, in the words that stand beside each field; empty: nothing."""
    faults: list[FieldError] = []

    def refuse(name: str, reason: str) -> None:
        faults.append(FieldError(name, reason))

    if not 1 <= len(draft.alert_name.strip()) <= 200:
        refuse("alert_name", "needs 1 to 200 characters")
    if not 1 <= len(draft.metric_pattern) <= 256:
        refuse("metric_pattern", "needs 1 to 256 characters, like orders.checkout_time")
    elif "." not in draft.metric_pattern and "**" not in draft.metric_pattern:
        refuse("metric_pattern", "needs a service and a metric with a dot between, like orders.*")
    for name in ("threshold_value", "clear_threshold_value", "wedding_day_threshold_value"):
        value = getattr(draft, name)
        if value is not None and not math.isfinite(value):
            refuse(name, "needs a finite number")
    day = timedelta(days=1)
    if not timedelta(seconds=1) <= draft.evaluation_window <= day:
        refuse("evaluation_window", "needs to be between 1 second and 1 day")
    if not timedelta() <= draft.for_duration <= day:
        refuse("for_duration", "needs to be between 0 seconds and 1 day")
    if draft.cooldown_period < timedelta():
        refuse("cooldown_period", "cannot be negative")
    clear, limit = draft.clear_threshold_value, draft.threshold_value
    if clear is not None and (
        clear > limit if draft.comparison_operator.is_upper else clear < limit
    ):
        refuse("clear_threshold_value", "needs to lie on the good side of the threshold")
    return faults
