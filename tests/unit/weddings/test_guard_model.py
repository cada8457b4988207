"""Moments of a week, and what stands in the way of a change, for every mixture of circumstances."""

from datetime import UTC, date, datetime, timedelta
from uuid import UUID, uuid5

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wedsync_apm.weddings.guard.model import (
    Approval,
    Calendar,
    Decision,
    Emergency,
    GuardMode,
    Near,
    decide,
    place_span,
    read_moment,
    unreadable,
    write_moment,
)

AT = datetime(2026, 6, 16, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
NAMES = UUID("6f1f3b0e-8f3a-4b5e-9d53-0d6c1a7e5a11")
ORGANIZATIONS = tuple(uuid5(NAMES, f"organization {n}") for n in range(3))
GRAVITY = list(Decision)


def a_calendar(**more: object) -> Calendar:
    values = {
        "is_zone_known": True,
        "time_zone": "Europe/London",
        "freeze_until": None,
        "next_freeze_at": AT + 3 * DAY,
        "weekly_freeze": Decision.BLOCKED,
        "blocking_weddings": 1,
        "sees_all": False,
        "mode": GuardMode.NORMAL,
        "mode_source": "calendar",
        "mode_who": "calendar",
        "mode_why": "it is Tuesday",
        "mode_until": AT + 3 * DAY + 2 * HOUR,
    }
    return Calendar(**values | more)  # type: ignore[arg-type]


def a_wedding(hours: int, organization: int = 0, *, is_zone_known: bool = True) -> Near:
    """One that begins so many hours from now, lasts a day, bans a day ahead, is watched a week."""
    starts_at = AT + hours * HOUR
    return Near(
        organization_id=ORGANIZATIONS[organization],
        organization_name=f"Vendor {organization}",
        wedding_date=date(2026, 6, 16),
        time_zone="Europe/London",
        is_zone_known=is_zone_known,
        watched_from=starts_at - 7 * DAY,
        frozen_from=starts_at - DAY,
        starts_at=starts_at,
        ends_at=starts_at + DAY,
        wedding_id=uuid5(NAMES, f"wedding {hours} {organization}"),
        initials="A & B",
    )


def an_approval(
    organization: int | None = None,
    service: str | None = None,
    emergency: Emergency | None = None,
    hours: int = 2,
) -> Approval:
    return Approval(
        id=uuid5(NAMES, f"approval {organization} {service} {emergency} {hours}"),
        organization_id=None if organization is None else ORGANIZATIONS[organization],
        service=service,
        reason="a defect",
        emergency=emergency,
        created_by_name="Olga",
        ends_at=AT + hours * HOUR,
    )


@given(st.integers(0, 7 * 24 * 60 - 1))
def test_a_moment_of_the_week_reads_as_it_is_written(minutes: int) -> None:
    moment = timedelta(minutes=minutes)
    assert read_moment(write_moment(moment)) == moment
    assert write_moment(moment + timedelta(days=7)) == write_moment(moment)


@pytest.mark.parametrize("text", ["", "fri", "Fri 18:00", "fri 24:00", "fri 18:60", "fri 18:00 "])
def test_what_is_no_moment_is_none(text: str) -> None:
    assert read_moment(text) is None


def test_an_end_that_is_not_later_lies_in_the_next_week() -> None:
    assert place_span(4 * DAY, timedelta()) == (4 * DAY, 7 * DAY)
    assert place_span(5 * DAY, 6 * DAY) == (5 * DAY, 6 * DAY)
    assert place_span(DAY, DAY) == (DAY, 8 * DAY)


def test_a_quiet_tuesday_allows_until_the_next_freeze() -> None:
    verdict = decide("forms", AT, a_calendar(), [], [])
    assert (verdict.decision, verdict.reasons) == (Decision.ALLOW, ())
    assert verdict.until == AT + 3 * DAY


def test_a_wedding_ahead_ends_the_peace_before_the_weekend_does() -> None:
    verdict = decide("forms", AT, a_calendar(), [a_wedding(24 * 7 + 5)], [])
    assert (verdict.decision, verdict.until) == (Decision.ALLOW, AT + 5 * HOUR)


@pytest.mark.parametrize(
    ("hours", "code", "decision"),
    [
        (-23, "wedding_day", Decision.BLOCKED),
        (0, "wedding_day", Decision.BLOCKED),
        (1, "wedding_near", Decision.BLOCKED),
        (24, "wedding_near", Decision.BLOCKED),
        (25, "wedding_week", Decision.NEEDS_APPROVAL),
        (24 * 7, "wedding_week", Decision.NEEDS_APPROVAL),
    ],
)
def test_the_nearer_the_wedding_the_stricter(hours: int, code: str, decision: Decision) -> None:
    wedding = a_wedding(hours)
    verdict = decide("forms", AT, a_calendar(), [wedding], [])
    [reason] = verdict.reasons
    assert (reason.code, verdict.decision) == (code, decision)
    assert reason.weddings == (wedding,)
    ends_at = wedding.frozen_from if code == "wedding_week" else wedding.ends_at
    assert verdict.until == reason.until == ends_at


def test_until_is_when_the_decision_may_be_milder() -> None:
    today, next_week = a_wedding(-1), a_wedding(24 * 6)
    verdict = decide("forms", AT, a_calendar(), [today, next_week], [])
    assert (verdict.decision, len(verdict.reasons)) == (Decision.BLOCKED, 2)
    assert verdict.until == today.ends_at < next_week.frozen_from
    later = decide("forms", today.ends_at, a_calendar(), [next_week], [])
    assert later.decision is Decision.NEEDS_APPROVAL


def test_a_wedding_that_is_over_is_no_reason() -> None:
    assert decide("forms", AT, a_calendar(), [a_wedding(-24)], []).decision is Decision.ALLOW


def test_an_unknown_zone_bans_and_only_an_emergency_lifts_it() -> None:
    calendar = a_calendar(is_zone_known=False, time_zone="Mars", mode=GuardMode.MAXIMUM)
    verdict = decide("forms", AT, calendar, [], [an_approval()])
    assert (verdict.decision, verdict.until) == (Decision.BLOCKED, None)
    lifted = decide("forms", AT, calendar, [], [an_approval(emergency=Emergency.SECURITY)])
    assert lifted.decision is Decision.ALLOW
    assert lifted.until == AT + 2 * HOUR
    assert unreadable("The wedding calendar").decision is Decision.BLOCKED


def test_an_organization_lifts_what_its_own_weddings_forbid_and_no_more() -> None:
    weddings = [a_wedding(48, 0), a_wedding(48, 1)]
    own = decide("forms", AT, a_calendar(), weddings, [an_approval(0)])
    assert own.decision is Decision.NEEDS_APPROVAL
    assert [(r.weddings[0].organization_id, r.approval is None) for r in own.reasons] == [
        (ORGANIZATIONS[1], True),
        (ORGANIZATIONS[0], False),
    ]
    both = decide("forms", AT, a_calendar(), weddings, [an_approval(0), an_approval(1, hours=1)])
    assert (both.decision, both.until) == (Decision.ALLOW, AT + HOUR)
    frozen = a_calendar(freeze_until=AT + DAY, weekly_freeze=Decision.NEEDS_APPROVAL)
    assert decide("forms", AT, frozen, [], [an_approval(0)]).decision is Decision.NEEDS_APPROVAL
    assert decide("forms", AT, frozen, [], [an_approval()]).decision is Decision.ALLOW


def test_an_approval_is_for_its_service() -> None:
    weddings = [a_wedding(48)]
    approvals = [an_approval(service="forms")]
    assert decide("forms", AT, a_calendar(), weddings, approvals).decision is Decision.ALLOW
    assert decide("form", AT, a_calendar(), weddings, approvals).decision is not Decision.ALLOW


def test_a_few_weddings_of_a_whole_platform_may_ask_for_an_approval() -> None:
    calendar = a_calendar(sees_all=True, blocking_weddings=3)
    two = [a_wedding(0, 0), a_wedding(5, 1)]
    assert decide("forms", AT, calendar, two, []).decision is Decision.NEEDS_APPROVAL
    three = [*two, a_wedding(-5, 2)]
    assert decide("forms", AT, calendar, three, []).decision is Decision.BLOCKED
    # Of his own weddings a member has never too few.
    own = a_calendar(blocking_weddings=3)
    assert decide("forms", AT, own, two, []).decision is Decision.BLOCKED


weddings_anywhere = st.lists(
    st.builds(a_wedding, st.integers(-60, 24 * 9), st.integers(0, 2)), max_size=6
)
approvals_of_all_kinds = st.lists(
    st.builds(
        an_approval,
        st.sampled_from([None, 0, 1, 2]),
        st.sampled_from([None, "forms", "mail"]),
        st.sampled_from([None, Emergency.PAYMENT]),
        st.integers(1, 8),
    ),
    max_size=4,
)
calendars = st.builds(
    a_calendar,
    is_zone_known=st.booleans(),
    freeze_until=st.sampled_from([None, AT + DAY]),
    weekly_freeze=st.sampled_from([Decision.BLOCKED, Decision.NEEDS_APPROVAL]),
    mode=st.sampled_from(list(GuardMode)),
    sees_all=st.booleans(),
    blocking_weddings=st.integers(1, 4),
)


@given(calendars, weddings_anywhere, approvals_of_all_kinds)
def test_whatever_comes_together(
    calendar: Calendar, weddings: list[Near], approvals: list[Approval]
) -> None:
    verdict = decide("forms", AT, calendar, weddings, approvals)
    standing = [reason for reason in verdict.reasons if reason.approval is None]
    # The answer is the gravest of what stands, and nothing else decides.
    assert verdict.decision is max(
        (reason.decision for reason in standing), key=GRAVITY.index, default=Decision.ALLOW
    )
    # No approval of another service, of another organization, or too weak for a ban lifts anything.
    for reason in verdict.reasons:
        lifting = reason.approval
        if lifting is not None:
            assert lifting.service in (None, "forms")
            assert reason.decision is not Decision.BLOCKED or lifting.emergency is not None
            assert lifting.organization_id is None or {
                wedding.organization_id for wedding in reason.weddings
            } == {lifting.organization_id}
    # Every wedding that is near is named exactly once.
    near = [one for one in weddings if one.watched_from <= AT < one.ends_at]
    named = [one for reason in verdict.reasons for one in reason.weddings]
    assert sorted(map(id, near)) == sorted(map(id, named))
    assert verdict.until is None or verdict.until > AT
    # More approvals never forbid, more weddings never allow.
    bare = decide("forms", AT, calendar, weddings, [])
    assert GRAVITY.index(verdict.decision) <= GRAVITY.index(bare.decision)
    alone = decide("forms", AT, calendar, [], approvals)
    assert GRAVITY.index(alone.decision) <= GRAVITY.index(verdict.decision)
