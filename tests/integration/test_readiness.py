"""The evening before: one report a wedding, and an incident while something fails."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

import pytest

from tests.support.postgres import Database
from tests.support.serving import populate, running, settings_for
from wedsync_apm.db.pool import Pool, open_pool
from wedsync_apm.engine import ready
from wedsync_apm.engine.cycle import Cycle, run_tick
from wedsync_apm.weddings.readiness import store

SATURDAY = date(2026, 6, 20)
DUE = datetime(2026, 6, 19, 17, 0, tzinfo=UTC)
"""18:00 in London on the evening before."""
SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)


class World:
    """The database as its owner and as the engine."""

    def __init__(self, owner: Pool, engine: Pool) -> None:
        self.owner = owner
        self.engine = engine

    async def run(self, statement: str, **values: Any) -> list[dict[str, Any]]:
        async with self.owner.connection() as cx:
            cursor = await cx.execute(statement.encode(), values)
            return await cursor.fetchall() if cursor.description else []

    async def vendor(self, *, is_ready: bool = True, zone: str = "Europe/London") -> UUID:
        """With a contact, a ladder and a check; not ready: the contact was never verified."""
        organization_id = uuid4()
        await self.run(
            "insert into organizations (id, name, settings) values "
            "(%(id)s, 'Fern', jsonb_build_object('timezone', %(zone)s::text))",
            id=organization_id, zone=zone,
        )  # fmt: skip
        [contact] = await self.run(
            "insert into apm_contact_methods "
            "(organization_id, name, channel, address, verified_at, last_ok_at) "
            "values (%(id)s, 'Priya', 'email', 'priya@fern.example', "
            "case when %(ready)s then %(at)s::timestamptz end, %(at)s) returning id",
            id=organization_id, ready=is_ready, at=DUE - 5 * 24 * HOUR,
        )  # fmt: skip
        [policy] = await self.run(
            "insert into apm_escalation_policies (organization_id, name, is_default) "
            "values (%(id)s, 'Ladder', true) returning id",
            id=organization_id,
        )
        [step] = await self.run(
            "insert into apm_escalation_steps (organization_id, policy_id, position, delay) "
            "values (%(id)s, %(policy)s, 1, '0') returning id",
            id=organization_id, policy=policy["id"],
        )  # fmt: skip
        await self.run(
            "insert into apm_escalation_targets values (%(id)s, %(step)s, %(contact)s)",
            id=organization_id, step=step["id"], contact=contact["id"],
        )  # fmt: skip
        await self.run(
            "insert into service_health_checks (organization_id, service_name, display_name, "
            "endpoint_url, status, status_since, last_check_at) values (%(id)s, 'forms', "
            "'Order form', 'https://example.com/', 'healthy', %(at)s, %(at)s)",
            id=organization_id, at=DUE - MINUTE,
        )  # fmt: skip
        return organization_id

    async def wedding(self, organization_id: UUID, day: date = SATURDAY) -> UUID:
        [row] = await self.run(
            "insert into apm_weddings (organization_id, couple_initials, wedding_date) "
            "values (%(id)s, 'A & J', %(day)s) returning id",
            id=organization_id, day=day,
        )  # fmt: skip
        wedding_id: UUID = row["id"]
        return wedding_id

    async def verify(self, at: datetime) -> None:
        await self.run("update apm_contact_methods set verified_at = %(at)s", at=at)

    async def look(self, at: datetime) -> str:
        """One run of the engine's job at `at`."""
        async with self.engine.connection() as cx, cx.transaction():
            return await ready.Ready().run_once(cx, at)

    async def reports(self) -> list[dict[str, Any]]:
        return await self.run("select * from apm_readiness_reports order by made_at, attempt")

    async def incidents(self) -> list[dict[str, Any]]:
        return await self.run("select * from apm_incidents order by number")


@pytest.fixture
async def world(database: Database) -> AsyncIterator[World]:
    async with open_world(database) as made:
        yield made


@asynccontextmanager
async def open_world(database: Database) -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        owner = await open_pool(database.owner, name="owner", min_size=1, max_size=4)
        engine = await open_pool(database.engine, name="engine", min_size=1, max_size=8)
        yield World(await stack.enter_async_context(owner), await stack.enter_async_context(engine))


async def test_once_at_its_time_and_no_incident_where_nothing_fails(world: World) -> None:
    organization_id = await world.vendor()
    wedding_id = await world.wedding(organization_id)
    await world.look(DUE - SECOND)
    assert await world.reports() == []
    for minutes in (0, 1, 60, 600):
        await world.look(DUE + minutes * MINUTE)
    [report] = await world.reports()
    assert (report["wedding_id"], report["due_at"], report["made_at"]) == (wedding_id, DUE, DUE)
    assert (report["cause"], report["outcome"]) == ("evening", "unknown")
    assert {line["key"]: line["outcome"] for line in report["lines"]} == {
        "contacts": "pass",
        "on_call": "unknown",
        "channels": "pass",
        "drilled": "unknown",
        "checks": "pass",
        "silences": "pass",
        "backups": "unknown",
    }
    assert "riya" not in str(report["lines"])
    assert await world.incidents() == []


async def test_what_is_found_first_while_the_wedding_is_under_way_opens_nothing(
    world: World,
) -> None:
    """An engine that was away in the evening: at the altar the alarms of the day are enough."""
    await world.wedding(await world.vendor(is_ready=False))
    await world.look(datetime(2026, 6, 20, 12, tzinfo=UTC))
    assert [report["outcome"] for report in await world.reports()] == ["fail"]
    assert await world.incidents() == []


async def test_what_fails_opens_one_incident_that_ends_when_nothing_fails(world: World) -> None:
    wedding_id = await world.wedding(await world.vendor(is_ready=False))
    await world.look(DUE)
    [incident] = await world.incidents()
    assert incident["dedup_key"] == f"readiness:1:{wedding_id}"
    assert (incident["status"], incident["severity"]) == ("open", "critical")
    assert incident["title"].startswith("The wedding on 20 June is not prepared: contacts")
    assert incident["wedding_date"] == SATURDAY
    assert incident["affected_weddings"][0]["initials"] == "A & J"
    assert "never verified" in incident["vendor_text"]["what_to_do"][0]
    # Not at every turn, but after half an hour; and it stays one incident.
    await world.look(DUE + 29 * MINUTE)
    assert len(await world.reports()) == 1
    await world.look(DUE + 30 * MINUTE)
    assert [report["cause"] for report in await world.reports()] == ["evening", "again"]
    await world.verify(DUE + 31 * MINUTE)
    await world.look(DUE + 60 * MINUTE)
    [ended] = await world.incidents()
    assert (ended["id"], ended["status"]) == (incident["id"], "resolved")
    assert ended["repeat_count"] == 1
    await world.look(DUE + 5 * HOUR)
    assert [report["outcome"] for report in await world.reports()] == ["fail", "fail", "unknown"]


async def test_who_resolves_it_knows_and_only_something_new_opens_it_again(world: World) -> None:
    organization_id = await world.vendor(is_ready=False)
    await world.wedding(organization_id)
    await world.look(DUE)
    await world.run("update apm_incidents set status = 'resolved'")
    await world.look(DUE + 30 * MINUTE)
    [incident] = await world.incidents()
    assert incident["status"] == "resolved"
    await world.run("update service_health_checks set status = 'critical'")
    await world.look(DUE + 2 * HOUR)
    assert [one["status"] for one in await world.incidents()] in (["closed", "open"], ["open"])


async def test_a_silence_over_the_wedding_fails_and_one_before_it_does_not(world: World) -> None:
    day = datetime.now(UTC).date() + timedelta(days=20)
    eve = day - timedelta(days=1)
    due = datetime(eve.year, eve.month, eve.day, 18, tzinfo=ZoneInfo("Europe/London"))
    organization_id = await world.vendor()
    wedding_id = await world.wedding(organization_id, day)
    silence = (
        "insert into apm_silences (organization_id, matchers, starts_at, ends_at, reason, owner) "
        'values (%(id)s, \'[{"label": "service", "operator": "=", "value": "forms"}]\', '
        "%(starts)s, %(ends)s, 'Moving', 'Priya') returning id"
    )

    async def silence_lines() -> list[str]:
        return [
            line["outcome"]
            for report in await world.reports()
            for line in report["lines"]
            if line["key"] == "silences"
        ]

    await world.run(silence, id=organization_id, starts=due - HOUR, ends=due + HOUR)
    noon = due + 18 * HOUR
    [over] = await world.run(silence, id=organization_id, starts=noon, ends=noon + HOUR)
    # Nobody has agreed to the one over the wedding yet, so it holds nothing back.
    await world.look(due)
    assert await silence_lines() == ["pass"]
    await world.run(
        "update apm_silences set approved_at = now(), approved_by_name = 'Olga', "
        "approved_weddings = array[apm_private.wedding_mark(organization_id, %(wedding)s, "
        "%(day)s)] where id = %(id)s",
        id=over["id"],
        wedding=wedding_id,
        day=day,
    )
    again = "update apm_private.readiness_timers set next_at = due_at"
    await world.run(again)
    await world.look(due + MINUTE)
    assert await silence_lines() == ["pass", "fail"]
    # What has ended holds back nothing any more, though it lay over the wedding's first hours.
    await world.run(again)
    await world.look(noon + HOUR)
    assert await silence_lines() == ["pass", "fail", "pass"]
    await world.run("update apm_silences set expired_at = %(at)s", at=noon + 30 * MINUTE)
    await world.run(again)
    await world.look(noon + 40 * MINUTE)
    assert await silence_lines() == ["pass", "fail", "pass", "pass"]


@pytest.mark.parametrize("is_approved", [True, False])
async def test_planned_work_over_the_wedding_fails_once_a_second_person_said_yes(
    world: World, is_approved: bool
) -> None:
    """Without a yes it keeps nothing from people, so that nothing is to be mended."""
    organization_id = await world.vendor()
    wedding_id = await world.wedding(organization_id)
    marks = "apm_private.wedding_mark(organization_id, %(wedding)s, '2026-06-20')"
    for name, starts in (("Over", "2026-06-20T10:00Z"), ("Before", "2026-06-18T10:00Z")):
        await world.run(
            "insert into apm_maintenance_windows (organization_id, name, starts_at, ends_at) "
            "values (%(id)s, %(name)s, %(starts)s, %(starts)s::timestamptz + interval '1 hour')",
            id=organization_id,
            name=name,
            starts=starts,
        )
    if is_approved:
        await world.run(
            "update apm_maintenance_windows set approved_at = %(at)s, approved_by_name = 'Mo', "
            f"approved_weddings = array[{marks}]",
            at=DUE,
            wedding=wedding_id,
        )
    await world.look(DUE)
    [report] = await world.reports()
    [line] = [line for line in report["lines"] if line["key"] == "silences"]
    if is_approved:
        assert line["outcome"] == "fail"
        assert line["reason"].startswith("1 maintenance window is open during it")
    else:
        assert line["outcome"] == "pass"


@pytest.mark.parametrize(("told", "outcome"), [(None, "pass"), ("emergency", "fail")])
async def test_a_rule_of_ones_own_that_may_mute_what_is_critical_fails(
    world: World, told: str | None, outcome: str
) -> None:
    organization_id = await world.vendor()
    await world.wedding(organization_id)
    await world.run(
        "insert into apm_inhibition_rules (organization_id, name, source_matchers, "
        "target_matchers, told_at_weddings) select %(id)s, 'All', m, m, %(told)s from (select "
        '\'[{"label": "service", "operator": "=~", "value": ".+"}]\'::jsonb as m) as v',
        id=organization_id,
        told=told,
    )
    await world.look(DUE)
    [report] = await world.reports()
    [line] = [line for line in report["lines"] if line["key"] == "silences"]
    assert line["outcome"] == outcome
    assert ("1 inhibition rule may hold back" in line["reason"]) is (outcome == "fail")


async def test_two_engines_make_one_report(world: World) -> None:
    """Through the cycle, where one has the turn, and past it, where only the rows stand between."""
    for _ in range(5):
        await world.wedding(await world.vendor(is_ready=False))
    cycle = Cycle("ready", 15.0, lambda cx, _: ready.Ready().run_once(cx, DUE))
    await asyncio.gather(*(run_tick(world.engine, cycle) for _ in range(3)))
    await asyncio.gather(*(world.look(DUE + SECOND) for _ in range(4)))
    assert len(await world.reports()) == 5
    assert len(await world.incidents()) == 5
    # Of the next round, too: all at the same instant, without the lock of the cycle.
    await asyncio.gather(*(world.look(DUE + 31 * MINUTE) for _ in range(4)))
    assert len(await world.reports()) == 10
    assert {report["attempt"] for report in await world.reports()} == {1, 2}


async def test_the_calendar_is_read_once_a_minute_and_timers_at_every_run(world: World) -> None:
    organization_id = await world.vendor()
    job = ready.Ready()

    async def look(at: datetime) -> None:
        async with world.engine.connection() as cx, cx.transaction():
            await job.run_once(cx, at)

    await world.wedding(organization_id)
    await look(DUE - 2 * SECOND)
    await world.wedding(await world.vendor())
    await look(DUE)
    assert len(await world.reports()) == 1
    await look(DUE + 58 * SECOND)
    assert len(await world.reports()) == 2


async def test_a_run_that_is_broken_off_leaves_nothing_and_the_next_makes_it(world: World) -> None:
    await world.wedding(await world.vendor(is_ready=False))
    with pytest.raises(ZeroDivisionError):
        async with world.engine.connection() as cx, cx.transaction():
            await ready.Ready().run_once(cx, DUE)
            raise ZeroDivisionError
    assert await world.reports() == []
    assert await world.incidents() == []
    await world.look(DUE + MINUTE)
    [report] = await world.reports()
    assert (report["cause"], report["attempt"]) == ("evening", 1)
    assert len(await world.incidents()) == 1


async def test_a_wedding_that_moves_is_due_anew_and_its_incident_ends(world: World) -> None:
    organization_id = await world.vendor(is_ready=False)
    wedding_id = await world.wedding(organization_id)
    await world.look(DUE)
    await world.run(
        "update apm_weddings set wedding_date = %(day)s where id = %(id)s",
        day=SATURDAY + timedelta(days=1), id=wedding_id,
    )  # fmt: skip
    await world.look(DUE + MINUTE)
    [incident] = await world.incidents()
    assert incident["status"] == "resolved"
    await world.look(DUE + 24 * HOUR)
    reports = await world.reports()
    assert [(one["due_at"], one["cause"]) for one in reports] == [
        (DUE, "evening"),
        (DUE + 24 * HOUR, "evening"),
    ]
    await world.run("update apm_weddings set status = 'cancelled'")
    await world.look(DUE + 25 * HOUR)
    assert {one["status"] for one in await world.incidents()} <= {"resolved", "closed"}
    assert await world.run("select * from apm_private.readiness_timers") == []


async def test_a_wedding_entered_late_is_looked_at_at_once_and_one_that_is_over_never(
    world: World,
) -> None:
    organization_id = await world.vendor()
    await world.look(DUE + 12 * HOUR)
    await world.wedding(organization_id)
    await world.look(DUE + 13 * HOUR)
    await world.wedding(organization_id, SATURDAY - timedelta(days=1))
    await world.look(DUE + 14 * HOUR)
    assert [one["made_at"] for one in await world.reports()] == [DUE + 13 * HOUR]


@pytest.mark.parametrize(
    ("zone", "day"),
    [
        ("America/New_York", date(2026, 11, 1)),  # 25 hours
        ("Europe/London", date(2026, 3, 29)),  # 23 hours
        ("Australia/Lord_Howe", date(2026, 10, 4)),
        ("Pacific/Kiritimati", date(2028, 2, 29)),
        ("Pacific/Pago_Pago", date(2027, 1, 1)),
    ],
)
async def test_it_is_due_by_the_clock_at_the_venue(world: World, zone: str, day: date) -> None:
    await world.wedding(await world.vendor(zone=zone), day)
    eve = day - timedelta(days=1)
    due = datetime(eve.year, eve.month, eve.day, 18, tzinfo=ZoneInfo(zone)).astimezone(UTC)
    await world.look(due - SECOND)
    assert await world.reports() == []
    await world.look(due)
    assert [one["due_at"] for one in await world.reports()] == [due]


async def test_an_unknown_zone_is_looked_at_where_the_evening_comes_first(world: World) -> None:
    await world.wedding(await world.vendor(zone="Mars"))
    first = datetime(2026, 6, 19, 4, tzinfo=UTC)
    await world.look(first - SECOND)
    assert await world.reports() == []
    await world.look(first)
    assert len(await world.reports()) == 1


async def test_one_wedding_that_cannot_be_judged_costs_no_other_its_report(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = await world.wedding(await world.vendor())
    good = await world.wedding(await world.vendor())
    real = store.make_due_report

    async def sometimes(cx: Any, timer: store.DueTimer, at: datetime) -> Any:
        if timer.wedding_id == bad:
            await cx.execute("select 1 / 0")
        return await real(cx, timer, at)

    monkeypatch.setattr(store, "make_due_report", sometimes)
    assert "1 reports, 1 failed" in await world.look(DUE)
    assert [one["wedding_id"] for one in await world.reports()] == [good]
    monkeypatch.undo()
    await world.look(DUE + MINUTE)
    assert len(await world.reports()) == 1
    await world.look(DUE + 5 * MINUTE)
    assert {one["wedding_id"] for one in await world.reports()} == {bad, good}


async def test_over_http_members_read_and_ask_and_others_know_of_nothing(
    database: Database, tmp_path: Path
) -> None:
    async with (
        running(settings_for(database, tmp_path), populate(database)) as api,
        open_world(database) as world,
    ):
        wedding_id = await world.wedding(api.world.here, datetime.now(UTC).date())
        query = {"wedding": str(wedding_id)}
        path = "/api/v1/readiness"
        async with api.as_person("vera") as vera, api.as_person("bob") as bob:
            before = (await vera.get(path, params=query)).json()
            assert (before["id"], before["outcome"]) == (None, "fail")
            assert (await bob.post(path, params=query)).status_code == 409
            await world.look(datetime.now(UTC))
            made = (await vera.get(path, params=query)).json()
            assert made["id"] is not None
            assert [line["key"] for line in made["lines"]][:2] == ["contacts", "on_call"]
            assert (await vera.post(path, params=query)).status_code == 403
            assert (await bob.post(path, params=query)).status_code == 202
            await world.look(datetime.now(UTC))
            again = (await vera.get(path, params=query)).json()
            assert (again["cause"], again["id"] != made["id"]) == ("asked", True)
            now = (await vera.get(path, params=query | {"now": "true"})).json()
            assert now["id"] is None
            for wrong in ({}, {"wedding": "x"}):
                assert (await vera.get(path, params=wrong)).status_code == 422
            unknown = await vera.get(path, params={"wedding": str(uuid4())})
            assert unknown.status_code == 404
        async with api.as_person("oscar") as oscar:
            for answer in (
                await oscar.get(path, params=query),
                await oscar.get(path, params=query | {"now": "true"}),
                await oscar.post(path, params=query),
            ):
                assert answer.status_code == 404
        async with api.as_person("olga") as olga:
            seen = (await olga.get(path, params=query)).json()
            assert (seen["id"], seen["lines"]) == (again["id"], again["lines"])
            for more in ({}, {"now": "true"}):
                seen = (await olga.get(path, params=query | more)).json()
                # whose date it is, an operator reads with a reason
                assert (seen["wedding_date"], seen["due_at"]) == (None, None)
        assert again["wedding_date"] is not None
