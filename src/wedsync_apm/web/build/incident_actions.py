"""What a person may do with an incident, and how fast people were."""

from collections.abc import Iterable
from datetime import timedelta
from typing import Final

from wedsync_apm.incidents.model import Action as Change
from wedsync_apm.incidents.model import Incident, offers
from wedsync_apm.incidents.reviews.model import Figures, Times
from wedsync_apm.types import IncidentStatus
from wedsync_apm.web import say
from wedsync_apm.web.views.incident import Action, FigureRow
from wedsync_apm.web.words import say as words


def build_actions(
    incident: Incident, *, may_act: bool, is_engineer: bool, was_paged: bool, has_seen: bool
) -> tuple[Action | None, tuple[Action, ...]]:
    """What is offered first, and what stands behind More.

    Whoever is on the ladder, or an engineer, is offered to take it on; anybody else is offered to
    say that he has seen it, because taking it on stops the calls to the people who can help.
    """
    base = f"/incidents/{incident.id}"
    offered = offers(incident.status)
    take = Action(f"{base}/acknowledge", words("problem.take"), words("problem.take_note"))
    seen = Action(f"{base}/seen", words("problem.seen"), words("problem.seen_note"))
    start = Action(f"{base}/investigate", words("problem.working"))
    call = Action(f"{base}/escalate", words("problem.escalate"), "", "", True)
    resolve = Action(f"{base}/resolve", words("problem.resolve"), "", words("problem.resolve_word"))
    if not incident.is_live:
        again = Action(f"{base}/reopen", words("problem.reopen"), "", "", True)
        return None, (again,) if may_act and Change.REOPEN in offered else ()
    if not may_act:
        # A viewer looks; the database takes nothing else from him.
        return None, ()
    is_open = incident.status is IncidentStatus.OPEN
    if is_open and (is_engineer or was_paged):
        return take, (start, call, resolve)
    more = [resolve]
    if is_open:
        itself = words("problem.take_self")
        more = [
            Action(f"{base}/acknowledge", itself, words("problem.take_self_note")),
            call,
            resolve,
        ]
    elif Change.INVESTIGATE in offered:
        if is_engineer or was_paged:
            return start, (resolve,)
        more.insert(0, start)
    elif is_engineer or was_paged:
        return None, (resolve,)
    return None if has_seen else seen, tuple(more)


UPDATE_MINUTES: Final = (15, 5, 30, 60)


def build_update(incident: Incident) -> Action:
    """A word to everyone who was told, with the time of the next one."""
    return Action(
        f"/incidents/{incident.id}/updates",
        words("engineer.update_button"),
        field=words("engineer.update_label"),
        choice=words("engineer.update_next"),
        options=tuple((f"{n}", words("engineer.update_in", n=n)) for n in UPDATE_MINUTES),
    )


def build_merge(incident: Incident, live: Iterable[Incident]) -> Action | None:
    """Joining it with another live one of the same business; None where there is none."""
    others = tuple(
        (f"{one.id}", f"{one.number} {one.headline}")
        for one in live
        if one.organization_id == incident.organization_id and one.id != incident.id
    )
    if not others:
        return None
    return Action(
        f"/incidents/{incident.id}/merge",
        words("engineer.merge_button"),
        words("engineer.merge_note"),
        choice=words("engineer.merge_label"),
        options=others,
    )


def build_figures(found: Iterable[Figures]) -> tuple[FigureRow, ...]:
    """How fast people were; nothing where nothing has happened."""
    return tuple(
        FigureRow(
            words(f"incidents.figures_{one.scope.value}"),
            words("incidents.count", n=one.spells),
            _times(one.acknowledge, "incidents.figures_taken", "incidents.figures_none"),
            _times(one.resolve, "incidents.figures_fixed", "incidents.figures_unfixed"),
        )
        for one in found
        if one.spells
    )


def _times(times: Times, key: str, otherwise: str) -> str:
    if times.mean is None or times.p50 is None or times.p90 is None:
        return words(otherwise)

    def length(seconds: float) -> str:
        return say.length(timedelta(seconds=seconds))

    if times.count == 1:
        return words(f"{key}_once", mean=length(times.mean))
    return words(key, mean=length(times.mean), p50=length(times.p50), p90=length(times.p90))
