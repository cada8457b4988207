"""What all cycles have in common, and the small jobs: rollups and tidying."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from tests.support.engine import AT, MINUTE, EngineWorld, open_engine_world
from tests.support.postgres import Database
from wedsync_apm.db.pool import Connection
from wedsync_apm.engine import evaluate, rollup, tidy
from wedsync_apm.engine.cycle import Cycle, Outcome, run_forever, run_tick
from wedsync_apm.engine.evaluate import Evaluator
from wedsync_apm.engine.rollup import Rollup


@pytest.fixture
async def world(database: Database) -> AsyncIterator[EngineWorld]:
    async with open_engine_world(database) as opened:
        yield opened


async def runs(world: EngineWorld, job: str) -> dict[str, object]:
    """What is written down about a job."""
    (row,) = await world.run("select * from apm_private.job_runs where job = %(job)s", job=job)
    return row


async def test_a_run_is_written_down_with_its_effects(world: EngineWorld) -> None:
    async def job(cx: Connection, at: datetime) -> str:
        await cx.execute("select 1")
        return f"at {at.year // 100}"

    assert await run_tick(world.engine, Cycle("job", 1.0, job)) is Outcome.OK
    row = await runs(world, "job")
    assert (row["outcome"], row["failures_in_row"]) == ("ok", 0)
    assert row["detail"] == "at 20"


async def test_a_job_that_raises_is_set_back_recorded_and_tried_again(
    world: EngineWorld, caplog: pytest.LogCaptureFixture
) -> None:
    vendor = await world.organization()
    stop = asyncio.Event()
    tries = 0

    async def job(cx: Connection, at: datetime) -> str:
        nonlocal tries
        tries += 1
        await cx.execute(
            "update public.organizations set name = 'changed' where id = %s", (vendor,)
        )
        if tries == 2:
            stop.set()
            return ""
        raise ValueError("a defect")

    with caplog.at_level(logging.CRITICAL, "wedsync_apm.engine.cycle"):
        assert await run_tick(world.engine, Cycle("job", 0.01, job)) is Outcome.FAILED
    row = await runs(world, "job")
    assert (row["outcome"], row["detail"], row["failures_in_row"]) == ("failed", "a defect", 1)
    names = await world.run("select name from public.organizations")
    assert [one["name"] for one in names] == ["Fern & Field"], "half a run leaves nothing"
    await asyncio.wait_for(run_forever(world.engine, Cycle("job", 0.01, job), stop), 60)
    row = await runs(world, "job")
    assert (row["outcome"], row["failures_in_row"]) == ("ok", 0)


async def test_a_run_over_its_time_is_broken_off(world: EngineWorld) -> None:
    async def job(cx: Connection, at: datetime) -> str:
        await cx.execute("select pg_sleep(30)")
        return ""

    assert await run_tick(world.engine, Cycle("job", 1.0, job, timeout=0.2)) is Outcome.FAILED
    async with world.engine.connection() as cx:
        await cx.execute("select 1")


async def test_a_lost_conflict_is_tried_again_at_once(world: EngineWorld) -> None:
    tries = 0

    async def job(cx: Connection, at: datetime) -> str:
        nonlocal tries
        tries += 1
        if tries < 3:
            await cx.execute(
                "do $$ begin raise exception 'x' using errcode = 'serialization_failure'; end $$"
            )
        return ""

    assert await run_tick(world.engine, Cycle("job", 1.0, job)) is Outcome.OK
    assert tries == 3


async def test_of_two_engines_one_has_an_exclusive_job(world: EngineWorld) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def slow(cx: Connection, at: datetime) -> str:
        begun.set()
        await go_on.wait()
        return ""

    async def quick(cx: Connection, at: datetime) -> str:
        return ""

    first = asyncio.create_task(run_tick(world.engine, Cycle("job", 1.0, slow)))
    await begun.wait()
    assert await run_tick(world.engine, Cycle("job", 1.0, quick)) is Outcome.SKIPPED
    assert await run_tick(world.engine, Cycle("other", 1.0, quick)) is Outcome.OK
    go_on.set()
    assert await first is Outcome.OK
    assert await run_tick(world.engine, Cycle("job", 1.0, quick)) is Outcome.OK


async def test_rollups_are_filled_and_late_samples_taken_in(world: EngineWorld) -> None:
    vendor = await world.organization()
    await world.steady(vendor, AT, AT + 3 * MINUTE, 100)
    for name in rollup.WIDTHS:
        assert await run_tick(world.engine, Cycle("rollup", 1.0, Rollup(name).run_once)) is (
            Outcome.OK
        )
    counted = (
        "select sum(sample_count)::int as n, count(*)::int as buckets from public.apm_rollups \
        where bucket_width = '1 minute'"
    )
    assert await world.run(counted) == [{"n": 18, "buckets": 3}]
    await world.samples(vendor, [(AT + timedelta(seconds=5), 100)])
    await run_tick(world.engine, Cycle("rollup", 1.0, Rollup("1m").run_once))
    assert await world.run(counted) == [{"n": 19, "buckets": 3}]
    assert (await runs(world, "rollup"))["detail"] == "1 buckets"


async def test_flushes_go_when_every_reader_has_passed_them(world: EngineWorld) -> None:
    vendor = await world.organization()
    await world.samples(vendor, [(AT, 1), (AT + MINUTE, 1)])
    await world.run("update apm_private.flushes set flushed_at = now() - interval '1 hour'")
    # A restore into a younger cluster leaves numbers that lie in its future.
    await world.run(
        "update apm_private.flushes set xid = '9000000' where earliest[1] > %(at)s", at=AT
    )
    kept = "select count(*)::int as n from apm_private.flushes"

    async def tidy_up() -> None:
        assert await run_tick(world.engine, Cycle("tidy", 1.0, tidy.run_once)) is Outcome.OK

    await tidy_up()
    assert await world.run(kept) == [{"n": 2}], "nobody has read it"
    await run_tick(world.engine, Cycle("evaluate", 1.0, Evaluator().run_once, is_exclusive=False))
    for name in list(rollup.WIDTHS)[:-1]:
        await run_tick(world.engine, Cycle(f"rollup {name}", 1.0, Rollup(name).run_once))
    await tidy_up()
    assert await world.run(kept) == [{"n": 2}], "one width's reader has not"
    await run_tick(world.engine, Cycle("rollup 1d", 1.0, Rollup("1d").run_once))
    readers = {row["name"] for row in await world.run("select name from apm_private.cursors")}
    assert readers >= {*evaluate.READERS, *rollup.READERS}
    async with world.engine.connection() as cx:
        for name in set(tidy.READERS) - readers:
            await cx.execute(
                "insert into apm_private.cursors (name, snapshot) "
                "values (%s, pg_current_snapshot())",
                (name,),
            )
    await tidy_up()
    assert await world.run(kept) == [{"n": 0}]


async def test_partitions_are_made_ahead_and_late_rows_cry_out(
    world: EngineWorld, caplog: pytest.LogCaptureFixture
) -> None:
    async with world.engine.connection() as cx:
        now = datetime.now(UTC)
        await tidy.run_once(cx, now)  # the schema may be of yesterday
        words = await tidy.run_once(cx, now + timedelta(days=3))
    # Three more days, and a month more where the third falls into the next one.
    assert int(words.split()[0]) in (3, 4)
    assert tidy.LATE_BYTES.value(partition="apm_metrics_default") == 0
    vendor = await world.organization()
    await world.samples(vendor, [(datetime(2031, 1, 1, tzinfo=UTC), 1)])
    async with world.engine.connection() as cx:
        await tidy.run_once(cx, datetime.now(UTC))
    assert tidy.LATE_BYTES.value(partition="apm_metrics_default") > 0
    assert "apm_metrics_default" in caplog.text


async def test_the_incident_of_a_deleted_rule_ends(world: EngineWorld) -> None:
    """Nothing else would end it, and its ladder would go on calling."""
    vendor = await world.organization()
    for name in ("Deleted", "Kept"):
        await world.rule(vendor, alert_name=name)
    await world.samples(vendor, [(AT, 9000)])
    await world.evaluate(AT)
    await world.run("delete from public.apm_alerts where alert_name = 'Deleted'")
    async with world.engine.connection() as cx:
        await tidy.run_once(cx, AT + MINUTE)
    found = {one["title"]: one["status"] for one in await world.incidents(vendor)}
    assert found == {"Deleted": "resolved", "Kept": "open"}


async def test_a_woken_job_does_not_wait_for_its_turn(world: EngineWorld) -> None:
    """It ran once, its next turn is in an hour, and what wakes it is heard at once; also when it
    comes while the job is under way."""
    stop, wake = asyncio.Event(), asyncio.Event()
    ran = asyncio.Semaphore(0)

    async def job(cx: Connection, at: datetime) -> str:
        ran.release()
        return ""

    cycle = Cycle("job", 3600.0, job, wake=wake)
    running = asyncio.create_task(run_forever(world.engine, cycle, stop))
    await asyncio.wait_for(ran.acquire(), 60)
    wake.set()
    await asyncio.wait_for(ran.acquire(), 60)
    wake.set()
    await asyncio.wait_for(ran.acquire(), 60)
    stop.set()
    await asyncio.wait_for(running, 60)


@pytest.mark.parametrize(("apart", "runs_seen"), [(0.5, 4), (3600.0, 2)])
async def test_a_stream_of_wakes_is_one_look_now_and_then(
    world: EngineWorld, apart: float, runs_seen: int
) -> None:
    """The first wake after a quiet while is followed at once, those behind it together."""
    wake, stop, begun = asyncio.Event(), asyncio.Event(), list[float]()

    async def job(cx: Connection, at: datetime) -> str:
        begun.append(time.monotonic())
        return ""

    cycle = Cycle("job", 3600.0, job, wake=wake, apart=apart)
    running = asyncio.create_task(run_forever(world.engine, cycle, stop))
    try:
        async with asyncio.timeout(60):
            while not begun:
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.1)
            woken = time.monotonic()
            while len(begun) < runs_seen:
                wake.set()
                await asyncio.sleep(0.01)
        for _ in range(20):
            wake.set()
            await asyncio.sleep(0.01)
    finally:
        stop.set()
        wake.set()
        await asyncio.wait_for(running, 60)
    if runs_seen == 2:
        assert len(begun) == 2, "the others rest for an hour"
    else:
        assert begun[3] - woken >= 2 * apart


async def test_runs_that_end_well_are_written_down_now_and_then(world: EngineWorld) -> None:
    count, fails = 0, False

    async def job(cx: Connection, at: datetime) -> str:
        nonlocal count
        count += 1
        if fails:
            raise ValueError("a defect")
        return str(count)

    cycle = Cycle("job", 1.0, job)
    for _ in range(3):
        await run_tick(world.engine, cycle)
    assert (await runs(world, "job"))["detail"] == "1"
    fails = True
    await run_tick(world.engine, cycle)
    assert (await runs(world, "job"))["outcome"] == "failed"
    fails = False
    await run_tick(world.engine, cycle)
    assert (await runs(world, "job"))["detail"] == "5", "that it goes on again is said at once"


async def test_a_job_that_fails_is_not_hurried(
    world: EngineWorld, caplog: pytest.LogCaptureFixture
) -> None:
    stop, wake = asyncio.Event(), asyncio.Event()
    began: list[float] = []
    loop = asyncio.get_running_loop()
    called = loop.time()

    async def job(cx: Connection, at: datetime) -> str:
        began.append(loop.time())
        wake.set()
        if len(began) == 3:
            stop.set()
        raise ValueError("a defect")

    with caplog.at_level(logging.CRITICAL, "wedsync_apm.engine.cycle"):
        await asyncio.wait_for(
            run_forever(world.engine, Cycle("job", 0.1, job, wake=wake), stop), 60
        )
    assert began[2] - called >= 0.2 + 0.4
