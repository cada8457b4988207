"""Who is watched: the engine honours the switch, operators turn it, first steps are measured."""

from collections.abc import AsyncIterator
from datetime import timedelta
from uuid import UUID, uuid4

import pytest

from tests.support.engine import AT, MINUTE, SECOND, EngineWorld, open_engine_world
from tests.support.outbox import AT as OUTBOX_AT
from tests.support.outbox import World as Outbox
from tests.support.outbox import outbox_of, world_of
from tests.support.postgres import Database
from tests.support.worst_mail import worst_mail
from wedsync_apm.auditor import store as auditor
from wedsync_apm.checks import store as checks
from wedsync_apm.heartbeats import store as heartbeats
from wedsync_apm.organizations.monitoring import store
from wedsync_apm.organizations.monitoring.model import (
    Monitoring,
    Outcome,
    StepName,
    Wanted,
    place_of,
)
from wedsync_apm.types import Channel


@pytest.fixture
async def world(database: Database) -> AsyncIterator[EngineWorld]:
    async with open_engine_world(database) as opened:
        yield opened


async def switch(
    world: EngineWorld,
    vendor: UUID,
    to: str,
    group: str | None = None,
    *,
    near_ok: bool = False,
) -> str:
    rows = await world.run(
        "select outcome from apm_private.switch_monitoring(array[%(o)s::uuid], %(to)s, %(group)s, "
        "'the beta begins', %(near_ok)s, %(at)s)",
        o=vendor,
        to=to,
        group=group,
        near_ok=near_ok,
        at=AT,
    )
    return str(rows[0]["outcome"])


async def test_off_is_judged_by_nobody_and_on_begins_anew(world: EngineWorld) -> None:
    vendor, other = await world.organization(), await world.organization("Other")
    for one in (vendor, other):
        await world.rule(one)
    assert await switch(world, vendor, "off") == Outcome.SWITCHED
    for one in (vendor, other):
        await world.samples(one, [(AT, 9000)])
    await world.evaluate(AT)
    assert await world.incidents(vendor) == []
    assert await world.states(vendor) == []
    assert len(await world.incidents(other)) == 1
    assert await switch(world, vendor, "beta") == Outcome.SWITCHED
    await world.samples(vendor, [(AT + SECOND, 9000)])
    await world.evaluate(AT + SECOND)
    assert len(await world.incidents(vendor)) == 1


async def test_samples_of_an_unwatched_organization_are_kept(world: EngineWorld) -> None:
    vendor = await world.organization()
    await switch(world, vendor, "off")
    await world.samples(vendor, [(AT, 9000)])
    rows = await world.run("select * from apm_samples where organization_id = %(o)s", o=vendor)
    assert [row["metric_value"] for row in rows] == [9000]


async def test_off_calls_nobody_and_what_opened_meanwhile_is_closed_by_the_switch(
    world: EngineWorld,
) -> None:
    vendor = await world.organization()
    priya = await world.contact(vendor, "Priya")
    await world.ladder(vendor, (timedelta(), "none", [priya]))
    await switch(world, vendor, "off")
    await world.run(
        "select apm_private.open_incident(%(o)s, 'hand:1', 'By hand', 'critical', '{}', '{}', "
        "%(at)s)",
        o=vendor,
        at=AT,
    )
    for minutes in (0, 10, 30):
        await world.escalate(AT + minutes * MINUTE)
    assert await world.deliveries(vendor) == []
    async with world.engine.connection() as cx:
        assert await auditor.look(cx, AT + timedelta(hours=1)) == []
    assert await switch(world, vendor, "on") == Outcome.SWITCHED
    (incident,) = await world.incidents(vendor)
    assert incident["status"] == "closed"
    await world.escalate(AT + 40 * MINUTE)
    assert await world.deliveries(vendor) == []


async def test_checks_and_heartbeats_rest_and_are_due_again_with_the_switch(
    world: EngineWorld,
) -> None:
    vendor = await world.organization()
    await world.run(
        "insert into service_health_checks (organization_id, service_name, display_name, "
        "endpoint_url, next_check_at) values (%(o)s, 'form', 'Form', 'https://example.com/', "
        "%(at)s)",
        o=vendor,
        at=AT,
    )
    await world.run(
        "insert into apm_heartbeats (organization_id, name, period, grace, state, alarm_at) "
        "values (%(o)s, 'Backup', '1 hour', '1 minute', 'up', %(at)s)",
        o=vendor,
        at=AT,
    )
    await switch(world, vendor, "off")
    async with world.engine.connection() as cx:
        assert await checks.claim_due_checks(cx, AT, 10, calls=True) == []
        assert await heartbeats.miss_heartbeats(cx, AT + MINUTE) == []
    (check,) = await world.run("select next_check_at from service_health_checks")
    assert check["next_check_at"] == AT + timedelta(hours=1)
    await switch(world, vendor, "on")
    async with world.engine.connection() as cx:
        assert len(await checks.claim_due_checks(cx, AT, 10, calls=True)) == 1
        assert len(await heartbeats.miss_heartbeats(cx, AT + MINUTE)) == 1


async def test_messages_of_off_stay_where_they_are_but_those_of_setting_up(
    database: Database,
) -> None:
    async with (
        world_of(database) as world,
        worst_mail() as mail,
        outbox_of(database, mail_port=mail.port) as outbox,
    ):
        vendor = await world.organization()
        priya = await world.contact(vendor, Channel.EMAIL)
        incident = await world.incident(vendor)
        await _force_off(world, vendor)
        page = await world.call(vendor, incident, priya, Channel.EMAIL)
        test = await world.call(vendor, None, priya, Channel.EMAIL, kind="test")
        await outbox.run_once(OUTBOX_AT)
        await outbox.drain()
        dropped = await world.delivery(page)
        assert (dropped["state"], dropped["stage"]) == ("suppressed", "watched")
        assert (await world.delivery(test))["state"] == "sent"
        assert len(mail.mails) == 1


async def test_off_is_refused_with_an_incident_or_a_wedding_near(world: EngineWorld) -> None:
    vendor, quiet, busy = [await world.organization(name) for name in "ABC"]
    await world.wedding(vendor)
    assert await switch(world, vendor, "off") == Outcome.WEDDING
    await world.run(
        "select apm_private.open_incident(%(o)s, 'hand:1', 'By hand', 'critical', '{}', '{}', "
        "%(at)s)",
        o=busy,
        at=AT,
    )
    assert await switch(world, busy, "off", near_ok=True) == Outcome.INCIDENT
    (platform,) = await world.run(
        "with made as (insert into apm_private.platform (organization_id) values (%(o)s) "
        "on conflict do nothing returning organization_id) select organization_id from made "
        "union all select organization_id from apm_private.platform limit 1",
        o=quiet,
    )
    assert await switch(world, platform["organization_id"], "off") == Outcome.PLATFORM
    assert await switch(world, uuid4(), "off") == Outcome.UNKNOWN
    assert await world.run("select * from apm_monitoring where state = 'off'") == []
    assert await switch(world, vendor, "off", near_ok=True) == Outcome.SWITCHED
    assert await switch(world, vendor, "off") == Outcome.SAME


async def test_a_switch_says_who_when_and_why_and_keeps_groups_by_name(
    world: EngineWorld,
) -> None:
    vendor = await world.organization()
    await switch(world, vendor, "beta", "Devon florists")
    assert await switch(world, vendor, "beta") == Outcome.SAME
    await switch(world, vendor, "on")
    (row,) = await world.run("select * from apm_monitoring")
    assert (row["state"], row["group_name"], row["reason"], row["changed_at"]) == (
        "on",
        "Devon florists",
        "the beta begins",
        AT,
    )
    assert row["changed_by_name"]
    log = await world.run(
        "select new_values ->> 'state' as state from apm_audit_log where organization_id = %(o)s "
        "and object_type = 'apm_monitoring' order by id",
        o=vendor,
    )
    assert [one["state"] for one in log] == ["beta", "on"]
    async with world.engine.connection() as cx:
        (group,) = await store.list_groups(cx)
        assert (group["name"], group["members"], group["on"]) == ("Devon florists", 1, 1)
        assert await store.list_group_members(cx, "Devon florists") == [vendor]


async def test_new_organizations_begin_as_the_default_says_and_old_ones_stay(
    world: EngineWorld,
) -> None:
    old = await world.organization()
    async with world.engine.connection() as cx:
        assert await store.find_default(cx) is Monitoring.ON
        kept = await store.set_default(cx, Monitoring.OFF, reason="a beta first")
    new = await world.organization("New")
    assert kept >= 1
    rows = await world.run(
        "select o.id, apm_private.is_watched(o.id) as is_watched from organizations as o"
    )
    watched = {row["id"]: row["is_watched"] for row in rows}
    assert (watched[old], watched[new]) == (True, False)


async def steps_of(
    world: EngineWorld, vendor: UUID, user: UUID | None = None
) -> dict[str, tuple[str, str]]:
    rows = await world.run(
        "select * from apm_private.first_steps(array[%(o)s::uuid], %(u)s, %(at)s)",
        o=vendor,
        u=user,
        at=AT,
    )
    return {row["step"]: (row["state"], row["code"]) for row in rows}


async def test_each_step_is_measured_from_what_is_there(world: EngineWorld) -> None:
    vendor, rosa, tom = await world.organization(), uuid4(), uuid4()
    todo: dict[str, tuple[str, str]] = {step.value: ("todo", "none") for step in StepName}
    assert await steps_of(world, vendor) == todo
    await world.wedding(vendor, AT.date() - timedelta(days=1))
    assert (await steps_of(world, vendor))["calendar"] == ("todo", "past")
    await world.wedding(vendor, AT.date())
    assert (await steps_of(world, vendor))["calendar"] == ("done", "there")
    await world.rule(vendor)
    assert (await steps_of(world, vendor))["rules"] == ("todo", "no_board")
    await world.run(
        "insert into apm_dashboards (organization_id, name) values (%(o)s, 'Board')", o=vendor
    )
    assert (await steps_of(world, vendor))["rules"] == ("done", "there")
    contacts = {}
    for channel in ("sms", "push"):
        rows = await world.run(
            "insert into apm_contact_methods (organization_id, user_id, name, channel, address, "
            "secret_ciphertext) values (%(o)s, %(u)s, 'Rosa', %(c)s, '+447700900123', 'x') "
            "returning id",
            o=vendor,
            u=rosa,
            c=channel,
        )
        contacts[channel] = rows[0]["id"]
    seen = await steps_of(world, vendor, rosa)
    assert (seen["phone"], seen["install"]) == (("todo", "unverified"), ("unknown", "unproved"))
    await world.run("update apm_contact_methods set verified_at = now()")
    seen = await steps_of(world, vendor, rosa)
    assert (seen["phone"], seen["install"]) == (("done", "there"), ("done", "there"))
    # another person has his own
    seen = await steps_of(world, vendor, tom)
    assert (seen["phone"], seen["install"]) == (("todo", "none"), ("todo", "none"))
    for state, expected in (
        ("pending", ("todo", "pending")),
        ("sent", ("unknown", "sent")),
        ("inbox", ("unknown", "inbox")),
        ("failed", ("todo", "failed")),
        ("delivered", ("done", "delivered")),
        ("failed", ("done", "delivered")),
    ):
        await world.run(
            "insert into apm_deliveries (organization_id, contact_method_id, channel, kind, "
            "reason, idempotency_key, state, created_at, delivered_at) values (%(o)s, %(c)s, "
            "'sms', 'test', 'test', gen_random_uuid()::text, %(s)s, clock_timestamp(), "
            "case when %(s)s = 'delivered' then clock_timestamp() end)",
            o=vendor,
            c=contacts["sms"],
            s=state,
        )
        assert (await steps_of(world, vendor, rosa))["test"] == expected
    assert (await steps_of(world, vendor, tom))["test"] == ("todo", "none")
    # of somebody else's weddings, rules and phones nothing counts
    assert await steps_of(world, await world.organization("Other")) == todo


async def test_the_operators_list_has_the_worst_first_and_goes_on_where_it_ended(
    world: EngineWorld,
) -> None:
    today = (await world.run("select current_date as today"))[0]["today"]
    late, soon = await world.organization("Late"), await world.organization("Soon")
    await world.organization("None")
    await world.wedding(soon, today + timedelta(days=3))
    await world.wedding(late, today + timedelta(days=40))
    await switch(world, late, "off")
    async with world.engine.connection() as cx:
        listing = await store.list_set_up(cx, Wanted(), limit=50)
        assert listing.following is None
        names = [one.name for one in listing.businesses]
        assert names[0] == "Soon"
        assert names[1] == "Late"
        counts = listing.counts
        assert (counts.off, counts.near_not_set_up, counts.set_up) == (1, 1, 0)
        assert counts.all == len(names)
        first = await store.list_set_up(cx, Wanted(), limit=1)
        assert first.following == place_of(listing.businesses[0])
        second = await store.list_set_up(cx, Wanted(), limit=50, after=first.following)
        assert [one.name for one in second.businesses] == names[1:]
        assert second.counts == counts
        for wanted, expected in (
            (Wanted(state=Monitoring.OFF), ["Late"]),
            (Wanted(is_near=True), ["Soon"]),
            (Wanted(name="lat"), ["Late"]),
            (Wanted(name="%"), []),
        ):
            found = await store.list_set_up(cx, wanted, limit=50)
            assert [one.name for one in found.businesses] == expected
        assert (await store.list_set_up(cx, Wanted(name="nobody"), limit=5)).counts.all == 0


async def _force_off(world: Outbox, vendor: UUID) -> None:
    """Off although an incident lives there: a message that was written before the switch."""
    await world.run(
        "insert into apm_monitoring (organization_id, state, reason, changed_by_name) values "
        "(%(o)s, 'off', 'a test', 'a test')",
        o=vendor,
    )
