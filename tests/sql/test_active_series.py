"""The limit of series counts those that samples came for within a day."""

from collections.abc import Iterator
from uuid import UUID

import pytest

from tests.sql.conftest import House
from tests.support.people import ORGANIZATION_A, Connection, connect

RESOLVE = """
    select nullif(r.id, -1) as series_id from unnest(apm_private.find_or_make_series(
        array_fill(%(organization)s::uuid, array[cardinality(%(names)s::text[])]),
        array_fill('s'::text, array[cardinality(%(names)s::text[])]), %(names)s::text[],
        array_fill('gauge'::text, array[cardinality(%(names)s::text[])]),
        array_fill(null::text, array[cardinality(%(names)s::text[])]),
        array_fill('{}'::text, array[cardinality(%(names)s::text[])]),
        array(select apm_private.series_fingerprint('s', n, '{}') from unnest(%(names)s::text[]) as n),
        %(limit)s, -1, -2)) as r (id)
"""


@pytest.fixture
def cx(any_house: House) -> Iterator[Connection]:
    with connect(any_house.superuser) as opened:
        opened.execute("delete from apm_series where organization_id = %s", (ORGANIZATION_A,))
        yield opened
        opened.rollback()


def resolve(cx: Connection, *names: str, limit: int = 3) -> list[int | None]:
    values = {"organization": ORGANIZATION_A, "names": list(names), "limit": limit}
    return [row["series_id"] for row in cx.execute(RESOLVE, values).fetchall()]


def age(cx: Connection, name: str, hours: int, organization: UUID = ORGANIZATION_A) -> None:
    cx.execute(
        "update apm_series set last_seen_at = now() - make_interval(hours => %s)"
        " where organization_id = %s and metric_name = %s",
        (hours, organization, name),
    )


def hours_since(cx: Connection, name: str) -> int:
    row = cx.execute(
        "select floor(extract(epoch from now() - last_seen_at) / 3600)::int as hours"
        " from apm_series where organization_id = %s and metric_name = %s",
        (ORGANIZATION_A, name),
    ).fetchone()
    assert row is not None
    return int(row["hours"])


def test_a_series_that_went_silent_makes_room_and_keeps_its_name(cx: Connection) -> None:
    first = resolve(cx, "a", "b", "c", "d")
    assert [one is not None for one in first] == [True, True, True, False]
    age(cx, "a", 23)
    assert resolve(cx, "d") == [None], "a day is not over"
    age(cx, "a", 25)
    (new,) = resolve(cx, "d")
    assert new is not None
    assert resolve(cx, "a", "b", "c", "d") == [*first[:3], new], "old series are never refused"
    assert resolve(cx, "e") == [None]


def test_a_sample_is_noted_every_few_hours_and_not_with_each_write(cx: Connection) -> None:
    resolve(cx, "a", "b")
    age(cx, "a", 3)
    age(cx, "b", 5)
    resolve(cx, "a", "b")
    assert (hours_since(cx, "a"), hours_since(cx, "b")) == (3, 0)


def test_samples_by_sql_are_noted_and_counted_too(cx: Connection) -> None:
    insert = (
        "insert into apm_samples (organization_id, service_name, metric_name, metric_value,"
        " timestamp) values (%s, 's', 'a', 1, now())"
    )
    cx.execute(insert, (ORGANIZATION_A,))
    age(cx, "a", 30)
    cx.execute(insert, (ORGANIZATION_A,))
    assert hours_since(cx, "a") == 0


def test_two_writers_do_not_wait_for_each_other(house: House) -> None:
    with connect(house.superuser) as setting:
        resolve(setting, "wait a", "wait b", limit=10**6)
        age(setting, "wait a", 9)
        age(setting, "wait b", 9)
        setting.commit()
        with connect(house.superuser) as first, connect(house.superuser) as second:
            first.execute("set local lock_timeout = '2s'")
            second.execute("set local lock_timeout = '2s'")
            resolve(first, "wait a", limit=10**6)
            resolve(second, "wait b", limit=10**6)
            resolve(first, "wait b", limit=10**6)
            resolve(second, "wait a", limit=10**6)
            first.commit()
            second.commit()
        setting.execute("delete from apm_series where metric_name like 'wait %%'")
        setting.commit()
