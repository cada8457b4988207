"""Expressions made by chance mean here what they mean to the real Prometheus of the same samples.

No database: the samples are laid out as reading lays them out.
"""

from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import msgspec
import numpy as np
import pytest

from tests.support.expressions import Series, expressions, make_world
from tests.support.prometheus import prometheus_server, series_of
from tests.support.remote_write import HEADERS, STALE, packed, series
from wedsync_apm.api.prometheus.answers import write_instant, write_range
from wedsync_apm.metrics.expression.budget import Budget
from wedsync_apm.metrics.expression.evaluate import evaluate
from wedsync_apm.metrics.expression.parsing import parse
from wedsync_apm.metrics.expression.plan import Grid, needs_of
from wedsync_apm.metrics.expression.selection import LabelledSeries, select
from wedsync_apm.metrics.expression.syntax import BadExpression, NotAnswered
from wedsync_apm.metrics.expression.taking import Selected, take_leaves
from wedsync_apm.metrics.expression.vectors import AmbiguousAnswer, Ranges, Vector
from wedsync_apm.metrics.reading.lines import Line

ORGANIZATION = UUID(int=1)
START = 1_781_960_400  # 13:00 UTC on a Saturday in June
SECONDS = 3600
END = START + SECONDS


class Here:
    """The world as it is read from the database."""

    def __init__(self, world: list[Series]) -> None:
        self._series = []
        ids, times, values = [], [], []
        for number, (labels, samples) in enumerate(world, 1):
            ended = [at for value, at in samples if value is STALE]
            self._series.append(LabelledSeries(ORGANIZATION, number, labels, ended))
            for value, at in samples:
                if value is not STALE:
                    ids.append(number)
                    times.append(at)
                    values.append(value)
        self._line = Line(np.array(ids, np.int32), np.array(times), np.array(values))

    async def ask(self, text: str, grid: Grid) -> tuple[int, bytes]:
        """The status, and the answer or the reason of the refusal."""
        budget = Budget()
        try:
            expression = parse(text)
            needs = needs_of(expression, grid)
            selected = [
                Selected(select(self._series, one.leaf.matchers), self._line) for one in needs
            ]
            taken: dict[Any, Vector | Ranges] = {}
            for need, one in zip(needs, await take_leaves(needs, selected), strict=True):
                if isinstance(one, Exception):
                    raise one
                taken[need] = one
            found = evaluate(expression, taken, grid, budget)
            if grid.count == 1:
                return 200, write_instant(found, grid, None, budget)
            assert not isinstance(found, Ranges | str)
            return 200, write_range(found, grid, None, budget)
        except BadExpression as exc:
            return 400, str(exc).encode()
        except (NotAnswered, AmbiguousAnswer) as exc:
            return 422, str(exc).encode()


async def test_what_is_made_by_chance_comes_to_what_prometheus_says(tmp_path: Path) -> None:
    world = make_world(3, START, SECONDS)
    here = Here(world)
    answered = 0
    async with prometheus_server(tmp_path) as theirs:
        body = packed(*(series(labels, *samples) for labels, samples in world))
        sent = await theirs.post("/api/v1/write", content=body, headers=HEADERS)
        assert sent.status_code == 204, sent.text
        for text in expressions(11, 500, START, END):
            for grid in (
                Grid(1000 * (START + 1817), 1000 * (START + 1817)),
                Grid(1000 * (START - 60), 1000 * (END + 60), 97_000),
            ):
                expected = await ask(theirs, text, grid)
                status, body = await here.ask(text, grid)
                assert status == expected.status_code, (text, grid, body, expected.text)
                if status == 200:
                    found = msgspec.json.decode(body)
                    compare((text, grid), found, expected.json())
                    answered += bool(found["data"]["result"])
    assert answered > 500, "most of them should come to something"


async def ask(theirs: httpx.AsyncClient, text: str, grid: Grid) -> httpx.Response:
    if grid.count == 1:
        return await theirs.get(
            "/api/v1/query", params={"query": text, "time": grid.start_ms / 1000}
        )
    asked: dict[str, Any] = {
        "query": text,
        "start": grid.start_ms / 1000,
        "end": grid.end_ms / 1000,
        "step": grid.step_ms / 1000,
    }
    return await theirs.get("/api/v1/query_range", params=asked)


def compare(asked: Any, found: Any, expected: Any) -> None:
    assert found["data"]["resultType"] == expected["data"]["resultType"], asked
    ours, theirs = series_of(found), series_of(expected)
    assert ours.keys() == theirs.keys(), (asked, ours, theirs)
    for labels, points in theirs.items():
        assert [at for at, _ in ours[labels]] == [at for at, _ in points], (asked, labels)
        assert [value for _, value in ours[labels]] == pytest.approx(
            [value for _, value in points], rel=1e-9, abs=1e-9, nan_ok=True
        ), (asked, labels)
