"""The coming weeks of a rota with the weddings drawn in. Pure."""

from collections.abc import Sequence
from typing import Final

from wedsync_apm.escalation.schedules.model import Span, intersect
from wedsync_apm.web.build.on_call import (
    Feast,
    Reader,
    Turn,
    build_bars,
    gaps_of,
    join_turns,
    name_of,
)
from wedsync_apm.web.build.weeks import WEEK, Week, week_href, week_words
from wedsync_apm.web.views.ladder import CalendarWeek, Feasted
from wedsync_apm.web.words import say as words

WEEKS: Final = 5


def weeks_from(first: Week) -> tuple[Week, ...]:
    """The week and those after it."""
    return tuple(Week(first.monday + n * WEEK, first.zone) for n in range(WEEKS))


def build_week(
    turns: Sequence[Turn], feasts: Sequence[Feast], week: Week, reader: Reader
) -> CalendarWeek:
    """A week: its bars, who is on call in each of its weddings, and its gaps from now on."""
    turns = join_turns(turns)
    inside = [one for one in feasts if one.starts_at < week.ends and one.ends_at > week.begins]
    return CalendarWeek(
        title=week_words(week),
        href=week_href(week, 0),
        bars=build_bars(turns, inside, week, reader),
        feasts=tuple(_feasted(one, turns, week, reader) for one in inside),
        gaps=tuple(
            _gap_words(gap, inside, week) for gap in gaps_of(turns, week) if gap[1] > reader.at
        ),
    )


def _feasted(feast: Feast, turns: Sequence[Turn], week: Week, reader: Reader) -> Feasted:
    span = (feast.starts_at, feast.ends_at)
    names = dict.fromkeys(
        name_of(one, reader) for one in turns if intersect(span, [(one.starts_at, one.ends_at)])
    )
    return Feasted(
        couple=feast.couple,
        span=words("oncall.span", start=week.clock(span[0]), end=week.clock(span[1])),
        during=words("coming.during", names=", ".join(names))
        if names
        else words("coming.during_nobody"),
    )


def _gap_words(gap: Span, feasts: Sequence[Feast], week: Week) -> str:
    couples = [one.couple for one in feasts if intersect(gap, [(one.starts_at, one.ends_at)])]
    start, end = week.clock(gap[0]), week.clock(gap[1])
    if couples:
        return words("oncall.gap_wedding", start=start, end=end, couple=", ".join(couples))
    return words("oncall.gap", start=start, end=end)
