"""Made-up views of the first steps and of the operators' list."""

from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID

from wedsync_apm.organizations.monitoring.model import (
    Business,
    Counts,
    FirstSteps,
    Listing,
    Monitoring,
    Outcome,
    Step,
    StepName,
    StepState,
    Wanted,
)
from wedsync_apm.types import Role
from wedsync_apm.web.build.started import (
    build_card,
    build_started,
    build_tenants,
    results_of,
)
from wedsync_apm.web.views.started import StartedCard, TenantsView

ZONE = "Europe/London"
NOW = datetime(2026, 6, 20, 12, 13, 4, tzinfo=UTC)
CONTACT = str(UUID(int=7))


def step(name: StepName, state: StepState, code: str, **detail: Any) -> Step:
    """One step as the database has it."""
    return Step(name, state, code, detail)


CALENDAR = step(StepName.CALENDAR, StepState.DONE, "there", coming=12, next_on="2026-06-27")
PHONE = step(StepName.PHONE, StepState.DONE, "there", verified_at="2026-06-19T10:00:00+00:00")
NO_RULES = step(StepName.RULES, StepState.TODO, "no_rules", rules=0, boards=1)
RULES = step(StepName.RULES, StepState.DONE, "there", rules=6, boards=2)
ARRIVED = step(StepName.TEST, StepState.DONE, "delivered", channel="sms", seconds=4.2)
IN_THE_INBOX = step(StepName.TEST, StepState.UNKNOWN, "inbox", channel="email")
NO_PHONE = step(StepName.INSTALL, StepState.TODO, "none", contact_id=None, verified_at=None)
LEFT_OUT = step(
    StepName.INSTALL, StepState.SKIPPED, "none", skip_reason="We share one old tablet in the van."
)
BEGUN = FirstSteps((CALENDAR, PHONE, NO_RULES, IN_THE_INBOX, NO_PHONE), is_watched=True)
OVER = FirstSteps((CALENDAR, PHONE, RULES, ARRIVED, LEFT_OUT), is_watched=True)
NEW = FirstSteps(
    (
        step(StepName.CALENDAR, StepState.TODO, "none", coming=0),
        step(StepName.PHONE, StepState.TODO, "unverified", contact_id=CONTACT),
        step(StepName.RULES, StepState.TODO, "none", rules=0, boards=0),
        step(StepName.TEST, StepState.TODO, "none"),
        NO_PHONE,
    ),
    is_watched=False,
)


def card() -> StartedCard | None:
    """On a new organization's Today."""
    return build_card(NEW, Role.OWNER)


def businesses() -> list[Business]:
    """Late ones first, with a name that is long."""
    left = (StepName.PHONE, StepName.RULES, StepName.TEST)
    rows = (
        ("Fern & Field Flowers", "off", "Devon florists", 2, left, date(2026, 6, 27), True, 0),
        ("The Old Rectory Barn and Walled Garden", "beta", "", 1, left, date(2026, 7, 2), True, 0),
        ("Oakhill", "on", "", 4, (StepName.INSTALL,), None, False, 3),
    )
    return [
        Business(
            UUID(int=n), name, "florist", Monitoring(state), group,
            "The beta begins" if group else None, None, None, done, done == 4, steps, on, near,
            rank,
        )
        for n, (name, state, group, done, steps, on, near, rank) in enumerate(rows, 1)
    ]  # fmt: skip


LISTING = Listing(Counts(10_482, 8_120, 310, 42, 2), businesses())


def tenants(*, switched: bool = False) -> TenantsView:
    """The operators' list, once after a switch."""
    came = {UUID(int=1): Outcome.INCIDENT, UUID(int=3): Outcome.SWITCHED} if switched else {}
    names = {one.organization_id: one.name for one in LISTING.businesses}
    return build_tenants(
        LISTING,
        Wanted(),
        NOW,
        ZONE,
        near_days=14,
        may_switch=not switched,
        more="/platform/tenants?after=x",
        results=results_of(came, names),
    )


VIEWS: dict[str, tuple[str, str, Callable[[], object]]] = {
    "started": ("started.html", "started", lambda: build_started(BEGUN, Role.OWNER, ZONE)),
    "started-member": ("started.html", "started", lambda: build_started(NEW, Role.MEMBER, ZONE)),
    "started-over": ("started.html", "started", lambda: build_started(OVER, Role.OWNER, ZONE)),
}
FOR_OPERATORS: dict[str, tuple[str, str, Callable[[], object]]] = {
    "tenants": ("tenants.html", "tenants", tenants),
    "tenants-switched": ("tenants.html", "tenants", lambda: tenants(switched=True)),
}
