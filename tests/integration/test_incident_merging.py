"""Incidents that become one: the same trouble twice, and the vendors of one wedding at once."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from tests.support.checks import platform as make_platform
from tests.support.engine import AT, MINUTE, SATURDAY
from tests.support.office import Office, open_office
from tests.support.postgres import Database
from wedsync_apm.db.tenant import Actor, tenant_tx
from wedsync_apm.errors import Conflict, DatabaseAway, Forbidden, NotFound
from wedsync_apm.incidents import store as incidents
from wedsync_apm.incidents.clocks import store
from wedsync_apm.types import IncidentStatus, Severity


@pytest.fixture
async def office(database: Database) -> AsyncIterator[Office]:
    async with open_office(database) as opened:
        yield opened


async def by_hand(office: Office, title: str) -> UUID:
    async with tenant_tx(office.pool, office.member) as cx:
        made = await incidents.create_incident(
            cx, office.vendor, title=title, severity=Severity.CRITICAL, at=AT + MINUTE
        )
    return made.id


async def row_of(office: Office, incident_id: UUID) -> dict[str, Any]:
    (row,) = await office.world.run(
        "select * from public.apm_incidents where id = %(id)s", id=incident_id
    )
    return row


async def test_it_goes_on_as_another_one(office: Office) -> None:
    survivor = await by_hand(office, "The host is down")
    await office.world.run(
        "update public.apm_deliveries set state = 'sent', sent_at = now() "
        "where incident_id = %(id)s",
        id=office.incident,
    )
    before = await row_of(office, office.incident)
    async with tenant_tx(office.pool, office.member) as cx:
        merged = await incidents.merge(cx, office.incident, survivor, "the same host")
        assert (merged.status, merged.merged_into) == (IncidentStatus.CLOSED, survivor)
        assert merged.generation == before["generation"] + 1
        mine = await incidents.list_events(cx, merged)
        theirs = await incidents.list_events(cx, await incidents.find_incident(cx, survivor))
    assert (mine[-1].kind, mine[-1].actor) == ("merged", "Priya")
    assert "The host is down. the same host" in mine[-1].message
    assert theirs[-1].kind == "merged"
    assert theirs[-1].detail["from"] == str(office.incident)
    kept = await row_of(office, survivor)
    assert kept["repeat_count"] == before["repeat_count"] + 1
    (told,) = [
        one
        for one in await office.world.deliveries(office.vendor)
        if one["incident_id"] == office.incident and one["kind"] == "resolved"
    ]
    assert told["payload"]["merged_into"]["id"] == str(survivor)
    assert told["receiver"] == "Priya"


async def test_repeats_count_on_the_one_that_goes_on(office: Office) -> None:
    survivor = await by_hand(office, "The host is down")
    (rule,) = await office.world.run("select id from public.apm_alerts")
    async with tenant_tx(office.pool, office.member) as cx:
        await incidents.merge(cx, office.incident, survivor)
    counted = (await row_of(office, survivor))["repeat_count"]

    async def breach(at_minutes: int) -> UUID:
        (row,) = await office.world.run(
            "select public.create_incident_from_alert(%(id)s, 9000, %(at)s) as id",
            id=rule["id"],
            at=AT + at_minutes * MINUTE,
        )
        return UUID(str(row["id"]))

    assert await breach(2) == survivor
    assert await breach(3) == survivor
    kept = await row_of(office, survivor)
    assert kept["repeat_count"] == counted + 2
    assert kept["metric_value"] is None, "its figures are not the other one's"
    assert len(await office.world.incidents(office.vendor)) == 2
    (held,) = await office.world.run(
        "select apm_private.is_dealt_with(%(o)s, %(key)s) as yes",
        o=office.vendor,
        key=f"alert:1:{rule['id']}",
    )
    assert held["yes"], "the evaluator opens nothing beside it"
    async with tenant_tx(office.pool, office.member) as cx:
        await incidents.close(cx, survivor)
    assert await breach(4) not in (survivor, office.incident)


async def test_the_end_reaches_whoever_heard_that_it_goes_on(office: Office) -> None:
    survivor = await by_hand(office, "The host is down")
    await office.world.run("update public.apm_deliveries set state = 'sent', sent_at = now()")
    async with tenant_tx(office.pool, office.member) as cx:
        await incidents.merge(cx, office.incident, survivor)
    await office.world.run(
        "update public.apm_deliveries set state = 'sent' where kind = 'resolved'"
    )
    async with tenant_tx(office.pool, office.member) as cx:
        await incidents.resolve(cx, survivor)
    ends = [
        one
        for one in await office.world.deliveries(office.vendor)
        if one["incident_id"] == survivor and one["kind"] == "resolved"
    ]
    assert [(one["receiver"], one["payload"]["is_of_merged"]) for one in ends] == [("Priya", True)]


async def test_what_cannot_be_merged_is_refused(office: Office) -> None:
    survivor = await by_hand(office, "The host is down")
    for source, into, error in (
        (office.incident, office.incident, Conflict),
        (office.incident, uuid4(), NotFound),
        (uuid4(), survivor, NotFound),
    ):
        with pytest.raises(error):
            async with tenant_tx(office.pool, office.member) as cx:
                await incidents.merge(cx, source, into)
    with pytest.raises(Forbidden):
        async with tenant_tx(office.pool, office.viewer) as cx:
            await incidents.merge(cx, office.incident, survivor)
    with pytest.raises(NotFound):
        async with tenant_tx(office.pool, office.stranger) as cx:
            await incidents.merge(cx, office.incident, survivor)
    async with tenant_tx(office.pool, office.stranger) as cx:
        other = await incidents.create_incident(
            cx, office.other, title="Theirs", severity=Severity.INFO, at=AT
        )
    with pytest.raises(NotFound):
        async with tenant_tx(office.pool, office.member) as cx:
            await incidents.merge(cx, office.incident, other.id)
    async with tenant_tx(office.pool, office.member) as cx:
        await incidents.resolve(cx, survivor)
    with pytest.raises(Conflict):
        async with tenant_tx(office.pool, office.member) as cx:
            await incidents.merge(cx, office.incident, survivor)
    async with tenant_tx(office.pool, office.member) as cx:
        await incidents.close(cx, office.incident)
    with pytest.raises(Conflict):
        async with tenant_tx(office.pool, office.member) as cx:
            await incidents.merge(cx, office.incident, await by_hand(office, "Another"))


async def test_a_stranger_is_refused_without_waiting_for_anybody(office: Office) -> None:
    """Whether somebody else works on it is nobody's business, and shows in no time that passes."""
    survivor = await by_hand(office, "The host is down")
    async with tenant_tx(office.pool, office.stranger) as cx:
        theirs = await incidents.create_incident(
            cx, office.other, title="Theirs", severity=Severity.INFO, at=AT
        )
    async with office.world.owner.connection() as holding, holding.transaction():
        await holding.execute("select from public.apm_incidents for update")
        pairs = ((office.incident, survivor), (theirs.id, survivor), (uuid4(), survivor))
        for actor, asked, error in (
            (office.stranger, pairs, NotFound),
            (office.viewer, pairs[:1], Forbidden),
        ):
            for source, into in asked:
                with pytest.raises(error):
                    async with tenant_tx(office.pool, actor) as cx:
                        await cx.execute("set local lock_timeout = '1ms'")
                        await incidents.merge(cx, source, into)
        with pytest.raises(NotFound):
            async with tenant_tx(office.pool, office.stranger) as cx:
                await cx.execute("set local lock_timeout = '1ms'")
                await incidents.tell_update(cx, office.incident, "Hello", at=AT)
        with pytest.raises(DatabaseAway, match="busy"):
            async with tenant_tx(office.pool, office.member) as cx:
                await cx.execute("set local lock_timeout = '1ms'")
                await incidents.merge(cx, office.incident, survivor)


@pytest.fixture
async def platform(office: Office) -> UUID:
    return await make_platform(office.world)


async def share_wedding(office: Office) -> None:
    """One wedding of both vendors, today."""
    for organization_id in (office.vendor, office.other):
        await office.world.wedding(organization_id)
    await office.world.run(
        "update public.apm_weddings set shared_key = 'aaaaaaaa-0000-4000-8000-000000000001' "
        "where wedding_date = %(day)s",
        day=SATURDAY,
    )


async def breach_at(office: Office, organization_id: UUID, minutes: int) -> UUID:
    (row,) = await office.world.run(
        "select apm_private.open_incident(%(o)s, %(key)s, 'Order form is slow', 'critical', '{}', "
        "'{}', %(at)s) as id",
        o=organization_id,
        key=f"check:1:{uuid4()}",
        at=AT + minutes * MINUTE,
    )
    return UUID(str(row["id"]))


async def join(office: Office, minutes: int, vendors: int = 2) -> int:
    async with office.world.engine.connection() as cx, cx.transaction():
        return await store.join_weddings(
            cx, AT + minutes * MINUTE, vendors=vendors, within=timedelta(minutes=15)
        )


async def test_vendors_of_one_wedding_in_trouble_are_one_incident_of_the_platform(
    office: Office, platform: UUID
) -> None:
    await share_wedding(office)
    mine = await breach_at(office, office.vendor, 0)
    assert await join(office, 1) == 0, "one vendor alone is his own business"
    theirs = await breach_at(office, office.other, 10)
    assert await join(office, 11, vendors=3) == 0, "how many there must be is a setting"
    assert await join(office, 11) == 2
    assert await join(office, 12) == 0
    (whole,) = await office.world.incidents(platform)
    assert whole["title"] == "2 vendors of one wedding are in trouble at once"
    assert (whole["severity"], whole["priority"]) == ("critical", "critical")
    assert "aaaaaaaa" not in str(whole), "the key of the wedding says nothing"
    assert "A & R" not in str(whole)
    # each sees its own part, and nothing of the whole but a name
    for person, own, foreign in (
        (office.member, mine, theirs),
        (office.stranger, theirs, mine),
    ):
        async with tenant_tx(office.pool, person) as cx:
            (part,) = await incidents.list_parts(cx, await incidents.find_incident(cx, own))
            assert (part.incident_id, part.whole_id) == (own, whole["id"])
            for hidden in (foreign, whole["id"]):
                with pytest.raises(NotFound):
                    await incidents.find_incident(cx, hidden)
            rows = await cx.execute("select * from public.apm_incident_parts")
            assert {row["incident_id"] for row in await rows.fetchall()} == {own}
    # the platform's people see all of it
    operator = uuid4()
    await office.world.run(
        "insert into public.apm_operators (user_id, email, role) "
        "values (%(id)s, 'o@example.org', 'oncall')",
        id=operator,
    )
    async with tenant_tx(office.pool, Actor("authenticated", operator, "user", "Ola")) as cx:
        found = await incidents.find_incident(cx, whole["id"])
        parts = await incidents.list_parts(cx, found)
    assert {part.incident_id for part in parts} == {mine, theirs}
    # whoever leaves sees his part no longer
    await office.world.run(
        "delete from public.apm_memberships where user_id = %(id)s", id=office.member.subject
    )
    async with tenant_tx(office.pool, office.member) as cx:
        rows = await cx.execute("select * from public.apm_incident_parts")
        assert await rows.fetchall() == []


async def test_one_weddings_trouble_ends_with_its_last_part(office: Office, platform: UUID) -> None:
    await share_wedding(office)
    mine = await breach_at(office, office.vendor, 0)
    theirs = await breach_at(office, office.other, 1)
    await join(office, 2)
    (whole,) = await office.world.incidents(platform)
    async with tenant_tx(office.pool, office.member) as cx:
        await incidents.resolve(cx, mine)
    await join(office, 3)
    assert (await row_of(office, whole["id"]))["status"] == "open"
    async with tenant_tx(office.pool, office.stranger) as cx:
        await incidents.resolve(cx, theirs)
    await join(office, 4)
    assert (await row_of(office, whole["id"]))["status"] == "resolved"


async def test_troubles_far_apart_or_of_two_weddings_are_not_one(
    office: Office, platform: UUID
) -> None:
    await share_wedding(office)
    await breach_at(office, office.vendor, 0)
    await breach_at(office, office.other, 16)
    assert await join(office, 17) == 0
    await office.world.run(
        "update public.apm_weddings set shared_key = null where organization_id = %(o)s",
        o=office.other,
    )
    await breach_at(office, office.vendor, 17)
    assert await join(office, 18) == 0
    assert await office.world.incidents(platform) == []
