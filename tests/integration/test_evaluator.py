"""The evaluator over a real database, beyond the straight path."""

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from tests.support.engine import AT, MINUTE, SECOND, EngineWorld, open_engine_world
from tests.support.postgres import Database
from wedsync_apm.db.pool import Connection
from wedsync_apm.engine import evaluate
from wedsync_apm.engine.evaluate import TURN_SECONDS
from wedsync_apm.rules import store as rules
from wedsync_apm.rules.store import SeriesWindow


@pytest.fixture
async def world(database: Database) -> AsyncIterator[EngineWorld]:
    async with open_engine_world(database) as opened:
        yield opened


async def test_several_series_of_a_rule_share_its_incident(world: EngineWorld) -> None:
    """The second counts as a repeat; it is over with the last one."""
    vendor = await world.organization()
    rule = await world.rule(vendor, aggregation="last", metric_pattern="forms.*")
    await world.samples(vendor, [(AT, 9000)], tags={"form": "a"})
    await world.evaluate(AT)
    await world.samples(vendor, [(AT + SECOND, 9500)], tags={"form": "b"})
    await world.evaluate(AT + SECOND)
    (incident,) = await world.incidents(vendor)
    assert (incident["alert_id"], incident["repeat_count"]) == (rule, 1)
    assert incident["metric_value"] == 9500
    await world.samples(vendor, [(AT + 2 * SECOND, 10)], tags={"form": "a"})
    await world.evaluate(AT + 2 * SECOND)
    assert (await world.incidents(vendor))[0]["status"] == "open"
    await world.samples(vendor, [(AT + 3 * SECOND, 10)], tags={"form": "b"})
    await world.evaluate(AT + 3 * SECOND)
    assert (await world.incidents(vendor))[0]["status"] == "resolved"


async def test_a_tag_filter_narrows_a_rule(world: EngineWorld) -> None:
    vendor = await world.organization()
    await world.run(
        "insert into public.apm_alerts (organization_id, alert_name, metric_pattern, tag_filter, "
        "comparison_operator, threshold_value) values (%(id)s, 'A', 'forms.*', "
        "'{\"form\": \"a\"}', '>', 1)",
        id=vendor,
    )
    await world.samples(vendor, [(AT, 9000)], tags={"form": "b"})
    await world.evaluate(AT)
    assert await world.states(vendor) == []
    await world.samples(vendor, [(AT, 9000)], tags={"form": "a", "page": "2"})
    await world.evaluate(AT + SECOND)
    assert [one["state"] for one in await world.states(vendor)] == ["firing"]


async def test_a_rule_that_is_switched_off_ends_its_incident(world: EngineWorld) -> None:
    vendor = await world.organization()
    await world.rule(vendor)
    await world.samples(vendor, [(AT, 9000)])
    await world.evaluate(AT)
    await world.run("update public.apm_alerts set is_active = false")
    await world.evaluate(AT + SECOND)
    (incident,) = await world.incidents(vendor)
    assert incident["status"] == "resolved"
    assert await world.states(vendor) == []
    ended = (await world.events(vendor))[-1]
    assert ended["message"] == "its rule was switched off or changed"


async def test_without_auto_resolve_a_person_ends_it(world: EngineWorld) -> None:
    vendor = await world.organization()
    await world.rule(vendor, aggregation="last", auto_resolve=False)
    for n, value in enumerate((9000, 10, 9000)):
        await world.samples(vendor, [(AT + n * 10 * MINUTE, value)])
        await world.evaluate(AT + n * 10 * MINUTE)
    (incident,) = await world.incidents(vendor)
    assert (incident["status"], incident["repeat_count"]) == ("open", 1)


async def test_what_a_person_ends_while_it_goes_on_comes_back(world: EngineWorld) -> None:
    """After the rule's cooldown, not each second."""
    vendor = await world.organization()
    await world.rule(vendor, cooldown_period=5 * MINUTE, evaluation_window=timedelta(hours=1))
    await world.samples(vendor, [(AT, 9000)])
    await world.evaluate(AT)
    async with world.owner.connection() as cx:
        await cx.execute("select set_config('apm.at', %s, true)", (str(AT + MINUTE),))
        await cx.execute("update public.apm_incidents set status = 'resolved'")
    for n in (61, 200, 359):
        await world.evaluate(AT + n * SECOND)
    assert (await world.incidents(vendor))[0]["status"] == "resolved"
    for n in (360, 361, 362):
        await world.evaluate(AT + n * SECOND)
    (incident,) = await world.incidents(vendor)
    assert (incident["status"], incident["reopened_at"]) == ("open", AT + 6 * MINUTE)
    assert incident["repeat_count"] == 1


async def test_silence_is_noticed_without_any_sample(world: EngineWorld) -> None:
    """Nothing touches a silent series; every organization's turn comes all the same."""
    vendor = await world.organization()
    await world.rule(
        vendor, no_data_policy="alert", evaluation_window=10 * SECOND, for_duration=5 * SECOND
    )
    await world.samples(vendor, [(AT, 10)])
    await world.evaluate(AT)
    await world.evaluate_each_second(AT + SECOND, AT + (16 + TURN_SECONDS) * SECOND)
    (incident,) = await world.incidents(vendor)
    assert incident["metric_value"] is None
    assert AT + 15 * SECOND <= incident["detected_at"] <= AT + (15 + TURN_SECONDS) * SECOND
    (state,) = await world.states(vendor)
    assert state["state"] == "no_data"
    await world.samples(vendor, [(AT + MINUTE, 10)])
    await world.evaluate(AT + MINUTE)
    assert (await world.incidents(vendor))[0]["status"] == "resolved"


async def test_a_restart_changes_nothing(world: EngineWorld) -> None:
    """A new process at every look comes to the same history as one that lives on."""
    histories = []
    for is_restarted in (False, True):
        vendor = await world.organization(f"Restarted {is_restarted}")
        await world.rule(vendor, for_duration=20 * SECOND, clear_threshold_value=2000.0)
        for n in range(0, 300, 10):
            value = 9000 if 60 <= n < 180 else 100
            await world.samples(vendor, [(AT + n * SECOND, value)])
            await world.evaluate(AT + n * SECOND)
            if is_restarted:
                world.forget()
        histories.append([(one["kind"], one["at"]) for one in await world.events(vendor)])
        world.forget()
    assert histories[0] == histories[1]
    assert [kind for kind, _ in histories[0]] == ["opened", "resolved"]


async def test_one_organizations_fault_does_not_stop_the_others(
    world: EngineWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken, sound = await world.organization("Broken"), await world.organization("Sound")
    for vendor in (broken, sound):
        await world.rule(vendor)
        await world.samples(vendor, [(AT, 9000)])
    upsert = rules.upsert_standings

    async def fail(cx: object, organization_id: object, standings: object) -> None:
        if organization_id == broken:
            raise ValueError("a defect")
        await upsert(cx, organization_id, standings)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(rules, "upsert_standings", fail)
        await world.evaluate(AT)
    assert await world.incidents(broken) == []
    assert len(await world.incidents(sound)) == 1
    # Mended, it is judged when its turn comes, samples or not, and from where it was left.
    await world.evaluate_each_second(AT + SECOND, AT + TURN_SECONDS * SECOND)
    assert [one["detected_at"] for one in await world.incidents(broken)] == [AT]


async def test_a_changed_rule_counts_at_once(world: EngineWorld) -> None:
    vendor = await world.organization()
    await world.rule(vendor)
    await world.samples(vendor, [(AT, 2500)])
    await world.evaluate(AT)
    assert await world.incidents(vendor) == []
    await world.run("update public.apm_alerts set threshold_value = 2000")
    await world.samples(vendor, [(AT + SECOND, 2500)])
    await world.evaluate(AT + SECOND)
    assert [one["threshold_value"] for one in await world.incidents(vendor)] == [2000]


async def test_samples_ahead_of_time_wait_for_it(world: EngineWorld) -> None:
    vendor = await world.organization()
    await world.rule(vendor, aggregation="last")
    await world.samples(vendor, [(AT - SECOND, 10), (AT + 30 * SECOND, 9000)])
    await world.evaluate_each_second(AT, AT + 29 * SECOND)
    assert await world.incidents(vendor) == []
    await world.evaluate_each_second(AT + 30 * SECOND, AT + (30 + TURN_SECONDS) * SECOND)
    assert [one["detected_at"] for one in await world.incidents(vendor)] == [AT + 30 * SECOND]


async def test_the_window_ends_by_itself_when_samples_stop(world: EngineWorld) -> None:
    """An average drains as old samples leave it; nothing else would make it move."""
    vendor = await world.organization()
    await world.rule(vendor, comparison_operator=">", threshold_value=100.0)
    await world.samples(vendor, [(AT, 1000), (AT + 40 * SECOND, 1), (AT + 41 * SECOND, 1)])
    await world.evaluate(AT + 45 * SECOND)
    assert (await world.incidents(vendor))[0]["status"] == "open"
    await world.evaluate_each_second(AT + 58 * SECOND, AT + 62 * SECOND)
    (incident,) = await world.incidents(vendor)
    assert (incident["status"], incident["resolved_at"]) == ("resolved", AT + 60 * SECOND)


async def test_people_keep_and_explain_rules(world: EngineWorld) -> None:
    """What a page shows beside a rule: judged anew from the samples, and as the engine saw it."""
    vendor = await world.organization()
    await world.wedding(vendor)
    rule_id = await world.rule(vendor)
    await world.steady(vendor, AT - MINUTE, AT + SECOND, 2000)
    async with world.owner.connection() as cx:
        rule = await rules.find_rule(cx, rule_id)
        (explained,) = await rules.explain_rule(cx, rule, AT)
        assert (explained.value, explained.limit.value, explained.is_breached) == (2000, 1500, True)
        assert explained.limit.phase == "ceremony"
        assert explained.sample_count == 6
        assert await rules.list_verdicts(cx, rule) == []
    await world.evaluate(AT)
    async with world.owner.connection() as cx:
        (verdict,) = await rules.list_verdicts(cx, rule)
        assert (verdict.series.metric_name, verdict.standing.value) == ("submit_time", 2000)


async def test_who_takes_too_long_holds_up_nobody_else(
    world: EngineWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow, sound = await world.organization("Slow"), await world.organization("Sound")
    for vendor in (slow, sound):
        await world.rule(vendor)
        await world.samples(vendor, [(AT, 9000)])
    monkeypatch.setattr(evaluate, "STATEMENT_SECONDS", 0.5)
    read, tries = rules.list_windows, 0

    async def crawl(cx: Connection, organization_id: UUID, *rest: Any) -> dict[int, SeriesWindow]:
        nonlocal tries
        if organization_id == slow:
            tries += 1
            await cx.execute("select pg_sleep(2)")
        return await read(cx, organization_id, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(rules, "list_windows", crawl)
        await world.evaluate(AT)
        await world.evaluate_each_second(AT + SECOND, AT + 20 * SECOND)
    assert tries == 1, "it is set aside"
    assert len(await world.incidents(sound)) == 1
    await world.evaluate_each_second(AT + MINUTE, AT + MINUTE + TURN_SECONDS * SECOND)
    assert len(await world.incidents(slow)) == 1


async def test_long_windows_are_read_less_often(
    world: EngineWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    vendor = await world.organization()
    await world.rule(vendor, evaluation_window=timedelta(hours=1), for_duration=MINUTE)
    await world.rule(vendor, alert_name="Short", evaluation_window=5 * MINUTE, for_duration=MINUTE)
    await world.samples(vendor, [(AT, 9000)])
    read = rules.list_windows
    widths: list[timedelta] = []

    async def count(
        cx: Connection, organization_id: UUID, ids: Any, after: datetime, until: datetime
    ) -> dict[int, SeriesWindow]:
        widths.append(until - after)
        return await read(cx, organization_id, ids, after, until)

    monkeypatch.setattr(rules, "list_windows", count)
    await world.evaluate_each_second(AT, AT + 59 * SECOND)
    assert len([width for width in widths if width < 30 * MINUTE]) == 60
    assert len([width for width in widths if width > 30 * MINUTE]) == 5
    assert await world.incidents(vendor) == []
    await world.evaluate_each_second(AT + MINUTE, AT + 72 * SECOND)
    assert len(await world.incidents(vendor)) == 2
