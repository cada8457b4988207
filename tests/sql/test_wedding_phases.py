"""The phases of weddings, judged by a calendar of Python's own: any zone, any clock change, any move."""

from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from typing import Any, Final
from uuid import UUID
from zoneinfo import ZoneInfo

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.sql.test_wedding_calendar import (
    add_client,
    add_wedding,
    an_organization,
    is_day,
    windows,
)
from tests.support.people import (
    ADMIN_A,
    ANONYMOUS,
    AUDITOR,
    FORMER_MEMBER_A,
    FORMER_OPERATOR,
    MEMBER_A,
    MEMBER_B,
    NOBODY,
    OPERATOR,
    ORGANIZATION_A,
    ORGANIZATION_B,
    OWNER_A,
    OWNER_B,
    REVOKED_KEY_A,
    STRANGER,
    VIEWER_A,
    Connection,
    acting_as,
    be_oneself,
    become,
)

ZONES: Final = (
    "Europe/London",
    "America/New_York",
    "America/Havana",  # midnight comes twice
    "America/Santiago",  # midnight does not come, in the southern spring
    "Australia/Lord_Howe",  # half an hour of DST
    "Pacific/Auckland",
    "Asia/Kolkata",  # no DST
    "America/Phoenix",
    "Pacific/Kiritimati",  # +14
    "Pacific/Pago_Pago",  # -11
    "Atlantic/Azores",
    "UTC",
)
CHANGES: Final = st.sampled_from(
    [
        ("Europe/London", date(2026, 3, 29)),  # 23 hours
        ("Europe/London", date(2026, 10, 25)),  # 25
        ("America/New_York", date(2026, 3, 8)),
        ("America/New_York", date(2026, 11, 1)),
        ("America/Havana", date(2025, 11, 2)),
        ("America/Havana", date(2025, 3, 9)),
        ("America/Santiago", date(2025, 9, 7)),
        ("America/Santiago", date(2025, 4, 6)),
        ("Australia/Lord_Howe", date(2026, 4, 5)),  # 24.5 hours
        ("Australia/Lord_Howe", date(2026, 10, 4)),  # 23.5
        ("Pacific/Auckland", date(2026, 4, 5)),
        ("Pacific/Auckland", date(2026, 9, 27)),
        ("Atlantic/Azores", date(2026, 10, 25)),
        ("Europe/London", date(2028, 2, 29)),
        ("Asia/Kolkata", date(2027, 12, 31)),
        ("Pacific/Kiritimati", date(2028, 1, 1)),
    ]
)
DATES: Final = st.dates(date(2024, 1, 1), date(2031, 12, 31))
PLACES: Final = st.one_of(CHANGES, st.tuples(st.sampled_from(ZONES), DATES))
PRECEDENCE: Final = (
    "ceremony",
    "reception",
    "set_up",
    "tear_down",
    "day",
    "evening_before",
    "days_before",
    "after",
)
PLAN: Final = {
    "set_up": (8, 13),
    "ceremony": (13, 16),
    "reception": (16, 24),
    "tear_down": (24, 26),
}
properties = settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)

Span = tuple[datetime, datetime]
WORDS_OF_DAY: Final = ("2031-06-07 14:30", "2031-06-07 15:30")


@pytest.fixture
def calendar(cx: Connection) -> Connection:
    return cx


def showings(wall: datetime, zone: str) -> list[datetime]:
    """The instants at which a clock there shows this: two, one, or, for a time that it skips, the
    one that it would have been. PEP 495 by itself, without PostgreSQL's rules."""
    both = [wall.replace(tzinfo=ZoneInfo(zone), fold=fold).astimezone(UTC) for fold in (0, 1)]
    real = [at for at in both if at.astimezone(ZoneInfo(zone)).replace(tzinfo=None) == wall]
    return sorted(set(real)) or [both[0]]


def span_of(starts: datetime, ends: datetime, zone: str) -> Span:
    begins, finishes = showings(starts, zone)[0], showings(ends, zone)[-1]
    return begins, finishes if finishes > begins else begins + (ends - starts)


def midnight(day: date, zone: str) -> datetime:
    """The first instant of the date there."""
    return showings(datetime.combine(day, time()), zone)[0]


def expected_phases(
    day: date, zone: str, entered: dict[str, tuple[datetime, datetime]] | None = None
) -> dict[str, Span]:
    """Every phase of one wedding, by the rules as the documentation has them."""
    start = datetime.combine(day, time())
    found = {name: span_of(a, b, zone) for name, (a, b) in planned(start, entered or {}).items()}
    found["day"] = (midnight(day, zone), midnight(day + timedelta(days=1), zone))
    over = max(end for _, end in found.values())
    evening = showings(start - timedelta(hours=6), zone)[0]
    found["evening_before"] = (evening, found["day"][0])
    found["days_before"] = (midnight(day - timedelta(days=7), zone), evening)
    found["after"] = (over, midnight(day + timedelta(days=3), zone))
    return {name: span for name, span in found.items() if span[0] < span[1]}


def planned(start: datetime, entered: dict[str, Span]) -> dict[str, Span]:
    """The four phases by the clock: each as entered, else as the documentation's table says."""

    def hours(name: str) -> Span:
        first, last = (start + timedelta(hours=hour) for hour in PLAN[name])
        return first, last

    ceremony = entered.get("ceremony", hours("ceremony"))
    if "ceremony" in entered or "reception" in entered:
        midnight_after = datetime.combine(ceremony[0].date() + timedelta(days=1), time())
        usual = (ceremony[1], max(midnight_after, ceremony[1] + timedelta(hours=4)))
    else:
        usual = hours("reception")
    reception = entered.get("reception", usual)
    return {
        "ceremony": ceremony,
        "reception": reception,
        "set_up": entered.get("set_up", (ceremony[0] - timedelta(hours=5), ceremony[0])),
        "tear_down": entered.get("tear_down", (reception[1], reception[1] + timedelta(hours=2))),
    }


def phases(cx: Connection, organization: UUID, day: date) -> list[dict[str, Any]]:
    middle = datetime.combine(day, time(12), UTC)
    return cx.execute(
        "select * from apm_wedding_phases(%s, %s, %s)",
        (organization, middle - timedelta(days=15), middle + timedelta(days=15)),
    ).fetchall()


def spans(rows: list[dict[str, Any]], wedding: UUID) -> dict[str, Span]:
    return {
        row["phase"]: (row["span"].lower.astimezone(UTC), row["span"].upper.astimezone(UTC))
        for row in rows
        if row["wedding_id"] == wedding
    }


def enter(cx: Connection, organization: UUID, wedding: UUID, entered: dict[str, Any]) -> None:
    for phase, (starts, ends) in entered.items():
        cx.execute(
            "insert into apm_wedding_windows (organization_id, wedding_id, phase, starts_local, ends_local)"
            " values (%s, %s, %s, %s, %s)",
            (organization, wedding, phase, starts, ends),
        )


@properties
@given(place=PLACES)
def test_planned_phases_are_the_venues_clock(calendar: Connection, place: tuple[str, date]) -> None:
    zone, day = place
    with an_organization(calendar) as organization:
        wedding = add_wedding(calendar, organization, day, zone)
        rows = phases(calendar, organization, day)
        assert spans(rows, wedding) == expected_phases(day, zone)
        assert {row["phase"]: row["precedence"] for row in rows} == {
            name: at for at, name in enumerate(PRECEDENCE, start=1)
        }


@properties
@given(
    place=PLACES,
    minutes=st.lists(st.integers(-20 * 60, 36 * 60), min_size=2, max_size=2, unique=True),
    reception=st.integers(30, 12 * 60),
)
def test_entered_phases_are_the_venues_clock_past_midnight_and_over_a_change(
    calendar: Connection, place: tuple[str, date], minutes: list[int], reception: int
) -> None:
    zone, day = place
    start = datetime.combine(day, time())
    first, second = (start + timedelta(minutes=m) for m in sorted(minutes))
    entered = {
        "ceremony": (first, min(second, first + timedelta(hours=20))),
        "reception": (second, second + timedelta(minutes=reception)),
    }
    with an_organization(calendar) as organization:
        wedding = add_wedding(calendar, organization, day, zone)
        enter(calendar, organization, wedding, entered)
        assert spans(phases(calendar, organization, day), wedding) == expected_phases(
            day, zone, entered
        )


@properties
@given(
    place=PLACES,
    names=st.sets(st.sampled_from(sorted(PLAN))),
    begins=st.integers(-4 * 60, 23 * 60),
    lasts=st.integers(30, 8 * 60),
)
def test_phases_that_nobody_entered_stand_beside_those_that_somebody_did(
    calendar: Connection, place: tuple[str, date], names: set[str], begins: int, lasts: int
) -> None:
    zone, day = place
    start = datetime.combine(day, time())
    entered = {
        name: (
            start + timedelta(minutes=begins + at * 60),
            start + timedelta(minutes=begins + at * 60 + lasts),
        )
        for at, name in enumerate(sorted(names))
    }
    with an_organization(calendar) as organization:
        wedding = add_wedding(calendar, organization, day, zone)
        enter(calendar, organization, wedding, entered)
        found = spans(phases(calendar, organization, day), wedding)
        assert found == expected_phases(day, zone, entered)
        assert found.keys() >= PLAN.keys()


def test_a_ceremony_alone_has_the_rest_of_its_day(calendar: Connection) -> None:
    day = date(2027, 6, 5)
    half_past_two = (datetime(2027, 6, 5, 14, 30), datetime(2027, 6, 5, 15, 30))  # noqa: DTZ001
    with an_organization(calendar) as organization:
        wedding = add_wedding(calendar, organization, day, "Europe/London")
        enter(calendar, organization, wedding, {"ceremony": half_past_two})
        under_way = [
            windows(calendar, organization, datetime(2027, 6, 5, 8, 45, tzinfo=UTC) + at)
            for at in (timedelta(hours=h) for h in (0, 5, 6, 14, 15))
        ]
    assert [one["phase"] for (one,) in under_way] == [
        "set_up",
        "ceremony",
        "reception",
        "reception",
        "tear_down",
    ]


@pytest.mark.parametrize("day", ["1989-12-31", "2101-01-01", "9999-12-31", "infinity"])
def test_a_date_of_no_wedding_is_none(cx: Connection, day: str) -> None:
    """Neither ours, which are refused, nor the host's, which nobody asked us about."""
    with cx.transaction(force_rollback=True):
        with pytest.raises(psycopg.errors.CheckViolation) as caught, cx.transaction():
            cx.execute(
                "insert into apm_weddings (organization_id, wedding_date) values (%s, %s)",
                (ORGANIZATION_A, day),
            )
        assert caught.value.diag.constraint_name == "apm_weddings_wedding_date_check"
        client = add_client(cx, ORGANIZATION_A, date(2031, 6, 7), "booked")
        listed = (
            "select client_id from apm_client_weddings(array[%s]::uuid[], '-infinity', 'infinity')"
            " where client_id = %s"
        )
        assert len(cx.execute(listed, (ORGANIZATION_A, client)).fetchall()) == 1
        cx.execute("update clients set wedding_date = %s where id = %s", (day, client))
        assert cx.execute(listed, (ORGANIZATION_A, client)).fetchall() == []


@properties
@given(place=PLACES, other=st.sampled_from(ZONES), by=st.integers(-400, 400))
def test_a_wedding_that_moves_keeps_its_clock(
    calendar: Connection, place: tuple[str, date], other: str, by: int
) -> None:
    """To another zone: the same time of the day there. To another date: that date's phases."""
    zone, day = place
    start = datetime.combine(day, time())
    entered = {
        "ceremony": (start + timedelta(hours=14, minutes=30), start + timedelta(hours=16)),
        "reception": (start + timedelta(hours=18), start + timedelta(hours=26)),
    }
    with an_organization(calendar) as organization:
        wedding = add_wedding(calendar, organization, day, zone)
        enter(calendar, organization, wedding, entered)
        calendar.execute("update apm_weddings set time_zone = %s where id = %s", (other, wedding))
        assert spans(phases(calendar, organization, day), wedding) == expected_phases(
            day, other, entered
        )
        stored = calendar.execute(
            "select phase, span from apm_wedding_windows where wedding_id = %s", (wedding,)
        ).fetchall()
        assert {row["phase"]: row["span"].lower.astimezone(UTC) for row in stored} == {
            name: span_of(a, b, other)[0] for name, (a, b) in entered.items()
        }
        calendar.execute("delete from apm_wedding_windows where wedding_id = %s", (wedding,))
        moved = day + timedelta(days=by)
        calendar.execute(
            "update apm_weddings set wedding_date = %s where id = %s", (moved, wedding)
        )
        assert spans(phases(calendar, organization, moved), wedding) == expected_phases(
            moved, other
        )
        assert is_day(calendar, organization, moved) is True
        assert is_day(calendar, organization, day) is (by == 0)
        calendar.execute("update apm_weddings set status = 'cancelled' where id = %s", (wedding,))
        assert phases(calendar, organization, moved) == []
        assert is_day(calendar, organization, moved) is False


@properties
@given(place=PLACES, minutes=st.integers(-60 * 30, 60 * 54))
def test_the_day_the_window_and_the_phases_agree_at_every_instant(
    calendar: Connection, place: tuple[str, date], minutes: int
) -> None:
    zone, day = place
    at = midnight(day, zone) + timedelta(minutes=minutes)
    with an_organization(calendar, zone) as organization:
        add_wedding(calendar, organization, day, None)
        add_client(calendar, organization, day + timedelta(days=1), "booked")
        local_date = at.astimezone(ZoneInfo(zone)).date()
        under_way = [
            {
                name
                for name, (starts, ends) in expected_phases(one, zone).items()
                if starts <= at < ends and name in PRECEDENCE[:5]
            }
            for one in (day, day + timedelta(days=1))
        ]
        telling = sorted(min(names, key=PRECEDENCE.index) for names in under_way if names)
        found = windows(calendar, organization, at)
        assert sorted(window["phase"] for window in found) == telling
        if is_day(calendar, organization, local_date):
            assert found, "an instant of a wedding day without a window"
        listed = phases(calendar, organization, day)
        for window in found:
            assert any(
                row["wedding_id"] == window["wedding_id"]
                and row["phase"] == window["phase"]
                and row["span"] == window["span"]
                for row in listed
            )


@properties
@given(place=PLACES, at=st.integers(0, 60 * 48), lasts=st.integers(1, 60 * 20))
def test_instants_come_back_as_they_were_but_for_an_hour_that_comes_twice(
    calendar: Connection, place: tuple[str, date], at: int, lasts: int
) -> None:
    """Entered as instants: the clock is kept, so what it shows twice is taken wide, never narrow."""
    zone, day = place
    starts = midnight(day, zone) - timedelta(hours=12) + timedelta(minutes=at)
    ends = starts + timedelta(minutes=lasts)
    with an_organization(calendar) as organization:
        wedding = add_wedding(calendar, organization, day, zone)
        calendar.execute(
            "insert into apm_wedding_windows (organization_id, wedding_id, phase, span)"
            " values (%s, %s, 'ceremony', tstzrange(%s, %s))",
            (organization, wedding, starts, ends),
        )
        begins, finishes = spans(phases(calendar, organization, day), wedding)["ceremony"]
        assert begins <= starts
        assert finishes >= ends
        hour = timedelta(hours=1)
        assert starts - begins <= hour
        assert finishes - ends <= 2 * hour
        shown = [
            showings(one.astimezone(ZoneInfo(zone)).replace(tzinfo=None), zone)
            for one in (starts, ends)
        ]
        if all(len(one) == 1 for one in shown):
            assert (begins, finishes) == (starts, ends)


@properties
@given(
    zone=st.sampled_from(["Atlantis/Center", "Mars", "Foo/Bar-3", " ", "Europe/Lond0n"]), day=DATES
)
def test_an_unknown_zone_is_near_its_wedding_for_longer(
    calendar: Connection, zone: str, day: date
) -> None:
    with an_organization(calendar, zone) as organization:
        wedding = add_wedding(calendar, organization, day, None)
        found = spans(phases(calendar, organization, day), wedding)
    assert found.keys() == {"day", "evening_before", "days_before", "after"}
    edges = [found[name] for name in ("days_before", "evening_before", "day", "after")]
    assert all(a[1] == b[0] for a, b in pairwise(edges))
    for known in ZONES:
        first, last = expected_phases(day, known)["day"]
        assert found["day"][0] <= first
        assert last <= found["day"][1]
        assert found["days_before"][0] <= expected_phases(day, known)["days_before"][0]


def test_several_weddings_a_day_each_have_their_phases(calendar: Connection) -> None:
    day = date(2027, 6, 9)  # a Wednesday
    with an_organization(calendar) as organization:
        made = {
            add_wedding(calendar, organization, day, zone): zone
            for zone in ("Europe/London", "Europe/Rome", "America/New_York")
        }
        rows = phases(calendar, organization, day)
        for wedding, zone in made.items():
            assert spans(rows, wedding) == expected_phases(day, zone)
        late = datetime(2027, 6, 10, 0, 30, tzinfo=UTC)
        assert {w["phase"] for w in windows(calendar, organization, late)} == {
            "tear_down",  # London, half past one
            "reception",  # New York, half past eight in the evening
        }


def test_a_changed_organization_zone_moves_the_instant_and_not_the_ceremony(
    calendar: Connection,
) -> None:
    """As a new time zone database would: what is stored as an instant is not asked."""
    day = date(2027, 6, 5)
    half_past_two = {
        "ceremony": (datetime(2027, 6, 5, 14, 30), datetime(2027, 6, 5, 15, 30))  # noqa: DTZ001
    }
    with an_organization(calendar, "Europe/London") as organization:
        wedding = add_wedding(calendar, organization, day, None)
        enter(calendar, organization, wedding, half_past_two)
        for zone in ("Europe/London", "Asia/Kolkata", "America/New_York"):
            calendar.execute(
                "update organizations set settings = jsonb_build_object('timezone', %s::text) where id = %s",
                (zone, organization),
            )
            found = spans(phases(calendar, organization, day), wedding)["ceremony"]
            assert found[0].astimezone(ZoneInfo(zone)).time() == time(14, 30)


def test_a_span_that_is_none_is_refused(calendar: Connection) -> None:
    day = datetime(2027, 6, 5)  # noqa: DTZ001
    for starts, ends in (
        (day, day),
        (day + timedelta(hours=1), day),
        ("-infinity", day),
        (day, "infinity"),
    ):
        with an_organization(calendar) as organization:
            wedding = add_wedding(calendar, organization, day.date(), "UTC")
            with pytest.raises(psycopg.errors.IntegrityError):
                enter(calendar, organization, wedding, {"ceremony": (starts, ends)})


SHARED = """
create table if not exists public.wedding_core_data (
    id uuid primary key default gen_random_uuid(), wedding_id uuid not null unique default gen_random_uuid(),
    wedding_date date, ceremony_time time, reception_time time, planning_status text, couple_email text
);
create table if not exists public.vendor_wedding_connections (
    id uuid primary key default gen_random_uuid(), wedding_id uuid not null references public.wedding_core_data (id),
    organization_id uuid not null, client_id uuid, connection_status text not null default 'active'
);
alter table public.wedding_core_data enable row level security;
alter table public.vendor_wedding_connections enable row level security;
grant select on public.wedding_core_data, public.vendor_wedding_connections to apm_definer;
create policy read_for_calendar on public.wedding_core_data for select to apm_definer using (true);
create policy read_for_calendar on public.vendor_wedding_connections for select to apm_definer using (true);
"""


def test_the_hosts_shared_wedding_is_each_vendors_own(cx: Connection) -> None:
    day = date(2031, 6, 7)

    def days(organization: UUID) -> list[bool | None]:
        return [is_day(cx, organization, day + timedelta(days=n)) for n in (0, 1)]

    with cx.transaction(force_rollback=True):
        cx.execute(SHARED)
        core = cx.execute(
            "insert into wedding_core_data (wedding_date, ceremony_time, couple_email)"
            " values (%s, '14:30', 'amelia@example.org') returning id",
            (day,),
        ).fetchone()
        assert core is not None
        client = add_client(cx, ORGANIZATION_A, day, "booked")
        cx.execute(
            "insert into vendor_wedding_connections (wedding_id, organization_id, client_id, connection_status)"
            " values (%(core)s, %(a)s, %(client)s, 'active'), (%(core)s, %(b)s, null, 'active')",
            {"core": core["id"], "a": ORGANIZATION_A, "b": ORGANIZATION_B, "client": client},
        )
        assert days(ORGANIZATION_A) == days(ORGANIZATION_B) == [True, False]
        # one wedding, not two: the client's row, with the couple's own time
        found = [row for row in phases(cx, ORGANIZATION_A, day) if row["phase"] == "ceremony"]
        assert [row["wedding_id"] for row in found] == [client]
        zone = ZoneInfo(found[0]["time_zone"])
        assert found[0]["span"].lower.astimezone(zone).time() == time(14, 30)
        # the vendors know their own part and no other
        with acting_as(cx, MEMBER_A):
            assert is_day(cx, ORGANIZATION_A, day) is True
            assert is_day(cx, ORGANIZATION_B, day) is None
            assert phases(cx, ORGANIZATION_B, day) == []
        keys = cx.execute(
            "select organization_id, shared_key from apm_private.host_shared_weddings(%s, %s, %s)",
            ([ORGANIZATION_A, ORGANIZATION_B], day, day),
        ).fetchall()
        assert len(keys) == 2
        assert len({row["shared_key"] for row in keys}) == 1
        assert str(core["id"]) not in str(keys)
        ours = "select wedding_id, shared_key from apm_private.shared_weddings_between(%s, %s, %s)"
        parts = cx.execute(ours, ([ORGANIZATION_A, ORGANIZATION_B], day, day)).fetchall()
        assert {row["shared_key"] for row in parts} == {row["shared_key"] for row in keys}
        assert client in {row["wedding_id"] for row in parts}
        # B enters its own part: one wedding still, by B's own clock, with the same key
        (listed,) = cx.execute(
            "select client_id from apm_client_weddings(array[%s]::uuid[], %s, %s)",
            (ORGANIZATION_B, day, day),
        ).fetchall()
        with cx.transaction(force_rollback=True):
            own = add_wedding(cx, ORGANIZATION_B, day, "Europe/Rome")
            cx.execute(
                "update apm_weddings set client_id = %s where id = %s", (listed["client_id"], own)
            )
            found = [r for r in phases(cx, ORGANIZATION_B, day) if r["phase"] == "day"]
            assert [row["wedding_id"] for row in found] == [own]
            parts = cx.execute(ours, ([ORGANIZATION_A, ORGANIZATION_B], day, day)).fetchall()
            assert {row["wedding_id"] for row in parts} == {client, own}
            assert len({row["shared_key"] for row in parts}) == 1
        # moved by the couple: the client's row still has the old date, and both count
        cx.execute("update wedding_core_data set wedding_date = %s", (day + timedelta(days=1),))
        assert days(ORGANIZATION_A) == [True, True]
        assert days(ORGANIZATION_B) == [False, True]
        cx.execute("update clients set wedding_date = wedding_date + 1 where id = %s", (client,))
        assert days(ORGANIZATION_A) == [False, True]
        cx.execute("update vendor_wedding_connections set connection_status = 'inactive'")
        assert days(ORGANIZATION_A) == [False, True]
        assert days(ORGANIZATION_B) == [False, False]
        cx.execute("update vendor_wedding_connections set connection_status = 'completed'")
        cx.execute(
            "update wedding_core_data set ceremony_time = null, planning_status = 'cancelled'"
        )
        assert days(ORGANIZATION_B) == [False, False]


def test_a_wedding_is_shared_by_a_code_that_is_good_once(cx: Connection) -> None:
    day = date(2031, 6, 7)
    share = "select apm_share_wedding(%s, sha256(%s::bytea)) as v"
    join = "select apm_join_wedding(%s, sha256(%s::bytea)) as v"

    def ask(statement: str, *values: Any) -> Any:
        row = cx.execute(statement, values).fetchone()
        assert row is not None
        return row["v"]

    with cx.transaction(force_rollback=True):
        ours = add_wedding(cx, ORGANIZATION_A, day, "UTC")
        other = add_wedding(cx, ORGANIZATION_A, day, "UTC")
        theirs = add_wedding(cx, ORGANIZATION_B, day, "UTC")
        for person in (MEMBER_A, VIEWER_A, OWNER_B, STRANGER, OPERATOR):
            become(cx, person)
            assert ask(share, ours, b"code") is None, person.name
            assert ask(join, ours, b"code") is None, person.name
        become(cx, ADMIN_A)
        assert ask(share, ours, b"code") is not None
        assert ask(join, other, b"code") is False, "of the same organization"
        become(cx, OWNER_B)
        assert ask(join, theirs, b"another") is False
        assert ask(join, theirs, b"code") is True
        assert ask(join, theirs, b"code") is False, "used"
        vendors = (
            "select other_vendors, is_date_agreed from apm_shared_weddings(array[%s, %s]::uuid[])"
        )
        parts = "select wedding_id, shared_key from apm_private.shared_weddings_between(%s, %s, %s)"
        be_oneself(cx)
        rows = cx.execute(parts, ([ORGANIZATION_A, ORGANIZATION_B], day, day)).fetchall()
        assert {row["wedding_id"] for row in rows} == {ours, theirs}
        assert len({row["shared_key"] for row in rows}) == 1
        become(cx, MEMBER_B)
        assert cx.execute(vendors, (ours, theirs)).fetchall() == [
            {"other_vendors": 1, "is_date_agreed": True}
        ]
        seen = cx.execute("select id from apm_weddings where shared_key is not null").fetchall()
        assert [row["id"] for row in seen] == [theirs]
        with pytest.raises(psycopg.errors.InsufficientPrivilege), cx.transaction():
            cx.execute("update apm_weddings set shared_key = gen_random_uuid()")
        be_oneself(cx)
        cx.execute("update apm_weddings set wedding_date = wedding_date + 7 where id = %s", (ours,))
        assert is_day(cx, ORGANIZATION_B, day) is True, "a vendor moves his own part alone"
        become(cx, MEMBER_B)
        assert cx.execute(vendors, (ours, theirs)).fetchall() == [
            {"other_vendors": 1, "is_date_agreed": False}
        ]
        become(cx, OWNER_B)
        assert ask("select apm_leave_wedding(%s) as v", theirs) is True
        assert ask("select apm_leave_wedding(%s) as v", theirs) is False
        assert ask("select apm_leave_wedding(%s) as v", ours) is None
        late = "select apm_join_wedding(%s, sha256('late'), now() + interval '15 days') as v"
        become(cx, ADMIN_A)
        assert ask(share, ours, b"late") is not None
        become(cx, OWNER_B)
        assert ask(late, theirs) is False


def test_an_operator_reads_names_by_a_reason_that_is_kept(cx: Connection) -> None:
    reveal = "select couple_names, contacts from apm_reveal_wedding(%s, %s)"
    log = (
        "select actor_id, new_values from apm_audit_log where action = 'reveal' and object_id = %s"
    )
    reason = "incident 4711: the florist does not answer"
    with cx.transaction(force_rollback=True):
        wedding = add_wedding(cx, ORGANIZATION_A, date(2031, 6, 7), "UTC")
        cx.execute(
            "insert into apm_wedding_people (organization_id, wedding_id, couple_names, contacts)"
            ' values (%s, %s, \'Amelia & James\', \'[{"name": "Nora", "phone": "1"}]\')',
            (ORGANIZATION_A, wedding),
        )
        for person in (OWNER_A, MEMBER_A, STRANGER, FORMER_OPERATOR):
            become(cx, person)
            assert cx.execute(reveal, (wedding, reason)).fetchall() == [], person.name
        become(cx, OPERATOR)
        assert cx.execute("select couple_names from apm_wedding_people").fetchall() == []
        for empty in ("", "   ", "because", None, " " * 40):
            assert cx.execute(reveal, (wedding, empty)).fetchall() == []
        be_oneself(cx)
        assert cx.execute(log, (str(wedding),)).fetchall() == []
        for person in (OPERATOR, AUDITOR):
            become(cx, person)
            (row,) = cx.execute(reveal, (wedding, reason)).fetchall()
            assert row["couple_names"] == "Amelia & James"
        become(cx, ADMIN_A)
        rows = cx.execute(log, (str(wedding),)).fetchall()
        # in one transaction, and so at one time
        assert {(row["actor_id"], row["new_values"]["reason"]) for row in rows} == {
            (OPERATOR.id, reason),
            (AUDITOR.id, reason),
        }
        assert len(rows) == 2


def test_of_some_weddings_only_admins_know_who_marries(cx: Connection) -> None:
    names = "select couple_names from apm_wedding_people where organization_id = %s"
    with cx.transaction(force_rollback=True):
        cx.execute("update apm_wedding_people set visible_to = 'ADMIN'")
        become(cx, MEMBER_A)
        assert cx.execute(names, (ORGANIZATION_A,)).fetchall() == []
        become(cx, ADMIN_A)
        assert len(cx.execute(names, (ORGANIZATION_A,)).fetchall()) > 0


def test_nobody_else_learns_of_an_organizations_weddings(cx: Connection) -> None:
    """A former member, another tenant, a revoked key and nobody get what an unknown id gets."""
    day = date(2031, 6, 7)
    with cx.transaction(force_rollback=True):
        wedding = add_wedding(cx, ORGANIZATION_A, day, "UTC")
        enter(cx, ORGANIZATION_A, wedding, {"ceremony": WORDS_OF_DAY})
        asked = {
            "select * from apm_wedding_phases(%s, '2031-06-01', '2031-06-30')": ORGANIZATION_A,
            "select * from apm_wedding_windows_of(array[%s]::uuid[])": wedding,
            "select * from apm_shared_weddings(array[%s]::uuid[])": wedding,
            "select * from apm_calendar_habits(%s)": ORGANIZATION_A,
        }
        cx.execute(
            "update apm_weddings set shared_key = gen_random_uuid() where id = %s", (wedding,)
        )
        for person in (MEMBER_A, VIEWER_A):
            become(cx, person)
            for statement, value in asked.items():
                assert cx.execute(statement, (value,)).fetchall(), (person.name, statement)
        for person in (FORMER_MEMBER_A, MEMBER_B, STRANGER, OPERATOR, REVOKED_KEY_A, NOBODY):
            become(cx, person)
            for statement, value in asked.items():
                assert cx.execute(statement, (value,)).fetchall() == [], (person.name, statement)
            for name in ("share", "join"):
                ask = f"select apm_{name}_wedding(%s, sha256('x')) as v"
                assert cx.execute(ask, (wedding,)).fetchone() == {"v": None}, person.name
        become(cx, ANONYMOUS)
        for statement, value in asked.items():
            with pytest.raises(psycopg.errors.InsufficientPrivilege), cx.transaction():
                cx.execute(statement, (value,))
