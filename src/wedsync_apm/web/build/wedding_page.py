"""One wedding's page."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from wedsync_apm.rules.limits import WEDDING_FACTOR, WeddingWindow, resolve_limit
from wedsync_apm.rules.model import AlertRule
from wedsync_apm.web import say
from wedsync_apm.web.build import Row
from wedsync_apm.web.build.bars import PHASES, build_bar, is_elsewhere, milestone_of, town
from wedsync_apm.web.build.calendar import Shown, couple_of
from wedsync_apm.web.views.shell import Status
from wedsync_apm.web.views.wedding_page import (
    Person,
    ReadinessCard,
    Tightening,
    Twin,
    WeddingView,
)
from wedsync_apm.web.words import say as words
from wedsync_apm.weddings.twins import find_twins

EVENING: Final = "evening_before"
DAY: Final = "day"
_EVER: Final = timedelta(days=1)


def build_wedding(
    *,
    shown: Shown,
    phases: Sequence[Row],
    same_day: Sequence[Row],
    tightenings: Sequence[Tightening],
    readiness: ReadinessCard | None,
    now: datetime,
    here: str,
    is_viewer: bool,
    may_edit: bool,
    refusal: str,
) -> WeddingView:
    """The page as the reader may see it. `same_day`: the day's weddings, this one among them."""
    row, zone = shown.row, shown.zone
    is_cancelled = row["status"] == "cancelled"
    on = row["wedding_date"]
    at = milestone_of(shown.windows) or datetime(
        on.year, on.month, on.day, 12, tzinfo=ZoneInfo(zone)
    )
    moments = {p["phase"]: (p["starts_at"], p["ends_at"]) for p in phases}
    last = max((ends for name, (_, ends) in moments.items() if name in (*PHASES, DAY)), default=at)
    # The calendar gives another zone where it cannot read this one.
    is_known = not phases or phases[0]["time_zone"] == (row["time_zone"] or here)
    return WeddingView(
        id=row["id"],
        couple=couple_of(row),
        on=on,
        when=f"{on:%A} {on.day} {on:%B %Y}",
        venue=row["venue_name"] or "",
        zone_note=_zone_note(zone, here, at) if is_known else words("wedding.zone_unknown"),
        statuses=_statuses(row),
        source=words(f"wedding.source.{row['source']}"),
        bar=None
        if is_cancelled
        else build_bar(
            shown.windows, on=on, zone=zone, here=here, now=now, is_assumed=shown.is_assumed
        ),
        contacts=tuple(
            Person(str(c.get("name") or ""), str(c.get("role") or ""), str(c.get("phone") or ""))
            for c in row["contacts"] or ()
        ),
        contacts_note=_contacts_note(row, is_viewer=is_viewer),
        shared=_shared(row),
        is_shared=bool(row.get("is_shared")),
        tightens_from=_moment(moments, EVENING, zone),
        tightens_day=_moment(moments, DAY, zone),
        tightens_until=say.venue_clock(last, at, zone),
        tightenings=tuple(tightenings) if moments else (),
        twin=_twin(row, same_day),
        readiness=None if is_cancelled else readiness,
        may_edit=may_edit,
        is_client=row["is_host_row"],
        is_cancelled=is_cancelled,
        refusal=refusal,
        month_href=f"/weddings?month={on:%Y-%m}&day={on}#day",
        moved_to=on.isoformat(),
    )


def _moment(moments: dict[str, tuple[datetime, datetime]], phase: str, zone: str) -> str:
    if phase not in moments:
        return ""
    at = moments[phase][0].astimezone(ZoneInfo(zone))
    return f"{at:%a %H:%M}"


def _zone_note(zone: str, here: str, at: datetime) -> str:
    if is_elsewhere(at, zone, here):
        return words("wedding.zone_here", town=town(zone), here=town(here))
    return words("wedding.zone", town=town(zone))


def _statuses(row: Row) -> tuple[Status, ...]:
    found = []
    if row["status"] == "cancelled":
        found.append(Status("none", words("wedding.cancelled"), "leave"))
    elif row["status"] == "completed":
        found.append(Status("ok", words("wedding.completed")))
    if row["moved_from"]:
        was = row["moved_from"]
        day = f"{was:%a} {was.day} {was:%B}"
        found.append(Status("info", words("wedding.moved_from", day=day), "clock"))
    return tuple(found)


def _contacts_note(row: Row, *, is_viewer: bool) -> str:
    if row["contacts"]:
        return ""
    if is_viewer:
        return words("wedding.contacts_hidden")
    if row["is_host_row"]:
        return words("wedding.contacts_client")
    # A row without people may have none; whose names are for admins alone it does not say.
    is_hidden = row["couple_names"] is None and bool(row["couple_initials"])
    return words("wedding.contacts_admin" if is_hidden else "wedding.contacts_none")


def _shared(row: Row) -> str:
    others = row.get("other_vendors")
    if not row.get("is_shared") or not others:
        return ""
    agreed = "wedding.agreed" if row["is_date_agreed"] else "wedding.not_agreed"
    return f"{words('wedding.shared', n=others)} {words(agreed)}"


def _twin(row: Row, same_day: Sequence[Row]) -> Twin | None:
    by_id = {one["id"]: one for one in same_day}
    for pair in find_twins(same_day):
        if row["id"] in (pair.wedding_id, pair.client_id):
            other = by_id[pair.client_id]
            return Twin(
                pair.client_id,
                couple_of(other),
                pair.is_sure,
                "" if row["id"] == pair.wedding_id else f"/weddings/{pair.wedding_id}",
            )
    return None


def build_tightening(
    rule: AlertRule, unit: str | None, *, factor: float = WEDDING_FACTOR
) -> Tightening:
    """What the rule's limit is when, by the resolution that the engine uses."""

    def limit(phase: str | None) -> str:
        at = datetime.fromtimestamp(0, ZoneInfo("UTC"))
        window = WeddingWindow(phase, None, at, at + _EVER, 1) if phase else None
        return say.figure(resolve_limit(rule, window, factor=factor, unit=unit).value, unit)

    return Tightening(rule.id, rule.alert_name, limit(None), limit(EVENING), limit("ceremony"))


def with_fault(view: WeddingView, name: str, fault: str, *, typed: str = "") -> WeddingView:
    """The same page with a fault beside the field, and what was typed."""
    errors = {**view.errors, name: fault}
    if name == "date":
        return replace(view, errors=errors, moved_to=typed)
    return replace(view, errors=errors, typed_code=typed)
