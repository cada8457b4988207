"""`query` and `query_range`: an expression at one instant, or at many."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Final
from uuid import UUID
from weakref import WeakValueDictionary

from wedsync_apm.api.prometheus.answers import success, write_instant, write_range
from wedsync_apm.api.prometheus.asked import Asked
from wedsync_apm.api.prometheus.parameters import BadParameter, Parameters
from wedsync_apm.api.together import Leaves, Together
from wedsync_apm.clock import to_ms, utcnow
from wedsync_apm.config import Settings
from wedsync_apm.db.pool import Pool
from wedsync_apm.db.tenant import Actor, tenant_tx
from wedsync_apm.errors import Forbidden
from wedsync_apm.metrics.expression.ages import Kept, length_ms, write_time
from wedsync_apm.metrics.expression.budget import Budget
from wedsync_apm.metrics.expression.evaluate import Result, Taken, evaluate, weight_of
from wedsync_apm.metrics.expression.parsing import parse, pretty
from wedsync_apm.metrics.expression.plan import Grid, Need, needs_of
from wedsync_apm.metrics.expression.platform import read_for_platform
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
from wedsync_apm.metrics.range_questions import range_wanted
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
            lambda found, budget, warnings: write_instant(found, grid, limit, budget, warnings),
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

        def write(found: Result, budget: Budget, warnings: Sequence[str]) -> bytes:
            assert not isinstance(found, Ranges | str)  # noqa: S101 - refused above
            return write_range(found, grid, limit, budget, warnings)

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
        write: Callable[[Result, Budget, Sequence[str]], bytes],
    ) -> bytes:
        budget = Budget(asked.parameters.seconds)
        async with asyncio.timeout(budget.seconds):
            leaves = await self._take(asked, expression, grid)

            def work() -> bytes:
                found = evaluate(expression, leaves.taken, grid, budget)
                return write(found, budget, leaves.warnings)

            if not _is_large(expression, leaves.taken):
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
    ) -> Leaves:
        needs = needs_of(expression, grid)
        if not needs:
            return Leaves({})
        actor = actor_of(asked.identity)
        kept = _kept(asked.services.settings)
        if asked.identity.is_platform:
            async with tenant_tx(asked.services.pool, actor) as cx:
                if not await note_platform_read(cx, asked.parameters.query):
                    raise Forbidden("This key may not read samples.")
                taken = await read_for_platform(cx, expression, grid)
            return Leaves(taken, _platform_warnings(needs, kept))
        wanted = organization_of(asked.parameters, expression)
        return await self._together.read(actor, wanted, needs, kept)


def organization_of(parameters: Parameters, *expressions: Expression) -> UUID | None:
    """Which of the caller's organizations is meant: by parameter, or by the first label."""
    if parameters.organization_id is not None:
        return parameters.organization_id
    for expression in expressions:
        for leaf in leaves(expression):
            with suppress(ValueError):
                return UUID(exact_value(leaf.matchers, ORGANIZATION) or "")
    return None


def _kept(settings: Settings) -> Kept:
    now = utcnow()
    wanted = range_wanted(settings, now, now, None, now)
    return Kept(to_ms(now), terms=wanted.terms, most=wanted.most)


def _platform_warnings(needs: Sequence[Need], kept: Kept) -> list[str]:
    from_ms = kept.at_ms - length_ms(kept.terms["raw"])
    if min(need.span[0] for need in needs) >= from_ms:
        return []
    return [
        f"samples from before {write_time(from_ms)} may be gone, and over all organizations"
        " rollups are not read"
    ]


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
