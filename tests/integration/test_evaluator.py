"""The evaluator over a real database, beyond the straight path."""

import random
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from tests.support.engine import AT, MINUTE, SECOND, EngineWorld, open_engine_world
from tests.support.postgres import Database
from wedsync_apm.db.pool import Connection
from wedsync_apm.engine import evaluate, judging
from wedsync_apm.engine.evaluate import TURN_SECONDS
from wedsync_apm.engine.leases import Leases
from wedsync_apm.rules import judge, live, memory, store
from wedsync_apm.rules.judge import Unit
from wedsync_apm.rules.live import SeriesWindow
from wedsync_apm.rules.verdict import Standing


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


class _Killed(Exception):
    """Just before the commit."""


@pytest.mark.parametrize("seed", range(3))
async def test_killed_anywhere_the_history_is_the_same(
    world: EngineWorld, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the commit, which sets the look back, or after it; with the memory lost or not."""

    async def fail(*_: object) -> None:
        raise _Killed

    chance = random.Random(seed)  # noqa: S311
    script = [(n, chance.choice([100, 100, 2500, 9000, 9000])) for n in range(0, 240, 7)]
    histories = []
    for is_killed in (False, True):
        vendor = await world.organization(f"Killed {is_killed}")
        await world.rule(
            vendor,
            aggregation="max",
            evaluation_window=20 * SECOND,
            for_duration=10 * SECOND,
            keep_firing_for=15 * SECOND,
            cooldown_period=timedelta(),
        )
        states = []
        for n, value in script:
            await world.samples(vendor, [(AT + n * SECOND, value)])
            if is_killed and chance.random() < 0.5:
                with monkeypatch.context() as patch, pytest.raises(_Killed):
                    patch.setattr(Leases, "move_cursors", fail)
                    await world.evaluate(AT + n * SECOND)
            if is_killed and chance.random() < 0.5:
                world.forget()
            await world.evaluate(AT + n * SECOND)
            (state,) = await world.states(vendor)
            states.append((state["state"], state["changed_at"]))
        told = [(one["kind"], one["at"]) for one in await world.events(vendor)]
        histories.append((states, told))
        world.forget()
        await world.run("update public.apm_alerts set is_active = false")
    assert histories[0] == histories[1]
    assert len({state for state, _ in histories[0][0]}) >= 3


async def test_a_rule_that_cannot_be_judged_is_paused_and_told(
    world: EngineWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    vendor = await world.organization()
    poisoned = await world.rule(vendor, alert_name="Poisoned")
    await world.rule(vendor, alert_name="Sound")

    def judge_at(subject: Unit, *rest: Any, **options: Any) -> Standing | None:
        if subject.rule.id == poisoned:
            raise ZeroDivisionError("a defect")
        return judge.judge_at(subject, *rest, **options)

    with monkeypatch.context() as patch:
        patch.setattr(memory, "judge_at", judge_at)
        await world.samples(vendor, [(AT, 9000)])
        await world.evaluate(AT)
        found = {one["title"]: one for one in await world.incidents(vendor)}
        assert found.keys() == {"Rule paused: Poisoned", "Sound"}
        assert found["Rule paused: Poisoned"]["labels"]["reason"] == "a defect"
        await world.evaluate_each_second(AT + SECOND, AT + TURN_SECONDS * SECOND)
        assert len(await world.incidents(vendor)) == 2
    await world.run("update public.apm_alerts set description = 'mended'")
    await world.evaluate_each_second(AT + 16 * SECOND, AT + (16 + TURN_SECONDS) * SECOND)
    states = {one["title"]: one["status"] for one in await world.incidents(vendor)}
    assert states == {"Rule paused: Poisoned": "resolved", "Sound": "open", "Poisoned": "open"}


async def test_one_organizations_fault_does_not_stop_the_others(
    world: EngineWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken, sound = await world.organization("Broken"), await world.organization("Sound")
    for vendor in (broken, sound):
        await world.rule(vendor)
        await world.samples(vendor, [(AT, 9000)])
    upsert = live.upsert_standings

    async def fail(cx: Connection, organization_id: UUID, *rest: Any, **more: Any) -> None:
        if organization_id == broken:
            raise ValueError("a defect")
        await upsert(cx, organization_id, *rest, **more)

    with monkeypatch.context() as patch:
        patch.setattr(live, "upsert_standings", fail)
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


async def test_a_rule_made_in_the_second_of_its_samples_is_judged_in_the_next(
    world: EngineWorld,
) -> None:
    """Rules are read once a second; the flush that came meanwhile is not passed over."""
    vendor = await world.organization("Late")
    await world.evaluate(AT)
    await world.rule(vendor)
    await world.samples(vendor, [(AT, 9000)])
    await world.evaluate(AT + SECOND / 2)
    assert await world.incidents(vendor) == []
    await world.evaluate(AT + SECOND)
    assert [one["status"] for one in await world.incidents(vendor)] == ["open"]


async def test_samples_ahead_of_time_wait_for_it(world: EngineWorld) -> None:
    vendor = await world.organization()
    await world.rule(vendor, aggregation="last")
    await world.samples(vendor, [(AT - SECOND, 10), (AT + 30 * SECOND, 9000)])
    await world.evaluate_each_second(AT, AT + 29 * SECOND)
    assert await world.incidents(vendor) == []
    await world.evaluate_each_second(AT + 30 * SECOND, AT + (30 + TURN_SECONDS) * SECOND)
    assert [one["detected_at"] for one in await world.incidents(vendor)] == [AT + 30 * SECOND]


async def test_late_samples_are_judged_in_their_own_time(world: EngineWorld) -> None:
    """What nobody has told of that time happens then; what was told is corrected afterwards."""
    vendor = await world.organization()
    await world.rule(
        vendor, aggregation="min", evaluation_window=10 * SECOND, cooldown_period=timedelta()
    )
    await world.samples(vendor, [(AT, 10)])
    await world.evaluate_each_second(AT, AT + 30 * SECOND)
    late = [(AT + 12 * SECOND, 9000), (AT + 20 * SECOND, 10)]
    await world.samples(vendor, late)
    await world.evaluate(AT + 30.5 * SECOND)
    (incident,) = await world.incidents(vendor)
    assert (incident["detected_at"], incident["resolved_at"]) == (
        AT + 12 * SECOND,
        AT + 20 * SECOND,
    )

    await world.samples(vendor, [(AT + 40 * SECOND, 9000)])
    await world.evaluate_each_second(AT + 40 * SECOND, AT + 43 * SECOND)
    assert [one["status"] for one in await world.incidents(vendor)] == ["open"]
    await world.samples(vendor, [(AT + 38 * SECOND, 10)])
    await world.evaluate(AT + 43.5 * SECOND)
    assert [one["status"] for one in await world.incidents(vendor)] == ["resolved"]
    last = (await world.events(vendor))[-1]
    assert (last["kind"], last["at"]) == ("resolved", AT + 43 * SECOND)
    assert "came late" in str(last)
    (state,) = await world.states(vendor)
    assert (state["state"], state["metric_value"]) == ("ok", 10)


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
    """What a page shows beside a rule, as the engine saw it."""
    vendor = await world.organization()
    await world.wedding(vendor)
    rule_id = await world.rule(vendor)
    await world.steady(vendor, AT - MINUTE, AT + SECOND, 2000)
    async with world.owner.connection() as cx:
        rule = await store.find_rule(cx, rule_id)
        assert await store.list_verdicts(cx, rule) == []
    await world.evaluate(AT)
    async with world.owner.connection() as cx:
        (verdict,) = await store.list_verdicts(cx, rule)
        assert verdict.series is not None
        assert (verdict.series.metric_name, verdict.standing.value) == ("submit_time", 2000)
        assert (verdict.standing.limit.value, verdict.standing.limit.phase) == (1500, "ceremony")


async def test_who_takes_too_long_holds_up_nobody_else(
    world: EngineWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow, sound = await world.organization("Slow"), await world.organization("Sound")
    for vendor in (slow, sound):
        await world.rule(vendor)
        await world.samples(vendor, [(AT, 9000)])
    monkeypatch.setattr(evaluate, "STATEMENT_SECONDS", 0.5)
    read, tries = live.list_windows, 0

    async def crawl(cx: Connection, organization_id: UUID, *rest: Any) -> dict[int, SeriesWindow]:
        nonlocal tries
        if organization_id == slow:
            tries += 1
            await cx.execute("select pg_sleep(2)")
        return await read(cx, organization_id, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(live, "list_windows", crawl)
        await world.evaluate(AT)
        await world.evaluate_each_second(AT + SECOND, AT + 20 * SECOND)
    assert tries == 1, "it is set aside"
    assert len(await world.incidents(sound)) == 1
    await world.evaluate_each_second(AT + MINUTE, AT + MINUTE + TURN_SECONDS * SECOND)
    assert len(await world.incidents(slow)) == 1


async def test_a_rule_that_is_slow_to_read_costs_the_others_nothing(
    world: EngineWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    vendor = await world.organization()
    await world.rule(vendor, alert_name="Quick", aggregation="last", cooldown_period=timedelta())
    await world.rule(vendor, alert_name="Slow", evaluation_window=timedelta(hours=2))
    await world.samples(vendor, [(AT, 9000)])
    monkeypatch.setattr(judging, "READ_SECONDS", 0.3)
    read, tries = live.list_windows, 0

    async def crawl(
        cx: Connection, organization_id: UUID, ids: Any, after: datetime, until: datetime
    ) -> dict[int, SeriesWindow]:
        nonlocal tries
        if until - after > timedelta(hours=1, minutes=40):
            tries += 1
            await cx.execute("select pg_sleep(2)")
        return await read(cx, organization_id, ids, after, until)

    async def statuses() -> dict[str, str]:
        return {one["title"]: one["status"] for one in await world.incidents(vendor)}

    with monkeypatch.context() as patch:
        patch.setattr(live, "list_windows", crawl)
        await world.evaluate(AT)
        assert await statuses() == {"Quick": "open", "Rule paused: Slow": "open"}
        await world.samples(vendor, [(AT + 3 * SECOND, 10)])
        await world.evaluate_each_second(AT + SECOND, AT + 20 * SECOND)
        assert (await statuses())["Quick"] == "resolved"
    assert tries == 1, "it is set aside"
    await world.evaluate_each_second(AT + MINUTE, AT + MINUTE + TURN_SECONDS * SECOND)
    assert await statuses() == {
        "Quick": "resolved",
        "Rule paused: Slow": "resolved",
        "Slow": "open",
    }


async def test_only_the_rules_of_whose_have_changed_are_read(world: EngineWorld) -> None:
    first, second = await world.organization("First"), await world.organization("Second")
    rule_id = await world.rule(first)
    await world.rule(second)
    book = live.RuleBook()
    async with world.engine.connection() as cx:
        assert await book.refresh(cx) == {first, second}
        kept = book.rules_of(second)
        await world.run(
            "update public.apm_alerts set threshold_value = 7 where id = %(id)s", id=rule_id
        )
        assert await book.refresh(cx) == {first}
        assert [rule.threshold_value for rule in book.rules_of(first)] == [7]
        assert book.rules_of(second) is kept
        await world.run("delete from public.apm_alerts where id = %(id)s", id=rule_id)
        assert await book.refresh(cx) == {first}
        assert book.organization_ids == (second,)


async def test_long_windows_are_read_less_often(
    world: EngineWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    vendor = await world.organization()
    await world.rule(vendor, evaluation_window=timedelta(hours=2), for_duration=MINUTE)
    await world.rule(vendor, alert_name="Short", evaluation_window=5 * MINUTE, for_duration=MINUTE)
    await world.samples(vendor, [(AT, 9000)])
    read = live.list_windows
    widths: list[timedelta] = []

    async def count(
        cx: Connection, organization_id: UUID, ids: Any, after: datetime, until: datetime
    ) -> dict[int, SeriesWindow]:
        widths.append(until - after)
        return await read(cx, organization_id, ids, after, until)

    monkeypatch.setattr(live, "list_windows", count)
    await world.evaluate_each_second(AT, AT + 59 * SECOND)
    assert len([width for width in widths if width < 60 * MINUTE]) == 1, "then it is in memory"
    assert len([width for width in widths if width > 60 * MINUTE]) == 3
    assert await world.incidents(vendor) == []
    await world.evaluate_each_second(AT + MINUTE, AT + 72 * SECOND)
    assert len(await world.incidents(vendor)) == 2
