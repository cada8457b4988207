"""What follows from an organization's verdicts: incidents that open, count on and end."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from wedsync_apm.db.pool import Connection
from wedsync_apm.engine import store
from wedsync_apm.rules import live as rules
from wedsync_apm.rules.judge import Change, Instance
from wedsync_apm.rules.live import Standings
from wedsync_apm.rules.model import AlertRule
from wedsync_apm.rules.transitions import Key

if TYPE_CHECKING:
    from wedsync_apm.engine.evaluate import Evaluator

LATE: Final = "samples that came late changed what had been told"


@dataclass(slots=True)
class Outcomes:
    """Of one organization in one run."""

    evaluator: "Evaluator"
    cx: Connection
    organization_id: UUID
    at: datetime
    before: Standings
    instances: Mapping[Key, Instance]
    courses: Mapping[Key, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    """How those have stood lately that have changed."""
    alarming: dict[UUID, set[str]] = field(init=False)
    """The instances that alarm, by rule."""

    def __post_init__(self) -> None:
        self.alarming = {}
        for (rule_id, instance_key), standing in self.before.items():
            if standing.state.is_alarming:
                self.alarming.setdefault(rule_id, set()).add(instance_key)

    async def act(self, rule: AlertRule, change: Change) -> None:
        """Opens or counts on an incident, or ends it with the last instance that ceases."""
        standing, alarming = change.standing, self.alarming.setdefault(rule.id, set())
        # The incident takes its threshold and reason from the verdict, so that is written first.
        await rules.upsert_standings(
            self.cx,
            self.organization_id,
            {(rule.id, change.instance_key): standing},
            self.instances,
            self.evaluator.leases.of(self.organization_id),
            courses=self.courses,
        )
        if change.is_alarming:
            alarming.add(change.instance_key)
            if rule.opens_incident:
                await store.open_incident(
                    self.cx,
                    rule.id,
                    standing.value,
                    standing.evaluated_at,
                    LATE if change.is_late else "",
                )
            return
        alarming.discard(change.instance_key)
        if not alarming and rule.auto_resolve:
            await store.resolve_incident(
                self.cx,
                self.organization_id,
                rule.id,
                standing.evaluated_at,
                LATE if change.is_late else "back on the good side of its limit",
            )

    async def tell_paused(self) -> None:
        """An incident for each rule that cannot be judged, which ends when it can be again."""
        if self.organization_id not in self.evaluator.memories:
            return
        held = self.evaluator.memories[self.organization_id]
        paused = held.memory.paused
        if held.told == paused.keys():
            return
        await self._hold()
        for rule in self.evaluator.book.rules_of(self.organization_id):
            if rule.id in paused and rule.id not in (held.told or ()):
                await store.open_rule_fault(self.cx, rule, paused[rule.id], self.at)
        if held.told is None:
            there = paused_of(self.evaluator, self.organization_id)
            await store.end_rule_faults(self.cx, self.organization_id, there, self.at)
        held.told = frozenset(paused)

    async def open_unheld(self, after: Standings) -> None:
        """Opens again what a person ended while it still goes on, after the rule's cooldown."""
        held = {rule_id: found for rule_id, found in self.alarming.items() if found}
        if not held:
            return
        cooldowns = {
            rule.id: rule.cooldown_period
            for rule in self.evaluator.book.rules_of(self.organization_id)
        }
        unheld = await store.list_unheld_rules(self.cx, self.organization_id, list(held))
        if unheld:
            await self._hold()
        for rule_id, ended_at in unheld.items():
            if rule_id in cooldowns and self.at >= ended_at + cooldowns[rule_id]:
                known = self.before | after
                newest = max(
                    (known[rule_id, one] for one in held[rule_id] if (rule_id, one) in known),
                    key=attrgetter("evaluated_at"),
                    default=None,
                )
                await store.open_incident(
                    self.cx, rule_id, newest.value if newest else None, self.at
                )

    async def forget_gone(self) -> None:
        """Drops the verdicts on what is no instance of an active rule any longer."""
        keys = sorted(self.before.keys() - self.instances.keys())
        if not keys:
            return
        emptied = []
        for rule_id, instance_key in keys:
            held = self.alarming.get(rule_id, set())
            if instance_key in held:
                held.discard(instance_key)
                if not held:
                    emptied.append(rule_id)
        await self._hold()
        await rules.forget_standings(self.cx, self.organization_id, keys)
        for rule_id in await store.find_auto_resolving(self.cx, self.organization_id, emptied):
            await store.resolve_incident(
                self.cx,
                self.organization_id,
                rule_id,
                self.at,
                "its rule was switched off or changed",
            )

    async def _hold(self) -> None:
        await self.evaluator.leases.hold(self.cx, self.organization_id)


def paused_of(evaluator: "Evaluator", organization_id: UUID) -> tuple[UUID, ...]:
    """The organization's rules that are not judged at present."""
    found = tuple(evaluator.slow)
    if organization_id in evaluator.memories:
        found += tuple(evaluator.memories[organization_id].memory.paused)
    return found
