"""The first steps in words, and the operators' list."""

from collections.abc import Mapping
from datetime import date, datetime, timedelta
from typing import Any, Final
from urllib.parse import urlencode
from uuid import UUID

from wedsync_apm.organizations.monitoring.model import (
    PERSONAL,
    Business,
    FirstSteps,
    Listing,
    Monitoring,
    Outcome,
    Place,
    Step,
    StepName,
    StepState,
    Wanted,
)
from wedsync_apm.types import Role
from wedsync_apm.web import say
from wedsync_apm.web.views.shell import Kind, Status
from wedsync_apm.web.views.started import (
    BusinessRow,
    Filter,
    StartedCard,
    StartedView,
    StepView,
    TenantsView,
)
from wedsync_apm.web.words import has
from wedsync_apm.web.words import say as words

_STATUS: Final[Mapping[StepState, Status]] = {
    StepState.DONE: Status("ok", words("started.state.done")),
    StepState.TODO: Status("info", words("started.state.todo"), "next"),
    StepState.UNKNOWN: Status("none", words("started.state.unknown")),
    StepState.SKIPPED: Status("none", words("started.skipped"), "next"),
}
_MANAGERS: Final = (Role.OWNER, Role.ADMIN)


def build_started(found: FirstSteps, role: Role, zone: str) -> StartedView:
    """The whole page. The first step that is left and that this person can do comes first."""
    able = [s for s in found.steps if s.name in PERSONAL or role in _MANAGERS]
    following = next((s.name for s in able if s.state is StepState.TODO), None)
    headline = words("started.progress", n=found.done)
    if found.done == len(found.steps):
        headline = words("started.all_done")
    elif found.is_over:
        headline = words("started.over")
    steps = [
        build_step(step, number, following, zone, is_able=step in able)
        for number, step in enumerate(found.steps, 1)
    ]
    return StartedView(
        headline=headline,
        body=words("started.over_body" if found.is_over else "started.sub"),
        steps=tuple(sorted(steps, key=_place)),
        is_over=found.is_over,
    )


def _place(step: StepView) -> tuple[bool, bool, int]:
    """What is left stands before what is done: the thumb finds the next one without a search."""
    return (not step.is_next, step.is_done or step.is_skipped, step.number)


def build_step(
    step: Step, number: int, following: StepName | None, zone: str, *, is_able: bool
) -> StepView:
    """One step."""
    is_done = step.state is StepState.DONE
    is_skipped = step.state is StepState.SKIPPED
    href, action = _way(step)
    return StepView(
        name=step.name,
        number=number,
        status=_STATUS[step.state],
        title=words(f"started.{step.name}.title"),
        why=words(f"started.{step.name}.why"),
        result=_skipped(step) if is_skipped else result_of(step, zone),
        help=words(f"started.{step.name}.help"),
        action=action,
        href=href if is_able and not is_done else "",
        refusal="" if is_able or is_done else words("started.only"),
        is_next=step.name is following,
        is_done=is_done,
        is_skipped=is_skipped,
        may_skip=is_able and not is_done,
    )


def build_card(found: FirstSteps, role: Role) -> StartedCard | None:
    """The card on Today until all is done or it is put away; None for whoever can do nothing."""
    if role is Role.VIEWER or found.is_card_put_away:
        return None
    left = [
        step
        for step in found.steps
        if step.state is StepState.TODO and (step.name in PERSONAL or role in _MANAGERS)
    ]
    if not left:
        return None
    return StartedCard(
        words("started.card", n=found.done),
        words("started.card_next", title=words(f"started.{left[0].name}.title")),
    )


def result_of(step: Step, zone: str) -> str:
    """What was measured, as a sentence."""
    detail, key = step.detail, f"started.{step.name}.{step.code}"
    match step.name:
        case StepName.CALENDAR:
            on = detail.get("next_on") or detail.get("last_on")
            day = _date(on) if on else ""
            if step.code == "there":
                return words("started.calendar.there", n=detail["coming"], day=day)
            return words(key, day=day)
        case StepName.RULES if step.code == "there":
            return words(
                key,
                rules=words("started.rules.rules", n=detail["rules"]),
                boards=words("started.rules.boards", n=detail["boards"]),
            )
        case StepName.TEST:
            return _test_words(step)
        case _:
            proven = detail.get("verified_at")
            day = say.day(datetime.fromisoformat(proven), zone) if proven else ""
            return words(key, day=day)


def _test_words(step: Step) -> str:
    detail, code = step.detail, step.code
    channel = f"started.channel.{detail.get('channel')}"
    noun = words(channel if has(channel) else "started.channel.other")
    if code == "delivered":
        seconds = detail.get("seconds")
        if seconds is None:
            return words("started.test.delivered_untimed", channel=noun)
        length = say.length(timedelta(seconds=float(seconds)))
        return words("started.test.delivered", channel=noun, length=length)
    if code == "failed" and not detail.get("reason"):
        return words("started.test.failed_plain", channel=noun)
    return words(f"started.test.{code}", channel=noun, reason=detail.get("reason") or "")


def _skipped(step: Step) -> str:
    reason = str(step.detail.get("skip_reason") or "").strip()
    return words("started.skipped_why", reason=reason) if reason else ""


def _way(step: Step) -> tuple[str, str]:
    """The page where it is done, and the button that leads there."""
    contact = step.detail.get("contact_id")
    ways = {
        StepName.CALENDAR: ("/weddings/import", "calendar.action"),
        StepName.PHONE: (f"/contacts/{contact}", "phone.action_unverified")
        if contact
        else ("/contacts/new?channel=sms", "phone.action"),
        StepName.RULES: ("/dashboards", "rules.action_boards")
        if step.code == "no_board"
        else ("/rules", "rules.action_rules"),
        StepName.TEST: (f"/contacts/{contact}" if contact else "/contacts", "test.action"),
        StepName.INSTALL: ("/phone", "install.action"),
    }
    href, key = ways[step.name]
    return href, words(f"started.{key}")


def _date(text: object) -> str:
    day = text if isinstance(text, date) else date.fromisoformat(str(text))
    return f"{day:%a} {day.day} {day:%B} {day.year}"


_STATE_KINDS: Final[Mapping[Monitoring, Kind]] = {
    Monitoring.OFF: "none", Monitoring.BETA: "info", Monitoring.ON: "ok",
}  # fmt: skip


def build_tenants(
    listing: Listing,
    wanted: Wanted,
    now: datetime,
    zone: str,
    *,
    near_days: int,
    may_switch: bool,
    more: str,
    **shown: Any,
) -> TenantsView:
    """The operators' list."""
    counts = listing.counts
    near = counts.near_not_set_up
    verdict = (
        Status("warn", words("tenants.near", n=near, days=near_days))
        if near
        else Status("ok", words("tenants.near_none", days=near_days))
    )
    return TenantsView(
        verdict=verdict,
        counts=words(
            "tenants.counts",
            all=f"{counts.all:,}",
            set_up=f"{counts.set_up:,}",
            off=f"{counts.off:,}",
            beta=f"{counts.beta:,}",
        ),
        filters=_filters(wanted),
        name=wanted.name,
        rows=tuple(_row(one, now, zone) for one in listing.businesses),
        more=more,
        may_switch=may_switch,
        **shown,
    )


def _filters(wanted: Wanted) -> tuple[Filter, ...]:
    is_open = wanted.is_set_up is False
    chosen = [
        ("tenants.all", {}, wanted.state is None and not is_open and not wanted.is_near),
        ("tenants.open", {"set_up": "no"}, is_open and not wanted.is_near),
        ("tenants.soon", {"near": "yes"}, wanted.is_near),
        *((f"tenants.state.{s}", {"state": s.value}, wanted.state is s) for s in Monitoring),
    ]
    return tuple(
        Filter(words(key), f"/platform/tenants?{urlencode(query)}".rstrip("?"), is_current)
        for key, query, is_current in chosen
    )


def _row(one: Business, now: datetime, zone: str) -> BusinessRow:
    steps = ", ".join(words(f"tenants.step.{step}") for step in one.open_steps)
    changed = ""
    if one.changed_at is not None:
        changed = words(
            "tenants.changed",
            name=one.changed_by_name or "",
            time=say.when(one.changed_at, now, zone),
            reason=one.reason or "",
        )
    return BusinessRow(
        id=one.organization_id,
        name=one.name,
        status=Status(_STATE_KINDS[one.state], words(f"tenants.state.{one.state}")),
        group=one.group_name,
        done=words("tenants.done", n=one.done),
        left=words("tenants.left", steps=steps) if steps else "",
        wedding=words("tenants.next", day=_date(one.next_on))
        if one.next_on
        else words("tenants.no_wedding"),
        changed=changed,
        is_late=one.is_near and not one.is_set_up,
    )


def results_of(came: Mapping[UUID, Outcome], names: Mapping[UUID, str]) -> tuple[str, ...]:
    """What came of a switch, in sentences."""
    if not came:
        return ()
    said = [words("tenants.result", done=sum(o is Outcome.SWITCHED for o in came.values()))]
    for outcome in (Outcome.INCIDENT, Outcome.WEDDING, Outcome.PLATFORM, Outcome.UNKNOWN):
        refused = [names.get(one, str(one)) for one, what in came.items() if what is outcome]
        if refused:
            said.append(words(f"tenants.result.{outcome}", names=", ".join(refused)))
    return tuple(said)


def after_of(query: Mapping[str, str]) -> Place | None:
    """Where the page asked for begins; None for the first, or for what is no place."""
    try:
        rank, day, row = query["after"].split(" ")
        return Place(int(rank), date.fromisoformat(day), UUID(row))
    except (KeyError, ValueError):
        return None


def wanted_of(query: Mapping[str, str]) -> Wanted:
    """The filter of an address; what it does not know is left out."""
    state = query.get("state", "")
    return Wanted(
        state=Monitoring(state) if state in set(Monitoring) else None,
        is_set_up=False if query.get("set_up") == "no" else None,
        group_name=query.get("group") or None,
        is_near=query.get("near") == "yes",
        name=query.get("name", "")[:100],
    )


def more_of(listing: Listing, query: Mapping[str, str]) -> str:
    """The address of the next page; empty after the last."""
    place = listing.following
    if place is None:
        return ""
    after = f"{place.rank} {place.next_on.isoformat()} {place.organization_id}"
    names = ("state", "set_up", "near", "group", "name")
    kept = {name: query[name] for name in names if query.get(name)}
    return f"/platform/tenants?{urlencode({**kept, 'after': after})}"
