"""The host's clock is wrong: a sample that brings no time of its own gets the database's."""

from datetime import timedelta
from pathlib import Path

import psycopg
import pytest

from tests.support.clocks import HostClock
from tests.support.postgres import Database
from tests.support.serving import populate, running, settings_for
from wedsync_apm.db.pool import open_pool
from wedsync_apm.ingest.database_clock import DatabaseClock

HOUR = timedelta(hours=1)
MARGIN_MS = 50
"""Far less than any step here, far more than an answer takes that is halved."""


@pytest.fixture(params=[-HOUR, HOUR], ids=["behind", "ahead"])
def host(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> HostClock:
    return HostClock(monkeypatch, request.param)


def shown(database: Database) -> int:
    with psycopg.connect(database.owner) as cx:
        row = cx.execute("select extract(epoch from clock_timestamp()) * 1000").fetchone()
    assert row is not None
    return int(row[0])


async def test_the_clock_is_the_databases_through_steps_of_the_hosts(
    database: Database, host: HostClock
) -> None:
    clock = DatabaseClock()
    assert abs(clock.now_ms() - shown(database)) > 3_000_000, "nobody has told it yet"
    async with await open_pool(database.owner, name="clock") as pool:
        await clock.ask(pool)
        for step in (timedelta(), 2 * HOUR, -5 * HOUR):
            host.ahead += step
            before = shown(database)
            now = clock.now_ms()
            assert before - MARGIN_MS <= now <= shown(database) + MARGIN_MS


async def test_it_begins_without_a_database_and_is_set_by_its_first_answer(
    database: Database,
) -> None:
    clock = DatabaseClock()
    away = "host=127.0.0.1 port=1 user=nobody dbname=nothing"
    async with await open_pool(away, name="clock", acquire_seconds=0.2) as pool:
        await clock.begin(pool)
    async with await open_pool(database.owner, name="clock") as pool:
        await clock.begin(pool)
    before = shown(database)
    assert before - MARGIN_MS <= clock.now_ms() <= shown(database) + MARGIN_MS


@pytest.mark.usefixtures("host")
async def test_a_sample_without_a_time_gets_the_databases(
    database: Database, tmp_path: Path
) -> None:
    """Through the whole server: by its own protocol, and by one whose times have another form."""
    sample = {"service_name": "forms", "metric_name": "submit_time", "value": 7}
    world = populate(database)
    before = shown(database)
    async with (
        running(settings_for(database, tmp_path), world) as process,
        process.as_key("ingest") as client,
    ):
        answers = [
            await client.post("/api/v1/metrics", json={"samples": [sample]}),
            await client.post("/influx/api/v2/write", content=b"forms,form=a seconds=3"),
        ]
        assert all(one.is_success for one in answers), [one.text for one in answers]
    after = shown(database)
    with psycopg.connect(database.owner) as cx:
        times = cx.execute(
            'select extract(epoch from "timestamp") * 1000 from public.apm_samples'
        ).fetchall()
    assert len(times) == 2
    assert all(before - MARGIN_MS <= at <= after + MARGIN_MS for (at,) in times)
