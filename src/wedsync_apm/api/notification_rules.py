"""Which messages go where: the tree of notification rules, and why an incident takes its way."""

from datetime import datetime
from typing import Annotated, Any, Final, Literal
from uuid import UUID

import msgspec
from litestar import get
from litestar.params import FromQuery

from wedsync_apm.api.crud import Resource, routes
from wedsync_apm.api.requests import ApiRequest, shape
from wedsync_apm.api.silences import Matcher
from wedsync_apm.notify.routes.store import NOTIFICATION_RULES, explain_route
from wedsync_apm.types import Channel, Severity

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
Label = Annotated[
    str,
    msgspec.Meta(pattern=r"^(\.\.\.|wedding|service|metric|rule|severity|tag\..{1,128})$"),
]


class QuietHours(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """When delivery waits; evaluation never does."""

    start: Annotated[str, msgspec.Meta(pattern="^([01][0-9]|2[0-3]):[0-5][0-9]$")]
    end: Annotated[str, msgspec.Meta(pattern="^([01][0-9]|2[0-3]):[0-5][0-9]$")]
    time_zone: Annotated[str, msgspec.Meta(min_length=1, max_length=100)]


class Recipient(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """One of: a contact; a person, by the contact that he likes best among the rule's `channels`;
    whoever is on call by a schedule when the message is written."""

    contact_method_id: UUID | None = None
    user_id: UUID | None = None
    schedule_id: UUID | None = None


class NotificationRuleInput(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A rule of the tree. An incident goes down it as in Alertmanager: siblings are asked in the
    order of their `position`, the first that fits takes it, or the rules below it do; those after
    it are asked only if it `continues`. A rule without a ladder or recipients has its parent's.

    The ladder calls until somebody answers. The `recipients` are told in groups: after
    `group_wait_seconds`, then of news every `group_interval_seconds`, and again of what goes on
    after `repeat_interval_seconds`. What is critical at a wedding, or an emergency, does not wait.
    """

    name: Name
    parent_id: UUID | None = None
    position: Annotated[int, msgspec.Meta(ge=0, le=100_000)] = 100
    continues: bool = False
    severity_min: Severity = Severity.WARNING
    matchers: Annotated[list[Matcher], msgspec.Meta(max_length=20)] = []
    wedding: Literal["any", "during", "outside"] = "any"
    """Whether it is for the time of weddings, for the time between them, or for both."""
    escalation_policy_id: UUID | None = None
    recipients: Annotated[list[Recipient], msgspec.Meta(max_length=100)] = []
    channels: Annotated[list[Channel], msgspec.Meta(min_length=1)] = msgspec.field(
        default_factory=lambda: [Channel.EMAIL]
    )
    wedding_day_override: bool = True
    """In a wedding window a person is reached on any channel, not only on these."""
    group_by: Annotated[list[Label], msgspec.Meta(max_length=20)] = msgspec.field(
        default_factory=lambda: ["wedding", "service"]
    )
    """`...` keeps each incident by itself; an empty list puts all into one group."""
    group_wait_seconds: Annotated[float, msgspec.Meta(ge=0, le=86_400)] = 30.0
    group_interval_seconds: Annotated[float, msgspec.Meta(ge=1, le=86_400)] = 300.0
    repeat_interval_seconds: Annotated[float, msgspec.Meta(ge=1, le=2_592_000)] = 14_400.0
    quiet_hours: QuietHours | None = None
    is_active: bool = True


class NotificationRule(NotificationRuleInput, kw_only=True, forbid_unknown_fields=False):
    """A notification rule as it is kept."""

    id: UUID
    organization_id: UUID
    created_at: datetime
    updated_at: datetime


class RouteStep(msgspec.Struct, kw_only=True):
    """One rule on an incident's way. `verdict` says why it takes it or does not; `next_at` is when
    its group is told next, `told_at` when it was told last."""

    rule_id: UUID
    parent_id: UUID | None
    name: str
    level: int
    is_taken: bool
    verdict: str
    escalation_policy_id: UUID | None
    recipients: list[Recipient]
    group_id: UUID | None
    group_labels: dict[str, Any] | None
    next_at: datetime | None
    told_at: datetime | None


class Route(msgspec.Struct, kw_only=True):
    """The way of an incident through the rules, in the order in which they are asked."""

    incident_id: UUID
    steps: list[RouteStep]


RULES: Final = Resource(
    path="/api/v1/notification-rules",
    one="notification rule",
    noun=NOTIFICATION_RULES,
    input=NotificationRuleInput,
    output=NotificationRule,
)


@get("/api/v1/notification-rules/explain", tags=["notification-rules"])
async def explain_notification_rules(request: ApiRequest, incident_id: FromQuery[UUID]) -> Route:
    """Say which rules take an incident, and why the others do not."""
    async with request.tenant() as cx:
        rows = await explain_route(cx, incident_id)
    return Route(incident_id=incident_id, steps=[shape(RouteStep, row) for row in rows])


HANDLERS: Final = (explain_notification_rules, *routes(RULES))
