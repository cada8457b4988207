"""Checks that hang together: shared probes, dependencies, weddings, announced work, crowds."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from tests.support.checks import a_check, find, look, make_due, platform
from tests.support.engine import MINUTE, SECOND, EngineWorld, open_engine_world
from tests.support.postgres import Database
from tests.support.worst_day import WorstDay, worst_day
from wedsync_apm.checks import templates
from wedsync_apm.checks.templates import TEMPLATES, Template

KEY = "stripe_payments"


@pytest.fixture
async def world(database: Database) -> AsyncIterator[EngineWorld]:
    async with open_engine_world(database) as opened:
        yield opened


@pytest.fixture
async def day() -> AsyncIterator[WorstDay]:
    async with worst_day() as running:
        yield running


@pytest.fixture
def stripe(day: WorstDay, monkeypatch: pytest.MonkeyPatch) -> Template:
    """The catalogue's Stripe, which our own server plays: alive, it refuses us."""
    played = Template(
        key=KEY,
        display_name="Stripe payments",
        service_type="payment",
        endpoint_url=day.url("/status/401"),
        expected_status_codes=(401,),
        response_time_threshold_ms=2000,
        error_rate_threshold=0.001,
        availability_threshold=99.99,
        check_seconds=60,
        wedding_critical=True,
    )
    for module in ("wedsync_apm.engine.probe", "wedsync_apm.checks.templates"):
        monkeypatch.setattr(f"{module}.TEMPLATES", {**TEMPLATES, KEY: played})
    assert templates.TEMPLATES[KEY] is played
    return played


async def adopt(world: EngineWorld, vendor: UUID, **columns: Any) -> UUID:
    """As one click does."""
    return await a_check(
        world,
        vendor,
        service_name=KEY,
        display_name="Stripe payments",
        shared_key=KEY,
        expected_status_codes=[401],
        response_time_threshold_ms=2000,
        error_rate_threshold=0.001,
        availability_threshold=99.99,
        wedding_critical=True,
        **columns,
    )


async def becomes(world: EngineWorld, day: WorstDay, path: str) -> None:
    """The service behind the platform's probe changes, as if behind the same address."""
    await world.run(
        "alter table public.service_health_checks disable trigger service_health_checks_restart"
    )
    await world.run(
        "update public.service_health_checks set endpoint_url = %(url)s where is_shared",
        url=day.url(path),
    )


async def test_one_call_serves_everybody(
    world: EngineWorld, day: WorstDay, stripe: Template
) -> None:
    home = await platform(world)
    vendors = [await world.organization(f"Vendor {n}") for n in range(30)]
    mine = [await adopt(world, vendor) for vendor in vendors]
    await look(world)  # makes the platform's probe
    await look(world)  # which looks, and has those who share it look
    await look(world, due=True)
    calls = len(day.requests)
    assert 1 <= calls <= 2
    for check in mine:
        found = await find(world, check)
        assert (found["status"], found["caused_by"]) == ("healthy", None)
        assert found["response_time_ms"] is not None
        assert found["availability_percentage"] == 100
    # Everybody has it in his own charts; results are counted once, at the platform's.
    samples = await world.run(
        "select distinct organization_id from public.apm_samples where metric_name = %(key)s",
        key=KEY,
    )
    assert {row["organization_id"] for row in samples} == {home, *vendors}
    tallies = await world.run("select * from public.apm_service_tallies")
    assert {row["organization_id"] for row in tallies} == {home}


async def test_a_providers_outage_is_one_incident(
    world: EngineWorld, day: WorstDay, stripe: Template
) -> None:
    home = await platform(world)
    vendors = [await world.organization(f"Vendor {n}") for n in range(40)]
    mine = [await adopt(world, vendor) for vendor in vendors]
    for _ in range(3):
        await look(world, due=True)
    await becomes(world, day, "/status/500")
    for _ in range(3):
        await look(world, due=True)
    # One of them has something of his own that cannot work without it.
    form = await a_check(
        world, vendors[0], endpoint_url=day.url("/status/500"), depends_on=[mine[0]]
    )
    await look(world, due=True)
    for check in mine:
        found = await find(world, check)
        assert (found["status"], found["caused_by"]) == ("critical", f"service:{KEY}")
        assert found["status_reason"] == "It answers with an error (HTTP 500)"
    assert (await find(world, form))["caused_by"] == f"service:{KEY}"
    incidents = await world.run(
        "select organization_id, title, severity, status from public.apm_incidents"
    )
    assert incidents == [
        {
            "organization_id": home,
            "title": "Stripe payments does not work",
            "severity": "critical",
            "status": "open",
        }
    ]
    await becomes(world, day, "/status/401")
    for _ in range(3):
        await look(world, due=True)
    assert {(await find(world, check))["status"] for check in mine} == {"healthy"}
    # The form is down still, and no longer for Stripe: now it is its own incident.
    [own] = await world.run("select * from public.apm_incidents where status = 'open'")
    assert (own["organization_id"], own["title"]) == (vendors[0], "Order form does not work")


async def test_without_a_platform_everybody_calls_for_himself(
    world: EngineWorld, day: WorstDay, stripe: Template
) -> None:
    vendors = [await world.organization(f"Vendor {n}") for n in range(2)]
    mine = [await adopt(world, vendor) for vendor in vendors]
    await look(world)
    assert len(day.requests) == 2
    assert {(await find(world, check))["status"] for check in mine} == {"healthy"}
    stripe_down = Template(
        **{
            **{f: getattr(stripe, f) for f in Template.__dataclass_fields__},
            "endpoint_url": day.url("/status/500"),
        }
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("wedsync_apm.engine.probe.TEMPLATES", {KEY: stripe_down})
        await look(world, due=True)
    incidents = await world.run("select organization_id from public.apm_incidents")
    assert {row["organization_id"] for row in incidents} == set(vendors)


async def test_whoever_shares_a_probe_keeps_his_own_limits(
    world: EngineWorld, day: WorstDay, stripe: Template
) -> None:
    await platform(world)
    strict, easy = await world.organization("Strict"), await world.organization("Easy")
    strict_check = await adopt(world, strict)
    easy_check = await adopt(world, easy)
    await world.run(
        "update public.service_health_checks set response_time_threshold_ms = 0.0001 "
        "where id = %(id)s",
        id=strict_check,
    )
    for _ in range(3):
        await look(world, due=True)
    slow, well = await find(world, strict_check), await find(world, easy_check)
    assert (slow["status"], well["status"]) == ("warning", "healthy")
    # It is the platform's affair all the same: no incident of the vendor's.
    assert slow["caused_by"] == f"service:{KEY}"
    assert await world.run("select id from public.apm_incidents") == []


async def looked_before(world: EngineWorld, failures: int, looks: int = 100) -> None:
    """What the platform's probe saw within the last hour and before it."""
    await world.run(
        "insert into public.apm_service_tallies (organization_id, check_id, hour, looks, failures) "
        "select organization_id, id, h, array_fill(%(looks)s::int2, array[12]), "
        "array_fill(%(failures)s::int2, array[12]) from public.service_health_checks, "
        "generate_series(date_trunc('hour', now(), 'UTC') - interval '5 hours', "
        "date_trunc('hour', now(), 'UTC'), interval '1 hour') as h where is_shared "
        "on conflict (organization_id, check_id, hour) do update "
        "set looks = excluded.looks, failures = excluded.failures",
        looks=looks,
        failures=failures,
    )


async def test_whoever_shares_a_probe_is_told_by_his_own_window_and_limits(
    world: EngineWorld, day: WorstDay, stripe: Template
) -> None:
    """One in ten looks fails: too many for the platform, and for whoever asks for less."""
    await platform(world)
    limits = {
        "Strict": (0.01, 0.05),
        "Careful": (0.05, None),
        "Easy": (0.5, None),
    }
    mine = {}
    for name, (warning, critical) in limits.items():
        mine[name] = await adopt(world, await world.organization(name))
        await world.run(
            "update public.service_health_checks set error_rate_threshold = %(warning)s, "
            "error_rate_critical = %(critical)s, judged_over = '2 hours' where id = %(id)s",
            warning=warning,
            critical=critical,
            id=mine[name],
        )
    for _ in range(3):
        await look(world, due=True)
    assert {(await find(world, one))["status"] for one in mine.values()} == {"healthy"}
    await looked_before(world, failures=10)
    for _ in range(2):
        await look(world, due=True)
    found = {name: await find(world, one) for name, one in mine.items()}
    assert {name: one["status"] for name, one in found.items()} == {
        "Strict": "critical",
        "Careful": "warning",
        "Easy": "healthy",
    }
    strict = found["Strict"]
    assert strict["is_by_figures"]
    assert strict["error_rate"] == pytest.approx(0.1, abs=0.005)
    assert strict["status_reason"].endswith(
        "looks within the last 2 hours failed, and at most 5 % should"
    )
    # The probe is bad by the platform's limit, which is nothing to those who ask for less.
    [probe] = await world.run("select * from public.service_health_checks where is_shared")
    assert (probe["status"], probe["is_by_figures"]) == ("warning", True)
    assert "failed" not in found["Easy"]["status_reason"]
    # It answers: none of this is down time, in anybody's figures or charts.
    [up] = await world.run(
        "select min(metric_value) as least from public.apm_samples "
        "where service_name = 'service_up' and metric_name = %(key)s",
        key=KEY,
    )
    assert up["least"] == 1
    assert {one["availability_percentage"] for one in found.values()} == {100}
    history = await world.run(
        "select status, is_by_figures from public.apm_service_status_history "
        "where check_id = %(id)s and status <> 'unknown' order by since",
        id=mine["Strict"],
    )
    assert [(one["status"], one["is_by_figures"]) for one in history] == [
        ("healthy", False),
        ("critical", True),
    ]
    # Well again at half of the limit: 3 % is still a warning for who asks for 1 %.
    await looked_before(world, failures=3)
    for _ in range(3):
        await look(world, due=True)
    now = {name: (await find(world, one))["status"] for name, one in mine.items()}
    assert now == {"Strict": "critical", "Careful": "warning", "Easy": "healthy"}
    await looked_before(world, failures=0)
    for _ in range(3):
        await look(world, due=True)
    assert {(await find(world, one))["status"] for one in mine.values()} == {"healthy"}


async def test_whoever_shares_a_probe_is_told_by_how_long_it_was_away(
    world: EngineWorld, day: WorstDay, stripe: Template
) -> None:
    """Twelve minutes down within two hours, before which it was there for a day."""
    await platform(world)
    wanted = {"Strict": (95.0, 92.0), "Careful": (95.0, 50.0), "Easy": (None, None)}
    mine = {}
    for name, (warning, critical) in wanted.items():
        mine[name] = await adopt(world, await world.organization(name))
        await world.run(
            "update public.service_health_checks set availability_warning = %(warning)s, "
            "availability_critical = %(critical)s, judged_over = '2 hours' where id = %(id)s",
            warning=warning,
            critical=critical,
            id=mine[name],
        )
    long = await adopt(world, await world.organization("Long"))
    await world.run(
        "update public.service_health_checks set availability_warning = 95, judged_over = '1 day' "
        "where id = %(id)s",
        id=long,
    )
    for _ in range(3):
        await look(world, due=True)
    await looked_before(world, failures=0)
    await world.run(
        "delete from public.apm_service_status_history where check_id = "
        "(select id from public.service_health_checks where is_shared)"
    )
    now = datetime.now(UTC)
    for status, minutes in (("healthy", 1440), ("critical", 40), ("healthy", 28)):
        await world.run(
            "insert into public.apm_service_status_history (organization_id, check_id, status, "
            "reason, since) select organization_id, id, %(status)s, '', %(since)s "
            "from public.service_health_checks where is_shared",
            status=status,
            since=now - minutes * MINUTE,
        )
    for _ in range(2):
        await look(world, due=True)
    found = {name: await find(world, one) for name, one in {**mine, "Long": long}.items()}
    assert {name: one["status"] for name, one in found.items()} == {
        "Strict": "critical",
        "Careful": "warning",
        "Easy": "healthy",
        "Long": "healthy",
    }
    assert found["Strict"]["status_reason"].startswith("It was there 90 % of the last 2 hours")
    # The provider's trouble is the platform's affair.
    assert await world.run("select id from public.apm_incidents") == []
    assert found["Strict"]["caused_by"] == f"service:{KEY}"


async def test_figures_of_a_shared_probe_are_tighter_for_whose_wedding_it_is(
    world: EngineWorld, day: WorstDay, stripe: Template
) -> None:
    await platform(world)
    calm, busy = await world.organization("Calm"), await world.organization("Busy")
    checks = await adopt(world, calm), await adopt(world, busy)
    await world.run(
        "update public.service_health_checks set error_rate_threshold = 0.2 where not is_shared"
    )
    await world.wedding(busy, datetime.now(UTC).date(), zone="UTC")
    for _ in range(3):
        await look(world, due=True)
    await looked_before(world, failures=10)
    for _ in range(2):
        await look(world, due=True)
    at_calm, at_busy = [await find(world, one) for one in checks]
    assert (at_calm["status"], at_busy["status"]) == ("healthy", "warning")
    assert at_busy["status_reason"].endswith("at most 2 % should while a wedding is under way")
    assert "wedding" not in at_calm["status_reason"]


async def test_a_wedding_anywhere_hastens_the_shared_probe(
    world: EngineWorld, day: WorstDay, stripe: Template
) -> None:
    await platform(world)
    calm, busy = await world.organization("Calm"), await world.organization("Busy")
    calm_check, busy_check = await adopt(world, calm), await adopt(world, busy)
    await world.wedding(busy, datetime.now(UTC).date(), zone="UTC")
    await look(world)
    await look(world)
    await look(world, due=True)
    await look(world, due=True)
    found = {row["service_name"]: row for row in await world.run(
        "select * from public.service_health_checks where is_shared"
    )}  # fmt: skip
    assert found[KEY]["effective_interval"] == 10 * SECOND
    at_busy, at_calm = await find(world, busy_check), await find(world, calm_check)
    assert at_busy["effective_interval"] == 10 * SECOND
    assert at_busy["limits"] == {
        "response_time_ms": 1000,
        "error_rate": 0.0001,
        "availability_percentage": 99.99,
        "is_wedding": True,
    }
    assert at_calm["limits"]["is_wedding"] is False
    assert at_calm["limits"]["response_time_ms"] == 2000
    # Nobody reads of the other's wedding.
    assert "wedding" not in at_calm["status_reason"]
    assert "wedding" not in found[KEY]["status_reason"]


async def test_nobody_makes_the_shared_probe_oftener_for_all(
    world: EngineWorld, day: WorstDay, stripe: Template
) -> None:
    await platform(world)
    vendor = await world.organization()
    await adopt(world, vendor, check_interval=5 * SECOND)
    # on a Tuesday, when the platform itself is not on its guard
    at = datetime(2026, 6, 16, 12, tzinfo=UTC)
    for _ in range(3):
        await make_due(world)
        await look(world, at)
    [probe] = await world.run("select * from public.service_health_checks where is_shared")
    assert probe["effective_interval"] == MINUTE
    assert probe["limits"]["is_wedding"] is False


async def test_a_wedding_makes_slowness_critical(world: EngineWorld, day: WorstDay) -> None:
    vendor = await world.organization()
    await world.wedding(vendor, datetime.now(UTC).date(), zone="UTC")
    check = await a_check(
        world,
        vendor,
        endpoint_url=day.url("/ok"),
        response_time_threshold_ms=0.001,
        wedding_critical=True,
        check_interval=timedelta(minutes=15),
    )
    await look(world)
    found = await find(world, check)
    assert found["status"] == "warning"
    assert "while a wedding is under way (under 0.01 s on other days)" in found["status_reason"]
    assert found["effective_interval"] == 10 * SECOND
    [incident] = await world.incidents(vendor)
    assert (incident["severity"], incident["priority"]) == ("critical", "critical")
    assert incident["was_wedding_day"]
    assert len(incident["affected_weddings"]) == 1


async def test_announced_work_is_told_and_disturbs_nobody(
    world: EngineWorld, day: WorstDay
) -> None:
    vendor = await world.organization()
    check = await a_check(world, vendor, endpoint_url=day.url("/status/500"))
    other = await a_check(world, vendor, service_name="other", endpoint_url=day.url("/status/500"))
    await world.run(
        "insert into public.apm_maintenance_windows (organization_id, name, reason, matchers, "
        "starts_at, ends_at) values (%(vendor)s, 'Move', 'moving house', "
        '\'[{"label": "service", "operator": "=", "value": "order_form"}]\', '
        "now() - interval '1 minute', now() + interval '1 hour')",
        vendor=vendor,
    )
    await look(world)
    found = await find(world, check)
    assert (found["status"], found["status_reason"]) == (
        "maintenance",
        "It is being worked on: moving house",
    )
    assert (await find(world, other))["status"] == "critical"
    incidents = await world.incidents(vendor)
    assert [one["dedup_key"] for one in incidents] == [f"check:1:{other}"]
    # Looking goes on: what came is in the charts, and not in the figures of the service.
    samples = await world.run(
        "select metric_value from public.apm_samples "
        "where service_name = 'service_up' and metric_name = 'order_form'"
    )
    assert [row["metric_value"] for row in samples] == [0]
    assert found["error_rate"] is None


async def test_an_incident_waits_for_what_its_check_depends_on(
    world: EngineWorld, day: WorstDay
) -> None:
    vendor = await world.organization()
    far = datetime.now(UTC) + timedelta(hours=1)
    base = await a_check(
        world, vendor, service_name="base", endpoint_url=day.url("/ok"), check_interval=5 * MINUTE
    )
    await look(world)
    await world.run(
        "alter table public.service_health_checks disable trigger service_health_checks_restart"
    )
    await world.run(
        "update public.service_health_checks set endpoint_url = %(url)s, next_check_at = %(far)s, "
        "last_check_at = last_check_at - interval '1 minute'",
        url=day.url("/status/500"),
        far=far,
    )
    form = await a_check(world, vendor, endpoint_url=day.url("/status/500"), depends_on=[base])
    await look(world)
    # It is down, but what lies below has not been looked at since: that is hastened, nobody called.
    assert (await find(world, form))["status"] == "critical"
    assert await world.incidents(vendor) == []
    assert (await find(world, base))["next_check_at"] < far - MINUTE
    await look(world)
    assert (await find(world, base))["status"] == "critical"
    await look(world, due=True)
    assert (await find(world, form))["caused_by"] == f"check:{base}"
    assert [one["dedup_key"] for one in await world.incidents(vendor)] == [f"check:1:{base}"]


async def test_who_looks_is_not_overtaken_by_those_who_wait_for_him(
    world: EngineWorld, day: WorstDay, stripe: Template
) -> None:
    """Those who share a probe want it soon, again and again, while it is being made."""
    await platform(world)
    vendor = await world.organization()
    mine = await adopt(world, vendor)
    await world.wedding(vendor, datetime.now(UTC).date(), zone="UTC")
    for _ in range(3):
        await look(world, due=True)
    await becomes(world, day, "/slow-head")
    await world.run(
        "update public.service_health_checks set timeout_seconds = 30, next_check_at = now(), "
        "last_check_at = last_check_at - interval '1 minute' where is_shared"
    )
    await world.run(
        "update public.service_health_checks set next_check_at = now() + interval '1 hour' "
        "where not is_shared"
    )
    connections = day.connections
    looking = asyncio.create_task(look(world))
    async with asyncio.timeout(60):
        while day.connections == connections:
            await asyncio.sleep(0.01)
    await world.run(
        "update public.service_health_checks set next_check_at = now() where id = %(id)s", id=mine
    )
    await look(world)
    await day.hang_up()
    await looking
    [probe] = await world.run(
        "select candidate, candidate_count from public.service_health_checks where is_shared"
    )
    assert probe == {"candidate": "critical", "candidate_count": 1}


async def test_the_platforms_guard_tightens_what_weddings_hang_on(
    world: EngineWorld, day: WorstDay
) -> None:
    vendor = await world.organization()
    quarter = timedelta(minutes=15)
    critical = await a_check(
        world,
        vendor,
        endpoint_url=day.url("/ok"),
        wedding_critical=True,
        check_interval=quarter,
    )
    other = await a_check(
        world, vendor, service_name="o", endpoint_url=day.url("/ok"), check_interval=quarter
    )
    found: dict[str, tuple[timedelta, timedelta]] = {}
    # A Tuesday, a Friday night and a Saturday, wherever the platform is in Europe.
    for name, at in (
        ("normal", datetime(2026, 6, 16, 12, tzinfo=UTC)),
        ("enhanced", datetime(2026, 6, 19, 20, tzinfo=UTC)),
        ("maximum", datetime(2026, 6, 20, 12, tzinfo=UTC)),
    ):
        [guard] = await world.run("select mode from apm_private.guard_level_at(%(at)s)", at=at)
        assert guard["mode"] == name
        await make_due(world)
        await look(world, at)
        found[name] = (
            (await find(world, critical))["effective_interval"],
            (await find(world, other))["effective_interval"],
        )
    assert found == {
        "normal": (quarter, quarter),
        "enhanced": (30 * SECOND, 3 * MINUTE),
        "maximum": (15 * SECOND, 90 * SECOND),
    }


@pytest.mark.parametrize("shape", ["stranger", "itself", "circle"])
async def test_dependencies_are_of_the_same_organization_and_no_circle(
    world: EngineWorld, shape: str
) -> None:
    vendor, other = await world.organization(), await world.organization("Other")
    one = await a_check(world, vendor, service_name="one", source_metric="a.b")
    two = await a_check(world, vendor, service_name="two", source_metric="a.c", depends_on=[one])
    theirs = await a_check(world, other, source_metric="a.b")
    with pytest.raises(Exception, match="depend") as caught:
        await world.run(
            "update public.service_health_checks set depends_on = %(ids)s where id = %(id)s",
            id=one,
            ids={"stranger": [theirs], "itself": [one], "circle": [two]}[shape],
        )
    assert getattr(caught.value, "sqlstate", "") == "23514"


async def test_the_figures_of_days_long_past_are_let_go(world: EngineWorld, day: WorstDay) -> None:
    vendor = await world.organization()
    check = await a_check(world, vendor, endpoint_url=day.url("/ok"))
    await world.run("delete from public.apm_service_status_history")
    for days, status in ((150, "critical"), (100, "healthy"), (20, "critical"), (10, "healthy")):
        await world.run(
            "insert into public.apm_service_status_history values (%(vendor)s, %(check)s, "
            "%(status)s, '', now() - make_interval(days => %(days)s))",
            vendor=vendor,
            check=check,
            status=status,
            days=days,
        )
        await world.run(
            "insert into public.apm_service_tallies (organization_id, check_id, hour) values "
            "(%(vendor)s, %(check)s, date_trunc('hour', now() - make_interval(days => %(days)s), "
            "'UTC'))",
            vendor=vendor,
            check=check,
            days=days,
        )
    await look(world)
    history = await world.run(
        "select extract(day from now() - since)::int as days from "
        "public.apm_service_status_history order by since"
    )
    # The one that held when what a status page shows began stays.
    assert [row["days"] for row in history] == [100, 20, 10, 0]
    tallies = await world.run("select count(*) as tallies from public.apm_service_tallies")
    assert tallies == [{"tallies": 3}]


async def test_a_thousand_who_share_a_probe_cost_one_call_and_few_statements(
    world: EngineWorld, day: WorstDay, stripe: Template
) -> None:
    await platform(world)
    await world.run(
        "insert into public.organizations (id, name) "
        "select gen_random_uuid(), 'V ' || n from generate_series(1, 1000) as n"
    )
    await world.run(
        "insert into public.service_health_checks (organization_id, service_name, display_name, "
        "shared_key, failures_to_confirm, recoveries_to_confirm) "
        "select id, %(key)s, 'Stripe', %(key)s, 1, 1 from public.organizations "
        "where name like 'V %%'",
        key=KEY,
    )
    for _ in range(4):
        await look(world)
    await make_due(world)
    begun = asyncio.get_running_loop().time()
    await look(world)
    await look(world)
    spent = asyncio.get_running_loop().time() - begun
    found = await world.run(
        "select status, count(*) as checks from public.service_health_checks "
        "where shared_key is not null group by status"
    )
    assert found == [{"status": "healthy", "checks": 1000}]
    assert len(day.requests) <= 3
    assert spent < 60
