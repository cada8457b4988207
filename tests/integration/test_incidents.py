"""Incidents and rules as people work on them: member, viewer, and somebody from next door."""

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from tests.support.engine import AT, MINUTE, SECOND
from tests.support.office import Office, open_office
from tests.support.postgres import Database
from wedsync_apm.db.tenant import tenant_tx
from wedsync_apm.errors import Conflict, Forbidden, NotFound, NotValid
from wedsync_apm.incidents import store as incidents
from wedsync_apm.incidents.model import FOLLOWING, Action
from wedsync_apm.rules import store as rules
from wedsync_apm.rules.model import Operator, RuleDraft
from wedsync_apm.types import EscalationLevel, IncidentStatus, Priority, Severity


@pytest.fixture
async def office(database: Database) -> AsyncIterator[Office]:
    async with open_office(database) as opened:
        yield opened


async def test_a_member_takes_it_in_hand_and_ends_it(office: Office) -> None:
    async with tenant_tx(office.pool, office.member) as cx:
        assert (await incidents.list_live_incidents(cx))[0].id == office.incident
        step = await incidents.find_next_step(
            cx, await incidents.find_incident(cx, office.incident)
        )
        assert step is None, "the only rung has been climbed"
        taken = await incidents.acknowledge(cx, office.incident, "on my way")
        assert taken.status is IncidentStatus.ACKNOWLEDGED
        assert (taken.acknowledged_by, taken.acknowledged_by_name) == (
            office.member.subject,
            "Priya",
        )
        await incidents.mark_seen(cx, office.incident)
        await incidents.add_note(cx, office.incident, "the host is slow")
        await incidents.promise_update(cx, office.incident, AT + 15 * MINUTE, at=AT)
        await incidents.investigate(cx, office.incident)
        ended = await incidents.resolve(cx, office.incident, "restarted it")
        assert ended.next_update_at is None, "a promise ends with the trouble"
    async with tenant_tx(office.pool, office.viewer) as cx:
        events = await incidents.list_events(cx, ended)
    assert [(event.kind, event.actor, event.message) for event in events[2:]] == [
        ("acknowledged", "Priya", "on my way"),
        ("seen", "Priya", ""),
        ("note", "Priya", "the host is slow"),
        ("investigating", "Priya", ""),
        ("resolved", "Priya", "restarted it"),
    ]
    assert [event.kind for event in events[:2]] == ["opened", "escalated"]


async def test_acknowledging_twice_is_no_error_and_keeps_the_first(office: Office) -> None:
    async with tenant_tx(office.pool, office.member) as cx:
        await incidents.acknowledge(cx, office.incident)
    async with tenant_tx(office.pool, office.owner) as cx:
        again = await incidents.acknowledge(cx, office.incident)
    assert again.acknowledged_by_name == "Priya"


async def test_a_viewer_looks_and_changes_nothing(office: Office) -> None:
    async with tenant_tx(office.pool, office.viewer) as cx:
        assert (await incidents.find_incident(cx, office.incident)).is_live
    with pytest.raises(Forbidden):
        async with tenant_tx(office.pool, office.viewer) as cx:
            await incidents.mark_seen(cx, office.incident)
    for action in (Action.ACKNOWLEDGE, Action.RESOLVE, Action.CLOSE):
        with pytest.raises(Forbidden):
            async with tenant_tx(office.pool, office.viewer) as cx:
                await incidents.act(cx, office.incident, action)
    with pytest.raises(Forbidden):
        async with tenant_tx(office.pool, office.viewer) as cx:
            await incidents.promise_update(cx, office.incident, AT + MINUTE, at=AT)


async def test_for_a_stranger_there_is_nothing(office: Office) -> None:
    async with tenant_tx(office.pool, office.stranger) as cx:
        assert (await incidents.list_incidents(cx)).incidents == ()
        assert await rules.list_rules(cx) == []
    for action in (Action.ACKNOWLEDGE, Action.RESOLVE):
        with pytest.raises(NotFound):
            async with tenant_tx(office.pool, office.stranger) as cx:
                await incidents.act(cx, office.incident, action)
    with pytest.raises(NotFound):
        async with tenant_tx(office.pool, office.stranger) as cx:
            await incidents.add_note(cx, office.incident, "hello")
    with pytest.raises(Forbidden):
        async with tenant_tx(office.pool, office.stranger) as cx:
            await incidents.create_incident(
                cx, office.vendor, title="x", severity=Severity.INFO, at=AT
            )
    assert len(await office.world.incidents(office.vendor)) == 1


async def test_what_is_offered_is_what_the_database_allows(office: Office) -> None:
    rows = await office.world.run("select * from apm_private.incident_transitions")
    allowed: dict[IncidentStatus, set[IncidentStatus]] = {status: set() for status in FOLLOWING}
    for row in rows:
        allowed[IncidentStatus(row["from_status"])].add(IncidentStatus(row["to_status"]))
    assert {status: set(following) for status, following in FOLLOWING.items()} == allowed


async def test_a_step_that_is_not_legal_is_a_conflict(office: Office) -> None:
    async with tenant_tx(office.pool, office.member) as cx:
        await incidents.close(cx, office.incident)
    for action in (Action.ACKNOWLEDGE, Action.RESOLVE, Action.REOPEN):
        with pytest.raises(Conflict, match="closed"):
            async with tenant_tx(office.pool, office.member) as cx:
                await incidents.act(cx, office.incident, action)


async def test_an_incident_by_hand_calls_too(office: Office) -> None:
    await office.world.wedding(office.vendor)
    async with tenant_tx(office.pool, office.member) as cx:
        made = await incidents.create_incident(
            cx, office.vendor, title="The till is dead", severity=Severity.CRITICAL, at=AT
        )
        with pytest.raises(NotValid):
            await incidents.create_incident(
                cx, office.vendor, title=" ", severity=Severity.INFO, at=AT
            )
    assert (made.priority, made.created_by) == (Priority.CRITICAL, office.member.subject)
    # Its ladder starts by the database's clock, not by the time that was given for the trouble.
    (run,) = await office.world.run(
        "select next_at from public.apm_escalation_runs where incident_id = %(id)s", id=made.id
    )
    await office.world.escalate(run["next_at"])
    told = [
        one for one in await office.world.deliveries(office.vendor) if one["incident_id"] == made.id
    ]
    assert [one["receiver"] for one in told] == ["Priya"]


async def test_the_list_goes_on_page_by_page(office: Office) -> None:
    async with tenant_tx(office.pool, office.member) as cx:
        for n in range(5):
            # Two at the same instant must not fall between two pages.
            await incidents.create_incident(
                cx,
                office.vendor,
                title=f"Nr {n}",
                severity=Severity.INFO,
                at=AT - (n // 2) * MINUTE,
            )
        seen, before = [], None
        for _ in range(10):
            page = await incidents.list_incidents(cx, before=before, limit=2)
            seen += [one.id for one in page.incidents]
            before = page.next_before
            if before is None:
                break
        everything = (await incidents.list_incidents(cx)).incidents
        assert seen == [one.id for one in everything]
        assert len(set(seen)) == 6
        open_ones = await incidents.list_incidents(
            cx, statuses=[IncidentStatus.OPEN], severity_min=Severity.WARNING
        )
        assert [one.id for one in open_ones.incidents] == [office.incident]


async def test_the_next_step_is_known_while_the_ladder_is_climbed(office: Office) -> None:
    world = office.world
    sam = await world.contact(office.other, "Sam")
    await world.ladder(office.other, (timedelta(), "none", [sam]), (5 * MINUTE, "team_lead", [sam]))
    await world.rule(office.other)
    await world.samples(office.other, [(AT, 9000)])
    await world.evaluate(AT + SECOND)
    await world.escalate(AT + SECOND)
    (incident,) = await world.incidents(office.other)
    async with tenant_tx(office.pool, office.stranger) as cx:
        step = await incidents.find_next_step(cx, await incidents.find_incident(cx, incident["id"]))
    assert step is not None
    assert (step.position, step.level, step.at) == (
        2,
        EscalationLevel.TEAM_LEAD,
        AT + SECOND + 5 * MINUTE,
    )
    assert step.contact_method_ids == (sam,)


DRAFT = RuleDraft("Slow", "forms.*", Operator.ABOVE, 100.0)


async def test_an_owner_keeps_rules_and_a_member_does_not(office: Office) -> None:
    async with tenant_tx(office.pool, office.owner) as cx:
        made = await rules.create_rule(cx, office.vendor, DRAFT)
        assert made.created_by == office.owner.subject
        changed = await rules.update_rule(
            cx, made.id, RuleDraft("Slower", "forms.*", Operator.ABOVE, 200.0)
        )
        assert (changed.alert_name, changed.threshold_value) == ("Slower", 200)
        assert len(await rules.list_rules(cx, office.vendor)) == 2
    with pytest.raises(Conflict):
        async with tenant_tx(office.pool, office.owner) as cx:
            await rules.create_rule(
                cx, office.vendor, RuleDraft("Slower", "a.b", Operator.BELOW, 1.0)
            )
    with pytest.raises(NotValid) as refused:
        async with tenant_tx(office.pool, office.owner) as cx:
            await rules.create_rule(
                cx,
                office.vendor,
                RuleDraft(" ", "forms", Operator.ABOVE, float("nan"), for_duration=-SECOND),
            )
    assert [fault.field for fault in refused.value.errors] == [
        "alert_name",
        "metric_pattern",
        "threshold_value",
        "for_duration",
    ]
    for actor, expected in ((office.member, Forbidden), (office.stranger, NotFound)):
        with pytest.raises(expected):
            async with tenant_tx(office.pool, actor) as cx:
                await rules.update_rule(cx, made.id, DRAFT)
        with pytest.raises(expected):
            async with tenant_tx(office.pool, actor) as cx:
                await rules.delete_rule(cx, made.id)
        with pytest.raises(Forbidden):
            async with tenant_tx(office.pool, actor) as cx:
                await rules.create_rule(
                    cx, office.vendor, RuleDraft("Mine", "a.b", Operator.BELOW, 1.0)
                )
    async with tenant_tx(office.pool, office.owner) as cx:
        await rules.delete_rule(cx, made.id)
        with pytest.raises(NotFound):
            await rules.find_rule(cx, made.id)
