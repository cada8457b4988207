"""An alert rule as a sentence, and its form back into a rule."""

import math
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from wedsync_apm.rules.aggregate import Aggregation
from wedsync_apm.rules.limits import resolve_limit
from wedsync_apm.rules.model import AlertRule, Operator
from wedsync_apm.web import say
from wedsync_apm.web.views.incident import Fact
from wedsync_apm.web.views.rule import RuleForm, RuleRow
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
    Aggregation.P50: "the middle value of {}",
    Aggregation.P95: "the slowest 1 in 20 of {}",
    Aggregation.P99: "the slowest 1 in 100 of {}",
}
LONGEST_HOLD_SECONDS = 86400


def metric_words(pattern: str) -> str:
    """A pattern over service.metric as words: orders.checkout_time, photo_*.errors."""
    service, _, metric = pattern.replace("**", "*").rpartition(".")
    if "*" in service or not service:
        return f"{say.noun(metric.replace('*', 'any'))} of any service"
    if metric.strip("*?") == "":
        return f"every figure of {say.noun(service)}"
    return f"{say.noun(service)}, {say.noun(metric.replace('*', ' any '))}"


def what_words(rule: AlertRule) -> str:
    """What the rule watches."""
    return _FUNCTION[rule.aggregation].format(metric_words(rule.metric_pattern))


def sentence(rule: AlertRule, unit: str | None) -> str:
    """When exactly this tells someone."""
    text = words(
        "rule.when",
        what=what_words(rule),
        comparison=f"is {_SIDE[rule.comparison_operator]}",
        limit=say.figure(rule.threshold_value, unit),
    )
    if rule.for_duration:
        text += words("rule.for", length=say.length(rule.for_duration))
    return text + words("rule.tell")


def wedding_sentence(rule: AlertRule, unit: str | None) -> str:
    """What is different on wedding days."""
    if not rule.wedding_day_override:
        return words("rule.wedding_same")
    limit = resolve_limit(rule, None, is_declared_wedding=True, unit=unit)
    return words(
        "rule.wedding",
        comparison=_SIDE[rule.comparison_operator],
        limit=say.figure(limit.value, unit),
    )


def build_row(rule: AlertRule, unit: str | None, now: datetime, zone: str) -> RuleRow:
    """A rule for the list."""
    told: str = words("rule.never")
    if rule.trigger_count:
        told = words("rule.fires", n=rule.trigger_count)
        if rule.last_triggered_at:
            told += ", " + words("rule.last", time=say.when(rule.last_triggered_at, now, zone))
    return RuleRow(
        rule.id,
        rule.alert_name,
        sentence(rule, unit),
        wedding_sentence(rule, unit),
        told,
        rule.is_active,
    )


def _plain(value: float | None) -> str:
    return "" if value is None else f"{value:g}" if abs(value) < 1e15 else repr(value)


def build_form(rule: AlertRule) -> RuleForm:
    """The form as the rule stands."""
    return RuleForm(
        _plain(rule.threshold_value),
        _plain(rule.wedding_day_threshold_value),
        _plain(rule.for_duration.total_seconds()),
        rule.is_active,
        {},
    )


def read_form(rule: AlertRule, sent: Mapping[str, Any]) -> tuple[AlertRule, RuleForm]:
    """The rule as the form wants it, and the form as typed with the words beside each fault."""
    errors: dict[str, str] = {}
    typed = {
        name: str(sent.get(name) or "").strip()[:40]
        for name in ("limit", "wedding_limit", "seconds")
    }

    def number(name: str) -> float | None:
        try:
            value = float(typed[name].replace(",", "").replace(" ", ""))
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            errors[name] = words("rule.number")
            return None
        return value

    limit = number("limit")
    wedding_limit = number("wedding_limit") if typed["wedding_limit"] else None
    hold = typed["seconds"] or "0"
    if not hold.isdecimal() or int(hold) > LONGEST_HOLD_SECONDS:
        errors["seconds"] = words("rule.seconds")
        hold = "0"
    is_active = sent.get("is_active") == "yes"
    form = RuleForm(typed["limit"], typed["wedding_limit"], typed["seconds"], is_active, errors)
    if limit is None or errors:
        return rule, form
    changed = replace(
        rule,
        threshold_value=limit,
        wedding_day_threshold_value=wedding_limit,
        for_duration=timedelta(seconds=int(hold)),
        is_active=is_active,
        # where it counts as over follows the limit, unless it still lies on the good side
        clear_threshold_value=_kept_clear_limit(rule, limit),
    )
    return changed, form


def _kept_clear_limit(rule: AlertRule, limit: float) -> float | None:
    clear = rule.clear_threshold_value
    if clear is None:
        return None
    fits = clear <= limit if rule.comparison_operator.is_upper else clear >= limit
    return clear if fits else None


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
