"""Ladders: who is told after how long, who would be now, and what they leave open at weddings."""

from collections.abc import Iterable
from datetime import datetime
from itertools import groupby
from typing import Annotated, Any, Final
from uuid import UUID

import msgspec
from litestar import get
from litestar.params import FromQuery

from wedsync_apm.api.crud import Resource, routes
from wedsync_apm.api.requests import ApiRequest, Id, Organization, one_organization
from wedsync_apm.api.samples_out import read_time
from wedsync_apm.clock import utcnow
from wedsync_apm.errors import FieldError, NotFound, NotValid
from wedsync_apm.escalation.members import store
from wedsync_apm.escalation.model import Clock, Weddings
from wedsync_apm.incidents.store import find_incident
from wedsync_apm.types import Channel, EscalationLevel, Severity

PATH: Final = "/api/v1/escalation-policies"

Seconds = Annotated[float, msgspec.Meta(ge=0, le=86_400)]
WallTime = Annotated[str, msgspec.Meta(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")]
Weekday = Annotated[int, msgspec.Meta(ge=1, le=7)]


class StepHours(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """When a step counts: from `from_time` until `until_time` (not later: on the next day; both
    the same: the whole day), beginning on its `weekdays` (1 is Monday). `zone` says by whose
    clock: the organization's, or that of each person whom the step tells."""

    from_time: WallTime
    until_time: WallTime
    weekdays: Annotated[list[Weekday], msgspec.Meta(min_length=1, max_length=7)] = msgspec.field(
        default_factory=lambda: [1, 2, 3, 4, 5, 6, 7]
    )
    zone: Clock = Clock.ORGANIZATION


class EscalationStep(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A rung: after how long whom to tell: contacts (a person's address, a Slack channel, a
    webhook), people by each of their verified contacts, and whoever is on call by a schedule when
    it is due. `delay_seconds` counts from the rung before.

    It is passed where it does not count: `weddings` says whether it does while one is under way,
    `severity_min` from which severity up, `hours` at which times."""

    delay_seconds: Seconds
    wedding_delay_seconds: Seconds | None = None
    """In a wedding window; a quarter of the delay if none. The first rung is told within 30
    seconds then and the second within 60 more, whatever stands here."""
    level: EscalationLevel = EscalationLevel.NONE
    contact_method_ids: Annotated[list[UUID], msgspec.Meta(max_length=100)] = []
    schedule_ids: Annotated[list[UUID], msgspec.Meta(max_length=20)] = []
    user_ids: Annotated[list[UUID], msgspec.Meta(max_length=100)] = []
    weddings: Weddings = Weddings.ANY
    severity_min: Severity | None = None
    hours: StepHours | None = None


class EscalationPolicyInput(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A ladder. `repeat_count` says how often it is climbed again when nobody answers."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=200, pattern=r"^[^\x00]*$")]
    steps: Annotated[list[EscalationStep], msgspec.Meta(min_length=1, max_length=50)]
    is_default: bool = False
    repeat_count: Annotated[int, msgspec.Meta(ge=0, le=20)] = 0


class EscalationPolicy(EscalationPolicyInput, kw_only=True, forbid_unknown_fields=False):
    """A ladder as it is kept."""

    id: UUID
    organization_id: UUID
    created_at: datetime
    updated_at: datetime


class Called(msgspec.Struct, kw_only=True):
    """Whom a step tells, and how. `via` is what leads to him: `contact`, `person`, `rota`, or
    where the step reaches nobody of its own `everybody`, and without any contact `owner`. Names
    are for members and above."""

    contact_method_id: UUID | None
    name: str | None
    channel: Channel
    via: str
    is_verified: bool


class CalledStep(msgspec.Struct, kw_only=True):
    """A step when it is due. `step` counts from 1; one beyond the ladder's is that which a wedding
    adds, and tells everybody. `passed` says why it tells nobody."""

    step: int
    level: EscalationLevel
    due_at: datetime
    is_wedding: bool
    passed: str | None
    receivers: list[Called]


class LadderPreview(msgspec.Struct, kw_only=True):
    """The first round of a climb, were nobody to answer. `policy_id` is null where there is no
    ladder: then everybody is told at once. `given_up_at` is when the ladder is climbed again as
    often as it says, and after that the platform's own people are called; null for nothing."""

    at: datetime
    policy_id: UUID | None
    steps: list[CalledStep]
    given_up_at: datetime | None


POLICIES: Final = Resource(
    path=PATH,
    one="escalation policy",
    noun=store.ESCALATION_POLICIES,
    input=EscalationPolicyInput,
    output=EscalationPolicy,
)


def preview_of(at: datetime, rows: Iterable[dict[str, Any]]) -> LadderPreview:
    """The answer of the rows that the store gives."""
    steps: list[CalledStep] = []
    policy_id: UUID | None = None
    given_up_at: datetime | None = None
    for step, group in groupby(rows, key=lambda row: row["step"]):
        first, *rest = group
        policy_id = first["policy_id"]
        if step is None:
            given_up_at = first["due"]
            continue
        steps.append(
            CalledStep(
                step=step + 1,
                level=EscalationLevel(first["level"]),
                due_at=first["due"],
                is_wedding=first["is_wedding"],
                passed=first["passed"],
                receivers=[
                    Called(
                        contact_method_id=row["contact_method_id"],
                        name=row["name"],
                        channel=Channel(row["channel"]),
                        via=row["via"],
                        is_verified=row["is_verified"],
                    )
                    for row in (first, *rest)
                    if row["channel"] is not None
                ],
            )
        )
    return LadderPreview(at=at, policy_id=policy_id, steps=steps, given_up_at=given_up_at)


def read_moment(at: str | None) -> datetime:
    """The instant that is asked for; now, where none is. Raises NotValid."""
    instant = read_time("at", at) or utcnow()
    if not 2000 <= instant.year < 2200:
        raise NotValid(errors=[FieldError("at", "is before 2000 or after 2199")])
    return instant


@get(PATH + "/preview", tags=["escalation-policies"])
async def preview_chosen_ladder(
    request: ApiRequest,
    organization_id: Organization = None,
    at: FromQuery[str | None] = None,
    severity: FromQuery[Severity] = Severity.CRITICAL,
) -> LadderPreview:
    """Who would be called and how, were something wrong at `at` (now): by the ladder that an
    incident of that severity would climb."""
    instant = read_moment(at)
    async with request.tenant() as cx:
        owner = await one_organization(cx, organization_id)
        rows = await store.preview_ladder(cx, owner, policy_id=None, severity=severity, at=instant)
    return preview_of(instant, rows)


@get(PATH + "/{id:uuid}/preview", tags=["escalation-policies"])
async def preview_ladder(
    request: ApiRequest,
    id: Id,
    at: FromQuery[str | None] = None,
    severity: FromQuery[Severity] = Severity.CRITICAL,
) -> LadderPreview:
    """The same by one ladder, whichever would be chosen."""
    instant = read_moment(at)
    async with request.tenant() as cx:
        ladder = await store.ESCALATION_POLICIES.find_row(cx, id)
        if ladder is None:
            raise NotFound("There is no such escalation policy.")
        rows = await store.preview_ladder(
            cx, ladder["organization_id"], policy_id=id, severity=severity, at=instant
        )
    return preview_of(instant, rows)


@get("/api/v1/incidents/{id:uuid}/escalation", tags=["incidents"])
async def preview_incident(request: ApiRequest, id: Id) -> LadderPreview:
    """Who will be called for an incident and how, from where its own climb is now; nobody, where
    somebody has it in hand."""
    instant = utcnow()
    async with request.tenant() as cx:
        await find_incident(cx, id)
        rows = await store.preview_incident(cx, id, instant)
    return preview_of(instant, rows)


HANDLERS: Final = (*routes(POLICIES), preview_chosen_ladder, preview_ladder, preview_incident)
