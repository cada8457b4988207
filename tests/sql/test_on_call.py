"""Who is on call as the database says it: the same as Python does, for whom it may be said."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Final
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

import psycopg
import pytest
from hypothesis import HealthCheck, example, given, settings

from tests.sql.conftest import House
from tests.support.on_call import Plan, plans
from tests.support.people import (
    ADMIN_A,
    ADMIN_OF_BOTH,
    FORMER_MEMBER_A,
    FORMER_OPERATOR,
    MEMBER_A,
    MEMBER_B,
    OPERATOR,
    ORGANIZATION_A,
    ORGANIZATION_B,
    OWNER_A,
    READ_KEY_A,
    STRANGER,
    VIEWER_A,
    Connection,
    acting_as,
    be_oneself,
    become,
    connect,
    settle_people,
)
from tests.support.postgres import Database
from wedsync_apm.escalation.schedules.model import Layer, find_shifts

PEOPLE: Final = (OWNER_A.id, ADMIN_A.id, MEMBER_A.id, ADMIN_OF_BOTH.id)
NOON: Final = datetime(2026, 6, 6, 12, tzinfo=UTC)
HOUR: Final = timedelta(hours=1)
DAY: Final = timedelta(days=1)

properties = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@contextmanager
def undone(cx: Connection) -> Iterator[None]:
    with cx.transaction(force_rollback=True):
        yield


def add_schedule(
    cx: Connection, zone: str = "Europe/London", organization: UUID = ORGANIZATION_A
) -> UUID:
    row = cx.execute(
        "insert into apm_on_call_schedules (organization_id, name, time_zone) values (%s, %s, %s)"
        " returning id",
        (organization, f"Rota {uuid4()}", zone),
    ).fetchone()
    assert row is not None
    schedule: UUID = row["id"]
    return schedule


def add_layer(
    cx: Connection,
    schedule: UUID,
    people: list[UUID],
    *,
    position: int = 1,
    starts_on: date = date(2026, 1, 1),
    organization: UUID = ORGANIZATION_A,
    **more: Any,
) -> None:
    values = {
        "organization_id": organization,
        "schedule_id": schedule,
        "position": position,
        "participants": people,
        "starts_on": starts_on,
    } | more
    cx.execute(
        f"insert into apm_on_call_layers ({', '.join(values)}) values ({', '.join(['%s'] * len(values))})",
        tuple(values.values()),
    )


def add_override(
    cx: Connection, schedule: UUID, user_id: UUID, starts_at: datetime, ends_at: datetime
) -> None:
    cx.execute(
        "insert into apm_on_call_overrides (organization_id, schedule_id, user_id, starts_at, ends_at)"
        " values (%s, %s, %s, %s, %s)",
        (ORGANIZATION_A, schedule, user_id, starts_at, ends_at),
    )


def add_contact(cx: Connection, user_id: UUID, *, is_verified: bool = True) -> UUID:
    row = cx.execute(
        "insert into apm_contact_methods (organization_id, user_id, name, channel, address, verified_at)"
        " values (%s, %s, 'Priya', 'email', 'p@example.com', case when %s then now() end) returning id",
        (ORGANIZATION_A, user_id, is_verified),
    ).fetchone()
    assert row is not None
    contact: UUID = row["id"]
    return contact


def between(cx: Connection, schedule: UUID, earliest: datetime, latest: datetime) -> list[Any]:
    return cx.execute(
        "select user_id, starts_at, ends_at, source, layer"
        " from apm_private.on_call_between(%s, %s, %s, %s)",
        (ORGANIZATION_A, schedule, earliest, latest),
    ).fetchall()


def now_on(cx: Connection, schedule: UUID, at: datetime) -> set[UUID]:
    return {
        row["user_id"]
        for row in cx.execute("select user_id from apm_on_call(%s, %s)", (schedule, at))
    }


def keep(cx: Connection, plan: Plan) -> UUID:
    """The plan as rows; who is not present was a member when they were written."""
    schedule = add_schedule(cx, plan.zone)
    for position, layer in enumerate(plan.layers, start=1):
        add_layer(
            cx,
            schedule,
            list(layer.participants),
            position=position,
            starts_on=layer.starts_on,
            handover_time=layer.handover_time,
            shift_days=layer.shift_days,
            weekdays=sorted(layer.weekdays),
            from_time=layer.from_time,
            until_time=layer.until_time,
        )
    for override in plan.overrides:
        add_override(cx, schedule, override.user_id, override.starts_at, override.ends_at)
    for one in plan.temporary:
        cx.execute(
            "insert into apm_on_call_temporary_schedules (organization_id, schedule_id, starts_at,"
            " ends_at, shift_user_ids, shift_starts, shift_ends) values (%s, %s, %s, %s, %s, %s, %s)",
            (
                ORGANIZATION_A,
                schedule,
                one.starts_at,
                one.ends_at,
                [s.user_id for s in one.shifts],
                [s.starts_at for s in one.shifts],
                [s.ends_at for s in one.shifts],
            ),
        )
    leave(cx, [one for one in PEOPLE if one not in plan.present])
    return schedule


def leave(cx: Connection, people: list[UUID]) -> None:
    cx.execute("delete from user_profiles where user_id = any (%s)", (people,))
    cx.execute("delete from apm_memberships where user_id = any (%s)", (people,))


def over_the_change(
    zone: str, day: date, at: time, until: time | None = None
) -> tuple[Plan, datetime, datetime]:
    """Hand-overs, or hours that begin, at a time that the clock shows twice, or never."""
    layer = Layer(
        participants=PEOPLE,
        starts_on=day - 3 * DAY,
        handover_time=at if until is None else time(),
        shift_days=1,
        from_time=at if until else time(),
        until_time=until or time(),
    )
    middle = datetime.combine(day, time(12), UTC)
    return Plan(zone, [layer], (), (), set(PEOPLE)), middle - 2 * DAY, middle + 2 * DAY


@properties
@given(plans(PEOPLE))
@example(over_the_change("Europe/London", date(2026, 10, 25), time(1, 30)))
@example(over_the_change("Europe/London", date(2026, 10, 25), time(1, 30), time(12)))
@example(over_the_change("Europe/London", date(2026, 10, 25), time(22), time(1, 30)))
@example(over_the_change("Europe/London", date(2026, 3, 29), time(1, 30)))
@example(over_the_change("America/New_York", date(2026, 11, 1), time(1)))
@example(over_the_change("America/New_York", date(2026, 3, 8), time(2, 30), time(3)))
@example(over_the_change("Australia/Lord_Howe", date(2026, 4, 5), time(1, 45)))
@example(over_the_change("Australia/Lord_Howe", date(2026, 10, 4), time(2, 15), time(2)))
@example(over_the_change("America/Santiago", date(2026, 4, 4), time(23, 15)))
@example(over_the_change("America/Santiago", date(2026, 9, 6), time(0, 15)))
def test_the_database_says_what_python_says(
    cx: Connection, made: tuple[Plan, datetime, datetime]
) -> None:
    plan, earliest, latest = made
    expected = [
        (s.user_id, s.starts_at, s.ends_at, s.source.value, s.position)
        for s in find_shifts(
            plan.layers,
            ZoneInfo(plan.zone),
            earliest,
            latest,
            overrides=plan.overrides,
            temporary=plan.temporary,
            present=plan.present,
        )
    ]
    with undone(cx):
        schedule = keep(cx, plan)
        found = [tuple(row.values()) for row in between(cx, schedule, earliest, latest)]
        key = lambda one: (one[1], str(one))  # noqa: E731
        assert sorted(found, key=key) == sorted(expected, key=key)
        # An instant is a short range.
        for at in {s[1] for s in expected[:3]} | {s[2] for s in expected[:2]} | {earliest}:
            if earliest <= at < latest:
                assert now_on(cx, schedule, at) == {s[0] for s in expected if s[1] <= at < s[2]}


def test_only_the_organization_sees_it_and_only_members_the_names(cx: Connection) -> None:
    with undone(cx):
        schedule = add_schedule(cx)
        add_layer(cx, schedule, [MEMBER_A.id])
        add_contact(cx, MEMBER_A.id)
        for person, seen, name in (
            (OWNER_A, 1, "Priya"),
            (MEMBER_A, 1, "Priya"),
            (VIEWER_A, 1, None),
            (READ_KEY_A, 1, None),
            (MEMBER_B, 0, None),
            (STRANGER, 0, None),
            (FORMER_MEMBER_A, 0, None),
            (OPERATOR, 0, None),
        ):
            with acting_as(cx, person):
                found = cx.execute("select * from apm_on_call(%s, %s)", (schedule, NOON)).fetchall()
            assert [row["name"] for row in found] == [name] * seen, person.name
            assert [row["verified"] for row in found] == [1] * seen
            with acting_as(cx, person):
                weddings = cx.execute(
                    "select * from apm_on_call_weddings(%s, current_date, current_date + 60)",
                    (ORGANIZATION_A,),
                ).fetchall()
            assert (len(weddings) > 0) is (seen > 0), person.name


@pytest.mark.parametrize(
    ("earliest", "latest"),
    [
        (NOON, NOON),
        (NOON, NOON - HOUR),
        (NOON, NOON + 101 * DAY),
        ("-infinity", NOON),
        (NOON, "infinity"),
        (datetime(1, 1, 1, tzinfo=UTC), datetime(1, 1, 2, tzinfo=UTC)),
        (None, NOON),
    ],
)
def test_a_range_without_bounds_is_refused(cx: Connection, earliest: Any, latest: Any) -> None:
    with undone(cx):
        schedule = add_schedule(cx)
        with acting_as(cx, MEMBER_A), pytest.raises(psycopg.errors.CheckViolation):
            cx.execute("select * from apm_on_call(%s, %s, %s)", (schedule, earliest, latest))


@pytest.mark.parametrize("stranger", [MEMBER_B.id, FORMER_MEMBER_A.id, UUID(int=7)])
def test_nobody_of_others_is_put_on_call(cx: Connection, stranger: UUID) -> None:
    with undone(cx):
        schedule = add_schedule(cx)
        for put in (
            lambda: add_layer(cx, schedule, [MEMBER_A.id, stranger]),
            lambda: add_override(cx, schedule, stranger, NOON, NOON + HOUR),
            lambda: cx.execute(
                "insert into apm_on_call_temporary_schedules (organization_id, schedule_id, starts_at,"
                " ends_at, shift_user_ids, shift_starts, shift_ends)"
                " values (%s, %s, %s, %s, %s, %s, %s)",
                (ORGANIZATION_A, schedule, NOON, NOON + HOUR, [stranger], [NOON], [NOON + HOUR]),
            ),
        ):
            with pytest.raises(psycopg.errors.CheckViolation, match="does not belong"), undone(cx):
                put()


def test_whoever_leaves_counts_no_more_and_an_override_of_his_neither(cx: Connection) -> None:
    with undone(cx):
        schedule = add_schedule(cx)
        add_layer(cx, schedule, [MEMBER_A.id])
        add_override(cx, schedule, ADMIN_OF_BOTH.id, NOON, NOON + HOUR)
        assert now_on(cx, schedule, NOON) == {ADMIN_OF_BOTH.id}
        leave(cx, [ADMIN_OF_BOTH.id])
        assert now_on(cx, schedule, NOON) == {MEMBER_A.id}
        cx.execute(
            "insert into apm_private.users (id, email, display_name, password_hash, disabled_at)"
            " values (%s, 'm@example.com', 'M', 'x', now())",
            (MEMBER_A.id,),
        )
        assert now_on(cx, schedule, NOON) == set()


def test_the_platforms_own_operators_are_its_people(cx: Connection) -> None:
    with undone(cx):
        cx.execute(
            "insert into apm_private.platform (organization_id) values (%s)"
            " on conflict (is_only) do update set organization_id = excluded.organization_id",
            (ORGANIZATION_A,),
        )
        schedule = add_schedule(cx)
        add_layer(cx, schedule, [OPERATOR.id])
        assert now_on(cx, schedule, NOON) == {OPERATOR.id}
        with pytest.raises(psycopg.errors.CheckViolation), undone(cx):
            add_layer(cx, schedule, [FORMER_OPERATOR.id], position=2)
        cx.execute(
            "update apm_operators set disabled_at = now() where user_id = %s", (OPERATOR.id,)
        )
        assert now_on(cx, schedule, NOON) == set()


def test_a_zone_that_is_known_no_more_stops_nothing(cx: Connection) -> None:
    with undone(cx):
        schedule = add_schedule(cx)
        add_layer(cx, schedule, [MEMBER_A.id])
        with pytest.raises(psycopg.errors.CheckViolation), undone(cx):
            cx.execute("update apm_on_call_schedules set time_zone = 'Mars'")
        cx.execute("alter table apm_on_call_schedules disable trigger apm_on_call_schedules_check")
        cx.execute("update apm_on_call_schedules set time_zone = 'Mars' where id = %s", (schedule,))
        assert now_on(cx, schedule, NOON) == {MEMBER_A.id}


def test_members_swap_and_only_admins_make_schedules(cx: Connection) -> None:
    with undone(cx):
        schedule = add_schedule(cx)
        with acting_as(cx, MEMBER_A, keeping=True):
            add_override(cx, schedule, MEMBER_A.id, NOON, NOON + HOUR)
        be_oneself(cx)
        row = cx.execute(
            "select created_by from apm_on_call_overrides where schedule_id = %s", (schedule,)
        ).fetchone()
        assert row == {"created_by": MEMBER_A.id}
        for person, do in (
            (VIEWER_A, lambda: add_override(cx, schedule, MEMBER_A.id, NOON + DAY, NOON + 2 * DAY)),
            (MEMBER_A, lambda: add_schedule(cx)),
            (MEMBER_A, lambda: add_layer(cx, schedule, [MEMBER_A.id])),
            (MEMBER_B, lambda: add_override(cx, schedule, MEMBER_A.id, NOON + DAY, NOON + 2 * DAY)),
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege), acting_as(cx, person):
                do()


def test_a_link_to_a_schedule_of_others_is_none(cx: Connection) -> None:
    with undone(cx):
        theirs = add_schedule(cx, organization=ORGANIZATION_B)
        with pytest.raises(psycopg.errors.ForeignKeyViolation), acting_as(cx, ADMIN_A):
            cx.execute(
                "insert into apm_escalation_schedules select organization_id, id, %s"
                " from apm_escalation_steps where organization_id = %s",
                (theirs, ORGANIZATION_A),
            )


def test_what_a_wedding_leaves_open(cx: Connection) -> None:
    """Only schedules that a ladder in use names count for its readiness."""
    with undone(cx):
        day = date(2031, 6, 7)
        row = cx.execute(
            "insert into apm_weddings (organization_id, wedding_date, time_zone) values (%s, %s, 'UTC')"
            " returning id",
            (ORGANIZATION_A, day),
        ).fetchone()
        assert row is not None
        schedule = add_schedule(cx, "UTC")
        # from eight in the morning; the wedding is from eight until two in the night
        add_layer(
            cx,
            schedule,
            [MEMBER_A.id],
            handover_time=time(8),
            from_time=time(8),
            until_time=time(23),
        )
        begins = datetime.combine(day, time(8), UTC)
        facts = "select * from apm_on_call_facts(%s, %s, %s)"
        asked = (row["id"], begins, begins + 18 * HOUR)
        with acting_as(cx, MEMBER_A):
            assert cx.execute(facts, asked).fetchone() == {
                "rotas": 1,
                "open_rotas": 1,
                "open_minutes": 18 * 60,
                "unreachable": 0,
                "thin": 0,
            }, "of the world's own rota, which has nobody then"
        cx.execute(
            "delete from apm_escalation_schedules where organization_id = %s", (ORGANIZATION_A,)
        )
        cx.execute(
            "insert into apm_escalation_schedules select organization_id, id, %s"
            " from apm_escalation_steps where organization_id = %s",
            (schedule, ORGANIZATION_A),
        )
        for contacts, unreachable, thin in ((0, 1, 0), (1, 0, 1), (2, 0, 0)):
            if contacts:
                add_contact(cx, MEMBER_A.id)
            with acting_as(cx, VIEWER_A):
                assert cx.execute(facts, asked).fetchone() == {
                    "rotas": 1,
                    "open_rotas": 1,
                    "open_minutes": 180,
                    "unreachable": unreachable,
                    "thin": thin,
                }
        with acting_as(cx, MEMBER_A):
            [found] = [
                one
                for one in cx.execute(
                    "select * from apm_on_call_weddings(%s, %s, %s)", (ORGANIZATION_A, day, day)
                )
                if one["schedule_id"] == schedule
            ]
        [gap] = found["gaps"]
        assert (gap.lower, gap.upper) == (begins + 15 * HOUR, begins + 18 * HOUR)
        assert found["is_used"]
        for person in (MEMBER_B, STRANGER):
            with acting_as(cx, person):
                assert cx.execute(facts, asked).fetchone() is None
        cx.execute(
            "update apm_on_call_layers set until_time = '08:00' where schedule_id = %s", (schedule,)
        )
        with acting_as(cx, OPERATOR):
            whole = cx.execute(facts, asked).fetchone()
        assert whole is not None
        assert (whole["open_rotas"], whole["open_minutes"]) == (0, 0)


def test_two_at_once_do_not_both_put_an_override(own: tuple[House, Database]) -> None:
    """Whoever is second waits for the first one and is refused then."""
    house, database = own
    with connect(house.superuser_of(database)) as setup:
        settle_people(setup)
        schedule = add_schedule(setup)
    refused: list[str] = []
    with connect(database.api) as first:
        become(first, MEMBER_A)
        add_override(first, schedule, MEMBER_A.id, NOON, NOON + 2 * HOUR)

        def second() -> None:
            with connect(database.api) as other:
                become(other, ADMIN_A)
                try:
                    add_override(other, schedule, ADMIN_A.id, NOON + HOUR, NOON + 3 * HOUR)
                except psycopg.Error as exc:
                    refused.append(exc.sqlstate or "")

        racer = threading.Thread(target=second)
        racer.start()
        with connect(house.superuser_of(database), autocommit=True) as watching:
            deadline = datetime.now(UTC) + timedelta(seconds=60)
            while not watching.execute(
                "select from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"
            ).fetchall():
                assert datetime.now(UTC) < deadline, "the second one does not wait"
        first.commit()
        racer.join(60)
    assert refused == ["AP409"]
