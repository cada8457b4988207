"""Work that nobody waits for keeps to its share of the time."""

import asyncio
import time
from datetime import UTC, datetime
from itertools import pairwise
from typing import cast

import pytest

from wedsync_apm.db.pool import Connection
from wedsync_apm.engine.pace import Pace, Rota


async def test_pieces_of_work_never_overlap_and_rest_between() -> None:
    pace = Pace(0.25)
    spans: list[tuple[float, float]] = []

    async def work() -> None:
        async with pace.turn():
            started = time.monotonic()
            await asyncio.sleep(0.02)
            spans.append((started, time.monotonic()))

    await asyncio.gather(*(work() for _ in range(4)))
    for (started, ended), (following, _) in pairwise(spans):
        assert following - ended >= 3 * (ended - started) * 0.99


async def test_a_piece_that_fails_lets_the_next_one_work() -> None:
    pace = Pace(1.0)
    with pytest.raises(RuntimeError):
        async with pace.turn():
            raise RuntimeError
    async with asyncio.timeout(60), pace.turn():
        pass


async def test_whoever_is_cancelled_while_waiting_leaves_the_turn_to_others() -> None:
    pace = Pace(0.5)
    async with pace.turn():
        waiting = asyncio.create_task(_take(pace))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
    async with asyncio.timeout(60):
        await _take(pace)


@pytest.mark.parametrize("share", [0.0, -1.0, 1.5])
def test_a_share_that_is_none_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match="share"):
        Pace(share)


async def _take(pace: Pace) -> None:
    async with pace.turn():
        pass


async def test_while_there_is_nothing_to_do_one_of_a_kind_asks() -> None:
    rota, answers = Rota(), ["", "3 checked"]

    async def job(cx: Connection, at: datetime) -> str:
        return answers.pop(0)

    ask = rota.taking(job)
    connection = cast(Connection, None)
    assert rota.is_needed()
    await ask(connection, datetime.now(UTC))
    assert not rota.is_needed(), "the others would hear the same"
    await ask(connection, datetime.now(UTC))
    assert rota.is_needed(), "there may be more"
