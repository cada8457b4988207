"""What the auditor finds, whom it tells, and when the sign of life stays away."""

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from urllib.parse import urlsplit
from uuid import UUID

import pytest

from tests.support.checks import platform
from tests.support.engine import AT, MINUTE, SECOND, EngineWorld, open_engine_world
from tests.support.postgres import Database
from tests.support.worst_day import WorstDay, worst_day
from wedsync_apm.auditor import store
from wedsync_apm.auditor.store import Finding, Kind
from wedsync_apm.egress import EgressClient, EgressPolicy
from wedsync_apm.engine.audit import Audit


@pytest.fixture
async def world(database: Database) -> AsyncIterator[EngineWorld]:
    async with open_engine_world(database) as opened:
        yield opened


@pytest.fixture
async def day() -> AsyncIterator[WorstDay]:
    async with worst_day() as running:
        yield running


async def look(world: EngineWorld, at: datetime) -> list[Finding]:
    async with world.engine.connection() as cx, cx.transaction():
        return await store.look(cx, at)


async def kinds(world: EngineWorld, at: datetime) -> list[Kind]:
    return [one.kind for one in await look(world, at)]


async def called(world: EngineWorld) -> tuple[UUID, UUID]:
    """A vendor with one contact on its ladder and an incident of which that contact was told."""
    vendor = await world.organization()
    contact = await world.contact(vendor, "Priya")
    await world.ladder(vendor, (timedelta(), "none", [contact]))
    await world.rule(vendor)
    await world.samples(vendor, [(AT, 9000)])
    await world.evaluate(AT)
    await world.escalate(AT)
    (incident,) = await world.incidents(vendor)
    return vendor, incident["id"]


async def send_all(world: EngineWorld) -> None:
    await world.run("update public.apm_deliveries set state = 'sent'")


async def test_where_all_goes_its_way_nothing_is_found(world: EngineWorld) -> None:
    home = await platform(world)
    await called(world)
    await send_all(world)
    assert await look(world, AT + 2 * MINUTE) == []
    assert await world.incidents(home) == []


async def test_a_ladder_that_stands_still(world: EngineWorld) -> None:
    await called(world)
    await send_all(world)
    (run,) = await world.run("select next_at from public.apm_escalation_runs")
    assert await kinds(world, run["next_at"] + 30 * SECOND) == []
    assert await kinds(world, run["next_at"] + 31 * SECOND) == [Kind.OVERDUE_STEP]


async def test_a_ladder_that_waits_for_a_silence_is_not_overdue(world: EngineWorld) -> None:
    await called(world)
    await send_all(world)
    await world.run(
        "update public.apm_escalation_runs set held_since = next_at, held_until = next_at + "
        "interval '5 minutes', held_by = '{}'"
    )
    (run,) = await world.run("select next_at from public.apm_escalation_runs")
    assert await kinds(world, run["next_at"] + 5 * MINUTE) == []


async def test_a_page_that_nobody_sends(world: EngineWorld) -> None:
    await called(world)
    assert await kinds(world, AT + 30 * SECOND) == []
    assert await kinds(world, AT + 31 * SECOND) == [Kind.WAITING_MESSAGE]
    await world.run("update public.apm_deliveries set priority = 0")
    assert await kinds(world, AT + 2 * MINUTE) == [], "what calls nobody may wait longer"
    assert Kind.WAITING_MESSAGE in await kinds(world, AT + 16 * MINUTE)


async def test_a_sender_that_is_gone(world: EngineWorld) -> None:
    await called(world)
    await world.run(
        "update public.apm_deliveries set state = 'sending', lease_owner = 'x', "
        "lease_until = %(at)s",
        at=AT,
    )
    assert await kinds(world, AT + 31 * SECOND) == [Kind.LOST_SENDER]


async def test_an_open_incident_that_everybody_forgot(world: EngineWorld) -> None:
    home = await platform(world)
    vendor, incident = await called(world)
    await send_all(world)
    await world.run(
        "update public.apm_escalation_runs set state = 'stopped', next_at = null, "
        "stop_reason = 'test' where organization_id = %(vendor)s",
        vendor=vendor,
    )
    (finding,) = await look(world, AT + 2 * MINUTE)
    assert (finding.kind, finding.count) == (Kind.NOBODY_DUE, 1)
    (kept,) = await world.run("select * from apm_private.auditor_findings")
    assert (kept["organization_id"], kept["subject"]) == (vendor, str(incident))
    (told,) = await world.incidents(home)
    assert told["title"] == "Open incidents of which nobody will be told any more: 1"
    assert (told["severity"], told["status"]) == ("critical", "open")
    await world.escalate(AT + 2 * MINUTE)
    # Looked at again it is the same finding and the same incident; over, it ends.
    await look(world, AT + 3 * MINUTE)
    (kept,) = await world.run("select * from apm_private.auditor_findings")
    assert (kept["found_at"], kept["seen_at"]) == (AT + 2 * MINUTE, AT + 3 * MINUTE)
    await world.run(
        "update public.apm_incidents set status = 'acknowledged' where id = %(id)s", id=incident
    )
    assert await look(world, AT + 4 * MINUTE) == []
    assert await world.run("select * from apm_private.auditor_findings") == []
    (told,) = await world.incidents(home)
    assert told["status"] == "resolved"


async def test_the_platforms_people_behind_an_exhausted_ladder_count_until_they_give_up(
    world: EngineWorld,
) -> None:
    home = await platform(world)
    operator = await world.contact(home, "Oncall")
    await world.ladder(home, (timedelta(), "none", [operator]))
    await called(world)
    await send_all(world)
    for minute in range(1, 8):
        await world.escalate(AT + minute * MINUTE)
    (behind,) = await world.incidents(home)
    assert behind["dedup_key"].startswith("ladder:1:")
    await send_all(world)
    assert Kind.NOBODY_DUE not in await kinds(world, AT + 8 * MINUTE)
    await world.run(
        "update public.apm_incidents set status = 'closed' where id = %(id)s", id=behind["id"]
    )
    assert await kinds(world, AT + 8 * MINUTE) == [Kind.NOBODY_DUE]


async def test_an_incident_about_forgotten_incidents_is_no_finding_of_its_own(
    world: EngineWorld,
) -> None:
    home = await platform(world)
    _, incident = await called(world)
    await send_all(world)
    await world.run(
        "update public.apm_escalation_runs set state = 'stopped', next_at = null, "
        "stop_reason = 'test'"
    )
    assert await kinds(world, AT + 2 * MINUTE) == [Kind.NOBODY_DUE]
    await world.run(
        "update public.apm_escalation_runs set state = 'stopped', next_at = null, "
        "stop_reason = 'test'"
    )
    await world.run(
        "update public.apm_incidents set status = 'resolved' where id = %(id)s", id=incident
    )
    assert await look(world, AT + 4 * MINUTE) == []
    (told,) = await world.incidents(home)
    assert told["status"] == "resolved"


async def test_a_job_that_fails_again_and_again(world: EngineWorld) -> None:
    await platform(world)
    await world.run(
        "insert into apm_private.job_runs (job, started_at, outcome, failures_in_row) "
        "values ('escalate', %(at)s, 'failed', 3), ('tidy', %(at)s, 'failed', 2)",
        at=AT,
    )
    (finding,) = await look(world, AT)
    assert (finding.kind, finding.count) == (Kind.FAILING_JOB, 1)
    assert finding.example == "The engine's job failed 3 times in a row"


async def test_the_sign_of_life_goes_out_only_while_nothing_is_found(
    world: EngineWorld, day: WorstDay
) -> None:
    url = day.url("/ok")
    client = EgressClient(EgressPolicy.parse([]).allowing(urlsplit(url).netloc))
    audit = Audit(client, url)
    try:
        async with world.engine.connection() as cx:
            assert await audit.run_once(cx, AT) == "just started"
            assert day.requests == []
            assert await audit.run_once(cx, AT + MINUTE) == ""
            assert len(day.requests) == 1
            await called(world)
            found = await audit.run_once(cx, AT + 2 * MINUTE)
            assert found == "1 waiting_message"
            assert len(day.requests) == 1, "whoever waits for it outside is to call people now"
            await send_all(world)
            assert await audit.run_once(cx, AT + 3 * MINUTE) == ""
            assert len(day.requests) == 2
    finally:
        await client.aclose()


async def test_a_sign_that_is_not_taken_costs_no_look(world: EngineWorld, day: WorstDay) -> None:
    client = EgressClient(EgressPolicy.parse([]))
    audit = Audit(client, day.url("/ok"))
    try:
        async with world.engine.connection() as cx:
            await audit.run_once(cx, AT)
            assert await audit.run_once(cx, AT + MINUTE) == ""
    finally:
        await client.aclose()
    assert day.requests == [], "an address in a private network that nobody allowed"
