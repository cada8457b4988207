"""Questions of one caller that come while another of his is being answered are read together.

A dashboard asks for twenty panels at once. They differ little in what they read, and a transaction
costs more than any of them. So the first begins at once, and all that have come when it is done
share the next transaction. Nothing is kept between two transactions, and nothing is shared between
two callers: each transaction is entered as the caller, after the question came.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from wedsync_apm.api.requests import choose
from wedsync_apm.db.pool import Pool
from wedsync_apm.db.tenant import Actor, tenant_tx
from wedsync_apm.metrics.expression.read import Need, Selected, read_leaves
from wedsync_apm.metrics.expression.syntax import BadExpression, Leaf
from wedsync_apm.organizations.store import find_standing

_Key = tuple[Actor, UUID | None]


@dataclass(frozen=True, slots=True, eq=False)
class _Question:
    needs: Sequence[Need]
    answer: "asyncio.Future[dict[Leaf, Selected]]"


class Together:
    """Reads for the expressions of one process."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._waiting: dict[_Key, list[_Question]] = {}
        self._at_work: set[asyncio.Task[None]] = set()

    async def read(
        self, actor: Actor, organization_id: UUID | None, needs: Sequence[Need]
    ) -> dict[Leaf, Selected]:
        """What the needs of one expression come to. `organization_id` is which of the caller's
        organizations is meant; None: his only one.

        Raises NotFound and NotValid for the organization, NotValid for too much, and BadExpression.
        """
        question = _Question(needs, asyncio.get_running_loop().create_future())
        key = actor, organization_id
        if key in self._waiting:
            self._waiting[key].append(question)
        else:
            self._waiting[key] = [question]
            task = asyncio.create_task(self._work(key))
            self._at_work.add(task)
            task.add_done_callback(self._at_work.discard)
        return await question.answer

    async def _work(self, key: _Key) -> None:
        try:
            while questions := self._waiting[key]:
                self._waiting[key] = []
                try:
                    await self._answer(key, questions)
                except Exception as exc:
                    for question in questions:
                        _tell(question, exc)
        finally:
            for question in self._waiting.pop(key):
                question.answer.cancel()

    async def _answer(self, key: _Key, questions: Sequence[_Question]) -> None:
        actor, organization_id = key
        needs = list(dict.fromkeys(need for question in questions for need in question.needs))
        async with tenant_tx(self._pool, actor) as cx:
            owner = choose(await find_standing(cx), organization_id)
            read = await read_leaves(cx, owner, needs)
        found = dict(zip(needs, read, strict=True))
        for question in questions:
            selected = {}
            for need in question.needs:
                one = found[need]
                if isinstance(one, BadExpression):
                    _tell(question, one)
                    break
                selected[need.leaf] = one
            else:
                if not question.answer.done():
                    question.answer.set_result(selected)


def _tell(question: _Question, exc: Exception) -> None:
    if not question.answer.done():
        question.answer.set_exception(exc)
