"""The emergency card of a wedding. Pure."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from wedsync_apm.incidents.model import Incident, read_vendor_text
from wedsync_apm.notify.telephone.numbers import is_number
from wedsync_apm.rules.model import AlertRule
from wedsync_apm.web import say
from wedsync_apm.web.build import Row
from wedsync_apm.web.build.bars import build_bar, is_elsewhere, milestone_of, town
from wedsync_apm.web.build.calendar import Shown, couple_of
from wedsync_apm.web.build.weddings import whole_day
from wedsync_apm.web.views.emergency import EmergencyCard, Whom, Workaround
from wedsync_apm.web.words import say as words

BEFORE: Final = timedelta(hours=48)
"""So long before its first part a wedding's card is kept by its people's devices."""
MOST_WORKAROUNDS: Final = 3
MOST_STEPS: Final = 4
MOST_PROBLEMS: Final = 3


def span_of(shown: Shown) -> tuple[datetime, datetime]:
    """From its first part to the end of its last one."""
    windows = shown.windows or [whole_day(shown.row["wedding_date"], shown.zone)]
    return min(begins for _, begins, _ in windows), max(ends for _, _, ends in windows)


def kept_until(shown: Shown, now: datetime) -> datetime | None:
    """Until when a device keeps the card; None where it does not: cancelled, over, or far away."""
    if shown.row["status"] == "cancelled":
        return None
    begins, ends = span_of(shown)
    return ends if begins - BEFORE <= now < ends else None


def build_emergency(
    *,
    shown: Shown,
    help_line: str | None,
    own: Sequence[Row],
    rules: Iterable[AlertRule],
    live: Sequence[Incident],
    now: datetime,
    here: str,
    is_viewer: bool,
    address: str,
) -> EmergencyCard:
    """The card as the reader may see it. `own`: the contacts that the business chose for it."""
    row, zone = shown.row, shown.zone
    on = row["wedding_date"]
    at = milestone_of(shown.windows) or span_of(shown)[0]
    bar = build_bar(
        shown.windows, on=on, zone=zone, here=here, now=now, is_assumed=shown.is_assumed
    )
    note = "wedding.zone_here" if is_elsewhere(at, zone, here) else "wedding.zone"
    made = now.astimezone(ZoneInfo(here))
    whom = () if is_viewer else tuple(_whom(help_line, row, own))
    return EmergencyCard(
        id=row["id"],
        couple=couple_of(row),
        when=f"{on:%A} {on.day} {on:%B %Y}",
        venue=row["venue_name"] or "",
        zone_note=words(note, town=town(zone), here=town(here)),
        parts=bar.parts if bar else (),
        is_assumed=shown.is_assumed,
        whom=whom,
        whom_note=words("card.viewer") if is_viewer else "" if whom else words("card.nobody"),
        problems=tuple(
            words(
                "card.problem",
                title=one.vendor_text.headline(one.title),
                since=say.when(one.detected_at, now, here),
                number=one.number,
            )
            for one in live[:MOST_PROBLEMS]
        ),
        workarounds=_workarounds(rules),
        made=words(
            "card.made", time=f"{made:%a} {made.day} {made:%B} {made:%H:%M}", town=town(here)
        ),
        address=address,
        is_kept=kept_until(shown, now) is not None,
    )


def _whom(help_line: str | None, row: Row, own: Sequence[Row]) -> Iterable[Whom]:
    """In the order in which to ring: the help line, the wedding's people, then the business's."""
    if help_line:
        yield Whom(words("today.help_line"), words("today.help_line_note"), help_line)
    for one in row["contacts"] or ():
        name, role, phone = (str(one.get(key) or "") for key in ("name", "role", "phone"))
        if name or phone:
            yield Whom(name or role, role if name else "", phone)
    for one in own:
        if one["disabled_at"] is None and one["channel"] in ("sms", "voice"):
            # For whoever may not know it, it comes masked, and a masked number rings nowhere.
            known = one["address"] if is_number(one["address"]) else ""
            yield Whom(one["name"], words("card.yours"), known)


def _workarounds(rules: Iterable[AlertRule]) -> tuple[Workaround, ...]:
    """What to do meanwhile, of what would wake somebody: the gravest on a wedding day first."""
    found: dict[str, Workaround] = {}
    ranked = sorted(
        (rule for rule in rules if rule.is_active),
        key=lambda rule: (-(rule.wedding_day_severity or rule.severity).rank, rule.alert_name),
    )
    for rule in ranked:
        text = read_vendor_text(rule.vendor_text)
        if text.what_to_do:
            problem = text.headline(rule.alert_name)
            found.setdefault(problem, Workaround(problem, text.what_to_do[:MOST_STEPS]))
    return tuple(found.values())[:MOST_WORKAROUNDS]
