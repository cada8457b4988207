"""What organizations keep, measured against what the tables take."""

import json
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.support.blocks import Batch, compact_all, noisy, settle, write
from tests.support.people import (
    MEMBER_A,
    MEMBER_B,
    ORGANIZATION_A,
    ORGANIZATION_B,
    Connection,
    connect,
)
from tests.support.postgres import Database
from wedsync_apm.cli import make_app
from wedsync_apm.db.pool import Pool, open_pool
from wedsync_apm.db.tenant import Actor, tenant_tx
from wedsync_apm.metrics.usage.model import Usage
from wedsync_apm.metrics.usage.store import measure_all, measure_usage

NOW = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
START_MS = int((NOW - timedelta(hours=30)).timestamp() * 1000) // 3_600_000 * 3_600_000


@pytest.fixture
def owner(database: Database) -> Iterator[Connection]:
    with connect(database.owner, autocommit=True) as cx:
        for organization, member in ((ORGANIZATION_A, MEMBER_A), (ORGANIZATION_B, MEMBER_B)):
            cx.execute("insert into organizations (id, name) values (%s, 'O')", (organization,))
            cx.execute(
                "insert into apm_memberships (organization_id, user_id, role)"
                " values (%s, %s, 'MEMBER')",
                (organization, member.id),
            )
            cx.execute(
                "insert into apm_series (organization_id, service_name, metric_name, fingerprint,"
                " last_seen_at) select %s, 's', 'm' || n, sha256(n::text::bytea),"
                " now() - n * interval '1 hour' from generate_series(1, 50) as n",
                (organization,),
            )
        for turn in range(400):
            at = START_MS + turn * 120_000
            values = noisy(turn, 50, 4)
            write(cx, ORGANIZATION_A, Batch([(n + 1, at, v) for n, v in enumerate(values)]))
            if turn % 4 == 0:
                write(cx, ORGANIZATION_B, Batch([(n + 1, at, v) for n, v in enumerate(values)]))
        cx.execute("vacuum analyze apm_metrics")
        cx.execute("vacuum analyze apm_series")
        yield cx


@pytest.fixture
async def pool(database: Database) -> AsyncIterator[Pool]:
    async with await open_pool(database.engine, name="engine", min_size=1, max_size=3) as opened:
        yield opened


async def all_usage(pool: Pool) -> dict[object, Usage]:
    async with pool.connection() as cx:
        return {one.organization_id: one for one in await measure_all(cx, NOW)}


async def test_the_parts_of_all_add_up_to_what_the_tables_take(
    owner: Connection, pool: Pool
) -> None:
    found = await all_usage(pool)
    a, b = found[ORGANIZATION_A], found[ORGANIZATION_B]
    assert (a.series, a.active_series, a.samples) == (50, 23, 20_000)
    assert b.samples == 5_000
    assert a.samples_last_day == pytest.approx(20_000 * (400 - 180) / 400, abs=1_600)
    assert a.sample_bytes == pytest.approx(4 * b.sample_bytes, rel=0.01)
    table = owner.execute(
        "select sum(pg_table_size(relid))::bigint as n, sum(pg_indexes_size(relid))::bigint as i"
        " from pg_partition_tree('apm_metrics') where isleaf and pg_relation_size(relid) > 0"
    ).fetchone()
    assert table is not None
    assert a.sample_bytes + b.sample_bytes == pytest.approx(table["n"], rel=0.25)
    assert a.index_bytes + b.index_bytes >= table["i"]


async def test_compaction_shows_in_the_cost(owner: Connection, pool: Pool) -> None:
    before = (await all_usage(pool))[ORGANIZATION_A]
    await compact_all(pool, await settle(pool))
    owner.execute("vacuum analyze apm_metrics")
    after = (await all_usage(pool))[ORGANIZATION_A]
    assert after.samples == before.samples
    assert after.sample_bytes < before.sample_bytes / 4
    assert after.monthly_cost(100.0) < before.monthly_cost(100.0)
    assert Usage(ORGANIZATION_A, sample_bytes=2**29).monthly_cost(0.5) == 0.25


async def test_a_member_sees_his_own_and_nobody_elses(
    database: Database, owner: Connection
) -> None:
    async with (
        await open_pool(database.api, name="api") as api,
        tenant_tx(api, Actor("authenticated", MEMBER_A.id)) as cx,
    ):
        mine = await measure_usage(cx, NOW, ORGANIZATION_A)
        theirs = await measure_usage(cx, NOW, ORGANIZATION_B)
        everybody = await measure_all(cx, NOW)
    assert mine.samples == 20_000
    assert theirs == Usage(ORGANIZATION_B)
    assert [one.organization_id for one in everybody] == [ORGANIZATION_A]


def test_the_command_prints_it(
    database: Database, owner: Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secrets = {f"{role}_password": password for role, password in database.passwords.items()}
    (tmp_path / "secrets.json").write_text(json.dumps(secrets))
    monkeypatch.setenv("WEDSYNC_APM_PRICE_PER_GB", "1024")
    where = ["--data-dir", str(tmp_path), "--database-url", database.owner]
    runner = CliRunner()
    answer = runner.invoke(make_app(["usage"]), ["usage", "--json", *where])
    assert answer.exit_code == 0, answer.output
    facts = {one["organization_id"]: one for one in json.loads(answer.stdout)}
    a = facts[str(ORGANIZATION_A)]
    assert a["samples"] == 20_000
    assert a["estimated_monthly_cost"] == pytest.approx(a["bytes"] / 2**20)
    one = runner.invoke(
        make_app(["usage"]), ["usage", "--organization", str(ORGANIZATION_B), *where]
    )
    assert one.exit_code == 0
    assert "5000" in one.stdout
    assert str(ORGANIZATION_A) not in one.stdout
