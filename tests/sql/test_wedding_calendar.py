"""Wedding days and windows, for any zone and date: properties, judged against Python's own calendar."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Final
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.sql.conftest import House
from tests.support.people import ADMIN_A, ORGANIZATION_A, Connection, become, connect

ZONES: Final = (
    "Europe/London",
    "America/New_York",
    "America/St_Johns",
    "Australia/Lord_Howe",  # half an hour of DST
    "Pacific/Kiritimati",  # +14
    "Pacific/Pago_Pago",  # -11
    "Asia/Kathmandu",  # +5:45
    "Africa/Johannesburg",
    "Etc/GMT+12",
    "UTC",
)
UNKNOWN_ZONES: Final = (
    "Atlantis/Center",
    "Mars",
    "Atlantis5",
    "Foo/Bar-3",
    "<x>+7",
    " ",
    "Europe/Lond0n",
)
DAYS: Final = st.dates(date(2024, 1, 1), date(2031, 12, 31))
DST_DAYS: Final = st.sampled_from(
    [
        date(2026, 3, 29),
        date(2026, 10, 25),  # London
        date(2026, 3, 8),
        date(2026, 11, 1),  # New York
        date(2026, 4, 5),
        date(2026, 10, 4),  # Lord Howe
    ]
)
MOMENTS: Final = st.times(max_value=time(23, 59))
PHASES: Final = {
    "set_up": (8, 13),
    "ceremony": (13, 16),
    "reception": (16, 24),
    "tear_down": (24, 26),
}

properties = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture
def calendar(cx: Connection) -> Connection:
    """A session of the superuser; each example rolls back what it does."""
    return cx


@contextmanager
def an_organization(cx: Connection, zone: str = "Europe/London") -> Iterator[UUID]:
    organization = uuid4()
    with cx.transaction(force_rollback=True):
        cx.execute(
            "insert into organizations (id, name, settings) values (%s, 'x', jsonb_build_object('timezone', %s::text))",
            (organization, zone),
        )
        yield organization


def add_wedding(
    cx: Connection, organization: UUID, day: date, zone: str | None, status: str = "booked"
) -> UUID:
    row = cx.execute(
        "insert into apm_weddings (organization_id, wedding_date, time_zone, status) values (%s, %s, %s, %s) returning id",
        (organization, day, zone, status),
    ).fetchone()
    assert row is not None
    return UUID(str(row["id"]))


def add_client(cx: Connection, organization: UUID, day: date | None, status: str) -> UUID:
    row = cx.execute(
        "insert into clients (organization_id, wedding_date, status) values (%s, %s, %s) returning id",
        (organization, day, status),
    ).fetchone()
    assert row is not None
    return UUID(str(row["id"]))


def is_day(cx: Connection, organization: UUID, day: date | None) -> bool | None:
    row = cx.execute("select is_wedding_day(%s, %s) as v", (organization, day)).fetchone()
    assert row is not None
    value: bool | None = row["v"]
    return value


def windows(cx: Connection, organization: UUID, at: datetime) -> list[dict[str, Any]]:
    return cx.execute("select * from wedding_window_at(%s, %s)", (organization, at)).fetchall()


def local(zone: str, day: date, hours: int) -> datetime:
    """The instant at which a clock at the venue, if it shows every hour, shows that many after midnight."""
    wall = datetime.combine(day, time()) + timedelta(hours=hours)
    return wall.replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)


@properties
@given(
    zone=st.sampled_from(ZONES),
    day=st.one_of(DAYS, DST_DAYS),
    moment=MOMENTS,
    shift=st.integers(-2, 2),
)
def test_the_day_is_the_venues(
    calendar: Connection, zone: str, day: date, moment: time, shift: int
) -> None:
    """Whatever instant of the venue's day: is_wedding_day of that date, and a window around that instant."""
    with an_organization(calendar) as organization:
        wedding = add_wedding(calendar, organization, day, zone)
        other = day + timedelta(days=shift)
        assert is_day(calendar, organization, other) is (shift == 0)
        at = datetime.combine(day, moment, ZoneInfo(zone)).astimezone(UTC)
        # An hour that the clock skips names an instant of that day all the same.
        if at.astimezone(ZoneInfo(zone)).date() == day:
            [window] = windows(calendar, organization, at)
            assert window["wedding_id"] == wedding
            assert window["time_zone"] == zone
            assert at in window["span"]


@properties
@given(
    zone=st.sampled_from(ZONES),
    day=st.one_of(DAYS, DST_DAYS),
    minutes=st.integers(-60 * 30, 60 * 50),
)
def test_phases_follow_the_venues_clock_past_midnight(
    calendar: Connection, zone: str, day: date, minutes: int
) -> None:
    """With no phases entered: set-up from 8, ceremony from 13, reception from 16, tear-down until 2 in the night."""
    at = local(zone, day, 0) + timedelta(minutes=minutes)
    bounds = {name: (local(zone, day, a), local(zone, day, b)) for name, (a, b) in PHASES.items()}
    expected = [
        name
        for name in ("ceremony", "reception", "set_up", "tear_down")
        if bounds[name][0] <= at < bounds[name][1]
    ]
    if not expected and at.astimezone(ZoneInfo(zone)).date() == day:
        expected = ["day"]
    ahead = sorted(edge for pair in bounds.values() for edge in pair if edge > at)
    with an_organization(calendar, zone) as organization:
        add_wedding(calendar, organization, day, None)
        found = windows(calendar, organization, at)
    assert [w["phase"] for w in found] == expected[:1]
    if found and ahead:
        wait = (ahead[0] - at).total_seconds() / 60
        assert found[0]["minutes_to_next_milestone"] == pytest.approx(wait, abs=1)
        assert found[0]["minutes_to_next_milestone"] >= wait


@properties
@given(
    zone=st.sampled_from(UNKNOWN_ZONES),
    day=DAYS,
    hours=st.integers(-14, 35),
    shift=st.integers(-3, 3),
)
def test_a_zone_that_nobody_knows_errs_to_the_wedding(
    calendar: Connection, zone: str, day: date, hours: int, shift: int
) -> None:
    """The wedding day of the date anywhere on earth, and the days beside it."""
    with an_organization(calendar, zone) as organization:
        add_wedding(calendar, organization, day, None)
        assert is_day(calendar, organization, day + timedelta(days=shift)) is (abs(shift) <= 1)
        at = datetime.combine(day, time(), UTC) + timedelta(hours=hours)
        assert [w["phase"] for w in windows(calendar, organization, at)] == ["day"]


@properties
@given(
    day=DAYS,
    weddings=st.lists(
        st.tuples(
            st.integers(-3, 3),
            st.sampled_from(ZONES),
            st.sampled_from(["booked", "completed", "cancelled"]),
        ),
        max_size=5,
    ),
    clients=st.lists(
        st.tuples(
            st.integers(-3, 3),
            st.sampled_from(["lead", "booked", "BOOKED", "completed", "archived", "quoted"]),
        ),
        max_size=4,
    ),
    hours=st.integers(-30, 54),
)
def test_day_and_window_agree(
    calendar: Connection,
    day: date,
    weddings: list[tuple[int, str, str]],
    clients: list[tuple[int, str]],
    hours: int,
) -> None:
    """Several weddings at once, ours and the host's clients: both functions tell of the same ones."""
    at = datetime.combine(day, time(), UTC) + timedelta(hours=hours)
    with an_organization(calendar) as organization:
        live = []
        for shift, zone, status in weddings:
            wedding = add_wedding(calendar, organization, day + timedelta(days=shift), zone, status)
            if status != "cancelled":
                live.append((wedding, day + timedelta(days=shift), zone))
        for shift, status in clients:
            client = add_client(calendar, organization, day + timedelta(days=shift), status)
            if status.lower() in ("booked", "completed"):
                live.append((client, day + timedelta(days=shift), "Europe/London"))
        for shift in (-1, 0, 1):
            other = day + timedelta(days=shift)
            assert is_day(calendar, organization, other) is any(d == other for _, d, _ in live)
        found = {w["wedding_id"]: w for w in windows(calendar, organization, at)}
        today = {wedding for wedding, d, zone in live if at.astimezone(ZoneInfo(zone)).date() == d}
        assert today <= found.keys()
        # Beyond its own day a wedding is only there while its last phase lasts, until 2 in the night.
        for wedding in found.keys() - today:
            [(d, zone)] = [(d, zone) for w, d, zone in live if w == wedding]
            assert found[wedding]["phase"] == "tear_down"
            assert local(zone, d, 24) <= at < local(zone, d, 26)


def test_without_a_date_it_is_today_at_the_venue(calendar: Connection) -> None:
    for zone in ZONES:
        today = datetime.now(ZoneInfo(zone)).date()
        for shift, expected in ((-1, False), (0, True), (1, False)):
            with an_organization(calendar) as organization:
                add_wedding(calendar, organization, today + timedelta(days=shift), zone)
                assert is_day(calendar, organization, None) is expected, zone


def test_a_change_of_clients_shows_in_the_same_transaction(calendar: Connection) -> None:
    day = date(2027, 6, 5)
    noon = datetime(2027, 6, 5, 12, tzinfo=UTC)
    with an_organization(calendar) as organization:

        def both() -> tuple[bool | None, int]:
            return is_day(calendar, organization, day), len(windows(calendar, organization, noon))

        assert both() == (False, 0)
        client = add_client(calendar, organization, day, "lead")
        assert both() == (False, 0)
        for change, expected in (
            ("status = 'booked'", (True, 1)),
            ("wedding_date = date '2027-06-12'", (False, 0)),
            ("wedding_date = date '2027-06-05'", (True, 1)),
            ("wedding_date = null", (False, 0)),
            ("wedding_date = date '2027-06-05', status = 'archived'", (False, 0)),
            ("status = 'completed'", (True, 1)),
        ):
            calendar.execute(f"update clients set {change} where id = %s", (client,))
            assert both() == expected, change
        calendar.execute("delete from clients where id = %s", (client,))
        assert both() == (False, 0)


def test_our_row_replaces_what_the_client_alone_would_say(calendar: Connection) -> None:
    day = date(2027, 6, 5)
    with an_organization(calendar) as organization:
        client = add_client(calendar, organization, day, "booked")
        wedding = add_wedding(calendar, organization, day + timedelta(days=1), "UTC")
        calendar.execute("update apm_weddings set client_id = %s where id = %s", (client, wedding))
        assert is_day(calendar, organization, day) is False
        assert is_day(calendar, organization, day + timedelta(days=1)) is True
        calendar.execute("update apm_weddings set status = 'cancelled' where id = %s", (wedding,))
        assert is_day(calendar, organization, day + timedelta(days=1)) is False
        assert is_day(calendar, organization, day) is False


def test_entered_phases_count_and_stay_near_their_wedding(calendar: Connection) -> None:
    day = date(2027, 6, 5)
    start = datetime(2027, 6, 5, 20, tzinfo=UTC)
    insert = "insert into apm_wedding_windows (organization_id, wedding_id, phase, span) values (%s, %s, %s, tstzrange(%s, %s))"
    with an_organization(calendar) as organization:
        wedding = add_wedding(calendar, organization, day, "Europe/Paris")
        calendar.execute(
            insert, (organization, wedding, "reception", start, start + timedelta(hours=9))
        )
        [late] = windows(calendar, organization, start + timedelta(hours=8))
        assert (late["phase"], late["minutes_to_next_milestone"]) == ("reception", 60)
        [early] = windows(calendar, organization, start - timedelta(hours=6))
        assert (early["phase"], early["minutes_to_next_milestone"]) == ("day", 360)
        for phase, far in (("set_up", -80), ("tear_down", 80)):
            with pytest.raises(psycopg.errors.CheckViolation) as caught, calendar.transaction():
                begins = start + timedelta(hours=far)
                calendar.execute(
                    insert, (organization, wedding, phase, begins, begins + timedelta(hours=1))
                )
                calendar.execute("set constraints all immediate")
            assert caught.value.diag.constraint_name == "apm_wedding_windows_near"
        # A postponed wedding: the date first, then its phases, in one transaction.
        calendar.execute("set constraints all deferred")
        calendar.execute(
            "update apm_weddings set wedding_date = '2027-09-04' where id = %s", (wedding,)
        )
        calendar.execute(
            "update apm_wedding_windows set span = tstzrange('2027-09-04 12:00+00', '2027-09-04 15:00+00') where wedding_id = %s",
            (wedding,),
        )
        calendar.execute("set constraints all immediate")
        calendar.execute("set constraints all deferred")


def test_the_writer_gets_the_most_telling_context_first(either: House) -> None:
    with connect(either.superuser) as cx, an_organization(cx) as organization:
        add_wedding(cx, organization, date(2027, 6, 5), "UTC")
        at = datetime(2027, 6, 5, 14, tzinfo=UTC)
        rows = cx.execute(
            "select wedding_context ->> 'phase' as phase from apm_private.wedding_contexts(array[%s]::uuid[], %s, %s)",
            (organization, at, at),
        ).fetchall()
        assert [row["phase"] for row in rows] == ["ceremony", "day"]


def test_an_admin_enters_phases_and_a_wedding_of_his_own_organization(cx: Connection) -> None:
    with cx.transaction(force_rollback=True):
        become(cx, ADMIN_A)
        wedding = add_wedding(cx, ORGANIZATION_A, date(2027, 6, 5), "UTC")
        cx.execute(
            "insert into apm_wedding_windows (organization_id, wedding_id, phase, span)"
            " values (%s, %s, 'ceremony', tstzrange('2027-06-05 13:00+00', '2027-06-05 14:00+00'))",
            (ORGANIZATION_A, wedding),
        )
        cx.execute("set constraints all immediate")
        assert is_day(cx, ORGANIZATION_A, date(2027, 6, 5)) is True
