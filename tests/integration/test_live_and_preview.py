"""No verdict differs between the engine and preview: generated samples, rules and weddings.

The engine looks at odd times at what has come by then; preview judges what is stored at the end.
Samples come out of order and twice, but before the look
that follows their time (what comes later still corrects what was told, which tests/unit/rules
holds). Weddings are moved on the way, as long as what is moved lies ahead; the engine is
a new one at times.
"""

import asyncio
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

import pytest
from hypothesis import HealthCheck, Phase, event, given, settings
from hypothesis import strategies as st
from psycopg.types.json import Jsonb

from tests.integration.test_rule_past import ask, member_of
from tests.support.engine import AT, MINUTE, SECOND, EngineWorld, open_engine_world
from tests.support.postgres import Database, PostgresServer
from wedsync_apm.db.pool import Pool, open_pool
from wedsync_apm.engine.memories import Held
from wedsync_apm.rules import live, past, replay
from wedsync_apm.rules.transitions import Transition
from wedsync_apm.rules.verdict import Standing, State

START: Final = AT
LENGTH: Final = 90
"""Seconds that a script lasts."""
LONG: Final = 40 * 60
"""Seconds that a script for the kinds with long windows lasts."""
BELIEVED: Final = 6
"""A calendar is believed for five seconds, and read at the look after."""
Key = tuple[UUID, str]


@dataclass(frozen=True)
class Sample:
    """A measured value, where it comes in the order of writing, and whether it comes twice."""

    series: int
    at_ms: int
    value: float
    order: float
    is_repeated: bool = False


@dataclass(frozen=True)
class Script:
    """What is measured, who watches it, when the engine looks, and where the phases begin."""

    samples: Sequence[Sample] = field(repr=False)
    rules: Sequence[Mapping[str, Any]]
    looks: Sequence[float]
    ended: Mapping[int, float]
    """Of some series, the second at which their sender says that they are over."""
    phases: tuple[int, int, int]
    moves: Sequence[tuple[int, int, int]]
    """(before which look, which phase's edge, to which second)"""
    forgets_at: frozenset[int] = frozenset()
    """The looks before which the engine is a new process."""
    has_week_before: bool = False
    """Whether there is something to compare with, a week before."""


SERIES: Final = (
    ("load", {"form": "a"}),
    ("load", {"form": "b"}),
    ("requests", {"form": "a"}),
    ("errors", {"form": "a"}),
)
VALUES: Final = st.sampled_from([0.0, 1.0, 4.0, 8.0, 9.0, 12.0, 20.0, math.nan, math.inf])


@st.composite
def sampled(draw: st.DrawFn, series: int, until: int) -> list[Sample]:
    """A gauge, or a counter that rises and begins again; gaps, times in between and doubles."""
    is_counter = SERIES[series][0] != "load"
    found, total = list[Sample](), 0.0
    at = draw(st.integers(1000, 20_000))
    while at < until * 1000:
        if is_counter:
            step = draw(st.sampled_from([0.0, 1.0, 5.0, 30.0, -1.0]))
            total = draw(st.sampled_from([0.0, 2.0])) if step < 0 else total + step
            value = total
        else:
            value = draw(VALUES)
        order = draw(st.floats(0, 1))
        found.append(Sample(series, at, value, order, draw(st.sampled_from([False, False, True]))))
        at += draw(st.sampled_from([1, 999, 1000, 3700, 5000, 5000, 5000, 26_000]))
    return found


SECONDS: Final = st.sampled_from([0, 1, 7, 15]).map(lambda n: n * SECOND)
POLICIES: Final = st.sampled_from(["keep", "alert", "ok"])
LIMITS: Final = st.sampled_from([0.5, 3.0, 8.0, 11.0])


@st.composite
def shared_columns(draw: st.DrawFn) -> dict[str, Any]:
    """What every kind of rule has."""
    operator = draw(st.sampled_from([">", ">=", "<", "<="]))
    limit = draw(LIMITS)
    is_upper = operator.startswith(">")
    return {
        "comparison_operator": operator,
        "threshold_value": limit,
        "clear_threshold_value": draw(
            st.sampled_from([None, limit * 0.5 if is_upper else limit * 2])
        ),
        "for_duration": draw(SECONDS),
        "keep_firing_for": draw(SECONDS),
        "cooldown_period": draw(SECONDS),
        "no_data_policy": draw(POLICIES),
        "stale_policy": draw(POLICIES),
        "flap_changes": draw(st.sampled_from([0, 0, 3])),
        "flap_window": MINUTE,
        "wedding_day_override": draw(st.booleans()),
        "wedding_thresholds": Jsonb(draw(st.sampled_from([{}, {"ceremony": 2.0}]))),
        "wedding_factors": Jsonb(draw(st.sampled_from([{}, {"reception": 0.8, "set_up": 0.9}]))),
    }


@st.composite
def window_rules(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Two rules over windows, a ratio, and one that counts the first two."""
    group_by = draw(st.sampled_from([None, [], ["form"]]))
    found = []
    for _ in range(2):
        aggregation = draw(
            st.sampled_from(
                ["avg", "min", "max", "sum", "count", "last", "rate", "increase", "p95", "stddev"]
            )
        )
        found.append(
            draw(shared_columns())
            | {
                "aggregation": aggregation,
                "metric_pattern": "forms.requests"
                if aggregation in ("rate", "increase")
                else "forms.load",
                "evaluation_window": draw(st.sampled_from([5, 12, 40])) * SECOND,
                "group_by": group_by,
            }
        )
    found.append(
        draw(shared_columns())
        | {
            "rule_kind": "ratio",
            "metric_pattern": "forms.errors",
            "denominator_pattern": "forms.requests",
            "aggregation": draw(st.sampled_from(["sum", "increase", "count"])),
            "evaluation_window": draw(st.sampled_from([12, 40])) * SECOND,
            "group_by": draw(st.sampled_from([None, ["form"]])),
        }
    )
    if group_by is not None:
        found.append(
            draw(shared_columns())
            | {
                "rule_kind": "composite",
                "metric_pattern": "",
                "group_by": group_by,
                "comparison_operator": ">=",
                "threshold_value": float(draw(st.integers(1, 2))),
                "clear_threshold_value": None,
                "wedding_day_override": False,
            }
        )
    return found


@st.composite
def scripts(draw: st.DrawFn) -> Script:
    samples: list[Sample] = []
    ended: dict[int, float] = {}
    for series in range(len(SERIES)):
        until = LENGTH
        if draw(st.integers(0, 3)) == 0:
            until = draw(st.integers(20, LENGTH - 20))
            ended[series] = until + draw(st.integers(1, 5))
        samples += draw(sampled(series, until))
    looks, look = list[float](), 0.5
    while look < LENGTH + 30:
        looks.append(look)
        look += draw(st.sampled_from([0.3, 1.0, 2.7, 4.9, 11.4]))
    phases = (draw(st.integers(5, 25)), draw(st.integers(30, 50)), draw(st.integers(60, 80)))
    moves = draw(
        st.lists(
            st.tuples(
                st.integers(1, max(len(looks) - 1, 1)), st.integers(0, 2), st.integers(5, LENGTH)
            ),
            max_size=3,
        )
    )
    forgets = draw(st.frozensets(st.integers(1, len(looks)), max_size=2))
    return Script(samples, draw(window_rules()), looks, ended, phases, moves, forgets)


async def store_samples(world: EngineWorld, vendor: UUID, samples: Sequence[Sample]) -> None:
    """Each in a block of its own or with its neighbours, in the order of writing."""
    for place in range(0, len(samples), 3):
        some = samples[place : place + 3]
        await world.run(
            "insert into public.apm_samples (organization_id, service_name, metric_name, "
            "metric_type, metric_value, tags, \"timestamp\") select %(o)s, 'forms', s.metric, "
            "'gauge', s.value, s.tags::jsonb, s.at from unnest(%(metrics)s::text[], "
            "%(values)s::float8[], %(tags)s::text[], %(ats)s::timestamptz[]) "
            "as s (metric, value, tags, at)",
            o=vendor,
            metrics=[SERIES[one.series][0] for one in some],
            values=[one.value for one in some],
            tags=[f'{{"form": "{SERIES[one.series][1]["form"]}"}}' for one in some],
            ats=[START + one.at_ms * timedelta(milliseconds=1) for one in some],
        )


PHASES: Final = ("set_up", "ceremony", "reception")


async def set_phases(world: EngineWorld, vendor: UUID, wedding: UUID, edges: Sequence[int]) -> None:
    async with world.owner.connection() as cx:
        await cx.execute(
            "delete from public.apm_wedding_windows where organization_id = %s", (vendor,)
        )
        for number, phase in enumerate(PHASES):
            begin = START + edges[number] * SECOND
            end = START + (edges[number + 1] if number < 2 else 2 * LONG) * SECOND
            await cx.execute(
                "insert into public.apm_wedding_windows values (%s, %s, %s, tstzrange(%s, %s))",
                (vendor, wedding, phase, begin, end),
            )


def moved(edges: Sequence[int], number: int, to: int, now: float) -> list[int] | None:
    """The edges with one of them moved; None where that would change what has been judged."""
    found = list(edges)
    found[number] = to
    if sorted(set(found)) != found:
        return None
    return found if min(edges[number], to) > now + BELIEVED else None


@dataclass
class Seen:
    """What the engine said: what it wrote down, and where everything stood after each look."""

    written: list[tuple[Key, Standing]] = field(default_factory=list)
    after_looks: list[tuple[Key, Standing]] = field(default_factory=list)
    changed: list[tuple[Key, Standing]] = field(default_factory=list)
    """Each change of a state, where it was judged in memory."""


async def live_through(
    world: EngineWorld, vendor: UUID, script: Script, patch: pytest.MonkeyPatch
) -> Seen:
    seen = Seen()
    upsert = live.upsert_standings

    async def note(cx: Any, organization_id: UUID, standings: Any, *rest: Any, **more: Any) -> None:
        seen.written.extend(standings.items())
        await upsert(cx, organization_id, standings, *rest, **more)

    changes_of_held = Held.changes_of

    def note_changes(held: Held, transitions: Iterable[Transition]) -> Any:
        found = list(transitions)
        seen.changed.extend((one.key, one.standing) for one in found)
        return changes_of_held(held, found)

    patch.setattr(live, "upsert_standings", note)
    patch.setattr(Held, "changes_of", note_changes)
    wedding = await world.wedding(vendor)
    edges = list(script.phases)
    await set_phases(world, vendor, wedding, edges)
    ends = dict(script.ended)
    before, repeats = -math.inf, list[Sample]()
    for number, look in enumerate(script.looks):
        if number in script.forgets_at:
            world.forget()
        for at_look, edge, to in script.moves:
            if at_look == number and (new := moved(edges, edge, to, before)) is not None:
                event("a wedding was moved")
                edges = new
                await set_phases(world, vendor, wedding, edges)
        came = [one for one in script.samples if before < one.at_ms / 1000 <= look]
        await store_samples(world, vendor, repeats)
        await store_samples(world, vendor, sorted(came, key=lambda one: one.order))
        # The last one of those with one time wins, so that only that may come again.
        last = {(one.series, one.at_ms): one for one in sorted(came, key=lambda one: one.order)}
        repeats = [one for one in last.values() if one.is_repeated]
        for series, end in list(ends.items()):
            if end <= look:
                del ends[series]
                metric, tags = SERIES[series]
                # As a stale marker comes: with a flush, which tells the engine to look.
                marker = Sample(series, round(end * 1000), math.nan, 0)
                await store_samples(world, vendor, [marker])
                await world.run(
                    "update public.apm_series set ended_at = %(at)s where organization_id = %(o)s "
                    "and metric_name = %(metric)s and tags = %(tags)s",
                    o=vendor,
                    at=START + end * SECOND,
                    metric=metric,
                    tags=Jsonb(tags),
                )
        await world.evaluate(START + look * SECOND)
        if vendor in world.evaluator.memories:
            held = world.evaluator.memories[vendor].memory
            seen.after_looks.extend(held.standings().items())
            assert held.paused == {}
        before = look
    return seen


def told(standing: Standing) -> tuple[Any, ...]:
    """All that a verdict says but for when it was looked at and what was measured then.

    Since when all has been well is not written each time, and begins anew with a new engine.
    """
    limit = standing.limit
    return (
        standing.state,
        (limit.value, limit.clear_value, limit.source, limit.phase),
        standing.pending_since,
        standing.firing_since,
        standing.keeping_since,
        None if standing.state is State.OK else standing.changed_at,
    )


def measured(standing: Standing) -> tuple[Any, ...]:
    return (standing.value, standing.sample_count, standing.gap)


async def compare(
    world: EngineWorld, api: Pool, vendor: UUID, rule_id: UUID, *, last_look: float, seen: Seen
) -> int:
    """Asks preview for the same time; returns how many verdicts were compared."""
    actor = await member_of(world, vendor)
    found = await ask(
        api, actor, rule_id, START, START + last_look * SECOND, most_points=10_000_000
    )
    compared = 0
    by_key = {one.subject.instance.key: one for one in found.replays}
    for _, key in {key for key, _ in seen.written + seen.after_looks if key[0] == rule_id}:
        assert key in by_key, key
    for key, replayed in by_key.items():
        points = replayed.points
        ours = [one for of, one in seen.written + seen.after_looks if of == (rule_id, key)]
        ours.sort(key=lambda one: one.evaluated_at)
        assert points or not ours
        for standing in ours:
            earlier = [one for one in points if one.evaluated_at <= standing.evaluated_at]
            where = f"{key} at {standing.evaluated_at}: {standing}"
            assert earlier, where
            assert told(standing) == told(earlier[-1]), f"{where}\npreview: {earlier[-1]}"
            if earlier[-1].evaluated_at == standing.evaluated_at:
                assert measured(standing) == measured(earlier[-1]), where
            compared += 1
        # And none is missing, in this order: each change of a state, or, of what is not judged in
        # memory, each beginning and each end, which is what is written at once.
        changed = [one for of, one in seen.changed if of == (rule_id, key)]
        if changed:
            assert states_of(points) == states_of(changed), key
        written = [one for of, one in seen.written if of == (rule_id, key)]
        assert alarms_of(points) == alarms_of(written), key
    return compared


def states_of(standings: Iterable[Standing]) -> list[tuple[str, datetime]]:
    """Each state and when it began; that all is well at first is no change."""
    found: list[tuple[str, datetime]] = []
    for one in standings:
        # What was not written down yet is judged, and told, once more by a new engine.
        if (one.state.value, one.changed_at) not in found:
            found.append((one.state.value, one.changed_at))
    return found[1:] if found and found[0][0] == "ok" else found


def alarms_of(standings: Iterable[Standing]) -> list[tuple[bool, datetime]]:
    """The beginnings, and the ends that followed them."""
    found: list[tuple[bool, datetime]] = []
    for one in standings:
        if one.firing_since is not None and (not found or not found[-1][0]):
            found.append((True, one.firing_since))
        elif one.firing_since is None and found and found[-1][0]:
            found.append((False, one.changed_at))
    return found


async def check(database: Database, script: Script, patch: pytest.MonkeyPatch) -> None:
    async with (
        open_engine_world(database) as world,
        await open_pool(database.api, name="api", min_size=1, max_size=1) as api,
    ):
        vendor = await world.organization()
        made: list[UUID] = []
        for number, columns in enumerate(script.rules):
            more = {"member_rule_ids": made[:2]} if columns.get("rule_kind") == "composite" else {}
            made.append(
                await world.rule(vendor, alert_name=f"Rule {number}", **{**columns, **more})
            )
        if script.has_week_before:
            week = [Sample(2, ms - 7 * 86_400_000, 2.0, 0) for ms in range(0, LONG * 1000, 60_000)]
            await store_samples(world, vendor, week)
            await world.run("select public.aggregate_metrics('1 minute')")
            await world.run("select public.aggregate_metrics('5 minutes')")
        seen = await live_through(world, vendor, script, patch)
        # Preview begins in the second in which the engine looked first, not a while before.
        patch.setattr(past, "lead_of", lambda rule: timedelta())
        patch.setattr(replay, "lead_of", lambda rule: timedelta())
        for rule_id, columns in zip(made, script.rules, strict=True):
            compared = await compare(
                world, api, vendor, rule_id, last_look=script.looks[-1], seen=seen
            )
            event(f"{columns.get('rule_kind', 'threshold')}: {'many' if compared > 9 else 'few'}")


@st.composite
def long_scripts(draw: st.DrawFn) -> Script:
    """Burn rates, deadlines and changes, which are judged each minute, by what rollups say."""
    samples = []
    for series in range(1, len(SERIES)):
        at, total = draw(st.integers(1000, 90_000)), 0.0
        while at < LONG * 1000:
            total += draw(st.sampled_from([0.0, 1.0, 4.0]))
            value = total if series == 1 else draw(st.sampled_from([0.0, 1.0, 3.0, 100.0]))
            samples.append(
                Sample(series, at, value, draw(st.floats(0, 1)), draw(st.integers(0, 9)) == 0)
            )
            at += draw(st.sampled_from([15_000, 30_000, 30_500, 240_000]))
    looks, look = list[float](), 12.0
    while look < LONG + 120:
        looks.append(look)
        look += draw(st.sampled_from([31.0, 60.0, 95.0, 200.0]))
    rules = [
        draw(shared_columns())
        | {
            "rule_kind": "burn_rate",
            "metric_pattern": "forms.errors",
            "denominator_pattern": "forms.requests",
            "aggregation": "sum",
            "objective": 0.9,
            "comparison_operator": ">",
            "evaluation_window": 30 * MINUTE,
            "short_window": draw(st.sampled_from([None, 5 * MINUTE])),
            "clear_threshold_value": None,
        },
        draw(shared_columns())
        | {
            "rule_kind": "deadline",
            "metric_pattern": "forms.load",
            "evaluation_window": 20 * MINUTE,
            "horizon": 30 * MINUTE,
            "threshold_value": draw(st.sampled_from([40.0, 90.0])),
            "clear_threshold_value": None,
        },
        draw(shared_columns())
        | {
            "rule_kind": "change",
            "metric_pattern": "forms.requests",
            "aggregation": draw(st.sampled_from(["sum", "avg", "max"])),
            "baseline": "same_weekday",
            "baseline_weeks": 1,
            "evaluation_window": 10 * MINUTE,
            "threshold_value": draw(st.sampled_from([-50.0, 10.0, 80.0])),
            "clear_threshold_value": None,
        },
    ]
    moves = [(draw(st.integers(1, len(looks) - 1)), draw(st.integers(0, 2)), LONG // 2)]
    forgets = draw(st.frozensets(st.integers(1, len(looks)), max_size=1))
    return Script(samples, rules, looks, {}, (400, 900, 1500), moves, forgets, has_week_before=True)


MANY: Final = settings(
    max_examples=10,
    deadline=None,
    # A smaller script takes as long as the one that failed.
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.mark.timeout(300)
@pytest.mark.filterwarnings("ignore:Generating overly large repr")
@MANY
@given(script=scripts())
def test_no_verdict_differs(server: PostgresServer, script: Script) -> None:
    with server.clone() as database, pytest.MonkeyPatch.context() as patch:
        asyncio.run(check(database, script, patch))


@pytest.mark.timeout(300)
@pytest.mark.filterwarnings("ignore:Generating overly large repr")
@settings(MANY, max_examples=6)
@given(script=long_scripts())
def test_no_verdict_of_long_windows_differs(server: PostgresServer, script: Script) -> None:
    with server.clone() as database, pytest.MonkeyPatch.context() as patch:
        asyncio.run(check(database, script, patch))
