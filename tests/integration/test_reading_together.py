"""Questions that come at once share a transaction: the answers are those of questions one by one,
one that fails costs only itself, and nothing goes from one caller to another."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.postgres import Database
from tests.support.remote_write import HEADERS, packed, series
from tests.support.serving import Running, populate, running, settings_for
from wedsync_apm.administration import store as administration
from wedsync_apm.types import KeyScope

QUERY_RANGE = "/prometheus/api/v1/query_range"
END = int(time.time()) // 60 * 60 - 60
START = END - 4 * 3600


@pytest.fixture
async def api(database: Database, tmp_path: Path) -> AsyncIterator[Running]:
    async with running(settings_for(database, tmp_path), populate(database)) as process:
        yield process


async def write(client: httpx.AsyncClient, factor: float) -> None:
    parts = [
        series(
            {"__name__": f"m{n}_total", "job": "shop", "host": host},
            *((factor * (at - START) * (n + 1), at * 1000) for at in range(START, END + 1, 60)),
        )
        for n in range(10)
        for host in ("a", "b")
    ]
    answer = await client.post("/prometheus/api/v1/write", content=packed(*parts), headers=HEADERS)
    assert answer.status_code == 204, answer.text


def panels() -> list[tuple[str, dict[str, Any]]]:
    asked: list[tuple[str, dict[str, Any]]] = []
    for n in range(10):
        span = {"start": START + 600, "end": END, "step": 300}
        selector = f'm{n}_total{{host="a"}}'
        asked.append((QUERY_RANGE, {"query": f"rate({selector}[5m])", **span}))
        asked.append((QUERY_RANGE, {"query": f"{selector} offset {n + 1}m", **span}))
        own = {"metric": f"shop.m{n}_total", "tag.host": "a", **span}
        asked.append(("/api/v1/query_range", {**own, "agg": "rate"}))
        asked.append(("/api/v1/query_range", {**own, "agg": "p95", "start": END - 1800}))
    return asked


async def ask(client: httpx.AsyncClient, asked: list[tuple[str, dict[str, Any]]]) -> list[Any]:
    answers = await asyncio.gather(*(client.get(path, params=one) for path, one in asked))
    assert {answer.status_code for answer in answers} == {200}, [one.text for one in answers]
    return [answer.json() for answer in answers]


async def test_answers_at_once_are_those_one_by_one(api: Running) -> None:
    async with api.as_key("admin") as client:
        await write(client, 1.0)
        together = await ask(client, panels())
        apart = [(await ask(client, [one]))[0] for one in panels()]
    assert together == apart
    lines = [answer["data"]["result"] if "data" in answer else answer["series"] for answer in apart]
    assert [len(line) for line in lines] == [1] * len(lines)


async def test_one_that_fails_costs_only_itself(api: Running) -> None:
    async with api.as_key("admin") as client:
        await write(client, 1.0)
        (expected,) = await ask(client, [panels()[0]])
        failing = [
            (QUERY_RANGE, {**panels()[0][1], "query": 'm0_total{host=~"a{2,1}"}'}),
            ("/api/v1/query_range", {"metric": "nodots"}),
            ("/api/v1/query_range", {**panels()[2][1], "end": START}),
        ]
        asked = [panels()[0], failing[0], panels()[0], failing[1], failing[2], panels()[0]]
        answers = await asyncio.gather(*(client.get(path, params=one) for path, one in asked))
    assert [answer.status_code for answer in answers] == [200, 400, 200, 422, 422, 200]
    assert [answer.json() for answer in answers if answer.status_code == 200] == [expected] * 3


async def test_nothing_goes_from_one_caller_to_another(api: Running, database: Database) -> None:
    with administration.connect(database.engine) as cx:
        other = administration.create_key(
            cx, name="theirs", scope=KeyScope.ADMIN, organization_id=api.world.there
        ).secret
    async with (
        api.as_key("admin") as ours,
        api.client({"x-api-key": other}) as theirs,
        api.as_person("nora") as nobody,
    ):
        await write(ours, 1.0)
        await write(theirs, 7.0)
        expected = [await ask(one, panels()) for one in (ours, theirs)]
        for _ in range(5):
            mine, foreign, refused = await asyncio.gather(
                ask(ours, panels()),
                ask(theirs, panels()),
                asyncio.gather(*(nobody.get(path, params=one) for path, one in panels())),
            )
            assert [mine, foreign] == expected
            assert {answer.status_code for answer in refused} == {403}
    assert expected[0] != expected[1]


async def test_who_goes_away_leaves_the_others_their_answers(api: Running) -> None:
    async with api.as_key("admin") as client:
        await write(client, 1.0)
        (expected,) = await ask(client, [panels()[0]])
        path, parameters = panels()[0]
        leaving = [asyncio.create_task(client.get(path, params=parameters)) for _ in range(6)]
        staying = [asyncio.create_task(client.get(path, params=parameters)) for _ in range(6)]
        await asyncio.sleep(0.002)
        for task in leaving:
            task.cancel()
        answers = await asyncio.gather(*staying)
    assert [answer.json() for answer in answers] == [expected] * 6
