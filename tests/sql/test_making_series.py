"""Series are made once, whoever asks for them at the same time, and never without an organization."""

import asyncio
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from uuid import UUID, uuid4

import psycopg
import pytest

from tests.sql.conftest import House
from tests.support.people import (
    NO_ORGANIZATION,
    ORGANIZATION_A,
    ORGANIZATION_B,
    Connection,
    connect,
    settle_two_organizations,
)
from wedsync_apm.ingest import store
from wedsync_apm.metrics.model import REFUSED, UNKNOWN_ORGANIZATION, SeriesKey

PLENTY = 100_000


def series(organization_id: UUID, *names: str, unit: str | None = None) -> list[SeriesKey]:
    return [SeriesKey(organization_id, "making", name, unit=unit) for name in names]


@dataclass(frozen=True, slots=True)
class Place:
    """A database of the test's own, with two organizations in it."""

    superuser: str
    writer: str


@pytest.fixture
def place(any_house: House) -> Iterator[Place]:
    with any_house.server.clone() as database:
        superuser = any_house.superuser_of(database)
        settle_two_organizations(superuser)
        with connect(superuser) as cx:
            cx.execute("delete from apm_series")
            cx.commit()
        yield Place(superuser, database.writer)


async def resolve(writer: str, *asked: Sequence[SeriesKey], limit: int = PLENTY) -> list[list[int]]:
    """Each on the same connection, a transaction each."""
    cx = await store.connect(writer)
    async with cx:
        return [(await store.resolve_series(cx, keys, limit)).tolist() for keys in asked]


async def test_connections_that_ask_in_any_order_agree(place: Place) -> None:
    keys = [
        key
        for organization in (ORGANIZATION_A, ORGANIZATION_B)
        for key in series(organization, *[f"metric {number}" for number in range(150)])
    ]
    chance = random.Random(3)

    async def ask() -> dict[SeriesKey, int]:
        order = chance.sample(keys, len(keys))
        parts = [order[start : start + 40] for start in range(0, len(order), 40)]
        ids = [one for part in await resolve(place.writer, *parts) for one in part]
        return dict(zip(order, ids, strict=True))

    first, *others = await asyncio.gather(*[ask() for _ in range(4)])
    assert all(other == first for other in others)
    assert len(set(first.values())) == len(keys)
    assert min(first.values()) > 0


async def test_connections_at_once_stay_within_the_limit(place: Place) -> None:
    asked = [series(ORGANIZATION_A, *[f"{who} {n}" for n in range(30)]) for who in "abcd"]
    answers = await asyncio.gather(*[resolve(place.writer, keys, limit=50) for keys in asked])
    ids = [one for answer in answers for part in answer for one in part]
    assert len({one for one in ids if one > 0}) == 50
    assert ids.count(REFUSED) == 70


async def test_the_first_of_a_statement_find_room_and_a_full_house_keeps_its_own(
    place: Place,
) -> None:
    both = series(ORGANIZATION_A, "a", "b", "c") + series(ORGANIZATION_B, "a")
    made, again, more = await resolve(
        place.writer, both, both, series(ORGANIZATION_A, "d", "a"), limit=2
    )
    assert [one > 0 for one in made] == [True, True, False, True]
    assert again == made
    assert more == [REFUSED, made[0]]


async def test_a_stranger_costs_the_others_nothing(place: Place) -> None:
    asked = [
        *series(NO_ORGANIZATION, "a", "b"),
        *series(ORGANIZATION_A, "a"),
        *series(uuid4(), "a"),
        *series(ORGANIZATION_B, "a"),
    ]
    (answer,) = await resolve(place.writer, asked)
    assert [one if one < 0 else 1 for one in answer] == [
        UNKNOWN_ORGANIZATION, UNKNOWN_ORGANIZATION, 1, UNKNOWN_ORGANIZATION, 1,
    ]  # fmt: skip


async def test_the_same_series_twice_in_a_statement_is_one(place: Place) -> None:
    (answer,) = await resolve(place.writer, series(ORGANIZATION_A, "a", "b", "a"))
    assert answer[0] == answer[2] != answer[1]


@pytest.mark.parametrize(
    "text",
    [
        "plain",
        'a "quotation" and a \\ and a /',
        "".join(chr(code) for code in range(1, 33)) + "\x7f",
        "café, \u2028, 日本, 😀, \ufffe",
        "x" * 200,
    ],
)
async def test_the_writer_names_a_series_as_the_database_does(place: Place, text: str) -> None:
    tags = tuple(sorted({text: "v", "é": text, "b": "", "aa": "1", "z": "2", "ab": text}.items()))
    keys = [SeriesKey(ORGANIZATION_A, text, text, tags), SeriesKey(ORGANIZATION_A, "s", "m")]
    await resolve(place.writer, keys)
    with connect(place.superuser) as cx:
        found = cx.execute(
            "select metric_name, tags, fingerprint ="
            " apm_private.series_fingerprint(service_name, metric_name, tags) as is_its_own"
            " from apm_series order by id"
        ).fetchall()
    assert [(row["metric_name"], row["tags"]) for row in found] == [(text, dict(tags)), ("m", {})]
    assert all(row["is_its_own"] for row in found)


async def test_series_put_in_by_hand_are_counted_and_need_an_organization(place: Place) -> None:
    insert = (
        "insert into apm_series (organization_id, service_name, metric_name, fingerprint)"
        " select %s, 's', n::text, sha256(n::text::bytea) from generate_series(1, 3) as n"
    )
    with connect(place.superuser) as cx:
        cx.execute(insert, (ORGANIZATION_A,))
        cx.commit()
        with pytest.raises(psycopg.errors.ForeignKeyViolation):
            cx.execute(insert, (NO_ORGANIZATION,))
    (answer,) = await resolve(place.writer, series(ORGANIZATION_A, "a", "b"), limit=4)
    assert [one > 0 for one in answer] == [True, False]


@pytest.mark.parametrize("statement", ["delete from", "truncate"])
async def test_series_go_with_their_organizations(place: Place, statement: str) -> None:
    await resolve(place.writer, series(ORGANIZATION_A, "a") + series(ORGANIZATION_B, "a"))
    with connect(place.superuser) as cx:
        cascade = " cascade" if statement == "truncate" else ""
        cx.execute(f"{statement} organizations{cascade}")
        assert cx.execute("select from apm_series").fetchall() == []


async def test_who_deletes_an_organization_with_an_old_snapshot_is_told_of_new_series(
    place: Place,
) -> None:
    await resolve(place.writer, series(ORGANIZATION_A, "before"))
    with connect(place.superuser) as cx:
        cx.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        cx.execute("select")
        cx.execute("select from organizations")
        await resolve(place.writer, series(ORGANIZATION_A, "meanwhile"))
        with pytest.raises(psycopg.errors.SerializationFailure):
            cx.execute("delete from organizations where id = %s", (ORGANIZATION_A,))


async def test_a_unit_is_learnt_once(place: Place) -> None:
    await resolve(
        place.writer,
        series(ORGANIZATION_A, "a"),
        series(ORGANIZATION_A, "a", unit="ms"),
        series(ORGANIZATION_A, "a", unit="s"),
    )
    with connect(place.superuser) as cx:
        found = cx.execute("select unit from apm_series where metric_name = 'a'").fetchall()
    assert [row["unit"] for row in found] == ["ms"]


async def test_what_comes_back_after_a_day_takes_a_place(place: Place) -> None:
    old = series(ORGANIZATION_A, "a", "b")
    await resolve(place.writer, old)
    with connect(place.superuser) as cx:
        cx.execute("update apm_series set last_seen_at = now() - interval '2 days'")
        cx.execute("update apm_private.series_counts set at_most = 0")
        cx.commit()
    back, new = await resolve(place.writer, old, series(ORGANIZATION_A, "c", "d"), limit=3)
    assert min(back) > 0
    assert [one > 0 for one in new] == [True, False]


async def test_what_nobody_counted_is_counted_within_the_hour(place: Place) -> None:
    await resolve(place.writer, series(ORGANIZATION_A, "a"))
    with connect(place.superuser) as cx:
        for name in ("by hand", "by hand too"):
            cx.execute(
                "insert into apm_series (organization_id, service_name, metric_name, fingerprint)"
                " values (%s, 's', %s, apm_private.series_fingerprint('s', %s, '{}'))",
                (ORGANIZATION_A, name, name),
            )
        cx.execute(
            "update apm_private.series_counts set counted_at = now() - interval '61 minutes'"
        )
        cx.commit()
    (answer,) = await resolve(place.writer, series(ORGANIZATION_A, "b", "c"), limit=4)
    assert [one > 0 for one in answer] == [True, False]


async def test_an_organization_that_goes_meanwhile_leaves_nothing(place: Place) -> None:
    """Whoever comes first: either the series go with it, or they are not made."""
    going = uuid4()
    with connect(place.superuser) as cx:
        cx.execute("insert into organizations (id, name) values (%s, 'going')", (going,))
        cx.commit()
        await resolve(place.writer, series(going, "before"))
        cx.execute("delete from organizations where id = %s", (going,))
        making = asyncio.create_task(resolve(place.writer, series(going, "meanwhile")))
        with connect(place.superuser) as seeing:
            async with asyncio.timeout(60):
                while not seeing.execute(
                    "select from pg_locks where not granted and locktype = 'transactionid'"
                ).fetchall():
                    await asyncio.sleep(0.01)
        cx.commit()
        with pytest.raises(psycopg.errors.ForeignKeyViolation):
            await making
        left = cx.execute("select from apm_series where organization_id = %s", (going,))
        assert left.fetchall() == []
    assert await resolve(place.writer, series(going, "after")) == [[UNKNOWN_ORGANIZATION]]


def test_a_sample_by_sql_for_no_organization_is_refused(place: Place) -> None:
    with connect(place.superuser) as cx, pytest.raises(psycopg.errors.ForeignKeyViolation):
        cx.execute(
            "insert into apm_samples (organization_id, service_name, metric_name, metric_value,"
            " timestamp) values (%s, 's', 'a', 1, now())",
            (NO_ORGANIZATION,),
        )


@pytest.mark.parametrize("others", [0, 300])
async def test_a_series_is_found_by_its_own_index_whatever_was_known_of_the_table(
    place: Place, others: int
) -> None:
    """Statistics of an empty table, or of organizations with a series each: by any other index of
    the organization, these 2,000 would be found among some two million rows. (While there are but
    some hundreds of rows, all ways are equally short.)"""
    with connect(place.superuser) as cx:
        settle(cx, organizations=others)
        parts = [
            series(ORGANIZATION_A, *[f"metric {part} {number}" for number in range(100)])
            for part in range(20)
        ]
        assert await rows_read(cx, place.writer, parts) < 1_000_000


async def test_to_count_is_to_read_ones_own(place: Place) -> None:
    """Statistics that know of two large organizations alone; reading all rows for each of these
    twenty that are new would read 80,000."""
    with connect(place.superuser) as cx:
        cx.execute("alter table apm_series alter column organization_id reset (n_distinct)")
        settle(cx, organizations=2, each=2_000)
        new = [uuid4() for _ in range(20)]
        cx.execute(
            "insert into organizations (id, name) select id, 'new' from unnest(%s::uuid[]) as id",
            (new,),
        )
        assert await rows_read(cx, place.writer, [series(one, "a") for one in new]) < 2_000


def settle(cx: Connection, *, organizations: int, each: int = 1) -> None:
    """Organizations with so many series, which the statistics know of."""
    cx.execute(
        "with made as (insert into organizations (name)"
        " select 'other' from generate_series(1, %s) returning id)"
        " insert into apm_series (organization_id, service_name, metric_name, fingerprint)"
        " select id, 's', 'm', sha256(n::text::bytea) from made, generate_series(1, %s) as n",
        (organizations, each),
    )
    cx.commit()
    cx.autocommit = True
    cx.execute("vacuum analyze apm_series")
    cx.execute("select pg_stat_force_next_flush()")


async def rows_read(cx: Connection, writer: str, parts: Sequence[Sequence[SeriesKey]]) -> int:
    """Of the catalogue, while these are made."""
    cx.execute("select pg_stat_reset_single_table_counters('apm_series'::regclass)")
    await resolve(writer, *parts)
    # A server process tells its counts when it ends.
    gone = (
        "select from pg_stat_activity"
        " where application_name = 'wedsync-apm/writer' and datname = current_database()"
    )
    async with asyncio.timeout(60):
        while cx.execute(gone).fetchall():
            await asyncio.sleep(0.01)
    (row,) = cx.execute(
        "select seq_tup_read + idx_tup_fetch as rows, n_tup_ins from pg_stat_user_tables"
        " where relid = 'apm_series'::regclass"
    ).fetchall()
    assert row["n_tup_ins"] == sum(map(len, parts)), "the counts are in"
    return int(row["rows"])
