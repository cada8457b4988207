"""What the rule editor offers: kinds, options, and names from what the business sends. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final
from urllib.parse import urlencode

from wedsync_apm.rules.aggregate import Aggregation
from wedsync_apm.rules.faults import COUNTABLE, FROM_ROLLUPS
from wedsync_apm.rules.model import AlertRule, Baseline, NoDataPolicy, Operator, RuleDraft, RuleKind
from wedsync_apm.rules.patterns import full_name
from wedsync_apm.rules.selectors import Match, Selector
from wedsync_apm.rules.store import NamedSeries
from wedsync_apm.types import Channel, Severity
from wedsync_apm.web.build.rule_preview import series_words
from wedsync_apm.web.build.rules import side_words
from wedsync_apm.web.views.rule_form import Kind, KindsView, Option, Suggestions, Typed
from wedsync_apm.web.words import say as words

KINDS: Final = (
    RuleKind.THRESHOLD,
    RuleKind.RATIO,
    RuleKind.CHANGE,
    RuleKind.DEADLINE,
    RuleKind.BURN_RATE,
    RuleKind.COMPOSITE,
)
"""In the order in which people need them."""
LOOKS: Final = ("7d", "24h", "wedding")
MOST_SUGGESTED: Final = 100
_MOST_NAMED: Final = 3
_MATCHES: Final = {
    Match.EQUAL: "equal",
    Match.NOT_EQUAL: "not_equal",
    Match.GLOB: "glob",
    Match.IN: "in",
    Match.ABSENT: "absent",
}


def build_kinds(metric: str) -> KindsView:
    """The kinds in plain words; a metric that was come with goes along."""
    query = f"&{urlencode({'metric': metric})}" if metric else ""
    return KindsView(
        tuple(
            Kind(
                kind.value,
                words(f"rule.kind.{kind.value}"),
                words(f"rule.kind.{kind.value}_as"),
                f"/rules/new?kind={kind.value}{query}",
            )
            for kind in KINDS
        )
    )


def _said(prefix: str, values: Iterable[str]) -> tuple[Option, ...]:
    return tuple(Option(value, words(f"{prefix}.{value}")) for value in values)


def options_of(kind: RuleKind) -> dict[str, tuple[Option, ...]]:
    """What each field of few choices takes."""
    usable: Iterable[Aggregation] = Aggregation
    if kind is RuleKind.CHANGE:
        usable = [one for one in Aggregation if one in FROM_ROLLUPS]
    elif kind is RuleKind.BURN_RATE:
        usable = [one for one in Aggregation if one in COUNTABLE]
    silences = _said("rule.silence", (one.value for one in NoDataPolicy))
    bad = _said("rule.bad", (one.value for one in Severity))
    return {
        "aggregation": _said("rule.agg", (one.value for one in usable)),
        "comparison_operator": tuple(Option(one.value, side_words(one)) for one in Operator),
        "baseline": _said("rule.baseline", (one.value for one in Baseline)),
        "grouping": _said(
            "rule.grouping", ("all", "tags") if kind.is_grouped else ("each", "all", "tags")
        ),
        "no_data_policy": silences,
        "stale_policy": silences,
        "severity": bad,
        "wedding_day_severity": (Option("", words("rule.bad.same")), *bad),
        "match": tuple(
            Option(one.value, words(f"rule.match.{name}")) for one, name in _MATCHES.items()
        ),
        "notification_channels": tuple(
            Option(one.value, words(f"channel.{one.value}")) for one in Channel
        ),
    }


def member_options(rules: Iterable[AlertRule], but: RuleDraft) -> tuple[Option, ...]:
    """The rules that another may count: all but composite ones."""
    own = getattr(but, "id", None)
    return tuple(
        Option(str(rule.id), rule.alert_name)
        for rule in rules
        if rule.rule_kind is not RuleKind.COMPOSITE and rule.id != own
    )


def watched(rule: RuleDraft | None, typed: Typed) -> tuple[Selector, Selector | None]:
    """What is watched and what is divided by: of the rule where it can be read, else by the
    patterns alone."""
    if rule is not None:
        return rule.selector, rule.denominator
    below = typed.texts["denominator_pattern"]
    return Selector(typed.texts["metric_pattern"]), Selector(below) if below else None


def suggest(
    series: Sequence[NamedSeries], above: Selector, below: Selector | None, *, is_new: bool
) -> Suggestions:
    """Names for the fields from what is sent, and how much of it is meant just now."""
    services = sorted({one.service_name for one in series})
    names = sorted({full_name(one.service_name, one.metric_name) for one in series})
    named = Selector(above.pattern)
    near = [one for one in series if _is_in(one, named)] or list(series)
    return Suggestions(
        metrics=(*names[:MOST_SUGGESTED], *(f"{one}.*" for one in services[:MOST_SUGGESTED])),
        tags=tuple(sorted({tag for one in near for tag in one.tags}))[:MOST_SUGGESTED],
        values=tuple(sorted({str(v) for one in near for v in one.tags.values()}))[:MOST_SUGGESTED],
        matching="" if is_new and not above.pattern else matching_words(series, above),
        dividing=matching_words(series, below) if below is not None and below.pattern else "",
    )


def _is_in(one: NamedSeries, selector: Selector) -> bool:
    return selector.matches(one.service_name, one.metric_name, one.tags)


def matching_words(series: Iterable[NamedSeries], selector: Selector) -> str:
    """How many series are meant just now, and some by name."""
    found = [one for one in series if _is_in(one, selector)]
    if not found:
        return words("rule.matching_none")
    shown = list(
        dict.fromkeys(series_words(one.service_name, one.metric_name, one.tags) for one in found)
    )
    names: str = ", ".join(shown[:_MOST_NAMED])
    if len(shown) > _MOST_NAMED:
        names = words("rule.matching_more", names=names, more=len(shown) - _MOST_NAMED)
    return words("rule.matching", n=len(found), names=names)


def unit_in(series: Iterable[NamedSeries], selector: Selector) -> str | None:
    """The unit of the first series that is meant and has one."""
    return next((one.unit for one in series if one.unit and _is_in(one, selector)), None)


def look_options() -> tuple[Option, ...]:
    """The ranges of the past to look at."""
    return _said("rule.look", LOOKS)


def count_words(errors: Mapping[str, str]) -> str:
    """What stands above a form with faults."""
    if "" in errors:
        return errors[""]
    n = len(errors)
    return words("rule.fault.one") if n == 1 else words("rule.fault.some", n=n)
