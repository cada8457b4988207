"""The budget of samples per organization."""

from uuid import uuid4

from wedsync_apm.ingest.limits import SampleBudget


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_below_the_rate_nobody_waits() -> None:
    clock, organization = Clock(), uuid4()
    budget = SampleBudget(100, 500, clock)
    for _ in range(1000):
        assert budget.take(organization, 100) == 0
        clock.now += 1


def test_after_the_burst_one_waits_as_long_as_it_takes() -> None:
    clock, one, other = Clock(), uuid4(), uuid4()
    budget = SampleBudget(100, 500, clock)
    assert budget.take(one, 600) == 0
    assert budget.take(one, 1) == 1.0
    assert budget.take(other, 1) == 0
    clock.now += 0.5
    assert budget.take(one, 1) == 0.5
    clock.now += 0.6
    assert budget.take(one, 1) == 0


def test_a_pause_fills_no_more_than_the_burst() -> None:
    clock, organization = Clock(), uuid4()
    budget = SampleBudget(100, 500, clock)
    budget.take(organization, 500)
    clock.now += 1_000_000
    assert budget.take(organization, 500) == 0
    assert budget.take(organization, 1) > 0
