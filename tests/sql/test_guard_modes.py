"""The week's guard modes in any zone, the season, what operators order, and the freeze around weddings."""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final
from uuid import UUID
from zoneinfo import ZoneInfo

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.sql.conftest import House
from tests.sql.test_wedding_calendar import (
    DAYS,
    DST_DAYS,
    UNKNOWN_ZONES,
    ZONES,
    add_client,
    add_wedding,
)
from tests.support.people import (
    ADMIN_A,
    AUDITOR,
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
    Person,
    acting_as,
    become,
    connect,
)
from tests.support.postgres import Database

RANKS: Final = ("normal", "enhanced", "maximum")
properties = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@contextmanager
def the_zone(cx: Connection, zone: str, **columns: Any) -> Iterator[None]:
    with cx.transaction(force_rollback=True):
        names = "".join(f", {name} = %({name})s" for name in columns)
        cx.execute(
            f"update apm_private.guard_settings set time_zone = %(zone)s{names}".encode(),
            {"zone": zone, **columns},
        )
        yield


def mode_at(cx: Connection, at: datetime) -> dict[str, Any]:
    row = cx.execute("select * from apm_private.guard_mode_at(%s)", (at,)).fetchone()
    assert row is not None
    return row


def a_calm_day() -> dict[str, timedelta]:
    """Settings by which the calendar has nothing to say for days around the present."""
    now = datetime.now(UTC)
    moment = timedelta(days=(now.weekday() + 3) % 7)
    return {
        "enhanced_from": moment,
        "enhanced_until": moment + timedelta(minutes=1),
        "maximum_from": moment,
        "maximum_until": moment + timedelta(minutes=1),
    }


def order(
    cx: Connection, mode: str, starts_at: datetime, hours: float, emergency: str | None = None
) -> UUID:
    row = cx.execute(
        "insert into apm_private.guard_overrides (mode, reason, emergency, rollback_plan, starts_at, ends_at,"
        " created_by_name) values (%s, 'because', %s, 'back', %s, %s, 'Olga') returning id",
        (mode, emergency, starts_at, starts_at + timedelta(hours=hours)),
    ).fetchone()
    assert row is not None
    return UUID(str(row["id"]))


@properties
@given(
    zone=st.sampled_from(ZONES), day=st.one_of(DAYS, DST_DAYS), minutes=st.integers(0, 7 * 24 * 60)
)
def test_the_week_is_the_platforms_own(cx: Connection, zone: str, day: Any, minutes: int) -> None:
    """Enhanced from Friday 20:00, maximum on Saturday, else normal, by the clock on the wall there."""
    at = datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(minutes=minutes)
    wall = at.astimezone(ZoneInfo(zone))
    expected = "normal"
    if wall.weekday() == 5:
        expected = "maximum"
    elif wall.weekday() == 4 and wall.hour >= 20:
        expected = "enhanced"
    with the_zone(cx, zone):
        found = mode_at(cx, at)
        assert (found["mode"], found["source"], found["who"]) == (expected, "calendar", "calendar")
        # It holds until just before `until`, and not a moment longer.
        assert at < found["until"] <= at + timedelta(days=8)
        assert mode_at(cx, found["until"] - timedelta(microseconds=1))["mode"] == expected
        assert mode_at(cx, found["until"])["mode"] != expected


@pytest.mark.parametrize("zone", UNKNOWN_ZONES)
def test_a_zone_that_nobody_can_read_keeps_the_closest_watch(cx: Connection, zone: str) -> None:
    with the_zone(cx, zone):
        found = mode_at(cx, datetime(2026, 6, 16, 12, tzinfo=UTC))
        assert (found["mode"], found["until"]) == ("maximum", None)
        calendar = cx.execute("select * from apm_freeze_calendar('2026-06-16 12:00Z')").fetchone()
        assert calendar is not None
        assert (calendar["is_zone_known"], calendar["mode"]) == (False, "maximum")
        season = cx.execute("select * from apm_private.season_at('2026-06-16 12:00Z')").fetchone()
        assert season is not None
        assert season["capacity_factor"] == 1
    for endless in ("infinity", "-infinity"):
        row = cx.execute("select mode from apm_guard_mode(%s)", (endless,)).fetchone()
        assert row == {"mode": "maximum"}


def test_without_settings_the_closest_watch_is_kept_and_the_freeze_knows_of_nothing(
    cx: Connection,
) -> None:
    """As after a restore that lost them: the answer is still one row, and it bans."""
    with cx.transaction(force_rollback=True):
        cx.execute("delete from apm_private.guard_settings")
        assert mode_at(cx, datetime(2026, 6, 16, 12, tzinfo=UTC))["mode"] == "maximum"
        become(cx, MEMBER_A)
        [calendar] = cx.execute("select * from apm_freeze_calendar('2026-06-16 12:00Z')").fetchall()
        assert (calendar["is_zone_known"], calendar["weekly_freeze"], calendar["mode"]) == (
            False,
            "blocked",
            "maximum",
        )


def test_a_week_may_be_set_otherwise(cx: Connection) -> None:
    """A span that runs over the end of a week holds on both sides of it."""
    with the_zone(
        cx, "UTC", maximum_from=timedelta(days=6, hours=12), maximum_until=timedelta(days=8)
    ):
        assert mode_at(cx, datetime(2026, 6, 21, 13, tzinfo=UTC))["mode"] == "maximum"
        assert mode_at(cx, datetime(2026, 6, 22, 23, tzinfo=UTC))["mode"] == "maximum"
        assert mode_at(cx, datetime(2026, 6, 23, 1, tzinfo=UTC))["mode"] == "normal"
        assert mode_at(cx, datetime(2026, 6, 20, 13, tzinfo=UTC))["mode"] == "enhanced"


moments = st.integers(0, 60).map(
    lambda n: datetime(2026, 6, 19, 12, tzinfo=UTC) + n * timedelta(minutes=30)
)
orders = st.lists(
    st.tuples(
        st.sampled_from(RANKS),
        moments,
        st.sampled_from([0.5, 2, 8]),
        st.sampled_from([None, "payment"]),
    ),
    max_size=4,
)


@properties
@given(given_orders=orders, at=moments)
def test_an_order_tightens_and_an_emergency_takes_the_calendars_place(
    cx: Connection, given_orders: list[tuple[str, datetime, float, str | None]], at: datetime
) -> None:
    """From Friday noon to Saturday evening, with any orders: judged by a few lines of Python."""
    with the_zone(cx, "UTC"):
        calendar = mode_at(cx, at)["mode"]
        for mode, starts_at, hours, emergency in given_orders:
            order(cx, mode, starts_at, hours, emergency)
        found = mode_at(cx, at)
        active = [one for one in given_orders if one[1] <= at < one[1] + timedelta(hours=one[2])]
        latest = max((one[1] for one in active if one[3]), default=None)
        bases = {one[0] for one in active if one[3] and one[1] == latest} or {calendar}
        floors = [one[0] for one in active if not one[3]]
        assert found["mode"] in {max([base, *floors], key=RANKS.index) for base in bases}
        assert found["calendar_mode"] == calendar
        if not any(one[3] for one in active):
            assert RANKS.index(found["mode"]) >= RANKS.index(calendar)
        # `until` is the very instant of the next change.
        assert mode_at(cx, found["until"])["mode"] != found["mode"]
        step = (found["until"] - at) / 7
        assert all(mode_at(cx, at + n * step)["mode"] == found["mode"] for n in range(7))


@properties
@given(
    given_orders=orders, zone=st.sampled_from([*ZONES, *UNKNOWN_ZONES]), hours=st.integers(0, 60)
)
def test_the_spans_that_rules_read_are_the_mode_that_holds(
    cx: Connection,
    given_orders: list[tuple[str, datetime, float, str | None]],
    zone: str,
    hours: int,
) -> None:
    """An instant lies in a stretch of the mode that holds then, and in none of another one."""
    earliest = datetime(2026, 6, 19, 6, tzinfo=UTC)
    latest = earliest + timedelta(hours=hours)
    with the_zone(cx, zone):
        for mode, starts_at, length, emergency in given_orders:
            order(cx, mode, starts_at, length, emergency)
        rows = cx.execute(
            "select kind, lower(span) as begins, upper(span) as ends from apm_guard_spans(%s, %s)"
            " where kind <> 'freeze' and not isempty(span)",
            (earliest, latest),
        ).fetchall()
        for at in (
            earliest,
            latest,
            earliest + (latest - earliest) / 3,
            latest - timedelta(hours=1),
        ):
            if not earliest <= at <= latest:
                continue
            inside = {row["kind"] for row in rows if row["begins"] <= at < row["ends"]}
            assert inside == {mode_at(cx, at)["mode"]} - {"normal"}


def test_the_season_loosens_by_region_and_month(cx: Connection) -> None:
    def factor(at: str, region: str | None = None) -> tuple[bool, float] | None:
        row = cx.execute("select * from apm_private.season_at(%s, %s)", (at, region)).fetchone()
        return None if row is None else (row["is_season"], row["capacity_factor"])

    with the_zone(cx, "Europe/London"):
        assert factor("2026-06-15 12:00Z") == (True, 1.6)
        assert factor("2026-01-15 12:00Z") == (False, 1.0)
        assert factor("2026-01-15 12:00Z", "south") == (True, 1.5)
        assert factor("2026-06-15 12:00Z", "south") == (False, 1.0)
        assert factor("2026-06-15 12:00Z", "moon") is None
        # The month is the one on the platform's wall.
        assert factor("2026-04-30 22:59Z") == (False, 1.0)
        assert factor("2026-04-30 23:00Z") == (True, 1.4)
    # and says nothing of how closely is watched
    assert mode_at(cx, datetime(2026, 6, 16, 12, tzinfo=UTC))["mode"] == "normal"


@pytest.mark.parametrize(
    "seasons",
    ['[]', '{"north": []}', '{"north": {"13": 1.2}}', '{"north": {"5": 0.5}}', '{"north": {"5": 11}}',
     '{"north": {"5": "1.2"}}', '{"North!": {"5": 1.2}, "north": {}}', '{"south": {}}'],
)  # fmt: skip
def test_a_season_table_only_loosens(cx: Connection, seasons: str) -> None:
    with pytest.raises(psycopg.errors.CheckViolation), cx.transaction():
        cx.execute("update apm_private.guard_settings set seasons = %s", (seasons,))


def as_operator(cx: Connection, statement: str, *values: Any) -> Any:
    with acting_as(cx, OPERATOR, keeping=True):
        return cx.execute(statement.encode(), values).fetchone()


ORDER: Final = "select apm_override_guard_mode(%s, %s, now() + %s::interval, %s, %s) as id"


def test_an_operator_tightens_freely_and_lowers_in_an_emergency(cx: Connection) -> None:
    with (
        the_zone(cx, "UTC", maximum_from=timedelta(0), maximum_until=timedelta(days=7)),
        cx.transaction(),
    ):
        become(cx, OPERATOR)
        with pytest.raises(psycopg.Error, match="emergency") as refused, cx.transaction():
            cx.execute(ORDER, ("normal", "it is noisy", "1 hour", None, None))
        assert refused.value.sqlstate == "AP422"
        with pytest.raises(psycopg.errors.CheckViolation), cx.transaction():
            cx.execute(ORDER, ("normal", "payments fail", "1 hour", "payment", None))
        with pytest.raises(psycopg.Error, match="eight hours"), cx.transaction():
            cx.execute(ORDER, ("normal", "payments fail", "8 hours 1 second", "payment", "undo"))
        cx.execute(ORDER, ("normal", "payments fail", "1 hour", "payment", "undo"))
        row = cx.execute("select * from apm_guard_mode(clock_timestamp())").fetchone()
        assert row is not None
        assert (row["mode"], row["source"], row["who"], row["why"], row["calendar_mode"]) == (
            "normal", "override", OPERATOR.name, "payments fail", "maximum",
        )  # fmt: skip
        [listed] = cx.execute("select * from apm_guard_overrides()").fetchall()
        # To tighten again is free, and ends with it.
        cx.execute("select apm_end_guard_override(%s, 'mended')", (listed["id"],))
        assert cx.execute("select mode from apm_guard_mode(clock_timestamp())").fetchone() == {
            "mode": "maximum"
        }
        with pytest.raises(psycopg.Error, match="over already"), cx.transaction():
            cx.execute("select apm_end_guard_override(%s, 'mended')", (listed["id"],))


def test_an_order_that_holds_the_mode_up_does_not_end_without_an_emergency(cx: Connection) -> None:
    with the_zone(cx, "UTC", **a_calm_day()), cx.transaction():
        become(cx, OPERATOR)
        made = cx.execute(ORDER, ("maximum", "a rumour", "2 hours", None, None)).fetchone()
        assert made is not None
        with pytest.raises(psycopg.Error, match="name the emergency") as refused, cx.transaction():
            cx.execute("select apm_end_guard_override(%s, 'false alarm')", (made["id"],))
        assert refused.value.sqlstate == "AP422"
        # A shorter or lower one beside it lowers nothing.
        cx.execute(ORDER, ("maximum", "a rumour", "1 hour", None, None))
        row = cx.execute(
            "select \"until\" > now() + interval '90 minutes' as long"
            " from apm_guard_mode(clock_timestamp())"
        ).fetchone()
        assert row == {"long": True}
        cx.execute(
            "select apm_end_guard_override(%s, 'it pages everybody', 'security')", (made["id"],)
        )


@pytest.mark.parametrize(
    "person", [OWNER_A, MEMBER_A, AUDITOR, FORMER_OPERATOR, STRANGER, READ_KEY_A], ids=str
)
def test_nobody_else_orders_or_sets_anything(cx: Connection, person: Person) -> None:
    for statement, values in (
        (ORDER, ("maximum", "because", "1 hour", None, None)),
        ("select apm_change_guard_settings(%s)", (json.dumps({"watch_days": 0}),)),
        ("select apm_approve_change(null, 'forms', 'because', now() + interval '1 hour')", ()),
        ("select apm_end_guard_override(gen_random_uuid(), 'because')", ()),
    ):
        with pytest.raises(psycopg.Error) as refused, acting_as(cx, person):
            cx.execute(statement.encode(), values)
        assert refused.value.sqlstate == "AP403", statement
    with acting_as(cx, person):
        assert cx.execute("select * from apm_guard_mode()").fetchone() is not None
        assert cx.execute("select * from apm_guard_overrides()").fetchall() == []


def test_settings_are_checked_and_audited(cx: Connection) -> None:
    with cx.transaction(force_rollback=True):
        cx.execute(
            "insert into apm_private.platform (organization_id) values (%s)", (ORGANIZATION_B,)
        )
        become(cx, OPERATOR)
        for wrong in ({"time_zone": "Mars"}, {"freeze_until": "1 day"}, {"season_region": "moon"},
                      {"wedding_days_before": -1}, {"readiness_time": "25:00"}):  # fmt: skip
            with pytest.raises(psycopg.Error) as refused, cx.transaction():
                cx.execute("select apm_change_guard_settings(%s)", (json.dumps(wrong),))
            assert refused.value.sqlstate in {"22023", "23514", "22008", "22007"}, wrong
        cx.execute(
            "select apm_change_guard_settings(%s)", (json.dumps({"time_zone": "Asia/Tokyo"}),)
        )
        assert cx.execute("select time_zone from apm_guard_settings()").fetchone() == {
            "time_zone": "Asia/Tokyo"
        }
        [entry] = cx.execute(
            "select actor, old_values ->> 'time_zone' as old, new_values ->> 'time_zone' as new"
            " from apm_audit_log where object_type = 'guard_settings'"
        ).fetchall()
        assert entry == {"actor": OPERATOR.name, "old": "Europe/London", "new": "Asia/Tokyo"}


# ---- the freeze around weddings


def near(cx: Connection, at: datetime, organization: UUID | None = None) -> list[dict[str, Any]]:
    return cx.execute("select * from apm_freeze_weddings(%s, %s)", (at, organization)).fetchall()


@properties
@given(zone=st.sampled_from(ZONES), day=st.one_of(DAYS, DST_DAYS), by_client=st.booleans())
def test_a_wedding_freezes_from_the_morning_before_at_the_venue(
    cx: Connection, zone: str, day: Any, by_client: bool
) -> None:
    with cx.transaction(force_rollback=True):
        cx.execute("delete from apm_weddings; delete from clients")
        cx.execute(
            "update organizations set settings = jsonb_build_object('timezone', %s::text) where id = %s",
            (zone, ORGANIZATION_A),
        )
        if by_client:
            add_client(cx, ORGANIZATION_A, day, "booked")
        else:
            add_wedding(cx, ORGANIZATION_A, day, zone)
        noon = datetime(day.year, day.month, day.day, 12, tzinfo=ZoneInfo(zone)).astimezone(UTC)
        become(cx, MEMBER_A)
        [found] = near(cx, noon)
        midnight = datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(zone))
        before = (midnight - timedelta(days=1)).astimezone(UTC)
        assert found["starts_at"] <= noon < found["ends_at"]
        assert found["frozen_from"] <= before
        assert before - found["frozen_from"] <= timedelta(hours=1)
        assert found["watched_from"] <= before - timedelta(days=6) + timedelta(hours=1)
        # The default phases end at two in the night, and then it is over.
        assert (found["ends_at"].astimezone(ZoneInfo(zone)) - midnight) <= timedelta(hours=28)
        assert near(cx, found["ends_at"]) == []
        become(cx, MEMBER_B)
        assert near(cx, noon) == []


@pytest.mark.parametrize("zone", UNKNOWN_ZONES)
def test_a_wedding_in_an_unknown_zone_freezes_every_hour_that_is_its_day_anywhere(
    cx: Connection, zone: str
) -> None:
    with cx.transaction(force_rollback=True):
        cx.execute("delete from apm_weddings; delete from clients")
        add_wedding(cx, ORGANIZATION_A, date(2026, 6, 17), zone)
        become(cx, MEMBER_A)
        for hours in (-14, 0, 35):
            at = datetime(2026, 6, 17, tzinfo=UTC) + timedelta(hours=hours)
            [found] = near(cx, at)
            assert found["starts_at"] <= at < found["ends_at"]
            assert not found["is_zone_known"]


def test_who_sees_all_sees_whose_weddings_and_not_the_couples(cx: Connection) -> None:
    day = date(2026, 6, 17)
    at = datetime(2026, 6, 17, 12, tzinfo=UTC)
    with cx.transaction(force_rollback=True):
        cx.execute("delete from apm_weddings; delete from clients")
        for organization in (ORGANIZATION_A, ORGANIZATION_B):
            add_wedding(cx, organization, day, "Europe/London")
        key = cx.execute(
            "insert into apm_api_keys (name, scope, is_platform, key_hash, prefix)"
            " values ('pipeline', 'read', true, sha256('k'), 'apm_') returning id"
        ).fetchone()
        assert key is not None
        cx.execute(
            "select set_config('request.jwt.claims', %s, true), set_config('role', 'authenticated', true)",
            (json.dumps({"sub": str(key["id"]), "kind": "key", "role": "authenticated"}),),
        )
        seen = near(cx, at)
        assert {row["organization_id"] for row in seen} == {ORGANIZATION_A, ORGANIZATION_B}
        assert {(row["wedding_id"], row["initials"]) for row in seen} == {(None, None)}
        assert len(near(cx, at, ORGANIZATION_A)) == 1
        become(cx, OPERATOR)
        assert len(near(cx, at)) == 2
        for person, mine in (
            (VIEWER_A, ORGANIZATION_A),
            (MEMBER_B, ORGANIZATION_B),
            (READ_KEY_A, ORGANIZATION_A),
        ):
            become(cx, person)
            [own] = near(cx, at)
            assert own["organization_id"] == mine
            assert own["wedding_id"] is not None
            # another's, known or not, answers as if it had none
            other = ORGANIZATION_B if mine == ORGANIZATION_A else ORGANIZATION_A
            assert near(cx, at, other) == []
        become(cx, STRANGER)
        assert near(cx, at) == []


def test_approvals_are_given_by_who_may_and_seen_by_whom_they_concern(cx: Connection) -> None:
    approve = (
        "select apm_approve_change(%s, %s, 'a defect', now() + interval '1 hour', %s, %s) as id"
    )
    listed = "select id, organization_id, created_by_name from apm_freeze_approvals()"
    with cx.transaction(force_rollback=True):
        for person, state in (
            (MEMBER_A, "AP403"),
            (VIEWER_A, "AP403"),
            (MEMBER_B, "AP404"),
            (OPERATOR, "AP404"),
        ):
            become(cx, person)
            with pytest.raises(psycopg.Error) as refused, cx.transaction():
                cx.execute(approve, (ORGANIZATION_A, "forms", None, None))
            assert refused.value.sqlstate == state, person
        become(cx, ADMIN_A)
        own = cx.execute(approve, (ORGANIZATION_A, "forms", None, None)).fetchone()
        become(cx, OPERATOR)
        general = cx.execute(approve, (None, None, "security", "undo")).fetchone()
        assert own is not None
        assert general is not None
        become(cx, VIEWER_A)
        assert {row["id"] for row in cx.execute(listed)} == {own["id"], general["id"]}
        become(cx, MEMBER_B)
        assert {row["id"] for row in cx.execute(listed)} == {general["id"]}
        for person, approval, state in (
            (MEMBER_B, own, "AP404"), (MEMBER_A, own, "AP403"), (ADMIN_A, general, "AP404"), (AUDITOR, general, "AP403"),
        ):  # fmt: skip
            become(cx, person)
            with pytest.raises(psycopg.Error) as refused, cx.transaction():
                cx.execute("select apm_withdraw_approval(%s)", (approval["id"],))
            assert refused.value.sqlstate == state, person
        become(cx, ADMIN_A)
        cx.execute("select apm_withdraw_approval(%s)", (own["id"],))
        entries = cx.execute(
            "select actor, action from apm_audit_log where object_type = 'freeze_approvals' order by id"
        ).fetchall()
        assert entries == [
            {"actor": ADMIN_A.name, "action": action} for action in ("insert", "update")
        ]


def test_two_operators_at_once_lower_nothing_by_accident(own: tuple[House, Database]) -> None:
    """One tightens while the other, who saw the mode before, orders the lower one: whoever comes second is refused
    or stands beside the first, and never under it."""
    house, database = own
    with connect(house.superuser_of(database), autocommit=True) as cx:
        cx.execute(
            "insert into apm_operators (user_id, email, role) values (%s, 'oncall@example.com', 'oncall')",
            (OPERATOR.id,),
        )
        cx.execute(
            "update apm_private.guard_settings set enhanced_from = %(enhanced_from)s,"
            " enhanced_until = %(enhanced_until)s, maximum_from = %(maximum_from)s,"
            " maximum_until = %(maximum_until)s",
            a_calm_day(),
        )

    def give(mode: str) -> Callable[[], str]:
        def run() -> str:
            with connect(database.api) as cx, acting_as(cx, OPERATOR, keeping=True):
                try:
                    cx.execute(ORDER, (mode, "a race", "1 hour", None, None))
                except psycopg.Error as exc:
                    return exc.sqlstate or "away"
                return "made"

        return run

    with ThreadPoolExecutor(8) as pool:
        wanted = ["enhanced", "maximum", "normal", "enhanced"] * 4
        outcomes = [done.result() for done in [pool.submit(give(mode)) for mode in wanted]]
    assert outcomes[1] == "made"
    assert set(outcomes) <= {"made", "AP422"}
    with connect(house.superuser_of(database)) as cx:
        assert mode_at(cx, datetime.now(UTC))["mode"] == "maximum"
        rows = cx.execute(
            "select mode, starts_at from apm_private.guard_overrides order by starts_at"
        ).fetchall()
        ranks = [RANKS.index(row["mode"]) for row in rows]
        assert ranks == sorted(ranks)
