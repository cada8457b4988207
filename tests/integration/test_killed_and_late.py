"""Kill the engine anywhere, let samples come late: the history is the one it would have been.

The same generated script twice, an hour apart: once with an engine that lives on, once with one
that is killed before its commit or after it, again and again. Each verdict after each look and all
that was told has to be the same.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from operator import itemgetter
from typing import Any, Final
from uuid import UUID

import pytest
from hypothesis import HealthCheck, Phase, event, given, settings
from hypothesis import strategies as st

from tests.support.engine import AT, MINUTE, SECOND, EngineWorld, open_engine_world
from tests.support.postgres import Database, PostgresServer
from wedsync_apm.engine.leases import Leases

LENGTH: Final = 150
"""Seconds that samples are measured for."""
SERIES: Final = ("a", "b")


@dataclass(frozen=True)
class Sample:
    """A measured value, and how many seconds after its time it comes."""

    form: str
    second: float
    value: float
    delay: float


@dataclass(frozen=True)
class Script:
    """What is measured, who watches it, when the engine looks, and where it is killed."""

    samples: Sequence[Sample]
    rules: Sequence[Mapping[str, Any]]
    looks: Sequence[float]
    killed_before: frozenset[int]
    """The looks that are killed just before their commit, and begin anew."""
    killed_after: frozenset[int]


SECONDS: Final = st.sampled_from([0, 3, 10]).map(lambda n: n * SECOND)


@st.composite
def rules(draw: st.DrawFn) -> dict[str, Any]:
    return {
        "aggregation": draw(st.sampled_from(["avg", "min", "max", "last", "sum", "count"])),
        "comparison_operator": draw(st.sampled_from([">", "<="])),
        "threshold_value": 5.0,
        "evaluation_window": draw(st.sampled_from([5, 20])) * SECOND,
        "for_duration": draw(SECONDS),
        "keep_firing_for": draw(SECONDS),
        "cooldown_period": draw(SECONDS),
        "no_data_policy": draw(st.sampled_from(["keep", "alert", "ok"])),
        "flap_changes": draw(st.sampled_from([0, 0, 3])),
        "flap_window": MINUTE,
        "group_by": draw(st.sampled_from([None, [], ["form"]])),
    }


@st.composite
def scripts(draw: st.DrawFn) -> Script:
    samples = []
    for form in SERIES:
        at = draw(st.floats(0.5, 20))
        while at < LENGTH:
            delay = draw(st.sampled_from([0.0, 0.0, 0.0, 1.0, 9.5, 40.0]))
            samples.append(
                Sample(form, round(at, 1), draw(st.sampled_from([1.0, 4.0, 9.0])), delay)
            )
            at += draw(st.sampled_from([2.0, 5.0, 5.0, 15.0]))
    looks, look = list[float](), 1.0
    while look < LENGTH + 45:
        looks.append(round(look, 1))
        look += draw(st.sampled_from([1.0, 2.7, 6.0, 11.4]))
    places = st.frozensets(st.integers(0, len(looks) - 1), max_size=12)
    return Script(
        samples, draw(st.lists(rules(), min_size=2, max_size=3)), looks, draw(places), draw(places)
    )


class _Killed(Exception):
    """Just before the commit."""


async def fail(*_: object) -> None:
    raise _Killed


async def store_samples(
    world: EngineWorld, vendor: UUID, start: datetime, came: Sequence[Sample]
) -> None:
    await world.run(
        "insert into public.apm_samples (organization_id, service_name, metric_name, "
        "metric_value, tags, \"timestamp\") select %(o)s, 'forms', 'load', s.value, "
        "jsonb_build_object('form', s.form), s.at from unnest(%(values)s::float8[], "
        "%(forms)s::text[], %(ats)s::timestamptz[]) as s (value, form, at)",
        o=vendor,
        values=[one.value for one in came],
        forms=[one.form for one in came],
        ats=[start + one.second * SECOND for one in came],
    )


async def live_through(
    world: EngineWorld, script: Script, start: datetime, *, is_killed: bool
) -> tuple[list[Any], list[Any]]:
    """Every verdict after each look, and what was told, by seconds since the start."""
    vendor = await world.organization(f"Killed {is_killed}")
    made = [
        await world.rule(vendor, alert_name=f"Rule {n}", metric_pattern="forms.load", **columns)
        for n, columns in enumerate(script.rules)
    ]

    def place(at: datetime | None) -> float | None:
        return None if at is None else (at - start) / SECOND

    verdicts, before = [], -1.0
    for number, look in enumerate(script.looks):
        came = [one for one in script.samples if before < one.second + one.delay <= look]
        if came:
            await store_samples(world, vendor, start, came)
        if is_killed and number in script.killed_before:
            with pytest.MonkeyPatch.context() as patch, pytest.raises(_Killed):
                patch.setattr(Leases, "move_cursors", fail)
                await world.evaluate(start + look * SECOND)
            world.forget()
        await world.evaluate(start + look * SECOND)
        if is_killed and number in script.killed_after:
            world.forget()
        states = await world.states(vendor)
        series = sorted({one["series_id"] for one in states if one["series_id"] is not None})
        verdicts.append(
            {
                (
                    made.index(one["alert_id"]),
                    f"series {series.index(one['series_id'])}"
                    if one["series_id"] is not None
                    else one["instance_key"],
                ): (
                    one["state"],
                    [place(at) for at in one["flips"]],
                    *(place(one[name]) for name in ("pending_since", "firing_since")),
                    *(place(one[name]) for name in ("keeping_since", "alarmed_at")),
                )
                for one in states
            }
        )
        before = look
    rule_of = {one["id"]: made.index(one["alert_id"]) for one in await world.incidents(vendor)}
    # What happens to several at the same instant has no order among them.
    told = sorted(
        (
            (rule_of[one["incident_id"]], one["kind"], place(one["at"]), one["message"])
            for one in await world.events(vendor)
        ),
        key=itemgetter(0),
    )
    await world.run("update public.apm_alerts set is_active = false")
    world.forget()
    return verdicts, told


async def check(database: Database, script: Script) -> None:
    async with open_engine_world(database) as world:
        alive = await live_through(world, script, AT, is_killed=False)
        killed = await live_through(world, script, AT + timedelta(hours=1), is_killed=True)
    for look, ours, theirs in zip(script.looks, alive[0], killed[0], strict=True):
        assert ours == theirs, f"at {look}"
    assert alive[1] == killed[1]
    event("something was told" if alive[1] else "nothing was told")
    event("a correction" if any("late" in one[3] for one in alive[1]) else "no correction")


@pytest.mark.timeout(600)
@pytest.mark.filterwarnings("ignore:Generating overly large repr")
@settings(
    max_examples=4,
    deadline=None,
    # The same scripts each time: what this test is for is what was changed, not chance.
    derandomize=True,
    # A smaller script takes as long as the one that failed.
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(script=scripts())
def test_the_history_is_the_one_it_would_have_been(server: PostgresServer, script: Script) -> None:
    with server.clone() as database:
        asyncio.run(check(database, script))
