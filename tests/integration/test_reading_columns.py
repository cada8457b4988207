"""Write batches that come together, a row for many, are the samples that people see in the view:
whatever their sizes, whoever sent them, over several days, to their own organization alone, and no
more than an answer may read."""

import random
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta

import pytest

from tests.support.people import MEMBER_A, MEMBER_B, ORGANIZATION_A, Connection, Person, connect
from tests.support.postgres import Database
from wedsync_apm.db.pool import Pool, open_pool
from wedsync_apm.db.tenant import Actor, tenant_tx
from wedsync_apm.errors import NotValid
from wedsync_apm.metrics.reading import store
from wedsync_apm.metrics.reading.lines import Line

START = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(days=4)
END = START + timedelta(days=4)
SENDERS = ((11, 12, 13), (14, 15), (13, 12, 11), (16,), (17, 18))


@pytest.fixture
def owner(database: Database) -> Iterator[Connection]:
    with connect(database.owner, autocommit=True) as cx:
        cx.execute("insert into organizations (id, name) values (%s, 'O')", (ORGANIZATION_A,))
        cx.execute(
            "insert into apm_memberships (organization_id, user_id, role)"
            " values (%s, %s, 'MEMBER')",
            (ORGANIZATION_A, MEMBER_A.id),
        )
        yield cx


@pytest.fixture
async def pool(database: Database) -> AsyncIterator[Pool]:
    async with await open_pool(database.api, name="api") as opened:
        yield opened


def write(owner: Connection, rng: random.Random, count: int) -> None:
    """Senders in turn or at random; some times and series come twice, with other values."""
    for number in range(count):
        series = list(rng.choice(SENDERS) if rng.random() < 0.5 else SENDERS[number % 2])
        at = START + timedelta(minutes=rng.randrange(4 * 24 * 60))
        offsets = [rng.choice((0, 0, 0, 15_000)) for _ in series]
        owner.execute(
            'insert into apm_metrics (organization_id, "timestamp", ends_at, series_ids,'
            " offsets_ms, metric_values, apm_source) values (%s, %s, %s, %s, %s, %s, 'test')",
            (
                ORGANIZATION_A,
                at,
                at + timedelta(milliseconds=max(offsets)),
                series,
                offsets,
                [rng.random() for _ in series],
            ),
        )


async def read(pool: Pool, person: Person, start: datetime, wanted: list[int]) -> Line:
    span = round(start.timestamp() * 1000), round(END.timestamp() * 1000)
    async with tenant_tx(pool, Actor("authenticated", person.id)) as cx:
        return await store.read_samples(cx, ORGANIZATION_A, *span, wanted)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("wanted", [[11, 13, 15, 17], [12], [11, 12, 13, 14, 15, 16, 17, 18], [99]])
async def test_they_are_the_samples_of_the_view(
    owner: Connection, pool: Pool, seed: int, wanted: list[int]
) -> None:
    write(owner, random.Random(seed), 300)  # noqa: S311 - no secret
    for start in (START, START + timedelta(days=3, hours=23, seconds=7)):
        rows = owner.execute(
            "select series_id, (extract(epoch from timestamp) * 1000)::bigint as at_ms,"
            " metric_value from apm_samples_between(%s, %s) where series_id = any (%s)"
            " order by 1, 2",
            (start, END, wanted),
        ).fetchall()
        line = await read(pool, MEMBER_A, start, wanted)
        found = zip(line.series.tolist(), line.at_ms.tolist(), line.values.tolist(), strict=True)
        assert list(found) == [tuple(row.values()) for row in rows]
        assert (await read(pool, MEMBER_B, start, wanted)).series.tolist() == []


async def test_more_than_an_answer_may_read_is_refused(
    owner: Connection, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(owner, random.Random(7), 300)  # noqa: S311 - no secret
    stored = owner.execute("select sum(pg_column_size(metric_values)) as size from apm_metrics")
    size = int((stored.fetchone() or {})["size"])
    monkeypatch.setattr(store, "MOST_BYTES", size)
    assert len(await read(pool, MEMBER_A, START, [11])) > 0
    monkeypatch.setattr(store, "MOST_BYTES", size - 1)
    with pytest.raises(NotValid, match="narrow it"):
        await read(pool, MEMBER_A, START, [11])
