"""Composite rules: how many of some other rules alarm, for all or for each value of some tags."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from wedsync_apm.clock import to_ms
from wedsync_apm.rules.judge import Change
from wedsync_apm.rules.sources import CountSource

_ALWAYS = -(2**62)


@dataclass(frozen=True, slots=True)
class Member:
    """An instance of a member rule: its labels, whether it alarmed at first, and what changed."""

    rule_id: UUID
    labels: Mapping[str, str]
    was_alarming: bool
    changes: Sequence[Change] = ()


def count_source(
    member_rule_ids: Iterable[UUID], labels: Mapping[str, str], members: Iterable[Member]
) -> CountSource:
    """The count for one instance of a composite rule: a member counts while any of its instances
    that have these labels alarms."""
    flips: dict[UUID, list[int]] = {}
    meant = [one for one in members if labels.items() <= one.labels.items()]
    for rule_id in member_rule_ids:
        found = [one for one in meant if one.rule_id == rule_id]
        alarming = sum(one.was_alarming for one in found)
        flips[rule_id] = [_ALWAYS] if alarming else []
        changes = [change for one in found for change in one.changes]
        for change in sorted(changes, key=lambda change: change.standing.evaluated_at):
            before, alarming = alarming, alarming + (1 if change.is_alarming else -1)
            if (before == 0) != (alarming == 0):
                flips[rule_id].append(to_ms(change.standing.evaluated_at))
    return CountSource(flips)
