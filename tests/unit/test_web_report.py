"""The pages of the health report: what is red comes first, with what to do."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from wedsync_apm.health.model import Line, Outcome, Report
from wedsync_apm.web.build.report import build_database, build_report

AT = datetime(2026, 6, 6, 12, tzinfo=UTC)
WELL = Line(
    "slots", "Server", "Slots", "at most 1 MiB", Outcome.PASSED, "0 MiB", "", "select 1", AT, 1.5,
    remedy="Drop it.",
)  # fmt: skip
RED = replace(
    WELL,
    key="rls_disabled",
    outcome=Outcome.FAILED,
    reason="x has none",
    failing_since=AT - timedelta(minutes=30),
)
REPORT = Report(AT, "apm", "18.6", "0.1.0", (WELL, RED))


def test_a_red_line_comes_first_and_says_what_to_do_and_since_when() -> None:
    view = build_report(REPORT, "Health report", "Europe/London")
    red, well = view.sections[0].lines[0], view.sections[1].lines[0]
    assert red.remedy == "What to do: Drop it."
    assert red.since == "since 12:30"
    assert (well.remedy, well.since) == ("", "")
    assert view.verdict.kind == "crit"


def test_the_size_is_drawn_once_it_has_a_course() -> None:
    sizes = [(AT + timedelta(hours=n), 1_000_000 * (n + 1)) for n in range(3)]
    assert build_database(REPORT, "Database", "UTC", sizes[:1]).tiles == ()
    (tile,) = build_database(REPORT, "Database", "UTC", sizes).tiles
    assert tile.spark == (1e6, 2e6, 3e6)
    assert tile.value == "3 MB"
