"""What is wrong with a draft of a rule, in the words that stand beside each field."""

import math
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Final

from wedsync_apm.errors import FieldError
from wedsync_apm.rules.aggregate import Aggregation
from wedsync_apm.rules.limits import WITHOUT_FACTORS
from wedsync_apm.rules.model import PROXIMITIES, Baseline, RuleDraft, RuleKind

DAY: Final = timedelta(days=1)
LONGEST_WINDOW: Final = timedelta(days=30)
"""Of the kinds that are read from rollups."""
FROM_ROLLUPS: Final = frozenset(
    {
        Aggregation.AVG,
        Aggregation.MIN,
        Aggregation.MAX,
        Aggregation.SUM,
        Aggregation.COUNT,
        Aggregation.LAST,
        Aggregation.RATE,
        Aggregation.INCREASE,
    }
)
"""What can be put together from rollups exactly."""
COUNTABLE: Final = frozenset(
    {Aggregation.SUM, Aggregation.COUNT, Aggregation.RATE, Aggregation.INCREASE}
)
MOST_MEMBERS: Final = 10
FARTHEST_LIMIT: Final = 1e300
"""A limit further from zero would switch its rule off without saying so."""
MOST_TAGS: Final = 8

Refuse = Callable[[str, str], None]


def find_faults(draft: RuleDraft) -> list[FieldError]:
    """What is wrong with a draft, field by field; empty: nothing."""
    faults: list[FieldError] = []

    def refuse(name: str, reason: str) -> None:
        faults.append(FieldError(name, reason))

    if not 1 <= len(draft.alert_name.strip()) <= 200:
        refuse("alert_name", "needs 1 to 200 characters")
    _check_selection(draft, refuse)
    _check_numbers(draft, refuse)
    _check_times(draft, refuse)
    _KINDS[draft.rule_kind](draft, refuse)
    return faults


def _check_pattern(name: str, pattern: str, refuse: Refuse) -> None:
    if not 1 <= len(pattern) <= 256:
        refuse(name, "needs 1 to 256 characters, like orders.checkout_time")
    elif "." not in pattern and "**" not in pattern:
        refuse(name, "needs a service and a metric with a dot between, like orders.*")


def _check_selection(draft: RuleDraft, refuse: Refuse) -> None:
    if draft.rule_kind is RuleKind.COMPOSITE:
        if draft.metric_pattern:
            refuse("metric_pattern", "stays empty: a composite rule counts other rules")
    else:
        _check_pattern("metric_pattern", draft.metric_pattern, refuse)
    for name in ("tag_selectors", "denominator_selectors"):
        found = [one.find_fault() for one in getattr(draft, name)]
        if len(found) > MOST_TAGS:
            refuse(name, f"takes at most {MOST_TAGS} conditions")
        for place, fault in enumerate(found):
            if fault:
                refuse(f"{name}[{place}]", fault)
    tags = draft.group_by
    if tags is not None and (
        len(tags) > MOST_TAGS
        or len(set(tags)) != len(tags)
        or any(not 1 <= len(tag) <= 128 for tag in tags)
    ):
        refuse("group_by", f"takes up to {MOST_TAGS} different tags")


def _check_numbers(draft: RuleDraft, refuse: Refuse) -> None:
    for name in ("threshold_value", "clear_threshold_value", "wedding_day_threshold_value"):
        value = getattr(draft, name)
        if value is not None and not _is_within_reach(value):
            refuse(name, _REACH)
    clear, limit = draft.clear_threshold_value, draft.threshold_value
    if clear is not None and (
        clear > limit if draft.comparison_operator.is_upper else clear < limit
    ):
        refuse("clear_threshold_value", "needs to lie on the good side of the threshold")
    known = ", ".join(sorted(PROXIMITIES))
    for name in ("wedding_factors", "wedding_thresholds"):
        numbers: Mapping[str, float] = getattr(draft, name)
        if unknown := sorted(numbers.keys() - PROXIMITIES):
            refuse(name, f"does not know {unknown[0]}; known are {known}")
    if any(not 0 < factor <= 1 for factor in draft.wedding_factors.values()):
        refuse("wedding_factors", "needs factors above 0 and up to 1, which changes nothing")
    if draft.rule_kind in WITHOUT_FACTORS and any(
        one != 1 for one in draft.wedding_factors.values()
    ):
        refuse("wedding_factors", "has no meaning for this kind: name values in wedding_thresholds")
    if not all(map(_is_within_reach, draft.wedding_thresholds.values())):
        refuse("wedding_thresholds", _REACH)
    if not (draft.flap_changes == 0 or 3 <= draft.flap_changes <= 20):
        refuse("flap_changes", "needs 3 to 20 changes, or 0 for none")


_REACH: Final = "needs numbers between -1e300 and 1e300: nothing ever crosses one beyond"


def _is_within_reach(value: float) -> bool:
    return math.isfinite(value) and abs(value) <= FARTHEST_LIMIT


def _check_times(draft: RuleDraft, refuse: Refuse) -> None:
    is_long = draft.rule_kind.is_long
    if not timedelta(seconds=1) <= draft.evaluation_window <= (LONGEST_WINDOW if is_long else DAY):
        longest = "30 days" if is_long else "1 day"
        refuse("evaluation_window", f"needs to be between 1 second and {longest}")
    for name in ("for_duration", "keep_firing_for"):
        if not timedelta() <= getattr(draft, name) <= DAY:
            refuse(name, "needs to be between 0 seconds and 1 day")
    if draft.cooldown_period < timedelta():
        refuse("cooldown_period", "cannot be negative")
    if not timedelta(minutes=1) <= draft.flap_window <= DAY:
        refuse("flap_window", "needs to be between 1 minute and 1 day")


def _check_threshold(draft: RuleDraft, refuse: Refuse) -> None:
    """Nothing beyond what every rule has."""


def _check_division(draft: RuleDraft, refuse: Refuse) -> None:
    if draft.denominator_pattern is None:
        refuse("denominator_pattern", "is needed: what is divided by, like orders.requests")
    else:
        _check_pattern("denominator_pattern", draft.denominator_pattern, refuse)


def _check_burn_rate(draft: RuleDraft, refuse: Refuse) -> None:
    _check_division(draft, refuse)
    if draft.objective is None or not 0 < draft.objective < 1:
        refuse("objective", "is needed: the share that shall be good, between 0 and 1, like 0.999")
    if draft.aggregation not in COUNTABLE:
        refuse("aggregation", "needs to count: increase or rate of counters, else sum or count")
    if draft.evaluation_window < timedelta(minutes=5):
        refuse("evaluation_window", "needs at least 5 minutes")
    short = draft.short_window
    if short is not None and not timedelta(minutes=1) <= short < draft.evaluation_window:
        refuse("short_window", "needs at least 1 minute and less than the evaluation window")


def _check_change(draft: RuleDraft, refuse: Refuse) -> None:
    if draft.baseline is None:
        refuse("baseline", f"is needed: {' or '.join(Baseline)}")
    if not 1 <= draft.baseline_weeks <= 8:
        refuse("baseline_weeks", "needs to be 1 to 8")
    if draft.aggregation not in FROM_ROLLUPS:
        refuse("aggregation", "cannot be compared over weeks; take avg, sum, count, max, rate")
    if not timedelta(minutes=1) <= draft.evaluation_window <= DAY:
        refuse("evaluation_window", "needs to be between 1 minute and 1 day")


def _check_deadline(draft: RuleDraft, refuse: Refuse) -> None:
    if draft.horizon is not None and not timedelta(minutes=1) <= draft.horizon <= LONGEST_WINDOW:
        refuse("horizon", "needs to be between 1 minute and 30 days")
    if draft.evaluation_window < timedelta(minutes=5):
        refuse("evaluation_window", "needs at least 5 minutes to see where it leads")


def _check_composite(draft: RuleDraft, refuse: Refuse) -> None:
    members = draft.member_rule_ids
    if not 1 <= len(set(members)) == len(members) <= MOST_MEMBERS:
        refuse("member_rule_ids", f"needs 1 to {MOST_MEMBERS} different rules")


_KINDS: Final[Mapping[RuleKind, Callable[[RuleDraft, Refuse], None]]] = {
    RuleKind.THRESHOLD: _check_threshold,
    RuleKind.RATIO: _check_division,
    RuleKind.CHANGE: _check_change,
    RuleKind.BURN_RATE: _check_burn_rate,
    RuleKind.DEADLINE: _check_deadline,
    RuleKind.COMPOSITE: _check_composite,
}
