"""Weddings: phases on a bar, the next milestone, the agenda."""

from collections.abc import Iterable, Sequence
from datetime import date, datetime, time, timedelta
from uuid import UUID
from zoneinfo import ZoneInfo

from wedsync_apm.web import say
from wedsync_apm.web.views.wedding import (
    Milestone,
    Phase,
    WeddingCard,
)
from wedsync_apm.web.words import has
from wedsync_apm.web.words import say as words

Window = tuple[str, datetime, datetime]


def phase_name(phase: str) -> str:
    """The phase as people call it."""
    key = f"phase.{phase}"
    return str(words(key)) if has(key) else say.sentence(say.noun(phase))


def whole_day(on: date, zone: str) -> Window:
    """A wedding whose parts nobody has entered yet: the calendar day at the venue."""
    begins = datetime.combine(on, time(), ZoneInfo(zone))
    return "day", begins, datetime.combine(on + timedelta(days=1), time(), ZoneInfo(zone))


def build_card(
    *,
    wedding_id: UUID,
    couple: str,
    venue: str | None,
    zone: str,
    windows: Iterable[Window],
    now: datetime,
    when: str = "",
) -> WeddingCard:
    """A wedding's card; a window named `day` only stands where there are no phases."""
    known = sorted(windows, key=lambda window: window[1])
    phases = [window for window in known if window[0] != "day"] or known
    if not phases:
        return WeddingCard(wedding_id, couple, venue or "", zone, (), None, None, when)
    begins, ends = phases[0][1], max(end for _, _, end in phases)
    whole = (ends - begins).total_seconds() or 1.0

    def place(at: datetime) -> int:
        return round(1000 * min(1.0, max(0.0, (at - begins).total_seconds() / whole)))

    milestone = next(((name, start) for name, start, _ in phases if start > now), None)
    return WeddingCard(
        id=wedding_id,
        couple=couple,
        venue=venue or "",
        zone=zone,
        phases=tuple(
            Phase(
                name=phase_name(name),
                begins=start,
                ends=end,
                state="past" if end <= now else "now" if start <= now else "next",
                left=place(start),
                width=place(end) - place(start),
            )
            for name, start, end in phases
        ),
        milestone=Milestone(phase_name(milestone[0]), milestone[1]) if milestone else None,
        marker=place(now) if begins <= now <= ends else None,
        when=when,
    )


def nearest_first(cards: Sequence[WeddingCard], now: datetime) -> list[WeddingCard]:
    """The wedding nearest to its next milestone first, those that are over last."""
    return sorted(
        cards,
        key=lambda card: (
            card.milestone is None,
            card.milestone.at if card.milestone else now,
        ),
    )


def is_on_day(card: WeddingCard, now: datetime) -> bool:
    """Whether the wedding is today at its venue, or still under way."""
    if card.marker is not None:
        return True
    today = say.day(now, card.zone)
    return any(say.day(phase.begins, card.zone) == today for phase in card.phases[:1])


def when_words(card: WeddingCard, now: datetime) -> str:
    """The date with its distance: Sat 27 June, in 7 days."""
    if not card.phases:
        return ""
    at = card.phases[0].begins
    if is_on_day(card, now):
        nearest = card.milestone
        return f"{nearest.name} {say.ahead(nearest.at, now, card.zone)}" if nearest else ""
    date = say.day(at, card.zone)
    return f"{date}, in {say.length(at - now)}" if at > now else date
