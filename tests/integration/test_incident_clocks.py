"""Holds that run out, promises that are missed, and what an incident hits while it is open."""

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from psycopg.types.json import Jsonb

from tests.support.engine import AT, MINUTE, SATURDAY, SECOND
from tests.support.office import Office, open_office
from tests.support.postgres import Database
from wedsync_apm.db.pool import Connection
from wedsync_apm.db.tenant import tenant_tx
from wedsync_apm.engine import clocks
from wedsync_apm.errors import Conflict, Forbidden, NotValid
from wedsync_apm.incidents import store as incidents
from wedsync_apm.incidents.clocks import store
from wedsync_apm.incidents.clocks.store import Terms
from wedsync_apm.incidents.reviews.model import figures
from wedsync_apm.incidents.reviews.store import list_spells
from wedsync_apm.types import IncidentStatus


@pytest.fixture
async def office(database: Database) -> AsyncIterator[Office]:
    async with open_office(database) as opened:
        yield opened


async def at_time(cx: Connection, at: datetime) -> None:
    """What people do in this transaction happens at `at`."""
    await cx.execute("select set_config('apm.at', %s, true)", (at.isoformat(),))


async def tick(office: Office, at: datetime) -> str:
    async with office.world.engine.connection() as cx, cx.transaction():
        return await clocks.run_once(cx, at)


async def keep_current(office: Office, at: datetime) -> int:
    async with office.world.engine.connection() as cx, cx.transaction():
        return await store.keep_current(cx, at)


async def incident_of(office: Office) -> dict[str, Any]:
    (found,) = await office.world.incidents(office.vendor)
    return found


async def kinds(office: Office) -> list[str]:
    return [event["kind"] for event in await office.world.events(office.vendor)]


async def take(office: Office, at: datetime) -> None:
    async with tenant_tx(office.pool, office.member) as cx:
        await at_time(cx, at)
        await incidents.acknowledge(cx, office.incident)


async def test_a_hold_at_a_wedding_runs_out_without_a_word(office: Office) -> None:
    await office.world.wedding(office.vendor)
    await take(office, AT)
    taken = await incident_of(office)
    assert taken["ack_expires_at"] == AT + 10 * MINUTE
    assert await tick(office, AT + 7 * MINUTE) == ""
    assert await tick(office, AT + 8 * MINUTE) == "0 expired, 1 warned, 0 late"
    assert await tick(office, AT + 9 * MINUTE) == "", "he is asked once"
    assert await tick(office, AT + 10 * MINUTE) == "1 expired, 0 warned, 0 late"
    after = await incident_of(office)
    assert (after["status"], after["acknowledged_by"], after["ack_expires_at"]) == (
        "open",
        None,
        None,
    )
    assert after["generation"] == taken["generation"] + 1
    assert (await kinds(office))[-2:] == ["warned", "expired"]
    runs = await office.world.run(
        "select state from public.apm_escalation_runs where incident_id = %(id)s "
        "order by generation",
        id=office.incident,
    )
    assert runs[-1]["state"] == "running", "the ladder starts anew"
    assert await tick(office, AT + 10 * MINUTE) == ""


async def test_a_warning_goes_to_whoever_has_it_and_to_nobody_else(office: Office) -> None:
    await office.world.wedding(office.vendor)
    mine = await office.world.contact(office.vendor, "Mobile")
    await office.world.run(
        "update public.apm_contact_methods set user_id = %(user)s where id = %(id)s",
        user=office.member.subject,
        id=mine,
    )
    await take(office, AT)
    await tick(office, AT + 8 * MINUTE)
    warned = [
        one
        for one in await office.world.deliveries(office.vendor)
        if one["payload"].get("word") == "hold_ends"
    ]
    assert [one["contact_method_id"] for one in warned] == [mine]
    assert warned[0]["kind"] == "update"


@pytest.mark.parametrize("word", ["note", "update", "promise"])
async def test_a_word_renews_the_hold(office: Office, word: str) -> None:
    await office.world.wedding(office.vendor)
    await take(office, AT)
    await tick(office, AT + 8 * MINUTE)
    async with tenant_tx(office.pool, office.member) as cx:
        now = AT + 9 * MINUTE
        await at_time(cx, now)
        if word == "note":
            await incidents.add_note(cx, office.incident, "the host is slow")
        elif word == "update":
            await incidents.tell_update(cx, office.incident, "We have found it.", at=now)
        else:
            await incidents.promise_update(cx, office.incident, now + 5 * MINUTE, at=now)
    held = await incident_of(office)
    assert (held["ack_expires_at"], held["ack_warned_at"]) == (AT + 19 * MINUTE, None)
    assert "expired" not in await tick(office, AT + 10 * MINUTE)
    assert (await incident_of(office))["status"] == "acknowledged"


async def test_a_note_of_somebody_else_renews_nothing(office: Office) -> None:
    await office.world.wedding(office.vendor)
    await take(office, AT)
    async with tenant_tx(office.pool, office.owner) as cx:
        await at_time(cx, AT + 5 * MINUTE)
        await incidents.add_note(cx, office.incident, "Is anybody on this?")
    assert (await incident_of(office))["ack_expires_at"] == AT + 10 * MINUTE


async def test_outside_weddings_a_hold_lasts_longer_until_a_wedding_begins(
    office: Office,
) -> None:
    await take(office, AT)
    assert (await incident_of(office))["ack_expires_at"] == AT + 4 * 60 * MINUTE
    await office.world.wedding(office.vendor)
    assert await keep_current(office, AT + MINUTE) == 1
    assert (await incident_of(office))["ack_expires_at"] == AT + 11 * MINUTE
    assert await keep_current(office, AT + 2 * MINUTE) == 0, "and that stands"


async def test_the_terms_are_settings(office: Office) -> None:
    async with office.world.engine.connection() as cx, cx.transaction():
        await store.write_terms(cx, Terms(3 * MINUTE, None, None, None))
    await take(office, AT)
    assert (await incident_of(office))["ack_expires_at"] is None
    assert await tick(office, AT + timedelta(days=30)) != "1 expired, 0 warned, 0 late"
    async with tenant_tx(office.pool, office.member) as cx:
        await at_time(cx, AT)
        await incidents.resolve(cx, office.incident)
        await incidents.reopen(cx, office.incident)
    await office.world.wedding(office.vendor)
    await take(office, AT)
    assert (await incident_of(office))["ack_expires_at"] == AT + 3 * MINUTE


async def test_a_missed_promise_asks_the_holder_and_then_the_ladder(office: Office) -> None:
    await office.world.wedding(office.vendor)
    await take(office, AT)
    async with tenant_tx(office.pool, office.member) as cx:
        await at_time(cx, AT)
        await incidents.promise_update(cx, office.incident, AT + 4 * MINUTE, at=AT)
    assert await tick(office, AT + 4 * MINUTE) == "0 expired, 0 warned, 1 late"
    assert await tick(office, AT + 5 * MINUTE) == "", "it is missed once"
    told = [one["payload"].get("word") for one in await office.world.deliveries(office.vendor)]
    assert told.count("promise_missed") == 1
    assert await tick(office, AT + 6 * MINUTE) == "1 expired, 0 warned, 0 late"
    after = await incident_of(office)
    assert after["status"] == "open"
    assert after["next_update_at"] > AT + 6 * MINUTE, "whoever comes next has time for a word"
    assert (await kinds(office))[-2:] == ["late", "expired"]


async def test_where_nobody_has_it_a_missed_promise_hurries_the_ladder(office: Office) -> None:
    due = (await incident_of(office))["next_update_at"]
    assert due == AT + 60 * MINUTE
    await office.world.run(
        "update public.apm_escalation_runs set next_at = %(later)s, state = 'running', "
        "stop_reason = null where incident_id = %(id)s",
        later=due + 5 * MINUTE,
        id=office.incident,
    )
    assert await tick(office, due) == "0 expired, 0 warned, 1 late"
    (run,) = await office.world.run(
        "select next_at from public.apm_escalation_runs where incident_id = %(id)s",
        id=office.incident,
    )
    assert run["next_at"] == due


async def test_an_update_goes_to_everyone_who_was_told(office: Office) -> None:
    await office.world.run("update public.apm_deliveries set state = 'sent', sent_at = now()")
    async with tenant_tx(office.pool, office.member) as cx:
        await at_time(cx, AT + MINUTE)
        told = await incidents.tell_update(cx, office.incident, "The host is slow.", at=AT + MINUTE)
        assert told.next_update_at == AT + 61 * MINUTE, "the next word is promised by itself"
    sent = [one for one in await office.world.deliveries(office.vendor) if one["kind"] == "update"]
    assert [(one["receiver"], one["payload"]["message"]) for one in sent] == [
        ("Priya", "The host is slow.")
    ]
    with pytest.raises(Forbidden):
        async with tenant_tx(office.pool, office.viewer) as cx:
            await incidents.tell_update(cx, office.incident, "Hello", at=AT)
    for bad in (AT, AT + timedelta(hours=25)):
        with pytest.raises(NotValid):
            async with tenant_tx(office.pool, office.member) as cx:
                await incidents.tell_update(cx, office.incident, "x", at=AT, next_update_at=bad)
    async with tenant_tx(office.pool, office.member) as cx:
        await incidents.resolve(cx, office.incident)
    with pytest.raises(Conflict):
        async with tenant_tx(office.pool, office.member) as cx:
            await incidents.tell_update(cx, office.incident, "Over", at=AT)


async def test_what_it_hits_is_kept_current_while_it_is_open(office: Office) -> None:
    before = await incident_of(office)
    assert (before["affected_weddings"], before["priority"]) == ([], "medium")
    for _ in range(3):
        await office.world.wedding(office.vendor)
    # 11:50 in London: set-up, the ceremonies are at 13:00
    early = AT - timedelta(hours=2, minutes=10)
    assert await keep_current(office, early) == 1
    async with tenant_tx(office.pool, office.member) as cx:
        hit = await incidents.find_incident(cx, office.incident)
    assert len(hit.affected_weddings) == 3
    first = hit.affected_weddings[0]
    assert (first.phase, first.next_phase) == ("set_up", "ceremony")
    assert first.ceremony_at == AT - timedelta(hours=1)
    assert hit.priority == "high"
    # half an hour before it begins nothing is more urgent
    assert await keep_current(office, AT - timedelta(hours=1, minutes=25)) == 1
    assert (await incident_of(office))["priority"] == "critical"
    assert await keep_current(office, AT - timedelta(hours=1, minutes=24)) == 0
    assert await keep_current(office, AT) == 1
    during = (await incident_of(office))["affected_weddings"][0]
    assert (during["phase"], during["ceremony_at"]) == ("ceremony", None)
    assert await keep_current(office, AT + timedelta(days=3)) == 1
    over = await incident_of(office)
    assert (over["affected_weddings"], over["priority"]) == ([], "critical")


async def test_the_list_is_by_priority_then_by_the_clock(office: Office) -> None:
    async def made(title: str, organization_id: UUID, severity: str, milestone: str | None) -> None:
        await office.world.run(
            "insert into public.apm_incidents (organization_id, title, severity, priority, "
            "dedup_key, detected_at, last_seen_at) values (%(organization_id)s, %(title)s, "
            "%(severity)s, 'low', %(title)s, %(at)s, %(at)s)",
            organization_id=organization_id,
            title=title,
            severity=severity,
            at=AT,
        )
        await office.world.run(
            "update public.apm_incidents set affected_weddings = coalesce(jsonb_build_array("
            "jsonb_build_object('next_milestone_at', %(milestone)s::timestamptz)), '[]') "
            "where title = %(title)s",
            milestone=milestone,
            title=title,
        )

    await made("later", office.vendor, "critical", f"{SATURDAY}T15:00Z")
    await made("sooner", office.vendor, "critical", f"{SATURDAY}T14:00Z")
    await made("worst", office.vendor, "emergency", None)
    await made("mild", office.vendor, "info", f"{SATURDAY}T13:01Z")
    async with tenant_tx(office.pool, office.member) as cx:
        found = await incidents.list_live_incidents(cx)
    titles = [one.title for one in found]
    assert titles == ["worst", "sooner", "later", "Order form is slow", "mild"]
    assert found[-1].status is IncidentStatus.OPEN


PRIORITIES = {
    ("info", None, None): "low",
    ("warning", None, None): "medium",
    ("critical", None, None): "high",
    ("emergency", None, None): "critical",
    ("info", "ceremony", 90): "low",
    ("warning", "ceremony", 90): "high",
    ("critical", "set_up", 90): "critical",
    ("emergency", "set_up", 90): "critical",
    ("info", "set_up", 30): "medium",
    ("warning", "set_up", 30): "critical",
    ("warning", "tear_down", None): "high",
    ("warning", None, 10): "medium",
}


async def test_priority_is_found_in_one_place(office: Office) -> None:
    for (severity, phase, minutes), expected in PRIORITIES.items():
        (row,) = await office.world.run(
            "select apm_private.incident_priority(%(severity)s::public.alert_severity, %(phase)s, "
            "%(left)s) as priority",
            severity=severity,
            phase=phase,
            left=None if minutes is None else minutes * MINUTE,
        )
        assert row["priority"] == expected, (severity, phase, minutes)


async def test_every_incident_says_what_is_broken_in_two_ways(office: Office) -> None:
    fired = await incident_of(office)
    assert "forms.submit_time" in fired["engineer_text"]
    assert "3000" in fired["engineer_text"]
    await office.world.run(
        "select apm_private.open_incident(%(id)s, 'check:1:x', 'Gallery does not answer', "
        '\'critical\', \'{"service": "gallery"}\', \'{"subject": "Your gallery", '
        '"problem": "does not answer"}\', %(at)s)',
        id=office.vendor,
        at=AT + SECOND,
    )
    async with tenant_tx(office.pool, office.member) as cx:
        found = {one.dedup_key: one for one in await incidents.list_live_incidents(cx)}
        watched = found["check:1:x"]
        assert watched.engineer_text == "Gallery does not answer: service gallery"
        assert watched.headline == "Your gallery does not answer"
        changed = await incidents.change_texts(
            cx,
            office.incident,
            engineer_text="p95 over the limit since the deploy",
            vendor_text={"subject": "Your order form", "problem": "is slow"},
        )
    assert (changed.engineer_text, changed.headline) == (
        "p95 over the limit since the deploy",
        "Your order form is slow",
    )
    with pytest.raises(Forbidden):
        async with tenant_tx(office.pool, office.viewer) as cx:
            await incidents.change_texts(cx, office.incident, engineer_text="x", vendor_text={})


async def test_a_weddings_emergency_contacts_are_called_in_its_hours(office: Office) -> None:
    world = office.world
    sam = await world.contact(office.other, "Sam")
    shooter = await world.contact(office.other, "Shooter")
    wedding = await world.wedding(office.other)
    await world.run(
        "insert into public.apm_wedding_emergency_contacts (organization_id, wedding_id, "
        "contact_method_id) values (%(o)s, %(wedding)s, %(contact)s)",
        o=office.other,
        wedding=wedding,
        contact=shooter,
    )

    async def called(at: datetime) -> set[UUID]:
        rows = await world.run(
            "select contact_method_id from apm_private.rung_receivers(%(o)s, "
            "jsonb_build_object('contact_method_ids', jsonb_build_array(%(id)s::uuid)), %(at)s)",
            o=office.other,
            id=sam,
            at=at,
        )
        return {row["contact_method_id"] for row in rows}

    assert await called(AT) == {sam, shooter}
    assert await called(AT + timedelta(days=3)) == {sam}


async def test_a_providers_configuration_names_emergency_contacts_too(office: Office) -> None:
    """In a wedding's hours, and at no other time, beside whoever the ladder names."""
    world = office.world
    sam = await world.contact(office.other, "Sam")
    stand_in, off = [await world.contact(office.other, name) for name in ("Stand-in", "Off")]
    foreign = await world.contact(office.vendor, "Foreign")
    await world.run(
        "update public.apm_contact_methods set disabled_at = now() where id = %(id)s", id=off
    )
    await world.wedding(office.other)
    # rows from before anybody asked what is named
    await world.run(
        "alter table public.apm_configurations disable trigger apm_configurations_emergency"
    )

    async def called(at: datetime, names: object, columns: dict[str, Any]) -> set[UUID]:
        await world.run("delete from public.apm_configurations")
        values = {
            "organization_id": office.other,
            "provider": "datadog",
            "name": "Datadog",
            "emergency_contact_override": Jsonb({"contact_method_ids": names}),
            **columns,
        }
        gaps = ", ".join(f"%({name})s" for name in values)
        await world.run(
            f"insert into public.apm_configurations ({', '.join(values)}) values ({gaps})",
            **values,
        )
        rows = await world.run(
            "select contact_method_id from apm_private.rung_receivers(%(o)s, "
            "jsonb_build_object('contact_method_ids', jsonb_build_array(%(id)s::uuid)), %(at)s)",
            o=office.other,
            id=sam,
            at=at,
        )
        return {row["contact_method_id"] for row in rows} - {sam}

    everybody = [str(stand_in), str(off), str(foreign), "no id", 7, None]
    assert await called(AT, everybody, {}) == {stand_in}
    assert await called(AT + timedelta(days=3), everybody, {}) == set()
    assert await called(AT, everybody, {"is_active": False}) == set()
    assert await called(AT, everybody, {"wedding_day_alerts_enabled": False}) == set()
    assert await called(AT, str(stand_in), {}) == set(), "no list"
    assert await called(AT, None, {"emergency_contact_override": Jsonb({"else": []})}) == set()


async def test_time_in_which_it_was_silenced_counts_in_no_figure(office: Office) -> None:
    """Opened at 0, held back from 1 to 6, taken at 10, held again from 12 to 17, over at 20."""
    for minutes, kind in ((1, "held"), (6, "released")):
        await write_event(office, kind, minutes)
    await take(office, AT + 10 * MINUTE)
    for minutes, kind in ((12, "held"), (17, "released")):
        await write_event(office, kind, minutes)
    async with tenant_tx(office.pool, office.member) as cx:
        await at_time(cx, AT + 20 * MINUTE)
        await incidents.resolve(cx, office.incident)
        (spell,) = await list_spells(
            cx, at=AT + 60 * MINUTE, start=AT, end=AT + MINUTE, incident_id=office.incident
        )
    assert spell.time_to_acknowledge == 5 * MINUTE
    assert spell.time_to_resolve == 10 * MINUTE
    assert spell.lasted(AT + 60 * MINUTE) == 20 * MINUTE, "by the clock it was longer"
    everything = figures([spell])[0]
    assert (everything.acknowledge.mean, everything.resolve.mean) == (300, 600)


async def test_a_silence_that_nobody_ends_ends_with_what_follows(office: Office) -> None:
    await write_event(office, "held", 1)
    await take(office, AT + 10 * MINUTE)
    async with tenant_tx(office.pool, office.member) as cx:
        (spell,) = await list_spells(
            cx, at=AT + 60 * MINUTE, start=AT, end=AT + MINUTE, incident_id=office.incident
        )
    assert spell.time_to_acknowledge == MINUTE


async def write_event(office: Office, kind: str, minutes: int) -> None:
    await office.world.run(
        "insert into public.apm_incident_events (organization_id, incident_id, at, kind, actor) "
        "values (%(o)s, %(i)s, %(at)s, %(kind)s, 'ladder')",
        o=office.vendor,
        i=office.incident,
        at=AT + minutes * MINUTE,
        kind=kind,
    )
