"""`query` and `query_range`: an expression at one instant, or at many."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Final
from uuid import UUID
from weakref import WeakValueDictionary

from wedsync_apm.api.prometheus.answers import success, write_instant, write_range
from wedsync_apm.api.prometheus.asked import Asked
from wedsync_apm.api.prometheus.parameters import BadParameter, Parameters
from wedsync_apm.api.together import Together
from wedsync_apm.clock import utcnow
from wedsync_apm.db.pool import Pool
from wedsync_apm.db.tenant import Actor, tenant_tx
from wedsync_apm.errors import Forbidden
from wedsync_apm.metrics.expression.budget import Budget
from wedsync_apm.metrics.expression.evaluate import Result, Taken, evaluate, weight_of
from wedsync_apm.metrics.expression.parsing import parse, pretty
from wedsync_apm.metrics.expression.plan import Grid, needs_of
from wedsync_apm.metrics.expression.read import read_for_platform
from wedsync_apm.metrics.expression.selection import ORGANIZATION, exact_value
from wedsync_apm.metrics.expression.store import note_platform_read
from wedsync_apm.metrics.expression.syntax import (
    Expression,
    Subquery,
    Text,
    is_range,
    leaves,
    parts,
)
from wedsync_apm.metrics.expression.vectors import Ranges
from wedsync_apm.organizations.identity import actor_of

SMALL: Final = 200_000
"""Steps that are worked out in the event loop: some milliseconds."""
LARGE_AT_ONCE: Final = 2
"""Large answers that one process works out beside each other, and beside all else it does."""


class Expressions:
    """Answers of one process."""

    def __init__(self, pool: Pool) -> None:
        self._together = Together(pool)
        self._large = asyncio.Semaphore(LARGE_AT_ONCE)
        self._turns: WeakValueDictionary[Actor, asyncio.Lock] = WeakValueDictionary()

    async def query(self, asked: Asked) -> bytes:
        """At one instant; now, where none is said."""
        expression = parse(asked.parameters.query)
        at_ms = asked.parameters.time_ms("time", utcnow())
        grid, limit = Grid(at_ms, at_ms), asked.parameters.limit
        return await self._answer(
            asked,
            expression,
            grid,
            lambda found, budget: write_instant(found, grid, limit, budget),
        )

    async def query_range(self, asked: Asked) -> bytes:
        """At each step of a range."""
        parameters = asked.parameters
        expression, grid, limit = parse(parameters.query), parameters.grid, parameters.limit
        if is_range(expression) or isinstance(expression, Text):
            kind = "string" if isinstance(expression, Text) else "range vector"
            raise BadParameter(
                f'invalid expression type "{kind}" for range query, must be Scalar or instant'
                " Vector"
            )

        def write(found: Result, budget: Budget) -> bytes:
            assert not isinstance(found, Ranges | str)  # noqa: S101 - refused above
            return write_range(found, grid, limit, budget)

        return await self._answer(asked, expression, grid, write)

    async def format_query(self, asked: Asked) -> bytes:
        """The expression laid out for people."""
        return success(pretty(asked.parameters.query))

    async def query_exemplars(self, asked: Asked) -> bytes:
        """None are kept."""
        parse(asked.parameters.query)
        return success([])

    async def _answer(
        self,
        asked: Asked,
        expression: Expression,
        grid: Grid,
        write: Callable[[Result, Budget], bytes],
    ) -> bytes:
        budget = Budget(asked.parameters.seconds)
        async with asyncio.timeout(budget.seconds):
            taken = await self._take(asked, expression, grid)

            def work() -> bytes:
                return write(evaluate(expression, taken, grid, budget), budget)

            if not _is_large(expression, taken):
                return work()
            # One of a caller at a time, so that none takes all places.
            turn = self._turns.setdefault(actor_of(asked.identity), asyncio.Lock())
            async with turn, self._large:
                return await asyncio.to_thread(work)

    async def _take(
        self,
        asked: Asked,
        expression: Expression,
        grid: Grid,
    ) -> Taken:
        needs = needs_of(expression, grid)
        if not needs:
            return {}
        actor = actor_of(asked.identity)
        if asked.identity.is_platform:
            async with tenant_tx(asked.services.pool, actor) as cx:
                if not await note_platform_read(cx, asked.parameters.query):
                    raise Forbidden("This key may not read samples.")
                return await read_for_platform(cx, expression, grid)
        wanted = organization_of(asked.parameters, expression)
        return await self._together.read(actor, wanted, needs)


def organization_of(parameters: Parameters, *expressions: Expression) -> UUID | None:
    """Which of the caller's organizations is meant: by parameter, or by the first label."""
    if parameters.organization_id is not None:
        return parameters.organization_id
    for expression in expressions:
        for leaf in leaves(expression):
            with suppress(ValueError):
                return UUID(exact_value(leaf.matchers, ORGANIZATION) or "")
    return None


def _is_large(expression: Expression, taken: Taken) -> bool:
    """Whether working it out would keep others waiting."""
    if any(isinstance(one, Subquery) for one in _nodes(expression)):
        return True
    weight = sum(map(weight_of, taken.values()))
    return weight * sum(1 for _ in _nodes(expression)) > SMALL


def _nodes(expression: Expression) -> Iterator[Expression]:
    yield expression
    for one in parts(expression):
        yield from _nodes(one)
