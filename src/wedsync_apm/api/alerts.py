"""Alert rules, and why each of them says what it says."""

from datetime import datetime
from typing import Annotated, Any, Final
from uuid import UUID

import msgspec
from litestar import delete, get, patch, post
from litestar.params import JSONBody

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
from wedsync_apm.rules.model import (
    AlertRule,
    Baseline,
    NoDataPolicy,
    Operator,
    RuleDraft,
    RuleKind,
)
from wedsync_apm.rules.selectors import Match, TagSelector
from wedsync_apm.types import Channel, Severity


class TagCondition(msgspec.Struct, forbid_unknown_fields=True):
    """What a tag of a series has to be. A tag that is not there counts as the empty text."""

    tag: str
    match: Match = Match.EQUAL
    values: list[str] = msgspec.field(default_factory=list)
    """One; for `in` one or several, for `absent` none."""


_PROXIMITY: Final = (
    "By `days_before`, `evening_before`, `window`, `after`, a guard (`enhanced`, `maximum`), "
    "or a phase of the day (`set_up`, `ceremony`, `reception`, `tear_down`, `day`, "
    "`declared`), which beats its grade"
)
ByProximity = Annotated[dict[str, float], msgspec.Meta(description=_PROXIMITY)]


class AlertInput(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What a rule watches, and on which side of which number it is bad."""

    alert_name: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
    metric_pattern: Annotated[
        str,
        msgspec.Meta(
            max_length=256,
            description="A glob over `service.metric`; empty for a composite rule",
        ),
    ] = ""
    comparison_operator: Operator
    threshold_value: float
    rule_kind: RuleKind = RuleKind.THRESHOLD
    description: Annotated[str, msgspec.Meta(max_length=10_000)] = ""
    tag_filter: dict[str, str] = msgspec.field(default_factory=dict)
    tag_selectors: list[TagCondition] = msgspec.field(default_factory=list)
    group_by: list[str] | None = None
    """Tags whose values make the instances; `[]`: one for all; null: each series by itself."""
    aggregation: Aggregation = Aggregation.AVG
    evaluation_window: Duration = "5m"
    for_duration: Duration = "0s"
    keep_firing_for: Duration = "0s"
    clear_threshold_value: float | None = None
    no_data_policy: NoDataPolicy = NoDataPolicy.KEEP
    """What silence means."""
    stale_policy: NoDataPolicy = NoDataPolicy.OK
    """What it means that the sender said that the series is over."""
    severity: Severity = Severity.WARNING
    notification_channels: list[Channel] = msgspec.field(default_factory=lambda: [Channel.EMAIL])
    wedding_day_override: bool = True
    wedding_day_threshold_value: float | None = None
    wedding_day_severity: Severity | None = None
    wedding_factors: ByProximity = msgspec.field(default_factory=dict)
    wedding_thresholds: ByProximity = msgspec.field(default_factory=dict)
    cooldown_period: Duration = "5m"
    flap_changes: int = 0
    """So many beginnings and ends within `flap_window` are one alarm that goes on; 0: never."""
    flap_window: Duration = "10m"
    auto_resolve: bool = True
    opens_incident: bool = True
    """False for a rule that only composite rules count."""
    is_active: bool = True
    vendor_text: dict[str, Any] = msgspec.field(default_factory=dict)
    denominator_pattern: Annotated[str, msgspec.Meta(max_length=256)] | None = None
    """Ratio and burn rate: what is divided by."""
    denominator_selectors: list[TagCondition] = msgspec.field(default_factory=list)
    objective: float | None = None
    """Burn rate: the share that shall be good, 0.999."""
    short_window: Duration | None = None
    """Burn rate: null is a twelfth of `evaluation_window`."""
    baseline: Baseline | None = None
    baseline_weeks: int = 4
    horizon: Duration | None = None
    """Deadline: how far ahead; null is the end of the next wedding."""
    member_rule_ids: list[UUID] = msgspec.field(default_factory=list)


class Alert(AlertInput, kw_only=True, forbid_unknown_fields=False):
    """A rule as it is kept."""

    id: UUID
    organization_id: UUID
    last_triggered_at: datetime | None
    trigger_count: int
    created_by: UUID | None
    created_at: datetime
    updated_at: datetime


AlertChanges = partial_of(AlertInput)
_DURATIONS: Final = (
    "evaluation_window",
    "for_duration",
    "keep_firing_for",
    "cooldown_period",
    "flap_window",
    "short_window",
    "horizon",
)


def draft_of(data: JSONBody[AlertInput]) -> RuleDraft:
    """The rule's own words. Raises NotValid for a duration that is none."""
    values = msgspec.structs.asdict(data)
    for name in _DURATIONS:
        if values[name] is not None:
            values[name] = read_duration(name, values[name])
    for name in ("notification_channels", "member_rule_ids", "group_by"):
        if values[name] is not None:
            values[name] = tuple(values[name])
    for name in ("tag_selectors", "denominator_selectors"):
        values[name] = tuple(
            TagSelector(one.tag, one.match, tuple(one.values)) for one in values[name]
        )
    return RuleDraft(**values)


def alert_out(rule: AlertRule) -> Alert:
    """The rule as answers show it."""
    values = {name: getattr(rule, name) for name in Alert.__struct_fields__}
    for name in _DURATIONS:
        if values[name] is not None:
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


HANDLERS: Final = (
    list_alerts,
    create_alert,
    read_alert,
    patch("/api/v1/alerts/{id:uuid}", tags=["alerts"])(change_alert),
    delete_alert,
)
