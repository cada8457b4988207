"""An alert rule as a sentence, and in the engine's words."""

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime

from wedsync_apm.rules.aggregate import Aggregation
from wedsync_apm.rules.limits import WEDDING_FACTOR, WeddingWindow, is_looser, resolve_limit
from wedsync_apm.rules.model import PROXIMITIES, AlertRule, Operator, RuleDraft, RuleKind
from wedsync_apm.rules.selectors import Match, TagSelector, equals
from wedsync_apm.rules.starter import unit_sent
from wedsync_apm.web import say
from wedsync_apm.web.views.incident import Fact
from wedsync_apm.web.views.rule import Offer, RuleRow
from wedsync_apm.web.views.shell import Status
from wedsync_apm.web.words import say as words

_SIDE = {
    Operator.ABOVE: "over",
    Operator.AT_LEAST: "at or over",
    Operator.BELOW: "under",
    Operator.AT_MOST: "at or under",
}
_FUNCTION = {
    Aggregation.AVG: "the average of {}",
    Aggregation.MIN: "the lowest {}",
    Aggregation.MAX: "the highest {}",
    Aggregation.SUM: "the sum of {}",
    Aggregation.COUNT: "the number of {}",
    Aggregation.LAST: "{}",
    Aggregation.RATE: "{} a second",
    Aggregation.INCREASE: "the growth of {}",
    Aggregation.P50: "the middle value of {}",
    Aggregation.P90: "the slowest 1 in 10 of {}",
    Aggregation.P95: "the slowest 1 in 20 of {}",
    Aggregation.P99: "the slowest 1 in 100 of {}",
    Aggregation.STDDEV: "the spread of {}",
}
_EVER = (datetime(1970, 1, 1, tzinfo=UTC), datetime(1970, 1, 2, tzinfo=UTC))
_KIND = {
    RuleKind.THRESHOLD: "{}",
    RuleKind.RATIO: "{} as a share of {}",
    RuleKind.CHANGE: "the change in percent of {}",
    RuleKind.BURN_RATE: "how fast {} uses up what {} allows",
    RuleKind.DEADLINE: "where {} is heading",
    RuleKind.COMPOSITE: "the number of other rules that alarm",
}


def side_words(operator: Operator) -> str:
    """The side of the limit on which it is bad."""
    return _SIDE[operator]


def metric_words(pattern: str) -> str:
    """A pattern over service.metric as words: orders.checkout_time, photo_*.errors."""
    service, _, metric = pattern.replace("**", "*").rpartition(".")
    if "*" in service or not service:
        return f"{say.noun(metric.replace('*', 'any'))} of any service"
    if metric.strip("*?") == "":
        return f"every figure of {say.noun(service)}"
    return f"{say.noun(service)}, {say.noun(metric.replace('*', ' any '))}"


_CONDITION = {
    Match.EQUAL: "{} is {}",
    Match.NOT_EQUAL: "{} is not {}",
    Match.GLOB: "{} is like {}",
    Match.IN: "{} is {}",
    Match.ABSENT: "{} is not told",
}


def condition_words(selectors: Sequence[TagSelector]) -> str:
    """Which of a metric's series are meant, to stand behind its name; empty where all are."""
    parts = [
        _CONDITION[one.match].format(say.noun(one.tag), _some(one.values)) for one in selectors
    ]
    return f" where {' and '.join(parts)}" if parts else ""


def _some(values: Sequence[str]) -> str:
    """As many of the values as a sentence bears."""
    shown = [value if len(value) <= 40 else f"{value[:39]}…" for value in values[:3]]
    if len(values) > 3:
        shown.append(f"{len(values) - 3} more")
    return " or ".join(shown)


def what_words(rule: RuleDraft) -> str:
    """What the rule watches."""
    metric, kind = metric_words(rule.metric_pattern), rule.rule_kind
    above = metric + condition_words((*equals(rule.tag_filter), *rule.tag_selectors))
    below = metric_words(rule.denominator_pattern or "") + condition_words(
        rule.denominator_selectors
    )
    if kind is RuleKind.RATIO and rule.aggregation is Aggregation.COUNT and below == metric:
        return f"the share of {above}"
    if kind is not RuleKind.DEADLINE:
        above = _FUNCTION[rule.aggregation].format(above)
    return _KIND[kind].format(above, below)


def _figure(*, is_plain: bool) -> Callable[[float | None, str | None], str]:
    return say.plain_figure if is_plain else say.figure


def sentence(rule: RuleDraft, unit: str | None, *, is_plain: bool = False) -> str:
    """When exactly this tells someone; `is_plain` for people outside computing."""
    text = words(
        "rule.when",
        what=what_words(rule),
        comparison=f"is {_SIDE[rule.comparison_operator]}",
        limit=_figure(is_plain=is_plain)(rule.threshold_value, unit),
    )
    if rule.for_duration:
        text += words("rule.for", length=say.length(rule.for_duration))
    return text + words("rule.tell")


def wedding_sentence(
    rule: RuleDraft,
    unit: str | None,
    *,
    is_plain: bool = False,
    factor: float = WEDDING_FACTOR,
) -> str:
    """What is different on wedding days, and whether less is told at some time near them."""
    limit = resolve_limit(rule, None, is_declared_wedding=True, factor=factor, unit=unit)
    if limit.value == rule.threshold_value:
        text = words("rule.wedding_same")
    else:
        text = words(
            "rule.wedding",
            comparison=_SIDE[rule.comparison_operator],
            limit=_figure(is_plain=is_plain)(limit.value, unit),
        )
    if is_looser(rule, limit):
        return text + words("rule.wedding_looser")
    near = (WeddingWindow(one, None, _EVER[0], _EVER[1], 0) for one in PROXIMITIES)
    if any(is_looser(rule, resolve_limit(rule, one, factor=factor, unit=unit)) for one in near):
        return text + words("rule.wedding_looser_at_times")
    return text


def build_row(
    rule: AlertRule,
    unit: str | None,
    now: datetime,
    zone: str,
    *,
    is_problem: bool = False,
    is_plain: bool = False,
    factor: float = WEDDING_FACTOR,
) -> RuleRow:
    """A rule for the list."""
    told: str = words("rule.never")
    if rule.trigger_count:
        told = words("rule.fires", n=rule.trigger_count)
        if rule.last_triggered_at:
            told += ", " + words("rule.last", time=say.when(rule.last_triggered_at, now, zone))
    return RuleRow(
        rule.id,
        rule.alert_name,
        sentence(rule, unit, is_plain=is_plain),
        wedding_sentence(rule, unit, is_plain=is_plain, factor=factor),
        told,
        _status(rule.is_active, is_problem),
    )


def _status(is_active: bool, is_problem: bool) -> Status:
    if not is_active:
        return Status("none", words("rule.off"))
    return Status("crit", words("rule.problem")) if is_problem else Status("ok", words("rule.on"))


def build_offers(
    offered: Iterable[RuleDraft], kept: Iterable[AlertRule], *, factor: float = WEDDING_FACTOR
) -> tuple[Offer, ...]:
    """The starter rules, each with whether it is there already."""
    taken = {rule.alert_name: rule.id for rule in kept}
    return tuple(
        Offer(
            rule.alert_name,
            sentence(rule, unit_sent(rule), is_plain=True),
            wedding_sentence(rule, unit_sent(rule), is_plain=True, factor=factor),
            taken.get(rule.alert_name),
        )
        for rule in offered
    )


def _plain(value: float | None) -> str:
    return "" if value is None else f"{value:g}" if abs(value) < 1e15 else repr(value)


def facts(rule: AlertRule) -> tuple[Fact, ...]:
    """The rule in the engine's words."""
    shown = (
        ("metric_pattern", rule.metric_pattern),
        ("tag_filter", ", ".join(f"{k}={v}" for k, v in rule.tag_filter.items())),
        ("aggregation", rule.aggregation.value),
        ("comparison_operator", rule.comparison_operator.value),
        ("threshold_value", _plain(rule.threshold_value)),
        ("clear_threshold_value", _plain(rule.clear_threshold_value)),
        ("evaluation_window", say.length(rule.evaluation_window)),
        ("for_duration", f"{rule.for_duration.total_seconds():g} s"),
        ("no_data_policy", rule.no_data_policy.value),
        ("severity", rule.severity.value),
        (
            "wedding_day_severity",
            rule.wedding_day_severity.value if rule.wedding_day_severity else "",
        ),
        ("cooldown_period", say.length(rule.cooldown_period)),
        ("notification_channels", ", ".join(c.value for c in rule.notification_channels)),
        ("id", str(rule.id)),
    )
    return tuple(Fact(name, value, True) for name, value in shown if value)
