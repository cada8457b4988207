"""The instances of a rule: each series by itself, or those with the same values of some tags."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from wedsync_apm.rules.judge import Instance
from wedsync_apm.rules.model import AlertRule, RuleKind
from wedsync_apm.rules.selectors import value_of


def series_key(series_id: int) -> str:
    """The key of an instance that is one series."""
    return f"series:{series_id}"


def group_key(labels: Mapping[str, str]) -> str:
    """The key of an instance that is a group: the same for the same values, whatever the order."""
    text = json.dumps(labels, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return f"tags:{text}"


class Instances:
    """The instances of one rule, as series are found for it in ascending order of their ids."""

    def __init__(self, rule: AlertRule) -> None:
        self.rule = rule
        self._selector, self._denominator = rule.selector, rule.denominator
        self._found: dict[str, Instance] = {}
        if rule.grouping == () and rule.rule_kind is not RuleKind.COMPOSITE:
            key = group_key({})
            self._found[key] = Instance(key, is_fixed=True)

    def __iter__(self) -> Any:
        return iter(self._found.values())

    def __len__(self) -> int:
        return len(self._found)

    def offer(
        self, series_id: int, service_name: str, metric_name: str, tags: Mapping[str, Any]
    ) -> None:
        """Takes the series in where it is one of the rule's."""
        name = (service_name, metric_name, tags)
        is_above = self.rule.watches(*name)
        is_below = self._denominator is not None and self._denominator.matches(*name)
        if not is_above and not is_below:
            return
        grouping = self.rule.grouping
        if grouping is None:
            key = series_key(series_id)
            self._found[key] = Instance(key, series_ids=(series_id,))
            return
        labels = {tag: value_of(tag, *name) for tag in grouping}
        key = group_key(labels)
        known = self._found.get(key, Instance(key, labels))
        self._found[key] = Instance(
            key,
            known.labels,
            known.series_ids + ((series_id,) if is_above else ()),
            known.denominator_ids + ((series_id,) if is_below else ()),
            known.is_fixed,
        )


def combinations(
    rule: AlertRule, members: Mapping[Any, Sequence[Mapping[str, str]]]
) -> list[Instance]:
    """The instances of a composite rule: the values of its tags among its members' instances."""
    grouping = rule.grouping or ()
    labels = [
        {tag: one.get(tag, "") for tag in grouping} for found in members.values() for one in found
    ]
    if not grouping:
        labels = [{}]
    made = {group_key(one): one for one in labels}
    return [Instance(key, made[key], is_fixed=True) for key in sorted(made)]
