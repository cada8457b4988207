"""Health checks as the engine makes them, over a real database and real sockets."""

import asyncio
from collections.abc import AsyncIterator, Collection
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.support.certificates import certificate
from tests.support.checks import a_check, a_probe, find, look, platform
from tests.support.engine import AT, MINUTE, SECOND, EngineWorld, open_engine_world
from tests.support.name_server import NameServer, name_server
from tests.support.postgres import Database
from tests.support.worst_day import WorstDay, worst_day
from tests.unit.checks.test_check_model import a_check as a_due_check
from wedsync_apm.checks import probes
from wedsync_apm.checks.model import DueCheck, Seen
from wedsync_apm.checks.probes import Prober
from wedsync_apm.checks.probes import dns as dns_probe
from wedsync_apm.checks.targets import Kind, Target
from wedsync_apm.egress import EgressClient, EgressPolicy
from wedsync_apm.egress.policy import Address
from wedsync_apm.engine.probe import Probe

HOUR = timedelta(hours=1)


@pytest.fixture
async def world(database: Database) -> AsyncIterator[EngineWorld]:
    async with open_engine_world(database) as opened:
        yield opened


@pytest.fixture
async def day() -> AsyncIterator[WorstDay]:
    async with worst_day() as running:
        yield running


async def test_only_the_platforms_own_checks_reach_our_own_address(
    world: EngineWorld, day: WorstDay
) -> None:
    home, vendor = await platform(world), await world.organization()
    own = await a_check(world, home, endpoint_url=day.url("/ok"))
    theirs = await a_check(world, vendor, endpoint_url=day.url("/ok"))
    policy = EgressPolicy.parse([])
    client = EgressClient(policy)
    own_client = EgressClient(policy.allowing(urlsplit(day.url("/ok")).netloc))
    try:
        async with world.engine.connection() as cx:
            await Probe(Prober(client, own_client)).run_once(cx, datetime.now(UTC))
    finally:
        await client.aclose()
        await own_client.aclose()
    assert (await find(world, own))["status"] == "healthy"
    assert (await find(world, theirs))["status"] != "healthy"
    assert len(day.requests) == 1


@pytest.mark.parametrize(
    ("path", "columns", "status", "reason"),
    [
        ("/ok", {}, "healthy", "It takes "),
        ("/redirect/2", {}, "healthy", "It takes "),
        ("/status/503", {}, "maintenance", "It says that it is being worked on"),
        ("/status/500", {}, "critical", "It answers with an error (HTTP 500)"),
        ("/status/404", {}, "warning", "It answers, but not as expected (HTTP 404)"),
        ("/status/401", {"expected_status_codes": [200, 401]}, "healthy", "It takes "),
        ("/ok", {"response_time_threshold_ms": 0.001}, "warning", "It takes "),
        ("/reset", {}, "critical", "It does not answer: "),
        ("/slow-head", {}, "critical", "It does not answer: "),
        ("/garbage", {}, "critical", "It does not answer: "),
        ("/long-head", {}, "critical", "It does not answer: "),
        ("/to?http://169.254.169.254/latest/meta-data/", {}, "unknown", "It cannot be checked: "),
        ("/to?http://10.0.0.1/", {}, "unknown", "It cannot be checked: "),
        ("/to?ftp://127.0.0.1/", {}, "unknown", "It cannot be checked: "),
        ("/says/200/all%20is%20well", {"body_contains": "is well"}, "healthy", "It takes "),
        (
            "/says/200/all%20is%20lost",
            {"body_contains": "is well"},
            "critical",
            "It answers, but without the words that should be there",
        ),
        (
            "/says/200/all%20is%20lost",
            {"body_lacks": "lost"},
            "critical",
            "It answers, but with words that should not be there",
        ),
        (
            "/huge",
            {"body_contains": "needle"},
            "critical",
            "It answers, but without the words that should be there in its first 64 KiB",
        ),
        # the status came at once; the words never do
        ("/drip", {"body_contains": "needle"}, "critical", "It does not answer: "),
        ("/drip", {}, "healthy", "It takes "),
    ],
)
async def test_what_an_answer_says(
    world: EngineWorld,
    day: WorstDay,
    *,
    path: str,
    columns: dict[str, Any],
    status: str,
    reason: str,
) -> None:
    vendor = await world.organization()
    check = await a_check(world, vendor, endpoint_url=day.url(path), timeout_seconds=0.5, **columns)
    await look(world)
    found = await find(world, check)
    assert (found["status"], str(found["status_reason"])[: len(reason)]) == (status, reason)
    assert found["last_check_at"] is not None
    samples = {
        (row["service_name"], row["metric_name"]): row["metric_value"]
        for row in await world.run("select * from public.apm_samples")
    }
    expected = {}
    if status in ("healthy", "warning", "critical"):
        expected["service_up", "order_form"] = float(status != "critical")
        if found["response_time_ms"] is not None:
            expected["service_health", "order_form"] = found["response_time_ms"]
    assert samples == expected
    rate = {"critical": 1.0, "maintenance": None, "unknown": None}.get(status, 0.0)
    assert found["error_rate"] == rate


async def test_an_inner_address_is_not_called(world: EngineWorld, day: WorstDay) -> None:
    vendor = await world.organization()
    checks = [
        await a_check(world, vendor, service_name=f"check {n}", endpoint_url=url)
        for n, url in enumerate(
            (
                day.url("/ok"),
                f"tcp://127.0.0.1:{day.port}",
                "tls://127.0.0.1:443",
                "dns://127.0.0.1/example.com",
                "tcp://169.254.169.254:80",
            )
        )
    ]
    await look(world, allow="")
    for check in checks:
        found = await find(world, check)
        assert found["status"] == "unknown"
        assert str(found["status_reason"]).startswith("It cannot be checked")
    assert day.connections == 0


class Rebinding:
    """A resolver whose first answer is harmless."""

    def __init__(self) -> None:
        self.asked = 0

    async def __call__(self, host: str, port: int) -> Collection[Address]:
        self.asked += 1
        return [ip_address("127.0.0.1" if self.asked == 1 else "169.254.169.254")]


@pytest.mark.parametrize("scheme", ["http", "tcp", "tls", "dns"])
async def test_the_address_that_was_judged_is_the_one_that_is_dialled(
    day: WorstDay, scheme: str
) -> None:
    """The name turns to another address after the judgement: it is asked once a look, and the
    second look is refused."""
    resolver = Rebinding()
    policy = EgressPolicy.parse(["127.0.0.0/8"])
    client = EgressClient(policy, resolve=resolver)
    url = {
        "http": f"http://rebinds.example:{day.port}/ok",
        "tcp": f"tcp://rebinds.example:{day.port}",
        "tls": f"tls://rebinds.example:{day.port}",
        "dns": f"dns://rebinds.example:{day.port}/example.com",
    }[scheme]
    check = a_due_check(timeout_seconds=0.5)
    try:
        first = await Prober(client).look(check, url)
        second = await Prober(client).look(check, url)
    finally:
        await client.aclose()
    assert not first.refusal
    assert resolver.asked == 2
    assert "link-local" in second.refusal
    async with asyncio.timeout(60):
        while day.connections < (0 if scheme == "dns" else 1):
            await asyncio.sleep(0.01)
    assert day.connections <= 1


async def test_ports_connect_or_do_not(world: EngineWorld, day: WorstDay) -> None:
    vendor = await world.organization()
    up = await a_check(world, vendor, service_name="up", endpoint_url=f"tcp://127.0.0.1:{day.port}")
    down = await a_check(world, vendor, service_name="down", endpoint_url="tcp://127.0.0.1:1")
    await look(world)
    assert (await find(world, up))["status"] == "healthy"
    found = await find(world, down)
    assert found["status"] == "critical"
    assert "does not take connections" in found["status_reason"]


async def handshake(policy: EgressPolicy, day: WorstDay, trusted: Any, **values: Any) -> Seen:
    async def resolve(host: str, port: int) -> Collection[Address]:
        return [ip_address("127.0.0.1")]

    client = EgressClient(policy, resolve=resolve, ssl_context=trusted)
    try:
        check = a_due_check(timeout_seconds=2.0)
        host = values.get("host", "fern.example")
        return await Prober(client).look(check, f"tls://{host}:{day.port}")
    finally:
        await client.aclose()


async def test_certificates_are_verified_and_their_end_is_read(tmp_path: Path) -> None:
    policy = EgressPolicy.parse(["127.0.0.0/8"])
    server, trusted = certificate(tmp_path, "fern.example")
    async with worst_day(server) as day:
        seen = await handshake(policy, day, trusted)
        assert seen.certificate_ends_at is not None
        left = seen.certificate_ends_at - datetime.now(UTC)
        assert timedelta(minutes=55) < left < timedelta(minutes=61)
        # signed by nobody that we know, and made out to somebody else
        assert "self-signed certificate" in (await handshake(policy, day, None)).silence
        other = await handshake(policy, day, trusted, host="other.example")
        assert "Hostname mismatch" in other.silence
    server, trusted = certificate(tmp_path, "fern.example", ends_in=timedelta(minutes=-5))
    async with worst_day(server) as day:
        assert "expired" in (await handshake(policy, day, trusted)).silence
    # somebody who takes the connection and says nothing, or no TLS
    async with worst_day() as day:
        assert "shake hands" in (await handshake(policy, day, trusted)).silence


@pytest.fixture
async def names() -> AsyncIterator[NameServer]:
    records = {
        ("fern.example.com", "A"): ["8.8.8.8", "8.8.4.4"],
        ("fern.example.com", "MX"): ["10 mail.fern.example.com."],
        ("fern.example.com", "TXT"): ['"v=spf1 -all"'],
        ("inner.example.com", "A"): ["10.0.0.7"],
        ("quiet.example.com", "A"): ["8.8.8.8"],
    }
    async with name_server(records, silent=["quiet.example.com"]) as running:
        yield running


@pytest.mark.parametrize(
    ("asked", "expected", "status", "reason"),
    [
        ("fern.example.com", ["8.8.4.4"], "healthy", "It takes "),
        ("fern.example.com?type=MX", ["10 mail.fern.example.com"], "healthy", "It takes "),
        ("fern.example.com?type=TXT", ["v=spf1 -all"], "healthy", "It takes "),
        (
            "fern.example.com",
            ["9.9.9.9"],
            "critical",
            "Its name does not lead to 9.9.9.9, but to 8.8.4.4, 8.8.8.8",
        ),
        ("fern.example.com?type=AAAA", [], "critical", "It does not answer: "),
        ("gone.example.com", [], "critical", "It does not answer: the name gone.example.com"),
        ("quiet.example.com", [], "critical", "It does not answer: nobody answered"),
        # a name of a private network, through whichever server
        ("inner.example.com", [], "unknown", "It cannot be checked: "),
    ],
)
async def test_names_are_asked_for(
    world: EngineWorld, names: NameServer, monkeypatch: pytest.MonkeyPatch, *, asked: str,
    expected: list[str], status: str, reason: str,
) -> None:  # fmt: skip
    async def of_ours(client: EgressClient, target: Target, check: DueCheck) -> Seen:
        # The policy knows one port of name servers, and ours cannot have it.
        return await dns_probe.ask(client, target, check, (["127.0.0.1"], names.port))

    monkeypatch.setitem(probes._LOOKS, Kind.DNS, of_ours)
    vendor = await world.organization()
    check = await a_check(
        world, vendor, endpoint_url=f"dns:{asked}", dns_expected=expected, timeout_seconds=0.6
    )
    await look(world)
    found = await find(world, check)
    assert (found["status"], found["status_reason"][: len(reason)]) == (status, reason)


async def test_a_check_is_made_once_an_interval(world: EngineWorld, day: WorstDay) -> None:
    vendor = await world.organization()
    now = datetime.now(UTC)
    await a_check(
        world,
        vendor,
        endpoint_url=day.url("/ok"),
        check_interval=10 * SECOND,
        next_check_at=now,
    )
    for n in (0, 1, 9, 10, 11, 19, 20, 300, 301, 304, 306):
        await look(world, now + n * SECOND)
    # After the pause of 280 s it is not made 28 times over.
    assert len(day.requests) == 5


async def test_two_engines_make_a_check_once(world: EngineWorld, day: WorstDay) -> None:
    vendor = await world.organization()
    for n in range(20):
        await a_check(world, vendor, service_name=f"form {n}", endpoint_url=day.url("/ok"))
    async with (
        a_probe() as one,
        a_probe() as two,
        world.engine.connection() as first,
        world.engine.connection() as second,
    ):
        now = datetime.now(UTC)
        await asyncio.gather(one.run_once(first, now), two.run_once(second, now))
    assert len(day.requests) == 20
    tallies = await world.run("select * from public.apm_service_tallies")
    assert [sum(row["looks"]) for row in tallies] == [1] * 20


async def test_a_result_that_was_overtaken_is_void(world: EngineWorld, day: WorstDay) -> None:
    """The check is changed while its old address is being called; and another engine takes it
    when the first one's lease has ended."""
    vendor = await world.organization()
    check = await a_check(world, vendor, endpoint_url=day.url("/slow-head"), timeout_seconds=30.0)
    looking = asyncio.create_task(look(world))
    async with asyncio.timeout(60):
        while not day.connections:
            await asyncio.sleep(0.01)
    await world.run(
        "update public.service_health_checks set endpoint_url = %(url)s", url=day.url("/ok")
    )
    await day.hang_up()
    await looking
    found = await find(world, check)
    assert (found["status"], found["last_check_at"]) == ("unknown", None)
    assert found["next_check_at"] <= datetime.now(UTC)
    await look(world)
    assert (await find(world, check))["status"] == "healthy"


async def test_a_change_is_confirmed_before_it_is_told(world: EngineWorld, day: WorstDay) -> None:
    vendor = await world.organization()
    check = await a_check(
        world,
        vendor,
        endpoint_url=day.url("/ok"),
        failures_to_confirm=2,
        recoveries_to_confirm=2,
    )

    async def see(path: str) -> dict[str, Any]:
        # as if the service behind the same address had changed
        await world.run(
            "alter table public.service_health_checks disable trigger service_health_checks_restart"
        )
        await world.run(
            "update public.service_health_checks set endpoint_url = %(url)s", url=day.url(path)
        )
        await look(world, due=True)
        return await find(world, check)

    assert (await see("/ok"))["status"] == "healthy"
    once = await see("/status/500")
    assert (once["status"], once["candidate"], once["candidate_count"]) == (
        "healthy",
        "critical",
        1,
    )
    assert "(seen 1 of 2 times in a row before it counts)" in once["status_reason"]
    assert once["next_check_at"] < datetime.now(UTC) + 3 * SECOND
    assert await world.incidents(vendor) == []
    assert (await see("/status/500"))["status"] == "critical"
    [incident] = await world.incidents(vendor)
    assert (incident["title"], incident["severity"], incident["status"]) == (
        "Order form does not work",
        "warning",
        "open",
    )
    assert incident["dedup_key"] == f"check:1:{check}"
    assert incident["labels"] == {"service": "order_form"}
    assert (await see("/ok"))["status"] == "critical"
    assert (await see("/status/500"))["status"] == "critical"
    assert (await see("/ok"))["status"] == "critical"
    assert (await see("/ok"))["status"] == "healthy"
    [incident] = await world.incidents(vendor)
    assert incident["status"] == "resolved"
    # Looks that only confirmed another one were not counted: 7 looks, 4 of them on schedule.
    [tally] = await world.run("select * from public.apm_service_tallies")
    assert (sum(tally["looks"]), sum(tally["failures"])) == (4, 1)
    history = await world.run("select status from public.apm_service_status_history order by since")
    assert [row["status"] for row in history] == ["unknown", "healthy", "critical", "healthy"]


async def test_what_a_person_ended_is_opened_again_after_a_while(
    world: EngineWorld, day: WorstDay
) -> None:
    vendor = await world.organization()
    await a_check(world, vendor, endpoint_url=day.url("/status/500"))
    await look(world)
    await world.run("update public.apm_incidents set status = 'resolved'")
    await look(world, due=True)
    [incident] = await world.incidents(vendor)
    assert incident["status"] == "resolved"
    await world.run(
        "update public.apm_incidents set resolved_at = resolved_at - interval '6 minutes'"
    )
    await look(world, due=True)
    [incident] = await world.incidents(vendor)
    assert incident["status"] == "open"


async def test_incidents_of_checks_that_are_gone_end(world: EngineWorld, day: WorstDay) -> None:
    vendor = await world.organization()
    for n in range(3):
        await a_check(world, vendor, service_name=f"s{n}", endpoint_url=day.url("/status/500"))
    await look(world)
    await world.run("delete from public.service_health_checks where service_name = 's0'")
    await world.run(
        "update public.service_health_checks set is_active = false where service_name = 's1'"
    )
    await look(world)
    assert sorted(i["status"] for i in await world.incidents(vendor)) == [
        "open",
        "resolved",
        "resolved",
    ]


async def test_a_metric_stands_for_a_service_that_only_sends(world: EngineWorld) -> None:
    vendor, other = await world.organization(), await world.organization("Other")
    check = await a_check(
        world,
        vendor,
        source_metric="forms.submit_time",
        response_time_threshold_ms=500.0,
        next_check_at=AT,
    )
    await world.samples(other, [(AT - SECOND, 9000)])

    async def see(at: datetime) -> tuple[object, object]:
        await world.run("update public.service_health_checks set next_check_at = %(at)s", at=at)
        await look(world, at)
        found = await find(world, check)
        return found["status"], found["response_time_ms"]

    assert await see(AT) == ("unknown", None)
    await world.samples(vendor, [(AT + n * 10 * SECOND, 300) for n in range(6)])
    assert await see(AT + MINUTE) == ("healthy", 300)
    await world.samples(vendor, [(AT + MINUTE + n * 10 * SECOND, 900) for n in range(6)])
    assert await see(AT + 2 * MINUTE) == ("warning", 900)
    assert await see(AT + 4 * MINUTE) == ("warning", 900)
    assert await see(AT + 7 * MINUTE) == ("unknown", None)
    await world.wedding(vendor)
    await world.samples(vendor, [(AT + 8 * MINUTE, 300)])
    assert await see(AT + 8 * MINUTE) == ("warning", 300)
    assert (await find(world, check))["limits"]["response_time_ms"] == 250


async def test_availability_is_the_share_of_known_time(world: EngineWorld) -> None:
    """An hour up, half an hour down, and an hour of which nothing is known."""
    vendor = await world.organization()
    check = await a_check(
        world, vendor, endpoint_url="http://127.0.0.1:1/", check_interval=timedelta(days=1)
    )
    await world.run("delete from public.apm_service_status_history")
    now = datetime.now(UTC)
    for status, hours in (("unknown", 2.5), ("healthy", 1.5), ("critical", 0.5)):
        await world.run(
            "insert into public.apm_service_status_history (organization_id, check_id, status, "
            "reason, since) values (%(vendor)s, %(check)s, %(status)s, '', %(since)s)",
            vendor=vendor,
            check=check,
            status=status,
            since=now - timedelta(hours=hours),
        )
    await look(world, allow="127.0.0.1:1")
    found = await find(world, check)
    assert found["status"] == "critical"
    assert found["availability_percentage"] == pytest.approx(100 / 1.5, abs=0.1)
    windows = {
        row["window_name"]: (row["looks"], row["error_rate"], row["availability_percentage"])
        for row in await world.run("select * from public.apm_check_windows(%(id)s)", id=check)
    }
    assert windows == {
        "1h": (1, 1.0, pytest.approx(50, abs=0.1)),
        "24h": (1, 1.0, pytest.approx(100 / 1.5, abs=0.1)),
        "7d": (1, 1.0, pytest.approx(100 / 1.5, abs=0.1)),
        "30d": (1, 1.0, pytest.approx(100 / 1.5, abs=0.1)),
    }


async def test_availability_makes_a_service_critical_that_answers_and_lets_it_recover(
    world: EngineWorld, day: WorstDay
) -> None:
    vendor = await world.organization()
    check = await a_check(
        world,
        vendor,
        endpoint_url=day.url("/ok"),
        judged_over=HOUR,
        availability_warning=90.0,
        availability_critical=60.0,
    )
    await world.run("delete from public.apm_service_status_history")
    now = datetime.now(UTC)
    for status, minutes in (("critical", 50), ("healthy", 10)):
        await world.run(
            "insert into public.apm_service_status_history (organization_id, check_id, status, "
            "reason, since) values (%(vendor)s, %(check)s, %(status)s, '', %(since)s)",
            vendor=vendor,
            check=check,
            status=status,
            since=now - minutes * MINUTE,
        )
    await world.run(
        "update public.service_health_checks set status = 'healthy', status_since = %(at)s",
        at=now - 10 * MINUTE,
    )
    for _ in range(9):
        await look(world, due=True)
    assert (await find(world, check))["status"] == "healthy", "too few looks to say anything"
    await look(world, due=True)
    found = await find(world, check)
    assert (found["status"], found["is_by_figures"]) == ("critical", True)
    assert found["status_reason"].startswith("It was there 20")
    [incident] = await world.incidents(vendor)
    assert incident["title"] == "Order form fails too often"
    # It answers: the time since then is not down time, though the status is critical.
    await world.run(
        "update public.apm_service_status_history set since = since - interval '45 minutes'"
    )
    await world.run(
        "update public.service_health_checks set status_since = now() - %(m)s", m=45 * MINUTE
    )
    await look(world, due=True)
    found = await find(world, check)
    assert found["status"] == "warning", found["status_reason"]
    await world.run(
        "update public.apm_service_status_history set since = since - interval '30 minutes'"
    )
    await look(world, due=True)
    assert (await find(world, check))["status"] == "healthy"
    [incident] = await world.incidents(vendor)
    assert incident["status"] == "resolved"
