"""When quiet hours are, whose they are, and who may set them."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import psycopg
import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from tests.sql.conftest import House
from tests.sql.test_holding import CHANGES, ZONES, is_open
from tests.support.people import (
    ADMIN_A,
    MEMBER_A,
    ORGANIZATION_A,
    ORGANIZATION_B,
    OWNER_B,
    VIEWER_A,
    Connection,
    Person,
    acting_as,
    connect,
)

CLOCKS = st.times(max_value=time(23, 59)).map(lambda t: t.replace(second=0, microsecond=0))
SPANS = (
    "select lower(s.span) as starts_at, upper(s.span) as ends_at "
    "from apm_private.daily_spans(%s, %s, %s, %s, %s, %s) as s"
)


@pytest.fixture
def sql(any_house: House) -> Iterator[Connection]:
    with connect(any_house.superuser) as cx:
        yield cx
        cx.rollback()


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(
    st.sampled_from(ZONES),
    st.sets(st.integers(1, 7), min_size=1),
    CLOCKS,
    CLOCKS,
    st.sampled_from(CHANGES),
    st.lists(st.integers(0, 5 * 1440 - 1), min_size=1, max_size=6),
)
@example("Europe/London", {6, 7}, time(22), time(6), date(2026, 3, 28), [120, 1500, 1560])
@example("Europe/London", {6}, time(22), time(1, 30), date(2026, 10, 24), [1479, 1499, 1559, 1591])
@example("Australia/Lord_Howe", {6}, time(22), time(2, 15), date(2026, 10, 3), [1379, 1380, 1395])
def test_quiet_hours_follow_the_clock_on_the_wall(  # noqa: PLR0917 - hypothesis
    sql: Connection,
    zone: str,
    weekdays: set[int],
    starts: time,
    ends: time,
    near: date,
    minutes: list[int],
) -> None:
    """Against the same hours read minute for minute from Python's zones."""
    assume(starts != ends)  # which the table refuses
    begin = datetime.combine(near, time(), UTC) - timedelta(days=1)
    instants = [begin + timedelta(minutes=minute) for minute in minutes]
    values = (starts, ends, sorted(weekdays), zone, min(instants), max(instants))
    spans = sql.execute(SPANS, values).fetchall()
    for at in instants:
        found = any(span["starts_at"] <= at < span["ends_at"] for span in spans)
        assert found is is_open(at, sorted(weekdays), starts, ends, ZoneInfo(zone)), (at, spans)


@pytest.mark.parametrize(
    ("zone", "night", "hours"),
    [
        ("Europe/London", "2026-06-20", 9),
        ("Europe/London", "2026-03-28", 8),
        ("Europe/London", "2026-10-24", 10),
        ("Australia/Sydney", "2026-10-03", 8),
        ("Australia/Sydney", "2026-04-04", 10),
        ("Australia/Lord_Howe", "2026-10-03", 8.5),
        ("Australia/Lord_Howe", "2026-04-04", 9.5),
        ("America/Santiago", "2026-09-05", 8),
    ],
)
def test_a_night_is_as_long_as_the_clock_makes_it(
    sql: Connection, zone: str, night: str, hours: float
) -> None:
    midnight = datetime.fromisoformat(night).replace(tzinfo=ZoneInfo(zone)) + timedelta(days=1)
    [span] = sql.execute(
        SPANS, (time(22), time(7), [1, 2, 3, 4, 5, 6, 7], zone, midnight, midnight)
    ).fetchall()
    assert span["ends_at"] - span["starts_at"] == timedelta(hours=hours)


INSERT = (
    "insert into apm_quiet_hours (organization_id, contact_method_id, starts_time, ends_time, "
    "time_zone) select organization_id, id, '22:00', '07:00', %s from apm_contact_methods "
    "where name = 'Hers' returning id"
)


def add_contact(cx: Connection, organization_id: Any, owner: Person) -> None:
    cx.execute(
        "insert into apm_contact_methods (organization_id, user_id, name, channel, address) "
        "values (%s, %s, 'Hers', 'email', 'm@example.com')",
        (organization_id, owner.id),
    )


@pytest.mark.parametrize(
    ("contact_of", "person", "made"),
    [
        (MEMBER_A, MEMBER_A, 1),
        (MEMBER_A, ADMIN_A, 1),
        (ADMIN_A, MEMBER_A, None),
        (VIEWER_A, VIEWER_A, 0),
        (MEMBER_A, OWNER_B, 0),
    ],
    ids=["own", "admin", "another's", "viewer", "tenant B"],
)
def test_each_sets_his_own_and_an_admin_the_business(
    sql: Connection, contact_of: Person, person: Person, made: int | None
) -> None:
    with sql.transaction(force_rollback=True):
        add_contact(sql, ORGANIZATION_A, contact_of)
        if made is None:
            with pytest.raises(psycopg.errors.InsufficientPrivilege), acting_as(sql, person):
                sql.execute(INSERT, ("Europe/London",))
            return
        with acting_as(sql, person):
            assert len(sql.execute(INSERT, ("Europe/London",)).fetchall()) == made


def test_a_contact_in_my_name_elsewhere_is_not_mine(sql: Connection) -> None:
    """Anybody can write anybody's user id into a contact of his own organization."""
    with sql.transaction(force_rollback=True):
        add_contact(sql, ORGANIZATION_B, MEMBER_A)
        with acting_as(sql, MEMBER_A):
            assert sql.execute("select apm_own_contact_ids() as ids").fetchone() == {"ids": []}


def test_a_zone_that_is_none_is_refused(sql: Connection) -> None:
    with sql.transaction(force_rollback=True):
        add_contact(sql, ORGANIZATION_A, MEMBER_A)
        with pytest.raises(psycopg.errors.CheckViolation), acting_as(sql, MEMBER_A):
            sql.execute(INSERT, ("Mars/Olympus",))
