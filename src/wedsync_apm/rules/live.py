"""What the engine asks of the rules, over all organizations; it always names the one it means."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from wedsync_apm.clock import to_ms
from wedsync_apm.db.pool import Connection
from wedsync_apm.rules.aggregate import Samples
from wedsync_apm.rules.course import Course, from_items
from wedsync_apm.rules.instances import Instances
from wedsync_apm.rules.judge import Instance, Unit
from wedsync_apm.rules.limits import WeddingWindow
from wedsync_apm.rules.model import AlertRule, RuleKind
from wedsync_apm.rules.sources import RatioSource, Source, WindowSource
from wedsync_apm.rules.store import Q, rule_of, samples_of, standing_of
from wedsync_apm.rules.verdict import Standing


class RuleBook:
    """The active rules of all organizations and the series that each watches, kept by the engine.

    `refresh` costs one small query while nothing changes; then the rules of those are read whose
    have changed.
    """

    def __init__(self) -> None:
        self._fingerprint: tuple[int, int] | None = None
        self._fingerprints: dict[UUID, tuple[int, int]] = {}
        self._rules: dict[UUID, list[AlertRule]] = {}
        self._newest: dict[UUID, int] = {}
        self._instances: dict[UUID, dict[UUID, Instances]] = {}

    @property
    def organization_ids(self) -> tuple[UUID, ...]:
        """The organizations that have an active rule."""
        return tuple(self._rules)

    def rules_of(self, organization_id: UUID) -> Sequence[AlertRule]:
        """The organization's active rules."""
        return self._rules.get(organization_id, ())

    def instances_of(self, rule: AlertRule) -> Iterable[Instance]:
        """What a rule is judged on, as far as its series are known; none of a composite rule."""
        return self._instances.get(rule.organization_id, {}).get(rule.id, ())

    async def refresh(self, cx: Connection) -> set[UUID]:
        """Reads those rules anew that have changed; gives the organizations whose active ones
        did."""
        row = await (await cx.execute(Q.fingerprint_rules)).fetchone()
        fingerprint = (row["rules"], row["fingerprint"]) if row else (0, 0)
        if fingerprint == self._fingerprint:
            return set()
        rows = await (await cx.execute(Q.list_rule_fingerprints)).fetchall()
        fingerprints = {one["organization_id"]: (one["rules"], one["fingerprint"]) for one in rows}
        touched = {
            one
            for one in fingerprints.keys() | self._fingerprints.keys()
            if fingerprints.get(one) != self._fingerprints.get(one)
        }
        rules: dict[UUID, list[AlertRule]] = {}
        found = await cx.execute(Q.list_active_rules, {"organization_ids": sorted(touched)})
        for one in await found.fetchall():
            rules.setdefault(one["organization_id"], []).append(rule_of(one))
        changed = {
            one
            for one in touched
            if _versions(rules.get(one, ())) != _versions(self._rules.get(one, ()))
        }
        for organization_id in touched:
            self._rules.pop(organization_id, None)
        self._rules |= rules
        self._fingerprints, self._fingerprint = fingerprints, fingerprint
        for organization_id in changed:
            self._newest.pop(organization_id, None)
            self._instances.pop(organization_id, None)
            if organization_id in rules:
                self._instances[organization_id] = {
                    rule.id: Instances(rule) for rule in rules[organization_id]
                }
        return changed

    async def match_series(self, cx: Connection, organization_ids: Iterable[UUID]) -> set[UUID]:
        """Takes in the series that these organizations have got since the last call; gives those
        that have got some."""
        grown = set[UUID]()
        wanted = [found for found in organization_ids if found in self._rules]
        if not wanted:
            return grown
        rows = await cx.execute(Q.list_newest_series, {"organization_ids": wanted})
        for row in await rows.fetchall():
            organization_id, newest = row["organization_id"], row["newest_id"] or 0
            known = self._newest.get(organization_id, 0)
            if newest <= known:
                continue
            grown.add(organization_id)
            instances = self._instances[organization_id]
            fresh = await cx.execute(
                Q.list_series_after, {"organization_id": organization_id, "after_id": known}
            )
            for series in await fresh.fetchall():
                for found in instances.values():
                    found.offer(
                        series["id"], series["service_name"], series["metric_name"], series["tags"]
                    )
                newest = max(newest, series["id"])
            self._newest[organization_id] = newest
        return grown


def _versions(rules: Iterable[AlertRule]) -> set[tuple[UUID, datetime]]:
    return {(rule.id, rule.updated_at) for rule in rules}


async def list_unsettled_organizations(cx: Connection) -> list[UUID]:
    """Organizations with a series that is not ok under some rule."""
    rows = await cx.execute(Q.list_unsettled_organizations)
    return [row["organization_id"] for row in await rows.fetchall()]


Standings = dict[tuple[UUID, str], Standing]
"""Verdicts by rule and key of the instance."""
Courses = dict[tuple[UUID, str], Course]
"""How each has stood lately, of those that have changed."""


async def list_standings(
    cx: Connection, organization_ids: Sequence[UUID]
) -> dict[UUID, tuple[Standings, Courses]]:
    """The last verdicts of some organizations."""
    found: dict[UUID, tuple[Standings, Courses]] = {one: ({}, {}) for one in organization_ids}
    rows = await cx.execute(Q.list_standings, {"organization_ids": list(organization_ids)})
    for row in await rows.fetchall():
        standings, courses = found[row["organization_id"]]
        key = (row["alert_id"], row["instance_key"])
        standings[key] = standing_of(row)
        if row["course"]:
            courses[key] = from_items(row["course"], standings[key])
    return found


@dataclass(frozen=True, slots=True)
class SeriesWindow:
    """The samples of one series, with what is known of the series."""

    samples: Samples
    unit: str | None
    ended_at: datetime | None


async def list_windows(
    cx: Connection,
    organization_id: UUID,
    series_ids: Sequence[int],
    after: datetime,
    until: datetime,
) -> dict[int, SeriesWindow]:
    """The finite samples of some series in (after, until]; a series without any is there too."""
    rows = await cx.execute(
        Q.list_windows,
        {
            "organization_id": organization_id,
            "series_ids": list(series_ids),
            "after": after,
            "until": until,
        },
    )
    return {
        row["series_id"]: SeriesWindow(
            samples_of(row) if row["times_ms"] else Samples(), row["unit"], row["ended_at"]
        )
        for row in await rows.fetchall()
    }


def unit_of(
    rule: AlertRule,
    instance: Instance,
    windows: Mapping[int, SeriesWindow],
    standing: Standing | None,
) -> Unit | None:
    """What is judged, measured in the unit of its first series; None where all of its series have
    been removed."""
    known = [windows[one] for one in instance.all_series_ids if one in windows]
    if not known and not instance.is_fixed:
        return None
    is_plain = rule.rule_kind is not RuleKind.RATIO
    return Unit(rule, instance, known[0].unit if known and is_plain else None, standing)


def window_source(
    rule: AlertRule, instance: Instance, windows: Mapping[int, SeriesWindow]
) -> Source:
    """The number of a rule whose windows are read from samples."""

    def over(series_ids: Sequence[int]) -> WindowSource:
        known = [windows[one] for one in series_ids if one in windows]
        ends = [one.ended_at for one in known]
        return WindowSource(
            rule.aggregation,
            [one.samples for one in known],
            round(rule.evaluation_window.total_seconds() * 1000),
            to_ms(max(end for end in ends if end)) if ends and all(ends) else None,
        )

    above = over(instance.series_ids)
    if rule.rule_kind is RuleKind.RATIO:
        return RatioSource(above, over(instance.denominator_ids))
    return above


async def list_wedding_windows(
    cx: Connection, organization_ids: Sequence[UUID], earliest: datetime, latest: datetime
) -> dict[UUID, list[WeddingWindow]]:
    """The calendar of some organizations in a span, phases and whole days."""
    found: dict[UUID, list[WeddingWindow]] = {one: [] for one in organization_ids}
    rows = await cx.execute(
        Q.list_wedding_windows,
        {"organization_ids": list(organization_ids), "earliest": earliest, "latest": latest},
    )
    for row in await rows.fetchall():
        found[row["organization_id"]].append(
            WeddingWindow(
                row["phase"],
                row["wedding_id"],
                row["starts_at"],
                row["ends_at"],
                row["precedence"],
            )
        )
    return found


@dataclass(frozen=True, slots=True)
class Lease:
    """By what an engine writes verdicts: a slice of the organizations, in one of its
    generations."""

    holder: UUID
    slice: int
    generation: int


async def upsert_standings(
    cx: Connection,
    organization_id: UUID,
    standings: Standings,
    instances: Mapping[tuple[UUID, str], Instance],
    lease: Lease,
    *,
    courses: Mapping[tuple[UUID, str], Sequence[Mapping[str, Any]]] | None = None,
) -> None:
    """Writes verdicts, with how they have stood lately; those of a rule that was deleted meanwhile
    are left out. Raises SerializationFailure when the lease has passed on."""
    if not standings:
        return
    kept = list(standings.items())
    verdicts = [standing for _, standing in kept]
    judged = [instances[key] for key, _ in kept]
    await cx.execute(
        Q.upsert_standings,
        {
            "engine": lease.holder,
            "slice": lease.slice,
            "generation": lease.generation,
            "organization_id": organization_id,
            "alert_ids": [rule_id for (rule_id, _), _ in kept],
            "instance_keys": [key for (_, key), _ in kept],
            "series_ids": [one.series_ids[0] if is_one_series(one) else None for one in judged],
            "labels": [Jsonb(dict(one.labels)) for one in judged],
            "states": [verdict.state.value for verdict in verdicts],
            "metric_values": [verdict.value for verdict in verdicts],
            "threshold_values": [verdict.limit.value for verdict in verdicts],
            "clear_values": [verdict.limit.clear_value for verdict in verdicts],
            "factors": [verdict.limit.factor for verdict in verdicts],
            "threshold_sources": [verdict.limit.source.value for verdict in verdicts],
            "phases": [verdict.limit.phase for verdict in verdicts],
            "wedding_ids": [verdict.limit.wedding_id for verdict in verdicts],
            "sample_counts": [verdict.sample_count for verdict in verdicts],
            "pending_since": [verdict.pending_since for verdict in verdicts],
            "firing_since": [verdict.firing_since for verdict in verdicts],
            "changed_at": [verdict.changed_at for verdict in verdicts],
            "evaluated_at": [verdict.evaluated_at for verdict in verdicts],
            "keeping_since": [verdict.keeping_since for verdict in verdicts],
            "alarmed_at": [verdict.alarmed_at for verdict in verdicts],
            "gaps": [verdict.gap.value if verdict.gap else None for verdict in verdicts],
            "flips": [
                "{" + ",".join(f'"{at.isoformat()}"' for at in verdict.flips) + "}"
                for verdict in verdicts
            ],
            "courses": [Jsonb((courses or {}).get(key, [])) for key, _ in kept],
        },
    )


async def forget_standings(
    cx: Connection, organization_id: UUID, keys: Sequence[tuple[UUID, str]]
) -> None:
    """Removes verdicts on what is no instance of their rule any longer."""
    await cx.execute(
        Q.forget_standings,
        {
            "organization_id": organization_id,
            "alert_ids": [rule_id for rule_id, _ in keys],
            "instance_keys": [key for _, key in keys],
        },
    )


def is_one_series(instance: Instance) -> bool:
    """Whether the instance is a series by itself, not a group that happens to have one."""
    return instance.key.startswith("series:")
