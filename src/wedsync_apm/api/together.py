"""Questions of one caller that come while another of his is being answered are read together.

A dashboard asks for twenty panels at once. They differ little in what they read, and a transaction
costs more than any of them. So all that have come when one is done share the next transaction; the
first begins at once, or, if it reads many hours, after two milliseconds, in which its neighbours
arrive. Nothing is kept between two transactions, and nothing is shared between
two callers: each transaction is entered as the caller, after the question came.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from wedsync_apm.api.requests import choose
from wedsync_apm.db.pool import Pool
from wedsync_apm.db.tenant import Actor, tenant_tx
from wedsync_apm.metrics.expression.ages import Kept
from wedsync_apm.metrics.expression.plan import Need
from wedsync_apm.metrics.expression.read import read_leaves
from wedsync_apm.metrics.expression.taking import Selected, Taken, take_leaves
from wedsync_apm.metrics.expression.vectors import Ranges, Vector
from wedsync_apm.metrics.range_questions import RangeMemo, RangeQuestion, prepare_ranges
from wedsync_apm.metrics.ranges import RangeAnswer
from wedsync_apm.organizations.store import find_standing


@dataclass(frozen=True, slots=True, eq=False)
class Leaves:
    """What the leaves of an expression come to, and what is to be said of it."""

    taken: Mapping[Need, Vector | Ranges]
    warnings: Sequence[str] = ()


_Key = tuple[Actor, UUID | None]

LONG_MS: Final = 2 * 3_600_000
WAIT_SECONDS: Final = 0.002
"""For the neighbours of a question that reads longer than that."""


@dataclass(frozen=True, slots=True, eq=False)
class _Question:
    """Either the needs of an expression or a range query."""

    answer: "asyncio.Future[Any]"
    needs: Sequence[Need] = ()
    kept: Kept | None = None
    asked: RangeQuestion | None = None

    @property
    def is_long(self) -> bool:
        """Whether reading it twice would cost more than waiting a little."""
        spans = [need.span[1] - need.span[0] for need in self.needs]
        if self.asked is not None:
            spans.append(self.asked.span_ms)
        return max(spans, default=0) > LONG_MS


class Together:
    """Reads for one process. `organization_id` is which of the caller's organizations is meant;
    None: his only one."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._waiting: dict[_Key, list[_Question]] = {}
        self._at_work: set[asyncio.Task[None]] = set()

    async def read(
        self, actor: Actor, organization_id: UUID | None, needs: Sequence[Need], kept: Kept
    ) -> Leaves:
        """What the needs of one expression come to; each block is read once for all expressions.
        `kept` is what the platform keeps.

        Raises NotFound and NotValid for the organization, NotValid and NotAnswered for too much,
        and BadExpression.
        """
        answer: asyncio.Future[Leaves] = asyncio.get_running_loop().create_future()
        self._ask((actor, organization_id), _Question(answer, needs=needs, kept=kept))
        return await answer

    async def read_range(
        self, actor: Actor, organization_id: UUID | None, asked: RangeQuestion
    ) -> RangeAnswer:
        """The answer to a range query.

        Raises NotFound for the organization, and NotValid for that, for a name and for too much.
        """
        answer: asyncio.Future[RangeAnswer] = asyncio.get_running_loop().create_future()
        self._ask((actor, organization_id), _Question(answer, asked=asked))
        return await answer

    def _ask(self, key: _Key, question: _Question) -> None:
        if key in self._waiting:
            self._waiting[key].append(question)
        else:
            self._waiting[key] = [question]
            task = asyncio.create_task(self._work(key))
            self._at_work.add(task)
            task.add_done_callback(self._at_work.discard)

    async def _work(self, key: _Key) -> None:
        try:
            if self._waiting[key][0].is_long:
                await asyncio.sleep(WAIT_SECONDS)
            while questions := [one for one in self._waiting[key] if not one.answer.done()]:
                self._waiting[key] = []
                try:
                    await self._answer(key, questions)
                except Exception as exc:
                    await self._answer_apart(key, questions, exc)
        finally:
            for question in self._waiting.pop(key):
                question.answer.cancel()

    async def _answer_apart(
        self, key: _Key, questions: Sequence[_Question], exc: Exception
    ) -> None:
        """One of several must not cost the others their answers."""
        if len(questions) == 1:
            _tell(questions[0], exc)
            return
        for question in questions:
            if not question.answer.done():
                try:
                    await self._answer(key, [question])
                except Exception as own:
                    _tell(question, own)

    async def _answer(self, key: _Key, questions: Sequence[_Question]) -> None:
        actor, organization_id = key
        needs = list(dict.fromkeys(need for question in questions for need in question.needs))
        ranges = [question.asked for question in questions if question.asked is not None]
        memo = RangeMemo()
        async with tenant_tx(self._pool, actor) as cx:
            owner = choose(await find_standing(cx), organization_id)
            kept = next((one.kept for one in questions if one.kept is not None), None)
            read = await read_leaves(cx, owner, needs, kept) if kept else []
            await prepare_ranges(cx, owner, ranges, memo)
            answers = {asked: await asked.answer(cx, owner, memo) for asked in ranges}
        taken = dict(zip(needs, await take_leaves(needs, read), strict=True))
        warnings = {
            need: one.warnings
            for need, one in zip(needs, read, strict=True)
            if isinstance(one, Selected)
        }
        for question in questions:
            if question.asked is None:
                _give(question, taken, warnings)
            elif not question.answer.done():
                question.answer.set_result(answers[question.asked])


def _give(
    question: _Question, taken: Mapping[Need, Taken], warnings: Mapping[Need, Sequence[str]]
) -> None:
    mine: dict[Need, Vector | Ranges] = {}
    for need in question.needs:
        one = taken[need]
        if not isinstance(one, Vector | Ranges):
            _tell(question, one)
            return
        mine[need] = one
    if not question.answer.done():
        said = dict.fromkeys(text for need in question.needs for text in warnings[need])
        question.answer.set_result(Leaves(mine, list(said)))


def _tell(question: _Question, exc: Exception) -> None:
    if not question.answer.done():
        question.answer.set_exception(exc)
