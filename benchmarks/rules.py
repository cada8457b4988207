"""How long does it take to judge all rules again, in one thread, when every series has a new
sample? 100,000 rules of 200 organizations over 500,000 series, windows of five minutes of samples
every 15 seconds; and a tenth and a hundredth of the rules.

It is the engine's own memory, with every verdict and what explains it, without the database: what
that costs is in `alerting`. Half of the rules watch one series, the others up to fifty.
"""

import gc
import os
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID, uuid4

import numpy as np
import psutil

from benchmarks.run import facts, options_of, parsed, save, say
from benchmarks.workload import STEP_MS, vendor_id
from wedsync_apm.clock import to_datetime
from wedsync_apm.metrics.blocks.model import Columns, Context
from wedsync_apm.rules.aggregate import Aggregation
from wedsync_apm.rules.compiled import IS_COMPILED
from wedsync_apm.rules.instances import series_key
from wedsync_apm.rules.judge import Instance, Unit
from wedsync_apm.rules.memory import Memory
from wedsync_apm.rules.model import AlertRule, NoDataPolicy, Operator, RuleKind
from wedsync_apm.rules.sources import DRIFT_MS

WINDOW: Final = timedelta(minutes=5)
STEPS: Final = 21
"""One more than a window holds."""
START_MS: Final = 1_780_000_005_000
MIX: Final = (
    *(("avg",) * 5 + ("min",) * 2 + ("max",) * 2 + ("last",)),
    *(("rate",) * 4 + ("ratio",) * 2 + ("p95",) * 2 + ("absent", "group")),
)
"""Of twenty rules: ten thresholds, four rates, two ratios, two percentiles, one for silence, one
over a group of series."""
_AGGREGATIONS: Final = {"ratio": "sum", "absent": "last", "group": "sum"}


@dataclass(frozen=True, slots=True)
class Run:
    """One number of rules in one round; milliseconds of the process's CPU."""

    round: int
    rules: int
    series: int
    """That any rule watches; others are not held."""
    units: int
    take_ms: float
    """All new samples, one of each series."""
    judge_ms: float
    """All units whose series they are of."""
    full_ms: float
    """All units once more, a second later, without a new sample."""
    longest_slice_ms: float
    transitions: int
    memory_mb: float
    """Of the process, with the imports and the workload."""

    @property
    def whole_ms(self) -> float:
        """From the samples to the verdicts."""
        return self.take_ms + self.judge_ms


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the benchmark and writes results/rules.json; 1 when a verdict is missing."""
    parser = options_of("rules", __doc__)
    parser.add_argument("--rules", default="1000,10000,100000")
    parser.add_argument("--series", type=int, default=500_000)
    parser.add_argument("--organizations", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    options = parsed(parser, arguments)
    if options.quick:
        options.rules, options.series, options.organizations, options.rounds = "100", 500, 5, 1
    if not IS_COMPILED:
        say("Not compiled: these are the figures of the plain functions.")
    runs, missing = [], 0
    for rules in map(int, options.rules.split(",")):
        world = World(rules, options.series, options.organizations)
        for number in range(options.rounds):
            run = world.step(number)
            runs.append(run)
            say(line(run))
        missing += world.missing()
        del world
        gc.collect()
    told = facts(vars(options)) | {
        "runs": [asdict(run) | {"whole_ms": run.whole_ms} for run in runs],
        "compiled": IS_COMPILED,
    }
    save("rules", options.out, told)
    return int(missing > 0)


class World:
    """The organizations with their rules, after a whole window of samples."""

    def __init__(self, rules: int, series: int, organizations: int) -> None:
        self._chance = np.random.default_rng(7)
        self._rules, self._series = rules, series
        self._per_organization = series // organizations
        self._memories = [
            self._furnish(vendor_id(n), rules // organizations) for n in range(organizations)
        ]
        self._ids = np.arange(1, self._per_organization + 1, dtype=np.int32)
        self._counters = np.zeros((organizations, self._per_organization))
        self._now_ms = START_MS
        for _ in range(STEPS):
            self._advance()
            for memory, values in zip(self._memories, self._values(), strict=True):
                self._take(memory, values)
                memory.follow_touched(self._now_ms)

    def step(self, number: int) -> Run:
        """A second before the next sample all is judged up to there, as the engine does; then every
        series has its next sample."""
        self._all(self._now_ms + STEP_MS - 1000)
        self._advance()
        values = self._values()
        gc.collect()
        began = time.process_time()
        for memory, one in zip(self._memories, values, strict=True):
            self._take(memory, one)
        taken = time.process_time()
        transitions = 0
        for memory in self._memories:
            transitions += len(memory.follow_touched(self._now_ms))
        judged = time.process_time()
        _, longest = self._all(self._now_ms + 1000)
        ended = time.process_time()
        return Run(
            number,
            self._rules,
            sum(memory.series_count for memory in self._memories),
            sum(map(len, self._memories)),
            (taken - began) * 1000,
            (judged - taken) * 1000,
            (ended - judged) * 1000,
            longest * 1000,
            transitions,
            psutil.Process(os.getpid()).memory_info().rss / 1e6,
        )

    def missing(self) -> int:
        """Units without a verdict of the last second, or, of growth, which moves by itself and is
        read now and then, of the time that is left between two reads."""
        wanted = to_datetime(self._now_ms + 1000 - DRIFT_MS)
        return sum(
            len(memory) - sum(one.evaluated_at > wanted for one in memory.standings().values())
            for memory in self._memories
        )

    def _all(self, at_ms: int) -> tuple[int, float]:
        transitions, longest = 0, 0.0
        for memory in self._memories:
            start = 0
            while start < len(memory):
                began = time.process_time()
                found, start = memory.follow(at_ms, start)
                longest = max(longest, time.process_time() - began)
                transitions += len(found)
        return transitions, longest

    def _advance(self) -> None:
        self._now_ms += STEP_MS

    def _values(self) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
        """Of the series of an organization the first fifth counts, the rest are latencies."""
        self._counters += self._chance.poisson(20, self._counters.shape)
        values = np.round(self._chance.lognormal(4, 0.3, self._counters.shape), 1)
        counting = self._per_organization // 5
        values[:, :counting] = self._counters[:, :counting]
        return values

    def _take(self, memory: Memory, values: np.ndarray[tuple[int], np.dtype[np.float64]]) -> None:
        count = len(values)
        memory.take(
            Columns(
                self._ids,
                np.full(count, self._now_ms, np.int64),
                values,
                np.zeros(count, np.int64),
                np.zeros(count, np.int32),
                (Context(None, "bench"),),
            ),
            [False],
        )

    def _furnish(self, organization_id: UUID, rules: int) -> Memory:
        memory = Memory()
        order = self._chance.permutation(self._per_organization) + 1
        place = 0
        units: list[Unit] = []
        for number in range(rules):
            kind = MIX[number % len(MIX)]
            size = 1 if number % 2 else min(50, 1 + int(self._chance.pareto(1.1) * 5))
            ids = [int(order[(place + n) % len(order)]) for n in range(size)]
            place += size
            rule = _rule(organization_id, kind)
            for one in ids:
                memory.keep(one, rule, START_MS)
            units += _units(rule, kind, ids)
        memory.bind(units, (), START_MS + WINDOW // timedelta(milliseconds=1))
        return memory


def _rule(organization_id: UUID, kind: str) -> AlertRule:
    made_at = datetime(2026, 1, 1, tzinfo=UTC)
    return AlertRule(
        id=uuid4(),
        organization_id=organization_id,
        created_at=made_at,
        updated_at=made_at,
        alert_name="Too slow",
        metric_pattern="site.*",
        rule_kind=RuleKind.RATIO if kind == "ratio" else RuleKind.THRESHOLD,
        denominator_pattern="site.*" if kind == "ratio" else None,
        aggregation=Aggregation(_AGGREGATIONS.get(kind, kind)),
        comparison_operator=Operator.ABOVE,
        threshold_value=1e9 if kind in {"rate", "group", "ratio"} else 130.0,
        evaluation_window=WINDOW,
        for_duration=timedelta(minutes=1),
        no_data_policy=NoDataPolicy.ALERT if kind == "absent" else NoDataPolicy.KEEP,
    )


def _units(rule: AlertRule, kind: str, ids: Sequence[int]) -> list[Unit]:
    if kind == "ratio":
        half = max(1, len(ids) // 2)
        return [Unit(rule, Instance("tags:{}", {}, tuple(ids[:half]), tuple(ids[half:] or ids)))]
    if kind == "group":
        return [Unit(rule, Instance("tags:{}", {}, tuple(ids)))]
    return [Unit(rule, Instance(series_key(one), {}, (one,))) for one in ids]


def line(run: Run) -> str:
    """A run for whoever waits."""
    return (
        f"round {run.round + 1}, {run.rules:,} rules, {run.units:,} verdicts over {run.series:,} "
        f"series: {run.whole_ms:,.0f} ms ({run.take_ms:,.0f} to take in, {run.judge_ms:,.0f} to "
        f"judge, {run.transitions:,} changed); all again {run.full_ms:,.0f} ms, longest slice "
        f"{run.longest_slice_ms:.1f} ms; {run.memory_mb:,.0f} MB"
    )


if __name__ == "__main__":
    raise SystemExit(main())
