"""Reviews and reports in words."""

from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Final

from wedsync_apm.incidents.model import Incident
from wedsync_apm.incidents.reviews.model import (
    ActionItem,
    Figures,
    Measured,
    Postmortem,
    Report,
    Spell,
)
from wedsync_apm.types import Severity
from wedsync_apm.web import say
from wedsync_apm.web.build.incident_actions import build_figures
from wedsync_apm.web.build.incidents import Scene, short_words
from wedsync_apm.web.views.incident import Fact
from wedsync_apm.web.views.review import (
    ActionRow,
    DueRow,
    Link,
    ReportView,
    ReviewsView,
    ReviewView,
    SpellRow,
    TextField,
)
from wedsync_apm.web.views.shell import Kind, Status
from wedsync_apm.web.words import say as words

LISTS: Final = ("contributing_factors", "went_well", "went_wrong", "preventive_measures")
MORE_ACTIONS: Final = 3
SATURDAYS: Final = 4


def day_words(day: date) -> str:
    """A date in words: "Sat 20 June 2026"."""
    return say.day(datetime.combine(day, time(12), UTC), "UTC")


def build_review(
    incident: Incident,
    found: Postmortem,
    measured: Measured,
    *,
    may_write: bool,
    may_approve: bool,
    today: date,
    people: Sequence[str] = (),
    error: str = "",
) -> ReviewView:
    """The review as a form, filled in from what was written or from the timeline."""
    standing = words("review.draft")
    if found.approved_at is not None:
        standing = words(
            "review.approved",
            name=found.approved_by_name or "",
            day=day_words(found.approved_at.date()),
        )
    elif not found.is_draft:
        standing = words("review.not_approved")
    customers, pounds = found.customers_affected, found.financial_impact_pounds
    return ReviewView(
        href=f"/incidents/{incident.id}",
        title=words("review.of", title=short_words(incident)),
        standing=standing,
        facts=_facts(measured, is_live=incident.is_live),
        texts=(
            TextField("summary", words("review.summary"), found.summary),
            TextField("root_cause", words("review.root_cause"), found.root_cause),
            *(
                TextField(name, words(f"review.{name}"), "\n".join(getattr(found, name)))
                for name in LISTS
            ),
        ),
        short=(
            _short("customers_affected", "" if customers is None else f"{customers}"),
            _short("data_loss", found.data_loss),
            _short("financial_impact_pounds", "" if pounds is None else f"{pounds:.2f}"),
        ),
        is_false_positive=found.is_false_positive,
        is_approved=found.is_approved,
        actions=tuple(_action(one, today) for one in found.actions) + (ActionRow(),) * MORE_ACTIONS,
        filled=len(found.actions),
        is_costly=bool(customers is not None or found.data_loss or pounds is not None)
        or found.is_false_positive,
        people=tuple(people),
        may_write=may_write,
        may_approve=may_approve,
        error=error,
    )


def _short(name: str, value: str) -> TextField:
    return TextField(name, words(f"review.{name}"), value, 1)


def _action(one: ActionItem, today: date) -> ActionRow:
    return ActionRow(
        f"{one.id}" if one.id else "",
        one.title,
        one.owner,
        one.due_on.isoformat(),
        one.is_done,
        day_words(one.due_on),
        _standing(one, today) if one.id else None,
    )


def _standing(one: ActionItem, today: date) -> Status:
    if one.is_done:
        return Status("ok", words("review.action_done"))
    if one.is_overdue(today):
        return Status("crit", words("review.late"))
    return Status("none", words("review.waits"), "clock")


def _facts(measured: Measured, *, is_live: bool) -> tuple[Fact, ...]:
    def length(seconds: float | None) -> str:
        if seconds is None:
            return words("review.not_yet" if is_live else "review.unknown")
        return say.length(timedelta(seconds=seconds))

    return (
        Fact(words("review.taken"), length(measured.acknowledge)),
        Fact(words("review.fixed"), length(measured.resolve)),
        Fact(words("review.down"), length(measured.downtime)),
        Fact(words("review.back"), words("review.times", n=measured.times_back)),
        Fact(words("review.called"), words("review.times", n=measured.called)),
    )


def build_reviews(
    actions: Iterable[ActionItem], figures: Iterable[Figures], today: date
) -> ReviewsView:
    """What is still to be done, the most overdue first, and the last Saturdays."""
    last = today - timedelta(days=(today.weekday() - 5) % 7)
    days = [last - timedelta(weeks=n) for n in range(SATURDAYS)]
    return ReviewsView(
        due=tuple(_due(one, today) for one in actions),
        reports=tuple(Link(f"/reports/day?date={day}", day_words(day)) for day in days),
        figures=build_figures(figures),
    )


def _due(one: ActionItem, today: date) -> DueRow:
    is_late = one.is_overdue(today)
    key = "review.overdue" if is_late else "review.due"
    return DueRow(
        f"/incidents/{one.incident_id}/postmortem",
        one.title,
        words(key, owner=one.owner, day=day_words(one.due_on)),
        _standing(one, today),
    )


def build_report(
    found: Report,
    title: str,
    scene: Scene,
    *,
    back: str,
    back_words: str,
) -> ReportView:
    """What befell it, worst first in the verdict and in order below."""
    is_calm = not found.spells
    lines = [
        words("report.span", start=scene.clock(found.starts_at), end=scene.clock(found.ends_at))
    ]
    if found.called:
        lines.append(words("report.called", n=found.called))
    else:
        lines.append(words("report.nothing_called"))
    lines.append(words("report.final" if found.is_final else "report.provisional"))
    verdict = Status("ok", words("report.calm"))
    if not is_calm:
        length = say.length(timedelta(seconds=found.impact_seconds))
        verdict = Status("warn", words("report.impact", length=length))
    return ReportView(
        title,
        verdict,
        tuple(lines),
        tuple(_spell(spell, scene) for spell in found.spells),
        build_figures(found.figures),
        back,
        back_words,
    )


def _spell(spell: Spell, scene: Scene) -> SpellRow:
    start = scene.clock(spell.began_at)
    parts = [words("report.spell_open", start=start)]
    kind: Kind = "crit" if spell.severity.rank >= Severity.CRITICAL.rank else "warn"
    is_taken = spell.acknowledged_at is not None
    status = Status(
        "warn" if is_taken else kind,
        words("incident.acknowledged" if is_taken else "incident.open"),
    )
    if spell.ended_at is not None:
        parts = [words("report.spell", start=start, end=scene.clock(spell.ended_at))]
        status = Status("ok", words("incident.resolved"))
    taken = spell.time_to_acknowledge
    if taken is None:
        parts.append(words("report.spell_untaken"))
    else:
        parts.append(words("report.spell_taken", length=say.length(taken)))
    return SpellRow(
        f"/incidents/{spell.incident_id}",
        spell.headline,
        say.sentence(", ".join(parts)),
        status,
    )
