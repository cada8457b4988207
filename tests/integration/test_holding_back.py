"""Silences, maintenance and inhibition hold back telling people, and nothing else."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg.types.json import Jsonb

from tests.support.checks import platform
from tests.support.engine import AT, MINUTE, SECOND, EngineWorld, open_engine_world
from tests.support.postgres import Database

HOUR = timedelta(hours=1)
FORMS = [{"label": "service", "operator": "=", "value": "forms"}]


@pytest.fixture
async def world(database: Database) -> AsyncIterator[EngineWorld]:
    async with open_engine_world(database) as opened:
        yield opened


async def vendor_with_ladder(world: EngineWorld, name: str = "Fern & Field") -> UUID:
    vendor = await world.organization(name)
    await world.ladder(
        vendor,
        (timedelta(), "none", [await world.contact(vendor, "Priya")]),
        (2 * MINUTE, "manager", [await world.contact(vendor, "Mo")]),
    )
    return vendor


async def open_one(
    world: EngineWorld,
    organization_id: UUID,
    at: datetime = AT,
    *,
    key: str = "test",
    severity: str = "warning",
    labels: Mapping[str, str] | None = None,
) -> UUID:
    """An incident that no rule opened."""
    rows = await world.run(
        "select apm_private.open_incident(%(organization_id)s, %(key)s, 'It is slow', "
        "%(severity)s, %(labels)s, '{}', %(at)s) as id",
        organization_id=organization_id,
        key=key,
        severity=severity,
        labels=Jsonb(dict(labels or {"service": "forms"})),
        at=at,
    )
    opened: UUID = rows[0]["id"]
    return opened


async def end_one(
    world: EngineWorld, organization_id: UUID, at: datetime, key: str = "test"
) -> None:
    await world.run(
        "select apm_private.end_incident(%(organization_id)s, %(key)s, 'over', %(at)s)",
        organization_id=organization_id,
        key=key,
        at=at,
    )


async def silence(
    world: EngineWorld,
    organization_id: UUID,
    *,
    starts_at: datetime = AT,
    ends_at: datetime = AT + HOUR,
    matchers: Sequence[Mapping[str, str]] = FORMS,
    at: datetime = AT - HOUR,
) -> UUID:
    async with world.owner.connection() as cx:
        await cx.execute("select set_config('apm.at', %s, true)", (at.isoformat(),))
        row = await (
            await cx.execute(
                "insert into public.apm_silences (organization_id, matchers, starts_at, ends_at, "
                "reason, owner) values (%s, %s, %s, %s, 'New server', 'Priya') returning id",
                (organization_id, Jsonb(list(matchers)), starts_at, ends_at),
            )
        ).fetchone()
    assert row is not None
    made: UUID = row["id"]
    return made


async def told(world: EngineWorld, organization_id: UUID) -> list[tuple[str, str]]:
    return [
        (row["kind"], row["receiver"])
        for row in await world.run(
            "select kind, recipient ->> 'name' as receiver from public.apm_deliveries "
            "where organization_id = %(id)s order by due_at, id",
            id=organization_id,
        )
    ]


async def timeline(world: EngineWorld, organization_id: UUID) -> list[str]:
    return [row["kind"] for row in await world.events(organization_id)]


async def test_a_silenced_incident_opens_and_tells_nobody_until_the_silence_ends(
    world: EngineWorld,
) -> None:
    vendor = await vendor_with_ladder(world)
    await silence(world, vendor, ends_at=AT + 10 * MINUTE)
    await open_one(world, vendor)
    for n in range(0, 600, 20):
        await world.escalate(AT + n * SECOND)
    assert await told(world, vendor) == []
    assert await timeline(world, vendor) == ["opened", "held"]
    (held,) = [one for one in await world.events(vendor) if one["kind"] == "held"]
    assert held["message"] == "Silenced until 2026-06-20 13:10 UTC by Priya: New server"
    await world.escalate(AT + 10 * MINUTE + 5 * SECOND)
    assert await told(world, vendor) == [("page", "Priya")]
    assert await timeline(world, vendor) == ["opened", "held", "released", "escalated"]
    # The second rung's time counts from the first.
    await world.escalate(AT + 12 * MINUTE)
    assert len(await told(world, vendor)) == 1
    await world.escalate(AT + 12 * MINUTE + 6 * SECOND)
    assert await told(world, vendor) == [("page", "Priya"), ("page", "Mo")]


async def test_whoever_was_told_is_told_the_end_though_a_silence_began_in_between(
    world: EngineWorld,
) -> None:
    vendor = await vendor_with_ladder(world)
    await open_one(world, vendor)
    await world.escalate(AT)
    await silence(world, vendor, starts_at=AT + MINUTE)
    await world.escalate(AT + 3 * MINUTE)
    assert await told(world, vendor) == [("page", "Priya")], "the ladder waits at its second rung"
    await end_one(world, vendor, AT + 5 * MINUTE)
    assert await told(world, vendor) == [("page", "Priya"), ("resolved", "Priya")]


async def test_who_was_told_nothing_hears_no_end(world: EngineWorld) -> None:
    vendor = await vendor_with_ladder(world)
    await silence(world, vendor)
    await open_one(world, vendor)
    await world.escalate(AT)
    await end_one(world, vendor, AT + 5 * MINUTE)
    await world.escalate(AT + 2 * HOUR)
    assert await told(world, vendor) == []


async def test_an_end_is_told_once_and_not_again_after_a_return_that_nobody_heard_of(
    world: EngineWorld,
) -> None:
    vendor = await vendor_with_ladder(world)
    await open_one(world, vendor)
    await world.escalate(AT)
    await end_one(world, vendor, AT + MINUTE)
    await world.run("update public.apm_deliveries set state = 'sent'")
    await silence(world, vendor, starts_at=AT + MINUTE)
    await open_one(world, vendor, AT + 2 * MINUTE)
    await world.escalate(AT + 2 * MINUTE)
    await end_one(world, vendor, AT + 3 * MINUTE)
    assert await told(world, vendor) == [("page", "Priya"), ("resolved", "Priya")]


async def test_an_end_that_was_not_sent_is_still_owed_after_a_return(world: EngineWorld) -> None:
    vendor = await vendor_with_ladder(world)
    await open_one(world, vendor)
    await world.escalate(AT)
    await end_one(world, vendor, AT + MINUTE)
    await world.run(
        "update public.apm_deliveries set state = case kind when 'page' then 'sent' "
        "else 'cancelled' end"
    )
    await silence(world, vendor, starts_at=AT + MINUTE)
    await open_one(world, vendor, AT + 2 * MINUTE)
    await end_one(world, vendor, AT + 3 * MINUTE)
    assert [kind for kind, _ in await told(world, vendor)] == ["page", "resolved", "resolved"]


async def test_a_silence_that_is_ended_early_lets_go_at_once(
    world: EngineWorld, database: Database
) -> None:
    vendor = await vendor_with_ladder(world)
    silence_id = await silence(world, vendor)
    await open_one(world, vendor)
    await world.escalate(AT)
    await world.run(
        "update public.apm_silences set expired_at = %(at)s where id = %(id)s",
        at=AT + SECOND,
        id=silence_id,
    )
    await world.escalate(AT + 2 * SECOND)
    assert await told(world, vendor) == [], "it is looked at every five seconds"
    await world.escalate(AT + 5 * SECOND)
    assert await told(world, vendor) == [("page", "Priya")]


async def test_a_person_who_does_not_wait_is_told_through_a_silence(world: EngineWorld) -> None:
    vendor = await vendor_with_ladder(world)
    await silence(world, vendor)
    incident = await open_one(world, vendor)
    await world.escalate(AT)
    user_id = uuid4()
    await world.run(
        "insert into public.apm_memberships (organization_id, user_id, role) values "
        "(%(vendor)s, %(user)s, 'MEMBER')",
        vendor=vendor,
        user=user_id,
    )
    async with world.owner.connection() as cx:
        await cx.execute(
            "select set_config('request.jwt.claims', %s, true)", (f'{{"sub": "{user_id}"}}',)
        )
        await cx.execute("select public.apm_escalate_incident(%s, %s)", (incident, AT + SECOND))
    await world.escalate(AT + SECOND)
    assert await told(world, vendor) == [("page", "Priya")]
    await world.escalate(AT + 5 * MINUTE)
    assert await told(world, vendor) == [("page", "Priya")], "the next rung is held back again"


async def test_a_rule_is_silenced_by_what_its_series_say(world: EngineWorld) -> None:
    vendor = await vendor_with_ladder(world)
    await world.rule(vendor, metric_pattern="forms.*")
    await silence(
        world, vendor, matchers=[{"label": "tag.page", "operator": "=~", "value": "rsvp|menu"}]
    )
    await world.samples(vendor, [(AT, 9000)], tags={"page": "rsvp"})
    await world.evaluate(AT)
    await world.escalate(AT)
    assert await told(world, vendor) == []
    (incident,) = await world.incidents(vendor)
    assert incident["status"] == "open"
    # A further series of the same incident that no silence covers.
    await world.samples(vendor, [(AT + SECOND, 9000)], tags={"page": "checkout"})
    await world.evaluate(AT + SECOND)
    await world.escalate(AT + 6 * SECOND)
    assert await told(world, vendor) == [("page", "Priya")]


async def test_a_wedding_waits_for_a_second_person(world: EngineWorld) -> None:
    vendor = await vendor_with_ladder(world)
    await world.wedding(vendor)
    silence_id = await silence(world, vendor)
    (row,) = await world.run(
        "select s.needs_approval, a.* from public.apm_silences as s, "
        "public.apm_silence_at(s.id, %(at)s) as a where s.id = %(id)s",
        at=AT,
        id=silence_id,
    )
    assert (row["needs_approval"], row["state"], row["works_until"]) == (
        True,
        "needs_approval",
        None,
    )
    assert [one["initials"] for one in row["weddings"]] == ["A & R"]
    await open_one(world, vendor, severity="critical")
    await world.escalate(AT)
    assert await told(world, vendor) == [("page", "Priya")]


async def test_an_approved_silence_works_over_the_weddings_that_were_seen_and_no_other(
    world: EngineWorld,
) -> None:
    vendor = await vendor_with_ladder(world)
    seen = await world.wedding(vendor)
    silence_id = await silence(world, vendor, ends_at=AT + 12 * HOUR)
    await world.run(
        "update public.apm_silences set approved_at = %(at)s, approved_by_name = 'Mo', "
        "approved_weddings = array[apm_private.wedding_mark(organization_id, %(seen)s, "
        "'2026-06-20')] where id = %(id)s",
        at=AT - MINUTE,
        seen=seen,
        id=silence_id,
    )
    await open_one(world, vendor, severity="critical")
    await world.escalate(AT)
    assert await told(world, vendor) == []
    # Another couple enters its wedding for the same day: nobody has said yes to that.
    await world.wedding(vendor)
    await world.escalate(AT + 6 * SECOND)
    assert await told(world, vendor) == [("page", "Priya")]


@pytest.mark.parametrize("change", ["the wedding", "its ceremony"])
async def test_a_yes_holds_for_a_wedding_at_its_time_and_for_no_other_time(
    world: EngineWorld, change: str
) -> None:
    """What was approved for the Saturday in a week is no yes to the same couple today."""
    vendor = await vendor_with_ladder(world)
    day = date(2026, 6, 27) if change == "the wedding" else date(2026, 6, 20)
    wedding = await world.wedding(vendor, day)
    silence_id = await silence(world, vendor, ends_at=AT + 12 * HOUR)
    await world.run(
        "insert into public.apm_maintenance_windows (organization_id, name, matchers, starts_at, "
        "ends_at) values (%(id)s, 'New server', '[]', %(at)s, %(at)s + interval '20 days')",
        id=vendor,
        at=AT - MINUTE,
    )
    marks = "array[apm_private.wedding_mark(organization_id, %(wedding)s, %(day)s)]"
    for table in ("apm_silences", "apm_maintenance_windows"):
        await world.run(
            f"update public.{table} set approved_at = %(at)s, approved_by_name = 'Mo', "
            f"approved_weddings = {marks}",
            at=AT - MINUTE,
            wedding=wedding,
            day=day,
        )
    await open_one(world, vendor, severity="critical")
    await world.escalate(AT)
    assert await told(world, vendor) == []
    if change == "the wedding":
        await world.run(
            "update public.apm_weddings set wedding_date = '2026-06-20' where id = %(id)s",
            id=wedding,
        )
    else:
        await world.run(
            "insert into public.apm_wedding_windows (organization_id, wedding_id, phase, span) "
            "values (%(o)s, %(id)s, 'ceremony', tstzrange(%(at)s, %(at)s + interval '30 minutes'))",
            o=vendor,
            id=wedding,
            at=AT,
        )
    await world.escalate(AT + 6 * SECOND)
    assert await told(world, vendor) == [("page", "Priya")]
    rows = await world.run(
        "select a.state, a.weddings from public.apm_silence_at(%(silence)s, %(at)s) as a "
        "union all select a.needs_approval::text, a.weddings "
        "from public.apm_maintenance_windows as m, public.apm_maintenance_at(m.id, %(at)s) as a",
        silence=silence_id,
        at=AT + MINUTE,
    )
    assert [row["state"] for row in rows] == ["ended", "true"]
    assert [[one["is_approved"] for one in row["weddings"]] for row in rows] == [[False], [False]]


async def test_a_long_silence_ends_where_the_next_wedding_begins(world: EngineWorld) -> None:
    vendor = await vendor_with_ladder(world)
    await world.wedding(vendor, date(2026, 6, 27))
    silence_id = await silence(world, vendor, ends_at=AT + timedelta(days=30))
    (row,) = await world.run(
        "select a.* from public.apm_silence_at(%(id)s, %(at)s) as a", at=AT, id=silence_id
    )
    midnight = datetime.fromisoformat("2026-06-26T23:00:00+00:00")  # in London
    assert (row["state"], row["works_until"]) == ("active", midnight)
    await open_one(world, vendor, midnight - MINUTE)
    await world.escalate(midnight - MINUTE)
    assert await told(world, vendor) == []
    await world.escalate(midnight)
    assert await told(world, vendor) == [("page", "Priya")]


async def test_a_long_silence_cannot_begin_in_a_wedding(world: EngineWorld) -> None:
    vendor = await world.organization()
    await world.wedding(vendor)
    with pytest.raises(psycopg.errors.CheckViolation, match="a wedding is under way then"):
        await silence(world, vendor, ends_at=AT + timedelta(days=30))


async def test_a_maintenance_window_holds_back_but_not_during_a_wedding(world: EngineWorld) -> None:
    vendor = await vendor_with_ladder(world)
    await world.run(
        "insert into public.apm_maintenance_windows (organization_id, name, matchers, weekdays, "
        "starts_time, ends_time, time_zone) values (%(id)s, 'Nightly work', %(forms)s, "
        "array[6], '13:30', '01:00', 'Europe/London')",
        id=vendor,
        forms=Jsonb(FORMS),
    )
    await open_one(world, vendor, key="one")
    await open_one(world, vendor, key="other", labels={"service": "shop"})
    await world.escalate(AT)
    assert await told(world, vendor) == [("page", "Priya")], "the shop is not worked on"
    await world.wedding(vendor)
    await world.escalate(AT + 6 * SECOND)
    assert await told(world, vendor) == [("page", "Priya"), ("page", "Priya")]


async def test_approved_planned_work_holds_back_during_the_weddings_that_were_seen(
    world: EngineWorld,
) -> None:
    vendor = await vendor_with_ladder(world)
    await world.wedding(vendor)
    await world.run(
        "insert into public.apm_maintenance_windows (organization_id, name, matchers, starts_at, "
        "ends_at) values (%(id)s, 'New server', %(forms)s, %(at)s, %(at)s + interval '1 hour')",
        id=vendor,
        forms=Jsonb(FORMS),
        at=AT - MINUTE,
    )
    approve = (
        "update public.apm_maintenance_windows set approved_at = now(), approved_by_name = 'Mo', "
        "approved_weddings = array(select apm_private.wedding_mark(m.organization_id, "
        "w.wedding_id, w.wedding_date) from public.apm_maintenance_windows as m, "
        "lateral apm_private.weddings_of_maintenance(m, %(at)s) as w)"
    )
    await world.run(approve, at=AT)
    await open_one(world, vendor)
    await world.escalate(AT)
    assert await told(world, vendor) == []
    # another couple's day is not among those that were seen
    await world.wedding(vendor)
    await world.escalate(AT + 6 * SECOND)
    assert await told(world, vendor) == [("page", "Priya")]


async def inhibit(
    world: EngineWorld,
    organization_id: UUID,
    source: Sequence[Mapping[str, str]],
    target: Sequence[Mapping[str, str]],
    equal: Sequence[str] = (),
    *,
    is_platform_wide: bool = False,
    told_at_weddings: str | None = None,
) -> None:
    await world.run(
        "insert into public.apm_inhibition_rules (organization_id, name, source_matchers, "
        "target_matchers, equal, is_platform_wide, words, told_at_weddings) values (%(id)s, "
        "%(name)s, %(source)s, %(target)s, %(equal)s::text[], %(wide)s, %(words)s, "
        "%(told_at_weddings)s)",
        id=organization_id,
        name=str(uuid4()),
        source=Jsonb(list(source)),
        target=Jsonb(list(target)),
        equal=list(equal),
        wide=is_platform_wide,
        words="Our database is being mended" if is_platform_wide else "",
        told_at_weddings=told_at_weddings,
    )


DATABASE = [{"label": "service", "operator": "=", "value": "database"}]


async def test_one_platform_fault_and_not_a_thousand_vendors_alerts(world: EngineWorld) -> None:
    home = await platform(world, await vendor_with_ladder(world, "Platform"))
    vendors = [await vendor_with_ladder(world, f"Vendor {n}") for n in range(3)]
    await inhibit(world, home, DATABASE, FORMS, ["tag.region"], is_platform_wide=True)
    await open_one(world, home, labels={"service": "database", "tag.region": "eu"})
    for vendor, region in zip(vendors, ("eu", "eu", "us"), strict=True):
        await open_one(world, vendor, labels={"service": "forms", "tag.region": region})
    await world.escalate(AT)
    assert [len(await told(world, one)) for one in (home, *vendors)] == [1, 0, 0, 1]
    (held,) = [one for one in await world.events(vendors[0]) if one["kind"] == "held"]
    assert held["message"] == "Held back by the platform: Our database is being mended"
    assert held["detail"]["id"] is None, "whose incident it is, is nobody else's business"
    await end_one(world, home, AT + MINUTE)
    await world.escalate(AT + MINUTE)
    assert [len(await told(world, one)) for one in vendors] == [1, 1, 1]


@pytest.mark.parametrize(
    ("told_at_weddings", "expected"),
    [(None, ["cause", "one", "two"]), ("emergency", ["cause", "two"])],
)
async def test_what_is_critical_at_a_wedding_passes_an_inhibition(
    world: EngineWorld, told_at_weddings: str | None, expected: list[str]
) -> None:
    vendor = await vendor_with_ladder(world)
    await world.wedding(vendor)
    await inhibit(world, vendor, DATABASE, FORMS, told_at_weddings=told_at_weddings)
    await open_one(world, vendor, key="mild", severity="warning")
    await open_one(world, vendor, key="cause", labels={"service": "database"})
    await open_one(world, vendor, key="one", severity="critical")
    await open_one(world, vendor, key="two", severity="emergency")
    await world.escalate(AT)
    pages = await world.run(
        "select i.dedup_key from public.apm_deliveries as d join public.apm_incidents as i "
        "on i.id = d.incident_id order by 1"
    )
    assert [page["dedup_key"] for page in pages] == expected


@pytest.mark.parametrize(
    ("told_at_weddings", "expected"),
    [(None, {"critical", "emergency"}), ("emergency", {"emergency"}), ("info", None)],
)
async def test_the_platforms_fault_keeps_nothing_critical_from_a_wedding(
    world: EngineWorld, told_at_weddings: str | None, expected: set[str] | None
) -> None:
    home = await platform(world, await vendor_with_ladder(world, "Platform"))
    vendor = await vendor_with_ladder(world)
    await inhibit(
        world, home, DATABASE, FORMS, is_platform_wide=True, told_at_weddings=told_at_weddings
    )
    await open_one(world, home, labels={"service": "database"})
    severities = ("info", "warning", "critical", "emergency")
    for severity in severities:
        await open_one(world, vendor, key=severity, severity=severity)
    await world.escalate(AT)
    assert await told(world, vendor) == [], "on any other day all of them wait"
    await world.wedding(vendor)
    await world.escalate(AT + 6 * SECOND)
    pages = await world.run(
        "select i.dedup_key from public.apm_deliveries as d join public.apm_incidents as i "
        "on i.id = d.incident_id where d.organization_id = %(id)s",
        id=vendor,
    )
    assert {page["dedup_key"] for page in pages} == (expected or set(severities))


async def test_what_matches_both_sides_does_not_hold_itself_back(world: EngineWorld) -> None:
    vendor = await vendor_with_ladder(world)
    both = [{"label": "service", "operator": "=~", "value": "forms|database"}]
    await inhibit(world, vendor, both, both)
    await open_one(world, vendor, key="one")
    await open_one(world, vendor, key="two", labels={"service": "database"})
    await world.escalate(AT)
    assert len(await told(world, vendor)) == 2


async def test_another_organizations_silence_and_rule_hold_back_nothing(world: EngineWorld) -> None:
    vendor, other = await vendor_with_ladder(world), await vendor_with_ladder(world, "Other")
    await silence(world, other)
    await inhibit(world, other, DATABASE, FORMS)
    await open_one(world, other, key="cause", labels={"service": "database"})
    await open_one(world, vendor)
    await world.escalate(AT)
    assert await told(world, vendor) == [("page", "Priya")]


async def test_held_ladders_hold_up_nobody_else(world: EngineWorld) -> None:
    vendor, other = await vendor_with_ladder(world), await vendor_with_ladder(world, "Other")
    await silence(world, vendor)
    for n in range(210):
        await open_one(world, vendor, AT - HOUR, key=f"held {n}")
    await world.escalate(AT)
    await open_one(world, other)
    await world.escalate(AT + 5 * SECOND)
    assert await told(world, other) == [("page", "Priya")]


async def test_a_silence_that_is_made_while_ladders_climb_tells_nobody_twice(
    world: EngineWorld,
) -> None:
    """Whoever comes first wins; at the end everybody was told at most once."""
    vendor = await vendor_with_ladder(world)
    for n in range(20):
        await open_one(world, vendor, key=f"incident {n}")
    await asyncio.gather(
        world.escalate(AT), silence(world, vendor), world.escalate(AT), world.escalate(AT)
    )
    first = await told(world, vendor)
    assert len(first) in (0, 20)
    await world.escalate(AT + HOUR + MINUTE)
    counted = await world.run(
        "select count(*) as n from public.apm_deliveries group by incident_id, recipient"
    )
    assert {row["n"] for row in counted} == {1}
