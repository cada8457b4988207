"""Alert rules, and why each of them says what it says."""

from datetime import datetime
from typing import Annotated, Any, Final
from uuid import UUID

import msgspec
from litestar import delete, get, patch, post
from litestar.params import FromQuery, JSONBody

from wedsync_apm.api.crud import merge, partial_of
from wedsync_apm.api.durations import Duration, read_duration, write_duration
from wedsync_apm.api.requests import (
    DEFAULT_LIMIT,
    ApiRequest,
    Cursor,
    Id,
    Limit,
    Organization,
    Page,
    body_of,
    earlier_answer,
    one_organization,
    read_cursor,
    remember_answer,
    visible_organizations,
    write_cursor,
)
from wedsync_apm.rules import store
from wedsync_apm.rules.aggregate import Aggregation
from wedsync_apm.rules.model import AlertRule, NoDataPolicy, Operator, RuleDraft
from wedsync_apm.types import Channel, Severity


class AlertInput(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What a rule watches, and on which side of which number it is bad."""

    alert_name: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
    metric_pattern: Annotated[
        str,
        msgspec.Meta(min_length=1, max_length=256, description="A glob over `service.metric`"),
    ]
    comparison_operator: Operator
    threshold_value: float
    description: Annotated[str, msgspec.Meta(max_length=10_000)] = ""
    tag_filter: dict[str, str] = msgspec.field(default_factory=dict)
    aggregation: Aggregation = Aggregation.AVG
    evaluation_window: Duration = "5m"
    for_duration: Duration = "0s"
    clear_threshold_value: float | None = None
    no_data_policy: NoDataPolicy = NoDataPolicy.KEEP
    severity: Severity = Severity.WARNING
    notification_channels: list[Channel] = msgspec.field(default_factory=lambda: [Channel.EMAIL])
    wedding_day_override: bool = True
    wedding_day_threshold_value: float | None = None
    wedding_day_severity: Severity | None = None
    cooldown_period: Duration = "5m"
    auto_resolve: bool = True
    is_active: bool = True
    vendor_text: dict[str, Any] = msgspec.field(default_factory=dict)


class Alert(AlertInput, kw_only=True, forbid_unknown_fields=False):
    """A rule as it is kept."""

    id: UUID
    organization_id: UUID
    last_triggered_at: datetime | None
    trigger_count: int
    created_by: UUID | None
    created_at: datetime
    updated_at: datetime


class Verdict(msgspec.Struct, kw_only=True):
    """How the rule was last judged on one series, and by which number."""

    series_id: int
    service_name: str
    metric_name: str
    tags: dict[str, Any]
    unit: str | None
    state: str
    metric_value: float | None
    threshold_value: float
    threshold_source: str
    """`rule`, `wedding_value` (the rule's own for a wedding), or `wedding_factor`."""
    phase: str | None
    wedding_id: UUID | None
    sample_count: int
    pending_since: datetime | None
    firing_since: datetime | None
    changed_at: datetime
    evaluated_at: datetime


class Judgement(msgspec.Struct, kw_only=True):
    """What the rule makes of one series at the instant asked for, from its samples alone."""

    series_id: int
    service_name: str
    metric_name: str
    tags: dict[str, Any]
    unit: str | None
    metric_value: float | None
    sample_count: int
    threshold_value: float
    threshold_source: str
    phase: str | None
    wedding_id: UUID | None
    is_breached: bool


class Explanation(msgspec.Struct, kw_only=True):
    """Why the rule says what it says: `verdicts` as the engine last stored them, or, where an
    instant was asked for, `judgements` made anew for it."""

    alert_id: UUID
    at: datetime | None
    verdicts: list[Verdict]
    judgements: list[Judgement]


AlertChanges = partial_of(AlertInput)


def draft_of(data: JSONBody[AlertInput]) -> RuleDraft:
    """The rule's own words. Raises NotValid for a duration that is none."""
    values = msgspec.structs.asdict(data)
    for name in ("evaluation_window", "for_duration", "cooldown_period"):
        values[name] = read_duration(name, values[name])
    values["notification_channels"] = tuple(data.notification_channels)
    return RuleDraft(**values)


def alert_out(rule: AlertRule) -> Alert:
    """The rule as answers show it."""
    values = {name: getattr(rule, name) for name in Alert.__struct_fields__}
    for name in ("evaluation_window", "for_duration", "cooldown_period"):
        values[name] = write_duration(values[name])
    return msgspec.convert(values, Alert, from_attributes=True)


@get("/api/v1/alerts", tags=["alerts"])
async def list_alerts(
    request: ApiRequest,
    organization_id: Organization = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> Page[Alert]:
    """List alert rules, newest first."""
    place = read_cursor(cursor)
    async with request.tenant() as cx:
        if organization_id is not None:
            await visible_organizations(cx, organization_id)
        rules = await store.list_rules(cx, organization_id)
    # An organization has some hundred rules at most, and the store reads them all at once.
    rules.sort(key=lambda rule: (rule.created_at, rule.id), reverse=True)
    if place is not None:
        rules = [rule for rule in rules if (rule.created_at, rule.id) < (place.at, place.id)]
    shown = rules[:limit]
    more = write_cursor(shown[-1].created_at, shown[-1].id) if len(rules) > limit else None
    return Page([alert_out(rule) for rule in shown], more)


@post("/api/v1/alerts", tags=["alerts"])
async def create_alert(
    request: ApiRequest, data: JSONBody[AlertInput], organization_id: Organization = None
) -> Alert:
    """Make an alert rule; it is judged from the next second on."""
    draft = draft_of(data)
    async with request.tenant() as cx:
        owner = await one_organization(cx, organization_id)
        earlier, request_hash = await earlier_answer(cx, request, owner)
        if earlier is not None:
            return msgspec.convert(earlier.body, Alert)
        made = alert_out(await store.create_rule(cx, owner, draft))
        await remember_answer(cx, request, owner, request_hash, made)
    return made


@get("/api/v1/alerts/{id:uuid}", tags=["alerts"])
async def read_alert(request: ApiRequest, id: Id) -> Alert:
    """Read an alert rule."""
    async with request.tenant() as cx:
        return alert_out(await store.find_rule(cx, id))


async def change_alert(request: ApiRequest, id: Id, data: Any) -> Alert:
    """Change some of an alert rule."""
    async with request.tenant() as cx:
        present = alert_out(await store.find_rule(cx, id))
        whole, _ = merge(AlertInput, present, data)
        return alert_out(await store.update_rule(cx, id, draft_of(whole)))


change_alert.__annotations__["data"] = body_of(AlertChanges)


@delete("/api/v1/alerts/{id:uuid}", tags=["alerts"])
async def delete_alert(request: ApiRequest, id: Id) -> None:
    """Delete an alert rule; its incidents stay."""
    async with request.tenant() as cx:
        await store.delete_rule(cx, id)


@get("/api/v1/alerts/{id:uuid}/explain", tags=["alerts"])
async def explain_alert(
    request: ApiRequest, id: Id, at: FromQuery[datetime | None] = None
) -> Explanation:
    """Say which threshold counted for each series, where it comes from, the wedding phase, and
    how many samples it was judged by."""
    async with request.tenant() as cx:
        rule = await store.find_rule(cx, id)
        verdicts = [] if at else await store.list_verdicts(cx, rule)
        judgements = await store.explain_rule(cx, rule, at) if at else []
    return Explanation(
        alert_id=rule.id,
        at=at,
        verdicts=[_verdict_out(one) for one in verdicts],
        judgements=[_judgement_out(one) for one in judgements],
    )


def _verdict_out(one: store.Verdict) -> Verdict:
    return Verdict(
        **_series_out(one.series),
        state=one.standing.state.value,
        metric_value=one.standing.value,
        threshold_value=one.standing.limit.value,
        threshold_source=one.standing.limit.source.value,
        phase=one.standing.limit.phase,
        wedding_id=one.standing.limit.wedding_id,
        sample_count=one.standing.sample_count,
        pending_since=one.standing.pending_since,
        firing_since=one.standing.firing_since,
        changed_at=one.standing.changed_at,
        evaluated_at=one.standing.evaluated_at,
    )


def _judgement_out(one: store.Explanation) -> Judgement:
    return Judgement(
        **_series_out(one.series),
        metric_value=one.value,
        sample_count=one.sample_count,
        threshold_value=one.limit.value,
        threshold_source=one.limit.source.value,
        phase=one.limit.phase,
        wedding_id=one.limit.wedding_id,
        is_breached=one.is_breached,
    )


def _series_out(series: store.NamedSeries) -> dict[str, Any]:
    return {
        "series_id": series.id,
        "service_name": series.service_name,
        "metric_name": series.metric_name,
        "tags": dict(series.tags),
        "unit": series.unit,
    }


HANDLERS: Final = (
    list_alerts,
    create_alert,
    read_alert,
    patch("/api/v1/alerts/{id:uuid}", tags=["alerts"])(change_alert),
    delete_alert,
    explain_alert,
)
