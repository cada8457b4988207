"""Alert rules in the database, as a person inside `tenant_tx` keeps and reads them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from psycopg.types.json import Jsonb

from wedsync_apm.db.pool import Connection
from wedsync_apm.db.queries import load_queries
from wedsync_apm.errors import Conflict, Forbidden, NotFound, NotValid
from wedsync_apm.rules.aggregate import Aggregation, Gap, Samples
from wedsync_apm.rules.faults import find_faults
from wedsync_apm.rules.limits import (
    Limit,
    LimitSource,
)
from wedsync_apm.rules.model import (
    AlertRule,
    Baseline,
    NoDataPolicy,
    Operator,
    RuleDraft,
    RuleKind,
)
from wedsync_apm.rules.selectors import items_of, selectors_of
from wedsync_apm.rules.verdict import Standing, State
from wedsync_apm.types import Channel, Severity

Q = load_queries(__package__)

UNSTORED: Final = UUID(int=0)
"""The id of a rule that is judged and not kept."""


async def list_rules(cx: Connection, organization_id: UUID | None = None) -> list[AlertRule]:
    """The rules that the caller may see, by name; of one organization or of all of his."""
    rows = await cx.execute(Q.list_rules, {"organization_id": organization_id})
    return [rule_of(row) for row in await rows.fetchall()]


async def find_rule(cx: Connection, rule_id: UUID) -> AlertRule:
    """One rule. Raises NotFound for one that is not there or that the caller may not see."""
    row = await (await cx.execute(Q.find_rule, {"rule_id": rule_id})).fetchone()
    if row is None:
        raise NotFound("There is no such rule.")
    return rule_of(row)


async def create_rule(cx: Connection, organization_id: UUID, draft: RuleDraft) -> AlertRule:
    """A new rule. Raises NotValid, Conflict for a name that is taken, Forbidden for a non-admin."""
    refuse_faults(draft)
    rows = await cx.execute(
        Q.create_rule, {"organization_id": organization_id, **parameters_of(draft)}
    )
    row = await rows.fetchone()
    assert row is not None  # noqa: S101 -- an INSERT … RETURNING of one row returns it or raises
    return rule_of(row)


async def update_rule(cx: Connection, rule_id: UUID, draft: RuleDraft) -> AlertRule:
    """The rule as `draft` says. Raises NotFound, Forbidden for a non-admin, NotValid, Conflict."""
    refuse_faults(draft, await find_rule(cx, rule_id))
    rows = await cx.execute(Q.update_rule, {"rule_id": rule_id, **parameters_of(draft)})
    row = await rows.fetchone()
    if row is None:
        raise Forbidden("Only an owner or admin can change rules.")
    return rule_of(row)


async def delete_rule(cx: Connection, rule_id: UUID) -> None:
    """Deletes a rule; its incidents stay. Raises NotFound, Forbidden for a non-admin, and Conflict
    while a composite rule counts it."""
    rule = await find_rule(cx, rule_id)
    where = {"organization_id": rule.organization_id, "rule_id": rule_id}
    row = await (await cx.execute(Q.find_composite_of, where)).fetchone()
    if row is not None:
        raise Conflict(f"The rule {row['alert_name']} counts this one: change that one first.")
    if await (await cx.execute(Q.delete_rule, {"rule_id": rule_id})).fetchone() is None:
        raise Forbidden("Only an owner or admin can delete rules.")


async def adopt_rules(
    cx: Connection, organization_id: UUID, offered: Sequence[RuleDraft]
) -> tuple[list[AlertRule], list[str]]:
    """Makes the rules offered; one whose name is taken stays as people have made it. What has been
    made, and the names that were taken. Raises Forbidden for a non-admin."""
    taken = {rule.alert_name for rule in await list_rules(cx, organization_id)}
    made = [
        await create_rule(cx, organization_id, draft)
        for draft in offered
        if draft.alert_name not in taken
    ]
    return made, [draft.alert_name for draft in offered if draft.alert_name in taken]


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
    """Where one instance stands, as the engine last saw it; `series` where it is one series."""

    instance_key: str
    labels: Mapping[str, str]
    series: NamedSeries | None
    standing: Standing


async def list_verdicts(cx: Connection, rule: AlertRule) -> list[Verdict]:
    """The engine's last verdicts under a rule, the alarming ones first."""
    rows = await cx.execute(
        Q.list_verdicts, {"organization_id": rule.organization_id, "rule_id": rule.id}
    )
    return [_verdict_of(row) for row in await rows.fetchall()]


async def list_unsettled_verdicts(
    cx: Connection, organization_id: UUID
) -> dict[UUID, list[Verdict]]:
    """By rule, the instances of an organization's rules that are not well."""
    found: dict[UUID, list[Verdict]] = {}
    rows = await cx.execute(Q.list_unsettled_verdicts, {"organization_id": organization_id})
    for row in await rows.fetchall():
        found.setdefault(row["alert_id"], []).append(_verdict_of(row))
    return found


def _verdict_of(row: Mapping[str, Any]) -> Verdict:
    series = None if row["series_id"] is None else series_of(row, row["series_id"])
    return Verdict(row["instance_key"], row["labels"], series, standing_of(row))


async def list_series(cx: Connection, organization_id: UUID) -> list[NamedSeries]:
    """All series of one of the caller's organizations, oldest first."""
    rows = await cx.execute(Q.list_named_series, {"organization_id": organization_id})
    return [series_of(row, row["id"]) for row in await rows.fetchall()]


def as_if_stored(draft: RuleDraft, organization_id: UUID, at: datetime) -> AlertRule:
    """A rule that is judged as a kept one would be. Raises NotValid for one that cannot be kept."""
    refuse_faults(draft)
    values = {name: getattr(draft, name) for name in _DRAFT_FIELDS}
    return AlertRule(
        **values, id=UNSTORED, organization_id=organization_id, created_at=at, updated_at=at
    )


def refuse_faults(draft: RuleDraft, kept: RuleDraft | None = None) -> None:
    """Raises NotValid for a draft that cannot be kept.

    What stands in the kept rule from a time when it was taken, and is left as it is, refuses no
    edit of something else.
    """
    faults = find_faults(draft)
    if kept is not None:
        stood = find_faults(kept)
        faults = [one for one in faults if one not in stood or _is_edited(one.field, draft, kept)]
    if faults:
        raise NotValid("The rule cannot be kept like this.", faults)


def _is_edited(name: str, draft: RuleDraft, kept: RuleDraft) -> bool:
    name = name.partition("[")[0]
    return bool(getattr(draft, name) != getattr(kept, name))


_DRAFT_FIELDS = tuple(field.name for field in fields(RuleDraft))


def parameters_of(draft: RuleDraft) -> dict[str, Any]:
    """A draft as statements take it."""
    values = {name: getattr(draft, name) for name in _DRAFT_FIELDS}
    values["notification_channels"] = [channel.value for channel in draft.notification_channels]
    values["tag_filter"] = Jsonb(dict(draft.tag_filter))
    values["vendor_text"] = Jsonb(dict(draft.vendor_text))
    for name in ("tag_selectors", "denominator_selectors"):
        values[name] = Jsonb(items_of(values[name]))
    for name in ("wedding_factors", "wedding_thresholds"):
        values[name] = Jsonb(dict(values[name]))
    values["group_by"] = None if draft.group_by is None else list(draft.group_by)
    values["member_rule_ids"] = list(draft.member_rule_ids)
    return values


def rule_of(row: Mapping[str, Any]) -> AlertRule:
    """A rule from its row."""
    values = dict(row)
    values["aggregation"] = Aggregation(row["aggregation"])
    values["comparison_operator"] = Operator(row["comparison_operator"])
    values["no_data_policy"] = NoDataPolicy(row["no_data_policy"])
    values["severity"] = Severity(row["severity"])
    values["notification_channels"] = tuple(Channel(one) for one in row["notification_channels"])
    values["rule_kind"] = RuleKind(row["rule_kind"])
    values["stale_policy"] = NoDataPolicy(row["stale_policy"])
    values["baseline"] = Baseline(row["baseline"]) if row["baseline"] else None
    for name in ("tag_selectors", "denominator_selectors"):
        values[name] = selectors_of(row[name])
    values["group_by"] = None if row["group_by"] is None else tuple(row["group_by"])
    values["member_rule_ids"] = tuple(row["member_rule_ids"])
    wedding = row["wedding_day_severity"]
    values["wedding_day_severity"] = Severity(wedding) if wedding else None
    return AlertRule(**values)


def standing_of(row: Mapping[str, Any]) -> Standing:
    """A verdict from its row."""
    limit = Limit(
        value=row["threshold_value"],
        clear_value=row["threshold_value"] if row["clear_value"] is None else row["clear_value"],
        source=LimitSource(row["threshold_source"]),
        phase=row["phase"],
        wedding_id=row["wedding_id"],
        factor=row["factor"],
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
        keeping_since=row["keeping_since"],
        alarmed_at=row["alarmed_at"],
        flips=tuple(row["flips"]),
        gap=Gap(row["gap"]) if row["gap"] else None,
    )


def series_of(row: Mapping[str, Any], series_id: int) -> NamedSeries:
    """A series from a row with its name."""
    return NamedSeries(
        series_id,
        row["service_name"] or "",
        row["metric_name"] or "",
        row["tags"] or {},
        row["unit"],
    )


def samples_of(row: Mapping[str, Any]) -> Samples:
    """Samples from a row of arrays."""
    return Samples.of(zip(row["times_ms"], row["sample_values"], row["declared"], strict=True))
