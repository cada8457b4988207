"""`rules` and `alerts`: an organization's alert rules, and what alarms, in Prometheus' shapes.

All rules are one group. The rule's text says in the language's manner what it watches; it is no
expression of the language, as patterns are globs over `service.metric`.
"""

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np

from wedsync_apm.api.durations import write_duration
from wedsync_apm.api.prometheus.answers import success
from wedsync_apm.api.prometheus.asked import Asked
from wedsync_apm.api.requests import choose
from wedsync_apm.db.tenant import tenant_tx
from wedsync_apm.metrics.expression.syntax import NotAnswered
from wedsync_apm.organizations.identity import actor_of
from wedsync_apm.organizations.store import find_standing
from wedsync_apm.rules import store
from wedsync_apm.rules.model import AlertRule, RuleKind
from wedsync_apm.rules.selectors import Selector
from wedsync_apm.rules.store import Verdict
from wedsync_apm.rules.words import reason_of

GROUP: Final = "alert rules"
_NEVER: Final = datetime(1, 1, 1, tzinfo=UTC)
_JUDGED_EVERY_SECONDS: Final = 1


async def rules(asked: Asked) -> bytes:
    """All active rules with their alerts, or those that are asked for by name."""
    parameters = asked.parameters
    names, groups = parameters.all("rule_name"), parameters.all("rule_group")
    if parameters.get("type") == "record" or (groups and GROUP not in groups):
        return success({"groups": []})
    found = [
        _rule(rule, verdicts)
        for rule, verdicts in await _read(asked)
        if not names or rule.alert_name in names
    ]
    judged = [one["lastEvaluation"] for one in found]
    group = {
        "name": GROUP,
        "file": GROUP,
        "interval": _JUDGED_EVERY_SECONDS,
        "limit": 0,
        "evaluationTime": 0,
        "lastEvaluation": max(judged, default=_time(_NEVER)),
        "rules": found,
    }
    return success({"groups": [group] if found else []})


async def alerts(asked: Asked) -> bytes:
    """What alarms, or will unless it ends soon."""
    found = [
        alert for rule, verdicts in await _read(asked) for alert in _rule(rule, verdicts)["alerts"]
    ]
    return success({"alerts": found})


async def _read(asked: Asked) -> list[tuple[AlertRule, Sequence[Verdict]]]:
    if asked.identity.is_platform:
        raise NotAnswered("rules belong to an organization: ask with a key of its own")
    async with tenant_tx(asked.services.pool, actor_of(asked.identity)) as cx:
        owner = choose(await find_standing(cx), asked.parameters.organization_id)
        listed = await store.list_rules(cx, owner)
        verdicts = await store.list_unsettled_verdicts(cx, owner)
    return [(rule, verdicts.get(rule.id, ())) for rule in listed if rule.is_active]


def _rule(rule: AlertRule, verdicts: Sequence[Verdict]) -> dict[str, Any]:
    found = [_alert(rule, one) for one in verdicts]
    states = {one["state"] for one in found}
    state = "firing" if "firing" in states else "pending" if states else "inactive"
    judged = max((one.standing.evaluated_at for one in verdicts), default=_NEVER)
    return {
        "state": state,
        "name": rule.alert_name,
        "query": text_of(rule),
        "duration": rule.for_duration.total_seconds(),
        "keepFiringFor": rule.keep_firing_for.total_seconds(),
        "labels": {"severity": rule.severity.value},
        "annotations": {"description": rule.description} if rule.description else {},
        "alerts": found,
        "health": "ok",
        "evaluationTime": 0,
        "lastEvaluation": _time(judged),
        "type": "alerting",
    }


def _alert(rule: AlertRule, verdict: Verdict) -> dict[str, Any]:
    standing, series = verdict.standing, verdict.series
    labels = {name: str(value) for name, value in verdict.labels.items()}
    if series is not None:
        labels |= {name: str(value) for name, value in series.tags.items()}
        labels |= {"service_name": series.service_name, "metric_name": series.metric_name}
    began = standing.firing_since or standing.pending_since or standing.changed_at
    return {
        "labels": {
            **dict(sorted(labels.items())),
            "alertname": rule.alert_name,
            "severity": rule.severity.value,
        },
        "annotations": {"summary": reason_of(rule, standing)},
        "state": "firing" if standing.state.is_alarming else "pending",
        "activeAt": _time(began),
        "value": _number(standing.value),
    }


def text_of(rule: AlertRule) -> str:
    """What the rule watches and where its limit is: `avg(shop.load{host="a"}[5m]) > 5`."""
    window = write_duration(rule.evaluation_window)
    watched = f"{rule.aggregation.value}({_selector(rule.selector)}[{window}])"
    if rule.denominator is not None:
        watched += f" / {rule.aggregation.value}({_selector(rule.denominator)}[{window}])"
    if rule.rule_kind is RuleKind.COMPOSITE:
        watched = f"count of {len(rule.member_rule_ids)} rules that alarm"
    elif rule.rule_kind is not RuleKind.THRESHOLD:
        watched = f"{rule.rule_kind.value}({watched})"
    return f"{watched} {rule.comparison_operator.value} {rule.threshold_value:.12g}"


def _selector(selector: Selector) -> str:
    conditions = ", ".join(
        f'{one.tag} {one.match.value} "{", ".join(one.values)}"' for one in selector.tags
    )
    return f"{selector.pattern}{{{conditions}}}" if conditions else selector.pattern


def _number(value: float | None) -> str:
    """As Go writes it with an exponent."""
    if value is None or not math.isfinite(value):
        return "NaN" if value is None or math.isnan(value) else "+Inf" if value > 0 else "-Inf"
    return np.format_float_scientific(value, trim="-", exp_digits=2)


def _time(at: datetime) -> str:
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")
