"""Reads what the panels of a dashboard show: all of them together, in few statements.

Their questions differ little in what they read, so that twenty panels cost a transaction and about
a dozen statements, however many lines they draw. Runs inside the caller's transaction; row-level
security decides what there is.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from wedsync_apm.annotations import store as annotations
from wedsync_apm.checks.members.store import HEALTH_CHECKS
from wedsync_apm.config import Settings
from wedsync_apm.dashboards.calendar import Wedding, weddings_of
from wedsync_apm.dashboards.model import (
    Compare,
    CountdownPanel,
    Figure,
    IncidentsPanel,
    Panel,
    Query,
    SeriesPanel,
    ServicesPanel,
    Which,
    figures_in,
)
from wedsync_apm.dashboards.variables import filled
from wedsync_apm.dashboards.window import Shown, back_to
from wedsync_apm.db.nouns import Row
from wedsync_apm.db.pool import Connection
from wedsync_apm.errors import NotValid
from wedsync_apm.incidents import store as incidents
from wedsync_apm.incidents.model import Incident
from wedsync_apm.metrics.range_questions import (
    RangeMemo,
    RangeQuestion,
    prepare_ranges,
    range_wanted,
)
from wedsync_apm.metrics.ranges import RangeAnswer
from wedsync_apm.metrics.store import Series
from wedsync_apm.rules import store as rules
from wedsync_apm.rules.model import AlertRule
from wedsync_apm.weddings import store as weddings

MOST_INCIDENTS: Final = 50
MOST_EVENTS: Final = 50
MOST_WEDDINGS: Final = 200
MOST_CHECKS: Final = 200
BACK: Final = timedelta(days=183)
AHEAD: Final = timedelta(days=400)
AROUND: Final = timedelta(days=3)
_LAST: Final = UUID(int=2**128 - 1)


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked of metrics, however many panels ask it."""

    metric: str
    agg: str
    tags: tuple[tuple[str, str], ...]
    group_by: tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class Found:
    """The answer to a question: now, and at the earlier time where one is compared with."""

    series: Sequence[Series] = ()
    now: RangeAnswer | None = None
    before: RangeAnswer | None = None
    fault: str = ""
    """Why there is none."""


@dataclass(frozen=True, slots=True)
class Setting:
    """Who looks, and when."""

    organization_id: UUID
    at: datetime
    zone: str
    is_wedding: bool
    settings: Settings


@dataclass(frozen=True, slots=True)
class Material:
    """All that the panels show."""

    setting: Setting
    shown: Shown
    back: timedelta | None
    found: Mapping[Question, Found]
    chosen: Mapping[str, str]
    weddings: Sequence[Wedding] = ()
    wedding_rows: Sequence[Row] = ()
    rules: Sequence[AlertRule] = ()
    checks: Sequence[Row] = ()
    live: Sequence[Incident] = ()
    incidents: Sequence[Incident] = ()
    """Of the time that is shown, and those that began before; the newest first."""
    events: Sequence[Row] = field(default=())

    def answer_to(self, figure: Figure) -> Found:
        """What was found for a panel's figure."""
        return self.found[question_of(filled(figure, self.chosen))]


def question_of(figure: Figure) -> Question:
    """The same for figures that ask the same; a single figure puts all series together."""
    group_by = figure.group_by if isinstance(figure, Query) else ()
    return Question(figure.metric, figure.agg.value, tuple(sorted(figure.tags.items())), group_by)


async def read_material(
    cx: Connection,
    setting: Setting,
    panels: Sequence[Panel],
    shown: Shown,
    chosen: Mapping[str, str],
) -> Material:
    """Everything for these panels. Raises NotValid for more than one process can hold."""
    owner = setting.organization_id
    rows = await _list_weddings(cx, setting, panels, shown)
    days = weddings_of(rows, setting.zone)
    back = back_to(shown, setting.at, setting.zone, days)
    figures = [filled(one, chosen) for panel in panels for one in figures_in(panel)]
    found = await _ask(cx, setting, figures, shown, back)
    wants_past = any(
        (isinstance(one, SeriesPanel) and one.events)
        or (isinstance(one, IncidentsPanel) and one.which is Which.ALL)
        for one in panels
    )
    wants_events = any(isinstance(one, SeriesPanel) and one.events for one in panels)
    past: Sequence[Incident] = ()
    events: Sequence[Row] = ()
    if wants_past:
        end = shown.end, _LAST
        page = await incidents.list_incidents(
            cx, organization_id=owner, before=end, limit=MOST_INCIDENTS
        )
        past = page.incidents
    if wants_events:
        events = await annotations.list_annotations(
            cx,
            organization_ids=[owner],
            start=shown.begin,
            end=shown.end,
            before=None,
            limit=MOST_EVENTS,
        )
    return Material(
        setting,
        shown,
        back,
        found,
        chosen,
        days,
        rows,
        await rules.list_rules(cx, owner) if _wants_rules(panels) else (),
        await _list_checks(cx, owner) if _has(panels, ServicesPanel) else (),
        await incidents.list_live_incidents(cx, owner) if _has(panels, IncidentsPanel) else (),
        past,
        events,
    )


def _has(panels: Sequence[Panel], kind: type[Any]) -> bool:
    return any(isinstance(one, kind) for one in panels)


def _wants_rules(panels: Sequence[Panel]) -> bool:
    return any(isinstance(one, SeriesPanel) and one.rule_limits for one in panels)


async def _list_checks(cx: Connection, owner: UUID) -> list[Row]:
    rows = await HEALTH_CHECKS.list_rows(
        cx, organization_ids=[owner], before=None, limit=MOST_CHECKS
    )
    return sorted(
        (row for row in rows if row["is_active"]),
        key=lambda row: (not row["wedding_critical"], row["display_name"], str(row["id"])),
    )


async def _list_weddings(
    cx: Connection, setting: Setting, panels: Sequence[Panel], shown: Shown
) -> list[Row]:
    """Those around what is shown; with a countdown those ahead, and for a comparison those of the
    last half year."""
    earliest, latest = (shown.begin - AROUND).date(), (shown.end + AROUND).date()
    if shown.compare is Compare.LAST_WEDDING:
        earliest = (shown.begin - BACK).date()
    elif not _has(panels, CountdownPanel) and not any(
        isinstance(one, SeriesPanel) and one.phases for one in panels
    ):
        return []
    if _has(panels, CountdownPanel):
        latest = (setting.at + AHEAD).date()
    return await weddings.list_weddings(
        cx,
        organization_ids=[setting.organization_id],
        earliest=earliest,
        latest=latest,
        before=None,
        limit=MOST_WEDDINGS,
    )


async def _ask(
    cx: Connection,
    setting: Setting,
    figures: Sequence[Figure],
    shown: Shown,
    back: timedelta | None,
) -> dict[Question, Found]:
    """Every question once, and all of them together."""
    times = [shown, *([shown.earlier(back)] if back else [])]
    asked: dict[Question, list[RangeQuestion]] = {}
    found: dict[Question, Found] = {}
    for figure in figures:
        question = question_of(figure)
        try:
            asked[question] = [
                RangeQuestion(
                    question.metric,
                    range_wanted(setting.settings, one.begin, one.end, one.step, setting.at),
                    figure.agg,
                    dict(question.tags),
                    question.group_by,
                )
                for one in times
            ]
        except NotValid as exc:
            found[question] = Found(fault="; ".join(one.reason for one in exc.errors))
    memo = RangeMemo()
    everything = [one for several in asked.values() for one in several]
    await prepare_ranges(cx, setting.organization_id, everything, memo)
    for question, several in asked.items():
        answers = [await one.answer(cx, setting.organization_id, memo) for one in several]
        before = answers[1] if len(answers) > 1 else None
        found[question] = Found(several[0].series, answers[0], before)
    return found
