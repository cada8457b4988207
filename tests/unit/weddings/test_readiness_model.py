"""What a readiness report says of what is known, and what it never says."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wedsync_apm.weddings.readiness.model import (
    AGAIN,
    Facts,
    Outcome,
    Report,
    make_report,
    next_at,
    words_of,
)

GOOD = Facts(
    contacts=3,
    unverified=0,
    stale=0,
    rungs=2,
    empty_rungs=0,
    tested=3,
    failing=0,
    checks=4,
    red=(),
    troubled=(),
    unseen=(),
    silences=0,
    works=0,
    inhibitions=0,
    rotas=1,
    open_rotas=0,
    open_minutes=0,
    unreachable=0,
    thin=0,
    drill_days=10,
    drill_called=3,
    drill_answered=3,
    drill_in_time=3,
    has_drills=True,
)
DUE = datetime(2026, 6, 19, 17, tzinfo=UTC)


def outcomes(report: Report) -> dict[str, str]:
    return {line.key: line.outcome.value for line in report.lines}


def test_what_the_product_cannot_know_is_unknown_even_when_all_else_is_well() -> None:
    report = make_report(GOOD)
    assert outcomes(report) == {
        "contacts": "pass",
        "on_call": "pass",
        "channels": "pass",
        "drilled": "pass",
        "checks": "pass",
        "silences": "pass",
        "backups": "unknown",
    }
    assert report.outcome is Outcome.UNKNOWN
    assert report.failed == ()


@pytest.mark.parametrize(
    ("changes", "key", "outcome", "words"),
    [
        ({"contacts": 0, "tested": 0}, "contacts", "fail", "No contact"),
        ({"contacts": 0, "tested": 0}, "on_call", "fail", "Nobody"),
        ({"contacts": 0, "tested": 0}, "channels", "fail", "No contact"),
        ({"unverified": 2}, "contacts", "fail", "2 of 3 contacts were never verified"),
        ({"stale": 1}, "contacts", "fail", "more than 30 days ago"),
        ({"rungs": 0}, "on_call", "fail", "no default ladder"),
        ({"empty_rungs": 1}, "on_call", "fail", "1 of the ladder's 2 steps"),
        ({"rotas": 0}, "on_call", "unknown", "no rota"),
        ({"drill_days": None, "has_drills": False}, "drilled", "unknown", "held each month"),
        ({"drill_days": 35}, "drilled", "unknown", "The last drill was 35 days ago"),
        ({}, "backups", "unknown", "No backups are made"),
        ({"has_backups": True}, "backups", "unknown", "none was restored yet"),
        ({"has_backups": True, "backup_days": 6}, "backups", "pass", "within a week"),
        ({"has_backups": True, "backup_days": 7}, "backups", "unknown", "7 days ago"),
        (
            {"has_backups": True, "backup_days": 1, "is_backup_bad": True},
            "backups",
            "fail",
            "could not be restored",
        ),
        ({"drill_days": 34}, "drilled", "pass", "All 3 people answered"),
        ({"drill_called": 4}, "drilled", "fail", "1 of 4 people did not answer"),
        ({"drill_in_time": 2}, "drilled", "fail", "1 of 3 people answered the last drill later"),
        ({"open_rotas": 1, "open_minutes": 90}, "on_call", "fail", "for 1 hour and 30 minutes of"),
        ({"open_rotas": 1, "open_minutes": 60}, "on_call", "fail", "for 1 hour of the wedding."),
        (
            {"rotas": 2, "open_rotas": 1, "open_minutes": 1},
            "on_call",
            "fail",
            "for 1 minute of the wedding in 1 of 2 rotas",
        ),
        ({"unreachable": 1}, "on_call", "fail", "1 person on call during it cannot be reached"),
        (
            {"open_rotas": 1, "open_minutes": 120, "unreachable": 2},
            "on_call",
            "fail",
            "for 2 hours of the wedding; 2 people on call",
        ),
        ({"thin": 2}, "on_call", "pass", "2 people can be reached in one way only"),
        ({"tested": 1}, "channels", "unknown", "2 of 3"),
        ({"failing": 1}, "channels", "fail", "failed"),
        ({"checks": 0}, "checks", "unknown", "No service"),
        ({"red": ["Order form"]}, "checks", "fail", "Order form"),
        ({"red": list("abcdefg")}, "checks", "fail", "a, b, c, d, e and 2 more"),
        ({"troubled": ["Gallery"]}, "checks", "fail", "24 hours: Gallery"),
        ({"unseen": ["Gallery"]}, "checks", "unknown", "Gallery"),
        ({"silences": 1}, "silences", "fail", "1 silence lies"),
        ({"silences": 2}, "silences", "fail", "2 silences lie"),
        ({"works": 1}, "silences", "fail", "1 maintenance window is open"),
        ({"works": 2, "silences": 1}, "silences", "fail", "2 maintenance windows are open"),
        ({"inhibitions": 1}, "silences", "fail", "1 inhibition rule may hold back even"),
    ],
)
def test_each_line_says_why(changes: dict[str, object], key: str, outcome: str, words: str) -> None:
    report = make_report(replace(GOOD, **changes))  # type: ignore[arg-type]
    [line] = [line for line in report.lines if line.key == key]
    assert line.outcome.value == outcome
    assert words in line.reason
    assert report.outcome.value == ("fail" if outcome == "fail" else report.outcome.value)


counts = st.integers(0, 5)
names = st.lists(st.sampled_from(["Order form", "Gallery", "Payments"]), max_size=3)
facts = st.builds(
    Facts,
    counts,
    counts,
    counts,
    counts,
    counts,
    counts,
    counts,
    counts,
    names,
    names,
    names,
    counts,
    counts,
    counts,
    counts,
    counts,
    counts,
    counts,
    counts,
)


@given(facts)
def test_a_report_is_the_worst_of_its_lines_and_every_line_has_a_reason(found: Facts) -> None:
    report = make_report(found)
    kinds = {line.outcome for line in report.lines}
    worst = (one for one in (Outcome.FAIL, Outcome.UNKNOWN, Outcome.PASS) if one in kinds)
    assert report.outcome is next(worst)
    assert all(line.reason.endswith(".") for line in report.lines)
    assert [line.key for line in report.lines].count("contacts") == 1
    # Nothing is said to be well that nobody looked at.
    assert found.contacts or outcomes(report)["contacts"] == "fail"
    assert found.checks or outcomes(report)["checks"] != "pass"
    if outcomes(report)["backups"] == "pass":
        assert found.has_backups
        assert found.backup_days is not None
        assert found.backup_days < 7
        assert not found.is_backup_bad
    if outcomes(report)["on_call"] == "pass":
        assert found.contacts
        assert found.rungs
        assert found.rotas
        assert not found.open_rotas + found.unreachable + found.empty_rungs
    words = words_of(report, date(2026, 6, 20))
    assert len(words["what_to_do"]) == len(report.failed)


@given(facts, st.integers(-300, 3000))
def test_it_is_looked_at_again_while_something_fails_and_never_after_the_end(
    found: Facts, minutes: int
) -> None:
    report = make_report(found)
    at, ends_at = DUE + timedelta(minutes=minutes), DUE + timedelta(hours=32)
    following = next_at(report, at, DUE, ends_at)
    if at < DUE:
        assert following == DUE
    elif not report.failed:
        assert following is None
    else:
        assert following == (at + AGAIN if at + AGAIN < ends_at else None)
