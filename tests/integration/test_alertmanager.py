"""The same script into the real Alertmanager and into us: the same notifications out.

Each script is an organization here and a label there, so that many run side by side. What differs
on purpose stands in docs/silences.md; here it is that an end is told to whoever was told of the
beginning. From there on the two know different things of that alert, and it is compared no more.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import pytest
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st
from psycopg.types.json import Jsonb

from tests.support.alertmanager import Alertmanager, alertmanager, alertmanager_command
from tests.support.engine import AT, EngineWorld, open_engine_world
from tests.support.outbox import outbox_of
from tests.support.postgres import Database, PostgresServer

Labels = Mapping[str, str]
Matcher = tuple[str, str, str]
STEP: Final = timedelta(seconds=12)
"""Longer than it takes us to look at a held ladder again."""
SIDE_BY_SIDE: Final = 20
INHIBITION: Final[tuple[tuple[list[Matcher], list[Matcher], list[str]], ...]] = (
    ([("role", "=", "source")], [("role", "=", "target")], ["script", "cluster"]),
    # "mid" is on both sides
    ([("level", "=~", "high|mid")], [("level", "=~", "mid|low")], ["script", "name"]),
    ([("role", "=", "source")], [("name", "!=", ""), ("role", "!~", "s.*")], ["script"]),
)
VALUES: Final = {
    "role": ["source", "target", "other", ""],
    "level": ["high", "mid", "low", ""],
    "cluster": ["a", "b", ""],
    "name": ["x", "y", ""],
}
EXPRESSIONS: Final = {
    "role": ["source|target", "t.*", ".+"],
    "level": ["high|mid", "m?.*", "[hl]..?."],
    "cluster": ["a|b", "[a-b]", ".*"],
    "name": ["x", "(x|y)?", "z"],
}


@dataclass(frozen=True, slots=True)
class Script:
    """Alerts by their labels, and what happens, one thing a step."""

    alerts: tuple[Labels, ...]
    events: tuple[tuple[str, Any], ...]


@dataclass(slots=True)
class Following:
    """How far one script has come on both sides."""

    number: int
    script: Script
    organization_id: UUID
    firing: set[int] = field(default_factory=set)
    told: set[int] = field(default_factory=set)
    apart: set[int] = field(default_factory=set)
    """Alerts of which an end was told that Alertmanager keeps to itself."""
    silences: list[tuple[str, UUID]] = field(default_factory=list)
    story: list[str] = field(default_factory=list)

    def labels(self, alert: int) -> dict[str, str]:
        """As Alertmanager knows it."""
        given = {name: value for name, value in self.script.alerts[alert].items() if value}
        return {**given, "alertname": f"a{alert}", "script": str(self.number)}


@st.composite
def matchers(draw: st.DrawFn) -> tuple[Matcher, ...]:
    names = draw(st.lists(st.sampled_from(list(VALUES)), min_size=1, max_size=2, unique=True))
    found = []
    for name in names:
        operator = draw(st.sampled_from(["=", "!=", "=~", "!~"]))
        known = VALUES if operator in ("=", "!=") else EXPRESSIONS
        found.append((name, operator, draw(st.sampled_from(known[name]))))
    return tuple(found)


@st.composite
def scripts(draw: st.DrawFn) -> Script:
    alerts = draw(
        st.lists(
            st.fixed_dictionaries({name: st.sampled_from(of) for name, of in VALUES.items()}),
            min_size=2,
            max_size=4,
        )
    )
    events = draw(
        st.lists(
            st.one_of(
                st.tuples(st.just("fire"), st.integers(0, len(alerts) - 1)),
                st.tuples(st.just("fire"), st.integers(0, len(alerts) - 1)),
                st.tuples(st.just("resolve"), st.integers(0, len(alerts) - 1)),
                st.tuples(st.just("silence"), matchers()),
                st.tuples(st.just("expire"), st.integers(0, 2)),
            ),
            min_size=4,
            max_size=9,
        )
    )
    return Script(tuple(alerts), tuple(events))


def ours(found: list[Matcher] | tuple[Matcher, ...]) -> Jsonb:
    return Jsonb(
        [{"label": f"tag.{name}", "operator": op, "value": value} for name, op, value in found]
    )


def theirs(found: list[Matcher]) -> list[str]:
    return [f'{name}{operator}"{value}"' for name, operator, value in found]


INHIBIT_RULES: Final = [
    {"source_matchers": theirs(source), "target_matchers": theirs(target), "equal": equal}
    for source, target, equal in INHIBITION
]


async def begin(world: EngineWorld, number: int, script: Script) -> Following:
    vendor = await world.organization(f"Script {number}")
    await world.ladder(vendor, (timedelta(), "none", [await world.contact(vendor, "Priya")]))
    for index, (source, target, equal) in enumerate(INHIBITION):
        await world.run(
            "insert into public.apm_inhibition_rules (organization_id, name, source_matchers, "
            "target_matchers, equal) values (%(id)s, %(name)s, %(source)s, %(target)s, %(equal)s)",
            id=vendor,
            name=str(index),
            source=ours(source),
            target=ours(target),
            equal=[f"tag.{name}" for name in equal],
        )
    return Following(number, script, vendor)


async def act(
    one: Following, event: tuple[str, Any], at: datetime, world: EngineWorld, server: Alertmanager
) -> None:
    """Lets the same happen on both sides; what does not fit the moment does not happen at all."""
    kind, what = event
    match kind:
        case "fire" if what not in one.firing:
            one.firing.add(what)
            labels = {f"tag.{name}": value for name, value in one.labels(what).items()}
            await server.alert(one.labels(what), is_firing=True)
            await world.run(
                "select apm_private.open_incident(%(id)s, %(key)s, %(key)s, 'warning', %(labels)s, "
                "'{}', %(at)s)",
                id=one.organization_id,
                key=f"a{what}",
                labels=Jsonb(labels),
                at=at,
            )
        case "resolve" if what in one.firing:
            one.firing.discard(what)
            await server.alert(one.labels(what), is_firing=False)
            await world.run(
                "select apm_private.end_incident(%(id)s, %(key)s, 'over', %(at)s)",
                id=one.organization_id,
                key=f"a{what}",
                at=at,
            )
        case "silence":
            found = [*what, ("script", "=", str(one.number))]
            rows = await world.run(
                "with clock as (select set_config('apm.at', %(at)s::timestamptz::text, true)) "
                "insert into public.apm_silences (organization_id, matchers, starts_at, ends_at, "
                "reason, owner) select %(id)s, %(matchers)s, %(at)s, %(ends_at)s, 'test', 'test' "
                "from clock returning id",
                id=one.organization_id,
                matchers=ours(found),
                at=at,
                ends_at=at + timedelta(hours=1),
            )
            one.silences.append((await server.silence(found), rows[0]["id"]))
        case "expire" if what < len(one.silences):
            silence_id, own_id = one.silences.pop(what)
            await server.expire(silence_id)
            await world.run(
                "update public.apm_silences set expired_at = %(at)s where id = %(id)s",
                at=at,
                id=own_id,
            )
        case _:
            return
    one.story.append(f"{kind} {what}")


async def our_news(world: EngineWorld) -> dict[UUID, list[tuple[int, str]]]:
    """What was told since the last time; it is taken for sent."""
    rows = await world.run(
        "with news as (update public.apm_deliveries set state = 'sent', subject = 'seen' "
        "where subject is null returning organization_id, incident_id, kind) "
        "select n.organization_id, i.dedup_key, n.kind from news as n "
        "join public.apm_incidents as i on i.id = n.incident_id"
    )
    found: dict[UUID, list[tuple[int, str]]] = {}
    for row in rows:
        status = "resolved" if row["kind"] == "resolved" else "firing"
        found.setdefault(row["organization_id"], []).append((int(row["dedup_key"][1:]), status))
    return found


async def our_held(world: EngineWorld, at: datetime) -> dict[UUID, set[int]]:
    rows = await world.run(
        "select i.organization_id, i.dedup_key from public.apm_incidents as i cross join lateral "
        "apm_private.held_back_by(i.organization_id, i.id, %(at)s) as h where i.status = 'open'",
        at=at,
    )
    found: dict[UUID, set[int]] = {}
    for row in rows:
        found.setdefault(row["organization_id"], set()).add(int(row["dedup_key"][1:]))
    return found


def by_script(labels: list[dict[str, str]]) -> dict[int, set[int]]:
    found: dict[int, set[int]] = {}
    for one in labels:
        found.setdefault(int(one["script"]), set()).add(int(one["alertname"][1:]))
    return found


async def compare(database: Database, folder: Path, found: list[Script]) -> int:
    """Runs the scripts side by side; returns how many notifications both told alike."""
    alike = 0
    async with (
        open_engine_world(database) as world,
        alertmanager(folder, INHIBIT_RULES) as server,
    ):
        following = [await begin(world, number, script) for number, script in enumerate(found)]
        for step in range(max(len(script.events) for script in found)):
            at = AT + step * STEP
            held_before = by_script(await server.suppressed())
            going = [one for one in following if step < len(one.script.events)]
            for one in going:
                await act(one, one.script.events[step], at, world, server)
            for seconds in (0, 6):
                await world.escalate(at + timedelta(seconds=seconds))
            heard = await server.settle()
            told, held = await our_news(world), await our_held(world, at)
            held_there = by_script(await server.suppressed())
            for one in following:
                where = f"script {one.number} {one.script.alerts}: {one.story}"
                assert held.get(one.organization_id, set()) == held_there.get(one.number, set()), (
                    where
                )
                here = sorted(told.get(one.organization_id, []))
                there = sorted(
                    (int(labels["alertname"][1:]), status)
                    for labels, status in heard
                    if labels["script"] == str(one.number)
                )
                for alert, status in here:
                    was_held = alert in held_before.get(one.number, set())
                    if status == "resolved" and was_held and alert in one.told:
                        one.apart.add(alert)
                here = [news for news in here if news[0] not in one.apart]
                there = [news for news in there if news[0] not in one.apart]
                assert here == there, where
                alike += len(here)
                one.told |= {alert for alert, status in here if status == "firing"}
                one.told -= {alert for alert, status in here if status == "resolved"}
    return alike


@pytest.mark.slow
@pytest.mark.timeout(600)
@settings(
    max_examples=1,
    deadline=None,
    # A smaller script takes as long to run as the one that failed, and its story is in the message.
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(st.lists(scripts(), min_size=SIDE_BY_SIDE, max_size=SIDE_BY_SIDE))
def test_the_same_script_gives_the_same_notifications(
    server: PostgresServer, tmp_path_factory: pytest.TempPathFactory, found: list[Script]
) -> None:
    # The first that is tried is the simplest one, over and over.
    assume(any(one != found[0] for one in found))
    alertmanager_command()
    with server.clone() as database:
        asyncio.run(compare(database, tmp_path_factory.mktemp("alertmanager"), found))


NOTHING: Final = dict.fromkeys(VALUES, "")
SCRIPT: Final = Script(
    (NOTHING | {"role": "source"}, NOTHING | {"role": "target"}),
    (
        ("fire", 1),
        ("fire", 0),
        ("resolve", 0),
        ("silence", (("role", "=", "target"),)),
        ("expire", 0),
        ("resolve", 1),
        ("fire", 0),
        ("fire", 1),
        ("resolve", 0),
        ("resolve", 1),
    ),
)
OWED: Final = Script(
    (NOTHING | {"role": "target"},),
    (("fire", 0), ("silence", (("role", "=", "target"),)), ("resolve", 0)),
)


@pytest.mark.timeout(300)
def test_a_script_by_hand(server: PostgresServer, tmp_path: Path) -> None:
    with server.clone() as database:
        # target, source, source over, target over, source, source over and target, target over
        assert asyncio.run(compare(database, tmp_path, [SCRIPT])) == 8


async def both_sides(
    database: Database, folder: Path, script: Script
) -> list[tuple[list[str], list[str]]]:
    """What each step makes Alertmanager and us say."""
    told = []
    async with open_engine_world(database) as world, alertmanager(folder, INHIBIT_RULES) as server:
        one = await begin(world, 0, script)
        for step, event in enumerate(script.events):
            at = AT + step * STEP
            await act(one, event, at, world, server)
            await world.escalate(at)
            heard = [status for _, status in await server.settle()]
            here = [status for _, status in (await our_news(world)).get(one.organization_id, [])]
            told.append((heard, here))
    return told


@pytest.mark.timeout(300)
async def test_the_end_that_is_owed_is_the_difference(database: Database, tmp_path: Path) -> None:
    """Alertmanager says nothing when a silenced alert ends; whoever was told "down" waits on."""
    told = await both_sides(database, tmp_path, OWED)
    assert told == [(["firing"], ["firing"]), ([], []), ([], ["resolved"])]


@pytest.mark.timeout(300)
async def test_a_return_after_an_owed_end_is_told(database: Database, tmp_path: Path) -> None:
    """To Alertmanager's books the alert has never ended, so that its return is no news."""
    script = Script(OWED.alerts, (*OWED.events, ("expire", 0), ("fire", 0)))
    told = await both_sides(database, tmp_path, script)
    assert told[3:] == [([], []), ([], ["firing"])]


NIGHT: Final = datetime(2026, 6, 19, 23, 30, tzinfo=UTC)
"""Half past midnight in London, on the day of a wedding."""
MORNING: Final = datetime(2026, 6, 20, 6, 0, tzinfo=UTC)


@pytest.mark.timeout(300)
async def test_an_emergency_passes_quiet_hours(database: Database, tmp_path: Path) -> None:
    """Alertmanager's `mute_time_intervals` mute all alike. What is muted and goes on is told by
    both when the time is over; of what came and went in it only we tell, as something that is over.
    """
    told_before: list[tuple[str, str]] = []
    steps: list[tuple[list[tuple[str, str]], list[tuple[str, str]]]] = []
    severities = {"mild": "warning", "passing": "warning", "grave": "emergency"}
    async with (
        open_engine_world(database) as world,
        outbox_of(database) as outbox,
        alertmanager(tmp_path, [], is_muted=True) as server,
    ):
        vendor = await world.organization("Night")
        contact = await world.contact(vendor, "Priya")
        await world.ladder(vendor, (timedelta(), "none", [contact]))
        await world.wedding(vendor, MORNING.date())
        await world.run(
            "insert into public.apm_quiet_hours (organization_id, contact_method_id, starts_time, "
            "ends_time, time_zone) values (%(o)s, %(c)s, '22:00', '07:00', 'Europe/London')",
            o=vendor,
            c=contact,
        )

        async def step(at: datetime) -> None:
            await world.escalate(at)
            for seconds in (0, 3):
                await outbox.run_once(at + timedelta(seconds=seconds))
                await outbox.drain()
            theirs = sorted((labels["alertname"], s) for labels, s in await server.settle())
            rows = await world.run(
                "select i.dedup_key, d.kind from public.apm_deliveries as d join "
                "public.apm_incidents as i on i.id = d.incident_id where d.state = 'inbox'"
            )
            here = sorted(
                (row["dedup_key"], "resolved" if row["kind"] == "resolved" else "firing")
                for row in rows
            )
            steps.append((theirs, [one for one in here if one not in told_before]))
            told_before.extend(steps[-1][1])

        for name, severity in severities.items():
            await server.alert({"alertname": name, "severity": severity}, is_firing=True)
            await world.run(
                "select apm_private.open_incident(%(o)s, %(name)s, %(name)s, %(severity)s, '{}', "
                "'{}', %(at)s)",
                o=vendor,
                name=name,
                severity=severity,
                at=NIGHT,
            )
        await step(NIGHT)
        await server.alert({"alertname": "passing", "severity": "warning"}, is_firing=False)
        await world.run(
            "select apm_private.end_incident(%(o)s, 'passing', 'over', %(at)s)",
            o=vendor,
            at=NIGHT + timedelta(hours=1),
        )
        await step(NIGHT + timedelta(hours=1))
        await server.unmute()
        await step(MORNING)
    assert steps == [
        ([], [("grave", "firing")]),
        ([], []),
        (
            [("grave", "firing"), ("mild", "firing")],
            [("mild", "firing"), ("passing", "resolved")],
        ),
    ]
