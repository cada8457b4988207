"""The outbox from a row in line to a row that says what became of it."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import datetime, timedelta
from hashlib import sha256
from pathlib import Path
from uuid import UUID

import pytest

from tests.support.outbox import AT, BASE_URL, KEYRING, Sender, World, outbox_of, world_of
from tests.support.postgres import Database
from tests.support.worst_day import WorstDay, worst_day
from tests.support.worst_mail import worst_mail
from wedsync_apm.config import Settings
from wedsync_apm.db.pool import Connection, open_pool
from wedsync_apm.engine.deliver import open_deliver
from wedsync_apm.notify import outbox as outboxes
from wedsync_apm.notify import store
from wedsync_apm.organizations.secrets import Keyring
from wedsync_apm.types import Channel


@pytest.fixture
async def world(database: Database) -> AsyncIterator[World]:
    async with world_of(database) as made:
        yield made


@pytest.fixture
async def day() -> AsyncIterator[WorstDay]:
    async with worst_day() as server:
        yield server


@pytest.fixture
async def outbox(database: Database) -> AsyncIterator[Sender]:
    async with outbox_of(database) as made:
        yield made


async def run(outbox: Sender, at: datetime = AT) -> int:
    count = await outbox.run_once(at)
    await outbox.drain()
    return count


async def claim(cx: Connection, batch_size: int) -> tuple[store.Lease, ...]:
    found = await store.claim_due_deliveries(
        cx,
        AT,
        lease_owner="x",
        lease_seconds=60,
        batch_size=batch_size,
        ordinary_size=batch_size,
        per_organization=10,
        per_channel=100,
    )
    return found.leases


async def test_a_call_goes_out_and_all_is_written_down(
    world: World, outbox: Sender, day: WorstDay
) -> None:
    organization = await world.organization()
    contact = await world.contact(organization, Channel.WEBHOOK, day.url("/ok/hook"))
    incident = await world.incident(organization)
    call = await world.call(organization, incident, contact, Channel.WEBHOOK)
    assert await run(outbox) == 1

    row = await world.delivery(call)
    assert row["state"] == "sent"
    assert (row["attempt"], row["provider_id"], row["provider_status"]) == (
        1,
        str(call),
        "HTTP 200",
    )
    assert row["sent_at"] >= AT
    assert row["lease_owner"] is None
    assert await world.attempts(call) == ["sent"]
    assert day.requests[0].body.decode() == row["body"]
    said = json.loads(row["body"])
    assert said["type"] == "incident.page"
    assert said["data"]["incident"]["headline"] == "Your order form is slow"
    [event] = await world.run(
        "select * from public.apm_incident_events where incident_id = %(id)s and kind = 'delivery'",
        id=incident,
    )
    assert event["message"] == "Webhook to Priya: sent"
    assert await run(outbox, AT + timedelta(hours=1)) == 0


async def test_the_one_tap_link_acknowledges_once(world: World, database: Database) -> None:
    organization = await world.organization()
    contact = await world.contact(organization, Channel.EMAIL)
    incident = await world.incident(organization)
    call = await world.call(organization, incident, contact, Channel.EMAIL)
    async with worst_mail() as mail, outbox_of(database, mail_port=mail.port) as outbox:
        await run(outbox)
        assert len(mail.mails) == 1
    body = (await world.delivery(call))["body"]
    [line] = [line for line in body.splitlines() if line.startswith("I'm on it: ")]
    token = line.removeprefix(f"I'm on it: {BASE_URL}/ack/")
    use = "select apm_private.use_acknowledge_link(%(hash)s, %(at)s) as said"
    for said in ("acknowledged", "used"):
        rows = await world.run(use, hash=sha256(token.encode()).digest(), at=AT)
        assert rows[0]["said"] == said
    [row] = await world.run(
        "select acknowledged_by_name from public.apm_incidents where id = %(id)s", id=incident
    )
    assert row["acknowledged_by_name"] == "Priya"


async def test_without_a_mail_server_the_inbox_has_it(world: World, outbox: Sender) -> None:
    organization = await world.organization()
    contact = await world.contact(organization, Channel.EMAIL)
    incident = await world.incident(organization)
    call = await world.call(organization, incident, contact, Channel.EMAIL)
    await run(outbox)
    row = await world.delivery(call)
    assert row["state"] == "inbox"
    assert "WEDSYNC_APM_SMTP_URL" in row["state_reason"]
    assert row["subject"] == "Your order form is slow"
    assert "I'm on it: http" in row["body"]
    assert await world.attempts(call) == []
    # and whoever reads it there also reads the end
    await world.set_status(incident, "resolved", AT + timedelta(minutes=1))
    await run(outbox, AT + timedelta(minutes=2))
    assert await world.states(incident) == {"page": ["inbox"], "resolved": ["inbox"]}


async def test_a_message_says_what_works_by_its_checks(world: World, outbox: Sender) -> None:
    organization = await world.organization()
    contact = await world.contact(organization, Channel.EMAIL)
    incident = await world.incident(organization)
    checks = (
        ("Gallery", "healthy", 10),
        ("Payments", "critical", 10),
        ("Messages", "healthy", 3600),
    )
    for name, status, age in checks:
        await world.run(
            "insert into public.service_health_checks (organization_id, service_name, display_name,"
            " endpoint_url, status, last_check_at, check_interval) values (%(o)s, %(n)s, %(n)s,"
            " 'https://example.org/', %(s)s::public.service_status, %(at)s, '15 seconds')",
            o=organization,
            n=name,
            s=status,
            at=AT - timedelta(seconds=age),
        )
    call = await world.call(organization, incident, contact, Channel.EMAIL)
    await run(outbox)
    body = (await world.delivery(call))["body"]
    assert "Still working: Gallery." in body.splitlines()
    assert "Payments" not in body
    assert "Messages" not in body


async def test_an_owner_without_a_contact_is_reached_by_his_address(
    world: World, database: Database
) -> None:
    organization = await world.organization()
    incident = await world.incident(organization)
    call = await world.call(
        organization,
        incident,
        None,
        Channel.EMAIL,
        recipient={"name": "Ivy", "address": "ivy@fern.example"},
    )
    nowhere = await world.call(organization, incident, None, Channel.WEBHOOK)
    async with worst_mail() as mail, outbox_of(database, mail_port=mail.port) as outbox:
        await run(outbox)
        assert b"ivy@fern.example" in mail.mails[0]
    assert (await world.delivery(call))["state"] == "sent"
    kept = await world.delivery(nowhere)
    assert kept["state"] == "inbox"
    assert kept["body"]


@pytest.mark.parametrize("status", ["acknowledged", "investigating", "resolved", "closed"])
async def test_nobody_is_called_for_what_somebody_has_in_hand(
    status: str, world: World, outbox: Sender, day: WorstDay
) -> None:
    organization = await world.organization()
    contact = await world.contact(organization, Channel.WEBHOOK, day.url("/ok"))
    incident = await world.incident(organization)
    call = await world.call(organization, incident, contact, Channel.WEBHOOK)
    await world.set_status(incident, status)
    for minutes in (1, 2):
        await run(outbox, AT + timedelta(minutes=minutes))
    row = await world.delivery(call)
    assert row["state"] == "cancelled"
    assert row["state_reason"]
    assert day.requests == []
    # He was never told of it, so he is not told that it is over.
    assert (await world.states(incident)).get("resolved", ["suppressed"]) == ["suppressed"]


async def test_whoever_was_told_down_is_told_up_once(
    world: World, outbox: Sender, day: WorstDay
) -> None:
    organization = await world.organization()
    told = await world.contact(organization, Channel.WEBHOOK, day.url("/ok/told"))
    untold = await world.contact(organization, Channel.WEBHOOK, day.url("/status/404/untold"))
    incident = await world.incident(organization)
    for contact in (told, told, untold):
        await world.call(organization, incident, contact, Channel.WEBHOOK)
    await run(outbox)
    await world.set_status(incident, "resolved", AT + timedelta(minutes=21))
    await world.set_status(incident, "closed", AT + timedelta(minutes=22))
    await run(outbox, AT + timedelta(minutes=23))
    states = await world.states(incident)
    assert sorted(states["page"]) == ["failed", "sent", "sent"]
    assert sorted(states["resolved"]) == ["sent", "suppressed"]
    kinds = [json.loads(seen.body)["type"] for seen in day.requests if "/told" in seen.path]
    assert kinds == ["incident.page", "incident.page", "incident.resolved"]
    said = json.loads(day.requests[-1].body)["data"]["message"]
    assert said.startswith("Working again since ")
    assert "It lasted 26 min." in said


async def test_after_it_came_back_the_old_end_is_not_told(
    world: World, outbox: Sender, day: WorstDay
) -> None:
    organization = await world.organization()
    contact = await world.contact(organization, Channel.WEBHOOK, day.url("/ok"))
    incident = await world.incident(organization)
    await world.call(organization, incident, contact, Channel.WEBHOOK)
    await run(outbox)
    await world.set_status(incident, "resolved", AT + timedelta(minutes=1))
    await world.set_status(incident, "open", AT + timedelta(minutes=2))
    await run(outbox, AT + timedelta(minutes=3))
    assert (await world.states(incident))["resolved"] == ["cancelled"]
    await world.set_status(incident, "resolved", AT + timedelta(minutes=4))
    await run(outbox, AT + timedelta(minutes=5))
    assert (await world.states(incident))["resolved"] == ["cancelled", "sent"]


async def test_the_end_waits_for_the_call_that_is_on_its_way(
    world: World, database: Database, day: WorstDay
) -> None:
    """Resolved while the call is being sent: told or not told is known only after that."""
    organization = await world.organization()
    contact = await world.contact(organization, Channel.WEBHOOK, day.url("/held"))
    incident = await world.incident(organization)
    call = await world.call(organization, incident, contact, Channel.WEBHOOK)
    async with outbox_of(database) as outbox:
        await outbox.run_once(AT)
        while not day.requests:
            await asyncio.sleep(0.01)
        assert (await world.delivery(call))["state"] == "sending"
        await world.set_status(incident, "resolved", AT)
        async with outbox_of(database, owner="another") as another:
            await run(another, AT)
        assert (await world.states(incident))["resolved"] == ["pending"]
        day.release()
        await outbox.drain()
        # It had no answer: it may have been read, so the end is told. The call itself is void.
        assert await world.attempts(call) == ["unknown"]
        for minutes in (1, 2):
            await run(outbox, AT + timedelta(minutes=minutes))
    states = await world.states(incident)
    assert states["page"] == ["cancelled"]
    assert [json.loads(seen.body)["type"] for seen in day.requests] == [
        "incident.page",
        "incident.resolved",
    ]


async def test_what_does_not_go_through_is_tried_again_later(
    world: World, outbox: Sender, day: WorstDay
) -> None:
    organization = await world.organization()
    contact = await world.contact(organization, Channel.WEBHOOK, day.url("/status/503"))
    incident = await world.incident(organization)
    call = await world.call(organization, incident, contact, Channel.WEBHOOK)
    at = AT
    delays = []
    for number in range(1, 9):
        assert await run(outbox, at) == 1
        row = await world.delivery(call)
        assert (row["state"], row["attempt"]) == ("retry", number)
        delays.append((row["due_at"] - at).total_seconds())
        assert await run(outbox, row["due_at"] - timedelta(milliseconds=400)) == 0
        at = row["due_at"]
    assert 0.5 <= delays[0] <= 1.5
    assert all(10 <= delay <= 90 for delay in delays[6:])
    assert await world.attempts(call) == ["retry"] * 8
    events = await world.run(
        "select message from public.apm_incident_events where kind = 'delivery'"
    )
    assert [event["message"] for event in events] == [
        "Webhook to Priya: did not go through, is tried again"
    ]
    assert await run(outbox, AT + timedelta(days=2)) == 1
    assert (await world.delivery(call))["state"] == "expired"


async def test_a_wait_that_was_asked_for_is_kept(
    world: World, outbox: Sender, day: WorstDay
) -> None:
    organization = await world.organization()
    contact = await world.contact(organization, Channel.WEBHOOK, day.url("/status/429/120"))
    incident = await world.incident(organization)
    call = await world.call(organization, incident, contact, Channel.WEBHOOK)
    await run(outbox)
    assert (await world.delivery(call))["due_at"] >= AT + timedelta(seconds=120)


async def test_what_will_never_go_through_fails_and_is_told(
    world: World, outbox: Sender, day: WorstDay
) -> None:
    organization = await world.organization()
    contact = await world.contact(organization, Channel.SLACK, day.url("/says/403/no_service"))
    incident = await world.incident(organization)
    call = await world.call(organization, incident, contact, Channel.SLACK)
    await run(outbox)
    row = await world.delivery(call)
    assert (row["state"], row["state_reason"]) == ("failed", "Slack refuses it: no_service")
    assert await world.attempts(call) == ["failed"]


async def test_a_contact_that_is_off_gets_nothing(
    world: World, outbox: Sender, day: WorstDay
) -> None:
    organization = await world.organization()
    contact = await world.contact(organization, Channel.WEBHOOK, day.url("/ok"))
    incident = await world.incident(organization)
    call = await world.call(organization, incident, contact, Channel.WEBHOOK)
    await world.run("update public.apm_contact_methods set disabled_at = now()")
    await run(outbox)
    assert (await world.delivery(call))["state"] == "suppressed"
    assert day.requests == []


async def test_a_secret_of_another_tenant_opens_nothing(
    world: World, outbox: Sender, day: WorstDay
) -> None:
    """Somebody with the database in hand copies B's sealed address into A's contact."""
    a, b = await world.organization("A"), await world.organization("B")
    of_a = await world.contact(a, Channel.WEBHOOK, day.url("/ok/a"))
    of_b = await world.contact(b, Channel.WEBHOOK, day.url("/ok/b"))
    await world.run(
        "update public.apm_contact_methods as c set secret_ciphertext = o.secret_ciphertext "
        "from public.apm_contact_methods as o where c.id = %(a)s and o.id = %(b)s",
        a=of_a,
        b=of_b,
    )
    incident = await world.incident(a)
    call = await world.call(a, incident, of_a, Channel.WEBHOOK)
    await run(outbox)
    assert (await world.delivery(call))["state"] == "pending"
    assert day.requests == []


async def test_the_wrong_master_key_loses_no_call(
    world: World, database: Database, day: WorstDay
) -> None:
    organization = await world.organization()
    contact = await world.contact(organization, Channel.WEBHOOK, day.url("/ok"))
    incident = await world.incident(organization)
    call = await world.call(organization, incident, contact, Channel.WEBHOOK)
    async with outbox_of(database, keyring=Keyring(b"x" * 32)) as wrong:
        await run(wrong)
    row = await world.delivery(call)
    assert row["state"] == "pending"
    assert "master key" in row["state_reason"]
    async with outbox_of(database) as right:
        await run(right, row["due_at"])
    assert (await world.delivery(call))["state"] == "sent"


async def test_two_senders_never_take_the_same_call(
    world: World, database: Database, day: WorstDay
) -> None:
    organizations = [await world.organization(f"org {n}") for n in range(4)]
    calls = set()
    for organization in organizations:
        contact = await world.contact(organization, Channel.WEBHOOK, day.url("/ok"))
        incident = await world.incident(organization)
        for _ in range(10):
            calls.add(str(await world.call(organization, incident, contact, Channel.WEBHOOK)))
    async with AsyncExitStack() as stack:
        senders = [
            await stack.enter_async_context(outbox_of(database, owner=f"sender {n}", slots=6))
            for n in range(3)
        ]
        for _ in range(20):
            counts = await asyncio.gather(*(sender.run_once(AT) for sender in senders))
            await asyncio.gather(*(sender.drain() for sender in senders))
            if not any(counts):
                break
    ids = [seen.headers["webhook-id"] for seen in day.requests]
    assert len(ids) == 40
    assert set(ids) == calls


async def test_a_noisy_organization_does_not_hold_up_the_others(
    world: World, database: Database
) -> None:
    noisy, quiet = await world.organization("noisy"), await world.organization("quiet")
    for organization, count in ((noisy, 60), (quiet, 2)):
        incident = await world.incident(organization)
        contact = await world.contact(organization, Channel.WEBHOOK, "http://127.0.0.1:1/")
        for number in range(count):
            await world.call(
                organization,
                incident,
                contact,
                Channel.WEBHOOK,
                at=AT - timedelta(seconds=100 - number),
            )
    async with world.owner.connection() as cx:
        first = await claim(cx, 8)
        rest = await claim(cx, 100)
    assert sum(lease.organization_id == quiet for lease in first) == 2
    assert len(first) == 8
    # Ten of one organization are under way at once, and no more.
    assert len(first) + len(rest) == 12


async def test_more_than_there_are_slots_goes_out_in_one_run(
    world: World, database: Database, day: WorstDay, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outboxes, "RUN_SECONDS", 60.0)
    for name in "ABCD":
        organization = await world.organization(name)
        contact = await world.contact(organization, Channel.WEBHOOK, day.url("/ok"))
        incident = await world.incident(organization)
        for _ in range(10):
            await world.call(organization, incident, contact, Channel.WEBHOOK)
    async with outbox_of(database, slots=3) as sender:
        assert await run(sender) == 40
    assert len({seen.headers["webhook-id"] for seen in day.requests}) == 40


async def test_slow_receivers_do_not_hold_up_the_run(
    world: World, database: Database, day: WorstDay
) -> None:
    organization, other = await world.organization("slow"), await world.organization("quick")
    slow = await world.contact(organization, Channel.WEBHOOK, day.url("/held"))
    quick = await world.contact(other, Channel.WEBHOOK, day.url("/ok"))
    async with outbox_of(database) as sender:
        under_way = []
        for one, contact in ((organization, slow), (other, quick)):
            incident = await world.incident(one)
            under_way.append(await world.call(one, incident, contact, Channel.WEBHOOK))
            assert await sender.run_once(AT) == 1
        async with asyncio.timeout(60):
            while (await world.delivery(under_way[1]))["state"] != "sent":
                await asyncio.sleep(0.02)
        assert (await world.delivery(under_way[0]))["state"] == "sending"
        day.release()


async def test_what_is_urgent_goes_first(world: World) -> None:
    organization = await world.organization()
    incident = await world.incident(organization)
    late = await world.call(organization, incident, None, Channel.EMAIL, priority=100)
    for _ in range(5):
        await world.call(
            organization,
            incident,
            None,
            Channel.EMAIL,
            priority=1,
            at=AT - timedelta(minutes=1),
        )
    async with world.owner.connection() as cx:
        [lease] = await claim(cx, 1)
    assert lease.id == late


async def test_a_sender_that_lost_its_lease_writes_nothing(
    world: World, database: Database, day: WorstDay
) -> None:
    organization = await world.organization()
    contact = await world.contact(organization, Channel.WEBHOOK, day.url("/held"))
    incident = await world.incident(organization)
    call = await world.call(organization, incident, contact, Channel.WEBHOOK)
    async with (
        outbox_of(database, owner="zombie") as zombie,
        outbox_of(database, owner="next") as following,
    ):
        await zombie.run_once(AT)
        while not day.held:
            await asyncio.sleep(0.01)
        # Long after its lease another sender takes the call over, while the zombie still waits.
        await following.run_once(AT + timedelta(minutes=5))
        while len(day.held) < 2:
            await asyncio.sleep(0.01)
        day.held[0].set()
        await zombie.drain()
        # The zombie's call has ended, and it has written nothing over its successor's.
        row = await world.delivery(call)
        assert (row["state"], row["lease_owner"], row["fence"]) == ("sending", "next", 2)
        assert await world.attempts(call) == ["unknown", None]
        day.release()
        await following.drain()
    assert (await world.delivery(call))["state"] == "retry"
    assert await world.attempts(call) == ["unknown", "unknown"]


SENDER = """
import asyncio, sys
from datetime import datetime
from tests.support.outbox import outbox_of
from tests.support.postgres import Database

async def main():
    database = Database("", sys.argv[1], {"apm_engine": sys.argv[2]})
    async with outbox_of(database, owner="doomed", lease_seconds=1.0) as outbox:
        await outbox.run_once(datetime.fromisoformat(sys.argv[3]))
        print("sending", flush=True)
        await outbox.drain()

asyncio.run(main())
"""


@pytest.mark.parametrize("channel", [Channel.WEBHOOK, Channel.SLACK, Channel.EMAIL])
async def test_a_sender_killed_between_sending_and_recording_loses_nothing(
    channel: Channel, world: World, database: Database, day: WorstDay
) -> None:
    """kill -9 when the request was read but not answered: unknown, then sent again as it was."""
    organization = await world.organization()
    contact = await world.contact(organization, channel, day.url("/held"))
    incident = await world.incident(organization)
    call = await world.call(organization, incident, contact, channel)
    async with worst_mail() as mail:
        mail.replies["body"] = "stall"
        program = (
            SENDER.replace("lease_seconds=1.0", f"lease_seconds=1.0, mail_port={mail.port}")
            if channel is Channel.EMAIL
            else SENDER
        )
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            program,
            database.owner,
            database.passwords["apm_engine"],
            AT.isoformat(),
            cwd=Path(__file__).parents[2],
            stdout=asyncio.subprocess.PIPE,
        )
        try:
            while not (day.requests or mail.mails):
                assert process.returncode is None
                await asyncio.sleep(0.02)
        finally:
            os.kill(process.pid, signal.SIGKILL)
            await process.wait()
        row = await world.delivery(call)
        assert row["state"] == "sending"
        assert row["body"]
        assert await world.attempts(call) == [None]

        later = AT + timedelta(minutes=5)
        mail.replies.clear()
        day.release()
        async with outbox_of(database, mail_port=mail.port) as outbox:
            async with world.owner.connection() as cx:
                assert await store.release_lost_leases(cx, later) == 1
            unknown = await world.delivery(call)
            assert unknown["state"] == "unknown"
            assert "nobody knows" in unknown["state_reason"]
            assert await world.attempts(call) == ["unknown"]
            if channel is Channel.EMAIL:
                await run(outbox, later)
                first, second = (mail_part(sent, b"message-id") for sent in mail.mails)
                assert first == second
                assert (await world.delivery(call))["state"] == "sent"
            else:
                await run(outbox, later)
                assert len(day.requests) == 2
                assert day.requests[0].body == day.requests[1].body
                if channel is Channel.WEBHOOK:
                    ids = {seen.headers["webhook-id"] for seen in day.requests}
                    assert ids == {str(call)}
        assert (await world.delivery(call))["attempt"] == 2


def mail_part(mail: bytes, name: bytes) -> bytes:
    [line] = [line for line in mail.splitlines() if line.lower().startswith(name + b":")]
    return line


async def test_a_slack_update_that_may_have_arrived_is_not_repeated(
    world: World, database: Database, day: WorstDay
) -> None:
    organization = await world.organization()
    contact = await world.contact(organization, Channel.SLACK, day.url("/close"))
    incident = await world.incident(organization)
    update = await world.call(organization, incident, contact, Channel.SLACK, kind="update")
    async with outbox_of(database) as outbox:
        await run(outbox)
        assert await world.attempts(update) == ["unknown"]
        await run(outbox, AT + timedelta(minutes=1))
    assert (await world.delivery(update))["state"] == "failed"
    assert len(day.requests) == 1


async def test_a_lease_that_ran_out_before_sending_goes_back_in_line(world: World) -> None:
    organization = await world.organization()
    incident = await world.incident(organization)
    call = await world.call(organization, incident, None, Channel.EMAIL)
    async with world.owner.connection() as cx:
        [lease] = await claim(cx, 1)
        assert await store.release_lost_leases(cx, AT + timedelta(seconds=59)) == 0
        assert await store.release_lost_leases(cx, AT + timedelta(seconds=60)) == 1
        assert await store.read_leased_delivery(cx, lease, AT) is None
        assert not await store.begin_attempt(cx, lease, AT, subject="s", body="b", lease_seconds=60)
    assert (await world.delivery(call))["state"] == "pending"
    assert await world.attempts(call) == []


async def test_the_engines_job_sends_and_finishes_at_the_end(
    world: World, database: Database, day: WorstDay
) -> None:
    organization = await world.organization()
    contact = await world.contact(organization, Channel.WEBHOOK, day.url("/ok"))
    incident = await world.incident(organization)
    call = await world.call(organization, incident, contact, Channel.WEBHOOK)
    pool = await open_pool(database.engine, name="engine", max_size=2, wait=True)
    settings = Settings(egress_allow=("127.0.0.1",), public_url=BASE_URL)
    async with pool, open_deliver(pool, settings, KEYRING) as job, pool.connection() as cx:
        assert await job.run_once(cx, AT) == "1 on their way"
        assert await job.run_once(cx, AT) == ""
    assert (await world.delivery(call))["state"] == "sent"


async def test_a_sender_that_must_end_leaves_the_rest_to_the_lease(
    world: World, database: Database, day: WorstDay
) -> None:
    organization = await world.organization()
    contact = await world.contact(organization, Channel.WEBHOOK, day.url("/held"))
    incident = await world.incident(organization)
    call = await world.call(organization, incident, contact, Channel.WEBHOOK)
    async with outbox_of(database) as sender:
        await sender.run_once(AT)
        while not day.requests:
            await asyncio.sleep(0.01)
        await sender.outbox.drain(0.1)
    assert (await world.delivery(call))["state"] == "sending"
    async with world.owner.connection() as cx:
        assert await store.release_lost_leases(cx, AT + timedelta(minutes=5)) == 1
    assert (await world.delivery(call))["state"] == "unknown"


async def test_a_test_message_reaches_the_contact_once(
    world: World, outbox: Sender, day: WorstDay
) -> None:
    organization = await world.organization()
    contact = await world.contact(organization, Channel.WEBHOOK, day.url("/ok"))
    first = await world.call(organization, None, contact, Channel.WEBHOOK, kind="test")
    await run(outbox)
    assert (await world.delivery(first))["state"] == "sent"
    said = json.loads(day.requests[0].body)
    assert said["type"] == "test"
    assert "Nothing is wrong" in said["data"]["message"]


async def test_a_database_that_goes_away_leaves_the_call_to_its_lease(
    world: World, database: Database, day: WorstDay
) -> None:
    organization = await world.organization()
    contact = await world.contact(organization, Channel.WEBHOOK, day.url("/held"))
    incident = await world.incident(organization)
    call = await world.call(organization, incident, contact, Channel.WEBHOOK)
    async with outbox_of(database) as outbox:
        await outbox.run_once(AT)
        while not day.requests:
            await asyncio.sleep(0.01)
        await world.run(
            "select pg_terminate_backend(pid) from pg_stat_activity where usename = 'apm_engine' "
            "and datname = current_database()"
        )
        day.release()
        await outbox.drain()
        await outbox.pool.check()
        row = await world.delivery(call)
        # The pool comes back by itself; if it came back in time the end is recorded, else the
        # lease will say "unknown". Lost is it in neither case.
        assert row["state"] in ("retry", "sending")
        later = AT + timedelta(minutes=10)
        assert await run(outbox, later) == 1
    assert len(day.requests) == 2


async def silence_everything(world: World, organization: UUID, *, hours: int) -> None:
    await world.run(
        "insert into public.apm_silences (organization_id, matchers, starts_at, ends_at, reason, "
        "owner) select %(id)s, %(matchers)s, %(at)s, %(at)s + make_interval(hours => %(hours)s), "
        "'New server', 'Priya' from set_config('apm.at', %(text)s, true) as c where c is not null",
        id=organization,
        matchers=json.dumps([{"label": "severity", "operator": "=~", "value": ".+"}]),
        at=AT,
        text=AT.isoformat(),
        hours=hours,
    )


async def test_what_lies_in_the_outbox_when_a_silence_begins_waits_for_its_end(
    world: World, outbox: Sender, day: WorstDay
) -> None:
    organization = await world.organization()
    contact = await world.contact(organization, Channel.WEBHOOK, day.url("/ok/hook"))
    incident = await world.incident(organization)
    call = await world.call(organization, incident, contact, Channel.WEBHOOK)
    await silence_everything(world, organization, hours=26)
    await run(outbox)
    row = await world.delivery(call)
    assert (row["state"], row["attempt"]) == ("pending", 0)
    assert row["state_reason"].startswith("Silenced until ")
    assert row["state_reason"].endswith(" by Priya: New server")
    assert await run(outbox, AT + timedelta(seconds=4)) == 0, "it is looked at every five seconds"
    await run(outbox, AT + timedelta(seconds=6))
    assert (await world.delivery(call))["state"] == "pending"
    # longer than a call is of use by itself: it is as fresh as when the silence began
    for hours in (20, 25.9):
        await run(outbox, AT + timedelta(hours=hours))
    await run(outbox, AT + timedelta(hours=26, seconds=1))
    assert (await world.delivery(call))["state"] == "sent"
    assert len(day.requests) == 1


async def test_a_person_who_does_not_wait_and_an_end_pass_a_silence(
    world: World, outbox: Sender, day: WorstDay
) -> None:
    organization = await world.organization()
    contact = await world.contact(organization, Channel.WEBHOOK, day.url("/ok/hook"))
    incident = await world.incident(organization)
    call = await world.call(organization, incident, contact, Channel.WEBHOOK)
    await world.run(
        "update public.apm_deliveries set payload = payload || '{\"is_pressed\": true}' "
        "where id = %(id)s",
        id=call,
    )
    await silence_everything(world, organization, hours=2)
    await run(outbox)
    assert (await world.delivery(call))["state"] == "sent"
    await world.run(
        "update public.apm_incidents set status = 'resolved' "
        "from set_config('apm.at', %(at)s, true) as c where c is not null and id = %(id)s",
        id=incident,
        at=(AT + timedelta(seconds=30)).isoformat(),
    )
    await run(outbox, AT + timedelta(minutes=1))
    kinds = await world.run("select kind, state from public.apm_deliveries order by created_at")
    assert {(row["kind"], row["state"]) for row in kinds} == {
        ("page", "sent"),
        ("resolved", "sent"),
    }
