"""What would have been is what was: preview and explain against the live path."""

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from tests.support.engine import AT, MINUTE, SECOND, EngineWorld, open_engine_world
from tests.support.postgres import Database
from wedsync_apm.clock import to_datetime
from wedsync_apm.db.pool import Pool, open_pool
from wedsync_apm.db.tenant import Actor, tenant_tx
from wedsync_apm.errors import NotFound, NotValid
from wedsync_apm.rules import live, past, store
from wedsync_apm.rules.past import Past, Question
from wedsync_apm.rules.replay import Budget
from wedsync_apm.rules.verdict import Standing

HOUR = 60 * MINUTE


@pytest.fixture
async def world(database: Database) -> AsyncIterator[EngineWorld]:
    async with open_engine_world(database) as opened:
        yield opened


@pytest.fixture
async def api(database: Database) -> AsyncIterator[Pool]:
    async with await open_pool(database.api, name="api", min_size=1, max_size=2) as pool:
        yield pool


async def member_of(world: EngineWorld, organization_id: UUID, role: str = "VIEWER") -> Actor:
    user = uuid4()
    await world.run(
        "insert into public.user_profiles (user_id, organization_id, role) "
        "values (%(user)s, %(organization)s, %(role)s)",
        user=user,
        organization=organization_id,
        role=role,
    )
    return Actor("authenticated", user)


async def ask(
    api: Pool, actor: Actor, rule_id: UUID, start: datetime, end: datetime, **more: Any
) -> Past:
    async with tenant_tx(api, actor) as cx:
        rule = await store.find_rule(cx, rule_id)
        return await past.judge_past(cx, rule, Question(start, end, **more))


def alarms_of(found: Past) -> list[tuple[str, datetime, datetime | None]]:
    return sorted(
        (
            one.subject.instance.key,
            alarm.begin.evaluated_at,
            alarm.end.evaluated_at if alarm.end else None,
        )
        for one in found.replays
        for alarm in one.alarms
    )


async def live_alarms(
    world: EngineWorld, monkeypatch: pytest.MonkeyPatch, start: datetime, seconds: list[float]
) -> list[tuple[str, datetime, datetime | None]]:
    """The engine looks at odd times, as it does; each change that it writes is noted."""
    written: list[tuple[str, Standing]] = []
    upsert = live.upsert_standings

    async def note(cx: Any, organization_id: UUID, standings: Any, *rest: Any, **more: Any) -> None:
        written.extend((key, standing) for (_, key), standing in standings.items())
        await upsert(cx, organization_id, standings, *rest, **more)

    with monkeypatch.context() as patch:
        patch.setattr(live, "upsert_standings", note)
        for second in seconds:
            await world.evaluate(start + second * SECOND)
    open_since: dict[str, datetime] = {}
    found: list[tuple[str, datetime, datetime | None]] = []
    for key, standing in written:
        if standing.firing_since is not None:
            open_since[key] = standing.firing_since
        elif key in open_since:
            found.append((key, open_since.pop(key), standing.changed_at))
    return sorted([*found, *((key, since, None) for key, since in open_since.items())])


@pytest.mark.parametrize(
    "columns",
    [
        {"aggregation": "last", "for_duration": 7 * SECOND},
        {"aggregation": "avg", "clear_threshold_value": 1200.0},
        {"aggregation": "p95", "keep_firing_for": 20 * SECOND},
        {"aggregation": "max", "group_by": ["form"], "for_duration": 3 * SECOND},
        {"aggregation": "sum", "group_by": [], "threshold_value": 20_000.0},
        {"aggregation": "last", "no_data_policy": "alert", "evaluation_window": 10 * SECOND},
    ],
    ids=lambda columns: columns["aggregation"] + "".join(sorted(columns)[1:2]),
)
async def test_what_preview_says_is_what_happened(
    world: EngineWorld, api: Pool, monkeypatch: pytest.MonkeyPatch, columns: dict[str, Any]
) -> None:
    """Several series, samples beside whole seconds, looks at odd times, a wedding that begins."""
    vendor = await world.organization()
    actor = await member_of(world, vendor)
    await world.wedding(vendor, day=AT.date())
    rule = await world.rule(
        vendor,
        **{"metric_pattern": "forms.*", "cooldown_period": timedelta(), "threshold_value": 2000.0}
        | columns,
    )
    start = AT - HOUR  # noon in London is before the ceremony; the set-up is under way
    for form, phase in (("a", 0.0), ("b", 0.4)):
        points = [
            (start + (n * 5 + phase) * SECOND, 2500.0 if 6 <= n < 10 or n in (14, 16) else 700.0)
            for n in range(20)
        ]
        await world.samples(vendor, points, tags={"form": form})
    looks = [n * 1.7 for n in range(1, 90)]
    happened = await live_alarms(world, monkeypatch, start, looks)
    found = await ask(api, actor, rule, start, start + looks[-1] * SECOND)
    assert happened, "the script makes alarms"
    assert alarms_of(found) == happened


async def test_each_point_says_its_limit_and_where_it_comes_from(
    world: EngineWorld, api: Pool
) -> None:
    vendor = await world.organization()
    actor = await member_of(world, vendor)
    wedding = await world.wedding(vendor)
    rule = await world.rule(
        vendor,
        aggregation="last",
        wedding_thresholds='{"ceremony": 1000, "reception": 1700}',
        wedding_factors='{"evening_before": 0.8}',
    )
    day = AT.replace(hour=0)
    for at in (day - 48 * HOUR, day - 3 * HOUR, AT, AT + 3 * HOUR):
        await world.samples(vendor, [(at, 1600.0)])
    found = await ask(api, actor, rule, day - 50 * HOUR, AT + 4 * HOUR)
    (only,) = found.replays
    seen = {
        point.evaluated_at: (point.limit.value, point.limit.source.value, point.limit.phase)
        for point in only.points
    }
    assert seen[day - 48 * HOUR] == (3000, "rule", "days_before")
    assert seen[day - 3 * HOUR] == (2400, "wedding_factor", "evening_before")
    assert seen[AT] == (1000, "wedding_value", "ceremony")
    assert seen[AT + 3 * HOUR] == (1700, "wedding_value", "reception")
    at_noon = await ask(api, actor, rule, AT, AT)
    (judged,) = at_noon.replays
    assert judged.last is not None
    assert (judged.last.state.value, judged.last.value) == ("firing", 1600)
    assert (judged.last.limit.wedding_id, judged.last.sample_count) == (wedding, 1)


async def test_the_platforms_guard_counts_where_a_rule_says_so(
    world: EngineWorld, api: Pool
) -> None:
    """Saturday without a wedding of one's own."""
    vendor = await world.organization()
    actor = await member_of(world, vendor)
    rule = await world.rule(vendor, aggregation="last", wedding_factors='{"maximum": 0.5}')
    await world.rule(vendor, alert_name="Plain", aggregation="last")
    await world.samples(vendor, [(AT, 1600.0)])
    await world.evaluate(AT)
    seen = {
        (one["state"], one["threshold_value"], one["threshold_source"], one["phase"])
        for one in await world.states(vendor)
    }
    assert seen == {
        ("firing", 1500, "wedding_factor", "maximum"),
        ("ok", 3000, "rule", "maximum"),
    }
    (judged,) = (await ask(api, actor, rule, AT, AT)).replays
    assert judged.last is not None
    assert (judged.last.limit.value, judged.last.limit.phase) == (1500, "maximum")


async def test_an_order_counts_as_the_calendar_does(world: EngineWorld, api: Pool) -> None:
    """A Tuesday on which an operator orders the closest watch, and ends it early."""
    tuesday = AT + timedelta(days=3)
    vendor = await world.organization()
    actor = await member_of(world, vendor)
    rule = await world.rule(vendor, aggregation="last", wedding_factors='{"maximum": 0.5}')
    await world.rule(vendor, alert_name="Plain", aggregation="last")
    await world.run(
        "insert into apm_private.guard_overrides (mode, reason, starts_at, ends_at,"
        " created_by_name, ended_at, ended_by_name, end_reason) values ('maximum', 'it is down',"
        " %(from)s, %(from)s + interval '2 hours', 'Olga', %(from)s + interval '1 hour', 'Olga',"
        " 'it is back')",
        **{"from": tuesday},
    )
    over = tuesday + HOUR
    await world.samples(vendor, [(tuesday, 1600.0), (over, 1600.0)])
    await world.evaluate(tuesday)
    seen = {(one["state"], one["threshold_value"]) for one in await world.states(vendor)}
    assert seen == {("firing", 1500), ("ok", 3000)}
    for at, limit in ((tuesday, 1500), (over, 3000)):
        (judged,) = (await ask(api, actor, rule, at, at)).replays
        assert judged.last is not None
        assert judged.last.limit.value == limit, at


async def test_a_composite_alarms_where_all_of_its_members_do(
    world: EngineWorld, api: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    vendor = await world.organization()
    actor = await member_of(world, vendor)
    shared = {"aggregation": "last", "group_by": ["form"], "opens_incident": False}
    slow = await world.rule(
        vendor, metric_pattern="forms.time", cooldown_period=timedelta(), **shared
    )
    busy = await world.rule(
        vendor,
        alert_name="Busy",
        metric_pattern="forms.load",
        cooldown_period=timedelta(),
        **shared,
    )
    await world.rule(
        vendor,
        alert_name="Slow and busy",
        rule_kind="composite",
        metric_pattern="",
        group_by=["form"],
        member_rule_ids=[slow, busy],
        comparison_operator=">=",
        threshold_value=2.0,
        wedding_day_override=False,
    )
    (composite,) = await world.run("select id from apm_alerts where rule_kind = 'composite'")
    for form, metric, at in (("a", "time", 0), ("a", "load", 10), ("b", "time", 0)):
        values = {AT + at * SECOND: 9000.0, AT + (at + 20) * SECOND: 1.0}
        await world.samples(vendor, values, metric=metric, tags={"form": form})
    looks = [1.0, 11.0, 12.5, 20.0, 31.0]
    happened = await live_alarms(world, monkeypatch, AT, looks)
    (incident,) = await world.incidents(vendor)
    assert incident["alert_id"] == composite["id"]
    assert (incident["detected_at"], incident["resolved_at"]) == (
        AT + 10 * SECOND,
        AT + 20 * SECOND,
    )
    found = await ask(api, actor, composite["id"], AT, AT + 31 * SECOND)
    assert alarms_of(found) == [('tags:{"form":"a"}', AT + 10 * SECOND, AT + 20 * SECOND)]
    assert alarms_of(found)[0] in happened


@pytest.mark.parametrize("alarming", [1, 2])
async def test_on_a_wedding_day_too_all_means_all(
    world: EngineWorld, api: Pool, alarming: int
) -> None:
    """Two rules counted with `>= 2`, by the defaults, in the ceremony."""
    vendor = await world.organization()
    actor = await member_of(world, vendor)
    await world.wedding(vendor)
    shared = {"aggregation": "last", "group_by": [], "opens_incident": False}
    members = [
        await world.rule(vendor, alert_name=name, metric_pattern=f"forms.{name}", **shared)
        for name in ("time", "load")
    ]
    both = await world.rule(
        vendor,
        alert_name="Both",
        rule_kind="composite",
        metric_pattern="",
        group_by=[],
        member_rule_ids=members,
        comparison_operator=">=",
        threshold_value=2.0,
    )
    for number, metric in enumerate(("time", "load")):
        value = 9000.0 if number < alarming else 1.0
        await world.samples(vendor, [(AT, value)], metric=metric)
    await world.evaluate(AT + SECOND)
    (live_one,) = [one for one in await world.states(vendor) if one["alert_id"] == both]
    (judged,) = (await ask(api, actor, both, AT + SECOND, AT + SECOND)).replays
    assert judged.last is not None
    state = "firing" if alarming == 2 else "ok"
    assert (live_one["state"], live_one["threshold_value"]) == (state, 2)
    assert (judged.last.state.value, judged.last.limit.value) == (state, 2)
    assert judged.last.limit.phase == live_one["phase"] == "ceremony"


@pytest.mark.parametrize(
    ("columns", "good", "limit"),
    [
        (
            {
                "rule_kind": "ratio",
                "metric_pattern": "forms.good",
                "denominator_pattern": "forms.all",
                "threshold_value": 0.99,
            },
            {"good": 100.0, "all": 100.0},
            0.995,
        ),
        (
            {"metric_pattern": "forms.availability", "threshold_value": 99.0},
            {"availability": 99.9},
            99.5,
        ),
        ({"metric_pattern": "forms.hit_share", "threshold_value": 0.9}, {"hit_share": 0.98}, 0.95),
        ({"metric_pattern": "forms.workers", "threshold_value": 99.0}, {"workers": 100.0}, 99.0),
    ],
    ids=["ratio", "percent by name", "share", "unknown"],
)
async def test_what_is_good_on_any_day_is_no_alarm_on_a_wedding_day_by_a_limit_out_of_reach(
    world: EngineWorld,
    api: Pool,
    columns: dict[str, Any],
    good: dict[str, float],
    limit: float,
) -> None:
    """Lower limits on series that declare no unit: live and in preview."""
    vendor = await world.organization()
    actor = await member_of(world, vendor)
    await world.wedding(vendor)
    rule = await world.rule(vendor, aggregation="avg", comparison_operator="<", **columns)
    for metric, value in good.items():
        await world.samples(vendor, [(AT, value)], metric=metric)
    await world.evaluate(AT + SECOND)
    (state,) = await world.states(vendor)
    assert (state["state"], state["phase"]) == ("ok", "ceremony")
    assert state["threshold_value"] == pytest.approx(limit)
    (judged,) = (await ask(api, actor, rule, AT, AT + SECOND)).replays
    assert judged.last is not None
    assert (judged.last.state.value, judged.alarms) == ("ok", ())
    assert judged.last.limit.value == state["threshold_value"]


async def test_a_disk_is_full_at_the_same_on_a_wedding_day(world: EngineWorld, api: Pool) -> None:
    vendor = await world.organization()
    actor = await member_of(world, vendor)
    await world.wedding(vendor)
    rule = await world.rule(
        vendor,
        rule_kind="deadline",
        metric_pattern="forms.disk",
        evaluation_window=HOUR,
        horizon=HOUR,
        comparison_operator=">=",
        threshold_value=95.0,
    )
    points = [(AT - n * MINUTE, 60.0) for n in range(60, 0, -1)]
    await world.samples(vendor, points, metric="disk")
    await world.evaluate(AT + SECOND)
    (state,) = await world.states(vendor)
    assert (state["state"], state["threshold_value"]) == ("ok", 95)
    (judged,) = (await ask(api, actor, rule, AT, AT + SECOND)).replays
    assert judged.last is not None
    assert (judged.last.state.value, judged.last.limit.value) == ("ok", 95)


@pytest.mark.parametrize("year", [1, 1899, 2200, 9999])
async def test_an_instant_that_cannot_be_reckoned_with_is_refused(
    world: EngineWorld, api: Pool, year: int
) -> None:
    vendor = await world.organization()
    actor = await member_of(world, vendor)
    rule = await world.rule(vendor)
    at = AT.replace(year=year)
    with pytest.raises(NotValid):
        await ask(api, actor, rule, at, at)


async def test_errors_by_requests(world: EngineWorld, api: Pool) -> None:
    vendor = await world.organization()
    actor = await member_of(world, vendor)
    rule = await world.rule(
        vendor,
        rule_kind="ratio",
        metric_pattern="forms.errors",
        denominator_pattern="forms.requests",
        aggregation="sum",
        threshold_value=0.05,
        wedding_day_override=False,
    )
    await world.samples(vendor, {AT: 100.0, AT + 10 * SECOND: 100.0}, metric="requests")
    await world.evaluate(AT + SECOND)
    (state,) = await world.states(vendor)
    assert (state["metric_value"], state["state"]) == (0.0, "ok"), "no errors of any requests"
    await world.samples(vendor, {AT + 5 * SECOND: 12.0}, metric="errors", tags={"page": "2"})
    await world.evaluate(AT + 10 * SECOND)
    (state,) = await world.states(vendor)
    assert (state["instance_key"], state["state"]) == ("tags:{}", "firing")
    found = await ask(api, actor, rule, AT, AT + 10 * SECOND)
    assert alarms_of(found) == [("tags:{}", AT + 5 * SECOND, None)]
    (judged,) = found.replays
    assert [point.value for point in judged.points] == [0.0, 0.12, 0.06]


async def test_silence_of_all_is_noticed_before_the_first_sample(world: EngineWorld) -> None:
    vendor = await world.organization()
    await world.rule(vendor, group_by=[], no_data_policy="alert", for_duration=5 * SECOND)
    await world.rule(vendor, alert_name="Each", no_data_policy="alert", for_duration=5 * SECOND)
    await world.evaluate_each_second(AT, AT + 25 * SECOND)
    assert [one["state"] for one in await world.states(vendor)] == ["no_data"]


async def test_what_costs_too_much_is_refused_in_time(world: EngineWorld, api: Pool) -> None:
    vendor, stranger = await world.organization(), await world.organization("Other")
    actor, other = await member_of(world, vendor), await member_of(world, stranger)
    rule = await world.rule(vendor, aggregation="last")
    await world.steady(vendor, AT, AT + 5 * MINUTE, 1.0)
    with pytest.raises(NotValid):
        await ask(api, actor, rule, AT - timedelta(days=32), AT)
    with pytest.raises(NotValid):
        await ask(api, actor, rule, AT, AT - SECOND)
    for short in (Budget(samples=10), Budget(verdicts=10)):
        with pytest.raises(NotValid):
            await ask(api, actor, rule, AT, AT + 5 * MINUTE, budget=short)
    with pytest.raises(NotFound):
        await ask(api, other, rule, AT, AT)


async def test_a_budget_that_burns_fires_in_both_windows_and_ends_with_the_short_one(
    world: EngineWorld, api: Pool
) -> None:
    """14.4 times too fast over an hour and over five minutes: 1.44 % errors of 99.9 %."""
    vendor = await world.organization()
    actor = await member_of(world, vendor)
    rule = await world.rule(
        vendor,
        rule_kind="burn_rate",
        metric_pattern="forms.errors",
        denominator_pattern="forms.requests",
        aggregation="sum",
        objective=0.999,
        evaluation_window=HOUR,
        threshold_value=14.4,
        wedding_day_override=False,
        cooldown_period=timedelta(),
    )
    start = AT - HOUR
    for n in range(90):
        at = start + n * MINUTE + 30 * SECOND
        errors = 5.0 if 30 <= n < 60 else 0.0
        await world.samples(vendor, [(at, 100.0)], metric="requests")
        await world.samples(vendor, [(at, errors)], metric="errors")
    seen = []
    for n in range(90):
        await world.evaluate(start + n * MINUTE + 12 * SECOND)
        seen += [(n, one["state"], one["metric_value"]) for one in await world.states(vendor)]
    firing = [n for n, state, _ in seen if state == "firing"]
    # of n minutes with 5 % in the second half hour 1.44 % are reached when n/(30+n) * 5 >= 1.44
    assert firing == list(range(43, 64)), "and it ends when of five minutes two were good"
    found = await ask(api, actor, rule, start, start + 90 * MINUTE)
    assert alarms_of(found) == [("tags:{}", start + 43 * MINUTE, start + 64 * MINUTE)]


async def test_a_line_that_reaches_the_limit_before_the_next_wedding(
    world: EngineWorld, api: Pool
) -> None:
    vendor = await world.organization()
    actor = await member_of(world, vendor)
    rule = await world.rule(
        vendor,
        rule_kind="deadline",
        metric_pattern="forms.disk",
        evaluation_window=HOUR,
        threshold_value=95.0,
        wedding_day_override=False,
    )
    start = AT - HOUR
    await world.samples(
        vendor, [(start + n * MINUTE, 40.0 + n / 60) for n in range(60)], metric="disk"
    )
    await world.evaluate(AT)
    (state,) = await world.states(vendor)
    assert (state["state"], state["gap"]) == ("ok", "not_applicable"), "no wedding ahead"
    await world.wedding(vendor, day=(AT + timedelta(days=3)).date())
    await world.evaluate(AT + MINUTE)
    (state,) = await world.states(vendor)
    # one an hour, and about 85 hours to the end of the day
    assert state["state"] == "firing"
    assert 95 < state["metric_value"] < 135
    found = await ask(api, actor, rule, AT + MINUTE, AT + MINUTE)
    (judged,) = found.replays
    assert judged.last is not None
    assert judged.last.value == state["metric_value"]


async def test_a_change_against_the_same_weekday(world: EngineWorld, api: Pool) -> None:
    vendor = await world.organization()
    actor = await member_of(world, vendor)
    rule = await world.rule(
        vendor,
        rule_kind="change",
        metric_pattern="forms.orders",
        aggregation="sum",
        baseline="same_weekday",
        baseline_weeks=1,
        evaluation_window=30 * MINUTE,
        comparison_operator="<",
        threshold_value=-50.0,
        wedding_day_override=False,
    )
    week = timedelta(days=7)
    await world.samples(
        vendor, [(AT - week - n * MINUTE, 10.0) for n in range(1, 31)], metric="orders"
    )
    await world.run("select public.aggregate_metrics('1 minute')")
    await world.run("select public.aggregate_metrics('5 minutes')")
    await world.samples(vendor, [(AT - n * MINUTE, 4.0) for n in range(1, 31)], metric="orders")
    await world.evaluate(AT)
    (state,) = await world.states(vendor)
    assert (state["metric_value"], state["state"]) == (-60.0, "firing")
    found = await ask(api, actor, rule, AT, AT)
    (judged,) = found.replays
    assert judged.last is not None
    assert judged.last.value == -60.0
    assert to_datetime(0) < judged.last.evaluated_at == AT
