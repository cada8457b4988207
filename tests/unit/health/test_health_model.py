from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wedsync_apm.health import judge
from wedsync_apm.health.checks import LINTS, checks
from wedsync_apm.health.measure import settle_drift
from wedsync_apm.health.model import Line, Outcome, Report, Verdict
from wedsync_apm.health.render import as_html, as_markdown
from wedsync_apm.health.store import SNAPSHOT
from wedsync_apm.health.thresholds import THRESHOLDS, Sense, Threshold, judge_figures
from wedsync_apm.health.versions import statement_for, stems

AT = datetime(2026, 6, 6, 12, tzinfo=UTC)
LINE = Line("k", "Server", "Title", "good", Outcome.PASSED, "1", "", "select 1", AT, 1.5)


def _report(*outcomes: Outcome) -> Report:
    lines = tuple(replace(LINE, outcome=outcome) for outcome in outcomes)
    return Report(AT, "apm", "18.6", "0.1.0", lines)


@given(st.lists(st.sampled_from(Outcome)))
def test_excellent_needs_every_line_to_have_passed(outcomes: list[Outcome]) -> None:
    is_excellent = _report(*outcomes).verdict is Verdict.EXCELLENT
    assert is_excellent == (bool(outcomes) and all(o is Outcome.PASSED for o in outcomes))


def test_what_is_not_known_is_not_called_a_fault() -> None:
    assert _report(Outcome.PASSED, Outcome.UNKNOWN).verdict is Verdict.NOT_KNOWN
    assert _report(Outcome.FAILED, Outcome.UNKNOWN).verdict is Verdict.NEEDS_ATTENTION


MOST = Threshold("k", "Server", "Title", Sense.MOST, 5, "s", "Do this.", none="nobody")
LEAST = replace(MOST, sense=Sense.LEAST, limit=2, unit="days")


@pytest.mark.parametrize(
    ("threshold", "figures", "outcome", "value"),
    [
        (MOST, [], Outcome.PASSED, "nobody"),
        (MOST, [5.0], Outcome.PASSED, "5 s"),
        (MOST, [5.01], Outcome.FAILED, "5.01 s (0)"),
        (MOST, [1.0, 7.0, 6.0], Outcome.FAILED, "7 s (1)"),
        (MOST, [None], Outcome.UNKNOWN, "not known"),
        (MOST, [1.0, None], Outcome.UNKNOWN, "1 s (0)"),
        (MOST, [6.0, None], Outcome.FAILED, "6 s (0)"),
        (LEAST, [4.0, 2.0], Outcome.PASSED, "2 days (1)"),
        (LEAST, [4.0, 1.5], Outcome.FAILED, "1.50 days (1)"),
        (replace(MOST, sense=Sense.MEASURED), [1e9], Outcome.PASSED, "1,000,000,000 s"),
    ],
)
def test_the_worst_figure_counts(
    threshold: Threshold, figures: list[float | None], outcome: Outcome, value: str
) -> None:
    rows = [{"subject": str(n), "figure": figure} for n, figure in enumerate(figures)]
    finding = judge_figures(threshold, rows)
    assert (finding.outcome, finding.value) == (outcome, value)
    assert bool(finding.reason) == (outcome is not Outcome.PASSED)


def test_many_that_are_bad_are_counted_not_listed() -> None:
    rows = [{"subject": f"s{n}", "figure": 9.0} for n in range(8)]
    assert judge_figures(MOST, rows).reason.endswith("and 3 more")


def test_each_threshold_has_its_file_and_its_line_in_the_docs() -> None:
    text = (Path(__file__).parents[3] / "docs" / "health-report.md").read_text(encoding="utf-8")
    assert stems() - {SNAPSHOT} == {one.key for one in THRESHOLDS}
    for one in THRESHOLDS:
        assert f"| `{one.key}` | {one.title} | {one.expected} |" in text
        assert one.remedy or one.sense is Sense.MEASURED


def test_no_line_comes_twice() -> None:
    keys = [check.key for check in checks()]
    assert len(keys) == len(set(keys))


def test_a_limit_can_stand_in_for_that_of_the_table() -> None:
    changed = {check.key: check for check in checks({"slots": 1})}
    assert changed["slots"].expected == "at most 1 MiB"
    assert changed["blocking"].expected == "at most 5 s"


DRIFT = replace(
    LINE,
    key="drift",
    outcome=Outcome.FAILED,
    value="1 difference",
    reason="policy x changed",
    rows=({"object": "policy x", "change": "changed"},),
)
NAMED = replace(
    LINE, key="l", area=LINTS, outcome=Outcome.FAILED, rows=({"metadata": {"object": "policy x"}},)
)


def test_a_difference_that_a_rule_names_is_one_fault() -> None:
    settled = {line.key: line for line in settle_drift([DRIFT, NAMED])}
    assert settled["drift"].outcome is Outcome.PASSED
    assert settled["l"].outcome is Outcome.FAILED


def test_any_other_difference_stays_red() -> None:
    other = replace(DRIFT, rows=(*DRIFT.rows, {"object": "index y", "change": "removed"}))
    for lines in ([DRIFT], [other, NAMED], [DRIFT, replace(NAMED, outcome=Outcome.PASSED)]):
        assert next(settle_drift(lines)).outcome is Outcome.FAILED


TABLE = {
    "schema_name": "public",
    "table_name": "apm_metrics",
    "is_partition": False,
    "rls_enabled": True,
    "rls_forced": True,
    "policies": 3,
}


@pytest.mark.parametrize("missing", ["rls_enabled", "rls_forced"])
def test_row_security_must_be_enabled_and_forced(missing: str) -> None:
    assert judge.judge_row_security([TABLE]).outcome is Outcome.PASSED
    finding = judge.judge_row_security([TABLE, TABLE | {missing: False}])
    assert finding.outcome is Outcome.FAILED
    assert "public.apm_metrics" in finding.reason
    assert judge.judge_row_security([]).outcome is Outcome.UNKNOWN


def test_a_silent_engine_is_a_fault_and_none_is_unknown() -> None:
    job = {"job": "evaluate", "outcome": "ok", "detail": "", "failures_in_row": 0, "seconds_ago": 2}
    assert judge.judge_jobs([job]).outcome is Outcome.PASSED
    assert judge.judge_jobs([job | {"seconds_ago": 301}]).outcome is Outcome.FAILED
    assert judge.judge_jobs([job | {"outcome": "failed", "detail": "x"}]).outcome is Outcome.FAILED
    assert judge.judge_jobs([]).outcome is Outcome.UNKNOWN


def test_the_middle_of_the_runs_counts() -> None:
    assert judge.judge_query_time(0, [400.0, 4.0, 5.0]).outcome is Outcome.PASSED
    assert judge.judge_query_time(0, [400.0, 51.0, 5.0]).outcome is Outcome.FAILED


def test_each_version_gets_its_own_words() -> None:
    assert "pg_stat_bgwriter" in statement_for("checkpoints", 16)
    assert "pg_stat_checkpointer" in statement_for("checkpoints", 17)
    assert statement_for("checkpoints", 18) == statement_for("checkpoints", 17)
    for stem in stems():
        with pytest.raises(KeyError):
            statement_for(stem, 14)


def test_reports_show_the_statement_and_escape_what_they_show() -> None:
    line = replace(LINE, reason="a | <b>", outcome=Outcome.FAILED, rows=({"x": "<i>"},))
    report = Report(AT, "apm", "18.6", "0.1.0", (line,))
    markdown, html = as_markdown(report), as_html(report)
    assert "a \\| <b>" in markdown
    assert "NEEDS ATTENTION" in markdown
    for text in (markdown, html):
        assert "select 1" in text
    assert "a | &lt;b&gt;" in html
    assert "<i>" not in html
