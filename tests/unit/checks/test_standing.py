"""What is held of a service after many looks."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.checks.test_check_model import a_check
from wedsync_apm.checks.cadence import effective_interval
from wedsync_apm.checks.model import DueCheck, Finding, Moment
from wedsync_apm.checks.standing import (
    CAUSE_WAIT,
    Cause,
    Dependency,
    Standing,
    advance,
    find_cause,
    next_look,
    severity_of,
    wants_incident,
)
from wedsync_apm.types import ServiceStatus, Severity

AT = datetime(2026, 6, 20, 13, 0, tzinfo=UTC)
SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)
WORDS = {
    "h": ServiceStatus.HEALTHY,
    "w": ServiceStatus.WARNING,
    "m": ServiceStatus.MAINTENANCE,
    "c": ServiceStatus.CRITICAL,
    "u": ServiceStatus.UNKNOWN,
}
LETTERS = {status: letter for letter, status in WORDS.items()}


def follow(findings: Sequence[str], failures: int = 2, recoveries: int = 2) -> str:
    """The status after each look, a letter each."""
    standing, said = Standing(), ""
    for number, letter in enumerate(findings):
        standing = advance(
            standing,
            Finding(WORDS[letter], "why"),
            AT + number * SECOND,
            failures=failures,
            recoveries=recoveries,
        )
        said += LETTERS[standing.status]
    return said


@pytest.mark.parametrize(
    ("found", "held", "failures", "recoveries"),
    [
        ("hh", "hh", 2, 2),
        ("hch", "hhh", 2, 2),
        ("hcc", "hhc", 2, 2),
        ("hcccc", "hhhhc", 4, 2),
        ("hc", "hc", 1, 2),
        # one look that is well ends nothing, and one failure among them begins anew
        ("hcchchh", "hhcccch", 2, 2),
        ("hccchhh", "hhcccch", 2, 3),
        # the mildest of what is worse, the worst of what is better
        ("hwc", "hhw", 2, 2),
        ("hcwc", "hhww", 2, 2),
        ("hcccwh", "hhcccw", 2, 2),
        # coming and going changes nothing, however long
        ("h" + "ch" * 20, "h" + "hh" * 20, 2, 2),
        # not known is told at once, and well is believed at once after it
        ("hccu", "hhcu", 2, 2),
        ("hccuh", "hhcuh", 2, 2),
        ("uc", "uu", 2, 2),
        ("ucc", "uuc", 2, 2),
        ("hmm", "hhm", 2, 2),
    ],
)
def test_looks_in_a_row(found: str, held: str, failures: int, recoveries: int) -> None:
    assert follow(found, failures, recoveries) == held


@given(st.text("hwmcu", max_size=30), st.integers(1, 5), st.integers(1, 5))
def test_a_status_is_never_one_that_was_not_found_so_often_in_a_row(
    found: str, failures: int, recoveries: int
) -> None:
    held = follow(found, failures, recoveries)
    order = "hwmc"
    for n in range(1, len(held)):
        before, after = held[n - 1], held[n]
        if after in (before, "u") or before == "u":
            continue
        is_worse = order.index(after) > order.index(before)
        needed = failures if is_worse else recoveries
        streak = found[max(0, n - needed + 1) : n + 1]
        assert len(streak) == needed
        assert "u" not in streak
        ranks = [order.index(one) for one in streak]
        if is_worse:
            assert min(ranks) >= order.index(after)
        else:
            assert max(ranks) <= order.index(after)


@given(st.text("hwmcu", min_size=1, max_size=30), st.integers(1, 5), st.integers(1, 5))
def test_what_lasts_is_told(found: str, failures: int, recoveries: int) -> None:
    last = found[-1]
    assert follow(found + 2 * last * max(failures, recoveries), failures, recoveries)[-1] == last


def test_a_change_that_waits_says_so_and_is_looked_at_soon() -> None:
    well = Standing(ServiceStatus.HEALTHY, "It takes 0.1 s")
    once = advance(well, Finding(ServiceStatus.CRITICAL, "It does not answer: gone"), AT)
    assert once.reason == ("It does not answer: gone (seen 1 of 2 times in a row before it counts)")
    assert once.failing_since == AT
    assert next_look(once, AT, AT, MINUTE) == AT + 2 * SECOND
    down = advance(once, Finding(ServiceStatus.CRITICAL, "It does not answer: gone"), AT + SECOND)
    assert (down.status, down.failing_since) == (ServiceStatus.CRITICAL, AT)
    assert next_look(down, AT, AT, MINUTE) == AT + MINUTE
    back = advance(down, Finding(ServiceStatus.HEALTHY, "It takes 0.1 s"), AT + MINUTE)
    assert next_look(back, AT, AT, MINUTE) == AT + 10 * SECOND
    # After a long pause it is looked at in step again, and once.
    assert next_look(well, AT, AT + 10 * MINUTE, MINUTE) == AT + 10.5 * MINUTE


@pytest.mark.parametrize(
    ("moment", "guard", "critical", "seconds"),
    [
        (Moment(), "normal", True, 900),
        (Moment(), "enhanced", True, 30),
        (Moment(), "maximum", True, 15),
        (Moment(), "maximum", False, 90),
        (Moment(starts_in=timedelta(days=31)), "normal", True, 900),
        (Moment(starts_in=timedelta(days=30)), "normal", True, 300),
        (Moment(starts_in=timedelta(days=7)), "normal", True, 60),
        (Moment(starts_in=timedelta(hours=24)), "normal", True, 30),
        (Moment(starts_in=timedelta(hours=24)), "maximum", True, 15),
        (Moment(is_wedding=True), "normal", True, 10),
        (Moment(is_wedding=True), "normal", False, 60),
    ],
)
def test_the_nearer_a_wedding_the_oftener(
    moment: Moment, guard: str, critical: bool, seconds: int
) -> None:
    asked = timedelta(minutes=15)
    found = effective_interval(asked, moment, guard, wedding_critical=critical)
    assert found == timedelta(seconds=seconds)


@given(
    st.integers(5, 86400),
    st.booleans(),
    st.none() | st.integers(0, 10**7),
    st.sampled_from(["normal", "enhanced", "maximum"]),
    st.booleans(),
)
def test_nothing_makes_it_rarer(
    interval: int, is_wedding: bool, starts_in: int | None, guard: str, critical: bool
) -> None:
    ahead = None if starts_in is None else timedelta(seconds=starts_in)
    asked = timedelta(seconds=interval)
    found = effective_interval(asked, Moment(is_wedding, ahead), guard, wedding_critical=critical)
    assert min(asked, timedelta(seconds=10)) <= found <= asked


DOWN = Standing(ServiceStatus.CRITICAL, "gone", failing_since=AT)
UP = Standing(ServiceStatus.HEALTHY, "fine")
FALLING = Standing(ServiceStatus.HEALTHY, "gone", ServiceStatus.CRITICAL, 1)


def below(
    standing: Standing, looked_at: datetime | None = AT, caused_by: str | None = None
) -> Dependency:
    return Dependency(UUID(int=9), standing, looked_at, caused_by)


@pytest.mark.parametrize(
    ("dependencies", "after", "cause"),
    [
        ([], timedelta(), Cause()),
        ([below(UP)], timedelta(), Cause()),
        ([below(DOWN)], timedelta(), Cause(f"check:{UUID(int=9)}")),
        # the root, not the next best
        ([below(DOWN, caused_by="service:stripe")], timedelta(), Cause("service:stripe")),
        # not looked at since it failed, or falling: it waits, but not for ever
        ([below(UP, AT - SECOND)], timedelta(), Cause(is_open=True)),
        ([below(UP, None)], timedelta(), Cause(is_open=True)),
        ([below(FALLING)], timedelta(), Cause(is_open=True)),
        ([below(FALLING)], CAUSE_WAIT, Cause()),
    ],
)
def test_the_cause_is_looked_for_below(
    dependencies: list[Dependency], after: timedelta, cause: Cause
) -> None:
    assert find_cause(a_check(), DOWN, dependencies, AT + after) == cause
    assert find_cause(a_check(), UP, dependencies, AT + after) == Cause()


def test_what_is_shared_is_the_platforms_affair_where_there_is_one() -> None:
    subscribed = a_check(endpoint_url=None, shared_key="stripe", platform_id=UUID(int=7))
    assert find_cause(subscribed, DOWN, [], AT) == Cause("service:stripe")
    alone = a_check(endpoint_url=None, shared_key="stripe")
    assert find_cause(alone, DOWN, [], AT) == Cause()


def test_who_is_called_and_how_urgently() -> None:
    plain, hangs_on_it = a_check(), a_check(wedding_critical=True)
    slow = Standing(ServiceStatus.WARNING, "slow")

    def wants(
        check: DueCheck, standing: Standing, cause: Cause | None = None, *, wedding: bool = False
    ) -> bool:
        return wants_incident(
            check, standing, cause or Cause(), is_wedding=wedding, is_alarming=False
        )

    assert wants(plain, DOWN)
    assert not wants(plain, slow, wedding=True)
    assert not wants(hangs_on_it, slow)
    assert wants(hangs_on_it, slow, wedding=True)
    assert not wants(plain, DOWN, Cause("check:x"))
    assert not wants(plain, DOWN, Cause(is_open=True))
    assert not wants(a_check(opens_incidents=False), DOWN)
    assert not wants(a_check(endpoint_url=None, source_metric="a.b"), DOWN)
    assert severity_of(plain, DOWN, is_wedding=True) is Severity.WARNING
    assert severity_of(hangs_on_it, DOWN, is_wedding=False) is Severity.CRITICAL
    assert severity_of(hangs_on_it, slow, is_wedding=True) is Severity.CRITICAL
