"""Health checks as the engine makes them, over a real database and real sockets."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit
from uuid import UUID

import pytest

from tests.support.engine import AT, MINUTE, SECOND, EngineWorld, open_engine_world
from tests.support.postgres import Database
from tests.support.worst_day import WorstDay, worst_day
from wedsync_apm.egress import EgressClient, EgressPolicy
from wedsync_apm.engine import probe as job
from wedsync_apm.engine.probe import Probe


@pytest.fixture
async def world(database: Database) -> AsyncIterator[EngineWorld]:
    async with open_engine_world(database) as opened:
        yield opened


@pytest.fixture
async def day() -> AsyncIterator[WorstDay]:
    async with worst_day() as running:
        yield running


@pytest.fixture(autouse=True)
def no_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second try comes at once."""
    monkeypatch.setattr(job, "RETRY_SECONDS", 0.0)


async def a_check(world: EngineWorld, vendor: UUID, **columns: object) -> UUID:
    """A check that is due."""
    values = {
        "organization_id": vendor,
        "service_name": "order_form",
        "display_name": "Order form",
        "next_check_at": AT - MINUTE,
        **columns,
    }
    names = ", ".join(values)
    gaps = ", ".join(f"%({name})s" for name in values)
    rows = await world.run(
        f"insert into public.service_health_checks ({names}) values ({gaps}) returning id",
        **values,
    )
    check_id: UUID = rows[0]["id"]
    return check_id


async def probe(world: EngineWorld, at: datetime | None = None, allow: str = "127.0.0.0/8") -> None:
    """One run over the due checks."""
    client = EgressClient(EgressPolicy.parse([allow] if allow else []))
    try:
        async with world.engine.connection() as cx:
            await Probe(client).run_once(cx, at or datetime.now(UTC))
    finally:
        await client.aclose()


async def test_only_the_platforms_own_checks_reach_our_own_address(
    world: EngineWorld, day: WorstDay
) -> None:
    home, vendor = await world.organization(), await world.organization()
    await world.run("insert into apm_private.platform (organization_id) values (%(id)s)", id=home)
    own = await a_check(world, home, endpoint_url=day.url("/ok"))
    theirs = await a_check(world, vendor, endpoint_url=day.url("/ok"))
    policy = EgressPolicy.parse([])
    client = EgressClient(policy)
    own_client = EgressClient(policy.allowing(urlsplit(day.url("/ok")).netloc))
    try:
        async with world.engine.connection() as cx:
            await Probe(client, own_client=own_client).run_once(cx, datetime.now(UTC))
    finally:
        await client.aclose()
        await own_client.aclose()
    assert (await find(world, own))["status"] == "healthy"
    assert (await find(world, theirs))["status"] != "healthy"
    assert len(day.requests) == 1


async def find(world: EngineWorld, check_id: UUID) -> dict[str, object]:
    """A check as it stands."""
    (row,) = await world.run(
        "select * from public.service_health_checks where id = %(id)s", id=check_id
    )
    return row


@pytest.mark.parametrize(
    ("path", "status", "reason", "requests"),
    [
        ("/ok", "healthy", "It takes ", 1),
        ("/redirect/2", "healthy", "It takes ", 3),
        ("/status/503", "maintenance", "It says that it is being worked on", 1),
        ("/status/500", "critical", "It answers with an error (HTTP 500)", 2),
        ("/status/404", "warning", "It answers, but not as expected (HTTP 404)", 1),
        ("/reset", "critical", "It does not answer: ", 2),
        ("/slow-head", "critical", "It does not answer: ", 2),
        ("/garbage", "critical", "It does not answer: ", 2),
    ],
)
async def test_what_an_answer_says(
    world: EngineWorld, day: WorstDay, *, path: str, status: str, reason: str, requests: int
) -> None:
    vendor = await world.organization()
    check = await a_check(world, vendor, endpoint_url=day.url(path), timeout_seconds=0.3)
    await probe(world)
    found = await find(world, check)
    assert found["status"] == status
    assert str(found["status_reason"]).startswith(reason)
    assert len(day.requests) == requests
    assert found["last_check_at"] is not None
    samples = await world.run("select * from public.apm_samples")
    if found["response_time_ms"] is not None:
        (sample,) = samples
        assert (sample["service_name"], sample["metric_name"]) == ("service_health", "order_form")
        assert (sample["metric_value"], sample["unit"]) == (found["response_time_ms"], "ms")
    else:
        assert samples == []
    rate = {"critical": 1.0, "maintenance": None}.get(status, 0.0)
    assert found["error_rate"] == rate


async def test_an_expected_401_is_a_sign_of_life(world: EngineWorld, day: WorstDay) -> None:
    vendor = await world.organization()
    check = await a_check(
        world, vendor, endpoint_url=day.url("/status/401"), expected_status_codes=[200, 401]
    )
    await probe(world)
    assert (await find(world, check))["status"] == "healthy"


async def test_slow_is_a_warning(world: EngineWorld, day: WorstDay) -> None:
    vendor = await world.organization()
    check = await a_check(
        world, vendor, endpoint_url=day.url("/ok"), response_time_threshold_ms=0.001
    )
    await probe(world)
    found = await find(world, check)
    assert found["status"] == "warning"
    assert "and should take at most" in str(found["status_reason"])


async def test_an_inner_address_is_not_called(world: EngineWorld, day: WorstDay) -> None:
    vendor = await world.organization()
    check = await a_check(world, vendor, endpoint_url=day.url("/ok"))
    await probe(world, allow="")
    found = await find(world, check)
    assert found["status"] == "unknown"
    assert str(found["status_reason"]).startswith("It cannot be checked")
    assert day.requests == []


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
        await probe(world, now + n * SECOND)
    # After the pause of 280 s it is not made 28 times over.
    assert len(day.requests) == 5


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

    async def look(at: datetime) -> tuple[object, object]:
        await world.run("update public.service_health_checks set next_check_at = %(at)s", at=at)
        await probe(world, at)
        found = await find(world, check)
        return found["status"], found["response_time_ms"]

    assert await look(AT) == ("unknown", None)
    await world.samples(vendor, [(AT + n * 10 * SECOND, 300) for n in range(6)])
    assert await look(AT + MINUTE) == ("healthy", 300)
    await world.samples(vendor, [(AT + MINUTE + n * 10 * SECOND, 900) for n in range(6)])
    assert await look(AT + 2 * MINUTE) == ("warning", 900)
    assert await look(AT + 4 * MINUTE) == ("warning", 900)
    assert await look(AT + 7 * MINUTE) == ("unknown", None)
    await world.wedding(vendor)
    await world.samples(vendor, [(AT + 8 * MINUTE, 300)])
    assert await look(AT + 8 * MINUTE) == ("warning", 300)


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
            "insert into public.apm_service_status_history values "
            "(%(vendor)s, %(check)s, %(status)s, '', %(since)s)",
            vendor=vendor,
            check=check,
            status=status,
            since=now - timedelta(hours=hours),
        )
    await probe(world)
    found = await find(world, check)
    assert found["status"] == "critical"
    assert found["availability_percentage"] == pytest.approx(100 / 1.5, abs=0.1)
