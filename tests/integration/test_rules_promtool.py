"""Rules against the real Prometheus: the same timed script into both, the same sequence out.

`promtool test rules` walks through a script of samples every 15 seconds and is told what alerts
there should be at each step: ours. Windows are no multiples of the step, so that no sample lies on
an edge; where we differ on purpose stands in docs/rules.md, each line with its test below.
"""

import math
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from tests.support.prometheus import find_program
from tests.support.rules import a_rule
from wedsync_apm.clock import to_datetime
from wedsync_apm.rules.aggregate import Aggregation, Samples
from wedsync_apm.rules.judge import Instance, Unit, judge
from wedsync_apm.rules.model import AlertRule, NoDataPolicy
from wedsync_apm.rules.sources import WindowSource
from wedsync_apm.rules.verdict import Standing, State

STEP_MS = 15_000
BASE_MS = 1_000_000 * STEP_MS
STEPS = 24
SECOND = timedelta(seconds=1)

EXPRESSIONS = {
    Aggregation.LAST: "last_over_time(m[{w}s]) > {t}",
    Aggregation.AVG: "avg_over_time(m[{w}s]) > {t}",
    Aggregation.MIN: "min_over_time(m[{w}s]) > {t}",
    Aggregation.MAX: "max_over_time(m[{w}s]) > {t}",
    Aggregation.SUM: "sum_over_time(m[{w}s]) > {t}",
    Aggregation.COUNT: "count_over_time(m[{w}s]) > {t}",
    Aggregation.STDDEV: "stddev_over_time(m[{w}s]) > {t}",
    Aggregation.P95: "quantile_over_time(0.95, m[{w}s]) > {t}",
    Aggregation.RATE: "rate(m[{w}s]) > {t}",
    Aggregation.INCREASE: "increase(m[{w}s]) > {t}",
}


@dataclass(frozen=True)
class Script:
    """Samples by step (None: none), and a rule both ways."""

    values: Sequence[float | None]
    expression: str
    rule: AlertRule

    @property
    def samples(self) -> Samples:
        return Samples.of(
            (BASE_MS + n * STEP_MS, value, False)
            for n, value in enumerate(self.values)
            if value is not None
        )

    def ours(self, grid_ms: int = STEP_MS) -> list[str]:
        """`pending`, `firing` or nothing at each step."""
        width_ms = round(self.rule.evaluation_window / SECOND * 1000)
        source = WindowSource(self.rule.aggregation, (self.samples,), width_ms)
        instance = Instance("tags:{}", is_fixed=True)
        standing: Standing | None = None
        seen = []
        for n in range(STEPS):
            at = to_datetime(BASE_MS + n * STEP_MS)
            unit = Unit(self.rule, instance, None, standing)
            standing, _ = judge(unit, source, at, since=at - SECOND, grid_ms=grid_ms)
            assert standing is not None
            quiet = "pending" if standing.state is State.PENDING else ""
            seen.append("firing" if standing.state.is_alarming else quiet)
        return seen


def rule_for(aggregation: Aggregation, threshold: float, window: int, **more: object) -> AlertRule:
    return a_rule(
        **{
            "aggregation": aggregation,
            "threshold_value": threshold,
            "evaluation_window": window * SECOND,
            "no_data_policy": NoDataPolicy.OK,
            "cooldown_period": timedelta(),
            **more,
        }
    )


def promtool_agrees(program: Path, scripts: Sequence[tuple[Script, Sequence[str]]]) -> str:
    """What the real one has against these sequences; empty: nothing."""
    rules, tests = [], []
    for number, (script, expected) in enumerate(scripts):
        rule = script.rule
        rules.append(
            f"  - alert: R{number}\n    expr: {script.expression.replace('m[', f'm{number}[')}\n"
            f"    for: {rule.for_duration / SECOND:g}s\n"
            f"    keep_firing_for: {rule.keep_firing_for / SECOND:g}s\n"
        )
        values = " ".join(
            "_" if v is None else "NaN" if math.isnan(v) else f"{v:g}" for v in script.values
        )
        checks = "".join(
            f'  - expr: ALERTS{{alertname="R{number}"}}\n    eval_time: {n * 15}s\n'
            + (
                f'    exp_samples: [{{labels: \'ALERTS{{alertname="R{number}",'
                f'alertstate="{state}"}}\', value: 1}}]\n'
                if state
                else ""
            )
            for n, state in enumerate(expected)
        )
        tests.append(
            f"- interval: 15s\n  input_series: [{{series: m{number}, values: '{values}'}}]\n"
            f"  promql_expr_test:\n{checks}"
        )
    with TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "rules.yml").write_text(
            "groups:\n- name: g\n  interval: 15s\n  rules:\n" + "".join(rules)
        )
        (folder / "tests.yml").write_text(
            "rule_files: [rules.yml]\nevaluation_interval: 15s\ntests:\n" + "".join(tests)
        )
        done = subprocess.run(
            [program, "test", "rules", folder / "tests.yml"],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    return "" if done.returncode == 0 else done.stdout + done.stderr


@pytest.fixture(scope="module")
def agrees() -> Callable[[Sequence[tuple[Script, Sequence[str]]]], str]:
    return partial(promtool_agrees, find_program("promtool"))


VALUES = st.lists(
    st.sampled_from([None, None, 1.0, 4.0, 7.0, 9.0, 13.0, 20.0]), min_size=STEPS, max_size=STEPS
)
WAITS = st.sampled_from([0, 15, 20, 30, 45, 60]).map(lambda n: n * SECOND)
WINDOWS = st.sampled_from([10, 20, 35, 65, 100])
GAUGES = [one for one in EXPRESSIONS if not one.is_growth]


@st.composite
def gauge_scripts(draw: st.DrawFn) -> Script:
    aggregation, window = draw(st.sampled_from(GAUGES)), draw(WINDOWS)
    threshold = draw(st.sampled_from([1.37, 5.37, 8.37, 30.37]))
    rule = rule_for(
        aggregation,
        threshold,
        window,
        for_duration=draw(WAITS),
        keep_firing_for=draw(WAITS),
    )
    return Script(draw(VALUES), EXPRESSIONS[aggregation].format(w=window, t=threshold), rule)


@st.composite
def counter_scripts(draw: st.DrawFn) -> Script:
    """A counter that rises, is lost from sight, and begins again at nothing."""
    value, values = draw(st.integers(0, 500)), list[float | None]()
    for move in draw(st.lists(st.integers(-2, 9), min_size=STEPS, max_size=STEPS)):
        if move == -2:
            values.append(None)
            continue
        value = draw(st.integers(0, 5)) if move == -1 else value + move * move
        values.append(float(value))
    aggregation = draw(st.sampled_from([Aggregation.RATE, Aggregation.INCREASE]))
    window = draw(st.sampled_from([35, 65, 100]))
    threshold = draw(st.sampled_from([0.137, 1.137, 3.137])) * (
        1 if aggregation is Aggregation.RATE else window
    )
    rule = rule_for(
        aggregation, threshold, window, for_duration=draw(WAITS), keep_firing_for=draw(WAITS)
    )
    expression = EXPRESSIONS[aggregation].format(w=window, t=threshold)
    return Script(values, expression, rule)


@st.composite
def absence_scripts(draw: st.DrawFn) -> Script:
    window = draw(WINDOWS)
    rule = rule_for(
        Aggregation.LAST,
        1e18,
        window,
        no_data_policy=NoDataPolicy.ALERT,
        for_duration=draw(WAITS),
        keep_firing_for=draw(WAITS),
    )
    return Script(draw(VALUES), f"absent_over_time(m[{window}s])", rule)


def old_rate(script: Script, at_ms: int) -> float | None:
    """As Prometheus 2 reckons it: the zero is looked at before the gap to the window's edge."""
    width_ms = round(script.rule.evaluation_window / SECOND * 1000)
    samples = script.samples
    held = samples.window(at_ms, width_ms)
    times, values = samples.times_ms[held], samples.values[held]
    if len(values) < 2:
        return None
    growth = values[-1] - values[0]
    growth += sum(a for a, b in pairwise(values) if b < a)
    seen = (times[-1] - times[0]) / 1000
    gap = seen / (len(values) - 1)
    to_start, to_end = (times[0] - at_ms + width_ms) / 1000, (at_ms - times[-1]) / 1000
    if growth > 0:
        to_start = min(to_start, seen * (values[0] / growth))
    whole = seen + sum(one if one < gap * 1.1 else gap / 2 for one in (to_start, to_end))
    return growth * whole / seen


def is_reckoned_alike(script: Script) -> bool:
    """Whether the old and the new way of growth lie on the same side of the limit throughout."""
    width_ms = round(script.rule.evaluation_window / SECOND * 1000)
    source = WindowSource(script.rule.aggregation, (script.samples,), width_ms)
    for n in range(STEPS):
        at_ms = BASE_MS + n * STEP_MS
        old, new = old_rate(script, at_ms), getattr(source.read(at_ms), "value", None)
        if old is not None and new is not None:
            if script.rule.aggregation is Aggregation.RATE:
                old /= width_ms / 1000
            limit = script.rule.threshold_value
            if (old > limit) != (new > limit):
                return False
    return True


MANY = settings(
    # Each begins a process, which takes longer than what it has to judge.
    max_examples=4,
    deadline=None,
    suppress_health_check=[
        HealthCheck.too_slow,
        HealthCheck.function_scoped_fixture,
        HealthCheck.data_too_large,
        HealthCheck.large_base_example,
    ],
)
Judge = Callable[[Sequence[tuple[Script, Sequence[str]]]], str]


@MANY
@given(scripts=st.lists(gauge_scripts(), min_size=16, max_size=28))
def test_windows_for_and_keep_firing(agrees: Judge, scripts: list[Script]) -> None:
    assert agrees([(script, script.ours()) for script in scripts]) == ""


@MANY
@given(scripts=st.lists(counter_scripts(), min_size=16, max_size=28))
def test_growth_with_resets(agrees: Judge, scripts: list[Script]) -> None:
    alike = [script for script in scripts if is_reckoned_alike(script)]
    assume(alike)
    assert agrees([(script, script.ours()) for script in alike]) == ""


@MANY
@given(scripts=st.lists(absence_scripts(), min_size=16, max_size=28))
def test_absence(agrees: Judge, scripts: list[Script]) -> None:
    assert agrees([(script, script.ours()) for script in scripts]) == ""


def script(values: Sequence[float | None], aggregation: Aggregation, **more: object) -> Script:
    """A rule above 10 over a window of 35 s unless told otherwise; silence behind the values."""
    threshold, window = more.pop("threshold", 10.37), more.pop("window", 35)
    assert isinstance(threshold, float)
    assert isinstance(window, int)
    padded = [*values, *[None] * (STEPS - len(values))]
    return Script(
        padded,
        EXPRESSIONS[aggregation].format(w=window, t=threshold),
        rule_for(aggregation, threshold, window, **more),
    )


def spell(text: str) -> list[str]:
    """f: firing, p: pending, -: nothing."""
    padded = text.ljust(STEPS, "-")
    return [{"f": "firing", "p": "pending", "-": ""}[letter] for letter in padded]


def test_the_judge_can_say_no(agrees: Judge) -> None:
    one = script([1, 20, 1], Aggregation.LAST)
    assert agrees([(one, one.ours())]) == ""
    assert agrees([(one, spell("ff"))]) != ""


@pytest.mark.parametrize(
    ("one", "theirs", "ours"),
    [
        pytest.param(
            script([20], Aggregation.LAST, window=30),
            "fff",
            "ff",
            id="the far edge of a window is out, as in Prometheus 3",
        ),
        pytest.param(
            script([20, math.nan, 20, 0, 0], Aggregation.AVG),
            "f",
            "fff",
            id="a value that is no number is left out",
        ),
        pytest.param(
            script([None, None, 10, 20], Aggregation.INCREASE, window=65, threshold=26.37),
            "----f",
            "",
            id="growth reaches no further back than half a gap, as in Prometheus 3",
        ),
        pytest.param(
            script([20], Aggregation.LAST, no_data_policy=NoDataPolicy.KEEP),
            "fff",
            "f" * STEPS,
            id="silence does not end an alarm unless the rule says so",
        ),
        pytest.param(
            script([20, 1, 20, 20, 20, 20], Aggregation.LAST, cooldown_period=45 * SECOND),
            "f-ffffff",
            "f-pfffff",
            id="an alarm does not come back within its cooldown",
        ),
        pytest.param(
            script([20, 9, 20, 9, 1], Aggregation.LAST, clear_threshold_value=5.0, window=10),
            "f-f",
            "ffff",
            id="between the limit and the clear value it goes on",
        ),
    ],
)
def test_what_differs_on_purpose(agrees: Judge, one: Script, theirs: str, ours: str) -> None:
    assert one.ours() == spell(ours)
    assert agrees([(one, spell(theirs))]) == ""


def test_a_sample_is_judged_at_its_own_time_not_at_the_next_step() -> None:
    """Prometheus looks every 15 s: a sample 7 s after a look waits for 8 s, and so does `for`."""
    rule = rule_for(Aggregation.LAST, 10.0, 60, for_duration=20 * SECOND)
    samples = Samples.of([(BASE_MS + 7000, 20.0, False)])
    source = WindowSource(rule.aggregation, (samples,), 60_000)
    unit = Unit(rule, Instance("series:1", series_ids=(1,)))
    begin = to_datetime(BASE_MS)
    _, (first, *_) = judge(unit, source, begin + 60 * SECOND, since=begin)
    assert first.standing.evaluated_at == begin + 27 * SECOND
