"""Rows of samples as columns."""

from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta

import pytest

from tests.support.people import MEMBER_A, MEMBER_B, ORGANIZATION_A, Connection, connect
from tests.support.postgres import Database
from wedsync_apm.db.pool import Pool, open_pool
from wedsync_apm.db.tenant import Actor, tenant_tx
from wedsync_apm.metrics.blocks import last_wins
from wedsync_apm.metrics.blocks.store import read_columns

MINUTE = timedelta(minutes=1)
NOW = datetime.now(UTC).replace(minute=30, second=0, microsecond=0) - 60 * MINUTE


@pytest.fixture
def engine(database: Database) -> Iterator[Connection]:
    with connect(database.owner, autocommit=True) as owner:
        owner.execute("insert into organizations (id, name) values (%s, 'O')", (ORGANIZATION_A,))
        owner.execute(
            "insert into apm_memberships (organization_id, user_id, role)"
            " values (%s, %s, 'MEMBER')",
            (ORGANIZATION_A, MEMBER_A.id),
        )
    with connect(database.engine, autocommit=True) as cx:
        yield cx


@pytest.fixture
async def pool(database: Database) -> AsyncIterator[Pool]:
    async with await open_pool(database.api, name="api") as opened:
        yield opened


def insert(engine: Connection, metric: str, value: float, at: datetime) -> None:
    engine.execute(
        "insert into apm_samples (organization_id, service_name, metric_name, metric_value,"
        " \"timestamp\") values (%s, 'shop', %s, %s, %s)",
        (ORGANIZATION_A, metric, value, at),
    )


async def test_columns_hold_every_sample_of_the_range_and_the_last_write_wins(
    pool: Pool, engine: Connection
) -> None:
    for minute in range(5):
        insert(engine, "a", minute, NOW - minute * MINUTE)
        insert(engine, "b", -minute, NOW - minute * MINUTE)
    insert(engine, "a", 77.0, NOW - 2 * MINUTE)
    ids = [row["id"] for row in engine.execute("select id from apm_series order by metric_name")]

    async with tenant_tx(pool, Actor("authenticated", MEMBER_A.id)) as cx:
        stored = await read_columns(cx, ORGANIZATION_A, NOW - 3 * MINUTE, NOW)
        shown = last_wins(await read_columns(cx, ORGANIZATION_A, NOW - 3 * MINUTE, NOW, ids[:1]))
    async with tenant_tx(pool, Actor("authenticated", MEMBER_B.id)) as cx:
        foreign = await read_columns(cx, ORGANIZATION_A, NOW - 3 * MINUTE, NOW)

    assert len(stored) == 7
    assert shown.series.tolist() == ids[:1] * 3
    assert shown.values.tolist() == [3.0, 77.0, 1.0]
    newest = int(NOW.timestamp() * 1000)
    assert shown.timestamps_ms.tolist() == [newest - 180_000, newest - 120_000, newest - 60_000]
    assert [shown.contexts[code].source for code in shown.context] == ["sql"] * 3
    assert len(foreign) == 0
