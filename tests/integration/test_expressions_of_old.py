"""Expressions over times whose samples are gone: what rollups answer is what samples did, and what
they cannot answer is said."""

import random
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.people import MEMBER_A, MEMBER_B, ORGANIZATION_A, Connection, connect
from tests.support.postgres import Database
from tests.support.rollups import fill_slices
from tests.support.serving import populate, running, settings_for
from wedsync_apm.clock import to_ms
from wedsync_apm.db.pool import Pool, open_pool
from wedsync_apm.db.tenant import Actor, tenant_tx
from wedsync_apm.metrics.expression import store
from wedsync_apm.metrics.expression.ages import Kept
from wedsync_apm.metrics.expression.budget import Budget
from wedsync_apm.metrics.expression.evaluate import evaluate
from wedsync_apm.metrics.expression.parsing import parse
from wedsync_apm.metrics.expression.plan import Grid, needs_of
from wedsync_apm.metrics.expression.read import read_leaves
from wedsync_apm.metrics.expression.taking import Selected, take_leaves
from wedsync_apm.metrics.expression.vectors import Ranges, Vector
from wedsync_apm.metrics.ranges import WIDTHS

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
NOON = datetime.now(UTC).replace(hour=12, minute=0, second=0, microsecond=0) - 2 * DAY
NOW = NOON + 2 * DAY
SERIES = {700001: "hits_total", 700002: "hits_total", 700003: "load", 700004: "gone"}
EVERY_SECONDS = 20

Rows = dict[frozenset[tuple[str, str]], list[float | None]]


def fill(owner: Connection, database: Database, organization_id: object) -> None:
    """Six hours of counters that start anew, a gauge, and one that ended in between."""
    rng = random.Random(3)  # noqa: S311 - no secret
    for series_id, name in SERIES.items():
        owner.execute(
            "insert into apm_series (organization_id, id, service_name, metric_name, tags,"
            " fingerprint) values (%s, %s, 'shop', %s, jsonb_build_object('n', %s::text), %s)",
            (organization_id, series_id, name, series_id, str(series_id).encode()),
        )
    owner.execute(
        "update apm_series set ended_at = %s where metric_name = 'gone'", (NOON - 3 * HOUR,)
    )
    totals = dict.fromkeys(SERIES, 0.0)
    with connect(database.engine, autocommit=True) as cx:
        for hour in range(6):
            start = NOON - (6 - hour) * HOUR
            ids, offsets, values = [], [], []
            for at in range(0, 3600, EVERY_SECONDS):
                for series_id, name in SERIES.items():
                    if name == "gone" and hour >= 3:
                        continue
                    totals[series_id] += rng.randrange(40)
                    if rng.random() < 0.01:
                        totals[series_id] = float(rng.randrange(5))
                    value = totals[series_id] if name != "load" else rng.gauss(300, 80)
                    ids.append(series_id)
                    # Never at the very end of a window, which samples have and rollups have not.
                    offsets.append(at * 1000 + 1 + rng.randrange(900))
                    values.append(value)
            cx.execute(
                'insert into apm_metrics (organization_id, "timestamp", ends_at, series_ids,'
                " offsets_ms, metric_values, apm_source) values (%s, %s, %s, %s, %s, %s, 'test')",
                (
                    organization_id,
                    start,
                    start + timedelta(milliseconds=max(offsets)),
                    ids,
                    offsets,
                    values,
                ),
            )


async def roll_up(database: Database) -> None:
    """As the engine does."""
    for width in WIDTHS.values():
        await fill_slices(database.engine, width)


def let_go(database: Database, before: datetime) -> None:
    """The samples from before a time, as retention does."""
    with connect(database.engine, autocommit=True) as cx:
        cx.execute('delete from apm_metrics where "timestamp" < %s', (before,))


@pytest.fixture
async def owner(database: Database) -> AsyncIterator[Connection]:
    with connect(database.owner, autocommit=True) as cx:
        cx.execute("insert into organizations (id, name) values (%s, 'O')", (ORGANIZATION_A,))
        cx.execute(
            "insert into apm_memberships (organization_id, user_id, role)"
            " values (%s, %s, 'MEMBER')",
            (ORGANIZATION_A, MEMBER_A.id),
        )
        fill(cx, database, ORGANIZATION_A)
        await roll_up(database)
        yield cx


@pytest.fixture
async def pool(database: Database) -> AsyncIterator[Pool]:
    async with await open_pool(database.api, name="api") as opened:
        yield opened


async def ask(
    pool: Pool, text: str, grid: Grid, kept: Kept, actor: Actor | None = None
) -> tuple[Rows, list[str]]:
    """The rows that an expression comes to, and what is said of them."""
    expression = parse(text)
    needs = needs_of(expression, grid)
    async with tenant_tx(pool, actor or Actor("authenticated", MEMBER_A.id)) as cx:
        read = await read_leaves(cx, ORGANIZATION_A, needs, kept)
    taken = {}
    for need, one in zip(needs, await take_leaves(needs, read), strict=True):
        assert isinstance(one, Vector | Ranges)
        taken[need] = one
    said = [text for one in read if isinstance(one, Selected) for text in one.warnings]
    found = evaluate(expression, taken, grid, Budget())
    assert isinstance(found, Vector)
    return {
        frozenset(labels.items()): [
            value if is_there else None for value, is_there in zip(row, present, strict=True)
        ]
        for labels, row, present in zip(
            found.labels,
            found.matrix.values.tolist(),
            found.matrix.present.tolist(),
            strict=True,
        )
        if any(present)
    }, said


def kept_of(raw: timedelta, **others: timedelta) -> Kept:
    return Kept(to_ms(NOW), terms={**Kept(0).terms, "raw": raw, **others})


def grid(begin: datetime, end: datetime, step: timedelta) -> Grid:
    return Grid(to_ms(begin), to_ms(end), step // timedelta(milliseconds=1))


EXACT = (
    *("load", "last_over_time(load[10m])", "avg_over_time(load[1h])", "min_over_time(load[1h])"),
    *("max_over_time(load[15m])", "sum_over_time(load[2h])", "count_over_time(hits_total[1h])"),
    *("present_over_time(gone[5m])", "gone", "sum(max_over_time(hits_total[20m])) by (n)"),
    *(
        "sum(count_over_time(load[1h] offset 1h))",
        "max_over_time(avg_over_time(load[10m])[1h:10m])",
    ),
    *("avg_over_time(load[1h]) > bool 300", "quantile_over_time(2, load[1h])"),
)
NEARLY = {
    # What they rose is exact; only where the first and the last sample lay is not known.
    **dict.fromkeys(("rate(hits_total[1h])", "increase(hits_total[30m])"), 1 / 60),
    "sum(rate(hits_total[10m]))": 1 / 20,
    # Both values that it lies between are known within 1 %.
    **dict.fromkeys(
        (f"quantile_over_time({q}, load[{r}])" for q in (0, 0.5, 0.95, 1) for r in ("1h", "20m")),
        0.0101,
    ),
}


async def test_rollups_answer_what_samples_did(
    pool: Pool, owner: Connection, database: Database
) -> None:
    asked = dict.fromkeys(EXACT, 1e-09) | NEARLY
    grids = [
        grid(NOON - 4 * HOUR, NOON, timedelta(minutes=10)),
        grid(NOON - 4 * HOUR, NOON - HOUR, HOUR),
    ]
    kept = kept_of(10 * DAY)
    before = {}
    for text in asked:
        for place, one in enumerate(grids):
            before[text, place], said = await ask(pool, text, one, kept)
            assert before[text, place], text
            assert said == [], text
    # the last hour stays
    let_go(database, NOON - HOUR)
    kept = kept_of(NOW - NOON + HOUR)
    for text, tolerance in asked.items():
        for place, one in enumerate(grids):
            after, said = await ask(pool, text, one, kept)
            assert after.keys() == before[text, place].keys(), text
            for labels, row in after.items():
                expected = before[text, place][labels]
                assert [v is None for v in row] == [v is None for v in expected], (text, labels)
                known = [v for v in expected if v is not None]
                answered = [v for v in row if v is not None]
                assert answered == pytest.approx(known, rel=tolerance), (text, labels)
            assert "from rollups of" in said[0], text
    # and where both are kept, they are the samples' own figures
    new = grid(NOON - HOUR / 2, NOON, timedelta(minutes=1))
    for text in ("load", "rate(hits_total[10m])", "stddev_over_time(load[20m])"):
        _, said = await ask(pool, text, new, kept)
        assert said == [], text


async def test_what_rollups_do_not_know_is_left_out_and_said(
    pool: Pool, owner: Connection, database: Database
) -> None:
    let_go(database, NOON - HOUR)
    kept = kept_of(NOW - NOON + HOUR)
    whole = grid(NOON - 2 * HOUR, NOON, timedelta(minutes=10))
    for text in (
        *("stddev_over_time(load[20m])", "irate(hits_total[20m])", "changes(load[20m])"),
        *("predict_linear(load[20m], 60)", "timestamp(load)", "max_over_time(load[90s])"),
        "quantile_over_time(scalar(vector(0.5)), load[20m])",
    ):
        found, said = await ask(pool, text, whole, kept)
        assert "has no answer before" in said[0], text
        rows = np.array([[value is not None for value in row] for row in found.values()])
        # nothing of windows that begin before the border, everything behind it
        assert not rows[:, :6].any(), text
        assert rows[:, 8:].all(), text
    found, said = await ask(pool, "stddev_over_time(load[6h])", whole, kept)
    assert found == {}
    assert len(said) == 1


async def test_nobody_else_reads_them(pool: Pool, owner: Connection, database: Database) -> None:
    let_go(database, NOON)
    stranger = Actor("authenticated", MEMBER_B.id)
    one = grid(NOON - 4 * HOUR, NOON, HOUR)
    assert await ask(pool, "load", one, kept_of(DAY), stranger) == ({}, [])


async def test_what_is_kept_is_found(pool: Pool, owner: Connection, database: Database) -> None:
    platform = kept_of(DAY)

    async def found() -> Kept:
        async with tenant_tx(pool, Actor("authenticated", MEMBER_A.id)) as cx:
            return await store.find_kept(cx, ORGANIZATION_A, platform)

    # older than its term, and still there
    assert await found() == platform
    let_go(database, NOON - HOUR)
    assert await found() == replace(platform, samples_from_ms=to_ms(NOW - DAY))
    owner.execute(
        "insert into apm_retention (organization_id, raw_days, minute_days) values (%s, 9, 7)",
        (ORGANIZATION_A,),
    )
    own = await found()
    # a term that was shorter when the samples were let go
    assert own.samples_from_ms == to_ms(NOON - HOUR)
    assert own.terms["1m"] == timedelta(days=7)
    platform = replace(platform, most=timedelta(days=2))
    assert (await found()).terms["1m"] == timedelta(days=2)
    let_go(database, NOW + DAY)
    assert (await found()).samples_from_ms == to_ms(NOW)


async def test_over_http_an_answer_carries_what_is_said(database: Database, tmp_path: Path) -> None:
    world = populate(database)
    with connect(database.owner, autocommit=True) as cx:
        fill(cx, database, world.here)
        cx.execute(
            "insert into apm_retention (organization_id, raw_days) values (%s, 1)", (world.here,)
        )
    await roll_up(database)
    let_go(database, NOON)
    times: dict[str, dict[str, Any]] = {
        "query": {"time": NOON.timestamp()},
        "query_range": {
            "start": (NOON - 4 * HOUR).timestamp(),
            "end": NOON.timestamp(),
            "step": "1h",
        },
    }
    async with (
        running(settings_for(database, tmp_path), world) as process,
        process.as_key("read") as client,
    ):
        for path, asked in times.items():
            answer = await client.get(
                f"/prometheus/api/v1/{path}",
                params={"query": "avg_over_time(load[1h])", **asked},
            )
            assert answer.status_code == 200, answer.text
            body = answer.json()
            assert len(body["data"]["result"]) == 1, path
            (said,) = body["warnings"]
            assert said == "avg_over_time is answered at all instants from rollups of 1h"
