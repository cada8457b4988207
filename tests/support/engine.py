"""A small world for the engine: vendors with samples, rules, ladders and weddings, and a clock."""

import math
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from psycopg.types.json import Jsonb

from tests.support.postgres import Database
from wedsync_apm.db.pool import Pool, open_pool
from wedsync_apm.engine import escalate
from wedsync_apm.engine.evaluate import Evaluator
from wedsync_apm.engine.leases import Leases

AT = datetime(2026, 6, 20, 13, 0, tzinfo=UTC)
"""A Saturday in June, at two in the afternoon in London."""

SATURDAY = AT.date()
SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)


@dataclass(slots=True)
class EngineWorld:
    """The database as its owner and as the engine, and one evaluator with its memory."""

    owner: Pool
    engine: Pool
    evaluator: Evaluator = field(default_factory=Evaluator)

    async def run(self, statement: str, **values: Any) -> list[dict[str, Any]]:
        """One statement as the owner; its rows, if it gives any."""
        async with self.owner.connection() as cx:
            cursor = await cx.execute(statement.encode(), values)
            return await cursor.fetchall() if cursor.description else []

    async def organization(self, name: str = "Fern & Field") -> UUID:
        """A vendor in London."""
        organization_id = uuid4()
        await self.run(
            "insert into public.organizations (id, name, settings) values (%(id)s, %(name)s, "
            '\'{"timezone": "Europe/London"}\')',
            id=organization_id,
            name=name,
        )
        return organization_id

    async def rule(self, organization_id: UUID, **columns: Any) -> UUID:
        """A rule over the order form: the mean of five minutes above 3,000."""
        values: dict[str, Any] = {
            "organization_id": organization_id,
            "alert_name": "Order form is slow",
            "metric_pattern": "forms.submit_time",
            "comparison_operator": ">",
            "threshold_value": 3000.0,
            "evaluation_window": timedelta(minutes=1),
            "severity": "warning",
            **columns,
        }
        names = ", ".join(values)
        gaps = ", ".join(f"%({name})s" for name in values)
        rows = await self.run(
            f"insert into public.apm_alerts ({names}) values ({gaps}) returning id", **values
        )
        rule_id: UUID = rows[0]["id"]
        return rule_id

    async def samples(
        self,
        organization_id: UUID,
        points: Mapping[datetime, float] | Sequence[tuple[datetime, float]],
        *,
        metric: str = "submit_time",
        tags: Mapping[str, str] | None = None,
        context: Mapping[str, Any] | None = None,
    ) -> None:
        """Samples of `forms.<metric>`, through the view that people insert into."""
        for at, value in points.items() if isinstance(points, Mapping) else points:
            await self.run(
                "insert into public.apm_samples (organization_id, service_name, metric_name, "
                'metric_value, tags, wedding_context, "timestamp") values (%(organization_id)s, '
                "'forms', %(metric)s, %(value)s, %(tags)s, %(context)s, %(at)s)",
                organization_id=organization_id,
                metric=metric,
                value=value,
                tags=Jsonb(dict(tags or {})),
                context=Jsonb(dict(context)) if context is not None else None,
                at=at,
            )

    async def steady(
        self, organization_id: UUID, start: datetime, end: datetime, value: float, **options: Any
    ) -> None:
        """A sample every ten seconds from `start` to before `end`."""
        count = math.ceil((end - start) / (10 * SECOND))
        await self.samples(
            organization_id, [(start + n * 10 * SECOND, value) for n in range(count)], **options
        )

    async def wedding(
        self, organization_id: UUID, day: date = SATURDAY, zone: str = "Europe/London"
    ) -> UUID:
        """A wedding with the usual phases: the ceremony from 13:00 to 16:00 at the venue."""
        rows = await self.run(
            "insert into public.apm_weddings (organization_id, couple_initials, wedding_date, "
            "time_zone) values (%(organization_id)s, 'A & R', %(day)s, %(zone)s) returning id",
            organization_id=organization_id,
            day=day,
            zone=zone,
        )
        wedding_id: UUID = rows[0]["id"]
        return wedding_id

    async def contact(self, organization_id: UUID, name: str) -> UUID:
        """Somebody with an e-mail address."""
        rows = await self.run(
            "insert into public.apm_contact_methods (organization_id, name, channel, address, "
            "verified_at) values (%(organization_id)s, %(name)s, 'email', %(address)s, now()) "
            "returning id",
            organization_id=organization_id,
            name=name,
            address=f"{name.lower()}@fern.example",
        )
        contact_id: UUID = rows[0]["id"]
        return contact_id

    async def ladder(
        self,
        organization_id: UUID,
        *steps: tuple[timedelta, str, Sequence[UUID]],
        repeat_count: int = 0,
    ) -> None:
        """The default ladder: of each rung the delay, the level and the contacts."""
        rows = await self.run(
            "insert into public.apm_escalation_policies (organization_id, name, is_default, "
            "repeat_count) values (%(organization_id)s, 'Ladder', true, %(repeat_count)s) "
            "returning id",
            organization_id=organization_id,
            repeat_count=repeat_count,
        )
        for position, (delay, level, contacts) in enumerate(steps, start=1):
            step = await self.run(
                "insert into public.apm_escalation_steps (organization_id, policy_id, position, "
                "level, delay) values (%(organization_id)s, %(policy_id)s, %(position)s, "
                "%(level)s, %(delay)s) returning id",
                organization_id=organization_id,
                policy_id=rows[0]["id"],
                position=position,
                level=level,
                delay=delay,
            )
            for contact in contacts:
                await self.run(
                    "insert into public.apm_escalation_targets values (%(organization_id)s, "
                    "%(step_id)s, %(contact)s)",
                    organization_id=organization_id,
                    step_id=step[0]["id"],
                    contact=contact,
                )

    async def evaluate(self, at: datetime) -> None:
        """One run of the evaluator at `at`, committed with its cursors."""
        async with self.engine.connection() as cx:
            await self.evaluator.run_once(cx, at)

    async def evaluate_each_second(self, start: datetime, end: datetime) -> None:
        """As the engine would from `start` to `end`."""
        for n in range(int((end - start) / SECOND) + 1):
            await self.evaluate(start + n * SECOND)

    async def escalate(self, at: datetime) -> None:
        """One run over the ladders at `at`."""
        async with self.engine.connection() as cx, cx.transaction():
            await escalate.run_once(cx, at)

    async def incidents(self, organization_id: UUID) -> list[dict[str, Any]]:
        """An organization's incidents, the oldest first."""
        return await self.run(
            "select * from public.apm_incidents where organization_id = %(organization_id)s "
            "order by detected_at, number",
            organization_id=organization_id,
        )

    async def deliveries(self, organization_id: UUID) -> list[dict[str, Any]]:
        """An organization's messages, in the order in which they were decided."""
        return await self.run(
            "select d.*, d.recipient ->> 'name' as receiver from public.apm_deliveries as d "
            "where organization_id = %(organization_id)s order by due_at, d.recipient ->> 'name'",
            organization_id=organization_id,
        )

    async def events(self, organization_id: UUID) -> list[dict[str, Any]]:
        """The timelines of an organization's incidents."""
        return await self.run(
            "select * from public.apm_incident_events where organization_id = "
            "%(organization_id)s order by at, id",
            organization_id=organization_id,
        )

    async def states(self, organization_id: UUID) -> list[dict[str, Any]]:
        """The verdicts of an organization's series."""
        return await self.run(
            "select * from public.apm_alert_states where organization_id = %(organization_id)s "
            "order by alert_id, series_id",
            organization_id=organization_id,
        )

    def forget(self) -> None:
        """A new engine process: all memory is gone. It need not wait for the leases of the one
        before, whose name it has."""
        leases = Leases(self.evaluator.leases.duration, self.evaluator.leases.holder)
        self.evaluator = Evaluator(self.evaluator.factor, leases)


@asynccontextmanager
async def open_engine_world(database: Database) -> AsyncIterator[EngineWorld]:
    """The world over a fresh database."""
    owner = await open_pool(database.owner, name="owner", min_size=1, max_size=4)
    engine = await open_pool(database.engine, name="engine", min_size=1, max_size=4)
    async with owner, engine:
        yield EngineWorld(owner, engine)
