"""How an instance has stood lately, for samples that come late.

A sample that is late is judged from the verdict of its own time on. So the verdicts of the last
three minutes are kept, each with when it began; they stand in the rows, too, where a new engine
finds them.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from wedsync_apm.clock import to_datetime, to_ms
from wedsync_apm.rules.aggregate import Gap
from wedsync_apm.rules.verdict import Standing, State

LATENESS_MS: Final = 180_000
"""So late may a sample come and still count for its own time."""

Course = list[tuple[int, Standing | None]]
"""Verdicts, the oldest first, each with the millisecond since which it stands; None: not seen yet.
"""

_TIMES: Final = ("changed_at", "pending_since", "firing_since", "keeping_since", "alarmed_at")


def is_other_course(before: Standing | None, after: Standing) -> bool:
    """Whether the next verdict may depend on which of the two it is."""
    return before is None or _essence(before) != _essence(after)


def _essence(standing: Standing) -> tuple[object, ...]:
    return (standing.state, standing.flips, *(getattr(standing, name) for name in _TIMES))


def stands_since(standing: Standing) -> int:
    """The last millisecond that a verdict's course tells of."""
    times = (*(getattr(standing, name) for name in _TIMES), *standing.flips)
    return max(to_ms(one) for one in times if one is not None)


def implied_by(last: Standing | None) -> Course:
    """How an instance stood whose verdict nobody has seen change: it was not seen before."""
    return [(0, None)] if last is None else [(0, None), (stands_since(last), last)]


def remember(course: Course, at_ms: int, standing: Standing) -> None:
    """From here on it stands so; what nobody will ask for any more is forgotten."""
    course.append((at_ms, standing))
    while len(course) > 1 and course[1][0] <= at_ms - LATENESS_MS:
        del course[0]


def to_items(course: Sequence[tuple[int, Standing | None]], at_ms: int) -> list[dict[str, Any]]:
    """A course as its row keeps it; empty where the last verdict by itself says as much."""
    if len(course) == 1 and course[0][0] <= at_ms - LATENESS_MS:
        return []
    return [{"since": since, **_to_item(standing)} for since, standing in course]


def _to_item(standing: Standing | None) -> dict[str, Any]:
    if standing is None:
        return {}
    times = {name: getattr(standing, name) for name in _TIMES}
    return {
        "state": standing.state.value,
        **{name: to_ms(at) for name, at in times.items() if at is not None},
        "flips": [to_ms(at) for at in standing.flips],
    }


def from_items(items: Sequence[dict[str, Any]], last: Standing) -> Course:
    """The other way round. What was measured then is not kept, and not needed: the instant of a
    late sample is measured anew."""
    return [(item["since"], _from_item(item, last)) for item in items]


def _from_item(item: dict[str, Any], last: Standing) -> Standing | None:
    if "state" not in item:
        return None
    times: dict[str, Any] = {
        name: to_datetime(item[name]) if name in item else None for name in _TIMES
    }
    return replace(
        last,
        state=State(item["state"]),
        value=None,
        sample_count=0,
        gap=Gap.ABSENT,
        evaluated_at=to_datetime(item["since"]),
        flips=tuple(to_datetime(at) for at in item["flips"]),
        **times,
    )


def drawn_back(standing: Standing, at: datetime) -> Standing:
    """A verdict from a time that is still to come, because the clock was set back: as if it had
    been found just now. Where it stands is kept, so that nobody is told anything again."""
    known = {name: getattr(standing, name) for name in (*_TIMES, "evaluated_at")}
    times: dict[str, Any] = {
        name: None if one is None else min(one, at) for name, one in known.items()
    }
    return replace(standing, flips=tuple(min(one, at) for one in standing.flips), **times)
