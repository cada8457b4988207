"""What the benchmark of live connections calls lost, and what leaked."""

from uuid import uuid4

from benchmarks.live import judge, judge_broadcasts
from benchmarks.live_changes import Told
from benchmarks.live_clients import Report
from benchmarks.live_wandering import find_leaks

HERE, THERE = uuid4(), uuid4()
OWNERS = [HERE, THERE]


def report(*arrivals: tuple[int, str, str | None, float]) -> Report:
    return Report(list(arrivals), 2, 0, 0, {})


def test_what_does_not_come_is_lost_and_what_comes_to_another_has_leaked() -> None:
    told = {"a": Told(HERE, 1.0), "b": Told(THERE, 2.0), "c": Told(THERE, 3.0)}
    found = judge(told, report((0, "a", str(HERE), 1.01), (1, "b", str(THERE), 2.03)), OWNERS)
    assert (found["events"], found["lost"], found["leaked"]) == (3, 1, 0)
    assert (found["p50_ms"], found["max_ms"]) == (30.0, 30.0)
    assert judge(told, report((1, "a", str(HERE), 1.01)), OWNERS)["leaked"] == 1


def test_a_broadcast_is_as_late_as_its_last_arrival() -> None:
    told = {"x": Told(None, 1.0)}
    found = judge_broadcasts(told, report((0, "x", None, 1.1), (1, "x", None, 1.25)), 2)
    assert (found["broadcasts"], found["reached_all"], found["last_ms"]) == (1, 1, 250.0)


def test_a_wanderer_hears_of_what_was_committed_while_he_belonged() -> None:
    made = {"a": Told(HERE, 1.0, 1.1), "b": Told(HERE, 5.0, 5.1)}
    spans = {(0, HERE): [[0.5, 4.0]]}
    late = report((0, "a", str(HERE), 9.0))
    assert find_leaks(made, late, spans)["leaked"] == 0
    assert find_leaks(made, report((0, "b", str(HERE), 5.2)), spans)["leaked"] == 1
    assert find_leaks(made, report((1, "a", str(HERE), 1.2)), spans)["leaked"] == 1
