"""The benchmark of rules judges what it says: every unit has the verdict of the last second."""

from benchmarks import alerting
from benchmarks.rules import MIX, World


def test_every_rule_has_its_verdicts() -> None:
    world = World(rules=2 * len(MIX), series=200, organizations=2)
    run = world.step(0)
    assert run.rules == 40
    assert run.units >= 40 - 2 * 2, "ratios and groups are one unit each"
    assert world.missing() == 0
    assert run.whole_ms == run.take_ms + run.judge_ms


def test_an_organization_of_a_trial_has_the_probe_and_others() -> None:
    assert alerting.metrics_of(1000, 100) == [
        alerting.PROBE,
        *(f"apm_steady_{n}" for n in range(1, 10)),
    ]
    assert alerting.metrics_of(3, 5) == [alerting.PROBE]
    assert alerting.at_share([1.0, 2.0, 3.0, 4.0], 0.5) == 3.0
    assert alerting.at_share([1.0], 1) == 1.0
