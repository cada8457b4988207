"""Why a rule says what it says, what it would have said, and rules to begin with."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Annotated, Any, Final
from uuid import UUID

import msgspec
from litestar import get, post
from litestar.params import FromQuery, JSONBody

from wedsync_apm.api.alerts import Alert, AlertInput, alert_out, draft_of
from wedsync_apm.api.requests import ApiRequest, Id, Organization, one_organization
from wedsync_apm.clock import EARLIEST, is_usable, utcnow
from wedsync_apm.errors import FieldError, NotValid
from wedsync_apm.rules import past, store
from wedsync_apm.rules.judge import Instance
from wedsync_apm.rules.model import AlertRule, RuleDraft
from wedsync_apm.rules.replay import Alarm, Replay
from wedsync_apm.rules.starter import STARTER_RULES, starter_rules
from wedsync_apm.rules.verdict import Standing
from wedsync_apm.rules.words import reason_of

MOST_POINTS: Final = 2000
_AHEAD: Final = timedelta(minutes=1)
"""So far somebody's clock may be ahead of ours."""


class Judgement(msgspec.Struct, kw_only=True):
    """One verdict: the number and of how many samples, the limit, where that comes from, the phase
    of the wedding, and where it leaves the instance."""

    at: datetime
    state: str
    """`ok`, `pending`, and those that alarm: `firing`, `no_data`, `keeping`, `flapping`."""
    metric_value: float | None
    gap: str | None
    """Why there is no number: `absent`, `stale`, or `not_applicable`."""
    sample_count: int
    threshold_value: float
    threshold_source: str
    """`rule`, `wedding_value` (the rule's own for a wedding), or `wedding_factor`."""
    factor: float | None
    phase: str | None
    wedding_id: UUID | None
    is_alarming: bool
    reason: str
    """All of it in one sentence."""


class InstanceName(msgspec.Struct, kw_only=True):
    """What was judged: one series, or those with the same values of the rule's tags."""

    instance_key: str
    labels: dict[str, str]
    series_id: int | None
    service_name: str | None
    metric_name: str | None
    tags: dict[str, Any]
    unit: str | None


class Verdict(InstanceName, kw_only=True):
    """How the rule was last judged on one instance, as the engine stored it."""

    state: str
    metric_value: float | None
    gap: str | None
    threshold_value: float
    threshold_source: str
    phase: str | None
    wedding_id: UUID | None
    sample_count: int
    pending_since: datetime | None
    firing_since: datetime | None
    keeping_since: datetime | None
    changed_at: datetime
    evaluated_at: datetime
    reason: str


class JudgedInstance(InstanceName, kw_only=True):
    """What the rule makes of one instance at the instant asked for, from what is stored alone."""

    verdict: Judgement | None
    """None: it has never had a sample."""


class Explanation(msgspec.Struct, kw_only=True):
    """Why the rule says what it says: `verdicts` as the engine last stored them, or, where an
    instant was asked for, `judgements` made anew for it."""

    alert_id: UUID
    at: datetime | None
    verdicts: list[Verdict]
    judgements: list[JudgedInstance]


class PastAlarm(msgspec.Struct, kw_only=True):
    """An alarm that would have been."""

    begins_at: datetime
    ends_at: datetime | None
    """None: it goes on at the end of the range."""
    begin: Judgement


class PastInstance(InstanceName, kw_only=True):
    """One instance over the range."""

    points: list[Judgement]
    alarms: list[PastAlarm]


class Preview(msgspec.Struct, kw_only=True):
    """What would have fired, judged as the engine judges."""

    start: datetime
    end: datetime
    alarm_count: int
    instance_count: int
    """All that the rule has; `instances` are the first of them."""
    instances: list[PastInstance]


class PreviewInput(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A rule, stored (`alert_id`) or not (`rule`), and a range of at most 31 days."""

    start: datetime
    end: datetime | None = None
    """None: now."""
    alert_id: UUID | None = None
    rule: AlertInput | None = None
    points: Annotated[int, msgspec.Meta(ge=10, le=MOST_POINTS)] = 500
    """About how many verdicts of each instance to give; every change is among them."""


class StarterSet(msgspec.Struct, kw_only=True):
    """Rules to begin with for one type of vendor."""

    vendor_type: str
    rules: list[AlertInput]


class AdoptInput(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Which rules to begin with: those of a type of vendor, or some of them by name."""

    vendor_type: Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
    names: list[str] | None = None


class Adopted(msgspec.Struct, kw_only=True):
    """What has been made, and the names that were taken already."""

    made: list[Alert]
    kept: list[str]


@get("/api/v1/alerts/{id:uuid}/explain", tags=["alerts"])
async def explain_alert(
    request: ApiRequest, id: Id, at: FromQuery[datetime | None] = None
) -> Explanation:
    """Say which threshold counted for each instance, where it comes from, the wedding phase, and
    how many samples it was judged by."""
    moment = None if at is None else _instant("at", at)
    async with request.tenant() as cx:
        rule = await store.find_rule(cx, id)
        if moment is None:
            verdicts = [_verdict_out(rule, one) for one in await store.list_verdicts(cx, rule)]
            return Explanation(alert_id=rule.id, at=None, verdicts=verdicts, judgements=[])
        with past.JUDGING.one_of(request.identity.subject):
            found = await past.judge_past(cx, rule, _question(request, moment, moment, 1))
    judgements = [
        JudgedInstance(
            **_name(found, one),
            verdict=_judgement_out(rule, one.last) if one.last else None,
        )
        for one in found.replays
    ]
    return Explanation(alert_id=rule.id, at=moment, verdicts=[], judgements=judgements)


@post("/api/v1/alerts/preview", tags=["alerts"], status_code=200)
async def preview_alert(
    request: ApiRequest, data: JSONBody[PreviewInput], organization_id: Organization = None
) -> Preview:
    """Say what a rule would have done over a past range, with the limit and the reason at each
    point. Costs about three seconds at most, else it is refused: ask for a shorter range."""
    if (data.alert_id is None) == (data.rule is None):
        raise NotValid(errors=[FieldError("rule", "give either a rule or an alert_id")])
    start = _instant("start", data.start)
    end = utcnow() if data.end is None else _instant("end", data.end)
    async with request.tenant() as cx:
        if data.alert_id is not None:
            rule = await store.find_rule(cx, data.alert_id)
        elif data.rule is not None:
            owner = await one_organization(cx, organization_id)
            rule = store.as_if_stored(draft_of(data.rule), owner, utcnow())
        with past.JUDGING.one_of(request.identity.subject):
            found = await past.judge_past(cx, rule, _question(request, start, end, data.points))
    return Preview(
        start=start,
        end=end,
        alarm_count=sum(len(one.alarms) for one in found.replays),
        instance_count=found.instance_count,
        instances=[
            PastInstance(
                **_name(found, one),
                points=[_judgement_out(rule, point) for point in one.points],
                alarms=[_alarm_out(rule, alarm) for alarm in one.alarms],
            )
            for one in found.replays
        ],
    )


@get("/api/v1/alerts/starter", tags=["alerts"])
async def list_starters(
    request: ApiRequest, vendor_type: FromQuery[str | None] = None
) -> list[StarterSet]:
    """List the rules to begin with, of one type of vendor or of all."""
    async with request.tenant():
        types = [vendor_type] if vendor_type else list(STARTER_RULES)
    return [
        StarterSet(vendor_type=one, rules=[_draft_out(rule) for rule in starter_rules(one)])
        for one in types
    ]


@post("/api/v1/alerts/adopt", tags=["alerts"], status_code=200)
async def adopt_starters(
    request: ApiRequest, data: JSONBody[AdoptInput], organization_id: Organization = None
) -> Adopted:
    """Make the rules to begin with; one whose name is taken stays as people have made it."""
    offered = {rule.alert_name: rule for rule in starter_rules(data.vendor_type)}
    wanted = list(offered) if data.names is None else data.names
    if unknown := [name for name in wanted if name not in offered]:
        raise NotValid(errors=[FieldError("names", f"{unknown[0]!r} is none of this type")])
    async with request.tenant() as cx:
        owner = await one_organization(cx, organization_id)
        made, kept = await store.adopt_rules(
            cx, owner, [offered[name] for name in dict.fromkeys(wanted)]
        )
    return Adopted(made=[alert_out(rule) for rule in made], kept=kept)


def _instant(field: str, at: datetime) -> datetime:
    if at.tzinfo is None:
        raise NotValid(errors=[FieldError(field, "needs an offset, like 2026-06-20T14:00:00Z")])
    if at > utcnow() + _AHEAD:
        raise NotValid(errors=[FieldError(field, "lies in the future: only what was is judged")])
    if not is_usable(at):
        raise NotValid(errors=[FieldError(field, f"lies before the year {EARLIEST.year}")])
    return past.whole_milliseconds(at)


def _question(request: ApiRequest, start: datetime, end: datetime, points: int) -> past.Question:
    factor = request.services.settings.wedding_factor
    return past.Question(start, end, factor, points)


def _draft_out(draft: RuleDraft) -> AlertInput:
    return msgspec.convert(
        alert_out(store.as_if_stored(draft, store.UNSTORED, utcnow())),
        AlertInput,
        from_attributes=True,
    )


def _name(found: past.Past, one: Replay) -> Mapping[str, Any]:
    instance: Instance = one.subject.instance
    series = found.series.get(instance.series_ids[0]) if len(instance.series_ids) == 1 else None
    return _name_of(instance.key, instance.labels, series)


def _name_of(
    key: str, labels: Mapping[str, str], series: store.NamedSeries | None
) -> Mapping[str, Any]:
    is_series = key.startswith("series:") and series is not None
    return {
        "instance_key": key,
        "labels": dict(labels),
        "series_id": series.id if series and is_series else None,
        "service_name": series.service_name if series and is_series else None,
        "metric_name": series.metric_name if series and is_series else None,
        "tags": dict(series.tags) if series and is_series else {},
        "unit": series.unit if series else None,
    }


def _verdict_out(rule: AlertRule, one: store.Verdict) -> Verdict:
    standing = one.standing
    return Verdict(
        **_name_of(one.instance_key, one.labels, one.series),
        state=standing.state.value,
        metric_value=standing.value,
        gap=standing.gap.value if standing.gap else None,
        threshold_value=standing.limit.value,
        threshold_source=standing.limit.source.value,
        phase=standing.limit.phase,
        wedding_id=standing.limit.wedding_id,
        sample_count=standing.sample_count,
        pending_since=standing.pending_since,
        firing_since=standing.firing_since,
        keeping_since=standing.keeping_since,
        changed_at=standing.changed_at,
        evaluated_at=standing.evaluated_at,
        reason=reason_of(rule, standing),
    )


def _judgement_out(rule: RuleDraft, standing: Standing) -> Judgement:
    return Judgement(
        at=standing.evaluated_at,
        state=standing.state.value,
        metric_value=standing.value,
        gap=standing.gap.value if standing.gap else None,
        sample_count=standing.sample_count,
        threshold_value=standing.limit.value,
        threshold_source=standing.limit.source.value,
        factor=standing.limit.factor,
        phase=standing.limit.phase,
        wedding_id=standing.limit.wedding_id,
        is_alarming=standing.state.is_alarming,
        reason=reason_of(rule, standing),
    )


def _alarm_out(rule: RuleDraft, alarm: Alarm) -> PastAlarm:
    return PastAlarm(
        begins_at=alarm.begin.evaluated_at,
        ends_at=alarm.end.evaluated_at if alarm.end else None,
        begin=_judgement_out(rule, alarm.begin),
    )


HANDLERS: Final = (explain_alert, preview_alert, list_starters, adopt_starters)
