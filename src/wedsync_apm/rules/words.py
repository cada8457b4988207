"""A verdict in one sentence: the number, the limit, and where that comes from."""

from typing import Final

from wedsync_apm.rules.aggregate import Aggregation, Gap
from wedsync_apm.rules.limits import Limit, LimitSource, grade_of, is_looser
from wedsync_apm.rules.model import RuleDraft, RuleKind
from wedsync_apm.rules.verdict import Standing, State

_GAPS: Final = {
    Gap.ABSENT: "nothing was measured",
    Gap.STALE: "the sender has ended the series",
    Gap.NOT_APPLICABLE: "there is nothing to compare with",
}
_KINDS: Final = {
    RuleKind.RATIO: "ratio",
    RuleKind.CHANGE: "change in percent",
    RuleKind.BURN_RATE: "burn rate",
    RuleKind.DEADLINE: "forecast",
    RuleKind.COMPOSITE: "rules that alarm",
}
_STATES: Final = {
    State.OK: "ok",
    State.PENDING: "pending: not long enough yet",
    State.FIRING: "firing",
    State.NO_DATA: "firing: silence is the alarm",
    State.KEEPING: "firing: good again, and kept for a while",
    State.FLAPPING: "firing: it has come and gone too often",
}


def reason_of(rule: RuleDraft, standing: Standing) -> str:
    """Why the verdict is what it is."""
    return (
        f"{_found(rule, standing)}; {limit_words(rule, standing.limit)}; {_STATES[standing.state]}"
    )


def _found(rule: RuleDraft, standing: Standing) -> str:
    if standing.value is None:
        return _GAPS[standing.gap or Gap.ABSENT]
    what = _KINDS.get(rule.rule_kind, rule.aggregation.value)
    if rule.rule_kind is RuleKind.THRESHOLD and rule.aggregation is Aggregation.LAST:
        what = "newest value"
    of = "rules" if rule.rule_kind is RuleKind.COMPOSITE else "samples"
    return f"{what} {standing.value:.6g} of {standing.sample_count} {of}"


def limit_words(rule: RuleDraft, limit: Limit) -> str:
    """The limit with its source."""
    text = f"limit {rule.comparison_operator.value} {limit.value:.6g}"
    match limit.source:
        case LimitSource.WEDDING_VALUE:
            looser = ""
            if is_looser(rule, limit):
                looser = f", looser than {rule.threshold_value:.6g} on other days"
            return f"{text}, the rule's own value for {_when(limit)}{looser}"
        case LimitSource.WEDDING_FACTOR:
            by = "" if limit.factor is None else f" by {limit.factor:.3g}"
            return f"{text}, {rule.threshold_value:.6g} tightened{by} for {_when(limit)}"
    return f"{text}, the rule's own" + (f" (phase {limit.phase})" if limit.phase else "")


def _when(limit: Limit) -> str:
    phase = limit.phase or ""
    grade = grade_of(phase)
    return phase if phase == grade else f"{phase} of a wedding day"
