"""From samples to people and back: a breach opens one incident, which calls, and ends by itself."""

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from tests.support.engine import AT, MINUTE, SECOND, EngineWorld, open_engine_world
from tests.support.postgres import Database


@pytest.fixture
async def world(database: Database) -> AsyncIterator[EngineWorld]:
    async with open_engine_world(database) as opened:
        yield opened


async def test_a_breach_opens_one_incident_that_calls_and_ends(world: EngineWorld) -> None:
    """The form is slow for two minutes: one incident, two people told, both told of the end."""
    vendor = await world.organization()
    other = await world.organization("Other & Other")
    priya, mo = await world.contact(vendor, "Priya"), await world.contact(vendor, "Mo")
    await world.ladder(
        vendor,
        (timedelta(), "none", [priya]),
        (MINUTE, "team_lead", [mo]),
        (9 * MINUTE, "manager", [mo]),
    )
    rule = await world.rule(vendor, for_duration=timedelta(seconds=30))
    await world.rule(other)
    await world.steady(vendor, AT - 2 * MINUTE, AT, 400)
    await world.steady(other, AT - 2 * MINUTE, AT, 400)
    await world.evaluate(AT)
    assert await world.incidents(vendor) == []

    # The mean of a minute passes 3,000 with the third slow sample; `for` asks 30 s of it.
    for n in range(0, 130, 10):
        await world.samples(vendor, [(AT + n * SECOND, 6000)])
        await world.evaluate_each_second(AT + n * SECOND, AT + (n + 9) * SECOND)
        if n == 40:
            assert await world.incidents(vendor) == [], "`for` has not passed"
    opened = await world.incidents(vendor)
    assert len(opened) == 1
    incident = opened[0]
    assert incident["alert_id"] == rule
    assert incident["status"] == "open"
    assert incident["threshold_value"] == 3000
    assert incident["threshold_source"] == "rule"
    assert incident["metric_value"] > 3000
    assert not incident["was_wedding_day"]
    assert incident["repeat_count"] == 0, "one breach is one breach, however often it is judged"
    assert incident["detected_at"] == AT + 50 * SECOND
    triggered = await world.run(
        "select trigger_count from public.apm_alerts where id = %(id)s", id=rule
    )
    assert triggered[0]["trigger_count"] == 1

    # The first rung at once, the second a minute later.
    begun = incident["detected_at"]
    for n in (0, 30, 59, 60, 61, 120):
        await world.escalate(begun + n * SECOND)
    told = await world.deliveries(vendor)
    assert [(one["receiver"], one["reason"], one["due_at"] - begun) for one in told] == [
        ("Priya", "first", timedelta()),
        ("Mo", "escalated", MINUTE),
    ]
    assert {one["kind"] for one in told} == {"page"}
    assert (await world.incidents(vendor))[0]["escalation_level"] == "team_lead"
    # They have been reached.
    await world.run("update public.apm_deliveries set state = 'sent', sent_at = now()")

    recovered = AT + 130 * SECOND
    await world.steady(vendor, recovered, recovered + 2 * MINUTE, 400)
    await world.evaluate_each_second(recovered + 100 * SECOND, recovered + 120 * SECOND)
    incident = (await world.incidents(vendor))[0]
    assert incident["status"] == "resolved"
    assert recovered < incident["resolved_at"] <= recovered + MINUTE, "ends when the window does"
    ends = [one for one in await world.deliveries(vendor) if one["kind"] == "resolved"]
    assert {one["receiver"] for one in ends} == {"Priya", "Mo"}
    kinds = [event["kind"] for event in await world.events(vendor)]
    assert kinds == ["opened", "escalated", "escalated", "resolved"]
    actors = {event["kind"]: event["actor"] for event in await world.events(vendor)}
    assert actors == {"opened": "rule", "escalated": "ladder", "resolved": "rule"}
    await world.escalate(AT + timedelta(hours=1))
    assert len(await world.deliveries(vendor)) == 4, "the ladder rests"
    assert await world.incidents(other) == []


async def test_the_wedding_limit_fires_where_the_normal_one_would_not(world: EngineWorld) -> None:
    """2,000 is fine on any other day; with a ceremony under way it is not."""
    with_value, with_factor = await world.organization("Value"), await world.organization("Factor")
    without, overridden = await world.organization("None"), await world.organization("Off")
    for vendor in (with_value, with_factor, overridden):
        await world.wedding(vendor)
    await world.rule(
        with_value, wedding_day_threshold_value=1800.0, wedding_day_severity="critical"
    )
    await world.rule(with_factor)
    await world.rule(without)
    await world.rule(overridden, wedding_day_override=False)
    vendors = (with_value, with_factor, without, overridden)
    for vendor in vendors:
        await world.steady(vendor, AT - MINUTE, AT + SECOND, 2000)
    await world.evaluate(AT)
    found = {vendor: await world.incidents(vendor) for vendor in vendors}
    assert found[without] == []
    assert found[overridden] == []
    (by_value,), (by_factor,) = found[with_value], found[with_factor]
    assert (by_value["threshold_value"], by_value["threshold_source"]) == (1800, "wedding_value")
    assert (by_factor["threshold_value"], by_factor["threshold_source"]) == (1500, "wedding_factor")
    assert (by_value["severity"], by_value["priority"]) == ("critical", "critical")
    assert (by_factor["severity"], by_factor["priority"]) == ("warning", "high")
    for incident in (by_value, by_factor):
        assert incident["was_wedding_day"]
        assert incident["wedding_phase"] == "ceremony"
        assert incident["affected_weddings"][0]["initials"] == "A & R"
    (state,) = await world.states(with_factor)
    assert (state["threshold_source"], state["phase"]) == ("wedding_factor", "ceremony")


async def test_a_sample_that_declares_a_wedding_is_believed(world: EngineWorld) -> None:
    vendor = await world.organization()
    await world.rule(vendor)
    await world.steady(vendor, AT - MINUTE, AT + SECOND, 2000, context={"is_wedding_day": True})
    await world.evaluate(AT)
    (state,) = await world.states(vendor)
    assert (state["state"], state["threshold_source"], state["phase"]) == (
        "firing",
        "wedding_factor",
        "declared",
    )


async def test_a_wedding_quickens_every_rung(world: EngineWorld) -> None:
    """The ladder was begun on an ordinary afternoon; the wedding begins between two rungs."""
    vendor = await world.organization()
    priya, mo, sam = [await world.contact(vendor, name) for name in ("Priya", "Mo", "Sam")]
    await world.ladder(
        vendor,
        (timedelta(), "none", [priya]),
        (8 * MINUTE, "team_lead", [mo]),
        (8 * MINUTE, "manager", [sam]),
        repeat_count=1,
    )
    await world.rule(vendor)
    await world.samples(vendor, [(AT, 9000)])
    await world.evaluate(AT)
    await world.escalate(AT)
    await world.wedding(vendor)
    await world.escalate(AT + 8 * MINUTE - SECOND)
    await world.escalate(AT + 8 * MINUTE)
    await world.escalate(AT + 10 * MINUTE - SECOND)
    await world.escalate(AT + 10 * MINUTE)
    # The last rung gets its two minutes, then the ladder is climbed once more from the start.
    for n in (719, 720, 721, 840, 841, 960, 961, 1080, 1081, 1082):
        await world.escalate(AT + n * SECOND)
    told = [
        (one["receiver"], one["reason"], (one["due_at"] - AT) // SECOND)
        for one in await world.deliveries(vendor)
    ]
    assert told == [
        ("Priya", "first", 0),
        ("Mo", "escalated", 480),
        ("Sam", "escalated", 600),
        ("Priya", "repeat", 721),
        ("Mo", "escalated", 841),
        ("Sam", "escalated", 961),
    ]
    assert (await world.events(vendor))[-1]["kind"] == "exhausted"
