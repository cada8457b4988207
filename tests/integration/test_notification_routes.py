"""The tree of notification rules: who takes an incident, why, and whom its groups tell."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from psycopg.types.json import Jsonb

from tests.support.engine import AT, EngineWorld, open_engine_world
from tests.support.postgres import Database
from wedsync_apm.notify import store

LABELS = {"service": "forms", "tag.region": "north"}


@pytest.fixture
async def world(database: Database) -> AsyncIterator[EngineWorld]:
    async with open_engine_world(database) as made:
        yield made


async def rule(world: EngineWorld, vendor: UUID, name: str, **columns: Any) -> UUID:
    values: dict[str, Any] = {"organization_id": vendor, "name": name, **columns}
    names, gaps = ", ".join(values), ", ".join(f"%({one})s" for one in values)
    [row] = await world.run(
        f"insert into public.apm_notification_rules ({names}) values ({gaps}) returning id",
        **values,
    )
    made: UUID = row["id"]
    return made


async def policy(world: EngineWorld, vendor: UUID, name: str) -> UUID:
    [row] = await world.run(
        "insert into public.apm_escalation_policies (organization_id, name) "
        "values (%(vendor)s, %(name)s) returning id",
        vendor=vendor,
        name=name,
    )
    made: UUID = row["id"]
    return made


async def opened(
    world: EngineWorld, vendor: UUID, key: str = "k", severity: str = "warning", at: Any = AT
) -> UUID:
    [row] = await world.run(
        "select apm_private.open_incident(%(vendor)s, %(key)s, %(key)s, %(severity)s, %(labels)s, "
        "'{}', %(at)s) as id",
        vendor=vendor,
        key=key,
        severity=severity,
        labels=Jsonb(LABELS),
        at=at,
    )
    made: UUID = row["id"]
    return made


async def way(world: EngineWorld, incident: UUID) -> list[tuple[str, bool, str]]:
    return [
        (row["name"], row["is_taken"], row["verdict"])
        for row in await world.run(
            "select * from public.apm_explain_route(%(id)s, %(at)s)", id=incident, at=AT
        )
    ]


def matcher(label: str, operator: str, value: str) -> Jsonb:
    return Jsonb([{"label": label, "operator": operator, "value": value}])


async def test_an_incident_goes_down_the_tree_and_each_rule_says_why(world: EngineWorld) -> None:
    vendor = await world.organization()
    ladder = await policy(world, vendor, "Night watch")
    await rule(world, vendor, "Severe", position=1, severity_min="emergency")
    await rule(world, vendor, "Elsewhere", position=2, matchers=matcher("service", "=", "mail"))
    await rule(world, vendor, "At weddings", position=3, wedding="during")
    all_of_it = await rule(
        world, vendor, "Forms", position=4, escalation_policy_id=ladder, continues=True
    )
    await rule(
        world, vendor, "South", parent_id=all_of_it, matchers=matcher("tag.region", "=", "south")
    )
    await rule(
        world, vendor, "North", parent_id=all_of_it, matchers=matcher("tag.region", "=~", "n.*")
    )
    await rule(world, vendor, "Also", position=5)
    await rule(world, vendor, "Never asked", position=6)
    incident = await opened(world, vendor)
    assert await way(world, incident) == [
        ("Severe", False, "it is less severe than emergency"),
        ("Elsewhere", False, "its labels do not match"),
        ("At weddings", False, "no wedding is under way"),
        ("Forms", False, "it fits, and a rule below takes it"),
        ("South", False, "its labels do not match"),
        ("North", True, "it fits"),
        ("Also", True, "it fits"),
        ("Never asked", False, "not asked: Also has it, and does not continue"),
    ]
    # The ladder that is climbed is the one that the way leads to: the one above, by inheritance.
    [run] = await world.run(
        "select policy_id from public.apm_escalation_runs where incident_id = %(id)s", id=incident
    )
    assert run["policy_id"] == ladder


async def test_a_rule_cannot_stand_below_itself(world: EngineWorld) -> None:
    vendor = await world.organization()
    first = await rule(world, vendor, "First")
    second = await rule(world, vendor, "Second", parent_id=first)
    for above in (first, second):
        with pytest.raises(Exception, match="cannot stand below itself"):
            await world.run(
                "update public.apm_notification_rules set parent_id = %(above)s where id = %(id)s",
                id=first,
                above=above,
            )


async def test_another_organizations_rules_take_nothing(world: EngineWorld) -> None:
    vendor, other = await world.organization("A"), await world.organization("B")
    await rule(world, other, "Theirs")
    assert await way(world, await opened(world, vendor)) == []


async def tick(world: EngineWorld, seconds: float) -> int:
    async with world.engine.connection() as cx, cx.transaction():
        return await store.tick_groups(cx, AT + timedelta(seconds=seconds))


async def test_a_group_tells_its_recipients_and_a_person_by_the_contact_he_likes_best(
    world: EngineWorld,
) -> None:
    vendor = await world.organization()
    user = UUID(int=7)
    for channel, name, preference in (("email", "Priya mail", 50), ("sms", "Priya phone", 10)):
        await world.run(
            "insert into public.apm_contact_methods (organization_id, user_id, name, channel, "
            "address, preference, verified_at) values (%(vendor)s, %(user)s, %(name)s, "
            "%(channel)s, %(address)s, %(preference)s, now())",
            vendor=vendor,
            user=user,
            name=name,
            channel=channel,
            address="priya@fern.example" if channel == "email" else "+447700900123",
            preference=preference,
        )
    listed = await world.contact(vendor, "Mo")
    recipients = [{"user_id": str(user)}, {"contact_method_id": str(listed)}]
    await rule(
        world,
        vendor,
        "All",
        recipients=Jsonb(recipients),
        channels=["email"],
        group_wait_seconds=30.0,
    )
    await opened(world, vendor, "one")
    await opened(world, vendor, "two", at=AT + timedelta(seconds=10))
    assert await tick(world, 29) == 0
    assert await tick(world, 30) == 2
    rows = await world.deliveries(vendor)
    # By e-mail, because the rule's channels say so; both incidents in one message.
    assert [(row["receiver"], row["channel"], row["kind"]) for row in rows] == [
        ("Mo", "email", "group"),
        ("Priya mail", "email", "group"),
    ]
    assert {one["title"] for one in rows[0]["payload"]["firing"]} == {"one", "two"}
    # In a wedding window he is reached by what he likes best.
    await world.run("delete from public.apm_deliveries")
    await world.wedding(vendor)
    await opened(world, vendor, "three", "critical", AT + timedelta(seconds=60))
    await tick(world, 60)
    assert {row["receiver"] for row in await world.deliveries(vendor)} == {"Mo", "Priya phone"}
    assert {row["priority"] for row in await world.deliveries(vendor)} == {135}


async def test_two_engines_tick_a_group_once(world: EngineWorld) -> None:
    vendor = await world.organization()
    contact = await world.contact(vendor, "Mo")
    recipients = Jsonb([{"contact_method_id": str(contact)}])
    await rule(world, vendor, "All", recipients=recipients, group_wait_seconds=0.0)
    await opened(world, vendor)
    async with (
        world.engine.connection() as one,
        world.engine.connection() as two,
        one.transaction(),
        two.transaction(),
    ):
        assert await store.tick_groups(one, AT) == 1
        assert await store.tick_groups(two, AT) == 0
    assert len(await world.deliveries(vendor)) == 1


async def deleted(world: EngineWorld, rule_id: UUID, seconds: float) -> None:
    """A rule goes, so many seconds after AT."""
    async with world.owner.connection() as cx, cx.transaction():
        await cx.execute(
            "select set_config('apm.at', %s, true)", (str(AT + timedelta(seconds=seconds)),)
        )
        await cx.execute("delete from public.apm_notification_rules where id = %s", (rule_id,))


async def end(world: EngineWorld, incident: UUID, seconds: float) -> None:
    async with world.owner.connection() as cx, cx.transaction():
        await cx.execute(
            "select set_config('apm.at', %s, true)", (str(AT + timedelta(seconds=seconds)),)
        )
        await cx.execute(
            "update public.apm_incidents set status = 'resolved' where id = %s", (incident,)
        )


async def told(world: EngineWorld, vendor: UUID) -> list[tuple[str, list[str], list[str]]]:
    """Whom the groups have told what: who fires, and what is over."""
    return [
        (
            row["receiver"],
            sorted(one["title"] for one in row["payload"]["firing"]),
            sorted(one["title"] for one in row["payload"]["resolved"]),
        )
        for row in await world.deliveries(vendor)
    ]


async def test_what_waits_when_its_rule_goes_is_told_all_the_same(world: EngineWorld) -> None:
    vendor = await world.organization()
    mo = await world.contact(vendor, "Mo")
    gone = await rule(
        world, vendor, "All", recipients=Jsonb([{"contact_method_id": str(mo)}]),
        group_wait_seconds=30.0, group_interval_seconds=60.0, repeat_interval_seconds=60.0,
    )  # fmt: skip
    one = await opened(world, vendor, "one")
    await deleted(world, gone, 10)
    assert await tick(world, 29) == 0
    assert await tick(world, 30) == 1
    assert await told(world, vendor) == [("Mo", ["one"], [])]
    # Nothing comes to it any more, and it is not told again and again; the end is told once.
    await opened(world, vendor, "two", at=AT + timedelta(seconds=40))
    assert [await tick(world, at) for at in (90, 150, 210)] == [0, 0, 0]
    await end(world, one, 215)
    assert await tick(world, 270) == 1
    assert (await told(world, vendor))[1:] == [("Mo", [], ["one"])]
    assert [await tick(world, at) for at in (330, 390, 450)] == [0, 0, 0]
    assert await world.run("select 1 from public.apm_notification_groups") == []


async def test_what_nobody_was_told_of_goes_to_the_rule_that_takes_it_now(
    world: EngineWorld,
) -> None:
    vendor = await world.organization()
    mo, ana = await world.contact(vendor, "Mo"), await world.contact(vendor, "Ana")
    timing = {"group_wait_seconds": 30.0, "group_interval_seconds": 60.0, "group_by": []}
    above = await rule(
        world, vendor, "First", position=1, recipients=Jsonb([{"contact_method_id": str(mo)}]),
        **timing,
    )  # fmt: skip
    below = await rule(world, vendor, "Its child", parent_id=above, **timing)
    await rule(
        world, vendor, "Second", position=2, recipients=Jsonb([{"contact_method_id": str(ana)}]),
        **timing,
    )  # fmt: skip
    one = await opened(world, vendor, "one")
    assert await tick(world, 30) == 1
    await opened(world, vendor, "two", at=AT + timedelta(seconds=35))
    await opened(world, vendor, "three", "critical", AT + timedelta(seconds=35))
    assert len(await world.run("select 1 from public.apm_notification_groups")) == 1
    # the rule goes with the one below it, that has them
    await deleted(world, above, 40)
    assert await world.run("select 1 from public.apm_notification_rules where id = any(%(i)s)",
                           i=[above, below]) == []  # fmt: skip
    assert await tick(world, 70) == 1
    assert (await told(world, vendor))[1:] == [("Ana", ["three", "two"], [])]
    # Whoever heard of the first hears its end, and nobody else does.
    await end(world, one, 75)
    assert await tick(world, 90) == 1
    assert (await told(world, vendor))[2:] == [("Mo", [], ["one"])]


async def test_a_rule_that_was_off_when_it_went_tells_ends_alone(world: EngineWorld) -> None:
    vendor = await world.organization()
    mo = await world.contact(vendor, "Mo")
    gone = await rule(
        world, vendor, "All", recipients=Jsonb([{"contact_method_id": str(mo)}]),
        group_wait_seconds=30.0,
    )  # fmt: skip
    await opened(world, vendor)
    await world.run("update public.apm_notification_rules set is_active = false")
    await deleted(world, gone, 10)
    assert await tick(world, 30) == 0


async def test_a_business_that_goes_takes_its_groups_along(world: EngineWorld) -> None:
    vendor = await world.organization()
    mo = await world.contact(vendor, "Mo")
    for name in ("Gone", "There"):
        await rule(
            world, vendor, name, recipients=Jsonb([{"contact_method_id": str(mo)}]), continues=True
        )
    await opened(world, vendor)
    [row] = await world.run("select id from public.apm_notification_rules where name = 'Gone'")
    await deleted(world, row["id"], 1)
    await world.run("delete from public.organizations where id = %(id)s", id=vendor)
    assert await world.run("select 1 from public.apm_notification_groups") == []
