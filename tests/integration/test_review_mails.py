"""What goes out about the past: overdue actions, reports of weddings and Saturdays, each once."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from email import message_from_bytes
from email.policy import default
from typing import Any, Self
from uuid import UUID, uuid4

import pytest

from tests.support.checks import platform
from tests.support.engine import AT, MINUTE, SATURDAY, EngineWorld, open_engine_world
from tests.support.outbox import outbox_of
from tests.support.postgres import Database, PostgresServer
from tests.support.worst_mail import worst_mail
from wedsync_apm.engine import reviews
from wedsync_apm.incidents.reviews.mail import store

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
NINE = datetime(2026, 6, 23, 8, tzinfo=UTC)
"""Nine in the morning in London, on the day after the 22nd."""


@pytest.fixture(scope="module")
def town(server: PostgresServer) -> Iterator[Database]:
    """One database for all of these: each test has organizations of its own."""
    with server.clone() as cloned:
        yield cloned


@pytest.fixture
async def world(town: Database) -> AsyncIterator[EngineWorld]:
    async with open_engine_world(town) as opened:
        yield opened


@dataclass
class Business:
    """A vendor, its people, and what it has been sent."""

    world: EngineWorld
    id: UUID

    @classmethod
    async def open(cls, world: EngineWorld, **people: str) -> Self:
        """With people by name and role."""
        business = cls(world, await world.organization())
        for name, role in people.items():
            await business.person(name, role)
        return business

    async def person(self, name: str, role: str) -> UUID:
        """Somebody who signs in here."""
        user_id = uuid4()
        await self.world.run(
            "insert into apm_private.users (id, email, display_name, password_hash) "
            "values (%(id)s, %(email)s, %(name)s, 'x')",
            id=user_id,
            email=f"{name}.{self.id}@fern.example".lower(),
            name=f"{name.capitalize()} Fields",
        )
        await self.world.run(
            "insert into public.apm_memberships (organization_id, user_id, role) "
            "values (%(o)s, %(u)s, %(role)s)",
            o=self.id,
            u=user_id,
            role=role.upper(),
        )
        return user_id

    async def dismiss(self, name: str) -> None:
        """He has left, and still signs in elsewhere."""
        await self.world.run(
            "delete from public.apm_memberships as m using apm_private.users as u "
            "where m.organization_id = %(o)s and u.id = m.user_id and u.display_name = %(name)s",
            o=self.id,
            name=f"{name.capitalize()} Fields",
        )

    async def action(self, owner: str, due_on: date = SATURDAY, title: str = "Buy a host") -> UUID:
        """Something that the review of a problem decided."""
        incident = await self.trouble(AT - 30 * DAY, HOUR, "info")
        rows = await self.world.run(
            "with p as (insert into public.apm_postmortems (organization_id, incident_id) "
            "values (%(o)s, %(i)s)) insert into public.apm_postmortem_actions (organization_id, "
            "incident_id, title, owner, due_on) values (%(o)s, %(i)s, %(title)s, %(owner)s, "
            "%(due)s) returning id",
            o=self.id,
            i=incident,
            title=title,
            owner=owner,
            due=due_on,
        )
        action_id: UUID = rows[0]["id"]
        return action_id

    async def trouble(self, began_at: datetime, length: timedelta, severity: str) -> UUID:
        """A problem that was taken after two minutes and is over, nobody called."""
        rows = await self.world.run(
            "insert into public.apm_incidents (organization_id, title, severity, priority, "
            "dedup_key, detected_at, last_seen_at) values (%(o)s, 'Order form is slow', "
            "%(severity)s, 'low', %(key)s, %(at)s, %(at)s) returning id",
            o=self.id,
            severity=severity,
            key=str(uuid4()),
            at=began_at,
        )
        for status, at in (
            ("acknowledged", began_at + 2 * MINUTE),
            ("resolved", began_at + length),
        ):
            async with self.world.owner.connection() as cx:
                await cx.execute("select set_config('apm.at', %s, true)", (at.isoformat(),))
                await cx.execute(
                    "update public.apm_incidents set status = %s::public.incident_status "
                    "where id = %s",
                    (status, rows[0]["id"]),
                )
        incident: UUID = rows[0]["id"]
        return incident

    async def sent(self) -> list[dict[str, Any]]:
        """The mails about the past, by receiver."""
        return await self.world.run(
            "select d.*, split_part(d.recipient ->> 'address', '.', 1) as who, "
            "d.payload ->> 'word' as word from public.apm_deliveries as d "
            "where d.organization_id = %(o)s and d.kind = 'report' "
            "order by d.created_at, d.recipient ->> 'address'",
            o=self.id,
        )

    async def told(self) -> list[tuple[str, str]]:
        """Whom, and of what."""
        return [(row["who"], row["word"]) for row in await self.sent()]


async def run(world: EngineWorld, at: datetime) -> str:
    async with world.engine.connection() as cx, cx.transaction():
        return await reviews.run_once(cx, at)


async def test_an_overdue_action_is_asked_after_once_and_a_week_later_of_the_owners(
    world: EngineWorld,
) -> None:
    fern = await Business.open(world, fay="owner", ada="admin", tom="member")
    await fern.action("Tom", date(2026, 6, 22))
    await run(world, NINE - MINUTE)
    assert await fern.told() == [], "not before nine on the day after"
    await run(world, NINE)
    await run(world, NINE + 5 * MINUTE)
    assert await fern.told() == [("tom", "overdue")]
    (mail,) = await fern.sent()
    assert (mail["channel"], mail["state"], mail["incident_id"]) == ("email", "pending", None)
    assert mail["payload"]["actions"][0]["title"] == "Buy a host"
    (noted,) = [one for one in await world.events(fern.id) if one["kind"] == "postmortem"]
    assert noted["message"] == "Buy a host"
    await run(world, NINE + 7 * DAY - MINUTE)
    assert len(await fern.told()) == 1
    await run(world, NINE + 7 * DAY)
    await run(world, NINE + 14 * DAY)
    assert await fern.told() == [("tom", "overdue"), ("fay", "still_overdue")]


async def test_what_is_done_in_time_is_asked_of_nobody(world: EngineWorld) -> None:
    fern = await Business.open(world, fay="owner", tom="member")
    done, half = await fern.action("Tom"), await fern.action("Tom")
    finish = "update public.apm_postmortem_actions set done_at = now() where id = %(id)s"
    await world.run(finish, id=done)
    await run(world, NINE)
    await world.run(finish, id=half)
    await run(world, NINE + 8 * DAY)
    assert await fern.told() == [("tom", "overdue")]


async def test_several_of_one_person_are_one_mail(world: EngineWorld) -> None:
    fern = await Business.open(world, fay="owner", tom="member")
    await fern.action("tom fields", title="Buy a host")
    await fern.action("tom fields", title="Write it down")
    await run(world, NINE)
    (mail,) = await fern.sent()
    assert {one["title"] for one in mail["payload"]["actions"]} == {"Buy a host", "Write it down"}
    assert mail["payload"]["path"] == "/reviews"


@pytest.mark.parametrize("change", ["due_on = date '2026-06-24'", "owner = 'Ada'"])
async def test_another_day_or_person_is_asked_anew(world: EngineWorld, change: str) -> None:
    fern = await Business.open(world, fay="owner", ada="admin", tom="member")
    action = await fern.action("Tom")
    await run(world, NINE)
    await world.run(
        f"update public.apm_postmortem_actions set {change} where id = %(id)s", id=action
    )
    await run(world, NINE + 2 * DAY)
    asked = "ada" if "Ada" in change else "tom"
    assert await fern.told() == [("tom", "overdue"), (asked, "overdue")]


async def test_what_belongs_to_nobody_here_is_the_owners(world: EngineWorld) -> None:
    fern = await Business.open(world, fay="owner", tom="member")
    next_door = await Business.open(world, olga="owner", una="member")
    await fern.action("Una")  # she works next door, and nowhere else
    await fern.action("Tom")
    await fern.dismiss("tom")
    await run(world, NINE)
    assert {who for who, _ in await fern.told()} == {"fay"}
    assert await next_door.told() == []


async def test_two_of_one_first_name_are_told_apart(world: EngineWorld) -> None:
    fern = await Business.open(world, fay="owner", sam="member")
    await world.run(
        "update apm_private.users set display_name = 'Sam Ives' where email like %(mine)s",
        mine=f"sam.{fern.id}%",
    )
    await world.run(
        "update apm_private.users set display_name = 'Sam Field' where email like %(mine)s",
        mine=f"fay.{fern.id}%",
    )
    await fern.action("Sam")
    await fern.action("sam ives ")
    await run(world, NINE)
    assert sorted(await fern.told()) == [("fay", "overdue"), ("sam", "overdue")]


async def test_an_address_that_is_switched_off_is_written_to_no_more(world: EngineWorld) -> None:
    fern = await Business.open(world, fay="owner")
    tom = await fern.person("tom", "member")
    values = {"o": fern.id, "u": tom, "address": f"tom.{fern.id}@fern.example"}
    await world.run(
        "insert into public.apm_contact_methods (organization_id, user_id, name, channel, address, "
        "verified_at, disabled_at) values (%(o)s, %(u)s, 'Tom', 'email', %(address)s, now(), "
        "now()), (%(o)s, %(u)s, 'Tom', 'email', 'unproven@fern.example', null, null)",
        **values,
    )
    await fern.action("Tom")
    await run(world, NINE)
    assert await fern.told() == [("fay", "overdue")]
    await world.run(
        "insert into public.apm_contact_methods (organization_id, user_id, name, channel, address, "
        "verified_at) values (%(o)s, %(u)s, 'Tom', 'email', 'private.tom@fern.example', now())",
        **values,
    )
    await fern.action("Tom", title="Another")
    await run(world, NINE + MINUTE)
    assert (await fern.told())[-1] == ("private", "overdue")


async def test_nobody_to_write_to_leaves_it_where_people_read_it(world: EngineWorld) -> None:
    fern = await Business.open(world)
    await fern.action("Tom")
    await world.wedding(fern.id)
    await run(world, NINE)
    assert {one["word"]: one["recipient"] for one in await fern.sent()} == {
        "overdue": {"name": "Tom"},
        "wedding": {"name": "The owners"},
    }


async def wedding_end(world: EngineWorld, business: Business) -> datetime:
    rows = await world.run(
        "select ends_at from apm_private.weddings_to_prepare(array[%(o)s]::uuid[], "
        "%(day)s::date, %(day)s::date)",
        o=business.id,
        day=SATURDAY,
    )
    found: datetime = rows[0]["ends_at"]
    return found


async def test_a_wedding_is_reported_36_hours_after_its_end_to_those_who_answer_for_it(
    world: EngineWorld,
) -> None:
    fern = await Business.open(world, fay="owner", ada="admin", tom="member", vi="viewer")
    next_door = await Business.open(world, olga="owner")
    wedding = await world.wedding(fern.id)
    await fern.trouble(AT, 21 * MINUTE, "critical")
    await next_door.trouble(AT, 50 * MINUTE, "emergency")
    due = await wedding_end(world, fern) + 36 * HOUR
    await run(world, due - MINUTE)
    assert await fern.told() == []
    await run(world, due)
    await run(world, due + 5 * MINUTE)
    assert await fern.told() == [("ada", "wedding"), ("fay", "wedding")]
    assert await next_door.told() == []
    payload = (await fern.sent())[0]["payload"]
    assert payload["troubles"] == 1, "nothing of next door"
    assert payload["impact_seconds"] == 21 * 60
    assert payload["lines"][0]["taken"] == 120
    assert payload["path"] == f"/weddings/{wedding}/report"
    assert payload["initials"] == "A & R"
    await fern.person("new", "admin")
    await run(world, due + DAY)
    assert len(await fern.told()) == 2, "whoever comes later has not been there"


@pytest.mark.parametrize("how", ["moved before", "cancelled", "moved after", "shifted after"])
async def test_a_wedding_that_moves_is_reported_on_its_own_day(
    world: EngineWorld, how: str
) -> None:
    fern = await Business.open(world, fay="owner")
    wedding = await world.wedding(fern.id)
    due = await wedding_end(world, fern) + 36 * HOUR
    change = "wedding_date = date '2026-06-27'"
    if how == "cancelled":
        change = "status = 'cancelled'"
    if how.endswith("after"):
        await run(world, due)
        assert await fern.told() == [("fay", "wedding")]
    if how == "shifted after":
        await world.run(
            "insert into public.apm_wedding_windows (organization_id, wedding_id, phase, span) "
            "values (%(o)s, %(w)s, 'reception', tstzrange(%(from)s, %(to)s))",
            **{"o": fern.id, "w": wedding, "from": AT, "to": AT + 15 * HOUR},
        )
        assert await wedding_end(world, fern) + 36 * HOUR != due
    else:
        await world.run(f"update public.apm_weddings set {change} where id = %(w)s", w=wedding)
    await run(world, due + HOUR)
    await run(world, due + 7 * DAY)
    days = [one["payload"]["day"] for one in await fern.sent()]
    assert (
        days
        == {
            "moved before": ["2026-06-27"],
            "cancelled": [],
            "moved after": ["2026-06-20", "2026-06-27"],
            "shifted after": ["2026-06-20"],
        }[how]
    )


async def test_an_old_wedding_that_is_entered_now_is_not_reported(world: EngineWorld) -> None:
    fern = await Business.open(world, fay="owner")
    await world.wedding(fern.id)
    await run(world, await wedding_end(world, fern) + 36 * HOUR + 3 * DAY)
    assert await fern.told() == []


class Mortal:
    """A connection that breaks at its n-th statement."""

    def __init__(self, cx: Any, lives: int) -> None:
        self._cx = cx
        self._lives = lives

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cx, name)

    async def execute(self, *given: Any, **named: Any) -> Any:
        if self._lives == 0:
            raise KilledError
        self._lives -= 1
        return await self._cx.execute(*given, **named)


class KilledError(BaseException):
    """The process is gone: nothing in it goes on."""


async def test_a_kill_between_any_two_statements_loses_and_repeats_nothing(
    world: EngineWorld,
) -> None:
    fern = await Business.open(world, fay="owner", tom="member")
    await fern.action("Tom")
    await world.wedding(fern.id)
    at = await wedding_end(world, fern) + 36 * HOUR
    deaths = 0
    while True:
        try:
            async with world.engine.connection() as cx, cx.transaction():
                await reviews.run_once(Mortal(cx, deaths), at)  # type: ignore[arg-type]
            break
        except KilledError:
            deaths += 1
            assert await fern.told() == [], f"killed before statement {deaths}"
    assert deaths >= 6
    await run(world, at)
    assert sorted(await fern.told()) == [("fay", "wedding"), ("tom", "overdue")]


async def test_two_engines_at_once_ask_and_report_once(world: EngineWorld) -> None:
    fern = await Business.open(world, fay="owner", tom="member")
    await fern.action("Tom")
    await world.wedding(fern.id)
    at = await wedding_end(world, fern) + 36 * HOUR
    async with world.engine.connection() as first, first.transaction():
        await reviews.run_once(first, at)
        async with world.engine.connection() as second, second.transaction():
            await second.execute("set local lock_timeout = '200ms'")
            await second.execute("savepoint before")
            found = await store.ask_after_actions(second, at)
            assert found == 0, "what another one has in hand is passed by"
    await run(world, at)
    assert sorted(await fern.told()) == [("fay", "wedding"), ("tom", "overdue")]


async def test_a_report_that_cannot_be_made_costs_no_other_one_its_own(
    world: EngineWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    fern, other = [await Business.open(world, fay="owner") for _ in range(2)]
    for business in (fern, other):
        await world.wedding(business.id)
    at = await wedding_end(world, fern) + 36 * HOUR
    send = store.send_wedding_report

    async def broken(cx: Any, wedding: Any, *given: Any) -> bool:
        if wedding.organization_id == fern.id:
            await cx.execute("select 1 / 0")
        is_sent: bool = await send(cx, wedding, *given)
        return is_sent

    monkeypatch.setattr(store, "send_wedding_report", broken)
    await run(world, at)
    assert [await fern.told(), await other.told()] == [[], [("fay", "wedding")]]
    monkeypatch.undo()
    await run(world, at + 5 * MINUTE)
    assert [await fern.told(), await other.told()] == [[("fay", "wedding")]] * 2


async def test_operators_hear_of_the_saturday_on_monday_morning_of_their_clock(
    world: EngineWorld,
) -> None:
    home = Business(world, await platform(world))
    for name, disabled in (("oona", False), ("olaf", False), ("gone", True)):
        await world.run(
            "insert into public.apm_operators (user_id, email, role, created_at, disabled_at) "
            "values (%(id)s, %(email)s, 'oncall', %(at)s, case when %(off)s then now() end)",
            id=uuid4(),
            email=f"{name}.ops@wedsync.example",
            at=AT - 400 * DAY,
            off=disabled,
        )
    await world.run("update apm_private.guard_settings set time_zone = 'America/New_York'")
    fern, next_door = [await Business.open(world, fay="owner") for _ in range(2)]
    saturday = datetime(2026, 8, 15, 12, tzinfo=UTC)
    await fern.trouble(saturday, 21 * MINUTE, "critical")
    await next_door.trouble(saturday + HOUR, 30 * MINUTE, "warning")
    await fern.trouble(saturday - 2 * DAY, 5 * HOUR, "warning")
    eight = datetime(2026, 8, 17, 12, tzinfo=UTC)
    await run(world, eight - MINUTE)
    assert await home.told() == [], "it is not eight in New York yet"
    await run(world, eight)
    await run(world, eight + 5 * MINUTE)
    assert await home.told() == [("olaf", "saturday"), ("oona", "saturday")]
    payload = (await home.sent())[0]["payload"]
    assert (payload["day"], payload["troubles"], payload["businesses"]) == ("2026-08-15", 2, 2)
    assert payload["impact_seconds"] == 51 * 60
    assert await fern.told() == [], "no vendor hears of the others"
    await run(world, eight + 10 * DAY)
    assert len(await home.told()) == 2, "on a Thursday nobody needs it any more"


async def test_it_goes_out_as_text_and_html_but_not_to_whoever_has_left_meanwhile(
    town: Database, world: EngineWorld
) -> None:
    fern = await Business.open(world, fay="owner", ada="admin")
    await world.wedding(fern.id)
    await fern.trouble(AT, 21 * MINUTE, "critical")
    at = await wedding_end(world, fern) + 36 * HOUR
    await run(world, at)
    await world.run(
        "update public.apm_deliveries set state = 'cancelled' where organization_id <> %(o)s",
        o=fern.id,
    )
    await fern.dismiss("ada")
    async with worst_mail() as server, outbox_of(town, mail_port=server.port) as sender:
        await sender.run_once(at)
        await sender.drain()
    states = {one["who"]: (one["state"], one["state_reason"]) for one in await fern.sent()}
    assert states["ada"] == ("suppressed", "this person has left since")
    assert states["fay"][0] == "sent"
    (raw,) = server.mails
    mail = message_from_bytes(raw, policy=default)
    assert mail["Subject"] == "The wedding on Saturday 20 June: 1 problem"
    for part in ("plain", "html"):
        text = mail.get_body((part,))
        assert text is not None
        said = text.get_content()
        assert "Order form is slow: Sat 14:00 to Sat 14:21, in hand after 2 min" in said
        assert "/report" in said
