from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wedsync_apm.health import judge
from wedsync_apm.health.model import Line, Outcome, Report, Verdict
from wedsync_apm.health.render import as_html, as_markdown
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


CONNECTIONS = {
    "used": 3,
    "allowed": 100,
    "active": 1,
    "idle_in_transaction": 0,
    "oldest_transaction_seconds": 0.0,
    "hidden": 0,
}


@pytest.mark.parametrize(
    ("change", "outcome"),
    [
        ({}, Outcome.PASSED),
        ({"used": 80}, Outcome.FAILED),
        ({"idle_in_transaction": 1}, Outcome.FAILED),
        ({"hidden": 1}, Outcome.UNKNOWN),
    ],
)
def test_connections(change: dict[str, Any], outcome: Outcome) -> None:
    assert judge.judge_connections([CONNECTIONS | change]).outcome is outcome


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


def test_few_blocks_say_nothing_about_the_cache() -> None:
    few, bad, good = ({"hits": h, "reads": r} for h, r in ((10, 0), (900, 100), (9990, 10)))
    outcomes = [judge.judge_cache_hits([row]).outcome for row in (few, bad, good)]
    assert outcomes == [Outcome.UNKNOWN, Outcome.FAILED, Outcome.PASSED]


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
    assert "pg_stat_bgwriter" in statement_for("read_checkpoints", 16)
    assert "pg_stat_checkpointer" in statement_for("read_checkpoints", 17)
    assert statement_for("read_checkpoints", 18) == statement_for("read_checkpoints", 17)
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
