"""Alert rules in the database.

The first half acts as a person inside `tenant_tx`; the second half as the engine, which sees every
organization and therefore always names the one it means.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from wedsync_apm.clock import to_ms
from wedsync_apm.db.pool import Connection
from wedsync_apm.db.queries import load_queries
from wedsync_apm.errors import Forbidden, NotFound, NotValid
from wedsync_apm.rules.aggregate import Aggregation, Samples, read_window
from wedsync_apm.rules.limits import (
    WEDDING_FACTOR,
    Limit,
    LimitSource,
    WeddingWindow,
    resolve_limit,
)
from wedsync_apm.rules.model import AlertRule, NoDataPolicy, Operator, RuleDraft, find_faults
from wedsync_apm.rules.verdict import Standing, State
from wedsync_apm.types import Channel, Severity

Q = load_queries(__package__)


async def list_rules(cx: Connection, organization_id: UUID | None = None) -> list[AlertRule]:
    """The rules that the caller may see, by name; of one organization or of all of his."""
    rows = await cx.execute(Q.list_rules, {"organization_id": organization_id})
    return [_rule(row) for row in await rows.fetchall()]


async def find_rule(cx: Connection, rule_id: UUID) -> AlertRule:
    """One rule. Raises NotFound for one that is not there or that the caller may not see."""
    row = await (await cx.execute(Q.find_rule, {"rule_id": rule_id})).fetchone()
    if row is None:
        raise NotFound("There is no such rule.")
    return _rule(row)


async def create_rule(cx: Connection, organization_id: UUID, draft: RuleDraft) -> AlertRule:
    """A new rule. Raises NotValid, Conflict for a name that is taken, Forbidden for a non-admin."""
    _refuse_faults(draft)
    rows = await cx.execute(
        Q.create_rule, {"organization_id": organization_id, **_parameters(draft)}
    )
    row = await rows.fetchone()
    assert row is not None  # noqa: S101 -- an INSERT … RETURNING of one row returns it or raises
    return _rule(row)


async def update_rule(cx: Connection, rule_id: UUID, draft: RuleDraft) -> AlertRule:
    """The rule as `draft` says. Raises NotFound, Forbidden for a non-admin, NotValid, Conflict."""
    _refuse_faults(draft)
    await find_rule(cx, rule_id)
    rows = await cx.execute(Q.update_rule, {"rule_id": rule_id, **_parameters(draft)})
    row = await rows.fetchone()
    if row is None:
        raise Forbidden("Only an owner or admin can change rules.")
    return _rule(row)


async def delete_rule(cx: Connection, rule_id: UUID) -> None:
    """Deletes a rule; its incidents stay. Raises NotFound, Forbidden for a non-admin."""
    await find_rule(cx, rule_id)
    if await (await cx.execute(Q.delete_rule, {"rule_id": rule_id})).fetchone() is None:
        raise Forbidden("Only an owner or admin can delete rules.")


@dataclass(frozen=True, slots=True)
class NamedSeries:
    """A series by its name, as people know it."""

    id: int
    service_name: str
    metric_name: str
    tags: Mapping[str, Any]
    unit: str | None


@dataclass(frozen=True, slots=True)
class Verdict:
    """Where one series stands, as the engine last saw it."""

    series: NamedSeries
    standing: Standing


async def list_verdicts(cx: Connection, rule: AlertRule) -> list[Verdict]:
    """The engine's last verdicts under a rule, the alarming ones first."""
    rows = await cx.execute(
        Q.list_verdicts, {"organization_id": rule.organization_id, "rule_id": rule.id}
    )
    return [
        Verdict(_series(row, row["series_id"]), _standing(row)) for row in await rows.fetchall()
    ]


@dataclass(frozen=True, slots=True)
class Explanation:
    """What a rule makes of one series at one instant: the value, and the limit with its source."""

    series: NamedSeries
    value: float | None
    sample_count: int
    limit: Limit
    is_breached: bool


async def explain_rule(
    cx: Connection, rule: AlertRule, at: datetime, *, factor: float = WEDDING_FACTOR
) -> list[Explanation]:
    """Each series that the rule watches, judged anew at `at` from the samples alone."""
    rows = await cx.execute(Q.list_named_series, {"organization_id": rule.organization_id})
    watched = [
        _series(row, row["id"])
        for row in await rows.fetchall()
        if rule.watches(row["service_name"], row["metric_name"], row["tags"])
    ]
    where = {"organization_id": rule.organization_id, "at": at}
    found = await (await cx.execute(Q.find_wedding_now, where)).fetchone()
    wedding = (
        WeddingWindow(found["phase"], found["wedding_id"], found["starts_at"], found["ends_at"], 0)
        if found
        else None
    )
    rows = await cx.execute(
        Q.read_windows,
        {
            "organization_id": rule.organization_id,
            "series_ids": [series.id for series in watched],
            "after": at - rule.evaluation_window,
            "until": at,
        },
    )
    samples = {row["series_id"]: _samples(row) for row in await rows.fetchall()}
    width_ms = round(rule.evaluation_window.total_seconds() * 1000)
    explained = []
    for series in watched:
        reading = read_window(
            rule.aggregation, samples.get(series.id, Samples()), to_ms(at), width_ms
        )
        limit = resolve_limit(
            rule,
            wedding,
            is_declared_wedding=reading is not None and reading.is_declared_wedding,
            factor=factor,
            unit=series.unit,
        )
        explained.append(
            Explanation(
                series,
                reading.value if reading else None,
                reading.sample_count if reading else 0,
                limit,
                reading is not None
                and rule.comparison_operator.is_breached(reading.value, limit.value),
            )
        )
    return explained


class RuleBook:
    """The active rules of all organizations and the series that each watches, kept by the engine.

    `refresh` costs one small query while nothing changes.
    """

    def __init__(self) -> None:
        self._fingerprint: tuple[int, int] | None = None
        self._rules: dict[UUID, list[AlertRule]] = {}
        self._newest: dict[UUID, int] = {}
        self._watched: dict[UUID, dict[UUID, list[int]]] = {}

    @property
    def organization_ids(self) -> tuple[UUID, ...]:
        """The organizations that have an active rule."""
        return tuple(self._rules)

    def rules_of(self, organization_id: UUID) -> Sequence[AlertRule]:
        """The organization's active rules."""
        return self._rules.get(organization_id, ())

    def watched_by(self, rule: AlertRule) -> Sequence[int]:
        """The ids of the series that a rule watches, ascending."""
        return self._watched.get(rule.organization_id, {}).get(rule.id, ())

    async def refresh(self, cx: Connection) -> None:
        """Reads the rules anew if any has changed."""
        row = await (await cx.execute(Q.fingerprint_rules)).fetchone()
        fingerprint = (row["rules"], row["fingerprint"]) if row else (0, 0)
        if fingerprint == self._fingerprint:
            return
        rules: dict[UUID, list[AlertRule]] = {}
        for found in await (await cx.execute(Q.list_active_rules)).fetchall():
            rules.setdefault(found["organization_id"], []).append(_rule(found))
        self._rules, self._fingerprint = rules, fingerprint
        self._newest.clear()
        self._watched.clear()

    async def match_series(self, cx: Connection, organization_ids: Iterable[UUID]) -> None:
        """Takes in the series that these organizations have got since the last call."""
        wanted = [found for found in organization_ids if found in self._rules]
        rows = await cx.execute(Q.list_newest_series, {"organization_ids": wanted})
        for row in await rows.fetchall():
            organization_id, newest = row["organization_id"], row["newest_id"] or 0
            known = self._newest.get(organization_id, 0)
            if newest <= known:
                continue
            watched = self._watched.setdefault(organization_id, {})
            fresh = await cx.execute(
                Q.list_series_after, {"organization_id": organization_id, "after_id": known}
            )
            for series in await fresh.fetchall():
                for rule in self._rules[organization_id]:
                    if rule.watches(series["service_name"], series["metric_name"], series["tags"]):
                        watched.setdefault(rule.id, []).append(series["id"])
                newest = max(newest, series["id"])
            self._newest[organization_id] = newest


async def list_unsettled_organizations(cx: Connection) -> list[UUID]:
    """Organizations with a series that is not ok under some rule."""
    rows = await cx.execute(Q.list_unsettled_organizations)
    return [row["organization_id"] for row in await rows.fetchall()]


Standings = dict[tuple[UUID, int], Standing]
"""Verdicts by rule and series."""


async def list_standings(cx: Connection, organization_ids: Sequence[UUID]) -> dict[UUID, Standings]:
    """The last verdicts of some organizations."""
    found: dict[UUID, Standings] = {}
    rows = await cx.execute(Q.list_standings, {"organization_ids": list(organization_ids)})
    for row in await rows.fetchall():
        key = (row["alert_id"], row["series_id"])
        found.setdefault(row["organization_id"], {})[key] = _standing(row)
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
            _samples(row) if row["times_ms"] else Samples(), row["unit"], row["ended_at"]
        )
        for row in await rows.fetchall()
    }


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


async def upsert_standings(cx: Connection, organization_id: UUID, standings: Standings) -> None:
    """Writes verdicts; those of a rule that was deleted meanwhile are left out."""
    if not standings:
        return
    kept = list(standings.items())
    verdicts = [standing for _, standing in kept]
    await cx.execute(
        Q.upsert_standings,
        {
            "organization_id": organization_id,
            "alert_ids": [rule_id for (rule_id, _), _ in kept],
            "series_ids": [series_id for (_, series_id), _ in kept],
            "states": [verdict.state.value for verdict in verdicts],
            "metric_values": [verdict.value for verdict in verdicts],
            "threshold_values": [verdict.limit.value for verdict in verdicts],
            "threshold_sources": [verdict.limit.source.value for verdict in verdicts],
            "phases": [verdict.limit.phase for verdict in verdicts],
            "wedding_ids": [verdict.limit.wedding_id for verdict in verdicts],
            "sample_counts": [verdict.sample_count for verdict in verdicts],
            "pending_since": [verdict.pending_since for verdict in verdicts],
            "firing_since": [verdict.firing_since for verdict in verdicts],
            "changed_at": [verdict.changed_at for verdict in verdicts],
            "evaluated_at": [verdict.evaluated_at for verdict in verdicts],
        },
    )


async def forget_standings(
    cx: Connection, organization_id: UUID, keys: Sequence[tuple[UUID, int]]
) -> None:
    """Removes verdicts whose rule watches the series no longer."""
    await cx.execute(
        Q.forget_standings,
        {
            "organization_id": organization_id,
            "alert_ids": [rule_id for rule_id, _ in keys],
            "series_ids": [series_id for _, series_id in keys],
        },
    )


def _refuse_faults(draft: RuleDraft) -> None:
    if faults := find_faults(draft):
        raise NotValid("The rule cannot be kept like this.", faults)


_DRAFT_FIELDS = tuple(field.name for field in fields(RuleDraft))


def _parameters(draft: RuleDraft) -> dict[str, Any]:
    values = {name: getattr(draft, name) for name in _DRAFT_FIELDS}
    values["notification_channels"] = [channel.value for channel in draft.notification_channels]
    values["tag_filter"] = Jsonb(dict(draft.tag_filter))
    values["vendor_text"] = Jsonb(dict(draft.vendor_text))
    return values


def _rule(row: Mapping[str, Any]) -> AlertRule:
    values = dict(row)
    values["aggregation"] = Aggregation(row["aggregation"])
    values["comparison_operator"] = Operator(row["comparison_operator"])
    values["no_data_policy"] = NoDataPolicy(row["no_data_policy"])
    values["severity"] = Severity(row["severity"])
    values["notification_channels"] = tuple(Channel(one) for one in row["notification_channels"])
    wedding = row["wedding_day_severity"]
    values["wedding_day_severity"] = Severity(wedding) if wedding else None
    return AlertRule(**values)


def _standing(row: Mapping[str, Any]) -> Standing:
    limit = Limit(
        value=row["threshold_value"],
        # Not kept: the next verdict resolves the limit anew.
        clear_value=row["threshold_value"],
        source=LimitSource(row["threshold_source"]),
        phase=row["phase"],
        wedding_id=row["wedding_id"],
    )
    return Standing(
        state=State(row["state"]),
        value=row["metric_value"],
        limit=limit,
        sample_count=row["sample_count"],
        pending_since=row["pending_since"],
        firing_since=row["firing_since"],
        changed_at=row["changed_at"],
        evaluated_at=row["evaluated_at"],
    )


def _series(row: Mapping[str, Any], series_id: int) -> NamedSeries:
    return NamedSeries(
        series_id,
        row["service_name"] or "",
        row["metric_name"] or "",
        row["tags"] or {},
        row["unit"],
    )


def _samples(row: Mapping[str, Any]) -> Samples:
    return Samples.of(zip(row["times_ms"], row["sample_values"], row["declared"], strict=True))
