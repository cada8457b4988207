"""A rule that begins with a panel of a dashboard: what it shows, as the address of the rule editor
says it, and back. Pure."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from enum import StrEnum
from typing import Final, TypeVar

from wedsync_apm.dashboards.material import Found
from wedsync_apm.dashboards.model import (
    Figure,
    GaugePanel,
    Level,
    Limit,
    Panel,
    Query,
    SeriesPanel,
    StatPanel,
    When,
)
from wedsync_apm.rules.aggregate import Aggregation
from wedsync_apm.rules.faults import MOST_TAGS
from wedsync_apm.rules.model import Operator, RuleDraft, RuleKind
from wedsync_apm.rules.selectors import TagSelector
from wedsync_apm.types import Severity
from wedsync_apm.web.build.rule_form import new_draft, new_typed, typed_of
from wedsync_apm.web.build.rule_text import write_number
from wedsync_apm.web.views.rule_form import Typed

WATCHED: Final = (SeriesPanel, StatPanel, GaugePanel)
"""Panels whose figures a rule can watch."""
_SHARE: Final = 0.99
_ROUND: Final = (1.0, 1.2, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0)
Choice = TypeVar("Choice", bound=StrEnum)
LIMIT: Final = "limit"
USUAL: Final = "usual"
"""Where a suggested limit comes from: the panel's own, or what was seldom passed."""


def is_watched(panel: Panel) -> bool:
    """Whether a rule can be made from it."""
    return isinstance(panel, WATCHED)


def figure_of(panel: Panel) -> Figure | None:
    """The question that the rule will ask; the first of several."""
    if isinstance(panel, SeriesPanel):
        return panel.queries[0]
    return panel.query if isinstance(panel, StatPanel | GaugePanel) else None


def address_of(panel: Panel, figure: Figure, found: Found) -> dict[str, str]:
    """What the address of the editor says; `figure` has its variables filled."""
    asked = {
        "kind": RuleKind.THRESHOLD.value,
        "name": panel.title,
        "metric": figure.metric,
        "agg": figure.agg.value,
        "op": Operator.ABOVE.value,
    }
    asked |= {f"tag.{name}": value for name, value in figure.tags.items()}
    group_by = figure.group_by if isinstance(figure, Query) else ()
    if group_by is not None:
        asked["group_by"] = ",".join(group_by)
    limit = _worst(getattr(panel, "limits", ()))
    if limit is not None:
        is_below = limit.when is When.BELOW
        severity = Severity.CRITICAL if limit.level is Level.CRITICAL else Severity.WARNING
        return asked | {
            "op": (Operator.BELOW if is_below else Operator.ABOVE).value,
            "limit": write_number(limit.value),
            "severity": severity.value,
            "from": LIMIT,
        }
    points = found.now.series if found.now is not None else ()
    usual = seldom_passed(value for one in points for _, value in one.points)
    return asked if usual is None else asked | {"limit": write_number(usual), "from": USUAL}


def _worst(limits: Iterable[Limit]) -> Limit | None:
    known = list(limits)
    critical = [one for one in known if one.level is Level.CRITICAL]
    return next(iter(critical or known), None)


def seldom_passed(values: Iterable[float]) -> float | None:
    """The next round figure above what 99 in 100 of them stay below; None without any."""
    ordered = sorted(one for one in values if math.isfinite(one))
    if not ordered:
        return None
    highest = ordered[min(math.ceil(_SHARE * len(ordered)), len(ordered)) - 1]
    if highest <= 0:
        return 0.0
    size = 10.0 ** math.floor(math.log10(highest))
    nearest = next(one * size for one in _ROUND if one * size > highest * (1 + 1e-9))
    return float(f"{nearest:.6g}")


def typed_from_address(kind: RuleKind, asked: Mapping[str, str]) -> Typed:
    """The form of a new rule with what an address says; what makes no sense is left as usual."""
    metric = asked.get("metric", "")[:256]
    if kind is not RuleKind.THRESHOLD or "agg" not in asked:
        return new_typed(kind, metric)
    draft: RuleDraft = new_draft(kind, metric)
    tags = [
        (name.removeprefix("tag."), value)
        for name, value in asked.items()
        if name.startswith("tag.")
    ]
    group_by = asked.get("group_by")
    draft = replace(
        draft,
        alert_name=asked.get("name", "")[:200],
        tag_selectors=tuple(
            TagSelector(name[:128], values=(value[:1024],)) for name, value in tags[:MOST_TAGS]
        ),
        group_by=None
        if group_by is None
        else tuple(one[:128] for one in group_by.split(",")[:MOST_TAGS] if one),
        aggregation=_one_of(Aggregation, asked.get("agg"), draft.aggregation),
        comparison_operator=_one_of(Operator, asked.get("op"), draft.comparison_operator),
        severity=_one_of(Severity, asked.get("severity"), draft.severity),
    )
    typed = typed_of(draft)
    limit = asked.get("limit", "")[:40]
    return replace(typed, texts={**typed.texts, "threshold_value": limit})


def _one_of(kind: type[Choice], text: str | None, usual: Choice) -> Choice:
    try:
        return kind(text or usual)
    except ValueError:
        return usual
