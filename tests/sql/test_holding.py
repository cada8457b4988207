"""Matchers, recurring windows by the clock on the wall, and what holds an incident back, in SQL."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from uuid import uuid4
from zoneinfo import ZoneInfo

import psutil
import psycopg
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from psycopg.types.json import Jsonb

from tests.sql.conftest import House
from tests.support.people import Connection, connect

MINUTE = timedelta(minutes=1)
ZONES = (
    "Europe/London",
    "America/New_York",
    "Australia/Sydney",
    "Australia/Lord_Howe",
    "America/Santiago",
    "Asia/Kolkata",
    # not Casablanca: databases of zones disagree on whether it stays an hour ahead
    "Pacific/Chatham",
    "UTC",
)


@pytest.fixture(scope="module")
def sql(houses: Any) -> Iterator[Connection]:
    """The superuser, in a database in which nothing is kept."""
    house: House = houses.get("18-superuser")
    with connect(house.superuser) as cx:
        yield cx
        cx.rollback()


def matcher(label: str, operator: str, value: str) -> dict[str, str]:
    return {"label": label, "operator": operator, "value": value}


def fault(cx: Connection, matchers: object, fewest: int = 1) -> str | None:
    row = cx.execute(
        "select apm_private.fault_of_matchers(%s, %s) as fault", (Jsonb(matchers), fewest)
    ).fetchone()
    assert row is not None
    found: str | None = row["fault"]
    return found


def matches(cx: Connection, matchers: object, labels: dict[str, str]) -> bool:
    row = cx.execute(
        "select apm_private.do_matchers_match(%s, %s) as yes", (Jsonb(matchers), Jsonb(labels))
    ).fetchone()
    assert row is not None
    return bool(row["yes"])


@pytest.mark.parametrize(
    ("operator", "value", "labels", "expected"),
    [
        ("=", "a", {"tag.x": "a"}, True),
        ("=", "a", {}, False),
        ("=", "", {}, True),
        ("!=", "a", {}, True),
        ("!=", "", {"tag.x": "a"}, True),
        ("=~", "a|b", {"tag.x": "b"}, True),
        ("=~", "a", {"tag.x": "ab"}, False),
        ("=~", ".*", {}, True),
        ("=~", ".+", {}, False),
        ("!~", "a.*", {"tag.x": "ab"}, False),
        ("!~", "a.*", {}, True),
        ("=~", "[a-c]+", {"tag.x": "cab"}, True),
        ("=~", r"a\.b", {"tag.x": "axb"}, False),
    ],
)
def test_a_matcher_matches_as_alertmanagers_does(
    sql: Connection, operator: str, value: str, labels: dict[str, str], expected: bool
) -> None:
    matchers = [matcher("tag.x", operator, value)]
    assert fault(sql, matchers) is None
    assert matches(sql, matchers, labels) is expected


def test_all_matchers_must_match(sql: Connection) -> None:
    both = [matcher("tag.x", "=", "a"), matcher("service", "=~", "f.*")]
    assert matches(sql, both, {"tag.x": "a", "service": "forms"})
    assert not matches(sql, both, {"tag.x": "a", "service": "shop"})


@pytest.mark.parametrize(
    "matchers",
    [
        None,
        {},
        [],
        ["x"],
        [5],
        [None],
        [{}],
        [{"label": "service", "operator": "=", "value": 5}],
        [{"label": "service", "operator": "=", "value": None}],
        [{"label": "service", "operator": "==", "value": "x"}],
        [{"label": "service", "operator": "=", "value": "x", "more": 1}],
        [matcher("host", "=", "x")],
        [matcher("tag.", "=", "x")],
        [matcher("service", "=", "x" * 1025)],
        [matcher("service", "=", "x")] * 21,
        [matcher("service", "=~", "x" * 201)],
    ],
)
def test_what_is_no_matcher_is_refused_with_a_reason(sql: Connection, matchers: object) -> None:
    assert fault(sql, matchers)


@pytest.mark.parametrize(
    ("operator", "value", "is_taken"),
    [
        ("=", "critical", True),
        ("!=", "emergency", True),
        ("!=", "", True),
        ("=~", "info|warning", True),
        ("=~", "crit.*", True),
        ("!~", "info", True),
        ("=", "catastrophic", False),
        ("!=", "Critical", False),
        ("=~", "catastrophic|fatal", False),
        ("!~", "CRITICAL", False),
    ],
)
def test_a_severity_that_there_is_not_is_refused_with_what_is_possible(
    sql: Connection, operator: str, value: str, is_taken: bool
) -> None:
    found = fault(sql, [matcher("severity", operator, value)])
    assert found == (None if is_taken else "severity is info, warning, critical, emergency")
    assert fault(sql, [matcher("tag.severity", operator, value)]) is None


@pytest.mark.parametrize(
    "expression",
    [
        r"(a)\1",
        "a{3}",
        "((a{255}){255}){255}",
        "(?=a)b",
        "(?i)a",
        "(?:a",
        "a)",
        "[a",
        "[[:alpha:]]",
        "[z-a]",
        r"\d+",
        r"\mword",
        "a**",
        "a*?",
        "*a",
        "(*a)",
        "a|*",
        "^a$",
        "***:a",
        "***=a",
        "\\",
    ],
)
def test_expressions_that_engines_read_differently_or_labour_over_are_refused(
    sql: Connection, expression: str
) -> None:
    assert fault(sql, [matcher("service", "=~", expression)])


ATOMS = st.sampled_from(["a", "b", ".", "[ab]", "[^a]", r"\.", "(a|b)", "(ab|c)", "-"])
EXPRESSIONS = st.lists(
    st.tuples(ATOMS, st.sampled_from(["", "", "*", "+", "?"])).map("".join), max_size=8
).map("".join)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(EXPRESSIONS, min_size=1, max_size=3).map("|".join),
    st.text(alphabet="abc.-", max_size=8),
)
def test_an_expression_means_what_it_means_elsewhere(
    sql: Connection, expression: str, text: str
) -> None:
    matchers = [matcher("tag.x", "=~", expression)]
    assert fault(sql, matchers) is None
    expected = re.fullmatch(expression, text) is not None
    assert matches(sql, matchers, {"tag.x": text}) is expected


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.text(alphabet="ab(|)*+?.[]^$\\{}-1,:=", max_size=30), st.text("ab", max_size=40))
@example("(a|b)*a(a|b)(a|b)(a|b)(a|b)(a|b)(a|b)(a|b)(a|b)(a|b)(a|b)(a|b)", "ab" * 20)
@example("(((a+)+)+)+b", "a" * 40)
def test_no_expression_that_is_taken_raises_or_takes_long(
    sql: Connection, expression: str, text: str
) -> None:
    matchers = [matcher("tag.x", "=~", expression)]
    sql.execute("set local statement_timeout = '1s'")
    if fault(sql, matchers) is None:
        matches(sql, matchers, {"tag.x": text * 25})
    sql.execute("set local statement_timeout = 0")


def is_open(at: datetime, weekdays: list[int], starts: time, ends: time, zone: ZoneInfo) -> bool:
    """The definition, minute by minute: after the first time that the clock shows the start, before
    the last that it shows less than the end."""
    for days_back in (0, 1, 2):
        day = (at.astimezone(zone) - timedelta(days=days_back)).date()
        # the wall's date may lie a day ahead near midnight changes of the clock
        for candidate in (day, day + timedelta(days=1)):
            if candidate.isoweekday() not in weekdays:
                continue
            begin = datetime.combine(candidate, starts)
            end = datetime.combine(candidate, ends)
            if ends <= starts:
                end += timedelta(days=1)
            opens, closes = first_at(begin, zone), after_last_before(end, zone)
            # all of it in an hour that is skipped: as long as ever, from the change of the clock
            if opens <= at < (closes if closes > opens else opens + (end - begin)):
                return True
    return False


def walk(wall: datetime, zone: ZoneInfo) -> Iterator[tuple[datetime, datetime]]:
    instant = wall.replace(tzinfo=UTC) - timedelta(hours=18)
    for _ in range(36 * 60):
        yield instant, instant.astimezone(zone).replace(tzinfo=None)
        instant += MINUTE


def first_at(wall: datetime, zone: ZoneInfo) -> datetime:
    return next(instant for instant, shown in walk(wall, zone) if shown >= wall)


def after_last_before(wall: datetime, zone: ZoneInfo) -> datetime:
    return max(instant for instant, shown in walk(wall, zone) if shown < wall) + MINUTE


CHANGES = [
    date(2026, 3, 28),  # Europe, on the 29th
    date(2026, 10, 24),
    date(2026, 3, 7),  # New York
    date(2026, 10, 31),
    date(2026, 4, 4),  # Sydney, Santiago, Lord Howe
    date(2026, 10, 3),
    date(2026, 9, 5),
    date(2024, 2, 28),
    date(2026, 12, 30),
]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.sampled_from(ZONES),
    st.sets(st.integers(1, 7), min_size=1),
    st.times(max_value=time(23, 59)).map(lambda t: t.replace(second=0, microsecond=0)),
    st.times(max_value=time(23, 59)).map(lambda t: t.replace(second=0, microsecond=0)),
    st.sampled_from(CHANGES),
    st.lists(st.integers(0, 5 * 1440 - 1), min_size=1, max_size=6),
)
@example("Europe/London", {6, 7}, time(22), time(6), date(2026, 3, 28), [120, 1500, 1560])
@example("Europe/London", {7}, time(1, 30), time(2, 15), date(2026, 3, 28), [1440, 1500, 1515])
@example(
    "Europe/London", {7}, time(1, 30), time(1, 45), date(2026, 3, 28), [1499, 1500, 1514, 1515]
)
@example("Europe/London", {7}, time(1, 0), time(2, 0), date(2026, 10, 24), [1440, 1500, 1560, 1619])
@example("Europe/London", {7}, time(0), time(0), date(2026, 10, 24), [1380, 1500, 2880, 2899])
def test_a_recurring_window_follows_the_clock_on_the_wall(  # noqa: PLR0917 - hypothesis
    sql: Connection,
    zone: str,
    weekdays: set[int],
    starts: time,
    ends: time,
    near: date,
    minutes: list[int],
) -> None:
    begin = datetime.combine(near, time(), UTC) - timedelta(days=1)
    instants = [begin + minute * MINUTE for minute in minutes]
    spans = sql.execute(
        "select lower(s.span) as starts_at, upper(s.span) as ends_at from jsonb_populate_record("
        "null::public.apm_maintenance_windows, %s) as m, lateral apm_private.maintenance_spans("
        "m, %s, %s) as s",
        (
            Jsonb(
                {
                    "weekdays": sorted(weekdays),
                    "starts_time": starts.isoformat(),
                    "ends_time": ends.isoformat(),
                    "time_zone": zone,
                    "every_weeks": 1,
                }
            ),
            min(instants),
            max(instants),
        ),
    ).fetchall()
    for at in instants:
        found = any(span["starts_at"] <= at < span["ends_at"] for span in spans)
        assert found is is_open(at, sorted(weekdays), starts, ends, ZoneInfo(zone)), (at, spans)


def test_a_local_day_has_23_and_25_hours(sql: Connection) -> None:
    whole = {"weekdays": [7], "starts_time": "00:00", "ends_time": "00:00", "every_weeks": 1}
    whole["time_zone"] = "Europe/London"
    for day, hours in (("2026-03-29", 23), ("2026-10-25", 25), ("2026-06-21", 24)):
        row = sql.execute(
            "select upper(s.span) - lower(s.span) as length from jsonb_populate_record("
            "null::public.apm_maintenance_windows, %s) as m, lateral "
            "apm_private.maintenance_spans(m, %s, %s) as s",
            (Jsonb(whole), f"{day}T12:00:00Z", f"{day}T12:00:00Z"),
        ).fetchone()
        assert row is not None
        assert row["length"] == timedelta(hours=hours), day


@settings(max_examples=40, deadline=None)
@given(
    st.sets(st.integers(1, 7), min_size=1),
    st.integers(1, 4),
    st.dates(date(2026, 9, 1), date(2026, 12, 31)),
    st.integers(0, 120),
)
@example({6}, 2, date(2026, 10, 21), 4)
def test_every_so_many_weeks_from_that_of_the_first_day(
    sql: Connection, weekdays: set[int], weeks: int, first: date, ahead: int
) -> None:
    day = first + timedelta(days=ahead - 10)
    spans = sql.execute(
        "select (lower(s.span) at time zone 'Europe/London')::date as day "
        "from jsonb_populate_record(null::public.apm_maintenance_windows, %s) as m, lateral "
        "apm_private.maintenance_spans(m, %s, %s) as s",
        (
            Jsonb(
                {
                    "weekdays": sorted(weekdays),
                    "starts_time": "10:00",
                    "ends_time": "11:00",
                    "time_zone": "Europe/London",
                    "every_weeks": weeks,
                    "first_day": first.isoformat(),
                }
            ),
            datetime.combine(day, time(9), ZoneInfo("Europe/London")),
            datetime.combine(day, time(12), ZoneInfo("Europe/London")),
        ),
    ).fetchall()

    def monday(of: date) -> date:
        return of - timedelta(days=of.weekday())

    is_its_week = (monday(day) - monday(first)).days // 7 % weeks == 0
    expected = day >= first and day.isoweekday() in weekdays and is_its_week
    assert [row["day"] for row in spans] == [day] * expected


def test_a_table_refuses_what_is_neither_once_nor_recurring(cx: Connection) -> None:
    organization = cx.execute("select id from organizations limit 1").fetchone()
    assert organization is not None
    for columns in (
        {},
        {"starts_at": "2026-06-01T00:00Z"},
        {"starts_at": "2026-06-01T00:00Z", "ends_at": "2026-06-01T00:00Z"},
        {"starts_at": "2026-06-01T00:00Z", "ends_at": "2026-08-01T00:00Z"},
        {"weekdays": [1], "starts_time": "22:00", "ends_time": "06:00"},
        {"weekdays": [], "starts_time": "22:00", "ends_time": "06:00", "time_zone": "UTC"},
        {"weekdays": [8], "starts_time": "22:00", "ends_time": "06:00", "time_zone": "UTC"},
        {"weekdays": [1], "starts_time": "22:00", "ends_time": "06:00", "time_zone": "Mars"},
        {"weekdays": [1], "starts_time": "22:00:01", "ends_time": "06:00", "time_zone": "UTC"},
        {
            "weekdays": [1],
            "starts_time": "22:00",
            "ends_time": "06:00",
            "time_zone": "UTC",
            "every_weeks": 2,
        },
    ):
        with pytest.raises(psycopg.errors.CheckViolation), cx.transaction():
            cx.execute(
                "insert into apm_maintenance_windows (organization_id, name, matchers, starts_at, "
                "ends_at, weekdays, starts_time, ends_time, time_zone, every_weeks) "
                "select %s, 'x', '[]', m.starts_at, m.ends_at, m.weekdays, m.starts_time, "
                "m.ends_time, m.time_zone, coalesce(m.every_weeks, 1) "
                "from jsonb_populate_record(null::apm_maintenance_windows, %s) as m",
                (organization["id"], json.dumps(columns)),
            )


HOLDS = {
    "nothing is set up": "select",
    "one silence matches": (
        "insert into apm_silences (organization_id, matchers, starts_at, ends_at, reason, owner) "
        "values (%(id)s, %(forms)s, now(), now() + interval '1 hour', 'x', 'x')"
    ),
    "one recurring window is open": (
        "insert into apm_maintenance_windows (organization_id, name, weekdays, starts_time, "
        "ends_time, time_zone) "
        "values (%(id)s, 'x', '{1,2,3,4,5,6,7}', '00:00', '00:00', 'Europe/London')"
    ),
    "one incident inhibits": (
        "insert into apm_inhibition_rules (organization_id, name, source_matchers, "
        "target_matchers) values (%(id)s, 'x', %(database)s, %(forms)s)"
    ),
}


@pytest.mark.parametrize("what", HOLDS)
def test_asking_what_holds_back_is_cheap(
    houses: Any, figure: Callable[[str, str], None], what: str
) -> None:
    """In CPU time of the backend, which neighbours do not stretch."""
    asked = 1000
    with houses.get("18-superuser").server.clone() as database, connect(database.owner) as cx:
        values = {
            "id": uuid4(),
            "forms": Jsonb([matcher("service", "=", "forms")]),
            "database": Jsonb([matcher("service", "=", "database")]),
        }
        cx.execute("insert into organizations (id, name) values (%(id)s, 'A')", values)
        for service in ("database", "forms"):
            values["incident"] = one(
                cx,
                "select apm_private.open_incident(%(id)s, %(key)s, 'x', 'warning', %(labels)s, "
                "'{}', now())",
                values | {"key": service, "labels": Jsonb({"service": service})},
            )
        cx.execute(HOLDS[what].encode(), values)
        backend = psutil.Process(one(cx, "select pg_backend_pid()", values))
        before = backend.cpu_times()
        held = one(
            cx,
            "select count(h.kind) from generate_series(1, %(asked)s) as n, lateral "
            "apm_private.held_back_by(%(id)s, %(incident)s, now() + n * interval '1 us') as h",
            values | {"asked": asked},
        )
        after = backend.cpu_times()
    assert held == (0 if what == "nothing is set up" else asked)
    took = (after.user + after.system - before.user - before.system) * 1000 / asked
    figure(f"CPU to ask what holds an incident back where {what}", f"{took:.2f} ms")
    assert took < 20


def one(cx: Connection, statement: str, values: Mapping[str, Any]) -> Any:
    row = cx.execute(statement.encode(), values).fetchone()
    assert row is not None
    (value,) = row.values()
    return value
