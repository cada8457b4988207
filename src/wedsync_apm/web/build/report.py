"""The health report as a page: verdict, then failures, then passes."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from wedsync_apm.health.model import Line as Measured
from wedsync_apm.health.model import Outcome, Report
from wedsync_apm.web import say
from wedsync_apm.web.views.chart import Tile
from wedsync_apm.web.views.platform import Line, ReportView, Section
from wedsync_apm.web.views.shell import Kind, Status
from wedsync_apm.web.words import say as words

_KINDS: Final[dict[Outcome, Kind]] = {
    Outcome.PASSED: "ok",
    Outcome.FAILED: "crit",
    Outcome.UNKNOWN: "none",
}
TILES: Final = ("migrations", "tables", "storage", "connections")
LONGEST_VALUE: Final = 24
MOST_SIZES: Final = 48


def build_line(line: Measured, zone: str) -> Line:
    """One figure with its limit, how long it took, its statement, and what to do about it."""
    is_well = line.outcome is Outcome.PASSED
    return Line(
        name=line.title,
        figure=line.value,
        limit=line.expected,
        status=Status(_KINDS[line.outcome], words(f"report.{line.outcome.value}")),
        measured_at=line.measured_at,
        took=say.figure(line.duration_ms, "ms"),
        statement=line.statement.strip(),
        reason=say.sentence(line.reason),
        remedy="" if is_well or not line.remedy else words("report.remedy", remedy=line.remedy),
        since=words("report.since", time=say.when(line.failing_since, line.measured_at, zone))
        if line.failing_since
        else "",
    )


def _verdict(report: Report) -> Status:
    counts, total = report.counts, len(report.lines)
    if counts[Outcome.FAILED]:
        return Status("crit", words("report.bad", n=counts[Outcome.FAILED], total=total))
    if counts[Outcome.UNKNOWN] or not total:
        return Status("none", words("report.unsure", n=counts[Outcome.UNKNOWN], total=total))
    return Status("ok", words("report.excellent"))


def _tiles(report: Report) -> tuple[Tile, ...]:
    found = {line.key: line for line in report.lines}
    return tuple(
        Tile(
            found[key].title,
            found[key].value,
            found[key].expected,
            is_over=found[key].outcome is Outcome.FAILED,
        )
        for key in TILES
        if key in found and len(found[key].value) <= LONGEST_VALUE
    )


def _sections(groups: Iterable[tuple[str, Iterable[Measured]]], zone: str) -> tuple[Section, ...]:
    built = (
        (heading, tuple(build_line(line, zone) for line in lines)) for heading, lines in groups
    )
    return tuple(Section(heading, lines) for heading, lines in built if lines)


def _view(report: Report, title: str, zone: str, sections: tuple[Section, ...]) -> ReportView:
    return ReportView(
        title=title,
        verdict=_verdict(report),
        body=words(
            "report.measured",
            time=say.clock_seconds(report.taken_at, zone),
            server=report.server_version,
        ),
        measured_at=report.taken_at,
        tiles=_tiles(report),
        sections=sections,
    )


def _not_passed(report: Report) -> list[tuple[str, list[Measured]]]:
    return [
        (words("report.failures"), [x for x in report.lines if x.outcome is Outcome.FAILED]),
        (words("report.unknowns"), [x for x in report.lines if x.outcome is Outcome.UNKNOWN]),
    ]


def build_guard(found: Mapping[str, Any], now: datetime, zone: str) -> str:
    """The guard mode as `find_guard_mode` gives it, in one sentence."""
    until = found["until"]
    return words(
        "guard.by_calendar" if found["source"] == "calendar" else "guard.by_override",
        mode=found["mode"],
        who=found["who"],
        why=found["why"],
        until=words("guard.until", time=say.when(until, now, zone)) if until else "",
    )


def build_report(report: Report, title: str, zone: str) -> ReportView:
    """Everything: what failed, what is not known, what passed."""
    good = [line for line in report.lines if line.outcome is Outcome.PASSED]
    groups = [*_not_passed(report), (words("report.passes"), good)]
    return _view(report, title, zone, _sections(groups, zone))


def _size(sizes: Sequence[tuple[datetime, int]]) -> tuple[Tile, ...]:
    """How the database grew, once there are two readings."""
    if len(sizes) < 2:
        return ()
    values = tuple(float(size) for _, size in sizes[-MOST_SIZES:])
    return (
        Tile(
            words("database.size"),
            say.figure(values[-1], "B"),
            words("database.size_before", size=say.figure(values[0], "B")),
            spark=values,
        ),
    )


def build_database(
    report: Report, title: str, zone: str, sizes: Sequence[tuple[datetime, int]] = ()
) -> ReportView:
    """The same by area, for whoever wants to know how it is rather than what was checked."""
    areas: dict[str, list[Measured]] = {}
    for line in report.lines:
        if line.outcome is Outcome.PASSED:
            areas.setdefault(line.area, []).append(line)
    view = _view(report, title, zone, _sections([*_not_passed(report), *areas.items()], zone))
    return replace(view, tiles=(*view.tiles, *_size(sizes)))
