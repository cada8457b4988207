"""When a wedding's readiness is due, in any zone on any day, and that it is planned once whatever happens between."""

from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.sql.test_wedding_calendar import (
    DAYS,
    DST_DAYS,
    UNKNOWN_ZONES,
    ZONES,
    add_wedding,
    an_organization,
)
from tests.sql.test_wedding_phases import SHARED
from tests.support.people import (
    AUDITOR,
    MEMBER_A,
    MEMBER_B,
    OPERATOR,
    ORGANIZATION_A,
    ORGANIZATION_B,
    STRANGER,
    VIEWER_A,
    Connection,
    acting_as,
    be_oneself,
)

properties = settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
FIRST_ON_EARTH: Final = timedelta(hours=14)


def plan(cx: Connection, at: datetime) -> int:
    row = cx.execute("select apm_private.plan_readiness(%s) as n", (at,)).fetchone()
    assert row is not None
    return int(row["n"])


def timer_of(cx: Connection, wedding: Any) -> dict[str, Any] | None:
    return cx.execute(
        "select * from apm_private.readiness_timers where wedding_id = %s", (wedding,)
    ).fetchone()


@properties
@given(
    zone=st.sampled_from(ZONES + UNKNOWN_ZONES),
    day=st.one_of(
        DAYS, DST_DAYS, st.sampled_from([date(2028, 2, 29), date(2028, 3, 1), date(2027, 1, 1)])
    ),
    hours=st.lists(st.integers(-80, 80), min_size=1, max_size=4),
    evening=st.sampled_from([time(18), time(0), time(23, 59), time(2, 30)]),
)
def test_it_is_due_on_the_eve_at_the_venue_and_planned_once(
    cx: Connection, zone: str, day: date, hours: list[int], evening: time
) -> None:
    """A look at the calendar at any hours around, in any order, leaves one timer with the same time."""
    eve = day - timedelta(days=1)
    if zone in ZONES:
        due = datetime.combine(eve, evening, ZoneInfo(zone))
        # An hour that the clock skips, or shows twice, stands for one of two instants.
        possible = {due.replace(fold=fold).astimezone(UTC) for fold in (0, 1)}
        # The usual phases end at two in the night.
        end = datetime.combine(day + timedelta(days=1), time(2), ZoneInfo(zone)).astimezone(UTC)
    else:
        possible = {datetime.combine(eve, evening, UTC) - FIRST_ON_EARTH}
        end = datetime.combine(day, time(), UTC) + timedelta(hours=36)
    with an_organization(cx, zone) as organization:
        cx.execute("update apm_private.guard_settings set readiness_time = %s", (evening,))
        wedding = add_wedding(cx, organization, day, None)
        found = set()
        for hour in sorted(hours):
            at = datetime.combine(eve, evening, UTC) + timedelta(hours=hour)
            plan(cx, at)
            assert plan(cx, at) == 0
            timer = timer_of(cx, wedding)
            if timer is None:
                is_far = day - at.date() > timedelta(days=3)
                assert is_far or at >= end
                continue
            assert at < end + timedelta(hours=1)
            assert timer["ends_at"] > at
            assert timer["starts_at"] < timer["ends_at"]
            found.add(timer["due_at"])
        assert len(found) <= 1
        assert found <= possible
        if found and evening <= time(18):
            assert timer is None or timer["due_at"] < timer["starts_at"]


def test_a_shared_wedding_is_prepared_by_each_vendor_for_himself(cx: Connection) -> None:
    day = date(2031, 6, 7)
    with cx.transaction(force_rollback=True):
        cx.execute(SHARED)
        row = cx.execute(
            "with core as (insert into wedding_core_data (wedding_date) values (%s) returning id)"
            " insert into vendor_wedding_connections (wedding_id, organization_id, connection_status)"
            " select id, %s, 'active' from core returning id",
            (day, ORGANIZATION_B),
        ).fetchone()
        assert row is not None
        for person, seen in ((MEMBER_B, 1), (OPERATOR, 1), (MEMBER_A, 0), (STRANGER, 0)):
            with acting_as(cx, person):
                found = cx.execute(
                    "select wedding_date from apm_readiness_facts(%s)", (row["id"],)
                ).fetchall()
            assert found == [{"wedding_date": day}] * seen, person


def test_only_who_belongs_asks_for_a_report(cx: Connection) -> None:
    with cx.transaction(force_rollback=True):
        at = datetime.now(UTC)
        wedding = add_wedding(cx, ORGANIZATION_A, at.date() + timedelta(days=1), "UTC")
        far = add_wedding(cx, ORGANIZATION_A, at.date() + timedelta(days=9), "UTC")
        plan(cx, at)
        ask = "select apm_ask_readiness(%s)"
        for person, state in (
            (VIEWER_A, "AP403"),
            (MEMBER_B, "AP404"),
            (STRANGER, "AP404"),
            (AUDITOR, "AP403"),
        ):
            with pytest.raises(psycopg.Error) as refused, acting_as(cx, person):
                cx.execute(ask, (wedding,))
            assert refused.value.sqlstate == state, person
        for person in (MEMBER_A, OPERATOR):
            with acting_as(cx, person):
                cx.execute(ask, (wedding,))
            with pytest.raises(psycopg.Error) as refused, acting_as(cx, person):
                cx.execute(ask, (far,))
            assert refused.value.sqlstate == "AP409"
        with acting_as(cx, MEMBER_A, keeping=True):
            cx.execute(ask, (wedding,))
        be_oneself(cx)
        timer = timer_of(cx, wedding)
        assert timer is not None
        assert timer["asked_at"] is not None
        assert timer["next_at"] <= datetime.now(UTC)
