"""Drills: whom they call, when they begin and wait, who may answer, and what is kept of them."""

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

from tests.support.engine import AT, MINUTE, SECOND, EngineWorld, open_engine_world
from tests.support.postgres import Database
from wedsync_apm.db.pool import open_pool, wrap_database_errors
from wedsync_apm.drills import store
from wedsync_apm.engine import drills
from wedsync_apm.errors import Conflict, NotFound, RateLimited

HOUR = 60 * MINUTE
DAY = 24 * HOUR
TOKEN = "t" * 43


@pytest.fixture
async def world(database: Database) -> AsyncIterator[EngineWorld]:
    async with open_engine_world(database) as opened:
        yield opened


async def called(world: EngineWorld, *names: str) -> tuple[UUID, list[UUID]]:
    """A vendor whose ladder calls these people one after the other."""
    vendor = await world.organization()
    contacts = [await world.contact(vendor, name) for name in names]
    await world.ladder(
        vendor, *((n * 5 * MINUTE, "none", [contact]) for n, contact in enumerate(contacts))
    )
    return vendor, contacts


async def ask(world: EngineWorld, vendor: UUID, at: datetime = AT) -> UUID:
    rows = await world.run(
        "select apm_private.ask_drill(%(vendor)s, 'before the season', null, null, 'Priya', %(at)s)"
        " as id",
        vendor=vendor,
        at=at,
    )
    made: UUID = rows[0]["id"]
    return made


async def answer(world: EngineWorld, delivery: UUID, at: datetime, how: str = "link") -> str:
    rows = await world.run(
        "select apm_private.answer_drill(%(id)s, %(how)s, %(at)s) as outcome",
        id=delivery,
        how=how,
        at=at,
    )
    return str(rows[0]["outcome"])


async def step(world: EngineWorld, at: datetime) -> str:
    async with world.engine.connection() as cx, cx.transaction():
        return await drills.run_once(cx, at)


async def drill_rows(world: EngineWorld, vendor: UUID) -> list[dict[str, Any]]:
    return await world.run(
        "select * from public.apm_drills where organization_id = %(vendor)s order by started_at",
        vendor=vendor,
    )


async def calls(world: EngineWorld, vendor: UUID) -> list[dict[str, Any]]:
    return await world.run(
        "select * from public.apm_drill_calls where organization_id = %(vendor)s order by name",
        vendor=vendor,
    )


async def schedule(
    world: EngineWorld,
    vendor: UUID,
    at: datetime,
    *,
    every: str = "week",
    weekday: int = 6,
    local_time: time = time(14),
    zone: str = "Europe/London",
) -> dict[str, Any]:
    async with world.owner.connection() as cx, cx.transaction():
        await cx.execute("select set_config('apm.at', %s, true)", (at.isoformat(),))
        rows = await cx.execute(
            "insert into public.apm_drill_schedules (organization_id, every, weekday, local_time, "
            "time_zone) values (%s, %s, %s, %s, %s) returning *",
            (vendor, every, weekday, local_time, zone),
        )
        found = await rows.fetchone()
    assert found is not None
    return found


async def stands(world: EngineWorld, vendor: UUID) -> dict[str, Any]:
    (row,) = await world.run(
        "select * from public.apm_drill_schedules where organization_id = %(vendor)s",
        vendor=vendor,
    )
    return row


async def be_quiet(world: EngineWorld, vendor: UUID, contact: UUID, until: time) -> None:
    await world.run(
        "insert into public.apm_quiet_hours (organization_id, contact_method_id, starts_time, "
        "ends_time, time_zone) values (%(vendor)s, %(contact)s, '12:00', %(until)s, "
        "'Europe/London')",
        vendor=vendor,
        contact=contact,
        until=until,
    )


async def test_everybody_on_the_default_ladder_is_called_once(world: EngineWorld) -> None:
    vendor, (ana, ben) = await called(world, "Ana", "Ben")
    await world.contact(vendor, "Olga")
    drill = await ask(world, vendor)
    sent = await world.deliveries(vendor)
    assert {(one["contact_method_id"], one["kind"]) for one in sent} == {
        (ana, "drill"),
        (ben, "drill"),
    }
    assert {one["expires_at"] for one in sent} == {AT + 15 * MINUTE}
    assert all(one["incident_id"] is None and one["payload"]["is_pressed"] for one in sent)
    assert [one["name"] for one in await calls(world, vendor)] == ["Ana", "Ben"]
    (row,) = await drill_rows(world, vendor)
    assert (row["id"], row["cause"], row["started_by_name"]) == (drill, "asked", "Priya")
    assert await world.incidents(vendor) == []


async def test_who_would_be_called_by_nobodys_ladder_is_called_here_too(
    world: EngineWorld,
) -> None:
    vendor = await world.organization()
    await world.contact(vendor, "Ana")
    await ask(world, vendor)
    assert [one["receiver"] for one in await world.deliveries(vendor)] == ["Ana"]


async def test_without_anybody_to_call_there_is_no_drill(world: EngineWorld) -> None:
    vendor = await world.organization()
    async with world.engine.connection() as cx:
        with pytest.raises(Conflict, match="nobody to call"), wrap_database_errors():
            await store.ask_drill(cx, vendor, reason="", name="cli")
    assert await drill_rows(world, vendor) == []


async def test_answers_are_counted_once_and_in_time(world: EngineWorld) -> None:
    vendor, _ = await called(world, "Ana", "Ben", "Cleo")
    drill = await ask(world, vendor)
    ana, ben, cleo = [one["delivery_id"] for one in await calls(world, vendor)]
    await world.run(
        "update public.apm_deliveries set state = 'sent', sent_at = %(at)s where id <> %(cleo)s",
        at=AT + 2 * SECOND,
        cleo=cleo,
    )
    await world.run(
        "update public.apm_deliveries set state = 'failed', state_reason = 'refused' "
        "where id = %(cleo)s",
        cleo=cleo,
    )
    assert await answer(world, ana, AT + 40 * SECOND, "sms") == "answered"
    assert await answer(world, ana, AT + 50 * SECOND) == "used"
    assert await answer(world, ben, AT + 121 * SECOND) == "answered"
    assert await answer(world, uuid4(), AT + MINUTE) == "unknown"
    assert await step(world, AT + 14 * MINUTE) == ""
    assert await step(world, AT + 15 * MINUTE) == "0 started, 0 held back, 1 ended"
    assert await answer(world, cleo, AT + 16 * MINUTE) == "over"
    assert await answer(world, ana, AT + 16 * MINUTE) == "used"
    (row,) = await drill_rows(world, vendor)
    assert (row["called"], row["answered"], row["in_time"]) == (3, 2, 1)
    async with world.engine.connection() as cx:
        found = await store.look(cx, vendor, drill)
        listed = await store.find_drill(cx, drill)
    assert [
        (one.name, one.result, one.sent_seconds, one.answered_seconds, one.how, one.reason)
        for one in found.people
    ] == [
        ("Ana", "in_time", 2, 40, "sms", ""),
        ("Ben", "late", 2, 121, "link", ""),
        ("Cleo", "unreached", None, None, None, "refused"),
    ]
    assert listed.people == found.people
    assert await world.run("select 1 from public.apm_audit_log where object_type = 'apm_drills'")


async def test_it_is_over_when_everybody_has_answered_on_one_way_or_another(
    world: EngineWorld,
) -> None:
    vendor, contacts = await called(world, "Ana", "ana", "Ben")
    await ask(world, vendor)
    by_contact = {
        one["contact_method_id"]: one["delivery_id"] for one in await calls(world, vendor)
    }
    await answer(world, by_contact[contacts[1]], AT + 5 * SECOND)
    assert await step(world, AT + 6 * SECOND) == ""
    await answer(world, by_contact[contacts[2]], AT + 7 * SECOND)
    assert await step(world, AT + 8 * SECOND) == "0 started, 0 held back, 1 ended"
    (row,) = await drill_rows(world, vendor)
    assert (row["called"], row["answered"], row["ended_at"]) == (2, 2, AT + 8 * SECOND)


async def test_one_at_a_time_and_one_an_hour_by_hand(world: EngineWorld) -> None:
    vendor, _ = await called(world, "Ana")
    await ask(world, vendor)
    with pytest.raises(psycopg.Error, match="under way already"):
        await ask(world, vendor, AT + MINUTE)
    await step(world, AT + 15 * MINUTE)
    with pytest.raises(psycopg.Error, match="One drill an hour"):
        await ask(world, vendor, AT + 59 * MINUTE)
    await ask(world, vendor, AT + HOUR)
    assert len(await drill_rows(world, vendor)) == 2


async def test_two_that_start_at_once_make_one(world: EngineWorld) -> None:
    vendor, _ = await called(world, "Ana")

    async def start() -> str:
        async with world.engine.connection() as cx:
            try:
                with wrap_database_errors():
                    await store.ask_drill(cx, vendor, reason="", name="cli")
            except (Conflict, RateLimited):
                return "refused"
        return "started"

    assert sorted(await asyncio.gather(*(start() for _ in range(4)))) == ["refused"] * 3 + [
        "started"
    ]
    assert len(await world.deliveries(vendor)) == 1


async def test_a_wedding_under_way_refuses_and_holds_back(world: EngineWorld) -> None:
    vendor, _ = await called(world, "Ana")
    await schedule(world, vendor, AT - HOUR)
    await world.wedding(vendor)
    with pytest.raises(psycopg.Error, match="wedding is under way"):
        await ask(world, vendor)
    assert await step(world, AT) == "0 started, 1 held back, 0 ended"
    held = await stands(world, vendor)
    assert (held["held_by"], held["next_at"], held["planned_at"]) == (
        "wedding",
        AT + 30 * MINUTE,
        AT,
    )
    assert await world.deliveries(vendor) == []
    # When it is over, the drill comes; the next one is at its own time again.
    await world.run("delete from public.apm_weddings")
    assert await step(world, AT + 30 * MINUTE) == "1 started, 0 held back, 0 ended"
    (row,) = await drill_rows(world, vendor)
    assert (row["cause"], row["planned_at"], row["started_at"]) == (
        "schedule",
        AT,
        AT + 30 * MINUTE,
    )
    after = await stands(world, vendor)
    assert (after["held_by"], after["next_at"]) == (None, AT + 7 * DAY)


async def test_quiet_hours_hold_a_planned_drill_back_and_not_one_by_hand(
    world: EngineWorld,
) -> None:
    vendor, (ana, _) = await called(world, "Ana", "Ben")
    await be_quiet(world, vendor, ana, time(16))
    await schedule(world, vendor, AT - HOUR)
    assert await step(world, AT) == "0 started, 1 held back, 0 ended"
    held = await stands(world, vendor)
    assert (held["held_by"], held["next_at"]) == ("quiet_hours", AT + 2 * HOUR)
    assert await step(world, AT + HOUR) == ""
    await ask(world, vendor, AT + HOUR)
    assert len(await world.deliveries(vendor)) == 2
    await step(world, AT + 2 * HOUR)
    assert [one["cause"] for one in await drill_rows(world, vendor)] == ["asked", "schedule"]


async def test_who_is_always_quiet_at_that_time_is_passed_over_after_a_day(
    world: EngineWorld,
) -> None:
    vendor, (ana, ben) = await called(world, "Ana", "Ben")
    await be_quiet(world, vendor, ana, time(11))
    await be_quiet(world, vendor, ben, time(12, 30))
    await world.run(
        "update public.apm_quiet_hours set starts_time = '11:00' where contact_method_id = %(ben)s",
        ben=ben,
    )
    # One is quiet from noon until eleven, the other from eleven until half past twelve.
    await schedule(world, vendor, AT - HOUR)
    at = AT
    while (row := await stands(world, vendor))["planned_at"] == AT:
        at = row["next_at"]
        assert at <= AT + DAY
        await step(world, at)
    assert at == AT + DAY
    (sent,) = await world.deliveries(vendor)
    assert sent["receiver"] == "Ben"
    (drill,) = await drill_rows(world, vendor)
    async with world.engine.connection() as cx:
        found = await store.find_drill(cx, drill["id"])
    assert {one.name: one.result for one in found.people} == {"Ana": "quiet", "Ben": "waiting"}
    await answer(world, sent["id"], at + SECOND)
    await step(world, at + 2 * SECOND)
    (drill,) = await drill_rows(world, vendor)
    assert (drill["called"], drill["answered"]) == (1, 1), "who was not called cannot fail"


@pytest.mark.parametrize(
    ("rhythm", "local_time", "after", "expected"),
    [
        # The clock is set forward in the night to 29 March 2026: 02:30 is 01:30 UTC.
        ("week 7", "02:30", "2026-03-23T00:00Z", "2026-03-29T01:30Z"),
        # 01:30 does not come on that day: the moment at which the clock is set.
        ("week 7", "01:30", "2026-03-23T00:00Z", "2026-03-29T01:00Z"),
        ("week 7", "01:30", "2026-03-29T01:00Z", "2026-04-05T00:30Z"),
        # It comes twice on 25 October: the first time.
        ("week 7", "01:30", "2026-10-20T00:00Z", "2026-10-25T00:30Z"),
        ("week 7", "01:30", "2026-10-25T00:30Z", "2026-11-01T01:30Z"),
        # The first Wednesday of a month.
        ("month 3", "09:00", "2026-06-03T08:00Z", "2026-07-01T08:00Z"),
        ("month 3", "09:00", "2026-06-03T07:59Z", "2026-06-03T08:00Z"),
        ("month 3", "09:00", "2026-12-03T00:00Z", "2027-01-06T09:00Z"),
    ],
    ids=["forward", "skipped", "after-skip", "twice", "after-twice", "month", "same-day", "year"],
)
async def test_the_next_time_follows_the_clock_on_the_wall(
    world: EngineWorld, rhythm: str, local_time: str, after: str, expected: str
) -> None:
    every, weekday = rhythm.split()
    rows = await world.run(
        "select apm_private.next_drill_at(%(every)s, %(weekday)s, %(local_time)s, "
        "'Europe/London', %(after)s) as at",
        every=every,
        weekday=int(weekday),
        local_time=time.fromisoformat(local_time),
        after=datetime.fromisoformat(after),
    )
    assert rows[0]["at"] == datetime.fromisoformat(expected)


async def test_an_engine_that_was_away_holds_one_drill_and_not_all_that_it_missed(
    world: EngineWorld,
) -> None:
    vendor, _ = await called(world, "Ana")
    await schedule(world, vendor, AT - HOUR)
    assert await step(world, AT + 20 * DAY) == "1 started, 0 held back, 0 ended"
    assert len(await drill_rows(world, vendor)) == 1
    assert (await stands(world, vendor))["next_at"] == AT + 21 * DAY


async def test_one_vendors_schedule_calls_nobody_of_another(world: EngineWorld) -> None:
    vendor, _ = await called(world, "Ana")
    other = await world.organization("Oak & Ivy")
    await world.contact(other, "Oscar")
    await schedule(world, vendor, AT - HOUR)
    await step(world, AT)
    assert await world.deliveries(other) == []
    async with world.engine.connection() as cx:
        (drill,) = await drill_rows(world, vendor)
        with pytest.raises(NotFound):
            await store.look(cx, other, drill["id"])


async def with_link(world: EngineWorld, vendor: UUID) -> None:
    (call,) = await calls(world, vendor)
    async with world.engine.connection() as cx:
        await store.store_link(cx, vendor, call["delivery_id"], TOKEN)


async def test_a_link_shows_before_it_answers_and_answers_once(
    world: EngineWorld, database: Database
) -> None:
    vendor, _ = await called(world, "Ana")
    async with world.engine.connection() as cx, cx.transaction():
        await store.ask_drill(cx, vendor, reason="", name="cli")
    await with_link(world, vendor)
    api = await open_pool(database.api, name="api", min_size=1, max_size=1)
    async with api, api.connection() as cx:
        for _ in range(3):
            found = await store.look_up_link(cx, TOKEN)
            assert found is not None
            assert (found["name"], found["answered_at"], found["is_over"]) == ("Ana", None, False)
        for forged in (TOKEN[:-1], TOKEN + "t", "", "x" * 10_000, TOKEN.upper()):
            assert await store.look_up_link(cx, forged) is None
            assert await store.use_link(cx, forged) == "unknown"
        assert await store.use_link(cx, TOKEN) == "answered"
        assert await store.use_link(cx, TOKEN) == "used"
    (call,) = await calls(world, vendor)
    assert call["how"] == "link"


async def test_two_taps_at_once_are_one_answer(world: EngineWorld) -> None:
    vendor, _ = await called(world, "Ana")
    await ask(world, vendor)
    (call,) = await calls(world, vendor)
    outcomes = await asyncio.gather(
        *(answer(world, call["delivery_id"], AT + n * SECOND) for n in range(1, 5))
    )
    assert sorted(outcomes) == ["answered", "used", "used", "used"]


async def test_who_has_left_or_is_switched_off_answers_no_more(world: EngineWorld) -> None:
    vendor, (contact,) = await called(world, "Ana")
    person = uuid4()
    await world.run(
        "insert into public.apm_memberships (organization_id, user_id, role) "
        "values (%(vendor)s, %(person)s, 'MEMBER')",
        vendor=vendor,
        person=person,
    )
    await world.run("update public.apm_contact_methods set user_id = %(person)s", person=person)
    await ask(world, vendor)
    (call,) = await calls(world, vendor)
    assert call["user_id"] == person
    await world.run("delete from public.apm_memberships where user_id = %(id)s", id=person)
    assert await answer(world, call["delivery_id"], AT + SECOND) == "unknown"
    await world.run(
        "update public.apm_contact_methods set user_id = null where id = %(id)s", id=contact
    )
    await world.run("update public.apm_drill_calls set user_id = null")
    assert await answer(world, call["delivery_id"], AT + SECOND) == "answered"
    await world.run("update public.apm_drill_calls set answered_at = null, how = null")
    await world.run("update public.apm_contact_methods set disabled_at = now()")
    assert await answer(world, call["delivery_id"], AT + SECOND) == "unknown"


async def test_a_number_answers_the_latest_drill_that_went_to_it(world: EngineWorld) -> None:
    vendor, _ = await called(world, "Ana")
    await world.run(
        "update public.apm_contact_methods set channel = 'sms', address = '+447700900123'"
    )

    async def reply(phone: str, at: datetime) -> str:
        rows = await world.run(
            "select apm_private.answer_drill_of_number(%(phone)s, %(at)s) as outcome",
            phone=phone,
            at=at,
        )
        return str(rows[0]["outcome"])

    assert await reply("+447700900123", AT) == "unknown"
    await ask(world, vendor)
    assert await reply("+447700900124", AT + SECOND) == "unknown"
    assert await reply("+447700900123", AT + SECOND) == "answered"
    assert await reply("+447700900123", AT + 2 * SECOND) == "used"
    (call,) = await calls(world, vendor)
    assert call["how"] == "sms"


KILLED = """
import asyncio, os, signal, sys
from datetime import datetime
import psycopg
with psycopg.connect(sys.argv[1]) as cx:
    cx.execute("select apm_private.start_due_drills(%s, 10)", (sys.argv[2],))
    print("done", flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


async def test_an_engine_killed_before_its_commit_leaves_no_half_of_a_drill(
    world: EngineWorld, database: Database
) -> None:
    vendor, _ = await called(world, "Ana", "Ben")
    await schedule(world, vendor, AT - HOUR)
    run = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", KILLED, database.engine, AT.isoformat()],
        capture_output=True,
        timeout=60,
        check=False,
        env=os.environ,
    )
    assert (run.returncode, run.stdout) == (-signal.SIGKILL, b"done\n")
    assert await drill_rows(world, vendor) == []
    assert await world.deliveries(vendor) == []
    assert await step(world, AT + SECOND) == "1 started, 0 held back, 0 ended"
    assert len(await world.deliveries(vendor)) == 2


@pytest.mark.parametrize(
    ("answers", "expected"),
    [([10, 20], (2, 2, 2)), ([10, None], (2, 1, 1)), ([10, 300], (2, 2, 1))],
    ids=["all", "one-missing", "one-late"],
)
async def test_the_last_drill_is_what_a_readiness_report_knows(
    world: EngineWorld, answers: list[int | None], expected: tuple[int, int, int]
) -> None:
    vendor, _ = await called(world, "Ana", "Ben")

    async def facts(at: datetime) -> dict[str, Any]:
        (row,) = await world.run(
            "select * from apm_private.drill_facts(%(vendor)s, %(at)s)", vendor=vendor, at=at
        )
        return row

    nothing = await facts(AT)
    assert (nothing["drilled_at"], nothing["drill_called"], nothing["has_drills"]) == (
        None,
        0,
        False,
    )
    await ask(world, vendor)
    for call, seconds in zip(await calls(world, vendor), answers, strict=True):
        if seconds is not None:
            await answer(world, call["delivery_id"], AT + timedelta(seconds=seconds))
    assert (await facts(AT + 14 * MINUTE))["drilled_at"] is None, "it is still under way"
    await step(world, AT + 15 * MINUTE)
    await schedule(world, vendor, AT + 15 * MINUTE)
    known = await facts(AT + 16 * MINUTE)
    assert (known["drill_called"], known["drill_answered"], known["drill_in_time"]) == expected
    assert (known["drilled_at"], known["has_drills"]) == (AT, True)
