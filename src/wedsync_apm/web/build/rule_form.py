"""A rule as the fields of its form, and the form back into a rule. Pure."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final, TypeVar
from uuid import UUID

from wedsync_apm.rules.aggregate import Aggregation
from wedsync_apm.rules.faults import MOST_TAGS, find_faults
from wedsync_apm.rules.model import (
    GRADES,
    GUARDS,
    PHASES,
    Baseline,
    NoDataPolicy,
    Operator,
    RuleDraft,
    RuleKind,
)
from wedsync_apm.rules.selectors import Match, TagSelector, equals
from wedsync_apm.types import Channel, Severity
from wedsync_apm.web.build.rule_text import (
    read_number,
    read_span,
    read_values,
    write_number,
    write_span,
    write_values,
)
from wedsync_apm.web.views.rule_form import Condition, Typed
from wedsync_apm.web.words import has
from wedsync_apm.web.words import say as words

K: Final = RuleKind
NEARS: Final = (*GRADES, *PHASES, *GUARDS)
DIVIDED: Final = frozenset({K.RATIO, K.BURN_RATE})
FIELDS: Final[Mapping[str, frozenset[RuleKind]]] = {
    "metric_pattern": frozenset(K) - {K.COMPOSITE},
    "denominator_pattern": DIVIDED,
    "aggregation": frozenset(K) - {K.COMPOSITE, K.DEADLINE},
    "evaluation_window": frozenset(K) - {K.COMPOSITE},
    "objective": frozenset({K.BURN_RATE}),
    "short_window": frozenset({K.BURN_RATE}),
    "baseline": frozenset({K.CHANGE}),
    "baseline_weeks": frozenset({K.CHANGE}),
    "horizon": frozenset({K.DEADLINE}),
    "member_rule_ids": frozenset({K.COMPOSITE}),
}
"""Fields that not every kind has."""
_SPANS: Final = (
    "evaluation_window", "for_duration", "keep_firing_for", "cooldown_period", "flap_window",
    "short_window", "horizon",
)  # fmt: skip
_MAY_BE_EMPTY: Final = frozenset({"short_window", "horizon"})
_CHOICES: Final[Mapping[str, Callable[[str], Any]]] = {
    "aggregation": Aggregation,
    "comparison_operator": Operator,
    "no_data_policy": NoDataPolicy,
    "stale_policy": NoDataPolicy,
    "severity": Severity,
    "baseline": Baseline,
}
_HANGS_ON: Final = {
    "clear_threshold_value": "threshold_value",
    "short_window": "evaluation_window",
}
TICKS: Final = ("wedding_day_override", "auto_resolve", "opens_incident")
_LONGEST: Final = {"description": 10_000, "metric_pattern": 300, "denominator_pattern": 300}
_MOST_ROWS: Final = 2 * MOST_TAGS

_NEW: Final[Mapping[RuleKind, Mapping[str, Any]]] = {
    K.THRESHOLD: {"for_duration": timedelta(minutes=1)},
    K.RATIO: {
        "aggregation": Aggregation.INCREASE,
        "threshold_value": 0.05,
        "evaluation_window": timedelta(minutes=15),
    },
    K.CHANGE: {
        "comparison_operator": Operator.BELOW,
        "threshold_value": -50.0,
        "evaluation_window": timedelta(hours=3),
        "baseline": Baseline.SAME_WEEKDAY,
    },
    K.BURN_RATE: {
        "aggregation": Aggregation.INCREASE,
        "threshold_value": 14.4,
        "evaluation_window": timedelta(hours=1),
        "short_window": timedelta(minutes=5),
        "objective": 0.999,
    },
    K.DEADLINE: {
        "comparison_operator": Operator.AT_LEAST,
        "threshold_value": 95.0,
        "evaluation_window": timedelta(hours=6),
    },
    K.COMPOSITE: {
        "comparison_operator": Operator.AT_LEAST,
        "threshold_value": 2.0,
        "wedding_day_override": False,
    },
}


def new_draft(kind: RuleKind, metric: str = "") -> RuleDraft:
    """A rule of a kind with what most people leave as it is."""
    values: dict[str, Any] = {
        "alert_name": "",
        "metric_pattern": "" if kind is K.COMPOSITE else metric,
        "comparison_operator": Operator.ABOVE,
        "threshold_value": 0.0,
        "rule_kind": kind,
        "severity": Severity.WARNING,
        **_NEW[kind],
    }
    return RuleDraft(**values)


def new_typed(kind: RuleKind, metric: str = "") -> Typed:
    """The form of a new rule; a limit that nobody can guess is left empty."""
    typed = typed_of(new_draft(kind, metric))
    if kind is not K.THRESHOLD:
        return typed
    return replace(typed, texts={**typed.texts, "threshold_value": ""})


def typed_of(rule: RuleDraft) -> Typed:
    """The form as a rule stands."""
    is_share = rule.rule_kind is K.RATIO
    grouping = rule.grouping
    texts = {
        "alert_name": rule.alert_name,
        "description": rule.description,
        "metric_pattern": rule.metric_pattern,
        "denominator_pattern": rule.denominator_pattern or "",
        "grouping": "each" if grouping is None else "tags" if grouping else "all",
        "group_by": write_values(grouping or ()),
        "threshold_value": write_number(rule.threshold_value, is_share=is_share),
        "clear_threshold_value": write_number(rule.clear_threshold_value, is_share=is_share),
        "objective": write_number(rule.objective, is_share=True),
        "baseline_weeks": str(rule.baseline_weeks),
        "flap_changes": str(rule.flap_changes),
        "wedding_day_severity": rule.wedding_day_severity or "",
    }
    for name in _SPANS:
        texts[name] = write_span(getattr(rule, name))
    for name in _CHOICES:
        texts[name] = getattr(rule, name) or ""
    own: dict[str, float | None] = dict(rule.wedding_thresholds)
    own.setdefault("window", rule.wedding_day_threshold_value)
    for key in NEARS:
        texts[f"near_{key}"] = write_number(own.get(key), is_share=is_share)
        texts[f"factor_{key}"] = write_number(rule.wedding_factors.get(key))
    return Typed(
        rule.rule_kind,
        {name: str(text) for name, text in texts.items()},
        {
            "tag_selectors": _rows((*equals(rule.tag_filter), *rule.tag_selectors)),
            "denominator_selectors": _rows(rule.denominator_selectors),
        },
        {
            "notification_channels": frozenset(one.value for one in rule.notification_channels),
            "member_rule_ids": frozenset(str(one) for one in rule.member_rule_ids),
        },
        frozenset(name for name in TICKS if getattr(rule, name)),
    )


def _rows(selectors: tuple[TagSelector, ...]) -> tuple[Condition, ...]:
    return tuple(
        Condition(
            one.tag,
            one.match.value,
            write_values(one.values) if one.match is Match.IN else "".join(one.values),
        )
        for one in selectors
    )


def typed_from(kind: RuleKind, form: Any) -> Typed:
    """The form as it was sent; `form` has `get` and `getall`. What is too long is cut."""

    def text(name: str) -> str:
        found = form.get(name)
        if not isinstance(found, str):
            return ""
        return found.replace("\r\n", "\n").strip()[: _LONGEST.get(name, 1000)]

    def texts(name: str) -> list[str]:
        found = form.getall(name, [])
        return [one.strip()[:1100] if isinstance(one, str) else "" for one in found]

    def rows(name: str) -> tuple[Condition, ...]:
        columns = [texts(f"{name}.{part}")[:_MOST_ROWS] for part in ("tag", "match", "values")]
        found = [Condition(*row) for row in zip(*columns, strict=False)]
        return tuple(one for one in found if one.tag or one.values)

    names = (
        "alert_name", "description", "metric_pattern", "denominator_pattern", "grouping",
        "group_by", "threshold_value", "clear_threshold_value", "objective", "baseline_weeks",
        "flap_changes", "wedding_day_severity", *_SPANS, *_CHOICES,
        *(f"{part}_{key}" for key in NEARS for part in ("near", "factor")),
    )  # fmt: skip
    return Typed(
        kind,
        {name: text(name) for name in names},
        {name: rows(name) for name in ("tag_selectors", "denominator_selectors")},
        {name: frozenset(texts(name)) for name in ("notification_channels", "member_rule_ids")},
        frozenset(name for name in TICKS if text(name) == "yes"),
    )


T = TypeVar("T")


class _Reader:
    """Reads fields and keeps the words beside each fault."""

    def __init__(self, typed: Typed, unit: str | None) -> None:
        self.typed = typed
        self.unit = unit if typed.kind in (K.THRESHOLD, K.DEADLINE) else None
        self.errors: dict[str, str] = {}
        self.is_share = typed.kind is K.RATIO

    def read(self, name: str, make: Callable[[str], T | None], otherwise: T) -> T:
        found = make(self.typed.texts[name])
        if found is None:
            self.errors[name] = fault_words(name)
            return otherwise
        return found

    def number(self, name: str, otherwise: float, *, is_share: bool | None = None) -> float:
        share = self.is_share if is_share is None else is_share
        unit = self.unit if is_share is None else None
        return self.read(name, lambda text: read_number(text, is_share=share, unit=unit), otherwise)

    def maybe(self, name: str, *, is_share: bool | None = None) -> float | None:
        return self.number(name, 0.0, is_share=is_share) if self.typed.texts[name] else None

    def whole(self, name: str, otherwise: int) -> int:
        return self.read(
            name, lambda t: int(t) if t.isascii() and t.isdecimal() and len(t) < 4 else None,
            otherwise,
        )  # fmt: skip

    def choice(self, name: str, otherwise: Any) -> Any:
        def make(text: str) -> Any:
            try:
                return _CHOICES[name](text)
            except ValueError:
                return None

        return self.read(name, make, otherwise)

    def conditions(self, name: str) -> tuple[TagSelector, ...]:
        found = []
        for place, row in enumerate(self.typed.conditions[name]):
            try:
                match = Match(row.match)
            except ValueError:
                self.errors[f"{name}[{place}]"] = words("rule.fault.condition")
                continue
            values = read_values(row.values) if match is Match.IN else (row.values,)
            if match is Match.ABSENT:
                values = ()
            found.append(TagSelector(row.tag, match, values))
        return tuple(found)


def read_draft(
    typed: Typed, base: RuleDraft, unit: str | None = None
) -> tuple[RuleDraft | None, dict[str, str]]:
    """The rule that the form describes, or None, with the words beside each fault.

    What the form does not show stays as `base` has it. A limit may be typed with its unit, where
    the series have the `unit` of a time.
    """
    reader = _Reader(typed, unit)
    values: dict[str, Any] = {"alert_name": typed.texts["alert_name"]}
    values["description"] = typed.texts["description"]
    values["threshold_value"] = reader.number("threshold_value", 0.0)
    values["clear_threshold_value"] = reader.maybe("clear_threshold_value")
    values["flap_changes"] = reader.whole("flap_changes", 0)
    for name in _SPANS:
        if not _has(typed.kind, name):
            continue
        if name in _MAY_BE_EMPTY and not typed.texts[name]:
            values[name] = None
        else:
            values[name] = reader.read(name, read_span, getattr(base, name) or timedelta(hours=1))
    for name in _CHOICES:
        if _has(typed.kind, name):
            values[name] = reader.choice(name, getattr(base, name))
    _read_kind(reader, values)
    _read_weddings(reader, values)
    for name in TICKS:
        values[name] = name in typed.ticked
    values["notification_channels"] = tuple(
        one for one in Channel if one.value in typed.chosen["notification_channels"]
    )
    draft = replace(base, **values)
    for fault in find_faults(draft):
        # What hangs on a field that could not be read is not judged yet.
        if _HANGS_ON.get(fault.field) not in reader.errors:
            reader.errors.setdefault(fault.field, fault_words(fault.field, fault.reason))
    return (None if reader.errors else draft), reader.errors


def _has(kind: RuleKind, name: str) -> bool:
    return name not in FIELDS or kind in FIELDS[name]


def _read_kind(reader: _Reader, values: dict[str, Any]) -> None:
    typed, kind = reader.typed, reader.typed.kind
    values["metric_pattern"] = typed.texts["metric_pattern"] if kind is not K.COMPOSITE else ""
    if kind is not K.COMPOSITE:
        conditions = reader.conditions("tag_selectors")
        plain: dict[str, str] = {}
        others = []
        for one in conditions:
            if one.match is Match.EQUAL and one.tag not in plain:
                plain[one.tag] = one.values[0]
            else:
                others.append(one)
        if any(one.find_fault() for one in conditions) or len(conditions) > MOST_TAGS:
            # as typed, so that the fault stands beside its row
            plain, others = {}, list(conditions)
        values["tag_filter"], values["tag_selectors"] = plain, tuple(others)
    if kind in DIVIDED:
        values["denominator_pattern"] = typed.texts["denominator_pattern"]
        values["denominator_selectors"] = reader.conditions("denominator_selectors")
    if kind is K.BURN_RATE:
        values["objective"] = reader.number("objective", 0.999, is_share=True)
    if kind is K.CHANGE:
        values["baseline_weeks"] = reader.whole("baseline_weeks", 4)
    if kind is K.COMPOSITE:
        members = sorted(typed.chosen["member_rule_ids"])
        try:
            values["member_rule_ids"] = tuple(UUID(one) for one in members)
        except ValueError:
            reader.errors["member_rule_ids"] = fault_words("member_rule_ids")
    values["group_by"] = {
        "each": None, "all": (), "tags": read_values(typed.texts["group_by"]),
    }.get(typed.texts["grouping"])  # fmt: skip
    if typed.texts["grouping"] == "tags" and not values["group_by"]:
        reader.errors["group_by"] = fault_words("group_by")


def _read_weddings(reader: _Reader, values: dict[str, Any]) -> None:
    own = {key: reader.maybe(f"near_{key}") for key in NEARS}
    values["wedding_day_threshold_value"] = own.pop("window")
    values["wedding_thresholds"] = {key: one for key, one in own.items() if one is not None}
    factors = {key: reader.maybe(f"factor_{key}", is_share=False) for key in NEARS}
    for key, factor in factors.items():
        if factor is not None and not 0 < factor <= 1:
            reader.errors.setdefault(f"factor_{key}", fault_words("factor_"))
    values["wedding_factors"] = {
        key: one
        for key, one in factors.items()
        if one is not None and f"factor_{key}" not in reader.errors
    }
    chosen = reader.typed.texts["wedding_day_severity"]
    if chosen and chosen not in set(Severity):
        reader.errors["wedding_day_severity"] = fault_words("severity")
    else:
        values["wedding_day_severity"] = Severity(chosen) if chosen else None


def fault_words(name: str, otherwise: str = "") -> str:
    """What stands beside a field that cannot be kept as it is."""
    stem = name.partition("[")[0]
    for prefix in ("near_", "factor_"):
        if stem.startswith(prefix):
            stem = prefix.rstrip("_")
    if "[" in name:
        stem = "condition"
    if stem in _SPANS and not otherwise:
        return words("rule.fault.span")
    key = f"rule.fault.{stem}"
    return words(key) if has(key) else words("rule.fault.other", reason=otherwise or stem)
