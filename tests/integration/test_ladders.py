"""Ladders as they are climbed: conditions, weddings, people, races, kills, what was foretold."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import datetime, time, timedelta
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from tests.support.checks import platform
from tests.support.engine import AT, MINUTE, SECOND, EngineWorld, open_engine_world
from tests.support.postgres import Database
from wedsync_apm.escalation import store as escalation

HOUR = 60 * MINUTE


@pytest.fixture
async def world(database: Database) -> AsyncIterator[EngineWorld]:
    async with open_engine_world(database) as opened:
        yield opened


async def add_ladder(
    world: EngineWorld, vendor: UUID, *steps: dict[str, Any], repeat_count: int = 0
) -> UUID:
    """The default ladder; a step is its columns, with `contacts` beside them."""
    [policy] = await world.run(
        "insert into public.apm_escalation_policies (organization_id, name, is_default, "
        "repeat_count) values (%(vendor)s, 'Ladder', true, %(repeats)s) returning id",
        vendor=vendor,
        repeats=repeat_count,
    )
    for position, step in enumerate(steps, start=1):
        columns = {"delay": timedelta(), **step}
        contacts = columns.pop("contacts", [])
        names = ["organization_id", "policy_id", "position", *columns]
        values = {
            "organization_id": vendor,
            "policy_id": policy["id"],
            "position": position,
            **columns,
        }
        [made] = await world.run(
            f"insert into public.apm_escalation_steps ({', '.join(names)}) "
            f"values ({', '.join(f'%({name})s' for name in names)}) returning id",
            **values,
        )
        for contact in contacts:
            await world.run(
                "insert into public.apm_escalation_targets values (%(vendor)s, %(step)s, %(id)s)",
                vendor=vendor,
                step=made["id"],
                id=contact,
            )
    policy_id: UUID = policy["id"]
    return policy_id


async def open_incident(
    world: EngineWorld, vendor: UUID, at: datetime = AT, severity: str = "critical"
) -> UUID:
    [made] = await world.run(
        "select apm_private.open_incident(%(vendor)s, %(key)s, 'Orders fail', %(severity)s, "
        "'{}', '{}', %(at)s) as id",
        vendor=vendor,
        key=f"user:1:{uuid4()}",
        severity=severity,
        at=at,
    )
    incident_id: UUID = made["id"]
    return incident_id


async def climb_until(world: EngineWorld, start: datetime, end: datetime) -> None:
    """Runs over the ladders whenever one is due, as the engine does each second."""
    at = start
    while at <= end:
        await world.escalate(at)
        [found] = await world.run(
            "select min(next_at) as at from public.apm_escalation_runs where state = 'running'"
        )
        if found["at"] is None:
            return
        at = max(at + SECOND, found["at"])


async def called(world: EngineWorld, vendor: UUID, start: datetime = AT) -> list[tuple[int, str]]:
    """Who was called, and how many seconds after the start."""
    return [
        (round((one["due_at"] - start).total_seconds()), one["receiver"])
        for one in await world.deliveries(vendor)
        if one["kind"] in ("page", "reopened")
    ]


async def person(world: EngineWorld, vendor: UUID, name: str) -> UUID:
    user_id = uuid4()
    await world.run(
        "insert into apm_private.users (id, email, display_name, password_hash) "
        "values (%(id)s, %(email)s, %(name)s, 'x')",
        id=user_id,
        email=f"{name.lower()}@fern.example",
        name=name,
    )
    await world.run(
        "insert into public.apm_memberships (organization_id, user_id, role) "
        "values (%(vendor)s, %(id)s, 'MEMBER')",
        vendor=vendor,
        id=user_id,
    )
    return user_id


async def own_contact(
    world: EngineWorld, vendor: UUID, user_id: UUID, name: str, *, is_verified: bool = True
) -> UUID:
    contact = await world.contact(vendor, name)
    await world.run(
        "update public.apm_contact_methods set user_id = %(user)s, "
        "verified_at = case when %(verified)s then now() end where id = %(id)s",
        user=user_id,
        verified=is_verified,
        id=contact,
    )
    return contact


@pytest.mark.parametrize("steps", [0, 1, 2, 3])
@pytest.mark.parametrize("delay", [timedelta(), 10 * MINUTE, 24 * HOUR], ids=["none", "10", "day"])
async def test_at_a_wedding_two_rungs_are_called_within_two_minutes(
    world: EngineWorld, steps: int, delay: timedelta
) -> None:
    """Whatever delays the ladder names, and however few steps it has."""
    vendor = await world.organization()
    await world.wedding(vendor)
    names = ["Priya", "Mo", "Ade"]
    contacts = [await world.contact(vendor, name) for name in names]
    if steps:
        await add_ladder(
            world,
            vendor,
            *({"delay": delay, "wedding_delay": delay, "contacts": [contacts[n]]}
              for n in range(steps)),
        )  # fmt: skip
    await open_incident(world, vendor)
    await climb_until(world, AT, AT + 2 * MINUTE)
    told = await called(world, vendor)
    rungs = {one["payload"]["step"] for one in await world.deliveries(vendor)}
    assert {1, 2} <= rungs, told
    assert min(second for second, _ in told) <= 30
    if steps >= 2:
        assert {"Priya", "Mo"} <= {name for _, name in told}
    else:
        assert {name for _, name in told} == set(names), "the second rung is everybody"


async def test_off_weddings_the_ladders_own_times_count(world: EngineWorld) -> None:
    vendor = await world.organization()
    priya, mo = await world.contact(vendor, "Priya"), await world.contact(vendor, "Mo")
    await add_ladder(
        world,
        vendor,
        {"delay": 2 * MINUTE, "contacts": [priya]},
        {"delay": 10 * MINUTE, "contacts": [mo]},
    )
    await open_incident(world, vendor)
    await climb_until(world, AT, AT + HOUR)
    assert await called(world, vendor) == [(120, "Priya"), (720, "Mo")]


async def test_a_wedding_that_begins_shortens_the_timer_that_is_set(world: EngineWorld) -> None:
    """The row knows of it: no process has to look at the moment at which it begins."""
    vendor = await world.organization()
    await world.wedding(vendor)
    [begins] = await world.run(
        "select min(lower(span)) as at from apm_private.wedding_windows_between("
        "array[%(vendor)s::uuid], %(at)s - interval '1 day', %(at)s + interval '1 day')",
        vendor=vendor,
        at=AT,
    )
    start = begins["at"] - 10 * MINUTE
    names = ["Priya", "Mo", "Ade", "Kim"]
    contacts = [await world.contact(vendor, name) for name in names]
    await add_ladder(
        world,
        vendor,
        {"contacts": contacts[:1]},
        {"delay": 6 * HOUR, "contacts": contacts[1:2]},
        {"delay": 40 * MINUTE, "contacts": contacts[2:3]},
        {"delay": 40 * MINUTE, "wedding_delay": 4 * MINUTE, "contacts": contacts[3:]},
    )
    await open_incident(world, vendor, start)
    await world.escalate(start)
    [row] = await world.run("select next_at from public.apm_escalation_runs")
    assert row["next_at"] == begins["at"], "at the wedding's beginning, not six hours later"
    await climb_until(world, start, start + 40 * MINUTE)
    assert await called(world, vendor, start) == [
        (0, "Priya"),
        (600, "Mo"),
        (1200, "Ade"),
        (1440, "Kim"),
    ], "each step at a wedding's pace, not only the first"


async def test_a_step_that_does_not_count_is_passed_and_said(world: EngineWorld) -> None:
    vendor = await world.organization()
    names = ["Anna", "Ben", "Cleo", "Dan", "Eve"]
    anna, ben, cleo, dan, eve = [await world.contact(vendor, name) for name in names]
    hours = {
        "hours_from": time(9),
        "hours_until": time(12),
        "hours_weekdays": [1, 2, 3, 4, 5, 6, 7],
        "hours_zone": "organization",
    }
    await add_ladder(
        world,
        vendor,
        {"weddings": "only", "contacts": [anna]},
        {"delay": 5 * MINUTE, "contacts": [ben]},
        {"delay": 5 * MINUTE, "contacts": [cleo], **hours},
        {"delay": 5 * MINUTE, "severity_min": "emergency", "contacts": [dan]},
        {"delay": 5 * MINUTE, "weddings": "never", "contacts": [eve]},
    )
    await open_incident(world, vendor)
    await climb_until(world, AT, AT + 21 * MINUTE)
    # Nobody was told before the second step, so nobody is waited for; afterwards times are kept.
    assert await called(world, vendor) == [(0, "Ben"), (900, "Eve")]
    passed = [one for one in await world.events(vendor) if "passed" in one["detail"]]
    assert [one["message"] for one in passed] == [
        "Step 1 was passed: it counts only while a wedding is under way",
        "Step 3 was passed: it counts from 09:00 until 12:00",
        "Step 4 was passed: it is for what is worse",
    ]
    assert {one["actor"] for one in passed} == {"ladder"}


@pytest.mark.parametrize("is_wedding", [False, True])
async def test_a_ladder_of_which_no_step_counts_still_tells_somebody(
    world: EngineWorld, is_wedding: bool
) -> None:
    vendor = await world.organization()
    if is_wedding:
        await world.wedding(vendor)
    priya = await world.contact(vendor, "Priya")
    weddings = "never" if is_wedding else "only"
    await add_ladder(
        world,
        vendor,
        {"weddings": weddings, "contacts": [priya]},
        {"delay": HOUR, "weddings": weddings, "contacts": [priya]},
    )
    await world.contact(vendor, "Mo")
    await open_incident(world, vendor)
    await climb_until(world, AT, AT + 3 * MINUTE)
    told = await called(world, vendor)
    assert told[:2] == [(0, "Mo"), (0, "Priya")]
    assert len(told) == (4 if is_wedding else 2)


async def test_hours_by_the_clock_of_whoever_is_told(world: EngineWorld) -> None:
    """At two in the afternoon in London it is ten at night in Tokyo."""
    vendor = await world.organization()
    near, far = await world.contact(vendor, "Near"), await world.contact(vendor, "Far")
    await world.run(
        "insert into public.apm_quiet_hours (organization_id, contact_method_id, starts_time, "
        "ends_time, time_zone) values (%(vendor)s, %(far)s, '01:00', '02:00', 'Asia/Tokyo')",
        vendor=vendor,
        far=far,
    )
    hours = {
        "hours_from": time(9),
        "hours_until": time(18),
        "hours_weekdays": [1, 2, 3, 4, 5, 6, 7],
        "hours_zone": "person",
    }
    await add_ladder(
        world,
        vendor,
        {"contacts": [far], **hours},
        {"contacts": [near, far], **hours},
    )
    await open_incident(world, vendor)
    await climb_until(world, AT, AT + MINUTE)
    assert await called(world, vendor) == [(0, "Near")]


async def test_people_are_told_by_each_verified_contact_while_they_belong(
    world: EngineWorld,
) -> None:
    vendor = await world.organization()
    priya, mo = await person(world, vendor, "Priya"), await person(world, vendor, "Mo")
    await own_contact(world, vendor, priya, "Priya-mail")
    await own_contact(world, vendor, priya, "Priya-work")
    await own_contact(world, vendor, priya, "Priya-new", is_verified=False)
    await own_contact(world, vendor, mo, "Mo-mail")
    await add_ladder(
        world, vendor, {"user_ids": [priya]}, {"delay": MINUTE, "user_ids": [mo, priya]}
    )
    await open_incident(world, vendor)
    await world.escalate(AT)
    assert [name for _, name in await called(world, vendor)] == ["Priya-mail", "Priya-work"]
    await world.run("delete from public.apm_memberships where user_id = %(id)s", id=priya)
    await world.escalate(AT + MINUTE)
    assert (await called(world, vendor))[2:] == [(60, "Mo-mail")]


async def test_only_people_of_the_business_are_put_on_a_ladder(world: EngineWorld) -> None:
    vendor, other = await world.organization(), await world.organization("Other")
    stranger = await person(world, other, "Olga")
    with pytest.raises(psycopg.errors.CheckViolation, match="does not belong"):
        await add_ladder(world, vendor, {"user_ids": [stranger]})


async def test_a_ladder_is_climbed_as_often_as_it_says(world: EngineWorld) -> None:
    await platform(world)
    vendor = await world.organization()
    priya, mo = await world.contact(vendor, "Priya"), await world.contact(vendor, "Mo")
    await add_ladder(
        world,
        vendor,
        {"contacts": [priya]},
        {"delay": MINUTE, "contacts": [mo]},
        repeat_count=2,
    )
    await open_incident(world, vendor)
    await climb_until(world, AT, AT + HOUR)
    told = await called(world, vendor)
    assert [name for _, name in told] == ["Priya", "Mo"] * 3
    kinds = [one["kind"] for one in await world.events(vendor)]
    assert kinds.count("exhausted") == 1


async def test_exhausted_it_reaches_the_operators_on_call(world: EngineWorld) -> None:
    """By the platform's own ladder, at a wedding's pace, and where they have set nothing up by
    the address with which they sign in."""
    home = await platform(world)
    vendor = await world.organization()
    await world.wedding(vendor)
    await add_ladder(world, vendor, {"contacts": [await world.contact(vendor, "Priya")]})
    for name, role in (("Otto", "oncall"), ("Dora", "dba")):
        user_id = uuid4()
        await world.run(
            "insert into apm_private.users (id, email, display_name, password_hash) "
            "values (%(id)s, %(email)s, %(name)s, 'x')",
            id=user_id,
            email=f"{name.lower()}@platform.example",
            name=name,
        )
        await world.run(
            "insert into public.apm_operators (user_id, email, role) "
            "values (%(id)s, %(email)s, %(role)s)",
            id=user_id,
            email=f"{name.lower()}@platform.example",
            role=role,
        )
    await open_incident(world, vendor)
    await climb_until(world, AT, AT + 5 * MINUTE)
    [taken] = await world.incidents(home)
    assert (taken["severity"], taken["priority"]) == ("critical", "critical")
    told = await world.deliveries(home)
    assert {one["recipient"]["address"] for one in told} == {"otto@platform.example"}
    assert {one["channel"] for one in told} == {"email"}
    began = taken["detected_at"]
    seconds = sorted((one["due_at"] - began).total_seconds() for one in told)
    assert seconds[0] <= 1
    assert seconds[1] <= 90, "the platform's people are called at a wedding's pace too"


async def test_the_platforms_own_ladder_is_climbed(world: EngineWorld) -> None:
    home = await platform(world)
    first, second = await world.contact(home, "First"), await world.contact(home, "Second")
    await add_ladder(
        world, home, {"contacts": [first]}, {"delay": 3 * MINUTE, "contacts": [second]}
    )
    vendor = await world.organization()
    await add_ladder(world, vendor, {"contacts": [await world.contact(vendor, "Priya")]})
    await open_incident(world, vendor)
    await climb_until(world, AT, AT + 10 * MINUTE)
    assert [name for _, name in await called(world, home)] == ["First", "Second"]


async def foretold(world: EngineWorld, vendor: UUID, severity: str, at: datetime) -> list[Any]:
    rows = await world.run(
        "select * from public.apm_preview_ladder(%(vendor)s, null, %(severity)s, %(at)s)",
        vendor=vendor,
        severity=severity,
        at=at,
    )
    return [(row["due"], row["name"]) for row in rows if row["name"] is not None]


@pytest.mark.parametrize("severity", ["warning", "critical", "emergency"])
@pytest.mark.parametrize("hours", [-30, -5, 0, 5, 9])
async def test_who_is_foretold_is_who_is_called(
    world: EngineWorld, hours: int, severity: str
) -> None:
    """Before, at the beginning of, in and after the wedding; by the same functions."""
    vendor = await world.organization()
    await world.wedding(vendor)
    names = ["Anna", "Ben", "Cleo", "Dan"]
    anna, ben, cleo, dan = [await world.contact(vendor, name) for name in names]
    await add_ladder(
        world,
        vendor,
        {"delay": MINUTE, "weddings": "only", "contacts": [anna]},
        {"delay": 3 * HOUR, "severity_min": "critical", "contacts": [ben]},
        {"delay": 20 * MINUTE, "weddings": "never", "contacts": [cleo, dan]},
        {
            "delay": 2 * HOUR,
            "contacts": [dan],
            "hours_from": time(9),
            "hours_until": time(18),
            "hours_weekdays": [6, 7],
            "hours_zone": "organization",
        },
    )
    start = AT + hours * HOUR
    expected = await foretold(world, vendor, severity, start)
    await open_incident(world, vendor, start, severity)
    await climb_until(world, start, start + 24 * HOUR)
    told = [
        (one["due_at"], one["receiver"])
        for one in await world.deliveries(vendor)
        if one["kind"] == "page"
    ]
    assert sorted(told) == sorted(expected)


async def test_an_incident_is_foretold_from_where_its_climb_is(world: EngineWorld) -> None:
    vendor = await world.organization()
    priya, mo = await world.contact(vendor, "Priya"), await world.contact(vendor, "Mo")
    await add_ladder(world, vendor, {"contacts": [priya]}, {"delay": 10 * MINUTE, "contacts": [mo]})
    incident = await open_incident(world, vendor)
    await world.escalate(AT)

    async def ahead() -> list[tuple[str | None, datetime]]:
        rows = await world.run(
            "select name, due from public.apm_preview_incident(%(id)s, %(at)s)",
            id=incident,
            at=AT + MINUTE,
        )
        return [(row["name"], row["due"]) for row in rows]

    # then, after the last one's five minutes (or as long as it had itself), the platform's people
    assert await ahead() == [("Mo", AT + 10 * MINUTE), (None, AT + 20 * MINUTE)]
    await world.run("update public.apm_incidents set status = 'acknowledged'")
    assert await ahead() == []


async def test_five_workers_race_for_one_step_a_thousand_times(
    world: EngineWorld, database: Database
) -> None:
    """Each time one step is due and all of them climb: each is told of once."""
    races = 1000
    vendor = await world.organization()
    priya = await world.contact(vendor, "Priya")
    await add_ladder(
        world, vendor, {"contacts": [priya]}, {"delay": 24 * HOUR, "contacts": [priya]}
    )
    await world.run(
        "insert into public.apm_incidents (organization_id, title, severity, priority, dedup_key, "
        "detected_at, last_seen_at) select %(vendor)s, 'Race', 'critical', 'high', "
        "'user:1:race' || n, %(at)s, %(at)s from generate_series(1, %(races)s) as n",
        vendor=vendor,
        at=AT,
        races=races,
    )
    await world.run(
        "update public.apm_escalation_runs as r set next_at = %(at)s + n.n * interval '1 second' "
        "from (select incident_id, row_number() over () as n from public.apm_escalation_runs) "
        "as n where n.incident_id = r.incident_id",
        at=AT,
    )
    workers = [
        await psycopg.AsyncConnection.connect(
            database.engine,
            row_factory=dict_row,
            autocommit=True,
            # planned once, not five thousand times
            options="-c plan_cache_mode=force_generic_plan",
        )
        for _ in range(5)
    ]
    try:

        async def climb(worker: Any, at: datetime) -> int:
            async with worker.transaction():
                return len(await escalation.climb_due_steps(worker, at))

        for n in range(1, races + 1):
            won = await asyncio.gather(*(climb(worker, AT + n * SECOND) for worker in workers))
            assert sum(won) == 1, n
    finally:
        for worker in workers:
            await worker.close()
    [found] = await world.run(
        "select count(*) as sent, count(distinct incident_id) as incidents "
        "from public.apm_deliveries where kind = 'page'"
    )
    assert (found["sent"], found["incidents"]) == (races, races)


async def test_an_acknowledgement_against_a_climb_is_won_by_one_of_them_whole(
    world: EngineWorld, database: Database
) -> None:
    vendor = await world.organization()
    await add_ladder(
        world,
        vendor,
        {"contacts": [await world.contact(vendor, "Priya")]},
        {"delay": HOUR, "contacts": [await world.contact(vendor, "Mo")]},
    )
    incidents = [await open_incident(world, vendor) for _ in range(60)]
    outcomes = set()
    for n, incident in enumerate(incidents):

        async def acknowledge(incident: UUID = incident, n: int = n) -> None:
            async with world.owner.connection() as cx:
                await asyncio.sleep(n % 6 * 0.002)
                await cx.execute(
                    "update public.apm_incidents set status = 'acknowledged' where id = %s",
                    (incident,),
                )

        await world.run(
            "update public.apm_escalation_runs set next_at = case when incident_id = %(id)s "
            "then %(at)s else %(later)s end where state = 'running'",
            id=incident,
            at=AT,
            later=AT + 5 * HOUR,
        )
        await asyncio.gather(world.escalate(AT + SECOND), acknowledge())
        [run] = await world.run(
            "select r.state, r.next_step, r.told, count(d.id) as sent, "
            "count(e.id) filter (where e.kind = 'escalated') as said "
            "from public.apm_escalation_runs as r "
            "left join public.apm_deliveries as d on d.incident_id = r.incident_id "
            "left join public.apm_incident_events as e on e.incident_id = r.incident_id "
            "and e.kind = 'escalated' "
            "where r.incident_id = %(id)s group by r.state, r.next_step, r.told",
            id=incident,
        )
        assert run["state"] == "stopped"
        parts = (run["next_step"], run["told"], run["sent"], run["said"])
        assert parts in {(0, 0, 0, 0), (1, 1, 1, 1)}, "one of them, and nothing of the other"
        outcomes.add(parts)
        await world.escalate(AT + 2 * SECOND)
        assert (
            len([d for d in await world.deliveries(vendor) if d["incident_id"] == incident])
            == (parts[2])
        ), "and nothing follows"
    assert outcomes


KILLED = """
import asyncio, os, signal, sys
from datetime import datetime
import psycopg
from psycopg.rows import dict_row
from wedsync_apm.engine import escalate

dsn, at = sys.argv[1], datetime.fromisoformat(sys.argv[2])


class Mortal:
    '''A connection of a process that is killed before one of its statements.'''

    def __init__(self, cx, boundary):
        self.cx, self.left, self.seen = cx, boundary, 0

    def step(self):
        self.seen += 1
        if self.seen == self.left:
            os.kill(os.getpid(), signal.SIGKILL)

    async def execute(self, *args, **more):
        self.step()
        return await self.cx.execute(*args, **more)


async def live(boundary):
    async with await psycopg.AsyncConnection.connect(dsn, row_factory=dict_row) as cx:
        mortal = Mortal(cx, boundary)
        async with cx.transaction():
            await escalate.run_once(mortal, at)
            mortal.step()  # before the commit
        mortal.step()  # and after it
    return mortal.seen

boundary = int(sys.argv[3])
if boundary == 0:
    print(asyncio.run(live(0)))
else:
    asyncio.run(live(boundary))
"""


async def test_killed_at_every_statement_boundary_a_step_is_whole_or_not_there(
    world: EngineWorld, database: Database
) -> None:
    vendor = await world.organization()
    contacts = [await world.contact(vendor, name) for name in ("Priya", "Mo")]
    await add_ladder(
        world,
        vendor,
        {"weddings": "only", "contacts": contacts},
        {"contacts": contacts},
        {"delay": HOUR, "contacts": contacts[:1]},
    )

    def live(boundary: int) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [sys.executable, "-c", KILLED, database.engine, AT.isoformat(), str(boundary)],
            capture_output=True,
            check=False,
            timeout=60,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        )

    async def state(incident: UUID) -> dict[str, Any]:
        [found] = await world.run(
            "select r.next_step, r.told, "
            "(select count(*) from public.apm_deliveries as d "
            " where d.incident_id = r.incident_id) as sent, "
            "(select count(*) from public.apm_incident_events as e "
            " where e.incident_id = r.incident_id and e.kind in ('escalated', 'note')) as said "
            "from public.apm_escalation_runs as r where r.incident_id = %(id)s",
            id=incident,
        )
        return found

    nothing = {"next_step": 0, "told": 0, "sent": 0, "said": 0}
    # the first step is passed and the second tells two people
    whole = {"next_step": 2, "told": 1, "sent": 2, "said": 2}
    first = await open_incident(world, vendor)
    unharmed = await asyncio.to_thread(live, 0)
    assert unharmed.returncode == 0, unharmed.stderr
    boundaries = int(unharmed.stdout)
    assert boundaries >= 7
    assert await state(first) == whole
    for boundary in range(1, boundaries + 1):
        incident = await open_incident(world, vendor)
        killed = await asyncio.to_thread(live, boundary)
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        is_committed = boundary == boundaries
        assert await state(incident) == (whole if is_committed else nothing), boundary
        # whoever comes after does what is left, once
        await world.escalate(AT)
        await world.escalate(AT + SECOND)
        assert await state(incident) == whole, boundary


async def test_an_older_snapshot_is_climbed_as_it_was(world: EngineWorld) -> None:
    """A climb that began before steps knew of people and conditions."""
    vendor = await world.organization()
    priya = await world.contact(vendor, "Priya")
    incident = await open_incident(world, vendor)
    old = [
        {
            "position": 1,
            "level": "manager",
            "delay_seconds": 0,
            "wedding_delay_seconds": 0,
            "contact_method_ids": [str(priya)],
        }
    ]
    await world.run(
        "update public.apm_escalation_runs set steps = %(steps)s where incident_id = %(id)s",
        steps=Jsonb(old),
        id=incident,
    )
    await world.contact(vendor, "Mo")
    await world.escalate(AT)
    assert await called(world, vendor) == [(0, "Priya")]
